"""Test decisions on the page by what an analyst does: decide, download the file, and give it to the next run."""

import csv
import datetime
import time

import pandas as pd
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from hostile_names import HOSTILE
from isoxide import ueba
from ueba_tables import actor_days

pytestmark = [
    pytest.mark.browser,
    pytest.mark.not_parallel(reason="one browser for all"),
    pytest.mark.current_versions(reason="the report does not depend on scikit-learn"),
]


@pytest.fixture(scope="module")
def findings(seed):
    """Return findings whose entities and features have hostile names."""
    frame = actor_days(seed)
    names = dict(zip(sorted(frame["actor"].unique()), HOSTILE * 3, strict=False))
    renamed = frame.assign(actor=frame["actor"].map(names))
    renamed = renamed.rename(columns=dict(zip(["n_0", "n_3", "share_1"], HOSTILE, strict=False)))
    return ueba.detect(ueba.read_table(renamed, entity="actor", time="day"), contamination=0.05)


def open_page(browser, findings, folder, **options):
    """Open the page; downloads go to the folder."""
    path = findings.to_html(folder / "report.html", **options)
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    browser.get("about:blank")
    browser.get(path.as_uri())


def button(browser, finding_id, label):
    """Return a button of a finding, which the page makes when the finding comes near the window."""
    row = browser.find_element(By.ID, finding_id)
    browser.execute_script("arguments[0].scrollIntoView()", row)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        for element in row.find_elements(By.CSS_SELECTOR, ".do button"):
            if element.text == label:
                browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
                return element
        time.sleep(0.02)
    raise AssertionError(f"no button {label}")


def downloaded(browser, folder):
    """Click the button, and return the path of the file when it is complete."""
    path = folder / "decisions.csv"
    browser.execute_script("arguments[0].scrollIntoView()", browser.find_element(By.ID, "download"))
    browser.find_element(By.ID, "download").click()
    deadline = time.monotonic() + 10
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return path


def test_decisions_reach_the_next_run(browser, findings, tmp_path):
    open_page(browser, findings, tmp_path)
    frame = findings.frame
    # The most abnormal finding of three entities.
    decided = frame.drop_duplicates("actor").head(3)
    statuses = ["known-good", "false-positive", "confirmed"]
    assert not browser.find_element(By.ID, "decisions").is_displayed()
    for finding_id, status in zip(decided["finding_id"], statuses, strict=True):
        button(browser, finding_id, status).click()
        assert button(browser, finding_id, status).get_attribute("aria-pressed") == "true"
        # A new decision has no note yet.
        note = browser.find_element(By.ID, "note")
        assert note.get_attribute("value") == ""
        if status != "confirmed":
            note.send_keys('=1+1, a "note"')
    browser.find_element(By.ID, "who").send_keys("@ana")
    path = downloaded(browser, tmp_path)
    decisions = {decision.id: decision for decision in ueba.Decisions.read(path)}
    assert set(decisions) == set(decided["finding_id"])
    for (_, row), status, note in zip(decided.iterrows(), statuses, [*['=1+1, a "note"'] * 2, ""], strict=True):
        decision = decisions[row["finding_id"]]
        expected = findings.decide(row["finding_id"], status=status, who="@ana", note=note)
        assert (decision.entity, decision.time) == (row["actor"], f"{row['day']:%Y-%m-%d}")
        assert (decision.entity, decision.time, decision.score) == (expected.entity, expected.time, expected.score)
        assert set(decision.features) == set(expected.features)
        assert (decision.status, decision.note, decision.who) == (status, note, "@ana")
        assert abs(decision.when - datetime.datetime.now(datetime.timezone.utc)) < datetime.timedelta(minutes=5)
        expected_until = None if status == "confirmed" else decision.when.date() + datetime.timedelta(days=90)
        assert decision.until == expected_until
    applied = findings.apply(path)
    assert set(applied.hidden.frame["finding_id"]) >= set(decided["finding_id"][:2])
    assert applied.statuses[applied.frame["finding_id"].tolist().index(decided["finding_id"].iloc[2])] == "confirmed"
    # The next page shows what was decided.
    open_page(browser, applied, tmp_path)
    text = browser.find_element(By.CSS_SELECTOR, ".known summary").text
    assert text == f"{applied.n_hidden} hidden by 2 decisions"
    assert browser.find_element(By.ID, decided["finding_id"].iloc[2]).find_element(By.CSS_SELECTOR, ".confirmed").text


def test_cells_are_safe_in_spreadsheets(browser, findings, tmp_path):
    open_page(browser, findings, tmp_path)
    for finding_id in findings.frame.drop_duplicates("actor")["finding_id"]:
        button(browser, finding_id, "known-good").click()
    with open(downloaded(browser, tmp_path), newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [decision.entity for decision in ueba.Decisions.read(tmp_path / "decisions.csv")] == list(
        dict.fromkeys(findings.frame["actor"])
    )
    assert len(rows) == findings.frame["actor"].nunique()
    for row in rows:
        assert None not in row
        for text in row.values():
            assert not text.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


def test_a_decision_can_be_taken_back_by_keyboard(browser, findings, tmp_path):
    open_page(browser, findings, tmp_path)
    finding_id = findings.frame["finding_id"].iloc[0]
    decide = button(browser, finding_id, "known-good")
    browser.execute_script("arguments[0].focus()", decide)
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert decide.get_attribute("aria-pressed") == "true"
    assert browser.find_element(By.ID, "decided").text == "1 decision"
    assert "known-good" in browser.find_element(By.ID, "status").text
    browser.switch_to.active_element.send_keys(Keys.TAB)
    assert browser.switch_to.active_element.text == "false-positive"
    browser.switch_to.active_element.send_keys(Keys.SPACE)
    assert [decide.get_attribute("aria-pressed"), browser.find_element(By.ID, "decided").text] == [
        "false",
        "1 decision",
    ]
    browser.switch_to.active_element.send_keys(Keys.SPACE)
    assert not browser.find_element(By.ID, "decisions").is_displayed()


@pytest.mark.parametrize("has_clipboard", [True, False])
def test_a_finding_is_copied_for_a_ticket(browser, findings, tmp_path, has_clipboard):
    open_page(browser, findings, tmp_path, link="https://siem.example/?u={entity}")
    browser.execute_script(
        "window.copied = [];"
        "document.addEventListener('copy', () => window.copied.push(String(document.activeElement.value)));"
        "Object.defineProperty(navigator, 'clipboard', {value: arguments[0] ?"
        " {writeText: text => { window.copied.push(text); return Promise.resolve(); }} : undefined})",
        has_clipboard,
    )
    row = findings.frame.iloc[0]
    button(browser, row["finding_id"], "Copy for ticket").click()
    deadline = time.monotonic() + 5
    while not (copied := browser.execute_script("return window.copied")) and time.monotonic() < deadline:
        time.sleep(0.02)
    lines = copied[0].split("\n")
    assert copied[0].startswith(f"actor: {row['actor']}\n")
    assert f"id: {row['finding_id']}" in lines
    assert f"time: {row['day']:%Y-%m-%d}" in lines
    assert findings.features[findings.order[0, 0]] in copied[0]
    assert copied[0].split("\n")[-2].endswith(f"report.html#{row['finding_id']}")
    assert lines[-1].startswith("https://siem.example/?u=")


def test_a_missing_entity_is_decided_by_its_id(browser, seed, tmp_path):
    frame = actor_days(seed)
    frame["actor"] = frame["actor"].astype(object)
    findings = ueba.detect(ueba.read_table(frame, entity="actor", time="day"), contamination=0.02)
    findings.frame.iloc[0, findings.frame.columns.get_loc("actor")] = None
    open_page(browser, findings, tmp_path)
    button(browser, findings.frame["finding_id"].iloc[0], "confirmed").click()
    (decision,) = ueba.Decisions.read(downloaded(browser, tmp_path))
    assert (decision.entity, decision.id) == (None, findings.frame["finding_id"].iloc[0])


def test_times_of_a_zone_are_read_again(browser, seed, tmp_path):
    frame = actor_days(seed)
    frame["day"] = frame["day"].dt.tz_localize("Europe/Berlin") + pd.Timedelta("90min")
    findings = ueba.detect(ueba.read_table(frame, entity="actor", time="day"), contamination=0.02)
    open_page(browser, findings, tmp_path)
    finding_id = findings.frame["finding_id"].iloc[0]
    button(browser, finding_id, "known-good").click()
    (decision,) = ueba.Decisions.read(downloaded(browser, tmp_path))
    assert decision.time == findings.decide(finding_id, status="confirmed").time
    assert finding_id in findings.apply(tmp_path / "decisions.csv").hidden.frame["finding_id"].tolist()
