"""Base of the displays: their axes, the findings that they draw, and colours that follow matplotlib's style.

Rows that are anomalous are drawn in the reddest colour of the style's cycle, and others in the bluest one. In a style
without such colours, the anomalous ones have the colour that stands out most from the background, and the others the
one that stands out least.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from isoxide._common.imports import import_optional

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["Display", "FindingsLike", "Palette", "literal", "palette_of", "shortened"]

#: Longest name of a feature that is drawn in full; of longer ones the beginning and the end are drawn.
MAX_NAME_LENGTH = 40
#: Hues of red and blue on a circle of length 1, and the largest distance from them of a colour that is called so.
RED, BLUE, MAX_DISTANCE = 0.0, 0.58, 0.13
#: Lowest saturation of a colour that has a hue, and lowest contrast to the background of a colour that is drawn.
MIN_SATURATION, MIN_CONTRAST = 0.25, 1.5

Rgb = tuple[float, float, float]


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


class Palette(NamedTuple):
    """Colours of matplotlib's style in which a display draws."""

    normal: Rgb
    anomaly: Rgb
    #: Colour of lines that only help to read the others.
    muted: Rgb
    text: Rgb
    background: Rgb


class Display:
    """Base class of the displays: create axes on demand and keep them."""

    ax_: Any
    figure_: Any

    def _axes(self, ax: Any, size: tuple[float, float]) -> tuple[Axes, Palette]:
        """Return the axes to draw on, and the colours that suit them."""
        plt = import_optional("matplotlib.pyplot", f"{type(self).__name__}.plot")
        if ax is None:
            _, ax = plt.subplots(figsize=size, layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        return ax, palette_of(ax)


def palette_of(ax: Any) -> Palette:
    """Return the colours of matplotlib's style on these axes."""
    import matplotlib as mpl
    from matplotlib.colors import to_rgb, to_rgba

    faces = (ax.get_facecolor(), ax.figure.get_facecolor(), mpl.rcParams["axes.facecolor"])
    # Transparent axes show what is behind them.
    background = next((to_rgb(face) for face in faces if to_rgba(face)[3] >= 0.5), to_rgb(faces[-1]))
    text = to_rgb(ax.title.get_color())
    muted = _mixed(text, background, 0.45)
    cycle = [to_rgb(color) for color in mpl.rcParams["axes.prop_cycle"].by_key().get("color", ())]
    colors = sorted(dict.fromkeys(cycle), key=lambda color: _contrast(color, background))
    colors = [color for color in colors if _contrast(color, background) >= MIN_CONTRAST] or [muted, text]
    anomaly = _nearest(colors, RED) or colors[-1]
    others = [color for color in colors if color != anomaly] or [muted]
    return Palette(_nearest(others, BLUE) or others[0], anomaly, muted, text, background)


def _nearest(colors: list[Rgb], hue: float) -> Rgb | None:
    """Return the colour whose hue is nearest to a given one, or None if all are far from it."""

    def distance(color: Rgb) -> float:
        own, saturation, _ = colorsys.rgb_to_hsv(*color)
        return abs((own - hue + 0.5) % 1 - 0.5) if saturation >= MIN_SATURATION else 1.0

    # If two hues are almost as near, the name belongs to the stronger colour.
    nearest = min(colors, key=lambda color: distance(color) - 0.1 * colorsys.rgb_to_hsv(*color)[1])
    return nearest if distance(nearest) <= MAX_DISTANCE else None


def _contrast(color: Rgb, other: Rgb) -> float:
    """Return the contrast ratio of two colours, as the Web Content Accessibility Guidelines define it."""
    low, high = sorted(_luminance(one) for one in (color, other))
    return (high + 0.05) / (low + 0.05)


def _luminance(color: Rgb) -> float:
    channels = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color)
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), channels, strict=True))


def _mixed(color: Rgb, other: Rgb, share: float) -> Rgb:
    red, green, blue = (share * a + (1 - share) * b for a, b in zip(color, other, strict=True))
    return red, green, blue


def shortened(name: str) -> str:
    """Return a name, of which the middle is left out if it is long, on one line."""
    name = " ".join(name.split())
    half = (MAX_NAME_LENGTH - 1) // 2
    return name if len(name) <= MAX_NAME_LENGTH else f"{name[:half]}…{name[-half:]}"


def literal(text: str) -> str:
    """Return a text in which matplotlib finds no mathematics."""
    return text.replace("$", r"\$")
