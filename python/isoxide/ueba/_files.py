"""Write CSV files that are safe to open in a spreadsheet: no text in them runs as a formula."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from isoxide.ueba._numbers import joined_rows

__all__ = ["guard_text", "write_csv"]

#: Characters with which a formula begins in a spreadsheet.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
#: Columns of numbers at the end of a frame from which on they are written by Arrow, four times as fast as by pandas.
_MIN_NUMBERS = 8


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
    for name, dtype in frame.dtypes.items():
        if not pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_datetime64_any_dtype(dtype):
            guarded[name] = [guard_text(cell) if isinstance(cell, str) else cell for cell in frame[name].tolist()]
    guarded.columns = pd.Index([guard_text(str(name)) for name in frame.columns])
    n_left = len(frame.columns)
    while n_left and frame.dtypes.iloc[n_left - 1] == np.float64:
        n_left -= 1
    if n_left == 0 or len(frame.columns) - n_left < _MIN_NUMBERS:
        guarded.to_csv(file, index=False, quoting=csv.QUOTE_NONNUMERIC)
    elif hasattr(file, "write"):
        _write_with_numbers(guarded, n_left, file)
    else:
        with open(file, "w", encoding="utf-8", newline="") as text:
            _write_with_numbers(guarded, n_left, text)


def _write_with_numbers(frame: pd.DataFrame, n_left: int, file: Any) -> None:
    """Write a frame whose columns from `n_left` on are float64: pandas writes the columns before these."""
    header = io.StringIO()
    csv.writer(header, quoting=csv.QUOTE_NONNUMERIC, lineterminator="").writerow(frame.columns[n_left:])
    numbers = joined_rows(frame.iloc[:, n_left:].to_numpy(), ",", missing='""')
    lines: Any = _Lengthened(file, chain([header.getvalue()], numbers))
    # pandas chooses the format of times for this many rows at a time, which depends on the number of all columns.
    frame.iloc[:, :n_left].to_csv(
        lines, index=False, quoting=csv.QUOTE_NONNUMERIC, chunksize=max(1, 100_000 // len(frame.columns))
    )


class _Lengthened:
    """Text file to which pandas writes lines, and which adds the rest of each line."""

    def __init__(self, file: Any, rests: Iterator[str]) -> None:
        self._file, self._rests = file, rests

    def write(self, line: str) -> int:
        """Write a line with its rest: a writer of the module `csv` calls this once for each row."""
        return self._file.write(f"{line.removesuffix(os.linesep)},{next(self._rests)}{os.linesep}")  # type: ignore[no-any-return]
