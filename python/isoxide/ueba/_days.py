"""Days that users give as text, date or time."""

from __future__ import annotations

import datetime
from typing import Any

from isoxide.ueba._fields import day

__all__ = ["parse_day"]


def parse_day(value: Any, name: str) -> datetime.date | None:
    """Return a day that is given as text, date or time; None stays None.

    Parameters
    ----------
    value : str, date, datetime or None
        Day.
    name : str
        Name of the argument, for messages.

    Raises
    ------
    TypeError, ValueError
        If it is something else, or no day in ISO 8601.
    """
    if value is None:
        return None
    if isinstance(value, datetime.datetime):
        return value.date()
    if isinstance(value, datetime.date):
        return value
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a day such as '2025-04-26', not {value!r}")
    return datetime.date.fromisoformat(day(value, name))
