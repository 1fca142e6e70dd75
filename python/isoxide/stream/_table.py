"""Tables of one machine: the constructor, and scores that are written to Parquet."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from sklearn.utils.validation import check_is_fitted

from isoxide._forest.estimator import IsolationForest
from isoxide._frames import ReadOptions, Source, open_source
from isoxide._frames.files import InputFile, local_path, open_input, spool
from isoxide._frames.frames import ArrowStream, DatasetSource
from isoxide._frames.opening import files_of
from isoxide._frames.parquet import ParquetFiles
from isoxide._frames.source import ChooseRoles
from isoxide._partitioned.table import PartitionedTable, column_names, forest_features, roles_of
from isoxide.stream._engine import StreamEngine
from isoxide.stream._write import ROWS_PER_FILE, ScoredStream, ScoreWriter

__all__ = ["StreamTable", "open"]

#: Sources whose columns have declared types: they are the same whatever columns are wanted for.
_TYPED = (ArrowStream, DatasetSource, ParquetFiles)


class StreamTable(PartitionedTable):
    """A table that is read batch by batch on this machine, made by `isoxide.stream.open`.

    Besides the methods of all partitioned tables it has `write_scores`.

    See Also
    --------
    open : Make one.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from isoxide import stream
    >>> stream.open(pa.table({"x": [-1.1, 0.3, 0.5, 100.0]})).fit().n_features_in_
    1
    """

    def __init__(
        self, source: Any, options: ReadOptions, *, batch_rows: int | None, progress: bool | None, n_jobs: int | None
    ) -> None:
        self._source, self._options, self._batch_rows = source, options, batch_rows
        self._progress, self._n_jobs = progress, n_jobs

    @contextmanager
    def _open(self, roles: ChooseRoles, *, order_by: Iterable[str] | None = None) -> Iterator[StreamEngine]:
        yield self._engine(roles)

    def _engine(self, roles: ChooseRoles) -> StreamEngine:
        if isinstance(self._source, _TYPED):
            roles(self._source.schema.names, self._source.name)
        source: Source = open_source(self._source, self._batch_rows, options=self._options, roles=roles)
        if isinstance(source, _TYPED):
            # What can be read once must not look new to the next method.
            self._source = source
        return StreamEngine(source, n_jobs=self._n_jobs, progress=self._progress)

    def _scored(self, forest: IsolationForest, score: str, anomaly: str) -> pa.RecordBatchReader:
        engine = self._engine(roles_of(numbers=forest_features(forest)))
        self._refuse_names(engine.schema.names, engine.name, score, anomaly)
        scored = ScoredStream(forest, engine, engine.schema.names, score, anomaly)
        return pa.RecordBatchReader.from_batches(scored.schema, scored.batches())

    def _writer(self, forest: IsolationForest, keep: str | Iterable[str]) -> ScoreWriter:
        """Return the writer of scores; columns to keep stay the text that was written if their type is not declared."""
        check_is_fitted(forest)
        keep = [keep] if isinstance(keep, str) else column_names(keep, "keep")
        return ScoreWriter(forest, self._engine(roles_of(keep, forest_features(forest), "keep")), keep)

    def write_scores(
        self,
        forest: IsolationForest,
        out: str | os.PathLike[str],
        *,
        keep: Iterable[str] = (),
        rows_per_file: int = ROWS_PER_FILE,
        resume: bool = False,
    ) -> int:
        """Score all rows and write the scores to Parquet.

        The columns written are those of `keep`, ``score`` (that of ``IsolationForest.decision_function``: the lower,
        the more abnormal) and ``anomaly`` (whether the score is below 0), row by row in the order of the table.

        Parameters
        ----------
        forest : IsolationForest
            A fitted forest. With names of features its columns are found by these; otherwise all numeric columns are
            taken.
        out : path
            A file, if its name ends with ``.parquet``: it is replaced when the new one is whole. Otherwise a folder
            for files of `rows_per_file` rows each, which are put in it one after the other as they are whole; at the
            end the empty file ``_SUCCESS`` is added.
        keep : list of str, optional
            Columns of the table to write beside the scores. By default there are none.
        rows_per_file : int, default=10,000,000
            Rows of each file of a folder, at least 1.
        resume : bool, default=False
            Whether to continue after the last whole file of a folder that was begun with the same forest, table and
            arguments.

        Returns
        -------
        int
            The number of rows that have scores, those of an earlier call included.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the forest is not fitted.
        FileExistsError
            If the folder exists and is not empty, unless `resume` is true.
        ValueError
            If the table lacks columns or is damaged, or the folder was begun with something else.

        See Also
        --------
        score : Read the scores batch by batch instead.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> import numpy as np, pyarrow as pa, pyarrow.parquet as pq
        >>> from isoxide import stream
        >>> X = np.random.default_rng(0).normal(size=(5000, 2))
        >>> rows = pa.table({"a": X[:, 0], "b": X[:, 1]})
        >>> table = stream.open(rows)
        >>> forest = table.fit()
        >>> out = pathlib.Path(tempfile.mkdtemp(), "scores.parquet")
        >>> table.write_scores(forest, out, keep=["a"])
        5000
        >>> bool((pq.read_table(out)["score"].to_numpy() == forest.decision_function(rows)).all())
        True
        """
        if rows_per_file < 1:
            raise ValueError(f"rows_per_file must be at least 1, got {rows_per_file}")
        return self._writer(forest, keep).write(Path(out), rows_per_file=rows_per_file, resume=resume)

    def __repr__(self) -> str:
        return f"<StreamTable of {_told(self._source)}>"


def open(
    source: Any,
    *,
    batch_rows: int | None = None,
    progress: bool | None = None,
    n_jobs: int | None = None,
    sep: str | None = None,
    decimal: str = ".",
    thousands: str | None = None,
    missing: str | Iterable[str] = (),
    encoding: str | None = None,
) -> StreamTable:
    """Open a table that need not fit in memory.

    Its rows are read when a method needs them. They must come in the same order each time.

    Parameters
    ----------
    source : path, list of paths, frame, pyarrow.dataset.Dataset, or object with an Arrow stream
        A file (Parquet, Feather or Arrow, CSV and its kin, JSON lines, Excel), an open file, or ``"-"`` for standard
        input; a folder of files, read in the order of their names (folders with names like ``day=2025-04-26`` make
        columns of Parquet files); a pandas or polars frame; a dataset; or any object with ``__arrow_c_stream__``,
        such as a relation of DuckDB. JSON lines and Excel files are read into memory. CSV files are read once more for
        each method, to learn what their columns hold.
    batch_rows : int, optional
        Rows read at a time, at least 1. By default as many as make about 16 MB.
    progress : bool, optional
        Whether to show a progress bar. By default it is shown on a terminal only.
    n_jobs : int, optional
        Threads that count ranks, and that grow and score with forests fitted by default; None means all cores. A
        forest that is given has an `n_jobs` of its own.
    sep : str, optional
        Field delimiter of text files. By default it is found from the first two rows.
    decimal : str, default="."
        Decimal mark of the numbers in text files.
    thousands : str, optional
        Mark between groups of three digits in text files. By default there is none.
    missing : str or list of str, optional
        Words for a missing number in text files, besides the usual ones such as ``NA``.
    encoding : str, optional
        Encoding of text files. By default UTF-8, or UTF-16 where a file begins with its mark.

    Returns
    -------
    StreamTable
        A table with the methods ``fit``, ``score``, ``write_scores``, ``offset``, ``rank_features`` and ``detect``.

    Raises
    ------
    FileNotFoundError
        If the file does not exist, or a folder has no readable files.
    ValueError
        If an option is out of range. Methods raise it if the contents cannot be read: a file is damaged or has other
        columns than the first one, or a source that can be read only once is read again.
    TypeError
        If `source` is nothing that rows can be read from.

    See Also
    --------
    isoxide.ueba.read_table : Read a table into memory.

    Notes
    -----
    Methods that need scores several times keep them in a temporary file, 8 bytes a row, in the folder that the
    environment variable ``TMPDIR`` names. Sources that do not state how many rows they have are read once more to
    count them.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np, pandas as pd
    >>> from isoxide import stream
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for number in range(3):
    ...     frame = pd.DataFrame(np.random.default_rng(number).normal(size=(1000, 2)), columns=["a", "b"])
    ...     frame.to_csv(folder / f"{number}.csv", index=False)
    >>> forest = stream.open(folder).fit()
    >>> forest.feature_names_in_.tolist()
    ['a', 'b']
    """
    options = ReadOptions.of(sep=sep, decimal=decimal, thousands=thousands, missing=missing, encoding=encoding)
    if batch_rows is not None and batch_rows < 1:
        raise ValueError(f"batch_rows must be at least 1, got {batch_rows}")
    source = _reopenable(source)
    table = StreamTable(source, options, batch_rows=batch_rows, progress=progress, n_jobs=n_jobs)
    if not isinstance(source, (str, os.PathLike, InputFile, list, Source)) and type(source).__name__ != "DataFrame":
        # This costs nothing, and refuses an object that is not a table before any other work.
        table._engine(roles_of())
    return table


def _reopenable(source: Any) -> Any:
    """Return what can be opened several times: standard input, pipes and open files are kept in temporary files."""
    if isinstance(source, (str, os.PathLike)):
        if str(source) != "-" and local_path(source).is_dir():
            files_of(source)
            return source
        return open_input(source)
    if isinstance(source, (list, tuple)):
        if not source or not all(isinstance(path, (str, os.PathLike, InputFile)) for path in source):
            # It is refused where sources are opened.
            return tuple(source)
        return [path if isinstance(path, InputFile) else _reopenable(path) for path in source]
    is_table = hasattr(source, "__arrow_c_stream__") or hasattr(source, "iloc") or isinstance(source, Source)
    if not is_table and callable(getattr(source, "read", None)):
        name = getattr(source, "name", None)
        return spool(source, name if isinstance(name, str) else "the file")
    return source


def _told(source: Any) -> str:
    """Return what a source is called."""
    if isinstance(source, (str, os.PathLike)):
        return str(source)
    if isinstance(source, list):
        return f"{len(source)} files and folders"
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else type(source).__name__
