"""Plots in scikit-learn's style: a class each, made by ``from_estimator`` or ``from_findings``, drawn by ``plot``.

Matplotlib is imported when something is drawn, not before.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoxide._common.format import format_time, format_value
from isoxide._common.imports import import_optional
from isoxide._forest.estimator import IsolationForest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from isoxide.ueba import Findings

__all__ = ["CutoffDisplay", "FeatureRankDisplay", "ScoreTimelineDisplay", "ThresholdDisplay"]

_NORMAL, _ODD, _QUIET = "#3b6ea5", "#c0392b", "#9aa5b1"


class _Display:
    """What the displays share: axes made on demand, and kept."""

    ax_: Any
    figure_: Any

    def _axes(self, ax: Any, size: tuple[float, float]) -> Axes:
        plt = import_optional("matplotlib.pyplot", f"{type(self).__name__}.plot")
        if ax is None:
            _, ax = plt.subplots(figsize=size, layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        return ax  # type: ignore[no-any-return]


class ThresholdDisplay(_Display):
    """Scores of all rows by day, the threshold, and the area of anomalies below it.

    Parameters
    ----------
    scores : array-like of shape (n_samples,)
        Decision scores: the lower, the more abnormal.
    by : array-like of shape (n_samples,), optional
        Where each row is drawn, such as its day; by default its number.
    threshold : float, optional
        Rows at or below it are anomalies.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Where it was drawn.
    figure_ : matplotlib.figure.Figure
        What that belongs to.

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

    def __init__(self, *, scores: ArrayLike, by: ArrayLike | None = None, threshold: float | None = None) -> None:
        self.scores = np.asarray(scores, dtype=np.float64)
        self.by = np.arange(len(self.scores)) if by is None else np.asarray(by)
        if self.by.shape != self.scores.shape:
            raise ValueError(f"by has {len(self.by)} entries for {len(self.scores)} scores")
        self.threshold = threshold

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
        """Score some rows and draw them.

        Parameters
        ----------
        estimator : IsolationForest
            A fitted one.
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        by : array-like of shape (n_samples,), optional
            See the class.
        threshold : float, optional
            See the class.
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default a figure of its own.

        Returns
        -------
        ThresholdDisplay
            What was drawn.
        """
        return cls(scores=estimator.decision_function(X), by=by, threshold=threshold).plot(ax=ax)

    def plot(self, ax: Any = None) -> ThresholdDisplay:
        """Draw it.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default a figure of its own.

        Returns
        -------
        ThresholdDisplay
            Itself, with `ax_` and `figure_`.
        """
        ax = self._axes(ax, (9, 5.5))
        below = self.scores <= self.threshold if self.threshold is not None else np.zeros(len(self.scores), dtype=bool)
        style: dict[str, Any] = {"linewidths": 0, "rasterized": len(self.scores) > 5000}
        ax.scatter(self.scores[~below], self.by[~below], s=8, alpha=0.35, color=_NORMAL, **style)
        if self.threshold is not None:
            share = float(np.mean(below))
            label = f"{int(below.sum()):,} rows ({share:.2%}) at or below"
            ax.scatter(self.scores[below], self.by[below], s=18, color=_ODD, label=label, **style)
            lowest = min(float(self.scores.min()), self.threshold)
            ax.axvspan(lowest - 0.01, self.threshold, color=_ODD, alpha=0.08, linewidth=0)
            ax.axvline(self.threshold, color=_ODD, linestyle="--", linewidth=1, label=f"threshold {self.threshold:g}")
            ax.legend(loc="upper left")
        ax.set(xlabel="Score", ylabel="Day" if np.issubdtype(self.by.dtype, np.datetime64) else "Row")
        ax.grid(visible=True, alpha=0.3)
        return self


class ScoreTimelineDisplay(_Display):
    """The lowest score of each day, and the findings.

    Parameters
    ----------
    days : array-like of shape (n_days,)
        The days.
    lowest : array-like of shape (n_days,)
        The lowest score of each; below 0 is an anomaly.
    found_days, found_scores : array-like of shape (n_findings,)
        Day and score of each finding.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Where it was drawn.
    figure_ : matplotlib.figure.Figure
        What that belongs to.
    """

    def __init__(self, *, days: ArrayLike, lowest: ArrayLike, found_days: ArrayLike, found_scores: ArrayLike) -> None:
        self.days, self.lowest = np.asarray(days), np.asarray(lowest, dtype=np.float64)
        self.found_days, self.found_scores = np.asarray(found_days), np.asarray(found_scores, dtype=np.float64)

    @classmethod
    def from_findings(cls, findings: Findings, *, ax: Any = None) -> ScoreTimelineDisplay:
        """Draw the timeline of some findings.

        Parameters
        ----------
        findings : Findings
            From `isoxide.ueba.detect`.
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default a figure of its own.

        Returns
        -------
        ScoreTimelineDisplay
            What was drawn.
        """
        timeline, frame = findings.timeline, findings.frame
        display = cls(
            days=timeline["day"].to_numpy(),
            lowest=timeline["lowest"].to_numpy(),
            found_days=_naive(frame[findings.time]),
            found_scores=frame["score"].to_numpy(),
        )
        return display.plot(ax=ax)

    def plot(self, ax: Any = None) -> ScoreTimelineDisplay:
        """Draw it.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default a figure of its own.

        Returns
        -------
        ScoreTimelineDisplay
            Itself, with `ax_` and `figure_`.
        """
        ax = self._axes(ax, (10, 4))
        ax.plot(self.days, self.lowest, color=_QUIET, linewidth=1, label="lowest score of the day", zorder=1)
        label = f"{len(self.found_scores):,} findings"
        ax.scatter(self.found_days, self.found_scores, s=16, color=_ODD, linewidths=0, label=label, zorder=2)
        ax.axhline(0, color=_ODD, linestyle="--", linewidth=1)
        ax.set(xlabel="Day", ylabel="Score")
        ax.tick_params(axis="x", labelrotation=30)
        ax.grid(visible=True, alpha=0.3)
        ax.legend(loc="best")
        return self


class FeatureRankDisplay(_Display):
    """The most unusual features of one finding, as bars of their percentiles.

    Parameters
    ----------
    features : list of str
        Names, the most unusual first.
    percentiles : array-like of shape (n_features,)
        From 0 to 100.
    labels : list of str, optional
        What stands at the end of each bar, such as the value.
    cutoff : float, optional
        From where on bars are marked.
    title : str, optional
        Whose finding it is.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Where it was drawn.
    figure_ : matplotlib.figure.Figure
        What that belongs to.
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
        cls, findings: Findings, finding: int = 0, *, n_features: int = 12, cutoff: float | None = 99.0, ax: Any = None
    ) -> FeatureRankDisplay:
        """Draw the features of one finding.

        Parameters
        ----------
        findings : Findings
            From `isoxide.ueba.detect`.
        finding : int, default=0
            Its number; 0 has the lowest score.
        n_features : int, default=12
            How many are drawn at most.
        cutoff : float, optional
            See the class.
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default a figure of its own.

        Returns
        -------
        FeatureRankDisplay
            What was drawn.
        """
        if not -len(findings) <= finding < len(findings):
            raise IndexError(f"there is no finding {finding}: there are {len(findings)} findings")
        row = findings.frame.iloc[finding]
        places = [j for j in findings.order[finding] if not np.isnan(findings.percentiles[finding, j])][:n_features]
        names = [findings.features[j] for j in places]
        medians = findings.typical("median")[finding]
        labels = [f"{format_value(findings.values[finding, j])} (typical {format_value(medians[j])})" for j in places]
        title = f"{row[findings.entity]}, {format_time(row[findings.time])}: score {row['score']:.4f}"
        if not places and "rank_among" in row:
            title = f"{title}, {row['rank_among']}"
        display = cls(
            features=names, percentiles=findings.percentiles[finding, places], labels=labels, cutoff=cutoff, title=title
        )
        return display.plot(ax=ax)

    def plot(self, ax: Any = None) -> FeatureRankDisplay:
        """Draw it.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default a figure of its own.

        Returns
        -------
        FeatureRankDisplay
            Itself, with `ax_` and `figure_`.
        """
        n = len(self.features)
        ax = self._axes(ax, (8.5, 1.2 + 0.32 * n))
        odd = self.percentiles >= (np.inf if self.cutoff is None else self.cutoff)
        ax.barh(np.arange(n), self.percentiles, color=np.where(odd, _ODD, _NORMAL), height=0.7)
        # Names come from data: a dollar sign is no mathematics.
        ax.set_yticks(np.arange(n), [_literal(name) for name in self.features])
        ax.invert_yaxis()
        for place, label in enumerate(self.labels):
            ax.annotate(_literal(label), (101, place), va="center", fontsize="small", annotation_clip=False)
        if self.cutoff is not None:
            ax.axvline(self.cutoff, color=_ODD, linestyle="--", linewidth=1)
        ax.set(xlim=(0, 100), xlabel="Percentile")
        if self.title is not None:
            ax.set_title(_literal(self.title), loc="left", fontsize="medium")
        ax.grid(visible=True, axis="x", alpha=0.3)
        return self


class CutoffDisplay(_Display):
    """How many features of a finding reach each percentile: where to cut off.

    Parameters
    ----------
    cutoffs : array-like of shape (n_cutoffs,)
        Percentiles.
    mean, minimum : array-like of shape (n_cutoffs,)
        Features per finding that reach them, on average and at least.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Where it was drawn.
    figure_ : matplotlib.figure.Figure
        What that belongs to.
    """

    def __init__(self, *, cutoffs: ArrayLike, mean: ArrayLike, minimum: ArrayLike) -> None:
        self.cutoffs = np.asarray(cutoffs, dtype=np.float64)
        self.mean, self.minimum = np.asarray(mean, dtype=np.float64), np.asarray(minimum, dtype=np.float64)

    @classmethod
    def from_findings(
        cls, findings: Findings, cutoffs: Iterable[float] | None = None, *, ax: Any = None
    ) -> CutoffDisplay:
        """Draw the cut-offs of some findings.

        Parameters
        ----------
        findings : Findings
            From `isoxide.ueba.detect`.
        cutoffs : list of float, optional
            From 0 to 100; by default those of `Findings.cutoff_table`.
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default a figure of its own.

        Returns
        -------
        CutoffDisplay
            What was drawn.
        """
        table = findings.cutoff_table() if cutoffs is None else findings.cutoff_table(cutoffs)
        display = cls(
            cutoffs=table["cutoff"].to_numpy(), mean=table["mean"].to_numpy(), minimum=table["min"].to_numpy()
        )
        return display.plot(ax=ax)

    def plot(self, ax: Any = None) -> CutoffDisplay:
        """Draw it.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default a figure of its own.

        Returns
        -------
        CutoffDisplay
            Itself, with `ax_` and `figure_`.
        """
        ax = self._axes(ax, (8, 4))
        places = np.arange(len(self.cutoffs))
        ax.plot(places, self.mean, marker="o", color=_NORMAL, label="mean")
        ax.plot(places, self.minimum, marker="o", color=_QUIET, label="minimum")
        ax.set_xticks(places, [f"{cutoff:g}" for cutoff in self.cutoffs])
        ax.set(xlabel="Percentile from which a feature counts", ylabel="Features per finding", ylim=(0, None))
        ax.grid(visible=True, alpha=0.3)
        ax.legend()
        return self


def _literal(text: str) -> str:
    return text.replace("$", r"\$")


def _naive(times: Any) -> NDArray[Any]:
    """Times without a zone, as axes have none."""
    times = times.dt.tz_localize(None) if times.dt.tz is not None else times
    return np.asarray(times)
