"""Calibration: fit a forest, score all rows, and count the anomalies at each threshold."""

from __future__ import annotations

import copy
import numbers
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isoxide._common import html
from isoxide._common.format import format_value
from isoxide._common.warn import warn_caller
from isoxide._forest.estimator import IsolationForest
from isoxide.ueba._table import FeatureTable

if TYPE_CHECKING:
    from isoxide.displays import ThresholdDisplay

__all__ = ["Calibration", "calibrate"]

#: Number of days in an average month, which alerts per month refer to.
DAYS_PER_MONTH = 365.25 / 12
#: Arguments that messages name only if they were given.
_RARELY = ("anomaly_threshold", "top")
#: Numbers of alerts per month that `Calibration.amounts` shows.
AMOUNTS = (5, 10, 25, 50)
#: Largest number of rows that a tree draws with ``max_samples="auto"``.
_MAX_AUTO_SAMPLES = 256


@dataclass(frozen=True)
class Calibration:
    """Forest and the scores of all rows of a table.

    `calibrate` returns instances. Scores are the values of `IsolationForest.decision_function`: the lower, the more
    abnormal. A fraction `calibration_contamination` of the rows score below 0.

    Attributes
    ----------
    table : FeatureTable
        Table whose rows are scored.
    forest : IsolationForest
        Forest that scores them, with ``contamination=calibration_contamination``.
    scores : ndarray of shape (n_rows,)
        Score of each row.
    calibration_contamination : float
        Fraction of the rows that score below 0.
    threshold : float or None
        Rows that score at or below it are anomalies. None if `calibrate` was not given a number of anomalies.
    contamination : float or None
        Fraction of the rows that are anomalies. None if `calibrate` was not given a number of anomalies.
    anomaly_scores : ndarray of shape (n_rows,)
        Anomaly score of each row, from 0 to 1: the higher, the more abnormal. An average row has 0.5.

    See Also
    --------
    calibrate : Fit a forest on a table and score all of its rows.
    """

    table: FeatureTable = field(repr=False)
    forest: IsolationForest
    scores: NDArray[np.float64] = field(repr=False)
    calibration_contamination: float
    threshold: float | None = None
    contamination: float | None = None
    anomaly_scores: NDArray[np.float64] = field(repr=False, kw_only=True)

    def _repr_html_(self) -> str:
        """Return the threshold and the rows of several numbers of alerts per month, for notebooks."""
        n, n_days = len(self.scores), self.table.profile.n_period_days
        names = ("alerts_per_month", "threshold", "rows", "share", "note")
        amounts = self.amounts()
        lines = list(zip(*(amounts[name].tolist() for name in names), strict=True))
        chosen = ""
        if self.threshold is not None and self.anomaly_threshold is not None:
            chosen = (
                f"Chosen: {int(np.count_nonzero(self.scores <= self.threshold)):,} rows, whose score is at most "
                f"{format_value(self.threshold)} (anomaly score above {format_value(self.anomaly_threshold)})."
            )
        return html.block(
            html.heading("Calibration", f"{n:,} rows on {n_days:,} day{'s' * (n_days != 1)}, {self.forest!r}"),
            html.note(
                "Threshold: the anomaly score from 0 to 1 that the rows are above; 0.5 is an average row. Months have "
                "30.4 days."
            ),
            html.table(
                [
                    html.Number("alerts per month"),
                    html.Number("threshold"),
                    html.Number("rows"),
                    html.Number("share of all rows"),
                ],
                [
                    [f"{per_month:g}", f"{high:.4f}", f"{rows:,}", f"{share:.2%}"]
                    for per_month, high, rows, share, _ in lines
                ],
            ),
            html.items([f"{per_month:g} per month: {warning}" for per_month, *_, warning in lines if warning]),
            html.note(chosen),
            html.note("amounts() shows other numbers, and plot() draws the scores."),
        )

    @property
    def anomaly_threshold(self) -> float | None:
        """Return the anomaly score that a fraction `contamination` of the rows are above; None if it is not known."""
        if self.contamination is None:
            return None
        return -float(np.percentile(-self.anomaly_scores, 100.0 * self.contamination))

    def contamination_at(self, threshold: float) -> float:
        """Return the fraction of all rows that score at or below a threshold.

        Parameters
        ----------
        threshold : float
            Threshold on the scale of `scores`.

        Returns
        -------
        float
            Fraction of the rows, from 0 to 1.
        """
        return float(np.mean(self.scores <= threshold))

    def threshold_at(self, contamination: float) -> float:
        """Return the threshold at or below which a given fraction of the rows score.

        Parameters
        ----------
        contamination : float
            Fraction of the rows, from 0 to 1.

        Returns
        -------
        float
            Threshold on the scale of `scores`.
        """
        return float(np.percentile(self.scores, 100.0 * contamination))

    def contamination_for(self, alerts_per_month: float) -> float:
        """Return the fraction of the rows that corresponds to a given number of anomalies per month.

        Parameters
        ----------
        alerts_per_month : float
            Number of anomalies per month of 30.4 days, on average.

        Returns
        -------
        float
            Fraction of the rows, above 0 and at most 0.5.

        Raises
        ------
        ValueError
            If `alerts_per_month` is not above 0, or corresponds to more than half of the rows.
        """
        n_days = self.table.profile.n_period_days
        return share_of_alerts(alerts_per_month, len(self.table), n_days)

    def at_threshold(self) -> IsolationForest:
        """Return the forest with an offset that moves the threshold to score 0.

        Returns
        -------
        IsolationForest
            Copy of the forest that shares its trees. Rows that score above the threshold get scores of 0 or more.

        Raises
        ------
        ValueError
            If this calibration has no threshold.
        """
        if self.threshold is None:
            raise ValueError("this calibration has no threshold: give calibrate a threshold or a number of anomalies")
        forest = copy.copy(self.forest)
        above = self.scores[self.scores > self.threshold]
        # Rounding must not move a row above the threshold to or below it.
        shift = self.threshold if not above.size else min(self.threshold, float(above.min()))
        forest.offset_ = np.float64(forest.offset_ + shift)
        return forest

    def thresholds(self, thresholds: Iterable[float] | None = None) -> pd.DataFrame:
        """Return the number of rows that score at or below each threshold.

        Parameters
        ----------
        thresholds : list of float, optional
            Thresholds on the scale of `scores`. By default these are steps of 0.01 from the lowest score to the 1 %
            quantile of the scores, and the threshold of this calibration.

        Returns
        -------
        DataFrame
            One row per threshold, in ascending order: ``threshold``; ``rows`` (number of rows that score at or below
            it); ``share`` (fraction of all rows, from 0 to 1); and ``per_month`` (average number per month of 30.4
            days).
        """
        if thresholds is None:
            lowest, highest = self.scores.min(), np.quantile(self.scores, 0.01)
            steps = np.round(np.arange(np.floor(lowest * 100) / 100 + 0.01, highest + 0.01, 0.01), 2)
            thresholds = sorted({*steps.tolist(), *([self.threshold] if self.threshold is not None else [])})
        ascending = np.sort(np.asarray(list(thresholds), dtype=np.float64))
        rows = np.searchsorted(np.sort(self.scores), ascending, side="right")
        n_days = self.table.profile.n_period_days
        per_month = rows / n_days * DAYS_PER_MONTH
        return pd.DataFrame(
            {"threshold": ascending, "rows": rows, "share": rows / len(self.scores), "per_month": per_month}
        )

    def anomaly_thresholds(self, thresholds: Iterable[float] | None = None) -> pd.DataFrame:
        """Return the number of rows whose anomaly score is above each threshold.

        Parameters
        ----------
        thresholds : list of float, optional
            Anomaly scores, from 0 to 1. By default these are steps of 0.01 from the 99 % quantile of the anomaly scores
            to the highest one, and `anomaly_threshold`.

        Returns
        -------
        DataFrame
            One row per threshold, in descending order: ``threshold``; ``rows`` (number of rows above it); ``share``
            (fraction of all rows, from 0 to 1); and ``per_month`` (average number per month of 30.4 days).
        """
        scores = np.sort(self.anomaly_scores)
        if thresholds is None:
            first, last = np.floor(np.quantile(scores, 0.99) * 100), np.floor(scores[-1] * 100)
            own = self.anomaly_threshold
            thresholds = sorted({*(np.arange(first, last + 1) / 100).tolist(), *([] if own is None else [own])})
        wanted = np.sort(np.asarray(list(thresholds), dtype=np.float64))[::-1]
        rows = len(scores) - np.searchsorted(scores, wanted, side="right")
        per_month = rows / self.table.profile.n_period_days * DAYS_PER_MONTH
        return pd.DataFrame({"threshold": wanted, "rows": rows, "share": rows / len(scores), "per_month": per_month})

    def amounts(self, alerts_per_month: Iterable[float] = AMOUNTS) -> pd.DataFrame:
        """Return the threshold and the rows of several numbers of alerts per month.

        Parameters
        ----------
        alerts_per_month : list of float, default=(5, 10, 25, 50)
            Numbers of alerts per month of 30.4 days, each above 0.

        Returns
        -------
        DataFrame
            One row per number, in the given order: ``alerts_per_month``; ``threshold`` (anomaly score from 0 to 1 that
            `detect` with this number uses); ``rows`` (number of rows above it); ``per_month`` (their average number per
            month); ``share`` (fraction of all rows); ``not_unusual`` (number of these rows whose anomaly score is not
            above 0.5, so that they are no more unusual than an average row); and ``note`` (a warning, or empty).

        Raises
        ------
        ValueError
            If a number is not above 0.

        Examples
        --------
        >>> from isoxide import ueba
        >>> from isoxide.datasets import load_enron
        >>> table = ueba.read_table(load_enron(), entity="actor", time="day")
        >>> ueba.calibrate(table).amounts([2, 100])[["alerts_per_month", "rows", "not_unusual"]]
           alerts_per_month  rows  not_unusual
        0               2.0    64            0
        1             100.0  3167         2304
        """
        wanted = [float(number) for number in alerts_per_month]
        n, n_days = len(self.anomaly_scores), self.table.profile.n_period_days
        is_unusual = self.anomaly_scores > 0.5
        lines = []
        for number in wanted:
            if not 0 < number < np.inf:
                raise ValueError(f"alerts_per_month={number!r} must be above 0")
            share = number * n_days / DAYS_PER_MONTH / n
            threshold = -float(np.percentile(-self.anomaly_scores, 100.0 * min(share, 1.0)))
            is_above = self.anomaly_scores > threshold
            rows, not_unusual = int(is_above.sum()), int((is_above & ~is_unusual).sum())
            note = f"{not_unusual:,} of the {rows:,} rows are not unusual (anomaly score not above 0.5)"
            if share > 0.5:
                note = f"more than half of the {n:,} rows, which detect refuses"
            elif not not_unusual:
                note = ""
            lines.append((number, threshold, rows, rows / n_days * DAYS_PER_MONTH, rows / n, not_unusual, note))
        names = ["alerts_per_month", "threshold", "rows", "per_month", "share", "not_unusual", "note"]
        return pd.DataFrame(lines, columns=pd.Index(names))

    def by_day(self) -> pd.DataFrame:
        """Summarise the scores of each day.

        Returns
        -------
        DataFrame
            One row per day: ``day``; ``rows`` (number of rows); ``lowest``, ``p01`` and ``median`` (lowest score, 1 %
            quantile and median of the scores); ``anomalies`` (number of anomalies); and ``share`` (anomalies divided by
            rows).
        """
        return self._by(self.table.days, "day")

    def by_period(self, freq: str = "M") -> pd.DataFrame:
        """Summarise the scores of each month or other period.

        All periods are scored by the same forest, so they can be compared.

        Parameters
        ----------
        freq : str, default="M"
            Length of a period as a pandas alias, such as ``"M"`` for months or ``"W"`` for weeks.

        Returns
        -------
        DataFrame
            One row per period: ``period``; ``rows`` (number of rows); ``lowest``, ``p01`` and ``median`` (lowest score,
            1 % quantile and median of the scores); ``anomalies`` (number of anomalies); and ``share`` (anomalies
            divided by rows).
        """
        days = self.table.days
        naive = days.dt.tz_localize(None) if days.dt.tz is not None else days
        return self._by(naive.dt.to_period(freq).astype(str), "period")

    def _by(self, keys: pd.Series, name: str) -> pd.DataFrame:
        scores = pd.DataFrame({name: keys.to_numpy(), "score": self.scores})
        scores["is_anomaly"] = False if self.threshold is None else self.scores <= self.threshold
        groups = scores.groupby(name)
        table = pd.DataFrame(
            {
                "rows": groups.size(),
                "lowest": groups["score"].min(),
                "p01": groups["score"].quantile(0.01),
                "median": groups["score"].median(),
                "anomalies": groups["is_anomaly"].sum(),
            }
        )
        table["share"] = table["anomalies"] / table["rows"]
        return table.reset_index()

    def plot(self, ax: Any = None) -> ThresholdDisplay:
        """Draw the score of every row by day, with the threshold and the area of anomalies below it.

        This needs Matplotlib.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on. By default a new figure is created.

        Returns
        -------
        ThresholdDisplay
            Display that has been drawn.
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
    """Fit a forest on a table and score all of its rows.

    Parameters
    ----------
    table : FeatureTable
        Table to score, from `read_table`.
    forest : IsolationForest, optional
        Forest whose parameters are used. A fitted forest is not fitted again. The forest itself is never changed. By
        default it is ``IsolationForest(random_state=random_state)``.
    threshold : float, optional
        Rows that score at or below it are anomalies. If there is no such row, the contamination is 0.
    contamination : float, optional
        Fraction of the rows that are anomalies, above 0 and at most 0.5.
    alerts_per_month : float, optional
        Number of anomalies per month of 30.4 days, on average. Give at most one of `threshold`, `contamination` and
        `alerts_per_month`; without any of them, no row counts as an anomaly.
    calibration_contamination : float, default=0.1
        Fraction of the rows that score below 0, above 0 and at most 0.5. It only fixes the scale of the scores.
    random_state : int or None, default=0
        Seed of the forest that is fitted when `forest` is None.
    n_jobs : int, optional
        Number of threads. None means all cores.

    Returns
    -------
    Calibration
        Forest and scores, with the threshold and the contamination if a number of anomalies was given.

    Raises
    ------
    ValueError
        If more than half of the rows score at or below the threshold, a feature has infinite values, or an argument is
        out of range.
    TypeError
        If one of `threshold`, `contamination` and `alerts_per_month` is not a number.

    Warns
    -----
    UserWarning
        If no fitted forest is given and the table has fewer rows than a tree draws.

    Examples
    --------
    >>> from isoxide import ueba
    >>> from isoxide.datasets import load_enron
    >>> table = ueba.read_table(load_enron(), entity="actor", time="day")
    >>> study = ueba.calibrate(table, alerts_per_month=2)
    >>> int((study.scores <= study.threshold).sum())
    64
    """
    check_amount(threshold, contamination, alerts_per_month)
    forest = fitted(table, forest, contamination=calibration_contamination, random_state=random_state, n_jobs=n_jobs)
    samples = forest.score_samples(table.X)
    # The scores are the values of `decision_function`.
    study = Calibration(table, forest, samples - forest.offset_, calibration_contamination, anomaly_scores=-samples)
    if alerts_per_month is not None:
        contamination = study.contamination_for(alerts_per_month)
    if threshold is not None:
        contamination = study.contamination_at(threshold)
        check_share(contamination, threshold)
    elif contamination is not None:
        threshold = study.threshold_at(contamination)
    return replace(study, threshold=threshold, contamination=contamination)


def share_of_alerts(alerts_per_month: float, n_rows: int, n_days: int) -> float:
    """Return the contamination that corresponds to a given number of anomalies per month.

    Raises
    ------
    ValueError
        If `alerts_per_month` is not above 0, or corresponds to more than half of the rows.
    """
    if not alerts_per_month > 0:
        raise ValueError(f"alerts_per_month={alerts_per_month!r} must be above 0")
    # Without the conversion, a NumPy float32 would round the result.
    contamination = float(alerts_per_month) * n_days / DAYS_PER_MONTH / n_rows
    if contamination > 0.5:
        per_month = n_rows / n_days * DAYS_PER_MONTH
        raise ValueError(
            f"alerts_per_month={alerts_per_month:g} is more than half of the {per_month:,.0f} rows per month; at most "
            "half of the rows can be anomalies"
        )
    return contamination


def share_of_top(top: int, n_rows: int) -> float:
    """Return the contamination at which the given number of rows with the highest scores are anomalies.

    The percentile of the scores at this contamination is half way between the lowest score of these rows and the next
    lower one, so that rounding cannot change the number of rows.

    Raises
    ------
    ValueError
        If `top` is more than half of the rows.
    """
    if n_rows < 2 or (top - 0.5) / (n_rows - 1) > 0.5:
        raise ValueError(
            f"top={top} is more than half of the {n_rows:,} rows; at most half of the rows can be anomalies"
        )
    return (float(top) - 0.5) / (n_rows - 1)


def check_amount(
    threshold: float | None,
    contamination: float | None,
    alerts_per_month: float | None,
    anomaly_threshold: float | None = None,
    top: int | None = None,
) -> None:
    """Check the arguments that choose the number of anomalies.

    Raises
    ------
    TypeError
        If one of them is not a number.
    ValueError
        If several are given, or one is out of range.
    """
    amounts = {
        "threshold": threshold,
        "anomaly_threshold": anomaly_threshold,
        "contamination": contamination,
        "alerts_per_month": alerts_per_month,
        "top": top,
    }
    given = [name for name, value in amounts.items() if value is not None]
    if len(given) > 1:
        others = [name for name in amounts if name != "alerts_per_month" and (name in given or name not in _RARELY)]
        raise ValueError(f"give only one of {', '.join(others)} and alerts_per_month, not {' and '.join(given)}")
    for name in given:
        value = amounts[name]
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise TypeError(f"{name} must be a number, not {value!r}")
    if top is not None and not isinstance(top, numbers.Integral):
        raise TypeError(f"top must be an integer, not {top!r}")
    if top is not None and top < 1:
        raise ValueError(f"top={top!r} must be at least 1")
    if contamination is not None and not 0 < contamination <= 0.5:
        raise ValueError(f"contamination={contamination!r} must be in (0, 0.5]")
    if threshold is not None and not np.isfinite(threshold):
        raise ValueError(f"threshold={threshold!r} must be a finite score")
    if anomaly_threshold is not None and not 0 < anomaly_threshold < 1:
        raise ValueError(f"anomaly_threshold={anomaly_threshold!r} must be an anomaly score between 0 and 1")


def check_share(share: float, threshold: float) -> None:
    """Refuse a threshold at or below which more than half of the rows score.

    Raises
    ------
    ValueError
        If `share` is above 0.5.
    """
    if share > 0.5:
        raise ValueError(f"{share:.0%} of the rows score at or below {threshold:g}; at most half can be anomalies")


def check_share_above(share: float, threshold: float) -> None:
    """Refuse a threshold that more than half of the anomaly scores are above.

    Raises
    ------
    ValueError
        If `share` is above 0.5.
    """
    if share > 0.5:
        raise ValueError(f"{share:.0%} of the rows score above {threshold:g}; at most half can be anomalies")


def small_table_notes(n_rows: int, forest: IsolationForest | None) -> list[str]:
    """Return a note if a table has fewer rows than a tree of the forest draws.

    Parameters
    ----------
    n_rows : int
        Number of rows of the table.
    forest : IsolationForest, optional
        Forest that the user gave. If it is fitted already, no note is needed.

    Returns
    -------
    list of str
        One note or none.
    """
    if forest is not None and hasattr(forest, "offset_"):
        return []
    n_drawn = _n_drawn(forest)
    if n_drawn is None or n_rows >= n_drawn:
        return []
    return [
        f"the forest is fitted on a table of {n_rows:,} rows, fewer than the {n_drawn:,} rows that a tree draws, so "
        "every tree has seen every row; fit a forest on more rows, and pass it as forest"
    ]


def check_training(n_rows: int, n_days: int, forest: IsolationForest | None, *, train_on_this: bool) -> None:
    """Refuse to train on a table with fewer rows than a tree draws, or with a single day.

    Parameters
    ----------
    n_rows, n_days : int
        Numbers of rows and days of the table.
    forest : IsolationForest, optional
        Forest that the user gave. If it is fitted already, nothing is trained.
    train_on_this : bool
        Whether the user wants to train on the table nevertheless.

    Raises
    ------
    ValueError
        If the table is too small, and `train_on_this` is False.
    """
    if train_on_this or (forest is not None and hasattr(forest, "offset_")):
        return
    n_drawn = _n_drawn(forest)
    reasons = []
    if n_drawn is not None and n_rows < n_drawn:
        reasons.append(f"it has {n_rows:,} rows, fewer than the {n_drawn:,} rows that a tree draws")
    if n_days < 2:
        reasons.append("all of its rows belong to one day")
    if reasons:
        raise ValueError(
            f"the table is too small to train on: {' and '.join(reasons)}, so almost any row could be a finding; use "
            "more rows or a model that was trained on more, or give train_on_this=True"
        )


def _n_drawn(forest: IsolationForest | None) -> int | None:
    """Return the number of rows that a tree draws if there are enough; None if it is a fraction of the rows."""
    max_samples = "auto" if forest is None else forest.max_samples
    n_drawn = _MAX_AUTO_SAMPLES if isinstance(max_samples, str) else max_samples
    return None if isinstance(n_drawn, float) else int(n_drawn)


def refuse_infinite(infinite: list[str]) -> None:
    """Refuse features with infinite values; the message names the first one.

    Raises
    ------
    ValueError
        If `infinite` is not empty.
    """
    if infinite:
        raise ValueError(
            f"feature {infinite[0]!r} has infinite values, so its typical values and percentiles are not defined; "
            "replace them, or leave out the feature with exclude"
        )


def fitted(
    table: FeatureTable,
    forest: IsolationForest | None,
    *,
    contamination: float | None,
    random_state: int | None = 0,
    n_jobs: int | None = None,
) -> IsolationForest:
    """Fit a forest on a table, or copy a fitted one, and set its offset for a contamination.

    Parameters
    ----------
    table : FeatureTable
        Table to fit on, or to calibrate a fitted forest with.
    forest : IsolationForest or None
        Forest that the user gave; it is not changed. None creates one.
    contamination : float or None
        Fraction of the rows that score below 0. None keeps the offset of a fitted forest, or the contamination of an
        unfitted one.
    random_state : int or None, default=0
        Seed of the forest that is created when `forest` is None.
    n_jobs : int, optional
        Number of threads. None means all cores.

    Raises
    ------
    ValueError
        If a feature has infinite values.
    """
    refuse_infinite(table.profile.infinite)
    for note in small_table_notes(len(table), forest):
        warn_caller(note)
    if forest is None:
        forest = IsolationForest(random_state=random_state, n_jobs=n_jobs)
    is_fitted = hasattr(forest, "offset_")
    # The copy shares the trees; only its offset differs.
    forest = copy.copy(forest)
    if is_fitted:
        return forest if contamination is None else forest.recalibrate(table.X, contamination=contamination)
    if contamination is not None:
        forest.set_params(contamination=contamination)
    forest.fit(table.X)
    return forest
