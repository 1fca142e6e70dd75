"""Rarity of a score: how many rows of the reference score as high, and a band with a name for it.

    rarity = number of rows of the reference / number of these rows whose anomaly score is at least as high

A rarity of 7,300 reads "1 in 7,300 rows of the reference scores as high". If no row of the reference does, the rarity
is the number of its rows, which is then a lower limit ("more than 1 in 7,300").
"""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BANDS", "bands_of", "check_bands", "rarity_of", "rarity_text"]

#: Names of the bands, from the least to the most rare.
BANDS = ("minor", "major", "critical")


def rarity_of(n_as_high: NDArray[np.int64], n_reference: int) -> NDArray[np.float64]:
    """Return the rarity, given the numbers of rows of the reference that score as high."""
    return n_reference / np.maximum(n_as_high, 1).astype(np.float64)


def bands_of(rarity: NDArray[np.float64], limits: Sequence[float]) -> list[str]:
    """Return the band of each rarity; it is empty below the first limit."""
    names = ["", *BANDS]
    return [names[k] for k in np.searchsorted(np.asarray(limits, dtype=np.float64), rarity, side="right")]


def rarity_text(n_as_high: int, n_reference: int) -> str:
    """Return the rarity as text.

    Examples
    --------
    >>> from isoxide.ueba._rarity import rarity_text
    >>> rarity_text(3, 21_900), rarity_text(0, 21_900)
    ('1 in 7,300', 'more than 1 in 21,900')
    """
    if n_as_high <= 0:
        return f"more than 1 in {n_reference:,}"
    rarity = n_reference / n_as_high
    return f"1 in {rarity:,.0f}" if rarity >= 9.95 else f"1 in {rarity:.2g}"


def check_bands(bands: Iterable[Any]) -> tuple[float, ...]:
    """Check the limits of the bands, and return them as a tuple.

    Raises
    ------
    TypeError
        If `bands` is not three numbers.
    ValueError
        If the limits are below 1 or do not ascend.
    """
    limits = tuple(bands) if isinstance(bands, (list, tuple)) else ()
    is_number = [isinstance(limit, numbers.Real) and not isinstance(limit, bool) for limit in limits]
    if len(limits) != len(BANDS) or not all(is_number):
        raise TypeError(f"`bands` must be three numbers, such as (100, 1_000, 10_000), not {bands!r}")
    if not 1 <= limits[0] < limits[1] < limits[2] < np.inf:
        raise ValueError(f"`bands` must ascend from a number of at least 1, but is {limits!r}")
    return tuple(float(limit) for limit in limits)
