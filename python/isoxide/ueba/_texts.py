"""Text that both reports (HTML and Markdown) show: features, notes, descriptions of ranks, and shortened long texts.

The end of a report has the full text of each shortened text, once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isoxide._common.format import format_time, format_value
from isoxide.ueba._decision import distinct
from isoxide.ueba._findings_data import FindingsData

__all__ = [
    "HiddenFinding",
    "LongTexts",
    "Shown",
    "ValueTexts",
    "entity_groups",
    "hidden_findings",
    "hidden_summary",
    "left_out",
    "notes",
    "quiet_text",
    "rank_descriptions",
    "shown_features",
]

#: Longer texts are shortened to a length that leaves space for the reference to the full text.
MAX_SHOWN_LENGTH, CUT_LENGTH = 120, 100


class Shown(NamedTuple):
    """Text in a report, which may be shortened."""

    text: str
    #: Number of the full text at the end of the report, from 1; 0 if the text is not shortened.
    number: int


class LongTexts:
    """Full texts of a report, numbered in the order in which they first occur."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._numbers: dict[str, int] = {}

    def show(self, text: str) -> Shown:
        """Return a text as the report shows it; keep the full text if it is shortened."""
        if len(text) <= MAX_SHOWN_LENGTH:
            return Shown(text, 0)
        if text not in self._numbers:
            self.texts.append(text)
            self._numbers[text] = len(self.texts)
        return Shown(text[:CUT_LENGTH], self._numbers[text])


def entity_groups(findings: FindingsData, *, sort: bool) -> list[tuple[Any, list[int]]]:
    """Return each entity with the indices of its findings.

    Parameters
    ----------
    findings : FindingsData
        Findings of the report.
    sort : bool
        Whether entities come in ascending order. Otherwise the entity with the lowest score comes first, since findings
        are in the order of their scores.

    Returns
    -------
    list of tuple
        Entities, each with a list of integers in ascending order.
    """
    entities = findings.frame[findings.entity].reset_index(drop=True)
    numbers = entities.groupby(entities, sort=sort, dropna=False).ngroup().to_numpy()
    groups: dict[int, list[int]] = {}
    for index in np.argsort(numbers, kind="stable").tolist():
        groups.setdefault(int(numbers[index]), []).append(index)
    cells = entities.tolist()
    return [(cells[indices[0]], indices) for indices in groups.values()]


class ValueTexts(dict[float, str]):
    """Numbers as `format_value` writes them; a number that occurs often, such as a median, is formatted once."""

    def __missing__(self, value: float) -> str:
        text = self[value] = format_value(value)
        return text


def shown_features(findings: FindingsData, selected: NDArray[np.bool_]) -> list[list[int]]:
    """Return the indices of the features that reports list for each finding, the most unusual feature first.

    Parameters
    ----------
    findings : FindingsData
        Findings of the report.
    selected : ndarray of bool, shape (n_findings, n_features)
        Mask of the unusual values.

    Returns
    -------
    list of list of int
        Selected features of each finding, or the most unusual feature if none is selected. For a finding without ranks,
        the features that a rule flags are listed too.
    """
    positions = {name: j for j, name in enumerate(findings.features)}
    is_listed = selected.copy()
    is_unranked = np.asarray(np.isnan(findings.percentiles).all(axis=1))
    if is_unranked.any():
        for row, feature in zip(*(findings.flags[name].tolist() for name in ("row", "feature")), strict=True):
            if is_unranked[int(row)]:
                is_listed[int(row), positions[feature]] = True
    in_order = np.take_along_axis(is_listed, findings.order, axis=1)
    return [order[own].tolist() or order[:1].tolist() for order, own in zip(findings.order, in_order, strict=True)]


def rank_descriptions(findings: FindingsData) -> tuple[str, list[str] | None]:
    """Return a description of the rows that values are ranked among, such as "all 10,969 rows".

    Returns
    -------
    overall : str
        Description for all findings.
    by_finding : list of str or None
        Description for each finding, or None if all are ranked among the same rows.
    """
    ranking = findings.ranking
    by_finding = findings.frame["rank_among"].tolist() if "rank_among" in findings.frame else []
    if not by_finding or any(not isinstance(description, str) for description in by_finding):
        return str(ranking.get("among") or "all rows"), None
    if ranking.get("groups") is None and len(set(by_finding)) == 1:
        return str(by_finding[0]), None
    return str(ranking.get("among") or "the rows of their group"), [str(description) for description in by_finding]


def notes(findings: FindingsData) -> list[str]:
    """Return the notes on the table, such as data-quality warnings, without repetitions."""
    profile = findings.manifest.get("profile") or {}
    size = [] if findings.size_bands is None else [findings.size_bands.note()]
    # Findings of earlier versions have the notes in only one of the two places.
    return list(dict.fromkeys([*size, *(findings.manifest.get("notes") or []), *(profile.get("notes") or [])]))


def left_out(findings: FindingsData) -> list[tuple[str, str]]:
    """Return the columns that are not features, each with the reason."""
    profile: dict[str, Any] = findings.manifest.get("profile") or {}
    return list((profile.get("left_out") or {}).items())


class HiddenFinding(NamedTuple):
    """Texts of a finding that a decision hides."""

    entity: Any
    time: str
    score: str
    rarity: str
    decision: str


def hidden_findings(findings: FindingsData) -> list[HiddenFinding]:
    """Return the texts of the findings that decisions hide, in the order of their scores."""
    hidden = findings.hidden_findings
    if hidden is None:
        return []
    columns = (hidden.frame[name].tolist() for name in (findings.entity, findings.time, "anomaly_score"))
    rows = zip(*columns, hidden.rarity_texts(), hidden.decisions, strict=True)
    return [
        HiddenFinding(entity, format_time(time), f"{score:.4f}", rarity, str(decision))
        for entity, time, score, rarity, decision in rows
    ]


def hidden_summary(findings: FindingsData) -> str:
    """Return how many findings decisions hide, such as "12 hidden by 3 decisions"."""
    hidden = findings.hidden_findings
    n_decisions = 0 if hidden is None else len(distinct(hidden.decisions))
    return f"{findings.n_hidden:,} hidden by {n_decisions:,} decision{'' if n_decisions == 1 else 's'}"


def quiet_text(findings: FindingsData) -> str:
    """Return the highest anomaly score and the threshold, for rows without findings or with hidden ones only."""
    highest = findings.manifest.get("highest") or {"anomaly_score": float(findings.timeline["highest"].max())}
    scores = (highest["anomaly_score"], findings.anomaly_threshold)
    # Scores that differ are shown with enough decimals to see it.
    decimals = next((k for k in (2, 3, 4) if f"{scores[0]:.{k}f}" != f"{scores[1]:.{k}f}"), 6)
    entity = f" ({highest['entity']})" if highest.get("entity") is not None else ""
    lead = f"nothing new: {hidden_summary(findings)}, " if findings.n_hidden else "quiet: "
    return f"{lead}highest score {scores[0]:.{decimals}f}{entity}, threshold {scores[1]:.{decimals}f}"
