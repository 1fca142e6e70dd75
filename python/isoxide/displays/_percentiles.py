"""Displays of percentiles: the unusual features of one finding, and how many features reach each percentile."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from isoxide._common.format import format_time, format_value
from isoxide.displays._display import Display, FindingsLike, literal

__all__ = ["CutoffDisplay", "FeatureRankDisplay"]


class FeatureRankDisplay(Display):
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
        values, medians = findings.values[finding], findings.typical("median")[finding]
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
        ax, palette = self._axes(ax, (8.5, 1.2 + 0.32 * n))
        is_unusual = self.percentiles >= (np.inf if self.cutoff is None else self.cutoff)
        colors = [palette.anomaly if flag else palette.normal for flag in is_unusual]
        ax.barh(np.arange(n), self.percentiles, color=colors, height=0.7)
        # Matplotlib would take the dollar signs of a name for mathematics.
        ax.set_yticks(np.arange(n), [literal(name) for name in self.features])
        ax.invert_yaxis()
        for position, label in enumerate(self.labels):
            style: dict[str, Any] = {"va": "center", "fontsize": "small", "color": palette.text}
            ax.annotate(literal(label), (101, position), annotation_clip=False, **style)
        if self.cutoff is not None:
            ax.axvline(self.cutoff, color=palette.anomaly, linestyle="--", linewidth=1)
        ax.set(xlim=(0, 100), xlabel="Percentile")
        if self.title is not None:
            ax.set_title(literal(self.title), loc="left", fontsize="medium")
        ax.grid(visible=True, axis="x", alpha=0.3)
        return self


class CutoffDisplay(Display):
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
        ax, palette = self._axes(ax, (8, 4))
        positions = np.arange(len(self.cutoffs))
        ax.plot(positions, self.mean, marker="o", color=palette.normal, label="mean")
        ax.plot(positions, self.minimum, marker="o", color=palette.muted, label="minimum")
        ax.set_xticks(positions, [f"{cutoff:g}" for cutoff in self.cutoffs])
        ax.set(xlabel="Percentile from which a feature counts", ylabel="Features per finding", ylim=(0, None))
        ax.grid(visible=True, alpha=0.3)
        ax.legend()
        return self
