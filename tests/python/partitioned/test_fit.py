"""Test that forests, offsets and ranks of partitions equal those of the whole table."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal

from isoxide import IsolationForest, rank_features
from isoxide._frames.columns import batch_table, number_column
from isoxide._partitioned.columns import features_of, score_batch
from list_engine import ListEngine, ListTable, arrow, partitioned
from partition_tables import frame_of, in_memory

pytestmark = pytest.mark.current_versions(reason="scikit-learn 1.6 grows other forests on some tables")

N_PARTITIONS = (1, 2, 7, 64)


@pytest.mark.parametrize("n_partitions", N_PARTITIONS)
@pytest.mark.parametrize("contamination", ["auto", 0.01, 0.37])
def test_forests_offsets_and_scores_equal_those_of_the_whole_table(seed, n_partitions, contamination):
    r = np.random.default_rng([seed, n_partitions])
    frame = frame_of(r, 3000)
    features = [name for name in frame if name != "group"]
    forest = IsolationForest(random_state=seed % 2**32, contamination=contamination, n_estimators=20)
    table = partitioned(arrow(frame), n_partitions, seed)
    fitted = table.fit(forest, features=features)
    X = in_memory(frame)[features]
    expected = IsolationForest(**forest.get_params()).fit(X)
    assert fitted.to_bytes() == expected.to_bytes()
    assert type(fitted.offset_) is type(expected.offset_)
    assert not hasattr(forest, "offset_")
    assert table.offset(fitted, contamination=0.2) == np.percentile(expected.score_samples(X), 20)
    assert table.offset(fitted, contamination="auto") == -0.5
    scores = np.concatenate([score_batch(part, features, fitted) for part in table.engine.partitions])
    assert_array_equal(scores, expected.decision_function(X))


def test_a_fit_uses_all_numeric_columns_by_default(seed):
    r = np.random.default_rng(seed)
    frame = frame_of(r, 500)
    fitted = partitioned(arrow(frame), 3, seed).fit()
    assert fitted.feature_names_in_.tolist() == [name for name in frame if name != "group"]
    expected = IsolationForest(random_state=0).fit(in_memory(frame).drop(columns="group"))
    assert fitted.to_bytes() == expected.to_bytes()


@pytest.mark.parametrize("n_partitions", N_PARTITIONS)
@pytest.mark.parametrize("groups", [None, "group"])
def test_ranks_equal_those_of_the_whole_table(seed, n_partitions, groups):
    r = np.random.default_rng([seed, n_partitions])
    frame = frame_of(r, 2000)
    rows = frame.iloc[r.integers(0, 2000, 30)]
    features = [name for name in frame if name != "group"]
    options = {"kind": "mean", "tail": "both", "nan_policy": "omit", "rank_last": "c*", "groups": groups}
    actual = partitioned(arrow(frame), n_partitions, seed).rank_features(rows, features=features, **options)
    expected = rank_features(rows, frame, features=features, **options)
    for name in ("percentiles", "directions", "order", "values"):
        assert_array_equal(getattr(actual, name), getattr(expected, name), err_msg=name)
    pd.testing.assert_frame_equal(actual.to_frame(), expected.to_frame())


def test_rows_in_another_byte_order_have_the_same_ranks(seed):
    frame = pd.DataFrame({"a": np.random.default_rng(seed).normal(size=100)})
    rows = pd.DataFrame({"a": frame["a"].to_numpy()[:5].astype(">f8")})
    actual = partitioned(arrow(frame), 3, seed).rank_features(rows)
    assert_array_equal(actual.percentiles, rank_features(frame[:5], frame).percentiles)


def test_rows_without_a_label_have_no_ranks(seed):
    r = np.random.default_rng(seed)
    frame = frame_of(r, 200)
    rows = frame.iloc[:4].assign(group=["x", None, "unknown", "y"])
    actual = partitioned(arrow(frame), 3, seed).rank_features(rows, features=["normal"], groups="group")
    expected = rank_features(rows, frame, features=["normal"], groups="group")
    assert_array_equal(actual.percentiles, expected.percentiles)
    without_labels = rows.assign(group=None)
    actual = partitioned(arrow(frame), 3, seed).rank_features(without_labels, features=["normal"], groups="group")
    assert np.isnan(actual.percentiles).all()


def table_of(**columns):
    return ListTable(ListEngine([pa.table(columns)]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: t.fit(features=["a", "c"]), r"the list has no column 'c' \(features\)"),
        (lambda t: t.fit(features=["a", "a"]), "features has 'a' twice"),
        (
            lambda t: t.fit(features=["a", "text"]),
            "column 'text' of the list holds text, not numbers",
        ),
        (lambda t: t.fit(features=[]), "remains: none of its columns holds numbers"),
        (lambda t: t.fit(IsolationForest(warm_start=True), features=None), "warm_start=True"),
        (lambda t: t.fit(IsolationForest(contamination=2), features=None), "contamination"),
        (lambda t: t.offset(fitted(), contamination=0.7), "contamination"),
        (lambda t: t.offset(fitted(), contamination=0.1), "has no column 'z'"),
        (lambda t: t.rank_features(np.zeros((1, 2))), "rows must be a frame with column names"),
        (lambda t: t.rank_features(pd.DataFrame({"z": [1.0]})), "has no column 'z'"),
        (lambda t: t.rank_features(pd.DataFrame({"a": [1.0]}), groups="q"), "has no column 'q'"),
        (lambda t: t.rank_features(pd.DataFrame({"a": [1.0]}), groups="text"), "is not a column of rows"),
        (lambda t: t.rank_features(pd.DataFrame({"a": [1.0]}), nan_policy="raise"), "column 'a' of the table"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    table = table_of(a=[1.0, float("nan"), 2.0], b=[1, 2, 3], text=["x", "y", "z"])
    with pytest.raises(ValueError, match=message):
        call(table)


def fitted():
    return IsolationForest(random_state=0, n_estimators=2).fit(pd.DataFrame({"a": [1.0, 2.0], "z": [1.0, 2.0]}))


def test_a_table_without_rows_is_refused():
    table = table_of(a=pa.array([], pa.float64()))
    with pytest.raises(ValueError, match="the list has no rows"):
        table.fit()
    forest = IsolationForest(random_state=0).fit(pd.DataFrame({"a": [1.0, 2.0]}))
    with pytest.raises(ValueError, match="has no rows"):
        table.offset(forest, contamination=0.1)
    assert score_batch(table.engine.partitions[0], ["a"], forest).shape == (0,)


def test_a_table_that_changes_between_passes_is_refused():
    class ShrinkingEngine(ListEngine):
        def count(self):
            n = super().count()
            self.partitions = self.partitions[:1]
            return n

    rows = pa.table({"a": np.arange(2000.0)})
    table = ListTable(ShrinkingEngine([rows.slice(0, 1000), rows.slice(1000)]))
    with pytest.raises(ValueError, match="the list changed while it was read"):
        table.fit()


def test_a_forest_without_names_takes_the_numeric_columns():
    forest = IsolationForest(random_state=0).fit(np.zeros((3, 2)))
    schema = pa.schema([("x", pa.float64()), ("text", pa.string()), ("y", pa.int8())])
    assert features_of(forest, schema) == ["x", "y"]
    with pytest.raises(ValueError, match="fitted on 2 columns without names, and the table has 1 numeric columns"):
        features_of(forest, pa.schema([("x", pa.float64())]))


def test_columns_without_nulls_are_not_copied():
    values = np.arange(5.0)
    batch = pa.record_batch({"a": pa.array(values), "b": pa.array([1, None, 3, 4, 5]), "c": pa.array([True] * 5)})
    assert np.shares_memory(number_column(batch, "a"), values)
    assert_array_equal(number_column(batch, "b"), [1, np.nan, 3, 4, 5])
    assert_array_equal(number_column(batch, "c"), [1] * 5)
    assert isinstance(batch_table(batch, ["a", "b"]), tuple)
    assert isinstance(batch_table(batch, ["a", "c"]), list)
    large = pa.record_batch({"u": pa.array(np.array([2**64 - 1, 0], dtype=np.uint64))})
    assert number_column(large, "u").dtype == np.float64
