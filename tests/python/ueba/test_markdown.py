"""Test that the Markdown report, rendered by a CommonMark parser with tables, shows every name as text."""

import re
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from hostile_names import HOSTILE
from isoxide import ueba
from isoxide._common.format import format_share, format_value
from isoxide.ueba._markdown import escape
from ueba_tables import actor_days, users_of

pytestmark = pytest.mark.current_versions(reason="the report does not depend on scikit-learn")

READER = MarkdownIt("commonmark").enable("table")


class Text(HTMLParser):
    """Parser that collects the tags of a text and the text between them."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


def as_shown(name):
    """Return a name without line breaks and marks of direction."""
    return " ".join(
        re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]+", " ", name).split()
    )


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(HOSTILE))
def test_escaped_text_is_rendered_unchanged(name):
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
    renamed = frame.assign(actor=frame["actor"].map(names))
    renamed = renamed.rename(columns=dict(zip(["n_0", "n_3", "share_1"], HOSTILE, strict=False)))
    return ueba.detect(ueba.read_table(renamed, entity="actor", time="day"), contamination=0.05)


def test_hostile_names_do_not_change_the_columns_of_tables(report):
    report.manifest["notes"] = []
    html = READER.render(report.to_markdown(cutoff=99.0))
    shown = Text(html)
    assert set(shown.tags) == {"h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td", "ul", "li"}
    # The shares of each finding are an item of a list below its table.
    assert shown.tags.count("li") == len(report)
    assert shown.tags.count("table") == report.frame["actor"].nunique() == shown.tags.count("h2")
    for row in re.findall(r"<tr>.*?</tr>", html, re.DOTALL):
        assert len(re.findall(r"<t[hd]\b", row)) == 9
    for name in report.frame["actor"]:
        assert as_shown(name) in " ".join(shown.text.split())


@pytest.mark.parametrize("groups", [None, "dept"])
def test_all_texts_are_escaped(seed, groups):
    # Joined columns, notes, columns that are not features and groups have hostile names too.
    frame = actor_days(seed)
    names = dict(zip(sorted(frame["actor"].unique()), HOSTILE * 3, strict=False))
    renamed = frame.assign(actor=frame["actor"].map(names), dept=frame["actor"].map(names))
    renamed["<i>role</i>"] = "text"
    users = pd.DataFrame({"actor": HOSTILE, "<i>mail</i>": HOSTILE[::-1], "|": "<b>*x*</b>|[a](b)"})
    table = ueba.read_table(renamed, entity="actor", time="day")
    result = ueba.detect(table, contamination=0.05, groups=groups).join(users)
    result.manifest["profile"]["notes"] = HOSTILE
    result.manifest["notes"] = ["# no heading\n\n- no list"]
    result.manifest["first_day"] = "<img src=x>\n# heading"
    html = READER.render(result.to_markdown(cutoff=99.0))
    shown = Text(html)
    assert set(shown.tags) <= {"h1", "h2", "p", "ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td"}
    assert shown.tags.count("h1") == 1
    # Each entity has a heading, and so have the notes and the columns that are not features.
    assert shown.tags.count("h2") == result.frame["actor"].nunique() + 2
    n_items = len(HOSTILE) + 1 + len(result.manifest["profile"]["left_out"]) + len(result)
    assert shown.tags.count("li") == n_items
    for row in re.findall(r"<tr>.*?</tr>", html, re.DOTALL):
        assert len(re.findall(r"<t[hd]\b", row)) == (9 if groups is None else 10)
    shown_text = " ".join(shown.text.split())
    for name in HOSTILE:
        assert as_shown(name) in shown_text
    assert "<b>*x*</b>|[a](b)" in shown_text
    assert "<i>role</i>: text" in shown_text


@pytest.mark.slow
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


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("arguments", [{"tail": "both"}, {"tail": "lower", "groups": "actor", "min_group": 37}])
def test_each_line_has_the_values_of_its_finding(seed, arguments, joined):
    # A line has day, anomaly score, rarity, band, feature with arrow, value, typical value, percentile and share.
    frame = actor_days(seed)
    result = ueba.detect(ueba.read_table(frame, entity="actor", time="day"), contamination=0.03, **arguments)
    result = result.join(users_of(frame)) if joined else result
    # All directions occur, whatever the seed.
    n_features = len(result.features)
    result.directions = np.array([1, -1, 0])[np.arange(len(result)) % 3, np.newaxis].repeat(n_features, axis=1)
    lines, values = [], result.values  # noqa: PD011
    for actor in dict.fromkeys(result.frame["actor"]):
        joined_texts = [f"{actor}@example.org", "Research, Berlin" if int(actor[5:]) % 2 else "Sales"] if joined else []
        lines.append(", ".join([actor, *joined_texts]))
        for number in np.flatnonzero(result.frame["actor"] == actor):
            row = result.frame.iloc[number]
            rarity = result.rarity_texts()[number]
            first_cells = [f"{row['day']:%Y-%m-%d}", f"{row['anomaly_score']:.4f}", rarity, row["band"]]
            first_cells += [row["rank_among"]] if "groups" in arguments else []
            listed = [
                j
                for j in result.order[number]
                if result.percentiles[number, j] >= 99 or is_listed_anyway(result, number, j)
            ]
            for j in listed or [result.order[number, 0]]:
                percentile = result.percentiles[number, j]
                lines.append(
                    [
                        *first_cells,
                        result.features[j] + {1: " ↑", -1: " ↓", 0: ""}[result.directions[number, j]],
                        format_value(values[number, j]),
                        format_value(result.typical()[number, j]),
                        "-" if np.isnan(percentile) else f"{percentile:.2f}",
                        format_share(result.shares[number, j]),
                    ]
                )
                first_cells = [""] * len(first_cells)
    assert {line[-5][-1] for line in lines if isinstance(line, list)} >= {"↑", "↓"}
    matches = re.findall(r"<h2>(.*?)</h2>|<tr>(.*?)</tr>", READER.render(result.to_markdown(cutoff=99.0)), re.DOTALL)
    rendered = [
        unescape(title) if title else [unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)]
        for title, row in matches
    ]
    assert [
        line for line in rendered if line and line not in ("Notes on the table", "Columns that are not features")
    ] == lines


def is_listed_anyway(result, number, j):
    """Return whether the report shows a feature whose percentile does not reach the cutoff."""
    if result.features[j] == "is_weekend":
        return result.values[number, j] > 0  # noqa: PD011
    rules = result.flags[(result.flags["row"] == number) & (result.flags["feature"] == result.features[j])]
    return len(rules) > 0 and np.isnan(result.percentiles[number]).all()


def test_the_introduction_counts_days_rows_entities_and_findings(seed):
    frame = actor_days(seed)
    result = ueba.detect(ueba.read_table(frame, entity="actor", time="day"), contamination=0.03)
    rows_and_entities = f"{len(frame):,} rows of 25 entities"
    text = result.to_markdown(cutoff=99.5)
    assert "# Findings: 2025\\-01\\-20 to 2025\\-02\\-28\n" in text
    findings = f"{len(result)} findings, {result.frame['actor'].nunique()} entities with findings."
    assert f"\n40 days, {rows_and_entities}: {findings} " in text
    assert " Features at or above percentile 99.5 are listed, or otherwise the most unusual one.\n" in text
    assert "No row is an anomaly." not in text
    # Findings of earlier versions may lack these numbers.
    del result.manifest["days"], result.manifest["entities"]
    assert f"\n{rows_and_entities.split(' of ')[0]}: {findings}" in result.to_markdown()


@pytest.mark.parametrize("order", ["score", "entity"])
def test_findings_without_an_actor_are_listed(seed, order):
    frame = actor_days(seed)
    frame["actor"] = frame["actor"].astype(object)
    result = ueba.detect(ueba.read_table(frame, entity="actor", time="day"), contamination=0.03)
    result.frame.iloc[1, result.frame.columns.get_loc("actor")] = None
    text = result.to_markdown(order=order)
    assert text.count("\n## \\-\n") == 1
    assert len(re.findall(r"^\| 2025", text, re.MULTILINE)) == len(result)


def test_a_day_without_findings_is_reported(seed):
    result = ueba.detect(ueba.read_table(actor_days(seed), entity="actor", time="day"), threshold=-0.9)
    assert result.to_markdown().count("No row is an anomaly.") == 1
