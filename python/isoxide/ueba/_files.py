"""Write CSV files that are safe to open in a spreadsheet: no text in them runs as a formula."""

from __future__ import annotations

import csv
from typing import Any

import pandas as pd

__all__ = ["guard_text", "write_csv"]

#: Characters with which a formula begins in a spreadsheet.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def guard_text(text: str) -> str:
    """Prefix a text with an apostrophe if a spreadsheet would run it as a formula."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def write_csv(frame: pd.DataFrame, file: Any) -> None:
    """Write a frame as CSV; an apostrophe is put before cells and names that a spreadsheet would run as formulas.

    Parameters
    ----------
    frame : DataFrame
        Table to write. Numbers and times are written unchanged.
    file : path or text file
        Destination of the CSV.
    """
    guarded = frame.copy()
    for name in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[name]) and not pd.api.types.is_datetime64_any_dtype(frame[name]):
            guarded[name] = [guard_text(cell) if isinstance(cell, str) else cell for cell in frame[name]]
    guarded.columns = pd.Index([guard_text(str(name)) for name in frame.columns])
    # All text is quoted, since an unquoted carriage return would end a row.
    guarded.to_csv(file, index=False, quoting=csv.QUOTE_NONNUMERIC)
