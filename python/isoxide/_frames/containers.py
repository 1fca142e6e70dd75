"""Convert frames to arrays for the core, with the same values as scikit-learn's conversion to float32.

scikit-learn converts a frame in one of two ways. It converts each column separately, or it brings the whole frame to
one dtype first. In the second way, integers in a frame with floats or objects go by way of float64, which can round
them twice. The container and the dtypes of all its columns decide the way, so each container has its function here:

    pandas    each column separately if any is nullable, Arrow or boolean; by way of objects, which rounds integers as
              float64 does, if any is an object or decimal column; otherwise by the dtype that holds all columns
    Arrow     each column separately
    polars    by the dtype that holds all columns: float64 if cells are missing, objects if there are decimals

`adapter` converts single columns. For a column or a combination of columns that is not listed here, the result is None,
and scikit-learn converts the frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from isoxide._frames.adapter import (
    ArrowColumn,
    Column,
    PolarsColumn,
    float32_of_objects,
    float32_source,
    is_instance,
    pandas_column,
    pandas_storage,
)
from isoxide._frames.dtypes import (
    READABLE,
    arrow_family,
    is_core_number,
    is_uint64,
    numpy_family,
    polars_name,
    readable,
)

#: One array per column, of float64, float32 or int64. In a tuple, integers are rounded to float64 before they are
#: rounded to float32; in a list, they are rounded directly to float32.
Columns: TypeAlias = "list[NDArray[Any]] | tuple[NDArray[Any], ...]"

#: Dtypes of polars that NumPy has too, and other dtypes that can be converted together with them.
_POLARS_PLAIN = {"Boolean", "Float32", "Float64"} | {f"{u}Int{bits}" for u in ("", "U") for bits in (8, 16, 32, 64)}
_POLARS_WIDE = {"Decimal", "Int128", "UInt128"}


def is_one_piece(X: Any) -> bool:
    """Tell whether pandas converts a frame to an array without a copy: then two arrays of a row share memory."""
    row = X.iloc[:1]
    return np.may_share_memory(row.to_numpy(), row.to_numpy())


def frame_columns(X: Any) -> NDArray[np.float32] | Columns | None:
    """Return the columns of a pandas or polars frame or an Arrow table, without copies if possible.

    A frame of objects that is stored as one block becomes one array. The result is None for objects other than frames,
    for frames without cells, and for frames that scikit-learn has to convert.
    """
    if is_instance(X, "pandas", "DataFrame"):
        read: Callable[[Any], NDArray[np.float32] | Columns | None] = _pandas_columns
    elif is_instance(X, "polars", "DataFrame"):
        read = _polars_columns
    elif is_instance(X, "pyarrow", "Table"):
        read = _arrow_columns
    else:
        return None
    return read(X) if X.shape[0] > 0 and X.shape[1] > 0 else None


def _converted(columns: Iterable[Column], *, via_float64: bool) -> Columns | None:
    """Convert all columns; return None if scikit-learn has to convert one of them."""
    return _complete(
        (float32_source(column, via_float64=via_float64) for column in columns),
        via_float64=via_float64,
    )


def _complete(arrays: Iterable[NDArray[Any] | None], *, via_float64: bool) -> Columns | None:
    """Collect arrays for the core; return None if an array is None or has a dtype that the core does not read."""
    complete = []
    for array in arrays:
        if array is None or array.dtype not in READABLE:
            return None
        complete.append(readable(array))
    return tuple(complete) if via_float64 else complete


def _pandas_columns(X: Any) -> NDArray[np.float32] | Columns | None:
    dtypes = X.dtypes.tolist()
    storages = [pandas_storage(dtype) for dtype in dtypes]
    groups = [*map(_pandas_group, dtypes, storages)]
    if None in groups:
        return None
    columns = (pandas_column(series, storage) for (_, series), storage in zip(X.items(), storages, strict=True))
    if {"extension", "boolean"} & {*groups}:
        # scikit-learn calls ``X.astype("float32")``, which converts each column separately.
        return _converted(columns, via_float64=False)
    if {"object", "decimal"} & {*groups}:
        # All columns become objects, and integers are rounded like Python's.
        if len(groups) > 1 and any(group == "decimal" and X.iloc[:, j].isna().any() for j, group in enumerate(groups)):
            # Then missing cells are ``pandas.NA``, which is not a number.
            return None
        if {*groups} == {"object"} and is_one_piece(X):
            return float32_of_objects(X.to_numpy())
        return _converted(columns, via_float64=True)
    # Columns with NumPy dtypes are converted to the dtype that holds them all.
    if any(map(is_uint64, dtypes)):
        return None
    return _converted(columns, via_float64=any(dtype.kind == "f" for dtype in dtypes))


def _pandas_group(dtype: Any, storage: str | None) -> str | None:
    """Return the group of pandas dtypes that scikit-learn treats alike; None if it has to convert the frame itself.

    The groups are ``"number"`` and ``"boolean"`` (NumPy), ``"object"``, ``"decimal"`` (Arrow), and ``"extension"``
    (nullable columns and all other Arrow columns).
    """
    if storage == "numpy":
        if not is_core_number(dtype):
            return None
        return "boolean" if numpy_family(dtype) == "boolean" else "number"
    if storage == "arrow":
        return _arrow_group(dtype.pyarrow_dtype)
    return "extension" if storage == "masked" else storage


def _arrow_group(dtype: Any) -> str | None:
    """Return the group of an Arrow dtype; the core reads only 128-bit decimals."""
    family = arrow_family(dtype)
    if family == "decimal":
        return "decimal" if dtype.byte_width == 16 else None
    return None if family is None else "extension"


def _arrow_columns(X: Any) -> Columns | None:
    if any(_arrow_group(field.type) is None for field in X.schema):
        return None
    return _converted(map(ArrowColumn, X.columns), via_float64=False)


def _polars_columns(X: Any) -> Columns | None:
    columns = [PolarsColumn(series) for series in X.get_columns()]
    names = {polars_name(column.dtype) for column in columns}
    if names <= _POLARS_PLAIN:
        return _polars_numbers(columns, names)
    if not names <= _POLARS_PLAIN | _POLARS_WIDE:
        return None
    if "Float64" in names:
        # polars casts all columns to Float64.
        return _complete((column.float64() for column in columns), via_float64=True)
    if names <= _POLARS_PLAIN - {"Float32"} | {"Decimal"}:
        # All columns become objects, and integers are rounded like Python's.
        return _converted(columns, via_float64=True)
    return None


def _polars_numbers(columns: list[PolarsColumn], names: set[str]) -> Columns | None:
    """Convert columns that polars casts to the dtype that holds them all, or to float64 if cells are missing."""
    has_floats = not names.isdisjoint({"Float32", "Float64"})
    if "UInt64" in names and not has_floats and len(names) > 1:
        return None
    # If all columns are boolean and cells are missing, the frame becomes objects instead of float64.
    has_missing = names != {"Boolean"} and not has_floats and any(column.has_missing() for column in columns)
    return _converted(columns, via_float64=has_floats or has_missing)
