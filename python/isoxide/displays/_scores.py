"""Displays of scores: all rows with a threshold, and the lowest score of each day."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoxide._forest.estimator import IsolationForest
from isoxide.displays._display import Display, FindingsLike

__all__ = ["ScoreTimelineDisplay", "ThresholdDisplay"]

#: If a scatter plot has more points, it is an image inside vector graphics, which would otherwise be slow to open.
MAX_VECTOR_POINTS = 5000


class ThresholdDisplay(Display):
    """Scatter plot of the score of every row by day, with the threshold and the area of anomalies below it.

    Parameters
    ----------
    scores : array-like of shape (n_samples,)
        Score of each row, as `IsolationForest.decision_function` returns it: the lower, the more abnormal.
    by : array-like of shape (n_samples,), optional
        Vertical coordinate of each row, such as its day. By default it is the row number, counted from 0.
    threshold : float, optional
        Rows that score at or below it are drawn as anomalies. By default no row is an anomaly.
    above : bool, default=False
        Whether anomalies are the rows above the threshold, as for anomaly scores, the higher of which are abnormal.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes that `plot` has drawn on.
    figure_ : matplotlib.figure.Figure
        Figure that these axes belong to.

    Examples
    --------
    >>> import numpy as np
    >>> from isoxide import IsolationForest
    >>> from isoxide.displays import ThresholdDisplay
    >>> X = np.random.default_rng(0).normal(size=(300, 3))
    >>> forest = IsolationForest(random_state=0, contamination=0.1).fit(X)
    >>> display = ThresholdDisplay.from_estimator(forest, X, threshold=-0.1)
    >>> display.ax_.get_xlabel()
    'Score'
    """

    def __init__(
        self, *, scores: ArrayLike, by: ArrayLike | None = None, threshold: float | None = None, above: bool = False
    ) -> None:
        self.scores = np.asarray(scores, dtype=np.float64)
        self.by = np.arange(len(self.scores)) if by is None else np.asarray(by)
        if self.by.shape != self.scores.shape:
            raise ValueError(
                f"by has shape {self.by.shape} for scores of shape {self.scores.shape}; give one entry per score"
            )
        self.threshold, self.above = threshold, above

    @classmethod
    def from_estimator(
        cls,
        estimator: IsolationForest,
        X: Any,
        *,
        by: ArrayLike | None = None,
        threshold: float | None = None,
        ax: Any = None,
    ) -> ThresholdDisplay:
        """Score rows with a forest and draw the scores.

        Parameters
        ----------
        estimator : IsolationForest
            Fitted forest.
        X : array-like or frame of shape (n_samples, n_features)
            Rows to score, with the features that the forest was fitted on.
        by : array-like of shape (n_samples,), optional
            Vertical coordinate of each row, such as its day. By default it is the row number, counted from 0.
        threshold : float, optional
            Rows that score at or below it are drawn as anomalies. By default no row is an anomaly.
        ax : matplotlib.axes.Axes, optional
            Axes to draw on. By default a new figure is created.

        Returns
        -------
        ThresholdDisplay
            Display that has been drawn.
        """
        return cls(scores=estimator.decision_function(X), by=by, threshold=threshold).plot(ax=ax)

    def plot(self, ax: Any = None) -> ThresholdDisplay:
        """Draw the scores, and the threshold if there is one.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on. By default a new figure is created.

        Returns
        -------
        ThresholdDisplay
            This display, with the attributes `ax_` and `figure_`.
        """
        ax, palette = self._axes(ax, (9, 5.5))
        beyond = np.zeros(len(self.scores), dtype=bool)
        if self.threshold is not None:
            beyond = self.scores > self.threshold if self.above else self.scores <= self.threshold
        style: dict[str, Any] = {"linewidths": 0, "rasterized": len(self.scores) > MAX_VECTOR_POINTS}
        ax.scatter(self.scores[~beyond], self.by[~beyond], s=8, alpha=0.35, color=palette.normal, **style)
        if self.threshold is not None:
            share = float(np.mean(beyond))
            label = f"{int(beyond.sum()):,} rows ({share:.2%}) {'above' if self.above else 'at or below'}"
            ax.scatter(self.scores[beyond], self.by[beyond], s=18, color=palette.anomaly, label=label, **style)
            end = max(float(self.scores.max()), self.threshold) if self.above else float(self.scores.min())
            edge = end + 0.01 if self.above else min(end, self.threshold) - 0.01
            ax.axvspan(*sorted((edge, self.threshold)), color=palette.anomaly, alpha=0.08, linewidth=0)
            ax.axvline(
                self.threshold,
                color=palette.anomaly,
                linestyle="--",
                linewidth=1,
                label=f"threshold {self.threshold:g}",
            )
            ax.legend(loc="upper right" if self.above else "upper left")
        ax.set(
            xlabel="Anomaly score" if self.above else "Score",
            ylabel="Day" if np.issubdtype(self.by.dtype, np.datetime64) else "Row",
        )
        ax.grid(visible=True, alpha=0.3)
        return self


class ScoreTimelineDisplay(Display):
    """Line plot of the lowest score of each day, with a dot per finding.

    Parameters
    ----------
    days : array-like of shape (n_days,)
        Days, in ascending order.
    lowest : array-like of shape (n_days,)
        Lowest score of each day. Scores below 0 are anomalies.
    finding_days : array-like of shape (n_findings,)
        Day of each finding.
    finding_scores : array-like of shape (n_findings,)
        Score of each finding.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes that `plot` has drawn on.
    figure_ : matplotlib.figure.Figure
        Figure that these axes belong to.

    Examples
    --------
    >>> from isoxide import ueba
    >>> from isoxide.datasets import load_enron
    >>> from isoxide.displays import ScoreTimelineDisplay
    >>> table = ueba.read_table(load_enron(), entity="actor", time="day")
    >>> findings = ueba.detect(table, contamination=0.001)
    >>> display = ScoreTimelineDisplay.from_findings(findings)
    >>> len(display.days), len(display.finding_days)
    (827, 11)
    """

    def __init__(
        self, *, days: ArrayLike, lowest: ArrayLike, finding_days: ArrayLike, finding_scores: ArrayLike
    ) -> None:
        self.days, self.lowest = np.asarray(days), np.asarray(lowest, dtype=np.float64)
        self.finding_days = np.asarray(finding_days)
        self.finding_scores = np.asarray(finding_scores, dtype=np.float64)

    @classmethod
    def from_findings(cls, findings: FindingsLike, *, ax: Any = None) -> ScoreTimelineDisplay:
        """Draw the timeline of findings.

        Parameters
        ----------
        findings : Findings
            Findings that `isoxide.ueba.detect` or `isoxide.ueba.read_findings` returned.
        ax : matplotlib.axes.Axes, optional
            Axes to draw on. By default a new figure is created.

        Returns
        -------
        ScoreTimelineDisplay
            Display that has been drawn.
        """
        timeline, frame = findings.timeline, findings.frame
        display = cls(
            days=timeline["day"].to_numpy(),
            lowest=timeline["lowest"].to_numpy(),
            finding_days=_without_zone(frame[findings.time]),
            finding_scores=frame["score"].to_numpy(),
        )
        return display.plot(ax=ax)

    def plot(self, ax: Any = None) -> ScoreTimelineDisplay:
        """Draw the lowest score of each day as a line and the findings as dots.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on. By default a new figure is created.

        Returns
        -------
        ScoreTimelineDisplay
            This display, with the attributes `ax_` and `figure_`.
        """
        ax, palette = self._axes(ax, (10, 4))
        ax.plot(self.days, self.lowest, color=palette.muted, linewidth=1, label="lowest score of the day", zorder=1)
        label = f"{len(self.finding_scores):,} findings"
        ax.scatter(
            self.finding_days, self.finding_scores, s=16, color=palette.anomaly, linewidths=0, label=label, zorder=2
        )
        ax.axhline(0, color=palette.anomaly, linestyle="--", linewidth=1)
        ax.set(xlabel="Day", ylabel="Score")
        ax.tick_params(axis="x", labelrotation=30)
        ax.grid(visible=True, alpha=0.3)
        ax.legend(loc="best")
        return self


def _without_zone(times: Any) -> NDArray[Any]:
    """Return times as NumPy has them: local times without their zone."""
    times = times.dt.tz_localize(None) if times.dt.tz is not None else times
    return np.asarray(times)
