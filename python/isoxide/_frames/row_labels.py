"""Labels of a table's rows, and frames of the same library as the table, for results that have lines for its rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoxide._common.imports import import_optional
from isoxide._frames.adapter import is_instance

__all__ = ["RowLabels", "import_pandas", "make_frame"]


class RowLabels:
    """Labels of the rows of a table, and the library that makes frames like it.

    Parameters
    ----------
    index : pandas.Index or ndarray
        Label of each row; a single label after indexing with a number.
    backend : {"pandas", "polars", "pyarrow"}, default="pandas"
        Library of the table.
    """

    __slots__ = ("_backend", "_index")

    def __init__(self, index: Any, backend: str = "pandas") -> None:
        self._index = index
        self._backend = backend

    @classmethod
    def of_table(cls, X: Any, n_rows: int) -> RowLabels:
        """Return the labels of the rows of a table in any container: a pandas index, otherwise row numbers."""
        if is_instance(X, "narwhals", "DataFrame"):
            X = X.to_native()
        if hasattr(X, "iloc") and hasattr(X, "index"):
            return cls(X.index.to_flat_index())
        libraries = {"polars": "DataFrame", "pyarrow": "Table"}
        backend = next((name for name, frame in libraries.items() if is_instance(X, name, frame)), "pandas")
        return cls(np.arange(n_rows), backend)

    def __getitem__(self, rows: Any) -> RowLabels:
        """Return the labels of the rows at an index, a slice, indices or a mask."""
        return RowLabels(self._index[rows], self._backend)

    def index(self) -> Any:
        """Return the labels as an array or a pandas index, of length 1 for a single label."""
        return self._index if hasattr(self._index, "repeat") and np.ndim(self._index) else _array_of(self._index)

    def frame(self, columns: dict[str, Any]) -> Any:
        """Make a frame of the library of the table."""
        return make_frame(columns, self._backend)


def _array_of(label: Any) -> NDArray[Any]:
    """Return an array that holds one label, which may be a tuple."""
    labels = np.empty(1, dtype=object if not isinstance(label, (int, np.integer)) else np.int64)
    labels[0] = label
    return labels


def make_frame(columns: dict[str, NDArray[Any]], backend: str) -> Any:
    """Make a frame of a library.

    Parameters
    ----------
    columns : dict of str to array
        Columns by name.
    backend : {"pandas", "polars", "pyarrow"}
        Library.

    Raises
    ------
    ImportError
        If pandas, or narwhals for frames of another library, is not installed.
    """
    if backend == "pandas":
        return import_pandas().DataFrame(columns)
    narwhals = import_optional("narwhals", f"this table as a frame of {backend}")
    return narwhals.from_dict(columns, backend=backend).to_native()


def import_pandas() -> Any:
    """Import pandas, or raise an ImportError that says how to install it."""
    return import_optional("pandas", "this table", '"isoxide[notebook]"')
