"""Sources for Python objects: pandas and polars frames, Arrow tables, datasets and Arrow streams."""

from __future__ import annotations

import copy
import hashlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
from numpy.typing import NDArray

from isoxide._frames.cells import CellFacts, parse_booleans, parse_numbers
from isoxide._frames.names import names_without_index
from isoxide._frames.passes import PassRecord
from isoxide._frames.source import TEXT_PREFIX, ChooseRoles, ReadOptions, Roles, Source, first_line, skip_rows

#: Maximum number of rows of a table in memory whose values identify it.
_SAMPLED_ROWS = 1000
#: Number of rows of a pandas frame that are converted to one Arrow batch.
_BATCH_ROWS = 1 << 18

__all__ = ["ArrowStream", "DatasetSource", "PandasSource", "TableSource", "from_pandas", "from_polars"]


class TableSource(Source):
    """Arrow table in which some text columns may have no declared dtype.

    Parameters
    ----------
    table : pyarrow.Table
        Table to read.
    name : str
        Name of the table in messages.
    untyped : set of str
        Names of the text columns whose dtype follows from their cells.
    options : ReadOptions
        Options for numbers.
    roles : callable
        Function that assigns roles to the columns.
    notes : list of str
        Notes about the table so far.
    fingerprint : object, optional
        Value that identifies the table. By default it is its name with a hash of some of its rows.
    """

    def __init__(
        self,
        table: pa.Table,
        name: str,
        *,
        untyped: set[str],
        options: ReadOptions,
        roles: ChooseRoles,
        notes: list[str],
        fingerprint: Any = None,
    ) -> None:
        self.name, self.notes, self.reasons = name, list(notes), {}
        self._fingerprint = fingerprint
        column_roles = roles(table.column_names, name)
        self._as_written: dict[str, pa.ChunkedArray] = {}
        self._facts: dict[str, CellFacts] = {}
        for position, column in enumerate(table.column_names):
            if column in untyped:
                table = table.set_column(position, column, self._typed(table[column], column, column_roles, options))
        self._table, self.schema = table, table.schema

    def _typed(self, texts: pa.ChunkedArray, name: str, roles: Roles, options: ReadOptions) -> pa.ChunkedArray:
        if name in roles.texts or name in roles.ignored:
            return texts
        facts = CellFacts(style=options.numbers)
        if len(texts):
            facts.update(texts, 0)
        self._facts[name] = facts
        category = facts.category
        if category == "mixed" or (name in roles.numbers and category == "text"):
            error = facts.refusal(name)
            raise error if error.row is None else error.at(self.locate(error.row))
        if facts.n_missing_texts and category != "text":
            self.notes.append(
                f"column {name!r}: {facts.n_missing_texts:,} cells such as {facts.missing_text!r} were read as missing"
            )
        if category in ("text", "empty"):
            self.reasons[name] = facts.reason() if category == "text" else "no values"
        if category == "text":
            return texts
        self.written = {**self.written, name: TEXT_PREFIX + name}
        self._as_written[TEXT_PREFIX + name] = texts
        if category == "booleans":
            return pa.chunked_array([parse_booleans(chunk, options.numbers) for chunk in texts.chunks], pa.bool_())
        chunks = [parse_numbers(chunk, options.numbers)[0] for chunk in texts.chunks]
        return pa.chunked_array(chunks, pa.float64())

    def count(self) -> int | None:
        """Return the number of rows."""
        return int(self._table.num_rows)

    def fingerprint(self) -> Any:
        """Return the fingerprint that was passed to the constructor, or a hash of some rows of a table in memory."""
        if self._fingerprint is not None:
            return self._fingerprint
        rows = sampled_rows(self.count() or 0)
        return [self.name, self.count(), hash_of({name: self._sampled(name, rows) for name in self.schema.names})]

    def _sampled(self, name: str, rows: NDArray[np.int64]) -> pa.ChunkedArray:
        return self._table[name].take(pa.array(rows))

    def read(self, columns: list[str], first_row: int) -> Iterator[pa.RecordBatch]:
        """Yield batches of the rows in their order."""
        if not columns:
            n = (self.count() or 0) - first_row
            yield pa.RecordBatch.from_struct_array(pa.array([{}] * n, pa.struct([])))
            return
        yield from pa.table({name: self.column(name) for name in columns}).slice(first_row).to_batches()

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a column; for a name with `TEXT_PREFIX`, return the original text of the column's numbers."""
        return self._as_written[name] if name in self._as_written else self._table[name]

    def table(self) -> pa.Table:
        """Return the Arrow table without a copy."""
        return self._table

    def cell_facts(self, column: str) -> CellFacts | None:
        """Return what is known about the cells of a column, or None if it was not inspected."""
        return self._facts.get(column)

    def keep_as_text(self, column: str, reason: str) -> None:
        """Treat a column as text although all its cells are numbers, since other files have text in it."""
        position, texts = self.schema.get_field_index(column), self._as_written.get(TEXT_PREFIX + column)
        if texts is not None:
            self._table = self._table.set_column(position, column, texts)
            self.schema = self._table.schema
        self.written = {name: text for name, text in self.written.items() if name != column}
        self.reasons[column] = reason


class PandasSource(TableSource):
    """Pandas frame. Its columns with NumPy dtypes are not copied, but converted in batches of rows.

    Parameters
    ----------
    frame : pandas.DataFrame
        Frame to read.
    numpy_types : dict of str to pyarrow.DataType
        Arrow dtypes of the columns with NumPy dtypes, by name.
    **arguments
        Arguments of `TableSource` for all other columns.
    """

    def __init__(self, frame: Any, numpy_types: dict[str, pa.DataType], **arguments: Any) -> None:
        super().__init__(**arguments)
        self._frame, self._numpy_types = frame, numpy_types
        fields = [
            pa.field(name, numpy_types[name]) if name in numpy_types else self.schema.field(name)
            for name in frame.columns
        ]
        self.schema = pa.schema(fields)

    def count(self) -> int | None:
        """Return the number of rows."""
        return len(self._frame)

    def read(self, columns: list[str], first_row: int) -> Iterator[pa.RecordBatch]:
        """Yield batches of the rows in their order."""
        from isoxide._frames.pandas_columns import arrow_column

        if not self._numpy_types.keys() & set(columns):
            yield from super().read(columns, first_row)
            return
        arrow_columns = {name: self.column(name) for name in columns if name not in self._numpy_types}
        for start in range(first_row, len(self._frame), _BATCH_ROWS):
            rows = self._frame.iloc[start : start + _BATCH_ROWS]
            arrays = [
                arrow_columns[name].slice(start, _BATCH_ROWS).combine_chunks()
                if name in arrow_columns
                else arrow_column(rows[name], self._numpy_types[name])
                for name in columns
            ]
            yield pa.RecordBatch.from_arrays(arrays, names=columns)

    def _sampled(self, name: str, rows: NDArray[np.int64]) -> pa.ChunkedArray:
        from isoxide._frames.pandas_columns import arrow_column

        if name not in self._numpy_types:
            return super()._sampled(name, rows)
        return pa.chunked_array([arrow_column(self._frame[name].iloc[rows], self._numpy_types[name])])

    def table(self) -> pa.Table:
        """Return all rows and columns, read in batches."""
        return Source.table(self)

    def arrow_table(self) -> pa.Table:
        """Return the Arrow table of all columns except those with NumPy dtypes."""
        return self._table


def from_pandas(frame: Any, options: ReadOptions, roles: ChooseRoles) -> tuple[TableSource, Any]:
    """Return a source for a pandas frame, and the same frame with text as names and a default index.

    Columns with NumPy dtypes are shared with the frame, not copied.
    """
    from isoxide._frames.pandas_columns import (
        UNTYPED,
        arrow_column,
        declared_type,
        index_as_columns,
        is_numpy_number,
        key_column,
        objects_type,
    )

    source_name = "the frame"
    frame, notes = index_as_columns(frame, source_name)
    labels, renamed = names_without_index(list(frame.columns), source_name)
    names = [name for name in labels if name is not None]
    if None in labels:
        frame = frame.iloc[:, [position for position, name in enumerate(labels) if name is not None]]
    if list(frame.columns) != names:
        frame = frame.set_axis(names, axis=1)
    column_roles = roles(names, source_name)
    columns, untyped, opaque, numpy_types = {}, set(), {}, {}
    for name in names:
        if name not in column_roles.texts and is_numpy_number(frame[name].dtype):
            numpy_types[name] = declared_type(frame[name])
            continue
        if name in column_roles.texts:
            columns[name] = key_column(frame[name], name)
            continue
        dtype = objects_type(frame[name])
        if isinstance(dtype, pa.OpaqueType) and dtype != UNTYPED:
            opaque[name] = dtype
            columns[name] = pa.ExtensionArray.from_storage(dtype, pa.nulls(len(frame), dtype.storage_type))
            continue
        if dtype == UNTYPED:
            untyped.add(name)
        columns[name] = arrow_column(frame[name], dtype)
    source = PandasSource(
        frame,
        numpy_types,
        table=pa.table(columns),
        name=source_name,
        untyped=untyped,
        options=options,
        roles=lambda *_: column_roles,
        notes=[*notes, *renamed],
    )
    for name, dtype in opaque.items():
        source.reasons[name] = "objects" if dtype.type_name == "object" else dtype.type_name
    return source, frame


def from_polars(frame: Any, options: ReadOptions, roles: ChooseRoles) -> TableSource:
    """Return a source for a polars frame; 128-bit integers, which Arrow lacks, are read from their digits."""
    polars = sys.modules["polars"]
    wide = [
        name for name, dtype in zip(frame.columns, frame.dtypes, strict=True) if str(dtype) in ("Int128", "UInt128")
    ]
    if wide:
        frame = frame.with_columns(polars.col(wide).cast(polars.String))
    table, notes = plain_table(frame.to_arrow(), "the frame")
    return TableSource(table, "the frame", untyped=set(wide), options=options, roles=roles, notes=notes)


def sampled_rows(n_rows: int) -> NDArray[np.int64]:
    """Return evenly spaced row numbers by whose values a table is recognised."""
    return np.linspace(0, max(n_rows - 1, 0), min(n_rows, _SAMPLED_ROWS)).astype(np.int64)


def hash_of(columns: dict[str, pa.ChunkedArray]) -> str:
    """Return the SHA-256 of the names, dtypes and values of columns; only some values of nested columns count."""
    digest = hashlib.sha256()
    for name, column in columns.items():
        digest.update(repr((name, str(column.type))).encode())
        if len(column):
            digest.update(column.combine_chunks().to_string(window=len(column)).encode())
    return digest.hexdigest()


def plain_table(table: pa.Table, source_name: str) -> tuple[pa.Table, list[str]]:
    """Return a table without view dtypes and without an index that pandas wrote, and notes on the changes."""
    names, notes = names_without_index(table.column_names, source_name)
    positions = [position for position, name in enumerate(names) if name is not None]
    named = [name for name in names if name is not None]
    return without_views(table.replace_schema_metadata().select(positions).rename_columns(named)), notes


def without_views(table: pa.Table) -> pa.Table:
    """Return a table without view dtypes, whose rows pyarrow's ``take`` cannot select."""
    schema = pa.schema([field.with_type(without_view(field.type)) for field in table.schema])
    if schema == table.schema:
        return table
    columns = [plain_column(column, dtype) for column, dtype in zip(table.columns, schema.types, strict=True)]
    return pa.table(columns, schema=schema)


def plain_column(column: pa.Array | pa.ChunkedArray, dtype: pa.DataType) -> pa.Array | pa.ChunkedArray:
    """Return a column cast to `dtype`, the result of `without_view` for its dtype."""
    if pa.types.is_run_end_encoded(column.type):
        column = pc.run_end_decode(column)
    return column if column.type == dtype else column.cast(dtype)


def without_view(dtype: pa.DataType) -> pa.DataType:
    """Return a dtype for the same values without views and run-end encoding."""
    if pa.types.is_run_end_encoded(dtype):
        return without_view(dtype.value_type)
    if pa.types.is_string_view(dtype):
        return pa.large_string()
    if pa.types.is_dictionary(dtype):
        return pa.dictionary(dtype.index_type, without_view(dtype.value_type), dtype.ordered)
    return pa.large_binary() if pa.types.is_binary_view(dtype) else dtype


class DatasetSource(Source):
    """Dataset of pyarrow, which its own scanner reads."""

    has_declared_types = True

    def __init__(self, dataset: pa.dataset.Dataset, roles: ChooseRoles) -> None:
        self.dataset, self.name, self.reasons = dataset, "the dataset", {}
        names, self.notes = names_without_index(dataset.schema.names, self.name)
        self._stored = {name: stored for name, stored in zip(names, dataset.schema.names, strict=True) if name}
        fields = [dataset.schema.field(stored).with_name(name) for name, stored in self._stored.items()]
        self.schema = pa.schema([field.with_type(without_view(field.type)) for field in fields])
        roles(self.schema.names, self.name)
        self._n_rows: int | None = None

    def _scan_options(self) -> dict[str, Any]:
        """Return options with which Parquet files are read as the user chose, and their checksums verified."""
        chosen = getattr(getattr(self.dataset, "format", None), "default_fragment_scan_options", None)
        if not isinstance(chosen, pa.dataset.ParquetFragmentScanOptions):
            return {}
        options = copy.copy(chosen)
        options.page_checksum_verification = True
        return {"fragment_scan_options": options}

    def count(self) -> int | None:
        """Return the number of rows, which pyarrow counts."""
        if self._n_rows is None:
            self._n_rows = int(self.dataset.count_rows())
        return self._n_rows

    def fingerprint(self) -> Any:
        """Return the names, sizes and modification times of the files, and the number of rows."""
        files = list(getattr(self.dataset, "files", []))
        states = self.dataset.filesystem.get_file_info(files) if files else []
        return [*([state.path, state.size, state.mtime_ns] for state in states), self.count()]

    def read(self, columns: list[str], first_row: int) -> Iterator[pa.RecordBatch]:
        """Yield batches of the rows in the order of the dataset."""
        # The scanner reads little ahead, to save memory, since the prefetcher already reads ahead.
        scanner = self.dataset.scanner(
            columns=[self._stored[name] for name in columns],
            batch_size=self.rows_per_batch(columns),
            batch_readahead=2,
            fragment_readahead=1,
            **self._scan_options(),
        )
        schema = pa.schema([self.schema.field(name) for name in columns])
        try:
            batches = (
                batch.rename_columns(columns).cast(schema) if columns else batch for batch in scanner.to_batches()
            )
            yield from skip_rows(batches, first_row)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{self.name} cannot be read: {first_line(error)}") from error


class ArrowStream(Source):
    """Object with an Arrow stream, such as a DuckDB relation, a pyarrow table or a DataFusion frame."""

    has_declared_types = True

    def __init__(self, producer: Any, roles: ChooseRoles) -> None:
        self.producer, self.reasons = producer, {}
        cls = type(producer)
        self.name = f"the {cls.__module__.split('.')[0]} {cls.__name__}"
        #: Whether the object can be read only once.
        self.once = isinstance(producer, pa.RecordBatchReader)
        self._is_read = self._has_rows = False
        self._passes = PassRecord(
            self.name, "sort it by a unique key if the order is not fixed, or write it to Parquet first"
        )
        schema = self._schema()
        self._names = schema.names
        names, self.notes = names_without_index(self._names, self.name)
        self._positions = {name: position for position, name in enumerate(names) if name is not None}
        fields = [schema.field(position).with_name(name) for name, position in self._positions.items()]
        self.schema = pa.schema([field.with_type(without_view(field.type)) for field in fields])
        roles(self.schema.names, self.name)

    def count(self) -> int | None:
        """Return the number of rows, or None for objects other than tables."""
        return self.producer.num_rows if isinstance(self.producer, pa.Table) else None

    def fingerprint(self) -> Any:
        """Return the name and the columns, since nothing else is known about a stream before it is read."""
        columns = [[field.name, str(field.type)] for field in self.schema]
        if not isinstance(self.producer, pa.Table):
            return [self.name, columns]
        rows = sampled_rows(self.producer.num_rows)
        sample = {f"{k}": column.take(pa.array(rows)) for k, column in enumerate(self.producer.columns)}
        return [self.name, columns, self.producer.num_rows, hash_of(sample)]

    def read(self, columns: list[str], first_row: int) -> Iterator[pa.RecordBatch]:
        """Yield batches of the rows from a new stream of the object."""
        reader = self._next_reader()
        positions = [self._positions[name] for name in columns]
        schema = pa.schema([self.schema.field(name) for name in columns])
        current = self._passes.begin(schema)

        def batches() -> Iterator[pa.RecordBatch]:
            for batch in reader:
                selected = _selected(batch, positions, schema)
                if not isinstance(self.producer, pa.Table):
                    current.update(selected)
                yield selected

        try:
            yield from skip_rows(batches(), first_row)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{self.name} cannot be read: {first_line(error)}") from error
        if isinstance(self.producer, pa.Table):
            return
        if self._has_rows and not current.n_rows:
            # Some objects that can be read only once give another stream, but without rows.
            raise self._read_before()
        self._has_rows = current.n_rows > 0
        current.finish()

    def _schema(self) -> pa.Schema:
        """Return the names and types of the columns, if possible without a stream, which may be the only one."""
        if self.once:
            return self.producer.schema
        if hasattr(self.producer, "__arrow_c_schema__"):
            return pa.schema(self.producer)
        # The stream is not kept, since some connections allow only one at a time.
        return pa.RecordBatchReader.from_stream(self.producer).schema

    def _next_reader(self) -> Any:
        """Return a new stream of the object."""
        if self.once and self._is_read:
            raise self._read_before()
        if self.once:
            self._is_read = True
            return self.producer
        try:
            reader = pa.RecordBatchReader.from_stream(self.producer)
        except Exception as error:
            # Exporters raise exceptions of any class, and these may be about something else.
            raise self._read_before(first_line(error)) from error
        self._is_read = True
        if reader.schema.names != self._names:
            raise ValueError(f"{self.name} changed while it was read: its columns are different now")
        return reader

    def _read_before(self, reason: str | None = None) -> ValueError:
        if reason is None:
            return ValueError(
                f"{self.name} can be read only once, but more than one pass is needed; "
                "write it to Parquet, or pass its origin (a table, a relation, a dataset)"
            )
        return ValueError(
            f"{self.name} gave no further stream of its rows: {reason}; if it can be read only once, write it to "
            "Parquet, or pass its origin (a table, a relation, a dataset), or for a single pass "
            "pyarrow.RecordBatchReader.from_stream(...) of it"
        )


def _selected(batch: pa.RecordBatch, positions: list[int], schema: pa.Schema) -> pa.RecordBatch:
    if not positions:
        return batch.select([])
    arrays = [
        plain_column(batch.column(position), dtype) for position, dtype in zip(positions, schema.types, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
