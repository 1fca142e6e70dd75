"""Views of an engine: a table with keys as text, without given rows, or with only the scores."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isoxide._forest.estimator import IsolationForest
from isoxide._frames.keys import as_text
from isoxide._frames.names import RESERVED_PREFIX
from isoxide._partitioned.aggregators import ROW_NUMBER, SCORE, Aggregator, MappedAggregator, Partition, ScoreBatches
from isoxide._partitioned.broadcast import BroadcastForest
from isoxide._partitioned.columns import features_of
from isoxide._partitioned.engine import Engine

__all__ = ["GROUP", "EngineView", "ScoredRows", "TextKeys", "WithoutRows"]

#: Name of the added column with the group labels as text.
GROUP = f"{RESERVED_PREFIX}group"

S = TypeVar("S")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class EngineView(Engine):
    """View of an engine that passes every call on, unless a subclass changes it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.name, self.schema, self.key = engine.name, engine.schema, engine.key
        self.n_jobs, self.is_local = engine.n_jobs, engine.is_local

    def count(self) -> int:
        """Return the number of rows."""
        return self.engine.count()

    def fetch(self, rows: NDArray[np.int64], columns: Iterable[str]) -> pa.Table:
        """Return the rows with these numbers."""
        return self.engine.fetch(rows, columns)

    def row_numbers(self, rows: pa.Table) -> NDArray[np.int64]:
        """Return the row numbers of the given rows."""
        return self.engine.row_numbers(rows)

    def scores(self, forest: IsolationForest) -> Engine:
        """Return the scores of all rows, computed by the engine."""
        return self.over(self.engine.scores(forest))

    def over(self, engine: Engine) -> Engine:
        """Return the same view of another engine with the same rows."""
        view = copy.copy(self)
        view.engine = engine
        return view

    def broadcast(self, forest: IsolationForest) -> BroadcastForest:
        """Return the forest in the form in which the engine sends it to its workers."""
        return self.engine.broadcast(forest)

    def close(self) -> None:
        """Free the resources of the engine."""
        self.engine.close()


class ScoredRows(EngineView):
    """Table with the results of ``score_samples`` as the column `SCORE`, computed again in each pass that reads it."""

    def __init__(self, engine: Engine, forest: IsolationForest) -> None:
        super().__init__(engine)
        self.forest = engine.broadcast(forest)
        self.features = features_of(forest, engine.schema, engine.name)

    def aggregate(self, aggregator: Aggregator[Any, R]) -> R:
        """Score each batch if the aggregator reads the scores, then aggregate."""
        if SCORE not in aggregator.columns:
            return self.engine.aggregate(aggregator)
        return self.engine.aggregate(ScoreBatches(aggregator, self.forest, self.features))

    def close(self) -> None:
        """Leave the table open, since the scores need no cleanup."""


class TextBatches(MappedAggregator[S, R_co]):
    """Pass columns to an aggregator as text.

    Parameters
    ----------
    inner : Aggregator
        Aggregator that gets the text.
    texts : dict of str to str
        For each column of text, the name of the table's column that it is made from.
    """

    def __init__(self, inner: Aggregator[S, R_co], texts: dict[str, str]) -> None:
        super().__init__(inner, dict.fromkeys(texts.get(name, name) for name in inner.columns))
        self.texts = texts

    def changed(self, batch: pa.RecordBatch, first_row: int | None) -> tuple[pa.RecordBatch, int | None]:
        """Return the columns that the aggregator reads, some of them as text."""
        columns = list(self.inner.columns)
        if not columns:
            return batch, first_row
        arrays = [
            as_text(batch.column(self.texts[name]), name, first_row) if name in self.texts else batch.column(name)
            for name in columns
        ]
        return pa.RecordBatch.from_arrays(arrays, names=columns), first_row


class TextKeys(EngineView):
    """View of a table in which some columns are text, regardless of their dtypes in the engine.

    Parameters
    ----------
    engine : Engine
        Engine that reads the table.
    names : iterable of str
        Columns that become text.
    group : str, optional
        Column that keeps its dtype and is added again as text with the name `GROUP`.
    """

    def __init__(self, engine: Engine, names: Iterable[str], group: str | None = None) -> None:
        super().__init__(engine)
        self.names = tuple(names)
        self._texts = {name: name for name in self.names}
        fields = [field.with_type(pa.string()) if field.name in self.names else field for field in engine.schema]
        if group is not None:
            self._texts[GROUP] = engine.written.get(group, group)
            fields.append(pa.field(GROUP, pa.string()))
        self.schema = pa.schema(fields)

    def aggregate(self, aggregator: Aggregator[Any, R]) -> R:
        """Aggregate batches with text keys."""
        return self.engine.aggregate(TextBatches(aggregator, self._texts))

    def fetch(self, rows: NDArray[np.int64], columns: Iterable[str]) -> pa.Table:
        """Return the rows with these numbers, with keys as text."""
        table = self.engine.fetch(rows, columns)
        for position, name in enumerate(table.column_names):
            if name in self._texts:
                table = table.set_column(position, name, as_text(table[name], name))
        return table

    def row_numbers(self, rows: pa.Table) -> NDArray[np.int64]:
        """Return the row numbers of the given rows, whose key is converted back to the engine's dtypes."""
        for name in self.names:
            if name in self.key:
                position = rows.schema.get_field_index(name)
                rows = rows.set_column(position, name, rows[name].cast(self.engine.schema.field(name).type))
        return self.engine.row_numbers(rows)


class BatchesWithoutRows(MappedAggregator[S, R_co]):
    """Pass a table to an aggregator without the dropped rows, and renumber the others."""

    def __init__(self, inner: Aggregator[S, R_co], dropped: NDArray[np.int64]) -> None:
        super().__init__(inner, inner.columns)
        self.dropped = dropped

    def init(self, partition: Partition) -> S:
        """Return the state of a partition with the number of its first row after dropping."""
        assert partition.first_row is not None
        first_row = partition.first_row - self._n_dropped_before(partition.first_row)
        return super().init(Partition(partition.number, first_row))

    def changed(self, batch: pa.RecordBatch, first_row: int | None) -> tuple[pa.RecordBatch, int | None]:
        """Return a batch without the dropped rows."""
        assert first_row is not None
        in_batch = slice(*np.searchsorted(self.dropped, [first_row, first_row + batch.num_rows]))
        dropped = self.dropped[in_batch] - first_row
        if dropped.size:
            remains = np.ones(batch.num_rows, dtype=bool)
            remains[dropped] = False
            batch = batch.filter(pa.array(remains))
        return batch, first_row - self._n_dropped_before(first_row)

    def _n_dropped_before(self, row: int) -> int:
        return int(np.searchsorted(self.dropped, row))


class WithoutRows(EngineView):
    """View of a table without the rows with the given numbers; its partitions must have first-row numbers."""

    def __init__(self, engine: Engine, dropped: NDArray[np.int64]) -> None:
        super().__init__(engine)
        self.dropped = dropped

    def aggregate(self, aggregator: Aggregator[Any, R]) -> R:
        """Aggregate the remaining rows of the table."""
        return self.engine.aggregate(BatchesWithoutRows(aggregator, self.dropped))

    def count(self) -> int:
        """Return the number of remaining rows."""
        return self.engine.count() - len(self.dropped)

    def fetch(self, rows: NDArray[np.int64], columns: Iterable[str]) -> pa.Table:
        """Return the rows with these numbers, which count only the remaining rows."""
        return self.engine.fetch(self._original(rows), columns)

    def row_numbers(self, rows: pa.Table) -> NDArray[np.int64]:
        """Return the row numbers of the given rows in the original table."""
        return self._original(rows[ROW_NUMBER].to_numpy())

    def _original(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        # The k-th dropped row (from 0) with number r has r - k remaining rows before it.
        return rows + np.searchsorted(self.dropped - np.arange(len(self.dropped)), rows, side="right")
