"""Reference that is sorted once, so that a few rows can be ranked among it many times.

Each column is sorted, so that a query takes two binary searches instead of a pass over all values:

    below, at_or_below = position of the query among the sorted values, from the left and from the right
    percentile         = 100 / n times the number of values that count for it (`kind`)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isoxide import _core
from isoxide._common.patterns import check_distinct, check_known, name_list
from isoxide._common.threads import mapped, resolve_n_jobs_for
from isoxide._frames.dtypes import READABLE, native, readable
from isoxide._frames.tables import Table, read_table
from isoxide._ranks.dtypes import RankDefinition, Ranks, as_compared, comparison, nan_error, ranks_by_numpy, refuse_nan
from isoxide._ranks.feature_ranks import FeatureRanks, feature_ranks
from isoxide._ranks.matching import Layout, match, numbered_names

#: Maximum number of rows of columns that are sorted in groups, and whose equal values are not merged: it would take as
#: long as sorting them.
_SHORT = 1 << 14
#: Maximum number of values of a group.
_GROUP_VALUES = 1 << 16


class _Column(NamedTuple):
    """Sorted values of a column without NaN, or the distinct values with their counts if they take less memory."""

    values: NDArray[Any]
    #: Number of values at or below each distinct value; None if `values` has all values.
    ends: NDArray[np.int64] | None
    n_missing: int
    #: Dtype of the column, which decides how the values are compared.
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, column: NDArray[Any]) -> _Column:
        """Sort the values of a column."""
        # Keep the dtype if the values may have to be compared as another dtype than int64 or float.
        is_exact = comparison(column.dtype, column.dtype) == "exact"
        return cls.of_sorted(np.sort(native(column) if is_exact else column), column.dtype)

    @classmethod
    def of_sorted(cls, values: NDArray[Any], dtype: np.dtype[Any]) -> _Column:
        """Leave out NaN, and merge equal values of a long column if that saves memory."""
        n_missing = 0
        if values.dtype.kind == "f" and len(values) and np.isnan(values[-1]):
            # NaN sorts to the end.
            n_present = int(np.searchsorted(values, np.nan))
            values, n_missing = values[:n_present], len(values) - n_present
        if len(values) > _SHORT:
            differs = values[1:] != values[:-1]
            if _saves_memory(int(np.count_nonzero(differs)) + 1, values.itemsize, len(values)):
                ends = np.append(np.flatnonzero(differs), len(values) - 1) + 1
                return cls(values[ends - 1], ends, n_missing, dtype)
        # Copy, so that the memory of the NaN values is freed.
        return cls(values.copy() if n_missing else values, None, n_missing, dtype)

    @classmethod
    def of_short(cls, columns: list[NDArray[Any]]) -> list[_Column]:
        """Sort short columns of one dtype that the core reads, and at least one row, in a single call.

        A few calls for each column would take several times as long as sorting it.
        """
        dtype = columns[0].dtype
        values = np.array(columns)
        values.sort(axis=1)
        if dtype.kind == "f" and np.isnan(values[:, -1]).any():
            return [cls.of_sorted(column, dtype) for column in values]
        return [cls(column, None, 0, dtype) for column in values]

    def expanded(self) -> NDArray[Any]:
        """Return all values, in any order."""
        values = self.values if self.ends is None else np.repeat(self.values, np.diff(self.ends, prepend=0))
        return np.append(values, np.full(self.n_missing, np.nan, dtype=values.dtype)) if self.n_missing else values


def _saves_memory(n_distinct: int, itemsize: int, n_values: int) -> bool:
    """Tell whether distinct values with their counts take less memory than all values."""
    return n_distinct * (itemsize + np.dtype(np.int64).itemsize) < n_values * itemsize


def _sorted_columns(columns: list[NDArray[Any]], n_workers: int) -> list[_Column]:
    """Sort columns of equal length, in groups if they are short and have one dtype, or else each alone."""
    n_rows = len(columns[0]) if columns else 0
    if len(columns) > 1 and 0 < n_rows <= _SHORT:
        dtype = columns[0].dtype
        if dtype in READABLE and all(column.dtype == dtype for column in columns):
            width = _GROUP_VALUES // n_rows
            groups = [columns[start : start + width] for start in range(0, len(columns), width)]
            return [column for group in mapped(_Column.of_short, groups, n_workers) for column in group]
    return mapped(_Column.of, columns, n_workers)


class RankReference:
    """Sort a reference once, to rank rows among it many times.

    In sorted columns, ranking a few rows takes binary searches instead of a pass over all values. The sorted columns
    take at most the memory of the columns as float64, float32 or int64, and less if values repeat in more than
    16,384 rows. A reference can be pickled.

    Parameters
    ----------
    reference : array-like or frame of shape (n_samples, n_features)
        Rows to rank among: an array, a pandas, polars or pyarrow frame, or a frame of another library with the Arrow C
        stream. It is copied.
    features : list of str, optional
        Columns to use, in this order; others are ignored and need not be numeric. By default all columns, in the order
        of the rows to rank.
    n_jobs : int, optional
        Number of threads; ``None`` and ``-1`` mean all cores. Results are the same for every number.

    Attributes
    ----------
    n_samples : int
        Number of rows.
    nbytes : int
        Memory of the sorted columns, in bytes.

    Raises
    ------
    ValueError
        If a feature is missing, or a column has missing values and integers beyond 2**53.
    TypeError
        If a column is not numeric, or the table is a sparse matrix.

    See Also
    --------
    rank_features : Rank rows among a reference without sorting it.

    Examples
    --------
    >>> from isoxide import RankReference
    >>> reference = RankReference([[1.0, 0.0], [2.0, 0.0], [3.0, 1.0]])
    >>> reference
    RankReference(3 rows, 2 columns)
    >>> reference.rank_features([[3.0, 0.0]]).percentiles
    array([[100.,  50.]])
    """

    __slots__ = ("_columns", "_features", "_layout", "_n_samples")

    def __init__(self, reference: Any, *, features: Iterable[str] | None = None, n_jobs: int | None = None) -> None:
        table = read_table(reference, "reference")
        names = table.names or numbered_names(table.n_columns)
        positions = list(range(table.n_columns))
        if features is not None:
            features = name_list(features, "features")
            check_distinct(features, "features")
            if table.names is not None:
                check_known(features, names, "features not in reference")
                positions = [names.index(name) for name in features]
        self._features = features
        self._layout = Layout(table.names, table.n_columns)
        self._n_samples: int = table.n_rows
        columns = table.columns(positions, [names[j] for j in positions])
        n_workers = resolve_n_jobs_for(n_jobs, table.n_rows * len(columns))
        self._columns = dict(zip(positions, _sorted_columns(columns, n_workers), strict=True))

    @classmethod
    def _of_distinct(
        cls, features: Iterable[str], columns: Iterable[tuple[NDArray[Any], NDArray[np.int64], int]], n_samples: int
    ) -> RankReference:
        """Return a reference of columns whose distinct values, counts and numbers of missing values are known.

        The values of each column are in ascending order, without NaN.
        """
        reference = cls.__new__(cls)
        names = list(features)
        reference._features = None
        reference._layout = Layout(names, len(names))
        reference._n_samples = n_samples
        reference._columns = {
            j: _Column(values, np.cumsum(counts), n_missing, values.dtype)
            for j, (values, counts, n_missing) in enumerate(columns)
        }
        return reference

    @property
    def n_samples(self) -> int:
        """Return the number of rows."""
        return self._n_samples

    @property
    def nbytes(self) -> int:
        """Return the memory of the sorted columns, in bytes."""
        columns = self._columns.values()
        return sum(int(array.nbytes) for c in columns for array in (c.values, c.ends) if array is not None)

    def __repr__(self) -> str:
        return f"RankReference({self._n_samples} rows, {len(self._columns)} columns)"

    def rank_features(
        self,
        rows: Any,
        *,
        kind: str = "rank",
        tail: str = "upper",
        rank_last: str | Callable[[str], bool] | None = None,
        nan_policy: str = "propagate",
        n_jobs: int | None = None,
    ) -> FeatureRanks:
        """Compute the percentile rank of every value in `rows` among the same column of the reference.

        The result is bit-identical to the result of `isoxide.rank_features` for the same two tables.

        Parameters
        ----------
        rows : array-like or frame of shape (n_rows, n_features)
            Rows to explain: an array, a pandas, polars or pyarrow frame, or a frame of another library with the Arrow C
            stream.
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
        n_jobs : int, optional
            Number of threads; ``None`` and ``-1`` mean all cores. Results are the same for every number.

        Returns
        -------
        FeatureRanks
            Percentiles, with methods that order the features of each row and make tables.

        Raises
        ------
        ValueError
            If the columns of `rows` and the reference do not match, or `nan_policy` is 'raise' and a value is
            NaN.
        TypeError
            If a column is not numeric, or `rows` is a sparse matrix.

        Examples
        --------
        >>> from isoxide import RankReference
        >>> reference = RankReference([[1.0, 0.0], [2.0, 0.0], [3.0, 1.0]])
        >>> reference.rank_features([[1.0, 0.0]], tail="both").percentiles
        array([[100.        ,  83.33333333]])
        """
        definition = RankDefinition(kind, tail, nan_policy).check()
        table = read_table(rows, "rows")
        names, row_positions, reference_positions = match(table, self._layout, self._features)
        queries = table.columns(row_positions, names)
        columns = [self._columns[j] for j in reference_positions]
        if nan_policy == "raise":
            refuse_nan(queries, names, "rows")
            # If there are no rows, NaN is allowed, as in `isoxide.rank_features`, since it changes no percentile.
            missing = [name for name, column in zip(names, columns, strict=True) if column.n_missing and table.n_rows]
            if missing:
                raise nan_error(missing[0], "reference")
        n_workers = resolve_n_jobs_for(n_jobs, table.n_rows * len(columns))
        ranks = _ranks(columns, queries, table, definition, n_workers)
        return feature_ranks(table, row_positions, names, queries, ranks, rank_last)


def _ranks(
    columns: list[_Column], queries: list[NDArray[Any]], rows: Table, definition: RankDefinition, n_workers: int
) -> Ranks:
    """Rank the queries of each column: by the core, or by NumPy if the core cannot compare the dtypes."""
    shape = rows.n_rows, len(columns)
    percentiles, directions = np.empty(shape), np.empty(shape, dtype=np.int8)
    native_pairs: dict[int, tuple[tuple[NDArray[Any], NDArray[np.int64] | None, int], NDArray[Any]]] = {}
    for j, (column, query) in enumerate(zip(columns, queries, strict=True)):
        conversion = comparison(column.dtype, query.dtype)
        if conversion is None:
            percentiles[:, j], directions[:, j] = ranks_by_numpy(column.expanded(), query, definition)
        else:
            values = as_compared(column.values, conversion)
            # Arrays from a pickle may be unaligned.
            ends = None if column.ends is None else readable(column.ends)
            native_pairs[j] = (values, ends, column.n_missing), as_compared(query, conversion)
    if native_pairs:
        native_columns, native_queries = map(list, zip(*native_pairs.values(), strict=True))
        positions = list(native_pairs)
        percentiles[:, positions], directions[:, positions] = _core.sorted_ranks(
            native_columns, native_queries, n_workers=n_workers, **definition.native()
        )
    return percentiles, directions


# Pickles, skops files and messages contain the public module's name, so that private modules can move.
RankReference.__module__ = "isoxide"
