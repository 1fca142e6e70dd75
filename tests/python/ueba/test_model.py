"""Models are trained and stored: the same table gives the same files, and bad tables and options are refused."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from isoxide import IsolationForest, ueba
from ueba_tables import actor_days

NAMES = {"entity": "actor", "time": "day"}


@pytest.fixture(scope="module")
def frame(seed):
    return actor_days(seed)


@pytest.fixture(scope="module")
def table(frame):
    return ueba.read_table(frame, **NAMES)


@pytest.fixture(scope="module")
def model(table):
    return ueba.Model.fit(table, alerts_per_month=25, n_estimators=30, groups="leaver_action")


def test_a_stored_model_is_the_same(model, table, tmp_path):
    folder = model.save(tmp_path / "new" / "model")
    assert sorted(path.name for path in folder.iterdir()) == [
        "entities.parquet", "forest.safetensors", "model.json", "reference.parquet",
    ]  # fmt: skip
    again = ueba.Model.load(folder)
    assert (again.id, again.threshold, again.features, again.training) == (
        model.id, model.threshold, model.features, model.training,
    )  # fmt: skip
    own, expected = again.detect(table), model.detect(table)
    pd.testing.assert_frame_equal(own.frame, expected.frame)
    assert_array_equal(own.percentiles, expected.percentiles)
    second = again.save(tmp_path / "copy")
    for path in folder.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()


def test_the_model_does_not_depend_on_threads_or_the_order_of_columns_that_are_no_features(table, frame, model):
    again = ueba.Model.fit(
        ueba.read_table(frame.assign(note="text"), **NAMES), alerts_per_month=25, n_estimators=30,
        groups="leaver_action", n_jobs=1,
    )  # fmt: skip
    assert again.id == model.id
    assert again._data.files == model._data.files
    assert ueba.Model.fit(table, alerts_per_month=24, n_estimators=30, groups="leaver_action").id != model.id


@pytest.mark.parametrize(
    "chosen", [{}, {"threshold": 0.6}, {"contamination": 0.03}, {"alerts_per_month": 25}, {"random_state": 3}], ids=str
)
def test_thresholds_are_those_of_detect(table, chosen):
    """The model's threshold separates the rows that `detect` finds in the training table with the same forest."""
    model = ueba.Model.fit(table, n_estimators=20, **chosen)
    forest = IsolationForest(n_estimators=20, random_state=chosen.get("random_state", 0))
    others = {name: value for name, value in chosen.items() if name not in ("threshold", "random_state")}
    if "threshold" in chosen:
        others["anomaly_threshold"] = chosen["threshold"]
    expected = ueba.detect(table, forest=forest, **others)
    assert model.threshold == expected.anomaly_threshold == -expected.forest.offset_
    own = model.detect(table)
    assert own.frame["finding_id"].tolist() == expected.frame["finding_id"].tolist()
    assert_array_equal(own.frame["anomaly_score"], expected.frame["anomaly_score"])
    assert_array_equal(own.percentiles, expected.percentiles)
    pd.testing.assert_frame_equal(own.reference, expected.reference)
    pd.testing.assert_frame_equal(own.flags, expected.flags)
    assert own.frame["first_seen"].tolist() == expected.frame["first_seen"].tolist()


def test_five_hundred_trees_by_default(table):
    model = ueba.Model.fit(table)
    assert model.forest.n_estimators == 500
    assert model.threshold == 0.5


@pytest.mark.parametrize(
    ("chosen", "error", "message"),
    [
        ({"threshold": 1.5}, ValueError, "must be an anomaly score between 0 and 1"),
        ({"threshold": -0.1}, ValueError, "must be an anomaly score between 0 and 1"),
        ({"threshold": 0.3}, ValueError, "of the rows score above 0.3; at most half can be anomalies"),
        ({"threshold": "0.6"}, TypeError, "must be a number"),
        ({"threshold": 0.6, "contamination": 0.1}, ValueError, "give only one of"),
        ({"contamination": 0.7}, ValueError, "must be in"),
        ({"min_history": 0}, ValueError, "min_history=0 must be at least 1 day"),
        ({"min_history": 2.5}, TypeError, "min_history must be an integer"),
        ({"bands": (1, 2)}, TypeError, "`bands` must be three numbers"),
        ({"groups": "nothing"}, ValueError, "groups='nothing' is not a column of the table"),
        ({"tail": "side"}, ValueError, "tail must be"),
        ({"n_estimators": 0}, ValueError, "n_estimators"),
        ({"forest": None}, TypeError, "unexpected keyword argument 'forest'"),
    ],
)
def test_bad_options_are_refused(table, chosen, error, message):
    with pytest.raises(error, match=message):
        ueba.Model.fit(table, **chosen)


def test_small_tables_are_refused(frame):
    small = ueba.read_table(frame.head(200), **NAMES)
    with pytest.raises(ValueError, match=r"too small to train on: it has 200 rows, fewer than the 256 rows"):
        ueba.Model.fit(small)
    with pytest.warns(UserWarning, match="the forest is fitted on a table of 200 rows"):
        model = ueba.Model.fit(small, train_on_this=True)
    assert model.training["rows"] == 200
    # A tree that draws fewer rows needs fewer.
    assert ueba.Model.fit(small, max_samples=100, n_estimators=5).training["rows"] == 200
    one_day = frame.assign(day="2025-01-20")
    with pytest.raises(ValueError, match="all of its rows belong to one day"):
        ueba.Model.fit(ueba.read_table(one_day, **NAMES))


def test_infinite_values_and_names_of_results_are_refused(frame):
    with pytest.raises(ValueError, match="'n_0' has infinite values"):
        ueba.Model.fit(ueba.read_table(frame.assign(n_0=np.inf), **NAMES))
    with pytest.raises(ValueError, match=r"'rarity' .a feature. has the name of a column that findings add"):
        ueba.Model.fit(ueba.read_table(frame.assign(rarity=1.0), **NAMES))


def test_rules_are_kept(table, tmp_path):
    rules = [ueba.ZScore(4, columns="share_*"), ueba.Flag(["is_*"], code="on"), ueba.Percentile((90,))]
    model = ueba.Model.fit(table, contamination=0.05, rules=rules, n_estimators=10, bands=(5, 50, 500))
    again = ueba.Model.load(model.save(tmp_path))
    own = again.detect(table)
    expected = ueba.detect(table, forest=model.forest, rules=rules, bands=(5, 50, 500))
    pd.testing.assert_frame_equal(own.flags, expected.flags)
    assert own.frame["band"].tolist() == expected.frame["band"].tolist()
    assert set(own.frame["band"]) > {"minor"}


@pytest.mark.current_versions(reason="quantiles of pandas 2.2 have other last bits")
def test_facts_about_features(model, frame):
    for own in model._data.facts:
        column = frame[own.name]
        assert (own.median, own.p95, own.p99) == tuple(column.quantile([0.5, 0.95, 0.99]))
        assert (own.lowest, own.highest) == (column.min(), column.max())
        assert (own.nan_share, own.zero_share) == (column.isna().mean(), (column == 0).mean())
        assert own.is_constant_within_days == (own.name == "is_weekend")
