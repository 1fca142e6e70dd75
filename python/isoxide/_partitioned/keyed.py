"""A table in partitions whose keys are text, whatever the engine has them as."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isoxide._forest.estimator import IsolationForest
from isoxide._frames.keys import as_text
from isoxide._frames.names import RESERVED_PREFIX
from isoxide._partitioned.model import Model
from isoxide._partitioned.table import Part, PartedTable, Step

#: The column of the labels of groups, beside the one they are made of.
GROUP = f"{RESERVED_PREFIX}group"


class WithTextKeys(Step):
    """A step that sees some columns as text.

    Parameters
    ----------
    step : Step
        What is done.
    texts : dict of str to str
        Columns that are text, and the columns of the table they are made of.
    """

    def __init__(self, step: Step, texts: dict[str, str]) -> None:
        self.step, self.texts = step, texts
        self.columns = tuple(dict.fromkeys(texts.get(name, name) for name in step.columns))

    def run(self, part: Part, batches: Iterator[pa.RecordBatch]) -> bytes:
        """Run the step on batches with text keys."""
        return self.step.run(part, self._keyed(part.first_row, batches))

    def _keyed(self, first_row: int | None, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield _keyed(batch, self.step.columns, self.texts, first_row)
            first_row = None if first_row is None else first_row + batch.num_rows

    def merge(self, results: Iterable[bytes]) -> bytes:
        """Merge as the step itself does."""
        return self.step.merge(results)


def _keyed(
    batch: pa.RecordBatch, columns: Iterable[str], texts: dict[str, str], first_row: int | None
) -> pa.RecordBatch:
    """Return some columns of a batch, those of `texts` as text."""
    columns = list(columns)
    if not columns:
        return batch
    arrays = [
        as_text(batch.column(texts[name]), name, first_row) if name in texts else batch.column(name) for name in columns
    ]
    return pa.RecordBatch.from_arrays(arrays, names=columns)


class Keyed(PartedTable):
    """A table of which some columns are text.

    Parameters
    ----------
    table : PartedTable
        The table itself.
    names : iterable of str
        Columns that are text and nothing else.
    group : str, optional
        A column that stays what it is, and is there once more as text, as `GROUP`.
    """

    def __init__(self, table: PartedTable, names: Iterable[str], group: str | None = None) -> None:
        self.table, self.names = table, tuple(names)
        self.name, self.key, self.is_local = table.name, table.key, table.is_local
        self._texts = {name: name for name in self.names}
        fields = [field.with_type(pa.string()) if field.name in self.names else field for field in table.schema]
        if group is not None:
            self._texts[GROUP] = table.written.get(group, group)
            fields.append(pa.field(GROUP, pa.string()))
        self.schema = pa.schema(fields)

    def gather(self, step: Step) -> bytes:
        """Run the step on text keys."""
        return self.table.gather(WithTextKeys(step, self._texts))

    def count(self) -> int:
        """Return the number of rows."""
        return self.table.count()

    def fetch(self, rows: NDArray[np.int64], columns: Iterable[str]) -> pa.Table:
        """Return the rows of these numbers, with text keys."""
        found = self.table.fetch(rows, columns)
        for place, name in enumerate(found.column_names):
            if name in self._texts:
                found = found.set_column(place, name, as_text(found[name], name))
        return found

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
