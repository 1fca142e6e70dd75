"""Exact quantiles of the columns of a partitioned table, in as many passes as necessary.

A sketch of a column holds its distinct values while they are few, and otherwise counts per range of values. A quantile
lies between two neighbours in the sorted values. If the sketch does not determine them, the next pass sketches only the
range in which they lie.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isoxide import _core
from isoxide._common.quantiles import interpolate, quantile_position
from isoxide._frames.columns import number_column
from isoxide._frames.profile import CAPACITY, sketch_columns
from isoxide._frames.times import Times, days_of
from isoxide._partitioned.aggregators import Aggregator, Partition, merge_sketches, rows_by_label

__all__ = ["GroupQuantiles", "GroupSketches", "Quantiles", "SketchColumns", "SketchGroups"]

#: Maximum number of distinct values in the sketches of all groups together, and minimum capacity of one sketch.
_GROUP_CELLS, _MIN_CAPACITY = 2**22, 16


class SketchColumns(Aggregator[list[_core.Sketch], list[_core.Sketch]]):
    """Fill sketches of columns; a column may have several.

    Parameters
    ----------
    sketches : iterable of (str, Sketch)
        Name of a column, and an empty sketch for its values.
    n_jobs : int or None
        Number of threads that fill the sketches; None means all cores.
    """

    def __init__(self, sketches: Iterable[tuple[str, _core.Sketch]], *, n_jobs: int | None = 1) -> None:
        sketches, self.n_jobs = list(sketches), n_jobs
        self.names = [name for name, _ in sketches]
        self.columns = tuple(dict.fromkeys(self.names))
        self.empty = [sketch.to_bytes() for _, sketch in sketches]

    def init(self, partition: Partition) -> list[_core.Sketch]:
        """Return the empty sketches, before any batch."""
        return [_core.Sketch.from_bytes(data) for data in self.empty]

    def update(self, state: list[_core.Sketch], batch: pa.RecordBatch, first_row: int | None) -> list[_core.Sketch]:
        """Add the values of a batch."""
        values = {name: number_column(batch, name) for name in self.columns}
        sketch_columns([(sketch, values[name]) for name, sketch in zip(self.names, state, strict=True)], self.n_jobs)
        return state

    def merge(self, states: Iterable[list[_core.Sketch]]) -> list[_core.Sketch]:
        """Merge the sketches at the same position of each list."""
        return merge_sketches(states)


class Quantiles:
    """Quantiles of columns, as pandas computes them; all are known when `next_pass` is None.

    Parameters
    ----------
    sketches : mapping of str to Sketch
        Sketch of all values of each column, by column name.
    qs : iterable of float
        Quantiles to compute, from 0 to 1.
    dtypes : mapping of str to type
        float32 or float64 for each column name, since pandas interpolates in the dtype of the values.
    n_jobs : int or None
        Number of threads that fill the sketches of `next_pass`.
    """

    def __init__(
        self,
        sketches: Mapping[str, _core.Sketch],
        qs: Iterable[float],
        dtypes: Mapping[str, Any],
        *,
        n_jobs: int | None = 1,
    ) -> None:
        self.dtypes, self.n_jobs = dtypes, n_jobs
        self._neighbours: dict[tuple[str, int], tuple[float, float]] = {}
        self._missing: dict[str, int] = {}
        self._open: dict[tuple[str, int], _core.Sketch] = {}
        self._positions: dict[tuple[str, float], tuple[int, float]] = {}
        qs = list(qs)
        for name, sketch in sketches.items():
            self._missing[name] = sketch.n_missing
            if sketch.n == 0:
                continue
            for q in qs:
                self._positions[name, q] = quantile_position(sketch.n, q)
                self._resolve(name, self._positions[name, q][0], sketch)

    def _resolve(self, name: str, position: int, sketch: _core.Sketch) -> None:
        """Store the neighbours at a position, or the refined sketch for the next pass if they are not known."""
        neighbours = sketch.neighbours(position)
        if neighbours is None:
            self._open[name, position] = sketch.refined(position)
        else:
            self._open.pop((name, position), None)
            self._neighbours[name, position] = neighbours

    @property
    def next_sketches(self) -> list[tuple[str, _core.Sketch]]:
        """Return the sketches to fill next, each with its column; the list is empty if all quantiles are known."""
        return [(name, sketch) for (name, _), sketch in self._open.items()]

    @property
    def next_pass(self) -> SketchColumns | None:
        """Return the aggregator to run next on the table; None if all quantiles are known."""
        return SketchColumns(self.next_sketches, n_jobs=self.n_jobs) if self._open else None

    def take(self, sketches: Iterable[_core.Sketch]) -> None:
        """Take over the filled sketches of `next_pass`."""
        for (name, position), sketch in zip(list(self._open), sketches, strict=True):
            self._resolve(name, position, sketch)

    def quantile(self, name: str, q: float) -> float:
        """Return a quantile of a column."""
        if (name, q) not in self._positions:
            return float("nan")
        position, weight = self._positions[name, q]
        dtype = self.dtypes[name]
        value = interpolate(*self._neighbours[name, position], weight, dtype)
        # pandas rounds to the dtype of the values if some are missing.
        return float(dtype(value)) if self._missing[name] else float(value)


class GroupSketches(NamedTuple):
    """State and result of `SketchGroups`: sizes, days and sketches of the groups."""

    #: Number of rows of each group.
    rows: list[int]
    #: Days on which each group has rows; the set may be incomplete once it has `max_days` days.
    days: list[set[Any]]
    sketches: list[_core.Sketch]


class SketchGroups(Aggregator[GroupSketches, GroupSketches]):
    """Collect the sizes of groups, the days on which they have rows, and sketches of their columns.

    Parameters
    ----------
    groups : str
        Name of the column with the labels as text.
    labels : list of str
        Labels of the groups.
    names : iterable of str
        Columns to sketch in each group.
    times : Times, optional
        Reader of the times, if days are counted.
    max_days : int
        Maximum number of days that are counted per group.
    sketches : iterable of (int, str, Sketch), optional
        Position of a group, name of a column and an empty sketch for its values. By default there is one sketch of all
        values for each group and each of `names`.
    """

    def __init__(
        self,
        groups: str,
        labels: list[Any],
        names: Iterable[str],
        *,
        times: Times | None = None,
        max_days: int = 0,
        sketches: Iterable[tuple[int, str, _core.Sketch]] | None = None,
    ) -> None:
        self.groups, self.labels, self.names = groups, labels, list(names)
        self.times, self.max_days = times, max_days
        capacity = max(_MIN_CAPACITY, min(CAPACITY, _GROUP_CELLS // max(1, len(labels) * len(self.names))))
        if sketches is None:
            unbounded = _core.Sketch(-np.inf, np.inf, capacity=capacity)
            sketches = [(number, name, unbounded) for number in range(len(labels)) for name in self.names]
        sketches = list(sketches)
        self.sketched = [(number, name) for number, name, _ in sketches]
        self.empty = [sketch.to_bytes() for _, _, sketch in sketches]
        time = () if times is None else (times.name,)
        self.columns = tuple(dict.fromkeys([groups, *time, *(name for _, name in self.sketched)]))

    def init(self, partition: Partition) -> GroupSketches:
        """Return a state without rows, with empty sketches."""
        sketches = [_core.Sketch.from_bytes(data) for data in self.empty]
        return GroupSketches([0] * len(self.labels), [set() for _ in self.labels], sketches)

    def update(self, state: GroupSketches, batch: pa.RecordBatch, first_row: int | None) -> GroupSketches:
        """Add the rows of a batch."""
        if batch.num_rows == 0:
            return state
        days = None if self.times is None else days_of(self.times.of(batch, first_row)).to_numpy()
        values = {name: number_column(batch, name) for name in dict.fromkeys(name for _, name in self.sketched)}
        by_group: dict[int, list[int]] = {}
        for position, (number, _) in enumerate(self.sketched):
            by_group.setdefault(number, []).append(position)
        for number, rows in rows_by_label(batch.column(self.groups), self.labels):
            state.rows[number] += len(rows)
            if days is not None and len(state.days[number]) < self.max_days:
                state.days[number].update(np.unique(days[rows]).tolist())
            for position in by_group.get(number, ()):
                state.sketches[position].add(values[self.sketched[position][1]][rows])
        return state

    def merge(self, states: Iterable[GroupSketches]) -> GroupSketches:
        """Combine the states of all partitions."""
        (rows, days, sketches), *others = states
        for other in others:
            rows = [n + n_other for n, n_other in zip(rows, other.rows, strict=True)]
            days = [group | other_group for group, other_group in zip(days, other.days, strict=True)]
        return GroupSketches(rows, days, merge_sketches([sketches, *(other.sketches for other in others)]))


class GroupQuantiles:
    """Quantiles of the columns of each group, as pandas computes them; all are known when `next_pass` is None.

    Parameters
    ----------
    first : SketchGroups
        Aggregator of the first pass, over all groups.
    sketches : list of Sketch
        Sketches that the first pass returned.
    groups : iterable of int
        Positions of the groups whose quantiles to compute.
    qs : iterable of float
        Quantiles to compute, from 0 to 1.
    dtypes : mapping of str to type
        float32 or float64 for each column name.
    """

    def __init__(
        self,
        first: SketchGroups,
        sketches: list[_core.Sketch],
        groups: Iterable[int],
        qs: Iterable[float],
        dtypes: Mapping[str, Any],
    ) -> None:
        self._first, self._groups, self._qs = first, list(groups), list(qs)
        by_group: dict[int, dict[str, _core.Sketch]] = {number: {} for number in self._groups}
        for (number, name), sketch in zip(first.sketched, sketches, strict=True):
            if number in by_group:
                by_group[number][name] = sketch
        self._quantiles = {number: Quantiles(by_name, self._qs, dtypes) for number, by_name in by_group.items()}

    @property
    def next_pass(self) -> SketchGroups | None:
        """Return the aggregator to run next on the table; None if all quantiles are known."""
        sketches = [
            (number, name, sketch)
            for number, quantiles in self._quantiles.items()
            for name, sketch in quantiles.next_sketches
        ]
        return SketchGroups(self._first.groups, self._first.labels, [], sketches=sketches) if sketches else None

    def take(self, sketches: list[_core.Sketch]) -> None:
        """Take over the filled sketches of `next_pass`."""
        start = 0
        for quantiles in self._quantiles.values():
            end = start + len(quantiles.next_sketches)
            quantiles.take(sketches[start:end])
            start = end

    def values(self, names: Iterable[str]) -> NDArray[np.float64]:
        """Return the quantiles as an array of shape (n_groups, n_columns, n_quantiles)."""
        names = list(names)
        groups = self._quantiles.values()
        cells = [[[quantiles.quantile(name, q) for q in self._qs] for name in names] for quantiles in groups]
        return np.array(cells, dtype=np.float64).reshape(len(self._groups), len(names), len(self._qs))
