"""Test columns with a declared dtype: numeric dtypes become features, and all others are left out with a reason."""

import datetime
import decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from frame_tables import arrow_of, frame_of, read

pytestmark = pytest.mark.current_versions(reason="pandas 2.2, polars 1.17 and pyarrow 18 lack some of these types")

D = decimal.Decimal
NAN = np.nan
_HALF = pa.array([np.float16(1), None, np.float16(NAN)], pa.float16())
NUMBERS = {
    "decimal128": (pa.array([D("1.5"), None, D(2)], pa.decimal128(38, 10)), [1.5, NAN, 2]),
    "decimal256": (pa.array([D("1.5"), None, D(2)], pa.decimal256(76, 10)), [1.5, NAN, 2]),
    "large decimals": (pa.array([D(10**37), None], pa.decimal128(38, 0)), [1e37, NAN]),
    "booleans": (pa.array([True, None, False]), [1, NAN, 0]),
    "half floats": (_HALF, [1, NAN, NAN]),
    "float32": (pa.array([1, None, NAN], pa.float32()), [1, NAN, NAN]),
    "uint64": (pa.array([2**64 - 1, None], pa.uint64()), [float(2**64), NAN]),
    "int64": (pa.array([2**60, None]), [float(2**60), NAN]),
}
if hasattr(pa, "decimal32"):
    NUMBERS["decimal32"] = (pa.array([D("1.5"), None, D(2)], pa.decimal32(5, 2)), [1.5, NAN, 2])
NOT_NUMERIC = {
    "durations": (pa.array([1, None], pa.duration("s")), "durations"),
    "hours": (pa.array([1, None], pa.time32("s")), "times"),
    "times": (pa.array([1, None], pa.timestamp("s")), "times"),
    "days": (pa.array([1, None], pa.date32()), "times"),
    "bytes": (pa.array([b"a", None]), "binary"),
    "fixed bytes": (pa.array([b"a", None], pa.binary(1)), "fixed_size_binary"),
    "structs": (pa.array([{"a": 1}, None]), "nested values"),
    "lists": (pa.array([[1], None]), "nested values"),
    "text": (pa.array(["a", None], pa.large_string()), "text"),
    "numbers as text": (pa.array(["1", None]), "text, though all its 1 cells are numbers"),
    "some numbers as text": (pa.array(["1", "-"]), "text; 1 of its 2 cells are numbers, but not '-'"),
    "categories": (pa.array(["a", None]).dictionary_encode(), "categories"),
    "nothing": (pa.nulls(2), "no values"),
    "missing numbers": (pa.array([None, NAN]), "no values"),
}
NOT_IN_FILES = {
    "numeric categories": (pa.array([1, None]).dictionary_encode(), "categories of numbers"),
    "unions": (
        pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])]),
        "nested values",
    ),
    "intervals": (pa.array([(1, 2, 3), None], pa.month_day_nano_interval()), "durations"),
    "views": (pa.array(["a", None], pa.string_view()), "text"),
    "uuids": (
        pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"a" * 16] * 2, pa.binary(16))),
        "extension<arrow.uuid>",
    ),
}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("storage", ["table", "parquet", "arrow"])
def test_numeric_arrow_columns_are_features(tmp_path, name, storage):
    values, expected = NUMBERS[name]
    source = stored(tmp_path, arrow_of(values), storage)
    table = read(source)
    assert table.features == ("y", "x")
    np.testing.assert_array_equal(table.X["x"].to_numpy(dtype=float), expected)
    assert table.X["x"].dtype.kind in "fiub"


@pytest.mark.parametrize("name", NOT_NUMERIC)
@pytest.mark.parametrize("storage", ["table", "parquet", "arrow"])
def test_other_arrow_columns_are_left_out_with_a_reason(tmp_path, name, storage):
    values, reason = NOT_NUMERIC[name]
    profile = read(stored(tmp_path, arrow_of(values), storage)).profile
    assert profile.features == ["y"]
    assert profile.left_out["x"].startswith(reason)
    assert "x" in str(profile)


def stored(tmp_path, table, storage):
    """Return the table itself, or the path of a file that holds it in the given format."""
    if storage == "table":
        return table
    path = tmp_path / f"t.{storage}"
    if storage == "parquet":
        pq.write_table(table, path)
    else:
        pa.feather.write_feather(table, path)
    return path


@pytest.mark.parametrize("name", NOT_IN_FILES)
def test_arrow_columns_that_no_file_can_hold_are_left_out(name):
    values, reason = NOT_IN_FILES[name]
    assert read(arrow_of(values)).profile.left_out["x"].startswith(reason)


def test_run_end_encoded_columns_are_decoded():
    table = read(arrow_of(pa.RunEndEncodedArray.from_arrays([1, 3], [1.0, 2.0])))
    assert table.frame["x"].tolist() == [1, 2, 2]


PANDAS = {
    "Int64": (pd.array([1, None], dtype="Int64"), [1, NAN]),
    "boolean": (pd.array([True, None], dtype="boolean"), [1, NAN]),
    "half": (np.array([1, NAN], dtype="f2"), [1, NAN]),
    "long double": (np.array([1, NAN], dtype="longdouble"), [1, NAN]),
    "big-endian": (np.array([1, 2], dtype=">i4"), [1, 2]),
    "sparse": (pd.arrays.SparseArray([0.0, NAN]), [0, NAN]),
    "sparse booleans": (pd.arrays.SparseArray([True, False]), [1, 0]),
    "Arrow decimals": (pd.array([D("1.5"), None], dtype=pd.ArrowDtype(pa.decimal128(10, 2))), [1.5, NAN]),
    "Arrow booleans": (pd.array([True, None], dtype=pd.ArrowDtype(pa.bool_())), [1, NAN]),
}


@pytest.mark.parametrize("name", PANDAS)
def test_numeric_pandas_columns_are_features(name):
    values, expected = PANDAS[name]
    table = read(frame_of(values))
    assert table.features == ("y", "x")
    np.testing.assert_array_equal(table.X["x"].to_numpy(dtype=float), expected)


def test_nan_and_missing_values_of_a_nullable_column_are_both_nan():
    values = pd.arrays.FloatingArray(np.array([1.0, NAN, 3.0]), np.array([False, False, True]))
    np.testing.assert_array_equal(read(frame_of(values)).X["x"].to_numpy(dtype=float), [1, NAN, NAN])


PANDAS_NOT_NUMERIC = {
    "complex": (np.array([1j, 2]), "complex128"),
    "durations": (pd.to_timedelta([1, 2], "s"), "durations"),
    "categories": (pd.Categorical([1, 2]), "categories of numbers"),
    "months": (pd.period_range("2025-01", periods=2, freq="M"), "text"),
    "intervals": (pd.interval_range(0, 2), "extension<pandas.interval"),
    "times": (pd.date_range("2025", periods=2, tz="Europe/Oslo"), "times"),
    "NaT": (pd.Series([pd.NaT] * 2), "times"),
    "None": (pd.Series([None] * 2, dtype=object), "no values"),
    "lists": (pd.Series([[1], [2]]), "nested values"),
    "objects": (pd.Series([object(), object()]), "objects"),
    "dates": (pd.Series([datetime.date(2025, 1, 1)] * 2), "times"),
}


@pytest.mark.parametrize("name", PANDAS_NOT_NUMERIC)
def test_other_pandas_columns_are_left_out_with_a_reason(name):
    values, reason = PANDAS_NOT_NUMERIC[name]
    assert read(frame_of(values)).profile.left_out["x"].startswith(reason)


POLARS = {
    "UInt8": (pl.Series([1, None], dtype=pl.UInt8), [1, NAN]),
    "Boolean": (pl.Series([True, None]), [1, NAN]),
    "Decimal": (pl.Series([D("1.5"), None]), [1.5, NAN]),
    "Float32": (pl.Series([1.5, None, NAN], dtype=pl.Float32), [1.5, NAN, NAN]),
    "Categorical": (pl.Series(["a", None], dtype=pl.Categorical), "categories"),
    "Duration": (pl.Series([datetime.timedelta(1)]), "durations"),
    "Array": (pl.Series([[1, 2]], dtype=pl.Array(pl.Int64, 2)), "nested values"),
    "Null": (pl.Series([None, None]), "no values"),
    "Object": (pl.Series([object()], dtype=pl.Object), "fixed_size_binary"),
}
if hasattr(pl, "Int128"):
    POLARS["Int128"] = (pl.Series([2**100, None, 3], dtype=pl.Int128), [2.0**100, NAN, 3])


@pytest.mark.parametrize("name", POLARS)
def test_polars_columns_are_features_or_left_out_with_a_reason(name):
    values, expected = POLARS[name]
    n = len(values)
    frame = pl.DataFrame({"actor": [f"a{i}" for i in range(n)], "day": ["2025-01-01"] * n, "y": list(range(n))})
    table = read(frame.with_columns(values.alias("x")))
    if isinstance(expected, str):
        assert table.profile.left_out["x"].startswith(expected)
    else:
        np.testing.assert_array_equal(table.X["x"].to_numpy(dtype=float), expected)


def test_a_frame_of_numbers_is_not_copied():
    frame = frame_of(np.arange(1000.0))
    table = read(frame)
    assert np.shares_memory(table.frame["x"].to_numpy(), frame["x"].to_numpy())
    frame["z"] = 1
    assert "z" not in table.frame
