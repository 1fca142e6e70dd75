"""Classify the dtypes of NumPy, polars and Arrow: which ones hold numbers, and which ones the core reads in place.

For each library, a function here returns the family of a dtype: ``"boolean"``, ``"integer"``, ``"float"``,
``"decimal"``, or None if it holds no numbers. This module imports neither polars nor Arrow: whoever passes one of their
dtypes has already imported them.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

#: Dtypes that the core reads in place.
READABLE = (np.dtype(np.float64), np.dtype(np.float32), np.dtype(np.int64))
#: float64 represents every integer up to this bound exactly. A float of this value may be a rounded larger integer, so
#: identifiers refuse the bound itself; an integer of this value is exact, so ranks accept it.
EXACT_INTEGERS = 2**53
#: Smallest and largest integer that the core reads.
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

_NUMPY_FAMILIES = {"b": "boolean", "i": "integer", "u": "integer", "f": "float"}
_POLARS_FAMILIES = {"Boolean": "boolean", "Int": "integer", "UInt": "integer", "Float": "float", "Decimal": "decimal"}


def numpy_family(dtype: Any) -> str | None:
    """Return the family of a NumPy dtype, or of a pandas dtype that has NumPy's ``kind``."""
    return _NUMPY_FAMILIES.get(getattr(dtype, "kind", "O"))


def arrow_family(dtype: Any) -> str | None:
    """Return the family of an Arrow dtype."""
    types = sys.modules["pyarrow"].types
    if types.is_integer(dtype):
        return "integer"
    if types.is_floating(dtype):
        return "float"
    if types.is_boolean(dtype):
        return "boolean"
    return "decimal" if types.is_decimal(dtype) else None


def polars_family(dtype: Any) -> str | None:
    """Return the family of a polars dtype, which includes 128-bit integers."""
    return _POLARS_FAMILIES.get(polars_name(dtype).rstrip("0123456789"))


def polars_name(dtype: Any) -> str:
    """Return the name of a polars dtype without its parameters, such as ``"Int64"`` or ``"Decimal"``."""
    return str(dtype.base_type())


def is_text(dtype: Any) -> bool:
    """Tell whether an Arrow dtype is one of the three that store text."""
    types = sys.modules["pyarrow"].types
    return bool(types.is_string(dtype) or types.is_large_string(dtype) or types.is_string_view(dtype))


def is_number(dtype: Any) -> bool:
    """Tell whether an Arrow dtype holds numbers that a forest accepts, decimals and booleans included."""
    return arrow_family(dtype) is not None


def describe_dtype(dtype: Any) -> str:
    """Return the name of an Arrow dtype in messages, such as ``"text"`` or ``"categories"``."""
    types = sys.modules["pyarrow"].types
    if is_text(dtype):
        return "text"
    if types.is_dictionary(dtype):
        return "categories of numbers" if is_number(dtype.value_type) else "categories"
    if types.is_timestamp(dtype) or types.is_date(dtype) or types.is_time(dtype):
        return "times"
    if types.is_duration(dtype) or types.is_interval(dtype):
        return "durations; convert them to a number of seconds to use them"
    if types.is_nested(dtype):
        return f"nested values ({dtype})"
    if types.is_null(dtype):
        return "no values"
    return str(dtype)


def is_core_number(dtype: Any) -> bool:
    """Tell whether a dtype is a NumPy number of at most 64 bits, which some dtype of the core holds exactly.

    ``uint64`` is included, although int64 holds only the lower half of its range.
    """
    return isinstance(dtype, np.dtype) and dtype.kind in "biuf" and dtype.itemsize <= 8


def is_uint64(dtype: np.dtype[Any]) -> bool:
    """Tell whether a NumPy dtype is uint64, whose integers may lie beyond int64."""
    return dtype.kind == "u" and dtype.itemsize == 8


def readable(array: NDArray[Any]) -> NDArray[Any]:
    """Return `array`, or an aligned copy if its cells are not aligned in memory (a field of packed records)."""
    return array if array.flags.aligned else array.copy()


def native(x: NDArray[Any], dtype: DTypeLike | None = None) -> NDArray[Any]:
    """Convert `x` exactly to float64, float32 or int64, with a copy only if necessary.

    Parameters
    ----------
    x : ndarray
        Numbers of at most 64 bits (`is_core_number`).
    dtype : dtype, optional
        One of `READABLE`. By default integers and booleans become int64, and floats the narrowest that holds them.
    """
    if dtype is None:
        dtype = np.int64 if x.dtype.kind in "biu" else np.float32 if x.dtype.itemsize < 8 else np.float64
    # NumPy's check of what is required takes longer than ranking a few values.
    return x if x.dtype == dtype and x.flags.aligned else np.require(x, dtype, "A")
