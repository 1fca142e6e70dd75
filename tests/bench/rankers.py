"""Compute percentile ranks of rows in a table with each library, with columns in the layout that is fastest for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from .data import columns_of, queries_of, read
from .forests import Job
from .works import Work

#: Slow libraries rank four columns, two normal ones and two of counts, and the time is scaled up.
FEW_COLUMNS = 4
#: scipy ranks this number of rows, since each row takes one pass over the column, and the time is scaled up.
FEW_QUERIES = 20

Rank = Callable[[], np.ndarray]


def _formula(left: np.ndarray, right: np.ndarray, n: int) -> np.ndarray:
    """Return percentiles of kind "rank" from the numbers of values below, and at or below, the queries."""
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
    query_series = [pl.Series(np.ascontiguousarray(queries[:, j])) for j in range(len(columns))]

    def rank() -> np.ndarray:
        out = np.empty(queries.shape)
        for j, column in enumerate(series):
            ordered = column.sort()
            left = ordered.search_sorted(query_series[j], side="left").to_numpy().astype(np.int64)
            right = ordered.search_sorted(query_series[j], side="right").to_numpy().astype(np.int64)
            out[:, j] = _formula(left, right, len(column))
        return out

    return rank


def _by_pandas(columns: list[np.ndarray], queries: np.ndarray) -> Rank:
    """Rank all rows, and select the queries, which are rows of the table at equal distances."""
    import pandas as pd

    frame = pd.DataFrame(dict(enumerate(columns)))
    positions = np.arange(0, len(frame), max(1, len(frame) // len(queries)))[: len(queries)]
    return lambda: frame.rank(pct=True).to_numpy()[positions] * 100


_RANKERS: dict[str, Callable[[list[np.ndarray], np.ndarray], Rank]] = {
    "scipy": _by_scipy,
    "scipy_array": _by_scipy_array,
    "numpy": _by_numpy,
    "polars": _by_polars,
    "pandas": _by_pandas,
}


def rank_job(work: Work, library: str, threads: int, layout: str, folder: Path) -> Job:
    """Read the table and return the job; its check covers the rows and columns that all contenders rank."""
    assert work.take is not None
    queries = queries_of(work.data, folder, work.take)
    checked_columns, checked_queries = min(FEW_COLUMNS, work.data.d), min(FEW_QUERIES, work.take)
    if library == "isoxide":
        from isoxide import rank_features

        x = read(work.data, folder, layout)

        def call() -> np.ndarray:
            percentiles: np.ndarray = rank_features(queries, x, n_jobs=threads).percentiles
            return percentiles

        return Job(call, lambda: {"percentiles": call()[:checked_queries, :checked_columns]})
    n_columns = work.data.d if library in ("numpy", "polars") else checked_columns
    n_queries = checked_queries if library in ("scipy", "scipy_array") else work.take
    columns = columns_of(work.data, folder, range(n_columns))
    rank = _RANKERS[library](columns, np.ascontiguousarray(queries[:n_queries, :n_columns]))
    scale = work.data.d / n_columns * work.take / n_queries
    return Job(rank, lambda: {"percentiles": rank()[:checked_queries, :checked_columns]}, scale)
