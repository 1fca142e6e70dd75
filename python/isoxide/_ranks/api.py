"""Exact percentile ranks: scipy's ``percentileofscore``, and the same for every cell of a table at once."""

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
    Definition,
    Pairs,
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

#: Fewer values are not shared out.
_MANY = 2**15


def percentileofscore(
    a: ArrayLike, score: ArrayLike, kind: str = "rank", nan_policy: str = "propagate"
) -> np.float64 | NDArray[np.float64]:
    """Percentile rank of one or more values among the values of `a`.

    Equals ``scipy.stats.percentileofscore`` of SciPy 1.17 in every bit, in memory for a copy of both inputs at most.

    Parameters
    ----------
    a : array-like of shape (n,)
        The values to compare with.
    score : scalar or array-like
        The values whose percentiles are asked for.
    kind : {'rank', 'weak', 'strict', 'mean'}, default='rank'
        What counts: the mean rank of all equal values ('rank'), the values at or below the score ('weak'), those below
        it ('strict'), or the mean of the last two ('mean').
    nan_policy : {'propagate', 'raise', 'omit'}, default='propagate'
        With NaN in `a`, all percentiles are NaN, a ValueError is raised, or NaN is left out. A NaN in `score` has the
        percentile NaN, or raises.

    Returns
    -------
    numpy.float64 or ndarray of the shape of `score`
        From 0 to 100; NaN if `a` is empty.

    Raises
    ------
    ValueError
        If `a` is not one-dimensional, `kind` or `nan_policy` is none of the above, or NaN is to be refused.
    TypeError
        If the values of `a` and `score` do not compare.

    See Also
    --------
    rank_features : The same for every cell of a table at once.

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
    # First, so that scores which fit in no memory are refused at once.
    percentiles = np.full(score.shape, np.nan)
    a_has_nan, score_has_nan = (look_for_nan(x, nan_policy) for x in (a, score))
    if score_has_nan:
        np.isnan(score)  # raises for objects, as in SciPy
    if a.size > 0 and not (a_has_nan and (nan_policy == "propagate" or np.isnan(a).all())):
        # Not earlier: SciPy does not look at the kind when there is nothing to compare with.
        check_kind(kind)
        # Asking for the number of cores takes longer than counting a few values.
        n_workers = resolve_n_jobs(None) if a.size >= _MANY else 1
        definition = Definition(kind, None, nan_policy)
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
    """Percentile of every value in `rows` among the same column of `reference`.

    Each one equals ``scipy.stats.percentileofscore(reference[:, j], rows[i, j], kind, nan_policy)`` in every bit, or
    with another `tail` what this gives for the values with their signs changed.

    Parameters
    ----------
    rows : array-like or frame of shape (n_rows, n_features)
        The rows to explain. Frames are those of pandas, polars and pyarrow, or anything else with the Arrow C stream
        or the dataframe interchange protocol, which pyarrow reads. Missing values are NaN. Tables made of the result
        are of the same kind; of pandas for an array, of pyarrow for another frame.
    reference : array-like or frame of shape (n_samples, n_features)
        What they are compared with. Its float64, float32 and int64 columns without missing values are read in place,
        where a frame keeps them in one piece.
    features : list of str, optional
        The columns to use, in this order; others are ignored and need not be numeric. By default all, in the order of
        `rows`. If both arguments have names (strings), columns are matched by name, otherwise by position; without
        any names the features are called ``"x0"``, ``"x1"``, and so on.
    kind : {'rank', 'weak', 'strict', 'mean'}, default='rank'
        See `percentileofscore`.
    tail : {'upper', 'lower', 'both'}, default='upper'
        Which values are unusual, that is, have high percentiles: high ones ('upper'), low ones ('lower': the percentile
        of ``-rows[i, j]`` among ``-reference[:, j]``), or both ('both': the larger of these two percentiles).
        `FeatureRanks.directions` tells on which side a value stands.
    groups : str or (labels of the rows, labels of the reference), optional
        Each row is ranked among the rows of `reference` with the same label only: its peer group, or with a label per
        actor its own history. Either the name of a column of both frames, which is no feature then, or two array-likes
        of length n_rows and n_samples. Where a label is missing, or `reference` does not have it, percentiles are NaN.
    rank_last : str or callable, optional
        Features that come after all others in `FeatureRanks.order`: a pattern such as ``"*zscore*"``, or a function
        that takes a name and says whether it belongs there.
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
        If the columns of `rows` and `reference` do not match, if one has missing values and integers beyond 2**53,
        if `groups` names no column or has other lengths than the tables, or if NaN is to be refused.
    TypeError
        If a column is not numeric, a table is a sparse matrix, or labels cannot be hashed.
    ImportError
        If a frame can only be read by pyarrow, which is not installed.

    See Also
    --------
    percentileofscore : The same for one column.
    RankReference : A reference that is prepared once.

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
    definition = Definition(kind, tail, nan_policy).check()
    row_table, reference_table = read_table(rows, "rows"), read_table(reference, "reference")
    if isinstance(groups, str):
        features = _groups.features_without(groups, row_table, reference_table, features)
    names, row_places, reference_places = match(row_table, reference_table, features)
    labels = None if groups is None else _groups.labels(groups, row_table, reference_table)
    queries = [row_table.column(j, name) for j, name in zip(row_places, names, strict=True)]
    if isinstance(reference_table, ArrayTable):
        data = reference_table.data
        if data.dtype.kind in "biuf" and data.itemsize < 8:
            # Once for the whole array: column by column, each of its cache lines would be read many times.
            reference_table = ArrayTable("reference", native(data))
    columns = [reference_table.column(j, name) for j, name in zip(reference_places, names, strict=True)]
    if nan_policy == "raise":
        refuse_nan(queries, names, "rows")
    pairs, n_workers = list(zip(columns, queries, strict=True)), resolve_n_jobs(n_jobs)
    if labels is None:
        ranks = _checked_ranks(pairs, names, row_table.n_rows, definition, n_workers)
    else:
        ranks = _ranks_by_group(pairs, names, labels, definition, n_workers)
    return feature_ranks(row_table, row_places, names, queries, ranks, rank_last)


def _checked_ranks(pairs: Pairs, names: list[str], n_rows: int, definition: Definition, n_workers: int) -> Ranks:
    percentiles, directions = column_ranks(pairs, n_rows, definition, n_workers)
    if definition.nan_policy == "raise":
        # The rows have none, so only NaN in a reference can have made these (or an empty one, which is no error).
        places = np.flatnonzero(np.isnan(percentiles).any(axis=0))
        refuse_nan([pairs[j][0] for j in places], [names[j] for j in places], "reference")
    return percentiles, directions


def _ranks_by_group(
    pairs: Pairs, names: list[str], labels: _groups.Labels, definition: Definition, n_workers: int
) -> Ranks:
    """The ranks of each row among the rows of its group."""
    shape = len(labels[0]), len(pairs)
    percentiles, directions = np.full(shape, np.nan), np.zeros(shape, dtype=np.int8)
    for rows, members in _groups.members(*labels):
        parts = [(column[members], queries[rows]) for column, queries in pairs]
        percentiles[rows], directions[rows] = _checked_ranks(parts, names, len(rows), definition, n_workers)
    return percentiles, directions


# Pickles, skops and messages hold the public module's name, so that private ones can move.
percentileofscore.__module__ = "isoxide"
rank_features.__module__ = "isoxide"
