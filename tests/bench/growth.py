"""Define measurements of the time per scored row as rows, columns, trees and threads grow.

Summing the table with NumPy is measured too, as the lower limit of any pass over the table.
"""

from __future__ import annotations

from pathlib import Path

from .data import Data
from .works import Contender, Work

#: scikit-learn is measured up to these sizes; beyond them it would take minutes.
_SKLEARN_ROWS = 100_000
_SKLEARN_TREES = 300
PANELS = ("rows", "columns", "trees", "threads")


def _point(panel: str, n: int, d: int, trees: int = 100, threads: int = 1) -> Work:
    contenders = [Contender("isoxide"), Contender("numpy_sum", threads=1)]
    if n <= _SKLEARN_ROWS and trees <= _SKLEARN_TREES and threads == 1:
        contenders.append(Contender("sklearn"))
    data = Data("plain", n, d)
    return Work(0, panel, "score", data, tuple(contenders), trees=trees, threads=threads, rounds=3)


def points(cores: int, scale: float = 1.0) -> list[Work]:
    """Return the measurements of all panels of the chart."""
    works = [_point("rows", 10**k, 10) for k in range(3, 8)]
    works += [_point("columns", 100_000, d) for d in (1, 2, 5, 10, 20, 50, 100, 200, 500)]
    works += [_point("trees", 100_000, 10, trees=t) for t in (10, 30, 100, 300, 1000)]
    powers = [2**k for k in range(16) if 2**k < cores]
    works += [_point("threads", 1_000_000, 10, threads=t) for t in (*powers, cores)]
    return [work.scaled(scale) for work in works]


def fits_in_memory(work: Work) -> bool:
    """Return whether memory can hold the table once per contender, once in the page cache, and one more copy."""
    needed_bytes = work.data.n * work.data.d * 8 * (len(work.contenders) + 2)
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return True
    available_bytes = next(
        (int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), needed_bytes + 1
    )
    return needed_bytes < available_bytes
