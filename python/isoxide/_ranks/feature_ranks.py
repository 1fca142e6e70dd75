"""Result of `rank_features`: percentiles, and methods that order features and make tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from isoxide._common import html
from isoxide._common.format import format_percentile, format_value
from isoxide._common.patterns import check_known, name_list, select
from isoxide._frames.row_labels import import_pandas, make_frame
from isoxide._frames.tables import Table
from isoxide._ranks.dtypes import Ranks

#: Number of features that the HTML of ranks shows.
_SHOWN_FEATURES = 5
#: Words for the side of the reference that a value is on.
_SIDES = {1: ", high", -1: ", low", 0: ""}


class FeatureRanks:
    """Percentile of each feature of each row, from `rank_features`; immutable.

    ``numpy.asarray(ranks)`` is `percentiles`, and ``len(ranks)`` is the number of rows. Tables are frames of the same
    library as the ranked rows (pandas, polars or pyarrow). If the rows were an array, tables are pandas frames.

    Attributes
    ----------
    features : list of str
        Names of the features.
    percentiles : ndarray of shape (n_rows, n_features)
        Percentiles from 0 to 100, or NaN.
    directions : ndarray of shape (n_rows, n_features)
        Side of each value: 1 for a high value, -1 for a low value, 0 if the percentile is NaN.
    values : ndarray of shape (n_rows, n_features)
        Ranked values, in the common dtype of their columns.
    order : ndarray of shape (n_rows, n_features)
        Indices of the features of each row, the highest percentile first.

    See Also
    --------
    rank_features : Compute the percentiles.

    Examples
    --------
    >>> from isoxide import rank_features
    >>> ranks = rank_features([[3.0, 0.0]], [[1.0, 0.0], [2.0, 0.0], [3.0, 1.0]])
    >>> ranks
    FeatureRanks(1 rows, 2 features)
    >>> ranks.order
    array([[0, 1]])
    """

    __slots__ = (
        "_backend",
        "_directions",
        "_features",
        "_index",
        "_last",
        "_order",
        "_percentiles",
        "_scalars",
        "_values",
    )

    def __init__(
        self,
        features: list[str],
        percentiles: NDArray[np.float64],
        directions: NDArray[np.int8],
        values: NDArray[Any],
        scalars: NDArray[Any],
        index: Any,
        last: NDArray[np.bool_],
        *,
        backend: str,
    ) -> None:
        self._features = tuple(features)
        self._percentiles = percentiles
        self._directions = directions
        self._values = values
        self._scalars = scalars
        self._index = index
        self._backend = backend
        self._last = last
        # Sort on first use, since sorting can take as long as ranking.
        self._order: NDArray[np.intp] | None = None
        for array in (self._percentiles, self._directions, self._values):
            array.flags.writeable = False

    @property
    def features(self) -> list[str]:
        """Return the names of the features, in the order of the columns of `percentiles`."""
        return list(self._features)

    @property
    def percentiles(self) -> NDArray[np.float64]:
        """Return the percentile of each feature of each row, from 0 to 100, or NaN; read-only."""
        return self._percentiles

    @property
    def directions(self) -> NDArray[np.int8]:
        """Return the side of the reference on which each value lies; read-only.

        A direction is 1 for a high value, -1 for a low value, and 0 if the percentile is NaN. A value is high if its
        percentile with ``tail="upper"`` is at least its percentile with ``tail="lower"``.
        """
        return self._directions

    @property
    def values(self) -> NDArray[Any]:
        """Return the ranked values, in the common dtype of their columns, missing ones as NaN; read-only."""
        return self._values

    @property
    def order(self) -> NDArray[np.intp]:
        """Return the indices of the features of each row, the highest percentile first; read-only.

        Ties are in the order of the columns. Features that `rank_last` selected come after all others, in the same
        order, and features with the percentile NaN come last.
        """
        if self._order is None:
            order = _ordered(self._percentiles, self._last)
            order.flags.writeable = False
            self._order = order
        return self._order

    def __len__(self) -> int:
        return len(self._percentiles)

    def __repr__(self) -> str:
        return f"FeatureRanks({len(self)} rows, {len(self._features)} features)"

    def _repr_html_(self) -> str:
        """Return a table of the first rows with their most unusual features, for notebooks."""
        # Ordering all rows can take as long as ranking them.
        order = _ordered(self._percentiles[: html.MAX_ROWS], self._last)[:, :_SHOWN_FEATURES]
        labels = range(len(order)) if self._index is None else self._index[: len(order)]
        rows: list[list[str | html.Cell]] = []
        for i, (label, features) in enumerate(zip(labels, order, strict=True)):
            row: list[str | html.Cell] = [str(label)]
            for j in features:
                percentile = self._percentiles[i, j]
                shown = "no rank" if np.isnan(percentile) else format_percentile(percentile)
                text = f"{html.shortened(self._features[j])} = {_value_text(self._scalars[i][j])}"
                row.append(html.Cell(text, f"{shown}{_SIDES[int(self._directions[i, j])]}", percentile / 100))
            rows.append(row)
        return html.block(
            html.heading(
                "FeatureRanks", f"{len(self):,} row{'s' * (len(self) != 1)}, {len(self._features):,} features"
            ),
            html.note(
                "Under each feature with its value: its percentile from 0 to 100 among the reference, and its side. "
                "The most unusual feature is first."
            ),
            html.table(["row", *(f"{position + 1}." for position in range(order.shape[1]))], rows),
            html.note(html.shown_of(len(self), "rows")),
        )

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is None:  # NumPy 1 does not know this value
            return np.asarray(self._percentiles, dtype=dtype)
        return np.array(self._percentiles, dtype=dtype, copy=copy)

    def to_records(self) -> list[list[tuple[str, np.float64, Any]]]:
        """Return tuples (feature, percentile, value) for each row, in the order of `order`.

        Returns
        -------
        list of list of tuple
            One list for each row. Values from an array are NumPy scalars. Values from a pandas frame are the same as
            ``row[feature]`` in a loop over ``frame.iterrows()``. Values from other frames are Python numbers of the
            column's type, and NaN if missing.

        Examples
        --------
        >>> import polars
        >>> from isoxide import rank_features
        >>> rows = polars.DataFrame({"logins": [3], "share": [0.5]})
        >>> for feature, percentile, value in rank_features(rows, [[1, 0.5], [2, 1.0]]).to_records()[0]:
        ...     print(feature, percentile, value)
        logins 100.0 3
        share 50.0 0.5
        """
        return [
            [(self._features[j], percentiles[j], scalars[j]) for j in order]
            for percentiles, scalars, order in zip(self._percentiles, self._scalars, self.order, strict=True)
        ]

    def to_frame(self) -> Any:
        """Make a frame with one line for each row and feature, in the order of `order`.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or pyarrow.Table
            Frame with the columns ``row`` (the label in a pandas frame, otherwise the row number), ``position`` (from
            0), ``feature``, ``percentile`` and ``value`` (in the common dtype of all features).

        Raises
        ------
        ImportError
            If pandas, or narwhals for frames of another library, is not installed.

        Examples
        --------
        >>> from isoxide import rank_features
        >>> rank_features([[3.0, 0.0]], [[1.0, 0.0], [2.0, 0.0], [3.0, 1.0]]).to_frame()
           row  position feature  percentile  value
        0    0         0      x0       100.0    3.0
        1    0         1      x1        50.0    0.0
        """
        n_rows, n_features = self.order.shape
        labels = np.arange(n_rows) if self._index is None else self._index.to_flat_index()
        return self._table(
            {
                "row": labels.repeat(n_features),
                "position": np.tile(np.arange(n_features), n_rows),
                "feature": self._names(self.order.ravel()),
                "percentile": np.take_along_axis(self._percentiles, self.order, axis=1).ravel(),
                "value": np.take_along_axis(self._values, self.order, axis=1).ravel(),
            }
        )

    def cutoff_table(self, cutoffs: Iterable[float]) -> Any:
        """Count the features of a row whose percentile is at or above each cut-off.

        Parameters
        ----------
        cutoffs : list of float
            Percentiles from 0 to 100.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or pyarrow.Table
            Frame with one line for each ``cutoff``: the ``mean`` and the ``min`` of that count over all rows. They are
            NaN and 0 if there are no rows.

        Raises
        ------
        ImportError
            If pandas, or narwhals for frames of another library, is not installed.

        Examples
        --------
        >>> from isoxide import rank_features
        >>> rank_features([[3.0, 0.0]], [[1.0, 0.0], [2.0, 0.0], [3.0, 1.0]]).cutoff_table([50, 99])
           cutoff  mean  min
        0    50.0   2.0    2
        1    99.0   1.0    1
        """
        cutoffs = [float(cutoff) for cutoff in cutoffs]
        counts = [np.count_nonzero(self._percentiles >= cutoff, axis=1) for cutoff in cutoffs]
        return self._table(
            {
                "cutoff": np.array(cutoffs, dtype=np.float64),
                "mean": np.array([count.sum() / len(self) if len(self) else np.nan for count in counts], dtype=float),
                "min": np.array([count.min() if len(self) else 0 for count in counts], dtype=int),
            }
        )

    def feature_counts(self, cutoff: float, always_show: Iterable[str] = ()) -> Any:
        """Count the rows in which each feature is unusual.

        Parameters
        ----------
        cutoff : float
            Percentile, from 0 to 100, at or above which a feature is unusual.
        always_show : list of str, optional
            Features, such as flags, that also count in every row in which their value is above 0.

        Returns
        -------
        pandas.Series, polars.DataFrame or pyarrow.Table
            Series named ``count`` with the index ``feature``, or a frame with these two columns: the most frequent
            features first, ties in the order of the features. Features with a count of 0 are left out.

        Raises
        ------
        ValueError
            If `always_show` contains unknown features, or is a single string.
        ImportError
            If pandas, or narwhals for frames of another library, is not installed.

        Examples
        --------
        >>> from isoxide import rank_features
        >>> rank_features([[3.0, 0.0]], [[1.0, 0.0], [2.0, 0.0], [3.0, 1.0]]).feature_counts(99)
        feature
        x0    1
        Name: count, dtype: int64
        """
        names = name_list(always_show, "always_show")
        check_known(names, self.features, "always_show names unknown features")
        is_always_shown = np.isin(self._features, names) if names else np.zeros(len(self._features), dtype=bool)
        counts = np.count_nonzero((self._percentiles >= cutoff) | (is_always_shown & (self._values > 0)), axis=0)
        order = np.argsort(-counts, kind="stable")
        order = order[counts[order] > 0]
        table = self._table({"feature": self._names(order), "count": counts[order].astype(np.int64)})
        return table.set_index("feature")["count"] if self._backend == "pandas" else table

    def _names(self, order: NDArray[np.intp]) -> Any:
        """Return the names of features as a column of text, even if there are none."""
        if self._backend == "pandas":
            return import_pandas().Index(self._features, dtype=str).take(order)
        return np.array(self._features, dtype=str)[order]

    def _table(self, columns: dict[str, Any]) -> Any:
        """Make a frame of the same library as the ranked rows."""
        return make_frame(columns, self._backend)


def feature_ranks(
    rows: Table,
    positions: list[int],
    names: list[str],
    queries: list[NDArray[Any]],
    ranks: Ranks,
    rank_last: str | Callable[[str], bool] | None,
) -> FeatureRanks:
    """Make a `FeatureRanks` from the ranks of columns of a table.

    Parameters
    ----------
    rows : Table
        Table that was ranked.
    positions : list of int
        Position of each feature in `rows`.
    names : list of str
        Name of each feature.
    queries : list of ndarray
        Column of each feature.
    ranks : (ndarray, ndarray)
        Percentiles and directions.
    rank_last : str or callable, optional
        Features that come after all others: a pattern, or a function that takes a name and returns True for them.

    Returns
    -------
    FeatureRanks
        Result, which owns the arrays.
    """
    percentiles, directions = ranks
    return FeatureRanks(
        names,
        percentiles,
        directions,
        np.column_stack(queries) if queries else np.empty(percentiles.shape),
        rows.scalars(positions, queries),
        rows.index(),
        _is_last(names, rank_last),
        backend=rows.backend,
    )


def _value_text(value: Any) -> str:
    """Return a value as text; numbers that are no floats, such as decimals and large integers, as they are."""
    try:
        return format_value(value)
    except (TypeError, ValueError, OverflowError):
        return str(value)


def _ordered(percentiles: NDArray[np.float64], last: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the indices of the features of each row, as `FeatureRanks.order` describes."""
    # lexsort is stable, and its last key is the primary one.
    return np.lexsort((-percentiles, np.broadcast_to(last, percentiles.shape), np.isnan(percentiles)), axis=-1)


def _is_last(names: list[str], rank_last: str | Callable[[str], bool] | None) -> NDArray[np.bool_]:
    """Return which features come after all others."""
    if isinstance(rank_last, str):
        selected = set(select(names, rank_last))
        return np.array([name in selected for name in names], dtype=bool)
    if rank_last is None:
        return np.zeros(len(names), dtype=bool)
    return np.array([bool(rank_last(name)) for name in names], dtype=bool)


# Pickles, skops files and messages contain the public module's name, so that private modules can move.
FeatureRanks.__module__ = "isoxide"
