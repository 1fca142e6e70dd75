"""Remarks about findings that are compared with rows of similar size: what its size explains, and what it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isoxide.ueba._size import SizeBands

__all__ = ["SizeRemark", "remark_text", "size_remarks"]

#: Number of unusual features that a remark names.
MAX_NAMED = 3


class SizeRemark(NamedTuple):
    """Comparison of a finding with the rows of similar size."""

    #: Name of the band.
    band: str
    #: Indices of the features that are unusual for that size, the most unusual one first; without flags.
    unusual: list[int]
    #: Whether at most one row in 20 of all rows has a larger size.
    is_big: bool


def size_remarks(
    size: SizeBands,
    features: list[str],
    *,
    values: NDArray[np.float64],
    percentiles: NDArray[np.float64],
    order: NDArray[np.intp],
    reference: pd.DataFrame,
    flags: set[int],
    cutoff: float,
) -> list[SizeRemark | None]:
    """Return the remark about each finding, or None for a finding without ranks among rows of similar size.

    Parameters
    ----------
    size : SizeBands
        Bands.
    features : list of str
        Names of the features.
    values, percentiles : ndarray of shape (n_findings, n_features)
        Values, and their percentiles among the rows of similar size.
    order : ndarray of shape (n_findings, n_features)
        Indices of the features of each finding in the order of these percentiles, the most unusual feature first.
    reference : DataFrame
        Typical values of all rows.
    flags : set of int
        Indices of features that only mark a row.
    cutoff : float
        Percentile from which a value is unusual.
    """
    sizes = values[:, features.index(size.feature)]
    with np.errstate(invalid="ignore"):
        is_unusual = (percentiles >= cutoff).tolist()
        limit = reference["p95"].to_numpy(dtype=np.float64)[features.index(size.feature)]
        is_big: list[bool] = np.greater_equal(sizes, limit).tolist()
    is_ranked = np.asarray(~np.isnan(percentiles).all(axis=1))
    columns = zip(size.labels(sizes), is_unusual, order.tolist(), is_big, is_ranked.tolist(), strict=True)
    return [
        SizeRemark(band, [j for j in own_order if own[j] and j not in flags], big)
        if ranked and band is not None
        else None
        for band, own, own_order, big, ranked in columns
    ]


def remark_text(remark: SizeRemark, unit: str, size: int, name: Callable[[int], str]) -> str:
    """Return a remark in words.

    Parameters
    ----------
    remark : SizeRemark
        The remark.
    unit : str
        Noun for a row, such as "day".
    size : int
        Index of the feature that tells the size.
    name : callable
        Function that returns the name of a feature, given its index, as the format writes it.

    Examples
    --------
    >>> from isoxide.ueba._size_remarks import SizeRemark, remark_text
    >>> name = ["n_files", "n_hosts", "n_errors"].__getitem__
    >>> remark_text(SizeRemark("64 or more", [], True), "day", 0, name)
    'Just a big day: no value is unusual for a day of this size (n_files 64 or more).'
    >>> remark_text(SizeRemark("8 to 15", [2, 1], False), "day", 0, name)
    'Compared with days of similar size (n_files 8 to 15), 2 features are unusual: n_errors and n_hosts.'
    """
    band = f"{name(size)} {remark.band}"
    n = len(remark.unusual)
    if n == 0:
        lead = f"Just a big {unit}: no" if remark.is_big else "No"
        return f"{lead} value is unusual for a {unit} of this size ({band})."
    named = [name(j) for j in remark.unusual[:MAX_NAMED]]
    if n > len(named):
        named.append(f"{n - len(named)} more")
    *first, last = named
    listed = f"{', '.join(first)} and {last}" if first else last
    are = "feature is" if n == 1 else "features are"
    return f"Compared with {unit}s of similar size ({band}), {n} {are} unusual: {listed}."
