"""Cells and manifest entries as texts of the page."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pandas as pd

from isoxide._common.html import printable

__all__ = ["manifest_entries", "text_of"]

#: Largest number of entries of the manifest that are shown, and of characters and items of each; the JSON file has all.
MAX_SHOWN_ENTRIES, MAX_ENTRY_LENGTH = 500, 2_000


def text_of(value: Any) -> str:
    """Return a cell as text: a dash if it is missing, and without characters that UTF-8 cannot hold.

    Examples
    --------
    >>> from isoxide.ueba._page_texts import text_of
    >>> [text_of(value) for value in ("<b>", None, " ", 7)]
    ['<b>', '-', '(blank)', '7']
    """
    if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
        return "-"
    text = printable(str(value))
    return text if text.strip() else "(blank)"


def manifest_entries(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the entries of the manifest as names and texts; long texts and long lists of entries are cut."""
    entries = list(islice(_flat(manifest), MAX_SHOWN_ENTRIES + 1))
    cut = [(_start(name), _start(value)) for name, value in entries[:MAX_SHOWN_ENTRIES]]
    return [*cut, ("more entries", "are in the JSON file")] if len(entries) > MAX_SHOWN_ENTRIES else cut


def _start(text: str) -> str:
    """Return a text, cut if it is long."""
    return text if len(text) <= MAX_ENTRY_LENGTH else f"{text[:MAX_ENTRY_LENGTH]}…"


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield every entry of the manifest as name and text; entries of objects have dotted names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        yield text_of(name), ", ".join(map(text_of, value[:MAX_ENTRY_LENGTH])) or "-"
    else:
        yield text_of(name), text_of(value)
