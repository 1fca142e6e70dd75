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
    "woodelf": "woodelf",
    "tl2cgen": "TL2cgen",
    "treelite": "treelite",
    "onnxruntime": "ONNX Runtime",
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
    task: str
    #: "score", "explain", "fit", "day", "rank", "reference", "memory", "start" or "desk".
    kind: str
    data: Data
    contenders: tuple[Contender, ...]
    #: Order of an array, with its dtype unless it is float64 ("C", "F int64"), "csr", or a frame: "pandas" with columns
    #: of float64 and int64, "pandas floats" or "polars".
    layout: str = "C"
    threads: int = 1
    rounds: int = 5
    #: A call is repeated so that a timing takes at least this many seconds.
    seconds: float = 0.3
    trees: int = 100
    #: Rows per tree: "auto" (256), a number, or 1.0 for all rows.
    max_samples: str | float = "auto"
    contamination: str | float = "auto"
    #: Number of rows that are scored or ranked; None for all rows of the table.
    take: int | None = None

    @property
    def title(self) -> str:
        n = self.data.n if self.kind == "rank" or not self.take else self.take
        if self.kind == "start":
            return self.task
        shape = f"{n:,} x {self.data.d:,}"
        return f"rank {self.take:,} rows in {shape}{self.task}" if self.kind == "rank" else f"{self.task}, {shape}"

    def scaled(self, scale: float) -> Work:
        """Return the same work on a smaller table, for trying things out."""
        n = min(self.data.n, max(1000, int(self.data.n * scale)))
        return replace(self, data=replace(self.data, n=n), take=min(self.take, n) if self.take else None)


def _named(*libraries: str) -> tuple[Contender, ...]:
    return tuple(Contender(library) for library in libraries)


_FORESTS = _named("isoxide", "sklearn", "isotree", "coniferest", "pyod")
_NO_PYOD = _FORESTS[:4]
_OURS_AND_SKLEARN = _FORESTS[:2]
#: They score scikit-learn's forests only.
_COMPILED = _named("tl2cgen", "treelite", "onnxruntime")
_RANKERS = _named("isoxide", "scipy", "scipy_array", "numpy", "polars", "pandas")
_MILLION = Data("plain", 1_000_000, 50)
_HUNDRED_THOUSAND = Data("plain", 100_000, 50)
_SMALL = Data("plain", 10_000, 10)
_WIDE = Data("plain", 2_000, 2_000)
_FRAMES = {"pandas": "pandas frame, 10 columns int64", "polars": "polars frame"}
ROWS = range(1, 21)


def _scoring() -> list[Work]:
    million: dict[str, Any] = {"kind": "score", "data": _MILLION, "rounds": 3}
    orders = {"C": "C order", "F": "F order"}
    compiled = {"C": _COMPILED, "F": ()}
    works = [Work(1, f"score, {orders[o]}", contenders=(*_FORESTS, *compiled[o]), layout=o, **million) for o in orders]
    alone = Contender("isoxide", "1 thread", threads=1)
    works += [
        Work(2, f"score, {orders[o]}", contenders=(*_FORESTS, alone, *compiled[o]), layout=o, threads=2, **million)
        for o in orders
    ]
    default = Contender("isoxide", "default kernel")
    for kernel in ("avx2", "portable"):
        forced = Contender("isoxide", f"{kernel} kernel", environment={"ISOXIDE_KERNEL": kernel})
        rivals = _named("sklearn", "coniferest")
        works.append(Work(3, f"score, {kernel} kernel", contenders=(forced, default, *rivals), **million))
    missing = million | {"data": Data("missing", 1_000_000, 50)}
    works.append(Work(4, "score, NaN", contenders=_FORESTS[:3], **missing))
    works += [Work(5, f"score, {_FRAMES[f]}", contenders=_NO_PYOD, layout=f, **million) for f in _FRAMES]
    works.append(Work(6, "score", "score", _SMALL, (*_FORESTS, *_COMPILED)))
    for take in (1, 9, 20, 30, 100):
        # With fewer libraries, the rows between are where isoxide goes over from one way of scoring to the other.
        rivals = (*_FORESTS, *_COMPILED) if take in (1, 100) else _NO_PYOD
        works.append(Work(7, "score", "score", _HUNDRED_THOUSAND, rivals, take=take, rounds=7))
    works.append(Work(7, "score, 1,000 trees", "score", Data("plain", 2_000, 1_000), _NO_PYOD, take=9, trees=1000))
    day = Data("plain", 10_000, 46)
    task = "one day, pandas: decision_function and predict"
    works.append(Work(8, task, "day", day, _OURS_AND_SKLEARN, layout="pandas floats", take=108, rounds=7))
    works.append(Work(16, "score, wide, C order", "score", _WIDE, (*_NO_PYOD, *_COMPILED)))
    works.append(Work(16, "score, wide, F order", "score", _WIDE, _NO_PYOD, layout="F"))
    return works


def _fitting(cores: int) -> list[Work]:
    works = []
    for threads in dict.fromkeys((1, cores)):
        works += [
            Work(9, "fit", "fit", data, _FORESTS, threads=threads, rounds=3 if data.n > 10**5 else 5)
            # 256 rows of 25,500 are 1 in 100, from which on rows are drawn in another way.
            for data in (_SMALL, Data("plain", 25_500, 10), _HUNDRED_THOUSAND, _MILLION)
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
        contenders = _RANKERS if threads == 1 else _named("isoxide", "polars")
        for row, take, data in ((13, 260, _MILLION), (14, 10_000, _MILLION), (14, 260, _HUNDRED_THOUSAND)):
            options: dict[str, Any] = {"threads": threads, "rounds": 3, "take": take}
            works += [Work(row, f", {o} order", "rank", data, contenders, layout=o, **options) for o in "CF"]
    reference = _named("isoxide", "numpy")
    works += [Work(17, f"RankReference, {o} order", "reference", _MILLION, reference, layout=o, rounds=3) for o in "CF"]
    return works


#: coniferest does not compute Shapley values, but the mean change of the path length at the splits by a feature.
_EXPLAINERS = ("shap", "woodelf", "coniferest")


def _explaining() -> list[Work]:
    works = []
    for data in (_SMALL, _HUNDRED_THOUSAND):
        explain: dict[str, Any] = {"kind": "explain", "data": data, "rounds": 3}
        works.append(Work(20, "explain", contenders=_named("isoxide", *_EXPLAINERS), take=1000, **explain))
        for kernel in ("avx2", "portable"):
            forced = Contender("isoxide", f"{kernel} kernel", environment={"ISOXIDE_KERNEL": kernel})
            default = Contender("isoxide", "default kernel")
            contenders = (forced, default, Contender("shap"))
            works.append(Work(20, f"explain, {kernel} kernel", contenders=contenders, take=1000, **explain))
    works.append(Work(20, "explain", "explain", _HUNDRED_THOUSAND, _named("isoxide", "shap"), take=1))
    return works


def _memory() -> Work:
    two_threads = (Contender("isoxide", "2 threads", threads=2), Contender("sklearn", "2 threads", threads=2))
    return Work(15, "memory while scoring", "memory", _MILLION, (*_FORESTS, *two_threads), rounds=1)


def _starting(cores: int) -> list[Work]:
    """Return the works that start programs, which read no table of the benchmark."""
    start: dict[str, Any] = {"kind": "start", "data": Data("none", 0, 0), "rounds": 7, "seconds": 0.0}
    desk = Data("none", 1_000_000, 50)
    return [
        Work(18, "isoxide --version", contenders=_named("isoxide"), **start),
        Work(18, "import isoxide", contenders=_named("isoxide"), **start),
        Work(18, "import IsolationForest", contenders=_named("isoxide", "sklearn"), **start),
        Work(19, "isoxide detect, Parquet to reports", "desk", desk, _named("isoxide"), threads=cores, rounds=3),
    ]


def all_works(cores: int) -> list[Work]:
    """Return all works, in the order of the rows."""
    works = [*_scoring(), *_fitting(cores), *_ranking(cores), _memory(), *_starting(cores), *_explaining()]
    return sorted(works, key=lambda work: work.row)


def quick_works() -> list[Work]:
    """Return the works of `make bench-quick`: scikit-learn or scipy and the fastest rivals, on one thread."""
    table: dict[str, Any] = {"data": Data("plain", 100_000, 50), "rounds": 3, "seconds": 0.1}
    rivals = _NO_PYOD
    return [
        Work(1, "score, C order", "score", contenders=rivals, **table),
        Work(5, f"score, {_FRAMES['pandas']}", "score", contenders=_OURS_AND_SKLEARN, layout="pandas", **table),
        Work(7, "score", "score", contenders=rivals, take=1, **table),
        Work(9, "fit", "fit", contenders=rivals, **table),
        Work(10, "fit, contamination=0.1", "fit", contenders=_OURS_AND_SKLEARN, contamination=0.1, **table),
        Work(13, ", C order", "rank", contenders=_named("isoxide", "scipy_array", "numpy"), take=260, **table),
        Work(17, "RankReference, C order", "reference", contenders=_named("isoxide", "numpy"), **table),
    ]
