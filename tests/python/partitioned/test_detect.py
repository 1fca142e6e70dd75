"""Detection on tables in partitions: the findings of the same rows in memory."""

import numpy as np
import pandas as pd
import pytest

from isoxide import IsolationForest, ueba
from isoxide._partitioned import detect
from isoxide._partitioned.profile import ProfiledTable
from list_engine import arrow, partitioned
from partition_findings import NAMES, actor_days, assert_same_findings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.current_versions(reason="quantiles of pandas 2.2 have other last bits"),
]


@pytest.fixture(scope="module")
def frame(seed):
    return actor_days(seed)


N_PARTITIONS = (1, 2, 7, 64)


@pytest.mark.parametrize("n_partitions", N_PARTITIONS)
@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"contamination": 0.02},
        {"contamination": 0.02, "tail": "both", "groups": "group", "kind": "mean"},
        {"contamination": 0.01, "groups": "actor"},
        {"contamination": 0.02, "groups": "actor", "min_group": 65},
        {"contamination": 0.02, "groups": "team", "min_group": 3},
        {"contamination": 0.02, "groups": "is_weekend", "nan_policy": "propagate"},
        {"contamination": 0.02, "groups": "actor", "min_group": 10**6},
        {"threshold": -0.9},
        {"threshold": -0.04},
        {"alerts_per_month": 20},
        {"forest": IsolationForest(random_state=5, contamination=0.03)},
        {"contamination": 0.02, "rules": [ueba.Percentile((90, 99.9)), ueba.Flag(["is_weekend"])]},
        {"contamination": 0.02, "nan_policy": "propagate"},
    ],
    ids=str,
)
def test_findings(frame, seed, n_partitions, chosen):
    expected = ueba.detect(ueba.read_table(frame, **NAMES), **chosen)
    found = partitioned(arrow(frame), n_partitions, seed).detect(**NAMES, **chosen)
    assert_same_findings(found, expected)


def test_a_fitted_forest_is_not_grown_again(frame, seed):
    table = ueba.read_table(frame, **NAMES)
    forest = IsolationForest(random_state=3, contamination=0.05).fit(table.X)
    before = forest.to_bytes()
    for chosen in ({}, {"contamination": 0.01}, {"alerts_per_month": 10}):
        found = partitioned(arrow(frame), 5, seed).detect(**NAMES, forest=forest, **chosen)
        assert_same_findings(found, ueba.detect(table, forest=forest, **chosen))
    assert forest.to_bytes() == before


TIMES = {
    "texts": lambda day: day,
    "texts with times": lambda day: day + "T13:30:00",
    "several zones": lambda day: day.where(day.index % 2 == 0, day + "T23:30:00-05:00"),
    "one zone": lambda day: day + "T00:00:00Z",
    "times": pd.to_datetime,
    "times with a zone": lambda day: pd.to_datetime(day).dt.tz_localize("Europe/Berlin"),
    "dates": lambda day: pd.to_datetime(day).dt.date,
    "numbers": lambda day: day.str.replace("-", "").astype(int),
    "categories": lambda day: day.astype("category"),
}


@pytest.mark.parametrize("kind", TIMES)
def test_times(frame, seed, kind):
    frame = frame.assign(day=TIMES[kind](frame["day"]))
    # As pandas reads the partitions: from Arrow.
    expected = ueba.detect(ueba.read_table(arrow(frame), **NAMES), contamination=0.02)
    found = partitioned(arrow(frame), 5, seed).detect(**NAMES, contamination=0.02)
    assert_same_findings(found, expected)


@pytest.mark.parametrize("chosen", [{}, {"groups": "group"}, {"groups": "actor"}], ids=str)
def test_quantiles_of_many_distinct_values_take_more_passes(seed, monkeypatch, chosen):
    frame = actor_days(seed)
    expected = ueba.detect(ueba.read_table(frame, **NAMES), contamination=0.02, **chosen)
    # Both the quantiles of groups and those of whole columns are limited.
    monkeypatch.setattr("isoxide._partitioned.quantiles.CAPACITY", 20)
    monkeypatch.setattr("isoxide._frames.profile.CAPACITY", 20)
    found = partitioned(arrow(frame), 4, seed).detect(**NAMES, contamination=0.02, **chosen)
    assert_same_findings(found, expected)


@pytest.mark.parametrize("chosen", [{}, {"groups": "actor"}, {"groups": "group"}, {"contamination": 0.01}], ids=str)
def test_a_quiet_day(frame, seed, chosen):
    table = ueba.read_table(frame, **NAMES)
    forest = IsolationForest(random_state=0).fit(table.X)
    forest.offset_ = forest.score_samples(table.X).min() - 0.01
    one = frame[frame["day"] == frame["day"].iloc[0]].reset_index(drop=True)
    if "contamination" in chosen:
        # All scores are equal: none is below the percentile.
        one = one.drop(columns="empty").dropna().iloc[[0]]
    expected = ueba.detect(ueba.read_table(one, **NAMES, include=list(table.features)), forest=forest, **chosen)
    found = partitioned(arrow(one), 3, seed).detect(**NAMES, include=list(table.features), forest=forest, **chosen)
    assert len(found) == 0
    assert_same_findings(found, expected)


def test_of_equal_scores_the_latest_comes_first(frame, seed):
    frame = frame.drop(columns="empty").dropna()
    worst = ueba.detect(ueba.read_table(frame, **NAMES), contamination=0.02).frame.index[0]
    days = ["2025-03-03", "2025-03-05", "2025-03-05T01:00:00", "2025-03-01"]
    copies = pd.concat([frame.iloc[[worst]]] * 4).assign(actor=list("abcd"), day=days)
    equal = pd.concat([frame, copies], ignore_index=True).sample(frac=1, random_state=seed % 2**31, ignore_index=True)
    expected = ueba.detect(ueba.read_table(equal, **NAMES), contamination=0.03)
    found = partitioned(arrow(equal), 4, seed).detect(**NAMES, contamination=0.03)
    assert_same_findings(found, expected)
    assert [who for who in found.frame["actor"] if who in "abcd"] == list("cbad")


def test_a_table_smaller_than_a_tree_draws_is_told(frame, seed):
    some = frame.iloc[:200].drop(columns="empty")
    with pytest.warns(UserWarning, match="the forest is fitted on a table of") as caught:
        found = partitioned(arrow(some), 3, seed).detect(**NAMES, contamination=0.02)
    assert [str(warning.message) for warning in caught] == found.manifest["notes"][: len(caught)]
    with pytest.warns(UserWarning, match="fewer than the 256 rows that a tree draws"):
        expected = ueba.detect(ueba.read_table(some, **NAMES), contamination=0.02)
    assert_same_findings(found, expected)


def test_the_profile_is_that_of_the_table(frame, seed):
    expected = ueba.read_table(frame, **NAMES).profile
    profiled = ProfiledTable(partitioned(arrow(frame), 6, seed).engine, **NAMES)
    assert profiled.profile == expected
    assert expected.n_duplicates == 40
    assert expected.id_like == ["id"]


def refused(frame, **chosen):
    with pytest.raises(ValueError, match=r".+") as caught:
        partitioned(arrow(frame), 3).detect(**{**NAMES, **chosen})
    return str(caught.value)


def test_refusals_are_those_in_memory(frame):
    odd = frame.assign(normal=np.where(frame.index == 7, np.inf, frame["normal"]))
    for table, chosen in (
        (frame, {"threshold": 0.9}),
        (frame, {"threshold": np.nan}),
        (frame, {"groups": "group", "min_group": 0}),
        (frame, {"rules": [ueba.Percentile((99, 101))]}),
        (frame.rename(columns={"normal": "score"}), {}),
        (frame.rename(columns={"normal": "rank_among"}), {}),
        (frame.rename(columns={"actor": "reasons"}), {"entity": "reasons"}),
        (frame.rename(columns={"day": "first_seen"}), {"time": "first_seen"}),
        (frame, {"alerts_per_month": 1e9}),
        (frame, {"alerts_per_month": 0}),
        (frame, {"threshold": -0.1, "alerts_per_month": 3}),
        (frame, {"exclude": "n_*"}),
        (frame, {"include": "group"}),
        (frame, {"entity": "day"}),
        (frame, {"groups": "nobody"}),
        (odd, {"contamination": 0.1}),
    ):
        names = {name: chosen.get(name, NAMES.get(name)) for name in ("entity", "time", "include", "exclude")}
        rest = {name: value for name, value in chosen.items() if name not in names}
        with pytest.raises(ValueError, match=r".+") as caught:
            ueba.detect(ueba.read_table(table, **names), **rest)
        assert refused(table, **chosen) == str(caught.value)


def test_shares_out_of_range(frame):
    assert refused(frame, contamination=0.7) == "contamination=0.7 must be in (0, 0.5]"
    assert "contamination" in refused(frame, calibration_contamination=0.7, threshold=-0.1)


def test_times_that_cannot_be_read_are_told_by_their_row(frame):
    day = frame["day"].copy()
    day[1234] = "yesterday"
    message = refused(frame.assign(day=day))
    assert "column 'day' has 'yesterday' in row" in message
    day[1234] = None
    assert "column 'day' has no value in row" in refused(frame.assign(day=day))
    assert "has no column 'when' (time)" in refused(frame, time="when")


def test_too_many_findings_are_refused(frame, monkeypatch):
    monkeypatch.setattr(detect, "MAX_FINDINGS", 10)
    assert "more than 10 rows are anomalies" in refused(frame, contamination=0.3)
    monkeypatch.setattr("isoxide._partitioned.profile.MAX_SHARED_KEYS", 10)
    assert "more than 10 rows share" in refused(frame)
