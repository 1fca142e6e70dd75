"""Parse numbers that are written as text, and infer the type of a column without a declared type.

CSV, JSON lines and spreadsheets do not declare the type of a column. It is inferred from all of its cells, no matter
how long the table is:

    every cell is a number or missing                             -> a column of numbers
    every cell is true or false or missing                        -> a column of booleans
    at least half of the cells are numbers, or look like numbers  -> refused with the column, row and value
    otherwise                                                     -> text, which is left out of the features with a note
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["MISSING_TEXTS", "BadCellError", "CellFacts", "NumberStyle", "parse_booleans", "parse_numbers"]

#: Texts that mean a missing number, but never a missing name.
MISSING_TEXTS = (
    "NA", "N/A", "n/a", "#N/A", "#NA", "NaN", "nan", "NAN", "-NaN", "-nan", "NULL", "null", "Null", "None", "none",
    "<NA>", "\\N",
)  # fmt: skip
#: Text that often means a missing number. Messages name it, but it is read as missing only if the user asks for it.
_PLACEHOLDERS = (
    "-",
    "--",
    "---",
    ".",
    "..",
    "?",
    "*",
    "n.a.",
    "N.A.",
    "\u2013",
    "\u2014",
    "unknown",
    "Unknown",
    "missing",
)
#: Text that spreadsheets write if a formula fails.
_ERRORS = ("#DIV/0!", "#VALUE!", "#REF!", "#NUM!", "#NAME?", "#NULL!")
#: Minimum fraction of cells that are, or look like, numbers for which a column is refused instead of left out as text.
REFUSED_SHARE = 0.5
_SIGN, _MONEY, _SEPARATORS = "[+\u2212-]", "[$€£¥]", ".,' \u00a0\u202f_\u2019"
#: Units of shares, amounts of data and durations.
_UNIT = r"%|‰|(?i:[kmgt]i?b|[kmgt]bit/?s?|bytes?|ms|µs|s|secs?|seconds?|min|minutes?|h|hrs?|hours?|d|days?)"
#: Number with signs, separators, units, quotes or parentheses around it, or in digits of another script.
_DECORATED = (
    rf"""^['"(]?[<>~≤≥≈]?=?\s?{_SIGN}?\s?{_MONEY}?\s?(\p{{Nd}}{{1,3}}(?:[{_SEPARATORS}]\p{{Nd}}{{3}})+|\p{{Nd}}+)"""
    rf"""(?:[.,]\p{{Nd}}*)?(?:[eE][+-]?\d+)?\s?(?:{_MONEY}|{_UNIT}|-)?[)"']?$"""
)
_ADDRESS = r"^\d{1,3}(\.\d{1,3}){3}$"


class BadCellError(ValueError):
    """Error for a cell with a value that its column does not allow.

    The message names the column, the row and the value, and says what to do.

    Attributes
    ----------
    column : str
        Name of the column.
    row : int or None
        Number of the row in the table, from 0, or None if it is not known.
    location : str or None
        Position in the file, such as ``"line 5"``.
    """

    def __init__(self, column: str, row: int | None, value: Any, problem: str, *, location: str | None = None) -> None:
        self.column, self.row, self.value, self.problem, self.location = column, row, value, problem, location
        shown = repr(value) if isinstance(value, str) else str(value)
        if len(shown) > 80:
            shown = shown[:77] + "..."
        if location is None and row is not None:
            location = f"row {row} (the first is 0)"
        super().__init__(f"column {column!r} has {shown}{f' in {location}' if location else ''}, which is {problem}")

    def at(self, location: str) -> BadCellError:
        """Return the same error with another location, such as ``"line 5"``."""
        return BadCellError(self.column, self.row, self.value, self.problem, location=location)

    def __reduce__(self) -> Any:
        return _bad_cell, (self.column, self.row, self.value, self.problem, self.location)


def _bad_cell(column: str, row: int | None, value: Any, problem: str, location: str | None) -> BadCellError:
    return BadCellError(column, row, value, problem, location=location)


@dataclass(frozen=True)
class NumberStyle:
    """Style in which numbers are written in text.

    Parameters
    ----------
    decimal : str
        Character between the whole and the fractional part.
    thousands : str or None
        Character between groups of three digits; None if digits are not grouped.
    missing : tuple of str
        Texts that mean a missing number, in addition to `MISSING_TEXTS`.
    """

    decimal: str = "."
    thousands: str | None = None
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("decimal", "thousands"):
            value = getattr(self, name)
            if name == "thousands" and value is None:
                continue
            if not isinstance(value, str) or len(value) != 1 or value.isalnum() or value in '+-"\n\r':
                raise ValueError(
                    f"{name}={value!r} must be one character that is not a digit, letter, sign, quote or line break"
                )
        if self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}; give two different characters")

    @property
    def missing_texts(self) -> pa.Array:
        """Return all texts that mean a missing number."""
        return pa.array([*MISSING_TEXTS, *self.missing], pa.string())

    @property
    def has_missing_numbers(self) -> bool:
        """Tell whether one of the user's texts for a missing number is itself a number, such as -999."""
        _, is_bad = parse_numbers(pa.array(self.missing, pa.string()), NumberStyle(self.decimal, self.thousands))
        return not pc.all(is_bad, min_count=0).as_py()


def parse_numbers(texts: pa.Array, style: NumberStyle) -> tuple[pa.Array, pa.Array]:
    """Parse a column of text as numbers, and mark the cells that are neither numbers nor missing.

    Parameters
    ----------
    texts : pyarrow.Array of string
        Cells of the column; blanks around a number are ignored.
    style : NumberStyle
        Style in which numbers are written.

    Returns
    -------
    numbers : pyarrow.Array of double
        Numbers; null for cells that are missing or not numbers.
    is_bad : pyarrow.Array of bool
        True for cells that are neither numbers nor missing.
    """
    trimmed = pc.utf8_trim_whitespace(texts)
    absent = pc.or_(
        pc.is_null(texts), pc.fill_null(pc.or_(pc.equal(trimmed, ""), pc.is_in(trimmed, style.missing_texts)), True)
    )
    decimal = _escaped(style.decimal)
    digits = r"\d+"
    if style.thousands is not None:
        digits = rf"(?:\d{{1,3}}(?:{_escaped(style.thousands)}\d{{3}})+|\d+)"
    number = rf"^[+-]?(?:{digits}(?:{decimal}\d*)?|{decimal}\d+)(?:[eE][+-]?\d+)?$"
    infinite = r"^[+-]?(?i:inf|infinity)$"
    is_number = pc.or_(pc.match_substring_regex(trimmed, number), pc.match_substring_regex(trimmed, infinite))
    is_number = pc.and_not(pc.fill_null(is_number, False), absent)
    plain = pc.if_else(is_number, trimmed, pa.scalar(None, pa.string()))
    if style.thousands is not None:
        plain = pc.replace_substring(plain, style.thousands, "")
    if style.decimal != ".":
        plain = pc.replace_substring(plain, style.decimal, ".")
    return plain.cast(pa.float64()), pc.and_not(pc.invert(absent), is_number)


def _escaped(character: str) -> str:
    return rf"\x{{{ord(character):x}}}"


def parse_booleans(texts: pa.Array, style: NumberStyle) -> pa.Array:
    """Parse a column of true and false; all other cells, which must be missing, become null."""
    lower = pc.utf8_lower(pc.utf8_trim_whitespace(texts))
    return pc.if_else(pc.equal(lower, "true"), True, pc.if_else(pc.equal(lower, "false"), False, None))


@dataclass
class CellFacts:
    """Counts of numbers, booleans and other cells in a text column.

    `update` adds a batch, and `merge` adds the counts of another partition, in any order.

    Attributes
    ----------
    n_present, n_numbers, n_booleans, n_placeholders, n_decorated : int
        Number of cells that are not missing, and how many of them are numbers, booleans, placeholders such as ``-``,
        and numbers with signs, units or separators around them.
    n_missing_texts : int
        Number of cells with a text that means a missing number.
    missing_text : str or None
        Alphabetically first of these texts.
    bad : str or None
        First cell that is not a number; if row numbers are not known, the alphabetically first such cell.
    bad_row : int or None
        Row number of the cell `bad`.
    style : NumberStyle
        Style in which numbers are written.
    """

    n_present: int = 0
    n_numbers: int = 0
    n_booleans: int = 0
    n_placeholders: int = 0
    n_decorated: int = 0
    n_missing_texts: int = 0
    missing_text: str | None = None
    bad: str | None = None
    bad_row: int | None = None
    style: NumberStyle = field(default_factory=NumberStyle)

    def update(self, texts: pa.Array, first_row: int | None) -> None:
        """Add the cells of a batch; `first_row` is the number of its first row, or None if it is not known."""
        counts = texts.dictionary_encode() if not pa.types.is_dictionary(texts.type) else texts
        if isinstance(counts, pa.ChunkedArray):
            counts = counts.combine_chunks()
        codes = counts.indices
        values = counts.dictionary.cast(pa.string())
        times = np.bincount(codes.drop_null().to_numpy(zero_copy_only=False).astype(np.int64), minlength=len(values))
        _, is_bad = parse_numbers(values, self.style)
        is_bad_array = is_bad.to_numpy(zero_copy_only=False).astype(bool)
        trimmed = pc.utf8_trim_whitespace(values)
        is_missing_text = _array(pc.is_in(trimmed, self.style.missing_texts))
        is_empty = _array(pc.equal(trimmed, "")) | _array(pc.is_null(values))
        is_boolean = _array(pc.is_in(pc.utf8_lower(trimmed), pa.array(["true", "false"])))
        is_number = ~is_bad_array & ~is_missing_text & ~is_empty
        is_placeholder = is_bad_array & _array(pc.is_in(trimmed, pa.array([*_PLACEHOLDERS, *_ERRORS])))
        is_decorated = _array(pc.match_substring_regex(trimmed, _DECORATED))
        is_decorated &= ~_array(pc.match_substring_regex(trimmed, _ADDRESS)) & is_bad_array
        self.n_present += int(times[~is_missing_text & ~is_empty].sum())
        self.n_numbers += int(times[is_number].sum())
        self.n_booleans += int(times[is_boolean].sum())
        self.n_placeholders += int(times[is_placeholder].sum())
        self.n_decorated += int(times[is_decorated].sum())
        self.n_missing_texts += int(times[is_missing_text].sum())
        if is_missing_text.any():
            text = min(trimmed.filter(pa.array(is_missing_text)).to_pylist())
            self.missing_text = text if self.missing_text is None else min(text, self.missing_text)
        used = is_bad_array & (times > 0)
        if used.any():
            if first_row is None:
                self._note(min(values.filter(pa.array(used)).to_pylist()), None)
            elif self.bad is None:
                rows = codes.fill_null(len(values)).to_numpy(zero_copy_only=False)
                row = int(np.flatnonzero(np.append(used, False)[rows])[0])
                self._note(values[int(rows[row])].as_py(), first_row + row)

    def _note(self, bad: str | None, row: int | None) -> None:
        if bad is None:
            return
        if self.bad is None:
            self.bad, self.bad_row = bad, row
        elif row is not None and self.bad_row is not None:
            self.bad, self.bad_row = min((self.bad_row, self.bad), (row, bad))[::-1]
        else:
            self.bad, self.bad_row = min(self.bad, bad), None

    def merge(self, other: CellFacts) -> None:
        """Add the counts of another partition."""
        for name in ("n_present", "n_numbers", "n_booleans", "n_placeholders", "n_decorated", "n_missing_texts"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        texts = [text for text in (self.missing_text, other.missing_text) if text is not None]
        self.missing_text = min(texts) if texts else None
        self._note(other.bad, other.bad_row)

    @property
    def category(self) -> str:
        """Return the category of the column: ``"numbers"``, ``"booleans"``, ``"empty"``, ``"mixed"`` or ``"text"``.

        A ``"mixed"`` column holds so many numbers that its other cells look like mistakes, so readers refuse it.
        """
        if self.n_present == 0:
            return "empty"
        if self.n_numbers == self.n_present:
            return "numbers"
        if self.n_booleans == self.n_present:
            return "booleans"
        n_judged = self.n_present - self.n_placeholders
        n_like_numbers = self.n_numbers + self.n_decorated
        return "mixed" if n_like_numbers and n_like_numbers >= REFUSED_SHARE * n_judged else "text"

    def refusal(self, column: str) -> BadCellError:
        """Return the error for a column that must hold numbers but does not."""
        assert self.bad is not None
        problem = f"not a number ({self.n_numbers:,} of {self.n_present:,} cells are); {_advice(self.bad, self.style)}"
        return BadCellError(column, self.bad_row, self.bad, problem)

    def reason(self) -> str:
        """Return the reason why a text column is not used as a feature."""
        if self.n_present and self.n_placeholders == self.n_present:
            return f"no values, only placeholders such as {self.bad!r}"
        if not self.n_numbers:
            return "text"
        if self.n_numbers == self.n_present:
            return f"text, though all its {self.n_present:,} cells are numbers; convert it to use it"
        return f"text; {self.n_numbers:,} of its {self.n_present:,} cells are numbers, but not {self.bad!r}"


def _advice(bad: str, style: NumberStyle) -> str:
    """Return advice about a cell that is not a number."""
    text = bad.strip()
    whole = text.lstrip("+-")
    points, commas = r"\d{1,3}(\.\d{3})+(,\d*)?", r"\d{1,3}(,\d{3})+(\.\d*)?"
    if style.decimal == "." and re.fullmatch(points, whole):
        hint = "if the points separate thousands, give thousands='.', decimal=','"
    elif style.decimal == "." and re.fullmatch(r"\d{1,3},\d{3}", whole):
        hint = "if the comma is a decimal separator, give decimal=','; if it separates thousands, give thousands=','"
    elif style.decimal == "." and re.fullmatch(r"\d*,\d*", whole):
        hint = "if the comma is a decimal separator, give decimal=','"
    elif re.fullmatch(commas, whole):
        hint = "if ',' separates thousands, give thousands=','"
    elif match := re.fullmatch(rf"\d{{1,3}}([{_SEPARATORS}])\d{{3}}(\1\d{{3}})*([.,]\d*)?", whole):
        hint = f"if {match[1]!r} separates thousands, give thousands={match[1]!r}"
    elif text.lower() in ("true", "false"):
        hint = "a column has either numbers or true and false; write 1 and 0"
    elif re.search(r"\d", text) and pc.match_substring_regex(pa.array([text]), _DECORATED)[0].as_py():
        hint = "write the number alone, without signs and units"
    else:
        hint = f"if it stands for a missing value, give missing={text!r}"
    return f"{hint}; or leave the column out (exclude)"


def _array(values: pa.Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
    array: np.ndarray[Any, np.dtype[np.bool_]] = values.fill_null(False).to_numpy(zero_copy_only=False).astype(bool)
    return array


def missing_tuple(missing: str | Iterable[str]) -> tuple[str, ...]:
    """Return the argument `missing` as a tuple of texts without leading and trailing blanks."""
    texts = (missing,) if isinstance(missing, str) else tuple(missing)
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"missing must be text or a list of texts, got {text!r}")
    return tuple(text.strip() for text in texts)
