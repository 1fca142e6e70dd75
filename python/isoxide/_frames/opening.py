"""One way in: whatever holds a table becomes a source, by the same rules for memory, batches and engines."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pyarrow.feather

from isoxide._frames import files
from isoxide._frames.cells import BadCellError, CellFacts
from isoxide._frames.delimited import DelimitedFile
from isoxide._frames.documents import json_lines, spreadsheet
from isoxide._frames.dtypes import is_text
from isoxide._frames.files import InputFile, kind_of
from isoxide._frames.frames import (
    ArrowStream,
    DatasetSource,
    TypedTable,
    from_pandas,
    from_polars,
    plain_table,
)
from isoxide._frames.header import header_names
from isoxide._frames.parquet import ParquetFiles
from isoxide._frames.source import TEXT_PREFIX, ChooseRoles, ReadOptions, Roles, Source, first_line

__all__ = ["column_names", "files_of", "open_source"]


def _no_roles(names: list[str], where: str) -> Roles:
    return Roles()


def open_source(
    source: Any,
    batch_rows: int | None = None,
    *,
    options: ReadOptions | None = None,
    roles: ChooseRoles = _no_roles,
) -> Source:
    """Return a source of any kind.

    Parameters
    ----------
    source : path, list of paths, file object, frame, dataset or object with an Arrow stream
        What has the rows; ``"-"`` is standard input.
    batch_rows : int, optional
        Rows of a batch; by default as many as make about 16 MB.
    options : ReadOptions, optional
        How text is read.
    roles : callable, optional
        Says what columns are wanted for, given their names; it may refuse.

    Raises
    ------
    FileNotFoundError
        If a path is nothing, or a folder without files of tables.
    ValueError
        If a file cannot be read, or has other columns than the first one.
    TypeError
        If it is nothing that rows can be read from.
    """
    if batch_rows is not None and batch_rows < 1:
        raise ValueError(f"batch_rows must be at least 1, got {batch_rows}")
    found = _opened(source, options or ReadOptions(), roles)
    if batch_rows is not None:
        found.batch_rows = batch_rows
    return found


def _opened(source: Any, options: ReadOptions, roles: ChooseRoles) -> Source:
    if isinstance(source, Source):
        return source
    if isinstance(source, (str, os.PathLike)):
        return _from_path(source, options, roles)
    if isinstance(source, InputFile):
        return _from_file(source, options, roles)
    if isinstance(source, (list, tuple)):
        if not source or not all(isinstance(path, (str, os.PathLike, InputFile)) for path in source):
            raise TypeError("a list as a source must be of paths, at least one")
        found = [file for path in source for file in _inputs(path)]
        return _from_files(found, f"the {len(found)} files", options, roles)
    if isinstance(source, pa.dataset.Dataset):
        return DatasetSource(source, roles)
    kind = type(source)
    package = kind.__module__.split(".")[0]
    if package == "polars" and kind.__name__ == "LazyFrame":
        raise TypeError("source is a LazyFrame, which has no rows yet; call collect() first")
    if hasattr(source, "iloc") and hasattr(source, "columns"):
        return from_pandas(source, options, roles)[0]
    if package == "polars" and kind.__name__ == "DataFrame":
        return from_polars(source, options, roles)
    if hasattr(source, "__arrow_c_stream__") and kind.__name__ not in ("Series", "ChunkedArray"):
        return ArrowStream(source, roles)
    if hasattr(source, "read") and callable(source.read):
        name = getattr(source, "name", None)
        file = files.spooled(source, name if isinstance(name, str) else "the file")
        return _from_file(file, options, roles)
    raise TypeError(
        "source must be a path, a list of paths, an open file, a frame of pandas or polars, a pyarrow dataset, or have "
        f"an Arrow stream (__arrow_c_stream__), not {kind.__name__}"
    )


def column_names(source: Any, options: ReadOptions | None = None) -> list[str]:
    """Return the names of the columns of a table; a text file is read as far as its header."""
    options = options or ReadOptions()
    if isinstance(source, (list, tuple)) and source:
        source = source[0]
    if isinstance(source, (str, os.PathLike)):
        source = files_of(source)[0]
    if isinstance(source, InputFile):
        kind, compression = kind_of(source)
        if kind == "csv":
            return header_names(source, compression, options)
    return list(_opened(source, options, _no_roles).schema.names)


def _from_path(path: str | os.PathLike[str], options: ReadOptions, roles: ChooseRoles) -> Source:
    folder = files.local_path(path)
    if str(path) == "-" or not folder.is_dir():
        return _from_file(files.opened(path), options, roles)
    return _from_files(_inputs(path), str(folder), options, roles)


def files_of(path: str | os.PathLike[str] | InputFile) -> list[InputFile]:
    """Return a file, or those of a folder."""
    return [file for file, _ in _inputs(path)]


def _inputs(path: str | os.PathLike[str] | InputFile) -> list[tuple[InputFile, Path | None]]:
    """Return a file, or those of a folder with the folder."""
    if isinstance(path, InputFile):
        return [(path, None)]
    folder = files.local_path(path)
    if str(path) == "-" or not folder.is_dir():
        return [(files.opened(path), None)]
    paths = table_files(folder)
    if not paths:
        raise FileNotFoundError(f"the folder {folder} has no files of tables ({files.WANTED})")
    return [(files.opened(found), folder) for found in paths]


def _from_files(
    inputs: list[tuple[InputFile, Path | None]], name: str, options: ReadOptions, roles: ChooseRoles
) -> Source:
    if {kind_of(file)[0] for file, _ in inputs} == {"parquet"}:
        return ParquetFiles(name, [file for file, _ in inputs], roles, [root for _, root in inputs])
    sources, options = [], replace(options, keeps_rows=False)
    for file, _ in inputs:
        try:
            sources.append(_from_file(file, options, roles))
        except BadCellError as error:
            raise error.at(f"{error.place} of {file.name}") from None
    return Joined(name, sources)


def _from_file(file: InputFile, options: ReadOptions, roles: ChooseRoles) -> Source:
    kind, compression = kind_of(file)
    if kind == "parquet":
        return ParquetFiles(file.name, [file], roles, [None])
    if kind == "csv":
        return DelimitedFile(file, compression, options, roles)
    if kind == "jsonl":
        return json_lines(file, compression, options, roles)
    if kind == "xlsx":
        return spreadsheet(file, options, roles)
    return _from_arrow(file, options, roles)


class ArrowFile(TypedTable):
    """The table of a file in Arrow's own format."""

    file: InputFile

    def checksum(self) -> str | None:
        """Return the SHA-256 of the file's bytes."""
        return self.file.checksum()


def _from_arrow(file: InputFile, options: ReadOptions, roles: ChooseRoles) -> Source:
    try:
        with file.open() as stream:
            if file.head(6) == b"ARROW1":
                table = pa.ipc.open_file(stream).read_all()
            else:
                table = pa.ipc.open_stream(stream).read_all()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{file.name} cannot be read, it may be damaged or truncated: {first_line(error)}") from error
    table, notes = plain_table(table, file.name)
    source = ArrowFile(
        table, file.name, untyped=set(), options=options, roles=roles, notes=notes,
        fingerprint=[file.name, file.size, table.num_rows],
    )  # fmt: skip
    source.file = file
    return source


def table_files(folder: Path) -> list[Path]:
    """Return the files of tables in a folder and those below it, in the order of their names; hidden ones left out."""
    found = []
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        suffixes = [suffix.lower() for suffix in path.suffixes]
        if suffixes and suffixes[-1] in files.COMPRESSIONS:
            suffixes.pop()
        # Notes lie beside tables as .txt.
        is_table = bool(suffixes) and suffixes[-1] in files.KINDS and suffixes[-1] != ".txt"
        if is_table and not any(part.startswith(("_", ".")) for part in parts) and path.is_file():
            found.append(path)
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


def _joined_notes(sources: list[Source]) -> list[str]:
    """Return the notes of all sources; one that not all have names its file."""
    notes = []
    for source in sources:
        for note in source.notes:
            is_common = all(note in other.notes for other in sources)
            notes.append(note if is_common else f"{Path(source.name).name}: {note}")
    return list(dict.fromkeys(notes))


class Joined(Source):
    """Several sources with the same columns, one after the other."""

    def __init__(self, name: str, sources: list[Source]) -> None:
        self.name, self.sources = name, sources
        first = sources[0]
        self.notes = _joined_notes(sources)
        self.reasons = {}
        fields = []
        for column in first.schema.names:
            fields.append(pa.field(column, self._type_of(column)))
        for source in sources[1:]:
            for column in source.schema.names:
                if column not in first.schema.names:
                    raise ValueError(
                        f"{source.name} has a column {column!r} and {first.name} has not; all files must have the same"
                    )
        self.schema = pa.schema(fields)
        in_all = set.intersection(*(set(source.written) for source in sources))
        self.written = {column: TEXT_PREFIX + column for column in in_all}
        counts = [source.count() for source in sources]
        self._rows = [n for n in counts if n is not None]
        assert len(self._rows) == len(sources)

    def _type_of(self, column: str) -> pa.DataType:
        self._judge_together(column)
        found: dict[pa.DataType, str] = {}
        for source in self.sources:
            if column not in source.schema.names:
                raise ValueError(
                    f"{source.name} has no column {column!r}, which {self.sources[0].name} has; "
                    "all files must have the same"
                )
            dtype = source.schema.field(column).type
            reason = source.reasons.get(column)
            if reason is not None:
                self.reasons.setdefault(column, reason)
            # A column without values fits any other.
            if reason != "no values" and not pa.types.is_null(dtype):
                found.setdefault(dtype, source.name)
        if len(found) > 1 and all(map(is_text, found)):
            self._has_values(column)
            return pa.large_string()
        if len(found) > 1 and all(pa.types.is_integer(one) or pa.types.is_floating(one) for one in found):
            self.reasons.pop(column, None)
            return pa.float64()
        if len(found) > 1:
            (one, there), (other, here), *_ = found.items()
            raise ValueError(
                f"column {column!r} is {one} in {there} and {other} in {here}; all files must have the same types"
            )
        if found:
            self._has_values(column)
            return next(iter(found))
        return self.sources[0].schema.field(column).type

    def _has_values(self, column: str) -> None:
        if self.reasons.get(column) == "no values":
            del self.reasons[column]

    def _judge_together(self, column: str) -> None:
        """Decide about a column that is text in some files and not in others by the cells of all."""
        facts = [source.facts(column) for source in self.sources]
        known = [one for one in facts if one is not None]
        if len(known) < len(facts) or len({one.kind == "text" for one in known if one.kind != "empty"}) < 2:
            return
        together = CellFacts(style=known[0].style)
        for one in known:
            together.merge(one)
        first = next(place for place, one in enumerate(known) if one.bad is not None)
        together.bad, together.bad_row = known[first].bad, known[first].bad_row
        if together.kind != "text":
            assert together.bad_row is not None
            source = self.sources[first]
            raise together.refusal(column).at(f"{source.place(together.bad_row)} of {source.name}")
        for source in self.sources:
            source.leave_as_text(column, together.reason())

    def count(self) -> int | None:
        """Return the number of rows of all."""
        return sum(self._rows)

    def fingerprint(self) -> Any:
        """Return what is known of each."""
        return [source.fingerprint() for source in self.sources]

    def read(self, columns: list[str], first_row: int) -> Iterator[pa.RecordBatch]:
        """Yield source after source."""
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
                yield batch.cast(schema) if columns else batch
            first_row = 0

    def place(self, row: int) -> str:
        """Return the file of a row, and where it stands in it."""
        for source, rows in zip(self.sources, self._rows, strict=True):
            if row < rows:
                return f"{source.place(row)} of {source.name}"
            row -= rows
        return super().place(row)

    def checksum(self) -> str | None:
        """Return the SHA-256 of the files' checksums and names, one below the other."""
        lines = "".join(f"{source.checksum()}  {Path(source.name).name}\n" for source in self.sources)
        return hashlib.sha256(lines.encode()).hexdigest()
