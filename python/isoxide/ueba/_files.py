"""CSV files in which a spreadsheet takes no text for a formula."""

from __future__ import annotations

import csv
from typing import Any

import pandas as pd

__all__ = ["guard_text", "write_csv"]

#: A spreadsheet takes a cell that begins with one of these for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def guard_text(text: str) -> str:
    """Return a text with an apostrophe in front if a spreadsheet would take it for a formula."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def write_csv(frame: pd.DataFrame, file: Any) -> None:
    """Write a frame as CSV, with an apostrophe before cells and column names that are formulas for a spreadsheet.

    Parameters
    ----------
    frame : DataFrame
        Table to write. Its numbers and times stay what they are.
    file : path or text file
        Destination of the CSV.
    """
    guarded = frame.copy()
    for name in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[name]) and not pd.api.types.is_datetime64_any_dtype(frame[name]):
            guarded[name] = [guard_text(cell) if isinstance(cell, str) else cell for cell in frame[name]]
    guarded.columns = pd.Index([guard_text(str(name)) for name in frame.columns])
    # All texts are quoted, since an unquoted carriage return would end a row.
    guarded.to_csv(file, index=False, quoting=csv.QUOTE_NONNUMERIC)
