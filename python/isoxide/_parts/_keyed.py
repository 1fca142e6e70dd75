"""A table in parts whose keys are text, whatever the engine has them as."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isoxide import IsolationForest
from isoxide._frames.keys import as_text
from isoxide._parts._model import Model
from isoxide._parts._table import Part, PartedTable, Step


def _keyed(batch: pa.RecordBatch | pa.Table, names: Iterable[str]) -> pa.RecordBatch | pa.Table:
    """Return a batch with some columns as text."""
    for name in names:
        place = batch.schema.get_field_index(name)
        if place >= 0:
            batch = batch.set_column(place, name, as_text(batch.column(place), name))
    return batch


class WithTextKeys(Step):
    """A step that sees some columns as text."""

    def __init__(self, step: Step, names: Iterable[str]) -> None:
        self.step, self.names = step, tuple(names)
        self.columns = step.columns

    def run(self, part: Part, batches: Iterator[pa.RecordBatch]) -> bytes:
        """Run the step on batches with text keys."""
        return self.step.run(part, (_keyed(batch, self.names) for batch in batches))

    def merge(self, results: Iterable[bytes]) -> bytes:
        """Merge as the step itself does."""
        return self.step.merge(results)


class Keyed(PartedTable):
    """A table of which some columns are text."""

    def __init__(self, table: PartedTable, names: Iterable[str]) -> None:
        self.table, self.names = table, tuple(names)
        self.name, self.key, self.is_local = table.name, table.key, table.is_local
        fields = [field.with_type(pa.string()) if field.name in self.names else field for field in table.schema]
        self.schema = pa.schema(fields)

    def gather(self, step: Step) -> bytes:
        """Run the step on text keys."""
        return self.table.gather(WithTextKeys(step, self.names))

    def count(self) -> int:
        """Return the number of rows."""
        return self.table.count()

    def fetch(self, rows: NDArray[np.int64], columns: Iterable[str]) -> pa.Table:
        """Return the rows of these numbers, with text keys."""
        return _keyed(self.table.fetch(rows, columns), self.names)

    def number(self, found: pa.Table) -> NDArray[np.int64]:
        """Return the numbers of rows, looked up by the key as the engine has it."""
        for name in self.names:
            if name in self.key:
                place = found.schema.get_field_index(name)
                found = found.set_column(place, name, found[name].cast(self.table.schema.field(name).type))
        return self.table.number(found)

    def scores(self, forest: IsolationForest) -> PartedTable:
        """Return the scores of all rows, made as the engine makes them best."""
        return self.table.scores(forest)

    def share(self, forest: IsolationForest) -> Model:
        """Return a forest for steps, as the engine brings it to its workers."""
        return self.table.share(forest)

    def close(self) -> None:
        """Give back what was kept."""
        self.table.close()
