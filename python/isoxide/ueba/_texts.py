"""Texts that both reports show: features, notes, descriptions of ranks, and long texts, which are cut.

The full text of each cut one stands once at the end of a report.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isoxide.ueba._findings_data import FindingsData

__all__ = ["LongTexts", "Shown", "left_out", "notes", "rank_descriptions", "shown_features"]

#: Texts of more characters are cut, to a length that leaves room for the reference to the full text.
MAX_SHOWN_LENGTH, CUT_LENGTH = 120, 100


class Shown(NamedTuple):
    """A text in a report, which may be cut."""

    text: str
    #: Number of the full text at the end of the report, from 1; 0 if the text is not cut.
    number: int


class LongTexts:
    """Full texts of a report, numbered in the order in which they first occur."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._numbers: dict[str, int] = {}

    def show(self, text: str) -> Shown:
        """Return a text as the report shows it; the full text of a long one is kept."""
        if len(text) <= MAX_SHOWN_LENGTH:
            return Shown(text, 0)
        if text not in self._numbers:
            self.texts.append(text)
            self._numbers[text] = len(self.texts)
        return Shown(text[:CUT_LENGTH], self._numbers[text])


def shown_features(findings: FindingsData, selected: NDArray[np.bool_]) -> list[list[int]]:
    """Return the indices of the features that reports list for each finding, the most unusual feature first.

    Parameters
    ----------
    findings : FindingsData
        Findings of the report.
    selected : ndarray of bool, shape (n_findings, n_features)
        Values that are unusual.

    Returns
    -------
    list of list of int
        The selected features, or else the most unusual one. A finding without ranks also lists features that a rule
        flags.
    """
    positions = {name: j for j, name in enumerate(findings.features)}
    wanted = selected.copy()
    unranked = np.asarray(np.isnan(findings.percentiles).all(axis=1))
    for row, feature in zip(findings.flags["row"], findings.flags["feature"], strict=True):
        if unranked[int(row)]:
            wanted[int(row), positions[feature]] = True
    return [
        [int(j) for j in order if own[j]] or [int(j) for j in order[:1]]
        for order, own in zip(findings.order, wanted, strict=True)
    ]


def rank_descriptions(findings: FindingsData) -> tuple[str, list[str] | None]:
    """Return a description of the rows that values are ranked among, such as "all 10,969 rows".

    Returns
    -------
    overall : str
        Description for all findings.
    own : list of str or None
        Description for each finding, or None if all are ranked among the same rows.
    """
    ranking = findings.ranking
    own = findings.frame["rank_among"].tolist() if "rank_among" in findings.frame else []
    if not own or any(not isinstance(description, str) for description in own):
        return str(ranking.get("among") or "all rows"), None
    if ranking.get("groups") is None and len(set(own)) == 1:
        return str(own[0]), None
    return str(ranking.get("among") or "the rows of their group"), [str(description) for description in own]


def notes(findings: FindingsData) -> list[str]:
    """Return the notes on the table, such as data-quality warnings, each once."""
    profile = findings.manifest.get("profile") or {}
    # Findings of an earlier version have the notes of the table in one of the two only.
    return list(dict.fromkeys([*(findings.manifest.get("notes") or []), *(profile.get("notes") or [])]))


def left_out(findings: FindingsData) -> list[tuple[str, str]]:
    """Return the columns that are not features, each with the reason."""
    profile: dict[str, Any] = findings.manifest.get("profile") or {}
    return list((profile.get("left_out") or {}).items())
