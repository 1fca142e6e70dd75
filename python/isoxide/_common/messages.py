"""Suggest the name that a user probably meant, with the same wording in all messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["closest_name", "did_you_mean"]


def closest_name(name: str, names: Iterable[str]) -> str | None:
    """Return the name that is most similar to a wrong one, or None if no name is similar.

    Parameters
    ----------
    name : str
        Name that does not exist.
    names : iterable of str
        Names that exist.

    Examples
    --------
    >>> from isoxide._common.messages import closest_name
    >>> closest_name("login", ["logins", "bytes"]), closest_name(" ID", ["id", "bytes"]), closest_name("x", ["bytes"])
    ('logins', 'id', None)
    """
    names = list(names)
    if close := difflib.get_close_matches(name, names, n=1):
        return close[0]
    return next((other for other in names if other.strip().lower() == name.strip().lower()), None)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return the end of a message about a wrong name, such as ``"; did you mean 'logins'?"``, or an empty string.

    Parameters
    ----------
    name : str
        Name that does not exist.
    names : iterable of str
        Names that exist.
    """
    close = closest_name(name, names)
    return "" if close is None else f"; did you mean {close!r}?"
