"""DataFrames of Spark as partitions, on this machine: partitions, the order of rows, and refusals of workers."""

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
from pyspark.sql import functions as F  # noqa: N812 (the name it has everywhere)

from isoxide import IsolationForest
from isoxide._partitioned.aggregators import Aggregator
from isoxide.spark._engine import SparkEngine
from spark_tables import (
    FEATURES,
    KEY,
    actor_days,
    assert_same_table,
    cached,
    shuffled,
    spark_session,
)


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    with spark_session(tmp_path_factory.mktemp("spark"), "local[2]") as session:
        yield session


# Spark's own: it wraps mapInArrow in what needs pandas, and the sockets to its JVM are closed when it ends.
pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.spark,
    pytest.mark.not_parallel(reason="one Spark session for all"),
    pytest.mark.current_versions(reason="Spark is not installed with the oldest versions"),
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

# The aggregators below travel to workers, which do not know this module.
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
    """What each partition had: its number and columns, and how often states were merged."""

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


class Fails(Aggregator):
    """Raises in a worker that has rows, or while states are merged."""

    def __init__(self, error, where):
        self.columns, self.error, self.where = ("id",), error, where

    def init(self, partition):
        return 0

    def update(self, state, batch, first_row):
        return state + batch.num_rows

    def accumulate(self, partition, batches):
        # All are read: Spark does not go on with a worker that leaves some.
        if super().accumulate(partition, batches) and self.where == "accumulate":
            raise self.error
        return 0

    def merge(self, states):
        if self.where == "merge" and TaskContext.get() is not None:
            raise self.error
        return 0

    def finish(self, state):
        return state


def report(df, columns):
    with closed(SparkEngine(df)) as table:
        return table.aggregate(Report(columns))


@pytest.mark.parametrize("n_partitions", [1, 2, 7])
def test_partitions_are_those_of_the_frame(spark, seed, n_partitions):
    found = report(shuffled(spark, actor_days(seed, 300), seed, n_partitions), ["share", "actor"])
    assert found["partitions"] == list(range(n_partitions))
    assert found["rows"] == 300
    assert found["types"] == ["double", "string"]
    assert found["merges"] == 1


def test_many_states_are_merged_by_workers(spark):
    found = report(spark.range(1_000, numPartitions=70), ["id"])
    assert found["partitions"] == list(range(70))
    assert found["rows"] == 1_000
    assert 2 <= found["merges"] <= 1 + 9
    assert report(spark.range(5), []) == {"partitions": [0, 1], "rows": 5, "types": ["int8"], "merges": 1}


def test_large_states_are_merged_a_few_at_a_time(spark, monkeypatch):
    monkeypatch.setattr("isoxide.spark._engine._MAX_MERGED_BYTES", 100)
    found = report(spark.range(100, numPartitions=9), ["id"])
    assert found["partitions"] == list(range(9))
    assert found["merges"] > 4


def test_partitions_without_rows_are_partitions_too(spark):
    df = spark.range(100).repartition(5, F.lit(1))
    assert report(df, ["id"]) == {"partitions": list(range(5)), "rows": 100, "types": ["int64"], "merges": 1}
    nothing = spark.range(100, numPartitions=3).where("id < 0")
    assert report(nothing, ["id"]) == {"partitions": [0, 1, 2], "rows": 0, "types": None, "merges": 1}


def test_a_frame_without_partitions_is_one_without_batches(spark):
    df = spark.range(10).where("false")
    assert report(df, ["id"]) == {"partitions": [-1], "rows": 0, "types": None, "merges": 0}
    with closed(SparkEngine(df, order_by=["id"])) as table:
        assert table.count() == 0
        assert table.fetch(np.empty(0, np.int64), ["id"]).to_pydict() == {"id": []}
        assert table.row_numbers(pa.table({"id": pa.array([], pa.int64())})).tolist() == []


@pytest.mark.parametrize(("n_partitions", "shuffle_partitions"), [(1, "9"), (2, "1"), (7, "4"), (64, "9")])
def test_rows_by_number_and_numbers_of_rows(spark, seed, n_partitions, shuffle_partitions):
    expected = actor_days(seed)
    df = shuffled(spark, expected, seed, n_partitions)
    rng = np.random.default_rng(seed)
    some = np.sort(rng.choice(len(expected), 200, replace=False))
    with (
        setting(spark, "spark.sql.shuffle.partitions", shuffle_partitions),
        closed(SparkEngine(df, order_by=KEY)) as table,
    ):
        assert table.count() == len(expected)
        assert_same_table(
            table.fetch(some, ["share", "team", "day"]), expected.select(["share", "team", "day"]).take(some)
        )
        places = rng.permutation(some)
        assert table.row_numbers(expected.take(places)).tolist() == places.tolist()
        everything = table.fetch(np.arange(len(expected)), expected.column_names)
    assert_same_table(everything, expected)


def test_skewed_partitions(spark, seed):
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
    # Two of these are the same time of day in New York, an hour apart.
    "instant": (
        pa.timestamp("us", "UTC"),
        [datetime.datetime(2025, 11, 2, hour, 30, tzinfo=UTC) for hour in (4, 5, 6, 7)],
    ),
}


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
@pytest.mark.parametrize("kind", KEYS)
def test_types_of_keys(spark, seed, kind, zone):
    if zone != "UTC" and kind not in ("instant", "time", "date"):
        return
    arrow, values = KEYS[kind]
    expected = pa.table({"key": pa.array(values, arrow), "x": np.arange(len(values))})
    with (
        setting(spark, "spark.sql.session.timeZone", zone),
        closed(SparkEngine(shuffled(spark, expected, seed, 3), order_by=["key"])) as table,
    ):
        assert table.schema.field("key").type == arrow
        assert table.count() == len(values)
        assert_same_table(table.fetch(np.arange(1, len(values)), ["x", "key"]), expected.select(["x", "key"]).slice(1))
        assert table.row_numbers(expected).tolist() == expected["x"].to_pylist()
        assert table.aggregate(Report(["key"]))["types"] == [str(arrow)]


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
def test_keys_without_an_order_of_ours(spark, column):
    df = spark.range(3).selectExpr(f"{column} AS key")
    with pytest.raises(ValueError, match=r"order_by has 'key', which is .*; name columns of numbers"):
        SparkEngine(df, order_by=["key"])


@pytest.mark.parametrize("batch", ["1", "2", "3", "10000"])
def test_rows_that_share_a_key(spark, batch):
    # Within a batch or on both sides of its end, whatever that is.
    df = spark.range(40).selectExpr("CASE WHEN id IN (6, 7, 8) THEN 5 ELSE id END AS id", "'a' AS who")
    with (
        setting(spark, "spark.sql.execution.arrow.maxRecordsPerBatch", batch),
        closed(SparkEngine(df, order_by=["who", "id"])) as table,
        pytest.raises(ValueError, match=r"3 rows repeat the 'who', 'id' of an earlier row, such as who='a', id=5"),
    ):
        table.count()


@pytest.mark.parametrize("values", ["double('NaN'), float('NaN')", "0.0D, -0.0D"])
def test_numbers_that_are_equal_to_spark(spark, values):
    df = spark.sql(f"SELECT explode(array({values}, 1.0D)) AS id")
    with (
        closed(SparkEngine(df, order_by=["id"])) as table,
        pytest.raises(ValueError, match=r"1 rows repeat the 'id' of an earlier row, such as id=(nan|-?0\.0); name"),
    ):
        table.count()


def test_keys_with_nulls(spark):
    df = spark.range(40).selectExpr("IF(id % 10 = 3, NULL, id) AS id", "date'2025-01-01' AS day")
    with (
        closed(SparkEngine(df, order_by=["day", "id"])) as table,
        pytest.raises(ValueError, match="'day', 'id' has no value in 4 rows, such as day=2025-01-01, id=None; name"),
    ):
        table.count()


def test_columns_of_any_name(spark, seed):
    names = ["a.b", "a`b", "a", "A", "", "c1", "wanted", "k0", "__isoxide_row"]
    expected = pa.table({name: np.arange(20) * (i + 1) for i, name in enumerate(names)})
    with closed(SparkEngine(shuffled(spark, expected, seed), order_by=["a.b", "A"])) as table:
        assert table.count() == 20
        columns = list(reversed(names))
        assert_same_table(table.fetch(np.array([3, 19]), columns), expected.select(columns).take([3, 19]))
        assert table.row_numbers(expected.take([7, 2])).tolist() == [7, 2]
        assert table.aggregate(Report(["A", "a`b"]))["rows"] == 20


def test_columns_of_any_type(spark):
    df = spark.sql("SELECT id, parse_json('1') AS v, array(id) AS a, interval 1 month AS i FROM range(9)")
    with closed(SparkEngine(df, order_by=["id"])) as table:
        assert table.schema.names == ["id", "v", "a", "i"]
        assert table.fetch(np.array([4]), ["id", "a"]).to_pydict() == {"id": [4], "a": [[4]]}


def test_what_is_no_table(spark):
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


def test_what_workers_refuse_is_refused_here(spark):
    df = spark.range(100, numPartitions=4)
    table = SparkEngine(df)
    with pytest.raises(ValueError, match=r"^the words 'and' Ω$") as caught:
        table.aggregate(Fails(ValueError("the words 'and' Ω"), "accumulate"))
    assert "in accumulate\n    raise self.error" in str(caught.value.__cause__)
    with pytest.raises(TypeError, match=r"^other words$"):
        table.aggregate(Fails(TypeError("other words"), "accumulate"))
    with pytest.raises(ValueError, match=r"^unreadable$"):
        table.aggregate(Fails(pa.ArrowInvalid("unreadable"), "accumulate"))
    # Whatever else goes wrong may go well when Spark tries again.
    with pytest.raises(PythonException, match="KeyError"):
        table.aggregate(Fails(KeyError("x"), "accumulate"))


@pytest.mark.parametrize("where", ["accumulate", "merge"])
def test_what_is_refused_among_many_partitions(spark, where, monkeypatch):
    monkeypatch.setattr("isoxide.spark._engine._MAX_DRIVER_STATES", 4)
    with pytest.raises(ValueError, match=r"^words$"):
        SparkEngine(spark.range(1_000, numPartitions=9)).aggregate(Fails(ValueError("words"), where))


def unsteady(batches):
    for batch in batches:
        yield pa.record_batch({"id": pa.array(batch["id"].to_numpy() + int.from_bytes(os.urandom(5), "big"))})


def test_a_frame_that_comes_out_otherwise_each_time(spark):
    df = spark.range(100).mapInArrow(unsteady, "id long")
    with closed(SparkEngine(df, order_by=["id"])) as table:
        assert table.count() == 100
        for rows in (np.array([1, 50]), np.arange(100)):
            with pytest.raises(ValueError, match="the rows of the DataFrame changed since it was first read"):
                table.fetch(rows, ["id"])
        with pytest.raises(ValueError, match="the rows of the DataFrame changed since it was first read"):
            table.row_numbers(pa.table({"id": [-1]}))


def test_the_keys_are_sorted_once_and_given_back(spark, seed):
    expected = actor_days(seed, 200)
    before = set(cached(spark))
    table = SparkEngine(shuffled(spark, expected, seed), order_by=KEY)
    assert table.count() == 200
    kept = table._sorted
    assert table.count() == 200
    table.fetch(np.array([5]), KEY)
    assert table._sorted is kept
    spark.catalog.clearCache()
    # They are sorted anew, as other partitions may come of it.
    assert_same_table(table.fetch(np.array([5]), KEY), expected.select(KEY).take([5]))
    assert table._sorted is not kept
    table.close()
    assert set(cached(spark)) <= before


class Scores(Aggregator):
    """Scores in workers, and the threads that these may use."""

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


def test_a_forest_is_brought_to_workers(spark, seed):
    expected = actor_days(seed, 500)
    forest = IsolationForest(n_estimators=20, random_state=0).fit(expected.select(FEATURES))
    with closed(SparkEngine(shuffled(spark, expected, seed, 3))) as table:
        broadcast = table.broadcast(forest)
        assert broadcast.data == forest.to_bytes()
        jobs, scores = table.aggregate(Scores(broadcast, FEATURES))
    assert jobs == [1, 1, 1]
    np.testing.assert_array_equal(np.sort(scores), np.sort(forest.score_samples(expected.select(FEATURES))))
