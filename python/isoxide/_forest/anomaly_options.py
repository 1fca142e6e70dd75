"""Options that say which forest scores a table, and which of its rows are anomalies."""

from __future__ import annotations

from dataclasses import dataclass

from isoxide._forest.estimator import IsolationForest

__all__ = ["AnomalyOptions"]


@dataclass(frozen=True, kw_only=True)
class AnomalyOptions:
    """Options of anomalies: which forest scores the rows, and which of them are anomalies.

    Parameters
    ----------
    forest : IsolationForest, optional
        Forest to use; it is not changed. A fitted forest keeps its trees, and `threshold`, `contamination` or
        `alerts_per_month` set the offset; without any of these, its own offset decides. An unfitted forest gives the
        parameters of the forest that is fitted on the table. By default, a new forest is fitted on the table.
    threshold : float, optional
        Rows whose score is at or below it are anomalies. `isoxide.ueba.calibrate` with the same
        `calibration_contamination` shows these scores.
    anomaly_threshold : float, optional
        Rows whose anomaly score is above it are anomalies, between 0 and 1. The anomaly score is the negated result of
        `isoxide.IsolationForest.score_samples`: it does not depend on the number of anomalies, and 0.5 is an average
        row.
    contamination : float, optional
        Fraction of the rows that are anomalies, in (0, 0.5]. If no number of anomalies and no `forest` is
        given, anomalies are the rows whose anomaly score is above 0.5 (``"auto"``).
    alerts_per_month : float, optional
        Number of anomalies per month of 30.4 days, on average. Only one of `threshold`,
        `anomaly_threshold`, `contamination` and `alerts_per_month` may be given.
    calibration_contamination : float, default=0.1
        Fraction of the rows that score below 0 on the scale of `threshold`, in (0, 0.5].
    random_state : int or None, default=0
        Seed of the forest that is fitted when `forest` is None.
    bands : tuple of three numbers, default=(100, 1_000, 10_000)
        Limits of the bands "minor", "major" and "critical": a finding is "minor" if at most one in 100 rows of the
        reference scores as high.
    explain : bool, default=True
        Whether findings carry the share of each feature in what makes them anomalous. Explaining takes some 20
        microseconds per finding and core.
    train_on_this : bool, default=False
        Whether to fit a forest on a table with fewer rows than a tree draws, with a warning, or with a single day. Such
        a table is refused by default, since almost any of its rows would be an anomaly.
    """

    forest: IsolationForest | None = None
    threshold: float | None = None
    contamination: float | None = None
    alerts_per_month: float | None = None
    anomaly_threshold: float | None = None
    calibration_contamination: float = 0.1
    random_state: int | None = 0
    bands: tuple[float, float, float] = (100, 1_000, 10_000)
    explain: bool = True
    train_on_this: bool = False
