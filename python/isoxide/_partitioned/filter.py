"""A table in parts without some of its rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isoxide._forest.estimator import IsolationForest
from isoxide._partitioned.model import Model
from isoxide._partitioned.table import ROW_NUMBER, Part, PartedTable, Step


class Skipping(Step):
    """Lets a step see a table without some rows, and count rows accordingly."""

    def __init__(self, step: Step, dropped: NDArray[np.int64]) -> None:
        self.step, self.dropped = step, dropped
        self.columns = step.columns

    def run(self, part: Part, batches: Iterator[pa.RecordBatch]) -> bytes:
        """Leaves them out."""
        assert part.first_row is not None
        before = int(np.searchsorted(self.dropped, part.first_row))
        return self.step.run(Part(part.number, part.first_row - before), self._rest(part.first_row, batches))

    def _rest(self, first_row: int, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            places = slice(*np.searchsorted(self.dropped, [first_row, first_row + batch.num_rows]))
            gone = self.dropped[places] - first_row
            first_row += batch.num_rows
            if gone.size:
                kept = np.ones(batch.num_rows, dtype=bool)
                kept[gone] = False
                batch = batch.filter(pa.array(kept))
            yield batch

    def merge(self, results: Iterable[bytes]) -> bytes:
        """As the step itself."""
        return self.step.merge(results)


class Without(PartedTable):
    """A table whose parts know where they begin, without the rows of some numbers."""

    def __init__(self, table: PartedTable, dropped: NDArray[np.int64]) -> None:
        self.table, self.dropped = table, dropped
        self.name, self.schema = table.name, table.schema

    def gather(self, step: Step) -> bytes:
        """Leaves them out."""
        return self.table.gather(Skipping(step, self.dropped))

    def count(self) -> int:
        """Of those that are left."""
        return self.table.count() - len(self.dropped)

    def original(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The numbers that rows have in the table itself."""
        # Of the k-th row dropped all from its number less k on have k + 1 before them.
        return rows + np.searchsorted(self.dropped - np.arange(len(self.dropped)), rows, side="right")

    def fetch(self, rows: NDArray[np.int64], columns: Iterable[str]) -> pa.Table:
        """By their numbers in the table itself."""
        return self.table.fetch(self.original(rows), columns)

    def number(self, found: pa.Table) -> NDArray[np.int64]:
        """Their numbers in the table itself."""
        return self.original(found[ROW_NUMBER].to_numpy())

    def scores(self, forest: IsolationForest) -> PartedTable:
        """Those of the rows that are left."""
        return WithoutScores(self.table.scores(forest), self.dropped)

    def share(self, forest: IsolationForest) -> Model:
        """As the table itself."""
        return self.table.share(forest)


class WithoutScores(Without):
    """Scores without those of some rows."""

    def close(self) -> None:
        """Gives back what the scores keep."""
        self.table.close()
