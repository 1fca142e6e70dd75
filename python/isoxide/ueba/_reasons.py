"""Reasons of a finding: features, each together with those of its family, which move together and so say the same.

`ordered_reasons` is the one definition of their order: features that reach the cut-off come first, the largest share of
the score first, and flags such as ``is_weekend`` come last. There are two selections in this order:

    listed_reasons    the features that a report lists, for its sentences and tables (`isoxide.ueba._sentences`)
    leading_reasons   at most three for tickets and other systems, also features that only add to the score
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isoxide._common.format import format_percentile, format_value

__all__ = ["N_REASONS", "Reason", "TicketReason", "leading_reasons", "ordered_reasons", "reason_text"]

#: Number of reasons of a finding that lead.
N_REASONS = 3
#: Percentile at or above which a feature is unusual, as in the reports.
_CUTOFF = 99.0


class Reason(NamedTuple):
    """Feature that makes a finding unusual, with the other candidates of its family."""

    feature: int
    related: list[int]
    #: Share of the whole family in what makes the finding anomalous, or None if it is not known.
    share: float | None


class TicketReason(NamedTuple):
    """Reason with its numbers, for tickets and other systems; numbers that are not known are None."""

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


def ordered_reasons(
    candidates: Iterable[int],
    percentiles: Sequence[float],
    shares: Sequence[float] | None,
    family_of: Mapping[int, list[int]],
    flags: Collection[int],
    cutoff: float,
) -> list[Reason]:
    """Return the reasons of a finding, the most important one first.

    Parameters
    ----------
    candidates : iterable of int
        Indices of features, the most unusual one first.
    percentiles : sequence of float
        Percentile of each feature.
    shares : sequence of float or None
        Share of each feature in what makes the finding anomalous, if it is known.
    family_of : mapping of int to list of int
        Features of the family of each feature that has one.
    flags : collection of int
        Features that only mark a row, and so come last.
    cutoff : float
        Percentile from which a value is unusual.

    Returns
    -------
    list of Reason
        One for each family with a candidate. Its feature is the first unusual one, or if none is unusual the one with
        the largest share.
    """
    groups: dict[int, list[int]] = {}
    for j in candidates:
        groups.setdefault(family_of[j][0] if j in family_of else j, []).append(j)
    ranked = []
    for position, members in enumerate(groups.values()):
        unusual = [j for j in members if percentiles[j] >= cutoff]
        share = None if shares is None else math.fsum(shares[j] for j in family_of.get(members[0], members))
        lead = unusual[0] if unusual else members[0] if shares is None else max(members, key=lambda j: shares[j])
        reason = Reason(lead, [j for j in members if j != lead], share)
        ranked.append(((lead in flags, not unusual, -(share or 0.0), position), reason))
    return [reason for _, reason in sorted(ranked, key=lambda item: item[0])]


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
    flags: Collection[int],
) -> list[list[TicketReason]]:
    """Return the leading reasons of each finding, at most `N_REASONS`, the most important one first.

    Features that neither reach the 99th percentile nor belong to a family that adds to the score are no reasons. If a
    finding has none at all, its most unusual feature is the only one.

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
    flags : collection of int
        Features that only mark a row, and so come last.
    """
    family_of = {j: family for family in families for j in family}
    result = []
    for row, own_order in enumerate(order.tolist()):
        own_percentiles = percentiles[row].tolist()
        own_shares = None if shares is None else shares[row].tolist()
        adding = set() if own_shares is None else {j for j in own_order if own_shares[j] > 0}
        adding |= {member for j in adding for member in family_of.get(j, ())}
        candidates = [j for j in own_order if own_percentiles[j] >= _CUTOFF or j in adding] or own_order[:1]
        reasons = ordered_reasons(candidates, own_percentiles, own_shares, family_of, flags, _CUTOFF)
        result.append(
            [
                TicketReason(
                    features[j],
                    _known(values[row, j]),
                    _known(typical[row, j]),
                    _known(own_percentiles[j]),
                    int(directions[row, j]),
                    share,
                    sum(own_percentiles[k] >= _CUTOFF for k in related),
                )
                for j, related, share in reasons[:N_REASONS]
            ]
        )
    return result


def reason_text(reason: TicketReason) -> str:
    """Return a reason in words.

    Examples
    --------
    >>> from isoxide.ueba._reasons import TicketReason, reason_text
    >>> reason_text(TicketReason("n_files", 1887.0, 11.0, 99.987, 1, 0.3, 12))
    'n_files 1,887 (typical 11, percentile 99.98; 12 related features)'
    >>> reason_text(TicketReason("n_files", None, 11.0, None, 0, None, 0))
    'n_files missing (typical 11)'
    """
    facts = [] if reason.typical is None else [f"typical {format_value(reason.typical)}"]
    if reason.percentile is not None:
        facts.append(f"percentile {format_percentile(reason.percentile)}")
    related = f"{reason.n_related} related feature{'' if reason.n_related == 1 else 's'}" if reason.n_related else ""
    among = "; ".join(part for part in (", ".join(facts), related) if part)
    value = "missing" if reason.value is None else format_value(reason.value)
    return f"{reason.feature} {value}{f' ({among})' if among else ''}"


def _known(value: float) -> float | None:
    """Return a number, or None for NaN and infinities, which JSON lacks."""
    return float(value) if math.isfinite(value) else None
