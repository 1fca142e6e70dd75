"""What the command prints: one line per error, in the words of the command, with nothing that a terminal would obey."""

from __future__ import annotations

import json
import math
import re
import sys
from typing import Any

__all__ = ["in_options", "one_line", "print_json", "print_lines", "shown", "tell"]

#: Arguments of Python functions, and the option of the command that sets each.
_OPTIONS = {
    name: f"--{name.replace('_', '-')}"
    for name in (
        "entity",
        "time",
        "include",
        "exclude",
        "sep",
        "decimal",
        "thousands",
        "missing",
        "encoding",
        "time_format",
        "timezone",
        "threshold",
        "contamination",
        "alerts_per_month",
        "tail",
        "groups",
        "min_group",
        "zscores",
        "cutoff",
        "always_show",
        "order",
        "title",
        "keep",
        "resume",
        "users",
    )
} | {"random_state": "--seed", "n_jobs": "--jobs", "on": "--users-on", "columns": "--users-columns"}
_NAME = "|".join(sorted(_OPTIONS, key=len, reverse=True))
_VALUE = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\[[^\]]*\]|[^\s,;()]+"
_ARGUMENT = re.compile(
    rf"""
      \b(?P<set>{_NAME})=(?P<value>{_VALUE})?             # sep=';', resume=True
    | (?P<quoted>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")    # the name of a column is left as it is
    | \((?P<listed>(?:{_NAME})(?:(?:,\ |\ or\ |\ and\ )(?:{_NAME}))*)\)
    | (?:^|(?<=:\ ))(?P<subject>include|exclude|keep|users|always_show)(?=\ has\ )
    | `(?P<ticked>{_NAME})`
    | \b(?P<verb>raise|lower|with|give|use|set)\ (?P<object>threshold|contamination|alerts_per_month|exclude
      |include|groups)
      (?P<more>(?:\ (?:or|and)\ (?:threshold|contamination|alerts_per_month|exclude|include|groups))*)\b
    | (?<!-)\b(?P<plain>sep|time_format|random_state|n_jobs)\b
    """,
    re.VERBOSE,
)
_LONGEST = 2000


def in_options(message: str) -> str:
    """Name options where a message names arguments of Python functions.

    Examples
    --------
    >>> from isoxide._cli._messages import in_options
    >>> in_options("its values seem to be separated by ';'; say so with sep")
    "its values seem to be separated by ';'; say so with --sep"
    >>> in_options("groups='team' is no column")
    "--groups 'team' is no column"
    """
    return _ARGUMENT.sub(_in_options, message)


def _in_options(match: re.Match[str]) -> str:
    found = match.groupdict()
    if found["quoted"]:
        return match[0]
    if found["set"]:
        value = found["value"]
        return _OPTIONS[found["set"]] + ("" if value is None or value == "True" else f" {value}")
    if found["listed"]:
        return f"({_name_options(found['listed'])})"
    if found["verb"]:
        return f"{found['verb']} {_name_options(found['object'] + found['more'])}"
    return _OPTIONS[found["subject"] or found["ticked"] or found["plain"]]


def _name_options(text: str) -> str:
    return re.sub(rf"\b({_NAME})\b", lambda match: _OPTIONS[match[0]], text)


def shown(text: object) -> str:
    r"""Escape what is no printable character, so that a terminal shows it instead of obeying it.

    Examples
    --------
    >>> from isoxide._cli._messages import shown
    >>> print(shown("\x1b[31mroot"))
    \x1b[31mroot
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def one_line(text: str) -> str:
    """Join the lines of a message, and cut what is very long."""
    line = shown(re.sub(r"\s*\n\s*", " ", text.strip()))
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..."


def tell(text: object) -> None:
    """Print lines to standard error, if it is open."""
    if sys.stderr is not None:
        for line in str(text).split("\n"):
            print(shown(line), file=sys.stderr)


def print_lines(text: object) -> None:
    """Print lines to standard output."""
    for line in str(text).split("\n"):
        print(shown(line))


def print_json(what: Any) -> None:
    """Print JSON in ASCII, which every terminal can write and no terminal obeys."""
    print(json.dumps(_finite(what), default=str, allow_nan=False))


def _finite(what: Any) -> Any:
    """Return the same without numbers that JSON does not have."""
    if isinstance(what, dict):
        return {name: _finite(value) for name, value in what.items()}
    if isinstance(what, list):
        return [_finite(value) for value in what]
    return None if isinstance(what, float) and not math.isfinite(what) else what
