"""Percentiles from their two neighbours in the order of the values, with NumPy's arithmetic."""

from __future__ import annotations

import math

import numpy as np


def percentile_place(n: int, percent: float) -> tuple[int, float]:
    """Where ``numpy.percentile(values, percent)`` looks in `n` sorted values.

    Parameters
    ----------
    n : int
        Number of values, at least 1.
    percent : float
        From 0 to 100.

    Returns
    -------
    tuple of int and float
        The number of the lower neighbour, from 0, and how far the percentile is on the way to the next one, in [0, 1).
    """
    place = (n - 1) * (np.float64(percent) / np.float64(100))
    below = min(math.floor(place), n - 1)
    return below, float(place - below)


def interpolated(low: float, high: float, way: float) -> np.float64:
    """What NumPy's linear interpolation makes of the two neighbours; the order of operations fixes the last bit."""
    a, b = np.float64(low), np.float64(high)
    with np.errstate(invalid="ignore"):
        return b - (b - a) * (1 - way) if way >= 0.5 else a + (b - a) * way
