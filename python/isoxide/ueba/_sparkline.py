"""Small chart of the anomaly scores of one entity, as an inline SVG image without a script."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Sparkline", "draw_sparkline"]

#: Size of the image in pixels, and the margin that dots need.
WIDTH, HEIGHT, _MARGIN = 160, 28, 3
#: Anomaly scores are from 0 to 1, and nearly all are between these, so that all images have the same scale.
_LOW, _HIGH = 0.3, 0.8


class Sparkline(NamedTuple):
    """Coordinates and description of the image."""

    path: str
    #: Vertical coordinate of the threshold.
    threshold: float
    #: Coordinates of the days with findings.
    dots: list[tuple[float, float]]
    #: Description for screen readers.
    title: str


def draw_sparkline(
    days: Sequence[str], scores: Sequence[float], threshold: float, finding_days: set[str]
) -> Sparkline | None:
    """Return the image of the scores of one entity; None for fewer than two days, which have no course.

    Parameters
    ----------
    days : sequence of str
        Days in ISO 8601, in ascending order.
    scores : sequence of float
        Highest anomaly score of each day.
    threshold : float
        Anomaly score that findings are above.
    finding_days : set of str
        Days with findings, which get a dot.

    Examples
    --------
    >>> from isoxide.ueba._sparkline import draw_sparkline
    >>> draw_sparkline(["2025-01-01", "2025-01-03"], [0.4, 0.7], 0.6, {"2025-01-03"}).title
    'anomaly scores of 2 days from 2025-01-01 to 2025-01-03, the highest 0.70 on 2025-01-03'
    """
    if len(days) < 2:
        return None
    low, high = min(_LOW, *scores, threshold), max(_HIGH, *scores, threshold)
    since = [datetime.date.fromisoformat(day).toordinal() for day in days]
    span = since[-1] - since[0]

    def y(score: float) -> float:
        return round(_MARGIN + (HEIGHT - 2 * _MARGIN) * (high - score) / (high - low), 1)

    points = [
        (round(_MARGIN + (WIDTH - 2 * _MARGIN) * (day - since[0]) / span, 1), y(score))
        for day, score in zip(since, scores, strict=True)
    ]
    best = max(range(len(days)), key=lambda k: scores[k])
    return Sparkline(
        path="M" + "L".join(f"{left:g} {top:g}" for left, top in points),
        threshold=y(threshold),
        dots=[point for day, point in zip(days, points, strict=True) if day in finding_days],
        title=f"anomaly scores of {len(days)} days from {days[0]} to {days[-1]}, the highest {scores[best]:.2f} on "
        f"{days[best]}",
    )
