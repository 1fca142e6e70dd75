"""Convert columns of Arrow batches for the core, with the same numbers as in a pandas frame of all rows.

A column of a batch gets the same numbers as the column of the whole table in memory, so results do not depend on how
rows are divided into batches. uint64 becomes int64 if all values of the batch fit, otherwise float64.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isoxide._frames.adapter import ArrowColumn
from isoxide._frames.dtypes import INT64_MAX, arrow_family, is_uint64, native

__all__ = ["batch_table", "float32_rows", "number_column", "plain_numbers"]


def plain_numbers(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Convert a column of numbers to an Arrow dtype that NumPy has too, and that can be ranked."""
    dtype = column.type
    if pa.types.is_uint64(dtype):
        return column.cast(pa.float64(), safe=False)
    if pa.types.is_decimal(dtype):
        return column.cast(pa.float64())
    if pa.types.is_boolean(dtype) and column.null_count:
        return column.cast(pa.uint8()).cast(pa.float64())
    return column


def number_column(batch: pa.RecordBatch | pa.Table, name: str) -> NDArray[Any]:
    """Convert a column to float64, float32 or int64, without a copy if possible; missing cells become NaN."""
    column = ArrowColumn(batch.column(name))
    if column.family == "decimal":
        column = ArrowColumn(column.data.cast(pa.float64()))
    values = column.with_nan() if column.has_missing() else column.values()
    if is_uint64(values.dtype):
        return values.astype(np.float64 if (values > INT64_MAX).any() else np.int64)
    return native(values)


def batch_table(
    batch: pa.RecordBatch | pa.Table, names: Iterable[str]
) -> list[NDArray[Any]] | tuple[NDArray[Any], ...]:
    """Return the given columns of a batch for the core.

    Values are rounded to float32 as in a pandas frame of all rows. A tuple means that integers are rounded by way of
    float64, as in a frame that also has floats.
    """
    names = list(names)
    columns = [number_column(batch, name) for name in names]
    families = {arrow_family(batch.schema.field(name).type) for name in names}
    via_float64 = bool(families & {"float", "decimal"}) and "boolean" not in families
    return tuple(columns) if via_float64 else columns


def float32_rows(rows: pa.Table, names: Iterable[str]) -> NDArray[np.float32]:
    """Return the given columns rounded to float32, as trees read them."""
    table = batch_table(rows, names)
    values = np.empty((rows.num_rows, len(table)), dtype=np.float32, order="F")
    # Numbers beyond the range of float32 become infinite.
    with np.errstate(over="ignore"):
        for j, column in enumerate(table):
            values[:, j] = column.astype(np.float64) if isinstance(table, tuple) else column
    return values
