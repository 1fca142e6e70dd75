"""Tables that are in memory already, or hand themselves out as Arrow data."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset

from isoxide._frames.cells import CellFacts, parse_booleans, parse_numbers
from isoxide._frames.dtypes import is_text
from isoxide._frames.names import usable_names
from isoxide._frames.source import TEXT_PREFIX, ChooseRoles, ReadOptions, Roles, Source, first_line, skip_rows

#: Rows of a frame that are looked at at a time.
_PIECE = 1 << 18

__all__ = ["ArrowStream", "DatasetSource", "PandasTable", "TypedTable", "from_pandas", "from_polars"]


class TypedTable(Source):
    """An Arrow table, of which some columns may be cells without a declared type, held as text."""

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
        self._fingerprint = name if fingerprint is None else fingerprint
        chosen = roles(table.column_names, name)
        self._as_written: dict[str, pa.ChunkedArray] = {}
        self._facts: dict[str, CellFacts] = {}
        for position, column in enumerate(table.column_names):
            if column in untyped:
                table = table.set_column(position, column, self._judged(table[column], column, chosen, options))
        self._table, self.schema = table, table.schema

    def _judged(self, texts: pa.ChunkedArray, name: str, roles: Roles, options: ReadOptions) -> pa.ChunkedArray:
        if name in roles.texts or name in roles.ignored:
            return texts
        facts = CellFacts(style=options.numbers)
        if len(texts):
            facts.update(texts, 0)
        self._facts[name] = facts
        kind = facts.kind
        if kind == "mixed" or (name in roles.numbers and kind == "text"):
            error = facts.refusal(name)
            raise error if error.row is None else error.at(self.place(error.row))
        if facts.n_words and kind != "text":
            self.notes.append(f"column {name!r}: {facts.n_words:,} cells such as {facts.word!r} were read as missing")
        if kind in ("text", "empty"):
            self.reasons[name] = facts.reason() if kind == "text" else "no values"
        if kind == "text":
            return texts
        self.written = {**self.written, name: TEXT_PREFIX + name}
        self._as_written[TEXT_PREFIX + name] = texts
        if kind == "booleans":
            return pa.chunked_array([parse_booleans(piece, options.numbers) for piece in texts.chunks], pa.bool_())
        pieces = [parse_numbers(piece, options.numbers)[0] for piece in texts.chunks]
        return pa.chunked_array(pieces, pa.float64())

    def count(self) -> int | None:
        """Return the number of rows."""
        return int(self._table.num_rows)

    def fingerprint(self) -> Any:
        """Return what its maker knows of it."""
        return self._fingerprint

    def read(self, columns: list[str], first_row: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows in their order."""
        if not columns:
            n = (self.count() or 0) - first_row
            yield pa.RecordBatch.from_struct_array(pa.array([{}] * n, pa.struct([])))
            return
        yield from pa.table({name: self.column(name) for name in columns}).slice(first_row).to_batches()

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a column, or with `TEXT_PREFIX` the text it was read from."""
        return self._as_written[name] if name in self._as_written else self._table[name]

    def table(self) -> pa.Table:
        """Return the table itself."""
        return self._table

    def facts(self, column: str) -> CellFacts | None:
        """Return what the cells of a column are, if they were judged."""
        return self._facts.get(column)

    def leave_as_text(self, column: str, reason: str) -> None:
        """Keep a column as text, since other files have text in it."""
        position, texts = self.schema.get_field_index(column), self._as_written.get(TEXT_PREFIX + column)
        if texts is not None:
            self._table = self._table.set_column(position, column, texts)
            self.schema = self._table.schema
        self.written = {name: text for name, text in self.written.items() if name != column}
        self.reasons[column] = reason


class PandasTable(TypedTable):
    """A pandas frame, whose columns of plain numbers are read where they are, some rows at a time."""

    def __init__(self, frame: Any, types: dict[str, pa.DataType], **more: Any) -> None:
        super().__init__(**more)
        self._frame, self._plain = frame, types
        fields = [pa.field(name, types[name]) if name in types else self.schema.field(name) for name in frame.columns]
        self.schema = pa.schema(fields)

    def count(self) -> int | None:
        """Return the number of rows."""
        return len(self._frame)

    def read(self, columns: list[str], first_row: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows in their order."""
        from isoxide._frames.pandas_columns import arrow_column

        if not self._plain.keys() & set(columns):
            yield from super().read(columns, first_row)
            return
        others = [name for name in columns if name not in self._plain]
        rest = pa.table({name: self.column(name) for name in others}) if others else None
        for start in range(first_row, len(self._frame), _PIECE):
            piece = self._frame.iloc[start : start + _PIECE]
            found = {} if rest is None else dict(zip(others, rest.slice(start, _PIECE).columns, strict=True))
            arrays = [
                found[name].combine_chunks() if name in found else arrow_column(piece[name], self._plain[name])
                for name in columns
            ]
            yield pa.RecordBatch.from_arrays(arrays, names=columns)

    def table(self) -> pa.Table:
        """Return all rows and columns."""
        return Source.table(self)

    def held(self) -> pa.Table:
        """Return the columns that are not plain numbers."""
        return self._table


def from_pandas(frame: Any, options: ReadOptions, roles: ChooseRoles) -> tuple[TypedTable, Any]:
    """Return a pandas frame as a source, and the frame with plain names and a plain index.

    Columns of numbers are shared, not copied.
    """
    from isoxide._frames.pandas_columns import (
        UNTYPED,
        arrow_column,
        declared_type,
        index_as_columns,
        is_plain,
        key_column,
        objects_type,
    )

    where = "the frame"
    frame, notes = index_as_columns(frame, where)
    labels, renamed = usable_names(list(frame.columns), where)
    names = [name for name in labels if name is not None]
    if None in labels:
        frame = frame.iloc[:, [place for place, name in enumerate(labels) if name is not None]]
    if list(frame.columns) != names:
        frame = frame.set_axis(names, axis=1)
    chosen = roles(names, where)
    columns, untyped, opaque, plain = {}, set(), {}, {}
    for name in names:
        if name not in chosen.texts and is_plain(frame[name].dtype):
            plain[name] = declared_type(frame[name])
            continue
        if name in chosen.texts:
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
    source = PandasTable(
        frame,
        plain,
        table=pa.table(columns),
        name=where,
        untyped=untyped,
        options=options,
        roles=lambda *_: chosen,
        notes=[*notes, *renamed],
    )
    for name, dtype in opaque.items():
        source.reasons[name] = "objects" if dtype.type_name == "object" else dtype.type_name
    return source, frame


def from_polars(frame: Any, options: ReadOptions, roles: ChooseRoles) -> TypedTable:
    """Return a polars frame as a source; integers of 128 bits, which Arrow lacks, go by way of their digits."""
    polars = sys.modules["polars"]
    wide = [
        name for name, dtype in zip(frame.columns, frame.dtypes, strict=True) if str(dtype) in ("Int128", "UInt128")
    ]
    if wide:
        frame = frame.with_columns(polars.col(wide).cast(polars.String))
    table, notes = plain_table(frame.to_arrow(), "the frame")
    return TypedTable(table, "the frame", untyped=set(wide), options=options, roles=roles, notes=notes)


def plain_table(table: pa.Table, where: str) -> tuple[pa.Table, list[str]]:
    """Return a table without views and without what pandas wrote of an index, and notes on what was changed."""
    names, notes = usable_names(table.column_names, where)
    kept = [place for place, name in enumerate(names) if name is not None]
    named = [name for name in names if name is not None]
    return without_views(table.replace_schema_metadata().select(kept).rename_columns(named)), notes


def same_type(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Return the type of a column that has these in two files; None if they differ in more than how text is stored."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    return pa.large_string() if is_text(one) and is_text(other) else None


def without_views(table: pa.Table) -> pa.Table:
    """Return a table whose text lies side by side: pyarrow cannot take rows of views."""
    schema = pa.schema([field.with_type(without_view(field.type)) for field in table.schema])
    if schema == table.schema:
        return table
    columns = [plain_column(column, dtype) for column, dtype in zip(table.columns, schema.types, strict=True)]
    return pa.table(columns, schema=schema)


def plain_column(column: pa.Array | pa.ChunkedArray, dtype: pa.DataType) -> pa.Array | pa.ChunkedArray:
    """Return a column in the type that `without_view` gives for its own."""
    if pa.types.is_run_end_encoded(column.type):
        column = pc.run_end_decode(column)
    return column if column.type == dtype else column.cast(dtype)


def without_view(dtype: pa.DataType) -> pa.DataType:
    """Return a type with its values side by side."""
    if pa.types.is_run_end_encoded(dtype):
        return without_view(dtype.value_type)
    if pa.types.is_string_view(dtype):
        return pa.large_string()
    if pa.types.is_dictionary(dtype):
        return pa.dictionary(dtype.index_type, without_view(dtype.value_type), dtype.ordered)
    return pa.large_binary() if pa.types.is_binary_view(dtype) else dtype


class DatasetSource(Source):
    """A dataset of pyarrow, as it reads itself."""

    def __init__(self, dataset: pa.dataset.Dataset, roles: ChooseRoles) -> None:
        self.dataset, self.name, self.reasons = dataset, "the dataset", {}
        names, self.notes = usable_names(dataset.schema.names, self.name)
        self._stored = {name: stored for name, stored in zip(names, dataset.schema.names, strict=True) if name}
        fields = [dataset.schema.field(stored).with_name(name) for name, stored in self._stored.items()]
        self.schema = pa.schema([field.with_type(without_view(field.type)) for field in fields])
        roles(self.schema.names, self.name)
        self._n_rows: int | None = None

    def count(self) -> int | None:
        """Return the number of rows, as the dataset counts them."""
        if self._n_rows is None:
            self._n_rows = int(self.dataset.count_rows())
        return self._n_rows

    def fingerprint(self) -> Any:
        """Return its files and the number of rows."""
        return [*map(str, getattr(self.dataset, "files", [])), self.count()]

    def read(self, columns: list[str], first_row: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows in the order of the dataset."""
        # Little ahead: memory counts, and there is a reader ahead of the work anyway.
        scanner = self.dataset.scanner(
            columns=[self._stored[name] for name in columns], batch_size=self.rows_of(columns), batch_readahead=2,
            fragment_readahead=1,
        )  # fmt: skip
        wanted = pa.schema([self.schema.field(name) for name in columns])
        try:
            batches = (
                batch.rename_columns(columns).cast(wanted) if columns else batch for batch in scanner.to_batches()
            )
            yield from skip_rows(batches, first_row)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{self.name} cannot be read: {first_line(error)}") from error


class ArrowStream(Source):
    """Anything that hands out an Arrow stream: relations of DuckDB, tables, frames of DataFusion."""

    def __init__(self, producer: Any, roles: ChooseRoles) -> None:
        self.producer, self.reasons = producer, {}
        kind = type(producer)
        self.name = f"the {kind.__module__.split('.')[0]} {kind.__name__}"
        #: Whether it can be read once only.
        self.once = isinstance(producer, pa.RecordBatchReader)
        self._is_read = False
        reader = producer if self.once else pa.RecordBatchReader.from_stream(producer)
        self._names = reader.schema.names
        names, self.notes = usable_names(self._names, self.name)
        self._positions = {name: place for place, name in enumerate(names) if name is not None}
        fields = [reader.schema.field(place).with_name(name) for name, place in self._positions.items()]
        self.schema = pa.schema([field.with_type(without_view(field.type)) for field in fields])
        roles(self.schema.names, self.name)

    def count(self) -> int | None:
        """Return the number of rows, which only tables know."""
        return self.producer.num_rows if isinstance(self.producer, pa.Table) else None

    def fingerprint(self) -> Any:
        """Return its name: nothing else is known of a stream."""
        return self.name

    def read(self, columns: list[str], first_row: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows from the beginning of the stream, each time anew."""
        if self.once and self._is_read:
            raise ValueError(
                f"{self.name} can be read only once, and more than one pass is needed; "
                "write it to Parquet, or give what it comes from (a table, a relation, a dataset)"
            )
        self._is_read = True
        reader = self.producer if self.once else pa.RecordBatchReader.from_stream(self.producer)
        if reader.schema.names != self._names:
            raise ValueError(f"{self.name} changed while it was read: its columns are others now")
        positions = [self._positions[name] for name in columns]
        wanted = pa.schema([self.schema.field(name) for name in columns])
        try:
            yield from skip_rows((_picked(batch, positions, wanted) for batch in reader), first_row)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{self.name} cannot be read: {first_line(error)}") from error


def _picked(batch: pa.RecordBatch, positions: list[int], wanted: pa.Schema) -> pa.RecordBatch:
    if not positions:
        return batch.select([])
    arrays = [plain_column(batch.column(place), dtype) for place, dtype in zip(positions, wanted.types, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=wanted)
