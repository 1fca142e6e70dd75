"""Calibration: one forest, its scores, and how many rows each threshold makes anomalies."""

from __future__ import annotations

import copy
import numbers
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isoxide._forest.estimator import IsolationForest
from isoxide.ueba._table import FeatureTable

if TYPE_CHECKING:
    from isoxide.displays import ThresholdDisplay

__all__ = ["Calibration", "calibrate"]

#: Days of a month on average, for "25 a month".
DAYS_PER_MONTH = 365.25 / 12
#: Rows that a tree draws with ``max_samples="auto"``, if there are as many.
_AUTO_SAMPLES = 256


@dataclass(frozen=True)
class Calibration:
    """A forest and the scores of its table: what `calibrate` returns.

    Scores are those of `IsolationForest.decision_function` with the offset of the `calibration_contamination`: the
    lower, the more abnormal; 0 is where the `calibration_contamination` share of the rows lies below.

    Attributes
    ----------
    table : FeatureTable
        The rows scored.
    forest : IsolationForest
        Fitted on them, with ``contamination=calibration_contamination``.
    scores : ndarray of shape (n_rows,)
        One per row.
    calibration_contamination : float
        The contamination that scores are counted from.
    threshold : float or None
        Rows at or below it are anomalies; None if none was asked for.
    contamination : float or None
        Their share.

    See Also
    --------
    calibrate : Makes one.
    """

    table: FeatureTable = field(repr=False)
    forest: IsolationForest
    scores: NDArray[np.float64] = field(repr=False)
    calibration_contamination: float
    threshold: float | None = None
    contamination: float | None = None

    def contamination_at(self, threshold: float) -> float:
        """Share of all rows at or below a threshold.

        Parameters
        ----------
        threshold : float
            A score.

        Returns
        -------
        float
            From 0 to 1.
        """
        return float(np.mean(self.scores <= threshold))

    def threshold_at(self, contamination: float) -> float:
        """The score that a share of the rows is at or below.

        Parameters
        ----------
        contamination : float
            The share, from 0 to 1.

        Returns
        -------
        float
            A score.
        """
        return float(np.percentile(self.scores, 100.0 * contamination))

    def contamination_for(self, alerts_per_month: float) -> float:
        """Share of the rows that makes so many anomalies a month of 30.4 days, on average.

        Parameters
        ----------
        alerts_per_month : float
            Anomalies a month.

        Returns
        -------
        float
            In (0, 0.5].

        Raises
        ------
        ValueError
            If the alerts_per_month is not positive, or more than half of the rows.
        """
        n_days = self.table.profile.n_period_days
        return share_of_alerts(alerts_per_month, len(self.table), n_days)

    def at_threshold(self) -> IsolationForest:
        """Return the forest with its offset moved so that the threshold is 0.

        Returns
        -------
        IsolationForest
            A copy that shares the trees. Rows that score above the threshold have decision scores of 0 or more.
        """
        if self.threshold is None:
            raise ValueError("this calibration has no threshold; give one to calibrate")
        forest = copy.copy(self.forest)
        above = self.scores[self.scores > self.threshold]
        # Rounding must not put a row at or below the threshold that is above it.
        shift = self.threshold if not above.size else min(self.threshold, float(above.min()))
        forest.offset_ = np.float64(forest.offset_ + shift)
        return forest

    def thresholds(self, thresholds: Iterable[float] | None = None) -> pd.DataFrame:
        """How many rows are at or below each threshold.

        Parameters
        ----------
        thresholds : list of float, optional
            By default steps of 0.01 from the lowest score up to the 0.01 quantile, and that of this calibration.

        Returns
        -------
        DataFrame
            ``threshold``, ``rows``, ``share`` (from 0 to 1) and ``per_month``, ascending.
        """
        if thresholds is None:
            lowest, highest = self.scores.min(), np.quantile(self.scores, 0.01)
            steps = np.round(np.arange(np.floor(lowest * 100) / 100 + 0.01, highest + 0.01, 0.01), 2)
            thresholds = sorted({*steps.tolist(), *([self.threshold] if self.threshold is not None else [])})
        wanted = np.sort(np.asarray(list(thresholds), dtype=np.float64))
        rows = np.searchsorted(np.sort(self.scores), wanted, side="right")
        n_days = self.table.profile.n_period_days
        per_month = rows / n_days * DAYS_PER_MONTH
        return pd.DataFrame(
            {"threshold": wanted, "rows": rows, "share": rows / len(self.scores), "per_month": per_month}
        )

    def by_day(self) -> pd.DataFrame:
        """How the scores of each day are.

        Returns
        -------
        DataFrame
            ``day``, ``rows``, ``lowest``, ``p01``, ``median``, ``anomalies`` and ``share`` of the rows.
        """
        return self._by(self.table.days, "day")

    def by_period(self, freq: str = "M") -> pd.DataFrame:
        """The same per month, on the scale of the one forest, so that months can be compared.

        Parameters
        ----------
        freq : str, default="M"
            A period of pandas: "M" for months, "W" for weeks.

        Returns
        -------
        DataFrame
            ``period``, ``rows``, ``lowest``, ``p01``, ``median``, ``anomalies`` and ``share`` of the rows.
        """
        days = self.table.days
        naive = days.dt.tz_localize(None) if days.dt.tz is not None else days
        return self._by(naive.dt.to_period(freq).astype(str), "period")

    def _by(self, keys: pd.Series, name: str) -> pd.DataFrame:
        scores = pd.DataFrame({name: keys.to_numpy(), "score": self.scores})
        scores["hit"] = False if self.threshold is None else self.scores <= self.threshold
        groups = scores.groupby(name)
        table = pd.DataFrame(
            {
                "rows": groups.size(),
                "lowest": groups["score"].min(),
                "p01": groups["score"].quantile(0.01),
                "median": groups["score"].median(),
                "anomalies": groups["hit"].sum(),
            }
        )
        table["share"] = table["anomalies"] / table["rows"]
        return table.reset_index()

    def plot(self, ax: Any = None) -> ThresholdDisplay:
        """Draw the scores by day, with the threshold and the area below it.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default a figure of its own.

        Returns
        -------
        ThresholdDisplay
            What was drawn.
        """
        from isoxide.displays import ThresholdDisplay

        return ThresholdDisplay(scores=self.scores, by=self.table.days, threshold=self.threshold).plot(ax=ax)


def calibrate(
    table: FeatureTable,
    *,
    forest: IsolationForest | None = None,
    threshold: float | None = None,
    contamination: float | None = None,
    alerts_per_month: float | None = None,
    calibration_contamination: float = 0.1,
    random_state: int | None = 0,
    n_jobs: int | None = None,
) -> Calibration:
    """Fit one forest on a table and score all of its rows.

    Parameters
    ----------
    table : FeatureTable
        The rows to score, from `read_table`.
    forest : IsolationForest, optional
        Its parameters are used; if it is fitted, it is not grown again. By default
        ``IsolationForest(random_state=random_state)``. It is not changed.
    threshold : float, optional
        Rows whose score is at or below it are anomalies. There may be none: the contamination is 0 then.
    contamination : float, optional
        Share of the rows that are anomalies, in (0, 0.5].
    alerts_per_month : float, optional
        Number of anomalies a month of 30.4 days, on average. At most one of these three may be given.
    calibration_contamination : float, default=0.1
        The contamination that scores are counted from: the notebook's 10 %.
    random_state : int or None, default=0
        Seed of the forest that is fitted when `forest` is None.
    n_jobs : int, optional
        Number of threads; None means all cores.

    Returns
    -------
    Calibration
        Forest, scores, threshold and contamination.

    Raises
    ------
    ValueError
        If more than half of the rows score at or below the threshold, a feature has infinite values, or an argument is
        out of range.

    Warns
    -----
    UserWarning
        If no fitted forest is given and the table has fewer rows than a tree draws.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from isoxide import ueba
    >>> rng = np.random.default_rng(0)
    >>> frame = pd.DataFrame({"actor": "a", "day": pd.date_range("2025-01-01", periods=300), "x": rng.normal(size=300)})
    >>> study = ueba.calibrate(ueba.read_table(frame, entity="actor", time="day"), contamination=0.02)
    >>> int((study.scores <= study.threshold).sum())
    6
    """
    check_amount(threshold, contamination, alerts_per_month)
    forest = fitted(table, forest, contamination=calibration_contamination, random_state=random_state, n_jobs=n_jobs)
    study = Calibration(table, forest, forest.decision_function(table.X), calibration_contamination)
    if alerts_per_month is not None:
        contamination = study.contamination_for(alerts_per_month)
    if threshold is not None:
        contamination = study.contamination_at(threshold)
        check_share(contamination, threshold)
    elif contamination is not None:
        threshold = study.threshold_at(contamination)
    return Calibration(table, forest, study.scores, calibration_contamination, threshold, contamination)


def share_of_alerts(alerts_per_month: float, n_rows: int, n_days: int) -> float:
    """The contamination that makes so many anomalies a month.

    Raises
    ------
    ValueError
        If the alerts_per_month is not positive, or more than half of the rows.
    """
    if not alerts_per_month > 0:
        raise ValueError(f"alerts_per_month={alerts_per_month!r} must be above 0 anomalies a month")
    # A float32 of NumPy would round the share.
    contamination = float(alerts_per_month) * n_days / DAYS_PER_MONTH / n_rows
    if contamination > 0.5:
        per_month = n_rows / n_days * DAYS_PER_MONTH
        raise ValueError(
            f"alerts_per_month={alerts_per_month:g} a month is more than half of the {per_month:,.0f} rows a month"
        )
    return contamination


def check_amount(threshold: float | None, contamination: float | None, alerts_per_month: float | None) -> None:
    """Refuses more than one way to say how many anomalies there are, and shares out of range."""
    given = {"threshold": threshold, "contamination": contamination, "alerts_per_month": alerts_per_month}
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise ValueError(f"give one of threshold, contamination and alerts_per_month, not {' and '.join(named)}")
    for name in named:
        value = given[name]
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise TypeError(f"{name} must be a number, not {value!r}")
    if contamination is not None and not 0 < contamination <= 0.5:
        raise ValueError(f"contamination={contamination!r} must be in (0, 0.5]")
    if threshold is not None and not np.isfinite(threshold):
        raise ValueError(f"threshold={threshold!r} must be a finite score")


def check_share(share: float, threshold: float) -> None:
    """Refuse a threshold that more than half of the rows are at or below.

    Raises
    ------
    ValueError
        It says how many are.
    """
    if share > 0.5:
        raise ValueError(f"{share:.0%} of the rows score at or below {threshold:g}; at most half can be anomalies")


def small_table_notes(n_rows: int, forest: IsolationForest | None) -> list[str]:
    """Return what is to be told of a table that a forest is going to be fitted on: a sentence, or none.

    Parameters
    ----------
    n_rows : int
        Rows of the table.
    forest : IsolationForest, optional
        The forest that was given. If it is fitted, there is nothing to tell.

    Returns
    -------
    list of str
        One sentence if the table has fewer rows than a tree draws, since then every tree has seen every row.
    """
    if forest is not None and hasattr(forest, "offset_"):
        return []
    max_samples = "auto" if forest is None else forest.max_samples
    n_drawn = _AUTO_SAMPLES if isinstance(max_samples, str) else max_samples
    # A share of the rows is never more than there are.
    if isinstance(n_drawn, float) or n_rows >= n_drawn:
        return []
    return [
        f"the table of {n_rows:,} rows is its own training data: these are fewer than the {n_drawn:,} rows a tree "
        "draws, so that every tree has seen every row; fit a forest on more rows, and give it as forest"
    ]


def refuse_infinite(infinite: list[str]) -> None:
    """Refuse features with infinite values.

    Raises
    ------
    ValueError
        It names the first one.
    """
    if infinite:
        raise ValueError(
            f"feature {infinite[0]!r} has infinite values: its typical values and percentiles are not defined; "
            "replace them, or leave the feature out (exclude)"
        )


def fitted(
    table: FeatureTable,
    forest: IsolationForest | None,
    *,
    contamination: float | None,
    random_state: int | None = 0,
    n_jobs: int | None = None,
) -> IsolationForest:
    """A forest fitted on a table, with the offset of a contamination, or its own; the given one is left as it is."""
    refuse_infinite(table.profile.infinite)
    for note in small_table_notes(len(table), forest):
        warnings.warn(note, stacklevel=3)
    if forest is None:
        forest = IsolationForest(random_state=random_state, n_jobs=n_jobs)
    is_fitted = hasattr(forest, "offset_")
    # The trees are shared; only the offset moves.
    forest = copy.copy(forest)
    if is_fitted:
        return forest if contamination is None else forest.recalibrate(table.X, contamination=contamination)
    if contamination is not None:
        forest.set_params(contamination=contamination)
    forest.fit(table.X)
    return forest
