"""Engine that reads a Spark DataFrame as a partitioned table.

Spark's rows have no order, so the user names the columns of a unique key. Only the key is sorted, once, and the sorted
keys are persisted. Rows are then fetched by their keys.
"""

from __future__ import annotations

import math
import uuid
import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyspark.sql.functions as F  # noqa: N812 (the name it has everywhere)
from numpy.typing import NDArray
from pyspark import StorageLevel
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as spark_types
from pyspark.sql.pandas.types import to_arrow_type

from isoxide._forest.estimator import IsolationForest
from isoxide._frames.names import INDEX_NOTE, pandas_index_positions
from isoxide._partitioned.aggregators import ROW_NUMBER, SCORE, Aggregator, Partition, decode
from isoxide._partitioned.broadcast import BroadcastForest
from isoxide._partitioned.columns import check_column, features_of
from isoxide._partitioned.engine import Engine
from isoxide.spark import _workers
from isoxide.spark._errors import check_session, in_one_line

if TYPE_CHECKING:
    from pyspark import SparkContext

#: Types that a key column may have: Spark sorts and joins their values in the same way as Arrow compares them.
_KEY_TYPES = (
    spark_types.IntegralType,
    spark_types.FractionalType,
    spark_types.StringType,
    spark_types.BinaryType,
    spark_types.BooleanType,
    spark_types.DateType,
    spark_types.TimestampType,
    spark_types.TimestampNTZType,
)
#: Maximum number of states that the driver merges itself, and of bytes of states that a process merges at a time.
_MAX_DRIVER_STATES, _MAX_MERGED_BYTES = 64, 2**26
#: Number of keys that are sorted in one partition, unless there would be more partitions than Spark is configured for.
_KEYS_PER_RANGE = 500_000
#: Maximum number of rows for which isoxide tells Spark to broadcast them; for more rows Spark decides.
_MAX_BROADCAST_ROWS = 2_000_000

R = TypeVar("R")


class SparkForest(BroadcastForest):
    """Forest that Spark sends to each executor once."""

    def __init__(self, broadcast: Any, *, n_jobs: int) -> None:
        self._broadcast = broadcast
        self.n_jobs = n_jobs

    @property
    def data(self) -> bytes:
        """Return the bytes of the forest from the broadcast variable."""
        data: bytes = self._broadcast.value
        return data


class SparkEngine(Engine):
    """Engine of a DataFrame and the key that orders its rows.

    Parameters
    ----------
    frame : pyspark.sql.DataFrame
        DataFrame to read.
    order_by : iterable of str
        Columns of a unique key. If empty, rows have no row numbers.
    """

    name = "the DataFrame"

    def __init__(self, frame: DataFrame, *, order_by: Iterable[str] = ()) -> None:
        if not isinstance(frame, DataFrame):
            raise TypeError(f"df must be a Spark DataFrame, not {type(frame).__name__}")
        check_session(frame.sparkSession)
        index = pandas_index_positions(frame.columns)
        if index and len(index) < len(frame.columns):
            frame = frame.drop(*(frame.columns[position] for position in index))
            self.notes = (INDEX_NOTE,)
        names = frame.columns
        self.schema = pa.schema([(field.name, arrow_type(field.dataType)) for field in frame.schema])
        for name in names:
            check_column(self.schema, name, "df", self.name)
        self.key = tuple(order_by)
        for name in self.key:
            check_column(self.schema, name, "order_by", self.name)
            _check_key(name, frame.schema[name].dataType)
        self._session = frame.sparkSession
        self._types = {field.name: field.dataType for field in frame.schema}
        # Rename columns by position, since Spark treats dots in names as field access and ignores case.
        self._inner = {name: f"c{i}" for i, name in enumerate(names)}
        # Frames with the same plan share their cached data in Spark, so a parallel call could free the data that this
        # engine persists. The condition, which is always true, makes the plan of this engine the only one of its kind.
        self._frame = frame.toDF(*self._inner.values()).where(F.isnotnull(F.lit(uuid.uuid4().hex)))
        #: Sorted keys with `monotonically_increasing_id`, which contains the partition and the position in it.
        self._sorted: DataFrame | None = None
        #: Partitions of the sorted keys that have rows, in ascending order, and the number of the first row of each.
        self._partitions = self._first_rows = np.empty(0, dtype=np.int64)
        self._count = 0
        self._scores: list[DataFrame] = []
        self._broadcasts: list[Any] = []

    @property
    def n_jobs(self) -> int:  # type: ignore[override]
        """Return the number of threads of a task."""
        return task_threads(self._session)

    @in_one_line
    def aggregate(self, aggregator: Aggregator[Any, R]) -> R:
        """Aggregate in the workers, which send only states to the driver."""
        columns = aggregator.columns
        if not columns:
            # Spark does not count rows without columns correctly.
            return _aggregate(self._frame.select(F.lit(0).alias("any")), aggregator, pa.schema([("any", pa.int8())]))
        return _aggregate(self._select(columns), aggregator, self._arrow(columns))

    @in_one_line
    def count(self) -> int:
        """Return the number of rows; if there is a key, sort it first, which also gives the row numbers."""
        if not self.key:
            return self._frame.count()
        if self._sorted is None or not _is_persisted(self._sorted):
            self._sort()
        return self._count

    def _counted(self, subject: str) -> int:
        if not self.key:
            raise ValueError(no_order(subject))
        return self.count()

    def _sort(self) -> None:
        self._unpersist_keys()
        names = [f"k{i}" for i in range(len(self.key))]
        # The keys are read three times: to count them, to sample the ranges, and to sort them.
        keys = self._select(self.key).toDF(*names).persist(StorageLevel.MEMORY_AND_DISK)
        try:
            # The number is passed explicitly, so that Spark does not change it. Spark computes the bounds of the ranges
            # once. So a lost partition is recomputed identically: the keys are distinct, which determines the position
            # of each row.
            ranges = keys.repartitionByRange(self._n_ranges(keys.count()), *names).sortWithinPartitions(*names)
            self._sorted = ranges.withColumn(ROW_NUMBER, F.monotonically_increasing_id()).persist(
                StorageLevel.MEMORY_AND_DISK
            )
            self._check_order(self._sorted)
        finally:
            keys.unpersist()

    def _n_ranges(self, n_keys: int) -> int:
        """Return the number of partitions to sort keys in: Spark's configured number, or fewer for short tables.

        Each partition costs a task, which takes longer than sorting a few keys.
        """
        configured = int(str(self._session.conf.get("spark.sql.shuffle.partitions", "200")))
        return max(1, min(configured, math.ceil(n_keys / _KEYS_PER_RANGE)))

    def _check_order(self, sorted_keys: DataFrame) -> None:
        """Count the sorted keys of each partition, and refuse missing and repeated keys."""
        schema = pa.schema([*self._arrow(self.key), (ROW_NUMBER, pa.int64())])
        order = _aggregate(sorted_keys, _workers.CheckOrder(self.key), schema)
        key = ", ".join(map(repr, self.key))
        if order.n_missing:
            raise ValueError(
                f"order_by must identify every row: {key} has no value in {order.n_missing} rows, such as "
                f"{order.shown['missing']}; name columns without missing values"
            )
        if order.n_repeated:
            raise ValueError(
                f"order_by must identify every row: {order.n_repeated} rows repeat the {key} of an earlier row, "
                f"such as {order.shown['repeated']}; name more columns, or drop the duplicates"
            )
        rows = sorted(order.rows.items())
        self._partitions = np.array([partition for partition, _ in rows], dtype=np.int64)
        ends = np.cumsum([count for _, count in rows], dtype=np.int64)
        self._first_rows = np.concatenate([[0], ends[:-1]]).astype(np.int64) if rows else ends
        self._count = int(ends[-1]) if rows else 0

    @in_one_line
    def fetch(self, rows: NDArray[np.int64], columns: Iterable[str]) -> pa.Table:
        """Return the rows with these numbers: look up their keys, and fetch the rows by their keys."""
        columns = list(columns)
        n_rows = self._counted("the meaning of row numbers")
        assert self._sorted is not None
        keys = self._sorted
        if len(rows) < n_rows:
            sorted_in = np.searchsorted(self._first_rows, rows, side="right") - 1
            ids = (self._partitions[sorted_in] << _workers.ROW_BITS) + (rows - self._first_rows[sorted_in])
            picked = _broadcast_if_small(self._session.createDataFrame(pa.table({"id": ids})), len(rows))
            keys = keys.join(picked, F.col(ROW_NUMBER) == F.col("id"))
        joined = self._frame.join(_broadcast_if_small(keys, len(rows)), self._same_key())
        rows_of_keys = joined.select(*(self._inner[name] for name in columns), ROW_NUMBER).toArrow()
        order = self._in_order(rows_of_keys[ROW_NUMBER], rows)
        table = rows_of_keys.drop_columns([ROW_NUMBER]).rename_columns(columns)
        return table.cast(self._arrow(columns)).take(order)

    @in_one_line
    def row_numbers(self, rows: pa.Table) -> NDArray[np.int64]:
        """Return the row numbers of rows, which are looked up by their keys."""
        self._counted("the number of a row")
        assert self._sorted is not None
        names = [*(self._inner[name] for name in self.key), "position"]
        positions = pa.array(np.arange(len(rows)), pa.int64())
        keys = rows.select(list(self.key)).append_column("position", positions).rename_columns(names)
        types = [*(self._types[name] for name in self.key), spark_types.LongType()]
        schema = spark_types.StructType(list(map(spark_types.StructField, names, types)))
        key_frame = self._session.createDataFrame(keys.combine_chunks(), schema=schema)
        joined = self._sorted.join(_broadcast_if_small(key_frame, len(rows)), self._same_key())
        numbers = joined.select("position", ROW_NUMBER).toArrow()
        order = np.argsort(numbers["position"].to_numpy())
        if not np.array_equal(numbers["position"].to_numpy()[order], np.arange(len(rows))):
            raise ValueError(_CHANGED)
        return self._rows_of(numbers[ROW_NUMBER])[order]

    def scores(self, forest: IsolationForest) -> Engine:
        """Return persisted scores, since they are read several times and recomputing rows may take long."""
        names = features_of(forest, self.schema, self.name)
        run = _workers.score_column(self.broadcast(forest), self._arrow(names))
        scored = mapped(self._select(names), run, f"{SCORE} double").persist(StorageLevel.MEMORY_AND_DISK)
        self._scores.append(scored)
        return SparkEngine(scored)

    def broadcast(self, forest: IsolationForest) -> BroadcastForest:
        """Return the forest in a broadcast variable, which scores with the threads of a task."""
        data, context = forest.to_bytes(), context_of(self._session)
        if context is None:
            return BroadcastForest(data, n_jobs=self.n_jobs)
        self._broadcasts.append(context.broadcast(data))
        return SparkForest(self._broadcasts[-1], n_jobs=self.n_jobs)

    def close(self) -> None:
        """Free the sorted keys, the scores and the forests."""
        self._unpersist_keys()
        while self._scores:
            self._scores.pop().unpersist()
        while self._broadcasts:
            self._broadcasts.pop().destroy()

    def _unpersist_keys(self) -> None:
        if self._sorted is not None:
            self._sorted.unpersist()
            self._sorted = None

    def _select(self, columns: Iterable[str]) -> DataFrame:
        return self._frame.select(*(self._inner[name] for name in columns))

    def _arrow(self, columns: Iterable[str]) -> pa.Schema:
        return pa.schema([self.schema.field(name) for name in columns])

    def _same_key(self) -> Any:
        """Return the condition that a row of the DataFrame, or of its key columns, belongs to a sorted key."""
        same = F.lit(True)
        for i, name in enumerate(self.key):
            same = same & (F.col(self._inner[name]) == F.col(f"k{i}"))
        return same

    def _rows_of(self, numbers: pa.ChunkedArray) -> NDArray[np.int64]:
        """Convert Spark's ids of rows to row numbers."""
        assert self._sorted is not None
        if not _is_persisted(self._sorted):
            # The keys may have been sorted again with other bounds.
            raise RuntimeError(
                "data that isoxide persisted was dropped while it was in use; do not clear Spark's cache during a call"
            )
        ids = numbers.to_numpy()
        sorted_in = np.searchsorted(self._partitions, ids >> _workers.ROW_BITS)
        rows: NDArray[np.int64] = self._first_rows[sorted_in] + (ids & ((1 << _workers.ROW_BITS) - 1))
        return rows

    def _in_order(self, numbers: pa.ChunkedArray, rows: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return the positions that sort fetched rows like the requested ones; both must be the same rows."""
        fetched = self._rows_of(numbers)
        order = np.argsort(fetched)
        if not np.array_equal(fetched[order], rows):
            raise ValueError(_CHANGED)
        return order


_CHANGED = (
    "the rows of the DataFrame changed since it was first read: it must give the same rows each time it is computed; "
    "write it to a table first, or persist it"
)


def no_order(subject: str) -> str:
    """Return the message that `subject` needs an order of the rows."""
    return (
        f"{subject} depends on the order of the rows, and Spark's rows have none: name the columns of a unique key "
        "in order_by, such as an id, or entity and time"
    )


def context_of(session: SparkSession) -> SparkContext | None:
    """Return the context that broadcasts variables; None with Spark Connect, where each task gets its variables."""
    try:
        return session.sparkContext
    except (PySparkException, AttributeError, NotImplementedError):
        return None


def task_threads(session: SparkSession) -> int:
    """Return the number of threads of a task."""
    return int(str(session.conf.get("spark.task.cpus", "1")))


def mapped(frame: DataFrame, function: Callable[[_workers.Batches], _workers.Batches], schema: Any) -> DataFrame:
    """Call ``frame.mapInArrow`` without PySpark's warning about a newer pandas, which is not used here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
        return frame.mapInArrow(function, schema)


def _aggregate(frame: DataFrame, aggregator: Aggregator[Any, R], schema: pa.Schema) -> R:
    """Aggregate, and merge states in the workers until few remain, so that the driver never holds many."""
    persisted = []
    states = mapped(frame, _workers.accumulate_partition(aggregator, schema), _workers.STATE)
    try:
        while True:
            # Persist the states, which are small, so that counting them does not compute them twice.
            persisted.append(states.persist(StorageLevel.MEMORY_AND_DISK))
            size = F.length("state")
            (summary,) = states.agg(F.count("partition"), F.sum(size), F.max(size), F.count("refusal")).collect()
            n_states, total, largest, n_refused = (value or 0 for value in summary)
            if n_refused:
                (refused, *_) = states.where("refusal IS NOT NULL").orderBy("partition").take(1)
                _workers.raise_refusal(refused["refusal"])
            if n_states <= 1 or (n_states <= _MAX_DRIVER_STATES and total <= _MAX_MERGED_BYTES):
                break
            n_together = max(2, min(math.isqrt(n_states), _MAX_MERGED_BYTES // max(largest, 1)))
            groups = states.repartition(math.ceil(n_states / n_together), "partition")
            states = mapped(groups, _workers.merge_states(aggregator), _workers.STATE)
        encoded = states.select("partition", "state").toArrow().sort_by("partition")["state"]
        if not len(encoded):
            # A DataFrame can have no partitions.
            return aggregator.finish(aggregator.accumulate(Partition(0, None), ()))
        return aggregator.finish(aggregator.merge(decode(state.as_py()) for state in encoded))
    finally:
        for frame in persisted:
            frame.unpersist()


def _is_persisted(frame: DataFrame) -> bool:
    level = frame.storageLevel
    return level.useMemory or level.useDisk


def _broadcast_if_small(frame: DataFrame, n_rows: int) -> DataFrame:
    return F.broadcast(frame) if n_rows <= _MAX_BROADCAST_ROWS else frame


def arrow_type(dtype: spark_types.DataType) -> pa.DataType:
    """Return the Arrow type that ``DataFrame.toArrow`` gives for a Spark type, or null if there is none."""
    try:
        return to_arrow_type(dtype, timezone="UTC")
    except PySparkException:
        return pa.null()


def _check_key(name: str, dtype: spark_types.DataType) -> None:
    # With a collation, different texts can be equal.
    if not isinstance(dtype, _KEY_TYPES) or dtype.simpleString().startswith("string collate"):
        raise ValueError(
            f"order_by has {name!r}, which is {dtype.simpleString()}; name columns of numbers, text, bytes, "
            "booleans, dates or times"
        )
