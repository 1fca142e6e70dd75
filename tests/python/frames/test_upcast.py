"""Test that files that store a column with different dtypes give the rows of one file with the wider dtype, or none."""

import datetime
import decimal
import itertools

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from command import Done
from isoxide import IsolationForest, stream, ueba
from isoxide._frames.upcast import common_type, exact_common_type

NUMBERS = [
    pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64(), pa.float16(),
    pa.float32(), pa.float64(),
]  # fmt: skip


def extremes(dtype):
    """Return the numbers of a dtype that the fewest other dtypes hold."""
    if pa.types.is_floating(dtype):
        info = np.finfo(dtype.to_pandas_dtype())
        return [info.max, info.tiny, 1 + info.eps, -info.max]
    info = np.iinfo(dtype.to_pandas_dtype())
    return [info.min, info.max, info.max - 1]


@pytest.mark.parametrize("dtypes", list(itertools.combinations(NUMBERS, 2)), ids=lambda pair: f"{pair[0]}-{pair[1]}")
def test_the_common_dtype_of_two_holds_all_values_and_is_the_narrowest(dtypes):
    def holds(wide):
        for narrow in dtypes:
            for value in extremes(narrow):
                with np.errstate(over="ignore", invalid="ignore"):
                    kept = np.array(value, narrow.to_pandas_dtype()).astype(wide.to_pandas_dtype())
                # Python compares integers and floats exactly.
                if kept.item() != np.array(value, narrow.to_pandas_dtype()).item():
                    return False
        return True

    exact = exact_common_type(dtypes)
    assert exact == exact_common_type(dtypes[::-1])
    assert exact == next((dtype for dtype in NUMBERS if holds(dtype)), None)


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        ([pa.int8(), pa.uint8(), pa.float16()], pa.float16()),
        ([pa.int64(), pa.float64()], None),
        ([pa.int64(), pa.uint64()], None),
        ([pa.bool_(), pa.int8()], None),
        ([pa.int32(), pa.string()], None),
        ([pa.decimal128(9, 2), pa.decimal128(5, 4)], pa.decimal128(11, 4)),
        ([pa.decimal128(38, 0), pa.decimal128(5, 4)], pa.decimal256(42, 4)),
        ([pa.decimal256(76, 0), pa.decimal128(5, 4)], None),
        ([pa.decimal128(9, 2), pa.int64()], None),
        ([pa.timestamp("s"), pa.timestamp("us"), pa.timestamp("ms")], pa.timestamp("us")),
        ([pa.timestamp("ms", "UTC"), pa.timestamp("ns", "UTC")], pa.timestamp("ns", "UTC")),
        ([pa.timestamp("ms", "UTC"), pa.timestamp("ms")], None),
        ([pa.timestamp("ms"), pa.date32()], None),
        ([pa.duration("s"), pa.duration("ns")], pa.duration("ns")),
        ([pa.binary(), pa.large_binary()], pa.large_binary()),
        ([pa.null(), pa.int8()], pa.int8()),
        ([pa.null()], pa.null()),
        ([pa.string(), pa.large_string()], pa.large_string()),
    ],
    ids=str,
)
def test_common_dtypes(dtypes, expected):
    for order in itertools.permutations(dtypes):
        assert common_type(order, upcast=True) == expected


def write(folder, *tables, feather=False):
    folder.mkdir()
    for number, table in enumerate(tables):
        path = folder / f"{number}.{'feather' if feather else 'parquet'}"
        (pyarrow.feather.write_feather if feather else pq.write_table)(table, path)
    return folder


@pytest.fixture
def columns(seed):
    """Return columns with their wide dtypes, and for each file the dtypes in which it stores them."""
    r, n = np.random.default_rng(seed), 90
    wide = {
        "whole": pa.array(r.integers(-(2**31), 2**31, n), pa.int64()),
        "real": pa.array(r.integers(-(2**31), 2**31, n).astype(float)),
        "single": pa.array(np.round(r.normal(size=n), 1).astype(np.float32), pa.float64()),
        "unsigned": pa.array(r.integers(0, 127, n), pa.int16()),
        "missing": pa.array(r.integers(0, 9, n), pa.int32(), mask=r.random(n) < 0.3),
        "money": pa.array([decimal.Decimal(int(k)) / 100 for k in r.integers(0, 999, n)], pa.decimal128(11, 4)),
        "day": pa.array([datetime.datetime(2025, 1, 1 + k % 20) for k in range(n)], pa.timestamp("us")),
        "actor": pa.array([f"u{k % 7}" for k in range(n)]),
    }
    stored = [
        {},
        {"whole": pa.int32(), "real": pa.int32(), "single": pa.float32(), "unsigned": pa.uint8(), "missing": pa.int8(),
         "money": pa.decimal128(7, 4), "day": pa.timestamp("s")},
        {"unsigned": pa.int8(), "missing": pa.uint8(), "money": pa.decimal128(9, 2), "day": pa.timestamp("ms")},
    ]  # fmt: skip
    table = pa.table(wide)
    files = []
    for number, dtypes in enumerate(stored):
        part = table.slice(number * 30, 30)
        for name, dtype in dtypes.items():
            part = part.set_column(part.column_names.index(name), name, part[name].cast(dtype))
        files.append(part)
    return table, files


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("feather", [False, True])
def test_results_equal_those_of_files_with_the_wide_dtype(columns, order, feather, tmp_path):
    table, files = columns
    expected = pa.concat_tables([table.slice(number * 30, 30) for number in order])
    folder = write(tmp_path / "narrow", *(files[number] for number in order), feather=feather)
    opened = stream.open(folder, upcast=True)
    features = ["whole", "real", "single", "unsigned", "missing", "money"]
    forest = opened.fit(IsolationForest(n_estimators=10, random_state=0), features=features)
    in_one = stream.open(expected)
    assert (
        forest.to_bytes() == in_one.fit(IsolationForest(n_estimators=10, random_state=0), features=features).to_bytes()
    )
    assert opened.score(forest).read_all().equals(in_one.score(forest).read_all())
    pq.write_table(expected, tmp_path / "wide.parquet")
    keys = {"entity": "actor", "time": "day"}
    theirs = ueba.read_table(tmp_path / "wide.parquet", **keys).frame
    ours = ueba.read_table(folder, **keys, upcast=True).frame
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)


def test_other_dtypes_are_refused_by_default_and_the_option_is_named(tmp_path):
    folder = write(tmp_path / "t", pa.table({"x": pa.array([1], pa.int32())}), pa.table({"x": [2**53 + 1]}))
    message = (
        r"column 'x' is int32 in .*0\.parquet and int64 in .*1\.parquet; all files must have the same dtypes; with"
    )
    with pytest.raises(ValueError, match=rf"{message} upcast=True the column is read as int64"):
        stream.open(folder).fit()
    stream.open(folder, upcast=True).fit(IsolationForest(n_estimators=2, random_state=0)).save(tmp_path / "forest")
    Done("score", tmp_path / "forest", folder).failed("; with --upcast the column is read as int64")
    assert Done("score", tmp_path / "forest", folder, "--upcast").returncode == 0


@pytest.mark.parametrize(
    ("first", "other"), [("int64", "float64"), ("int64", "uint64"), ("bool", "int8"), ("float64", "string")]
)
def test_dtypes_without_an_exact_common_one_are_refused(first, other, tmp_path):
    tables = [pa.table({"x": pa.array([1], pa.int8()).cast(dtype)}) for dtype in (first, other)]
    folder = write(tmp_path / "t", *tables)
    shown = {"float64": "double"}
    message = (
        rf"column 'x' is {shown.get(first, first)} in .*0\.parquet and {shown.get(other, other)} in .*1\.parquet; "
    )
    with pytest.raises(ValueError, match=message + "no dtype holds all values of both exactly"):
        stream.open(folder, upcast=True).fit()
    with pytest.raises(ValueError, match=message + "all files must have the same dtypes$"):
        stream.open(folder).fit()


def test_a_time_beyond_the_range_of_the_finer_unit_is_refused(tmp_path):
    late = pa.table({"x": [1.0], "t": pa.array([datetime.datetime(9999, 1, 1)], pa.timestamp("s"))})
    early = pa.table({"x": [1.0], "t": pa.array([0], pa.timestamp("ns"))})
    folder = write(tmp_path / "t", early, late)
    with pytest.raises(ValueError, match=r"column 't' of .*1\.parquet cannot be read as timestamp\[ns\]: .*out of"):
        ueba.read_table(folder, entity="x", time="t", upcast=True)


@pytest.mark.parametrize("value", [None, "yes", 1])
def test_the_option_is_true_or_false(value, tmp_path):
    with pytest.raises(TypeError, match="upcast must be True or False"):
        stream.open(tmp_path, upcast=value)
