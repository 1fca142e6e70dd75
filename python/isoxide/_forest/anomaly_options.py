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
        A fitted forest is not grown again: a copy of it is used, whose offset `threshold`, `contamination` or
        `alerts_per_month` move; without any of these its own offset decides. The parameters of an unfitted forest are
        used. By default a forest is fitted on the table, with a warning if the table has fewer rows than a tree draws.
    threshold : float, optional
        Rows whose score is at or below this are anomalies. The scores are those of `isoxide.ueba.calibrate` with the
        same `calibration_contamination`.
    contamination : float, optional
        Share of the rows that are anomalies, in (0, 0.5]. Without `threshold`, `contamination`, `alerts_per_month` and
        `forest` it is ``"auto"``: anomalies are the rows whose score in the paper's terms is above 0.5.
    alerts_per_month : float, optional
        Number of anomalies per month of 30.4 days, on average. Only one of `threshold`, `contamination` and
        `alerts_per_month` may be given.
    calibration_contamination : float, default=0.1
        Contamination whose offset is the zero of the scores that `threshold` refers to, in (0, 0.5].
    random_state : int or None, default=0
        Seed of the forest that is fitted when `forest` is None.
    """

    forest: IsolationForest | None = None
    threshold: float | None = None
    contamination: float | None = None
    alerts_per_month: float | None = None
    calibration_contamination: float = 0.1
    random_state: int | None = 0
