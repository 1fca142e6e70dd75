"""A source as a table in one part: read batch by batch, with a progress bar, and scored once."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isoxide._forest.estimator import IsolationForest
from isoxide._frames import Source
from isoxide._frames.cells import BadCellError
from isoxide._partitioned.aggregators import SCORE, PickRows, picked_rows
from isoxide._partitioned.columns import batch_scores, features_of
from isoxide._partitioned.table import Part, PartedTable, Step
from isoxide.stream._batches import Ahead

#: Scores read at a time from where they are kept.
_SPOOLED = 1 << 20


class StreamTable(PartedTable):
    """All rows of a source, as one part."""

    is_local = True

    def __init__(self, source: Source, *, progress: bool | None) -> None:
        self.source, self.name, self.schema = source, source.name, source.schema
        self.reasons, self.notes, self.written = source.reasons, tuple(source.notes), source.written
        self._progress = progress
        self._n_rows: int | None = None

    def gather(self, step: Step) -> bytes:
        """Runs the step on all batches while the next ones are read."""
        with Ahead(self.source.batches(step.columns)) as batches, self.placed():
            return step.run(Part(0, 0), self.shown(batches, "reading"))

    @contextmanager
    def placed(self) -> Iterator[None]:
        """Let refusals of cells say where they stand as the file counts."""
        try:
            yield
        except BadCellError as error:
            if error.row is None:
                raise
            raise error.at(self.source.locate(error.row)) from None

    def shown(self, batches: Iterable[pa.RecordBatch], what: str, first_row: int = 0) -> Iterator[pa.RecordBatch]:
        """The same batches, with a bar of how far they are."""
        total = self.source.count() if self._n_rows is None else self._n_rows
        with bar(total, what, self._progress, first_row) as update:
            for batch in batches:
                yield batch
                update(batch.num_rows)

    def count(self) -> int:
        """From what files say of themselves; of streams by reading them."""
        if self._n_rows is None:
            known = self.source.count()
            if known is None:
                first = self.schema.names[:1]
                known = sum(batch.num_rows for batch in self.shown(self.source.batches(first), "counting"))
            self._n_rows = known
        return self._n_rows

    def fetch(self, rows: NDArray[np.int64], columns: Iterable[str]) -> pa.Table:
        """Reads all rows and keeps those."""
        columns = list(columns)
        return picked_rows(self.gather(PickRows(rows, self.schema, columns)), rows, columns, self.name)

    def scores(self, forest: IsolationForest) -> PartedTable:
        """Scores are made once, and kept in a temporary file, 8 bytes a row."""
        return SpooledScores(self, forest)


class SpooledScores(PartedTable):
    """The scores of a table; the first time they are read they are made and put aside."""

    def __init__(self, table: StreamTable, forest: IsolationForest) -> None:
        self.table, self.name, self.forest = table, table.name, forest
        self.schema = pa.schema([pa.field(SCORE, pa.float64())])
        self.features = features_of(forest, table.schema, table.name)
        self._file: Any = None

    def gather(self, step: Step) -> bytes:
        """Makes them, or reads them again."""
        if self._file is not None:
            return step.run(Part(0, 0), self._kept())
        # Nobody else sees it, and it is gone when it is closed.
        file = tempfile.TemporaryFile(prefix="isoxide-scores-")  # noqa: SIM115 (it stays open)
        try:
            with Ahead(self.table.source.batches(self.features)) as batches:
                result = step.run(Part(0, 0), self._made(self.table.shown(batches, "scoring"), file))
            file.flush()
        except BaseException:
            file.close()
            raise
        self._file = file
        return result

    def _made(self, batches: Iterable[pa.RecordBatch], file: Any) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            scores = batch_scores(batch, self.features, self.forest)
            file.write(scores)
            yield _as_batch(scores)

    def _kept(self) -> Iterator[pa.RecordBatch]:
        self._file.seek(0)
        while len(scores := np.fromfile(self._file, dtype=np.float64, count=_SPOOLED)):
            yield _as_batch(scores)

    def count(self) -> int:
        """As the table itself."""
        return self.table.count()

    def fetch(self, rows: NDArray[np.int64], columns: Iterable[str]) -> pa.Table:
        """Not there: nobody asks for single scores."""
        raise NotImplementedError

    def close(self) -> None:
        """Gives the file back."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _as_batch(scores: NDArray[np.float64]) -> pa.RecordBatch:
    return pa.record_batch([pa.array(scores)], [SCORE])


@contextmanager
def bar(total: int | None, what: str, progress: bool | None, first_row: int = 0) -> Iterator[Callable[[int], Any]]:
    """A progress bar in rows; on a terminal only, unless it is asked for. Gives what tells it of more rows."""
    if progress is False or (progress is None and not sys.stderr.isatty()):
        yield lambda n: None
        return
    try:
        from tqdm.auto import tqdm
    except ImportError:
        if progress:
            raise ImportError("progress=True needs tqdm: pip install 'isoxide[stream]'") from None
        yield lambda n: None
        return
    with tqdm(total=total, desc=what, initial=first_row, unit=" rows", unit_scale=True, leave=False) as shown:
        yield shown.update
