"""Check the type, range and size of the fields of an untrusted JSON document.

Each function converts a field to the type in `Findings`, or raises a ValueError that names the field.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

#: Scores are differences of numbers from -1 to 0, but an offset set by hand can move them.
MAX_SCORE = 1e15
#: Maximum nesting of a document, maximum number of entries of its manifest, and limits of integers.
_MAX_DEPTH, _MAX_ENTRIES = 100, 1_000_000
_MAX_INTEGER, _MAX_DIGITS = 2**63 - 1, 1_000
#: Maximum number of characters of a value in messages.
_MAX_SHOWN = 60
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_DAY = r"\d{4}-\d{2}-\d{2}"
_OFFSET = re.compile(r"[+-]\d\d:\d\d\Z", re.ASCII)
_TIME = re.compile(rf"{_DAY}(?:T\d\d:\d\d:\d\d(?:\.\d{{1,9}})?(?:[+-]\d\d:\d\d)?)?", re.ASCII)


def short(value: Any) -> str:
    """Return a value as text for messages, shortened if it is long."""
    try:
        shown = repr(value) if isinstance(value, (str, int, float, bool, type(None))) else f"a {type(value).__name__}"
    except ValueError:
        # Python refuses to convert integers of thousands of digits to text.
        shown = "an integer of thousands of digits"
    return shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}..."


def check_depth(data: bytes) -> None:
    """Refuse JSON that is nested more deeply than findings are, before it is parsed.

    Raises
    ------
    ValueError
        If the JSON is nested more than 100 deep.
    """
    brackets = np.frombuffer(_STRING.sub(b"", data), dtype=np.uint8)
    brackets = brackets[np.isin(brackets, np.frombuffer(b"[{]}", dtype=np.uint8))]
    opening = np.isin(brackets, np.frombuffer(b"[{", dtype=np.uint8))
    depth = np.cumsum(np.where(opening, 1, -1), dtype=np.int64)
    if depth.size and int(depth.max()) > _MAX_DEPTH:
        raise ValueError(f"it is nested more than {_MAX_DEPTH} deep")


def refuse_constant(name: str) -> Any:
    """Refuse NaN and infinities, which JSON does not have."""
    raise ValueError(f"{name} is not a number in JSON")


def parse_integer(digits: str) -> int:
    """Parse an integer with a limited number of digits, since the time grows with the square of the number."""
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a number has {len(digits):,} digits")
    return int(digits)


def text(value: Any, name: str) -> str:
    """Check that a value is text that UTF-8 can encode, and return it."""
    if not isinstance(value, str):
        raise ValueError(f"{name!r} is {short(value)}, but must be text")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError(f"{name!r} is {ascii(value)[:_MAX_SHOWN]}, which UTF-8 cannot hold") from None
    return value


def member(value: Any, name: str) -> Any:
    """Return an entry of an object, or None if the object lacks it."""
    if not isinstance(value, dict):
        raise ValueError(f"{short(value)} must be an object")
    return value.get(name)


def _list(value: Any, name: str, max_entries: int) -> list[Any]:
    """Check that a value is a list with a limited number of entries, and return it."""
    if not isinstance(value, list):
        raise ValueError(f"{name!r} is {short(value)}, but must be a list")
    if len(value) > max_entries:
        raise ValueError(f"{name!r} has {len(value):,} entries, more than {max_entries:,}")
    return value


def names(value: Any, name: str, max_entries: int) -> list[str]:
    """Return a list of strings, with a limited number of entries."""
    return [text(item, name) for item in _list(value, name, max_entries)]


def records(value: Any, name: str, max_entries: int) -> list[dict[str, Any]]:
    """Return a list of objects, with a limited number of entries."""
    for item in _list(value, name, max_entries):
        if not isinstance(item, dict):
            raise ValueError(f"{name!r} contains {short(item)}, but must contain objects")
    return value  # type: ignore[no-any-return]


def check_distinct(columns: Sequence[str]) -> None:
    """Refuse column names that occur twice."""
    seen: set[str] = set()
    for column in columns:
        if column in seen:
            raise ValueError(f"several columns have the name {short(column)}")
        seen.add(column)


def numbers(
    values: Sequence[Any], name: str, low: float = -np.inf, high: float = np.inf, *, missing: bool = False
) -> NDArray[np.float64]:
    """Return finite numbers within a range, as an array.

    Parameters
    ----------
    values : sequence
        Values to check.
    name : str
        Name of the field, for messages.
    low, high : float, optional
        Smallest and largest accepted number.
    missing : bool, default=False
        Whether null is accepted; it becomes NaN.
    """
    types = {float, int, type(None)} if missing else {float, int}
    for value in values:
        if type(value) not in types:
            raise ValueError(f"{name!r} is {short(value)}, but must be a number")
    try:
        array = np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)
    except OverflowError:
        raise ValueError(f"{name!r} contains a number that is too large") from None
    bad = np.isinf(array) | (array < low) | (array > high)
    if bad.any():
        within = "finite" if np.isinf(low) else f"from {low:g} to {high:g}"
        raise ValueError(f"{name!r} is {short(values[int(np.flatnonzero(bad)[0])])}, but must be {within}")
    return array


def integers(values: Sequence[Any], name: str, low: int, high: int = _MAX_INTEGER) -> NDArray[np.int64]:
    """Return integers within a range, as an array."""
    for value in values:
        if type(value) is not int or not low <= value <= high:
            limits = f"of at least {low}" if high == _MAX_INTEGER else f"from {low} to {high}"
            raise ValueError(f"{name!r} is {short(value)}, but must be an integer {limits}")
    return np.array(values, dtype=np.int64)


def matrix(
    rows: Sequence[dict[str, Any]], name: str, width: int, low: float = -np.inf, high: float = np.inf
) -> NDArray[np.float64]:
    """Return the lists of `width` numbers or nulls that the rows hold under a name, as a matrix."""
    cells = [value for row in rows for value in _line(row[name], name, width)]
    return numbers(cells, name, low, high, missing=True).reshape(len(rows), width)


def integer_matrix(rows: Sequence[dict[str, Any]], name: str, width: int, low: int, high: int) -> NDArray[np.intp]:
    """Return the lists of `width` integers that the rows hold under a name, as a matrix."""
    cells = [value for row in rows for value in _line(row[name], name, width)]
    return integers(cells, name, low, high).reshape(len(rows), width).astype(np.intp)


def _line(value: Any, name: str, width: int) -> list[Any]:
    """Return a list of a given length."""
    if not isinstance(value, list) or len(value) != width:
        raise ValueError(f"{name!r} must be a list of {width} numbers, not {short(value)}")
    return value


def counts(rows: Sequence[dict[str, Any]], name: str) -> NDArray[Any]:
    """Return the integers that the rows hold under a name; if there are nulls, return floats with NaN."""
    cells = [row[name] for row in rows]
    present = integers([value for value in cells if value is not None], name, 0)
    if len(present) == len(cells):
        return present
    return np.array([np.nan if value is None else float(value) for value in cells], dtype=np.float64)


def texts(rows: Sequence[dict[str, Any]], name: str) -> list[str | None]:
    """Return the texts or nulls that the rows hold under a name."""
    return [None if row[name] is None else text(row[name], name) for row in rows]


def cell(value: Any) -> Any:
    """Return a cell of a joined column: a text, a finite number, a boolean, or None."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return text(value, "joined")
    if type(value) is int:
        return int(integers([value], "joined", -_MAX_INTEGER)[0])
    return float(numbers([value], "joined")[0])


def entity(value: Any) -> str | None:
    """Return the entity of a finding as text, or None if it is missing."""
    if value is None or isinstance(value, str):
        return None if value is None else text(value, "entity")
    return str(cell(value))


def zone(value: Any) -> Any:
    """Return the time zone with a name; None means times without a zone."""
    if value is None:
        return None
    try:
        return pd.Timestamp("2025-01-01").tz_localize(text(value, "time_zone")).tz
    except Exception:  # pandas raises the error of whichever time zone library it uses
        raise ValueError(f"'time_zone' is {short(value)}, which is not a known time zone") from None


def times(values: Iterable[Any], name: str, tz: Any) -> pd.Series:
    """Return times in ISO 8601 as a column, in the time zone `tz` or without a zone."""
    values = list(values)
    for value in values:
        if not isinstance(value, str) or not _TIME.fullmatch(value):
            raise ValueError(f"{name!r} is {short(value)}, but must be a time in ISO 8601")
    try:
        parsed = pd.Series(pd.to_datetime(values, format="ISO8601", utc=tz is not None))
    except (ValueError, OverflowError):
        raise ValueError(f"{name!r} contains a time that does not exist, or times of several zones") from None
    if not pd.api.types.is_datetime64_any_dtype(parsed.dtype):
        parsed = parsed.astype("datetime64[ns]")
    if parsed.isna().any():
        raise ValueError(f"{name!r} contains a day that does not exist")
    return parsed if tz is None else parsed.dt.tz_convert(tz)


def days(values: Iterable[Any], name: str) -> pd.Series:
    """Return days in ISO 8601 as a column without a zone; an offset after a day is ignored."""
    return times([_OFFSET.sub("", value) if isinstance(value, str) else value for value in values], name, None)


def day(value: Any, name: str) -> str:
    """Check that a value is an existing day in ISO 8601, and return it."""
    if isinstance(value, str) and re.fullmatch(_DAY, value, re.ASCII):
        with suppress(ValueError):
            datetime.date.fromisoformat(value)
            return value
    raise ValueError(f"{name!r} is {short(value)}, but must be a day in ISO 8601")


def manifest(value: Any) -> dict[str, Any]:
    """Check the entries of a manifest that reports show, and that all others are JSON values within limits."""
    if not isinstance(value, dict):
        raise ValueError(f"'manifest' is {short(value)}, but must be an object")
    for name in ("first_day", "last_day"):
        day(value[name], name)
    for name in ("days", "rows", "entities"):
        integers([value[name]], name, 1)
    numbers([value["offset"]], "offset")
    _check_highest(value)
    ranking = _optional(value, "ranking", dict)
    if ranking.get("groups") is not None:
        text(ranking["groups"], "groups")
    if ranking.get("among") is not None:
        text(ranking["among"], "among")
    _optional(ranking, "domain_defaults", bool)
    profile = _optional(value, "profile", dict)
    for holder in (value, profile):
        for note in _optional(holder, "notes", list):
            text(note, "notes")
    for column, reason in _optional(profile, "left_out", dict).items():
        text(column, "left_out")
        text(reason, "left_out")
    check_json_values(value, "manifest")
    return value


def _check_highest(value: dict[str, Any]) -> None:
    """Check the entries about anomaly scores, which early versions lack."""
    if value.get("anomaly_threshold") is not None:
        numbers([value["anomaly_threshold"]], "anomaly_threshold")
    if value.get("reference_rows") is not None:
        integers([value["reference_rows"]], "reference_rows", 1)
    if highest := _optional(value, "highest", dict):
        numbers([highest["anomaly_score"]], "anomaly_score")
        entity(highest["entity"])
        text(highest["time"], "time")


def _optional(holder: dict[str, Any], name: str, expected: type[Any]) -> Any:
    """Return an entry of the expected type, or an empty one if the object lacks it."""
    value = holder.get(name)
    if value is None:
        return expected()
    if not isinstance(value, expected):
        raise ValueError(f"{name!r} is {short(value)}, but must be a {expected.__name__}")
    return value


def check_json_values(value: Any, name: str) -> None:
    """Refuse a document with too many entries, or with numbers or text that cannot be written again."""
    pending, n_entries = [value], 0
    while pending:
        item = pending.pop()
        n_entries += 1
        if n_entries > _MAX_ENTRIES:
            raise ValueError(f"{name!r} has more than {_MAX_ENTRIES:,} entries")
        if isinstance(item, dict):
            for key in item:
                text(key, name)
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, str):
            text(item, name)
        elif isinstance(item, int):
            integers([int(item)], name, -_MAX_INTEGER)
        elif item is not None:
            numbers([item], name)
