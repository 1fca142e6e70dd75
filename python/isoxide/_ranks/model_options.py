"""Options of a model that is kept, which in-memory and partitioned tables share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from isoxide._ranks.options import RankOptions

__all__ = ["ModelOptions"]

#: Default minimum number of days of an entity whose values are ranked in its own history.
MIN_HISTORY = 20


@dataclass(frozen=True, kw_only=True)
class ModelOptions(RankOptions):
    """Options of a model.

    Parameters
    ----------
    threshold : float, optional
        Rows whose anomaly score is above it are findings, between 0 and 1. The anomaly score is the negated result of
        `isoxide.IsolationForest.score_samples`: it does not depend on the number of findings, and 0.5 is an average
        row.
    contamination : float, optional
        Fraction of the training rows that are above the threshold, in (0, 0.5].
    alerts_per_month : float, optional
        Number of training rows per month of 30.4 days that are above the threshold, on average. Give at most one of
        `threshold`, `contamination` and `alerts_per_month`; by default the threshold is 0.5.
    n_estimators : int, default=500
        Number of trees, at least 1. With more trees, a model that is trained again finds fewer other rows by chance.
    max_samples : "auto", int or float, default="auto"
        Number of rows that each tree draws, or the fraction of the rows if it is a float. "auto" means 256, or all rows
        if there are fewer.
    random_state : int or None, default=0
        Seed of the forest.
    rules : list of rule, optional
        Instances of `isoxide.ueba.ZScore`, `isoxide.ueba.Flag` and `isoxide.ueba.Percentile`. The first rule that a
        value meets flags it. Percentiles are those of the training rows. An empty list flags nothing. By default,
        `zscores` are flagged at 3 or more, ``leaver_action`` and ``is_weekend`` whenever they are above zero (see
        `domain_defaults`), and all other features at or above the 99th and the 95th percentile.
    min_history : int, default=20
        Minimum number of days that an entity must have in the training rows, at least 1, for ranks in its own history.
    bands : tuple of three numbers, default=(100, 1_000, 10_000)
        Limits of the bands "minor", "major" and "critical": a finding is "minor" if at most one in 100 training rows
        scores as high.
    train_on_this : bool, default=False
        Whether to train on a table with fewer rows than a tree draws, or with a single day. Such a table is refused by
        default, since almost any of its rows would be a finding.
    n_jobs : int, optional
        Number of threads; None means all cores.
    """

    threshold: float | None = None
    contamination: float | None = None
    alerts_per_month: float | None = None
    n_estimators: int = 500
    max_samples: Literal["auto"] | int | float = "auto"
    random_state: int | None = 0
    rules: Iterable[Any] | None = None
    min_history: int = MIN_HISTORY
    bands: tuple[float, float, float] = (100, 1_000, 10_000)
    train_on_this: bool = False
    n_jobs: int | None = None
