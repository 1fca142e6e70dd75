"""Labels of a table's rows, and frames of the same library as the table, for results that have lines for its rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoxide._common.imports import import_optional
from isoxide._frames.adapter import is_instance

__all__ = ["RowLabels", "import_pandas", "make_frame"]

#: Class of the frames that a library makes, other than those of pandas.
_FRAME_CLASSES = {"polars": "DataFrame", "pyarrow": "Table"}


class RowLabels:
    """Labels of the rows of a table, and the library that makes frames like it.

    Parameters
    ----------
    labels : pandas.Index or ndarray
        Label of each row.
    backend : {"pandas", "polars", "pyarrow"}, default="pandas"
        Library of the table.
    """

    __slots__ = ("backend", "labels")

    def __init__(self, labels: Any, backend: str = "pandas") -> None:
        self.labels = labels
        self.backend = backend

    @classmethod
    def of_table(cls, X: Any, n_rows: int) -> RowLabels:
        """Return the labels of the rows of a table in any container: a pandas index, otherwise row numbers."""
        if is_instance(X, "narwhals", "DataFrame"):
            X = X.to_native()
        if is_instance(X, "pandas", "DataFrame"):
            return cls(X.index.to_flat_index())
        backends = (name for name, frame in _FRAME_CLASSES.items() if is_instance(X, name, frame))
        return cls(np.arange(n_rows), next(backends, "pandas"))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Any) -> RowLabels:
        """Return the labels of the rows at an index, a slice, indices or a mask."""
        is_single = not isinstance(rows, slice) and np.ndim(rows) == 0
        return RowLabels(self.labels[[rows] if is_single else rows], self.backend)

    def frame(self, columns: dict[str, Any]) -> Any:
        """Make a frame of the library of the table."""
        return make_frame(columns, self.backend)


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
