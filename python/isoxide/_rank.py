"""Exact percentile ranks: scipy's ``percentileofscore``, and the same for every cell of a table at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from isoxide import _core
from isoxide._threads import resolve_n_jobs

if TYPE_CHECKING:
    import pandas as pd

_KINDS = ("rank", "strict", "weak", "mean")
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

    Examples
    --------
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
        percentiles = _percentiles([(a, score.ravel())], score.size, kind, nan_policy, n_workers).reshape(score.shape)
    return percentiles[()]


def _check_kind(kind: str) -> None:
    if kind not in _KINDS:
        raise ValueError("kind can only be 'rank', 'strict', 'weak' or 'mean'")


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


def _percentiles(pairs: _Pairs, n_rows: int, kind: str, nan_policy: str, n_workers: int) -> NDArray[np.float64]:
    """Per pair of a column and its queries the percentiles of these, as a column."""
    percentiles = np.empty((n_rows, len(pairs)))
    native = {j: found for j, pair in enumerate(pairs) if (found := _native_pair(*pair)) is not None}
    if native:
        columns, queries = map(list, zip(*native.values(), strict=True))
        omit = nan_policy == "omit"
        ranks = _core.percentile_ranks(columns, queries, kind=kind, omit_nan=omit, n_workers=n_workers)
        percentiles[:, list(native)] = ranks
    for j, pair in enumerate(pairs):
        if j not in native:
            percentiles[:, j] = _percentiles_by_numpy(*pair, kind, nan_policy)
    return percentiles


def _percentiles_by_numpy(a: NDArray[Any], queries: NDArray[Any], kind: str, nan_policy: str) -> NDArray[np.float64]:
    """The same for types that the core does not know: NumPy takes one query at a time."""
    if _has_nan(a):
        a = a[~np.isnan(a)] if nan_policy == "omit" else a[:0]
    # Types that do not compare are refused even if there are no queries.
    _ = a[:0] <= queries[:0] if kind == "weak" else a[:0] < queries[:0]
    percentiles = np.full(queries.shape, np.nan)
    # NumPy warns when it compares a NaN among complex numbers or objects.
    with np.errstate(invalid="ignore"):
        for i in range(queries.size if a.size else 0):
            # A slice, not an item: an item of an object array would lose its type.
            query = queries[i : i + 1]
            below = np.count_nonzero(a < query) if kind != "weak" else 0
            at_or_below = np.count_nonzero(a <= query) if kind != "strict" else 0
            tied = kind == "rank" and below < at_or_below
            percentiles[i] = (below + at_or_below + tied) * ((50.0 if kind in ("rank", "mean") else 100.0) / a.size)
    if queries.dtype.kind in "fc":
        percentiles[np.isnan(queries)] = np.nan
    return percentiles


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


class _Table(NamedTuple):
    """A two-dimensional argument, read column by column."""

    what: str
    data: Any
    is_frame: bool
    names: list[str] | None

    def column(self, j: int, name: str) -> NDArray[Any]:
        """One numeric column, borrowed where its type allows it."""
        column = self.data.iloc[:, j] if self.is_frame else self.data[:, j]
        dtype = column.dtype
        if getattr(dtype, "kind", "O") not in "biuf":
            raise TypeError(
                f"column {name!r} of {self.what} has dtype {dtype}, which has no percentile ranks; "
                "list the numeric columns to use with features=[...]"
            )
        if not self.is_frame:
            return column  # type: ignore[no-any-return]
        if isinstance(dtype, np.dtype):
            return column.to_numpy(copy=False)  # type: ignore[no-any-return]
        return self._from_extension(column, name)

    def _from_extension(self, column: Any, name: str) -> NDArray[Any]:
        """A column of a nullable or sparse type: NA becomes NaN."""
        dtype = getattr(column.dtype, "numpy_dtype", None)
        if dtype is None:
            return np.asarray(column)
        if not column.isna().any():
            return column.to_numpy(dtype=dtype)  # type: ignore[no-any-return]
        present = column.dropna().to_numpy(dtype=dtype)
        if dtype.kind in "iu" and ((present > 2**53) | (present < -(2**53))).any():
            raise ValueError(
                f"column {name!r} of {self.what} has missing values and integers beyond 2**53, "
                "which cannot become float64 without a loss; fill or drop the missing values first"
            )
        return column.to_numpy(dtype=np.float64, na_value=np.nan)  # type: ignore[no-any-return]


def _read_table(X: Any, what: str) -> _Table:
    is_frame = hasattr(X, "columns") and hasattr(X, "iloc")
    if not is_frame:
        X = np.asarray(X)
    if X.ndim != 2:
        raise ValueError(f"{what} must be a 2-D array or a frame, got {X.ndim} dimension(s)")
    names = list(X.columns) if is_frame else []
    n_strings = sum(isinstance(name, str) for name in names)
    if n_strings == 0:
        return _Table(what, X, is_frame, None)
    if n_strings < len(names):
        raise TypeError(f"the column names of {what} must be all strings or none of them, got {names}")
    _check_distinct(names, f"the column names of {what}")
    return _Table(what, X, is_frame, names)


def _match(rows: _Table, reference: _Table, features: Iterable[str] | None) -> tuple[list[str], list[int], list[int]]:
    """Names of the features, and where they are in the rows and in the reference."""
    by_name = rows.names is not None and reference.names is not None
    if not by_name and rows.data.shape[1] != reference.data.shape[1]:
        raise ValueError(
            f"rows has {rows.data.shape[1]} columns and reference has {reference.data.shape[1]}; "
            "without names in both they are matched by position, so the numbers must agree"
        )
    default = [f"x{j}" for j in range(rows.data.shape[1])]
    row_names = rows.names or reference.names or default
    reference_names = reference.names or row_names
    if features is None:
        missing, extra = _without(reference_names, row_names), _without(row_names, reference_names)
        if missing or extra:
            raise ValueError(
                f"rows and reference must have the same columns; not in rows: {missing}, not in reference: {extra}; "
                "features=[...] uses some of them only"
            )
        names = list(row_names)
    else:
        names = _name_list(features, "features")
        _check_known(names, row_names, "features not in rows")
        _check_known(names, reference_names, "features not in reference")
        _check_distinct(names, "features")
    row_places = {name: j for j, name in enumerate(row_names)}
    reference_places = {name: j for j, name in enumerate(reference_names)}
    return names, [row_places[name] for name in names], [reference_places[name] for name in names]


def _name_list(names: Iterable[str], what: str) -> list[str]:
    if isinstance(names, str):
        raise ValueError(f"{what} must be a list of names, got the string {names!r}")
    return list(names)


def _check_distinct(names: list[str], what: str) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(f"{what} must differ, but these occur more than once: {repeated}")


def _check_known(names: list[str], known: list[str], message: str) -> None:
    unknown = _without(names, known)
    if unknown:
        raise ValueError(f"{message}: {unknown}")


def _without(names: list[str], others: list[str]) -> list[str]:
    """The names that are not among the others, in order."""
    known = set(others)
    return [name for name in names if name not in known]


def rank_features(
    rows: Any,
    reference: Any,
    *,
    features: Iterable[str] | None = None,
    kind: str = "rank",
    last: str | Callable[[str], bool] | None = None,
    nan_policy: str = "propagate",
    n_jobs: int | None = None,
) -> FeatureRanks:
    """Percentile of every value in `rows` among the same column of `reference`.

    Each one equals ``scipy.stats.percentileofscore(reference[:, j], rows[i, j], kind, nan_policy)`` in every bit.

    Parameters
    ----------
    rows : array-like or pandas frame of shape (n_rows, n_features)
        The rows to explain.
    reference : array-like or pandas frame of shape (n_samples, n_features)
        What they are compared with. Its float64, float32 and int64 columns are read in place.
    features : list of str, optional
        The columns to use, in this order; others are ignored and need not be numeric. By default all, in the order of
        `rows`. If both arguments have names (strings), columns are matched by name, otherwise by position; without
        any names the features are called ``"x0"``, ``"x1"``, and so on.
    kind : {'rank', 'weak', 'strict', 'mean'}, default='rank'
        See `percentileofscore`.
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
    ValueError, TypeError
        If the columns of `rows` and `reference` do not match, or one of them is not numeric, or NaN is to be refused.

    Examples
    --------
    >>> ranks = rank_features([[3.0, 0.0]], [[1.0, 0.0], [2.0, 0.0], [3.0, 1.0]])
    >>> ranks.percentiles
    array([[100.,  50.]])
    """
    _check_kind(kind)
    _check_nan_policy(nan_policy)
    row_table, reference_table = _read_table(rows, "rows"), _read_table(reference, "reference")
    names, row_places, reference_places = _match(row_table, reference_table, features)
    queries = [row_table.column(j, name) for j, name in zip(row_places, names, strict=True)]
    if not reference_table.is_frame and reference_table.data.dtype.kind in "biuf" and reference_table.data.itemsize < 8:
        # Once for the whole array: column by column, each of its cache lines would be read many times.
        reference_table = reference_table._replace(data=_native(reference_table.data))
    columns = [reference_table.column(j, name) for j, name in zip(reference_places, names, strict=True)]
    if nan_policy == "raise":
        for query, name in zip(queries, names, strict=True):
            _look_for_nan(query, nan_policy, f": column {name!r} of rows")
    pairs = list(zip(columns, queries, strict=True))
    percentiles = _percentiles(pairs, len(row_table.data), kind, nan_policy, resolve_n_jobs(n_jobs))
    if nan_policy == "raise":
        # The rows have none, so only NaN in a reference can have made these (or an empty one, which is no error).
        for j in np.flatnonzero(np.isnan(percentiles).any(axis=0)):
            _look_for_nan(columns[j], nan_policy, f": column {names[j]!r} of reference")

    values = np.column_stack(queries) if queries else np.empty(percentiles.shape)
    # What a loop over the frame's rows would show: one type for all its columns, Python's own if they have none.
    scalars = np.array(row_table.data.to_numpy()[:, row_places]) if row_table.is_frame else values
    index = row_table.data.index if row_table.is_frame else None
    return FeatureRanks(names, percentiles, values, scalars, index, _last(names, last))


def _last(names: list[str], last: str | Callable[[str], bool] | None) -> NDArray[np.bool_]:
    if isinstance(last, str):
        pattern = last
        return np.array([fnmatchcase(name, pattern) for name in names], dtype=bool)
    return np.array([last is not None and bool(last(name)) for name in names], dtype=bool)


class FeatureRanks:
    """How unusual each feature of each row is: what `rank_features` returns, unchangeable.

    ``numpy.asarray(ranks)`` is `percentiles`, ``len(ranks)`` the number of rows.

    Attributes
    ----------
    features : list of str
    percentiles : ndarray of shape (n_rows, n_features)
        From 0 to 100, or NaN.
    values : ndarray of shape (n_rows, n_features)
        The values ranked, in the common type of their columns.
    order : ndarray of shape (n_rows, n_features)
        Per row the indices of the features, the highest percentile first, ties in the order of the columns; then those
        that were to come last, in the same way; NaN after everything.
    """

    __slots__ = ("_features", "_index", "_order", "_percentiles", "_scalars", "_values")

    def __init__(
        self,
        features: list[str],
        percentiles: NDArray[np.float64],
        values: NDArray[Any],
        scalars: NDArray[Any],
        index: Any,
        last: NDArray[np.bool_],
    ) -> None:
        self._features = tuple(features)
        self._percentiles = percentiles
        self._values = values
        self._scalars = scalars
        self._index = index
        # A stable sort by several keys, the last one first.
        keys = (-percentiles, np.broadcast_to(last, percentiles.shape), np.isnan(percentiles))
        self._order = np.lexsort(keys, axis=-1)
        for array in (self._percentiles, self._values, self._order):
            array.flags.writeable = False

    @property
    def features(self) -> list[str]:
        return list(self._features)

    @property
    def percentiles(self) -> NDArray[np.float64]:
        return self._percentiles

    @property
    def values(self) -> NDArray[Any]:
        return self._values

    @property
    def order(self) -> NDArray[np.intp]:
        return self._order

    def __len__(self) -> int:
        return len(self._percentiles)

    def __repr__(self) -> str:
        return f"FeatureRanks({len(self)} rows, {len(self._features)} features)"

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self._percentiles, dtype=dtype, copy=copy)

    def to_records(self) -> list[list[tuple[str, np.float64, Any]]]:
        """Per row the tuples (feature, percentile, value) in the order of `order`.

        For a frame, the values are those that ``row[feature]`` gives in a loop over ``frame.iterrows()``.
        """
        return [
            [(self._features[j], percentiles[j], scalars[j]) for j in order]
            for percentiles, scalars, order in zip(self._percentiles, self._scalars, self._order, strict=True)
        ]

    def to_frame(self) -> pd.DataFrame:
        """One line per row and feature, in the order of `order`.

        Its columns are ``row`` (the label in the frame given, or the number), ``position`` (from 0), ``feature``,
        ``percentile`` and ``value``.
        """
        pandas = _import_pandas()
        n_rows, n_features = self._order.shape
        index = pandas.RangeIndex(n_rows) if self._index is None else self._index.to_flat_index()
        order = self._order.ravel()
        return pandas.DataFrame(  # type: ignore[no-any-return]
            {
                "row": index.repeat(n_features),
                "position": np.tile(np.arange(n_features), n_rows),
                "feature": pandas.Index(self._features, dtype=str).take(order),
                "percentile": np.take_along_axis(self._percentiles, self._order, axis=1).ravel(),
                "value": np.take_along_axis(self._values, self._order, axis=1).ravel(),
            }
        )

    def cutoff_table(self, cutoffs: Iterable[float]) -> pd.DataFrame:
        """How many features of a row are at or above each cut-off.

        Per ``cutoff`` (from 0 to 100) the ``mean`` and the ``min`` of that number over the rows; without rows NaN
        and 0.
        """
        pandas = _import_pandas()
        cutoffs = [float(cutoff) for cutoff in cutoffs]
        counts = [np.count_nonzero(self._percentiles >= cutoff, axis=1) for cutoff in cutoffs]
        table = {
            "cutoff": np.array(cutoffs, dtype=np.float64),
            "mean": np.array([count.sum() / len(self) if len(self) else np.nan for count in counts], dtype=np.float64),
            "min": np.array([count.min() if len(self) else 0 for count in counts], dtype=int),
        }
        return pandas.DataFrame(table)  # type: ignore[no-any-return]

    def feature_counts(self, cutoff: float, always: Iterable[str] = ()) -> pd.Series[int]:
        """In how many rows each feature stands out.

        Parameters
        ----------
        cutoff : float
            A feature stands out in a row if its percentile is at or above this.
        always : list of str, optional
            Features that stand out wherever their value is above 0, as flags do.

        Returns
        -------
        pandas.Series
            Named ``count``, with the index ``feature``: the most frequent first, ties in the order of the features,
            those without any left out.
        """
        pandas = _import_pandas()
        always = _name_list(always, "always")
        _check_known(always, self.features, "always names unknown features")
        forced = np.isin(self._features, always) if always else np.zeros(len(self._features), dtype=bool)
        counts = np.count_nonzero((self._percentiles >= cutoff) | (forced & (self._values > 0)), axis=0)
        order = [j for j in np.argsort(-counts, kind="stable") if counts[j] > 0]
        names = pandas.Index([self._features[j] for j in order], dtype=str, name="feature")
        return pandas.Series(counts[order].astype(np.int64), index=names, name="count")  # type: ignore[no-any-return]


def _import_pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise ImportError('this table needs pandas: pip install "isoxide[notebook]"') from error
    return pandas
