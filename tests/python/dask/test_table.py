"""Test that aggregators get all values of Dask frames, unchanged and in order, for any partitions."""

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

import isoxide.dask
from isoxide._partitioned.aggregators import Aggregator, CountRows
from isoxide.dask._engine import DaskEngine
from notebook_html import parse

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.dask,
    pytest.mark.not_parallel(reason="Dask has threads and processes of its own"),
    pytest.mark.current_versions(reason="Dask is not installed with the oldest versions"),
    pytest.mark.filterwarnings(
        # Dask uses an argument that pandas 4 will remove.
        "ignore:The inplace keyword in DataFrame",
    ),
]

N = 60


class Rows(Aggregator):
    """Collect the number, the first row and the batches of each partition."""

    def __init__(self, *columns):
        self.columns = columns

    def init(self, partition):
        return [(*partition, [])]

    def update(self, state, batch, first_row):
        state[0][2].append(batch)
        return state

    def merge(self, states):
        return [partition for state in states for partition in state]

    def finish(self, state):
        return state


def rows(table, *columns):
    """Return the number, the first row and the batches of each partition, in order."""
    return sorted(table.aggregate(Rows(*columns)), key=lambda partition: partition[0])


def read(table, *columns):
    batches = [batch for _, _, batches in rows(table, *columns) for batch in batches]
    schema = pa.schema([table.schema.field(name) for name in columns])
    return pa.Table.from_batches(batches, schema=schema)


def identity(frame):
    return frame


def partitioned(frame, *sizes):
    """Return a dask frame with partitions of these sizes."""
    ends = np.cumsum(sizes)
    partitions = [frame.iloc[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    return dd.from_map(identity, partitions, meta=frame.iloc[:0])


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
            **{str(np.dtype(code)): r.integers(0, 100, N).astype(code) for code in "bBhHiIlLfde"},
            "largest": np.full(N, 2**64 - 1, np.uint64),
            "missing": np.where(r.random(N) < 0.5, np.nan, r.normal(size=N)),
            "empty": np.full(N, np.nan),
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
    "empty": pa.float64(), "flags": pa.bool_(), "big-endian": pa.int32(), "sparse": pa.float64(),
    "Int16": pa.int16(), "Float64": pa.float64(), "arrow": pa.int32(), "s": pa.timestamp("s"),
    "ms": pa.timestamp("ms"), "us": pa.timestamp("us"), "ns": pa.timestamp("ns"), "dates": pa.date32(),
    "text": pa.large_string(), "objects": pa.string(), "groups": pa.dictionary(pa.int32(), pa.large_string()),
    "numbers": pa.dictionary(pa.int32(), pa.int64()),
}  # fmt: skip
SIZES = [(N,), (N // 2, N // 2), (1, 0, N - 1), (0, 0, 7, 0, 50, 3, 0), (1,) * N]


@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: str(sizes)[:24])
def test_values_and_types_are_those_of_the_frame(frame, sizes):
    table = DaskEngine(partitioned(frame, *sizes))
    assert table.schema.names == list(frame.columns)
    for name, dtype in EXPECTED.items():
        assert table.schema.field(name).type == dtype, name
    assert table.schema.field("zone").type.tz == "Europe/Berlin"
    result = read(table, *frame.columns)
    assert result.num_rows == N
    for name in frame.columns:
        column, values = frame[name], result[name]
        if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
            # NaN stays a value, and does not become a null.
            assert values.null_count == 0, name
            assert_array_equal(values.to_numpy(), column.to_numpy(), err_msg=name)
        else:
            assert values.null_count == column.isna().sum(), name
            expected = column.dropna().astype(object).tolist()
            assert values.drop_null().cast(values.type).to_pandas().astype(object).tolist() == expected, name


@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: str(sizes)[:24])
def test_the_first_row_of_each_partition_is_known_after_the_first_pass(frame, sizes, monkeypatch):
    monkeypatch.setattr("isoxide.dask._engine._MAX_TOGETHER", 1)
    starts = (np.cumsum(sizes) - sizes).tolist()
    table = DaskEngine(partitioned(frame, *sizes))
    assert [partition[:2] for partition in rows(table, "int8")] == [(number, None) for number in range(len(sizes))]
    assert [partition[:2] for partition in rows(table, "flags")] == list(enumerate(starts))
    assert table.count() == N
    counted = DaskEngine(partitioned(frame, *sizes))
    assert counted.count() == N
    assert [partition[:2] for partition in rows(counted, "flags", "int8")] == list(enumerate(starts))


@pytest.mark.parametrize(
    ("sizes", "max_rows", "expected"),
    [
        ((1,) * N, 2**16, [(0, 0), (32, 32)]),
        ((1,) * N, 25, [(0, 0), (25, 25), (50, 50)]),
        ((30, 0, 1, 0, 29, 0), 30, [(0, 0), (2, 30)]),
        ((0, 0, 7, 0, 50, 3, 0), 10, [(0, 0), (4, 7), (5, 57)]),
        ((20, 20, 20), 39, [(0, 0), (1, 20), (2, 40)]),
    ],
    ids=["many", "rows", "until full", "large one alone", "no two"],
)
def test_small_partitions_are_read_together_once_their_lengths_are_known(frame, sizes, max_rows, expected, monkeypatch):
    monkeypatch.setattr("isoxide.dask._engine._MAX_ROWS_TOGETHER", max_rows)
    table = DaskEngine(partitioned(frame, *sizes))
    assert len(rows(table, "int8")) == len(sizes)
    assert [task[:2] for task in rows(table, "int8")] == expected
    assert read(table, "int8")["int8"].to_pylist() == frame["int8"].tolist()
    assert table.count() == N


@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: str(sizes)[:24])
def test_rows_are_fetched_by_number(frame, sizes, seed):
    r = np.random.default_rng(seed)
    table = DaskEngine(partitioned(frame, *sizes))
    for numbers in (np.arange(N), np.empty(0, np.int64), np.array([0]), np.array([N - 1]), r.permutation(N)[:9]):
        numbers = np.sort(numbers)
        fetched = table.fetch(numbers, ["missing", "groups", "objects"])
        assert fetched.schema == pa.schema([table.schema.field(name) for name in ("missing", "groups", "objects")])
        assert_array_equal(fetched["missing"].to_numpy(), frame["missing"].to_numpy()[numbers])
        assert [*fetched["objects"].to_pylist()] == frame["objects"].iloc[numbers].tolist()
    with pytest.raises(IndexError, match=f"rows 0 to {N} were requested, but the dask frame has {N} rows"):
        table.fetch(np.array([0, N]), ["missing"])


#: Lengths of the partitions that were read; a global list, since Dask copies arguments.
LENGTHS: list[int] = []


def log_length(frame):
    LENGTHS.append(len(frame))
    return frame


def test_fetch_reads_only_partitions_with_requested_rows(frame):
    table = DaskEngine(partitioned(frame, 10, 20, 0, 30).map_partitions(log_length, meta=frame.iloc[:0]))
    # For columns of objects, the schema is inferred from the first partition.
    assert len(table.schema) == len(frame.columns)
    LENGTHS.clear()
    table.count()
    assert sorted(LENGTHS) == [0, 10, 20, 30]
    LENGTHS.clear()
    assert table.fetch(np.array([11, 29]), ["flags"]).num_rows == 2
    assert LENGTHS == [20]


def test_an_aggregator_without_columns_counts_rows(frame):
    assert CountRows().columns == ()
    assert DaskEngine(partitioned(frame, 50, 10)).aggregate(CountRows()) == N


def test_at_most_eight_states_are_merged_at_a_time(frame, monkeypatch):
    lengths = []
    merge = Rows.merge

    def log_and_merge(self, states):
        states = list(states)
        lengths.append(len(states))
        return merge(self, states)

    monkeypatch.setattr(Rows, "merge", log_and_merge)
    assert read(DaskEngine(partitioned(frame, *[1] * N)), "int8")["int8"].to_pylist() == frame["int8"].tolist()
    assert max(lengths) <= 8


def test_parquet_partitions_do_not_depend_on_the_columns_read(tmp_path, seed):
    frame = pd.DataFrame(np.random.default_rng(seed).normal(size=(4000, 9)), columns=list("abcdefghi"))
    for start in range(0, 4000, 100):
        frame.iloc[start : start + 100].to_parquet(tmp_path / f"{start:04}.parquet", index=False)
    for filesystem in ("arrow", "fsspec"):
        ddf = dd.read_parquet(tmp_path, filesystem=filesystem)
        ddf = ddf[ddf["i"] > 0]
        # Dask determines the order of the files.
        expected = ddf.compute()
        table = DaskEngine(ddf)
        n_rows = sum(batch.num_rows for _, _, batches in rows(table, "a") for batch in batches)
        assert n_rows == table.count() == len(expected)
        result = read(table, "c", "i", "a")
        for name in "cia":
            assert_array_equal(result[name].to_numpy(), expected[name].to_numpy())
    # Without the engine, Dask reads several files as one partition if few columns are requested.
    assert ddf[["a"]].optimize().npartitions < 40


def test_types_of_objects_and_unknown_categories_are_inferred_from_all_partitions():
    frame = pd.DataFrame({"x": range(6), "y": [None] * 4 + ["a", None], "z": [None] * 6}, dtype=object)
    table = DaskEngine(partitioned(frame, 2, 2, 2)[["y", "z"]])
    assert table.schema == pa.schema({"y": pa.string(), "z": pa.null()})
    assert read(table, "y", "z").to_pylist() == frame[["y", "z"]].to_dict("records")
    known = pd.DataFrame({"x": pd.Categorical(list("abcabc"))})
    unknown = partitioned(known, 2, 2, 2).assign(x=lambda f: f["x"].cat.as_unknown())
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
def test_a_column_of_objects_has_the_type_of_all_its_values(values, dtype, expected):
    table = DaskEngine(partitioned(pd.DataFrame({"x": pd.Series(values, dtype=object)}), 1, 1))
    assert table.schema.field("x").type == dtype
    result = read(table, "x")["x"].to_pylist()
    assert [None if value != value else value for value in result] == expected
    assert table.untyped == (frozenset("x") if dtype == pa.string() else frozenset())


@pytest.mark.parametrize("values", [[object(), None], [object(), "a"], [b"x", 1]], ids=["objects", "text too", "bytes"])
def test_objects_that_are_neither_text_nor_dates_are_refused(values):
    table = DaskEngine(partitioned(pd.DataFrame({"x": pd.Series(values, dtype=object), "y": [1, 2]}), 1, 1))
    assert read(table, "y")["y"].to_pylist() == [1, 2]
    assert not pa.types.is_primitive(table.schema.field("x").type)
    with pytest.raises(ValueError, match=r"partition [01] of the dask frame has objects .* in column 'x'.*astype"):
        table.aggregate(Rows("y", "x"))


def test_complex_numbers_are_not_read():
    table = DaskEngine(partitioned(pd.DataFrame({"x": [1j, 2j]}), 1, 1))
    with pytest.raises(ValueError, match=r"partition [01] of the dask frame has complex128 in column 'x'"):
        table.aggregate(Rows("x"))


def engine_with_third_partition(third, **options):
    first = pd.DataFrame({"x": [1, 2], "y": [0.5, 1.5], "t": ["a", "b"]})
    frames = [dask.delayed(identity)(frame) for frame in (first, first, third, first)]
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
def test_a_partition_with_a_different_type_is_refused(change, column):
    third = pd.DataFrame({"x": [1, 2], "y": [0.5, 1.5], "t": ["a", "b"]}).assign(**change)
    with pytest.raises(ValueError, match=rf"partition 2 of the dask frame has .* in column '{column}'"):
        engine_with_third_partition(third, verify_meta=False).aggregate(Rows("x", "y", "t"))
    # By default, Dask checks the types too.
    with pytest.raises(ValueError, match=rf"(?s)partition 2 of the dask frame .*{column}"):
        engine_with_third_partition(third).aggregate(Rows("x", "y", "t"))


@pytest.mark.parametrize("columns", [("x", "y", "t"), ("x",), ("t", "x")], ids=str)
@pytest.mark.parametrize("verify", [True, False])
def test_a_partition_without_a_column_is_refused(columns, verify):
    third = pd.DataFrame({"X": [1, 2], "y": [0.5, 1.5], "t": ["a", "b"]})
    with pytest.raises(ValueError, match=r"(?s)partition 2 of the dask frame .*x"):
        engine_with_third_partition(third, verify_meta=verify).aggregate(Rows(*columns))


def test_a_partition_may_have_its_columns_in_another_order_or_be_empty():
    as_objects = pd.DataFrame({"more": [0, 0], "t": pd.Series(["c", None], dtype=object), "y": [0.5, 1.5], "x": [1, 2]})
    table = engine_with_third_partition(as_objects, verify_meta=False)
    assert read(table, "x", "y", "t")["t"].to_pylist() == ["a", "b", "a", "b", "c", None, "a", "b"]
    empty = pd.DataFrame(columns=["x", "y", "t"], dtype=object)
    assert read(engine_with_third_partition(empty, verify_meta=False), "x", "y", "t").num_rows == 6


def drop_ten_more_rows(frame):
    LENGTHS.append(len(frame) - 10 * len(LENGTHS))
    return frame.iloc[: LENGTHS[-1]]


@pytest.mark.parametrize(
    "second_pass", [lambda t: t.aggregate(Rows("flags")), lambda t: t.fetch(np.array([0, 40]), ["flags"])]
)
def test_a_partition_that_changes_between_passes_is_refused(frame, second_pass):
    changing = partitioned(frame, 30).map_partitions(drop_ten_more_rows, meta=frame.iloc[:0])
    table = DaskEngine(dd.concat([partitioned(frame, 30), changing]))
    # The schema is inferred in a pass of its own, because of the columns of objects.
    assert table.schema.field("flags").type == pa.bool_()
    LENGTHS.clear()
    assert table.count() == 60
    with pytest.raises(ValueError, match=r"partition 1 of the dask frame had 30 rows .*, but now has 20: .*persist"):
        second_pass(table)


def fail(frame):
    raise FileNotFoundError("no such file")


def test_errors_of_reading_are_raised_unchanged(frame):
    with pytest.raises(FileNotFoundError, match="no such file"):
        DaskEngine(partitioned(frame, 30, 30).map_partitions(fail, meta=frame.iloc[:0])).aggregate(Rows("flags"))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pd.DataFrame({"x": [1]}), r"not pandas\.DataFrame; .*IsolationForest"),
        (pl.DataFrame({"x": [1]}), r"not polars\.DataFrame; .*isoxide\.stream"),
        (pa.table({"x": [1]}), r"not pyarrow\.Table; .*isoxide\.stream"),
        ("some.parquet", r"not builtins\.str; .*isoxide\.stream"),
        (None, "not builtins.NoneType"),
        (
            dd.from_map(identity, [pd.DataFrame({"x": [1]})], meta=pd.DataFrame({"x": [1]}))["x"],
            r"not dask\.Series; .*to_frame",
        ),
        (dask.array.ones((2, 2)), r"not dask\.Array; .*to_dask_dataframe"),
        (dask.bag.from_sequence([1]), r"not dask\.Bag; .*to_dataframe"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_objects_that_are_no_dask_frames_are_refused(table, message):
    with pytest.raises(TypeError, match=f"ddf must be a dask.dataframe.DataFrame, {message}"):
        DaskEngine(table)


def test_column_names_must_be_unique_text():
    with pytest.raises(TypeError, match="column names must be text, but 0 is not"):
        DaskEngine(partitioned(pd.DataFrame([[1, 2]]), 1))
    with pytest.raises(ValueError, match="several columns named 'x'"):
        DaskEngine(partitioned(pd.DataFrame([[1, 2]], columns=["x", "x"]), 1))
    with pytest.raises(ValueError, match="has no columns"):
        DaskEngine(partitioned(pd.DataFrame(index=[0]), 1))


def test_the_message_without_dask_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("isoxide.dask")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "dask", None)
    with pytest.raises(ImportError, match=r"pip install 'isoxide\[dask\]'"):
        importlib.import_module("isoxide.dask")


def test_notebooks_show_the_columns_without_reading_rows():
    def fail(partition):
        raise AssertionError("rows were read")

    frame = dd.from_pandas(pd.DataFrame({"<b>x</b>": [1.5], "n": [1]}), npartitions=1)
    lazy = frame.map_partitions(fail, meta=frame._meta)
    parsed = parse(isoxide.dask.table(lazy)._repr_html_())
    assert parsed.text.startswith("DaskTable: 2 columns, ")
    assert parsed.rows == [["partitions", "1"], ["column", "type"], ["<b>x</b>", "float64"], ["n", "int64"]]
