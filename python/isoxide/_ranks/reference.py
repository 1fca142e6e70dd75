"""A reference prepared once, for ranks of a few rows day after day."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isoxide import _core
from isoxide._common.patterns import check_distinct, check_known, name_list
from isoxide._common.threads import mapped, resolve_n_jobs
from isoxide._frames.dtypes import native, readable
from isoxide._frames.tables import Table, read_table
from isoxide._ranks.dtypes import Definition, Ranks, as_compared, comparison, nan_error, ranks_by_numpy, refuse_nan
from isoxide._ranks.feature_ranks import FeatureRanks, feature_ranks
from isoxide._ranks.matching import Layout, match, numbered_names


class _Column(NamedTuple):
    """The values of a column without NaN, ascending, or, where that takes less memory, the distinct ones."""

    values: NDArray[Any]
    #: How many values are at or below each; None if every one stands for itself.
    ends: NDArray[np.int64] | None
    n_missing: int
    #: The type that the values had, which decides as what they are compared.
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, column: NDArray[Any]) -> _Column:
        # Those that may meet values which they do not compare with as int64 or floats keep their type.
        own = comparison(column.dtype, column.dtype) == "own"
        values = np.sort(native(column) if own else column)
        if values.dtype.kind == "f":
            # All NaN are at the end.
            values = values[: np.searchsorted(values, np.nan)]
        n_missing = len(column) - len(values)
        ends = np.append(np.flatnonzero(values[1:] != values[:-1]), len(values) - 1)[: len(values)] + 1
        if len(ends) * (values.itemsize + ends.itemsize) < values.nbytes:
            return cls(values[ends - 1], ends, n_missing, column.dtype)
        # Without the memory of the NaN.
        return cls(values.copy() if n_missing else values, None, n_missing, column.dtype)

    def expanded(self) -> NDArray[Any]:
        """All values, in some order."""
        values = self.values if self.ends is None else np.repeat(self.values, np.diff(self.ends, prepend=0))
        return np.append(values, np.full(self.n_missing, np.nan, dtype=values.dtype)) if self.n_missing else values


class RankReference:
    """A reference that is prepared once and ranked among many times.

    Its columns are sorted, so that the ranks of some rows take a search instead of a pass over all values. It keeps no
    more memory than the columns have as float64, float32 or int64, and less where values repeat. It can be pickled.

    Parameters
    ----------
    reference : array-like or frame of shape (n_samples, n_features)
        See `rank_features`. Nothing of it is kept.
    features : list of str, optional
        The columns to use, in this order; others are ignored and need not be numeric. By default all, in the order of
        the rows to rank.
    n_jobs : int, optional
        Number of threads; ``None`` and ``-1`` mean all cores.

    Attributes
    ----------
    n_samples : int
        Number of rows.
    nbytes : int
        Memory taken by the values.

    Raises
    ------
    ValueError
        If a feature is not there, or a column has missing values and integers beyond 2**53.
    TypeError
        If a column is not numeric, or the table is a sparse matrix.

    See Also
    --------
    rank_features : The same for one time.

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
        places = list(range(table.n_columns))
        if features is not None:
            features = name_list(features, "features")
            check_distinct(features, "features")
            if table.names is not None:
                check_known(features, names, "features not in reference")
                places = [names.index(name) for name in features]
        self._features = features
        self._layout = Layout(table.names, table.n_columns)
        self._n_samples: int = table.n_rows
        columns = [table.column(j, names[j]) for j in places]
        self._columns = dict(zip(places, mapped(_Column.of, columns, resolve_n_jobs(n_jobs)), strict=True))

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return self._n_samples

    @property
    def nbytes(self) -> int:
        """Memory taken by the values, in bytes."""
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
        """Percentile of every value in `rows` among the same column of the reference.

        Equal in every bit to what `isoxide.rank_features` gives for the same two tables.

        Parameters
        ----------
        rows : array-like or frame of shape (n_rows, n_features)
            The rows to explain.
        kind : {'rank', 'weak', 'strict', 'mean'}, default='rank'
            See `percentileofscore`.
        tail : {'upper', 'lower', 'both'}, default='upper'
            Which values are unusual: high ones, low ones, or both; see `isoxide.rank_features`.
        rank_last : str or callable, optional
            Features that come after all others; see `isoxide.rank_features`.
        nan_policy : {'propagate', 'raise', 'omit'}, default='propagate'
            See `percentileofscore`. Each column is treated for itself.
        n_jobs : int, optional
            Number of threads; ``None`` and ``-1`` mean all cores. It never changes a result.

        Returns
        -------
        FeatureRanks
            The percentiles and what follows from them.

        Raises
        ------
        ValueError
            If the columns of `rows` and the reference do not match, or if NaN is to be refused.
        TypeError
            If a column is not numeric, or `rows` is a sparse matrix.
        """
        definition = Definition(kind, tail, nan_policy).check()
        table = read_table(rows, "rows")
        names, row_places, reference_places = match(table, self._layout, self._features)
        queries = [table.column(j, name) for j, name in zip(row_places, names, strict=True)]
        columns = [self._columns[j] for j in reference_places]
        if nan_policy == "raise":
            refuse_nan(queries, names, "rows")
            # Without rows there is no percentile that it could have spoilt, and `isoxide.rank_features` does not look.
            missing = [name for name, column in zip(names, columns, strict=True) if column.n_missing and table.n_rows]
            if missing:
                raise nan_error(missing[0], "reference")
        ranks = _ranks(columns, queries, table, definition, resolve_n_jobs(n_jobs))
        return feature_ranks(table, row_places, names, queries, ranks, rank_last)


def _ranks(
    columns: list[_Column], queries: list[NDArray[Any]], rows: Table, definition: Definition, n_workers: int
) -> Ranks:
    shape = rows.n_rows, len(columns)
    percentiles, directions = np.empty(shape), np.empty(shape, dtype=np.int8)
    known: dict[int, tuple[tuple[NDArray[Any], NDArray[np.int64] | None, int], NDArray[Any]]] = {}
    for j, (column, query) in enumerate(zip(columns, queries, strict=True)):
        how = comparison(column.dtype, query.dtype)
        if how is None:
            percentiles[:, j], directions[:, j] = ranks_by_numpy(column.expanded(), query, definition)
        else:
            values = as_compared(column.values, how)
            # Arrays that come from a pickle may lie anywhere in its bytes.
            ends = None if column.ends is None else readable(column.ends)
            known[j] = (values, ends, column.n_missing), as_compared(query, how)
    if known:
        prepared, compared = map(list, zip(*known.values(), strict=True))
        places = list(known)
        percentiles[:, places], directions[:, places] = _core.sorted_ranks(
            prepared, compared, n_workers=n_workers, **definition.native()
        )
    return percentiles, directions


# Pickles, skops and messages hold the public module's name, so that private ones can move.
RankReference.__module__ = "isoxide"
