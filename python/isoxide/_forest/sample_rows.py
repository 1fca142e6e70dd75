"""Collection of the rows that the trees of a plan draw, from the partitions of a table."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoxide._common.serialization import from_bytes, to_bytes

#: Name in the wire format (`isoxide._common.serialization`).
_NAME = "collection of sample rows"


class SampleRows:
    """Collect the rows of a plan from the partitions of a table, in any order.

    Parameters
    ----------
    rows : array-like of int
        Numbers of the rows to collect, in ascending order without duplicates: ``plan.rows``.
    n_features : int
        Number of columns of the table, at least 1.

    Raises
    ------
    ValueError
        If an argument is out of range.

    See Also
    --------
    SamplePlan.grow : Grow the forest on the collected rows.

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
            raise ValueError("rows must be row numbers of 0 or more, in ascending order without duplicates")
        if n_features < 1:
            raise ValueError(f"n_features must be at least 1, got {n_features}")
        self._X = np.zeros((len(self._rows), int(n_features)), dtype=np.float32)
        self._is_present = np.zeros(len(self._rows), dtype=bool)

    @property
    def n_missing(self) -> int:
        """Return the number of rows that have not been added yet."""
        return int(np.count_nonzero(~self._is_present))

    @property
    def X(self) -> NDArray[np.float32]:  # noqa: N802
        """Return the rows in the order of their numbers, in float32, as trees read them.

        Raises
        ------
        ValueError
            If rows are missing.
        """
        if self.n_missing:
            first = int(self._rows[np.argmin(self._is_present)])
            raise ValueError(
                f"{self.n_missing} of {len(self._rows)} rows are missing, the first of them is row {first}; "
                "add the partitions that contain them"
            )
        return self._X

    def add(self, first_row: int, X: ArrayLike) -> None:
        """Add the rows of a partition that the plan draws.

        Parameters
        ----------
        first_row : int
            Row number, in the table, of the partition's first row.
        X : array-like of shape (n_rows, n_features)
            All rows of the partition.

        Raises
        ------
        ValueError
            If the partition has a different number of columns, or one of its rows was added before.
        """
        X = np.asarray(X)
        if X.ndim != 2 or X.shape[1] != self._X.shape[1]:
            raise ValueError(f"X must have {self._X.shape[1]} columns, got an array of shape {X.shape}")
        positions = slice(*np.searchsorted(self._rows, [first_row, first_row + len(X)]))
        self._keep(positions, X[self._rows[positions] - first_row])

    def _keep(self, positions: Any, values: NDArray[Any]) -> None:
        """Store rows at the given positions of the collection."""
        if self._is_present[positions].any():
            row = int(self._rows[positions][self._is_present[positions]][0])
            raise ValueError(f"row {row} was added twice; add each partition once")
        # Values beyond the range of float32 become infinite, as trees see them.
        with np.errstate(over="ignore"):
            self._X[positions] = values
        self._is_present[positions] = True

    def merge(self, other: SampleRows) -> None:
        """Add the rows of another collection for the same plan.

        Parameters
        ----------
        other : SampleRows
            Collection to add; it is not changed.

        Raises
        ------
        ValueError
            If `other` is for another plan, or a row was added to both.
        """
        if not np.array_equal(self._rows, other._rows) or self._X.shape != other._X.shape:
            raise ValueError("other must be a collection for the same plan, but its rows or columns differ")
        self._keep(other._is_present, other._X[other._is_present])

    def to_bytes(self) -> bytes:
        """Encode the collection and the rows added so far.

        Returns
        -------
        bytes
            Encoded collection: the same bytes for the same rows, regardless of the order in which they were added.
        """
        return to_bytes(_NAME, {}, [self._rows, self._is_present, self._X])

    @classmethod
    def from_bytes(cls, data: bytes) -> SampleRows:
        """Decode the bytes that `to_bytes` returned.

        Parameters
        ----------
        data : bytes
            Result of `to_bytes`. Untrusted input is safe: decoding never executes code.

        Returns
        -------
        SampleRows
            Collection equal to the encoded one.

        Raises
        ------
        ValueError
            If the bytes are damaged, have another format number, or do not hold a collection.
        """
        _, (rows, is_present, X) = from_bytes(_NAME, data, ["<i8", "|b1", "<f4"])
        try:
            if X.ndim != 2 or is_present.shape != rows.shape or len(X) != len(rows):
                raise ValueError("their arrays have different lengths")
            collection = cls(rows, X.shape[1])
        except ValueError as error:
            raise ValueError(f"cannot decode these bytes as a {_NAME}: {error}") from None
        collection._X, collection._is_present = X, is_present
        return collection

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SampleRows) and self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]  # a collection changes

    def __reduce__(self) -> tuple[Any, ...]:
        return SampleRows.from_bytes, (self.to_bytes(),)

    def __repr__(self) -> str:
        return f"SampleRows({len(self._rows) - self.n_missing:,} of {len(self._rows):,} rows)"
