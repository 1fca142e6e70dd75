"""Take some of the findings, and put findings together again."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from isoxide._frames.times import days_of
from isoxide.ueba._findings_data import FindingsData

__all__ = ["split", "take", "whole"]

F = TypeVar("F", bound=FindingsData)
#: Attributes with one row per finding.
_MATRICES = ("values", "percentiles", "order", "directions")


def take(findings: F, positions: Sequence[int]) -> F:
    """Return the findings at the given positions, in this order, without hidden ones.

    The manifest is that of all findings, and the timeline counts the findings that are taken.
    """
    rows = np.asarray(positions, dtype=np.intp)
    taken = copy.copy(findings)
    taken.frame = findings.frame.iloc[rows]
    for name in _MATRICES:
        setattr(taken, name, getattr(findings, name)[rows])
    new_number = {old: new for new, old in enumerate(rows.tolist())}
    numbers = findings.flags["row"].map(new_number)
    flags = findings.flags[numbers.notna()].assign(row=numbers[numbers.notna()].astype(np.int64))
    taken.flags = flags.sort_values("row", kind="stable").reset_index(drop=True)
    taken.group_of = None if findings.group_of is None else findings.group_of[rows]
    taken.comparisons = {
        name: ranked._replace(
            **{field: getattr(ranked, field)[rows] for field in ("percentiles", "order", "directions", "rank_rows")},
            rank_among=[ranked.rank_among[row] for row in rows],
            group_of=None if ranked.group_of is None else ranked.group_of[rows],
        )
        for name, ranked in findings.comparisons.items()
    }
    if findings.explained is not None:
        taken.explained = dataclasses.replace(findings.explained, contributions=findings.explained.contributions[rows])
    taken.judged = [findings.judged[row] for row in rows]
    taken.hidden_findings = None
    return _with_counts(taken)


def whole(findings: F) -> F:
    """Return all findings, those that decisions hide included, in the order of their scores."""
    hidden: Any = findings.hidden_findings
    if hidden is None or not len(hidden):
        return take(findings, range(len(findings)))
    both = copy.copy(findings)
    both.frame = pd.concat([findings.frame, hidden.frame])
    for name in _MATRICES:
        setattr(both, name, np.concatenate([getattr(findings, name), getattr(hidden, name)]))
    later = hidden.flags.assign(row=hidden.flags["row"] + len(findings))
    both.flags = pd.concat([own for own in (findings.flags, later) if len(own)] or [findings.flags], ignore_index=True)
    if findings.group_of is not None:
        both.group_of = np.concatenate([findings.group_of, hidden.group_of])
    both.comparisons = {
        name: ranked._replace(
            **{
                field: np.concatenate([getattr(ranked, field), getattr(hidden.comparisons[name], field)])
                for field in ("percentiles", "order", "directions", "rank_rows")
            },
            rank_among=[*ranked.rank_among, *hidden.comparisons[name].rank_among],
            group_of=None
            if ranked.group_of is None
            else np.concatenate([ranked.group_of, hidden.comparisons[name].group_of]),
        )
        for name, ranked in findings.comparisons.items()
    }
    if findings.explained is not None:
        both.explained = dataclasses.replace(
            findings.explained,
            contributions=np.concatenate([findings.explained.contributions, hidden.explained.contributions]),
        )
    both.judged = [*findings.judged, *hidden.judged]
    both.hidden_findings = None
    # This is the order of `detect`: equal scores with the latest time first, then in the order of the table.
    frame = both.frame
    seconds = -frame[findings.time].astype("int64").to_numpy()
    return take(both, np.lexsort((frame.index.to_numpy(), seconds, frame["score"].to_numpy())).tolist())


def split(everything: F) -> F:
    """Return the findings that no decision hides; `hidden_findings` has the others."""
    is_hidden = [one.is_hidden for one in everything.judged]
    shown = take(everything, [number for number, hidden in enumerate(is_hidden) if not hidden])
    shown.hidden_findings = take(everything, [number for number, hidden in enumerate(is_hidden) if hidden])
    return shown


def _with_counts(findings: F) -> F:
    """Set the numbers of findings in the timeline."""
    counts = days_of(findings.frame[findings.time]).value_counts().to_dict()
    days = findings.timeline["day"]
    findings.timeline = findings.timeline.assign(
        findings=np.array([counts.get(day, 0) for day in days], dtype=np.int64)
    )
    return findings
