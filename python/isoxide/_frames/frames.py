"""Tables that are in memory already, or hand themselves out as Arrow data."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.dataset

from isoxide._frames.batches import without_first
from isoxide._frames.cells import CellFacts, parse_booleans, parse_numbers
from isoxide._frames.names import is_written_index, text_names
from isoxide._frames.source import ChooseRoles, ReadOptions, Roles, Source, first_line

__all__ = ["ArrowStream", "DatasetSource", "TypedTable", "from_pandas", "from_polars"]


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
        kind = facts.kind
        if kind == "mixed" or (name in roles.numbers and kind == "text"):
            error = facts.refusal(name)
            raise error if error.row is None else error.at(self.place(error.row))
        if facts.n_words and kind != "text":
            self.notes.append(f"column {name!r}: {facts.n_words:,} cells such as {facts.word!r} were read as missing")
        if kind == "text":
            self.reasons[name] = facts.reason()
            return texts
        self._as_written[name] = texts
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
        chosen = self._table.select(columns).slice(first_row)
        if not columns:
            n = self._table.num_rows - first_row
            yield pa.RecordBatch.from_struct_array(pa.array([{}] * n, pa.struct([])))
            return
        yield from chosen.to_batches()

    def table(self) -> pa.Table:
        """Return the table itself."""
        return self._table

    def texts(self, column: str) -> pa.ChunkedArray | None:
        """Return a column as it was written, if it came without a type."""
        return self._as_written.get(column)


def from_pandas(frame: Any, options: ReadOptions, roles: ChooseRoles) -> tuple[TypedTable, Any]:
    """Return a pandas frame as a source, and the frame with plain names and a plain index.

    Columns of numbers are shared, not copied.
    """
    from isoxide._frames.pandas_columns import UNTYPED, arrow_column, index_as_columns, objects_type

    where = "the frame"
    frame, notes = index_as_columns(frame, where)
    names, renamed = text_names(frame.columns, where)
    if list(frame.columns) != names:
        frame = frame.set_axis(names, axis=1)
    columns, untyped, opaque = {}, set(), {}
    for name in names:
        dtype = objects_type(frame[name])
        if isinstance(dtype, pa.OpaqueType) and dtype != UNTYPED:
            opaque[name] = dtype
            columns[name] = pa.nulls(len(frame))
            continue
        if dtype == UNTYPED:
            untyped.add(name)
        columns[name] = arrow_column(frame[name], dtype)
    table = pa.table(columns) if columns else pa.table({})
    source = TypedTable(table, where, untyped=untyped, options=options, roles=roles, notes=[*notes, *renamed])
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
    table = without_views(frame.to_arrow())
    names, notes = text_names(table.column_names, "the frame")
    untyped = {names[table.column_names.index(name)] for name in wide}
    return TypedTable(
        table.rename_columns(names), "the frame", untyped=untyped, options=options, roles=roles, notes=notes
    )


def without_views(table: pa.Table) -> pa.Table:
    """Return a table whose text lies side by side: pyarrow cannot take rows of views."""
    schema = pa.schema([field.with_type(without_view(field.type)) for field in table.schema])
    return table if schema == table.schema else table.cast(schema)


def without_view(dtype: pa.DataType) -> pa.DataType:
    """Return a type with its values side by side."""
    if pa.types.is_string_view(dtype):
        return pa.large_string()
    if pa.types.is_dictionary(dtype):
        return pa.dictionary(dtype.index_type, without_view(dtype.value_type), dtype.ordered)
    return pa.large_binary() if pa.types.is_binary_view(dtype) else dtype


def usable_names(names: list[str], where: str) -> tuple[list[str | None], list[str]]:
    """Return the names of stored columns, None for an index that pandas wrote, and notes on what was changed."""
    kept = [None if is_written_index(name, place) else name for place, name in enumerate(names)]
    labels = [name if name is not None else f"index {place}" for place, name in enumerate(kept)]
    plain, notes = text_names(labels, where)
    result = [None if name is None else plain[place] for place, name in enumerate(kept)]
    if None in result:
        notes.append("the index that pandas wrote beside the columns was left out")
    return result, notes


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
            yield from without_first(batches, first_row)
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
            yield from without_first((_picked(batch, positions, wanted) for batch in reader), first_row)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{self.name} cannot be read: {first_line(error)}") from error


def _picked(batch: pa.RecordBatch, positions: list[int], wanted: pa.Schema) -> pa.RecordBatch:
    if not positions:
        return batch.select([])
    arrays = [batch.column(place) for place in positions]
    return pa.RecordBatch.from_arrays(arrays, names=wanted.names).cast(wanted)
