"""Aggregators: a computation on each partition of a table, and the merging of the results.

The protocol is the same as in Beam's ``CombineFn`` and Spark's ``Aggregator``:

    state  = init(partition)                     once per partition, in the worker that reads it
    state  = update(state, batch, first_row)     for each Arrow record batch, in the order of the rows
    state  = merge(states)                       for any partitions, in any order and grouping, in any process
    result = finish(state)                       once, in the process of the caller

Engines only run aggregators and compute nothing themselves, so results are the same on all engines and for all
partitions. States are picklable; `encode` and `decode` convert them to bytes if an engine moves them between processes.
"""

from __future__ import annotations

import copyreg
import pickle
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from isoxide import _core
from isoxide._forest.score_sketch import ScoreSketch
from isoxide._frames.columns import number_column, plain_numbers
from isoxide._partitioned.broadcast import BroadcastForest
from isoxide._partitioned.columns import batch_scores
from isoxide._ranks.counts import RankCounts

#: Name of the column that holds the row numbers of collected rows.
ROW_NUMBER = "__isoxide_row"
#: Name of the column that holds the results of `score_samples` in a scored table.
SCORE = "__isoxide_score"
#: Format number of encoded states, which must be the same on the driver and the workers.
STATE_FORMAT = 1

S = TypeVar("S")
R_co = TypeVar("R_co", covariant=True)


class Partition(NamedTuple):
    """Consecutive rows of a table that are read together."""

    #: Number of the partition, in the order of the rows.
    number: int
    #: Number of the first row in the table, from 0, or None if the engine does not know it (yet).
    first_row: int | None


class Aggregator(ABC, Generic[S, R_co]):
    """Computation over all rows of a partitioned table; picklable, and independent of the engine."""

    #: Columns to read. Batches begin with these columns in this order, and may have more columns.
    columns: tuple[str, ...]

    @abstractmethod
    def init(self, partition: Partition) -> S:
        """Return the state before the first batch of a partition."""

    @abstractmethod
    def update(self, state: S, batch: pa.RecordBatch, first_row: int | None) -> S:
        """Return the state after a batch, which may be the same object.

        Parameters
        ----------
        state : object
            State before the batch; the caller does not use it again.
        batch : pyarrow.RecordBatch
            Batch with the next rows.
        first_row : int or None
            Number of the first row of the batch in the table, or None if the engine does not know it.
        """

    @abstractmethod
    def merge(self, states: Iterable[S]) -> S:
        """Merge one or more states, in any order; the caller does not use the given states again."""

    def finish(self, state: S) -> R_co:
        """Return the result for the state of all rows; by default the state itself."""
        result: Any = state
        return result  # type: ignore[no-any-return]

    def accumulate(self, partition: Partition, batches: Iterable[pa.RecordBatch]) -> S:
        """Return the state after all batches of a partition, which may be empty."""
        state, first_row = self.init(partition), partition.first_row
        for batch in batches:
            state = self.update(state, batch, first_row)
            if first_row is not None:
                first_row += batch.num_rows
        return state


def encode(state: Any) -> bytes:
    """Pickle a state for another process of the same engine with the same version of isoxide."""
    return pickle.dumps((STATE_FORMAT, state), protocol=5)


def decode(data: bytes) -> Any:
    """Load a state that `encode` pickled; never call it with files or other untrusted data.

    Raises
    ------
    ValueError
        If the other process encoded the state in another format.
    """
    number, state = pickle.loads(data)  # noqa: S301 (own states, over the engine's own channels)
    if number != STATE_FORMAT:
        raise ValueError(
            f"a worker sent a state in format {number}, but this version of isoxide reads format {STATE_FORMAT}; "
            "install the same version of isoxide on the driver and on all workers"
        )
    return state


def _reduced_sketch(sketch: _core.Sketch) -> tuple[Any, ...]:
    return _sketch, (sketch.to_bytes(),)


def _sketch(data: bytes) -> _core.Sketch:
    return _core.Sketch.from_bytes(data)


# Many states contain sketches.
copyreg.pickle(_core.Sketch, _reduced_sketch)


def merge_sketches(states: Iterable[list[Any]]) -> list[Any]:
    """Merge lists of sketches or counts, position by position, into the first list."""
    first, *others = states
    for other in others:
        for merged, sketch in zip(first, other, strict=True):
            merged.merge(sketch)
    return first


class AggregateAll(Aggregator[list[Any], list[Any]]):
    """Run several aggregators in one pass over the rows; the result is the list of their results."""

    def __init__(self, aggregators: Iterable[Aggregator[Any, Any]]) -> None:
        self.aggregators = list(aggregators)
        self.columns = tuple(dict.fromkeys(name for aggregator in self.aggregators for name in aggregator.columns))

    def init(self, partition: Partition) -> list[Any]:
        """Return the state of each aggregator before the first batch."""
        return [aggregator.init(partition) for aggregator in self.aggregators]

    def update(self, state: list[Any], batch: pa.RecordBatch, first_row: int | None) -> list[Any]:
        """Return the states after a batch, each updated by its aggregator."""
        pairs = zip(self.aggregators, state, strict=True)
        return [aggregator.update(inner, batch, first_row) for aggregator, inner in pairs]

    def merge(self, states: Iterable[list[Any]]) -> list[Any]:
        """Merge the states of each aggregator separately."""
        return [aggregator.merge(list(inner)) for aggregator, *inner in zip(self.aggregators, *states, strict=True)]

    def finish(self, state: list[Any]) -> list[Any]:
        """Return the results of the aggregators, in order."""
        return [aggregator.finish(inner) for aggregator, inner in zip(self.aggregators, state, strict=True)]


class MappedAggregator(Aggregator[S, R_co]):
    """Aggregator that changes each batch and passes it to an inner aggregator.

    Parameters
    ----------
    inner : Aggregator
        Aggregator that gets the changed batches.
    columns : iterable of str
        Columns that are needed to change a batch.
    """

    def __init__(self, inner: Aggregator[S, R_co], columns: Iterable[str]) -> None:
        self.inner, self.columns = inner, tuple(columns)

    @abstractmethod
    def changed(self, batch: pa.RecordBatch, first_row: int | None) -> tuple[pa.RecordBatch, int | None]:
        """Return the changed batch for the inner aggregator, and the number of its first row."""

    def init(self, partition: Partition) -> S:
        """Return the state of the inner aggregator."""
        return self.inner.init(partition)

    def update(self, state: S, batch: pa.RecordBatch, first_row: int | None) -> S:
        """Update the inner state with the changed batch."""
        return self.inner.update(state, *self.changed(batch, first_row))

    def merge(self, states: Iterable[S]) -> S:
        """Merge states of the inner aggregator."""
        return self.inner.merge(states)

    def finish(self, state: S) -> R_co:
        """Return the result of the inner aggregator."""
        return self.inner.finish(state)


class ScoreBatches(MappedAggregator[S, R_co]):
    """Score each batch, and pass it to an inner aggregator with the scores as the column `SCORE`."""

    def __init__(self, inner: Aggregator[S, R_co], forest: BroadcastForest, features: Iterable[str]) -> None:
        self.features = list(features)
        others = (name for name in inner.columns if name != SCORE)
        super().__init__(inner, dict.fromkeys([*others, *self.features]))
        self.forest = forest

    def changed(self, batch: pa.RecordBatch, first_row: int | None) -> tuple[pa.RecordBatch, int | None]:
        """Return the columns that the inner aggregator reads."""
        return with_scores(
            batch, batch_scores(batch, self.features, self.forest.forest()), self.inner.columns
        ), first_row


def with_scores(batch: pa.RecordBatch, scores: NDArray[np.float64], columns: Iterable[str]) -> pa.RecordBatch:
    """Return the given columns of a batch, one of which is the column `SCORE`."""
    columns = list(columns)
    arrays = [pa.array(scores) if name == SCORE else batch.column(name) for name in columns]
    return pa.RecordBatch.from_arrays(arrays, names=columns)


class CountRows(Aggregator[int, int]):
    """Count the rows of a table."""

    columns = ()

    def init(self, partition: Partition) -> int:
        """Return 0, the number of rows before the first batch."""
        return 0

    def update(self, state: int, batch: pa.RecordBatch, first_row: int | None) -> int:
        """Add the rows of a batch."""
        return state + int(batch.num_rows)

    def merge(self, states: Iterable[int]) -> int:
        """Return the sum over several partitions."""
        return sum(states)


class CollectRows(Aggregator[list[pa.RecordBatch], pa.Table]):
    """Base class of aggregators that collect rows; the result is a table in no particular order."""

    #: Names and types of the collected columns, which an empty result needs.
    schema: pa.Schema

    def init(self, partition: Partition) -> list[pa.RecordBatch]:
        """Return an empty list of rows."""
        return []

    def merge(self, states: Iterable[list[pa.RecordBatch]]) -> list[pa.RecordBatch]:
        """Return the rows of all partitions."""
        return list(chain.from_iterable(states))

    def finish(self, state: list[pa.RecordBatch]) -> pa.Table:
        """Return all rows as a table."""
        return self.table(state)

    def table(self, batches: Iterable[pa.RecordBatch]) -> pa.Table:
        """Return batches as a table, whose columns may have nulls even if those of the source may not."""
        schema = pa.schema([pa.field(field.name, field.type) for field in self.schema])
        return pa.Table.from_batches([pa.RecordBatch.from_arrays(b.columns, schema=schema) for b in batches], schema)


def with_row_numbers(batch: pa.RecordBatch, numbers: NDArray[np.int64]) -> pa.RecordBatch:
    """Return a batch with the row numbers as an additional column."""
    return batch.append_column(ROW_NUMBER, pa.array(numbers))


class PickRows(CollectRows):
    """Collect the rows with the given numbers; for engines that know the first row of each partition.

    Parameters
    ----------
    rows : ndarray of int64
        Row numbers, distinct and in ascending order.
    schema : pyarrow.Schema
        Names and types of all columns of the table.
    columns : iterable of str
        Columns to collect.
    table_name : str
        Name of the table in messages.
    """

    def __init__(self, rows: NDArray[np.int64], schema: pa.Schema, columns: Iterable[str], table_name: str) -> None:
        self.rows, self.table_name = rows, table_name
        self.columns = tuple(columns)
        fields = [schema.field(name) for name in self.columns]
        self.schema = pa.schema([*fields, pa.field(ROW_NUMBER, pa.int64())])

    def update(self, state: list[pa.RecordBatch], batch: pa.RecordBatch, first_row: int | None) -> list[pa.RecordBatch]:
        """Add the rows of a batch that have one of the numbers."""
        assert first_row is not None
        numbers = self.rows[slice(*np.searchsorted(self.rows, [first_row, first_row + batch.num_rows]))]
        if len(numbers):
            picked = batch.select(list(self.columns)).take(pa.array(numbers - first_row))
            state.append(with_row_numbers(picked, numbers))
        return state

    def finish(self, state: list[pa.RecordBatch]) -> pa.Table:
        """Return the rows in the order of their numbers.

        Raises
        ------
        ValueError
            If rows are missing, since the table has changed after it was counted.
        """
        table = super().finish(state).sort_by(ROW_NUMBER)
        if not np.array_equal(table[ROW_NUMBER].to_numpy(), self.rows):
            raise ValueError(
                f"{self.table_name} changed while it was read: {len(self.rows)} rows were requested, but "
                f"{table.num_rows} were found; do not change the table, and make it return the same rows in the same "
                "order each time"
            )
        return table.select(list(self.columns))


def rows_by_label(column: pa.Array, labels: list[Any]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Yield the position of each label that a column of text has, and its rows in ascending order."""
    positions = positions_of(column, pa.array(labels, pa.string()))
    rows = np.flatnonzero(positions >= 0)
    rows = rows[np.argsort(positions[rows], kind="stable")]
    edges = np.searchsorted(positions[rows], np.arange(len(labels) + 1))
    for number in np.flatnonzero(np.diff(edges)).tolist():
        yield number, rows[edges[number] : edges[number + 1]]


def positions_of(column: pa.Array, values: pa.Array) -> NDArray[np.int64]:
    """Return the position of each cell of a column of text among distinct values, or -1."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    indices = pc.index_in(column, value_set=values)
    positions: NDArray[np.int64] = pc.fill_null(indices, -1).to_numpy(zero_copy_only=False)
    return positions


class SketchScores(Aggregator[ScoreSketch, ScoreSketch]):
    """Sketch the scores, to find an offset."""

    columns = (SCORE,)

    def __init__(self, sketch: ScoreSketch) -> None:
        self.empty = sketch.to_bytes()

    def init(self, partition: Partition) -> ScoreSketch:
        """Return an empty sketch before the first batch."""
        return ScoreSketch.from_bytes(self.empty)

    def update(self, state: ScoreSketch, batch: pa.RecordBatch, first_row: int | None) -> ScoreSketch:
        """Add the scores of a batch."""
        state.add(number_column(batch, SCORE))
        return state

    def merge(self, states: Iterable[ScoreSketch]) -> ScoreSketch:
        """Return one sketch of the scores of several partitions."""
        (merged,) = merge_sketches([state] for state in states)
        return merged  # type: ignore[no-any-return]


class CountAlerts(Aggregator[tuple[int, float], tuple[int, float]]):
    """Count the decision scores at or below a threshold, and find the lowest score."""

    columns = (SCORE,)

    def __init__(self, offset: float, threshold: float) -> None:
        self.offset, self.threshold = offset, threshold

    def init(self, partition: Partition) -> tuple[int, float]:
        """Return 0 as the count, and infinity as the lowest score."""
        return 0, np.inf

    def update(self, state: tuple[int, float], batch: pa.RecordBatch, first_row: int | None) -> tuple[int, float]:
        """Add the scores of a batch."""
        scores = number_column(batch, SCORE) - self.offset
        n, lowest = state
        return n + int(np.count_nonzero(scores <= self.threshold)), min(lowest, float(scores.min(initial=np.inf)))

    def merge(self, states: Iterable[tuple[int, float]]) -> tuple[int, float]:
        """Return the sum, and the lowest score of all."""
        numbers, lowest = zip(*states, strict=True)
        return sum(numbers), min(lowest)


class CountRanks(Aggregator[list[RankCounts], list[RankCounts]]):
    """Count values for percentile ranks, among all rows or among the rows with the same group label.

    Parameters
    ----------
    counts : list of RankCounts
        Empty counts: one for all rows, or one per label.
    features : iterable of str
        Columns to rank.
    groups : str, optional
        Name of the column with the group labels.
    labels : list, optional
        Label of each item of `counts`.
    n_jobs : int or None
        Number of threads for counting.
    """

    def __init__(
        self,
        counts: list[RankCounts],
        features: Iterable[str],
        *,
        groups: str | None = None,
        labels: list[Any] | None = None,
        n_jobs: int | None = 1,
    ) -> None:
        self.empty = [empty.to_bytes() for empty in counts]
        self.features, self.groups, self.labels, self.n_jobs = list(features), groups, labels, n_jobs
        self.columns = tuple(dict.fromkeys(self.features if groups is None else [*self.features, groups]))

    def init(self, partition: Partition) -> list[RankCounts]:
        """Return the empty counts, before any batch."""
        return [RankCounts.from_bytes(data) for data in self.empty]

    def update(self, state: list[RankCounts], batch: pa.RecordBatch, first_row: int | None) -> list[RankCounts]:
        """Add the rows of a batch to the counts."""
        table = pa.table({name: plain_numbers(batch.column(name)) for name in self.features})
        if self.groups is None or self.labels is None:
            for counts in state:
                counts.add(table, n_jobs=self.n_jobs)
            return state
        for number, rows in rows_by_label(batch.column(self.groups), self.labels):
            state[number].add(table.take(pa.array(rows)), n_jobs=self.n_jobs)
        return state

    def merge(self, states: Iterable[list[RankCounts]]) -> list[RankCounts]:
        """Return the sums over several partitions."""
        return merge_sketches(states)
