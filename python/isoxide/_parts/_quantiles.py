"""Exact quantiles of the columns of a table in parts, in as many passes as they take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from isoxide import _core
from isoxide._order import interpolated, quantile_place
from isoxide._frames.columns import number_column
from isoxide._parts._steps import Fold, packed, unpacked
from isoxide._parts._table import Part

#: Different values of a column kept, at most.
CAPACITY = 2**14


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
        self._types, self._values, self._missing = types, {}, {}
        self._open: dict[tuple[str, int], _core.Sketch] = {}
        self._places: dict[tuple[str, float], tuple[int, float]] = {}
        for name, sketch in sketches.items():
            self._missing[name] = sketch.n_missing
            if sketch.n == 0:
                continue
            for q in qs:
                self._places[name, q] = quantile_place(sketch.n, q)
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
    def steps(self) -> list[SketchColumns]:
        """What to run next on the table; nothing if all is known."""
        return [SketchColumns((name, sketch) for (name, _), sketch in self._open.items())] if self._open else []

    def take(self, result: bytes) -> None:
        """Takes over the result of that step."""
        for (name, place), sketch in zip(list(self._open), SketchColumns.read(result), strict=True):
            self._look(name, place, sketch)

    def quantile(self, name: str, q: float) -> float:
        """A quantile of a column."""
        if (name, q) not in self._places:
            return float("nan")
        place, way = self._places[name, q]
        kind = self._types[name]
        value = interpolated(*self._values[name, place], way, kind)
        # Where values are missing pandas rounds to their type.
        return float(kind(value)) if self._missing[name] else float(value)


class ColumnQuantiles:
    """The quantiles of a column with the method of a pandas series."""

    def __init__(self, quantiles: Quantiles, name: str) -> None:
        self._quantiles, self._name = quantiles, name

    def quantile(self, q: float) -> float:
        """As ``Series.quantile``."""
        return self._quantiles.quantile(self._name, q)
