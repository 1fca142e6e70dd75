"""Exact percentile ranks: SciPy's ``percentileofscore``, and the same for every cell of a table in one call.

    percentile of a query among n values = 100 / n times the number of values that count for it (`kind`)

Two counts per query are enough: the values below it, and the values at or below it. So `rank_features` reads the
reference once and sorts only the queries (`src/rank`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoxide._common.threads import resolve_n_jobs, resolve_n_jobs_for
from isoxide._frames.dtypes import native
from isoxide._frames.tables import ArrayTable, read_table
from isoxide._ranks import groups as _groups
from isoxide._ranks.dtypes import (
    Pairs,
    RankDefinition,
    Ranks,
    check_kind,
    check_nan,
    check_nan_policy,
    column_ranks,
    native_pair,
    native_ranks,
    ranks_by_numpy,
    refuse_nan,
)
from isoxide._ranks.feature_ranks import FeatureRanks, feature_ranks
from isoxide._ranks.matching import match

__all__ = ["FeatureRanks", "percentileofscore", "rank_features"]

#: Minimum number of values for which several threads are used.
_PARALLEL_MIN_VALUES = 2**15


def percentileofscore(
    a: ArrayLike, score: ArrayLike, kind: str = "rank", nan_policy: str = "propagate"
) -> np.float64 | NDArray[np.float64]:
    """Compute the percentile rank of one or more values among the values of `a`.

    The result is bit-identical to ``scipy.stats.percentileofscore`` of SciPy 1.17. It needs at most the memory of a
    copy of both inputs.

    Parameters
    ----------
    a : array-like of shape (n,)
        Values to rank among.
    score : scalar or array-like
        Values to rank.
    kind : {'rank', 'weak', 'strict', 'mean'}, default='rank'
        Treatment of equal values: the percentile is the mean rank of all equal values ('rank'), the percentage of
        values at or below the score ('weak') or below it ('strict'), or the mean of 'weak' and 'strict' ('mean').
    nan_policy : {'propagate', 'raise', 'omit'}, default='propagate'
        Treatment of NaN in `a`: make all percentiles NaN ('propagate'), raise a ValueError ('raise'), or leave NaN out
        ('omit'). For NaN in `score` the percentile is NaN, or with 'raise' a ValueError is raised.

    Returns
    -------
    numpy.float64 or ndarray of the shape of `score`
        Percentiles from 0 to 100; NaN if `a` is empty.

    Raises
    ------
    ValueError
        If `a` is not one-dimensional, `kind` or `nan_policy` does not have a listed value, or `nan_policy` is 'raise'
        and a value is NaN.
    TypeError
        If the values of `a` and `score` cannot be compared.

    See Also
    --------
    rank_features : Rank every cell of a table in one call.

    Examples
    --------
    >>> from isoxide import percentileofscore
    >>> percentileofscore([1, 2, 3, 3, 4], [2, 3])
    array([40., 70.])
    """
    a, score = np.asarray(a), np.asarray(score)
    if a.ndim != 1:
        raise ValueError("`a` must be 1-dimensional.")
    check_nan_policy(nan_policy)
    # Allocate the result first, so that too many scores for the memory are refused before any work.
    percentiles = np.full(score.shape, np.nan)
    a_has_nan, score_has_nan = (check_nan(x, nan_policy) for x in (a, score))
    if score_has_nan:
        np.isnan(score)  # raises for objects, as in SciPy
    if a.size > 0 and not (a_has_nan and (nan_policy == "propagate" or np.isnan(a).all())):
        # Check `kind` only here: SciPy ignores it if there is nothing to compare with.
        check_kind(kind)
        # Asking for the number of cores takes longer than counting a few values.
        n_workers = resolve_n_jobs(None) if a.size >= _PARALLEL_MIN_VALUES else 1
        definition = RankDefinition(kind, None, nan_policy)
        pair = native_pair(a, score.ravel())
        if pair is None:
            percentiles, _ = ranks_by_numpy(a, score.ravel(), definition)
        else:
            percentiles, _ = native_ranks([pair], definition, n_workers)
        percentiles = percentiles.reshape(score.shape)
    return percentiles[()]


def rank_features(
    rows: Any,
    reference: Any,
    *,
    features: Iterable[str] | None = None,
    kind: str = "rank",
    tail: str = "upper",
    groups: str | tuple[Any, Any] | None = None,
    rank_last: str | Callable[[str], bool] | None = None,
    nan_policy: str = "propagate",
    n_jobs: int | None = None,
) -> FeatureRanks:
    """Compute the percentile rank of every value in `rows` among the same column of `reference`.

    Each percentile is bit-identical to the result of
    ``scipy.stats.percentileofscore(reference[:, j], rows[i, j], kind, nan_policy)``. For the lower tail, the signs of
    all values are changed first.

    Parameters
    ----------
    rows : array-like or frame of shape (n_rows, n_features)
        Rows to explain: an array, a pandas, polars or pyarrow frame, or a frame of another library with the Arrow C
        stream or the dataframe interchange protocol, which pyarrow reads. Missing values are NaN. Tables made from the
        result are frames of the same library; they are pandas frames for an array, and pyarrow tables for other
        libraries.
    reference : array-like or frame of shape (n_samples, n_features)
        Rows to rank among. Float64, float32 and int64 columns without missing values are read in place if each is
        stored in one chunk.
    features : list of str, optional
        Columns to use, in this order; others are ignored and need not be numeric. By default all columns of `rows`.
        If both arguments have names (strings), columns are matched by name, otherwise by position; without any names
        the features are called ``"x0"``, ``"x1"``, and so on.
    kind : {'rank', 'weak', 'strict', 'mean'}, default='rank'
        Treatment of equal values: the percentile is the mean rank of all equal values ('rank'), the percentage of
        values at or below ('weak') or below ('strict'), or the mean of 'weak' and 'strict' ('mean').
    tail : {'upper', 'lower', 'both'}, default='upper'
        Side on which values are unusual and have high percentiles: high values ('upper'), low values ('lower': the
        percentile of ``-rows[i, j]`` among ``-reference[:, j]``), or both ('both': the larger of these two
        percentiles). `FeatureRanks.directions` gives the side of each value.
    groups : str or (labels of the rows, labels of the reference), optional
        Labels that restrict the ranking: each row is ranked among the rows of `reference` with the same label. Labels
        of departments give peer groups, and labels of actors give each actor's own history. Give the name of a column
        of both frames, which then is not a feature, or two array-likes of length n_rows and n_samples. A row whose
        label is missing, or does not occur in `reference`, has NaN percentiles.
    rank_last : str or callable, optional
        Features that come after all others in `FeatureRanks.order`: a pattern such as ``"*zscore*"``, or a function
        that takes a feature's name and returns True for these features.
    nan_policy : {'propagate', 'raise', 'omit'}, default='propagate'
        Treatment of NaN in a column: make all its percentiles NaN ('propagate'), raise a ValueError ('raise'), or leave
        NaN out ('omit').
    n_jobs : int, optional
        Number of threads; ``None`` and ``-1`` mean all cores. Results are the same for every number.

    Returns
    -------
    FeatureRanks
        Percentiles, with methods that order the features of each row and make tables.

    Raises
    ------
    ValueError
        If the columns of `rows` and `reference` do not match, if a column has missing values and integers beyond 2**53,
        if `groups` is not a column or its arrays do not have the lengths of the tables, or if `nan_policy` is 'raise'
        and a value is NaN.
    TypeError
        If a column is not numeric, a table is a sparse matrix, or labels cannot be hashed.
    ImportError
        If only pyarrow can read a frame, and it is not installed.

    See Also
    --------
    percentileofscore : Rank among the values of one array.
    RankReference : Sort a reference once, and rank rows among it many times.

    Examples
    --------
    >>> from isoxide import rank_features
    >>> ranks = rank_features([[3.0, 0.0]], [[1.0, 0.0], [2.0, 0.0], [3.0, 1.0]])
    >>> ranks.percentiles
    array([[100.,  50.]])
    >>> ranks = rank_features([[1.0, 0.0]], [[1.0, 0.0], [2.0, 0.0], [3.0, 1.0]], tail="both")
    >>> ranks.percentiles
    array([[100.        ,  83.33333333]])
    >>> ranks.directions
    array([[-1, -1]], dtype=int8)
    """
    definition = RankDefinition(kind, tail, nan_policy).check()
    row_table, reference_table = read_table(rows, "rows"), read_table(reference, "reference")
    if isinstance(groups, str):
        features = _groups.features_without(groups, row_table, reference_table, features)
    names, row_positions, reference_positions = match(row_table, reference_table, features)
    labels = None if groups is None else _groups.labels(groups, row_table, reference_table)
    queries = row_table.columns(row_positions, names)
    if isinstance(reference_table, ArrayTable):
        data = reference_table.data
        if data.dtype.kind in "biuf" and data.itemsize < 8:
            # Convert the whole array in one pass: column by column, each cache line would be read many times.
            reference_table = ArrayTable("reference", native(data))
    columns = reference_table.columns(reference_positions, names)
    if nan_policy == "raise":
        refuse_nan(queries, names, "rows")
    pairs = list(zip(columns, queries, strict=True))
    n_workers = resolve_n_jobs_for(n_jobs, reference_table.n_rows * len(columns))
    if labels is None:
        ranks = _checked_ranks(pairs, names, row_table.n_rows, definition, n_workers)
    else:
        ranks = _ranks_by_group(pairs, names, labels, definition, n_workers)
    return feature_ranks(row_table, row_positions, names, queries, ranks, rank_last)


def _checked_ranks(pairs: Pairs, names: list[str], n_rows: int, definition: RankDefinition, n_workers: int) -> Ranks:
    """Rank each pair, and refuse NaN in the reference if `nan_policy` is 'raise'."""
    percentiles, directions = column_ranks(pairs, n_rows, definition, n_workers)
    if definition.nan_policy == "raise":
        # The rows have no NaN. So a NaN percentile comes from NaN in the reference, or from a reference without rows.
        positions = np.flatnonzero(np.isnan(percentiles).any(axis=0))
        refuse_nan([pairs[j][0] for j in positions], [names[j] for j in positions], "reference")
    return percentiles, directions


def _ranks_by_group(
    pairs: Pairs, names: list[str], labels: _groups.Labels, definition: RankDefinition, n_workers: int
) -> Ranks:
    """Rank each row among the rows of its group."""
    shape = len(labels[0]), len(pairs)
    percentiles, directions = np.full(shape, np.nan), np.zeros(shape, dtype=np.int8)
    for rows, members in _groups.members(*labels):
        group = [(column[members], queries[rows]) for column, queries in pairs]
        percentiles[rows], directions[rows] = _checked_ranks(group, names, len(rows), definition, n_workers)
    return percentiles, directions


# Pickles, skops files and messages contain the public module's name, so that private modules can move.
percentileofscore.__module__ = "isoxide"
rank_features.__module__ = "isoxide"
