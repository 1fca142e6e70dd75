"""Turn the column labels of any container into distinct, non-empty text, and note each change."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

__all__ = [
    "INDEX_NOTE",
    "RESERVED_PREFIX",
    "names_without_index",
    "pandas_index_positions",
    "rename_notes",
    "text_names",
]

#: Prefix of the columns that isoxide adds while it reads a partitioned table.
RESERVED_PREFIX = "__isoxide_"
INDEX_NOTE = "the index that pandas wrote as a column was left out"


def text_names(labels: Iterable[Any], source_name: str) -> tuple[list[str], list[str]]:
    """Return the labels of columns as texts, and notes on the labels that were changed.

    Labels of several levels are joined with ``_``, numbers become their digits, and an empty label becomes, say,
    ``column_3`` if it is the third one.

    Parameters
    ----------
    labels : iterable
        Labels of the columns, in order.
    source_name : str
        Name of the table in messages.

    Returns
    -------
    names : list of str
        One name per column.
    notes : list of str
        One sentence per kind of change.

    Raises
    ------
    ValueError
        If two columns have the same name, or a name begins with `RESERVED_PREFIX`.
    """
    labels = list(labels)
    names = [_text(label, position) for position, label in enumerate(labels)]
    notes = rename_notes(labels, names)
    seen: dict[str, Any] = {}
    for label, name in zip(labels, names, strict=True):
        if name in seen:
            both = "" if seen[name] == label else f" ({seen[name]!r} and {label!r})"
            raise ValueError(f"{source_name} has several columns named {name!r}{both}; rename them")
        if name.startswith(RESERVED_PREFIX):
            raise ValueError(
                f"{source_name} has a column {name!r}; names that begin with {RESERVED_PREFIX} are reserved; rename it"
            )
        seen[name] = label
    stripped = Counter(name.strip() for name in names)
    close = [name for name in names if stripped[name.strip()] > 1]
    if close:
        notes.append(f"column names that differ only in leading or trailing blanks: {', '.join(map(repr, close[:4]))}")
    return names, notes


def rename_notes(labels: Iterable[Any], names: Iterable[str]) -> list[str]:
    """Return a list with one note about the labels that were changed, or an empty list."""
    renamed = [(label, name) for label, name in zip(labels, names, strict=True) if label != name]
    if not renamed:
        return []
    shown = ", ".join(f"{label!r} is {name!r}" for label, name in renamed[:4])
    more = f" and {len(renamed) - 4} more" if len(renamed) > 4 else ""
    return [f"column names that were not text, were empty or had several levels were changed: {shown}{more}"]


def _text(label: Any, position: int) -> str:
    if isinstance(label, tuple):
        label = "_".join(text for part in label if (text := _text(part, -1)))
    if label is None or (isinstance(label, float) and label != label):
        label = ""
    text = label if isinstance(label, str) else str(label)
    if not text.strip():
        return f"column_{position + 1}" if position >= 0 else ""
    return text


def pandas_index_positions(labels: Iterable[Any]) -> set[int]:
    """Return the positions of the columns that hold the index of a frame that pandas wrote.

    pandas calls such columns ``__index_level_0__``, at any position. In CSV files they are the first columns and have
    no name, which pandas reads back as ``Unnamed: 0`` or ``Unnamed: 0.1``.
    """
    positions, is_first = set(), True
    for position, label in enumerate(labels):
        name = _text(label, -1)
        is_first = is_first and (not name or re.fullmatch(r"Unnamed: \d+(\.\d+)*", name) is not None)
        if is_first or re.fullmatch(r"__index_level_\d+__", name):
            positions.add(position)
    return positions


def names_without_index(labels: list[Any], source_name: str) -> tuple[list[str | None], list[str]]:
    """Return the names of columns, None for an index that pandas wrote, and notes on the changes."""
    index = pandas_index_positions(labels)
    if len(index) == len(labels):
        index = set()
    plain, notes = text_names(
        [f"index {position}" if position in index else label for position, label in enumerate(labels)], source_name
    )
    if index:
        notes.append(INDEX_NOTE)
    return [None if position in index else name for position, name in enumerate(plain)], notes
