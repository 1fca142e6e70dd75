"""The leading reasons of each finding, in words and as numbers, for tickets and for other systems.

A reason is a feature, together with the features of its family, which move together and so say the same. Features that
reach the usual cut-off come first, the largest share of the score first; flags such as ``is_weekend`` come last.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isoxide._common.format import format_value

__all__ = ["N_REASONS", "Reason", "leading_reasons", "reason_text"]

#: Number of reasons of a finding.
N_REASONS = 3
#: Percentile at or above which a feature is unusual, as in the reports.
_CUTOFF = 99.0


class Reason(NamedTuple):
    """Feature that makes a finding unusual; numbers that are not known are None."""

    feature: str
    value: float | None
    #: Median of the rows that the value is ranked among.
    typical: float | None
    percentile: float | None
    #: Side on which the value is unusual: 1 for high, -1 for low, 0 for neither.
    direction: int
    #: Share of the feature and of its family in what makes the finding anomalous.
    share: float | None
    #: Number of further features of the family that are unusual too.
    n_related: int


def leading_reasons(
    features: list[str],
    *,
    values: NDArray[np.float64],
    typical: NDArray[np.float64],
    percentiles: NDArray[np.float64],
    directions: NDArray[np.int8],
    order: NDArray[np.intp],
    shares: NDArray[np.float64] | None,
    families: list[list[int]],
    flags: Collection[str],
) -> list[list[Reason]]:
    """Return the leading reasons of each finding, at most `N_REASONS`, the most important one first.

    Features that neither reach the 99th percentile nor add to the score are no reasons. If a finding has none at all,
    its most unusual feature is the only one.

    Parameters
    ----------
    features : list of str
        Names of the features.
    values, typical, percentiles, directions : ndarray of shape (n_findings, n_features)
        Values of the findings, with the medians, percentiles and directions among the rows that they are ranked among.
    order : ndarray of shape (n_findings, n_features)
        Indices of the features of each finding, the most unusual feature first.
    shares : ndarray of shape (n_findings, n_features) or None
        Share of each feature in what makes a finding anomalous, if it is known.
    families : list of list of int
        Indices of the features of each family.
    flags : collection of str
        Names of features that only mark a row, and so come last.
    """
    family_of = {j: family for family in families for j in family}
    if shares is None:
        shares = np.full(values.shape, np.nan)
    reasons = []
    for row, own_order in enumerate(order.tolist()):
        own_percentiles, own_shares = percentiles[row].tolist(), shares[row].tolist()
        groups: dict[int, list[int]] = {}
        for j in own_order:
            groups.setdefault(family_of[j][0] if j in family_of else j, []).append(j)
        ranked = []
        for position, members in enumerate(groups.values()):
            unusual = [j for j in members if own_percentiles[j] >= _CUTOFF]
            share = math.fsum(own_shares[j] for j in members)
            if unusual or share > 0:
                lead = unusual[0] if unusual else max(members, key=lambda j: own_shares[j])
                weight = -1.0 if math.isnan(share) else share
                ranked.append(
                    (features[lead] in flags, not unusual, -weight, position, lead, share, max(0, len(unusual) - 1))
                )
        chosen = [key[4:] for key in sorted(ranked)[:N_REASONS]] or [(own_order[0], math.nan, 0)]
        reasons.append(
            [
                Reason(
                    features[j],
                    _known(values[row, j]),
                    _known(typical[row, j]),
                    _known(own_percentiles[j]),
                    int(directions[row, j]),
                    _known(share),
                    n_related,
                )
                for j, share, n_related in chosen
            ]
        )
    return reasons


def reason_text(reason: Reason) -> str:
    """Return a reason in words.

    Examples
    --------
    >>> from isoxide.ueba._reasons import Reason, reason_text
    >>> reason_text(Reason("n_files", 1887.0, 11.0, 99.987, 1, 0.3, 12))
    'n_files 1,887 (typical 11, percentile 99.98; 12 related features)'
    >>> reason_text(Reason("n_files", None, 11.0, None, 0, None, 0))
    'n_files missing (typical 11)'
    """
    facts = [] if reason.typical is None else [f"typical {format_value(reason.typical)}"]
    if reason.percentile is not None:
        # Rounded down, so that only the highest value of all is at 100, but not because of the last bit.
        facts.append(f"percentile {math.floor(reason.percentile * 100 + 1e-9) / 100:g}")
    related = f"{reason.n_related} related feature{'' if reason.n_related == 1 else 's'}" if reason.n_related else ""
    among = "; ".join(part for part in (", ".join(facts), related) if part)
    value = "missing" if reason.value is None else format_value(reason.value)
    return f"{reason.feature} {value}{f' ({among})' if among else ''}"


def _known(value: float) -> float | None:
    """Return a number, or None for NaN and infinities, which JSON lacks."""
    return float(value) if math.isfinite(value) else None
