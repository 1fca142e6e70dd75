"""Aggregators for detection: facts about all scores, anomalous rows, and the first day and scores of their entities."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from isoxide._forest.score_sketch import ScoreSketch
from isoxide._frames.columns import number_column
from isoxide._frames.times import Times, days_of
from isoxide._partitioned.aggregators import (
    ROW_NUMBER,
    SCORE,
    Aggregator,
    CollectRows,
    Partition,
    positions_of,
    with_row_numbers,
)
from isoxide._partitioned.broadcast import BroadcastForest
from isoxide._partitioned.columns import batch_scores
from isoxide.ueba._assemble import Highest
from isoxide.ueba._entity_scores import MAX_ENTITY_DAYS

__all__ = [
    "DigestScores",
    "FindAnomalies",
    "FirstSeen",
    "LowestRows",
    "ScoreDigest",
    "ScoreEntities",
    "ScoreSurvey",
    "SurveyScores",
]


class ScoreDigest:
    """SHA-256 of scores in the order of the rows. After unpickling, no more scores can be added."""

    def __init__(self, digest: str | None = None) -> None:
        self._hash, self._digest = hashlib.sha256(), digest

    def add(self, scores: NDArray[np.float64]) -> None:
        """Add the scores of the next rows."""
        assert self._digest is None
        self._hash.update(np.ascontiguousarray(scores, dtype="<f8").data)

    def hexdigest(self) -> str:
        """Return the digest of all scores that were added."""
        return self._digest or self._hash.hexdigest()

    def __reduce__(self) -> tuple[Any, ...]:
        return ScoreDigest, (self.hexdigest(),)


class LowestRows:
    """Rows with the lowest scores of a table or partition, of which at most about `n_max` are kept.

    All rows with scores below `bound` are kept. The bound falls when rows must be dropped.

    Parameters
    ----------
    n_max : int
        Maximum number of rows after a merge; up to twice as many are held before.
    bound : float
        Score from which on rows are not needed.
    """

    def __init__(self, n_max: int, bound: float) -> None:
        self.n_max, self.bound = n_max, bound if n_max else -np.inf
        self.n = 0
        self.batches: list[pa.RecordBatch] = []

    def __getstate__(self) -> dict[str, Any]:
        # No more rows than necessary are sent to another process.
        self.shrink()
        return self.__dict__

    def rows_of(self, scores: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the positions of the rows to add."""
        return np.flatnonzero(scores < self.bound)

    def add(self, batch: pa.RecordBatch) -> None:
        """Add rows of `rows_of`, with the column `SCORE`."""
        self.n += batch.num_rows
        self.batches.append(batch)
        if self.n > 2 * self.n_max:
            self.shrink()

    def merge(self, other: LowestRows) -> None:
        """Add the rows of another partition."""
        self.bound = min(self.bound, other.bound)
        for batch in other.batches:
            self.add(batch)
        self._drop()
        self.shrink()

    def shrink(self) -> None:
        """Drop rows until there are at most `n_max`."""
        if self.n > self.n_max:
            scores = np.concatenate([batch[SCORE].to_numpy() for batch in self.batches])
            self.bound = float(np.partition(scores, self.n_max)[self.n_max])
            self._drop()

    def _drop(self) -> None:
        rows = pa.Table.from_batches(self.batches) if self.batches else None
        if rows is not None:
            rows = rows.filter(pc.less(rows[SCORE], self.bound))
            self.batches, self.n = rows.combine_chunks().to_batches(), rows.num_rows


@dataclass
class ScoreState:
    """State of `SurveyScores`: what is known about the scores so far."""

    n: int
    sketch: ScoreSketch | None
    kept: LowestRows
    #: Lowest result of ``score_samples`` of each day.
    lowest: dict[Any, float] = field(default_factory=dict)
    #: Row with the highest anomaly score.
    highest: Highest | None = None


class ScoreSurvey(NamedTuple):
    """Result of `SurveyScores`: facts about the scores of all rows."""

    n: int
    sketch: ScoreSketch | None
    kept: LowestRows
    lowest: dict[Any, float]
    highest: Highest


class SurveyScores(Aggregator[ScoreState, ScoreSurvey]):
    """Find the rows with the lowest scores, the lowest score of each day, and the sketch that the offset follows from.

    Parameters
    ----------
    sketch : ScoreSketch or None
        Empty sketch of the scores, if an offset is needed.
    times : Times
        Reader of the times.
    entity : str
        Column with the entities as text.
    columns : iterable of str
        Columns to keep of the rows with the lowest scores, including entity and time.
    n_max : int
        Number of rows to keep.
    bound : float
        Score from which on rows need not be kept.
    """

    def __init__(
        self,
        sketch: ScoreSketch | None,
        times: Times,
        entity: str,
        columns: Iterable[str],
        *,
        n_max: int,
        bound: float,
    ) -> None:
        self.empty = None if sketch is None else sketch.to_bytes()
        self.times, self.entity, self.n_max, self.bound = times, entity, n_max, bound
        self.kept_columns = [*dict.fromkeys([*columns, SCORE])]
        self.columns = tuple(self.kept_columns)

    def init(self, partition: Partition) -> ScoreState:
        """Return the state before the first row."""
        sketch = None if self.empty is None else ScoreSketch.from_bytes(self.empty)
        return ScoreState(0, sketch, LowestRows(self.n_max, self.bound))

    def update(self, state: ScoreState, batch: pa.RecordBatch, first_row: int | None) -> ScoreState:
        """Add the scores of a batch."""
        if batch.num_rows == 0:
            return state
        state.n += batch.num_rows
        scores = number_column(batch, SCORE)
        if state.sketch is not None:
            state.sketch.add(scores)
        times = self.times.coded(batch.column(self.times.name), first_row)
        lowest = np.full(len(times.distinct), np.inf)
        np.minimum.at(lowest, times.codes, scores)
        of_days = pd.Series(lowest).groupby(days_of(times.distinct).to_numpy()).min()
        _update_least(state.lowest, of_days.items())
        highest = np.flatnonzero(scores == scores.min())
        entities = batch.column(self.entity).take(pa.array(highest)).to_pandas()
        times_of_rows = pd.Series(times.distinct.array.take(times.codes[highest]))
        state.highest = _higher(state.highest, Highest.of(-scores[highest], entities, times_of_rows))
        rows = state.kept.rows_of(scores)
        if rows.size:
            picked = batch.select(self.kept_columns).take(pa.array(rows))
            state.kept.add(with_row_numbers(picked, rows + (0 if first_row is None else first_row)))
        return state

    def merge(self, states: Iterable[ScoreState]) -> ScoreState:
        """Combine the states of all partitions."""
        merged, *others = states
        for other in others:
            merged.n += other.n
            if merged.sketch is not None and other.sketch is not None:
                merged.sketch.merge(other.sketch)
            merged.kept.merge(other.kept)
            _update_least(merged.lowest, other.lowest.items())
            merged.highest = _higher(merged.highest, other.highest)
        return merged

    def finish(self, state: ScoreState) -> ScoreSurvey:
        """Return the facts about all rows."""
        assert state.highest is not None
        return ScoreSurvey(state.n, state.sketch, state.kept, state.lowest, state.highest)


class DigestScores(Aggregator[ScoreDigest, str]):
    """Compute the checksum of the decision scores of a table with a single partition."""

    columns = (SCORE,)

    def __init__(self, offset: float) -> None:
        self.offset = offset

    def init(self, partition: Partition) -> ScoreDigest:
        """Return the checksum of no scores."""
        return ScoreDigest()

    def update(self, state: ScoreDigest, batch: pa.RecordBatch, first_row: int | None) -> ScoreDigest:
        """Add the scores of a batch."""
        state.add(number_column(batch, SCORE) - self.offset)
        return state

    def merge(self, states: Iterable[ScoreDigest]) -> ScoreDigest:
        """Return the checksum of the only partition."""
        (state,) = states
        return state

    def finish(self, state: ScoreDigest) -> str:
        """Return the checksum as text."""
        return state.hexdigest()


class FindAnomalies(CollectRows):
    """Collect the rows with a negative decision score, with the columns `SCORE` and `ROW_NUMBER`.

    Parameters
    ----------
    offset : float
        Offset that is subtracted from the scores.
    columns : iterable of str
        Columns to collect.
    schema : pyarrow.Schema
        Names and types of all columns of the table.
    max_rows : int
        Maximum number of anomalies; more raise a ValueError.
    """

    def __init__(self, offset: float, columns: Iterable[str], schema: pa.Schema, max_rows: int) -> None:
        self.offset, self.max_rows = offset, max_rows
        names = [*dict.fromkeys(columns)]
        self.columns = (*names, SCORE)
        added = [pa.field(SCORE, pa.float64()), pa.field(ROW_NUMBER, pa.int64())]
        self.schema = pa.schema([*(schema.field(name) for name in names), *added])

    def update(self, state: list[pa.RecordBatch], batch: pa.RecordBatch, first_row: int | None) -> list[pa.RecordBatch]:
        """Add the anomalies of a batch."""
        rows = np.flatnonzero(number_column(batch, SCORE) - self.offset < 0)
        if rows.size:
            picked = batch.select(list(self.columns)).take(pa.array(rows))
            state.append(with_row_numbers(picked, rows + (0 if first_row is None else first_row)))
            self.check(sum(chunk.num_rows for chunk in state))
        return state

    def merge(self, states: Iterable[list[pa.RecordBatch]]) -> list[pa.RecordBatch]:
        """Return the rows of all partitions."""
        merged = super().merge(states)
        self.check(sum(chunk.num_rows for chunk in merged))
        return merged

    def check(self, n: int) -> None:
        """Refuse more anomalies than findings may have."""
        if n > self.max_rows:
            raise ValueError(
                f"more than {self.max_rows:,} rows are anomalies, which are too many for findings; "
                "give a lower contamination or threshold, or score the table instead"
            )

    def of(self, kept: LowestRows) -> pa.Table | None:
        """Return the anomalies among the rows with the lowest scores; None if they are not all there."""
        if self.offset > kept.bound:
            return None
        rows = self.table(kept.batches)
        rows = rows.filter(pa.array(rows[SCORE].to_numpy() - self.offset < 0))
        self.check(rows.num_rows)
        return rows


def _higher(one: Highest | None, other: Highest | None) -> Highest | None:
    """Return the row with the higher anomaly score of two rows, either of which may be missing."""
    return max((row for row in (one, other) if row is not None), key=Highest.precedence, default=None)


class FirstSeen(Aggregator[dict[int, Any], list[Any]]):
    """Find the first day of each of the given entities.

    Parameters
    ----------
    entity : str
        Name of the column with the entities as text.
    times : Times
        Reader of the times.
    entities : pyarrow.Array
        Entities to find; each occurs in the table.
    """

    def __init__(self, entity: str, times: Times, entities: pa.Array) -> None:
        self.entity, self.times, self.entities = entity, times, entities
        self.columns = (entity, times.name)

    def init(self, partition: Partition) -> dict[int, Any]:
        """Return an empty dictionary of days."""
        return {}

    def update(self, state: dict[int, Any], batch: pa.RecordBatch, first_row: int | None) -> dict[int, Any]:
        """Update the first days with the rows of a batch."""
        days = days_of(self.times.of(batch, first_row)).to_numpy()
        positions = positions_of(batch.column(self.entity), self.entities)
        is_given = positions >= 0
        _update_least(state, pd.Series(days[is_given]).groupby(positions[is_given]).min().items())
        return state

    def merge(self, states: Iterable[dict[int, Any]]) -> dict[int, Any]:
        """Return the earliest day of each entity."""
        merged, *others = states
        for other in others:
            _update_least(merged, other.items())
        return merged

    def finish(self, state: dict[int, Any]) -> list[Any]:
        """Return the first day of each entity, in the order of `entities`."""
        return [state[position] for position in range(len(self.entities))]


class EntityScores:
    """Lowest results of ``score_samples`` of each entity on each of its latest days, which later days replace."""

    def __init__(self) -> None:
        #: Entity and day of each line, as `_key_of`, in ascending order, and the score.
        self.keys, self.scores = np.empty(0, dtype=np.int64), np.empty(0)
        self._pending: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
        self._n_pending = 0

    def __getstate__(self) -> dict[str, Any]:
        self.compact()
        return self.__dict__

    def add(self, keys: NDArray[np.int64], scores: NDArray[np.float64]) -> None:
        """Add the scores of further rows, each with its key."""
        if not len(keys):
            return
        self._pending.append((keys, scores))
        self._n_pending += len(keys)
        if self._n_pending > _MAX_PENDING:
            self.compact()

    def compact(self) -> None:
        """Join the lines of the same entity and day, and keep the latest days of each entity."""
        if not self._pending:
            return
        keys, scores = (
            np.concatenate(columns) for columns in zip((self.keys, self.scores), *self._pending, strict=True)
        )
        self._pending, self._n_pending = [], 0
        order = np.lexsort((scores, keys))
        keys, scores = keys[order], scores[order]
        first = np.r_[True, np.diff(keys) != 0]
        keys, scores = keys[first], scores[first]
        entities = keys >> _DAY_BITS
        ends = np.searchsorted(entities, entities, side="right")
        is_late = ends - np.arange(len(keys)) <= MAX_ENTITY_DAYS
        self.keys, self.scores = keys[is_late], scores[is_late]


#: Number of low bits of a key that hold the day, and the number of days that are added so that none is negative.
_DAY_BITS, _DAY_SHIFT = 32, 2**31
#: Number of scores of entities that are collected before they are joined.
_MAX_PENDING = 2**16


class ScoreEntities(Aggregator[EntityScores, tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]):
    """Find the highest anomaly score of each of the latest days of each of the given entities.

    Parameters
    ----------
    entity : str
        Name of the column with the entities as text.
    times : Times
        Reader of the times.
    entities : pyarrow.Array
        Entities whose scores are found.
    forest : BroadcastForest, optional
        Forest that scores the rows of the entities. By default their scores are read from the column `SCORE`.
    features : iterable of str
        Columns that the forest reads.
    """

    def __init__(
        self,
        entity: str,
        times: Times,
        entities: pa.Array,
        *,
        forest: BroadcastForest | None = None,
        features: Iterable[str] = (),
    ) -> None:
        self.forest, self.features = forest, list(features)
        self.entity, self.times, self.entities = entity, times, entities
        self.columns = tuple(dict.fromkeys([entity, times.name, *([SCORE] if forest is None else self.features)]))

    def init(self, partition: Partition) -> EntityScores:
        """Return the scores of no rows."""
        return EntityScores()

    def update(self, state: EntityScores, batch: pa.RecordBatch, first_row: int | None) -> EntityScores:
        """Add the scores of a batch."""
        positions = positions_of(batch.column(self.entity), self.entities)
        rows = np.flatnonzero(positions >= 0)
        if not rows.size:
            return state
        taken = batch.select(list(self.columns)).take(pa.array(rows))
        # Times that cannot be read have been refused before, so messages need no row numbers.
        times = self.times.coded(taken.column(self.times.name), None)
        days = days_of(times.distinct).to_numpy().astype("datetime64[D]").astype(np.int64)[times.codes]
        if self.forest is None:
            scores = number_column(taken, SCORE)
        else:
            scores = batch_scores(taken, self.features, self.forest.forest())
        state.add((positions[rows].astype(np.int64) << _DAY_BITS) + days + _DAY_SHIFT, scores)
        return state

    def merge(self, states: Iterable[EntityScores]) -> EntityScores:
        """Return the scores of all partitions."""
        merged, *others = states
        for other in others:
            other.compact()
            merged.add(other.keys, other.scores)
        return merged

    def finish(self, state: EntityScores) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Return the position of the entity, the day (in days since 1970) and the anomaly score of each line."""
        state.compact()
        days = (state.keys & ((1 << _DAY_BITS) - 1)) - _DAY_SHIFT
        return state.keys >> _DAY_BITS, days, -state.scores


def _update_least(least: dict[Any, Any], items: Iterable[tuple[Any, Any]]) -> None:
    """Update a dictionary with the smallest value of each key."""
    for key, value in items:
        least[key] = min(least.get(key, value), value)
