"""Source for an Iceberg table or scan, pinned to one snapshot: `pyiceberg` plans and reads the files.

`pyiceberg` applies deletes, renamed, added and widened columns. Its own reader of a whole scan reads files on several
threads, all of them into memory if rows are not taken fast enough. So it is asked for one file after the other, in the
order of their paths.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa

from isoxide._common.imports import import_optional
from isoxide._common.stores import Location, error_line, without_secrets
from isoxide._frames.frames import plain_column, without_view
from isoxide._frames.lakes import ICEBERG_METADATA, METADATA_SUFFIX, LakeSource, plain_url
from isoxide._frames.names import names_without_index
from isoxide._frames.source import ChooseRoles, skip_rows

__all__ = ["IcebergSource", "open_iceberg", "open_iceberg_metadata"]

#: File in the metadata of a table without a catalog that names the newest version.
_VERSION_HINT = "version-hint.text"


def open_iceberg(location: Path | Location, roles: ChooseRoles) -> IcebergSource:
    """Open the Iceberg table in a folder at the version that its hint names.

    Raises
    ------
    ImportError
        If `pyiceberg` is not installed.
    ValueError
        If the folder has no hint: then only the table's catalog knows the newest version, since the metadata of a
        change that failed stays in the folder too.
    """
    if not (location / ICEBERG_METADATA / _VERSION_HINT).exists():
        raise ValueError(
            f"{location} is an Iceberg table whose newest version only its catalog knows; give the table that "
            f"pyiceberg.catalog.load_catalog(...).load_table(...) returns, or the path of one of the files "
            f"{ICEBERG_METADATA}/*{METADATA_SUFFIX}"
        )
    return _open_static(location, roles)


def open_iceberg_metadata(location: Path | Location, roles: ChooseRoles) -> IcebergSource:
    """Open an Iceberg table at the version that a file ``*.metadata.json`` describes."""
    return _open_static(location, roles)


def _open_static(location: Path | Location, roles: ChooseRoles) -> IcebergSource:
    module = import_optional("pyiceberg.table", f"{location} is an Iceberg table, which", "'isoxide[lakes]'")
    url = plain_url(location, "pyiceberg")
    try:
        table = module.StaticTable.from_metadata(url)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"the Iceberg table {location} cannot be opened: a file of its metadata is gone"
        ) from None
    except Exception as error:
        raise ValueError(f"the Iceberg table {location} cannot be opened: {error_line(error)}") from error
    return IcebergSource(table, roles, str(location))


class IcebergSource(LakeSource):
    """Iceberg table at the snapshot that its object has now, or the rows of a scan.

    Parameters
    ----------
    source : pyiceberg.table.Table or pyiceberg.table.DataScan
        Table or scan to read. A scan keeps its filter, columns and limit.
    roles : callable
        Function that checks the names of the columns.
    location : str, optional
        Path or URL of the table in messages. By default it is its name in the catalog, or its location.

    Raises
    ------
    ValueError
        If the table has deletes by value or anything else that `pyiceberg` does not read.
    """

    def __init__(self, source: Any, roles: ChooseRoles, location: str | None = None) -> None:
        is_scan = hasattr(source, "plan_files")
        scan = source if is_scan else source.scan()
        identifier = getattr(scan, "table_identifier", None) if is_scan else source.name()
        metadata = scan.table_metadata
        if location is None and (identifier is None or identifier[0] == "static-table"):
            location = without_secrets(str(metadata.location)).removeprefix("file://")
        self.table_name = f"the Iceberg table {location or '.'.join(identifier or ())}"
        snapshot = scan.snapshot()
        self.version = "no snapshot" if snapshot is None else f"snapshot {snapshot.snapshot_id}"
        self._describe(None if snapshot is None else _time_of(snapshot))
        if snapshot is None:
            self.notes = [f"{self.table_name} has no snapshot yet, so it has no rows"]
        self.identity = {"iceberg": str(metadata.table_uuid)}
        if is_scan:
            self.identity |= {
                "filter": str(scan.row_filter), "columns": list(scan.selected_fields), "limit": scan.limit
            }  # fmt: skip
        try:
            self._projection = scan.projection()
            self._tasks = sorted(scan.plan_files(), key=lambda task: str(task.file.file_path))
            schema = self._arrow_schema()
        except Exception as error:
            raise self._failed(error) from error
        self._metadata, self._io = metadata, scan.io
        self._filter, self._is_case_sensitive, self._limit = scan.row_filter, scan.case_sensitive, scan.limit
        names, notes = names_without_index(schema.names, self.name)
        self.notes += notes
        self._stored = {name: stored for name, stored in zip(names, schema.names, strict=True) if name is not None}
        fields = [schema.field(stored).with_name(name) for name, stored in self._stored.items()]
        self.schema = pa.schema([field.remove_metadata().with_type(without_view(field.type)) for field in fields])
        self._n_rows: list[int] | None = None
        roles(self.schema.names, self.name)

    def _arrow_schema(self) -> pa.Schema:
        from pyiceberg.io.pyarrow import schema_to_pyarrow

        return schema_to_pyarrow(self._projection, include_field_ids=False)

    def _paths(self) -> list[str]:
        return [str(task.file.file_path) for task in self._tasks]

    def _rows_per_file(self) -> list[int]:
        """Return the number of rows of each file that belong to the scan."""
        if self._n_rows is None:
            self._n_rows = [self._n_kept(task) for task in self._tasks]
        return self._n_rows

    def _n_kept(self, task: Any) -> int:
        from pyiceberg.expressions import AlwaysTrue

        if task.residual == AlwaysTrue() and not task.delete_files:
            return int(task.file.record_count)
        return sum(batch.num_rows for batch in self._batches_of(task, self.schema.names[:1]))

    def count(self) -> int | None:
        """Return the number of rows according to the metadata; files with deletes or a filter are read."""
        n_rows = sum(self._rows_per_file())
        return n_rows if self._limit is None else min(n_rows, int(self._limit))

    def read(self, columns: list[str], first_row: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows of one file after the other, beginning with the row `first_row`."""
        remaining = max((self.count() or 0) - first_row, 0)
        for task, rows in zip(self._tasks, self._rows_per_file(), strict=True):
            if first_row >= rows:
                first_row -= rows
                continue
            n_read = 0
            for batch in skip_rows(self._batches_of(task, columns or self.schema.names[:1]), first_row):
                taken = batch.slice(0, min(batch.num_rows, remaining))
                n_read += batch.num_rows
                remaining -= taken.num_rows
                yield taken if columns else taken.select([])
                if not remaining:
                    return
            if n_read != rows - first_row:
                raise ValueError(
                    f"{self.name} cannot be read: {task.file.file_path} has {n_read + first_row} rows, but the "
                    f"metadata says {rows}"
                )
            first_row = 0

    def _batches_of(self, task: Any, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of one file that belong to the scan."""
        from pyiceberg.io.pyarrow import ArrowScan

        stored = [self._stored[name] for name in columns]
        schema = pa.schema([self.schema.field(name) for name in columns])
        try:
            projected = self._projection.select(*stored, case_sensitive=True)
            reader = ArrowScan(self._metadata, self._io, projected, self._filter, self._is_case_sensitive)
            for batch in reader.to_record_batches([task]):
                arrays = [
                    plain_column(batch.column(name), dtype) for name, dtype in zip(stored, schema.types, strict=True)
                ]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)
        except Exception as error:
            raise self._failed(error) from error


def _time_of(snapshot: Any) -> str:
    """Return when a snapshot was committed, in UTC."""
    return datetime.fromtimestamp(snapshot.timestamp_ms / 1000, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
