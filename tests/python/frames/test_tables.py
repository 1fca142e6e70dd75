"""Test that `rank_features` reads tables in every container, and matches or refuses their columns."""
# ruff: noqa: PD011 (`values` belongs to FeatureRanks here, not to pandas)

import sys

import hypothesis
import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from hypothesis import strategies as st

from isoxide import rank_features
from isoxide._frames.dtypes import native
from isoxide._frames.tables import read_table
from rank_tables import CONTAINERS, Interchange, Stream, by_scipy, in_chunks, mixed_table, to_pandas
from seeds import SEED

pytestmark = pytest.mark.parity

#: Integers of 128 bits, as far as the installed polars has them.
WIDE_INTEGERS = [getattr(pl, name) for name in ("Int128", "UInt128") if hasattr(pl, name)]


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("nan_policy", ["propagate", "omit"])
def test_ranks_from_every_container_equal_scipys(container, nan_policy, seed):
    rng = np.random.default_rng(seed)
    reference = mixed_table(rng, 60, columns=12)
    rows = mixed_table(rng, 15, columns=12).select(rng.permutation(reference.column_names).tolist())
    expected = by_scipy(to_pandas(rows), to_pandas(reference), nan_policy=nan_policy)
    make = CONTAINERS[container]
    for r, t in [(make(rows), make(reference)), (to_pandas(rows), make(reference)), (make(rows), to_pandas(reference))]:
        ranks = rank_features(r, t, nan_policy=nan_policy)
        np.testing.assert_array_equal(ranks.percentiles, expected, strict=True)
        assert ranks.features == rows.column_names
        np.testing.assert_array_equal(ranks.values, to_pandas(rows).to_numpy(dtype=ranks.values.dtype))


@pytest.mark.slow
@hypothesis.seed(SEED)
@hypothesis.settings(max_examples=150, deadline=None, database=None)
@hypothesis.given(
    case=st.integers(0, 2**32 - 1),
    n_rows=st.integers(0, 12),
    n_samples=st.integers(0, 40),
    kind=st.sampled_from(["rank", "weak", "strict", "mean"]),
    nan_policy=st.sampled_from(["propagate", "omit"]),
)
def test_random_frames_have_equal_percentiles_in_pandas_polars_and_pyarrow(case, n_rows, n_samples, kind, nan_policy):
    rng = np.random.default_rng(case)
    reference, rows = mixed_table(rng, n_samples), mixed_table(rng, n_rows)
    expected = by_scipy(to_pandas(rows), to_pandas(reference), kind=kind, nan_policy=nan_policy)
    containers = [name for name in CONTAINERS if name.startswith(("pandas", "polars", "pyarrow"))]
    for row_container in containers:
        r, t = CONTAINERS[row_container](rows), CONTAINERS[rng.choice(containers)](reference)
        ranks = rank_features(r, t, kind=kind, nan_policy=nan_policy)
        np.testing.assert_array_equal(ranks.percentiles, expected, strict=True)


@pytest.mark.parametrize("container", [name for name in CONTAINERS if name not in ("pandas nullable", "interchange")])
def test_ranks_of_float16_columns_equal_scipys(container):
    table = pa.table({"h": pa.array(np.array([1.5, 1.5, 0.1, np.nan], dtype=np.float16))})
    make = CONTAINERS[container]
    for nan_policy in ("propagate", "omit"):
        percentiles = rank_features(make(table), make(table), nan_policy=nan_policy).percentiles
        np.testing.assert_array_equal(percentiles, by_scipy(to_pandas(table), to_pandas(table), nan_policy=nan_policy))


def test_ranks_of_nullable_and_sparse_columns():
    floats = pd.DataFrame({"n": [1, 2, np.nan, 2], "x": [0.5, np.nan, 1, 2]})
    reference = floats.astype({"n": "Int64", "x": "Float64"})
    ranks = rank_features(reference, reference, nan_policy="omit")
    np.testing.assert_array_equal(ranks.percentiles, by_scipy(floats, floats, nan_policy="omit"), strict=True)
    full = reference.fillna(2)
    np.testing.assert_array_equal(rank_features(full, full).percentiles, by_scipy(floats.fillna(2), floats.fillna(2)))
    assert rank_features(full[["n"]], full[["n"]]).values.dtype == np.int64
    flags = pd.DataFrame(
        {"f": pd.array([True, None, False], dtype="boolean"), "s": pd.array([0.0, 0.0, 1.0], "Sparse")}
    )
    percentiles = rank_features(flags, flags, nan_policy="omit").percentiles
    np.testing.assert_array_equal(percentiles, [[100, 50], [np.nan, 50], [50, 100]])
    lossy = pd.DataFrame({"n": pd.array([2**53 + 1, None], dtype="Int64")})
    with pytest.raises(ValueError, match=r"column 'n' of rows has missing values and integers beyond 2\*\*53"):
        rank_features(lossy, lossy)


def test_columns_are_matched_by_name_or_by_position(seed):
    rng = np.random.default_rng(seed)
    reference = pd.DataFrame(rng.standard_normal((50, 3)), columns=list("abc"))
    rows = reference.loc[:4, ["c", "a", "b"]]
    ranks = rank_features(rows, reference)
    assert ranks.features == ["c", "a", "b"]
    np.testing.assert_array_equal(ranks.percentiles, by_scipy(rows, reference))
    ranks = rank_features(rows.to_numpy(), reference)
    assert ranks.features == ["a", "b", "c"]
    np.testing.assert_array_equal(ranks.percentiles, by_scipy(rows.set_axis(list("abc"), axis=1), reference))
    assert rank_features(rows, reference.to_numpy()).features == ["c", "a", "b"]
    numbered = pd.DataFrame(rows.to_numpy())
    assert rank_features(numbered, numbered, features=["x2", "x0"]).features == ["x2", "x0"]
    np.testing.assert_array_equal(
        rank_features(rows, reference, features=["b", "c"]).percentiles, by_scipy(rows[["b", "c"]], reference)
    )


def test_tables_and_options_that_do_not_fit_are_refused():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [1, 2]})
    with pytest.raises(ValueError, match=r"rows must be a 2-D array or a frame, got 1 dimension"):
        rank_features(frame["a"], frame)
    with pytest.raises(ValueError, match=r"reference must be a 2-D array or a frame, got 3 dimension"):
        rank_features(frame, np.zeros((1, 1, 1)))
    with pytest.raises(ValueError, match=r"not in rows: \['a'\], not in reference: \['c'\]"):
        rank_features(frame.rename(columns={"a": "c"}), frame)
    with pytest.raises(ValueError, match="rows has 1 columns, but reference has 2; "):
        rank_features([[1.0]], frame)
    with pytest.raises(ValueError, match=r"features not in rows: \['c'\]"):
        rank_features(frame, frame.assign(c=1), features=["a", "c"])
    with pytest.raises(ValueError, match=r"features not in reference: \['c'\]"):
        rank_features(frame.assign(c=1), frame, features=["a", "c"])
    with pytest.raises(ValueError, match=r"features must differ, but these occur more than once: \['a'\]"):
        rank_features(frame, frame, features=["a", "a"])
    with pytest.raises(ValueError, match="features must be a list of names, got the string 'ab'"):
        rank_features(frame, frame, features="ab")
    twice = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(ValueError, match=r"the column names of rows must differ, .*: \['a'\]"):
        rank_features(twice, frame)
    with pytest.raises(TypeError, match="the column names of reference must be all strings or none of them"):
        rank_features(frame, pd.DataFrame([[1, 2]], columns=["a", 1]))
    with pytest.raises(ValueError, match="kind can only be"):
        rank_features(frame[:0], frame, kind="median")
    with pytest.raises(ValueError, match="nan_policy must be one of"):
        rank_features(frame[:0], frame, nan_policy="skip")


@pytest.mark.parametrize(
    "column",
    [
        ["x", "y"], pd.to_datetime(["2020", "2021"]), pd.Categorical([1, 2]), np.array([1, 2], dtype=object),
        pd.to_timedelta([1, 2]), np.array([1j, 2]), pd.to_datetime(["2020", "2021"], utc=True),
    ],
)  # fmt: skip
def test_columns_that_are_not_numeric_are_refused_by_name(column):
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": column})
    with pytest.raises(TypeError, match=r"column 'b' of rows has dtype .*list the numeric columns .* features="):
        rank_features(frame, frame)
    assert rank_features(frame, frame, features=["a"]).features == ["a"]
    with pytest.raises(TypeError, match="column 'x0' of rows has dtype <U1"):
        rank_features([["a"]], [["b"]])


def test_columns_of_frames_are_borrowed(seed):
    frame = pd.DataFrame(np.random.default_rng(seed).standard_normal((10, 3)), columns=list("abc"))
    column = native(read_table(frame, "rows").column(1, "b"))
    assert np.shares_memory(column, frame["b"].to_numpy(copy=False))


@pytest.mark.parametrize("dtype", ["f8", "f4", "i8"])
def test_columns_without_missing_values_are_borrowed(dtype, seed):
    values = np.random.default_rng(seed).integers(0, 9, 50).astype(dtype)
    arrow = pa.array(values)
    buffer = np.frombuffer(arrow.buffers()[1], dtype)
    polars = pl.Series(arrow)
    frames = [
        (pd.DataFrame({"a": values}, copy=False), values),
        (pd.DataFrame({"a": pd.arrays.ArrowExtensionArray(arrow)}), buffer),
        (pl.DataFrame({"a": polars}), polars.to_numpy(allow_copy=False)),
        (nw.from_native(pl.DataFrame({"a": polars})), polars.to_numpy(allow_copy=False)),
        (pa.table({"a": arrow}), buffer),
        (Stream(pa.table({"a": arrow})), buffer),
        (Interchange(pa.table({"a": arrow})), buffer),
        (np.column_stack([values]), None),
    ]
    for frame, owner in frames:
        column = native(read_table(frame, "rows").column(0, "a"))
        assert column.dtype == dtype
        assert np.shares_memory(column, frame if owner is None else owner)


@pytest.mark.parametrize(
    "container", ["pandas nullable", "pandas Arrow", "polars", "polars chunks", "pyarrow", "stream"]
)
@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_integers_that_would_be_rounded_are_refused_by_name(container, dtype):
    make = CONTAINERS[container]
    edge = 2**53 * np.array([1, -1 if dtype is np.int64 else 1])
    for values, exact in [
        (edge, True),
        (edge + np.array([1, 0]), False),
        (edge - np.array([0, 1]), dtype is np.uint64),
    ]:
        table = pa.table({"n": pa.array([*values.tolist(), None], pa.from_numpy_dtype(dtype))})
        good = pa.table({"n": pa.array([1], pa.from_numpy_dtype(dtype))})
        if exact:
            assert rank_features(make(table), make(good)).values[:2, 0].tolist() == values.tolist()
            continue
        message = r"column 'n' of {} has missing values and integers beyond 2\*\*53"
        with pytest.raises(ValueError, match=message.format("rows")):
            rank_features(make(table), make(good))
        with pytest.raises(ValueError, match=message.format("reference")):
            rank_features(make(good), make(table))


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["x", "y"]), pa.array(["x", "y"]).dictionary_encode(),
        pa.array([1, 2], pa.timestamp("us")), pa.array([1, 2], pa.date32()), pa.array([1, 2], pa.duration("us")),
        pa.array([{"a": 1}, {"a": 2}]), pa.array([[1], [2]]), pa.array([1, 2], pa.decimal128(5, 1)), pa.nulls(2),
        pa.array([b"x", b"y"]),
    ],
    ids=lambda column: str(column.type),
)  # fmt: skip
@pytest.mark.parametrize("container", ["pandas Arrow", "polars", "pyarrow", "record batch", "stream", "narwhals"])
def test_columns_of_arrow_that_are_not_numeric_are_refused_by_name(container, column):
    make = CONTAINERS[container]
    table = pa.table({"a": [1.0, 2.0], "b": column})
    with pytest.raises(TypeError, match=r"column 'b' of rows has dtype .*list the numeric columns .* features="):
        rank_features(make(table), make(table))
    with pytest.raises(TypeError, match="column 'b' of reference has dtype"):
        rank_features(pd.DataFrame({"a": [1.0], "b": [1.0]}), make(table))
    assert rank_features(make(table), make(table), features=["a"]).features == ["a"]


@pytest.mark.current_versions(reason="polars 1.17 cannot read encoded numbers")
def test_encoded_numbers_are_categories_in_arrow_and_numbers_in_polars():
    table = pa.table({"a": pa.array([1, 2]).dictionary_encode()})
    with pytest.raises(TypeError, match="column 'a' of rows has dtype dictionary"):
        rank_features(table, table)
    assert rank_features(pl.from_arrow(table), pl.from_arrow(table)).values.dtype == np.int64


@pytest.mark.parametrize("dtype", WIDE_INTEGERS)
def test_integers_of_128_bits_are_exact_or_refused_by_name(dtype):
    values = [1, 2, 2, 2**53, 2**53 + 1, 2**63 - 1]
    wide, narrow = (pl.DataFrame({"a": values}, schema={"a": integer_type}) for integer_type in (dtype, pl.Int64))
    ranks, expected = rank_features(wide, wide), rank_features(narrow, narrow)
    np.testing.assert_array_equal(ranks.percentiles, expected.percentiles)
    assert ranks.values.tolist() == [[value] for value in values]
    if dtype != pl.Int128:
        high = pl.DataFrame({"a": [2**64 - 1, 2**63, 0]}, schema={"a": dtype})
        assert rank_features(high, high).percentiles.ravel().tolist() == [100.0, 200 / 3, 100 / 3]
    nullable = pl.DataFrame({"a": [1, None, 3]}, schema={"a": dtype})
    assert rank_features(nullable, nullable, nan_policy="omit").percentiles.ravel()[[0, 2]].tolist() == [50.0, 100.0]
    huge = pl.DataFrame({"a": [1, 2**64]}, schema={"a": dtype})
    with pytest.raises(ValueError, match=r"column 'a' of rows has integers beyond 64 bits.*cast it to Float64"):
        rank_features(huge, wide)
    with pytest.raises(ValueError, match="column 'a' of reference has integers beyond 64 bits"):
        rank_features(wide, huge)
    as_floats = huge.cast(pl.Float64)
    assert rank_features(as_floats, as_floats).percentiles.ravel().tolist() == [50.0, 100.0]


@pytest.mark.parametrize("make", [scipy.sparse.csr_array, scipy.sparse.csc_matrix, scipy.sparse.coo_array])
def test_sparse_matrices_are_refused(make):
    dense = np.eye(3)
    with pytest.raises(
        TypeError, match=r"rows is a sparse matrix, but ranks need dense columns: use rows\.toarray\(\)"
    ):
        rank_features(make(dense), dense)
    with pytest.raises(TypeError, match=r"reference is a sparse matrix, .* use reference\.toarray\(\)"):
        rank_features(dense, make(dense))


@pytest.mark.parametrize("make", [pl.Series, pd.Series, lambda values: pa.chunked_array([values]), pa.array])
def test_series_are_refused(make):
    with pytest.raises(ValueError, match="rows must be a 2-D array or a frame, got 1 dimension"):
        rank_features(make([1.0, 2.0]), [[1.0]])


def test_lazy_frames_are_refused():
    lazy = pl.LazyFrame({"a": [1.0]})
    for frame in (lazy, nw.from_native(lazy)):
        with pytest.raises(ValueError, match="of type LazyFrame; a lazy frame must be collected first"):
            rank_features([[1.0]], frame)


def test_columns_of_arrow_are_matched_by_name_or_by_position():
    repeated = pa.table([pa.array([1.0]), pa.array([2.0])], names=["a", "a"])
    with pytest.raises(ValueError, match=r"the column names of rows must differ, .*: \['a'\]"):
        rank_features(repeated, repeated)
    frame = pl.DataFrame({"a": [1.0, 2.0], "b": [4.0, 3.0]})
    assert rank_features(frame.to_numpy(), frame).features == ["a", "b"]
    assert rank_features(frame.select("b", "a"), frame.to_arrow()).features == ["b", "a"]
    with pytest.raises(ValueError, match=r"not in rows: \['a'\], not in reference: \['c'\]"):
        rank_features(frame.rename({"a": "c"}), in_chunks(frame.to_arrow()))


def test_missing_values_of_arrow_are_refused_by_name():
    complete, nullable = pl.DataFrame({"a": [1, 2]}), pl.DataFrame({"a": [1, None]})
    with pytest.raises(ValueError, match="The input contains nan values: column 'a' of reference"):
        rank_features(complete, nullable, nan_policy="raise")
    with pytest.raises(ValueError, match="The input contains nan values: column 'a' of rows"):
        rank_features(nullable.to_arrow(), complete, nan_policy="raise")


def test_frames_are_read_without_narwhals(monkeypatch):
    table = pa.table({"a": [1.0, 2.0]})
    monkeypatch.setitem(sys.modules, "narwhals", None)
    for name in CONTAINERS.keys() - {"narwhals"}:
        assert rank_features(CONTAINERS[name](table), table).percentiles.tolist() == [[50.0], [100.0]]


@pytest.mark.parametrize("make", [Stream, Interchange])
def test_tables_that_only_pyarrow_reads_name_the_missing_package(make, monkeypatch):
    frame = make(pa.table({"a": [1.0]}))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.interchange", None)
    with pytest.raises(ImportError, match=f"rows of type {make.__name__} needs pyarrow: pip install pyarrow"):
        rank_features(frame, [[1.0]])
