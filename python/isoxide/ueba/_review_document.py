"""Decisions and states in the JSON document of findings; `_document` describes the fields."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from typing import Any

from isoxide.ueba import _fields as fields
from isoxide.ueba._decision import Decision, distinct
from isoxide.ueba._findings_data import FindingsData
from isoxide.ueba._review import STATES, Judged, Review

__all__ = ["dump_review", "judged_entries", "load_judged", "load_review"]

#: Largest numbers of decisions and of findings of a document.
_MAX_DECISIONS, _MAX_FINDINGS = 1_000_000, 1_000_000
_TEXTS = ("id", "entity", "time", "status", "until", "who", "when", "note")


def dump_review(review: Review, findings: Sequence[FindingsData]) -> tuple[dict[str, Any], dict[Decision, int]]:
    """Return the entry of a document about decisions, and the position of each decision in it.

    Parameters
    ----------
    review : Review
        Record of the decisions.
    findings : sequence of FindingsData
        All findings of the document.
    """
    named = [decision for own in findings for decision in own.decisions]
    decisions = distinct([*named, *review.expired, *review.unmatched])
    index = {decision: number for number, decision in enumerate(decisions)}
    entry = {
        "cutoff": review.cutoff,
        "today": None if review.today is None else review.today.isoformat(),
        "source": review.source,
        "sha256": review.sha256,
        "n_decisions": review.n_decisions,
        "decisions": [_entry(decision) for decision in decisions],
        "expired": [index[decision] for decision in review.expired],
        "unmatched": [index[decision] for decision in review.unmatched],
        "previous": review.previous,
    }
    return entry, index


def _entry(decision: Decision) -> dict[str, Any]:
    """Return a decision as an object, with the texts of a file but without its apostrophes."""
    return {
        **{name: text or None for name, text in decision.to_row().items()},
        "entity": decision.entity,
        "features": list(decision.features),
        "score": decision.score,
        "who": decision.who,
        "note": decision.note,
    }


def judged_entries(judged: Judged, decisions: dict[Decision, int]) -> dict[str, Any]:
    """Return the entries of a finding about its decision and its state."""
    return {
        "status": judged.status,
        "state": judged.state,
        "seen": judged.seen,
        "decision": None if judged.decision is None else decisions[judged.decision],
        "outgrown": judged.outgrown,
    }


def load_review(entry: Any) -> tuple[Review, list[Decision]]:
    """Check the entry of a document about decisions, and return it with the decisions.

    Raises
    ------
    KeyError, TypeError, ValueError
        If a field is missing or invalid.
    """
    if not isinstance(entry, dict):
        raise ValueError(f"'review' is {fields.short(entry)}, but must be an object")
    decisions = [_decision(own) for own in fields.records(entry["decisions"], "decisions", _MAX_DECISIONS)]
    listed = {}
    for name in ("expired", "unmatched"):
        if not isinstance(entry[name], list) or len(entry[name]) > len(decisions):
            raise ValueError(f"{name!r} must be a list, not longer than the decisions")
        listed[name] = [decisions[n] for n in fields.integers(entry[name], name, 0, len(decisions) - 1)]
    today, previous = entry["today"], entry["previous"]
    review = Review(
        cutoff=float(fields.numbers([entry["cutoff"]], "cutoff", 0.0, 100.0)[0]),
        today=None if today is None else datetime.date.fromisoformat(fields.day(today, "today")),
        source=None if entry["source"] is None else fields.text(entry["source"], "source"),
        sha256=None if entry["sha256"] is None else fields.text(entry["sha256"], "sha256"),
        n_decisions=int(fields.integers([entry["n_decisions"]], "n_decisions", 0)[0]),
        previous=None if previous is None else _previous(previous),
        **listed,
    )
    return review, decisions


def _previous(entry: Any) -> dict[str, Any]:
    """Return the facts about an earlier run, of which each is checked."""
    if not isinstance(entry, dict):
        raise ValueError(f"'previous' is {fields.short(entry)}, but must be an object")
    gone = fields.records(entry["gone"], "gone", _MAX_FINDINGS)
    scores = fields.numbers([row["anomaly_score"] for row in gone], "anomaly_score").tolist()
    return {
        "source": None if entry["source"] is None else fields.text(entry["source"], "source"),
        **{name: None if entry[name] is None else fields.day(entry[name], name) for name in ("first_day", "last_day")},
        "findings": int(fields.integers([entry["findings"]], "findings", 0)[0]),
        "changes": fields.names(entry["changes"], "changes", _MAX_DECISIONS),
        "gone": [
            {
                "id": fields.text(row["id"], "id"),
                "entity": fields.entity(row["entity"]),
                "time": fields.text(row["time"], "time"),
                "anomaly_score": score,
                "reason": fields.text(row["reason"], "reason"),
            }
            for row, score in zip(gone, scores, strict=True)
        ],
    }


def _decision(entry: dict[str, Any]) -> Decision:
    """Return the decision of an object, which is checked as the row of a file."""
    cells = {name: "" if entry[name] is None else fields.text(entry[name], name) for name in _TEXTS}
    names = fields.names(entry["features"], "features", _MAX_DECISIONS)
    score = "" if entry["score"] is None else repr(float(fields.numbers([entry["score"]], "score", 0.0, 1.0)[0]))
    texts = {name: cells[name] for name in ("entity", "who", "note")}
    row = {**cells, "features": json.dumps(names), "score": score, **dict.fromkeys(texts, "")}
    decision = Decision.from_row({**row, "entity": "entity"})
    # Only a file has apostrophes before texts.
    return Decision(
        id=decision.id, entity=texts["entity"] or None, time=decision.time, features=decision.features,
        score=decision.score, status=decision.status, until=decision.until if cells["until"] else None,
        who=texts["who"], when=decision.when, note=texts["note"],
    )  # fmt: skip


def load_judged(rows: list[dict[str, Any]], n_shown: int, decisions: list[Decision]) -> list[Judged]:
    """Check what a document says about the decisions and states of findings; the hidden ones follow the others.

    Raises
    ------
    KeyError, ValueError
        If a field is missing or invalid.
    """
    judged = []
    for number, row in enumerate(rows):
        if row["seen"] is not None and row["seen"] not in STATES:
            raise ValueError(f"'seen' is {fields.short(row['seen'])}, but must be null, {', '.join(STATES)}")
        own = row["decision"]
        decision = None if own is None else decisions[int(fields.integers([own], "decision", 0, len(decisions) - 1)[0])]
        outgrown = fields.text(row["outgrown"], "outgrown")
        one = Judged(row["seen"], decision, outgrown)
        if outgrown and (decision is None or not decision.hides):
            raise ValueError("a finding has 'outgrown', but no decision that hides")
        for name, expected in (("status", one.status), ("state", one.state)):
            if row[name] != expected:
                raise ValueError(f"{name!r} is {fields.short(row[name])}, but must be {expected!r}")
        if one.is_hidden is not (number >= n_shown):
            raise ValueError("'hidden' must have the findings that decisions hide, and no others")
        judged.append(one)
    return judged
