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
        parameters of the forest that is fitted on the table. By default, a new forest is fitted on the table, with a
        warning if the table has fewer rows than a tree draws.
    threshold : float, optional
        Rows whose score is at or below it are anomalies. `isoxide.ueba.calibrate` with the same
        `calibration_contamination` shows these scores.
    contamination : float, optional
        Fraction of the rows that are anomalies, in (0, 0.5]. If `threshold`, `contamination`, `alerts_per_month` and
        `forest` are all None, anomalies are the rows whose anomaly score as in the isolation forest paper is above 0.5
        (``"auto"``).
    alerts_per_month : float, optional
        Number of anomalies per month of 30.4 days, on average. Only one of `threshold`, `contamination` and
        `alerts_per_month` may be given.
    calibration_contamination : float, default=0.1
        Fraction of the rows that score below 0 on the scale of `threshold`, in (0, 0.5].
    random_state : int or None, default=0
        Seed of the forest that is fitted when `forest` is None.
    """

    forest: IsolationForest | None = None
    threshold: float | None = None
    contamination: float | None = None
    alerts_per_month: float | None = None
    calibration_contamination: float = 0.1
    random_state: int | None = 0
