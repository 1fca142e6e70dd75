"""Draw the configurations of the grid search, in an order that fills the space evenly from the start.

Point i of a scrambled Sobol sequence, one dimension per choice, becomes configuration i. So the first hundred points
cover the space about as evenly as the first thousand, and a run that continues another one draws new points.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy.stats import qmc

from .data import Data
from .works import Contender, Work

ROWS, COLUMNS, TREES = 1_000_000, 2_000, 2_000
QUERIES = 10_000
#: Limit of the cells of a table, of which every contender holds a copy: 160 MB as float64.
CELLS = 20_000_000
#: Limit of the estimated seconds of one call of scikit-learn or scipy, so that a configuration takes a few seconds.
CALL_SECONDS = 3.0
#: The default number of trees, and of rows per tree, which this share of the configurations have.
DEFAULT_SHARE = 0.35
DEFAULT_TREES, DEFAULT_SAMPLES = 100, 256
#: Share of tables with NaN, and share of sparse tables, among those of forests.
_MISSING_SHARE, _SPARSE_SHARE = 0.12, 0.12
_KINDS = ("fit", "fit", "score", "score", "score", "rank", "rank", "reference")
_DTYPES = ("float64", "float64", "float32", "int64")
#: Rows that are fitted when a few rows are scored.
_MIN_FIT_ROWS = 2_000


def configurations(seed: int) -> Iterator[tuple[int, Work]]:
    """Yield the number of each point and its work; points whose work would be too large are left out."""
    sobol = qmc.Sobol(d=9, scramble=True, rng=np.random.default_rng(seed))
    point = 0
    while True:
        for u in sobol.random(64):
            work = _work(u)
            if work is not None:
                yield point, work
            point += 1


def _logarithmic(u: float, low: int, high: int) -> int:
    """Return the whole number at a share of the logarithmic distance between two limits."""
    return round(low * (high / low) ** u) if high > low else low


def _or_default(u: float, default: int, low: int, high: int) -> int:
    """Return the default for a share of the interval, and a number between the limits for the rest."""
    if u < DEFAULT_SHARE:
        return max(low, min(default, high))
    return _logarithmic((u - DEFAULT_SHARE) / (1 - DEFAULT_SHARE), low, high)


def _choice(u: float, choices: tuple[str, ...]) -> str:
    return choices[min(int(u * len(choices)), len(choices) - 1)]


def _work(u: np.ndarray) -> Work | None:
    """Return the work at a point of the unit cube, or None if it would be too large."""
    kind = _choice(u[0], _KINDS)
    n, d = _logarithmic(u[1], 1, ROWS), _logarithmic(u[2], 1, COLUMNS)
    layout = f"{'C' if u[3] < 0.6 else 'F'} {_choice(u[4], _DTYPES)}"
    if n * d > CELLS:
        return None
    if kind in ("rank", "reference"):
        return _ranking(kind, n, d, layout, _logarithmic(u[5], 1, min(QUERIES, n)))
    content = "plain"
    if u[7] < _MISSING_SHARE:
        content, layout = "missing", layout.replace("int64", "float64")
    elif u[7] > 1 - _SPARSE_SHARE:
        content, layout = "sparse", "csr"
    take = n if kind == "score" else None
    n = max(n, 2 if kind == "fit" else _MIN_FIT_ROWS)
    samples = _or_default(u[6], DEFAULT_SAMPLES, 2, n)
    contamination: str | float = 0.05 if kind == "fit" and u[8] < 0.2 else "auto"
    work = Work(
        row=0,
        task=kind,
        kind=kind,
        data=Data(content, n, d),
        contenders=tuple(map(Contender, _forests(content, contamination, n))),
        layout=layout,
        trees=_or_default(u[5], DEFAULT_TREES, 1, TREES),
        max_samples=samples,
        take=take if take and take < n else None,
        contamination=contamination,
    )
    return work if n * d <= CELLS and _forest_seconds(work) <= CALL_SECONDS else None


def _ranking(kind: str, n: int, d: int, layout: str, queries: int) -> Work | None:
    rivals = ("isoxide", "scipy_array", "numpy") if kind == "rank" else ("isoxide", "numpy")
    task = "" if kind == "rank" else "RankReference"
    take = queries if kind == "rank" else None
    return Work(0, task, kind, Data("plain", n, d), tuple(map(Contender, rivals)), layout, take=take)


def _forests(content: str, contamination: str | float, n: int) -> tuple[str, ...]:
    """Return the libraries that can do the work."""
    # isotree and coniferest compute no threshold for a contamination, and isotree refuses tables of one or two rows.
    if content == "sparse" or contamination != "auto" or n < 3:
        return "isoxide", "sklearn"
    if content == "missing":
        return "isoxide", "sklearn", "isotree"
    return "isoxide", "sklearn", "isotree", "coniferest"


def _forest_seconds(work: Work) -> float:
    """Return a rough estimate of the seconds that scikit-learn takes for one call and for the fit before it."""
    n, samples = work.data.n, float(work.max_samples)
    scored = work.take or (n if work.kind == "score" or work.contamination != "auto" else 0)
    # Sparse trees sort the rows of a node for every column that they try.
    per_row = 3e-7 if work.data.kind == "sparse" else 1e-7
    growing = work.trees * (3e-4 + 5e-9 * n + per_row * samples * math.log2(samples + 1))
    return growing + scored * work.trees * 5e-9 * math.log2(samples + 1) + 2e-9 * n * work.data.d
