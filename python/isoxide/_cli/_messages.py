"""Print messages of the command: in one line, with option names, and with control characters escaped."""

from __future__ import annotations

import json
import math
import re
import sys
from typing import Any

__all__ = ["in_options", "one_line", "print_json", "print_lines", "shown", "tell"]

#: Options of the command, by the name of the Python argument that each one sets.
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
        "upcast",
    )
} | {"random_state": "--seed", "n_jobs": "--jobs", "on": "--users-on", "columns": "--users-columns"}
_OPTIONS |= {
    "anomaly_threshold": "--threshold",
    "train_on_this": "--train-on-this",
    "since": "--since",
    "bands": "--bands",
    "until": "--until",
    "top": "--top",
}
_NAME = "|".join(sorted(_OPTIONS, key=len, reverse=True))
_VALUE = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\[[^\]]*\]|[^\s,;()]+"
_ARGUMENT = re.compile(
    rf"""
      \b(?P<set>{_NAME})=(?P<value>{_VALUE})?             # sep=';', resume=True
    | (?P<quoted>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")    # a column name is not changed
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
#: Maximum length of a message, in characters.
MAX_LINE_LENGTH = 2000


def in_options(message: str) -> str:
    """Replace the names of Python arguments in a message with the command's options.

    Examples
    --------
    >>> from isoxide._cli._messages import in_options
    >>> in_options("its values seem to be separated by ';'; say so with sep")
    "its values seem to be separated by ';'; say so with --sep"
    >>> in_options("groups='team' is not a column")
    "--groups 'team' is not a column"
    """
    return _ARGUMENT.sub(_in_options, message)


def _in_options(match: re.Match[str]) -> str:
    """Return the text that replaces a match of `_ARGUMENT`."""
    groups = match.groupdict()
    if groups["quoted"]:
        return match[0]
    if groups["set"]:
        value = groups["value"]
        return _OPTIONS[groups["set"]] + ("" if value is None or value == "True" else f" {value}")
    if groups["listed"]:
        return f"({_name_options(groups['listed'])})"
    if groups["verb"]:
        return f"{groups['verb']} {_name_options(groups['object'] + groups['more'])}"
    return _OPTIONS[groups["subject"] or groups["ticked"] or groups["plain"]]


def _name_options(text: str) -> str:
    """Replace all argument names in a text with options."""
    return re.sub(rf"\b({_NAME})\b", lambda match: _OPTIONS[match[0]], text)


def shown(text: object) -> str:
    r"""Escape characters that are not printable, so that a terminal shows them instead of interpreting them.

    Examples
    --------
    >>> from isoxide._cli._messages import shown
    >>> print(shown("\x1b[31mroot"))
    \x1b[31mroot
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def one_line(text: str) -> str:
    """Return a message as one escaped line, shortened if it is very long."""
    line = shown(re.sub(r"\s*\n\s*", " ", text.strip()))
    return line if len(line) <= MAX_LINE_LENGTH else f"{line[:MAX_LINE_LENGTH]} ..."


def tell(text: object) -> None:
    """Print lines to standard error, if it is open."""
    if sys.stderr is not None:
        for line in str(text).split("\n"):
            print(shown(line), file=sys.stderr)


def print_lines(text: object) -> None:
    """Print lines to standard output."""
    for line in str(text).split("\n"):
        print(shown(line))


def print_json(document: Any) -> None:
    """Print a document as ASCII JSON, which contains no control characters."""
    print(json.dumps(_finite(document), default=str, allow_nan=False))


def _finite(value: Any) -> Any:
    """Return a document with None instead of NaN and infinities, which JSON lacks."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
