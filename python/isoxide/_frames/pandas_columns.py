"""Convert columns of pandas frames to Arrow arrays that keep every dtype and every NaN.

Columns of Python objects have no declared dtype, so the Arrow dtype follows from the classes of all objects.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api.types import is_object_dtype

from isoxide._frames.dtypes import EXACT_INTEGERS, INT64_MAX, INT64_MIN, is_core_number, is_text
from isoxide._frames.keys import cell_text, refuse_inexact_key

__all__ = [
    "OBJECTS",
    "UNTYPED",
    "ColumnError",
    "arrow_column",
    "declared_type",
    "index_as_columns",
    "is_numpy_number",
    "key_column",
    "objects_type",
]

#: Stand-in for the dtype of columns whose objects have no common dtype in Arrow.
OBJECTS = pa.opaque(pa.binary(), "object", "pandas")
#: Stand-in for the dtype of columns whose objects are partly numbers and partly text; their cells are inspected.
UNTYPED = pa.opaque(pa.string(), "untyped", "isoxide")
#: Category that Dask uses while it does not know the categories.
_UNKNOWN = "__UNKNOWN_CATEGORIES__"
#: Types of objects that can be keys.
_KEY_TYPES = (str, int, float, bool, np.number, np.bool_, decimal.Decimal, datetime.date, uuid.UUID, np.datetime64)


class ColumnError(ValueError):
    """Error for a column whose cells do not have the dtype that its frame declares.

    The message follows the name of the frame in a sentence, and contains ``{column}`` for the name of the column.
    """


def declared_type(column: pd.Series) -> pa.DataType | None:
    """Return the Arrow dtype that a column declares; None for objects and unknown categories, which declare none."""
    dtype = column.dtype
    if is_object_dtype(dtype):
        return None
    if isinstance(dtype, pd.CategoricalDtype) and (dtype.categories is None or _UNKNOWN in dtype.categories):
        return None
    try:
        return _typed(column.iloc[:0]).type
    except (pa.ArrowException, TypeError):
        # Arrow has no dtype for complex numbers, for example.
        return pa.opaque(pa.binary(), str(dtype), "pandas")


def is_numpy_number(dtype: Any) -> bool:
    """Tell whether a column of this dtype is an array of numbers that NumPy, Arrow and the core share."""
    return is_core_number(dtype) and dtype != np.uint64


def objects_type(column: pd.Series) -> pa.DataType:
    """Return the Arrow dtype of a column, which for objects follows from their classes; null if all are missing."""
    declared = declared_type(column)
    if declared is not None:
        return declared
    if isinstance(column.dtype, pd.CategoricalDtype):
        return _typed(column).type
    return _dtype_of_objects({type(value) for value in column if not _is_missing(value)}, column)


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and value != value)


def _dtype_of_objects(classes: set[type], column: pd.Series) -> pa.DataType:
    if not classes:
        return pa.null()
    if all(issubclass(cls, str) for cls in classes):
        return pa.string()
    if all(issubclass(cls, (bool, np.bool_)) for cls in classes):
        return pa.bool_()
    numbers = (int, float, np.integer, np.floating, decimal.Decimal, bool, np.bool_)
    if all(issubclass(cls, numbers) for cls in classes):
        are_integers = all(issubclass(cls, (int, np.integer)) and not issubclass(cls, bool) for cls in classes)
        if are_integers and all(INT64_MIN <= int(value) <= INT64_MAX for value in column if not _is_missing(value)):
            return pa.int64()
        return UNTYPED if are_integers else pa.float64()
    if any(issubclass(cls, numbers) for cls in classes):
        return UNTYPED
    if any(issubclass(cls, datetime.date) for cls in classes) and not _is_uniform_time(classes, column):
        return _mixed_times(classes)
    try:
        return pa.array(column, from_pandas=True).type
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return _mixed_times(classes)


def _is_uniform_time(classes: set[type], column: pd.Series) -> bool:
    """Tell whether all objects are days, or all are times in one zone; Arrow keeps only one dtype and one zone."""
    if not any(issubclass(cls, datetime.datetime) for cls in classes):
        return True
    if not all(issubclass(cls, datetime.datetime) for cls in classes):
        return False
    return len({str(value.tzinfo) for value in column if not _is_missing(value)}) == 1


def _mixed_times(classes: set[type]) -> pa.DataType:
    if all(issubclass(cls, (str, datetime.date)) for cls in classes):
        return pa.string()
    return OBJECTS


def arrow_column(column: pd.Series, dtype: pa.DataType) -> Any:
    """Return a column as an Arrow array of the dtype that `declared_type` or `objects_type` gave.

    Raises
    ------
    ColumnError
        If the column has another dtype, or holds objects that cannot be read.
    """
    if isinstance(dtype, pa.OpaqueType) and dtype != UNTYPED:
        content = "objects that are neither numbers, text nor times" if dtype == OBJECTS else str(column.dtype)
        raise ColumnError(
            f"has {content} in column {{column}}, which cannot be read; convert it (astype) or leave it out"
        )
    try:
        array = _objects(column, dtype) if is_object_dtype(column.dtype) else _typed(column)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise ColumnError(f"has values in column {{column}} that are not {dtype}, the dtype of the column") from error
    if array.type.equals(dtype):
        return array
    expected = pa.string() if dtype == UNTYPED else dtype
    if any(is_family(array.type) and is_family(expected) for is_family in (pa.types.is_dictionary, is_text)):
        return array.cast(expected)
    raise ColumnError(f"has {column.dtype} in column {{column}}, which should be {dtype}")


def _objects(column: pd.Series, dtype: pa.DataType) -> Any:
    if dtype == UNTYPED or pa.types.is_string(dtype):
        return pa.array([None if _is_missing(value) else cell_text(value) for value in column], pa.string())
    if pa.types.is_floating(dtype):
        values = np.array([np.nan if _is_missing(value) else float(value) for value in column], dtype=np.float64)
        return pa.array(values, dtype, from_pandas=False)
    return pa.array(column, type=dtype, from_pandas=True)


def _typed(column: pd.Series) -> Any:
    """Return a column whose dtype is declared as an Arrow array."""
    if isinstance(column.array, pd.Categorical):
        return _categories(column.array)
    if isinstance(column.dtype, pd.PeriodDtype):
        is_within_a_day = isinstance(column.dtype.freq, (pd.offsets.Tick, pd.offsets.Day, pd.offsets.BusinessDay))
        # A period of a week or a month is not a day, so it becomes text.
        if not is_within_a_day:
            return pa.array([None if value is pd.NaT else str(value) for value in column], pa.string())
        column = column.dt.to_timestamp()
    if isinstance(column.dtype, np.dtype | pd.SparseDtype):
        values = np.asarray(column)
        if values.dtype.kind == "f" and values.dtype.itemsize > 8:
            values = values.astype(np.float64)
        # NaN stays NaN instead of becoming null. Arrow supports only the byte order of the machine.
        return pa.array(values.astype(values.dtype.newbyteorder("="), copy=False), from_pandas=False)
    return pa.Array.from_pandas(column)


def _categories(values: pd.Categorical) -> Any:
    codes = values.codes.astype(np.int32)
    # The functions for columns take a series, and the categories are an index.
    categories = values.categories.to_series()
    if is_object_dtype(categories.dtype):
        values_of_codes = arrow_column(categories, objects_type(categories))
    else:
        values_of_codes = _typed(categories)
    if isinstance(values_of_codes, pa.ChunkedArray):
        values_of_codes = values_of_codes.combine_chunks()
    return pa.DictionaryArray.from_arrays(
        pa.array(codes, mask=codes < 0), values_of_codes, ordered=bool(values.ordered)
    )


def key_column(column: pd.Series, name: str) -> Any:
    """Return a column of keys or times for conversion to text: objects become text, other dtypes stay.

    Raises
    ------
    BadCellError
        If a float among objects is so large that it may have lost digits.
    TypeError
        If an object has no text form.
    """
    if not is_object_dtype(column.dtype):
        dtype = declared_type(column) or objects_type(column)
        if isinstance(dtype, pa.OpaqueType) and dtype != UNTYPED:
            raise TypeError(
                f"column {name!r} holds {column.dtype}, which cannot be a key or a time; convert it to text"
            )
        return arrow_column(column, dtype)
    if all(issubclass(cls, (str, type(None))) for cls in set(map(type, column))):
        return pa.array(column, pa.string(), from_pandas=True)
    for row, value in enumerate(column):
        if isinstance(value, (float, np.floating)) and abs(float(value)) >= EXACT_INTEGERS:
            refuse_inexact_key(float(value), name, row)
        if not (_is_missing(value) or isinstance(value, _KEY_TYPES)):
            raise TypeError(
                f"column {name!r} has {value!r} in row {row}, which cannot be a key or a time; convert it to text"
            )
    return _objects(column, pa.string())


def index_as_columns(frame: Any, source_name: str) -> tuple[Any, list[str]]:
    """Return a frame whose named index levels are columns, without the unnamed ones, and notes on the changes.

    Raises
    ------
    ValueError
        If a level and a column with other values have the same name.
    """
    index = frame.index
    named = [(level, name) for level, name in enumerate(index.names) if name is not None]
    if not named:
        if isinstance(index, pd.MultiIndex):
            return frame.reset_index(drop=True), ["the levels of the index have no names and were left out"]
        return frame.reset_index(drop=True), []
    levels = {}
    for level, name in named:
        values = index.get_level_values(level).to_series().reset_index(drop=True)
        if name in frame.columns:
            if not values.equals(frame[name].reset_index(drop=True)):
                raise ValueError(f"{source_name} has an index level and a column named {name!r}; rename one of them")
            continue
        levels[name] = values
    changed = frame.reset_index(drop=True)
    for position, (name, values) in enumerate(levels.items()):
        changed.insert(position, name, values)
    listed = ", ".join(repr(name) for name in levels)
    return changed, [f"levels of the index became columns: {listed}"] if levels else []
