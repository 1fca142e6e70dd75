"""Open any object that holds a table as a `Source`, by the same rules for memory, batches and engines."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pyarrow.feather

from isoxide._common.stores import Location
from isoxide._frames import files
from isoxide._frames.cells import BadCellError, CellFacts
from isoxide._frames.delimited import DelimitedFile
from isoxide._frames.delta import DeltaSource, open_delta
from isoxide._frames.documents import json_lines, spreadsheet
from isoxide._frames.dtypes import arrow_family
from isoxide._frames.files import InputFile, file_format
from isoxide._frames.frames import (
    ArrowStream,
    DatasetSource,
    TableSource,
    from_pandas,
    from_polars,
    plain_table,
)
from isoxide._frames.header import header_names
from isoxide._frames.iceberg import IcebergSource, open_iceberg, open_iceberg_metadata
from isoxide._frames.lakes import METADATA_SUFFIX, find_lake, refuse_lakes
from isoxide._frames.lazyframes import LazyFrameSource
from isoxide._frames.parquet import ParquetFiles, cast_column, partition_keys
from isoxide._frames.source import TEXT_PREFIX, ChooseRoles, ReadOptions, Roles, Source, first_line
from isoxide._frames.upcast import common_type, unlike_dtypes

__all__ = ["column_names", "files_of", "open_source", "reopenable"]


def _default_roles(names: list[str], source_name: str) -> Roles:
    return Roles()


def open_source(
    source: Any,
    batch_rows: int | None = None,
    *,
    options: ReadOptions | None = None,
    roles: ChooseRoles = _default_roles,
) -> Source:
    """Open a table as a source of rows.

    Parameters
    ----------
    source : path, list of paths, file object, frame, dataset, table of a lake or object with an Arrow stream
        Object that holds the rows; ``"-"`` is standard input.
    batch_rows : int, optional
        Number of rows per batch, at least 1. By default a batch has about 16 MB.
    options : ReadOptions, optional
        Options for reading text.
    roles : callable, optional
        Function that gets the column names and the table's name, and returns the roles or raises an error.

    Raises
    ------
    FileNotFoundError
        If a path does not exist, or is a folder without readable files.
    ValueError
        If a file cannot be read, or its columns differ from those of the first file.
    TypeError
        If rows cannot be read from the object.
    """
    if batch_rows is not None and batch_rows < 1:
        raise ValueError(f"batch_rows must be at least 1, got {batch_rows}")
    opened = _source_of(source, options or ReadOptions(), roles)
    if batch_rows is not None:
        opened.batch_rows = batch_rows
    return opened


def _source_of(source: Any, options: ReadOptions, roles: ChooseRoles) -> Source:
    if isinstance(source, Source):
        roles(source.schema.names, source.name)
        return source
    if isinstance(source, (str, os.PathLike, Location)):
        return _path_source(source, options, roles)
    if isinstance(source, InputFile):
        return _file_source(source, options, roles)
    if isinstance(source, (list, tuple)):
        if not source or not all(isinstance(path, (str, os.PathLike, InputFile, Location)) for path in source):
            raise TypeError(
                "source is an empty list, or holds something other than paths; give a list of at least one path"
            )
        known: dict[Any, Any] = {}
        opened = [
            path if isinstance(path, InputFile) else reopenable(path, is_alone=len(source) == 1, known=known)
            for path in source
        ]
        if isinstance(opened[0], Source):
            return _source_of(opened[0], options, roles)
        inputs = [file for path in opened for file in _inputs(path)]
        return _files_source(inputs, f"the {len(inputs)} files", options, roles)
    if isinstance(source, pa.dataset.Dataset):
        return DatasetSource(source, roles)
    cls = type(source)
    package = cls.__module__.split(".")[0]
    if package == "polars" and cls.__name__ == "LazyFrame":
        return LazyFrameSource(source, roles)
    if package == "deltalake" and cls.__name__ == "DeltaTable":
        return DeltaSource(source, roles)
    # Scans of changes have no snapshot, and are refused.
    if package == "pyiceberg" and hasattr(source, "snapshot" if hasattr(source, "plan_files") else "scan"):
        return IcebergSource(source, roles)
    if hasattr(source, "iloc") and hasattr(source, "columns"):
        return from_pandas(source, options, roles)[0]
    if package == "polars" and cls.__name__ == "DataFrame":
        return from_polars(source, options, roles)
    if hasattr(source, "__arrow_c_stream__") and cls.__name__ not in ("Series", "ChunkedArray"):
        return ArrowStream(source, roles)
    if hasattr(source, "read") and callable(source.read):
        name = getattr(source, "name", None)
        file = files.spool(source, name if isinstance(name, str) else "the file")
        return _file_source(file, options, roles)
    raise TypeError(
        "source must be a path, a list of paths, an open file, a pandas or polars frame, a pyarrow dataset, a Delta or "
        f"Iceberg table, or have an Arrow stream (__arrow_c_stream__), not {cls.__name__}"
    )


def column_names(source: Any, options: ReadOptions | None = None) -> list[str]:
    """Return the column names of a table; only the header of a text file is read."""
    options = options or ReadOptions()
    if isinstance(source, (list, tuple)) and source:
        source = source[0]
    if isinstance(source, (str, os.PathLike, Location)):
        if (lake := _open_lake(source, _default_roles)) is not None:
            return list(lake.schema.names)
        source = files_of(source)[0]
    if isinstance(source, InputFile):
        format_name, compression = file_format(source)
        if format_name == "csv":
            return header_names(source, compression, options)
    return list(_source_of(source, options, _default_roles).schema.names)


def _path_source(path: Any, options: ReadOptions, roles: ChooseRoles) -> Source:
    if (lake := _open_lake(path, roles)) is not None:
        return lake
    if not files.is_folder(path):
        return _file_source(files.open_input(path), options, roles)
    return _files_source(_inputs(path), str(files.location_of(path)), options, roles)


def reopenable(path: Any, filesystem: Any = None, *, is_alone: bool = True, known: dict[Any, Any] | None = None) -> Any:
    """Return a path in a form that can be opened for each pass, and has the same rows each time.

    A folder of files stays a location, and the table of a lake becomes a source that is pinned to its newest version.
    Other files are opened; standard input and pipes go to temporary files.

    Parameters
    ----------
    path : path, URL or Location
        File or folder.
    filesystem : pyarrow or fsspec file system, optional
        File system of the path. By default a URL names it.
    is_alone : bool, default=True
        Whether the path is the only one; the table of a lake is not read together with files.
    known : dict, optional
        Tables of which the folders of other files are parts.
    """
    if str(path) == "-":
        return files.open_input(path)
    location = files.location_of(path, filesystem)
    if (lake := _open_lake(location, _default_roles, known)) is not None:
        if not is_alone:
            raise ValueError(f"{lake.name} is read alone, but other files are given too; give one of them")
        return lake
    return location if files.is_folder(location) else files.open_input(location)


def _open_lake(path: Any, roles: ChooseRoles, known: dict[Any, Any] | None = None) -> Source | None:
    """Open the table of a lake if the path is its folder, or a file that describes a version of an Iceberg table.

    Parameters
    ----------
    path : path, URL or Location
        File or folder.
    roles : callable
        Function that checks the names of the columns.
    known : dict, optional
        Tables of which the folders of other files are parts.

    Raises
    ------
    ValueError
        If the path is in the folder of such a table: its files may hold rows that the table has removed.
    """
    if str(path) == "-":
        return None
    location = files.location_of(path)
    if str(location).endswith(METADATA_SUFFIX):
        return open_iceberg_metadata(location, roles)
    # In a store each file would cost requests.
    if isinstance(location, Location) and not location.is_dir():
        return None
    lake = find_lake(location, known)
    if lake is None:
        return None
    format_name, folder = lake
    if folder != location:
        raise ValueError(
            f"{location} belongs to the {format_name} table {folder}, and may hold rows that the table has removed; "
            "give the table's folder"
        )
    if format_name == "Delta":
        return open_delta(location, roles)
    if format_name == "Iceberg":
        return open_iceberg(location, roles)
    raise ValueError(f"{location} is a {format_name} table, which is not read; write its rows to Parquet with Spark")


def files_of(path: Any) -> list[InputFile]:
    """Return the files of a folder, or a list with the single file."""
    return [file for file, _ in _inputs(path)]


def _inputs(path: Any) -> list[tuple[InputFile, Path | Location | None]]:
    """Return pairs of a file and its root folder; the root of a single file is None."""
    if isinstance(path, InputFile):
        return [(path, None)]
    if not files.is_folder(path):
        return [(files.open_input(path), None)]
    folder = files.location_of(path)
    paths = table_files(folder)
    if not paths:
        raise FileNotFoundError(f"the folder {folder} has no files that can be read; give {files.READABLE_FILES}")
    return [(files.open_input(path), folder) for path in paths]


def _files_source(
    inputs: list[tuple[InputFile, Path | Location | None]], name: str, options: ReadOptions, roles: ChooseRoles
) -> Source:
    formats = Counter(file_format(file)[0] for file, _ in inputs)
    notes = [note for root in dict.fromkeys(root for _, root in inputs) if (note := _passed_over(root))]
    if formats.keys() == {"parquet"}:
        roots = [root for _, root in inputs]
        source = ParquetFiles(name, [file for file, _ in inputs], roles, roots, upcast=options.upcast)
        source.notes += notes
        return source
    if len(formats) > 1:
        listed = ", ".join(f"{n} {format_name}" for format_name, n in sorted(formats.items()))
        notes.append(f"files of several formats were read one after the other: {listed}")
    keys = {key for file, root in inputs for key in partition_keys(file, root)}
    if keys:
        notes.append(
            "the folders' names did not become columns, since not all files are Parquet: "
            f"{', '.join(map(repr, sorted(keys)))}"
        )
    sources, options = [], replace(options, keeps_rows=False)
    for file, _ in inputs:
        try:
            sources.append(_file_source(file, options, roles))
        except BadCellError as error:
            raise error.at(f"{error.location} of {file.name}") from None
    joined = JoinedSource(name, sources, upcast=options.upcast)
    joined.notes += notes
    return joined


def _passed_over(root: Path | Location | None) -> str | None:
    """Return a note about the files of a folder that are not read, apart from text and hidden files."""
    names = [] if root is None else [PurePosixPath(path.name).name for path in _passed_over_files(root)]
    if not names:
        return None
    listed = ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"{len(names)} files of the folder have formats that are not read: {listed}"


def _file_source(file: InputFile, options: ReadOptions, roles: ChooseRoles) -> Source:
    format_name, compression = file_format(file)
    if format_name == "parquet":
        return ParquetFiles(file.name, [file], roles, [None])
    if format_name == "csv":
        return DelimitedFile(file, compression, options, roles)
    if format_name == "jsonl":
        return json_lines(file, compression, options, roles)
    if format_name == "xlsx":
        return spreadsheet(file, options, roles)
    return _arrow_source(file, options, roles)


class ArrowFile(TableSource):
    """Table of a file in Arrow's own format."""

    file: InputFile

    def checksum(self) -> str | None:
        """Return the SHA-256 of the file's bytes."""
        return self.file.checksum()


def _arrow_source(file: InputFile, options: ReadOptions, roles: ChooseRoles) -> Source:
    try:
        with file.open() as stream:
            if file.head(6) == b"ARROW1":
                table = pa.ipc.open_file(stream).read_all()
            else:
                table = pa.ipc.open_stream(stream).read_all()
    except (pa.ArrowException, OSError) as error:
        raise file.unreadable(error) or ValueError(
            f"{file.name} cannot be read; it may be damaged or truncated: {first_line(error)}"
        ) from error
    table, notes = plain_table(table, file.name)
    source = ArrowFile(
        table, file.name, untyped=set(), options=options, roles=roles, notes=notes,
        fingerprint=[file.name, table.num_rows, *file.fingerprint()],
    )  # fmt: skip
    source.file = file
    return source


def table_files(folder: Path | Location) -> list[Any]:
    """Return the readable files in a folder and its subfolders, sorted by name, without hidden files."""
    return [path for path, suffix in _visible_files(folder) if suffix in files.FORMATS and suffix != ".txt"]


def _passed_over_files(folder: Path | Location) -> list[Any]:
    """Return the files in a folder that look like tables of another format."""
    return [path for path, suffix in _visible_files(folder) if suffix not in {*files.FORMATS, *_NOTES}]


#: Suffixes of files in a folder that are usually notes about its tables.
_NOTES = (".txt", ".md", ".crc", ".log", ".html")


def _visible_files(folder: Path | Location) -> list[tuple[Any, str]]:
    """Return the files in a folder and its subfolders that are not hidden, sorted by name, and their suffixes."""
    listed: list[tuple[tuple[str, ...], Any]]
    if isinstance(folder, Location):
        listed = [(path.parts_below(folder), path) for path in folder.files()]
    else:
        listed = sorted((path.relative_to(folder).parts, path) for path in folder.rglob("*") if path.is_file())
    refuse_lakes(folder, (parts for parts, _ in listed))
    paths = []
    for parts, path in listed:
        suffixes = [suffix.lower() for suffix in path.suffixes]
        if suffixes and suffixes[-1] in files.COMPRESSIONS:
            suffixes.pop()
        if not any(part.startswith(("_", ".")) for part in parts):
            paths.append((path, suffixes[-1] if suffixes else ""))
    return paths


def _joined_notes(sources: list[Source]) -> list[str]:
    """Return the notes of all sources; a note that not all sources have begins with the name of its file."""
    notes = []
    for source in sources:
        for note in source.notes:
            is_common = all(note in other.notes for other in sources)
            notes.append(note if is_common else f"{Path(source.name).name}: {note}")
    return list(dict.fromkeys(notes))


class JoinedSource(Source):
    """Several sources with the same columns, read one after the other."""

    def __init__(self, name: str, sources: list[Source], *, upcast: bool = False) -> None:
        self.name, self.sources, self._upcast = name, sources, upcast
        first = sources[0]
        self.notes = _joined_notes(sources)
        self.reasons = {}
        fields = []
        for column in first.schema.names:
            fields.append(pa.field(column, self._dtype_of(column)))
        for source in sources[1:]:
            for column in source.schema.names:
                if column not in first.schema.names:
                    raise ValueError(
                        f"{source.name} has a column {column!r}, but {first.name} does not; "
                        "all files must have the same columns"
                    )
        self.schema = pa.schema(fields)
        written_in_all = set.intersection(*(set(source.written) for source in sources))
        self.written = {column: TEXT_PREFIX + column for column in written_in_all}
        counts = [source.count() for source in sources]
        self._rows = [n for n in counts if n is not None]
        assert len(self._rows) == len(sources)

    def _dtype_of(self, column: str) -> pa.DataType:
        self._decide_by_all_cells(column)
        dtypes: dict[pa.DataType, str] = {}
        for source in self.sources:
            if column not in source.schema.names:
                raise ValueError(
                    f"{source.name} has no column {column!r}, but {self.sources[0].name} does; "
                    "all files must have the same columns"
                )
            dtype = source.schema.field(column).type
            reason = source.reasons.get(column)
            if reason is not None:
                self.reasons.setdefault(column, reason)
            # A column without values agrees with any dtype.
            if reason != "no values" and not pa.types.is_null(dtype):
                dtypes.setdefault(dtype, source.name)
        if dtypes and (common := common_type(dtypes, upcast=self._upcast)) is not None:
            self._forget_no_values(column)
            return common
        if dtypes:
            numbers = [dtype for dtype in dtypes if arrow_family(dtype) in ("integer", "float")]
            if len(numbers) == len(dtypes):
                self.reasons.pop(column, None)
                return pa.float64()
            for dtype in numbers[1:]:
                del dtypes[dtype]
            raise ValueError(unlike_dtypes(column, dtypes, upcast=self._upcast))
        return self.sources[0].schema.field(column).type

    def _forget_no_values(self, column: str) -> None:
        """Drop the reason "no values", which holds for some files only."""
        if self.reasons.get(column) == "no values":
            del self.reasons[column]

    def _decide_by_all_cells(self, column: str) -> None:
        """Use the cells of all files to decide the dtype of a column that is text in only some files."""
        facts = [counts for source in self.sources if (counts := source.cell_facts(column)) is not None]
        is_text_in_file = {counts.category == "text" for counts in facts if counts.category != "empty"}
        if len(facts) < len(self.sources) or len(is_text_in_file) < 2:
            return
        total = CellFacts(style=facts[0].style)
        for counts in facts:
            total.merge(counts)
        first = next(index for index, counts in enumerate(facts) if counts.bad is not None)
        total.bad, total.bad_row = facts[first].bad, facts[first].bad_row
        if total.category != "text":
            assert total.bad_row is not None
            source = self.sources[first]
            raise total.refusal(column).at(f"{source.locate(total.bad_row)} of {source.name}")
        for source in self.sources:
            source.keep_as_text(column, total.reason())

    def count(self) -> int | None:
        """Return the number of rows of all sources."""
        return sum(self._rows)

    def fingerprint(self) -> Any:
        """Return the fingerprints of all sources."""
        return [source.fingerprint() for source in self.sources]

    def read(self, columns: list[str], first_row: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows of one source after the other."""
        schema = pa.schema(
            [
                pa.field(name, pa.string()) if name.startswith(TEXT_PREFIX) else self.schema.field(name)
                for name in columns
            ]
        )
        for source, rows in zip(self.sources, self._rows, strict=True):
            if first_row >= rows:
                first_row -= rows
                continue
            for batch in source.read(columns, first_row):
                if columns:
                    arrays = [cast_column(batch[field.name], field.type, field.name, source.name) for field in schema]
                    batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
                yield batch
            first_row = 0

    def locate(self, row: int) -> str:
        """Return the position of a row in its file, and the name of the file."""
        for source, rows in zip(self.sources, self._rows, strict=True):
            if row < rows:
                return f"{source.locate(row)} of {source.name}"
            row -= rows
        return super().locate(row)

    def checksum(self) -> str | None:
        """Return the SHA-256 of a list of the files' checksums and names."""
        lines = "".join(f"{source.checksum()}  {Path(source.name).name}\n" for source in self.sources)
        return hashlib.sha256(lines.encode()).hexdigest()
