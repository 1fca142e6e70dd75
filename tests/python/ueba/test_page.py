"""Test the HTML report in a browser: it shows, sorts and filters the findings."""

import copy
import re

import numpy as np
import pandas as pd
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from isoxide import ueba
from page_browser import choose, comes_into_view, finding, ids_of, names, open_page, shown_ids, visible
from ueba_tables import actor_days

pytestmark = [
    pytest.mark.browser,
    pytest.mark.not_parallel(reason="one browser for all"),
    pytest.mark.current_versions(reason="the report does not depend on scikit-learn"),
]


@pytest.fixture(scope="module")
def findings(page_findings):
    return page_findings


def test_the_page_shows_every_finding(opened, findings):
    assert sorted(shown_ids(opened)) == sorted(findings.frame["finding_id"])
    assert names(opened) == list(dict.fromkeys(findings.frame["actor"]))
    row = findings.frame.iloc[0]
    card = opened.find_element(By.CSS_SELECTOR, ".card").text
    assert row["email"] in card
    assert findings.rarity_texts()[0] in card
    first = findings.frame["finding_id"].iloc[0]
    rows = opened.execute_script(
        "return [...document.getElementById(arguments[0]).querySelectorAll('tbody tr')].map(row => row.textContent)",
        first,
    )
    listed = [j for j in findings.order[0] if findings.selected(99.0, ["is_weekend"])[0, j]] or [findings.order[0, 0]]
    assert len(rows) == len(listed)
    for j in listed:
        (text,) = [row for row in rows if row.startswith(findings.features[j])]
        assert f"{findings.percentiles[0, j]:.2f}" in text
        assert {1: "↑", -1: "↓", 0: ""}[findings.directions[0, j]] in text
    assert f"{len(findings)} of {len(findings)} findings" in opened.find_element(By.ID, "status").text


def test_cards_are_sorted_by_the_chosen_key(opened, findings):
    frame = findings.frame
    choose(opened, "sort", "name")
    assert names(opened) == sorted(frame["actor"].unique())
    choose(opened, "sort", "count")
    counts = frame["actor"].value_counts()
    assert [counts[name] for name in names(opened)] == sorted(counts, reverse=True)
    choose(opened, "sort", "latest")
    latest = frame.groupby("actor")["day"].max()
    assert [latest[name] for name in names(opened)] == sorted(latest, reverse=True)
    choose(opened, "sort", "score")
    assert names(opened) == list(dict.fromkeys(frame["actor"]))


def test_findings_are_filtered_by_text_month_and_direction(opened, findings):
    frame, text = findings.frame, opened.find_element(By.ID, "text")
    name = frame["actor"].iloc[-1]
    text.send_keys(name.upper())
    assert names(opened) == [name]
    assert f"{(frame['actor'] == name).sum()} of {len(frame)} findings" in opened.find_element(By.ID, "status").text
    text.clear()
    text.send_keys("no such name")
    assert names(opened) == []
    assert opened.find_element(By.ID, "none").is_displayed()
    opened.find_element(By.ID, "clear").click()
    assert len(shown_ids(opened)) == len(frame)
    text.send_keys("sales")
    assert sorted(shown_ids(opened)) == ids_of(findings, frame["department"] == "Sales")
    opened.find_element(By.ID, "clear").click()
    month = f"{frame['day'].iloc[0]:%Y-%m}"
    Select(opened.find_element(By.ID, "month")).select_by_visible_text(month)
    assert sorted(shown_ids(opened)) == ids_of(findings, frame["day"].dt.strftime("%Y-%m") == month)
    opened.find_element(By.ID, "clear").click()
    choose(opened, "direction", "-1")
    shown = findings.selected(99.0, ["is_weekend"])
    listed = set(shown_ids(opened))
    for number, finding_id in enumerate(frame["finding_id"]):
        if finding_id not in listed:
            assert not (shown[number] & (findings.directions[number] < 0)).any()


def test_a_link_to_a_finding_shows_it_even_if_it_is_filtered_out(browser, findings, tmp_path):
    path = findings.to_html(tmp_path / "report.html")
    browser.get("about:blank")
    first, *_, last = findings.frame["finding_id"]
    browser.get(f"{path.as_uri()}#{last}")
    assert comes_into_view(browser, last)
    browser.find_element(By.ID, "text").send_keys("no such name")
    assert shown_ids(browser) == []
    browser.execute_script("location.hash = arguments[0]", first)
    assert comes_into_view(browser, first)


def test_the_page_without_findings_shows_the_timeline_and_the_notes(browser, seed, tmp_path):
    table = ueba.read_table(actor_days(seed), entity="actor", time="day")
    empty = ueba.detect(table, threshold=-0.9)
    empty.manifest["profile"]["notes"] = ["3 cells are missing"]
    text = open_page(browser, empty.to_html(), tmp_path / "empty.html")
    highest = empty.manifest["highest"]
    quiet = f"No findings, quiet: highest score {highest['anomaly_score']:.2f} ({highest['entity']}), threshold"
    assert quiet in text
    assert "3 cells are missing" in text
    assert browser.find_element(By.CSS_SELECTOR, "#plot .line").is_displayed()
    assert browser.find_elements(By.CSS_SELECTOR, "#controls, .card, circle, script") == []
    assert f"of {len(table):,} rows" in text


def test_the_page_names_the_reference_of_ranks(browser, findings, seed, tmp_path):
    among = findings.frame["rank_among"].iloc[0]
    text = open_page(browser, findings.to_html(), tmp_path / "all.html")
    assert f"Percentiles and usual values are those of {among}." in text
    assert text.count(among) == 1
    table = ueba.read_table(actor_days(seed), entity="actor", time="day")
    grouped = findings.rank_features(table, groups="actor", min_group=37)
    assert grouped.frame["rank_among"].str.startswith("no ranks").nunique() == 2
    open_page(browser, grouped.to_html(), tmp_path / "grouped.html")
    for finding_id, rank_among in zip(grouped.frame["finding_id"], grouped.frame["rank_among"], strict=True):
        head = finding(browser, finding_id).find_elements(By.TAG_NAME, "p")[1].text
        assert head.endswith(rank_among if rank_among.startswith("no ranks") else f"ranked among {rank_among}")
    # The filter by direction hides features without a rank.
    count = len(shown_ids(browser))
    choose(browser, "direction", "1")
    assert 0 < len(shown_ids(browser)) < count
    choose(browser, "direction", "")
    assert len(shown_ids(browser)) == count


def test_the_address_holds_the_filters(opened, findings):
    frame = findings.frame
    opened.find_element(By.ID, "text").send_keys("sales")
    choose(opened, "sort", "name")
    choose(opened, "direction", "1")
    month = f"{frame['day'].iloc[0]:%Y-%m}"
    Select(opened.find_element(By.ID, "month")).select_by_visible_text(month)
    expected, address = (shown_ids(opened), names(opened)), opened.current_url
    assert address.endswith(f"#text=sales&sort=name&month={month}&direction=1")
    # Somebody else opens the link.
    opened.get("about:blank")
    opened.get(address)
    assert (shown_ids(opened), names(opened)) == expected
    assert opened.find_element(By.ID, "text").get_attribute("value") == "sales"
    assert opened.current_url == address
    opened.find_element(By.ID, "clear").click()
    assert opened.current_url.endswith("#sort=name")
    choose(opened, "sort", "score")
    assert "#" not in opened.current_url
    # An address that was edited by hand shows what exists.
    opened.execute_script("location.hash = 'sort=nothing&entity=nobody&from=yesterday&state=odd'")
    assert len(shown_ids(opened)) == len(frame)


def test_a_click_on_a_name_shows_one_entity(opened, findings):
    frame = findings.frame
    name = frame["actor"].value_counts().index[0]
    link = opened.find_element(By.LINK_TEXT, name)
    opened.execute_script("arguments[0].scrollIntoView()", link)
    opened.execute_script("arguments[0].click()", link)
    assert names(opened) == [name]
    assert sorted(shown_ids(opened)) == ids_of(findings, frame["actor"] == name)
    assert opened.find_element(By.ID, "person-name").text == f"actor {name}"
    assert opened.switch_to.active_element.get_attribute("id") == "person-name"
    assert not opened.find_element(By.ID, "summary").is_displayed()
    table = visible(opened, ".compared table")[0]
    days = sorted(f"{day:%Y-%m-%d}" for day in frame["day"][frame["actor"] == name])
    assert set(days[:1]) <= {item.text for item in table.find_elements(By.CSS_SELECTOR, "thead a")} <= set(days)
    assert "everyone's usual day" in table.text
    address = opened.current_url
    opened.find_element(By.ID, "back").click()
    assert len(shown_ids(opened)) == len(frame)
    assert opened.find_element(By.ID, "summary").is_displayed()
    opened.get("about:blank")
    opened.get(address)
    assert names(opened) == [name]


def test_findings_are_found_by_their_ids(opened, findings):
    wanted = findings.frame["finding_id"].iloc[-1]
    opened.find_element(By.ID, "text").send_keys(wanted[:8])
    assert shown_ids(opened) == [wanted]
    assert wanted in finding(opened, wanted).text


def test_the_summary_names_reasons_and_no_flags(browser, seed, tmp_path):
    frame = actor_days(seed).assign(leaver_action=0)
    # Weekends are so rare here that they reach the percentile.
    frame["is_weekend"] = (np.arange(len(frame)) % 150 == 0).astype(int)
    result = ueba.detect(ueba.read_table(frame, entity="actor", time="day"), contamination=0.03)
    j = result.features.index("is_weekend")
    assert (result.percentiles[:, j] >= 99).any()
    open_page(browser, result.to_html(), tmp_path / "weekends.html")
    listed = [item.text for item in browser.find_elements(By.CSS_SELECTOR, ".frequent bdi")]
    assert listed
    assert "is_weekend" not in listed
    assert "entities" not in browser.find_element(By.TAG_NAME, "main").text.split("How the findings")[0]


def test_related_features_are_unfolded_by_a_click(browser, seed, tmp_path):
    frame = actor_days(seed)
    frame["n_0_twice"], frame["n_0_squared"] = frame["n_0"] * 2, frame["n_0"] ** 2
    result = ueba.detect(ueba.read_table(frame, entity="actor", time="day"), contamination=0.02)
    assert sorted(map(sorted, result.families)) == [["n_0", "n_0_squared", "n_0_twice"]]
    open_page(browser, result.to_html(), tmp_path / "families.html")
    summaries = visible(browser, ".f th summary")
    assert summaries
    for summary in summaries[:1]:
        related = summary.find_elements(By.XPATH, "ancestor::tbody/following-sibling::tbody[1]/tr")
        assert not any(row.is_displayed() for row in related)
        assert summary.text == f"{len(related)} related"
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", summary)
        summary.click()
        assert all(row.is_displayed() for row in related)
        text = summary.find_element(By.XPATH, "ancestor::div[@class='f']").text
        assert re.search(rf"{len(related)} related features? (is|are) (high|low|unusual) for the same reason", text)


@pytest.mark.parametrize(("verdict", "is_shown"), [("ok", False), ("watch", True), ("retrain", True)])
def test_drift_has_a_banner(browser, findings, tmp_path, verdict, is_shown):
    report = copy.copy(findings)
    report.manifest = {**findings.manifest, "drift": {"verdict": verdict, "reasons": ["n_0 moved"], "worst": ["n_0"]}}
    text = open_page(browser, report.to_html(), tmp_path / "drift.html")
    assert ("n_0 moved" in text) is is_shown
    assert len(visible(browser, f".drift.{verdict}")) == is_shown
    # A report that is given comes before the one in the manifest.
    table = ueba.read_table(actor_days(1), entity="actor", time="day")
    drift = ueba.Model.fit(table).drift(table)
    assert drift.verdict == "ok"
    assert '<section class="drift' not in report.to_html(drift=drift)
    # Documents from anybody may have anything here.
    for odd in ([], "retrain", {"verdict": ["retrain"]}, {"verdict": "retrain", "reasons": None}):
        report.manifest = {**findings.manifest, "drift": odd}
        assert "<h1>" in report.to_html()


@pytest.mark.parametrize("template", ["javascript:{entity}", "https://siem.example/{user}"])
def test_other_links_are_refused(findings, template):
    with pytest.raises(ValueError, match="link="):
        findings.to_html(link=template)


def test_links_to_another_system(browser, findings, tmp_path):
    page = findings.to_html(link="https://siem.example/?u={entity}&d={day}&id={id}")
    open_page(browser, page, tmp_path / "links.html")
    for row in findings.frame.head(3).itertuples():
        link = finding(browser, row.finding_id).find_element(By.CSS_SELECTOR, "a.out")
        expected = f"https://siem.example/?u={row.actor}&d={row.day:%Y-%m-%d}&id={row.finding_id}"
        assert link.get_attribute("href") == expected
        assert link.get_attribute("rel") == "noopener noreferrer"
        assert link.text == "open in siem.example"


def test_score_lines_need_no_script(findings):
    page = findings.to_html()
    assert page.count('<svg class="spark"') == findings.frame["actor"].nunique()
    without = copy.copy(findings)
    without.entity_scores = None
    assert '<svg class="spark"' not in without.to_html()


def test_states_have_chips(browser, findings, tmp_path):
    report = copy.copy(findings)
    states = [["new", "again", None][number % 3] for number in range(len(findings))]
    report.judged = [one._replace(seen=state) for one, state in zip(findings.judged, states, strict=True)]
    open_page(browser, report.to_html(), tmp_path / "states.html")
    states = pd.Series(states, index=findings.frame.index)
    chips = browser.find_elements(By.CSS_SELECTOR, "#states button")
    counts = states.value_counts()
    assert [chip.text for chip in chips] == [f"All {len(states)}", f"New {counts['new']}", f"Again {counts['again']}"]
    assert [chip.get_attribute("aria-pressed") for chip in chips] == ["false", "true", "false"]
    assert sorted(shown_ids(browser)) == ids_of(findings, states == "new")
    assert visible(browser, ".state.new")
    chips[2].click()
    assert sorted(shown_ids(browser)) == ids_of(findings, states == "again")
    assert browser.current_url.endswith("#state=again")
    chips[0].click()
    assert len(shown_ids(browser)) == len(findings)
    assert browser.current_url.endswith("#state=all")
    # A link to a finding shows it whatever its state.
    browser.get("about:blank")
    hidden_at_first = ids_of(findings, states == "again")[0]
    browser.get(f"{(tmp_path / 'states.html').as_uri()}#{hidden_at_first}")
    assert comes_into_view(browser, hidden_at_first)
    # A click on a name shows all findings of the entity.
    browser.execute_script("document.querySelector('.card:not([hidden]) a.name').click()")
    (name,) = names(browser)
    assert sorted(shown_ids(browser)) == ids_of(findings, findings.frame["actor"] == name)
