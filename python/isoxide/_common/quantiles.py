"""Compute quantiles from two neighbours in the sorted values, with the arithmetic of NumPy.

    position = q * (n - 1)
    quantile = values[floor(position)] + fraction(position) * (values[floor(position) + 1] - values[floor(position)])

The order of operations determines the last bit, so all callers use this one implementation.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def quantile_position(n: int, q: float) -> tuple[int, float]:
    """Return the two neighbours that ``numpy.quantile(values, q)`` interpolates in `n` sorted values.

    Parameters
    ----------
    n : int
        Number of values, at least 1.
    q : float
        Quantile, from 0 to 1.

    Returns
    -------
    index : int
        Index of the lower neighbour, from 0.
    weight : float
        Weight of the upper neighbour, in [0, 1).
    """
    position = (n - 1) * np.float64(q)
    index = min(math.floor(position), n - 1)
    return index, float(position - index)


def interpolate(low: float, high: float, weight: float, dtype: type[np.floating[Any]] = np.float64) -> np.float64:
    """Interpolate between two neighbours as NumPy does.

    Parameters
    ----------
    low, high : float
        Lower and upper neighbour.
    weight : float
        Weight of the upper neighbour, in [0, 1).
    dtype : type, default=numpy.float64
        Dtype of the values. Their difference is computed in this dtype, everything else in float64.
    """
    a, b = dtype(low), dtype(high)
    with np.errstate(invalid="ignore"):
        step = np.float64(b - a)
        return np.float64(b) - step * (1 - weight) if weight >= 0.5 else np.float64(a) + step * weight
