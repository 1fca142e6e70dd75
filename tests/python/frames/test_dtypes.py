"""Test that dtypes of NumPy, pandas, polars and Arrow that hold the same numbers have the same family."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from isoxide._frames.dtypes import (
    EXACT_INTEGERS,
    INT64_MAX,
    INT64_MIN,
    READABLE,
    arrow_family,
    describe_dtype,
    is_core_number,
    is_number,
    is_text,
    is_uint64,
    native,
    numpy_family,
    polars_family,
    polars_name,
    readable,
)

FAMILIES = {
    "bool": "boolean", "int8": "integer", "int64": "integer", "uint8": "integer", "uint64": "integer",
    "float16": "float", "float32": "float", "float64": "float",
}  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_families_of_dtypes_are_the_same_in_every_library(name):
    dtype = np.dtype(name)
    assert numpy_family(dtype) == FAMILIES[name]
    assert arrow_family(pa.from_numpy_dtype(dtype)) == FAMILIES[name]
    assert is_number(pa.from_numpy_dtype(dtype))
    if name != "float16":
        assert polars_family(pl.Series(np.zeros(1, dtype)).dtype) == FAMILIES[name]
        nullable = {"b": "boolean", "i": "Int", "u": "UInt", "f": "Float"}[dtype.kind]
        bits = "" if dtype.kind == "b" else 8 * dtype.itemsize
        assert numpy_family(pd.array([None], dtype=f"{nullable}{bits}").dtype) == FAMILIES[name]


@pytest.mark.parametrize("name", ["U3", "S3", "O", "M8[ns]", "m8[ns]", "c16"])
def test_other_dtypes_of_numpy_have_no_family(name):
    assert numpy_family(np.dtype(name)) is None
    assert not is_core_number(np.dtype(name))


def test_numbers_of_more_than_64_bits_have_a_family():
    assert numpy_family(np.dtype(np.longdouble)) == "float"
    assert not is_core_number(np.dtype(np.longdouble))
    assert {arrow_family(pa.decimal128(5, 2)), arrow_family(pa.decimal256(50, 2))} == {"decimal"}
    assert polars_family(pl.Decimal(10, 2)) == "decimal"
    assert polars_name(pl.Decimal(10, 2)) == "Decimal"
    if hasattr(pl, "Int128"):  # polars 1.17 lacks the name
        assert polars_family(pl.Int128) == "integer"


@pytest.mark.parametrize(
    "dtype", [pl.String, pl.Date, pl.Datetime("us"), pl.Duration("us"), pl.List(pl.Int64), pl.Null]
)
def test_other_dtypes_of_polars_have_no_family(dtype):
    assert polars_family(dtype) is None


DESCRIPTIONS = {
    pa.string(): "text", pa.large_string(): "text", pa.string_view(): "text",
    pa.dictionary(pa.int32(), pa.string()): "categories",
    pa.dictionary(pa.int32(), pa.int64()): "categories of numbers",
    pa.timestamp("us"): "times", pa.date32(): "times", pa.time64("us"): "times",
    pa.duration("us"): "durations; convert them to a number of seconds to use them",
    pa.list_(pa.int64()): "nested values (list<item: int64>)", pa.null(): "no values", pa.binary(): "binary",
}  # fmt: skip


@pytest.mark.parametrize("dtype", DESCRIPTIONS, ids=str)
def test_other_dtypes_of_arrow_are_described(dtype):
    assert arrow_family(dtype) is None
    assert not is_number(dtype)
    assert describe_dtype(dtype) == DESCRIPTIONS[dtype]
    assert is_text(dtype) == (DESCRIPTIONS[dtype] == "text")


def test_the_bounds_of_exact_integers_are_those_of_the_dtypes():
    assert float(EXACT_INTEGERS) == float(EXACT_INTEGERS + 1)
    assert float(EXACT_INTEGERS - 1) != float(EXACT_INTEGERS)
    assert (np.iinfo(np.int64).min, np.iinfo(np.int64).max) == (INT64_MIN, INT64_MAX)
    assert [is_uint64(np.dtype(name)) for name in ("u8", ">u8", "u4", "i8", "f8")] == [True, True, False, False, False]


def test_unaligned_cells_are_copied():
    records = np.zeros(5, dtype=[("flag", "u1"), ("x", "f8")])
    records["x"] = range(5)
    assert not records["x"].flags.aligned
    for array in (readable(records["x"]), native(records["x"])):
        assert array.flags.aligned
        assert array.tolist() == [0, 1, 2, 3, 4]
    aligned = np.arange(5.0)
    assert readable(aligned) is aligned
    assert native(aligned) is aligned
    assert {native(np.zeros(2, name)).dtype for name in ("f2", "f4", "f8", "?", "i1", "u4", "i8")} == {*READABLE}
