"""Open tables on one machine, and write scores to Parquet."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from sklearn.utils.validation import check_is_fitted

from isoxide._common.stores import Location, located
from isoxide._forest.estimator import IsolationForest
from isoxide._frames import ReadOptions, Source, open_source
from isoxide._frames.files import InputFile, spool
from isoxide._frames.opening import files_of, reopenable
from isoxide._frames.parquet import ParquetFiles
from isoxide._frames.source import ChooseRoles
from isoxide._partitioned.row_columns import RowColumns
from isoxide._partitioned.table import PartitionedTable, column_names, forest_features, roles_of
from isoxide.stream._engine import StreamEngine
from isoxide.stream._write import ROWS_PER_FILE, ScoredStream, ScoreWriter

__all__ = ["StreamTable", "open"]

_logger = logging.getLogger("isoxide.stream")


class StreamTable(PartitionedTable):
    """Table that is read batch by batch on this machine, made by `isoxide.stream.open`.

    In addition to the methods of all partitioned tables, it has `write_scores`.

    See Also
    --------
    open : Open a table.

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
        self._is_logged = False

    @contextmanager
    def _open(self, roles: ChooseRoles, *, order_by: Iterable[str] | None = None) -> Iterator[StreamEngine]:
        yield self._engine(roles)

    def _engine(self, roles: ChooseRoles) -> StreamEngine:
        source: Source = open_source(self._source, self._batch_rows, options=self._options, roles=roles)
        if source.has_declared_types:
            # Keep the source, so that a stream that can be read once is not read again by the next method.
            self._source = source
            self._log_checksums()
        return StreamEngine(source, n_jobs=self._n_jobs, progress=self._progress)

    @property
    def page_checksums(self) -> Literal["all", "some", "none"] | None:
        """Tell how many Parquet files of the table have checksums of pages; None if it is not read from such files.

        Checksums are verified whenever pages are read, so damaged values raise an error. Without checksums they go
        unnoticed. Spark writes them; other writers do so on request (``write_page_checksum=True`` in pyarrow). The
        first page of each file tells whether a file has them. If not all files do, the logger ``isoxide.stream``
        says so once for each table, at level INFO.
        """
        if not isinstance(self._source, Source):
            self._engine(roles_of())
        return self._source.page_checksums() if isinstance(self._source, ParquetFiles) else None

    def _log_checksums(self) -> None:
        """Log once for each table that files have no checksums of their pages."""
        if self._is_logged or not isinstance(self._source, ParquetFiles) or not _logger.isEnabledFor(logging.INFO):
            return
        self._is_logged = True
        checksums = self._source.page_checksums()
        if checksums != "all":
            owner = "the Parquet files have" if checksums == "none" else "some of the Parquet files have"
            _logger.info("%s: %s no page checksums, so damaged values would go unnoticed", self._source.name, owner)

    def _with_columns(self, forest: IsolationForest, added: RowColumns) -> pa.RecordBatchReader:
        engine = self._engine(roles_of(numbers=forest_features(forest)))
        self._refuse_names(engine.schema.names, engine.name, added)
        scored = ScoredStream(forest, engine, engine.schema.names, added)
        return pa.RecordBatchReader.from_batches(scored.schema, scored.batches())

    def _writer(
        self, forest: IsolationForest, keep: str | Iterable[str], added: RowColumns | None = None
    ) -> ScoreWriter:
        """Return the writer of scores; columns in `keep` without a declared type are written as the original text."""
        check_is_fitted(forest)
        keep = [keep] if isinstance(keep, str) else column_names(keep, "keep")
        return ScoreWriter(forest, self._engine(roles_of(keep, forest_features(forest), "keep")), keep, added)

    def write_scores(
        self,
        forest: IsolationForest,
        out: str | os.PathLike[str],
        *,
        keep: Iterable[str] = (),
        rows_per_file: int = ROWS_PER_FILE,
        resume: bool = False,
        filesystem: Any = None,
    ) -> int:
        """Score all rows and write the scores to Parquet.

        The columns are those of `keep`, then ``score`` (``IsolationForest.decision_function``: the lower, the more
        abnormal) and ``anomaly`` (whether the score is below 0), row by row in the order of the table.

        Parameters
        ----------
        forest : IsolationForest
            Fitted forest. If it has feature names, they select the columns; otherwise all numeric columns are used.
        out : path or URL
            File to write, if the name ends with ``.parquet``; an existing file is replaced when the new one is
            complete. Any other name is a folder for files of `rows_per_file` rows each, which appear one after the
            other when they are complete. At the end, the empty file ``_SUCCESS`` is added.
        keep : list of str, optional
            Columns of the table to write next to the scores. By default there are none.
        rows_per_file : int, default=10,000,000
            Number of rows of each file of a folder, at least 1.
        resume : bool, default=False
            Whether to continue after the last complete file of a folder that an interrupted call wrote with the same
            forest, table and arguments. Files of the table are recognised by name, size, number of rows and
            modification time; Delta and Iceberg tables by their identifier and version; the contents of a pipe by their
            SHA-256; a table in memory by 1,000 of its rows; a LazyFrame by its query and columns; and any other Arrow
            stream by the names and types of its columns only.
        filesystem : pyarrow.fs.FileSystem or fsspec.AbstractFileSystem, optional
            File system of `out`. By default `out` is a URL (such as ``s3://bucket/scores``) or a local path. A file of
            a store is first written to the folder for temporary files, and sent when it is complete.

        Returns
        -------
        int
            Number of rows that have scores, including the rows of an earlier call.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the forest is not fitted.
        FileExistsError
            If the folder exists and is not empty, unless `resume` is true.
        PermissionError, ConnectionError
            If a store denies access or does not answer. The files that were sent before stay, and can be resumed.
        ValueError
            If the table lacks columns or is damaged, or the folder holds scores of another forest or table.

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
        return self._writer(forest, keep).write(located(out, filesystem), rows_per_file=rows_per_file, resume=resume)

    def __repr__(self) -> str:
        return f"<StreamTable of {_source_name(self._source)}>"

    def _facts(self) -> list[tuple[str, str]]:
        return [("source", _source_name(self._source))]

    def _columns(self) -> dict[str, str] | None:
        # Other sources have to read rows to know the types.
        schema = getattr(self._source, "schema", None)
        return {field.name: str(field.type) for field in schema} if isinstance(schema, pa.Schema) else None


def open(
    source: Any,
    *,
    filesystem: Any = None,
    batch_rows: int | None = None,
    progress: bool | None = None,
    n_jobs: int | None = None,
    sep: str | None = None,
    decimal: str = ".",
    thousands: str | None = None,
    missing: str | Iterable[str] = (),
    encoding: str | None = None,
    upcast: bool = False,
) -> StreamTable:
    """Open a table that may be larger than memory.

    Methods read the rows when they need them. The source must return the rows in the same order each time.

    Parameters
    ----------
    source : path, URL, list of these, frame, dataset, table of a lake, or object with an Arrow stream
        File (Parquet, Feather or Arrow, CSV and other delimited text, JSON lines, Excel), an open file, or ``"-"`` for
        standard input; a folder of files, read in the order of their names (folders with names like
        ``day=2025-04-26`` become columns of Parquet files); the folder or URL of a Delta table, a
        ``deltalake.DeltaTable``, a ``pyiceberg`` table or scan, or the path of an Iceberg table's ``*.metadata.json``,
        all pinned to their version at this call; a pandas or polars frame, or a polars ``LazyFrame``, which is
        collected in batches in each pass; a dataset; or any object with ``__arrow_c_stream__``, such as a DuckDB
        relation. JSON lines and Excel files are read into memory. Each method reads CSV files once more, to infer the
        dtypes of their columns.
    filesystem : pyarrow.fs.FileSystem or fsspec.AbstractFileSystem, optional
        File system of the paths in `source`. By default they are local paths, or URLs such as ``s3://bucket/folder``
        (also ``gs``, ``abfs``, ``hdfs``, ``file`` and ``memory``), which pyarrow opens with the credentials that it
        finds, or fsspec if pyarrow has no such file system.
    batch_rows : int, optional
        Number of rows that are read at a time, at least 1. By default about 16 MB are read at a time.
    progress : bool, optional
        Whether to show a progress bar. By default it is shown only on a terminal.
    n_jobs : int, optional
        Number of threads for ranks, and for fitting and scoring the default forest; None means all cores. A forest
        that you pass uses its own `n_jobs`.
    sep : str, optional
        Field delimiter of text files. By default it is guessed from the first two rows.
    decimal : str, default="."
        Decimal separator of the numbers in text files.
    thousands : str, optional
        Thousands separator of the numbers in text files. By default there is none.
    missing : str or list of str, optional
        Texts that mean a missing number in text files, in addition to the usual ones such as ``NA``.
    encoding : str, optional
        Encoding of text files. By default UTF-8, or UTF-16 if a file begins with its byte order mark.
    upcast : bool, default=False
        Whether a column may have different dtypes in the files of a folder. If so, all files are read as the narrowest
        dtype that holds their values exactly: int32 and int64 as int64, int32 and float64 as float64, decimals with
        more digits, times with the finer unit. int64 and float64 have no such dtype, and are refused. By default files
        with different dtypes are refused.

    Returns
    -------
    StreamTable
        Table with the methods ``fit``, ``score``, ``write_scores``, ``explain``, ``importance``, ``offset``,
        ``rank_features`` and ``detect``.

    Raises
    ------
    FileNotFoundError
        If the file does not exist, or a folder has no readable files. Methods raise it if a file of a table's version
        was removed since.
    PermissionError, ConnectionError
        If a store denies access, or does not answer.
    ImportError
        If the file system of a URL or the table of a lake needs a package that is not installed.
    ValueError
        If an option is out of range, or a path is part of the folder of a Delta or Iceberg table. Methods raise it if
        the contents cannot be read: a file is damaged, its columns differ from the first file's, a source that can be
        read only once is read again, or the rows of a LazyFrame or a stream change between two passes.
    TypeError
        If rows cannot be read from `source`.

    See Also
    --------
    isoxide.ueba.read_table : Read a table into memory.

    Notes
    -----
    Methods that need scores several times keep them in a temporary file, 8 bytes per row, in the folder that the
    environment variable ``TMPDIR`` names. If a source does not state its number of rows, it is read once more to count
    them.

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
    options = ReadOptions.of(
        sep=sep, decimal=decimal, thousands=thousands, missing=missing, encoding=encoding, upcast=upcast
    )
    if batch_rows is not None and batch_rows < 1:
        raise ValueError(f"batch_rows must be at least 1, got {batch_rows}")
    if filesystem is not None and not isinstance(source, (str, os.PathLike, list, tuple)):
        raise TypeError(f"filesystem is for paths, but source is a {type(source).__name__}; give paths, or only source")
    source = _reopenable(source, filesystem)
    table = StreamTable(source, options, batch_rows=batch_rows, progress=progress, n_jobs=n_jobs)
    if (
        not isinstance(source, (str, os.PathLike, InputFile, Location, list, Source))
        and type(source).__name__ != "DataFrame"
    ):
        # This costs nothing, and refuses an object that is not a table before any other work.
        table._engine(roles_of())
    return table


def _reopenable(source: Any, filesystem: Any = None) -> Any:
    """Return a source that can be opened again; standard input, pipes and open files go to temporary files."""
    if isinstance(source, (str, os.PathLike, Location)):
        opened = reopenable(source, filesystem)
        if isinstance(opened, (Path, Location)):
            # Refuse a folder without files before any other work.
            files_of(opened)
        return opened
    if isinstance(source, (list, tuple)):
        if not source or not all(isinstance(path, (str, os.PathLike, InputFile, Location)) for path in source):
            # `open_source` refuses it with a message.
            return tuple(source)
        known: dict[Any, Any] = {}
        is_alone = len(source) == 1
        items = [
            path if isinstance(path, InputFile) else reopenable(path, filesystem, is_alone=is_alone, known=known)
            for path in source
        ]
        return items[0] if is_alone and isinstance(items[0], Source) else items
    is_table = hasattr(source, "__arrow_c_stream__") or hasattr(source, "iloc") or isinstance(source, Source)
    if not is_table and callable(getattr(source, "read", None)):
        name = getattr(source, "name", None)
        return spool(source, name if isinstance(name, str) else "the file")
    return source


def _source_name(source: Any) -> str:
    """Return the name of a source for its representation."""
    if isinstance(source, (str, os.PathLike, Location)):
        return str(source)
    if isinstance(source, list):
        return f"{len(source)} files and folders"
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else type(source).__name__
