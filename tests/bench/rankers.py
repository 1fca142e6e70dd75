"""Ways to get the percentile ranks of some rows in a table, each given columns in the layout it likes best."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from .data import columns_of, order_and_dtype, queries_of, read
from .forests import Job
from .works import Work

#: Work that would take minutes is done on four columns, two of each kind, and scaled up.
FEW_COLUMNS = 4
#: scipy ranks this many queries, and its time is scaled up: each query takes one pass over the column.
FEW_QUERIES = 20
#: Up to this many comparisons per column, scipy ranks all queries.
FEW_COMPARISONS = 1_000_000

Rank = Callable[[], np.ndarray]


def _formula(left: np.ndarray, right: np.ndarray, n: int) -> np.ndarray:
    """Percentiles of kind "rank" of how many values lie below, and at or below."""
    percentiles: np.ndarray = (left + right + (right > left)) * (50.0 / n)
    return percentiles


def _by_scipy(columns: list[np.ndarray], queries: np.ndarray) -> Rank:
    from scipy.stats import percentileofscore

    def rank() -> np.ndarray:
        return np.array([[percentileofscore(c, v) for v in queries[:, j]] for j, c in enumerate(columns)]).T

    return rank


def _by_scipy_array(columns: list[np.ndarray], queries: np.ndarray) -> Rank:
    from scipy.stats import percentileofscore

    return lambda: np.array([percentileofscore(c, queries[:, j]) for j, c in enumerate(columns)]).T


def _by_numpy(columns: list[np.ndarray], queries: np.ndarray) -> Rank:
    def rank() -> np.ndarray:
        out = np.empty(queries.shape)
        for j, column in enumerate(columns):
            ordered = np.sort(column)
            left, right = (np.searchsorted(ordered, queries[:, j], side=side) for side in ("left", "right"))
            out[:, j] = _formula(left, right, len(column))
        return out

    return rank


def _by_polars(columns: list[np.ndarray], queries: np.ndarray) -> Rank:
    import polars as pl

    series = [pl.Series(c) for c in columns]
    wanted = [pl.Series(np.ascontiguousarray(queries[:, j])) for j in range(len(columns))]

    def rank() -> np.ndarray:
        out = np.empty(queries.shape)
        for j, column in enumerate(series):
            ordered = column.sort()
            left = ordered.search_sorted(wanted[j], side="left").to_numpy().astype(np.int64)
            right = ordered.search_sorted(wanted[j], side="right").to_numpy().astype(np.int64)
            out[:, j] = _formula(left, right, len(column))
        return out

    return rank


def _by_pandas(columns: list[np.ndarray], queries: np.ndarray) -> Rank:
    """Ranks all rows, from which those of interest are taken: only for rows of the table itself."""
    import pandas as pd

    frame = pd.DataFrame(dict(enumerate(columns)))
    places = np.arange(0, len(frame), max(1, len(frame) // len(queries)))[: len(queries)]
    return lambda: frame.rank(pct=True).to_numpy()[places] * 100


_RANKERS: dict[str, Callable[[list[np.ndarray], np.ndarray], Rank]] = {
    "scipy": _by_scipy,
    "scipy_array": _by_scipy_array,
    "numpy": _by_numpy,
    "polars": _by_polars,
    "pandas": _by_pandas,
}


def rank_job(work: Work, library: str, threads: int, layout: str, folder: Path) -> Job:
    """Read the table and return the job; the check is made on the part that all contenders rank."""
    assert work.take is not None
    dtype = order_and_dtype(layout)[1]
    queries = queries_of(work.data, folder, work.take, dtype)
    few = min(FEW_COLUMNS, work.data.d)
    share = work.take if work.data.n * work.take <= FEW_COMPARISONS else min(FEW_QUERIES, work.take)
    if library == "isoxide":
        from isoxide import rank_features

        x = read(work.data, folder, layout)

        def call() -> np.ndarray:
            percentiles: np.ndarray = rank_features(queries, x, n_jobs=threads).percentiles
            return percentiles

        return Job(call, lambda: {"percentiles": call()[:share, :few]})
    n_columns = work.data.d if library in ("numpy", "polars") else few
    n_queries = share if library in ("scipy", "scipy_array") else work.take
    columns = _columns(work, library, n_columns, layout, folder)
    rank = _RANKERS[library](columns, np.ascontiguousarray(queries[:n_queries, :n_columns]))
    scale = work.data.d / n_columns * work.take / n_queries
    return Job(rank, lambda: {"percentiles": rank()[:share, :few]}, scale)


def reference_job(work: Work, library: str, threads: int, layout: str, folder: Path) -> Job:
    """Read the table and return the job of sorting its columns; the check is made by ranking a few rows."""
    queries = queries_of(work.data, folder, FEW_QUERIES, order_and_dtype(layout)[1])
    if library == "isoxide":
        from isoxide import RankReference

        x = read(work.data, folder, layout)
        return Job(
            lambda: RankReference(x, n_jobs=threads),
            lambda: {"percentiles": RankReference(x, n_jobs=threads).rank_features(queries).percentiles},
        )
    columns = _columns(work, library, work.data.d, layout, folder)
    rank = _by_numpy(columns, queries)
    return Job(lambda: [np.sort(column) for column in columns], lambda: {"percentiles": rank()})


def _columns(work: Work, library: str, count: int, layout: str, folder: Path) -> list[np.ndarray]:
    """Return the first columns of the array for NumPy, and contiguous copies of them for the other rivals."""
    if library == "numpy":
        x = read(work.data, folder, layout)
        return [x[:, j] for j in range(count)]
    return columns_of(work.data, folder, range(count), order_and_dtype(layout)[1])
