"""Exact percentile ranks: ``percentileofscore`` as in SciPy, and the same for every cell of a table at once.

    percentile of a query among n values = 100 / n times the number of values that count for it (`kind`)

Only the two counts below, and at or below, a query are needed, so `rank_features` reads the reference once and sorts
the queries only (`src/rank`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoxide._common.threads import resolve_n_jobs
from isoxide._frames.dtypes import native
from isoxide._frames.tables import ArrayTable, read_table
from isoxide._ranks import groups as _groups
from isoxide._ranks.dtypes import (
    Pairs,
    RankDefinition,
    Ranks,
    check_kind,
    check_nan_policy,
    column_ranks,
    look_for_nan,
    native_pair,
    native_ranks,
    ranks_by_numpy,
    refuse_nan,
)
from isoxide._ranks.feature_ranks import FeatureRanks, feature_ranks
from isoxide._ranks.matching import match

__all__ = ["FeatureRanks", "percentileofscore", "rank_features"]

#: Number of values from which several threads count.
_PARALLEL_MIN_VALUES = 2**15


def percentileofscore(
    a: ArrayLike, score: ArrayLike, kind: str = "rank", nan_policy: str = "propagate"
) -> np.float64 | NDArray[np.float64]:
    """Compute the percentile rank of one or more values among the values of `a`.

    The result equals that of ``scipy.stats.percentileofscore`` of SciPy 1.17 bit for bit. It takes memory for a copy of
    both inputs at most.

    Parameters
    ----------
    a : array-like of shape (n,)
        Values to rank among.
    score : scalar or array-like
        Values to rank.
    kind : {'rank', 'weak', 'strict', 'mean'}, default='rank'
        Values that count for a percentile: the mean rank of all equal values ('rank'), the values at or below the score
        ('weak'), those below it ('strict'), or the mean of the last two ('mean').
    nan_policy : {'propagate', 'raise', 'omit'}, default='propagate'
        Treatment of NaN in `a`: all percentiles are NaN ('propagate'), a ValueError is raised ('raise'), or NaN is left
        out ('omit'). NaN in `score` has the percentile NaN, or raises.

    Returns
    -------
    numpy.float64 or ndarray of the shape of `score`
        Percentiles from 0 to 100; NaN if `a` is empty.

    Raises
    ------
    ValueError
        If `a` is not one-dimensional, `kind` or `nan_policy` has another value, or `nan_policy` is 'raise' and there is
        NaN.
    TypeError
        If the values of `a` and `score` cannot be compared.

    See Also
    --------
    rank_features : Rank every cell of a table at once.

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
    # Allocate the result first, so that scores which fit in no memory are refused at once.
    percentiles = np.full(score.shape, np.nan)
    a_has_nan, score_has_nan = (look_for_nan(x, nan_policy) for x in (a, score))
    if score_has_nan:
        np.isnan(score)  # raises for objects, as in SciPy
    if a.size > 0 and not (a_has_nan and (nan_policy == "propagate" or np.isnan(a).all())):
        # Check the kind here: SciPy does not look at it when there is nothing to compare with.
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

    Each percentile equals ``scipy.stats.percentileofscore(reference[:, j], rows[i, j], kind, nan_policy)`` bit for bit;
    with another `tail`, what this function returns for the values with their signs changed.

    Parameters
    ----------
    rows : array-like or frame of shape (n_rows, n_features)
        Rows to explain. A frame is one of pandas, polars or pyarrow, or of another library with the Arrow C stream or
        the dataframe interchange protocol, which pyarrow reads. Missing values are NaN. Tables made from the result are
        frames of the same library; of pandas for an array, of pyarrow for another library.
    reference : array-like or frame of shape (n_samples, n_features)
        Rows to rank among. Float64, float32 and int64 columns without missing values are read in place if the frame
        keeps them in one piece.
    features : list of str, optional
        Columns to use, in this order; others are ignored and need not be numeric. By default all, in the order of
        `rows`. If both arguments have names (strings), columns are matched by name, otherwise by position; without
        any names the features are called ``"x0"``, ``"x1"``, and so on.
    kind : {'rank', 'weak', 'strict', 'mean'}, default='rank'
        Values that count for a percentile: the mean rank of all equal values ('rank'), the values at or below ('weak'),
        those below ('strict'), or the mean of the last two ('mean').
    tail : {'upper', 'lower', 'both'}, default='upper'
        Values that are unusual, that is, have high percentiles: high ones ('upper'), low ones ('lower': the percentile
        of ``-rows[i, j]`` among ``-reference[:, j]``), or both ('both': the larger of these two percentiles).
        `FeatureRanks.directions` tells on which side a value is.
    groups : str or (labels of the rows, labels of the reference), optional
        Labels that restrict the ranking: each row is ranked among the rows of `reference` with the same label, such as
        its peer group, or with a label per actor its own history. Either the name of a column of both frames, which is
        no feature then, or two array-likes of length n_rows and n_samples. A row whose label is missing, or does not
        occur in `reference`, has NaN percentiles.
    rank_last : str or callable, optional
        Features that come after all others in `FeatureRanks.order`: a pattern such as ``"*zscore*"``, or a function
        of a name that returns whether it is one of them.
    nan_policy : {'propagate', 'raise', 'omit'}, default='propagate'
        Treatment of NaN in a column: its percentiles are NaN ('propagate'), a ValueError is raised ('raise'), or NaN is
        left out ('omit').
    n_jobs : int, optional
        Number of threads; ``None`` and ``-1`` mean all cores. The number never changes a result.

    Returns
    -------
    FeatureRanks
        The percentiles, and tables and orders made from them.

    Raises
    ------
    ValueError
        If the columns of `rows` and `reference` do not match, if a column has missing values and integers beyond 2**53,
        if `groups` names no column or has other lengths than the tables, or if `nan_policy` is 'raise' and there is
        NaN.
    TypeError
        If a column is not numeric, a table is a sparse matrix, or labels cannot be hashed.
    ImportError
        If only pyarrow can read a frame, and it is not installed.

    See Also
    --------
    percentileofscore : Rank among the values of one array.
    RankReference : Prepare a reference once, to rank among it many times.

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
    queries = [row_table.column(j, name) for j, name in zip(row_positions, names, strict=True)]
    if isinstance(reference_table, ArrayTable):
        data = reference_table.data
        if data.dtype.kind in "biuf" and data.itemsize < 8:
            # Convert the whole array at once: column by column, each of its cache lines would be read many times.
            reference_table = ArrayTable("reference", native(data))
    columns = [reference_table.column(j, name) for j, name in zip(reference_positions, names, strict=True)]
    if nan_policy == "raise":
        refuse_nan(queries, names, "rows")
    pairs, n_workers = list(zip(columns, queries, strict=True)), resolve_n_jobs(n_jobs)
    if labels is None:
        ranks = _checked_ranks(pairs, names, row_table.n_rows, definition, n_workers)
    else:
        ranks = _ranks_by_group(pairs, names, labels, definition, n_workers)
    return feature_ranks(row_table, row_positions, names, queries, ranks, rank_last)


def _checked_ranks(pairs: Pairs, names: list[str], n_rows: int, definition: RankDefinition, n_workers: int) -> Ranks:
    """Rank each pair, and refuse NaN in the reference if the policy says so."""
    percentiles, directions = column_ranks(pairs, n_rows, definition, n_workers)
    if definition.nan_policy == "raise":
        # The rows have no NaN, so only NaN in the reference gives NaN percentiles (or no rows in it, which is allowed).
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


# Pickles, skops and messages hold the public module's name, so that private ones can move.
percentileofscore.__module__ = "isoxide"
rank_features.__module__ = "isoxide"
