"""Apply decisions to findings: hide those that are known, and label the others.

A decision that hides (known-good, false-positive) is about an entity and the features for which its finding was known.
It hides a finding of this entity as long as

- it has not passed its last day,
- every reason of the finding is one of these features, and
- the anomaly score is at most 0.05 higher than that of the decided finding.

The reasons are the features at or above the cut-off, or the most unusual one if none is. A finding that shares a reason
with the decision but does not meet the last two conditions is "stronger" than the decision. A finding without a common
reason has nothing to do with the decision. A decision about the finding itself comes before those about other days of
its entity.
"""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any, TypeVar

import pandas as pd

from isoxide._common.messages import did_you_mean
from isoxide.ueba._decision import Decision, distinct
from isoxide.ueba._decisions import Decisions
from isoxide.ueba._findings_data import FindingsData
from isoxide.ueba._identifiers import time_text
from isoxide.ueba._review import Judged
from isoxide.ueba._selection import split, whole
from isoxide.ueba._texts import shown_features

__all__ = ["MAX_INCREASE", "apply_decisions", "covered_features", "decision_about"]

F = TypeVar("F", bound=FindingsData)
#: Difference of anomaly scores from which a finding is stronger than the one that was decided or found before.
MAX_INCREASE = 0.05
#: Smallest number of digits of an identifier that name a finding.
MIN_PREFIX = 6
#: Largest number of features that a reason names.
MAX_NAMED_FEATURES = 3


def covered_features(findings: FindingsData, cutoff: float) -> list[list[int]]:
    """Return the indices of the features that a decision about each finding covers, the most unusual feature first.

    Parameters
    ----------
    findings : FindingsData
        Findings.
    cutoff : float
        Percentile, from 0 to 100, at or above which a feature is covered. If none is, the most unusual feature is.
    """
    return shown_features(findings, findings.selected(cutoff))


def apply_decisions(findings: F, decisions: Decisions, today: datetime.date, cutoff: float) -> F:
    """Return the findings that no decision hides; `Findings.apply` describes the arguments."""
    everything = whole(findings)
    current = decisions.current
    expired = [decision for decision in current if decision.is_over(today)]
    holding = [decision for decision in current if not decision.is_over(today)]
    of_finding = {decision.id: decision for decision in holding if decision.id is not None}
    of_entity: dict[str, list[Decision]] = {}
    for decision in reversed(holding):
        if decision.entity is not None and (decision.hides or decision.id is None):
            of_entity.setdefault(decision.entity, []).append(decision)
    frame = everything.frame
    columns = (frame[name].tolist() for name in ("finding_id", everything.entity, "anomaly_score"))
    judged = []
    for (own_id, name, score), reasons, known in zip(
        zip(*columns, strict=True), covered_features(everything, cutoff), everything.judged, strict=True
    ):
        entity = None if pd.isna(name) else str(name)
        own = of_finding.get(own_id)
        if own is not None and own.entity not in (None, entity):
            own = None
        others = [] if entity is None else of_entity.get(entity, [])
        candidates = [*([] if own is None else [own]), *(other for other in others if other is not own)]
        names = [everything.features[j] for j in reasons]
        judged.append(Judged(known.seen, *_judge(candidates, own, names, float(score))))
    matched = {decision.subject for decision in distinct(one.decision for one in judged)}
    everything.judged = judged
    everything.review = dataclasses.replace(
        findings.review,
        cutoff=cutoff,
        today=today,
        source=decisions.source,
        sha256=decisions.sha256,
        n_decisions=len(current),
        expired=expired,
        unmatched=[decision for decision in holding if decision.subject not in matched],
    )
    return split(everything)


def _judge(
    candidates: list[Decision], own: Decision | None, reasons: list[str], score: float
) -> tuple[Decision | None, str]:
    """Return the decision that applies to a finding, and why it does not hold any more; None and "" if none applies."""
    outgrown: tuple[Decision | None, str] = None, ""
    for decision in candidates:
        is_related = decision is own or not decision.features or not set(reasons).isdisjoint(decision.features)
        if not is_related:
            continue
        if not decision.hides:
            # A label holds whatever the finding looks like now.
            return decision, ""
        reason = _excess(decision, reasons, score)
        if not reason:
            return decision, ""
        if outgrown[0] is None:
            outgrown = decision, reason
    return outgrown


def _excess(decision: Decision, reasons: list[str], score: float) -> str:
    """Return in what way a finding is stronger than a decision; an empty text if it is not."""
    texts = []
    further = [name for name in reasons if name not in decision.features] if decision.features else []
    if further:
        n_more = len(further) - MAX_NAMED_FEATURES
        named = ", ".join(further[:MAX_NAMED_FEATURES]) + (f" and {n_more} more" if n_more > 0 else "")
        texts.append(f"{named} {'is' if len(further) == 1 else 'are'} unusual too")
    if decision.score is not None and score > decision.score + MAX_INCREASE:
        texts.append(f"the score is {score:.2f}, and was {decision.score:.2f} when it was decided")
    return "; ".join(texts)


def decision_about(
    findings: FindingsData,
    finding: str,
    *,
    status: str,
    until: datetime.date | None,
    note: str,
    who: str,
    when: datetime.datetime,
    cutoff: float,
) -> Decision:
    """Return a decision about a finding; `Findings.decide` describes the arguments."""
    everything: Any = whole(findings)
    ids = everything.frame["finding_id"].tolist()
    number = _position(ids, finding)
    entity = everything.frame[everything.entity].iloc[number]
    return Decision(
        id=ids[number],
        entity=None if pd.isna(entity) else str(entity),
        time=time_text(everything.frame[everything.time].iloc[number]),
        features=tuple(everything.features[j] for j in covered_features(everything, cutoff)[number]),
        score=float(everything.frame["anomaly_score"].iloc[number]),
        status=status,
        until=until,
        who=who,
        when=when,
        note=note,
    )


def _position(ids: list[str], finding: str) -> int:
    """Return the position of the finding with an identifier, or with its first digits."""
    if not isinstance(finding, str):
        raise TypeError(f"finding must be the identifier of a finding, not {finding!r}")
    if finding in ids:
        return ids.index(finding)
    if len(finding) < MIN_PREFIX:
        raise ValueError(f"{finding!r} is too short: give at least {MIN_PREFIX} digits of the identifier of a finding")
    matching = sorted({own for own in ids if own.startswith(finding)})
    if len(matching) == 1:
        return ids.index(matching[0])
    if matching:
        raise ValueError(
            f"{finding!r} is the start of several identifiers: {', '.join(matching[:5])}; give more digits"
        )
    raise ValueError(f"no finding has the identifier {finding!r}{did_you_mean(finding, ids)}")
