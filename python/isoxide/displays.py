"""Plots of scores and findings in the style of scikit-learn's display classes.

Each class holds the data that it draws. Create a display with ``from_estimator`` or ``from_findings``, which also draw
it, or create it from arrays and call ``plot``. Matplotlib is imported only when something is drawn.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoxide._common.format import format_share, format_time, format_value
from isoxide._common.imports import import_optional
from isoxide._forest.estimator import IsolationForest
from isoxide._forest.explain import check_output
from isoxide._forest.explanation import ANOMALOUS_SIGN, Explanation, Output

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = [
    "ContributionDisplay",
    "CutoffDisplay",
    "FeatureRankDisplay",
    "ImportanceDisplay",
    "ScoreTimelineDisplay",
    "ThresholdDisplay",
]

_NORMAL_COLOR, _ANOMALY_COLOR, _MUTED_COLOR = "#3b6ea5", "#c0392b", "#9aa5b1"
#: If a scatter plot has more points, it is an image inside vector graphics, which would otherwise be slow to open.
MAX_VECTOR_POINTS = 5000
#: Longest name of a feature that is drawn in full; of longer ones the beginning and the end are drawn.
MAX_NAME_LENGTH = 40
#: What the horizontal axis of contributions shows on each scale.
_SCALES: dict[str, str] = {
    "log2": "log2 of the anomaly score (+1 doubles it)",
    "path_length": "mean path length (fewer splits are more anomalous)",
}


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

    @property
    def contributions(self) -> NDArray[np.float64] | None:
        """Return the contribution of each feature to the binary logarithm of each anomaly score, or None."""

    @property
    def shares(self) -> NDArray[np.float64] | None:
        """Return the share of each feature in what makes each finding anomalous, or None."""

    @property
    def expected_score(self) -> float | None:
        """Return the anomaly score that is expected of a row of which nothing is known, or None."""

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
    >>> from isoxide.datasets import load_enron
    >>> from isoxide.displays import FeatureRankDisplay
    >>> table = ueba.read_table(load_enron(), entity="actor", time="day")
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
        title = f"{row[findings.entity]}, {format_time(row[findings.time])}: anomaly score {row['anomaly_score']:.3f}"
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
    >>> from isoxide.datasets import load_enron
    >>> from isoxide.displays import CutoffDisplay
    >>> table = ueba.read_table(load_enron(), entity="actor", time="day")
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


class ContributionDisplay(_Display):
    """Waterfall chart of what made the score of one row: a bar per feature, from the expected to the actual output.

    Red bars make the row more anomalous and blue bars less, on each scale. The most anomalous contribution is on top.

    Parameters
    ----------
    features : list of str
        Names of the features.
    contributions : array-like of shape (n_features,)
        Contribution of each feature.
    base_value : float
        Output that is expected of a row of which nothing is known, where the lowest bar starts.
    labels : list of str, optional
        Text beside the bar of each feature, such as its share. By default it is the contribution.
    output : {"log2", "path_length"}, default="log2"
        Scale of the contributions, as in `IsolationForest.explain`. It decides which sign is more anomalous.
    title : str, optional
        Title of the plot, such as the label of the row. By default there is none.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes that `plot` has drawn on.
    figure_ : matplotlib.figure.Figure
        Figure that these axes belong to.

    See Also
    --------
    FeatureRankDisplay : Draw how unusual each value is, which a contribution does not tell.

    Examples
    --------
    >>> import pandas as pd
    >>> from isoxide import IsolationForest
    >>> from isoxide.displays import ContributionDisplay
    >>> X = pd.DataFrame({"logins": [1.0, 2, 3, 90], "hour": [9.0, 10, 9, 10]})
    >>> explanation = IsolationForest(random_state=0).fit(X).explain(X)
    >>> display = ContributionDisplay.from_explanation(explanation, 3)
    >>> display.features
    ['logins = 90', 'hour = 10']
    """

    def __init__(
        self,
        *,
        features: Iterable[str],
        contributions: ArrayLike,
        base_value: float,
        labels: Iterable[str] | None = None,
        output: Output = "log2",
        title: str | None = None,
    ) -> None:
        self.features = list(features)
        self.contributions = np.asarray(contributions, dtype=np.float64)
        self.base_value = base_value
        self.labels = [f"{value:+.3f}" for value in self.contributions] if labels is None else list(labels)
        self.output, self.title = check_output(output), title

    @classmethod
    def from_explanation(
        cls, explanation: Explanation, row: int = 0, *, n_features: int = 12, ax: Any = None
    ) -> ContributionDisplay:
        """Draw the contributions to the score of one row.

        Parameters
        ----------
        explanation : Explanation
            Explanation that `IsolationForest.explain` returned, of one or several rows.
        row : int, default=0
            Index of the row in the explanation; negative ones count from the end.
        n_features : int, default=12
            Largest number of features to draw: those with the largest absolute contributions, at least 1. One more bar
            shows the sum of all others.
        ax : matplotlib.axes.Axes, optional
            Axes to draw on. By default a new figure is created.

        Returns
        -------
        ContributionDisplay
            Display that has been drawn.

        Raises
        ------
        IndexError
            If the explanation has no such row.
        ValueError
            If the explanation has only the largest contributions (``top=k``), which do not add up to the score, or
            `n_features` is below 1.
        """
        n_rows = len(explanation)
        if not -n_rows <= row < n_rows:
            raise IndexError(f"row={row} is out of range: there are {n_rows} rows")
        if explanation.indices is not None:
            raise ValueError(
                "a waterfall needs the contributions of all features, which add up to the score, but "
                f"top={explanation.indices.shape[-1]} kept only the largest; call explain without top"
            )
        item = explanation if np.ndim(explanation.base_values) == 0 else explanation[row]
        return cls._drawn(
            f"Row {_shortened(str(item.row_labels[0]))}",
            item.feature_names,
            item.data,
            np.asarray(item),
            item.share(),
            float(item.base_values),
            item.output,
            n_features,
            ax,
        )

    @classmethod
    def from_findings(
        cls, findings: FindingsLike, finding: int = 0, *, n_features: int = 12, ax: Any = None
    ) -> ContributionDisplay:
        """Draw the contributions to the anomaly score of one finding.

        Parameters
        ----------
        findings : Findings
            Findings that `isoxide.ueba.detect` or `isoxide.ueba.read_findings` returned.
        finding : int, default=0
            Index of the finding among all findings. Finding 0 has the lowest score; negative ones count from the end.
        n_features : int, default=12
            Largest number of features to draw: those with the largest absolute contributions, at least 1. One more bar
            shows the sum of all others.
        ax : matplotlib.axes.Axes, optional
            Axes to draw on. By default a new figure is created.

        Returns
        -------
        ContributionDisplay
            Display that has been drawn.

        Raises
        ------
        IndexError
            If there is no such finding.
        ValueError
            If the findings have no contributions, because they come from a file of an early version or were made with
            ``explain=False``, or `n_features` is below 1.
        """
        if not -len(findings) <= finding < len(findings):
            raise IndexError(f"finding={finding} is out of range: there are {len(findings)} findings")
        contributions, shares, expected = findings.contributions, findings.shares, findings.expected_score
        if contributions is None or shares is None or expected is None:
            raise ValueError("the findings have no contributions; call detect with explain=True")
        row = findings.frame.iloc[finding]
        return cls._drawn(
            f"{_shortened(str(row[findings.entity]))}, {format_time(row[findings.time])}",
            findings.features,
            findings.values[finding],  # noqa: PD011
            contributions[finding],
            shares[finding],
            float(np.log2(expected)),
            "log2",
            n_features,
            ax,
        )

    @classmethod
    def _drawn(
        cls,
        subject: str,
        names: list[str],
        cells: Any,
        values: NDArray[np.float64],
        shares: NDArray[np.float64],
        base: float,
        output: Output,
        n_features: int,
        ax: Any,
    ) -> ContributionDisplay:
        """Draw the largest contributions of one row, and the sum of the others."""
        kept, others = _largest(values, n_features)
        # The most anomalous one comes first.
        kept = sorted(kept, key=lambda j: -ANOMALOUS_SIGN[output] * values[j])
        features = [f"{_shortened(names[j])} = {_cell(cells[j])}" for j in kept]
        labels = [f"{values[j]:+.3f}" + (f" ({format_share(shares[j])})" if shares[j] > 0 else "") for j in kept]
        contributions = [values[j] for j in kept]
        if len(others):
            features.append(f"{len(others)} other feature{'s' * (len(others) != 1)}")
            contributions.append(values[others].sum())
            labels.append(f"{contributions[-1]:+.3f}")
        display = cls(
            features=features,
            contributions=contributions,
            base_value=base,
            labels=labels,
            output=output,
            title=f"{subject}: {_outcome(base, float(values.sum()), output)}",
        )
        return display.plot(ax=ax)

    def plot(self, ax: Any = None) -> ContributionDisplay:
        """Draw a bar per feature, each of which starts where the bar below it ends.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on. By default a new figure is created.

        Returns
        -------
        ContributionDisplay
            This display, with the attributes `ax_` and `figure_`.
        """
        n = len(self.features)
        ax = self._axes(ax, (8.5, 1.4 + 0.32 * n))
        # Bars are stacked from the bottom up, that is from the last feature to the first.
        ends = self.base_value + np.cumsum(self.contributions[::-1])[::-1]
        starts = ends - self.contributions
        is_anomalous = self.contributions * ANOMALOUS_SIGN[self.output] > 0
        colors = np.where(is_anomalous, _ANOMALY_COLOR, _NORMAL_COLOR)
        ax.barh(np.arange(n), self.contributions, left=starts, color=colors, height=0.7)
        for position, (start, end, label) in enumerate(zip(starts, ends, self.labels, strict=True)):
            to_the_right = end >= start
            ax.annotate(
                _literal(label),
                (end, position),
                xytext=(4 if to_the_right else -4, 0),
                textcoords="offset points",
                ha="left" if to_the_right else "right",
                va="center",
                fontsize="small",
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.5},
            )
            if position:
                ax.plot([end, end], [position - 1.35, position + 0.35], color=_MUTED_COLOR, linewidth=0.8, zorder=0)
        ax.set_yticks(np.arange(n), [_literal(name) for name in self.features])
        ax.set_ylim(n - 0.4, -0.6)
        edges = np.append(ends, self.base_value)
        # Room for the labels at the ends of the outer bars.
        room = 0.3 * (np.ptp(edges) or 1.0)
        ax.set_xlim(edges.min() - room, edges.max() + room)
        ax.axvline(self.base_value, color=_MUTED_COLOR, linestyle="--", linewidth=1, label="expected")
        if n:
            ax.axvline(ends[0], color=_ANOMALY_COLOR, linestyle="--", linewidth=1, label="this row")
        ax.legend(loc="best", fontsize="small")
        ax.set_xlabel(_SCALES[self.output])
        if self.title is not None:
            ax.set_title(_literal(self.title), loc="left", fontsize="medium")
        ax.grid(visible=True, axis="x", alpha=0.3)
        return self


class ImportanceDisplay(_Display):
    """Bar chart of how much each feature moves the scores of a table: its mean absolute contribution.

    Parameters
    ----------
    features : list of str
        Names of the features, the most important one first.
    importances : array-like of shape (n_features,)
        Importance of each feature.
    others : (int, float), optional
        Number of further features and the sum of their importances, which is written below the bars. By default there
        are none.
    output : {"log2", "path_length"}, default="log2"
        Scale of the importances, as in `IsolationForest.importance`.
    title : str, optional
        Title of the plot. By default there is none.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes that `plot` has drawn on.
    figure_ : matplotlib.figure.Figure
        Figure that these axes belong to.

    Examples
    --------
    >>> import pandas as pd
    >>> from isoxide import IsolationForest
    >>> from isoxide.displays import ImportanceDisplay
    >>> X = pd.DataFrame({"logins": [1.0, 2, 3, 90], "hour": [9.0, 9, 9, 9]})
    >>> display = ImportanceDisplay.from_estimator(IsolationForest(random_state=0).fit(X), X)
    >>> display.features
    ['logins', 'hour']
    """

    def __init__(
        self,
        *,
        features: Iterable[str],
        importances: ArrayLike,
        others: tuple[int, float] | None = None,
        output: Output = "log2",
        title: str | None = None,
    ) -> None:
        self.features = list(features)
        self.importances = np.asarray(importances, dtype=np.float64)
        self.others = others
        self.output, self.title = check_output(output), title

    @classmethod
    def from_estimator(
        cls,
        estimator: IsolationForest,
        X: Any,
        *,
        output: Output = "log2",
        n_features: int = 20,
        ax: Any = None,
    ) -> ImportanceDisplay:
        """Explain rows with a forest and draw the importance of each feature.

        Parameters
        ----------
        estimator : IsolationForest
            Fitted forest.
        X : array-like, frame or sparse matrix of shape (n_samples, n_features)
            Rows to explain, with the features that the forest was fitted on. No contribution of a row is kept.
        output : {"log2", "path_length"}, default="log2"
            Scale of the importances, as in `IsolationForest.importance`.
        n_features : int, default=20
            Largest number of features to draw, at least 1. One more bar shows the sum of all others.
        ax : matplotlib.axes.Axes, optional
            Axes to draw on. By default a new figure is created.

        Returns
        -------
        ImportanceDisplay
            Display that has been drawn.

        Raises
        ------
        ValueError
            If `n_features` is below 1, or the columns of `X` differ from those of the training rows.
        """
        importances = estimator.importance(X, output=output)
        names = getattr(estimator, "feature_names_in_", None)
        names = [f"x{j}" for j in range(len(importances))] if names is None else [*names]
        return cls._drawn(names, importances, output, n_features, ax)

    @classmethod
    def from_explanation(cls, explanation: Explanation, *, n_features: int = 20, ax: Any = None) -> ImportanceDisplay:
        """Draw the importance of each feature in explained rows.

        Parameters
        ----------
        explanation : Explanation
            Explanation that `IsolationForest.explain` returned.
        n_features : int, default=20
            Largest number of features to draw, at least 1. One more bar shows the sum of all others.
        ax : matplotlib.axes.Axes, optional
            Axes to draw on. By default a new figure is created.

        Returns
        -------
        ImportanceDisplay
            Display that has been drawn.

        Raises
        ------
        ValueError
            If `n_features` is below 1, the explanation has no rows, or it has only the largest contributions
            (``top=k``).
        """
        if not len(explanation):
            raise ValueError("the explanation has no rows, so no feature has an importance")
        return cls._drawn(explanation.feature_names, explanation.importance(), explanation.output, n_features, ax)

    @classmethod
    def _drawn(
        cls, names: list[str], importances: NDArray[np.float64], output: Output, n_features: int, ax: Any
    ) -> ImportanceDisplay:
        """Draw the largest importances, and the sum of the others."""
        kept, others = _largest(importances, n_features)
        return cls(
            features=[_shortened(names[j]) for j in kept],
            importances=importances[kept],
            others=(len(others), float(importances[others].sum())) if len(others) else None,
            output=output,
        ).plot(ax=ax)

    def plot(self, ax: Any = None) -> ImportanceDisplay:
        """Draw a horizontal bar per feature, the most important feature on top.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on. By default a new figure is created.

        Returns
        -------
        ImportanceDisplay
            This display, with the attributes `ax_` and `figure_`.
        """
        n = len(self.features)
        n_lines = n + (self.others is not None)
        ax = self._axes(ax, (8.5, 1.2 + 0.32 * n_lines))
        bars = ax.barh(np.arange(n), self.importances, color=_NORMAL_COLOR, height=0.7)
        ax.bar_label(bars, [f"{value:.3f}" for value in self.importances], padding=4, fontsize="small")
        names = list(self.features)
        if self.others is not None:
            # A bar of their sum would dwarf the bars of single features.
            n_others, total = self.others
            names.append(f"{n_others} other feature{'s' * (n_others != 1)}")
            ax.annotate(
                f"{total:.3f} in total",
                (0, n),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize="small",
            )
        ax.set_yticks(np.arange(n_lines), [_literal(name) for name in names])
        ax.set_ylim(n_lines - 0.4, -0.6)
        ax.margins(x=0.12)
        ax.set_xlabel(f"Mean absolute contribution\n{_SCALES[self.output]}")
        if self.title is not None:
            ax.set_title(_literal(self.title), loc="left", fontsize="medium")
        ax.grid(visible=True, axis="x", alpha=0.3)
        return self


def _largest(values: NDArray[np.float64], n_features: int) -> tuple[list[int], NDArray[np.intp]]:
    """Return the indices of the values of the largest magnitudes, in descending order, and those of all others.

    A single value more than `n_features` is kept too, since its bar takes no more room than that of the others' sum.
    """
    if n_features < 1:
        raise ValueError(f"n_features must be at least 1, got {n_features}")
    order = np.argsort(-np.abs(values), kind="stable")
    n_kept = len(order) if len(order) <= n_features + 1 else n_features
    return order[:n_kept].tolist(), order[n_kept:]


def _outcome(base: float, sum_of_contributions: float, output: Output) -> str:
    """Return the output of a row and what was expected, in words."""
    actual = base + sum_of_contributions
    if output == "log2":
        return f"anomaly score {2**actual:.3f}, expected {2**base:.3f}"
    return f"mean path length {actual:.2f}, expected {base:.2f}"


def _cell(value: Any) -> str:
    """Return the value of a feature as text."""
    return "missing" if np.isnan(value) else format_value(value)


def _shortened(name: str) -> str:
    """Return a name, of which the middle is left out if it is long, on one line."""
    name = " ".join(name.split())
    half = (MAX_NAME_LENGTH - 1) // 2
    return name if len(name) <= MAX_NAME_LENGTH else f"{name[:half]}…{name[-half:]}"


def _literal(text: str) -> str:
    """Return a text in which matplotlib finds no mathematics."""
    return text.replace("$", r"\$")


def _without_zone(times: Any) -> NDArray[Any]:
    """Return times as NumPy has them: local times without their zone."""
    times = times.dt.tz_localize(None) if times.dt.tz is not None else times
    return np.asarray(times)
