"""Exact quantiles of the columns of a table in parts, in as many passes as they take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isoxide import _core
from isoxide._common.quantiles import interpolate, quantile_position
from isoxide._frames.columns import number_column
from isoxide._frames.times import days_of
from isoxide._partitioned.aggregators import Fold, as_pickle, from_pickle, packed, unpacked
from isoxide._partitioned.table import Part
from isoxide._ranks.groups import members

#: Different values of a column kept, at most.
CAPACITY = 2**14
#: Different values kept of all columns of all groups together, and at least of each one.
_GROUP_CELLS, _MIN_CAPACITY = 2**22, 16


class SketchColumns(Fold):
    """Sketches, each of one column; a column may have several."""

    def __init__(self, sketches: Iterable[tuple[str, _core.Sketch]]) -> None:
        sketches = list(sketches)
        self.names = [name for name, _ in sketches]
        self.columns = tuple(dict.fromkeys(self.names))
        self.empty = [sketch.to_bytes() for _, sketch in sketches]

    def begin(self, part: Part) -> Any:
        """Empty sketches."""
        return [_core.Sketch.from_bytes(data) for data in self.empty]

    def feed(self, state: Any, batch: pa.RecordBatch, first_row: int | None) -> Any:
        """More values."""
        values = {name: number_column(batch, name) for name in self.columns}
        for name, sketch in zip(self.names, state, strict=True):
            sketch.add(values[name])
        return state

    def finish(self, state: Any) -> bytes:
        """All sketches."""
        return packed([sketch.to_bytes() for sketch in state])

    def merge(self, results: Iterable[bytes]) -> bytes:
        """Each with its like."""
        first, *rest = (self.read(result) for result in results)
        for other in rest:
            for mine, theirs in zip(first, other, strict=True):
                mine.merge(theirs)
        return self.finish(first)

    @staticmethod
    def read(data: bytes) -> list[_core.Sketch]:
        """The sketches."""
        return [_core.Sketch.from_bytes(one) for one in unpacked(data)]


def whole_sketch() -> _core.Sketch:
    """A sketch of all values of a column."""
    return _core.Sketch(-np.inf, np.inf, capacity=CAPACITY)


class Quantiles:
    """Quantiles of columns, as pandas gives them; known when `steps` has no step any more.

    Parameters
    ----------
    sketches : mapping of str to sketch
        Of each column the sketch of all its values.
    qs : list of float
        From 0 to 1.
    types : mapping of str to type
        Of each column that of its values, float32 or float64: pandas interpolates in it.
    """

    def __init__(self, sketches: Mapping[str, _core.Sketch], qs: Iterable[float], types: Mapping[str, Any]) -> None:
        self.types, self._values, self._missing = types, {}, {}
        self._open: dict[tuple[str, int], _core.Sketch] = {}
        self._places: dict[tuple[str, float], tuple[int, float]] = {}
        for name, sketch in sketches.items():
            self._missing[name] = sketch.n_missing
            if sketch.n == 0:
                continue
            for q in qs:
                self._places[name, q] = quantile_position(sketch.n, q)
                self._look(name, self._places[name, q][0], sketch)

    _values: dict[tuple[str, int], tuple[float, float]]
    _missing: dict[str, int]

    def _look(self, name: str, place: int, sketch: _core.Sketch) -> None:
        """Takes over what a sketch knows of two neighbours, or what is to be asked next."""
        found = sketch.neighbours(place)
        if found is None:
            self._open[name, place] = sketch.refined(place)
        else:
            self._open.pop((name, place), None)
            self._values[name, place] = found

    @property
    def asked(self) -> list[tuple[str, _core.Sketch]]:
        """The sketches that are to be filled next, each with its column; none if all is known."""
        return [(name, sketch) for (name, _), sketch in self._open.items()]

    @property
    def steps(self) -> list[SketchColumns]:
        """What to run next on the table; nothing if all is known."""
        return [SketchColumns(self.asked)] if self._open else []

    def take(self, result: bytes) -> None:
        """Takes over the result of that step."""
        self.take_sketches(SketchColumns.read(result))

    def take_sketches(self, sketches: Iterable[_core.Sketch]) -> None:
        """Take over the sketches that were asked for, filled."""
        for (name, place), sketch in zip(list(self._open), sketches, strict=True):
            self._look(name, place, sketch)

    def quantile(self, name: str, q: float) -> float:
        """A quantile of a column."""
        if (name, q) not in self._places:
            return float("nan")
        place, way = self._places[name, q]
        kind = self.types[name]
        value = interpolate(*self._values[name, place], way, kind)
        # Where values are missing pandas rounds to their type.
        return float(kind(value)) if self._missing[name] else float(value)


class SketchGroups(Fold):
    """Sizes of some groups of rows, the days they have rows on, and sketches of their columns."""

    def __init__(
        self,
        groups: str,
        labels: list[Any],
        names: Iterable[str],
        *,
        time: Any = None,
        max_days: int = 0,
        sketches: Iterable[tuple[int, str, _core.Sketch]] | None = None,
    ) -> None:
        self.groups, self.labels, self.names = groups, labels, list(names)
        #: How times are read, if days are counted: that of small groups, whose days are fewer than `max_days`.
        self.time, self.max_days = time, max_days
        capacity = max(_MIN_CAPACITY, min(CAPACITY, _GROUP_CELLS // max(1, len(labels) * len(self.names))))
        if sketches is None:
            whole = _core.Sketch(-np.inf, np.inf, capacity=capacity)
            sketches = [(number, name, whole) for number in range(len(labels)) for name in self.names]
        sketches = list(sketches)
        self.sketched = [(number, name) for number, name, _ in sketches]
        self.empty = [sketch.to_bytes() for _, _, sketch in sketches]
        times = () if time is None else (time.name,)
        columns = dict.fromkeys([groups, *times, *(name for _, name in self.sketched)])
        self.columns = tuple(columns)

    def begin(self, part: Part) -> Any:
        """Return no rows, no days and empty sketches."""
        return {
            "rows": [0] * len(self.labels),
            "days": [set() for _ in self.labels],
            "sketches": [_core.Sketch.from_bytes(data) for data in self.empty],
        }

    def feed(self, state: Any, batch: pa.RecordBatch, first_row: int | None) -> Any:
        """Add a batch."""
        if batch.num_rows == 0:
            return state
        labels = batch.column(self.groups).to_pylist()
        days = None if self.time is None else days_of(self.time.of(batch, first_row)).to_numpy()
        values = {name: number_column(batch, name) for name in dict.fromkeys(name for _, name in self.sketched)}
        by_group: dict[int, list[int]] = {}
        for place, (number, _) in enumerate(self.sketched):
            by_group.setdefault(number, []).append(place)
        numbers = {label: number for number, label in enumerate(self.labels)}
        for places, rows in members(self.labels, labels):
            number = numbers[self.labels[int(places[0])]]
            state["rows"][number] += len(rows)
            if days is not None and len(state["days"][number]) < self.max_days:
                state["days"][number].update(np.unique(days[rows]).tolist())
            for place in by_group.get(number, ()):
                state["sketches"][place].add(values[self.sketched[place][1]][rows])
        return state

    def finish(self, state: Any) -> bytes:
        """Return everything."""
        sketches = [sketch.to_bytes() for sketch in state["sketches"]]
        return packed([as_pickle((state["rows"], state["days"])), *sketches])

    def merge(self, results: Iterable[bytes]) -> bytes:
        """Add up what was found in each partition."""
        (rows, days, sketches), *rest = (self.read(result) for result in results)
        for other_rows, other_days, other_sketches in rest:
            rows = [mine + theirs for mine, theirs in zip(rows, other_rows, strict=True)]
            days = [mine | theirs for mine, theirs in zip(days, other_days, strict=True)]
            for sketch, other in zip(sketches, other_sketches, strict=True):
                sketch.merge(other)
        return self.finish({"rows": rows, "days": days, "sketches": sketches})

    @staticmethod
    def read(data: bytes) -> tuple[list[int], list[set[Any]], list[_core.Sketch]]:
        """Return rows and days of each group, and the sketches."""
        facts, *sketches = unpacked(data)
        rows, days = from_pickle(facts)
        return rows, days, [_core.Sketch.from_bytes(one) for one in sketches]


class GroupQuantiles:
    """Quantiles of the columns of each group, as pandas gives them; known when `step` is None.

    Parameters
    ----------
    first : SketchGroups
        The step that looks at all groups.
    result : bytes
        What it gave.
    wanted : list of int
        The groups whose quantiles are wanted.
    qs : list of float
        From 0 to 1.
    types : mapping of str to type
        Of each column that of its values, float32 or float64.
    """

    def __init__(
        self, first: SketchGroups, result: bytes, wanted: Iterable[int], qs: Iterable[float], types: Mapping[str, Any]
    ) -> None:
        self._first, self._wanted, self._qs = first, list(wanted), list(qs)
        _, _, sketches = SketchGroups.read(result)
        kept = set(self._wanted)
        by_group: dict[int, dict[str, _core.Sketch]] = {number: {} for number in self._wanted}
        for (number, name), sketch in zip(first.sketched, sketches, strict=True):
            if number in kept:
                by_group[number][name] = sketch
        self._quantiles = {number: Quantiles(own, self._qs, types) for number, own in by_group.items()}

    @property
    def step(self) -> SketchGroups | None:
        """The step to run next on the table; None if all is known."""
        asked = [(number, name, sketch) for number, own in self._quantiles.items() for name, sketch in own.asked]
        return SketchGroups(self._first.groups, self._first.labels, [], sketches=asked) if asked else None

    def take(self, result: bytes) -> None:
        """Take over the result of that step."""
        _, _, sketches = SketchGroups.read(result)
        start = 0
        for own in self._quantiles.values():
            n = len(own.asked)
            own.take_sketches(sketches[start : start + n])
            start += n

    def values(self, names: Iterable[str]) -> NDArray[np.float64]:
        """Return the quantiles as an array of shape (n_groups, n_columns, n_quantiles)."""
        names = list(names)
        cells = [[[own.quantile(name, q) for q in self._qs] for name in names] for own in self._quantiles.values()]
        return np.array(cells, dtype=np.float64).reshape(len(self._wanted), len(names), len(self._qs))
