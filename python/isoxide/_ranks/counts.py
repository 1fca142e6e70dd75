"""Percentile ranks among a reference that comes in parts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from numpy.typing import NDArray

from isoxide import _core
from isoxide._common.json import loads
from isoxide._common.threads import resolve_n_jobs
from isoxide._frames.dtypes import INT64_MAX, is_core_number, is_uint64, native
from isoxide._frames.tables import ArrayTable, Table, read_table
from isoxide._ranks.dtypes import Definition, has_nan, nan_error
from isoxide._ranks.feature_ranks import FeatureRanks, feature_ranks
from isoxide._ranks.matching import Layout, match


class RankCounts:
    """How many values of a table lie below, and at or below, each cell of some rows: a mergeable form of ranks.

    Counts of parts of the table add up to those of the whole, so ranks among a table in parts are those among the table
    in one piece, in every bit.

    Parameters
    ----------
    rows : array-like or frame of shape (n_rows, n_features)
        The rows to rank; see `isoxide.rank_features`.
    features : list of str, optional
        The columns to use, in this order; by default all.

    Raises
    ------
    ValueError
        If `features` are unknown or repeated, or integers beyond 2**63 are among the values.
    TypeError
        If a column is not numeric.

    See Also
    --------
    isoxide.rank_features : The same where the reference is in memory.

    Examples
    --------
    >>> from isoxide.mergeable import RankCounts
    >>> first, second = RankCounts([[3.0, 0.0]]), RankCounts([[3.0, 0.0]])
    >>> first.add([[1.0, 0.0], [2.0, 0.0]])
    >>> second.add([[3.0, 1.0]])
    >>> first.merge(second)
    >>> first.ranks().percentiles
    array([[100.,  50.]])
    """

    def __init__(self, rows: Any, *, features: Iterable[str] | None = None) -> None:
        table = read_table(rows, "rows")
        self._names, self._places, _ = match(table, table, features)
        self._has_names = table.names is not None
        columns = [table.column(j, name) for j, name in zip(self._places, self._names, strict=True)]
        # None after a journey as bytes: the values are then those of the counts.
        self._rows: tuple[Table, list[NDArray[Any]]] | None = (table, columns)
        self._layout = Layout(self._names if self._has_names else None, len(self._names))
        self._counts = _core.RankCounts(self._native(columns, "rows"))

    @property
    def features(self) -> list[str]:
        """Names of the features."""
        return list(self._names)

    @property
    def n_seen(self) -> int:
        """Rows of the table that were counted."""
        return self._counts.n

    def add(self, X: Any, *, n_jobs: int | None = None) -> None:
        """Count a part of the table.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The part. With names in both, columns are matched by name and others are ignored.
        n_jobs : int, optional
            Number of threads; None means all cores.

        Raises
        ------
        ValueError
            If columns do not match, or integers beyond 2**63 are among the values.
        TypeError
            If a column is not numeric.
        """
        table = read_table(X, "X")
        features = self._names if self._has_names and table.names is not None else None
        layout = Layout(self._layout.names if features is not None else None, self._layout.n_columns)
        names, places, _ = match(table, layout, features)
        columns = [table.column(j, name) for j, name in zip(places, names, strict=True)]
        self._counts.add(self._native(columns, "X"), resolve_n_jobs(n_jobs))

    def _native(self, columns: list[NDArray[Any]], what: str) -> list[NDArray[Any]]:
        for name, column in zip(self._names, columns, strict=True):
            if is_uint64(column.dtype) and (column > INT64_MAX).any():
                raise ValueError(f"column {name!r} of {what} has integers beyond 2**63, which are not counted in parts")
            if not is_core_number(column.dtype):
                raise TypeError(f"column {name!r} of {what} has dtype {column.dtype}, which is not counted in parts")
        return [native(column) for column in columns]

    def merge(self, other: RankCounts) -> None:
        """Add what was counted of another part, for the same rows.

        Parameters
        ----------
        other : RankCounts
            The other counts.

        Raises
        ------
        ValueError
            If they are for other rows or features.
        """
        if self._names != other._names:
            raise ValueError(f"these counts are of other features: {other._names} instead of {self._names}")
        self._counts.merge(other._counts)

    def ranks(
        self,
        *,
        kind: str = "rank",
        tail: str = "upper",
        rank_last: str | Callable[[str], bool] | None = None,
        nan_policy: str = "propagate",
    ) -> FeatureRanks:
        """Make percentile ranks of the counts.

        Parameters
        ----------
        kind : {'rank', 'weak', 'strict', 'mean'}, default='rank'
            See `isoxide.rank_features`, as for all others.
        tail : {'upper', 'lower', 'both'}, default='upper'
            Which values are unusual.
        rank_last : str or callable, optional
            Features that come after all others.
        nan_policy : {'propagate', 'raise', 'omit'}, default='propagate'
            What missing values do.

        Returns
        -------
        FeatureRanks
            The percentiles and what follows from them.

        Raises
        ------
        ValueError
            If an argument is none of the above, or NaN is to be refused.
        """
        definition = Definition(kind, tail, nan_policy).check()
        table, columns = self._rows or self._values_as_table()
        if nan_policy == "raise":
            for name, column, n_missing in zip(self._names, columns, self._counts.n_missing(), strict=True):
                if n_missing:
                    raise nan_error(name, "the table")
                if has_nan(column):
                    raise nan_error(name, "rows")
        ranks = self._counts.ranks(**definition.native())
        return feature_ranks(table, self._places, list(self._names), columns, ranks, rank_last)

    def _values_as_table(self) -> tuple[Table, list[NDArray[Any]]]:
        values = self._counts.values()
        return ArrayTable("rows", values), list(values.T)

    def to_bytes(self) -> bytes:
        """Make bytes of the counts: the values that are ranked, and what was counted for them.

        Returns
        -------
        bytes
            The same for the same rows and counts.
        """
        head = json.dumps({"features": self._names, "named": self._has_names}).encode()
        return head + b"\n" + self._counts.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> RankCounts:
        """Make counts from what `to_bytes` gave.

        Parameters
        ----------
        data : bytes
            They may come from anybody: nothing in them is run.

        Returns
        -------
        RankCounts
            Equal to those that the bytes were made of; but `ranks` then know the rows as an array of float64, without
            the labels and the kind of a frame.

        Raises
        ------
        ValueError
            If they are none of counts.
        """
        head, _, rest = bytes(data).partition(b"\n")
        try:
            facts = loads(head, max_depth=2, max_keys=2)
            names, named = facts["features"], facts["named"]
            if type(named) is not bool or type(names) is not list or not all(type(name) is str for name in names):
                raise ValueError("names of features are not there")
            counts = _core.RankCounts.from_bytes(rest)
            if len(counts.n_missing()) != len(names) or len(set(names)) != len(names):
                raise ValueError("not as many names as columns")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"not the bytes of rank counts: {error}") from None
        found = cls.__new__(cls)
        found._names, found._has_names, found._counts = names, named, counts
        found._places, found._rows = list(range(len(names))), None
        found._layout = Layout(names if named else None, len(names))
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RankCounts) and self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __reduce__(self) -> tuple[Any, ...]:
        return RankCounts.from_bytes, (self.to_bytes(),)

    def __repr__(self) -> str:
        n_rows = self._counts.values().shape[0] if self._rows is None else self._rows[0].n_rows
        return f"RankCounts({n_rows:,} rows, {len(self._names)} features, counted among {self.n_seen:,} rows)"
