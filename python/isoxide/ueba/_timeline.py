"""The lowest score of each day, and the days with findings, as what an SVG image is made of."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from isoxide._common.format import format_value

__all__ = ["draw"]

#: Pixels from top to bottom of the plot; widths are percentages, so that text and dots keep their size on any screen.
HEIGHT = 180
_TOP, _BOTTOM = 8, 172
#: Days written below; more would run into each other on a phone.
_LABELS = 4


def draw(timeline: pd.DataFrame) -> dict[str, Any]:
    """Coordinates and words.

    Parameters
    ----------
    timeline : DataFrame
        See `Findings.timeline`.

    Returns
    -------
    dict
        ``path`` (of the lowest scores, in a square of 1,000 by `HEIGHT`), ``dots`` (days with findings), ``levels``
        and ``labels`` of the axes, ``zero`` (where findings begin), and ``words`` (what the image shows).
    """
    table = timeline.sort_values("day")
    days = pd.DatetimeIndex(table["day"])
    lowest = table["lowest"].to_numpy(dtype=np.float64)
    found = table["findings"].to_numpy()
    names = days.strftime("%Y-%m-%d").tolist()
    low, high = min(float(lowest.min()), 0.0), max(float(lowest.max()), 0.0)
    step = _step(high - low)
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    since = (days - days[0]) / pd.Timedelta(days=1)
    span = max(float(since[-1]), 1.0)
    # A margin for the dots on the edges.
    x = 1 + 98 * np.asarray(since, dtype=np.float64) / span if len(days) > 1 else np.array([50.0])

    def y(score: float) -> float:
        return round(_TOP + (_BOTTOM - _TOP) * (high - score) / (high - low), 1)

    points = [f"{10 * left:.1f} {y(score):g}" for left, score in zip(x, lowest, strict=True)]
    dots = [
        {
            "day": names[i],
            "x": f"{x[i]:.2f}",
            "y": f"{y(lowest[i]):g}",
            "r": f"{min(2.5 + math.sqrt(found[i]), 8):.1f}",
            "words": f"{names[i]}: {_many(found[i], 'finding')}, lowest score {format_value(lowest[i])}",
        }
        for i in np.flatnonzero(found)
    ]
    ticks = np.arange(round(low / step), round(high / step) + 1) * step
    return {
        "height": HEIGHT,
        "path": f"M{'L'.join(points)}",
        "dots": dots,
        "zero": y(0.0),
        "levels": [(y(tick), f"{tick:.10g}") for tick in ticks],
        "labels": _labels(days, x),
        "words": _words(names, lowest, found),
    }


def _step(span: float) -> float:
    """A round distance between three to six lines."""
    if span <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(span / 3))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= span / 3 * (1 + 1e-9))


def _labels(days: pd.DatetimeIndex, x: np.ndarray[Any, Any]) -> list[tuple[str, str, str]]:
    """Place, anchor and text of the days written below."""
    if len(days) == 1:
        return [("50", "middle", f"{days[0]:%Y-%m-%d}")]
    last = min(_LABELS, len(days)) - 1
    span = days[-1] - days[0]
    labels = []
    for i in range(last + 1):
        anchor = "start" if i == 0 else "end" if i == last else "middle"
        place = x[0] + (x[-1] - x[0]) * i / last
        labels.append((f"{place:.2f}", anchor, f"{days[0] + span * i / last:%Y-%m-%d}"))
    return labels


def _words(names: list[str], lowest: np.ndarray[Any, Any], found: np.ndarray[Any, Any]) -> str:
    worst, most = int(np.argmin(lowest)), int(np.argmax(found))
    return (
        f"Lowest score of each day, {names[0]} to {names[-1]}. {_many(int(found.sum()), 'finding')} on "
        f"{(found > 0).sum():,} of {_many(len(names), 'day')}. The lowest score, {format_value(lowest[worst])}, is of "
        f"{names[worst]}. Most on one day: {_many(found[most], 'finding')}, {names[most]}."
    )


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
