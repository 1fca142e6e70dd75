"""Names of columns: any label of any container becomes a distinct, non-empty text, and what was changed is told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["RESERVED_PREFIX", "is_written_index", "text_names"]

#: Columns with such names are made by isoxide while a table is read in partitions.
RESERVED_PREFIX = "__isoxide_"


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
    notes = []
    renamed = [(label, name) for label, name in zip(labels, names, strict=True) if label != name]
    if renamed:
        shown = ", ".join(f"{label!r} is {name!r}" for label, name in renamed[:4])
        more = f" and {len(renamed) - 4} more" if len(renamed) > 4 else ""
        notes.append(f"names of columns that were no text, empty or of several levels were changed: {shown}{more}")
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
    return names, notes


def _text(label: Any, position: int) -> str:
    if isinstance(label, tuple):
        label = "_".join(text for part in label if (text := _text(part, -1)))
    if label is None or (isinstance(label, float) and label != label):
        label = ""
    text = label if isinstance(label, str) else str(label)
    if not text.strip():
        return f"column_{position + 1}" if position >= 0 else ""
    return text


def is_written_index(name: str, position: int) -> bool:
    """Return whether a column of a file is the index that pandas wrote beside the columns of a frame."""
    return name.startswith("__index_level_") or (position == 0 and name in ("", "Unnamed: 0"))
