"""Chart of the highest anomaly score of each day and of the days with findings, as coordinates for an SVG image."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from isoxide._common.format import format_value

__all__ = ["draw"]

#: Height of the plot in pixels. Widths are percentages, so that text and dots have the same size on every screen.
HEIGHT = 180
_TOP, _BOTTOM = 8, 172
#: Maximum number of labels of the horizontal axis; more labels would overlap on a phone.
_MAX_LABELS = 4


def draw(timeline: pd.DataFrame, threshold: float) -> dict[str, Any]:
    """Return the coordinates and texts of the chart.

    Parameters
    ----------
    timeline : DataFrame
        One row per day: ``day``, ``rows``, ``highest`` (the highest anomaly score) and ``findings`` (their number).
    threshold : float
        Anomaly score that findings are above.

    Returns
    -------
    dict
        ``height`` of the plot in pixels; ``path``, the line of the highest scores, in a box of 1,000 by ``height``;
        ``dots``, the days with findings; ``threshold``, its vertical coordinate; ``levels`` and ``labels`` of the axes;
        and ``summary``, a sentence that describes the chart to screen readers.
    """
    table = timeline.sort_values("day")
    days = pd.DatetimeIndex(table["day"])
    highest = table["highest"].to_numpy(dtype=np.float64)
    n_findings = table["findings"].to_numpy()
    names = days.strftime("%Y-%m-%d").tolist()
    low, high = min(float(highest.min()), threshold), max(float(highest.max()), threshold)
    step = _step(high - low)
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    since = (days - days[0]) / pd.Timedelta(days=1)
    span = max(float(since[-1]), 1.0)
    # The dots of the first and the last day need a margin.
    x = 1 + 98 * np.asarray(since, dtype=np.float64) / span if len(days) > 1 else np.array([50.0])

    def y(score: float) -> float:
        return round(_TOP + (_BOTTOM - _TOP) * (high - score) / (high - low), 1)

    points = [f"{10 * left:.1f} {y(score):g}" for left, score in zip(x, highest, strict=True)]
    dots = [
        {
            "day": names[i],
            "x": f"{x[i]:.2f}",
            "y": f"{y(highest[i]):g}",
            "r": f"{min(2.5 + math.sqrt(n_findings[i]), 8):.1f}",
            "title": f"{names[i]}: {_count(n_findings[i], 'finding')}, highest score {format_value(highest[i])}",
        }
        for i in np.flatnonzero(n_findings)
    ]
    ticks = np.arange(round(low / step), round(high / step) + 1) * step
    return {
        "height": HEIGHT,
        "path": f"M{'L'.join(points)}",
        "dots": dots,
        "threshold": y(threshold),
        "levels": [(y(tick), f"{tick:.10g}") for tick in ticks],
        "labels": _labels(days, x),
        "summary": _summary(names, highest, n_findings),
    }


def _step(span: float) -> float:
    """Return a round distance between grid lines that gives three to six lines in a span of scores."""
    if span <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(span / 3))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= span / 3 * (1 + 1e-9))


def _labels(days: pd.DatetimeIndex, x: np.ndarray[Any, Any]) -> list[tuple[str, str, str]]:
    """Return position in percent, text anchor and text of the days that label the horizontal axis."""
    if len(days) == 1:
        return [("50", "middle", f"{days[0]:%Y-%m-%d}")]
    last = min(_MAX_LABELS, len(days)) - 1
    span = days[-1] - days[0]
    labels = []
    for i in range(last + 1):
        anchor = "start" if i == 0 else "end" if i == last else "middle"
        position = x[0] + (x[-1] - x[0]) * i / last
        labels.append((f"{position:.2f}", anchor, f"{days[0] + span * i / last:%Y-%m-%d}"))
    return labels


def _summary(names: list[str], highest: np.ndarray[Any, Any], n_findings: np.ndarray[Any, Any]) -> str:
    """Return a sentence that describes the chart to screen readers."""
    worst, busiest = int(np.argmax(highest)), int(np.argmax(n_findings))
    total, n_days = int(n_findings.sum()), int((n_findings > 0).sum())
    return (
        f"Highest anomaly score of each day from {names[0]} to {names[-1]}. There are findings on {n_days:,} of "
        f"{_count(len(names), 'day')}, {total:,} in all. The highest is {format_value(highest[worst])} on "
        f"{names[worst]}. The day with the most findings is {names[busiest]} with {n_findings[busiest]:,}."
    )


def _count(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless the number is 1."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
