"""Test the engine for Spark DataFrames: partitions, the order of rows, and exceptions of workers."""

import contextlib
import datetime
import decimal
import itertools
import math
import os
import sys

import numpy as np
import pyarrow as pa
import pytest
from pyspark import TaskContext, cloudpickle
from pyspark.errors import PythonException
from pyspark.sql import functions as F  # noqa: N812 (its usual name)
from pyspark.sql.pandas.types import from_arrow_schema

import isoxide.spark
from isoxide import IsolationForest
from isoxide._partitioned.aggregators import Aggregator
from isoxide.spark import _engine
from isoxide.spark._engine import SparkEngine
from notebook_html import parse
from spark_tables import (
    FEATURES,
    KEY,
    actor_days,
    assert_same_table,
    cached,
    shuffled,
)

# The ignored warnings are Spark's own: it uses pandas in mapInArrow, and closes sockets to its JVM only at the end.
pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.spark,
    pytest.mark.not_parallel(reason="one Spark session for all"),
    pytest.mark.current_versions(reason="Spark is not installed with the oldest versions"),
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

# Spark sends the aggregators below to workers, which cannot import this module.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@contextlib.contextmanager
def setting(spark, name, value):
    before = spark.conf.get(name)
    spark.conf.set(name, value)
    try:
        yield
    finally:
        spark.conf.set(name, before)


def closed(table):
    return contextlib.closing(table)


class Report(Aggregator):
    """Collect the number, rows and types of each partition, and count how often states are merged."""

    def __init__(self, columns):
        self.columns = tuple(columns)

    def init(self, partition):
        number = -1 if TaskContext.get() is None else TaskContext.get().partitionId()
        assert partition == (max(number, 0), None)
        return {"partitions": [number], "rows": 0, "types": None, "merges": 0}

    def update(self, state, batch, first_row):
        assert tuple(batch.schema.names[: len(self.columns)]) == self.columns
        assert first_row is None
        return {**state, "rows": state["rows"] + batch.num_rows, "types": [str(dtype) for dtype in batch.schema.types]}

    def merge(self, states):
        states = list(states)
        return {
            "partitions": sorted(itertools.chain.from_iterable(each["partitions"] for each in states)),
            "rows": sum(each["rows"] for each in states),
            "types": next((each["types"] for each in states if each["types"]), None),
            "merges": 1 + sum(each["merges"] for each in states),
        }

    def finish(self, state):
        return state


class FailingAggregator(Aggregator):
    """Raise an error in a worker that has rows (`accumulate`), or when states are merged (`merge`)."""

    def __init__(self, error, method):
        self.columns, self.error, self.method = ("id",), error, method

    def init(self, partition):
        return 0

    def update(self, state, batch, first_row):
        return state + batch.num_rows

    def accumulate(self, partition, batches):
        # All batches are read: Spark does not continue with a worker that leaves some.
        if super().accumulate(partition, batches) and self.method == "accumulate":
            raise self.error
        return 0

    def merge(self, states):
        if self.method == "merge" and TaskContext.get() is not None:
            raise self.error
        return 0

    def finish(self, state):
        return state


def report(df, columns):
    with closed(SparkEngine(df)) as table:
        return table.aggregate(Report(columns))


@pytest.mark.parametrize("n_partitions", [1, 2, 7])
def test_an_aggregator_reads_each_partition_of_the_frame(spark, seed, n_partitions):
    result = report(shuffled(spark, actor_days(seed, 300), seed, n_partitions), ["share", "actor"])
    assert result["partitions"] == list(range(n_partitions))
    assert result["rows"] == 300
    assert result["types"] == ["double", "string"]
    assert result["merges"] == 1


def test_many_states_are_merged_by_workers(spark):
    result = report(spark.range(1_000, numPartitions=70), ["id"])
    assert result["partitions"] == list(range(70))
    assert result["rows"] == 1_000
    assert 2 <= result["merges"] <= 1 + 9
    assert report(spark.range(5), []) == {"partitions": [0, 1], "rows": 5, "types": ["int8"], "merges": 1}


def test_large_states_are_merged_in_small_groups(spark, monkeypatch):
    monkeypatch.setattr("isoxide.spark._engine._MAX_MERGED_BYTES", 100)
    result = report(spark.range(100, numPartitions=9), ["id"])
    assert result["partitions"] == list(range(9))
    assert result["merges"] > 4


def test_partitions_without_rows_keep_their_numbers(spark):
    df = spark.range(100).repartition(5, F.lit(1))
    assert report(df, ["id"]) == {"partitions": list(range(5)), "rows": 100, "types": ["int64"], "merges": 1}
    empty = spark.range(100, numPartitions=3).where("id < 0")
    assert report(empty, ["id"]) == {"partitions": [0, 1, 2], "rows": 0, "types": None, "merges": 1}


def test_a_frame_without_partitions_has_no_rows(spark):
    df = spark.range(10).where("false")
    assert report(df, ["id"]) == {"partitions": [-1], "rows": 0, "types": None, "merges": 0}
    with closed(SparkEngine(df, order_by=["id"])) as table:
        assert table.count() == 0
        assert table.fetch(np.empty(0, np.int64), ["id"]).to_pydict() == {"id": []}
        assert table.row_numbers(pa.table({"id": pa.array([], pa.int64())})).tolist() == []


@pytest.mark.parametrize(("n_partitions", "shuffle_partitions"), [(1, "9"), (2, "1"), (7, "4"), (64, "9")])
def test_rows_are_fetched_by_number_and_numbers_are_found_by_key(spark, seed, n_partitions, shuffle_partitions):
    expected = actor_days(seed)
    df = shuffled(spark, expected, seed, n_partitions)
    rng = np.random.default_rng(seed)
    numbers = np.sort(rng.choice(len(expected), 200, replace=False))
    with (
        setting(spark, "spark.sql.shuffle.partitions", shuffle_partitions),
        closed(SparkEngine(df, order_by=KEY)) as table,
    ):
        assert table.count() == len(expected)
        assert_same_table(
            table.fetch(numbers, ["share", "team", "day"]), expected.select(["share", "team", "day"]).take(numbers)
        )
        permuted = rng.permutation(numbers)
        assert table.row_numbers(expected.take(permuted)).tolist() == permuted.tolist()
        all_rows = table.fetch(np.arange(len(expected)), expected.column_names)
    assert_same_table(all_rows, expected)


@pytest.mark.parametrize(("keys_per_range", "expected"), [(1_000, 1), (999, 2), (100, 9)])
def test_short_tables_are_sorted_in_few_partitions(spark, seed, monkeypatch, keys_per_range, expected):
    monkeypatch.setattr(_engine, "_KEYS_PER_RANGE", keys_per_range)
    df = shuffled(spark, actor_days(seed, 1_000), seed)
    with setting(spark, "spark.sql.shuffle.partitions", "9"), closed(SparkEngine(df, order_by=KEY)) as table:
        assert table.count() == 1_000
        assert len(table._partitions) == expected


def test_keys_are_read_from_the_source_once(spark, seed):
    """Counting keys, sampling their ranges and sorting them read a copy of the keys, which is freed at the end."""
    reads = spark.sparkContext.accumulator(0)
    schema = from_arrow_schema(pa.schema([("id", pa.int64())]))

    def counted(batches):
        for batch in batches:
            reads.add(batch.num_rows)
            yield batch

    df = spark.range(1_000).repartition(3).mapInArrow(counted, schema)
    persisted = spark.sparkContext._jsc.getPersistentRDDs().size()
    with closed(SparkEngine(df, order_by=["id"])) as table:
        assert table.count() == 1_000
        assert reads.value == 1_000
        assert spark.sparkContext._jsc.getPersistentRDDs().size() == persisted + 1
    assert spark.sparkContext._jsc.getPersistentRDDs().size() == persisted


def test_rows_of_skewed_partitions_are_fetched_in_order(spark, seed):
    expected = actor_days(seed, 1_000)
    df = shuffled(spark, expected, seed).repartition(6, F.when(F.col("team") == "team1", 1).otherwise(2))
    with closed(SparkEngine(df, order_by=KEY)) as table:
        assert table.count() == 1_000
        assert_same_table(table.fetch(np.array([0, 999]), KEY), expected.select(KEY).take([0, 999]))


UTC = datetime.timezone.utc
KEYS = {
    "byte": (pa.int8(), [-128, -1, 0, 1, 127]),
    "long": (pa.int64(), [-(2**63), -1, 0, 2**53, 2**53 + 1, 2**63 - 1]),
    "string": (pa.string(), ["", " ", "A", "B", "a", "a ", "aa", "b", "z", "ä", "\ufb00", "\U0001d4b3"]),
    "binary": (pa.binary(), [b"", b"\0", b"\0\0", b"\x01", b"\x7f", b"\x80", b"\xff"]),
    "bool": (pa.bool_(), [False, True]),
    "float": (pa.float32(), [-math.inf, -1.5, -0.0, 1e-45, 1.5, math.inf, math.nan]),
    "double": (pa.float64(), [-math.inf, -1.5, 0.0, 5e-324, 0.1, 0.1 + 2**-50, math.inf, math.nan]),
    "decimal": (pa.decimal128(38, 2), [decimal.Decimal(f"{i}.10") for i in (-(10**30), -1, 0, 1, 2, 10**30)]),
    "date": (pa.date32(), [datetime.date(1, 1, 1), datetime.date(1969, 12, 31), datetime.date(2025, 1, 1)]),
    "time": (pa.timestamp("us"), [datetime.datetime(2025, 1, 1, 0, 0, 0, i) for i in (0, 1, 999_999)]),
    # Two of these instants are an hour apart, but have the same local time in New York.
    "instant": (
        pa.timestamp("us", "UTC"),
        [datetime.datetime(2025, 11, 2, hour, 30, tzinfo=UTC) for hour in (4, 5, 6, 7)],
    ),
}


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
@pytest.mark.parametrize("key_type", KEYS)
def test_keys_of_any_type_are_ordered(spark, seed, key_type, zone):
    if zone != "UTC" and key_type not in ("instant", "time", "date"):
        return
    arrow_type, values = KEYS[key_type]
    expected = pa.table({"key": pa.array(values, arrow_type), "x": np.arange(len(values))})
    with (
        setting(spark, "spark.sql.session.timeZone", zone),
        closed(SparkEngine(shuffled(spark, expected, seed, 3), order_by=["key"])) as table,
    ):
        assert table.schema.field("key").type == arrow_type
        assert table.count() == len(values)
        assert_same_table(table.fetch(np.arange(1, len(values)), ["x", "key"]), expected.select(["x", "key"]).slice(1))
        assert table.row_numbers(expected).tolist() == expected["x"].to_pylist()
        assert table.aggregate(Report(["key"]))["types"] == [str(arrow_type)]


@pytest.mark.parametrize(
    "column",
    [
        "array(id)",
        "map(id, id)",
        "named_struct('a', id)",
        "interval 1 day * id",
        "CAST(id AS STRING) COLLATE UTF8_LCASE",
    ],
)
def test_keys_of_types_without_an_order_are_refused(spark, column):
    df = spark.range(3).selectExpr(f"{column} AS key")
    with pytest.raises(ValueError, match=r"order_by has 'key', which is .*; name columns of numbers"):
        SparkEngine(df, order_by=["key"])


@pytest.mark.parametrize("batch", ["1", "2", "3", "10000"])
def test_rows_that_share_a_key_are_refused(spark, batch):
    # The rows may be in the same batch or in two batches.
    df = spark.range(40).selectExpr("CASE WHEN id IN (6, 7, 8) THEN 5 ELSE id END AS id", "'a' AS who")
    with (
        setting(spark, "spark.sql.execution.arrow.maxRecordsPerBatch", batch),
        closed(SparkEngine(df, order_by=["who", "id"])) as table,
        pytest.raises(ValueError, match=r"3 rows repeat the 'who', 'id' of an earlier row, such as who='a', id=5"),
    ):
        table.count()


@pytest.mark.parametrize("values", ["double('NaN'), float('NaN')", "0.0D, -0.0D"])
def test_keys_that_spark_considers_equal_are_refused(spark, values):
    df = spark.sql(f"SELECT explode(array({values}, 1.0D)) AS id")
    with (
        closed(SparkEngine(df, order_by=["id"])) as table,
        pytest.raises(ValueError, match=r"1 rows repeat the 'id' of an earlier row, such as id=(nan|-?0\.0); name"),
    ):
        table.count()


def test_keys_with_nulls_are_refused(spark):
    df = spark.range(40).selectExpr("IF(id % 10 = 3, NULL, id) AS id", "date'2025-01-01' AS day")
    with (
        closed(SparkEngine(df, order_by=["day", "id"])) as table,
        pytest.raises(ValueError, match="'day', 'id' has no value in 4 rows, such as day=2025-01-01, id=None; name"),
    ):
        table.count()


def test_columns_may_have_any_name(spark, seed):
    names = ["a.b", "a`b", "a", "A", "", "c1", "wanted", "k0", "__isoxide_row"]
    expected = pa.table({name: np.arange(20) * (i + 1) for i, name in enumerate(names)})
    with closed(SparkEngine(shuffled(spark, expected, seed), order_by=["a.b", "A"])) as table:
        assert table.count() == 20
        columns = list(reversed(names))
        assert_same_table(table.fetch(np.array([3, 19]), columns), expected.select(columns).take([3, 19]))
        assert table.row_numbers(expected.take([7, 2])).tolist() == [7, 2]
        assert table.aggregate(Report(["A", "a`b"]))["rows"] == 20


def test_columns_may_have_any_type(spark):
    df = spark.sql("SELECT id, parse_json('1') AS v, array(id) AS a, interval 1 month AS i FROM range(9)")
    with closed(SparkEngine(df, order_by=["id"])) as table:
        assert table.schema.names == ["id", "v", "a", "i"]
        assert table.fetch(np.array([4]), ["id", "a"]).to_pydict() == {"id": [4], "a": [[4]]}


def test_wrong_arguments_are_refused(spark):
    with pytest.raises(TypeError, match="df must be a Spark DataFrame, not dict"):
        SparkEngine({"id": [1]})
    df = spark.range(3)
    with pytest.raises(ValueError, match="several columns named 'id'; rename"):
        SparkEngine(df.select("id", "id"))
    with pytest.raises(ValueError, match=r"no column 'ids' \(order_by\); did you mean 'id'"):
        SparkEngine(df, order_by=["ids"])
    with pytest.raises(ValueError, match="depends on the order of the rows, and Spark's rows have none"):
        SparkEngine(df).fetch(np.array([0]), ["id"])
    assert SparkEngine(df).count() == 3


def test_errors_of_workers_are_raised_with_their_class_and_message(spark):
    df = spark.range(100, numPartitions=4)
    table = SparkEngine(df)
    with pytest.raises(ValueError, match=r"^a message 'with' Ω$") as caught:
        table.aggregate(FailingAggregator(ValueError("a message 'with' Ω"), "accumulate"))
    assert "in accumulate\n    raise self.error" in str(caught.value.__cause__)
    with pytest.raises(TypeError, match=r"^another message$"):
        table.aggregate(FailingAggregator(TypeError("another message"), "accumulate"))
    with pytest.raises(ValueError, match=r"^unreadable$"):
        table.aggregate(FailingAggregator(pa.ArrowInvalid("unreadable"), "accumulate"))
    # Spark repeats the task after any other error, since it may succeed then, and raises its own exception.
    with pytest.raises(PythonException, match="KeyError"):
        table.aggregate(FailingAggregator(KeyError("x"), "accumulate"))


@pytest.mark.parametrize("method", ["accumulate", "merge"])
def test_errors_are_raised_when_workers_merge_states(spark, method, monkeypatch):
    monkeypatch.setattr("isoxide.spark._engine._MAX_DRIVER_STATES", 4)
    with pytest.raises(ValueError, match=r"^message$"):
        SparkEngine(spark.range(1_000, numPartitions=9)).aggregate(FailingAggregator(ValueError("message"), method))


def random_keys(batches):
    for batch in batches:
        yield pa.record_batch({"id": pa.array(batch["id"].to_numpy() + int.from_bytes(os.urandom(5), "big"))})


def test_a_frame_that_changes_between_passes_is_refused(spark):
    df = spark.range(100).mapInArrow(random_keys, "id long")
    with closed(SparkEngine(df, order_by=["id"])) as table:
        assert table.count() == 100
        for rows in (np.array([1, 50]), np.arange(100)):
            with pytest.raises(ValueError, match="the rows of the DataFrame changed since it was first read"):
                table.fetch(rows, ["id"])
        with pytest.raises(ValueError, match="the rows of the DataFrame changed since it was first read"):
            table.row_numbers(pa.table({"id": [-1]}))


def test_the_keys_are_sorted_once_and_released_at_the_end(spark, seed):
    expected = actor_days(seed, 200)
    before = set(cached(spark))
    table = SparkEngine(shuffled(spark, expected, seed), order_by=KEY)
    assert table.count() == 200
    first_sorted = table._sorted
    assert table.count() == 200
    table.fetch(np.array([5]), KEY)
    assert table._sorted is first_sorted
    spark.catalog.clearCache()
    # The keys are sorted again, since Spark may divide them differently when it computes them again.
    assert_same_table(table.fetch(np.array([5]), KEY), expected.select(KEY).take([5]))
    assert table._sorted is not first_sorted
    table.close()
    assert set(cached(spark)) <= before


class Scores(Aggregator):
    """Compute scores in workers, and collect the number of threads that each may use."""

    def __init__(self, forest, columns):
        self.forest, self.columns = forest, columns

    def init(self, partition):
        assert self.forest.forest() is self.forest.forest()
        return [self.forest.forest().n_jobs], []

    def update(self, state, batch, first_row):
        return state[0], [*state[1], *self.forest.forest().score_samples(pa.Table.from_batches([batch]))]

    def merge(self, states):
        jobs, scores = zip(*states, strict=True)
        return list(itertools.chain(*jobs)), list(itertools.chain(*scores))

    def finish(self, state):
        return state


def test_a_forest_is_broadcast_to_workers(spark, seed):
    expected = actor_days(seed, 500)
    forest = IsolationForest(n_estimators=20, random_state=0).fit(expected.select(FEATURES))
    with closed(SparkEngine(shuffled(spark, expected, seed, 3))) as table:
        broadcast = table.broadcast(forest)
        assert broadcast.data == forest.to_bytes()
        jobs, scores = table.aggregate(Scores(broadcast, FEATURES))
    assert jobs == [1, 1, 1]
    np.testing.assert_array_equal(np.sort(scores), np.sort(forest.score_samples(expected.select(FEATURES))))


def test_notebooks_show_the_columns_without_reading_rows(spark):
    """A job of Spark would fail on the column that divides by zero."""
    frame = spark.range(9).selectExpr("id", "assert_true(id < 0) AS `<b>x</b>`", "CAST(id AS STRING) AS name")
    parsed = parse(isoxide.spark.table(frame, order_by="id")._repr_html_())
    assert parsed.text.startswith("SparkTable: 3 columns, ")
    assert parsed.rows == [
        ["ordered by", "id"], ["column", "type"], ["id", "bigint"], ["<b>x</b>", "void"], ["name", "string"],
    ]  # fmt: skip
