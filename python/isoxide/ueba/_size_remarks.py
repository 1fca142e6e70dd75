"""Remarks about findings that are compared with rows of similar size: what its size explains, and what it does not."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isoxide.ueba._size import SizeBands

__all__ = ["SizeRemark", "remark_text", "size_remarks"]


class SizeRemark(NamedTuple):
    """Comparison of a finding with the rows of similar size."""

    #: Name of the band.
    band: str
    #: Number of features that are unusual for that size, without flags.
    n_unusual: int
    #: Whether at most one row in 20 of all rows has a larger size.
    is_big: bool


def size_remarks(
    size: SizeBands,
    features: list[str],
    *,
    values: NDArray[np.float64],
    percentiles: NDArray[np.float64],
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
    reference : DataFrame
        Typical values of all rows.
    flags : set of int
        Indices of features that only mark a row.
    cutoff : float
        Percentile from which a value is unusual.
    """
    sizes = values[:, features.index(size.feature)]
    is_counted = np.ones(len(features), dtype=bool)
    is_counted[sorted(flags)] = False
    with np.errstate(invalid="ignore"):
        n_unusual = (percentiles[:, is_counted] >= cutoff).sum(axis=1).tolist()
        limit = reference["p95"].to_numpy(dtype=np.float64)[features.index(size.feature)]
        is_big: list[bool] = np.greater_equal(sizes, limit).tolist()
    is_ranked = np.asarray(~np.isnan(percentiles).all(axis=1))
    return [
        SizeRemark(band, n, big) if ranked and band is not None else None
        for band, n, big, ranked in zip(size.labels(sizes), n_unusual, is_big, is_ranked.tolist(), strict=True)
    ]


def remark_text(remark: SizeRemark, unit: str, feature: str) -> str:
    """Return a remark in words.

    Parameters
    ----------
    remark : SizeRemark
        The remark.
    unit : str
        What a row is called, such as "day".
    feature : str
        Name of the feature that tells the size, as the format writes it.

    Examples
    --------
    >>> from isoxide.ueba._size_remarks import SizeRemark, remark_text
    >>> remark_text(SizeRemark("64 or more", 0, True), "day", "n_files")
    'Just a big day: no value is unusual for a day of this size (n_files 64 or more).'
    >>> remark_text(SizeRemark("8 to 15", 2, False), "day", "n_files")
    'Compared with days of similar size (n_files 8 to 15), 2 features are unusual.'
    """
    band = f"{feature} {remark.band}"
    if remark.n_unusual == 0:
        lead = f"Just a big {unit}: no" if remark.is_big else "No"
        return f"{lead} value is unusual for a {unit} of this size ({band})."
    are = "feature is" if remark.n_unusual == 1 else "features are"
    return f"Compared with {unit}s of similar size ({band}), {remark.n_unusual} {are} unusual."
