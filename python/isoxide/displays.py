"""Plots of scores and findings in the style of scikit-learn's display classes.

Each class holds the data that it draws. Create a display with ``from_estimator`` or ``from_findings``, which also draw
it, or create it from arrays and call ``plot``. Matplotlib is imported only when something is drawn.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoxide._common.format import format_time, format_value
from isoxide._common.imports import import_optional
from isoxide._forest.estimator import IsolationForest

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["CutoffDisplay", "FeatureRankDisplay", "ScoreTimelineDisplay", "ThresholdDisplay"]

_NORMAL_COLOR, _ANOMALY_COLOR, _MUTED_COLOR = "#3b6ea5", "#c0392b", "#9aa5b1"
#: If a scatter plot has more points, it is an image inside vector graphics, which would otherwise be slow to open.
MAX_VECTOR_POINTS = 5000


class FindingsLike(Protocol):
    """Interface of the findings that displays draw: the attributes of `isoxide.ueba.Findings` that they read.

    `isoxide.ueba` is built on this module, so this module names the interface instead of importing the class.
    """

    frame: pd.DataFrame
    timeline: pd.DataFrame
    entity: str
    time: str
    features: list[str]
    values: NDArray[np.float64]
    percentiles: NDArray[np.float64]
    order: NDArray[np.intp]

    def __len__(self) -> int: ...

    def typical(self, statistic: str = "median") -> NDArray[np.float64]:
        """Return the typical value that each value of the findings is compared with."""

    def cutoff_table(self, cutoffs: Iterable[float] = ...) -> pd.DataFrame:
        """Return how many features of a finding reach each percentile."""


class _Display:
    """Base class of the displays: create axes on demand and keep them."""

    ax_: Any
    figure_: Any

    def _axes(self, ax: Any, size: tuple[float, float]) -> Axes:
        plt = import_optional("matplotlib.pyplot", f"{type(self).__name__}.plot")
        if ax is None:
            _, ax = plt.subplots(figsize=size, layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        return ax  # type: ignore[no-any-return]


class ThresholdDisplay(_Display):
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
        ax = self._axes(ax, (9, 5.5))
        beyond = np.zeros(len(self.scores), dtype=bool)
        if self.threshold is not None:
            beyond = self.scores > self.threshold if self.above else self.scores <= self.threshold
        style: dict[str, Any] = {"linewidths": 0, "rasterized": len(self.scores) > MAX_VECTOR_POINTS}
        ax.scatter(self.scores[~beyond], self.by[~beyond], s=8, alpha=0.35, color=_NORMAL_COLOR, **style)
        if self.threshold is not None:
            share = float(np.mean(beyond))
            label = f"{int(beyond.sum()):,} rows ({share:.2%}) {'above' if self.above else 'at or below'}"
            ax.scatter(self.scores[beyond], self.by[beyond], s=18, color=_ANOMALY_COLOR, label=label, **style)
            end = max(float(self.scores.max()), self.threshold) if self.above else float(self.scores.min())
            edge = end + 0.01 if self.above else min(end, self.threshold) - 0.01
            ax.axvspan(*sorted((edge, self.threshold)), color=_ANOMALY_COLOR, alpha=0.08, linewidth=0)
            ax.axvline(
                self.threshold, color=_ANOMALY_COLOR, linestyle="--", linewidth=1, label=f"threshold {self.threshold:g}"
            )
            ax.legend(loc="upper right" if self.above else "upper left")
        ax.set(
            xlabel="Anomaly score" if self.above else "Score",
            ylabel="Day" if np.issubdtype(self.by.dtype, np.datetime64) else "Row",
        )
        ax.grid(visible=True, alpha=0.3)
        return self


class ScoreTimelineDisplay(_Display):
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
    >>> from isoxide.datasets import load_enron_user_day
    >>> from isoxide.displays import ScoreTimelineDisplay
    >>> table = ueba.read_table(load_enron_user_day(), entity="actor", time="day")
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
        ax = self._axes(ax, (10, 4))
        ax.plot(self.days, self.lowest, color=_MUTED_COLOR, linewidth=1, label="lowest score of the day", zorder=1)
        label = f"{len(self.finding_scores):,} findings"
        ax.scatter(
            self.finding_days, self.finding_scores, s=16, color=_ANOMALY_COLOR, linewidths=0, label=label, zorder=2
        )
        ax.axhline(0, color=_ANOMALY_COLOR, linestyle="--", linewidth=1)
        ax.set(xlabel="Day", ylabel="Score")
        ax.tick_params(axis="x", labelrotation=30)
        ax.grid(visible=True, alpha=0.3)
        ax.legend(loc="best")
        return self


class FeatureRankDisplay(_Display):
    """Bar chart of the percentiles of the most unusual features of one finding.

    Parameters
    ----------
    features : list of str
        Names of the features, the most unusual one first.
    percentiles : array-like of shape (n_features,)
        Percentile of each feature, from 0 to 100.
    labels : list of str, optional
        Text at the end of each bar, such as the value. By default it is the percentile.
    cutoff : float or None, default=99.0
        Percentile at or above which bars are highlighted; a vertical line marks it. None highlights no bar.
    title : str, optional
        Title of the plot, such as entity and time of the finding. By default there is none.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes that `plot` has drawn on.
    figure_ : matplotlib.figure.Figure
        Figure that these axes belong to.

    Examples
    --------
    >>> from isoxide import ueba
    >>> from isoxide.datasets import load_enron_user_day
    >>> from isoxide.displays import FeatureRankDisplay
    >>> table = ueba.read_table(load_enron_user_day(), entity="actor", time="day")
    >>> findings = ueba.detect(table, contamination=0.001)
    >>> display = FeatureRankDisplay.from_findings(findings, n_features=3)
    >>> display.features
    ['n_to', 'n_topic_outlier', 'rcpt_per_msg_max']
    """

    def __init__(
        self,
        *,
        features: Iterable[str],
        percentiles: ArrayLike,
        labels: Iterable[str] | None = None,
        cutoff: float | None = 99.0,
        title: str | None = None,
    ) -> None:
        self.features = list(features)
        self.percentiles = np.asarray(percentiles, dtype=np.float64)
        self.labels = [f"{percentile:.2f}" for percentile in self.percentiles] if labels is None else list(labels)
        self.cutoff, self.title = cutoff, title

    @classmethod
    def from_findings(
        cls,
        findings: FindingsLike,
        finding: int = 0,
        *,
        n_features: int = 12,
        cutoff: float | None = 99.0,
        ax: Any = None,
    ) -> FeatureRankDisplay:
        """Draw the most unusual features of one finding.

        Parameters
        ----------
        findings : Findings
            Findings that `isoxide.ueba.detect` or `isoxide.ueba.read_findings` returned.
        finding : int, default=0
            Index of the finding among all findings. Finding 0 has the lowest score; negative ones count from the end.
        n_features : int, default=12
            Largest number of features to draw.
        cutoff : float or None, default=99.0
            Percentile at or above which bars are highlighted; a vertical line marks it. None highlights no bar.
        ax : matplotlib.axes.Axes, optional
            Axes to draw on. By default a new figure is created.

        Returns
        -------
        FeatureRankDisplay
            Display that has been drawn.
        """
        if not -len(findings) <= finding < len(findings):
            raise IndexError(f"finding={finding} is out of range: there are {len(findings)} findings")
        row = findings.frame.iloc[finding]
        columns = [j for j in findings.order[finding] if not np.isnan(findings.percentiles[finding, j])][:n_features]
        names = [findings.features[j] for j in columns]
        values, medians = findings.values[finding], findings.typical("median")[finding]  # noqa: PD011
        labels = [f"{format_value(values[j])} (typical {format_value(medians[j])})" for j in columns]
        title = f"{row[findings.entity]}, {format_time(row[findings.time])}: score {row['score']:.4f}"
        if not columns and "rank_among" in row:
            title = f"{title}, {row['rank_among']}"
        display = cls(
            features=names,
            percentiles=findings.percentiles[finding, columns],
            labels=labels,
            cutoff=cutoff,
            title=title,
        )
        return display.plot(ax=ax)

    def plot(self, ax: Any = None) -> FeatureRankDisplay:
        """Draw a horizontal bar per feature, the most unusual feature on top.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on. By default a new figure is created.

        Returns
        -------
        FeatureRankDisplay
            This display, with the attributes `ax_` and `figure_`.
        """
        n = len(self.features)
        ax = self._axes(ax, (8.5, 1.2 + 0.32 * n))
        is_unusual = self.percentiles >= (np.inf if self.cutoff is None else self.cutoff)
        ax.barh(np.arange(n), self.percentiles, color=np.where(is_unusual, _ANOMALY_COLOR, _NORMAL_COLOR), height=0.7)
        # Matplotlib would take the dollar signs of a name for mathematics.
        ax.set_yticks(np.arange(n), [_literal(name) for name in self.features])
        ax.invert_yaxis()
        for position, label in enumerate(self.labels):
            ax.annotate(_literal(label), (101, position), va="center", fontsize="small", annotation_clip=False)
        if self.cutoff is not None:
            ax.axvline(self.cutoff, color=_ANOMALY_COLOR, linestyle="--", linewidth=1)
        ax.set(xlim=(0, 100), xlabel="Percentile")
        if self.title is not None:
            ax.set_title(_literal(self.title), loc="left", fontsize="medium")
        ax.grid(visible=True, axis="x", alpha=0.3)
        return self


class CutoffDisplay(_Display):
    """Line plot of the number of features per finding that reach each percentile, to choose a cut-off by.

    Parameters
    ----------
    cutoffs : array-like of shape (n_cutoffs,)
        Percentiles, from 0 to 100.
    mean : array-like of shape (n_cutoffs,)
        Mean number of features per finding that reach each percentile.
    minimum : array-like of shape (n_cutoffs,)
        Lowest number of features of any finding that reach each percentile.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes that `plot` has drawn on.
    figure_ : matplotlib.figure.Figure
        Figure that these axes belong to.

    Examples
    --------
    >>> from isoxide import ueba
    >>> from isoxide.datasets import load_enron_user_day
    >>> from isoxide.displays import CutoffDisplay
    >>> table = ueba.read_table(load_enron_user_day(), entity="actor", time="day")
    >>> findings = ueba.detect(table, contamination=0.001)
    >>> display = CutoffDisplay.from_findings(findings, [95, 99])
    >>> display.mean.round(1)
    array([16.1, 10. ])
    """

    def __init__(self, *, cutoffs: ArrayLike, mean: ArrayLike, minimum: ArrayLike) -> None:
        self.cutoffs = np.asarray(cutoffs, dtype=np.float64)
        self.mean, self.minimum = np.asarray(mean, dtype=np.float64), np.asarray(minimum, dtype=np.float64)

    @classmethod
    def from_findings(
        cls, findings: FindingsLike, cutoffs: Iterable[float] | None = None, *, ax: Any = None
    ) -> CutoffDisplay:
        """Draw how many features of the findings reach each percentile.

        Parameters
        ----------
        findings : Findings
            Findings that `isoxide.ueba.detect` or `isoxide.ueba.read_findings` returned.
        cutoffs : list of float, optional
            Percentiles, from 0 to 100. By default the 15 percentiles from 95 to 99.99 of `Findings.cutoff_table`.
        ax : matplotlib.axes.Axes, optional
            Axes to draw on. By default a new figure is created.

        Returns
        -------
        CutoffDisplay
            Display that has been drawn.
        """
        table = findings.cutoff_table() if cutoffs is None else findings.cutoff_table(cutoffs)
        display = cls(
            cutoffs=table["cutoff"].to_numpy(), mean=table["mean"].to_numpy(), minimum=table["min"].to_numpy()
        )
        return display.plot(ax=ax)

    def plot(self, ax: Any = None) -> CutoffDisplay:
        """Draw the mean and the minimum number of features over the percentile.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on. By default a new figure is created.

        Returns
        -------
        CutoffDisplay
            This display, with the attributes `ax_` and `figure_`.
        """
        ax = self._axes(ax, (8, 4))
        positions = np.arange(len(self.cutoffs))
        ax.plot(positions, self.mean, marker="o", color=_NORMAL_COLOR, label="mean")
        ax.plot(positions, self.minimum, marker="o", color=_MUTED_COLOR, label="minimum")
        ax.set_xticks(positions, [f"{cutoff:g}" for cutoff in self.cutoffs])
        ax.set(xlabel="Percentile from which a feature counts", ylabel="Features per finding", ylim=(0, None))
        ax.grid(visible=True, alpha=0.3)
        ax.legend()
        return self


def _literal(text: str) -> str:
    """Return a text in which matplotlib finds no mathematics."""
    return text.replace("$", r"\$")


def _without_zone(times: Any) -> NDArray[Any]:
    """Return times as NumPy has them: local times without their zone."""
    times = times.dt.tz_localize(None) if times.dt.tz is not None else times
    return np.asarray(times)
