"""Read the two tables of `rank_features` from any container: names of columns, exact numbers, and labels of rows.

A subclass of `Table` reads one container, and `adapter` converts its columns.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from isoxide._common.imports import import_optional
from isoxide._common.patterns import check_distinct
from isoxide._frames.adapter import (
    ArrowColumn,
    Column,
    NumpyColumn,
    PolarsColumn,
    exact_numbers,
    is_instance,
    pandas_column,
)
from isoxide._frames.containers import is_one_piece
from isoxide._frames.dtypes import is_core_number

#: Number of columns of a pandas frame from which on it pays to find out how the frame is stored.
_MANY_COLUMNS = 32


class Table(ABC):
    """Table of `rank_features` that is read column by column, with a subclass per container.

    Parameters
    ----------
    table_name : str
        Name of the table in messages.
    data : array or frame of shape (n_rows, n_columns)
        The table, which is not copied.

    Attributes
    ----------
    names : list of str or None
        Names of the columns; None if they have none.
    n_rows, n_columns : int
        Shape of the table.
    """

    #: Name of the package that makes frames of results; for arrays it is pandas.
    backend: ClassVar[str] = "pandas"

    def __init__(self, table_name: str, data: Any) -> None:
        self.table_name = table_name
        self.data = data
        self.n_rows, self.n_columns = data.shape
        self.names = self._names()

    def column(self, j: int, name: str) -> NDArray[Any]:
        """Return the numbers of a column, without a copy if its storage allows it; missing cells become NaN.

        Parameters
        ----------
        j : int
            Index of the column.
        name : str
            Name of the column in messages.

        Raises
        ------
        TypeError
            If the column's dtype is not boolean, integer or float.
        ValueError
            If integers do not fit in 64 bits, or cells are missing and float64 cannot hold the integers exactly.
        """
        return exact_numbers(self._column(j), name, self.table_name)

    def columns(self, positions: list[int], names: list[str]) -> list[NDArray[Any]]:
        """Return the numbers of several columns, as `column` does.

        Parameters
        ----------
        positions : list of int
            Indices of the columns.
        names : list of str
            Name of each of these columns in messages.
        """
        return [self.column(j, name) for j, name in zip(positions, names, strict=True)]

    def labels(self, name: str) -> list[Any]:
        """Return a column of any dtype as Python objects; the table must have a column of this name."""
        return list(self._series((self.names or []).index(name)).tolist())

    def index(self) -> Any:
        """Return the labels of the rows; None if the container has none."""
        return None

    def scalars(self, positions: list[int], columns: list[NDArray[Any]]) -> NDArray[Any]:
        """Return the cells of columns as objects in the dtype of each column, with NaN for missing ones.

        Parameters
        ----------
        positions : list of int
            Indices of the columns.
        columns : list of ndarray
            Numbers of these columns, as `column` returns them.
        """
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
            raise TypeError(f"the column names of {self.table_name} must be all strings or none of them, got {names}")
        check_distinct(names, f"the column names of {self.table_name}")
        return names

    def _labels(self) -> list[Any]:
        return list(self.data.columns)

    @abstractmethod
    def _series(self, j: int) -> Any:
        """Return a column in the container's own class."""

    @abstractmethod
    def _column(self, j: int) -> Column:
        """Return a column for the adapter."""


class ArrayTable(Table):
    """Table of a NumPy array, which has no names."""

    def columns(self, positions: list[int], names: list[str]) -> list[NDArray[Any]]:
        """Return the numbers of several columns; they have one dtype, so it is checked only once."""
        return _views(self.data, positions) or super().columns(positions, names)

    def scalars(self, positions: list[int], columns: list[NDArray[Any]]) -> NDArray[Any]:
        """Return the cells in the dtype of the array."""
        return self.data[:, positions]  # type: ignore[no-any-return]

    def _labels(self) -> list[Any]:
        return []

    def _series(self, j: int) -> Any:
        return self.data[:, j]

    def _column(self, j: int) -> Column:
        return NumpyColumn(self.data[:, j])


class PandasTable(Table):
    """Table of a pandas frame, whose columns are NumPy arrays, nullable, backed by Arrow, or sparse."""

    def columns(self, positions: list[int], names: list[str]) -> list[NDArray[Any]]:
        """Return the numbers of several columns; if many are stored as one array, a series of each would take long."""
        if len(positions) >= _MANY_COLUMNS and is_one_piece(self.data):
            return _views(self.data.to_numpy(), positions) or super().columns(positions, names)
        return super().columns(positions, names)

    def index(self) -> Any:
        """Return the index of the frame."""
        return self.data.index

    def scalars(self, positions: list[int], columns: list[NDArray[Any]]) -> NDArray[Any]:
        """Return the cells in the common dtype of all columns of the frame, as a loop over its rows yields them."""
        return np.array(self.data.to_numpy()[:, positions])

    def _series(self, j: int) -> Any:
        return self.data.iloc[:, j]

    def _column(self, j: int) -> Column:
        return pandas_column(self._series(j))


class PolarsTable(Table):
    """Table of a polars frame, which has no labels of rows."""

    backend = "polars"

    def labels(self, name: str) -> list[Any]:
        """Return a column of any dtype as Python objects."""
        return self.data[name].to_list()  # type: ignore[no-any-return]

    def _series(self, j: int) -> Any:
        return self.data.to_series(j)

    def _column(self, j: int) -> Column:
        return PolarsColumn(self._series(j)).narrowed(self.table_name)


class ArrowTable(Table):
    """Table of pyarrow, which has no labels of rows."""

    backend = "pyarrow"

    def labels(self, name: str) -> list[Any]:
        """Return a column of any dtype as Python objects."""
        return self.data[name].to_pylist()  # type: ignore[no-any-return]

    def _labels(self) -> list[Any]:
        return list(self.data.column_names)

    def _series(self, j: int) -> Any:
        return self.data.column(j)

    def _column(self, j: int) -> Column:
        return ArrowColumn(self._series(j))


def _views(array: NDArray[Any], positions: list[int]) -> list[NDArray[Any]] | None:
    """Return views of columns of an array; None if the core cannot hold its numbers."""
    if not is_core_number(array.dtype):
        return None
    # For a table of a few rows, taking columns one by one takes longer than ranking.
    views = list(array.T)
    return [views[j] for j in positions]


def read_table(X: Any, table_name: str) -> Table:
    """Return a table of any container.

    Parameters
    ----------
    X : array-like or frame of shape (n_rows, n_columns)
        A pandas, polars or pyarrow frame, or an object with the Arrow C stream or the interchange protocol, which
        pyarrow reads; anything else becomes a NumPy array.
    table_name : str
        Name of the table in messages.

    Returns
    -------
    Table
        Table that does not copy `X`, unless it is a list or an object that pyarrow has to convert.

    Raises
    ------
    ValueError
        If `X` is not two-dimensional, or two columns have the same name.
    TypeError
        If `X` is a sparse matrix, or if only some column names are strings.
    ImportError
        If pyarrow is needed to read `X` and not installed.
    """
    # A sparse matrix exists only if scipy.sparse has been imported, which takes longer than ranking a small table.
    issparse = getattr(sys.modules.get("scipy.sparse"), "issparse", None)
    if issparse is not None and issparse(X):
        raise TypeError(f"{table_name} is a sparse matrix, but ranks need dense columns: use {table_name}.toarray()")
    if is_instance(X, "narwhals", "DataFrame"):
        X = X.to_native()
    if hasattr(X, "iloc") and hasattr(X, "columns"):
        return PandasTable(table_name, X)
    if is_instance(X, "polars", "DataFrame"):
        return PolarsTable(table_name, X)
    if is_instance(X, "pyarrow", "Table"):
        return ArrowTable(table_name, X)
    if hasattr(X, "__arrow_c_stream__") and not _is_one_column(X):
        return ArrowTable(table_name, import_optional("pyarrow", f"{table_name} of type {type(X).__name__}").table(X))
    if hasattr(X, "__dataframe__"):
        interchange = import_optional("pyarrow.interchange", f"{table_name} of type {type(X).__name__}")
        return ArrowTable(table_name, interchange.from_dataframe(X))
    array = np.asarray(X)
    if array.ndim != 2:
        hint = "" if array.ndim else f" of type {type(X).__name__}; a lazy frame must be collected first"
        raise ValueError(f"{table_name} must be a 2-D array or a frame, got {array.ndim} dimension(s){hint}")
    return ArrayTable(table_name, array)


def _is_one_column(X: Any) -> bool:
    """Tell whether an object with an Arrow stream is a series rather than a table."""
    return is_instance(X, "pyarrow", "ChunkedArray") or len(getattr(X, "shape", (0, 0))) != 2
