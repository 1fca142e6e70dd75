"""The Markdown report, read by a CommonMark reader with tables: every name stays text."""

import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from isoxide import ueba
from isoxide.ueba._markdown import escape
from test_page import HOSTILE
from ueba_tables import actor_days

READER = MarkdownIt("commonmark").enable("table")


class Text(HTMLParser):
    """The tags of a text, and what stands between them."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


def as_shown(name):
    """Without line breaks and what turns the direction."""
    return " ".join(
        re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]+", " ", name).split()
    )


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(HOSTILE))
def test_escaped_text_is_shown_as_it_was(name):
    shown = Text(READER.render(f"| head |\n|---|\n| {escape(name)} |"))
    assert set(shown.tags) <= {"table", "thead", "tbody", "tr", "th", "td"}
    assert " ".join(shown.text.removeprefix("\n").split())[len("head") :].split() == as_shown(name).split()
    heading = Text(READER.render(f"## {escape(name)}"))
    assert set(heading.tags) <= {"h2"}
    assert heading.text.split() == as_shown(name).split()


@pytest.fixture(scope="module")
def report(seed):
    frame = actor_days(seed)
    names = dict(zip(sorted(frame["actor"].unique()), HOSTILE * 3, strict=False))
    strange = frame.assign(actor=frame["actor"].map(names))
    strange = strange.rename(columns=dict(zip(["n_0", "n_3", "share_1"], HOSTILE, strict=False)))
    return ueba.detect(ueba.read_table(strange, entity="actor", time="day"), contamination=0.05)


def test_tables_keep_their_columns(report):
    report.manifest["notes"] = []
    html = READER.render(report.to_markdown(cutoff=99.0))
    shown = Text(html)
    assert set(shown.tags) == {"h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td"}
    assert shown.tags.count("table") == report.frame["actor"].nunique() == shown.tags.count("h2")
    for row in re.findall(r"<tr>.*?</tr>", html, re.DOTALL):
        assert len(re.findall(r"<t[hd]\b", row)) == 7
    for name in report.frame["actor"]:
        assert as_shown(name) in " ".join(shown.text.split())


@pytest.mark.parametrize("groups", [None, "dept"])
def test_every_text_stays_text(seed, groups):
    """Joined names and values, notes, columns left out, groups: whatever can be in a report."""
    frame = actor_days(seed)
    names = dict(zip(sorted(frame["actor"].unique()), HOSTILE * 3, strict=False))
    strange = frame.assign(actor=frame["actor"].map(names), dept=frame["actor"].map(names))
    strange["<i>left</i>"] = "text"
    users = pd.DataFrame({"actor": HOSTILE, "<i>mail</i>": HOSTILE[::-1], "|": "<b>*x*</b>|[a](b)"})
    table = ueba.read_table(strange, entity="actor", time="day")
    found = ueba.detect(table, contamination=0.05, groups=groups).join(users)
    found.manifest["check"]["notes"] = HOSTILE
    found.manifest["notes"] = ["# no heading\n\n- no list"]
    found.manifest["first_day"] = "<img src=x>\n# heading"
    html = READER.render(found.to_markdown(cutoff=99.0))
    shown = Text(html)
    assert set(shown.tags) <= {"h1", "h2", "p", "ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td"}
    assert shown.tags.count("h1") == 1
    # Of each entity, and of the notes and what is left out.
    assert shown.tags.count("h2") == found.frame["actor"].nunique() + 2
    assert shown.tags.count("li") == len(HOSTILE) + 1 + len(found.manifest["check"]["left_out"])
    for row in re.findall(r"<tr>.*?</tr>", html, re.DOTALL):
        assert len(re.findall(r"<t[hd]\b", row)) == (7 if groups is None else 8)
    words = " ".join(shown.text.split())
    for name in HOSTILE:
        assert as_shown(name) in words
    assert "<b>*x*</b>|[a](b)" in words
    assert "<i>left</i>: text" in words


def test_long_names_are_cut_with_the_full_text_at_the_end(seed):
    frame = actor_days(seed)
    long = {name: f"{name} {'<b>' * 3000} end" for name in [*frame["actor"].unique(), "n_0", "n_3"]}
    table = frame.assign(actor=frame["actor"].map(long)).rename(columns=long)
    text = ueba.detect(ueba.read_table(table, entity="actor", time="day"), contamination=0.03).to_markdown()
    body, full = text.split("## Full texts")
    assert max(map(len, body.splitlines())) < 1000
    items = [as_shown(item) for item in Text(READER.render(full)).text.splitlines() if item.strip()]
    assert set(items) <= {as_shown(name) for name in long.values()}
    assert len(items) == len(set(items)) == len(set(re.findall(r"\(full text (\d+)\)", body)))
    for line in body.splitlines():
        for name, number in re.findall(r"## (\w+) .*\(full text (\d+)\)", line):
            assert items[int(number) - 1].startswith(name)
