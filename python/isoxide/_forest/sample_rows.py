"""The rows that trees draw, as they are fetched part by part."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoxide._common.serialization import from_bytes, to_bytes

_WHAT = "sample rows, format 1"


class SampleRows:
    """Rows of a plan as they are fetched, part by part, in any order.

    Parameters
    ----------
    rows : array-like of int
        The numbers of the rows to collect, ascending: ``plan.rows``.
    n_features : int
        Number of columns.

    See Also
    --------
    SamplePlan.grow : Takes the rows.

    Examples
    --------
    >>> import numpy as np
    >>> from isoxide.mergeable import SampleRows, sample_plan
    >>> X = np.random.default_rng(0).normal(size=(5000, 3))
    >>> plan = sample_plan(5000, 3, random_state=0, n_estimators=10)
    >>> first, second = SampleRows(plan.rows, 3), SampleRows(plan.rows, 3)
    >>> first.add(0, X[:3000])
    >>> second.add(3000, X[3000:])
    >>> first.merge(second)
    >>> first.n_missing
    0
    >>> bool((first.X == X[plan.rows].astype("float32")).all())
    True
    """

    def __init__(self, rows: ArrayLike, n_features: int) -> None:
        self._rows = np.ascontiguousarray(rows, dtype=np.int64)
        if self._rows.ndim != 1 or (self._rows[1:] <= self._rows[:-1]).any() or (self._rows < 0).any():
            raise ValueError("rows must be numbers from 0 on, ascending, each once")
        if n_features < 1:
            raise ValueError(f"n_features must be at least 1, got {n_features}")
        self._X = np.zeros((len(self._rows), int(n_features)), dtype=np.float32)
        self._there = np.zeros(len(self._rows), dtype=bool)

    @property
    def n_missing(self) -> int:
        """How many rows have not come yet."""
        return int(np.count_nonzero(~self._there))

    @property
    def X(self) -> NDArray[np.float32]:  # noqa: N802
        """The rows in the order of their numbers, as trees read them.

        Raises
        ------
        ValueError
            If some have not come yet.
        """
        if self.n_missing:
            first = int(self._rows[np.argmin(self._there)])
            raise ValueError(f"{self.n_missing} of {len(self._rows)} rows have not come, the first of them is {first}")
        return self._X

    def add(self, first_row: int, X: ArrayLike) -> None:
        """Take from a part of the table what is wanted.

        Parameters
        ----------
        first_row : int
            The number of the part's first row in the table.
        X : array-like of shape (n_rows, n_features)
            All rows of the part.

        Raises
        ------
        ValueError
            If the part has another number of columns, or a row has come before.
        """
        X = np.asarray(X)
        if X.ndim != 2 or X.shape[1] != self._X.shape[1]:
            raise ValueError(f"a part must have {self._X.shape[1]} columns, got an array of shape {X.shape}")
        places = slice(*np.searchsorted(self._rows, [first_row, first_row + len(X)]))
        wanted = self._rows[places] - first_row
        self._take(places, X[wanted])

    def _take(self, places: Any, values: NDArray[Any]) -> None:
        if self._there[places].any():
            raise ValueError(f"row {int(self._rows[places][self._there[places]][0])} has come twice")
        # Beyond the range of float32 is infinity, as trees see it.
        with np.errstate(over="ignore"):
            self._X[places] = values
        self._there[places] = True

    def merge(self, other: SampleRows) -> None:
        """Take over the rows that came to another collection for the same plan.

        Parameters
        ----------
        other : SampleRows
            The other one.

        Raises
        ------
        ValueError
            If it is for other rows, or some rows came to both.
        """
        if not np.array_equal(self._rows, other._rows) or self._X.shape != other._X.shape:
            raise ValueError("these collections are for other rows or columns")
        self._take(other._there, other._X[other._there])

    def to_bytes(self) -> bytes:
        """Make bytes of all that has come.

        Returns
        -------
        bytes
            The same for the same rows, in whatever order they came.
        """
        return to_bytes(_WHAT, {}, [self._rows, self._there, self._X])

    @classmethod
    def from_bytes(cls, data: bytes) -> SampleRows:
        """Make a collection from what `to_bytes` gave.

        Parameters
        ----------
        data : bytes
            They may come from anybody: nothing in them is run.

        Returns
        -------
        SampleRows
            Equal to the one that the bytes were made of.

        Raises
        ------
        ValueError
            If they are none of a collection.
        """
        _, (rows, there, X) = from_bytes(_WHAT, data, ["<i8", "|b1", "<f4"])
        try:
            if X.ndim != 2 or there.shape != rows.shape or len(X) != len(rows):
                raise ValueError("arrays of different lengths")
            found = cls(rows, X.shape[1])
        except ValueError as error:
            raise ValueError(f"not the bytes of {_WHAT}: {error}") from None
        found._X, found._there = X, there
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SampleRows) and self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __reduce__(self) -> tuple[Any, ...]:
        return SampleRows.from_bytes, (self.to_bytes(),)

    def __repr__(self) -> str:
        return f"SampleRows({len(self._rows) - self.n_missing:,} of {len(self._rows):,} rows)"
