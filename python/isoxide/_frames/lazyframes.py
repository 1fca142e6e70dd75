"""Source for a polars `LazyFrame`, whose query runs anew for each pass, in batches."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from isoxide._frames.frames import plain_column, without_view
from isoxide._frames.names import names_without_index
from isoxide._frames.passes import PassRecord
from isoxide._frames.source import ChooseRoles, Source, first_line, skip_rows

__all__ = ["LazyFrameSource"]

#: Dtypes of polars that Arrow lacks.
_WIDE = ("Int128", "UInt128")


class LazyFrameSource(Source):
    """Query of polars.

    Parameters
    ----------
    frame : polars.LazyFrame
        Query to run.
    roles : callable
        Function that checks the names of the columns.

    Raises
    ------
    ImportError
        If polars is too old to collect a query in batches.
    TypeError
        If Arrow has no such dtype as a column's.
    """

    has_declared_types = True

    def __init__(self, frame: Any, roles: ChooseRoles) -> None:
        self.frame, self.name, self.reasons = frame, "the polars LazyFrame", {}
        if not hasattr(frame, "collect_batches"):
            raise ImportError(
                f"a LazyFrame is read in batches with polars 1.34 or newer, but polars "
                f"{sys.modules['polars'].__version__} is installed; upgrade it, or call collect() first"
            )
        schema = self._schema()
        names, self.notes = names_without_index(schema.names, self.name)
        self._stored = {name: stored for name, stored in zip(names, schema.names, strict=True) if name is not None}
        fields = [schema.field(stored).with_name(name) for name, stored in self._stored.items()]
        self.schema = pa.schema([field.remove_metadata().with_type(without_view(field.type)) for field in fields])
        self._n_rows: int | None = None
        self._passes = PassRecord(
            self.name,
            "sort it by a unique key, give maintain_order=True to group_by, join and unique, or write it to Parquet",
        )
        roles(self.schema.names, self.name)

    def _schema(self) -> pa.Schema:
        """Return the dtypes that Arrow has for those of the query, which does not run for them."""
        try:
            schema = dict(self.frame.collect_schema())
        except Exception as error:
            raise self._failed(error) from error
        for name, dtype in schema.items():
            if str(dtype) in _WIDE:
                raise TypeError(
                    f"column {name!r} of {self.name} is {dtype}, which Arrow lacks; cast it, for example with "
                    f"pl.col({name!r}).cast(pl.Float64), or drop it"
                )
        try:
            return sys.modules["polars"].DataFrame(schema=schema).to_arrow().schema
        except Exception as error:
            raise TypeError(f"{self.name} has a dtype that Arrow lacks: {first_line(error)}; cast it") from error

    def count(self) -> int | None:
        """Return the number of rows, which polars counts; it reads no column of files that state the number."""
        if self._n_rows is None:
            try:
                counted = self.frame.select(sys.modules["polars"].len()).collect(engine="streaming")
            except Exception as error:
                raise self._failed(error) from error
            self._n_rows = int(counted.item())
            self._passes.compare(self._n_rows, {})
        return self._n_rows

    def fingerprint(self) -> Any:
        """Return the name, the columns, and a hash of the query; the values that it reads are not known."""
        query = self.frame.explain(optimized=False)
        columns = [[field.name, str(field.type)] for field in self.schema]
        return [self.name, columns, hashlib.sha256(query.encode()).hexdigest()]

    def read(self, columns: list[str], first_row: int) -> Iterator[pa.RecordBatch]:
        """Yield batches of the rows in the order of the query."""
        # Each batch needs a number of rows, so a column is read even if none is needed.
        names = columns or self.schema.names[:1]
        schema = pa.schema([self.schema.field(name) for name in names])
        current = self._passes.begin(schema)

        def batches() -> Iterator[pa.RecordBatch]:
            for frame in self._batches([self._stored[name] for name in names], self.rows_per_batch(names)):
                table = frame.to_arrow()
                arrays = [
                    plain_column(column, dtype) for column, dtype in zip(table.columns, schema.types, strict=True)
                ]
                for batch in pa.table(arrays, schema=schema).to_batches():
                    current.update(batch)
                    yield batch if columns else batch.select([])

        yield from skip_rows(batches(), first_row)
        # Some versions of polars end the batches of a query that fails without an error; the number of rows shows it.
        self.count()
        current.finish()

    def _batches(self, stored: list[str], chunk_size: int) -> Iterator[Any]:
        """Yield frames of polars; the query ends when the iterator is deleted."""
        try:
            yield from self.frame.select(stored).collect_batches(chunk_size=chunk_size, maintain_order=True)
        except Exception as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> Exception:
        """Return an error of one line for an error of polars, or of a function in the query, which has any class."""
        if isinstance(error, MemoryError):
            return error
        message = f"{self.name} cannot be read: {first_line(error)}"
        return FileNotFoundError(message) if isinstance(error, FileNotFoundError) else ValueError(message)
