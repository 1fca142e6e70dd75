"""Compare the records with the goals of development: what must be reached on a kind of machine, and the aim beyond."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .record import Record, find, kind
from .text import table
from .works import LABELS

Measure = Callable[[Record], float | None]


@dataclass(frozen=True)
class Goal:
    """A work of the table, how it is measured, and the two limits on processors with AVX-512 and on others."""

    row: int
    features: dict[str, Any]
    name: str
    measure: Measure
    avx512: tuple[float, float]
    avx2: tuple[float, float]
    #: Whether less is better, as of times.
    less: bool = False

    def meets(self, value: float, limit: float) -> bool:
        return value <= limit if self.less else value >= limit


def _contender(work: Record, library: str) -> Record | None:
    return next((c for c in work["contenders"] if c["library"] == library and not c["variant"]), None)


def _over(library: str) -> Measure:
    """Return the measure "time of the library divided by that of isoxide"."""

    def measure(work: Record) -> float | None:
        rival = _contender(work, library)
        return rival["ratio"]["wall"] if rival and rival["ratio"] else None

    return measure


def _seconds(work: Record) -> float | None:
    medians = work["contenders"][0]["medians"]
    return medians["cpu"] if medians else None


def _nanoseconds(per: str) -> Measure:
    """Return the measure "nanoseconds per row and tree", or per row and column."""

    def measure(work: Record) -> float | None:
        seconds, data = _seconds(work), work["data"]
        units = data["n"] * (work["trees"] if per == "trees" else data["d"])
        return seconds / units * 1e9 if seconds else None

    return measure


def _ratios(row: int, features: dict[str, Any], **limits: tuple[float, float, float, float]) -> list[Goal]:
    """Return a goal per rival: must and aim with AVX-512, then must and aim without."""
    return [Goal(row, features, f"x {LABELS[k]}", _over(k), v[:2], v[2:]) for k, v in limits.items()]


_EQUAL = (1.0, 1.0, 1.0, 1.0)
_C, _F, _ONE = {"layout": "C"}, {"layout": "F"}, {"threads": 1}
GOALS = [
    *_ratios(1, _C, sklearn=(45, 58, 22, 32), isotree=(60, 60, 32, 32), coniferest=(42, 42, 22, 22)),
    Goal(1, _C, "ns per row and tree", _nanoseconds("trees"), (0.64, 0.50), (1.6, 1.0), less=True),
    *_ratios(1, _F, sklearn=(48, 60, 32, 45)),
    *_ratios(5, {"layout": "pandas"}, sklearn=(48, 60, 32, 45)),
    *_ratios(5, {"layout": "polars"}, sklearn=(48, 60, 32, 45)),
    *_ratios(4, {}, sklearn=(45, 55, 22, 30)),
    *_ratios(6, {}, sklearn=(60, 75, 35, 50)),
    Goal(16, _C, "ns per cell", _nanoseconds("cells"), (2.0, 1.0), (2.5, 1.5), less=True),
    *(g for take in (1, 9, 20, 30) for g in _ratios(7, {"take": take, "d": 50}, isotree=_EQUAL, coniferest=_EQUAL)),
    *_ratios(7, {"trees": 1000}, isotree=_EQUAL, coniferest=_EQUAL),
    *(
        g
        for n in (10_000, 25_500, 100_000, 1_000_000)
        for g in _ratios(9, _ONE | {"n": n}, coniferest=(0.8, 1, 0.8, 1))
    ),
    *_ratios(11, _ONE | {"kind": "fit"}, sklearn=(9, 13, 8, 11)),
    *_ratios(10, _ONE, sklearn=(40, 50, 22, 30)),
    *_ratios(13, _ONE | _C, numpy=(20, 25, 5, 7), polars=(11, 15, 8, 12)),
    *_ratios(13, _ONE | _F, numpy=(20, 25, 5, 7), polars=(11, 15, 8, 12)),
    *_ratios(14, _ONE | _C | {"take": 10_000}, numpy=(6, 8, 2, 3)),
    *_ratios(14, _ONE | _F | {"take": 10_000}, numpy=(6, 8, 2, 3)),
    *_ratios(17, _C, numpy=_EQUAL),
    *_ratios(17, _F, numpy=_EQUAL),
    Goal(18, {"task": "isoxide --version"}, "s of processor", _seconds, (0.1, 0.1), (0.1, 0.1), less=True),
    Goal(19, {}, "s of processor", _seconds, (6.0, 3.5), (9.0, 6.0), less=True),
]


def table_of(records: list[Record]) -> str:
    """Return a table with a line per goal and kind of machine; the last column marks what is missed."""
    rows = []
    for goal in GOALS:
        for record in records:
            work = find(record, goal.row, goal.features)
            value = goal.measure(work) if work else None
            must, aim = goal.avx512 if record["kernel"] == "avx512" else goal.avx2
            title = work["title"] if work else f"row {goal.row} {goal.features}"
            if value is None:
                rows.append([title, kind(record), goal.name, must, aim, "", "not measured"])
                continue
            verdict = "aim" if goal.meets(value, aim) else "must" if goal.meets(value, must) else "MISSED"
            rows.append([title, kind(record), goal.name, must, aim, f"{value:.2f}", verdict])
    return table(["work", "processor, kernel", "measured", "must", "aim", "value", "reached"], rows, left=3)
