"""The one adapter from a column of any container to a NumPy array.

A `Column` wraps a column without copying it. It gives every conversion the same facts: dtype and family, whether cells
are missing, the cells that are present, and all cells with NaN for the missing ones. One subclass per container (NumPy,
pandas, polars, Arrow) implements these methods. Cells that are NaN already do not count as missing.

There are two conversions, since a forest and ranks need different numbers:

    float32_source(column)    an array whose cells round to the same float32 as in scikit-learn's conversion of a frame;
                              some containers round integers once, others twice, by way of float64
    exact_numbers(column)     the exact numbers, or an error if a float64 array with NaN cannot hold them

`containers` uses `float32_source` for whole frames, `tables` uses `exact_numbers`, and `columns` reads Arrow batches.
The conversion from pandas to Arrow is a separate one in `pandas_columns`, since it keeps declared types and text.
This module imports NumPy only: if a column belongs to pandas, polars or Arrow, its owner has already imported them.
"""

from __future__ import annotations

import importlib
import sys
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoxide import _core
from isoxide._frames.dtypes import (
    EXACT_INTEGERS,
    READABLE,
    arrow_family,
    is_core_number,
    is_uint64,
    numpy_family,
    polars_family,
    polars_name,
)

__all__ = [
    "ArrowColumn",
    "Column",
    "NumpyColumn",
    "PolarsColumn",
    "exact_numbers",
    "float32_of_objects",
    "float32_source",
    "is_instance",
    "pandas_column",
    "pandas_storage",
]

#: pandas' nullable dtypes, whose values and missing cells are two arrays.
_MASKED = {
    *("BooleanDtype", "Float32Dtype", "Float64Dtype", "Int8Dtype", "Int16Dtype", "Int32Dtype", "Int64Dtype"),
    *("UInt8Dtype", "UInt16Dtype", "UInt32Dtype", "UInt64Dtype"),
}


def is_instance(X: Any, module: str, name: str) -> bool:
    """Tell whether `X` is an instance of ``module.name``, without importing the module."""
    cls = getattr(sys.modules.get(module), name, None)
    return cls is not None and isinstance(X, cls)


class Column(ABC):
    """Column of a table, kept in the container that holds it; no cells are copied.

    Parameters
    ----------
    data : array, Series or ChunkedArray
        The column.

    Attributes
    ----------
    dtype : dtype
        Dtype object of the container's package, such as a ``polars.DataType``.
    family : str or None
        ``"boolean"``, ``"integer"``, ``"float"`` or ``"decimal"``; None if it holds no numbers.
    """

    __slots__ = ("data", "dtype", "family")

    data: Any
    dtype: Any
    family: str | None

    @abstractmethod
    def has_missing(self) -> bool:
        """Tell whether cells are missing in a way that NumPy does not have, such as null."""

    @abstractmethod
    def present(self) -> NDArray[Any]:
        """Return the cells that are not missing, in the order of the rows."""

    @abstractmethod
    def values(self) -> NDArray[Any]:
        """Return all cells of a column in which none is missing, without a copy if the storage allows it."""

    @abstractmethod
    def with_nan(self) -> NDArray[Any]:
        """Return all cells with NaN for the missing ones: floats keep their dtype, other numbers become floats."""

    def float32_source(self, *, via_float64: bool) -> NDArray[Any] | None:
        """Return the column as the function `float32_source` does."""
        return _core_numbers(self.values(), via_float64=via_float64)


def float32_source(column: Column, *, via_float64: bool = False) -> NDArray[Any] | None:
    """Return a column as an array that the core rounds to the same float32 as scikit-learn's conversion.

    Parameters
    ----------
    column : Column
        The column.
    via_float64 : bool
        Whether scikit-learn converts all columns of the frame to float64 first. It matters here for uint64 only. int64
        is returned unchanged, and the core rounds it by way of float64 if the columns are in a tuple.

    Returns
    -------
    ndarray or None
        Array of float64, float32 or int64, not copied if possible; None if scikit-learn has to convert the column.
    """
    return column.float32_source(via_float64=via_float64)


def exact_numbers(column: Column, name: str, table_name: str) -> NDArray[Any]:
    """Return the exact numbers of a column, without a copy if the storage allows it; missing cells become NaN.

    Parameters
    ----------
    column : Column
        The column.
    name, table_name : str
        Names of the column and its table in messages.

    Raises
    ------
    TypeError
        If the column's dtype is not boolean, integer or float.
    ValueError
        If cells are missing and float64 cannot hold the integers in the other cells exactly.
    """
    if column.family not in ("boolean", "integer", "float"):
        raise TypeError(
            f"column {name!r} of {table_name} has dtype {column.dtype}, which cannot be ranked; "
            "list the numeric columns to use with features=[...]"
        )
    if not column.has_missing():
        return column.values()
    if column.family == "integer":
        present = column.present()
        if ((present > EXACT_INTEGERS) | (present < -EXACT_INTEGERS)).any():
            raise ValueError(
                f"column {name!r} of {table_name} has missing values and integers beyond 2**53, "
                "which float64 cannot hold exactly; fill or drop the missing values first"
            )
    return column.with_nan()


def _core_numbers(values: NDArray[Any], *, via_float64: bool) -> NDArray[Any] | None:
    """Convert to a dtype that the core reads and that rounds to the same float32; return None if there is none."""
    dtype = values.dtype
    if dtype in READABLE:
        return values
    if not is_core_number(dtype):
        return None
    if dtype.itemsize <= 2:
        # float32 holds all of these values exactly.
        return values.astype(np.float32)
    if dtype.kind == "f":
        return values.astype(np.float64)
    if is_uint64(dtype):
        return values.astype(np.float64 if via_float64 else np.float32)
    return values.astype(np.int64)


class NumpyColumn(Column):
    """Column of a NumPy array, or of a pandas frame that stores it as one."""

    __slots__ = ()

    def __init__(self, data: NDArray[Any]) -> None:
        self.data, self.dtype, self.family = data, data.dtype, numpy_family(data.dtype)

    def has_missing(self) -> bool:
        """Return False, since missing numbers in NumPy are NaN."""
        return False

    def present(self) -> NDArray[Any]:
        """Return the array itself, whose missing cells are NaN."""
        return self.data  # type: ignore[no-any-return]

    def values(self) -> NDArray[Any]:
        """Return the array itself, without a copy."""
        return self.data  # type: ignore[no-any-return]

    def with_nan(self) -> NDArray[Any]:
        """Return the array itself, whose missing cells are NaN."""
        return self.data  # type: ignore[no-any-return]


class ObjectColumn(NumpyColumn):
    """Column of Python objects in a pandas frame; they may or may not be numbers."""

    __slots__ = ()

    def float32_source(self, *, via_float64: bool) -> NDArray[Any] | None:
        """Convert each object as NumPy does."""
        return float32_of_objects(self.data)


class ExtensionColumn(Column):
    """Column of a pandas frame with an extension dtype that is not Arrow's: nullable, sparse, or of another package."""

    __slots__ = ()

    def __init__(self, data: Any) -> None:
        self.data, self.dtype, self.family = data, data.dtype, numpy_family(data.dtype)

    def has_missing(self) -> bool:
        """Tell whether cells are missing; in sparse columns they are NaN and do not count."""
        return bool(self.data.isna().any()) and hasattr(self.dtype, "numpy_dtype")

    def present(self) -> NDArray[Any]:
        """Return a copy of the cells that are not missing."""
        return self.data.dropna().to_numpy(dtype=self.dtype.numpy_dtype)  # type: ignore[no-any-return]

    def values(self) -> NDArray[Any]:
        """Return the array of values, without a copy for nullable columns."""
        dtype = getattr(self.dtype, "numpy_dtype", None)
        return np.asarray(self.data) if dtype is None else self.data.to_numpy(dtype=dtype)

    def with_nan(self) -> NDArray[Any]:
        """Return the values with NaN for the missing ones."""
        is_float32 = getattr(self.dtype, "numpy_dtype", None) == np.float32
        return self.data.to_numpy(dtype=np.float32 if is_float32 else np.float64, na_value=np.nan)  # type: ignore[no-any-return]

    def float32_source(self, *, via_float64: bool) -> NDArray[Any] | None:
        """Return float32 if cells are missing, so that integers are rounded only once, as in scikit-learn."""
        if self.has_missing():
            return self.data.to_numpy(dtype=np.float32, na_value=np.nan)  # type: ignore[no-any-return]
        return _core_numbers(self.values(), via_float64=False)


class ArrowColumn(Column):
    """Column of an Arrow table or batch, or of a pandas frame that stores it as one.

    Parameters
    ----------
    data : pyarrow.Array or pyarrow.ChunkedArray
        The column.
    pandas_dtype : pandas.ArrowDtype, optional
        Dtype of the pandas column that stores the data; None if it comes from an Arrow table.
    """

    __slots__ = ("_is_from_pandas",)

    def __init__(self, data: Any, pandas_dtype: Any = None) -> None:
        self.data, self.family, self._is_from_pandas = data, arrow_family(data.type), pandas_dtype is not None
        self.dtype = pandas_dtype if self._is_from_pandas else data.type

    def has_missing(self) -> bool:
        """Tell whether cells are null; NaN is a number for Arrow."""
        return bool(self.data.null_count)

    def present(self) -> NDArray[Any]:
        """Return a copy of the cells that are not null."""
        return self.data.drop_null().to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]

    def values(self) -> NDArray[Any]:
        """Return the buffer of a column of one chunk, else a copy."""
        return self.data.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]

    def with_nan(self) -> NDArray[Any]:
        """Return a copy with NaN for null."""
        # Booleans with nulls would become objects.
        data = self.data.cast("uint8") if self.family == "boolean" else self.data
        return data.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]

    def array(self) -> Any:
        """Return the column as one Arrow array, without a copy if it has a single chunk."""
        if not isinstance(self.data, sys.modules["pyarrow"].ChunkedArray):
            return self.data
        return self.data.chunk(0) if self.data.num_chunks == 1 else self.data.combine_chunks()

    def float32_source(self, *, via_float64: bool) -> NDArray[Any] | None:
        """Return the cells with NaN for null.

        If a column has nulls, Arrow converts its integers to float64, and pandas converts them directly to float32.
        """
        arrow, column = sys.modules["pyarrow"], self.array()
        n_missing = column.null_count
        if self.family == "decimal":
            return _float32_of_decimals(column)
        if self.family == "boolean":
            return _float32_of_booleans(_bits(column, 1), _bits(column, 0) if n_missing else None)
        if n_missing:
            if arrow.types.is_float16(column.type) or (column.type == arrow.uint64() and self._is_from_pandas):
                return None
            if self.family == "integer":
                column = column.cast(arrow.float32() if self._is_from_pandas else arrow.float64(), safe=False)
            column = column.fill_null(float("nan"))
        return _core_numbers(column.to_numpy(zero_copy_only=False), via_float64=False)


class PolarsColumn(Column):
    """Column of a polars frame; `narrowed` converts 128-bit integers to 64-bit ones."""

    __slots__ = ()

    def __init__(self, data: Any) -> None:
        self.data, self.dtype, self.family = data, data.dtype, polars_family(data.dtype)

    def has_missing(self) -> bool:
        """Tell whether cells are null; NaN is a number for polars."""
        return bool(self.data.null_count())

    def present(self) -> NDArray[Any]:
        """Return a copy of the cells that are not null."""
        return self.data.drop_nulls().to_numpy()  # type: ignore[no-any-return]

    def values(self) -> NDArray[Any]:
        """Return the buffer of a column of one chunk, else a copy."""
        return self.data.to_numpy()  # type: ignore[no-any-return]

    def with_nan(self) -> NDArray[Any]:
        """Return a copy with NaN for null."""
        # Booleans with nulls would become objects.
        data = self.data.cast(sys.modules["polars"].UInt8) if self.family == "boolean" else self.data
        return data.to_numpy()  # type: ignore[no-any-return]

    def narrowed(self, table_name: str) -> PolarsColumn:
        """Convert a column of 128-bit integers to 64-bit ones; return any other column unchanged.

        Raises
        ------
        ValueError
            If an integer does not fit in 64 bits.
        """
        if polars_name(self.dtype) not in ("Int128", "UInt128"):
            return self
        polars = sys.modules["polars"]
        for dtype in (polars.Int64, polars.UInt64):
            narrow = self.data.cast(dtype, strict=False)
            if narrow.null_count() == self.data.null_count():
                return PolarsColumn(narrow)
        raise ValueError(
            f"column {self.data.name!r} of {table_name} has integers beyond 64 bits, which cannot be ranked "
            "exactly; cast it to Float64, or list the columns to use with features=[...]"
        )

    def float64(self) -> NDArray[np.float64]:
        """Return the cells as polars casts them to Float64, with NaN for null."""
        floats = self.data.cast(sys.modules["polars"].Float64)
        values: NDArray[np.float64] = (floats.fill_null(float("nan")) if floats.null_count() else floats).to_numpy()
        return values

    def float32_source(self, *, via_float64: bool) -> NDArray[Any] | None:
        """Return the cells with NaN for null; if there are nulls, polars converts all numbers to float64."""
        if self.family == "decimal":
            try:
                importlib.import_module("pyarrow")
            except ImportError:
                return None
            return ArrowColumn(self.data.to_arrow()).float32_source(via_float64=via_float64)
        if self.family == "boolean":
            if not self.has_missing():
                return _float32_of_booleans(self.values(), None)
            return _float32_of_booleans(self.data.fill_null(False).to_numpy(), self.data.is_not_null().to_numpy())
        if self.has_missing():
            return self.float64()
        return _core_numbers(self.values(), via_float64=via_float64)


def pandas_storage(dtype: Any) -> str | None:
    """Return how pandas stores a column: ``"numpy"``, ``"object"``, ``"masked"``, ``"arrow"``; None for others."""
    if isinstance(dtype, np.dtype):
        return "object" if dtype.kind == "O" else "numpy"
    name = type(dtype).__name__
    if name in _MASKED and is_instance(dtype, "pandas", name):
        return "masked"
    return "arrow" if is_instance(dtype, "pandas", "ArrowDtype") else None


def pandas_column(series: Any, storage: str | None = None) -> Column:
    """Return the column of a pandas series; `storage` saves a call of `pandas_storage` if it is known."""
    storage = storage or pandas_storage(series.dtype)
    if storage == "numpy":
        return NumpyColumn(series.to_numpy(copy=False))
    if storage == "object":
        return ObjectColumn(series.to_numpy(copy=False))
    if storage == "arrow":
        return ArrowColumn(series.array.__arrow_array__(), series.dtype)
    return ExtensionColumn(series.array)


def float32_of_objects(cells: NDArray[Any]) -> NDArray[np.float32] | None:
    """Convert an array of Python objects as NumPy does; return None if NumPy has to convert or refuse a cell."""
    if cells.flags.c_contiguous:
        # NumPy allows null pointers in such an array; the second argument lets the core detect them.
        converted = _core.float32_of_objects(cells.reshape(-1), np.frombuffer(cells, dtype=np.uintp))
        return None if converted is None else converted.reshape(cells.shape)
    if cells.flags.f_contiguous:
        converted = float32_of_objects(cells.T)
        return None if converted is None else converted.T
    return float32_of_objects(np.ascontiguousarray(cells))


def _float32_of_booleans(values: NDArray[Any], is_present: NDArray[Any] | None) -> NDArray[np.float32]:
    """Convert booleans to float32; a missing one is 0 / 0 = NaN, four times as fast as a masked assignment."""
    if is_present is None:
        return values.astype(np.float32)
    with np.errstate(invalid="ignore"):
        array: NDArray[np.float32] = np.divide(values & is_present, is_present, dtype=np.float32)
    return array


def _float32_of_decimals(column: Any) -> NDArray[np.float32]:
    """Convert an Arrow array of 128-bit decimals; missing values become NaN."""
    end = column.offset + len(column)
    halves = np.frombuffer(column.buffers()[1], dtype=np.int64, count=2 * end).reshape(-1, 2)
    halves = np.require(halves[column.offset :], requirements=("C", "A"))
    array = _core.float32_of_decimals(halves, column.type.scale)
    if column.null_count:
        np.putmask(array, _bits(column, 0) == 0, np.nan)
    return array


def _bits(column: Any, buffer: int) -> NDArray[np.uint8]:
    """Unpack a bit buffer of an Arrow array: buffer 0 marks the cells that are not null, 1 holds boolean values."""
    data = np.frombuffer(column.buffers()[buffer], dtype=np.uint8)
    end = column.offset + len(column)
    return np.unpackbits(data, count=end, bitorder="little")[column.offset :]
