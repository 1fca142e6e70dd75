"""The two tables of `rank_features`: whatever container they come in, their names and columns, and which match."""

from __future__ import annotations

import importlib
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

#: More columns fit in no memory, and NumPy refuses such sizes in other words.
MAX_COLUMNS = 2**40
#: Bytes of what is made for each column: its name, its place, an array that borrows it.
_COLUMN_BYTES = 1024
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
    if _is_instance(X, "narwhals", "DataFrame"):
        X = X.to_native()
    if hasattr(X, "iloc") and hasattr(X, "columns"):
        return PandasTable(what, X)
    if _is_instance(X, "polars", "DataFrame"):
        return PolarsTable(what, X)
    if _is_instance(X, "pyarrow", "Table"):
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


def _is_instance(X: Any, module: str, name: str) -> bool:
    """Whether `X` is of a class of a package, which is not imported for that."""
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(X, kind)


def _is_one_column(X: Any) -> bool:
    """Whether something with an Arrow stream is a series."""
    return _is_instance(X, "pyarrow", "ChunkedArray") or len(getattr(X, "shape", (0, 0))) != 2


def needed_module(name: str, what: str, install: str | None = None) -> Any:
    """An optional package, or the sentence that says how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.split(".")[0]
        raise ImportError(f"{what} needs {package}: pip install {install or package}") from error


class Layout(NamedTuple):
    """What of a table that is not kept must be known to match another one with it."""

    names: list[str] | None
    n_columns: int


def match(
    rows: Table, reference: Table | Layout, features: Iterable[str] | None
) -> tuple[list[str], list[int], list[int]]:
    """Which columns of two tables belong together.

    Parameters
    ----------
    rows, reference : Table
        Of the reference its layout will do. Matched by name if both have names, otherwise by position.
    features : list of str or None
        The columns to use, in this order; by default all, in the order of `rows`.

    Returns
    -------
    names : list of str
        Of the features; ``"x0"``, ``"x1"``, ... if neither table has names.
    row_places, reference_places : list of int
        Where each feature is in either table.

    Raises
    ------
    ValueError
        If columns have no counterpart, or `features` are unknown, repeated, or one string.
    """
    by_name = rows.names is not None and reference.names is not None
    if not by_name and rows.n_columns != reference.n_columns:
        raise ValueError(
            f"rows has {rows.n_columns} columns and reference has {reference.n_columns}; "
            "without names in both they are matched by position, so the numbers must agree"
        )
    row_names = rows.names or reference.names or numbered_names(rows.n_columns)
    reference_names = reference.names or row_names
    if features is None:
        missing, extra = _without(reference_names, row_names), _without(row_names, reference_names)
        if missing or extra:
            raise ValueError(
                f"rows and reference must have the same columns; not in rows: {missing}, not in reference: {extra}; "
                "features=[...] uses some of them only"
            )
        names = list(row_names)
    else:
        names = name_list(features, "features")
        check_known(names, row_names, "features not in rows")
        check_known(names, reference_names, "features not in reference")
        check_distinct(names, "features")
    row_places = {name: j for j, name in enumerate(row_names)}
    reference_places = {name: j for j, name in enumerate(reference_names)}
    return names, [row_places[name] for name in names], [reference_places[name] for name in names]


def numbered_names(n: int) -> list[str]:
    """Return the names ``"x0"``, ``"x1"``, ... of `n` columns that have none.

    Raises
    ------
    MemoryError
        If there is no memory for what is made for each column.
    """
    if n > MAX_COLUMNS:
        raise MemoryError(f"a table of {n} columns fits in no memory")
    # Asked for and given back untouched: a list that grows would take the memory of other programs first.
    np.empty(n * _COLUMN_BYTES, dtype=np.uint8)
    return [f"x{j}" for j in range(n)]


def name_list(names: Iterable[str], what: str) -> list[str]:
    """Names as a list; one string is refused, as it would be taken for a list of letters."""
    if isinstance(names, str):
        raise ValueError(f"{what} must be a list of names, got the string {names!r}")
    return list(names)


def check_distinct(names: list[str], what: str) -> None:
    """Refuses repeated names."""
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(f"{what} must differ, but these occur more than once: {repeated}")


def check_known(names: list[str], known: list[str], message: str) -> None:
    """Refuses names that are not among the known ones."""
    unknown = _without(names, known)
    if unknown:
        raise ValueError(f"{message}: {unknown}")


def _without(names: list[str], others: list[str]) -> list[str]:
    """The names that are not among the others, in order."""
    known = set(others)
    return [name for name in names if name not in known]
