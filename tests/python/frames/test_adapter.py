"""Test that a column has the same numbers in every container, without a copy if its storage allows it."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from isoxide._frames.adapter import (
    ArrowColumn,
    NumpyColumn,
    PolarsColumn,
    exact_numbers,
    float32_source,
    pandas_column,
    pandas_storage,
)
from isoxide._frames.columns import number_column

#: Columns of the same numbers that know missing cells, by container.
WITH_MISSING = {
    "nullable": lambda array: pandas_column(array.to_pandas(types_mapper=NULLABLE.get)),
    "pandas Arrow": lambda array: pandas_column(array.to_pandas(types_mapper=pd.ArrowDtype)),
    "Arrow": ArrowColumn,
    "Arrow chunks": lambda array: ArrowColumn(pa.chunked_array([array[:2], array[2:]])),
    "polars": lambda array: PolarsColumn(pl.Series(array)),
}
NULLABLE = {
    pa.bool_(): pd.BooleanDtype(), pa.float32(): pd.Float32Dtype(), pa.float64(): pd.Float64Dtype(),
    pa.int8(): pd.Int8Dtype(), pa.int64(): pd.Int64Dtype(), pa.uint16(): pd.UInt16Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
}  # fmt: skip


@pytest.mark.parametrize("dtype", NULLABLE, ids=str)
@pytest.mark.parametrize("container", WITH_MISSING)
def test_missing_cells_become_nan_in_every_container(container, dtype):
    values = [True, None, False, True] if pa.types.is_boolean(dtype) else [3, None, 0, 7]
    column = WITH_MISSING[container](pa.array(values, dtype))
    assert column.has_missing()
    assert column.present().tolist() == [value for value in values if value is not None]
    assert column.present().dtype == dtype.to_pandas_dtype()
    expected = np.array([np.nan if value is None else float(value) for value in values])
    for numbers in (column.with_nan(), exact_numbers(column, "x", "rows")):
        # polars converts integers of up to 16 bits to float32, which holds them; other libraries use float64.
        is_narrow = container == "polars" and dtype in (pa.bool_(), pa.int8(), pa.uint16())
        assert numbers.dtype == (np.float32 if dtype == pa.float32() or is_narrow else np.float64)
        np.testing.assert_array_equal(numbers, expected)
    source = float32_source(column)
    if container == "pandas Arrow" and dtype == pa.uint64():
        assert source is None
    else:
        np.testing.assert_array_equal(source.astype(np.float32), expected.astype(np.float32), strict=True)


@pytest.mark.parametrize("dtype", NULLABLE, ids=str)
@pytest.mark.parametrize("container", WITH_MISSING)
def test_complete_columns_keep_their_dtype(container, dtype):
    values = [True, False] if pa.types.is_boolean(dtype) else [3, 0]
    column = WITH_MISSING[container](pa.array(values, dtype))
    assert not column.has_missing()
    for numbers in (column.values(), exact_numbers(column, "x", "rows")):
        assert numbers.dtype == dtype.to_pandas_dtype()
        assert numbers.tolist() == values
    np.testing.assert_array_equal(float32_source(column).astype(np.float32), values)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_columns_that_the_core_reads_are_not_copied(dtype):
    array = np.arange(9).astype(dtype)
    arrow = pa.array(array)
    buffer = np.frombuffer(arrow.buffers()[1], dtype)
    polars = pl.Series(arrow)
    nullable = pd.array(array, dtype=NULLABLE[arrow.type])
    columns = [
        (NumpyColumn(array), array),
        (pandas_column(pd.Series(array, copy=False)), array),
        (pandas_column(pd.Series(nullable, copy=False)), nullable._data),
        (pandas_column(pd.Series(pd.arrays.ArrowExtensionArray(arrow))), buffer),
        (ArrowColumn(arrow), buffer),
        (PolarsColumn(polars), polars.to_numpy(allow_copy=False)),
    ]
    for column, owner in columns:
        for numbers in (exact_numbers(column, "x", "rows"), float32_source(column)):
            assert numbers.dtype == dtype
            assert np.shares_memory(numbers, owner)
    assert np.shares_memory(number_column(pa.record_batch({"x": arrow}), "x"), buffer)


def test_the_storage_of_pandas_columns_is_recognised():
    series = {
        "numpy": pd.Series([1.5]),
        "object": pd.Series([1, "x"], dtype=object),
        "masked": pd.Series([1, None], dtype="Int8"),
        "arrow": pd.Series([1, None], dtype=pd.ArrowDtype(pa.int8())),
        None: pd.Series([1.0, 0.0], dtype=pd.SparseDtype(float)),
    }
    assert [pandas_storage(column.dtype) for column in series.values()] == [*series]
    sparse = pandas_column(series[None])
    assert (sparse.family, sparse.has_missing(), sparse.values().tolist()) == ("float", False, [1.0, 0.0])
    assert pandas_column(series["object"]).family is None
    assert float32_source(pandas_column(series["object"])) is None
    assert float32_source(pandas_column(pd.Series([1, 2.5], dtype=object))).tolist() == [1.0, 2.5]


@pytest.mark.parametrize("container", WITH_MISSING)
def test_integers_that_nan_would_round_are_refused(container):
    make = WITH_MISSING[container]
    assert exact_numbers(make(pa.array([2**53, -(2**53), None])), "x", "rows")[:2].tolist() == [2.0**53, -(2.0**53)]
    for value in (2**53 + 1, -(2**53) - 1):
        with pytest.raises(ValueError, match=r"column 'x' of rows has missing values and integers beyond 2\*\*53"):
            exact_numbers(make(pa.array([value, None])), "x", "rows")
        assert exact_numbers(make(pa.array([value])), "x", "rows").tolist() == [value]


def test_columns_without_numbers_are_refused_by_dtype():
    columns = [
        (NumpyColumn(np.array(["a"])), "<U1"), (pandas_column(pd.Series(["a"], dtype="category")), "category"),
        (ArrowColumn(pa.array([1]).cast(pa.decimal128(20, 0))), r"decimal128\(20, 0\)"),
        (PolarsColumn(pl.Series(["a"])), "String"),
    ]  # fmt: skip
    for column, dtype in columns:
        with pytest.raises(TypeError, match=f"column 'x' of rows has dtype {dtype}, which cannot be ranked"):
            exact_numbers(column, "x", "rows")


def test_integers_round_once_or_via_float64():
    # The second value is rounded up if it is converted directly to float32, and down if it becomes float64 first.
    values = np.array([2**24 + 1, 2**60 + 2**36 + 1], dtype=np.uint64)
    once = float32_source(NumpyColumn(values))
    twice = float32_source(NumpyColumn(values), via_float64=True)
    assert (once.dtype, twice.dtype) == (np.float32, np.float64)
    assert once.tolist() == values.astype(np.float32).tolist()
    assert twice.astype(np.float32).tolist() == values.astype(np.float64).astype(np.float32).tolist()
    assert once.tolist() != twice.astype(np.float32).tolist()


def test_decimals_are_converted_and_other_dtypes_are_left_to_scikit_learn():
    decimals = pa.array([1, None, 3]).cast(pa.decimal128(30, 2))
    for column in (ArrowColumn(decimals), PolarsColumn(pl.Series(decimals))):
        np.testing.assert_array_equal(float32_source(column), np.array([1, np.nan, 3], np.float32), strict=True)
    halves = pa.array(np.array([1, 2], np.float16), mask=np.array([False, True]))
    assert float32_source(ArrowColumn(halves)) is None
    assert float32_source(NumpyColumn(np.zeros(2, np.longdouble))) is None
    assert float32_source(NumpyColumn(np.zeros(2, complex))) is None
