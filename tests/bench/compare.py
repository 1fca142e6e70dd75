"""Times isoxide against scikit-learn and scipy on the same data and cores; `make bench` runs it.

Both sides run in this process, one after the other in turn (A B A B ...), so that both see the same neighbours; printed
are medians of wall time and of process CPU time (all threads), and the median of the ratios of the pairs. Unfair to
neither side: scikit-learn fits on all cores (`n_jobs=-1`) and scores under joblib's threading backend, which its
documentation names for that; scipy's ranks are computed column by column with all queries at once and, since that
takes minutes, on a few columns and a share of the queries, scaled up.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
import scipy
import scipy.stats
import sklearn
from sklearn.ensemble import IsolationForest as SklearnForest

from isoxide import IsolationForest, rank_features


def table(n: int, d: int, seed: int = 0) -> np.ndarray:
    """Half normal columns, half counts with 70 % zeros, and 1 % of the rows three times as large."""
    r = np.random.default_rng(seed)
    x = np.empty((n, d))
    for j in range(d):
        zero = r.random(n) < 0.7
        counts = np.where(zero, 0, r.geometric(0.05 if j % 4 == 1 else 0.3, n))
        x[:, j] = counts if j % 2 else r.normal(j % 7, 1 + j % 3, n)
    x[r.choice(n, max(1, n // 100), replace=False)] *= 3
    return x


def timed(call: Callable[[], Any]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def compare(name: str, ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int, scale: float = 1.0) -> None:
    """Prints one line; `scale` is how much more work ours does than theirs."""
    timed(ours), timed(theirs)
    pairs = [(timed(ours), timed(theirs)) for _ in range(rounds)]
    wall = statistics.median(b[0] * scale / a[0] for a, b in pairs)
    cpu = statistics.median(b[1] * scale / a[1] for a, b in pairs)
    mine = statistics.median(a[0] for a, _ in pairs)
    other = statistics.median(b[0] * scale for _, b in pairs)
    print(f"| {name} | {mine * 1e3:.1f} ms | {other * 1e3:.1f} ms | {wall:.1f} x | {cpu:.1f} x |", flush=True)


def scored_by_threads(forest: SklearnForest, x: np.ndarray) -> np.ndarray:
    with joblib.parallel_config(backend="threading", n_jobs=-1):
        return forest.score_samples(x)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    versions = f"scikit-learn {sklearn.__version__}, scipy {scipy.__version__}, numpy {np.__version__}"
    print(f"{datetime.date.today()}, {platform.machine()}, {joblib.cpu_count()} cores, {versions}\n")
    print("| work | isoxide | rival | faster, wall | faster, CPU |\n|---|--:|--:|--:|--:|")

    x = table(100_000, 50)
    ours, theirs = IsolationForest(random_state=0).fit(x), SklearnForest(random_state=0).fit(x)
    np.testing.assert_array_equal(ours.score_samples(x), theirs.score_samples(x))
    compare(
        "score 100,000 x 50, all cores",
        lambda: ours.score_samples(x),
        lambda: scored_by_threads(theirs, x),
        rounds,
    )
    compare(
        "score 100,000 x 50, as called by default",
        lambda: ours.score_samples(x),
        lambda: theirs.score_samples(x),
        rounds,
    )
    compare(
        "fit 100,000 x 50",
        lambda: IsolationForest(random_state=0).fit(x),
        lambda: SklearnForest(random_state=0, n_jobs=-1).fit(x),
        rounds,
    )
    compare(
        "fit 100,000 x 50, contamination=0.1",
        lambda: IsolationForest(random_state=0, contamination=0.1).fit(x),
        lambda: SklearnForest(random_state=0, n_jobs=-1, contamination=0.1).fit(x),
        max(1, rounds // 2),
    )

    x = table(1_000_000, 50)
    rows = x[:: len(x) // 260][:260]
    columns, share = (0, 1, 2, 3), 20
    expected = [scipy.stats.percentileofscore(x[:, j], rows[:share, j]) for j in columns]
    np.testing.assert_array_equal(rank_features(rows, x).percentiles[:share, columns].T, expected)

    # As a frame holds them: side by side in memory, which is what scipy is fastest on.
    contiguous = [np.ascontiguousarray(x[:, j]) for j in columns]

    def loop() -> None:
        for j, column in zip(columns, contiguous, strict=True):
            for value in rows[:share, j]:
                scipy.stats.percentileofscore(column, value)

    scale = 50 / len(columns) * len(rows) / share
    compare("rank 260 rows in 1,000,000 x 50", lambda: rank_features(rows, x), loop, max(1, rounds // 2), scale)


if __name__ == "__main__":
    main()
