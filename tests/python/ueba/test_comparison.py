"""Findings compared with those of an earlier run."""

import datetime
import json

import numpy as np
import pandas as pd
import pytest

from enron_runs import READING, findings, mail, model, number_of
from isoxide import ueba
from isoxide.ueba._suppression import covered_features

WHEN = datetime.datetime(2026, 7, 3, tzinfo=datetime.timezone.utc)


@pytest.fixture(scope="module")
def month():
    """Return the findings of November and those of December."""
    frame = mail()
    return [findings(frame[frame["day"] < end], since) for since, end in (("2001-11-01", "2001-12-01"),
                                                                         ("2001-12-01", "2002-01-01"))]  # fmt: skip


def expected_states(found, earlier):
    """Return the states by their definition, without the families of the module."""
    family = {name: names[0] for names in found.families for name in names}

    def story(own):
        frame = own.frame
        reasons = [[family.get(own.features[j], own.features[j]) for j in row] for row in covered_features(own, 99.0)]
        return list(zip(frame["actor"], frame["day"], frame["anomaly_score"], reasons, strict=True))

    states = []
    for actor, day, score, reasons in story(found):
        leading = list(dict.fromkeys(reasons))[:3]
        same = [
            other for other in story(earlier)
            if other[0] == actor and (other[1] == day or (abs(day - other[1]) <= pd.Timedelta("30D")
                                                          and set(leading) <= set(other[3])))
        ]  # fmt: skip
        if not same:
            states.append("new")
        else:
            states.append("stronger" if score > max(other[2] for other in same) + 0.05 else "again")
    return states


def test_states_follow_their_definition(month):
    november, december = month
    comparison = december.compare(november)
    assert comparison.findings.states == expected_states(december, november)
    assert {"new", "again"} <= set(comparison.findings.states)
    counts = comparison.counts()
    assert sum(counts[state] for state in ("new", "again", "stronger")) == len(december)
    assert counts["gone"] == len(comparison.gone) > 0
    assert set(comparison.gone["reason"]) == {"this day was not scored again"}
    assert comparison.changes == []
    assert str(comparison).startswith(f"{counts['new']} new, {counts['again']} again, ")
    assert december.states == [None] * len(december)


def test_the_same_run_is_there_again(month):
    november, _ = month
    comparison = november.compare(november)
    assert comparison.findings.states == ["again"] * len(november)
    assert len(comparison.gone) == 0


def test_a_higher_score_is_stronger(month):
    november, _ = month
    lower = november.join(pd.DataFrame({"actor": november.frame["actor"].unique()}))
    lower.frame = lower.frame.assign(anomaly_score=lower.frame["anomaly_score"] - 0.0501)
    states = november.compare(lower).findings.states
    assert states == expected_states(november, lower)
    # Only other days of the same person can have a score as high.
    is_highest = ~november.frame["actor"].duplicated().to_numpy()
    assert set(np.array(states)[is_highest]) == {"stronger"}
    lower.frame = lower.frame.assign(anomaly_score=november.frame["anomaly_score"] - 0.0499)
    assert november.compare(lower).findings.states == ["again"] * len(november)


def test_other_reasons_are_a_new_story(month):
    november, december = month
    states = december.compare(november).findings.states
    number = states.index("again")
    reasons = {december.features[j] for j in covered_features(december, 99.0)[number]}
    family = {name for names in december.families if reasons & set(names) for name in names}
    # The finding has a further leading reason now.
    other = next(j for j, name in enumerate(december.features) if name not in reasons | family)
    changed = december.apply(ueba.Decisions())
    changed.percentiles, changed.order = changed.percentiles.copy(), changed.order.copy()
    changed.percentiles[number, other] = 100.0
    rest = [j for j in changed.order[number] if j != other]
    changed.order[number] = [other, *rest]
    earlier_of_entity = november.frame["actor"] == december.frame["actor"].iloc[number]
    had = {november.features[j] for n in np.flatnonzero(earlier_of_entity) for j in covered_features(november, 99.0)[n]}
    assert december.features[other] not in had
    assert changed.compare(november).findings.states[number] == "new"


def test_findings_that_are_not_there_any_more_are_gone():
    found = findings()
    frame = mail().copy()
    only = found.frame["actor"].value_counts()
    entity = only.index[only == 1][0]
    number = found.frame["actor"].tolist().index(entity)
    day = f"{found.frame['day'].iloc[number]:%Y-%m-%d}"
    comparison = findings(frame[~((frame["actor"] == entity) & (frame["day"] == day))]).compare(found)
    assert comparison.gone["entity"].tolist() == [entity]
    assert comparison.gone["time"].tolist() == [day]
    assert comparison.gone["reason"].tolist() == ["no finding on this day any more"]


def test_states_are_in_every_file(month, tmp_path):
    november, december = month
    path = november.to_json(tmp_path / "november.json")
    comparison = december.compare(path)
    compared = comparison.findings
    loaded = ueba.read_findings(compared.to_json(tmp_path / "december.json"))
    assert loaded.states == compared.states == loaded.to_frame()["state"].tolist()
    assert loaded.review.previous == compared.review.previous
    assert loaded.review.previous["source"] == str(path)
    document = json.loads((tmp_path / "december.json").read_text())
    assert [row["state"] for row in document["findings"]] == compared.states
    told = json.loads(json.dumps(comparison.to_dict()))
    assert told["counts"] == comparison.counts()
    assert [row["state"] for row in told["findings"]] == compared.states
    assert [row["id"] for row in told["gone"]] == comparison.gone["finding_id"].tolist()


def test_decisions_and_states_do_not_depend_on_their_order(month):
    november, december = month
    states = december.compare(november).findings.states
    number = states.index("again")
    decision = december.decide(december.frame["finding_id"].iloc[number], status="known-good", when=WHEN)
    lower = ueba.Decision(**{**vars(decision), "score": 0.1})
    for one in (decision, lower):
        decisions = ueba.Decisions([one])
        first = december.compare(november).findings.apply(decisions, today="2026-07-04")
        second = december.apply(decisions, today="2026-07-04").compare(november).findings
        assert (first.judged, first.hidden.judged) == (second.judged, second.hidden.judged)
    assert first.states.count("stronger") == states.count("stronger") + 1
    # A hidden finding of the earlier run is known, and not gone.
    hidden = december.apply(ueba.Decisions([decision]), today="2026-07-04")
    assert december.compare(hidden).counts()["again"] == len(december)
    assert hidden.compare(december).counts()["gone"] == 0


def test_changes_of_model_and_settings_are_named(month):
    november, _ = month
    frame = mail()
    table = ueba.read_table(frame[frame["day"] < "2001-11-01"], **{**READING, "exclude": ["n_prior_days", "n_cc"]})
    other = ueba.Model.fit(table, contamination=0.02, n_estimators=40, tail="both", bands=(10, 100, 1000))
    new = ueba.read_table(frame[(frame["day"] >= "2001-11-01") & (frame["day"] < "2001-12-01")], **READING)
    changes = other.detect(new).compare(november).changes
    assert changes[0] == f"model: {model().id} before, {other.id} now"
    assert "features left out: n_cc" in changes
    assert "forest.n_estimators: 60 before, 40 now" in changes
    assert "ranks.tail: upper before, both now" in changes
    assert "bands: [100.0, 1000.0, 10000.0] before, [10.0, 100.0, 1000.0] now" in changes
    assert any(change.startswith("threshold: ") for change in changes)


def test_forests_that_were_trained_on_different_tables_are_a_change():
    first, second = (ueba.detect(ueba.read_table(mail(), **READING), contamination=0.001) for _ in range(2))
    assert second.compare(first).changes == []
    first.manifest, second.manifest = ({**first.manifest, "sha256": digit * 64} for digit in "01")
    assert second.compare(first).changes == ["the forest was trained on another table, since neither run has a model"]


def test_a_run_of_another_table_is_refused(month):
    november, _ = month
    frame = mail()
    for renamed, message in (
        ({"actor": "person"}, "its entity is the column 'person', but that of the findings is 'actor'"),
        ({"day": "date"}, "its time is the column 'date'"),
        ({name: f"other_{name}" for name in november.features}, "0 of 66 features are in both runs"),
    ):
        other = frame.rename(columns=renamed)
        table = ueba.read_table(other, entity=renamed.get("actor", "actor"), time=renamed.get("day", "day"),
                                exclude=["n_prior_days"])  # fmt: skip
        with pytest.raises(ValueError, match=f"the previous run is of another table: {message}"):
            november.compare(ueba.detect(table, contamination=0.001))


def test_runs_of_early_versions_are_compared(month):
    november, _ = month
    old = november.apply(ueba.Decisions())
    old.manifest = {name: value for name, value in old.manifest.items() if name != "settings"}
    comparison = november.compare(old)
    assert comparison.changes == ["an early version wrote one of the runs, so its settings are not known"]
    with pytest.raises(ValueError, match="cutoff=-1 must be"):
        november.compare(old, cutoff=-1)


def test_quiet_runs_are_compared(month):
    november, _ = month
    quiet = findings(since="2002-06-21")
    assert len(quiet) == 0
    assert quiet.compare(november).counts() == {"new": 0, "again": 0, "stronger": 0, "gone": len(november)}
    assert november.compare(quiet).counts() == {"new": len(november), "again": 0, "stronger": 0, "gone": 0}
    assert number_of(november, *next(zip(november.frame["actor"], november.frame["day"].dt.strftime("%Y-%m-%d"),
                                         strict=True))) == 0  # fmt: skip
