"""Cells that are text in a spreadsheet."""

from __future__ import annotations

import csv
from typing import Any

import pandas as pd

__all__ = ["guard_text", "write_csv"]

#: A spreadsheet takes a cell that begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def guard_text(text: str) -> str:
    """The text, with an apostrophe in front if a spreadsheet would take it for a formula."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def write_csv(frame: pd.DataFrame, file: Any) -> None:
    """Write a frame whose text, in cells and names of columns, is text for a spreadsheet too. Numbers stay numbers."""
    guarded = frame.copy()
    for name in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[name]) and not pd.api.types.is_datetime64_any_dtype(frame[name]):
            guarded[name] = [guard_text(cell) if isinstance(cell, str) else cell for cell in frame[name]]
    guarded.columns = pd.Index([guard_text(str(name)) for name in frame.columns])
    # Every text in quotes: a carriage return alone would end a row without them.
    guarded.to_csv(file, index=False, quoting=csv.QUOTE_NONNUMERIC)
