"""Where rows come from: Parquet files, datasets of pyarrow, and whatever else hands out Arrow data."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

from isoxide._sources._batches import batch_rows, sliced, without_first

_SUFFIXES = (".parquet", ".pq", ".parq")
#: Bytes read from a file at a time.
_BUFFER = 1 << 20


class Source(ABC):
    """Rows in an order that is the same each time they are read."""

    #: What it is called in messages.
    name: str
    schema: pa.Schema
    #: Rows per batch that were asked for; None leaves it to the size of a row.
    batch_rows: int | None = None

    @abstractmethod
    def count(self) -> int | None:
        """The number of rows, if it can be known without reading them."""

    @abstractmethod
    def fingerprint(self) -> Any:
        """What tells this source from another one or a changed one, as far as it can be known; in types of JSON."""

    @abstractmethod
    def read(self, columns: list[str], first_row: int) -> Iterator[pa.RecordBatch]:
        """Batches of some columns from a row on, of any size."""

    def batches(self, columns: Iterable[str], first_row: int = 0) -> Iterator[pa.RecordBatch]:
        """The same, of a size that stays in bounds."""
        columns = list(columns)
        return sliced(self.read(columns, first_row), self.rows_of(columns))

    def rows_of(self, columns: Iterable[str]) -> int:
        """Rows of a batch of these columns."""
        return self.batch_rows or batch_rows(self.schema, columns)


class ParquetFiles(Source):
    """Parquet files, one after the other; the names of folders such as ``day=2025-04-26`` are columns too."""

    def __init__(self, name: str, paths: list[Path], root: Path | None = None) -> None:
        self.name, self.paths = name, paths
        self._partitions = [_partition_keys(path, root) for path in paths]
        self._rows: list[int] = []
        own: pa.Schema | None = None
        for path, keys in zip(paths, self._partitions, strict=True):
            file = _open(path)
            found = file.schema_arrow.remove_metadata()
            if own is None:
                own, first, first_keys = found, path, keys
            _check_drift(path, found, first, own)
            if keys.keys() != first_keys.keys():
                raise ValueError(
                    f"the folders of {path} name {sorted(keys)}, those of {first} name {sorted(first_keys)}"
                )
            self._rows.append(file.metadata.num_rows)
            file.close()
        assert own is not None
        self._own = own
        # Numbers only if all are: 20250426 is one, 2025-04-26 is text.
        fields = [pa.field(key, self._key_type(key)) for key in first_keys if key not in own.names]
        self.schema = pa.schema([*own, *fields])

    def _key_type(self, key: str) -> pa.DataType:
        whole = all(keys[key] is not None and keys[key].lstrip("-").isdigit() for keys in self._partitions)
        return pa.int64() if whole else pa.string()

    def count(self) -> int | None:
        """From the files' own notes."""
        return sum(self._rows)

    def fingerprint(self) -> Any:
        """Names, sizes and rows of the files."""
        return [[path.name, path.stat().st_size, rows] for path, rows in zip(self.paths, self._rows, strict=True)]

    def read(self, columns: list[str], first_row: int) -> Iterator[pa.RecordBatch]:
        """File after file, and of each the groups of rows from where the first row is."""
        n_rows = self.rows_of(columns)
        stored = [name for name in columns if name in self._own.names]
        for path, rows, keys in zip(self.paths, self._rows, self._partitions, strict=True):
            if first_row >= rows:
                first_row -= rows
                continue
            schema = pa.schema([self.schema.field(name) for name in columns])
            for batch in _read_file(path, rows, stored, first_row, n_rows):
                values = {name: batch.column(name) for name in stored}
                arrays = [
                    values[name]
                    if name in values
                    else _repeated(keys[name], self.schema.field(name).type, batch.num_rows)
                    for name in columns
                ]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)
            first_row = 0


def _partition_keys(path: Path, root: Path | None) -> dict[str, Any]:
    if root is None:
        return {}
    folders = path.relative_to(root).parts[:-1]
    pairs = [folder.split("=", 1) for folder in folders if "=" in folder]
    return {key: None if value == "__HIVE_DEFAULT_PARTITION__" else value for key, value in pairs}


def _repeated(value: Any, kind: pa.DataType, n: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, pa.string()).cast(kind), n)


def _open(path: Path) -> Any:
    try:
        # Column by column in pieces, so that a large group of rows is never in memory as a whole.
        return pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> Exception:
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(f"there is no file {path}")
    return ValueError(f"{path} cannot be read as Parquet, it may be truncated: {str(error).strip().splitlines()[0]}")


def _check_drift(path: Path, found: pa.Schema, first: Path, schema: pa.Schema) -> None:
    """Refuses a file whose columns are not those of the first one."""
    for field in schema:
        n = found.names.count(field.name)
        if n != 1:
            there = "no column" if n == 0 else f"{n} columns"
            raise ValueError(f"{path} has {there} {field.name!r}, which {first} has once; all files must have the same")
        if (kind := found.field(field.name).type) != field.type:
            raise ValueError(
                f"column {field.name!r} is {kind} in {path} and {field.type} in {first}; "
                "all files must have the same types"
            )


def _read_file(path: Path, rows: int, columns: list[str], first_row: int, n_rows: int) -> Iterator[pa.RecordBatch]:
    file = _open(path)
    try:
        if file.metadata.num_rows != rows:
            raise ValueError(f"{path} changed while it was read: it has {file.metadata.num_rows} rows, and had {rows}")
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
        yield from without_first(batches, first_row)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    finally:
        file.close()


def _empty_batches(rows: int, n_rows: int) -> Iterator[pa.RecordBatch]:
    """Batches of no columns, which have a number of rows all the same."""
    for start in range(0, rows, n_rows):
        empty = pa.struct([])
        yield pa.RecordBatch.from_struct_array(pa.array([{}] * min(n_rows, rows - start), empty))


class DatasetSource(Source):
    """A dataset of pyarrow, as it reads itself."""

    def __init__(self, dataset: pa.dataset.Dataset) -> None:
        self.dataset, self.name = dataset, "the dataset"
        self.schema = dataset.schema.remove_metadata()
        self._n_rows: int | None = None

    def count(self) -> int | None:
        """As it says."""
        if self._n_rows is None:
            self._n_rows = int(self.dataset.count_rows())
        return self._n_rows

    def fingerprint(self) -> Any:
        """Its files and rows."""
        return [*map(str, getattr(self.dataset, "files", [])), self.count()]

    def read(self, columns: list[str], first_row: int) -> Iterator[pa.RecordBatch]:
        """In its order."""
        # Little ahead: memory counts, and there is a reader ahead of the work anyway.
        scanner = self.dataset.scanner(
            columns=columns, batch_size=self.rows_of(columns), batch_readahead=2, fragment_readahead=1
        )
        try:
            yield from without_first(scanner.to_batches(), first_row)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{self.name} cannot be read: {str(error).strip().splitlines()[0]}") from error


class ArrowStream(Source):
    """Anything that hands out an Arrow stream: relations of DuckDB, frames of polars, DataFusion and pandas, tables."""

    def __init__(self, producer: Any) -> None:
        self.producer = producer
        kind = type(producer)
        self.name = f"the {kind.__module__.split('.')[0]} {kind.__name__}"
        #: Whether it can be read once only.
        self.once = isinstance(producer, pa.RecordBatchReader)
        self._is_read = False
        reader = producer if self.once else pa.RecordBatchReader.from_stream(producer)
        fields = [field.with_type(_without_view(field.type)) for field in reader.schema]
        self.schema = pa.schema(fields)

    def count(self) -> int | None:
        """Known of tables only."""
        return self.producer.num_rows if isinstance(self.producer, pa.Table) else None

    def fingerprint(self) -> Any:
        """Nothing can be known of a stream."""
        return self.name

    def read(self, columns: list[str], first_row: int) -> Iterator[pa.RecordBatch]:
        """From its beginning, each time anew."""
        if self.once and self._is_read:
            raise ValueError(
                f"{self.name} can be read only once, and more than one pass is needed; "
                "write it to Parquet, or give what it comes from (a table, a relation, a dataset)"
            )
        self._is_read = True
        reader = self.producer if self.once else pa.RecordBatchReader.from_stream(self.producer)
        if reader.schema.names != self.schema.names:
            raise ValueError(f"{self.name} changed while it was read: its columns are others now")
        try:
            wanted = pa.schema([self.schema.field(name) for name in columns])
            yield from without_first((batch.select(columns).cast(wanted) for batch in reader), first_row)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{self.name} cannot be read: {str(error).strip().splitlines()[0]}") from error


def _without_view(kind: pa.DataType) -> pa.DataType:
    """The type with the values side by side: of views pyarrow cannot take rows."""
    if pa.types.is_string_view(kind):
        return pa.large_string()
    return pa.large_binary() if pa.types.is_binary_view(kind) else kind


def open_source(source: Any, batch_rows: int | None = None) -> Source:
    """A source of any kind.

    Raises
    ------
    FileNotFoundError
        If a path is nothing, or a folder without Parquet files.
    ValueError
        If a file cannot be read, or has other columns than the first one.
    TypeError
        If it is nothing that rows can be read from.
    """
    if batch_rows is not None and batch_rows < 1:
        raise ValueError(f"batch_rows must be at least 1, got {batch_rows}")
    found = _opened(source)
    found.batch_rows = batch_rows
    repeated = [name for name in found.schema.names if found.schema.names.count(name) > 1]
    if repeated:
        raise ValueError(f"{found.name} has several columns of the name {repeated[0]!r}; rename them")
    return found


def _opened(source: Any) -> Source:
    if isinstance(source, Source):
        return source
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if path.is_dir():
            paths = parquet_files(path)
            if not paths:
                raise FileNotFoundError(f"the folder {path} has no Parquet files ({', '.join(_SUFFIXES)})")
            return ParquetFiles(str(path), paths, path)
        return ParquetFiles(str(path), [path])
    if isinstance(source, (list, tuple)):
        if not source or not all(isinstance(path, (str, os.PathLike)) for path in source):
            raise TypeError("a list as a source must be of paths of Parquet files, at least one")
        return ParquetFiles(f"the {len(source)} files", [Path(path) for path in source])
    if isinstance(source, pa.dataset.Dataset):
        return DatasetSource(source)
    if hasattr(source, "__arrow_c_stream__") and not isinstance(source, (pa.ChunkedArray, pa.Array)):
        return ArrowStream(source)
    raise TypeError(
        f"a source must be a path of Parquet files, a pyarrow dataset, or have an Arrow stream (__arrow_c_stream__), "
        f"not {type(source).__name__}"
    )


def parquet_files(folder: Path) -> list[Path]:
    """The Parquet files in a folder and those below it, in the order of their names; hidden ones and notes left out."""
    found = []
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if (
            path.suffix.lower() in _SUFFIXES
            and not any(part.startswith(("_", ".")) for part in parts)
            and path.is_file()
        ):
            found.append(path)
    return sorted(found, key=lambda path: path.relative_to(folder).parts)
