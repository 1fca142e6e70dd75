"""Dask frames as partitions: every value reaches an aggregator as it is, in order, whatever the partitions are."""

import decimal
import importlib
import sys

import dask
import dask.array
import dask.bag
import dask.dataframe as dd
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal

from isoxide._partitioned.aggregators import Aggregator, CountRows
from isoxide.dask._engine import DaskEngine

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.dask,
    pytest.mark.not_parallel(reason="Dask has threads and processes of its own"),
    pytest.mark.current_versions(reason="Dask is not installed with the oldest versions"),
    pytest.mark.filterwarnings(
        # Dask uses what pandas 4 will drop.
        "ignore:The inplace keyword in DataFrame",
    ),
]

N = 60


class Rows(Aggregator):
    """All batches, with their partitions."""

    def __init__(self, *columns):
        self.columns = columns

    def init(self, partition):
        return [(*partition, [])]

    def update(self, state, batch, first_row):
        state[0][2].append(batch)
        return state

    def merge(self, states):
        return [own for state in states for own in state]

    def finish(self, state):
        return state


def rows(table, *columns):
    """Partitions with their batches, in the order of the partitions."""
    return sorted(table.aggregate(Rows(*columns)), key=lambda found: found[0])


def read(table, *columns):
    batches = [batch for _, _, found in rows(table, *columns) for batch in found]
    schema = pa.schema([table.schema.field(name) for name in columns])
    return pa.Table.from_batches(batches, schema=schema)


def piece(frame):
    return frame


def parted(frame, *sizes):
    """A dask frame with partitions of these sizes."""
    ends = np.cumsum(sizes)
    pieces = [frame.iloc[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    return dd.from_map(piece, pieces, meta=frame.iloc[:0])


@pytest.fixture(autouse=True)
def _synchronous():
    with dask.config.set(scheduler="synchronous", **{"dataframe.convert-string": False}):
        yield


@pytest.fixture
def frame(seed):
    r = np.random.default_rng(seed)
    days = pd.date_range("2025-01-01", periods=N)
    return pd.DataFrame(
        {
            **{str(np.dtype(kind)): r.integers(0, 100, N).astype(kind) for kind in "bBhHiIlLfde"},
            "largest": np.full(N, 2**64 - 1, np.uint64),
            "missing": np.where(r.random(N) < 0.5, np.nan, r.normal(size=N)),
            "nothing": np.full(N, np.nan),
            "flags": r.random(N) < 0.5,
            "big-endian": r.integers(0, 100, N).astype(">i4"),
            "sparse": pd.arrays.SparseArray(r.integers(0, 2, N) * 1.0),
            "Int16": pd.array([None, *r.integers(0, 9, N - 1)], dtype="Int16"),
            "Float64": pd.array([None, *r.normal(size=N - 1)], dtype="Float64"),
            "arrow": pd.array([None, *r.integers(0, 9, N - 1)], dtype="int32[pyarrow]"),
            **{unit: days.astype(f"datetime64[{unit}]") for unit in ("s", "ms", "us", "ns")},
            "zone": days.tz_localize("Europe/Berlin"),
            "no time": pd.Series([pd.NaT, *days[1:]]),
            "span": days - days[0],
            "dates": np.array([None, *days[1:].date], dtype=object),
            "text": pd.Series([None, *"ab" * (N // 2 - 1), "c"], dtype="str"),
            "string": pd.Series([None, *"ab" * (N // 2 - 1), "c"], dtype="string"),
            "objects": pd.Series([None, *"ab" * (N // 2 - 1), "c"], dtype=object),
            "groups": pd.Categorical([None, *"ab" * (N // 2 - 1), "c"]),
            "numbers": pd.Categorical(r.integers(0, 3, N)),
        }
    )


EXPECTED = {
    "int8": pa.int8(), "uint8": pa.uint8(), "int16": pa.int16(), "uint16": pa.uint16(), "int32": pa.int32(),
    "uint32": pa.uint32(), "int64": pa.int64(), "uint64": pa.uint64(), "float16": pa.float16(),
    "float32": pa.float32(), "float64": pa.float64(), "largest": pa.uint64(), "missing": pa.float64(),
    "nothing": pa.float64(), "flags": pa.bool_(), "big-endian": pa.int32(), "sparse": pa.float64(),
    "Int16": pa.int16(), "Float64": pa.float64(), "arrow": pa.int32(), "s": pa.timestamp("s"),
    "ms": pa.timestamp("ms"), "us": pa.timestamp("us"), "ns": pa.timestamp("ns"), "dates": pa.date32(),
    "text": pa.large_string(), "objects": pa.string(), "groups": pa.dictionary(pa.int32(), pa.large_string()),
    "numbers": pa.dictionary(pa.int32(), pa.int64()),
}  # fmt: skip
SIZES = [(N,), (N // 2, N // 2), (1, 0, N - 1), (0, 0, 7, 0, 50, 3, 0), (1,) * N]


@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: str(sizes)[:24])
def test_values_and_types(frame, sizes):
    table = DaskEngine(parted(frame, *sizes))
    assert table.schema.names == list(frame.columns)
    for name, kind in EXPECTED.items():
        assert table.schema.field(name).type == kind, name
    assert table.schema.field("zone").type.tz == "Europe/Berlin"
    found = read(table, *frame.columns)
    assert found.num_rows == N
    for name in frame.columns:
        column, values = frame[name], found[name]
        if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
            # NaN is a value, not a missing one.
            assert values.null_count == 0, name
            assert_array_equal(values.to_numpy(), column.to_numpy(), err_msg=name)
        else:
            assert values.null_count == column.isna().sum(), name
            there = column.dropna().astype(object).tolist()
            assert values.drop_null().cast(values.type).to_pandas().astype(object).tolist() == there, name


@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: str(sizes)[:24])
def test_partitions_know_where_they_begin_after_the_first_pass(frame, sizes):
    starts = (np.cumsum(sizes) - sizes).tolist()
    table = DaskEngine(parted(frame, *sizes))
    assert [found[:2] for found in rows(table, "int8")] == [(number, None) for number in range(len(sizes))]
    assert [found[:2] for found in rows(table, "flags")] == list(enumerate(starts))
    assert table.count() == N
    counted = DaskEngine(parted(frame, *sizes))
    assert counted.count() == N
    assert [found[:2] for found in rows(counted, "flags", "int8")] == list(enumerate(starts))


@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: str(sizes)[:24])
def test_fetch(frame, sizes, seed):
    r = np.random.default_rng(seed)
    table = DaskEngine(parted(frame, *sizes))
    for wanted in (np.arange(N), np.empty(0, np.int64), np.array([0]), np.array([N - 1]), r.permutation(N)[:9]):
        wanted = np.sort(wanted)
        found = table.fetch(wanted, ["missing", "groups", "objects"])
        assert found.schema == pa.schema([table.schema.field(name) for name in ("missing", "groups", "objects")])
        assert_array_equal(found["missing"].to_numpy(), frame["missing"].to_numpy()[wanted])
        assert [*found["objects"].to_pylist()] == frame["objects"].iloc[wanted].tolist()
    with pytest.raises(IndexError, match=f"rows 0 to {N} were requested, but the dask frame has {N} rows"):
        table.fetch(np.array([0, N]), ["missing"])


LENGTHS: list[int] = []


def noting(frame):
    # Not in an argument, of which dask would make a copy.
    LENGTHS.append(len(frame))
    return frame


def test_fetch_reads_only_partitions_that_hold_rows(frame):
    table = DaskEngine(parted(frame, 10, 20, 0, 30).map_partitions(noting, meta=frame.iloc[:0]))
    # Of objects it takes a look at the first partition.
    assert len(table.schema) == len(frame.columns)
    LENGTHS.clear()
    table.count()
    assert sorted(LENGTHS) == [0, 10, 20, 30]
    LENGTHS.clear()
    assert table.fetch(np.array([11, 29]), ["flags"]).num_rows == 2
    assert LENGTHS == [20]


def test_an_aggregator_without_columns(frame):
    assert CountRows().columns == ()
    assert DaskEngine(parted(frame, 50, 10)).aggregate(CountRows()) == N


def test_many_partitions_merge_some_at_a_time(frame, monkeypatch):
    merged = []
    merge = Rows.merge
    monkeypatch.setattr(Rows, "merge", lambda self, states: merge(self, merged.append(given := list(states)) or given))
    assert read(DaskEngine(parted(frame, *[1] * N)), "int8")["int8"].to_pylist() == frame["int8"].tolist()
    assert max(map(len, merged)) <= 8


def test_parquet_partitions_are_the_same_whatever_is_read(tmp_path, seed):
    frame = pd.DataFrame(np.random.default_rng(seed).normal(size=(4000, 9)), columns=list("abcdefghi"))
    for start in range(0, 4000, 100):
        frame.iloc[start : start + 100].to_parquet(tmp_path / f"{start:04}.parquet", index=False)
    for filesystem in ("arrow", "fsspec"):
        ddf = dd.read_parquet(tmp_path, filesystem=filesystem)
        ddf = ddf[ddf["i"] > 0]
        # The order of the files is dask's own affair.
        kept = ddf.compute()
        table = DaskEngine(ddf)
        n_rows = sum(batch.num_rows for _, _, found in rows(table, "a") for batch in found)
        assert n_rows == table.count() == len(kept)
        found = read(table, "c", "i", "a")
        for name in "cia":
            assert_array_equal(found[name].to_numpy(), kept[name].to_numpy())
    # Dask would read several files at once where few columns are wanted.
    assert ddf[["a"]].optimize().npartitions < 40


def test_objects_and_categories_are_looked_at_in_all_partitions_if_need_be():
    frame = pd.DataFrame({"x": range(6), "y": [None] * 4 + ["a", None], "z": [None] * 6}, dtype=object)
    table = DaskEngine(parted(frame, 2, 2, 2)[["y", "z"]])
    assert table.schema == pa.schema({"y": pa.string(), "z": pa.null()})
    assert read(table, "y", "z").to_pylist() == frame[["y", "z"]].to_dict("records")
    known = pd.DataFrame({"x": pd.Categorical(list("abcabc"))})
    unknown = parted(known, 2, 2, 2).assign(x=lambda f: f["x"].cat.as_unknown())
    table = DaskEngine(unknown)
    assert table.schema.field("x").type == pa.dictionary(pa.int32(), pa.large_string())
    assert read(table, "x")["x"].to_pylist() == list("abcabc")


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1, 2], pa.int64(), [1, 2]),
        ([1.5, None], pa.float64(), [1.5, None]),
        ([True, False], pa.bool_(), [True, False]),
        ([decimal.Decimal("0.1"), None], pa.float64(), [0.1, None]),
        ([1, 2.5], pa.float64(), [1.0, 2.5]),
        ([1, "a"], pa.string(), ["1", "a"]),
        ([1001.0, "a"], pa.string(), ["1001", "a"]),
    ],
    ids=str,
)
def test_objects_have_the_dtype_of_their_values_in_all_partitions(values, dtype, expected):
    table = DaskEngine(parted(pd.DataFrame({"x": pd.Series(values, dtype=object)}), 1, 1))
    assert table.schema.field("x").type == dtype
    found = read(table, "x")["x"].to_pylist()
    assert [None if value != value else value for value in found] == expected
    assert table.untyped == (frozenset("x") if dtype == pa.string() else frozenset())


@pytest.mark.parametrize("values", [[object(), None], [object(), "a"], [b"x", 1]], ids=["objects", "text too", "bytes"])
def test_objects_that_are_neither_text_nor_dates(values):
    table = DaskEngine(parted(pd.DataFrame({"x": pd.Series(values, dtype=object), "y": [1, 2]}), 1, 1))
    assert read(table, "y")["y"].to_pylist() == [1, 2]
    assert not pa.types.is_primitive(table.schema.field("x").type)
    with pytest.raises(ValueError, match=r"partition [01] of the dask frame has objects .* in column 'x'.*astype"):
        table.aggregate(Rows("y", "x"))


def test_complex_numbers_are_not_read():
    table = DaskEngine(parted(pd.DataFrame({"x": [1j, 2j]}), 1, 1))
    with pytest.raises(ValueError, match=r"partition [01] of the dask frame has complex128 in column 'x'"):
        table.aggregate(Rows("x"))


def drifting(drifted, **options):
    first = pd.DataFrame({"x": [1, 2], "y": [0.5, 1.5], "t": ["a", "b"]})
    frames = [dask.delayed(piece)(frame) for frame in (first, first, drifted, first)]
    return DaskEngine(dd.from_delayed(frames, meta=first.iloc[:0], **options))


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"x": [1.0, 2.0]}, "x"),
        ({"x": np.array([1, 2], np.int32)}, "x"),
        ({"x": ["1", "2"]}, "x"),
        ({"y": [True, False]}, "y"),
        ({"t": [1, 2]}, "t"),
        ({"t": pd.Series([1, 2], dtype=object)}, "t"),
        ({"t": pd.date_range("2025-01-01", periods=2)}, "t"),
    ],
    ids=str,
)
def test_partitions_of_other_types(change, column):
    drifted = pd.DataFrame({"x": [1, 2], "y": [0.5, 1.5], "t": ["a", "b"]}).assign(**change)
    with pytest.raises(ValueError, match=rf"partition 2 of the dask frame has .* in column '{column}'"):
        drifting(drifted, verify_meta=False).aggregate(Rows("x", "y", "t"))
    # Dask looks at them as well, if it is let.
    with pytest.raises(ValueError, match=rf"(?s)partition 2 of the dask frame .*{column}"):
        drifting(drifted).aggregate(Rows("x", "y", "t"))


@pytest.mark.parametrize("columns", [("x", "y", "t"), ("x",), ("t", "x")], ids=str)
@pytest.mark.parametrize("verify", [True, False])
def test_partitions_without_a_column(columns, verify):
    drifted = pd.DataFrame({"X": [1, 2], "y": [0.5, 1.5], "t": ["a", "b"]})
    with pytest.raises(ValueError, match=r"(?s)partition 2 of the dask frame .*x"):
        drifting(drifted, verify_meta=verify).aggregate(Rows(*columns))


def test_what_is_no_drift():
    as_objects = pd.DataFrame({"more": [0, 0], "t": pd.Series(["c", None], dtype=object), "y": [0.5, 1.5], "x": [1, 2]})
    table = drifting(as_objects, verify_meta=False)
    assert read(table, "x", "y", "t")["t"].to_pylist() == ["a", "b", "a", "b", "c", None, "a", "b"]
    nothing = pd.DataFrame(columns=["x", "y", "t"], dtype=object)
    assert read(drifting(nothing, verify_meta=False), "x", "y", "t").num_rows == 6


def shrinking(frame):
    LENGTHS.append(len(frame) - 10 * len(LENGTHS))
    return frame.iloc[: LENGTHS[-1]]


@pytest.mark.parametrize(
    "again", [lambda t: t.aggregate(Rows("flags")), lambda t: t.fetch(np.array([0, 40]), ["flags"])]
)
def test_partitions_that_change(frame, again):
    ddf = dd.concat([parted(frame, 30), parted(frame, 30).map_partitions(shrinking, meta=frame.iloc[:0])])
    table = DaskEngine(ddf)
    # Columns of objects are looked at in all partitions.
    assert table.schema.field("flags").type == pa.bool_()
    LENGTHS.clear()
    assert table.count() == 60
    with pytest.raises(ValueError, match=r"partition 1 of the dask frame had 30 rows .*, but now has 20: .*persist"):
        again(table)


def failing(frame):
    raise FileNotFoundError("no such thing")


def test_errors_of_reading_are_left_as_they_are(frame):
    with pytest.raises(FileNotFoundError, match="no such thing"):
        DaskEngine(parted(frame, 30, 30).map_partitions(failing, meta=frame.iloc[:0])).aggregate(Rows("flags"))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (pd.DataFrame({"x": [1]}), r"not pandas\.DataFrame; .*IsolationForest"),
        (pl.DataFrame({"x": [1]}), r"not polars\.DataFrame; .*isoxide\.stream"),
        (pa.table({"x": [1]}), r"not pyarrow\.Table; .*isoxide\.stream"),
        ("some.parquet", r"not builtins\.str; .*isoxide\.stream"),
        (None, "not builtins.NoneType"),
        (
            dd.from_map(piece, [pd.DataFrame({"x": [1]})], meta=pd.DataFrame({"x": [1]}))["x"],
            r"not dask\.Series; .*to_frame",
        ),
        (dask.array.ones((2, 2)), r"not dask\.Array; .*to_dask_dataframe"),
        (dask.bag.from_sequence([1]), r"not dask\.Bag; .*to_dataframe"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_dask_frame(table, words):
    with pytest.raises(TypeError, match=f"ddf must be a dask.dataframe.DataFrame, {words}"):
        DaskEngine(table)


def test_names_of_columns():
    with pytest.raises(TypeError, match="column names must be text, but 0 is not"):
        DaskEngine(parted(pd.DataFrame([[1, 2]]), 1))
    with pytest.raises(ValueError, match="several columns named 'x'"):
        DaskEngine(parted(pd.DataFrame([[1, 2]], columns=["x", "x"]), 1))
    with pytest.raises(ValueError, match="has no columns"):
        DaskEngine(parted(pd.DataFrame(index=[0]), 1))


def test_without_dask(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("isoxide.dask")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "dask", None)
    with pytest.raises(ImportError, match=r"pip install 'isoxide\[dask\]'"):
        importlib.import_module("isoxide.dask")
