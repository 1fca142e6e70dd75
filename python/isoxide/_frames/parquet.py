"""Read Parquet files one after the other, in batches of rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from isoxide._frames.files import InputFile
from isoxide._frames.frames import without_view
from isoxide._frames.names import names_without_index, text_names
from isoxide._frames.source import ChooseRoles, Source, first_line, skip_rows
from isoxide._frames.upcast import common_type, unlike_dtypes

__all__ = ["ParquetFiles", "cast_column", "partition_keys", "read_parquet"]

#: Size in bytes of the buffer through which a file is read.
_BUFFER = 1 << 20


class ParquetFiles(Source):
    """Parquet files with the same columns; folders such as ``day=2025-04-26`` become columns."""

    has_declared_types = True

    def __init__(
        self, name: str, files: list[InputFile], roles: ChooseRoles, roots: list[Any], *, upcast: bool = False
    ) -> None:
        self.name, self.files, self.reasons = name, files, {}
        self._partitions = [partition_keys(file, root) for file, root in zip(files, roots, strict=True)]
        self._rows: list[int] = []
        self._page_checksums: Literal["all", "some", "none"] | None = None
        common: pa.Schema | None = None
        #: Dtypes of each column, with the first file of each.
        dtypes: dict[str, dict[pa.DataType, str]] = {}
        for input_file, keys in zip(files, self._partitions, strict=True):
            path = input_file.name
            file = _open(input_file)
            schema = file.schema_arrow.remove_metadata()
            text_names(schema.names, path)
            if common is None:
                common, first, first_keys = schema, path, keys
            _check_columns(path, schema, first, common)
            for column in common.names:
                dtype = schema.field(column).type
                known = dtypes.setdefault(column, {})
                if dtype not in known:
                    known[dtype] = path
                    if common_type(known, upcast=upcast) is None:
                        raise ValueError(unlike_dtypes(column, known, upcast=upcast))
            if keys.keys() != first_keys.keys():
                raise ValueError(
                    f"the folders of {path} name {sorted(keys)}, but those of {first} name {sorted(first_keys)}; "
                    "all files must have the same columns"
                )
            self._rows.append(file.metadata.num_rows)
            file.close(force=True)
        assert common is not None
        columns = [(column, common_type(known, upcast=upcast)) for column, known in dtypes.items()]
        common = pa.schema([common.field(column).with_type(dtype) for column, dtype in columns])
        names, self.notes = names_without_index(common.names, name)
        #: Name of each column in the files.
        self._stored = {
            column: stored for column, stored in zip(names, common.names, strict=True) if column is not None
        }
        fields = [common.field(stored).with_name(column) for column, stored in self._stored.items()]
        # A key is a number only if all of its values are numbers: 20250426 is a number, 2025-04-26 is text.
        keys_as_fields = [pa.field(key, self._key_type(key)) for key in first_keys if key not in self._stored]
        self.schema = pa.schema([*(field.with_type(without_view(field.type)) for field in fields), *keys_as_fields])
        roles(self.schema.names, self.name)

    def _key_type(self, key: str) -> pa.DataType:
        # Values with signs or leading zeros are treated as names, not as numbers.
        texts = [keys[key] for keys in self._partitions]
        are_integers = all(text is not None and text.isdigit() and str(int(text)) == text for text in texts)
        return pa.int64() if are_integers else pa.string()

    def count(self) -> int | None:
        """Return the number of rows according to the metadata of the files."""
        return sum(self._rows)

    def fingerprint(self) -> Any:
        """Return the names, row counts, sizes and modification times of the files."""
        return [
            [Path(file.name).name, rows, *file.fingerprint()] for file, rows in zip(self.files, self._rows, strict=True)
        ]

    def page_checksums(self) -> Literal["all", "some", "none"]:
        """Return how many of the files have checksums of their pages, by the first page of each file."""
        if self._page_checksums is None:
            states = {_has_page_checksum(file) for file in self.files} - {None}
            self._page_checksums = "some" if len(states) == 2 else "none" if False in states else "all"
        return self._page_checksums

    def checksum(self) -> str | None:
        """Return the SHA-256 of the file; for several files, of a list of their checksums and names."""
        if len(self.files) == 1 and self.files[0].name == self.name:
            return self.files[0].checksum()
        lines = "".join(f"{file.checksum()}  {Path(file.name).name}\n" for file in self.files)
        return hashlib.sha256(lines.encode()).hexdigest()

    def read(self, columns: list[str], first_row: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows of one file after the other, beginning with the row `first_row`."""
        n_rows = self.rows_per_batch(columns)
        stored = [name for name in columns if name in self._stored]
        for file, rows, keys in zip(self.files, self._rows, self._partitions, strict=True):
            if first_row >= rows:
                first_row -= rows
                continue
            schema = pa.schema([self.schema.field(name) for name in columns])
            inner = [self._stored[name] for name in stored]
            for batch in read_parquet(file, rows, inner, first_row, n_rows):
                values = {
                    name: cast_column(batch.column(self._stored[name]), schema.field(name).type, name, file.name)
                    for name in stored
                }
                arrays = [
                    values[name]
                    if name in values
                    else _repeated(keys[name], self.schema.field(name).type, batch.num_rows)
                    for name in columns
                ]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)
            first_row = 0


def partition_keys(file: InputFile, root: Any) -> dict[str, Any]:
    """Return the names and values of the folders such as ``day=2025-04-26`` between a root folder and a file."""
    pairs = [folder.split("=", 1) for folder in file.folders_below(root) if "=" in folder]
    # Characters that are not allowed in folder names are percent-encoded.
    return {unquote(key): None if value == "__HIVE_DEFAULT_PARTITION__" else unquote(value) for key, value in pairs}


def _repeated(value: Any, dtype: pa.DataType, n: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, pa.string()).cast(dtype), n)


def _open(file: InputFile, **options: Any) -> Any:
    try:
        # Read columns through small buffers, so that a large row group is never in memory as a whole.
        file.check()
        source = file.path if file.path is not None else file.open()
        return pq.ParquetFile(source, buffer_size=_BUFFER, pre_buffer=False, page_checksum_verification=True, **options)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: InputFile, error: Exception) -> Exception:
    path = file.name
    if (other := file.unreadable(error)) is not None:
        return other
    if isinstance(error, MemoryError) or "bad_alloc" in str(error):
        return MemoryError(f"there is not enough memory to read {path}; read fewer columns, or smaller row groups")
    if "page integrity" in str(error):
        return ValueError(f"{path} is damaged: a page does not match its checksum; copy the file again from its origin")
    return ValueError(f"{path} cannot be read as Parquet; it may be truncated: {first_line(error)}")


#: Bytes of a page header that are read: its first three fields take at most 18 bytes.
_PAGE_HEADER_BYTES = 32
#: Head of a 32-bit integer in Thrift's compact protocol whose number is one above that of the field before it.
_NEXT_INTEGER = 0x15


def _has_page_checksum(file: InputFile) -> bool | None:
    """Return whether the first page of a Parquet file has a checksum, or None if the file has no pages.

    Arrow verifies the checksums that there are, but does not tell whether there are any. A page header is a Thrift
    structure whose first three fields are required integers: the type of the page and its two sizes. The fourth is the
    checksum, which writers may omit.
    """
    parquet = _open(file)
    try:
        metadata = parquet.metadata
        groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
        group = next((group for group in groups if group.num_rows and group.num_columns), None)
    finally:
        parquet.close(force=True)
    if group is None:
        return None
    column = group.column(0)
    try:
        with file.open() as stream:
            stream.seek(column.dictionary_page_offset or column.data_page_offset)
            header = stream.read(_PAGE_HEADER_BYTES)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error
    position = 0
    for _ in range(3):
        if header[position : position + 1] != bytes([_NEXT_INTEGER]):
            return None
        position += 1
        while header[position : position + 1] > b"\x7f":
            position += 1
        position += 1
    return header[position : position + 1] == bytes([_NEXT_INTEGER])


def _check_columns(path: str, other: pa.Schema, first: str, schema: pa.Schema) -> None:
    """Refuse a file that lacks a column of the first file."""
    for column in schema.names:
        n = other.names.count(column)
        if n != 1:
            count = "no column" if n == 0 else f"{n} columns"
            raise ValueError(
                f"{path} has {count} {column!r}, but {first} has one; all files must have the same columns"
            )


def cast_column(column: pa.Array, dtype: pa.DataType, name: str, path: str) -> pa.Array:
    """Cast a column of a file to the dtype that the table has, and refuse a value that would change."""
    try:
        return column.cast(dtype)
    except pa.ArrowException as error:
        raise ValueError(f"column {name!r} of {path} cannot be read as {dtype}: {first_line(error)}") from None


def read_parquet(
    source: InputFile,
    rows: int | None,
    columns: list[str],
    first_row: int = 0,
    n_rows: int = 1 << 16,
    *,
    are_optional: bool = False,
    **options: Any,
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a Parquet file in batches.

    Parameters
    ----------
    source : InputFile
        File to read.
    rows : int or None
        Number of rows that the file must have; None for any number.
    columns : list of str
        Names of the columns in the file.
    first_row : int, default=0
        Row to begin with.
    n_rows : int, default=65536
        Number of rows of a batch.
    are_optional : bool, default=False
        Whether columns that the file lacks are left out of the batches.
    **options : object
        Options of ``pyarrow.parquet.ParquetFile``.

    Raises
    ------
    FileNotFoundError, PermissionError, ConnectionError
        If the file is gone, or its store fails.
    ValueError
        If the file is damaged or has another number of rows.
    """
    file, path = _open(source, **options), source.name
    try:
        if are_optional:
            existing = set(file.schema_arrow.names)
            columns = [column for column in columns if column in existing]
        rows = file.metadata.num_rows if rows is None else rows
        if file.metadata.num_rows != rows:
            raise ValueError(
                f"{path} changed while it was read: it has {file.metadata.num_rows} rows now, but had {rows} before"
            )
        if not columns:
            yield from _empty_batches(rows - first_row, n_rows)
            return
        groups: list[int] = []
        for number in range(file.metadata.num_row_groups):
            size = file.metadata.row_group(number).num_rows
            if groups or first_row < size:
                groups.append(number)
            else:
                first_row -= size
        batches = file.iter_batches(batch_size=n_rows, row_groups=groups, columns=columns)
        yield from skip_rows(batches, first_row)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(source, error) from error
    finally:
        file.close(force=True)


def _empty_batches(rows: int, n_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield batches without columns that keep their number of rows."""
    for start in range(0, rows, n_rows):
        empty = pa.struct([])
        yield pa.RecordBatch.from_struct_array(pa.array([{}] * min(n_rows, rows - start), empty))
