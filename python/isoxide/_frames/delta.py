"""Source for a Delta table, pinned to one version: the `deltalake` package reads the log, pyarrow the Parquet files.

`deltalake` can scan a table too, but in no fixed order of rows, and trees depend on the order. So the log says which
files belong to the version, with their partition values and deletion vectors, and files are read one after the other in
the order of their paths.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import numpy as np
import pyarrow as pa

from isoxide._common.imports import import_optional
from isoxide._common.stores import Location, error_line, store_error, without_secrets
from isoxide._frames.files import InputFile, RemoteFile, open_input
from isoxide._frames.frames import without_view
from isoxide._frames.lakes import LakeSource, plain_url
from isoxide._frames.names import names_without_index
from isoxide._frames.parquet import cast_column, read_parquet
from isoxide._frames.source import ChooseRoles, skip_rows

__all__ = ["DeltaSource", "open_delta"]

#: Newest version of the protocol for readers, and the features of it that are understood here.
_MAX_READER_VERSION = 3
_FEATURES = {
    "columnMapping", "deletionVectors", "timestampNtz", "typeWidening", "typeWidening-preview", "v2Checkpoint",
    "vacuumProtocolCheck", "variantType", "variantType-preview", "variantShredding-preview",
}  # fmt: skip
#: Setting of a table and of its columns that say whether and how they are called otherwise in the files.
_MAPPING, _PHYSICAL_NAME = "delta.columnMapping.mode", "delta.columnMapping.physicalName"


@dataclass(frozen=True)
class _DataFile:
    """Data file of a table: its position, the values of partition columns, and which rows are not deleted."""

    path: str
    n_rows: int | None
    partition: dict[str, Any]
    kept: np.ndarray[Any, np.dtype[np.bool_]] | None


def open_delta(location: Path | Location, roles: ChooseRoles) -> DeltaSource:
    """Open the newest version of the Delta table in a folder.

    Raises
    ------
    ImportError
        If `deltalake` is not installed.
    ValueError
        If the table cannot be opened.
    """
    deltalake = import_optional("deltalake", f"{location} is a Delta table, which", "'isoxide[lakes]'")
    url = plain_url(location, "deltalake")
    try:
        table = deltalake.DeltaTable(url)
    except Exception as error:
        # Errors of a store and of a damaged log have classes of their own.
        name = f"the Delta table {location}"
        told = store_error(name, error, "opened") if isinstance(location, Location) else None
        raise told or ValueError(f"{name} cannot be opened: {error_line(error)}") from error
    return DeltaSource(table, roles, str(location))


class DeltaSource(LakeSource):
    """Delta table at the version that its object has now.

    Parameters
    ----------
    table : deltalake.DeltaTable
        Table to read. Nothing of it is used later, so that it may be updated.
    roles : callable
        Function that checks the names of the columns.
    location : str, optional
        Path or URL of the table in messages. By default it is the one that the table has.

    Raises
    ------
    ValueError
        If the table needs a feature that is not supported, or its log cannot be read.
    """

    def __init__(self, table: Any, roles: ChooseRoles, location: str | None = None) -> None:
        uri = str(table.table_uri).rstrip("/")
        self._root = Path(url2pathname(urlsplit(uri).path)) if uri.startswith("file://") else None
        self._location = location or str(self._root or without_secrets(uri))
        self.table_name = f"the Delta table {self._location}"
        self.version = f"version {table.version()}"
        try:
            metadata, protocol = table.metadata(), table.protocol()
            self._check_features(protocol, metadata.configuration)
            self.identity = {"delta": str(metadata.id)}
            self._describe()
            declared = table.schema()
            schema = pa.schema(declared.to_arrow())
            has_vectors = "deletionVectors" in (protocol.reader_features or ())
            self._files = self._data_files(table, has_vectors)
        except (ValueError, MemoryError):
            raise
        except Exception as error:
            raise self._failed(error) from error
        self._filesystem = None if self._root is not None else _filesystem(table)
        names, notes = names_without_index(schema.names, self.name)
        self.notes += notes
        if metadata.configuration.get(_MAPPING, "none") != "none":
            # The fields of nested values have other names in the files too.
            nested = [
                name for name, dtype in zip(names, schema.types, strict=True) if name and pa.types.is_nested(dtype)
            ]
            names = [None if name in nested else name for name in names]
            self.notes += [
                f"column {name!r} was left out: nested values of a table with renamed columns" for name in nested
            ]
        self._stored = {
            name: str((field.metadata or {}).get(_PHYSICAL_NAME, field.name))
            for name, field in zip(names, declared.fields, strict=True)
            if name is not None
        }
        self._partition_columns = {
            name: stored
            for name, stored in zip(names, schema.names, strict=True)
            if name is not None and stored in metadata.partition_columns
        }
        fields = [field.with_name(name) for name, field in zip(names, schema, strict=True) if name is not None]
        self.schema = pa.schema([field.remove_metadata().with_type(without_view(field.type)) for field in fields])
        self._n_rows: list[int] | None = None
        roles(self.schema.names, self.name)

    def _check_features(self, protocol: Any, configuration: dict[str, str]) -> None:
        name = f"{self.table_name} ({self.version})"
        unknown = sorted(set(protocol.reader_features or ()) - _FEATURES)
        if protocol.min_reader_version > _MAX_READER_VERSION or unknown:
            listed = f"the features {', '.join(unknown)}" if unknown else f"version {protocol.min_reader_version}"
            raise ValueError(
                f"{name} needs {listed} of the Delta protocol, which are not supported here; read it with Spark and "
                "give the frame to isoxide.spark.table, or write it to Parquet"
            )
        mode = configuration.get(_MAPPING, "none")
        if mode not in ("none", "name"):
            raise ValueError(
                f"{name} maps columns by {mode!r}, which is not supported here, only by 'name'; read it with Spark and "
                "give the frame to isoxide.spark.table, or write it to Parquet"
            )

    def _data_files(self, table: Any, has_vectors: bool) -> list[_DataFile]:
        """Return the data files of the version, in the order of their paths."""
        actions = pa.table(table.get_add_actions())
        partitions = actions["partition"].to_pylist() if "partition" in actions.column_names else []
        n_rows = actions["num_records"].to_pylist() if "num_records" in actions.column_names else []
        # Paths in the log are percent-encoded.
        paths = [unquote(path) for path in actions["path"].to_pylist()]
        kept: dict[str, Any] = {}
        if has_vectors:
            vectors = pa.table(table.deletion_vectors())
            for uri, mask in zip(vectors["filepath"].to_pylist(), vectors["selection_vector"], strict=True):
                kept[_local_path(uri)] = mask.values.to_numpy(zero_copy_only=False)
        files = []
        for position, path in enumerate(paths):
            partition = partitions[position] if partitions else {}
            rows = n_rows[position] if n_rows else None
            files.append(_DataFile(path, rows, partition, kept.pop(self._full_path(path, table), None)))
        if kept:
            raise ValueError(f"{self.name} has a deletion vector for {min(kept)}, which is not one of its files")
        return sorted(files, key=lambda file: file.path)

    def _full_path(self, path: str, table: Any) -> str:
        """Return the path or URL of a data file."""
        if "://" in path:
            return _local_path(path)
        if self._root is not None:
            return str(self._root / path)
        return f"{str(table.table_uri).rstrip('/')}/{path}"

    def _paths(self) -> list[str]:
        return [file.path for file in self._files]

    def _open(self, file: _DataFile) -> InputFile:
        if self._root is not None:
            return open_input(self._root / _local_path(file.path))
        if "://" in file.path:
            raise ValueError(f"{self.name} has a file outside its folder, {file.path}, which is not read")
        return RemoteFile(Location(f"{self._location}/{file.path}", self._filesystem, file.path))

    def _rows_per_file(self) -> list[int]:
        """Return the number of rows of each file, without the deleted ones."""
        if self._n_rows is None:
            self._n_rows = [self._n_kept(file) for file in self._files]
        return self._n_rows

    def _n_kept(self, file: _DataFile) -> int:
        n_rows = file.n_rows
        if n_rows is None:
            # The log need not have statistics; the file itself says its number of rows.
            n_rows = sum(batch.num_rows for batch in self._stored_batches(file, [], 0, 1 << 20))
        return n_rows if file.kept is None else n_rows - int(np.count_nonzero(~file.kept))

    def count(self) -> int | None:
        """Return the number of rows according to the log, or to the metadata of files without statistics in the log."""
        return sum(self._rows_per_file())

    def read(self, columns: list[str], first_row: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows of one file after the other, beginning with the row `first_row`."""
        n_rows = self.rows_per_batch(columns)
        schema = pa.schema([self.schema.field(name) for name in columns])
        for file, rows in zip(self._files, self._rows_per_file(), strict=True):
            if first_row >= rows:
                first_row -= rows
                continue
            stored = [self._stored[name] for name in columns if name not in self._partition_columns]
            for batch in self._kept_batches(file, stored, first_row, n_rows):
                if not columns:
                    yield batch
                    continue
                arrays = [self._column(file, batch, field) for field in schema]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)
            first_row = 0

    def _column(self, file: _DataFile, batch: pa.RecordBatch, field: pa.Field) -> pa.Array:
        """Return a column of a batch; one that was added to the table later than the file is missing in all rows."""
        if field.name in self._partition_columns:
            key, stored = self._partition_columns[field.name], self._stored[field.name]
            value = file.partition[key] if key in file.partition else file.partition[stored]
            return pa.repeat(pa.scalar(value, field.type), batch.num_rows)
        stored = self._stored[field.name]
        if stored not in batch.schema.names:
            return pa.nulls(batch.num_rows, field.type)
        return cast_column(batch.column(stored), field.type, field.name, f"{self.name}, file {file.path},")

    def _kept_batches(
        self, file: _DataFile, stored: list[str], first_row: int, n_rows: int
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a file that are not deleted."""
        if file.kept is None:
            yield from self._stored_batches(file, stored, first_row, n_rows)
            return
        yield from skip_rows(self._undeleted(file, file.kept, stored, n_rows), first_row)

    def _undeleted(
        self, file: _DataFile, kept: np.ndarray[Any, np.dtype[np.bool_]], stored: list[str], n_rows: int
    ) -> Iterator[pa.RecordBatch]:
        position = 0
        for batch in self._stored_batches(file, stored, 0, n_rows):
            # The vector may end before the file does; the rows after its end are not deleted.
            mask = np.ones(batch.num_rows, dtype=bool)
            part = kept[position : position + batch.num_rows]
            mask[: len(part)] = part
            position += batch.num_rows
            if mask.all():
                yield batch
            elif batch.num_columns:
                yield batch.filter(pa.array(mask))
            else:
                yield batch.slice(0, int(np.count_nonzero(mask)))

    def _stored_batches(
        self, file: _DataFile, stored: list[str], first_row: int, n_rows: int
    ) -> Iterator[pa.RecordBatch]:
        """Yield all rows of a file, with the columns that it has."""
        try:
            # Old versions of Spark write times as 96-bit integers, which are read in the unit of Delta.
            yield from read_parquet(
                self._open(file), file.n_rows, stored, first_row, n_rows, are_optional=True,
                coerce_int96_timestamp_unit="us",
            )  # fmt: skip
        except FileNotFoundError as error:
            raise self._failed(error) from error


def _filesystem(table: Any) -> Any:
    """Return the table's store as a file system of pyarrow, with the user's own options."""
    import pyarrow.fs
    from deltalake.fs import DeltaStorageHandler

    options = getattr(table, "_storage_options", None)
    return pyarrow.fs.PyFileSystem(DeltaStorageHandler(table.table_uri, options))


def _local_path(uri: str) -> str:
    """Return the path of a URL of this machine; any other text is unchanged."""
    return url2pathname(urlsplit(uri).path) if uri.startswith("file://") else uri
