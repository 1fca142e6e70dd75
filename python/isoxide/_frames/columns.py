"""Columns of Arrow batches as the core takes them: the one adapter from a typed column to numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isoxide._frames.containers import native

__all__ = ["batch_table", "float32_rows", "number_column", "plain_numbers"]

_INT64_MAX = np.iinfo(np.int64).max


def plain_numbers(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return a column of numbers in a type that NumPy has without objects, and that ranks are counted in."""
    dtype = column.type
    if pa.types.is_uint64(dtype):
        return column.cast(pa.float64(), safe=False)
    if pa.types.is_decimal(dtype):
        return column.cast(pa.float64())
    if pa.types.is_boolean(dtype) and column.null_count:
        return column.cast(pa.uint8()).cast(pa.float64())
    return column


def number_column(batch: pa.RecordBatch | pa.Table, name: str) -> NDArray[Any]:
    """Return a column as float64, float32 or int64, a view where possible; missing values are NaN."""
    column = batch.column(name)
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    elif pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    values: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    if values.dtype.kind == "u" and values.dtype.itemsize == 8:
        return values.astype(np.float64 if (values > _INT64_MAX).any() else np.int64)
    return native(values)


def batch_table(
    batch: pa.RecordBatch | pa.Table, names: Iterable[str]
) -> list[NDArray[Any]] | tuple[NDArray[Any], ...]:
    """Return some columns of a batch as the core takes them.

    Values round to float32 as those of the pandas frame of all rows do: integers beside floats by way of float64.
    """
    names = list(names)
    columns = [number_column(batch, name) for name in names]
    types = [batch.schema.field(name).type for name in names]
    has_floats = any(pa.types.is_floating(dtype) or pa.types.is_decimal(dtype) for dtype in types)
    has_booleans = any(pa.types.is_boolean(dtype) for dtype in types)
    return tuple(columns) if has_floats and not has_booleans else columns


def float32_rows(rows: pa.Table, names: Iterable[str]) -> NDArray[np.float32]:
    """Return some columns as trees read them."""
    table = batch_table(rows, names)
    values = np.empty((rows.num_rows, len(table)), dtype=np.float32, order="F")
    # Beyond the range of float32 is infinity.
    with np.errstate(over="ignore"):
        for j, column in enumerate(table):
            values[:, j] = column.astype(np.float64) if isinstance(table, tuple) else column
    return values
