"""Columns of frames as arrays that the core reads, with the values that scikit-learn's conversion of the frame has.

scikit-learn converts a frame to float32 in one of two ways. Either each column is converted for itself, or the frame is
brought to one type first: integers beside floats or objects then go by way of float64, which can round them twice.
Which of the two is taken depends on the container and on the types of all columns, so each container has its function
here. A frame with a column or a combination that is not listed gives None, and scikit-learn converts it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from isoxide import _core

#: One array per column, of float64, float32 or int64. In a tuple, integers are rounded to float64 before they are
#: rounded to float32; in a list, they are rounded to float32 at once.
Columns: TypeAlias = "list[NDArray[Any]] | tuple[NDArray[Any], ...]"

READABLE = (np.dtype(np.float64), np.dtype(np.float32), np.dtype(np.int64))

#: pandas' nullable types, whose values and missing cells are two arrays.
_MASKED = {
    *("BooleanDtype", "Float32Dtype", "Float64Dtype", "Int8Dtype", "Int16Dtype", "Int32Dtype", "Int64Dtype"),
    *("UInt8Dtype", "UInt16Dtype", "UInt32Dtype", "UInt64Dtype"),
}
_POLARS_INTEGERS = {f"{prefix}{bits}" for prefix in ("Int", "UInt") for bits in (8, 16, 32, 64)}


def readable(array: NDArray[Any]) -> NDArray[Any]:
    """Return `array`, or an aligned copy if its cells are not aligned in memory (a field of packed records)."""
    return array if array.flags.aligned else array.copy()


def native(x: NDArray[Any], dtype: DTypeLike | None = None) -> NDArray[Any]:
    """`x` as float64, float32 or int64, which hold its values exactly; not copied if it is one of them already."""
    if dtype is None:
        dtype = np.int64 if x.dtype.kind in "biu" else np.float32 if x.dtype.itemsize < 8 else np.float64
    return np.require(x, dtype, "A")


def is_instance(X: Any, module: str, name: str) -> bool:
    """Tell whether `X` is of a class of a package, without importing the package."""
    cls = getattr(sys.modules.get(module), name, None)
    return cls is not None and isinstance(X, cls)


def is_one_piece(X: Any) -> bool:
    """Tell whether a pandas frame shows its cells as an array without a copy: two arrays of a row then share memory."""
    row = X.iloc[:1]
    return np.may_share_memory(row.to_numpy(), row.to_numpy())


def frame_columns(X: Any) -> NDArray[np.float32] | Columns | None:
    """Return the columns of a pandas or polars frame or an Arrow table, borrowed where possible.

    A frame of objects that lies in one piece becomes one array. None stands for anything else than a frame, for a frame
    without cells, and for a frame that scikit-learn has to convert.
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


def float32_of_objects(cells: NDArray[Any]) -> NDArray[np.float32] | None:
    """Convert an array of Python objects as NumPy does; None if a cell is for NumPy to convert or to refuse."""
    if cells.flags.c_contiguous:
        # A null pointer, which NumPy allows in such an array, must not reach the core as an object.
        converted = _core.float32_of_objects(cells.reshape(-1), np.frombuffer(cells, dtype=np.uintp))
        return None if converted is None else converted.reshape(cells.shape)
    if cells.flags.f_contiguous:
        converted = float32_of_objects(cells.T)
        return None if converted is None else converted.T
    return float32_of_objects(np.ascontiguousarray(cells))


def _complete(columns: Iterable[NDArray[Any] | None], *, by_way_of_float64: bool) -> Columns | None:
    """Put columns together if all could be had."""
    found = []
    for column in columns:
        if column is None or column.dtype not in READABLE:
            return None
        found.append(readable(column))
    return tuple(found) if by_way_of_float64 else found


def _number_array(column: NDArray[Any], *, by_way_of_float64: bool) -> NDArray[Any] | None:
    """Bring a column of one of NumPy's numeric types to a type of the core; None for other types."""
    dtype = column.dtype
    if dtype in READABLE:
        return column
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        return None
    if dtype.itemsize <= 2:
        # Exact.
        return column.astype(np.float32)
    if dtype.kind == "f":
        return column.astype(np.float64)
    if dtype.kind == "u" and dtype.itemsize == 8:
        return column.astype(np.float64 if by_way_of_float64 else np.float32)
    return column.astype(np.int64)


def _pandas_columns(X: Any) -> NDArray[np.float32] | Columns | None:
    dtypes = X.dtypes.tolist()
    kinds = [kind for dtype in dtypes if (kind := _pandas_kind(dtype)) is not None]
    if len(kinds) < len(dtypes):
        return None
    if {"masked", "arrow", "bool"} & {*kinds}:
        # ``X.astype("float32")``: each column for itself.
        return _complete(map(_pandas_column, X.items(), kinds), by_way_of_float64=False)
    if {"object", "decimal"} & {*kinds}:
        # All columns are brought to objects, as which integers are rounded like Python's.
        if len(kinds) > 1 and any(kind == "decimal" and X.iloc[:, j].isna().any() for j, kind in enumerate(kinds)):
            # Missing cells are ``pandas.NA`` then, which is no number.
            return None
        if {*kinds} == {"object"} and is_one_piece(X):
            return float32_of_objects(X.to_numpy())
        read = (_pandas_column(item, kind, by_way_of_float64=True) for item, kind in zip(X.items(), kinds, strict=True))
        return _complete(read, by_way_of_float64=True)
    # NumPy's numbers are brought to the type that holds them all.
    if any(dtype.kind == "u" and dtype.itemsize == 8 for dtype in dtypes):
        return None
    has_floats = any(dtype.kind == "f" for dtype in dtypes)
    return _complete(map(_pandas_column, X.items(), kinds), by_way_of_float64=has_floats)


def _pandas_kind(dtype: Any) -> str | None:
    """Name the way in which a column of a pandas frame is read; None if scikit-learn has to."""
    if isinstance(dtype, np.dtype):
        if dtype.kind in "iuf" and dtype.itemsize <= 8:
            return "number"
        return {"b": "bool", "O": "object"}.get(dtype.kind)
    if type(dtype).__name__ in _MASKED and is_instance(dtype, "pandas", type(dtype).__name__):
        return "masked"
    if is_instance(dtype, "pandas", "ArrowDtype"):
        return _arrow_kind(dtype.pyarrow_dtype)
    return None


def _pandas_column(item: tuple[Any, Any], kind: str, *, by_way_of_float64: bool = False) -> NDArray[Any] | None:
    """Read one column, given as its name and the series."""
    series = item[1]
    if kind == "object":
        return float32_of_objects(series.to_numpy())
    if kind == "masked":
        return _masked_array(series.array)
    if kind in ("arrow", "decimal"):
        return _arrow_array(series.array.__arrow_array__(), rounds_integers_once=True)
    return _number_array(series.to_numpy(copy=False), by_way_of_float64=by_way_of_float64)


def _masked_array(array: Any) -> NDArray[Any] | None:
    """Read a nullable column: as float32 if cells are missing, which become NaN; integers are then rounded once."""
    if array.isna().any():
        converted: NDArray[Any] = array.to_numpy(dtype=np.float32, na_value=np.nan)
        return converted
    return _number_array(array.to_numpy(dtype=array.dtype.numpy_dtype, copy=False), by_way_of_float64=False)


def _arrow_columns(X: Any) -> Columns | None:
    if any(_arrow_kind(field.type) is None for field in X.schema):
        return None
    return _complete((_arrow_array(column) for column in X.columns), by_way_of_float64=False)


def _arrow_kind(dtype: Any) -> str | None:
    """Name the kind of an Arrow type, as `_pandas_kind` does."""
    types = sys.modules["pyarrow"].types
    if types.is_boolean(dtype) or types.is_integer(dtype) or types.is_floating(dtype):
        return "arrow"
    return "decimal" if types.is_decimal128(dtype) else None


def _arrow_array(column: Any, *, rounds_integers_once: bool = False) -> NDArray[Any] | None:
    """Read an Arrow column, whose missing values become NaN.

    Beside missing values, integers become float64 in Arrow's own conversion, and float32 at once in that of pandas.
    """
    arrow = sys.modules["pyarrow"]
    if isinstance(column, arrow.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    dtype, n_missing = column.type, column.null_count
    if arrow.types.is_decimal128(dtype):
        return _decimal_array(column)
    if arrow.types.is_boolean(dtype):
        return _boolean_array(_bits(column, 1), _bits(column, 0) if n_missing else None)
    if n_missing:
        if arrow.types.is_float16(dtype) or (dtype == arrow.uint64() and rounds_integers_once):
            return None
        if arrow.types.is_integer(dtype):
            column = column.cast(arrow.float32() if rounds_integers_once else arrow.float64(), safe=False)
        column = column.fill_null(float("nan"))
    return _number_array(column.to_numpy(zero_copy_only=False), by_way_of_float64=False)


def _bits(column: Any, buffer: int) -> NDArray[np.uint8]:
    """Return a buffer of bits of an Arrow array: whether each cell is there (0), or the values of Booleans (1)."""
    data = np.frombuffer(column.buffers()[buffer], dtype=np.uint8)
    end = column.offset + len(column)
    return np.unpackbits(data, count=end, bitorder="little")[column.offset :]


def _boolean_array(values: NDArray[Any], is_present: NDArray[Any] | None) -> NDArray[np.float32]:
    """Bring Booleans to float32; a missing one is 0 / 0, which takes a quarter of the time of a masked assignment."""
    if is_present is None:
        return values.astype(np.float32)
    with np.errstate(invalid="ignore"):
        array: NDArray[np.float32] = np.divide(values & is_present, is_present, dtype=np.float32)
    return array


def _decimal_array(column: Any) -> NDArray[np.float32]:
    """Read an Arrow array of decimals of 128 bits, whose missing values become NaN."""
    end = column.offset + len(column)
    words = np.frombuffer(column.buffers()[1], dtype=np.int64, count=2 * end).reshape(-1, 2)
    words = np.require(words[column.offset :], requirements=("C", "A"))
    array = _core.float32_of_decimals(words, column.type.scale)
    if column.null_count:
        np.putmask(array, _bits(column, 0) == 0, np.nan)
    return array


def _polars_columns(X: Any) -> Columns | None:
    columns = [(column, str(column.dtype.base_type())) for column in X.get_columns()]
    kinds = {kind for _, kind in columns}
    if kinds <= _POLARS_INTEGERS | {"Boolean", "Float32", "Float64"}:
        return _polars_numbers(columns, kinds)
    if not kinds <= _POLARS_INTEGERS | {"Boolean", "Float32", "Float64", "Decimal", "Int128", "UInt128"}:
        return None
    if "Float64" in kinds:
        # All columns are cast to it, by polars.
        return _complete((_polars_float64(column) for column, _ in columns), by_way_of_float64=True)
    if kinds <= _POLARS_INTEGERS | {"Boolean", "Decimal"}:
        # All columns are brought to objects, as which integers are rounded like Python's.
        return _complete((_polars_object(*column) for column in columns), by_way_of_float64=True)
    return None


def _polars_numbers(columns: list[tuple[Any, str]], kinds: set[str]) -> Columns | None:
    """Read columns that polars brings to the numeric type that holds them all, or to float64 if values are missing."""
    has_floats = not kinds.isdisjoint({"Float32", "Float64"})
    if "UInt64" in kinds and not has_floats and len(kinds) > 1:
        return None
    # Booleans alone are no numbers, and become objects where some are missing.
    has_missing = kinds != {"Boolean"} and not has_floats and any(column.null_count() for column, _ in columns)
    by_way_of_float64 = has_floats or has_missing
    read = (_polars_number(*column, by_way_of_float64=by_way_of_float64) for column in columns)
    return _complete(read, by_way_of_float64=by_way_of_float64)


def _polars_number(column: Any, kind: str, *, by_way_of_float64: bool) -> NDArray[Any] | None:
    if kind == "Boolean":
        return _polars_boolean(column)
    if column.null_count():
        return _polars_float64(column)
    return _number_array(column.to_numpy(), by_way_of_float64=by_way_of_float64)


def _polars_float64(column: Any) -> NDArray[np.float64]:
    floats = column.cast(sys.modules["polars"].Float64)
    values: NDArray[np.float64] = (floats.fill_null(float("nan")) if floats.null_count() else floats).to_numpy()
    return values


def _polars_boolean(column: Any) -> NDArray[np.float32]:
    if column.null_count() == 0:
        return _boolean_array(column.to_numpy(), None)
    return _boolean_array(column.fill_null(False).to_numpy(), column.is_not_null().to_numpy())


def _polars_object(column: Any, kind: str) -> NDArray[Any] | None:
    if kind != "Decimal":
        return _polars_number(column, kind, by_way_of_float64=True)
    try:
        importlib.import_module("pyarrow")
    except ImportError:
        return None
    return _arrow_array(column.to_arrow())
