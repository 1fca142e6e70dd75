"""The verbs on tables in parts, on an engine that lies in memory: equal to those on the table in one piece."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal

from isoxide import IsolationForest, rank_features
from isoxide._frames.columns import batch_table, number_column
from isoxide._partitioned import fit
from isoxide._partitioned.columns import features_of, score_batch
from parted import ListTable, arrow, parted
from partition_tables import frame_of, in_memory

pytestmark = pytest.mark.current_versions(reason="scikit-learn 1.6 grows other forests on some tables")

PARTS = (1, 2, 7, 64)


@pytest.mark.parametrize("n_parts", PARTS)
@pytest.mark.parametrize("contamination", ["auto", 0.01, 0.37])
def test_fit_offset_scores(seed, n_parts, contamination):
    r = np.random.default_rng([seed, n_parts])
    frame = frame_of(r, 3000)
    features = [name for name in frame if name != "group"]
    forest = IsolationForest(random_state=seed % 2**32, contamination=contamination, n_estimators=20)
    table = parted(arrow(frame), n_parts, seed)
    fitted = fit.fit(table, features=features, forest=forest)
    whole = in_memory(frame)[features]
    expected = IsolationForest(**forest.get_params()).fit(whole)
    assert fitted.to_bytes() == expected.to_bytes()
    assert type(fitted.offset_) is type(expected.offset_)
    assert not hasattr(forest, "offset_")
    assert fit.offset(table, fitted, contamination=0.2) == np.percentile(expected.score_samples(whole), 20)
    assert fit.offset(table, fitted, contamination="auto") == -0.5
    scores = np.concatenate([score_batch(part, features, fitted) for part in table.parts])
    assert_array_equal(scores, expected.decision_function(whole))


def test_all_numeric_columns_by_default(seed):
    r = np.random.default_rng(seed)
    frame = frame_of(r, 500)
    fitted = fit.fit(parted(arrow(frame), 3, seed), features=None, forest=None)
    assert fitted.feature_names_in_.tolist() == [name for name in frame if name != "group"]
    expected = IsolationForest(random_state=0).fit(in_memory(frame).drop(columns="group"))
    assert fitted.to_bytes() == expected.to_bytes()


@pytest.mark.parametrize("n_parts", PARTS)
@pytest.mark.parametrize("groups", [None, "group"])
def test_ranks(seed, n_parts, groups):
    r = np.random.default_rng([seed, n_parts])
    frame = frame_of(r, 2000)
    rows = frame.iloc[r.integers(0, 2000, 30)]
    features = [name for name in frame if name != "group"]
    chosen = {"kind": "mean", "tail": "both", "nan_policy": "omit", "rank_last": "c*", "groups": groups}
    found = fit.rank_features(rows, parted(arrow(frame), n_parts, seed), features=features, **chosen)
    expected = rank_features(rows, frame, features=features, **chosen)
    for name in ("percentiles", "directions", "order", "values"):
        assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    pd.testing.assert_frame_equal(found.to_frame(), expected.to_frame())


def test_rows_in_another_order_of_bytes(seed):
    frame = pd.DataFrame({"a": np.random.default_rng(seed).normal(size=100)})
    rows = pd.DataFrame({"a": frame["a"].to_numpy()[:5].astype(">f8")})
    found = fit.rank_features(rows, parted(arrow(frame), 3, seed))
    assert_array_equal(found.percentiles, rank_features(frame[:5], frame).percentiles)


def test_rows_without_a_label_have_no_ranks(seed):
    r = np.random.default_rng(seed)
    frame = frame_of(r, 200)
    rows = frame.iloc[:4].assign(group=["x", None, "unknown", "y"])
    found = fit.rank_features(rows, parted(arrow(frame), 3, seed), features=["normal"], groups="group")
    expected = rank_features(rows, frame, features=["normal"], groups="group")
    assert_array_equal(found.percentiles, expected.percentiles)
    nobody = rows.assign(group=None)
    found = fit.rank_features(nobody, parted(arrow(frame), 3, seed), features=["normal"], groups="group")
    assert np.isnan(found.percentiles).all()


def table_of(**columns):
    return ListTable([pa.table(columns)])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: fit.fit(t, features=["a", "c"], forest=None), r"the list has no column 'c' \(features\)"),
        (lambda t: fit.fit(t, features=["a", "a"], forest=None), "features has 'a' twice"),
        (
            lambda t: fit.fit(t, features=["a", "text"], forest=None),
            "column 'text' of the list holds no numbers but text",
        ),
        (lambda t: fit.fit(t, features=[], forest=None), "no features are left"),
        (lambda t: fit.fit(t, features=None, forest=IsolationForest(warm_start=True)), "warm_start=True"),
        (lambda t: fit.fit(t, features=None, forest=IsolationForest(contamination=2)), "contamination"),
        (lambda t: fit.offset(t, fitted(), contamination=0.7), "contamination"),
        (lambda t: fit.offset(t, fitted(), contamination=0.1), "has no column 'z'"),
        (lambda t: fit.rank_features(np.zeros((1, 2)), t), "rows must be a frame with column names"),
        (lambda t: fit.rank_features(pd.DataFrame({"z": [1.0]}), t), "has no column 'z'"),
        (lambda t: fit.rank_features(pd.DataFrame({"a": [1.0]}), t, groups="q"), "has no column 'q'"),
        (lambda t: fit.rank_features(pd.DataFrame({"a": [1.0]}), t, groups="text"), "names no column of rows"),
        (lambda t: fit.rank_features(pd.DataFrame({"a": [1.0]}), t, nan_policy="raise"), "column 'a' of the table"),
    ],
)
def test_refusals(call, message):
    table = table_of(a=[1.0, float("nan"), 2.0], b=[1, 2, 3], text=["x", "y", "z"])
    with pytest.raises(ValueError, match=message):
        call(table)


def fitted():
    return IsolationForest(random_state=0, n_estimators=2).fit(pd.DataFrame({"a": [1.0, 2.0], "z": [1.0, 2.0]}))


def test_a_table_without_rows():
    table = table_of(a=pa.array([], pa.float64()))
    with pytest.raises(ValueError, match="the list has no rows"):
        fit.fit(table, features=None, forest=None)
    forest = IsolationForest(random_state=0).fit(pd.DataFrame({"a": [1.0, 2.0]}))
    with pytest.raises(ValueError, match="has no rows"):
        fit.offset(table, forest, contamination=0.1)
    assert score_batch(table.parts[0], ["a"], forest).shape == (0,)


def test_a_table_that_changes_is_noticed():
    class Shrinking(ListTable):
        def count(self):
            n = super().count()
            self.parts = self.parts[:1]
            return n

    whole = pa.table({"a": np.arange(2000.0)})
    table = Shrinking([whole.slice(0, 1000), whole.slice(1000)])
    with pytest.raises(ValueError, match="the list changed while it was read"):
        fit.fit(table, features=None, forest=None)


def test_a_forest_without_names_takes_the_numeric_columns():
    forest = IsolationForest(random_state=0).fit(np.zeros((3, 2)))
    schema = pa.schema([("x", pa.float64()), ("text", pa.string()), ("y", pa.int8())])
    assert features_of(forest, schema) == ["x", "y"]
    with pytest.raises(ValueError, match="fitted on 2 columns without names, and the table has 1 numeric columns"):
        features_of(forest, pa.schema([("x", pa.float64())]))


def test_columns_are_borrowed():
    values = np.arange(5.0)
    batch = pa.record_batch({"a": pa.array(values), "b": pa.array([1, None, 3, 4, 5]), "c": pa.array([True] * 5)})
    assert np.shares_memory(number_column(batch, "a"), values)
    assert_array_equal(number_column(batch, "b"), [1, np.nan, 3, 4, 5])
    assert_array_equal(number_column(batch, "c"), [1] * 5)
    assert isinstance(batch_table(batch, ["a", "b"]), tuple)
    assert isinstance(batch_table(batch, ["a", "c"]), list)
    large = pa.record_batch({"u": pa.array(np.array([2**64 - 1, 0], dtype=np.uint64))})
    assert number_column(large, "u").dtype == np.float64
