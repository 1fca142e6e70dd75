"""Exact distributions of columns, which are counted in any order and merged from partitions.

A distribution is the distinct values of a column in ascending order, each with the number of rows that have it.
Percentile ranks and quantiles depend on nothing else:

    rank of x   = from the number of values below x and at or below x
    quantile q  = between the values at two neighbouring positions of the sorted column

`ValueCounts` counts the distributions of one column in many populations at once. A population is a set of rows, such as
the rows of one person, and has a number, its code. The result does not depend on the order of the rows or on how they
are divided.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isoxide._common.quantiles import interpolate, quantile_position

__all__ = ["Distribution", "ValueCounts", "distinct_values"]

#: Number of values that are collected before they are counted, unless more distinct values are known already.
MIN_PENDING = 2**16
#: Integers from here on have neighbours that float64 cannot hold.
INEXACT_INTEGERS = 2**53


class Distribution(NamedTuple):
    """Distinct values of a column in ascending order, and the number of rows with each; missing values are left out."""

    values: NDArray[Any]
    counts: NDArray[np.int64]
    #: Number of rows without a value.
    n_missing: int = 0

    @property
    def n_distinct(self) -> int:
        """Return the number of distinct values."""
        return len(self.counts)

    @property
    def n(self) -> int:
        """Return the number of rows with a value."""
        return int(self.counts.sum())

    def expanded(self) -> NDArray[Any]:
        """Return the value of each row in ascending order, without missing values."""
        return np.repeat(self.values, self.counts)

    def count_at_or_above(self, queries: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return, for each query, the number of rows whose value is at least as high."""
        ends = np.append(0, np.cumsum(self.counts))
        below: NDArray[np.int64] = ends[np.searchsorted(self.values, queries, side="left")]
        return np.asarray(ends[-1] - below)

    def quantiles(self, qs: Sequence[float]) -> NDArray[np.float64]:
        """Return quantiles with the bits of ``pandas.Series.quantile``; NaN if there are no values."""
        n = self.n
        if n == 0:
            return np.full(len(qs), np.nan)
        is_float32 = self.values.dtype == np.float32
        dtype: Any = np.float32 if is_float32 else np.float64
        ends = np.cumsum(self.counts)
        result = np.empty(len(qs))
        for k, q in enumerate(qs):
            position, weight = quantile_position(n, q)
            neighbours = np.searchsorted(ends, [position, min(position + 1, n - 1)], side="right")
            low, high = self.values[neighbours]
            value = interpolate(float(low), float(high), weight, dtype)
            # pandas rounds to float32 if values are missing.
            result[k] = float(dtype(value)) if is_float32 and self.n_missing else float(value)
        return result


class ValueCounts:
    """Count the distinct values of a column in each of several populations.

    Counts can be pickled, and counts of several partitions can be merged.
    """

    def __init__(self) -> None:
        self._chunks: list[tuple[NDArray[np.int32] | None, NDArray[Any], NDArray[np.int64] | None]] = []
        self._n_known = self._n_pending = 0

    def add(self, values: NDArray[Any], codes: NDArray[np.int32] | None = None) -> None:
        """Count values.

        Parameters
        ----------
        values : ndarray of numbers
            Values; NaN is left out.
        codes : ndarray of int32, optional
            Code of the population of each value; values with a negative code are left out. By default all values belong
            to a single population.
        """
        if values.dtype.kind == "b":
            values = values.astype(np.float64)
        kept = None if codes is None else codes >= 0
        if values.dtype.kind == "f":
            present = ~np.isnan(values)
            kept = present if kept is None else kept & present
        if kept is not None and not kept.all():
            values, codes = values[kept], None if codes is None else codes[kept]
        if values.dtype.kind == "f":
            # Zero has two signs, which compare equal.
            values = values + values.dtype.type(0)
        self._append(codes, values, None)

    def merge(self, other: ValueCounts) -> None:
        """Add the counts of another partition."""
        for chunk in other._chunks:
            self._append(*chunk)

    def counted(self) -> tuple[NDArray[np.int32] | None, NDArray[Any], NDArray[np.int64]]:
        """Return the code of the population, the value and the count of each distinct pair, in ascending order.

        The codes are None if all values belong to a single population.
        """
        self._compact()
        if not self._chunks:
            return None, np.empty(0), np.empty(0, dtype=np.int64)
        codes, values, counts = self._chunks[0]
        assert counts is not None
        return codes, values, counts

    def distribution(self, n_rows: int) -> Distribution:
        """Return the distribution of a single population of `n_rows` rows."""
        _, values, counts = self.counted()
        return Distribution(values, counts, n_rows - int(counts.sum()))

    def _append(self, codes: NDArray[np.int32] | None, values: NDArray[Any], counts: NDArray[np.int64] | None) -> None:
        if not len(values):
            return
        self._chunks.append((codes, values, counts))
        self._n_pending += len(values)
        if self._n_pending > max(MIN_PENDING, self._n_known):
            self._compact()

    def _compact(self) -> None:
        """Replace all chunks by one with each distinct pair of code and value once."""
        if not self._chunks or (len(self._chunks) == 1 and self._chunks[0][2] is not None):
            return
        codes = None if self._chunks[0][0] is None else np.concatenate([c for c, _, _ in self._chunks if c is not None])
        values = np.concatenate([v for _, v, _ in self._chunks])
        counts = np.concatenate([np.ones(len(v), dtype=np.int64) if n is None else n for _, v, n in self._chunks])
        order = np.argsort(values, kind="stable") if codes is None else np.lexsort((values, codes))
        values, counts = values[order], counts[order]
        is_first = np.append(True, values[1:] != values[:-1])
        if codes is not None:
            codes = codes[order]
            is_first[1:] |= codes[1:] != codes[:-1]
            codes = codes[is_first]
        starts = np.flatnonzero(is_first)
        self._chunks = [(codes, values[starts], np.add.reduceat(counts, starts))]
        self._n_known, self._n_pending = len(starts), 0


def distinct_values(values: NDArray[Any]) -> NDArray[Any]:
    """Return distinct values in the dtype in which a reference stores them: float32, float64, or int64 if necessary.

    Whole numbers become float64 if it holds each of them and its neighbours exactly, so that comparisons and quantiles
    stay the same. So the stored type does not depend on whether a column was read as integers or as floats.
    """
    if values.dtype == np.float32:
        return values
    if values.dtype.kind in "iu" and len(values):
        low, high = int(values.min()), int(values.max())
        if low <= -INEXACT_INTEGERS or high >= INEXACT_INTEGERS:
            return values.astype(np.int64) if high < 2**63 else values.astype(np.float64)
    return values.astype(np.float64)
