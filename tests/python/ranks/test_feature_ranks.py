"""Test `FeatureRanks`, the result of `rank_features`, and the tables that it makes."""
# ruff: noqa: PD011 (`values` belongs to FeatureRanks here, not to pandas)

import pickle
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.stats

from isoxide import FeatureRanks, rank_features
from isoxide._ranks import api as module_of_rank_features
from rank_tables import CONTAINERS, mixed_table, reference_frame

pytestmark = pytest.mark.parity

POLARS, PYARROW = pl.DataFrame, pa.Table
#: Class of the tables that are made if the rows came in each container.
FRAME_CLASSES = {
    "pandas": pd.DataFrame, "pandas nullable": pd.DataFrame, "pandas Arrow": pd.DataFrame, "polars": POLARS,
    "polars chunks": POLARS, "pyarrow": PYARROW, "pyarrow chunks": PYARROW, "record batch": PYARROW, "stream": PYARROW,
    "reader": PYARROW, "interchange": PYARROW, "narwhals": POLARS,
}  # fmt: skip


def test_the_class_is_public():
    assert module_of_rank_features.FeatureRanks is FeatureRanks


def test_empty_rows_references_or_features_give_empty_ranks():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [1, 2]})
    empty = rank_features(frame[:0], frame)
    assert empty.percentiles.shape == empty.values.shape == empty.order.shape == (0, 2)
    assert (len(empty), empty.to_records(), len(empty.to_frame())) == (0, [], 0)
    assert np.isnan(rank_features(frame, frame[:0]).percentiles).all()
    assert rank_features(frame, frame, features=[]).percentiles.shape == (2, 0)
    assert rank_features(np.empty((3, 0)), np.empty((5, 0))).order.shape == (3, 0)
    np.testing.assert_array_equal(empty.cutoff_table([50])[["mean", "min"]], [[np.nan, 0]])
    assert empty.feature_counts(50).empty


def notebook_records(rows, reference, features, rank_last):
    records = []
    for _, row in rows.iterrows():
        ranks = [(name, scipy.stats.percentileofscore(reference[name], row[name]), row[name]) for name in features]
        ranks = sorted(ranks, key=lambda item: item[1], reverse=True)
        records.append(sorted(ranks, key=lambda item: rank_last in item[0]))
    return records


@pytest.mark.parametrize(
    "columns", ["all", ["logins", "flag"], ["bytes", "logins_zscore"], ["logins", "bytes"], ["share"]], ids=str
)
def test_records_equal_the_loop_of_the_notebook(columns, seed):
    rng = np.random.default_rng(seed)
    reference = reference_frame(rng).drop(columns="seen")
    rows = reference.sample(15, random_state=seed)
    if columns != "all":
        rows = rows[columns]
    features = [name for name in rows.columns if name != "actor"]
    actual = rank_features(rows, reference, features=features, rank_last="*zscore*").to_records()
    expected = notebook_records(rows, reference, features, "zscore")
    assert actual == expected
    types = [[tuple(type(item) for item in record) for record in row] for row in actual]
    assert types == [[tuple(type(item) for item in record) for record in row] for row in expected]


@pytest.fixture
def ranks():
    reference = pd.DataFrame({"z": [1.0, 2, 3, 4], "a": [1, 2, 3, 4], "b": [4, 3, 2, 1], "n": [1, 2, np.nan, 4]})
    rows = pd.DataFrame({"z": [4.0, 1], "a": [4, 2], "b": [4, 0], "n": [1.0, 1]}, index=["mon", "tue"])
    return rank_features(rows, reference, rank_last="z")


def test_features_are_ordered_by_rank_then_column(ranks):
    np.testing.assert_array_equal(ranks.percentiles, [[100, 100, 100, np.nan], [25, 50, 0, np.nan]])
    # Tied features keep the order of the columns. The features of `rank_last` follow, and then those with NaN.
    np.testing.assert_array_equal(ranks.order, [[1, 2, 0, 3], [1, 2, 0, 3]])
    assert ranks.order.dtype == np.intp
    ranks_with_function = rank_features([[1.0, 5.0]], [[1.0, 0.0]], rank_last=lambda name: name == "x0")
    np.testing.assert_array_equal(ranks_with_function.order, [[1, 0]])
    np.testing.assert_array_equal(rank_features([[np.nan, 1.0]], [[1.0, 0.0]], rank_last="x1").order, [[1, 0]])


def test_numpy_reads_the_percentiles_without_a_copy(ranks):
    assert np.asarray(ranks) is ranks.percentiles
    copy = np.array(ranks)
    assert copy is not ranks.percentiles
    assert copy.flags.writeable
    assert np.asarray(ranks, dtype=np.float32).dtype == np.float32
    with pytest.raises(ValueError, match="copy"):
        np.array(ranks, dtype=np.float32, copy=False)
    assert len(ranks) == 2


def test_ranks_are_read_only(ranks):
    for array in (ranks.percentiles, ranks.values, ranks.order):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1
    with pytest.raises(AttributeError):
        ranks.percentiles = None
    restored = pickle.loads(pickle.dumps(ranks))
    np.testing.assert_array_equal(restored.order, ranks.order)


def test_values_are_copied_to_their_common_type():
    rows = np.array([[1.0, 2.0]])
    ranks = rank_features(rows, rows)
    rows[:] = 0
    assert ranks.to_records() == [[("x0", 100.0, 1.0), ("x1", 100.0, 2.0)]]
    frame = pd.DataFrame({"i": [1, 2], "b": [True, False], "f": [0.5, 1]})
    assert rank_features(frame[["i", "b"]], frame[["i", "b"]]).values.dtype == np.int64
    assert rank_features(frame, frame).values.dtype == np.float64


def test_to_frame_has_a_row_per_feature_and_row(ranks):
    expected = pd.DataFrame(
        {
            "row": ["mon"] * 4 + ["tue"] * 4,
            "position": [0, 1, 2, 3] * 2,
            "feature": ["a", "b", "z", "n"] * 2,
            "percentile": [100, 100, 100, np.nan, 50, 0, 25, np.nan],
            "value": [4.0, 4, 4, 1, 2, 0, 1, 1],
        }
    )
    pd.testing.assert_frame_equal(ranks.to_frame(), expected, check_exact=True)
    assert rank_features([[1.0]], [[1.0]]).to_frame()["row"].tolist() == [0]
    levels = pd.DataFrame({"a": [1.0]}, index=pd.MultiIndex.from_tuples([("ann", 1)]))
    assert rank_features(levels, levels).to_frame()["row"].tolist() == [("ann", 1)]


def test_the_cutoff_table_counts_features_at_or_above_each_cutoff(ranks):
    expected = pd.DataFrame({"cutoff": [25.0, 50.0, 100.0], "mean": [2.5, 2.0, 1.5], "min": [2, 1, 0]})
    pd.testing.assert_frame_equal(ranks.cutoff_table([25, 50, 100]), expected, check_exact=True)
    assert ranks.cutoff_table([]).shape == (0, 3)


def test_feature_counts_count_rows_at_or_above_the_cutoff(ranks):
    index = pd.Index(["a", "z", "b"], name="feature", dtype=str)
    pd.testing.assert_series_equal(ranks.feature_counts(50), pd.Series([2, 1, 1], index=index, name="count"))
    index = pd.Index(["a", "n", "z", "b"], name="feature", dtype=str)
    pd.testing.assert_series_equal(
        ranks.feature_counts(50, always_show=["n", "b"]), pd.Series([2, 2, 1, 1], index=index, name="count")
    )
    with pytest.raises(ValueError, match=r"always_show names unknown features: \['q'\]"):
        ranks.feature_counts(50, always_show=["q"])
    with pytest.raises(ValueError, match="always_show must be a list of names, got the string 'n'"):
        ranks.feature_counts(50, always_show="n")


def test_tables_without_pandas_name_the_missing_package(ranks, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    for call in (ranks.to_frame, lambda: ranks.cutoff_table([99]), lambda: ranks.feature_counts(99)):
        with pytest.raises(ImportError, match=r'pip install "isoxide\[notebook\]"'):
            call()


def as_dict(frame):
    """Return the columns of any frame as lists."""
    if isinstance(frame, pl.DataFrame):
        return frame.to_dict(as_series=False)
    return frame.to_pydict() if isinstance(frame, pa.Table) else frame.to_dict("list")


@pytest.mark.parametrize("container", CONTAINERS)
def test_tables_have_the_class_of_the_rows(container, seed):
    rng = np.random.default_rng(seed)
    reference = mixed_table(rng, 40)
    rows = reference[5:25]
    # The other tables are compared with those for pandas rows.
    expected = rank_features(CONTAINERS["pandas"](rows), reference, nan_policy="omit")
    actual = rank_features(CONTAINERS[container](rows), reference, nan_policy="omit")
    assert set(FRAME_CLASSES) == set(CONTAINERS)
    for table in (lambda ranks: ranks.to_frame(), lambda ranks: ranks.cutoff_table([0, 50, 99.5])):
        assert type(table(actual)) is FRAME_CLASSES[container]
        columns, expected_columns = as_dict(table(actual)), as_dict(table(expected))
        assert list(columns) == list(expected_columns)
        for name, column in columns.items():
            np.testing.assert_array_equal(column, expected_columns[name])
    counts, expected_counts = actual.feature_counts(50), expected.feature_counts(50)
    if FRAME_CLASSES[container] is pd.DataFrame:
        pd.testing.assert_series_equal(counts, expected_counts)
    else:
        assert type(counts) is FRAME_CLASSES[container]
        assert as_dict(counts) == {"feature": list(expected_counts.index), "count": expected_counts.tolist()}


def test_polars_frames_have_fixed_column_types():
    rows = pl.DataFrame({"n": [1, 2], "x": [0.5, None]})
    ranks = rank_features(rows, rows)
    types = {"row": pl.Int64, "position": pl.Int64, "feature": pl.String, "percentile": pl.Float64, "value": pl.Float64}
    count_types = {"feature": pl.String, "count": pl.Int64}
    cutoff_types = {"cutoff": pl.Float64, "mean": pl.Float64, "min": pl.Int64}
    for result in (ranks, rank_features(rows[:0], rows), rank_features(rows, rows, features=[])):
        assert result.to_frame().schema == types
        assert result.feature_counts(101).schema == count_types
        assert result.cutoff_table([]).schema == cutoff_types
    empty = rank_features(rows.to_arrow()[:0], rows).to_frame()
    assert [str(field.type) for field in empty.schema] == ["int64", "int64", "string", "double", "double"]
    # scipy returns NaN as a value, so it is not a null.
    assert ranks.to_frame()["percentile"].null_count() == 0
    assert ranks.to_frame()["percentile"].is_nan().sum() == 2


@pytest.mark.parametrize("make", [pl.DataFrame, pa.table])
def test_records_keep_the_types_of_columns_without_a_common_type(make):
    rows = make({"n": [2**53 + 1, 7], "x": [0.5, None], "flag": [True, False], "m": [None, 3]})
    ranks = rank_features(rows, rows, nan_policy="omit")
    values = [{feature: value for feature, _, value in record} for record in ranks.to_records()]
    assert str(values) == str(
        [{"n": 2**53 + 1, "x": 0.5, "flag": True, "m": np.nan}, {"m": 3.0, "n": 7, "flag": False, "x": np.nan}]
    )
    assert type(ranks.to_records()[0][0][1]) is np.float64


def test_only_pandas_rows_have_labels():
    rows = pd.DataFrame({"a": [1.0, 2.0]}, index=["mon", "tue"])
    reference = pl.DataFrame({"a": [1.0, 2.0]})
    assert rank_features(rows, reference).to_frame()["row"].tolist() == ["mon", "tue"]
    assert rank_features(reference, rows).to_frame()["row"].to_list() == [0, 1]


def test_tables_without_narwhals_name_the_missing_package(monkeypatch):
    rows = pl.DataFrame({"a": [1.0, 2.0]})
    ranks = rank_features(rows, rows)
    monkeypatch.setitem(sys.modules, "narwhals", None)
    for call in (ranks.to_frame, lambda: ranks.cutoff_table([99]), lambda: ranks.feature_counts(99)):
        with pytest.raises(ImportError, match="as a frame of polars needs narwhals: pip install narwhals"):
            call()
    assert ranks.to_records() == [[("a", 50.0, 1.0)], [("a", 100.0, 2.0)]]
    assert rank_features([[1.0]], [[1.0]]).to_frame().shape == (1, 5)


def test_ranks_of_polars_rows_can_be_pickled(seed):
    table = mixed_table(np.random.default_rng(seed), 20)
    ranks = rank_features(pl.from_arrow(table), table)
    restored = pickle.loads(pickle.dumps(ranks))
    # NaN equals NaN in polars.
    assert restored.to_frame().equals(ranks.to_frame())
