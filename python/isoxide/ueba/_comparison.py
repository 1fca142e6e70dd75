"""Compare findings with those of an earlier run: which are new, again there, stronger, or gone.

Two findings tell the same story if they are the same row (entity and time), or if they are of the same entity, at most
30 days apart, and every leading reason of the later one was a reason of the earlier one. Reasons are the features at or
above the cut-off, or the most unusual one if none is. Features that move together count as one reason, and the first
three reasons lead.

A finding with the same story as an earlier one is "again" there. It is "stronger" if its score is more than 0.05 higher
than all of these. All others are "new". Findings of the earlier run without a finding of the same story now are gone.
"""

from __future__ import annotations

import copy
import dataclasses
import datetime
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import pandas as pd

from isoxide._common import html
from isoxide._common.format import format_value
from isoxide._frames.times import days_of
from isoxide.ueba._findings_data import FindingsData
from isoxide.ueba._findings_html import findings_table
from isoxide.ueba._identifiers import time_text
from isoxide.ueba._review import AGAIN, NEW, STATES, STRONGER
from isoxide.ueba._selection import split, whole
from isoxide.ueba._suppression import MAX_INCREASE, covered_features

__all__ = ["Comparison", "compare_findings"]

F = TypeVar("F", bound=FindingsData)
#: Largest number of days between findings of the same story.
MAX_DAYS = 30
_MAX_DISTANCE = datetime.timedelta(days=MAX_DAYS)
#: Number of reasons that lead.
N_LEADING = 3
#: Smallest share of common features of two runs on the same table.
MIN_COMMON_FEATURES = 0.5
#: Largest number of names, and of characters of a setting, in a change.
MAX_NAMES, MAX_LENGTH = 5, 60
#: Columns of the findings that are gone.
_GONE = ("finding_id", "entity", "time", "anomaly_score", "reason")


@dataclass(frozen=True)
class Comparison(Generic[F]):
    """Comparison of findings with those of an earlier run; print it to see a summary.

    `Findings.compare` returns instances.

    Attributes
    ----------
    findings : Findings
        The findings with their `states`.
    gone : pandas.DataFrame
        Findings of the earlier run without a finding of the same story now: ``finding_id``, ``entity``, ``time`` (text
        in ISO 8601), ``anomaly_score``, and ``reason`` (whether their day was scored again).
    changes : list of str
        Differences of the model and the settings, one sentence each; empty if both runs have the same.

    Examples
    --------
    >>> from isoxide import ueba
    >>> from isoxide.datasets import load_enron
    >>> table = ueba.read_table(load_enron(), entity="actor", time="day")
    >>> findings = ueba.detect(table, contamination=0.001)
    >>> print(findings.compare(findings))
    0 new, 11 again, 0 stronger, 0 gone
    """

    findings: F
    gone: pd.DataFrame = field(repr=False)
    changes: list[str]

    def counts(self) -> dict[str, int]:
        """Return the numbers of findings by state.

        Returns
        -------
        dict of str to int
            Numbers of findings that are ``"new"``, ``"again"``, ``"stronger"`` and ``"gone"``; hidden ones are not
            counted.
        """
        states = self.findings.states
        return {**{state: states.count(state) for state in STATES}, "gone": len(self.gone)}

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as a dictionary for JSON.

        Returns
        -------
        dict
            ``counts``, ``changes``, ``findings`` (id, entity, time, anomaly score, state, status and reason of each),
            ``hidden`` (their number) and ``gone``.
        """
        findings = self.findings
        columns = (findings.frame[name].tolist() for name in ("finding_id", findings.entity, "anomaly_score"))
        times = [time_text(time) for time in findings.frame[findings.time]]
        names = ("id", "entity", "anomaly_score", "time", "state", "status", "outgrown")
        rows = zip(*columns, times, findings.states, findings.statuses, findings.outgrown, strict=True)
        listed = [dict(zip(names, row, strict=True)) for row in rows]
        for row in listed:
            row["entity"] = None if pd.isna(row["entity"]) else str(row["entity"])
        return {
            "counts": self.counts(),
            "changes": self.changes,
            "findings": listed,
            "hidden": findings.n_hidden,
            "gone": [_renamed(row) for row in self.gone.to_dict("records")],
        }

    def __str__(self) -> str:
        return "\n".join([self._counts_text(), *(f"changed: {change}" for change in self.changes)])

    def _repr_html_(self) -> str:
        """Return the first findings with their states, the first ones that are gone, and changes, for notebooks."""
        gone = self.gone.head(html.MAX_ROWS)
        names = ("entity", "time", "anomaly_score", "reason")
        rows = [
            ["-" if pd.isna(entity) else str(entity), str(time), f"{score:.4f}", str(reason)]
            for entity, time, score, reason in zip(*(gone[name].tolist() for name in names), strict=True)
        ]
        columns = [self.findings.entity, self.findings.time, html.Number("anomaly score"), "gone, because"]
        return html.block(
            html.heading("Comparison", self._counts_text()),
            html.note(
                "Anomaly score from 0 to 1: the higher, the more abnormal. State: in comparison with the earlier run."
            ),
            findings_table(self.findings) if len(self.findings) else html.Html(""),
            html.note(html.shown_of(len(self.findings), "findings")),
            html.table(columns, rows) if rows else html.Html(""),
            html.note(html.shown_of(len(self.gone), "findings that are gone")),
            html.items([f"changed: {change}" for change in self.changes], "changes"),
        )

    def _counts_text(self) -> str:
        counts = ", ".join(f"{n:,} {state}" for state, n in self.counts().items())
        return f"{counts}{f'; {self.findings.n_hidden:,} hidden by decisions' if self.findings.n_hidden else ''}"


def _renamed(row: dict[Any, Any]) -> dict[str, Any]:
    return {"id": row["finding_id"], **{name: row[name] for name in _GONE[1:]}}


@dataclass(frozen=True)
class _Story:
    """Facts about a finding that are compared."""

    id: str
    entity: str | None
    day: datetime.date
    score: float
    #: Names of the reasons, and of those that lead; a family has the name of its first feature.
    reasons: frozenset[str]
    leading: frozenset[str]

    def is_same_as(self, earlier: _Story) -> bool:
        """Return whether both tell the same story."""
        if self.id == earlier.id:
            return True
        if self.entity is None or self.entity != earlier.entity:
            return False
        return abs(self.day - earlier.day) <= _MAX_DISTANCE and self.leading <= earlier.reasons


def compare_findings(findings: F, previous: FindingsData, cutoff: float, source: str | None) -> Comparison[F]:
    """Return the comparison with an earlier run; `Findings.compare` describes the arguments."""
    _check_table(findings, previous)
    family = {name: names[0] for names in findings.families for name in names}
    everything, earlier = whole(findings), whole(previous)
    stories, earlier_stories = _stories(everything, cutoff, family), _stories(earlier, cutoff, family)
    # The stories of each entity are in the order of their days, so that only those of the days around are compared.
    of_entity: dict[str | None, tuple[list[datetime.date], list[int]]] = {}
    for number in sorted(range(len(earlier_stories)), key=lambda number: earlier_stories[number].day):
        story = earlier_stories[number]
        days, numbers = of_entity.setdefault(story.entity, ([], []))
        days.append(story.day)
        numbers.append(number)
    states, matched = [], set()
    for story in stories:
        days, numbers = of_entity.get(story.entity, ([], []))
        start, stop = bisect_left(days, story.day - _MAX_DISTANCE), bisect_right(days, story.day + _MAX_DISTANCE)
        same = [n for n in numbers[start:stop] if story.is_same_as(earlier_stories[n])]
        matched.update(same)
        if not same:
            states.append(NEW)
            continue
        highest = max(earlier_stories[n].score for n in same)
        states.append(STRONGER if story.score > highest + MAX_INCREASE else AGAIN)
    changes = _changes(findings, previous)
    scored_days = set(pd.DatetimeIndex(findings.timeline["day"]).date)
    gone = [
        (story.id, story.entity, time_text(time), story.score, _gone_reason(story.day in scored_days))
        for number, (story, time) in enumerate(zip(earlier_stories, earlier.frame[earlier.time], strict=True))
        if number not in matched and not earlier.judged[number].is_hidden
    ]
    frame = pd.DataFrame(gone, columns=list(_GONE))
    compared = copy.copy(everything)
    compared.judged = [one._replace(seen=state) for one, state in zip(everything.judged, states, strict=True)]
    compared.review = dataclasses.replace(
        findings.review,
        previous={
            "source": source,
            "first_day": previous.manifest.get("first_day"),
            "last_day": previous.manifest.get("last_day"),
            "findings": len(previous),
            "changes": changes,
            "gone": [_renamed(row) for row in frame.to_dict("records")],
        },
    )
    return Comparison(split(compared) if findings.n_hidden else compared, frame, changes)


def _gone_reason(was_scored: bool) -> str:
    return "no finding on this day any more" if was_scored else "this day was not scored again"


def _stories(findings: FindingsData, cutoff: float, family: dict[str, str]) -> list[_Story]:
    frame = findings.frame
    columns = (frame["finding_id"], frame[findings.entity], days_of(frame[findings.time]), frame["anomaly_score"])
    stories = []
    for own_id, entity, day, score, reasons in zip(
        *(column.tolist() for column in columns), covered_features(findings, cutoff), strict=True
    ):
        names = list(dict.fromkeys(family.get(findings.features[j], findings.features[j]) for j in reasons))
        name = None if pd.isna(entity) else str(entity)
        stories.append(_Story(own_id, name, day.date(), float(score), frozenset(names), frozenset(names[:N_LEADING])))
    return stories


def _check_table(findings: FindingsData, previous: FindingsData) -> None:
    """Refuse findings of another table.

    Raises
    ------
    ValueError
        If entity or time have other names, or fewer than half of the features are common.
    """
    for name in ("entity", "time"):
        own, theirs = getattr(findings, name), getattr(previous, name)
        if own != theirs:
            raise ValueError(
                f"the previous run is of another table: its {name} is the column {theirs!r}, but that of the findings "
                f"is {own!r}; give a run on the same table"
            )
    own, theirs = set(findings.features), set(previous.features)
    if len(own & theirs) < MIN_COMMON_FEATURES * len(own | theirs):
        raise ValueError(
            f"the previous run is of another table: {len(own & theirs):,} of {len(own | theirs):,} features are in "
            "both runs; give a run on the same table"
        )


def _changes(findings: FindingsData, previous: FindingsData) -> list[str]:
    """Return the differences of the models and the settings."""
    new, old = findings.manifest.get("settings"), previous.manifest.get("settings")
    if not isinstance(new, dict) or not isinstance(old, dict):
        return ["an early version wrote one of the runs, so its settings are not known"]
    changes = []
    if new.get("model") != old.get("model"):
        changes.append(f"model: {_setting(old.get('model'))} before, {_setting(new.get('model'))} now")
    for verb, names in (
        ("added", [name for name in findings.features if name not in previous.features]),
        ("left out", [name for name in previous.features if name not in findings.features]),
    ):
        if names:
            n_more = len(names) - MAX_NAMES
            listed = ", ".join(names[:MAX_NAMES]) + (f" and {n_more:,} more" if n_more > 0 else "")
            changes.append(f"features {verb}: {listed}")
    before, now = _flat(old), _flat(new)
    for name in dict.fromkeys([*before, *now]):
        if before.get(name) != now.get(name):
            changes.append(f"{name}: {_setting(before.get(name))} before, {_setting(now.get(name))} now")
    if findings.anomaly_threshold != previous.anomaly_threshold:
        thresholds = format_value(previous.anomaly_threshold), format_value(findings.anomaly_threshold)
        changes.append(f"threshold: {thresholds[0]} before, {thresholds[1]} now")
    tables = findings.manifest.get("sha256"), previous.manifest.get("sha256")
    if new.get("model") is None and old.get("model") is None and tables[0] != tables[1]:
        changes.append("the forest was trained on another table, since neither run has a model")
    return changes


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that are compared one by one, with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if name in ("entity", "time", "features", "model"):
            continue
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": own for inner, own in value.items()}
        else:
            flat[name] = value
    # Without an amount, all of its options are None. The contamination of a forest follows from the amount.
    return {name: value for name, value in flat.items() if value is not None and name != "forest.contamination"}


def _setting(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= MAX_LENGTH else f"{text[:MAX_LENGTH]}..."
