"""Test that every name on the page stays text, and that the page loads and needs nothing else."""

import html
import itertools
import json
import pathlib
import re
from html.parser import HTMLParser

import jinja2
import pandas as pd
import pytest
from selenium.webdriver.common.by import By

from hostile_names import HOSTILE
from isoxide import ueba
from isoxide.ueba import _page
from page_browser import names, open_page, shown_ids
from ueba_tables import actor_days

pytestmark = [
    pytest.mark.browser,
    pytest.mark.not_parallel(reason="one browser for all"),
    pytest.mark.current_versions(reason="the report does not depend on scikit-learn"),
]


@pytest.fixture(scope="module")
def findings(page_findings):
    return page_findings


@pytest.fixture(scope="module")
def hostile(seed):
    frame = actor_days(seed)
    names = dict(zip(sorted(frame["actor"].unique()), (HOSTILE * 3), strict=False))
    renamed = frame.assign(actor=frame["actor"].map(names))
    renamed = renamed.rename(columns=dict(zip(["n_0", "n_3", "share_1"], HOSTILE, strict=False)))
    table = ueba.read_table(renamed, entity="actor", time="day")
    users = pd.DataFrame({"actor": HOSTILE, "<i>mail</i>": HOSTILE[::-1]})
    return ueba.detect(table, contamination=0.05).join(users)


def test_hostile_names_stay_text(browser, hostile, tmp_path):
    path = hostile.to_html(tmp_path / "report.html", title=HOSTILE[0])
    browser.get("about:blank")
    browser.get(path.as_uri())
    assert browser.get_log("browser") == []
    headings = browser.execute_script("return [...document.querySelectorAll('h3 bdi')].map(e => e.textContent)")
    assert set(headings) == set(hostile.frame["actor"])
    assert (
        browser.execute_script(
            "return document.querySelectorAll('img, #cards b b, #cards script, a[href^=javascript]').length"
        )
        == 0
    )
    # The data and the two scripts.
    assert browser.execute_script("return document.scripts.length") == 3
    assert browser.execute_script("return document.title") == HOSTILE[0]
    # No template engine has evaluated 7*7.
    assert "49" not in "".join(headings)
    user_data = browser.execute_script("return [...document.querySelectorAll('.joined bdi')].map(e => e.textContent)")
    assert set(user_data[::2]) == {"<i>mail</i>"}
    # A name that is written from right to left does not change the direction of the text after it.
    assert browser.execute_script("return getComputedStyle(document.querySelector('h3 bdi')).unicodeBidi") == "isolate"
    browser.find_element(By.ID, "text").send_keys("onclick=")
    # The text is the name of the last actor and the e-mail address of the first one.
    assert set(names(browser)) <= {HOSTILE[-1], HOSTILE[0]}


def test_the_page_loads_nothing(findings):
    page = html.unescape(findings.to_html())
    assert re.findall(r"""(?:src|href)=["']?(?!["'#])[^\s>]+""", page) == []
    assert "default-src 'none'" in page
    assert "unsafe-inline" not in page


def test_without_scripts_the_page_shows_all_findings_and_no_controls(findings):
    """Mail programs, for example, run no scripts."""
    text = re.sub(r"<script.*?</script>", "", findings.to_html(), flags=re.DOTALL)
    assert text.count('class="f"') == len(findings)
    assert re.search(r'<div id="controls"[^>]* hidden>', text)
    assert "<button" not in text[text.index('<div id="cards">') :]


class Tags(HTMLParser):
    """Parser that collects the tags and the text of a page."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.tags, self.text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, *attrs))

    def handle_data(self, data):
        self.text.append(data)


def marked(seed):
    """Return findings with different markup in every text that a page can show, and a title for the page."""
    frame = actor_days(seed, n_actors=8, n_days=45)
    marks = (f"<mark id=m{k}>&{k}" for k in itertools.count())
    names = {name: next(marks) for name in frame["actor"].unique()}
    renamed = frame.assign(actor=frame["actor"].map(names), dept=[next(marks)] * len(frame))
    renamed[next(marks)] = "text"
    renamed = renamed.rename(columns={name: next(marks) for name in frame.columns[2:]})
    renamed = renamed.rename(columns={"dept": (dept := next(marks))})
    rules = [ueba.Percentile((50,)), ueba.Flag(["<mark*"], code=next(marks))][::-1]
    table = ueba.read_table(renamed, entity="actor", time="day")
    result = ueba.detect(table, contamination=0.08, groups=dept, rules=rules)
    users = pd.DataFrame({"actor": list(names.values()), next(marks): [next(marks) for _ in names]})
    result = result.join(users)
    result.manifest["profile"]["notes"] = [next(marks), next(marks) + "x" * 200]
    result.manifest["profile"]["left_out"] |= {next(marks): next(marks)}
    result.manifest[next(marks)] = {next(marks): [next(marks)]}
    result.manifest["drift"] = {"verdict": "retrain", "reasons": [next(marks)], "worst": [next(marks)]}
    decisions = [
        result.decide(finding_id, status=status, note=next(marks), who=next(marks))
        for finding_id, status in zip(result.frame["finding_id"], ["confirmed", "false-positive"], strict=False)
    ]
    return result.apply(ueba.Decisions(decisions)), next(marks)


def n_marks(page):
    return sum(tag[0] == "mark" for tag in Tags(page).tags)


def test_every_expression_of_the_template_is_escaped(seed, monkeypatch):
    """If an expression is marked as `|safe`, the test data let markup through, so each expression is tested."""
    result, title = marked(seed)
    assert n_marks(result.to_html(title=title)) == 0
    folder = pathlib.Path(_page.__file__).parent / "templates"
    with_markup = set()
    loader = jinja2.FileSystemLoader
    for name in ("report.html.j2", "shown.html.j2"):
        source = (folder / name).read_text()
        assert not re.search(r"\|\s*safe|autoescape|Markup", source)
        for expression in re.finditer(r"\{\{ (.+?) \}\}", source):
            unsafe = f"{source[: expression.start(1)]}({expression[1]})|safe{source[expression.end(1) :]}"
            own = jinja2.ChoiceLoader([jinja2.DictLoader({name: unsafe}), loader(folder)])
            with monkeypatch.context() as patch:
                patch.setattr(jinja2, "FileSystemLoader", lambda _, own=own: own)
                if n_marks(result.to_html(title=title)):
                    with_markup.add(expression[1])
    assert with_markup == {"title", "item.text", "name.text", "card.name.text", "name", "value", "text"}


def test_no_name_can_end_the_data_block(seed):
    result, _ = marked(seed)
    page = result.to_html()
    blocks = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert len(blocks) == 1
    assert "<" not in blocks[0]
    assert any("<mark" in name for name in json.loads(blocks[0])["features"])


def test_long_names_are_cut_and_link_to_the_full_text(browser, seed, tmp_path):
    frame = actor_days(seed)
    end = " the end of this name"
    long_names = {name: f"{name} {'x' * 10_000}{end}" for name in [*frame["actor"].unique(), "n_0", "n_3"]}
    table = frame.assign(actor=frame["actor"].map(long_names)).rename(columns=long_names)
    result = ueba.detect(ueba.read_table(table, entity="actor", time="day"), contamination=0.03)
    page = result.to_html()
    assert page.count(long_names["n_0"]) == 1
    actor = result.frame["actor"].iloc[0]
    assert page.count(actor) == 1
    open_page(browser, page, tmp_path / "long.html")
    heading = browser.find_element(By.CSS_SELECTOR, ".card h3")
    assert len(heading.text) < 130
    link = heading.find_element(By.CSS_SELECTOR, "a.more")
    browser.execute_script("arguments[0].dispatchEvent(new PointerEvent('pointerover', {bubbles: true}))", link)
    assert link.get_attribute("title") == actor
    browser.execute_script("arguments[0].click()", link)
    target = browser.find_element(By.CSS_SELECTOR, link.get_attribute("hash"))
    assert target.is_displayed()
    assert target.text == actor
    browser.find_element(By.ID, "text").send_keys(end)
    assert len(shown_ids(browser)) == len(result)
    # The summary's button of a feature filters by its full name, although the name is cut.
    browser.find_element(By.ID, "clear").click()
    button = browser.find_element(By.CSS_SELECTOR, ".frequent button")
    browser.execute_script("arguments[0].click()", button)
    assert shown_ids(browser)
