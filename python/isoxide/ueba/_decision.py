"""Decision of an analyst about a finding, or about all findings of an entity, and its cells in a file."""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from isoxide._common.messages import did_you_mean
from isoxide.ueba._files import guard_text

__all__ = ["COLUMNS", "DEFAULT_DAYS", "STATUSES", "SUPPRESSING", "Decision", "distinct"]

COLUMNS = ("id", "entity", "time", "features", "score", "status", "until", "who", "when", "note")
#: Statuses that hide findings, and all statuses.
SUPPRESSING = ("known-good", "false-positive")
STATUSES = (*SUPPRESSING, "confirmed", "open")
#: Number of days for which a decision that hides findings holds by default.
DEFAULT_DAYS = 90
#: Largest number of characters of a value in messages.
_MAX_SHOWN = 60
_ID = re.compile(r"[0-9a-f]{12}", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIME = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)(?:[T ](?P<clock>\d\d:\d\d(?::\d\d)?)(?P<fraction>\.\d{1,9})?"
    r"(?P<zone>Z|[+-]\d\d:\d\d)?)?",
    re.ASCII,
)
_GUARDED = re.compile(r"'+ *[=+\-@\t\r\n]")


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Decision of an analyst about a finding, or about all findings of an entity.

    `Findings.decide` returns instances, and `Decisions.read` reads them.

    Parameters
    ----------
    status : {"known-good", "false-positive", "confirmed", "open"}
        Verdict. The first two hide findings, the other two only label the finding.
    when : datetime
        Time of the decision; UTC if it has no time zone.
    id : str, optional
        Identifier of the finding. None means a decision about the entity on every day.
    entity : str, optional
        Entity. None means a decision about the finding `id` alone.
    time : str, optional
        Time of the finding, in ISO 8601.
    features : tuple of str, default=()
        Features for which the finding was known. Without any, all features are covered.
    score : float, optional
        Anomaly score of the finding when it was decided, from 0 to 1. None means that any score is covered.
    until : date, optional
        Last day on which the decision holds; None means that it does not end.
    who : str, default=""
        Name of the analyst.
    note : str, default=""
        Reason of the decision.
    line : int, optional
        Number of the line of the file that it was read from.

    Raises
    ------
    ValueError
        If the status is unknown, `id` is no identifier, the score is not between 0 and 1, or there is neither `id` nor
        `entity`.
    TypeError
        If `until` is not a date, or `when` is not a time.

    Examples
    --------
    >>> import datetime
    >>> from isoxide import ueba
    >>> when = datetime.datetime(2026, 7, 3, 9, 30)
    >>> decision = ueba.Decision(entity="emp151", status="known-good", until=datetime.date(2026, 10, 1), when=when)
    >>> print(decision)
    known-good until 2026-10-01
    """

    status: str
    when: datetime.datetime
    id: str | None = None
    entity: str | None = None
    time: str | None = None
    features: tuple[str, ...] = ()
    score: float | None = None
    until: datetime.date | None = None
    who: str = ""
    note: str = ""
    line: int | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(_unknown_status(self.status))
        if self.id is None and self.entity is None:
            raise ValueError("a decision needs the id of a finding, or an entity")
        if self.id is not None and not (isinstance(self.id, str) and _ID.fullmatch(self.id)):
            raise ValueError(_bad_id(self.id))
        if self.score is not None and not 0 <= self.score <= 1:
            raise ValueError(f"score={self.score!r} must be an anomaly score from 0 to 1")
        if not isinstance(self.when, datetime.datetime):
            raise TypeError(f"when must be a datetime, not {self.when!r}")
        if self.until is not None and (
            not isinstance(self.until, datetime.date) or isinstance(self.until, datetime.datetime)
        ):
            raise TypeError(f"until must be a date, not {self.until!r}")
        if self.when.tzinfo is None:
            object.__setattr__(self, "when", self.when.replace(tzinfo=datetime.timezone.utc))
        object.__setattr__(self, "features", tuple(self.features))

    def __str__(self) -> str:
        until = "" if self.until is None else f" until {self.until.isoformat()}"
        who = f" ({self.who})" if self.who else ""
        return f"{self.status}{until}{who}" + (f": {self.note}" if self.note else "")

    @property
    def hides(self) -> bool:
        """Return whether the status hides findings."""
        return self.status in SUPPRESSING

    @property
    def subject(self) -> tuple[Any, ...]:
        """Return what the decision is about: a later decision about the same subject replaces an earlier one."""
        return (self.id,) if self.id is not None else (self.entity, frozenset(self.features))

    def is_over(self, today: datetime.date) -> bool:
        """Return whether the decision does not hold any more on a day.

        Parameters
        ----------
        today : date
            Day.

        Returns
        -------
        bool
            Whether the day is after `until`.
        """
        return self.until is not None and today > self.until

    def named(self) -> str:
        """Return the subject as text for messages.

        Returns
        -------
        str
            Identifier and entity, as far as they are given.
        """
        entity = "" if self.entity is None else self.entity
        return entity if self.id is None else f"{self.id} ({entity})" if entity else self.id

    def to_row(self) -> dict[str, str]:
        """Return the cells of the decision in a file.

        Returns
        -------
        dict of str to str
            Text of each column.
        """
        return {
            "id": self.id or "",
            "entity": _guarded(self.entity or ""),
            "time": self.time or "",
            "features": json.dumps(list(self.features), ensure_ascii=False) if self.features else "[]",
            "score": "" if self.score is None else repr(float(self.score)),
            "status": self.status,
            "until": "" if self.until is None else self.until.isoformat(),
            "who": _guarded(self.who),
            "when": _written(self.when),
            "note": _guarded(self.note),
        }

    @classmethod
    def from_row(cls, row: Mapping[str, str], line: int | None = None) -> Decision:
        """Return the decision with the given cells.

        Parameters
        ----------
        row : mapping of str to str
            Text of each column.
        line : int, optional
            Number of the line of the file.

        Returns
        -------
        Decision
            The decision.

        Raises
        ------
        ValueError
            If a cell is invalid; the message names the column and the value.
        """
        # Blanks may be part of an entity.
        texts = ("entity", "who", "note")
        cells = {name: row[name] if name in texts else row[name].strip() for name in COLUMNS}
        if cells["id"] and not _ID.fullmatch(cells["id"]):
            raise ValueError(_bad_id(cells["id"]))
        if not cells["id"] and not cells["entity"]:
            raise ValueError("id and entity are both empty; give the id of a finding, or an entity")
        if cells["status"] not in STATUSES:
            raise ValueError(_unknown_status(cells["status"]))
        when = _time(cells["when"], "when")
        if cells["time"]:
            _time(cells["time"], "time")
        until = _day(cells["until"]) if cells["until"] else None
        if until is None and cells["status"] in SUPPRESSING:
            # Dates end with the year 9999.
            until = when.date() + min(datetime.timedelta(days=DEFAULT_DAYS), datetime.date.max - when.date())
        return cls(
            id=cells["id"] or None,
            entity=_unguarded(cells["entity"]) or None,
            time=cells["time"] or None,
            features=_features(cells["features"]),
            score=_score(cells["score"]),
            status=cells["status"],
            until=until,
            who=_unguarded(cells["who"]),
            when=when,
            note=_unguarded(cells["note"]),
            line=line,
        )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _unknown_status(status: Any) -> str:
    hint = did_you_mean(status, STATUSES) if isinstance(status, str) else ""
    return f"status is {_shown(status)}, but must be {', '.join(STATUSES[:-1])} or {STATUSES[-1]}{hint}"


def _bad_id(value: Any) -> str:
    return (
        f"id is {_shown(value)}, but must be the 12 hexadecimal digits of a finding, or empty; a spreadsheet may have "
        "changed it"
    )


def _guarded(text: str) -> str:
    """Prefix a text with an apostrophe if a spreadsheet would run it, or if reading would remove an apostrophe."""
    return f"'{text}" if _GUARDED.match(text) else guard_text(text)


def _unguarded(text: str) -> str:
    return text[1:] if _GUARDED.match(text) else text


def _day(text: str) -> datetime.date:
    try:
        if _DAY.fullmatch(text):
            return datetime.date.fromisoformat(text)
    except ValueError:
        pass
    raise ValueError(f"until is {_shown(text)}, but must be an existing day such as 2026-10-01")


def _time(text: str, name: str) -> datetime.datetime:
    """Parse a time in ISO 8601, with digits beyond microseconds cut; UTC if it has no offset."""
    match = _TIME.fullmatch(text)
    if match is not None:
        clock = f"{match['clock'] or '00:00'}:00"[:8]
        fraction = f"{match['fraction'] or '.'}000000"[:7]
        zone = {None: "+00:00", "Z": "+00:00"}.get(match["zone"], match["zone"])
        try:
            # A time whose UTC is outside of the years 1 to 9999 cannot be written.
            time = datetime.datetime.fromisoformat(f"{match['day']}T{clock}{fraction}{zone}")
            time.astimezone(datetime.timezone.utc)
            return time
        except (ValueError, OverflowError):
            pass
    raise ValueError(f"{name} is {_shown(text)}, but must be a time such as 2026-07-03 or 2026-07-03T09:30:00Z")


def _written(time: datetime.datetime) -> str:
    return time.astimezone(datetime.timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _score(text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise ValueError(f"score is {_shown(text)}, but must be an anomaly score from 0 to 1, or empty")
    return value


def _features(text: str) -> tuple[str, ...]:
    if not text:
        return ()
    try:
        names: Any = json.loads(text)
        # JSON may escape half of a character, which no file can hold.
        json.dumps(names, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f'features is {_shown(text)}, but must be a JSON array such as ["logins", "bytes"], or empty')
    return tuple(dict.fromkeys(names))


def distinct(decisions: Iterable[Decision | None]) -> list[Decision]:
    """Return each decision once, in the order in which they first occur."""
    return list(dict.fromkeys(decision for decision in decisions if decision is not None))
