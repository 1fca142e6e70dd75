"""Test the shares of findings: contributions of their forest, families, reports, tables and files."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from hostile_names import HOSTILE
from isoxide import ueba
from isoxide._common.format import format_share
from isoxide.ueba import _document
from isoxide.ueba._identifiers import document_id
from isoxide.ueba._shares import Explained, parts_of
from ueba_tables import actor_days

NAMES = {"entity": "actor", "time": "day"}


@pytest.fixture(scope="module")
def table(seed):
    frame = actor_days(seed)
    # A feature that moves with another one.
    frame["twin"] = frame["share_1"] * 3 + 1
    return ueba.read_table(frame, **NAMES)


@pytest.fixture(scope="module")
def findings(table):
    return ueba.detect(table, contamination=0.05)


def test_contributions_are_those_of_the_forest(table, findings):
    explanation = findings.forest.explain(table.X.loc[findings.frame.index])
    assert_array_equal(findings.contributions, np.asarray(explanation))
    assert_allclose(findings.shares, explanation.share(), rtol=1e-12)
    assert findings.expected_score == pytest.approx(2 ** explanation.base_values[0], rel=1e-15)
    total = np.log2(findings.expected_score) + findings.contributions.sum(axis=1)
    assert_allclose(2**total, findings.frame["anomaly_score"], rtol=1e-12)
    assert_allclose(findings.shares.sum(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize(("row", "feature"), [(5, "high"), (6, "low")])
def test_high_and_low_values_have_a_share(seed, row, feature):
    frame = pd.DataFrame(np.random.default_rng(seed).normal(size=(400, 3)), columns=["high", "low", "other"])
    frame.loc[5, "high"], frame.loc[6, "low"] = 40.0, -40.0
    frame["actor"], frame["day"] = "a", pd.date_range("2024-01-01", periods=400)
    findings = ueba.detect(ueba.read_table(frame, **NAMES), contamination=0.05)
    number, j = findings.frame.index.get_loc(row), findings.features.index(feature)
    assert findings.contributions[number, j] > 0.05
    assert findings.shares[number].argmax() == j
    assert findings.share_table(number)["features"].iloc[0] == [feature]
    assert (
        findings.to_frame()["top_shares"]
        .iloc[number]
        .startswith(f"{feature} {format_share(findings.shares[number, j])}")
    )


def test_families_are_added_up(findings):
    assert sorted(["share_1", "twin"]) in [sorted(family) for family in findings.families]
    for number in range(len(findings)):
        shares = findings.share_table(number)
        assert shares["share"].is_monotonic_decreasing
        assert shares["share"].sum() == pytest.approx(1)
        own = dict(zip(findings.features, findings.shares[number], strict=True))
        for members, share in zip(shares["features"], shares["share"], strict=True):
            assert share == pytest.approx(sum(own[name] for name in members))
            assert [own[name] for name in members] == sorted((own[name] for name in members), reverse=True)
        named = [name for members in shares["features"] for name in members]
        assert sorted(named) == sorted(name for name, share in own.items() if share > 0)
    for number in (len(findings), -len(findings) - 1):
        with pytest.raises(IndexError, match=f"number={number} is out of range: there are {len(findings)} findings"):
            findings.share_table(number)


def test_parts_of_a_summary():
    explained = Explained(np.zeros((1, 9)), -1.0, [[0, 1, 2, 3, 4], [5, 6]])
    parts = [*parts_of(explained, np.array([0.1, 0.05, 0.05, 0.01, 0.01, 0.15, 0.12, 0.33, 0.18]))]
    assert parts == [([7], 0, "33 %"), ([5, 6], 0, "27 %"), ([0, 1, 2], 2, "22 %"), ([8], 0, "18 %")]
    alone = Explained(np.zeros((1, 9)), -1.0)
    parts = [*parts_of(alone, np.array([0.3, 0.2, 0.2, 0.1, 0.1, 0.1, 0.0, 0.0, 0.0]))]
    assert parts == [([0], 0, "30 %"), ([1], 0, "20 %"), ([2], 0, "20 %"), ([3], 0, "10 %"), ([], 2, "20 %")]
    assert [*parts_of(alone, np.zeros(9))] == []


def test_without_explanation(table):
    findings = ueba.detect(table, contamination=0.05, explain=False)
    assert findings.contributions is findings.shares is findings.expected_score is None
    assert findings.families == []
    assert "top_shares" not in findings.to_frame()
    assert "contributions" not in _document.dump(findings)
    with pytest.raises(ValueError, match="the findings have no shares; call detect with explain=True"):
        findings.share_table(0)
    assert "Share" not in findings.to_markdown()
    assert "<th>Share" not in findings.to_html()


def test_a_quiet_day(table):
    quiet = ueba.detect(table, threshold=-0.9)
    assert quiet.shares.shape == quiet.contributions.shape == (0, len(table.features))
    assert 0 < quiet.expected_score < 1
    assert "No findings" in quiet.to_html()
    assert "No row is an anomaly" in quiet.to_markdown()
    assert len(quiet.to_frame()) == 0


def test_findings_are_ranked_again_with_the_same_shares(table, findings):
    ranked = findings.rank_features(table, tail="both")
    assert_array_equal(ranked.shares, findings.shares)
    assert ranked.families == findings.families


def test_reports_show_shares(findings):
    page, text = (write(cutoff=95, always_show=[]) for write in (findings.to_html, findings.to_markdown))
    selected = findings.selected(95)
    number = int(selected.sum(axis=1).argmax())
    listed = format_share(float(findings.shares[number, selected[number]].sum()))
    assert f"The features above add up to <b>{listed}</b>." in page
    assert f"The features in the table add up to {listed}." in text
    assert page.count('<p class="shares">') == text.count("of the abnormality;") == len(findings)
    assert "It is not better at naming the culprit" in page
    assert "It is not better at naming the culprit" in text


def test_reports_escape_the_names_of_shares(seed):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(400, len(HOSTILE))), columns=HOSTILE)
    frame[HOSTILE[1]] = frame[HOSTILE[0]]
    frame["actor"], frame["day"] = "a", pd.date_range("2024-01-01", periods=400).strftime("%Y-%m-%d")
    findings = ueba.detect(ueba.read_table(frame, **NAMES), contamination=0.02)
    assert len(findings.families) == 1
    page, text = findings.to_html(), findings.to_markdown()
    for dangerous in ("<script>alert", "<img src", "<b>bold"):
        assert dangerous not in page
    summaries = [line for line in text.splitlines() if "of the abnormality" in line]
    assert len(summaries) == len(findings)
    # A share below half a percent is written as "<1 %", which is no markup.
    assert not any(re.search(r"(?<!\\)[<>|]", line.replace("<1 %", "")) for line in summaries)


def test_files_keep_shares(findings, table, tmp_path):
    again = ueba.read_findings(findings.to_json(tmp_path / "findings.json"))
    assert_array_equal(again.contributions, findings.contributions)
    assert (again.families, again.expected_score) == (findings.families, findings.expected_score)
    assert again.to_html() == findings.to_html()
    pd.testing.assert_frame_equal(again.to_frame(), findings.to_frame())
    without = ueba.detect(table, contamination=0.05, explain=False)
    assert ueba.read_findings(without.to_json(tmp_path / "without.json")).shares is None


DAMAGES = {
    "explanation": (lambda d: d.update(explanation=[]), "'explanation' must be an object"),
    "no contributions": (lambda d: d["findings"][0].pop("contributions"), "it lacks 'contributions'"),
    "no families": (lambda d: d["explanation"].pop("families"), "it lacks 'families'"),
    "expected": (lambda d: d["explanation"].update(expected="1"), "'expected' is '1', but must be a number"),
    "families": (lambda d: d["explanation"].update(families={}), "'families' must be a list"),
    "family": (lambda d: d["explanation"].update(families=[3]), "each of 'families' must be a list"),
    "member": (
        lambda d: d["explanation"].update(families=[[0, 10**6]]),
        "'families' is 1000000, but must be an integer",
    ),
    "twice": (lambda d: d["explanation"].update(families=[[0, 1], [1]]), "'families' must not name a feature twice"),
    "none": (lambda d: d["findings"][0].update(contributions=None), "'contributions' must be a list of"),
    "null": (lambda d: d["findings"][0]["contributions"].__setitem__(0, None), "a 'contribution' is missing"),
    "huge": (lambda d: d["findings"][0]["contributions"].__setitem__(0, 1e300), "'contributions' is 1e\\+300, but"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_damaged_files_are_refused(findings, damage, message):
    document = json.loads(_document.dump(findings))
    damage(document)
    with pytest.raises(ValueError, match=f"^findings is damaged: .*{message}"):
        _document.load(document, "findings")


def test_the_name_of_the_column_is_refused(seed):
    frame = actor_days(seed).assign(top_shares=1.0)
    with pytest.raises(ValueError, match=r"column 'top_shares' .a feature. has the name of a column that findings add"):
        ueba.detect(ueba.read_table(frame, **NAMES), contamination=0.05)


def test_models_keep_families(table, findings, tmp_path):
    model = ueba.Model.fit(table, contamination=0.05)
    found = model.detect(table)
    assert found.families == findings.families
    assert_array_equal(found.contributions, np.asarray(model.forest.explain(table.X.loc[found.frame.index])))
    model.save(tmp_path)
    loaded = ueba.Model.load(tmp_path)
    assert loaded.detect(table).families == findings.families
    path = tmp_path / "model.json"
    document = json.loads(path.read_text())

    def load_changed(change):
        content = {k: v for k, v in document.items() if k not in ("format", "version", "id", "provenance")}
        change(content)
        path.write_text(json.dumps({**document, **content, "id": document_id(content)}))
        return ueba.Model.load(tmp_path)

    with pytest.raises(ValueError, match="'families' must not name a feature twice"):
        load_changed(lambda content: content.update(families=[[0, 0]]))
    with pytest.raises(ValueError, match="'families' is -1, but must be an integer from 0"):
        load_changed(lambda content: content.update(families=[[0, -1]]))


def test_models_of_earlier_files_have_no_families(table, tmp_path):
    ueba.Model.fit(table, contamination=0.05).save(tmp_path)
    path = tmp_path / "model.json"
    document = json.loads(path.read_text())
    content = {k: v for k, v in document.items() if k not in ("format", "version", "id", "provenance", "families")}
    kept = {k: v for k, v in document.items() if k != "families"}
    path.write_text(json.dumps({**kept, "id": document_id(content)}))
    found = ueba.Model.load(tmp_path).detect(table)
    assert found.families == []
    assert found.shares is not None
