"""The two tables of `rank_features`: whatever container they come in, their names and columns, and which match."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from isoxide._common.imports import needed_module
from isoxide._common.patterns import check_distinct
from isoxide._frames.containers import is_instance

#: Beyond this, not every integer is a float64.
_EXACT = 2**53
#: Without those that NumPy lacks: decimals, and integers of 128 bits, which are brought to 64.
_POLARS_INTEGERS = {f"{prefix}{bits}" for prefix in ("Int", "UInt") for bits in (8, 16, 32, 64)}
_POLARS_NUMBERS = _POLARS_INTEGERS | {"Boolean", "Float16", "Float32", "Float64"}


class Table(ABC):
    """A two-dimensional argument, read column by column; a subclass per kind of container."""

    #: The package that makes frames of this kind; for arrays pandas.
    backend: ClassVar[str] = "pandas"

    def __init__(self, what: str, data: Any) -> None:
        self.what = what
        self.data = data
        self.n_rows, self.n_columns = data.shape
        self.names = self._names()

    def column(self, j: int, name: str) -> NDArray[Any]:
        """One numeric column, borrowed where its type allows it; missing values become NaN."""
        column = self._native_column(j)
        if not self._is_numeric(column):
            raise TypeError(
                f"column {name!r} of {self.what} has dtype {self._dtype(column)}, which has no percentile ranks; "
                "list the numeric columns to use with features=[...]"
            )
        if not self._has_missing(column):
            return self._to_array(column)
        present = self._to_array(self._present(column))
        if present.dtype.kind in "iu" and ((present > _EXACT) | (present < -_EXACT)).any():
            raise ValueError(
                f"column {name!r} of {self.what} has missing values and integers beyond 2**53, "
                "which cannot become float64 without a loss; fill or drop the missing values first"
            )
        return self._with_nan(column)

    def labels(self, name: str) -> list[Any]:
        """One column of any type, which must be there, as Python's objects."""
        return list(self._native_column((self.names or []).index(name)).tolist())

    def index(self) -> Any:
        """The labels of the rows; None if they are only counted."""
        return None

    def scalars(self, places: list[int], columns: list[NDArray[Any]]) -> NDArray[Any]:
        """What the cells at these places are for Python: here each column's own type, NaN where one is missing."""
        scalars = np.empty((self.n_rows, len(columns)), dtype=object)
        for j, column in enumerate(columns):
            scalars[:, j] = column
        return scalars

    def _names(self) -> list[str] | None:
        names = self._labels()
        n_strings = sum(isinstance(name, str) for name in names)
        if n_strings == 0:
            return None
        if n_strings < len(names):
            raise TypeError(f"the column names of {self.what} must be all strings or none of them, got {names}")
        check_distinct(names, f"the column names of {self.what}")
        return names

    def _labels(self) -> list[Any]:
        return list(self.data.columns)

    def _dtype(self, column: Any) -> Any:
        return column.dtype

    @abstractmethod
    def _native_column(self, j: int) -> Any: ...

    @abstractmethod
    def _is_numeric(self, column: Any) -> bool: ...

    @abstractmethod
    def _has_missing(self, column: Any) -> bool:
        """Whether values are missing in a way that NumPy does not know."""

    @abstractmethod
    def _present(self, column: Any) -> Any:
        """The column without its missing values."""

    @abstractmethod
    def _to_array(self, column: Any) -> NDArray[Any]:
        """A column without missing values."""

    @abstractmethod
    def _with_nan(self, column: Any) -> NDArray[Any]:
        """A column with missing values, in a floating type that holds the others exactly."""


class ArrayTable(Table):
    """A NumPy array."""

    def scalars(self, places: list[int], columns: list[NDArray[Any]]) -> NDArray[Any]:
        return self.data[:, places]  # type: ignore[no-any-return]

    def _labels(self) -> list[Any]:
        return []

    def _native_column(self, j: int) -> Any:
        return self.data[:, j]

    def _is_numeric(self, column: Any) -> bool:
        return column.dtype.kind in "biuf"

    def _has_missing(self, column: Any) -> bool:
        return False

    def _present(self, column: Any) -> Any:
        return column

    def _to_array(self, column: Any) -> NDArray[Any]:
        return column  # type: ignore[no-any-return]

    def _with_nan(self, column: Any) -> NDArray[Any]:
        return column  # type: ignore[no-any-return]


class PandasTable(Table):
    """A pandas frame, of NumPy's types, nullable, backed by Arrow, or sparse."""

    def index(self) -> Any:
        return self.data.index

    def scalars(self, places: list[int], columns: list[NDArray[Any]]) -> NDArray[Any]:
        # What a loop over the frame's rows would show: one type for all its columns, Python's own if they have none.
        return np.array(self.data.to_numpy()[:, places])

    def _native_column(self, j: int) -> Any:
        return self.data.iloc[:, j]

    def _is_numeric(self, column: Any) -> bool:
        return getattr(column.dtype, "kind", "O") in "biuf"

    def _has_missing(self, column: Any) -> bool:
        return hasattr(column.dtype, "numpy_dtype") and bool(column.isna().any())

    def _present(self, column: Any) -> Any:
        return column.dropna()

    def _to_array(self, column: Any) -> NDArray[Any]:
        if isinstance(column.dtype, np.dtype):
            return column.to_numpy(copy=False)  # type: ignore[no-any-return]
        dtype = getattr(column.dtype, "numpy_dtype", None)
        return np.asarray(column) if dtype is None else column.to_numpy(dtype=dtype)

    def _with_nan(self, column: Any) -> NDArray[Any]:
        return column.to_numpy(dtype=np.float64, na_value=np.nan)  # type: ignore[no-any-return]


class PolarsTable(Table):
    """A polars frame."""

    backend = "polars"

    def labels(self, name: str) -> list[Any]:
        return self.data[name].to_list()  # type: ignore[no-any-return]

    def _native_column(self, j: int) -> Any:
        column = self.data.to_series(j)
        return self._in_64_bits(column) if str(column.dtype) in ("Int128", "UInt128") else column

    def _in_64_bits(self, column: Any) -> Any:
        polars = sys.modules["polars"]
        for dtype in (polars.Int64, polars.UInt64):
            narrow = column.cast(dtype, strict=False)
            if narrow.null_count() == column.null_count():
                return narrow
        raise ValueError(
            f"column {column.name!r} of {self.what} has integers beyond 64 bits, which have no exact percentile ranks; "
            "cast it to Float64, or list the columns to use with features=[...]"
        )

    def _is_numeric(self, column: Any) -> bool:
        return str(column.dtype) in _POLARS_NUMBERS

    def _has_missing(self, column: Any) -> bool:
        return bool(column.null_count())

    def _present(self, column: Any) -> Any:
        return column.drop_nulls()

    def _to_array(self, column: Any) -> NDArray[Any]:
        return column.to_numpy()  # type: ignore[no-any-return]

    def _with_nan(self, column: Any) -> NDArray[Any]:
        # Booleans with nulls would become objects.
        is_boolean = str(column.dtype) == "Boolean"
        return (column.cast(sys.modules["polars"].UInt8) if is_boolean else column).to_numpy()  # type: ignore[no-any-return]


class ArrowTable(Table):
    """A pyarrow table."""

    backend = "pyarrow"

    def labels(self, name: str) -> list[Any]:
        return self.data[name].to_pylist()  # type: ignore[no-any-return]

    def _labels(self) -> list[Any]:
        return list(self.data.column_names)

    def _dtype(self, column: Any) -> Any:
        return column.type

    def _native_column(self, j: int) -> Any:
        return self.data.column(j)

    def _is_numeric(self, column: Any) -> bool:
        types = sys.modules["pyarrow"].types
        return any(is_kind(column.type) for is_kind in (types.is_boolean, types.is_integer, types.is_floating))

    def _has_missing(self, column: Any) -> bool:
        return bool(column.null_count)

    def _present(self, column: Any) -> Any:
        return column.drop_null()

    def _to_array(self, column: Any) -> NDArray[Any]:
        return column.to_numpy()  # type: ignore[no-any-return]

    def _with_nan(self, column: Any) -> NDArray[Any]:
        # Booleans with nulls would become objects.
        is_boolean = sys.modules["pyarrow"].types.is_boolean(column.type)
        return (column.cast("uint8") if is_boolean else column).to_numpy()  # type: ignore[no-any-return]


def read_table(X: Any, what: str) -> Table:
    """A table of any container.

    Parameters
    ----------
    X : array-like or frame of shape (n_rows, n_columns)
        Frames of pandas, polars and pyarrow, and, by way of pyarrow, what has the Arrow C stream or the interchange
        protocol.
    what : str
        Its name in messages.

    Returns
    -------
    Table
        Nothing is copied but lists and what goes by way of pyarrow without being Arrow.

    Raises
    ------
    ValueError
        If `X` is not two-dimensional, or has a column name twice.
    TypeError
        If `X` is a sparse matrix, or if only some column names are strings.
    ImportError
        If pyarrow is needed to read `X` and not installed.
    """
    if scipy.sparse.issparse(X):
        raise TypeError(f"{what} is a sparse matrix, but ranks need dense columns: use {what}.toarray()")
    if is_instance(X, "narwhals", "DataFrame"):
        X = X.to_native()
    if hasattr(X, "iloc") and hasattr(X, "columns"):
        return PandasTable(what, X)
    if is_instance(X, "polars", "DataFrame"):
        return PolarsTable(what, X)
    if is_instance(X, "pyarrow", "Table"):
        return ArrowTable(what, X)
    if hasattr(X, "__arrow_c_stream__") and not _is_one_column(X):
        return ArrowTable(what, needed_module("pyarrow", f"{what} of type {type(X).__name__}").table(X))
    if hasattr(X, "__dataframe__"):
        interchange = needed_module("pyarrow.interchange", f"{what} of type {type(X).__name__}")
        return ArrowTable(what, interchange.from_dataframe(X))
    array = np.asarray(X)
    if array.ndim != 2:
        hint = "" if array.ndim else f" of type {type(X).__name__}; a lazy frame must be collected first"
        raise ValueError(f"{what} must be a 2-D array or a frame, got {array.ndim} dimension(s){hint}")
    return ArrayTable(what, array)


def _is_one_column(X: Any) -> bool:
    """Whether something with an Arrow stream is a series."""
    return is_instance(X, "pyarrow", "ChunkedArray") or len(getattr(X, "shape", (0, 0))) != 2
