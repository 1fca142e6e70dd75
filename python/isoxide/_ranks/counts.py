"""Percentile ranks among a reference that arrives in partitions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from numpy.typing import NDArray

from isoxide import _core
from isoxide._common.serialization import RAW, from_bytes, to_bytes
from isoxide._common.threads import resolve_n_jobs
from isoxide._frames.dtypes import INT64_MAX, is_core_number, is_uint64, native
from isoxide._frames.tables import ArrayTable, Table, read_table
from isoxide._ranks.dtypes import RankDefinition, has_nan, nan_error
from isoxide._ranks.feature_ranks import FeatureRanks, feature_ranks
from isoxide._ranks.matching import Layout, match

#: Name in the wire format (`isoxide._common.serialization`).
_NAME = "set of rank counts"


class RankCounts:
    """Count, for each cell of the given rows, the values of a table below it and at or below it.

    Percentile ranks follow from these counts. The counts of the partitions add up to the counts of the whole table, so
    the ranks are bit-identical to the ranks among the whole table in memory.

    Parameters
    ----------
    rows : array-like or frame of shape (n_rows, n_features)
        Rows to rank: an array, a pandas, polars or pyarrow frame, or a frame of another library with the Arrow C
        stream.
    features : list of str, optional
        Columns to use, in this order; by default all columns.

    Raises
    ------
    ValueError
        If a name in `features` is unknown or repeated, or a column has integers beyond 2**63.
    TypeError
        If a column is not numeric.

    See Also
    --------
    isoxide.rank_features : Rank rows among a reference in memory.

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
        self._names, self._positions, _ = match(table, table, features)
        self._has_names = table.names is not None
        columns = table.columns(self._positions, self._names)
        # None after decoding: the values are then read from the counts.
        self._rows: tuple[Table, list[NDArray[Any]]] | None = (table, columns)
        self._layout = Layout(self._names if self._has_names else None, len(self._names))
        self._counts = _core.RankCounts(self._native(columns, "rows"))

    @property
    def features(self) -> list[str]:
        """Return the names of the features."""
        return list(self._names)

    @property
    def n_seen(self) -> int:
        """Return the number of rows counted so far."""
        return self._counts.n

    def add(self, X: Any, *, n_jobs: int | None = None) -> None:
        """Count the rows of a partition of the table.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Rows of the partition. If both `X` and the rows to rank have names, columns are matched by name and other
            columns are ignored.
        n_jobs : int, optional
            Number of threads; None means all cores. Results are the same for every number.

        Raises
        ------
        ValueError
            If columns do not match, or a column has integers beyond 2**63.
        TypeError
            If a column is not numeric.
        """
        table = read_table(X, "X")
        features = self._names if self._has_names and table.names is not None else None
        layout = Layout(self._layout.names if features is not None else None, self._layout.n_columns)
        names, positions, _ = match(table, layout, features)
        columns = table.columns(positions, names)
        self._counts.add(self._native(columns, "X"), resolve_n_jobs(n_jobs))

    def _native(self, columns: list[NDArray[Any]], table_name: str) -> list[NDArray[Any]]:
        """Convert columns to the types that the core counts."""
        for name, column in zip(self._names, columns, strict=True):
            if is_uint64(column.dtype) and (column > INT64_MAX).any():
                raise ValueError(
                    f"column {name!r} of {table_name} has integers beyond 2**63, which RankCounts cannot count; "
                    "convert it to float64"
                )
            if not is_core_number(column.dtype):
                raise TypeError(
                    f"column {name!r} of {table_name} has dtype {column.dtype}, which RankCounts cannot count; "
                    "convert it to float64"
                )
        return [native(column) for column in columns]

    def merge(self, other: RankCounts) -> None:
        """Add the counts of another partition for the same rows.

        Parameters
        ----------
        other : RankCounts
            Counts to add; they are not changed.

        Raises
        ------
        ValueError
            If `other` ranks other rows or features.
        """
        if self._names != other._names:
            raise ValueError(f"other must rank the same features {self._names}, but it ranks {other._names}")
        self._counts.merge(other._counts)

    def ranks(
        self,
        *,
        kind: str = "rank",
        tail: str = "upper",
        rank_last: str | Callable[[str], bool] | None = None,
        nan_policy: str = "propagate",
    ) -> FeatureRanks:
        """Compute the percentile ranks from the counts.

        Parameters
        ----------
        kind : {'rank', 'weak', 'strict', 'mean'}, default='rank'
            Treatment of equal values: the percentile is the mean rank of all equal values ('rank'), the percentage of
            values at or below ('weak') or below ('strict'), or the mean of 'weak' and 'strict' ('mean').
        tail : {'upper', 'lower', 'both'}, default='upper'
            Side on which values are unusual and have high percentiles: high values, low values, or both.
        rank_last : str or callable, optional
            Features that come after all others in `FeatureRanks.order`: a pattern such as ``"*zscore*"``, or a function
            that takes a feature's name and returns True for these features.
        nan_policy : {'propagate', 'raise', 'omit'}, default='propagate'
            Treatment of NaN in a column: make all its percentiles NaN ('propagate'), raise a ValueError ('raise'), or
            leave NaN out ('omit').

        Returns
        -------
        FeatureRanks
            Percentiles, with methods that order the features of each row and make tables.

        Raises
        ------
        ValueError
            If an argument does not have one of the listed values, or `nan_policy` is 'raise' and a value is NaN.
        """
        definition = RankDefinition(kind, tail, nan_policy).check()
        table, columns = self._rows or self._values_as_table()
        if nan_policy == "raise":
            for name, column, n_missing in zip(self._names, columns, self._counts.n_missing(), strict=True):
                if n_missing:
                    raise nan_error(name, "the table")
                if has_nan(column):
                    raise nan_error(name, "rows")
        ranks = self._counts.ranks(**definition.native())
        return feature_ranks(table, self._positions, list(self._names), columns, ranks, rank_last)

    def _values_as_table(self) -> tuple[Table, list[NDArray[Any]]]:
        """Return the ranked rows that the counts hold, as float64 without the labels of a frame."""
        values = self._counts.values()
        return ArrayTable("rows", values), list(values.T)

    def to_bytes(self) -> bytes:
        """Encode the counts and the ranked values.

        Returns
        -------
        bytes
            Encoded counts: the same bytes for the same rows and counts.
        """
        facts = {"features": self._names, "named": self._has_names}
        return to_bytes(_NAME, facts, [self._counts.to_bytes()])

    @classmethod
    def from_bytes(cls, data: bytes) -> RankCounts:
        """Decode the bytes that `to_bytes` returned.

        Parameters
        ----------
        data : bytes
            Result of `to_bytes`. Untrusted input is safe: decoding never executes code.

        Returns
        -------
        RankCounts
            Counts equal to the encoded ones. They hold the ranked rows as an array of float64, without the labels and
            the type of the original frame.

        Raises
        ------
        ValueError
            If the bytes are damaged, have another format number, or do not hold counts.
        """
        facts, (encoded,) = from_bytes(_NAME, data, [RAW], max_items=None)
        try:
            names, has_names = facts["features"], facts["named"]
            if type(has_names) is not bool or type(names) is not list or not all(type(name) is str for name in names):
                raise ValueError("they lack the names of the features")
            native_counts = _core.RankCounts.from_bytes(encoded)
            if len(native_counts.n_missing()) != len(names) or len(set(names)) != len(names):
                raise ValueError("they do not have a name for each column")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"cannot decode these bytes as a {_NAME}: {error}") from None
        counts = cls.__new__(cls)
        counts._names, counts._has_names, counts._counts = names, has_names, native_counts
        counts._positions, counts._rows = list(range(len(names))), None
        counts._layout = Layout(names if has_names else None, len(names))
        return counts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RankCounts) and self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]  # the counts change

    def __reduce__(self) -> tuple[Any, ...]:
        return RankCounts.from_bytes, (self.to_bytes(),)

    def __repr__(self) -> str:
        n_rows = self._counts.values().shape[0] if self._rows is None else self._rows[0].n_rows
        return f"RankCounts({n_rows:,} rows, {len(self._names)} features, counted among {self.n_seen:,} rows)"
