"""Columns of pandas frames as Arrow arrays: every type and every NaN as it is, and objects by what they hold."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api.types import is_object_dtype

from isoxide._frames.dtypes import EXACT_INTEGERS, INT64_MAX, INT64_MIN, is_core_number, is_text
from isoxide._frames.keys import refuse_float, spelled

__all__ = [
    "OBJECTS",
    "UNTYPED",
    "ColumnError",
    "arrow_column",
    "declared_type",
    "index_as_columns",
    "is_plain",
    "key_column",
    "objects_type",
]

#: What stands for columns of objects that nobody can read as one thing.
OBJECTS = pa.opaque(pa.binary(), "object", "pandas")
#: What stands for objects of which some are numbers and some are text: cells of no declared type.
UNTYPED = pa.opaque(pa.string(), "untyped", "isoxide")
#: Categories that dask has not looked at yet.
_UNKNOWN = "__UNKNOWN_CATEGORIES__"
#: Objects that can be keys.
_SPELLED = (str, int, float, bool, np.number, np.bool_, decimal.Decimal, datetime.date, uuid.UUID, np.datetime64)


class ColumnError(ValueError):
    """A column that does not hold what its frame says; the message follows on the column's name."""


def declared_type(column: pd.Series) -> pa.DataType | None:
    """Return the Arrow type that a column declares; None where only its values tell: objects, unknown categories."""
    dtype = column.dtype
    if is_object_dtype(dtype):
        return None
    if isinstance(dtype, pd.CategoricalDtype) and (dtype.categories is None or _UNKNOWN in dtype.categories):
        return None
    try:
        return _typed(column.iloc[:0]).type
    except (pa.ArrowException, TypeError):
        # Complex numbers, for one.
        return pa.opaque(pa.binary(), str(dtype), "pandas")


def is_plain(dtype: Any) -> bool:
    """Return whether a column of this type is an array of NumPy's numbers that Arrow and the core have too."""
    return is_core_number(dtype) and dtype != np.uint64


def objects_type(column: pd.Series) -> pa.DataType:
    """Return the Arrow type of what the objects of a column hold; null where there are none."""
    known = declared_type(column)
    if known is not None:
        return known
    if isinstance(column.dtype, pd.CategoricalDtype):
        return _typed(column).type
    return _object_kind({type(value) for value in column if not _is_missing(value)}, column)


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and value != value)


def _object_kind(kinds: set[type], column: pd.Series) -> pa.DataType:
    if not kinds:
        return pa.null()
    if all(issubclass(kind, str) for kind in kinds):
        return pa.string()
    if all(issubclass(kind, (bool, np.bool_)) for kind in kinds):
        return pa.bool_()
    numbers = (int, float, np.integer, np.floating, decimal.Decimal, bool, np.bool_)
    if all(issubclass(kind, numbers) for kind in kinds):
        whole = all(issubclass(kind, (int, np.integer)) and not issubclass(kind, bool) for kind in kinds)
        if whole and all(INT64_MIN <= int(value) <= INT64_MAX for value in column if not _is_missing(value)):
            return pa.int64()
        return pa.float64() if not whole else UNTYPED
    if any(issubclass(kind, numbers) for kind in kinds):
        return UNTYPED
    if any(issubclass(kind, datetime.date) for kind in kinds) and not _is_one_kind_of_time(kinds, column):
        return _mixed_times(kinds)
    try:
        found = pa.array(column, from_pandas=True).type
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return _mixed_times(kinds)
    return found


def _is_one_kind_of_time(kinds: set[type], column: pd.Series) -> bool:
    """Return whether all objects are days, or all are times of the same zone: others would lose what they say."""
    if not any(issubclass(kind, datetime.datetime) for kind in kinds):
        return True
    if not all(issubclass(kind, datetime.datetime) for kind in kinds):
        return False
    return len({str(value.tzinfo) for value in column if not _is_missing(value)}) == 1


def _mixed_times(kinds: set[type]) -> pa.DataType:
    if all(issubclass(kind, (str, datetime.date)) for kind in kinds):
        return pa.string()
    return OBJECTS


def arrow_column(column: pd.Series, dtype: pa.DataType) -> Any:
    """Return a column as an Arrow array of a type that `declared_type` or `objects_type` gave.

    Raises
    ------
    ColumnError
        If it holds something else.
    """
    if isinstance(dtype, pa.OpaqueType) and dtype != UNTYPED:
        what = "objects that are neither numbers, text nor times" if dtype == OBJECTS else str(column.dtype)
        raise ColumnError(f"has {what} in column {{column}}, which cannot be read; convert it (astype) or leave it out")
    try:
        found = _objects(column, dtype) if is_object_dtype(column.dtype) else _typed(column)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise ColumnError(f"has values in column {{column}} that are no {dtype}, as they should be") from error
    if found.type.equals(dtype):
        return found
    wanted = pa.string() if dtype == UNTYPED else dtype
    if _are(found.type, wanted, pa.types.is_dictionary) or _are(found.type, wanted, is_text):
        return found.cast(wanted)
    raise ColumnError(f"has {column.dtype} in column {{column}}, which should be {dtype}")


def _are(one: pa.DataType, other: pa.DataType, is_kind: Callable[[pa.DataType], bool]) -> bool:
    return is_kind(one) and is_kind(other)


def _objects(column: pd.Series, dtype: pa.DataType) -> Any:
    if dtype == UNTYPED or pa.types.is_string(dtype):
        return pa.array([None if _is_missing(value) else spelled(value) for value in column], pa.string())
    if pa.types.is_floating(dtype):
        values = np.array([np.nan if _is_missing(value) else float(value) for value in column], dtype=np.float64)
        return pa.array(values, dtype, from_pandas=False)
    return pa.array(column, type=dtype, from_pandas=True)


def _typed(column: pd.Series) -> Any:
    """Return a column without objects."""
    if isinstance(column.array, pd.Categorical):
        return _categories(column.array)
    if isinstance(column.dtype, pd.PeriodDtype):
        is_short = isinstance(column.dtype.freq, (pd.offsets.Tick, pd.offsets.Day, pd.offsets.BusinessDay))
        # A week or a month does not say which day it is.
        if not is_short:
            return pa.array([None if value is pd.NaT else str(value) for value in column], pa.string())
        column = column.dt.to_timestamp()
    if isinstance(column.dtype, np.dtype | pd.SparseDtype):
        values = np.asarray(column)
        if values.dtype.kind == "f" and values.dtype.itemsize > 8:
            values = values.astype(np.float64)
        # NaN is a number here, as in NumPy; Arrow knows no other byte order than the machine's.
        return pa.array(values.astype(values.dtype.newbyteorder("="), copy=False), from_pandas=False)
    return pa.Array.from_pandas(column)


def _categories(values: pd.Categorical) -> Any:
    codes = values.codes.astype(np.int32)
    # As a column: an index has no such values as columns have.
    categories = values.categories.to_series()
    if is_object_dtype(categories.dtype):
        words = arrow_column(categories, objects_type(categories))
    else:
        words = _typed(categories)
    if isinstance(words, pa.ChunkedArray):
        words = words.combine_chunks()
    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), words, ordered=bool(values.ordered))


def key_column(column: pd.Series, name: str) -> Any:
    """Return a column that is asked for as text: objects cell by cell, other types as they are.

    Raises
    ------
    BadCellError
        If a float among objects has lost digits.
    TypeError
        If an object has no spelling.
    """
    if not is_object_dtype(column.dtype):
        dtype = declared_type(column) or objects_type(column)
        if isinstance(dtype, pa.OpaqueType) and dtype != UNTYPED:
            raise TypeError(
                f"column {name!r} holds {column.dtype}, which cannot be a key or a time; convert it to text"
            )
        return arrow_column(column, dtype)
    if all(issubclass(kind, (str, type(None))) for kind in set(map(type, column))):
        return pa.array(column, pa.string(), from_pandas=True)
    for row, value in enumerate(column):
        if isinstance(value, (float, np.floating)) and abs(float(value)) >= EXACT_INTEGERS:
            refuse_float(float(value), name, row)
        if not (_is_missing(value) or isinstance(value, _SPELLED)):
            raise TypeError(
                f"column {name!r} has {value!r} in row {row}, which cannot be a key or a time; convert it to text"
            )
    return _objects(column, pa.string())


def index_as_columns(frame: Any, where: str) -> tuple[Any, list[str]]:
    """Return a frame whose named index levels are columns and whose others are gone, and a note if there were any.

    Raises
    ------
    ValueError
        If a level has the name of a column that holds something else.
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
                raise ValueError(f"{where} has an index level and a column of the name {name!r}; rename one of them")
            continue
        levels[name] = values
    plain = frame.reset_index(drop=True)
    for position, (name, values) in enumerate(levels.items()):
        plain.insert(position, name, values)
    told = ", ".join(repr(name) for name in levels)
    return plain, [f"levels of the index became columns: {told}"] if levels else []
