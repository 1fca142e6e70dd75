"""Texts of findings as reports show them: long ones are cut, each with its full text once at the end."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isoxide.ueba._findings_data import FindingsData

__all__ = ["LongTexts", "Shown", "amongs", "left_out", "notes", "shown_features"]

#: Characters of a text that are shown where it stands, and those of a longer one that is cut.
_WHOLE, _CUT = 120, 100


class Shown(NamedTuple):
    """A text as it stands in a report."""

    text: str
    #: The number of the full text, from 1; 0 if this is all of it.
    number: int


class LongTexts:
    """The long texts of a report, in the order in which they come."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._numbers: dict[str, int] = {}

    def show(self, text: str) -> Shown:
        """Return a text as it stands in the report; the full text of a long one is kept."""
        if len(text) <= _WHOLE:
            return Shown(text, 0)
        if text not in self._numbers:
            self.texts.append(text)
            self._numbers[text] = len(self.texts)
        return Shown(text[:_CUT], self._numbers[text])


def shown_features(findings: FindingsData, selected: NDArray[np.bool_]) -> list[list[int]]:
    """Return per finding the features that reports show, in its order.

    These are the selected ones, or else the most unusual one. A finding without any ranks shows what a rule flags too.
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


def amongs(findings: FindingsData) -> tuple[str, list[str] | None]:
    """Return words for what all ranks are among, and per finding for its own if these differ.

    Returns
    -------
    tuple
        The words for all findings, and a list with those of each, or None if they are the same.
    """
    ranking = findings.manifest.get("ranking") or {}
    own = findings.frame["rank_among"].tolist() if "rank_among" in findings.frame else []
    if not own or any(not isinstance(words, str) for words in own):
        return str(ranking.get("among") or "all rows"), None
    if ranking.get("groups") is None and len(set(own)) == 1:
        return str(own[0]), None
    return str(ranking.get("among") or "the rows of their group"), [str(words) for words in own]


def notes(findings: FindingsData) -> list[str]:
    """Return what is to be told of the table, a sentence each."""
    profile = findings.manifest.get("profile") or {}
    # The table's own notes are among those of the manifest; findings of an earlier version have them there only.
    return list(dict.fromkeys([*(findings.manifest.get("notes") or []), *(profile.get("notes") or [])]))


def left_out(findings: FindingsData) -> list[tuple[str, str]]:
    """Return the columns that are no features, each with the reason."""
    profile: dict[str, Any] = findings.manifest.get("profile") or {}
    return list((profile.get("left_out") or {}).items())
