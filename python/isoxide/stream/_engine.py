"""Engine for one machine: it reads a source as one partition, batch by batch, and scores it only once."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isoxide._forest.estimator import IsolationForest
from isoxide._frames import Source
from isoxide._frames.cells import BadCellError
from isoxide._partitioned.aggregators import SCORE, Aggregator, Partition, PickRows, with_scores
from isoxide._partitioned.columns import batch_scores, features_of
from isoxide._partitioned.engine import Engine
from isoxide._partitioned.views import EngineView
from isoxide.stream._prefetch import Prefetcher

__all__ = ["StreamEngine", "progress_bar"]

#: Number of scores that are read from the temporary file at a time.
_STORED_BATCH_ROWS = 1 << 20

R = TypeVar("R")


class StreamEngine(Engine):
    """Engine for one machine, which reads all rows of a source as one partition.

    Parameters
    ----------
    source : Source
        Source of the rows.
    n_jobs : int or None
        Number of threads that count ranks; None means all cores.
    progress : bool or None
        Whether to show a progress bar; None shows one on a terminal.
    """

    is_local = True

    def __init__(self, source: Source, *, n_jobs: int | None = None, progress: bool | None = None) -> None:
        self.source, self.name, self.schema, self.n_jobs = source, source.name, source.schema, n_jobs
        self.reasons, self.notes, self.written = source.reasons, tuple(source.notes), source.written
        self._progress = progress
        self._n_rows: int | None = None

    def aggregate(self, aggregator: Aggregator[Any, R]) -> R:
        """Aggregate all batches; the next batches are read in the meantime."""
        return self.aggregate_batches(aggregator, aggregator.columns, iter)

    def aggregate_batches(
        self,
        aggregator: Aggregator[Any, R],
        columns: Iterable[str],
        change: Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]],
        label: str = "reading",
    ) -> R:
        """Aggregate batches of the given columns, which a function changes first."""
        with Prefetcher(self.source.batches(columns)) as batches, self._positions_of_cells():
            changed = change(self.with_progress(batches, label))
            return aggregator.finish(aggregator.accumulate(Partition(0, 0), changed))

    @contextmanager
    def _positions_of_cells(self) -> Iterator[None]:
        """Add the position in the file to errors about cells."""
        try:
            yield
        except BadCellError as error:
            if error.row is None:
                raise
            raise error.at(self.source.locate(error.row)) from None

    def with_progress(
        self, batches: Iterable[pa.RecordBatch], label: str, first_row: int = 0
    ) -> Iterator[pa.RecordBatch]:
        """Yield the same batches, with a progress bar."""
        total = self.source.count() if self._n_rows is None else self._n_rows
        with progress_bar(total, label, self._progress, first_row) as update:
            for batch in batches:
                yield batch
                update(batch.num_rows)

    def count(self) -> int:
        """Return the number of rows from the metadata of files; a stream is read to count its rows."""
        if self._n_rows is None:
            n_rows = self.source.count()
            if n_rows is None:
                first = self.schema.names[:1]
                n_rows = sum(batch.num_rows for batch in self.with_progress(self.source.batches(first), "counting"))
            self._n_rows = n_rows
        return self._n_rows

    def fetch(self, rows: NDArray[np.int64], columns: Iterable[str]) -> pa.Table:
        """Read all rows, and return those with the given row numbers."""
        return self.aggregate(PickRows(rows, self.schema, columns, self.name))

    def scores(self, forest: IsolationForest) -> Engine:
        """Return scores that are computed once and kept in a temporary file, 8 bytes per row."""
        return SpooledScores(self, forest)


class SpooledScores(EngineView):
    """Table with its scores, which are computed and written to a temporary file when they are first read.

    Later passes read the scores from the file. If they need no other column, the source is not read.
    """

    engine: StreamEngine

    def __init__(self, engine: StreamEngine, forest: IsolationForest) -> None:
        super().__init__(engine)
        self.forest = forest
        self.features = features_of(forest, engine.schema, engine.name)
        self._file: Any = None

    def aggregate(self, aggregator: Aggregator[Any, R]) -> R:
        """Aggregate batches with the scores; compute these the first time."""
        if SCORE not in aggregator.columns:
            return self.engine.aggregate(aggregator)
        others = [name for name in aggregator.columns if name != SCORE]
        if self._file is None:
            return self._first(aggregator, others)
        if not others:
            return aggregator.finish(aggregator.accumulate(Partition(0, 0), self._stored()))
        self._file.seek(0)
        return self.engine.aggregate_batches(
            aggregator, others, lambda batches: self._with_stored(batches, aggregator.columns)
        )

    def _first(self, aggregator: Aggregator[Any, R], others: list[str]) -> R:
        """Aggregate batches while the scores are computed."""
        # The file has no name that others could see, and closing it deletes it.
        file = tempfile.TemporaryFile(prefix="isoxide-scores-")  # noqa: SIM115 (it stays open)
        columns = list(dict.fromkeys([*others, *self.features]))

        def scored(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                scores = batch_scores(batch, self.features, self.forest)
                file.write(scores.data)
                yield with_scores(batch, scores, aggregator.columns)

        try:
            result = self.engine.aggregate_batches(aggregator, columns, scored, "scoring")
            file.flush()
        except BaseException:
            file.close()
            raise
        self._file = file
        return result

    def _with_stored(self, batches: Iterable[pa.RecordBatch], columns: Iterable[str]) -> Iterator[pa.RecordBatch]:
        """Yield the given columns of batches of the source, with their scores from the file."""
        for batch in batches:
            scores = np.fromfile(self._file, dtype=np.float64, count=batch.num_rows)
            if len(scores) < batch.num_rows:
                raise ValueError(f"{self.name} changed while it was read: it has more rows than when it was scored")
            yield with_scores(batch, scores, columns)

    def _stored(self) -> Iterator[pa.RecordBatch]:
        self._file.seek(0)
        while len(scores := np.fromfile(self._file, dtype=np.float64, count=_STORED_BATCH_ROWS)):
            yield pa.record_batch([pa.array(scores)], [SCORE])

    def close(self) -> None:
        """Close the temporary file; the table stays open."""
        if self._file is not None:
            self._file.close()
            self._file = None


@contextmanager
def progress_bar(
    total: int | None, label: str, progress: bool | None, first_row: int = 0
) -> Iterator[Callable[[int], Any]]:
    """Show a progress bar in rows, and yield the function that advances it.

    Parameters
    ----------
    total : int or None
        Total number of rows, if it is known.
    label : str
        Name of the work, such as "scoring".
    progress : bool or None
        Whether to show the bar; None shows it on a terminal.
    first_row : int
        Number of rows that were already processed.
    """
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
    with tqdm(total=total, desc=label, initial=first_row, unit=" rows", unit_scale=True, leave=False) as bar:
        yield bar.update
