"""Ranks of each value among the earlier values of the same entity, as further features, without look-ahead.

For each row and feature, two numbers of earlier rows of the entity are needed: with a smaller value, and with an equal
one. All entities and all rows are counted together, in O(n log m) for entities with up to m times:

    g = number of the time within the entity, from 0
    order the rows by entity, then by value, then by descending g
    for each bit of g, from the highest one:
        in each run of rows with the same entity and the same higher bits of g:
            a row with bit 1 is later than the rows with bit 0, so it counts those before it in the order
        put the rows with bit 0 first, otherwise in the same order; runs split into two runs

Two rows of an entity differ first in one bit, so each pair is compared once. Among equal values the later ones come
first in the order, so they are not counted as smaller. Rows of the same time have the same g, so they never count each
other. This is the construction of a wavelet matrix (Claude, Navarro and Ordóñez 2015).
"""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isoxide._common.patterns import select
from isoxide._common.threads import mapped, resolve_n_jobs
from isoxide.ueba._table import FeatureTable

__all__ = ["PREFIX", "own_history"]

#: Start of the names of the new features.
PREFIX = "own_rank_"


def own_history(
    table: FeatureTable,
    *,
    min_days: int = 10,
    features: str | Iterable[str] | None = None,
    n_jobs: int | None = None,
) -> FeatureTable:
    """Return a table with further features: the rank of each value among the entity's earlier values.

    The rank is the percentile that ``scipy.stats.percentileofscore`` gives for the value among the known values of all
    rows of the same entity with a strictly earlier time. Later rows and rows of the same time never matter, so a row
    keeps its ranks when the table grows.

    Parameters
    ----------
    table : FeatureTable
        Table from `read_table`; it is not changed.
    min_days : int, default=10
        Smallest number of earlier days of the entity, at least 1. Rows with fewer earlier days get NaN, which forests
        accept.
    features : str or list of str, optional
        Names or patterns of the features to rank. By default all features are ranked.
    n_jobs : int, optional
        Number of threads. None means all cores.

    Returns
    -------
    FeatureTable
        Table with a further feature ``own_rank_...`` for each ranked feature, from 0 to 100 or NaN. A rank is NaN if
        the value is missing, no earlier value is known, there are fewer than `min_days` earlier days, or the row has
        no entity.

    Raises
    ------
    TypeError
        If `table` is not a table of `read_table`, or `min_days` is not an integer.
    ValueError
        If `min_days` is below 1, a pattern matches no feature, or the table already has a column with a new name.

    See Also
    --------
    detect : Find the anomalies of a table.
    Model : Forest and reference that are kept for new days.

    Examples
    --------
    >>> import pandas as pd
    >>> from isoxide import ueba
    >>> days = pd.date_range("2025-01-01", periods=5)
    >>> frame = pd.DataFrame({"actor": "a", "day": days, "logins": [3, 1, 2, 9, 2]})
    >>> table = ueba.own_history(ueba.read_table(frame, entity="actor", time="day"), min_days=2)
    >>> table.features
    ('logins', 'own_rank_logins')
    >>> table.frame["own_rank_logins"].tolist()
    [nan, nan, 50.0, 100.0, 50.0]
    """
    if not isinstance(table, FeatureTable):
        raise TypeError(f"table must be a FeatureTable, not {type(table).__name__}; read it with ueba.read_table")
    if isinstance(min_days, bool) or not isinstance(min_days, numbers.Integral):
        raise TypeError(f"min_days must be an integer, not {min_days!r}")
    if min_days < 1:
        raise ValueError(f"min_days={min_days!r} must be at least 1")
    chosen = _chosen(table, features)
    history = _History(table, int(min_days))
    columns = [table.frame[name].to_numpy() for name in chosen]
    ranks = mapped(history.ranks, columns, resolve_n_jobs(n_jobs))
    added = pd.DataFrame({f"{PREFIX}{name}": own for name, own in zip(chosen, ranks, strict=True)}, table.frame.index)
    return _with_features(table, added)


def _chosen(table: FeatureTable, features: str | Iterable[str] | None) -> list[str]:
    """Return the names of the features to rank."""
    if features is None:
        chosen = list(table.features)
    else:
        patterns = [features] if isinstance(features, str) else list(features)
        for pattern in patterns:
            if not select(table.features, [pattern]):
                raise ValueError(f"features has {pattern!r}, which matches no feature of the table")
        chosen = select(table.features, patterns)
    taken = [name for name in chosen if f"{PREFIX}{name}" in table.frame.columns]
    if taken:
        raise ValueError(
            f"the table already has a column {PREFIX + taken[0]!r}; rename it, or choose other features to rank"
        )
    return chosen


def _with_features(table: FeatureTable, added: pd.DataFrame) -> FeatureTable:
    """Return a table with further features, which its profile lists too."""
    names = list(added.columns)
    features = [*table.features, *names]
    missing = {name: float(added[name].isna().mean()) for name in names}
    spans = {name: (added[name].min(), added[name].max()) for name in names}
    profile = dataclasses.replace(
        table.profile,
        features=features,
        n_features=len(features),
        constant=[*table.profile.constant, *(name for name, (low, high) in spans.items() if low == high)],
        nan_share=table.profile.nan_share | {name: share for name, share in missing.items() if share},
    )
    frame = pd.concat([table.frame, added], axis=1)
    return dataclasses.replace(table, frame=frame, features=tuple(features), profile=profile)


class _History:
    """Rows of a table in the order of entities and times, and the number of earlier days of each row."""

    def __init__(self, table: FeatureTable, min_days: int) -> None:
        codes = table.frame[table.entity].factorize()[0].astype(np.int64)
        naive = table.frame[table.time]
        naive = naive if naive.dt.tz is None else naive.dt.tz_convert("UTC").dt.tz_localize(None)
        times = naive.to_numpy().astype(np.int64)
        days = table.days.to_numpy().astype(np.int64)
        # Rows without an entity have no history.
        rows = np.flatnonzero(codes >= 0)
        rows = rows[np.lexsort((times[rows], codes[rows]))]
        codes, times, days = codes[rows], times[rows], days[rows]
        self._n_rows = len(table)
        is_entity = np.r_[True, codes[1:] != codes[:-1]][: len(codes)]
        is_time = is_entity | np.r_[True, times[1:] != times[:-1]][: len(codes)]
        # When clocks are set back, a local day may come back after the next one has begun; it counts once.
        is_day = ~pd.DataFrame({"code": codes, "day": days}).duplicated().to_numpy()
        entity_start, time_start = _starts(is_entity), _starts(is_time)
        n_days = np.cumsum(is_day)
        # Number of days with rows before the first row of the same time.
        before = np.r_[0, n_days][time_start] - np.r_[0, n_days][entity_start]
        is_long = before >= min_days
        numbers_of_times = np.cumsum(is_time)
        times_of_entity = numbers_of_times - numbers_of_times[entity_start]
        # The counting wants later rows first, and rows of one entity together.
        order = np.lexsort((-times_of_entity, codes))
        self._rows, self._is_long = rows[order], is_long[order]
        self._codes = codes[order].astype(np.uint16 if codes.max(initial=0) < 2**16 else np.int64)
        self._times = times_of_entity[order].astype(np.int32)
        self._entity_ends = _ends(np.r_[True, self._codes[1:] != self._codes[:-1]][: len(rows)])
        self._time_ends = _ends(
            np.r_[True, (self._codes[1:] != self._codes[:-1]) | (self._times[1:] != self._times[:-1])][: len(rows)]
        )
        self._n_bits = int(times_of_entity.max(initial=0)).bit_length()

    def ranks(self, column: NDArray[Any]) -> NDArray[np.float64]:
        """Return the rank of each value of a column among the earlier values of its entity."""
        percentiles = np.full(self._n_rows, np.nan)
        values = column[self._rows]
        is_known = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(len(values), dtype=bool)
        known = np.flatnonzero(is_known)
        # Sorting is stable, so equal values of an entity stay in the order of descending times.
        known = known[np.argsort(values[known], kind="stable")]
        known = known[np.argsort(self._codes[known], kind="stable")]
        if not len(known):
            return percentiles
        codes, times, values = self._codes[known], self._times[known], values[known]
        is_entity = np.r_[True, codes[1:] != codes[:-1]]
        smaller = _count_smaller(times, _starts(is_entity), self._n_bits)
        is_value = is_entity | np.r_[True, values[1:] != values[:-1]]
        is_time = is_value | np.r_[True, times[1:] != times[:-1]]
        equal = _ends(is_value) - _ends(is_time)
        n_known = np.zeros(len(is_known) + 1, dtype=np.int64)
        np.cumsum(is_known, out=n_known[1:])
        # Earlier times come later in the order.
        n = n_known[self._entity_ends[known]] - n_known[self._time_ends[known]]
        chosen = self._is_long[known] & (n > 0)
        smaller, equal, n = smaller[chosen], equal[chosen], n[chosen]
        # scipy's formula, in its order of operations.
        percentiles[self._rows[known[chosen]]] = (2 * smaller + equal + (equal > 0)) * (50.0 / n)
        return percentiles


def _starts(is_first: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return for each row the position of the first row of its run."""
    positions = np.flatnonzero(is_first)
    return np.repeat(positions, np.diff(np.r_[positions, len(is_first)]))


def _ends(is_first: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return for each row the position after the last row of its run."""
    positions = np.r_[np.flatnonzero(is_first), len(is_first)]
    return np.repeat(positions[1:], np.diff(positions))


def _count_smaller(times: NDArray[Any], starts: NDArray[Any], n_bits: int) -> NDArray[np.int64]:
    """Return the number of earlier rows with smaller values, for rows in ascending order of values in each run.

    Parameters
    ----------
    times : ndarray of int32
        Number of the time of each row.
    starts : ndarray of int64
        Position of the first row of the run of each row.
    n_bits : int
        Number of bits of the largest number of a time.
    """
    n = len(times)
    # Half the width takes two thirds of the time.
    width: Any = np.int32 if n < 2**31 - 1 else np.int64
    counts: NDArray[Any] = np.zeros(n, dtype=width)
    n_earlier: NDArray[Any] = np.zeros(n + 1, dtype=width)
    rows: NDArray[Any] = np.arange(n, dtype=width)
    starts = starts.astype(width)
    for bit in range(n_bits - 1, -1, -1):
        is_later = (times >> bit & 1).astype(bool)
        later, earlier = np.flatnonzero(is_later), np.flatnonzero(~is_later)
        # Number of rows with bit 0 before each row, and before the run of each row.
        np.cumsum(~is_later, out=n_earlier[1:])
        before_run = n_earlier[starts]
        rows_later, before_later = rows[later], before_run[later]
        counts[rows_later] += n_earlier[later] - before_later
        rows = np.concatenate([rows[earlier], rows_later])
        times = np.concatenate([times[earlier], times[later]])
        starts = np.concatenate([before_run[earlier], starts[later] - before_later + n_earlier[-1]])
    return counts.astype(np.int64)
