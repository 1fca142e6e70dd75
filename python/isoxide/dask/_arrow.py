"""A pandas partition as Arrow record batches: every type and every NaN as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api.types import is_object_dtype

#: Rows of a batch at most.
_BATCH = 2**16
#: What stands for columns of objects that are neither text nor dates: nobody takes them for numbers.
_OBJECTS = pa.opaque(pa.binary(), "object", "pandas")
#: Categories that dask has not looked at yet.
_UNKNOWN = "__UNKNOWN_CATEGORIES__"


class _ColumnError(ValueError):
    """A column that does not hold what its frame says; the message follows on the column's name."""


def known_type(column: pd.Series) -> pa.DataType | None:
    """Arrow's type of what pandas calls so; None where only the values tell: of objects, and of unknown categories."""
    dtype = column.dtype
    if is_object_dtype(dtype):
        return None
    if isinstance(dtype, pd.CategoricalDtype) and (dtype.categories is None or _UNKNOWN in dtype.categories):
        return None
    try:
        return _array(column.iloc[:0]).type
    except (pa.ArrowException, TypeError):
        # Complex numbers, for one.
        return pa.opaque(pa.binary(), str(dtype), "pandas")


def found_type(column: pd.Series) -> pa.DataType:
    """Arrow's type of the values of a partition; null where there are none."""
    known = known_type(column)
    if known is not None:
        return known
    try:
        return _type_of_objects(pa.infer_type(column.to_numpy(), from_pandas=True))
    except (pa.ArrowException, TypeError):
        return _OBJECTS


def _type_of_objects(found: pa.DataType) -> pa.DataType:
    """Objects that are numbers are no column of numbers, in pandas; so they are none here."""
    types = pa.types
    if types.is_integer(found) or types.is_floating(found) or types.is_boolean(found) or types.is_decimal(found):
        return _OBJECTS
    return found


def batches(frame: pd.DataFrame, schema: pa.Schema, place: str) -> Iterator[pa.RecordBatch]:
    """The columns of a schema, in its order, of a partition that `place` names; nothing of an empty one.

    Raises
    ------
    ValueError
        If a column is not there, or not of its type.
    """
    # Readers make empty partitions of types that mean nothing.
    if len(frame):
        columns = []
        for field in schema:
            try:
                columns.append(_column(frame, field))
            except _ColumnError as error:
                raise ValueError(f"{place} {str(error).format(column=repr(field.name))}") from error.__cause__
        # A table of no columns has no rows, unless it had one.
        table = (
            pa.Table.from_arrays(columns, schema=schema)
            if columns
            else pa.table([pa.nulls(len(frame))], [""]).select([])
        )
        yield from table.to_batches(max_chunksize=_BATCH)


def _column(frame: pd.DataFrame, field: pa.Field) -> Any:
    if field.name not in frame.columns:
        raise _ColumnError("has no column {column}")
    column = frame[field.name]
    if column.ndim != 1:
        raise _ColumnError("has several columns {column}")
    if isinstance(field.type, pa.OpaqueType):
        what = "objects that are neither text nor dates" if field.type.equals(_OBJECTS) else str(column.dtype)
        raise _ColumnError(
            f"has {what} in column {{column}}, which cannot be read; convert it (astype) or leave it out"
        )
    try:
        found = _objects(column, field.type) if is_object_dtype(column.dtype) else _array(column)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise _ColumnError(f"has values in column {{column}} that are no {field.type}, as they should be") from error
    if found.type.equals(field.type):
        return found
    if _are(found.type, field.type, pa.types.is_dictionary) or _are(found.type, field.type, _is_text):
        return found.cast(field.type)
    raise _ColumnError(f"has {column.dtype} in column {{column}}, which should be {field.type}")


def _are(one: pa.DataType, other: pa.DataType, kind: Callable[[pa.DataType], bool]) -> bool:
    return kind(one) and kind(other)


def _is_text(kind: pa.DataType) -> bool:
    """Arrow has several types of it."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)  # type: ignore[no-any-return]


def _objects(column: pd.Series, wanted: pa.DataType) -> Any:
    if not pa.types.is_null(wanted) and _type_of_objects(wanted).equals(_OBJECTS):
        raise TypeError("objects where there should be numbers")
    return pa.array(column, type=wanted, from_pandas=True)


def _array(column: pd.Series) -> Any:
    """A column without objects."""
    if isinstance(column.array, pd.Categorical):
        return _categories(column.array)
    if isinstance(column.dtype, np.dtype | pd.SparseDtype):
        numbers = np.asarray(column)
        # NaN is a number here, as in NumPy; Arrow knows no other byte order than the machine's.
        return pa.array(numbers.astype(numbers.dtype.newbyteorder("="), copy=False), from_pandas=False)
    return pa.Array.from_pandas(column)


def _categories(values: pd.Categorical) -> Any:
    codes = values.codes.astype(np.int32)
    # As a column: an index has no such values as columns have.
    categories = values.categories.to_series()
    words = pa.array(categories, from_pandas=True) if is_object_dtype(categories.dtype) else _array(categories)
    if isinstance(words, pa.ChunkedArray):
        words = words.combine_chunks()
    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), words, ordered=bool(values.ordered))
