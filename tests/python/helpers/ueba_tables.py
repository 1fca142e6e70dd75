"""Make tables with a row per actor and day for the tests of `isoxide.ueba` and the command."""

import numpy as np
import pandas as pd


def actor_days(seed, *, n_actors=25, n_days=40):
    """Return counts with many zeros, two flags, z-scores, and a few actor-days that are unusual in three features."""
    rng = np.random.default_rng(seed)
    days = pd.date_range("2025-01-20", periods=n_days)
    frame = pd.DataFrame(
        [(f"actor{i:02}", day) for day in days for i in range(n_actors) if rng.random() < 0.9], columns=["actor", "day"]
    )
    n = len(frame)
    for j in range(6):
        frame[f"n_{j}"] = np.where(rng.random(n) < 0.6, 0, rng.geometric(0.15, n))
    for j in range(3):
        frame[f"share_{j}"] = rng.normal(size=n)
        frame[f"zscore_{j}"] = rng.normal(size=n)
    frame["is_weekend"] = (frame["day"].dt.day_of_week >= 5).astype(int)
    frame["leaver_action"] = (rng.random(n) < 0.01).astype(int)
    unusual = rng.choice(n, max(3, n // 60), replace=False)
    for column in ("n_0", "n_3", "share_1"):
        frame.loc[unusual, column] = frame[column].max() * 3 + rng.integers(1, 50, len(unusual))
    frame.loc[unusual[:2], "zscore_1"] = 5.5
    return frame


def users_of(frame):
    """Return a table of users with a row per actor. Some departments contain a comma, which CSV files must quote."""
    actors = sorted(frame["actor"].unique())
    return pd.DataFrame(
        {
            "actor": actors,
            "email": [f"{actor}@example.org" for actor in actors],
            "department": ["Research, Berlin" if i % 2 else "Sales" for i in range(len(actors))],
        }
    )


def sized_days(seed, *, n=1800, missing=0.0):
    """Return actor-days of very different sizes: counts that rise with ``n_files``, others that do not, and a share."""
    rng = np.random.default_rng(seed)
    files = np.floor(rng.lognormal(1.5, 1.4, n)).clip(max=2000)
    frame = pd.DataFrame(
        {
            "actor": [f"actor{i % 30:02}" for i in range(n)],
            "day": pd.Timestamp("2025-01-01") + pd.to_timedelta(np.arange(n) // 30, unit="D"),
            "n_reads": rng.binomial(files.astype(int), 0.5),
            "n_files": files,
            "n_writes": rng.binomial(files.astype(int), 0.3),
            "n_hosts": rng.poisson(np.sqrt(files)).astype(np.float32),
            "n_tickets": rng.poisson(2, n),
            "share": rng.normal(size=n),
            "is_weekend": rng.integers(0, 2, n),
        }
    )
    for row in rng.choice(n, 12, replace=False):
        frame.loc[row, ["n_tickets", "n_hosts"]] = rng.integers(60, 99, 2)
    frame.loc[rng.random(n) < missing, "n_files"] = np.nan
    return frame
