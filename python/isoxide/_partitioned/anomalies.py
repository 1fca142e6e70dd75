"""Aggregators for detection: anomalous rows, the first day of their entities, and the ranks of their scores."""

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

from isoxide._frames.columns import number_column
from isoxide._frames.times import Times, days_of
from isoxide._partitioned.aggregators import (
    ROW_NUMBER,
    SCORE,
    Aggregator,
    CountRanks,
    MappedAggregator,
    Partition,
    with_row_numbers,
)
from isoxide._partitioned.broadcast import BroadcastForest
from isoxide._partitioned.columns import batch_scores
from isoxide._ranks.counts import RankCounts
from isoxide.ueba._assemble import Highest

__all__ = ["ANOMALY_SCORE", "DECISION", "Anomalies", "CountDecisions", "FindAnomalies", "FirstSeen"]

#: Names of the columns with the decision scores and the anomaly scores of the anomalies.
DECISION = "__isoxide_decision"
ANOMALY_SCORE = "__isoxide_anomaly_score"


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


@dataclass
class AnomalyState:
    """State of `FindAnomalies`: the anomalies so far, and the facts about all rows that findings contain."""

    #: Digest of the scores of all rows; None if a merge has lost their order.
    digest: ScoreDigest | None
    n: int = 0
    rows: list[pa.RecordBatch] = field(default_factory=list)
    #: Lowest decision score and negated highest anomaly score of each day.
    lowest: dict[Any, float] = field(default_factory=dict)
    negated_highest: dict[Any, float] = field(default_factory=dict)
    #: Row with the highest anomaly score.
    highest: Highest | None = None


class Anomalies(NamedTuple):
    """Anomalous rows of a table, with the columns `DECISION` and `ANOMALY_SCORE`, and facts about all rows."""

    rows: pa.Table
    #: Lowest decision score and highest anomaly score of each day.
    lowest: dict[Any, float]
    highest_of_day: dict[Any, float]
    #: Row with the highest anomaly score.
    highest: Highest
    #: SHA-256 of all scores in the order of the rows, or None if it is not known.
    scores_sha256: str | None


class FindAnomalies(Aggregator[AnomalyState, Anomalies]):
    """Collect the rows with a negative decision score, and the lowest score of each day.

    Parameters
    ----------
    forest : BroadcastForest
        Forest that scores the rows.
    offset : float
        Offset that is subtracted from the scores of the forest.
    times : Times
        Reader of the times.
    entity : str
        Column with the entities as text.
    columns : iterable of str
        Columns to collect, including entity, time and features.
    features : iterable of str
        Columns that the forest reads.
    schema : pyarrow.Schema
        Names and types of all columns.
    max_rows : int
        Maximum number of anomalies; more raise a ValueError.
    """

    def __init__(
        self,
        forest: BroadcastForest,
        offset: float,
        times: Times,
        entity: str,
        columns: Iterable[str],
        features: Iterable[str],
        schema: pa.Schema,
        max_rows: int,
    ) -> None:
        self.forest, self.offset, self.times, self.max_rows = forest, offset, times, max_rows
        self.entity = entity
        self.features, self.columns = list(features), tuple(dict.fromkeys(columns))
        added = [pa.field(DECISION, pa.float64()), pa.field(ANOMALY_SCORE, pa.float64())]
        fields = [*(schema.field(name) for name in self.columns), *added]
        self.schema = pa.schema([*fields, pa.field(ROW_NUMBER, pa.int64())])

    def init(self, partition: Partition) -> AnomalyState:
        """Return the state before the first row."""
        return AnomalyState(None if partition.first_row is None else ScoreDigest())

    def update(self, state: AnomalyState, batch: pa.RecordBatch, first_row: int | None) -> AnomalyState:
        """Score a batch, and keep its anomalies."""
        if batch.num_rows == 0:
            return state
        batch = batch.select(list(self.columns))
        samples = batch_scores(batch, self.features, self.forest.forest())
        scores = samples - self.offset
        if state.digest is not None:
            state.digest.add(scores)
        times = self.times.of(batch, first_row)
        of_days = pd.DataFrame({"lowest": scores, "negated_highest": samples}).groupby(days_of(times).to_numpy()).min()
        _update_least(state.lowest, of_days["lowest"].items())
        _update_least(state.negated_highest, of_days["negated_highest"].items())
        entities = batch.column(self.entity).to_pandas()
        state.highest = _higher(state.highest, Highest.of(-samples, entities, times))
        rows = np.flatnonzero(scores < 0)
        if rows.size:
            state.n += int(rows.size)
            self._check_number(state.n)
            picked = batch.take(pa.array(rows)).append_column(DECISION, pa.array(scores[rows]))
            picked = picked.append_column(ANOMALY_SCORE, pa.array(-samples[rows]))
            state.rows.append(with_row_numbers(picked, rows + (0 if first_row is None else first_row)))
        return state

    def _check_number(self, n: int) -> None:
        if n > self.max_rows:
            raise ValueError(
                f"more than {self.max_rows:,} rows are anomalies, which are too many for findings; "
                "give a lower contamination or threshold, or score the table instead"
            )

    def merge(self, states: Iterable[AnomalyState]) -> AnomalyState:
        """Return all anomalies, and the lowest scores."""
        merged, *others = states
        for other in others:
            merged.digest = None
            merged.n += other.n
            merged.rows += other.rows
            _update_least(merged.lowest, other.lowest.items())
            _update_least(merged.negated_highest, other.negated_highest.items())
            merged.highest = _higher(merged.highest, other.highest)
        self._check_number(merged.n)
        return merged

    def finish(self, state: AnomalyState) -> Anomalies:
        """Return the anomalies as a table."""
        digest = None if state.digest is None else state.digest.hexdigest()
        highest_of_day = {day: -score for day, score in state.negated_highest.items()}
        assert state.highest is not None
        rows = pa.Table.from_batches(state.rows, self.schema)
        return Anomalies(rows, state.lowest, highest_of_day, state.highest, digest)


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
        column = batch.column(self.entity)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        positions = pc.fill_null(pc.index_in(column, value_set=self.entities), -1).to_numpy(zero_copy_only=False)
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


def _update_least(least: dict[Any, Any], items: Iterable[tuple[Any, Any]]) -> None:
    """Update a dictionary with the smallest value of each key."""
    for key, value in items:
        least[key] = min(least.get(key, value), value)


class CountDecisions(MappedAggregator[list[RankCounts], list[RankCounts]]):
    """Count the decision scores of all rows, to rank the scores of the anomalies among them.

    Parameters
    ----------
    counter : CountRanks
        Aggregator that counts the column `DECISION`.
    offset : float
        Offset that is subtracted from the scores of the table.
    """

    def __init__(self, counter: CountRanks, offset: float) -> None:
        super().__init__(counter, (SCORE,))
        self.offset = offset

    def changed(self, batch: pa.RecordBatch, first_row: int | None) -> tuple[pa.RecordBatch, int | None]:
        """Return the decision scores of a batch."""
        scores = number_column(batch, SCORE) - self.offset
        return pa.record_batch([pa.array(scores)], [DECISION]), first_row
