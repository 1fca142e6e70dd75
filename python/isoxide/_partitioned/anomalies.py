"""The anomalies of a table in parts, and what is to be known of them: steps behind `ueba.detect`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from isoxide._frames.columns import number_column
from isoxide._frames.times import Times, days_of
from isoxide._partitioned.aggregators import (
    SCORE,
    CountRanks,
    Fold,
    as_pickle,
    from_pickle,
    numbered,
    packed,
    table_bytes,
    table_from,
    unpacked,
)
from isoxide._partitioned.columns import batch_scores
from isoxide._partitioned.model import Model
from isoxide._partitioned.table import ROW_NUMBER, Part

#: The column of decision scores of rows that are found.
DECISION = "__isoxide_decision"


class FindAnomalies(Fold):
    """The rows whose decision score is negative, `most` at the most, and the lowest score of each day."""

    def __init__(
        self,
        model: Model,
        offset: float,
        entity: str,
        times: Times,
        features: Iterable[str],
        others: Iterable[str],
        schema: pa.Schema,
        most: int,
    ) -> None:
        self.model, self.offset, self.entity, self.times, self.most = model, offset, entity, times, most
        self.features = list(features)
        self.columns = tuple(dict.fromkeys([entity, times.name, *self.features, *others]))
        fields = [*(schema.field(name) for name in self.columns), pa.field(DECISION, pa.float64())]
        self.schema = pa.schema([*fields, pa.field(ROW_NUMBER, pa.int64())])

    def begin(self, part: Part) -> Any:
        """None found."""
        # Scores are hashed where they come in the order of the rows.
        digest = None if part.first_row is None else hashlib.sha256()
        return {"found": [], "n": 0, "days": {}, "hash": digest}

    def feed(self, state: Any, batch: pa.RecordBatch, first_row: int | None) -> Any:
        """Those of a batch."""
        if batch.num_rows == 0:
            return state
        batch = batch.select(list(self.columns))
        scores = batch_scores(batch, self.features, self.model.forest()) - self.offset
        if state["hash"] is not None:
            state["hash"].update(np.ascontiguousarray(scores, dtype="<f8"))
        times = self.times.of(batch, first_row)
        days = days_of(times)
        lowest = pd.Series(scores).groupby(days.to_numpy()).min()
        for day, score in lowest.items():
            state["days"][day] = min(state["days"].get(day, np.inf), score)
        rows = np.flatnonzero(scores < 0)
        if rows.size:
            state["n"] += rows.size
            self._check_number(state["n"])
            found = batch.take(pa.array(rows)).append_column(DECISION, pa.array(scores[rows]))
            state["found"].append(numbered(found, rows + (0 if first_row is None else first_row)))
        return state

    def _check_number(self, n: int) -> None:
        if n > self.most:
            raise ValueError(
                f"more than {self.most:,} rows are anomalies, which is more than findings are made for; "
                "give a lower contamination or threshold, or score the table instead"
            )

    def finish(self, state: Any) -> bytes:
        """The rows, and what is known beside them."""
        facts = {name: state[name] for name in ("n", "days")}
        facts["sha256"] = state["hash"].hexdigest() if state["hash"] is not None else None
        return packed([as_pickle(facts), table_bytes(pa.Table.from_batches(state["found"], self.schema))])

    def merge(self, results: Iterable[bytes]) -> bytes:
        """All of them."""
        parts = [self.read(result) for result in results]
        facts = [own for own, _ in parts]
        self._check_number(sum(own["n"] for own in facts))
        days: dict[Any, float] = {}
        for own in facts:
            for day, score in own["days"].items():
                days[day] = min(days.get(day, np.inf), score)
        merged = {
            "n": sum(own["n"] for own in facts),
            "days": days,
            # Of scores in one piece only.
            "sha256": facts[0]["sha256"] if len(facts) == 1 else None,
        }
        return packed([as_pickle(merged), table_bytes(pa.concat_tables([found for _, found in parts]))])

    @staticmethod
    def read(data: bytes) -> tuple[dict[str, Any], pa.Table]:
        """Facts and rows."""
        facts, found = unpacked(data)
        return from_pickle(facts), table_from(found)


class FirstSeen(Fold):
    """The first day of some entities."""

    def __init__(self, entity: str, times: Times, entities: pa.Array) -> None:
        self.entity, self.times, self.entities = entity, times, entities
        self.columns = (entity, times.name)

    def begin(self, part: Part) -> Any:
        """Not seen."""
        return {}

    def feed(self, state: Any, batch: pa.RecordBatch, first_row: int | None) -> Any:
        """Looks at those of a batch."""
        days = days_of(self.times.of(batch, first_row)).to_numpy()
        places = _places(batch.column(self.entity), self.entities)
        wanted = places >= 0
        first = pd.Series(days[wanted]).groupby(places[wanted]).min()
        for place, day in first.items():
            state[place] = min(state.get(place, day), day)
        return state

    def finish(self, state: Any) -> bytes:
        """Days by the places of the entities."""
        return as_pickle(state)

    def merge(self, results: Iterable[bytes]) -> bytes:
        """The earliest."""
        merged: dict[int, Any] = {}
        for result in results:
            for place, day in from_pickle(result).items():
                merged[place] = min(merged.get(place, day), day)
        return as_pickle(merged)


class CountDecisions(Fold):
    """Counts for ranks of decision scores among those of all rows."""

    columns = (SCORE,)

    def __init__(self, offset: float, counts: CountRanks) -> None:
        self.offset, self.counts = offset, counts

    def begin(self, part: Part) -> Any:
        """Nothing counted."""
        return self.counts.begin(part)

    def feed(self, state: Any, batch: pa.RecordBatch, first_row: int | None) -> Any:
        """Counts a batch."""
        scores = number_column(batch, SCORE) - self.offset
        return self.counts.feed(state, pa.record_batch([pa.array(scores)], [DECISION]), first_row)

    def finish(self, state: Any) -> bytes:
        """The counts."""
        return self.counts.finish(state)

    def merge(self, results: Iterable[bytes]) -> bytes:
        """The sums."""
        return self.counts.merge(results)


def _places(column: pa.Array, among: pa.Array) -> Any:
    """Per value its place among some values, or -1."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return pc.fill_null(pc.index_in(column, value_set=among), -1).to_numpy(zero_copy_only=False)
