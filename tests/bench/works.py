"""Define the works that the benchmark measures: each row of its table has a number and one or more works."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from .data import Data

#: Names of the libraries in tables and charts.
LABELS = {
    "isoxide": "isoxide",
    "sklearn": "scikit-learn",
    "isotree": "isotree",
    "coniferest": "coniferest",
    "pyod": "PyOD",
    "shap": "shap",
    "scipy": "scipy, a loop",
    "scipy_array": "scipy, all at once",
    "numpy": "NumPy sort",
    "polars": "polars sort",
    "pandas": "pandas rank",
    "numpy_sum": "one pass (NumPy sum)",
}


@dataclass(frozen=True)
class Contender:
    """A library that does a work, and the settings in which it differs from the other contenders."""

    library: str
    variant: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    threads: int | None = None
    layout: str | None = None

    @property
    def name(self) -> str:
        return f"{self.library}: {self.variant}" if self.variant else self.library


@dataclass(frozen=True)
class Work:
    """One task, and the libraries that do it. The first contender is isoxide, with which the others are compared."""

    row: int
    #: Description of the task, without the shape of the table and the number of threads.
    what: str
    #: "score", "explain", "fit", "day", "rank" or "memory".
    kind: str
    data: Data
    contenders: tuple[Contender, ...]
    layout: str = "C"
    threads: int = 1
    rounds: int = 5
    trees: int = 100
    max_samples: str | float = "auto"
    contamination: str | float = "auto"
    #: Number of rows that are scored or ranked; None for all rows of the table.
    take: int | None = None

    @property
    def title(self) -> str:
        n = self.data.n if self.kind == "rank" or not self.take else self.take
        shape = f"{n:,} x {self.data.d}"
        return f"rank {self.take:,} rows in {shape}{self.what}" if self.kind == "rank" else f"{self.what}, {shape}"

    def scaled(self, scale: float) -> Work:
        """Return the same work on a smaller table, for trying things out."""
        n = min(self.data.n, max(1000, int(self.data.n * scale)))
        return replace(self, data=replace(self.data, n=n), take=min(self.take, n) if self.take else None)


def _named(*libraries: str) -> tuple[Contender, ...]:
    return tuple(Contender(library) for library in libraries)


_FORESTS = _named("isoxide", "sklearn", "isotree", "coniferest", "pyod")
_NO_PYOD = _FORESTS[:4]
_OURS_AND_SKLEARN = _FORESTS[:2]
_RANKERS = (
    Contender("isoxide"),
    Contender("isoxide", "F order", layout="F"),
    *_named("scipy", "scipy_array", "numpy", "polars", "pandas"),
)
_MILLION = Data("plain", 1_000_000, 50)
_HUNDRED_THOUSAND = Data("plain", 100_000, 50)
_SMALL = Data("plain", 10_000, 10)
ROWS = range(1, 17)
QUICK_ROWS = (1, 5, 7, 8, 9, 13)


def _scoring() -> list[Work]:
    million: dict[str, Any] = {"kind": "score", "data": _MILLION, "rounds": 3}
    orders = {"C": "C order", "F": "F order"}
    works = [Work(1, f"score, {orders[o]}", contenders=_FORESTS, layout=o, **million) for o in orders]
    alone = Contender("isoxide", "1 thread", threads=1)
    works += [
        Work(2, f"score, {orders[o]}", contenders=(*_FORESTS, alone), layout=o, threads=2, **million) for o in orders
    ]
    default = Contender("isoxide", "default kernel")
    for kernel in ("avx2", "portable"):
        forced = Contender("isoxide", f"{kernel} kernel", environment={"ISOXIDE_KERNEL": kernel})
        rivals = _named("sklearn", "coniferest")
        works.append(Work(3, f"score, {kernel} kernel", contenders=(forced, default, *rivals), **million))
    missing = million | {"data": Data("missing", 1_000_000, 50)}
    works.append(Work(4, "score, NaN", contenders=_FORESTS[:3], **missing))
    frames = {"pandas": "pandas frame, 10 columns int64", "polars": "polars frame"}
    works += [Work(5, f"score, {frames[f]}", contenders=_NO_PYOD, layout=f, **million) for f in frames]
    works.append(Work(6, "score", "score", _SMALL, _FORESTS))
    works += [Work(7, "score", "score", _HUNDRED_THOUSAND, _FORESTS, take=take, rounds=7) for take in (1, 100)]
    day = Data("plain", 10_000, 46)
    what = "one day, pandas: decision_function and predict"
    works.append(Work(8, what, "day", day, _OURS_AND_SKLEARN, layout="pandas floats", take=108, rounds=7))
    return works


def _fitting(cores: int) -> list[Work]:
    works = []
    for threads in dict.fromkeys((1, cores)):
        works += [
            Work(9, "fit", "fit", data, _FORESTS, threads=threads, rounds=3 if data.n > 10**5 else 5)
            for data in (_SMALL, _HUNDRED_THOUSAND, _MILLION)
        ]
        with_contamination = _named("isoxide", "sklearn", "pyod")
        works.append(
            Work(
                10,
                "fit, contamination=0.1",
                "fit",
                _MILLION,
                with_contamination,
                threads=threads,
                rounds=3,
                contamination=0.1,
            )
        )
        full: dict[str, Any] = {"threads": threads, "rounds": 3, "max_samples": 1.0}
        works.append(Work(11, "fit, max_samples=1.0", "fit", _HUNDRED_THOUSAND, _NO_PYOD, **full))
        works.append(Work(11, "score, trees of max_samples=1.0", "score", _HUNDRED_THOUSAND, _NO_PYOD, **full))
        sparse: dict[str, Any] = {"layout": "csr", "threads": threads, "rounds": 3}
        data = Data("sparse", 100_000, 1000)
        works.append(Work(12, "fit, CSR with 1 % filled", "fit", data, _OURS_AND_SKLEARN, **sparse))
        works.append(Work(12, "score, CSR with 1 % filled", "score", data, _OURS_AND_SKLEARN, **sparse))
    return works


def _ranking(cores: int) -> list[Work]:
    works = []
    for threads in dict.fromkeys((1, cores)):
        # The other rivals run on one thread only.
        contenders = _RANKERS if threads == 1 else (*_RANKERS[:2], Contender("polars"))
        for row, take, data in ((13, 260, _MILLION), (14, 10_000, _MILLION), (14, 260, _HUNDRED_THOUSAND)):
            works.append(Work(row, "", "rank", data, contenders, threads=threads, rounds=3, take=take))
    return works


def _explaining() -> list[Work]:
    works = []
    for data in (_SMALL, _HUNDRED_THOUSAND):
        explain: dict[str, Any] = {"kind": "explain", "data": data, "rounds": 3}
        works.append(Work(16, "explain", contenders=_named("isoxide", "shap"), take=1000, **explain))
        for kernel in ("avx2", "portable"):
            forced = Contender("isoxide", f"{kernel} kernel", environment={"ISOXIDE_KERNEL": kernel})
            default = Contender("isoxide", "default kernel")
            contenders = (forced, default, Contender("shap"))
            works.append(Work(16, f"explain, {kernel} kernel", contenders=contenders, take=1000, **explain))
    works.append(Work(16, "explain", "explain", _HUNDRED_THOUSAND, _named("isoxide", "shap"), take=1))
    return works


def _memory() -> Work:
    two_threads = (Contender("isoxide", "2 threads", threads=2), Contender("sklearn", "2 threads", threads=2))
    return Work(15, "memory while scoring", "memory", _MILLION, (*_FORESTS, *two_threads), rounds=1)


def all_works(cores: int) -> list[Work]:
    """Return all works, in the order of the rows."""
    return sorted(
        [*_scoring(), *_fitting(cores), *_ranking(cores), *_explaining(), _memory()], key=lambda work: work.row
    )


def quick_works() -> list[Work]:
    """Return the works of `make bench-quick`: some rows, one thread, smaller tables, and not the slowest rivals."""
    works = []
    for work in all_works(1):
        if work.row not in QUICK_ROWS or (work.row == 1 and work.layout == "F"):
            continue
        slow = {"pyod", "pandas"} | ({"isotree"} if work.row == 5 else set())
        contenders = tuple(c for c in work.contenders if c.library not in slow)
        smaller = work.scaled(0.2) if work.kind == "score" and not work.take else work
        works.append(replace(smaller, contenders=contenders, rounds=3))
    return works
