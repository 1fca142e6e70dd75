"""Displays of contributions: what made the score of one row, and how much each feature moves the scores of a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoxide._common.format import format_share, format_time, format_value
from isoxide._forest.estimator import IsolationForest
from isoxide._forest.explain import check_output
from isoxide._forest.explanation import ANOMALOUS_SIGN, Explanation, Output
from isoxide.displays._display import Display, FindingsLike, literal, shortened

__all__ = ["ContributionDisplay", "ImportanceDisplay"]

#: What the horizontal axis of contributions shows on each scale.
_SCALES: dict[str, str] = {
    "log2": "log2 of the anomaly score (+1 doubles it)",
    "path_length": "mean path length (fewer splits are more anomalous)",
}


class ContributionDisplay(Display):
    """Waterfall chart of what made the score of one row: a bar per feature, from the expected to the actual output.

    Red bars make the row more anomalous and blue bars less, on each scale, or bars in the colours of matplotlib's style
    that come closest. The most anomalous contribution is on top.

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
            f"Row {shortened(str(item.row_labels[0]))}",
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
            f"{shortened(str(row[findings.entity]))}, {format_time(row[findings.time])}",
            findings.features,
            findings.values[finding],
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
        features = [f"{shortened(names[j])} = {_cell(cells[j])}" for j in kept]
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
        ax, palette = self._axes(ax, (8.5, 1.4 + 0.32 * n))
        # Bars are stacked from the bottom up, that is from the last feature to the first.
        ends = self.base_value + np.cumsum(self.contributions[::-1])[::-1]
        starts = ends - self.contributions
        is_anomalous = self.contributions * ANOMALOUS_SIGN[self.output] > 0
        colors = [palette.anomaly if flag else palette.normal for flag in is_anomalous]
        ax.barh(np.arange(n), self.contributions, left=starts, color=colors, height=0.7)
        for position, (start, end, label) in enumerate(zip(starts, ends, self.labels, strict=True)):
            to_the_right = end >= start
            ax.annotate(
                literal(label),
                (end, position),
                xytext=(4 if to_the_right else -4, 0),
                textcoords="offset points",
                ha="left" if to_the_right else "right",
                va="center",
                fontsize="small",
                color=palette.text,
                bbox={"facecolor": palette.background, "edgecolor": "none", "alpha": 0.85, "pad": 0.5},
            )
            if position:
                ax.plot([end, end], [position - 1.35, position + 0.35], color=palette.muted, linewidth=0.8, zorder=0)
        ax.set_yticks(np.arange(n), [literal(name) for name in self.features])
        ax.set_ylim(n - 0.4, -0.6)
        edges = np.append(ends, self.base_value)
        # Room for the labels at the ends of the outer bars.
        room = 0.3 * (np.ptp(edges) or 1.0)
        ax.set_xlim(edges.min() - room, edges.max() + room)
        ax.axvline(self.base_value, color=palette.muted, linestyle="--", linewidth=1, label="expected")
        if n:
            ax.axvline(ends[0], color=palette.anomaly, linestyle="--", linewidth=1, label="this row")
        ax.legend(loc="best", fontsize="small")
        ax.set_xlabel(_SCALES[self.output])
        if self.title is not None:
            ax.set_title(literal(self.title), loc="left", fontsize="medium")
        ax.grid(visible=True, axis="x", alpha=0.3)
        return self


class ImportanceDisplay(Display):
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
            features=[shortened(names[j]) for j in kept],
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
        ax, palette = self._axes(ax, (8.5, 1.2 + 0.32 * n_lines))
        bars = ax.barh(np.arange(n), self.importances, color=palette.normal, height=0.7)
        labels = [f"{value:.3f}" for value in self.importances]
        ax.bar_label(bars, labels, padding=4, fontsize="small", color=palette.text)
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
                color=palette.text,
            )
        ax.set_yticks(np.arange(n_lines), [literal(name) for name in names])
        ax.set_ylim(n_lines - 0.4, -0.6)
        ax.margins(x=0.12)
        ax.set_xlabel(f"Mean absolute contribution\n{_SCALES[self.output]}")
        if self.title is not None:
            ax.set_title(literal(self.title), loc="left", fontsize="medium")
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
