"""Quantiles from their two neighbours in the order of the values, with NumPy's arithmetic."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def quantile_place(n: int, q: float) -> tuple[int, float]:
    """Where ``numpy.quantile(values, q)`` looks in `n` sorted values.

    Parameters
    ----------
    n : int
        Number of values, at least 1.
    q : float
        From 0 to 1.

    Returns
    -------
    tuple of int and float
        The number of the lower neighbour, from 0, and how far the quantile is on the way to the next one, in [0, 1).
    """
    place = (n - 1) * np.float64(q)
    below = min(math.floor(place), n - 1)
    return below, float(place - below)


def interpolated(low: float, high: float, way: float, dtype: type[np.floating[Any]] = np.float64) -> np.float64:
    """What NumPy's linear interpolation makes of two neighbours; the order of operations fixes the last bit."""
    a, b = dtype(low), dtype(high)
    with np.errstate(invalid="ignore"):
        # The difference is one of the values' own type, all else of float64.
        step = np.float64(b - a)
        return np.float64(b) - step * (1 - way) if way >= 0.5 else np.float64(a) + step * way
