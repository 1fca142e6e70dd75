"""Names of columns: any label of any container becomes a distinct, non-empty text, and what was changed is told."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

__all__ = ["INDEX_NOTE", "RESERVED_PREFIX", "renamed_note", "text_names", "usable_names", "written_index"]

#: Columns with such names are made by isoxide while a table is read in partitions.
RESERVED_PREFIX = "__isoxide_"
INDEX_NOTE = "the index that pandas wrote beside the columns was left out"


def text_names(labels: Iterable[Any], where: str) -> tuple[list[str], list[str]]:
    """Return the labels of columns as texts, and a note on each kind of change.

    Labels of two levels are joined by ``_``, numbers become their digits, and an empty label becomes ``column_3``
    after its position, counted from 1.

    Parameters
    ----------
    labels : iterable
        The labels of the columns, in their order.
    where : str
        What has them, for messages.

    Returns
    -------
    names : list of str
        A name per column.
    notes : list of str
        What was changed, a sentence each.

    Raises
    ------
    ValueError
        If two columns have the same name, or one has a name that isoxide uses itself.
    """
    labels = list(labels)
    names = [_text(label, position) for position, label in enumerate(labels)]
    notes = renamed_note(labels, names)
    seen: dict[str, Any] = {}
    for label, name in zip(labels, names, strict=True):
        if name in seen:
            both = "" if seen[name] == label else f" ({seen[name]!r} and {label!r})"
            raise ValueError(f"{where} has several columns of the name {name!r}{both}; rename them")
        if name.startswith(RESERVED_PREFIX):
            raise ValueError(
                f"{where} has a column {name!r}; names that begin with {RESERVED_PREFIX} are taken: rename it"
            )
        seen[name] = label
    stripped = Counter(name.strip() for name in names)
    close = [name for name in names if stripped[name.strip()] > 1]
    if close:
        notes.append(f"names of columns differ only in blanks: {', '.join(map(repr, close[:4]))}")
    return names, notes


def renamed_note(labels: Iterable[Any], names: Iterable[str]) -> list[str]:
    """Return a note on the labels that are not the names, if there are any."""
    renamed = [(label, name) for label, name in zip(labels, names, strict=True) if label != name]
    if not renamed:
        return []
    shown = ", ".join(f"{label!r} is {name!r}" for label, name in renamed[:4])
    more = f" and {len(renamed) - 4} more" if len(renamed) > 4 else ""
    return [f"names of columns that were no text, empty or of several levels were changed: {shown}{more}"]


def _text(label: Any, position: int) -> str:
    if isinstance(label, tuple):
        label = "_".join(text for part in label if (text := _text(part, -1)))
    if label is None or (isinstance(label, float) and label != label):
        label = ""
    text = label if isinstance(label, str) else str(label)
    if not text.strip():
        return f"column_{position + 1}" if position >= 0 else ""
    return text


def written_index(labels: Iterable[Any]) -> set[int]:
    """Return the positions of columns that are the index that pandas wrote beside the columns of a frame.

    These are ``__index_level_0__`` and its like anywhere, and the first columns as long as they have no name, or the
    one that pandas gives to such (``Unnamed: 0``, ``Unnamed: 0.1``).
    """
    found, is_first = set(), True
    for position, label in enumerate(labels):
        name = _text(label, -1)
        is_first = is_first and (not name or re.fullmatch(r"Unnamed: \d+(\.\d+)*", name) is not None)
        if is_first or re.fullmatch(r"__index_level_\d+__", name):
            found.add(position)
    return found


def usable_names(labels: list[Any], where: str) -> tuple[list[str | None], list[str]]:
    """Return the names of columns, None for an index that pandas wrote, and notes on what was changed."""
    index = written_index(labels)
    if len(index) == len(labels):
        index = set()
    plain, notes = text_names(
        [f"index {place}" if place in index else label for place, label in enumerate(labels)], where
    )
    if index:
        notes.append(INDEX_NOTE)
    return [None if place in index else name for place, name in enumerate(plain)], notes
