"""Exact percentile ranks: scipy's ``percentileofscore``, and the same for every cell of a table at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from isoxide import _core
from isoxide._feature_ranks import FeatureRanks
from isoxide._tables import ArrayTable, match, read_table
from isoxide._threads import resolve_n_jobs

__all__ = ["FeatureRanks", "percentileofscore", "rank_features"]

_KINDS = ("rank", "strict", "weak", "mean")
_TAILS = ("upper", "lower", "two")
#: Fewer values are not shared out.
_MANY = 2**15
_NAN_POLICIES = frozenset(("propagate", "raise", "omit"))


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
    _check_nan_policy(nan_policy)
    a_has_nan, score_has_nan = (_look_for_nan(x, nan_policy) for x in (a, score))
    if score_has_nan:
        np.isnan(score)  # raises for objects, as in SciPy
    percentiles = np.full(score.shape, np.nan)
    if a.size > 0 and not (a_has_nan and (nan_policy == "propagate" or np.isnan(a).all())):
        # Not earlier: SciPy does not look at the kind when there is nothing to compare with.
        _check_kind(kind)
        # Asking for the number of cores takes longer than counting a few values.
        n_workers = resolve_n_jobs(None) if a.size >= _MANY else 1
        pair = _native_pair(a, score.ravel())
        if pair is None:
            percentiles, _ = _ranks_by_numpy(a, score.ravel(), kind, None, nan_policy)
        else:
            percentiles, _ = _native_ranks([pair], kind, "upper", nan_policy, n_workers)
        percentiles = percentiles.reshape(score.shape)
    return percentiles[()]


def _check_kind(kind: str) -> None:
    if kind not in _KINDS:
        raise ValueError("kind can only be 'rank', 'strict', 'weak' or 'mean'")


def _check_tail(tail: str) -> None:
    if tail not in _TAILS:
        raise ValueError(f"tail must be 'upper', 'lower' or 'two', got {tail!r}")


def _check_nan_policy(nan_policy: str) -> None:
    if nan_policy not in _NAN_POLICIES:
        raise ValueError("nan_policy must be one of {'propagate', 'raise', 'omit'}.")


def _look_for_nan(x: NDArray[Any], nan_policy: str, where: str = "") -> bool:
    found = _has_nan(x)
    if found and nan_policy == "raise":
        raise ValueError(f"The input contains nan values{where}")
    return found


def _has_nan(x: NDArray[Any]) -> bool:
    """Whether SciPy would see a NaN: in objects, only one whose type is a number for NumPy."""
    if x.size == 0:
        return False
    if x.dtype.kind == "f":
        return bool(np.isnan(x.max()))
    if x.dtype.kind == "c":
        return bool(np.isnan(x).any())
    return x.dtype.kind == "O" and any(np.issubdtype(type(item), np.number) and np.isnan(item) for item in x.flat)


_Pairs = list[tuple[NDArray[Any], NDArray[Any]]]
#: Percentiles and directions.
_Ranks = tuple[NDArray[np.float64], NDArray[np.int8]]


def _ranks(pairs: _Pairs, n_rows: int, kind: str, tail: str, nan_policy: str, n_workers: int) -> _Ranks:
    """Per pair of a column and its queries the percentiles and directions of these, as a column."""
    native = {j: found for j, pair in enumerate(pairs) if (found := _native_pair(*pair)) is not None}
    percentiles, directions = np.empty((n_rows, len(pairs))), np.empty((n_rows, len(pairs)), dtype=np.int8)
    if native:
        places = list(native)
        found = _native_ranks(list(native.values()), kind, tail, nan_policy, n_workers)
        percentiles[:, places], directions[:, places] = found
    for j, pair in enumerate(pairs):
        if j not in native:
            percentiles[:, j], directions[:, j] = _ranks_by_numpy(*pair, kind, tail, nan_policy)
    return percentiles, directions


def _native_ranks(pairs: _Pairs, kind: str, tail: str, nan_policy: str, n_workers: int) -> _Ranks:
    columns, queries = map(list, zip(*pairs, strict=True))
    omit = nan_policy == "omit"
    return _core.percentile_ranks(columns, queries, kind=kind, tail=tail, omit_nan=omit, n_workers=n_workers)


def _ranks_by_numpy(a: NDArray[Any], queries: NDArray[Any], kind: str, tail: str | None, nan_policy: str) -> _Ranks:
    """The same for types that the core does not know: NumPy takes one query at a time.

    Without a `tail`, the percentile is the upper one, there are no directions, and only those comparisons are made that
    the kind needs: not all objects have the others.
    """
    if _has_nan(a):
        a = a[~np.isnan(a)] if nan_policy == "omit" else a[:0]
    # Types that do not compare are refused even if there are no queries.
    _ = a[:0] <= queries[:0] if kind == "weak" else a[:0] < queries[:0]
    below, at_or_below = np.zeros(queries.shape, dtype=np.int64), np.zeros(queries.shape, dtype=np.int64)
    # NumPy warns when it compares a NaN among complex numbers or objects.
    with np.errstate(invalid="ignore"):
        for i in range(queries.size if a.size else 0):
            # A slice, not an item: an item of an object array would lose its type.
            query = queries[i : i + 1]
            if tail is not None or kind != "weak":
                below[i] = np.count_nonzero(a < query)
            if tail is not None or kind != "strict":
                at_or_below[i] = np.count_nonzero(a <= query)
    upper = _percentiles(below, at_or_below, a.size, kind)
    lower = _percentiles(a.size - at_or_below, a.size - below, a.size, kind)
    percentiles = upper if tail in (None, "upper") else lower if tail == "lower" else np.maximum(upper, lower)
    directions = np.where(upper >= lower, 1, -1).astype(np.int8)
    if queries.dtype.kind in "fc":
        percentiles[np.isnan(queries)] = np.nan
    directions[np.isnan(percentiles)] = 0
    return percentiles, directions


def _percentiles(left: NDArray[np.int64], right: NDArray[np.int64], n: int, kind: str) -> NDArray[np.float64]:
    """Percentiles from the counts below, and at or below, in SciPy's order of operations."""
    if n == 0:
        return np.full(left.shape, np.nan)
    if kind in ("weak", "strict"):
        return (right if kind == "weak" else left) * (100.0 / n)
    tied = (left < right) if kind == "rank" else 0
    return (left + right + tied) * (50.0 / n)


def _native_pair(a: NDArray[Any], b: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Both arrays in types of the core whose comparison has the results of NumPy's; None if there are none."""
    kinds = {a.dtype.kind, b.dtype.kind}
    if not kinds <= set("biuf") or max(a.dtype.itemsize, b.dtype.itemsize) > 8:
        return None
    if not {a.dtype.str[1:], b.dtype.str[1:]} & {"u8"}:
        return _native(a), _native(b)
    if "f" in kinds:
        return _native(a, np.float64), _native(b, np.float64)
    if "i" in kinds:
        # NumPy compares these without a common type.
        return None
    # Flipping the top bit makes them signed and keeps their order.
    flipped = [(x.astype(np.uint64) ^ np.uint64(2**63)).view(np.int64) for x in (a, b)]
    return flipped[0], flipped[1]


def _native(x: NDArray[Any], dtype: DTypeLike | None = None) -> NDArray[Any]:
    """`x` as float64, float32 or int64, which hold its values exactly; not copied if it is one of them already."""
    if dtype is None:
        dtype = np.int64 if x.dtype.kind in "biu" else np.float32 if x.dtype.itemsize < 8 else np.float64
    return np.require(x, dtype, "A")


def rank_features(
    rows: Any,
    reference: Any,
    *,
    features: Iterable[str] | None = None,
    kind: str = "rank",
    tail: str = "upper",
    last: str | Callable[[str], bool] | None = None,
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
    tail : {'upper', 'lower', 'two'}, default='upper'
        Which values are unusual, that is, have high percentiles: high ones ('upper'), low ones ('lower': the percentile
        of ``-rows[i, j]`` among ``-reference[:, j]``), or both ('two': the larger of these two percentiles).
        `FeatureRanks.directions` tells on which side a value stands.
    last : str or callable, optional
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
        or if NaN is to be refused.
    TypeError
        If a column is not numeric, or a table is a sparse matrix.
    ImportError
        If a frame can only be read by pyarrow, which is not installed.

    See Also
    --------
    percentileofscore : The same for one column.

    Examples
    --------
    >>> from isoxide import rank_features
    >>> ranks = rank_features([[3.0, 0.0]], [[1.0, 0.0], [2.0, 0.0], [3.0, 1.0]])
    >>> ranks.percentiles
    array([[100.,  50.]])
    >>> ranks = rank_features([[1.0, 0.0]], [[1.0, 0.0], [2.0, 0.0], [3.0, 1.0]], tail="two")
    >>> ranks.percentiles
    array([[100.        ,  83.33333333]])
    >>> ranks.directions
    array([[-1, -1]], dtype=int8)
    """
    _check_kind(kind)
    _check_tail(tail)
    _check_nan_policy(nan_policy)
    row_table, reference_table = read_table(rows, "rows"), read_table(reference, "reference")
    names, row_places, reference_places = match(row_table, reference_table, features)
    queries = [row_table.column(j, name) for j, name in zip(row_places, names, strict=True)]
    if isinstance(reference_table, ArrayTable):
        data = reference_table.data
        if data.dtype.kind in "biuf" and data.itemsize < 8:
            # Once for the whole array: column by column, each of its cache lines would be read many times.
            reference_table = ArrayTable("reference", _native(data))
    columns = [reference_table.column(j, name) for j, name in zip(reference_places, names, strict=True)]
    if nan_policy == "raise":
        for query, name in zip(queries, names, strict=True):
            _look_for_nan(query, nan_policy, f": column {name!r} of rows")
    pairs = list(zip(columns, queries, strict=True))
    percentiles, directions = _ranks(pairs, row_table.n_rows, kind, tail, nan_policy, resolve_n_jobs(n_jobs))
    if nan_policy == "raise":
        # The rows have none, so only NaN in a reference can have made these (or an empty one, which is no error).
        for j in np.flatnonzero(np.isnan(percentiles).any(axis=0)):
            _look_for_nan(columns[j], nan_policy, f": column {names[j]!r} of reference")

    values = np.column_stack(queries) if queries else np.empty(percentiles.shape)
    scalars = row_table.scalars(row_places, queries)
    return FeatureRanks(
        names,
        percentiles,
        directions,
        values,
        scalars,
        row_table.index(),
        _last(names, last),
        backend=row_table.backend,
    )


def _last(names: list[str], last: str | Callable[[str], bool] | None) -> NDArray[np.bool_]:
    if isinstance(last, str):
        pattern = last
        return np.array([fnmatchcase(name, pattern) for name in names], dtype=bool)
    return np.array([last is not None and bool(last(name)) for name in names], dtype=bool)
