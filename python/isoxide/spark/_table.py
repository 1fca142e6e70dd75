"""A Spark DataFrame as a table in parts.

Spark's rows have no order. A key that the user names gives them one: only the key is sorted, once, and kept; what
rows are wanted is then looked up by it.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyspark.sql.functions as F  # noqa: N812 (the name it has everywhere)
from numpy.typing import NDArray
from pyspark import StorageLevel
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import types as spark_types
from pyspark.sql.pandas.types import to_arrow_type

from isoxide._forest.estimator import IsolationForest
from isoxide._frames.names import INDEX_NOTE, pandas_index_positions
from isoxide._partitioned.aggregators import SCORE
from isoxide._partitioned.columns import check_column, features_of
from isoxide._partitioned.model import Model
from isoxide._partitioned.table import ROW_NUMBER, Part, PartedTable, Step
from isoxide.spark import _workers

#: What a key can be made of: values that Spark orders and joins as Arrow compares them.
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
#: Results up to which the driver merges them itself, and how many bytes of them any process is given at a time.
_FEW_RESULTS, _MANY_BYTES = 64, 2**26
#: Rows up to which Spark is told to send them to all executors; above, it sees for itself.
_FEW_ROWS = 2_000_000


class BroadcastModel(Model):
    """A forest that Spark brings to each executor once."""

    def __init__(self, broadcast: Any, *, n_jobs: int) -> None:
        self._broadcast = broadcast
        self.n_jobs = n_jobs

    @property
    def data(self) -> bytes:
        """The bytes of the forest."""
        data: bytes = self._broadcast.value
        return data


class SparkTable(PartedTable):
    """A DataFrame, and what gives the order of its rows."""

    name = "the DataFrame"

    def __init__(self, frame: DataFrame, *, order_by: Iterable[str] = ()) -> None:
        if not isinstance(frame, DataFrame):
            raise TypeError(f"df must be a DataFrame of Spark, not {type(frame).__name__}")
        index = pandas_index_positions(frame.columns)
        if index and len(index) < len(frame.columns):
            frame = frame.drop(*(frame.columns[place] for place in index))
            self.notes = (INDEX_NOTE,)
        names = frame.columns
        self.schema = pa.schema([(field.name, _arrow_type(field.dataType)) for field in frame.schema])
        for name in names:
            check_column(self.schema, name, "df", self.name)
        self.key = tuple(order_by)
        for name in self.key:
            check_column(self.schema, name, "order_by", self.name)
            _check_key(name, frame.schema[name].dataType)
        self._session = frame.sparkSession
        self._types = {field.name: field.dataType for field in frame.schema}
        # By place, since Spark reads dots and case in names, and takes upper and lower case for the same.
        self._inner = {name: f"c{i}" for i, name in enumerate(names)}
        self._frame = frame.toDF(*self._inner.values())
        #: The sorted keys with `monotonically_increasing_id`: in which partition they were sorted, and where in it.
        self._sorted: DataFrame | None = None
        #: The partitions of the sorted keys that have rows, ascending, and the number of the first row of each.
        self._partitions = self._first_rows = np.empty(0, dtype=np.int64)
        self._count = 0
        self._scores: list[DataFrame] = []
        self._broadcasts: list[Any] = []

    @property
    def n_jobs(self) -> int:
        """Threads of a task."""
        return int(str(self._session.conf.get("spark.task.cpus", "1")))

    def gather(self, step: Step) -> bytes:
        """Runs a step in the workers; only results come here."""
        if not step.columns:
            # Spark loses count of rows without columns.
            return _gather(self._frame.select(F.lit(0).alias("any")), step, pa.schema([("any", pa.int8())]))
        return _gather(self._select(step.columns), step, self._arrow(step.columns))

    def count(self) -> int:
        """The number of rows; with a key, which is sorted for it, also the place of each."""
        if not self.key:
            return self._frame.count()
        if self._sorted is None or not _is_kept(self._sorted):
            self._sort()
        return self._count

    def _counted(self, what: str) -> int:
        if not self.key:
            raise ValueError(no_order(what))
        return self.count()

    def _sort(self) -> None:
        self._forget()
        # As many partitions as Spark is set to have after a shuffle; said outright, so that it leaves them as they are.
        # The bounds of their ranges are found once and kept with what is persisted: what is lost is made again as it
        # was, since each row's place among distinct keys is certain.
        n_partitions = int(str(self._session.conf.get("spark.sql.shuffle.partitions", "200")))
        names = [f"k{i}" for i in range(len(self.key))]
        keys = self._select(self.key).toDF(*names).repartitionByRange(n_partitions, *names).sortWithinPartitions(*names)
        self._sorted = keys.withColumn(ROW_NUMBER, F.monotonically_increasing_id()).persist(
            StorageLevel.MEMORY_AND_DISK
        )
        schema = pa.schema([*self._arrow(self.key), (ROW_NUMBER, pa.int64())])
        found = json.loads(_gather(self._sorted, _workers.LookAtOrder(self.key), schema))
        key = ", ".join(map(repr, self.key))
        if found["missing"]:
            raise ValueError(
                f"order_by must tell every row from all others: {key} has no value in {found['missing']} rows, such as "
                f"{found['shown']['missing']}; name columns that always have one"
            )
        if found["repeated"]:
            raise ValueError(
                f"order_by must tell every row from all others: {found['repeated']} rows have the same {key} as one "
                f"before them, such as {found['shown']['repeated']}; name more columns, or drop the duplicates"
            )
        rows = sorted((int(partition), count) for partition, count in found["rows"].items())
        self._partitions = np.array([partition for partition, _ in rows], dtype=np.int64)
        ends = np.cumsum([count for _, count in rows], dtype=np.int64)
        self._first_rows = np.concatenate([[0], ends[:-1]]).astype(np.int64) if rows else ends
        self._count = int(ends[-1]) if rows else 0

    def fetch(self, rows: NDArray[np.int64], columns: Iterable[str]) -> pa.Table:
        """The rows of these numbers: their keys are looked up, then the rows by their keys."""
        columns = list(columns)
        n_rows = self._counted("which rows are meant")
        assert self._sorted is not None
        wanted = self._sorted
        if len(rows) < n_rows:
            places = np.searchsorted(self._first_rows, rows, side="right") - 1
            numbers = (self._partitions[places] << _workers.ROW_BITS) + (rows - self._first_rows[places])
            picked = _few(self._session.createDataFrame(pa.table({"wanted": numbers})), len(rows))
            wanted = wanted.join(picked, F.col(ROW_NUMBER) == F.col("wanted"))
        joined = self._frame.join(_few(wanted, len(rows)), self._same_key())
        found = joined.select(*(self._inner[name] for name in columns), ROW_NUMBER).toArrow()
        order = self._in_order(found[ROW_NUMBER], rows)
        table = found.drop_columns([ROW_NUMBER]).rename_columns(columns)
        return table.cast(self._arrow(columns)).take(order)

    def number(self, found: pa.Table) -> NDArray[np.int64]:
        """The numbers of rows by their keys."""
        self._counted("the number of a row")
        assert self._sorted is not None
        names = [*(self._inner[name] for name in self.key), "place"]
        places = pa.array(np.arange(len(found)), pa.int64())
        keys = found.select(list(self.key)).append_column("place", places).rename_columns(names)
        types = [*(self._types[name] for name in self.key), spark_types.LongType()]
        schema = spark_types.StructType(list(map(spark_types.StructField, names, types)))
        wanted = self._session.createDataFrame(keys.combine_chunks(), schema=schema)
        numbers = self._sorted.join(_few(wanted, len(found)), self._same_key()).select("place", ROW_NUMBER).toArrow()
        order = np.argsort(numbers["place"].to_numpy())
        if not np.array_equal(numbers["place"].to_numpy()[order], np.arange(len(found))):
            raise ValueError(_CHANGED)
        return self._rows_of(numbers[ROW_NUMBER])[order]

    def scores(self, forest: IsolationForest) -> PartedTable:
        """The scores, kept where they were made: they are read several times, and the DataFrame may take long."""
        names = features_of(forest, self.schema, self.name)
        run = _workers.score_column(self.share(forest), self._arrow(names))
        scored = mapped(self._select(names), run, f"{SCORE} double").persist(StorageLevel.MEMORY_AND_DISK)
        self._scores.append(scored)
        return SparkTable(scored)

    def share(self, forest: IsolationForest) -> Model:
        """The forest in a broadcast variable, scored with the threads of a task."""
        data = forest.to_bytes()
        try:
            context = self._session.sparkContext
        except (PySparkException, AttributeError, NotImplementedError):
            # Spark Connect: the bytes travel with each task.
            return Model(data, n_jobs=self.n_jobs)
        self._broadcasts.append(context.broadcast(data))
        return BroadcastModel(self._broadcasts[-1], n_jobs=self.n_jobs)

    def close(self) -> None:
        """Lets go of the sorted keys, the scores and the forests."""
        self._forget()
        while self._scores:
            self._scores.pop().unpersist()
        while self._broadcasts:
            self._broadcasts.pop().destroy()

    def _forget(self) -> None:
        if self._sorted is not None:
            self._sorted.unpersist()
            self._sorted = None

    def _select(self, columns: Iterable[str]) -> DataFrame:
        return self._frame.select(*(self._inner[name] for name in columns))

    def _arrow(self, columns: Iterable[str]) -> pa.Schema:
        return pa.schema([self.schema.field(name) for name in columns])

    def _same_key(self) -> Any:
        """Whether a row of the DataFrame, or what looks like one, belongs to a sorted key."""
        same = F.lit(True)
        for i, name in enumerate(self.key):
            same = same & (F.col(self._inner[name]) == F.col(f"k{i}"))
        return same

    def _rows_of(self, numbers: pa.ChunkedArray) -> NDArray[np.int64]:
        """The numbers of rows from Spark's numbers."""
        assert self._sorted is not None
        if not _is_kept(self._sorted):
            # They may have been sorted again meanwhile, with other bounds.
            raise RuntimeError(
                "what isoxide persisted was dropped while it was in use; do not clear Spark's cache then"
            )
        ids = numbers.to_numpy()
        place = np.searchsorted(self._partitions, ids >> _workers.ROW_BITS)
        rows: NDArray[np.int64] = self._first_rows[place] + (ids & ((1 << _workers.ROW_BITS) - 1))
        return rows

    def _in_order(self, numbers: pa.ChunkedArray, rows: NDArray[np.int64]) -> NDArray[np.intp]:
        """What brings the rows that came into the order of those wanted, all of which must be there."""
        came = self._rows_of(numbers)
        order = np.argsort(came)
        if not np.array_equal(came[order], rows):
            raise ValueError(_CHANGED)
        return order


_CHANGED = (
    "the DataFrame has other rows than when it was read first: it must come out the same each time it is computed; "
    "write it to a table first, or persist it"
)


def no_order(what: str) -> str:
    """Why there must be an order."""
    return (
        f"{what} depends on the order of the rows, and Spark's rows have none: name in order_by the columns of a "
        "unique key, such as an id, or who and when"
    )


def mapped(frame: DataFrame, function: Callable[[_workers.Batches], _workers.Batches], schema: Any) -> DataFrame:
    """``frame.mapInArrow``, without PySpark's warning of a pandas that it does not know: nothing here uses pandas."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
        return frame.mapInArrow(function, schema)


def _gather(frame: DataFrame, step: Step, schema: pa.Schema) -> bytes:
    """Runs a step and merges the results in the workers until there are few, so that the driver never holds many."""
    kept = []
    results = mapped(frame, _workers.run_step(step, schema), _workers.RESULT)
    try:
        while True:
            # Results are small, and are kept: the count tells how many there are without computing them twice.
            kept.append(results.persist(StorageLevel.MEMORY_AND_DISK))
            size = F.length("result")
            (seen,) = results.agg(F.count("part"), F.sum(size), F.max(size), F.count("refusal")).collect()
            n_results, total, largest, n_refused = (value or 0 for value in seen)
            if n_refused:
                (refused, *_) = results.where("refusal IS NOT NULL").orderBy("part").take(1)
                _workers.raise_refusal(refused["refusal"])
            if n_results <= 1 or (n_results <= _FEW_RESULTS and total <= _MANY_BYTES):
                break
            together = max(2, min(math.isqrt(n_results), _MANY_BYTES // max(largest, 1)))
            groups = results.repartition(math.ceil(n_results / together), "part")
            results = mapped(groups, _workers.merge_results(step), _workers.RESULT)
        found = results.select("part", "result").toArrow().sort_by("part")["result"]
        if not len(found):
            # A DataFrame may have no partitions at all.
            return step.run(Part(0, None), iter(()))
        return step.merge(each.as_py() for each in found)
    finally:
        for each in kept:
            each.unpersist()


def _is_kept(frame: DataFrame) -> bool:
    level = frame.storageLevel
    return level.useMemory or level.useDisk


def _few(frame: DataFrame, n_rows: int) -> DataFrame:
    return F.broadcast(frame) if n_rows <= _FEW_ROWS else frame


def _arrow_type(kind: spark_types.DataType) -> pa.DataType:
    """A type in Arrow's terms, as ``DataFrame.toArrow`` gives it; nothing is known of one that Arrow does not have."""
    try:
        return to_arrow_type(kind, timezone="UTC")
    except PySparkException:
        return pa.null()


def _check_key(name: str, kind: spark_types.DataType) -> None:
    # Collations make different texts equal.
    if not isinstance(kind, _KEY_TYPES) or kind.simpleString().startswith("string collate"):
        raise ValueError(
            f"order_by has {name!r}, which is {kind.simpleString()}; rows are ordered by numbers, texts, bytes, "
            "booleans, dates and times"
        )
