"""Functions that run in Spark's workers, each on the batches of one partition."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark import TaskContext

from isoxide._frames.validation import Input
from isoxide._partitioned.aggregators import ROW_NUMBER, SCORE, Aggregator, Partition, decode, encode
from isoxide._partitioned.broadcast import BroadcastForest
from isoxide._partitioned.columns import batch_scores
from isoxide._partitioned.row_columns import RowColumns

Batches = Iterator[pa.RecordBatch]

#: Schema of encoded states, in the notation of Spark and of Arrow.
STATE = "partition long, state binary, refusal string"
_STATE = pa.schema([("partition", pa.int64()), ("state", pa.binary()), ("refusal", pa.string())])
#: Errors that a retry of the task would raise again. They are passed to the driver instead of raised, since Spark
#: would retry three times, and then add pages of its own text.
_REFUSALS = {"ValueError": ValueError, "TypeError": TypeError}
#: Number of low bits in `monotonically_increasing_id` that hold the row's position; higher bits hold the partition.
ROW_BITS = 33


def accumulate_partition(aggregator: Aggregator[Any, Any], schema: pa.Schema) -> Callable[[Batches], Batches]:
    """Return the function for ``mapInArrow`` that aggregates a partition with the columns of a schema."""

    def run(batches: Batches) -> Batches:
        number = _partition_id()
        partition = Partition(number, None)
        yield _encoded(number, lambda: aggregator.accumulate(partition, as_declared(batches, schema)))

    return run


def merge_states(aggregator: Aggregator[Any, Any]) -> Callable[[Batches], Batches]:
    """Return the function for ``mapInArrow`` that merges the states of a partition, or passes on the first error."""

    def merge(batches: Batches) -> Batches:
        states = []
        for batch in batches:
            refused = batch.filter(pc.is_valid(batch["refusal"]))
            if refused.num_rows:
                yield refused.slice(0, 1).select(_STATE.names)
                return
            states.append(batch["state"])
        if states:
            decoded = (decode(state.as_py()) for column in states for state in column)
            yield _encoded(_partition_id(), lambda: aggregator.merge(decoded))

    return merge


def _partition_id() -> int:
    context = TaskContext.get()
    assert context is not None, "runs in a worker"
    return int(context.partitionId())


def _encoded(partition: int, compute: Callable[[], Any]) -> pa.RecordBatch:
    try:
        row: dict[str, Any] = {"partition": partition, "state": encode(compute()), "refusal": None}
    except tuple(_REFUSALS.values()) as error:
        name = next(name for name, refused in _REFUSALS.items() if isinstance(error, refused))
        refusal = json.dumps([name, str(error), traceback.format_exc()])
        row = {"partition": partition, "state": None, "refusal": refusal}
    return pa.RecordBatch.from_pylist([row], schema=_STATE)


def raise_refusal(refusal: str) -> None:
    """Raise a worker's error on the driver; its cause contains the worker's traceback."""
    name, message, trace = json.loads(refusal)
    raise _REFUSALS[name](message) from RuntimeError(f"in a Spark worker:\n{trace}")


def as_declared(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Batches:
    """Yield batches with the driver's names and types: times are in UTC instead of the session's zone."""
    for batch in batches:
        columns = [column.cast(field.type) for column, field in zip(batch.columns, schema, strict=True)]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


@dataclass
class Order:
    """State of `CheckOrder`: counts of sorted keys, and keys that are missing or repeated."""

    #: Number of rows of each partition that the keys were sorted in.
    rows: dict[int, int] = field(default_factory=dict)
    n_missing: int = 0
    n_repeated: int = 0
    #: Examples of a missing and a repeated key, as text.
    shown: dict[str, str] = field(default_factory=dict)
    #: Last key that was read.
    last: pa.RecordBatch | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Pickling a slice would pickle the whole batch.
        return {**self.__dict__, "last": None}

    def count(self, mask: pa.Array, keys: pa.RecordBatch, label: str) -> int:
        """Return the number of keys that a mask selects, and keep one of them as an example."""
        selected = keys.filter(mask)
        if len(selected) and label not in self.shown:
            (row,) = selected.slice(0, 1).to_pylist()
            self.shown[label] = ", ".join(
                f"{name}={value!r}" if isinstance(value, (str, bytes)) else f"{name}={value}"
                for name, value in row.items()
            )
        return len(selected)


class CheckOrder(Aggregator[Order, Order]):
    """Count the sorted rows in each partition, and the keys that are missing or repeated."""

    def __init__(self, key: tuple[str, ...]) -> None:
        self._key = key
        self.columns = (*key, ROW_NUMBER)

    def init(self, partition: Partition) -> Order:
        """Return the counts before the first row."""
        return Order()

    def update(self, state: Order, batch: pa.RecordBatch, first_row: int | None) -> Order:
        """Count the keys of a batch. Equal keys are next to each other, and never in two partitions."""
        if not batch.num_rows:
            return state
        # The ids contain the partition in which rows were sorted, which may differ from the one that is read.
        sorted_in = batch[ROW_NUMBER].to_numpy() >> ROW_BITS
        for number, count in zip(*np.unique(sorted_in, return_counts=True), strict=True):
            state.rows[int(number)] = state.rows.get(int(number), 0) + int(count)
        keys = batch.select(list(self._key))
        with_null = _any(pc.is_null(column) for column in keys.columns)
        state.n_missing += state.count(with_null, keys, "missing")
        if state.last is not None:
            state.n_repeated += state.count(_same(state.last, keys.slice(0, 1)), state.last, "repeated")
        rest = keys.slice(1)
        state.n_repeated += state.count(_same(keys.slice(0, len(keys) - 1), rest), rest, "repeated")
        state.last = keys.slice(len(keys) - 1)
        return state

    def merge(self, states: Iterable[Order]) -> Order:
        """Return the sums of all counts, and one example of a missing and of a repeated key."""
        merged = Order()
        for state in states:
            for number, count in state.rows.items():
                merged.rows[number] = merged.rows.get(number, 0) + count
            merged.n_missing += state.n_missing
            merged.n_repeated += state.n_repeated
            merged.shown = {**state.shown, **merged.shown}
        return merged


def _same(left: pa.RecordBatch, right: pa.RecordBatch) -> pa.Array:
    """Return for each row whether two keys are equal in Spark, where NaN equals NaN; null if a key has a null."""
    same = pa.scalar(True)
    for left_column, right_column in zip(left.columns, right.columns, strict=True):
        equal = pc.equal(left_column, right_column)
        if pa.types.is_floating(left_column.type):
            equal = pc.or_(equal, pc.and_(pc.is_nan(left_column), pc.is_nan(right_column)))
        same = pc.and_(same, equal)
    return same


def _any(masks: Iterable[pa.Array]) -> pa.Array:
    result = pa.scalar(False)
    for mask in masks:
        result = pc.or_(result, mask)
    return result


def score_column(forest: BroadcastForest, schema: pa.Schema) -> Callable[[Batches], Batches]:
    """Return the function for ``mapInArrow`` that returns only the results of ``score_samples``."""

    def run(batches: Batches) -> Batches:
        for batch in as_declared(batches, schema):
            scores = batch_scores(batch, schema.names, forest.forest())
            yield pa.RecordBatch.from_arrays([pa.array(scores)], names=[SCORE])

    return run


def add_columns(forest: BroadcastForest, features: list[str], added: RowColumns) -> Callable[[Batches], Batches]:
    """Return the function for ``mapInArrow`` that adds the columns of a forest to each batch."""

    def run(batches: Batches) -> Batches:
        for batch in batches:
            columns = added.of(batch, features, forest.forest())
            yield pa.RecordBatch.from_arrays([*batch.columns, *columns], names=[*batch.schema.names, *added.names])

    return run


def outlier_score(forest: BroadcastForest, n_features: int, *, is_vector: bool) -> Callable[..., pa.Array]:
    """Return the function for ``arrow_udf`` that computes the anomaly scores of rows, which are in [0, 1].

    Parameters
    ----------
    forest : BroadcastForest
        Forest to score with.
    n_features : int
        Number of features.
    is_vector : bool
        Whether the first column has all features of a row as a list. Otherwise the first `n_features` columns have one
        each. Further columns are not read.
    """

    def score(*columns: pa.Array) -> pa.Array:
        return pa.array(_outlier_scores(list(columns), n_features, is_vector, forest))

    return score


def add_outlier_scores(
    forest: BroadcastForest, positions: list[int], n_kept: int, *, is_vector: bool
) -> Callable[[Batches], Batches]:
    """Return the function for ``mapInArrow`` that adds the scores of `outlier_score` as the last column.

    Parameters
    ----------
    forest : BroadcastForest
        Forest to score with.
    positions : list of int
        Positions of the columns that `outlier_score` reads.
    n_kept : int
        Number of columns that are kept, the first ones.
    is_vector : bool
        Whether the column at the first position has all features of a row as a list.
    """

    def run(batches: Batches) -> Batches:
        for batch in batches:
            columns = [batch.column(position) for position in positions]
            scores = _outlier_scores(columns, len(columns), is_vector, forest)
            kept = [*batch.columns[:n_kept], pa.array(scores)]
            yield pa.RecordBatch.from_arrays(kept, names=[*batch.schema.names[:n_kept], SCORE])

    return run


def _outlier_scores(
    columns: list[pa.Array], n_features: int, is_vector: bool, forest: BroadcastForest
) -> NDArray[np.float64]:
    """Return the negated result of ``score_samples`` for rows whose features are in columns or lists."""
    if not len(columns[0]):
        return np.empty(0)
    if is_vector:
        table = columns[0].flatten().to_numpy(zero_copy_only=False).reshape(len(columns[0]), -1)
        scores = forest.forest()._score(forest.forest()._fitted, Input(table, *table.shape))
    else:
        names = [str(i) for i in range(n_features)]
        batch = pa.RecordBatch.from_arrays(columns[:n_features], names=names)
        scores = batch_scores(batch, names, forest.forest())
    return -scores
