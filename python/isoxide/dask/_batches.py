"""Convert pandas partitions to Arrow record batches, with their types and NaN preserved."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import pyarrow as pa

from isoxide._frames.pandas_columns import OBJECTS, UNTYPED, ColumnError, arrow_column

#: Maximum number of rows of a batch.
_MAX_BATCH_ROWS = 2**16


def partition_batches(frame: pd.DataFrame, schema: pa.Schema, label: str) -> Iterator[pa.RecordBatch]:
    """Yield batches of a partition with the columns of a schema, or no batch if the partition is empty.

    Parameters
    ----------
    frame : DataFrame
        Partition to convert.
    schema : pyarrow.Schema
        Names and types of the columns, in order.
    label : str
        Name of the partition in messages.

    Raises
    ------
    ValueError
        If a column is missing, or does not have the type in the schema.
    """
    # The types of empty partitions are ignored, since readers choose them arbitrarily.
    if len(frame):
        columns = []
        for field in schema:
            try:
                columns.append(_column(frame, field))
            except ColumnError as error:
                raise ValueError(f"{label} {str(error).format(column=repr(field.name))}") from error.__cause__
        # To keep the number of rows without columns, make a table with one column and select none.
        table = (
            pa.Table.from_arrays(columns, schema=schema)
            if columns
            else pa.table([pa.nulls(len(frame))], [""]).select([])
        )
        yield from table.to_batches(max_chunksize=_MAX_BATCH_ROWS)


def _column(frame: pd.DataFrame, field: pa.Field) -> pa.Array:
    if field.name not in frame.columns:
        raise ColumnError("has no column {column}")
    column = frame[field.name]
    if column.ndim != 1:
        raise ColumnError("has several columns {column}")
    is_untyped = bool(field.metadata) and b"untyped" in field.metadata
    return arrow_column(column, UNTYPED if is_untyped else field.type)


def joined_type(types: list[pa.DataType]) -> pa.DataType:
    """Return the common type of a column whose partitions have different types; null if no cell has a value."""
    present = list(dict.fromkeys(dtype for dtype in types if not pa.types.is_null(dtype)))
    if len(present) <= 1:
        return present[0] if present else pa.null()
    families = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    are_numbers = [any(is_family(dtype) for is_family in families) for dtype in present]
    if all(are_numbers):
        return pa.float64()
    if all(number or dtype in (pa.string(), UNTYPED) for number, dtype in zip(are_numbers, present, strict=True)):
        return UNTYPED
    return present[0] if all(pa.types.is_dictionary(dtype) for dtype in present) else OBJECTS
