"""Test that detection on partitions gives the findings of the same rows in memory."""

import numpy as np
import pandas as pd
import pytest

from isoxide import IsolationForest, rank_features, ueba
from isoxide._partitioned import detect
from isoxide._partitioned.profile import ProfiledTable
from list_engine import ListEngine, ListTable, arrow, partitioned
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
    "options",
    [
        {},
        {"contamination": 0.02},
        {"contamination": 0.02, "tail": "both", "groups": "group", "kind": "mean"},
        {"contamination": 0.01, "groups": "actor"},
        {"contamination": 0.02, "groups": "actor", "min_group": 65},
        {"contamination": 0.02, "groups": "team", "min_group": 3},
        {"contamination": 0.02, "groups": "is_weekend", "nan_policy": "propagate"},
        {"contamination": 0.02, "groups": "actor", "min_group": 10**6},
        {"contamination": 0.02, "groups": "size"},
        {"contamination": 0.02, "groups": "size", "min_group": 130, "tail": "both", "nan_policy": "propagate"},
        {"top": 7},
        {"threshold": -0.9},
        {"threshold": -0.04},
        {"alerts_per_month": 20},
        {"forest": IsolationForest(random_state=5, contamination=0.03)},
        {"contamination": 0.02, "rules": [ueba.Percentile((90, 99.9)), ueba.Flag(["is_weekend"])]},
        {"contamination": 0.02, "nan_policy": "propagate"},
    ],
    ids=str,
)
def test_findings_equal_those_in_memory(frame, seed, n_partitions, options):
    expected = ueba.detect(ueba.read_table(frame, **NAMES), **options)
    actual = partitioned(arrow(frame), n_partitions, seed).detect(**NAMES, **options)
    assert_same_findings(actual, expected)


# Columns with another role: features of several types, keys, and columns that are no features.
@pytest.mark.parametrize(
    ("groups", "min_group"),
    [("count", 20), ("flag", 50), ("float32", 1), ("missing32", 2), ("day", 10), ("actor", 20), ("empty", 2)],
)
def test_a_column_with_another_role_is_the_group_as_in_memory(frame, seed, groups, min_group):
    options = {"contamination": 0.01, "groups": groups, "min_group": min_group}
    expected = ueba.detect(ueba.read_table(frame, **NAMES), **options)
    actual = partitioned(arrow(frame), 3, seed).detect(**NAMES, **options)
    assert_same_findings(actual, expected)
    rows, features = frame.head(30), ["count", "float32"]
    ranks = partitioned(arrow(frame), 3, seed).rank_features(rows, features=features, groups=groups)
    expected = rank_features(rows, frame, features=features, groups=groups)
    np.testing.assert_array_equal(ranks.percentiles, expected.percentiles)


class CountingEngine(ListEngine):
    """Engine that counts its passes over the rows, and on which `key` can be set, as on Spark."""

    n_passes = 0

    def aggregate(self, aggregator):
        self.n_passes += 1
        return super().aggregate(aggregator)


@pytest.mark.parametrize(("has_key", "n_passes"), [(False, 3), (True, 4)], ids=["row numbers", "key"])
def test_the_table_is_read_few_times_on_a_cluster(frame, seed, has_key, n_passes):
    """If the engine has no row numbers, one more pass fetches the rows that trees draw and those of the families."""
    frame = frame.drop_duplicates(["actor", "day"]).reset_index(drop=True)
    table = arrow(frame)
    for options in ({"contamination": 0.02}, {"top": 5}, {"contamination": 0.02, "groups": "group"}):
        engine = CountingEngine([table.slice(start, 900) for start in range(0, len(frame), 900)], seed)
        if has_key:
            engine.key = ("id",)
        expected = ueba.detect(ueba.read_table(frame, **NAMES), **options)
        actual = ListTable(engine).detect(**NAMES, **options)
        assert engine.n_passes == n_passes
        assert_same_findings(actual, expected) if not has_key else len(actual) == len(expected)


def test_a_fitted_forest_is_used_as_it_is(frame, seed):
    table = ueba.read_table(frame, **NAMES)
    forest = IsolationForest(random_state=3, contamination=0.05).fit(table.X)
    before = forest.to_bytes()
    for options in ({}, {"contamination": 0.01}, {"alerts_per_month": 10}):
        actual = partitioned(arrow(frame), 5, seed).detect(**NAMES, forest=forest, **options)
        assert_same_findings(actual, ueba.detect(table, forest=forest, **options))
    assert forest.to_bytes() == before


DAYS = {
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


@pytest.mark.parametrize("day_type", DAYS)
def test_days_of_any_type_are_read_as_in_memory(frame, seed, day_type):
    frame = frame.assign(day=DAYS[day_type](frame["day"]))
    # The partitions are Arrow tables, so the table in memory is one too.
    expected = ueba.detect(ueba.read_table(arrow(frame), **NAMES), contamination=0.02)
    actual = partitioned(arrow(frame), 5, seed).detect(**NAMES, contamination=0.02)
    assert_same_findings(actual, expected)


@pytest.mark.parametrize("options", [{}, {"groups": "group"}, {"groups": "actor"}], ids=str)
def test_quantiles_of_many_distinct_values_take_more_passes(seed, monkeypatch, options):
    frame = actor_days(seed)
    expected = ueba.detect(ueba.read_table(frame, **NAMES), contamination=0.02, **options)
    # Both the quantiles of groups and those of whole columns are limited.
    monkeypatch.setattr("isoxide._partitioned.quantiles.CAPACITY", 20)
    monkeypatch.setattr("isoxide._frames.profile.CAPACITY", 20)
    actual = partitioned(arrow(frame), 4, seed).detect(**NAMES, contamination=0.02, **options)
    assert_same_findings(actual, expected)


@pytest.mark.parametrize("options", [{}, {"groups": "actor"}, {"groups": "group"}, {"contamination": 0.01}], ids=str)
def test_a_day_without_findings_gives_empty_results(frame, seed, options):
    table = ueba.read_table(frame, **NAMES)
    forest = IsolationForest(random_state=0).fit(table.X)
    forest.offset_ = forest.score_samples(table.X).min() - 0.01
    one_day = frame[frame["day"] == frame["day"].iloc[0]].reset_index(drop=True)
    if "contamination" in options:
        # All scores are equal: none is below the percentile.
        one_day = one_day.drop(columns="empty").dropna().iloc[[0]]
    expected = ueba.detect(ueba.read_table(one_day, **NAMES, include=list(table.features)), forest=forest, **options)
    actual = partitioned(arrow(one_day), 3, seed).detect(
        **NAMES, include=list(table.features), forest=forest, **options
    )
    assert len(actual) == 0
    assert_same_findings(actual, expected)


def test_findings_with_equal_scores_are_ordered_by_time_latest_first(frame, seed):
    frame = frame.drop(columns="empty").dropna()
    worst = ueba.detect(ueba.read_table(frame, **NAMES), contamination=0.02).frame.index[0]
    days = ["2025-03-03", "2025-03-05", "2025-03-05T01:00:00", "2025-03-01"]
    copies = pd.concat([frame.iloc[[worst]]] * 4).assign(actor=list("abcd"), day=days)
    equal = pd.concat([frame, copies], ignore_index=True).sample(frac=1, random_state=seed % 2**31, ignore_index=True)
    expected = ueba.detect(ueba.read_table(equal, **NAMES), contamination=0.03)
    actual = partitioned(arrow(equal), 4, seed).detect(**NAMES, contamination=0.03)
    assert_same_findings(actual, expected)
    assert [actor for actor in actual.frame["actor"] if actor in "abcd"] == list("cbad")


def test_a_table_smaller_than_the_samples_of_a_tree_is_refused_or_gives_a_warning(frame, seed):
    few_rows = frame.iloc[:200].drop(columns="empty")
    with pytest.warns(UserWarning, match="the forest is fitted on a table of") as caught:
        actual = partitioned(arrow(few_rows), 3, seed).detect(**NAMES, contamination=0.02, train_on_this=True)
    assert [str(warning.message) for warning in caught] == actual.manifest["notes"][: len(caught)]
    with pytest.warns(UserWarning, match="fewer than the 256 rows that a tree draws"):
        expected = ueba.detect(ueba.read_table(few_rows, **NAMES), contamination=0.02, train_on_this=True)
    assert_same_findings(actual, expected)
    with pytest.raises(ValueError, match=r"too small to train on: it has \d+ rows, fewer than the 256 rows"):
        partitioned(arrow(few_rows), 3, seed).detect(**NAMES, contamination=0.02)


def test_the_profile_equals_that_in_memory(frame, seed):
    expected = ueba.read_table(frame, **NAMES).profile
    profiled = ProfiledTable(partitioned(arrow(frame), 6, seed).engine, **NAMES)
    assert profiled.profile == expected
    assert expected.n_duplicates == 40
    assert expected.id_like == ["id"]


def refusal(frame, **options):
    with pytest.raises(ValueError, match=r".+") as caught:
        partitioned(arrow(frame), 3).detect(**{**NAMES, **options})
    return str(caught.value)


def test_messages_of_refusals_equal_those_in_memory(frame):
    with_infinity = frame.assign(normal=np.where(frame.index == 7, np.inf, frame["normal"]))
    for table, options in (
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
        (with_infinity, {"contamination": 0.1}),
    ):
        names = {name: options.get(name, NAMES.get(name)) for name in ("entity", "time", "include", "exclude")}
        other_options = {name: value for name, value in options.items() if name not in names}
        with pytest.raises(ValueError, match=r".+") as caught:
            ueba.detect(ueba.read_table(table, **names), **other_options)
        assert refusal(table, **options) == str(caught.value)


def test_a_contamination_out_of_range_is_refused(frame):
    assert refusal(frame, contamination=0.7) == "contamination=0.7 must be in (0, 0.5]"
    assert "contamination" in refusal(frame, calibration_contamination=0.7, threshold=-0.1)


def test_days_that_cannot_be_read_are_refused_by_row(frame):
    day = frame["day"].copy()
    day[1234] = "yesterday"
    message = refusal(frame.assign(day=day))
    assert "column 'day' has 'yesterday' in row" in message
    day[1234] = None
    assert "column 'day' has no value in row" in refusal(frame.assign(day=day))
    assert "has no column 'when' (time)" in refusal(frame, time="when")


def test_too_many_findings_are_refused(frame, monkeypatch):
    monkeypatch.setattr(detect, "MAX_FINDINGS", 10)
    assert "more than 10 rows are anomalies" in refusal(frame, contamination=0.3)
    monkeypatch.setattr("isoxide._partitioned.profile.MAX_SHARED_KEYS", 10)
    assert "more than 10 rows share" in refusal(frame)
