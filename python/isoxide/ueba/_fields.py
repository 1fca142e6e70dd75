"""Fields of a JSON document from anybody: each is of its type and within its range, or is refused with its name."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

#: Decision scores are differences of numbers from -1 to 0; an offset set by hand can move them.
MAX_SCORE = 1e15
#: Nesting of a document, and entries of its manifest.
_MAX_DEPTH, _MAX_ENTRIES = 100, 1_000_000
_MAX_INTEGER, _MAX_DIGITS = 2**63 - 1, 1_000
#: Characters of a value that messages show.
_SHOWN = 60
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_DAY = r"\d{4}-\d{2}-\d{2}"
_TIME = re.compile(rf"{_DAY}(?:T\d\d:\d\d:\d\d(?:\.\d{{1,9}})?(?:[+-]\d\d:\d\d)?)?", re.ASCII)


def short(value: Any) -> str:
    """Return a value for a message, cut if it is long."""
    try:
        shown = repr(value) if isinstance(value, (str, int, float, bool, type(None))) else f"a {type(value).__name__}"
    except ValueError:
        # Python refuses to write integers of thousands of digits.
        shown = "an integer of thousands of digits"
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."


def check_depth(data: bytes) -> None:
    """Refuse JSON that is nested more deeply than any findings, before it is parsed.

    Raises
    ------
    ValueError
        If it is.
    """
    brackets = np.frombuffer(_STRING.sub(b"", data), dtype=np.uint8)
    brackets = brackets[np.isin(brackets, np.frombuffer(b"[{]}", dtype=np.uint8))]
    opening = np.isin(brackets, np.frombuffer(b"[{", dtype=np.uint8))
    depth = np.cumsum(np.where(opening, 1, -1), dtype=np.int64)
    if depth.size and int(depth.max()) > _MAX_DEPTH:
        raise ValueError(f"it is nested more than {_MAX_DEPTH} deep")


def refuse_constant(name: str) -> Any:
    """Refuse NaN and infinities, which are no JSON."""
    raise ValueError(f"{name} is no number in JSON")


def parse_integer(digits: str) -> int:
    """Return a whole number of a bounded number of digits, since the time for more of them grows with their square."""
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a number has {len(digits):,} digits")
    return int(digits)


def text(value: Any, name: str) -> str:
    """Return a text that UTF-8 can hold."""
    if not isinstance(value, str):
        raise ValueError(f"{name!r} is {short(value)}, which must be text")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError(f"{name!r} is {ascii(value)[:_SHOWN]}, which has half a character") from None
    return value


def member(value: Any, name: str) -> Any:
    """Return an entry of an object; None if it is not there."""
    if not isinstance(value, dict):
        raise ValueError(f"{short(value)} must be an object")
    return value.get(name)


def _list(value: Any, name: str, most: int) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{name!r} is {short(value)}, which must be a list")
    if len(value) > most:
        raise ValueError(f"{name!r} has {len(value):,} entries, which is more than {most:,}")
    return value


def names(value: Any, name: str, most: int) -> list[str]:
    """Return a list of texts."""
    return [text(one, name) for one in _list(value, name, most)]


def records(value: Any, name: str, most: int) -> list[dict[str, Any]]:
    """Return a list of objects."""
    for one in _list(value, name, most):
        if not isinstance(one, dict):
            raise ValueError(f"{name!r} has {short(one)}, which must be an object")
    return value  # type: ignore[no-any-return]


def check_distinct(columns: Sequence[str]) -> None:
    """Refuse names of columns that are there twice."""
    seen: set[str] = set()
    for column in columns:
        if column in seen:
            raise ValueError(f"several columns have the name {short(column)}")
        seen.add(column)


def numbers(
    values: Sequence[Any], name: str, low: float = -np.inf, high: float = np.inf, *, missing: bool = False
) -> NDArray[np.float64]:
    """Return finite numbers in a range; with `missing`, null is NaN."""
    kinds = {float, int, type(None)} if missing else {float, int}
    for value in values:
        if type(value) not in kinds:
            raise ValueError(f"{name!r} is {short(value)}, which must be a number")
    try:
        array = np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)
    except OverflowError:
        raise ValueError(f"{name!r} has a number that is too large") from None
    bad = np.isinf(array) | (array < low) | (array > high)
    if bad.any():
        within = "finite" if np.isinf(low) else f"from {low:g} to {high:g}"
        raise ValueError(f"{name!r} is {short(values[int(np.flatnonzero(bad)[0])])}, which must be {within}")
    return array


def integers(values: Sequence[Any], name: str, low: int, high: int = _MAX_INTEGER) -> NDArray[np.int64]:
    """Return whole numbers in a range."""
    for value in values:
        if type(value) is not int or not low <= value <= high:
            limits = f"of at least {low}" if high == _MAX_INTEGER else f"from {low} to {high}"
            raise ValueError(f"{name!r} is {short(value)}, which must be a whole number {limits}")
    return np.array(values, dtype=np.int64)


def matrix(
    rows: Sequence[dict[str, Any]], name: str, width: int, low: float = -np.inf, high: float = np.inf
) -> NDArray[np.float64]:
    """Return a list of numbers or null of each row, all of one length, as a matrix."""
    cells = [value for row in rows for value in _line(row[name], name, width)]
    return numbers(cells, name, low, high, missing=True).reshape(len(rows), width)


def integer_matrix(rows: Sequence[dict[str, Any]], name: str, width: int, low: int, high: int) -> NDArray[np.intp]:
    """Return a list of whole numbers of each row as a matrix."""
    cells = [value for row in rows for value in _line(row[name], name, width)]
    return integers(cells, name, low, high).reshape(len(rows), width).astype(np.intp)


def _line(value: Any, name: str, width: int) -> list[Any]:
    if not isinstance(value, list) or len(value) != width:
        raise ValueError(f"{name!r} must be a list of {width} numbers, not {short(value)}")
    return value


def counts(rows: Sequence[dict[str, Any]], name: str) -> NDArray[Any]:
    """Return a whole number of each row; as floats with NaN if some are null."""
    cells = [row[name] for row in rows]
    present = integers([value for value in cells if value is not None], name, 0)
    if len(present) == len(cells):
        return present
    return np.array([np.nan if value is None else float(value) for value in cells], dtype=np.float64)


def texts(rows: Sequence[dict[str, Any]], name: str) -> list[str | None]:
    """Return a text or null of each row."""
    return [None if row[name] is None else text(row[name], name) for row in rows]


def cell(value: Any) -> Any:
    """Return a cell of a joined column: a text, a finite number, a truth value, or null."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return text(value, "joined")
    if type(value) is int:
        return int(integers([value], "joined", -_MAX_INTEGER)[0])
    return float(numbers([value], "joined")[0])


def entity(value: Any) -> str | None:
    """Return who a finding is of, as text."""
    if value is None or isinstance(value, str):
        return None if value is None else text(value, "entity")
    return str(cell(value))


def zone(value: Any) -> Any:
    """Return a time zone by its name; None for times without one."""
    if value is None:
        return None
    try:
        return pd.Timestamp("2025-01-01").tz_localize(text(value, "time_zone")).tz
    except Exception:  # whichever error the time zone library has for it
        raise ValueError(f"'time_zone' is {short(value)}, which is no time zone") from None


def times(values: Iterable[Any], name: str, tz: Any) -> pd.Series:
    """Return times in ISO 8601, in a zone."""
    values = list(values)
    for value in values:
        if not isinstance(value, str) or not _TIME.fullmatch(value):
            raise ValueError(f"{name!r} is {short(value)}, which must be a time in ISO 8601")
    try:
        parsed = pd.Series(pd.to_datetime(values, format="ISO8601", utc=tz is not None))
    except (ValueError, OverflowError):
        raise ValueError(f"{name!r} has a time that is no time, or times of several zones") from None
    if not pd.api.types.is_datetime64_any_dtype(parsed.dtype):
        parsed = parsed.astype("datetime64[ns]")
    if parsed.isna().any():
        raise ValueError(f"{name!r} has a day that is no day")
    return parsed if tz is None else parsed.dt.tz_convert(tz)


def day(value: Any, name: str) -> str:
    """Return a day in ISO 8601."""
    if isinstance(value, str) and re.fullmatch(_DAY, value, re.ASCII):
        with suppress(ValueError):
            datetime.date.fromisoformat(value)
            return value
    raise ValueError(f"{name!r} is {short(value)}, which must be a day in ISO 8601")


def manifest(value: Any) -> dict[str, Any]:
    """Return a manifest: what reports tell of it is typed, all else is plain and of bounded number."""
    if not isinstance(value, dict):
        raise ValueError(f"'manifest' is {short(value)}, which must be an object")
    for name in ("first_day", "last_day"):
        day(value[name], name)
    for name in ("days", "rows", "entities"):
        integers([value[name]], name, 1)
    numbers([value["offset"]], "offset")
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
    _check_plain(value)
    return value


def _optional(holder: dict[str, Any], name: str, kind: type[Any]) -> Any:
    value = holder.get(name)
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise ValueError(f"{name!r} is {short(value)}, which must be a {kind.__name__}")
    return value


def _check_plain(value: Any) -> None:
    """Refuse more entries than a manifest has, and numbers and texts that cannot be written."""
    left, n_entries = [value], 0
    while left:
        one = left.pop()
        n_entries += 1
        if n_entries > _MAX_ENTRIES:
            raise ValueError(f"'manifest' has more than {_MAX_ENTRIES:,} entries")
        if isinstance(one, dict):
            for key in one:
                text(key, "manifest")
            left.extend(one.values())
        elif isinstance(one, list):
            left.extend(one)
        elif isinstance(one, str):
            text(one, "manifest")
        elif isinstance(one, int):
            integers([int(one)], "manifest", -_MAX_INTEGER)
        elif one is not None:
            numbers([one], "manifest")
