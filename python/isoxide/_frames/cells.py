"""Numbers written as text: which cells of a column are numbers, and what a column without a declared type holds.

CSV, JSON lines and spreadsheets do not say what a column is. All its cells are looked at, however long the table is:

    every cell present is a number, or a word for a missing one   -> a column of numbers
    every cell present is true or false                           -> a column of booleans
    at least half of the cells are numbers, or look like some     -> refused by column, row and value
    otherwise                                                     -> text, which is left out of the features and told
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["MISSING_WORDS", "BadCellError", "CellFacts", "NumberStyle", "parse_booleans", "parse_numbers"]

#: Words that stand for a missing number, never for a missing name.
MISSING_WORDS = (
    "NA", "N/A", "n/a", "#N/A", "#NA", "NaN", "nan", "NAN", "-NaN", "-nan", "NULL", "null", "Null", "None", "none",
    "<NA>", "\\N",
)  # fmt: skip
#: Text that people write where a number is missing: told as such, but read as missing only if the user says so.
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
#: What spreadsheets write where a formula failed.
_ERRORS = ("#DIV/0!", "#VALUE!", "#REF!", "#NUM!", "#NAME?", "#NULL!")
#: A column is refused rather than left out if at least this share of its cells are, or look like, numbers.
REFUSED_SHARE = 0.5
_SIGN, _MONEY, _SEPARATORS = "[+\u2212-]", "[$€£¥]", ".,' \u00a0\u202f_\u2019"
#: Units of shares, data and time.
_UNIT = r"%|‰|(?i:[kmgt]i?b|[kmgt]bit/?s?|bytes?|ms|µs|s|secs?|seconds?|min|minutes?|h|hrs?|hours?|d|days?)"
#: A number with signs, separators, units, quotes or parentheses around it, or in another script than Latin.
_DECORATED = (
    rf"""^['"(]?[<>~≤≥≈]?=?\s?{_SIGN}?\s?{_MONEY}?\s?(\p{{Nd}}{{1,3}}(?:[{_SEPARATORS}]\p{{Nd}}{{3}})+|\p{{Nd}}+)"""
    rf"""(?:[.,]\p{{Nd}}*)?(?:[eE][+-]?\d+)?\s?(?:{_MONEY}|{_UNIT}|-)?[)"']?$"""
)
_ADDRESS = r"^\d{1,3}(\.\d{1,3}){3}$"


class BadCellError(ValueError):
    """A cell that does not hold what its column must; says where it is and what to write instead.

    Attributes
    ----------
    column : str
        Name of the column.
    row : int or None
        Number of the row in the table, from 0; None where rows have no numbers.
    """

    def __init__(self, column: str, row: int | None, value: Any, wanted: str, *, place: str | None = None) -> None:
        self.column, self.row, self.value, self.wanted, self.place = column, row, value, wanted, place
        shown = repr(value) if isinstance(value, str) else str(value)
        if len(shown) > 80:
            shown = shown[:77] + "..."
        if place is None and row is not None:
            place = f"row {row} (the first is 0)"
        super().__init__(f"column {column!r} has {shown}{f' in {place}' if place else ''}, which is {wanted}")

    def at(self, place: str) -> BadCellError:
        """Return the same error with the place named as its file counts."""
        return BadCellError(self.column, self.row, self.value, self.wanted, place=place)

    def __reduce__(self) -> Any:
        return _bad_cell, (self.column, self.row, self.value, self.wanted, self.place)


def _bad_cell(column: str, row: int | None, value: Any, wanted: str, place: str | None) -> BadCellError:
    return BadCellError(column, row, value, wanted, place=place)


@dataclass(frozen=True)
class NumberStyle:
    """How numbers are written in text.

    Parameters
    ----------
    decimal : str
        The character between the whole and the fractional part.
    thousands : str or None
        The character between groups of three digits; None if there is none.
    missing : tuple of str
        Words for a missing number besides `MISSING_WORDS`.
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
                raise ValueError(f"{name}={value!r} must be one character that is no digit, letter or sign")
        if self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}; they must differ")

    @property
    def words(self) -> pa.Array:
        """All words for a missing number."""
        return pa.array([*MISSING_WORDS, *self.missing], pa.string())

    @property
    def has_missing_numbers(self) -> bool:
        """Whether the user named a number, such as -999, that stands for a missing one."""
        _, is_bad = parse_numbers(pa.array(self.missing, pa.string()), NumberStyle(self.decimal, self.thousands))
        return not pc.all(is_bad, min_count=0).as_py()


def parse_numbers(texts: pa.Array, style: NumberStyle) -> tuple[pa.Array, pa.Array]:
    """Return the numbers of a column of text, and which cells are neither numbers nor missing.

    Parameters
    ----------
    texts : pyarrow.Array of string
        The cells; blanks around a number are ignored.
    style : NumberStyle
        How numbers are written.

    Returns
    -------
    numbers : pyarrow.Array of double
        Null where a cell is missing or no number.
    is_bad : pyarrow.Array of bool
        True where a cell holds something else.
    """
    trimmed = pc.utf8_trim_whitespace(texts)
    absent = pc.or_(
        pc.is_null(texts), pc.fill_null(pc.or_(pc.equal(trimmed, ""), pc.is_in(trimmed, style.words)), True)
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
    """Return true and false of a column that holds nothing else; words for a missing value are null."""
    lower = pc.utf8_lower(pc.utf8_trim_whitespace(texts))
    return pc.if_else(pc.equal(lower, "true"), True, pc.if_else(pc.equal(lower, "false"), False, None))


@dataclass
class CellFacts:
    """What is known of the cells of a text column; `update` adds a batch, `merge` another part of the table.

    Attributes
    ----------
    n_present, n_numbers, n_booleans, n_placeholders, n_decorated : int
        Cells that are not missing, and how many of them are numbers, booleans, signs for a missing cell, and numbers
        with signs, units or separators around them.
    n_words : int
        Cells with a word for a missing number.
    bad : str or None
        The first cell that is no number, or the lowest where rows have no numbers.
    bad_row : int or None
        Its row.
    """

    n_present: int = 0
    n_numbers: int = 0
    n_booleans: int = 0
    n_placeholders: int = 0
    n_decorated: int = 0
    n_words: int = 0
    word: str | None = None
    bad: str | None = None
    bad_row: int | None = None
    style: NumberStyle = field(default_factory=NumberStyle)

    def update(self, texts: pa.Array, first_row: int | None) -> None:
        """Look at more cells; `first_row` is the number of the first, None where rows have no numbers."""
        counts = texts.dictionary_encode() if not pa.types.is_dictionary(texts.type) else texts
        if isinstance(counts, pa.ChunkedArray):
            counts = counts.combine_chunks()
        codes = counts.indices
        values = counts.dictionary.cast(pa.string())
        times = np.bincount(codes.drop_null().to_numpy(zero_copy_only=False).astype(np.int64), minlength=len(values))
        _, is_bad = parse_numbers(values, self.style)
        is_bad_array = is_bad.to_numpy(zero_copy_only=False).astype(bool)
        trimmed = pc.utf8_trim_whitespace(values)
        is_word = _array(pc.is_in(trimmed, self.style.words))
        is_empty = _array(pc.equal(trimmed, "")) | _array(pc.is_null(values))
        is_boolean = _array(pc.is_in(pc.utf8_lower(trimmed), pa.array(["true", "false"])))
        is_number = ~is_bad_array & ~is_word & ~is_empty
        is_placeholder = is_bad_array & _array(pc.is_in(trimmed, pa.array([*_PLACEHOLDERS, *_ERRORS])))
        looks_like = _array(pc.match_substring_regex(trimmed, _DECORATED))
        looks_like &= ~_array(pc.match_substring_regex(trimmed, _ADDRESS)) & is_bad_array
        self.n_present += int(times[~is_word & ~is_empty].sum())
        self.n_numbers += int(times[is_number].sum())
        self.n_booleans += int(times[is_boolean].sum())
        self.n_placeholders += int(times[is_placeholder].sum())
        self.n_decorated += int(times[looks_like].sum())
        self.n_words += int(times[is_word].sum())
        if is_word.any():
            word = min(trimmed.filter(pa.array(is_word)).to_pylist())
            self.word = word if self.word is None else min(word, self.word)
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
        """Add what is known of another part."""
        for name in ("n_present", "n_numbers", "n_booleans", "n_placeholders", "n_decorated", "n_words"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        words = [word for word in (self.word, other.word) if word is not None]
        self.word = min(words) if words else None
        self._note(other.bad, other.bad_row)

    @property
    def kind(self) -> str:
        """``"numbers"``, ``"booleans"``, ``"empty"``, ``"mixed"`` (to be refused) or ``"text"``."""
        if self.n_present == 0:
            return "empty"
        if self.n_numbers == self.n_present:
            return "numbers"
        if self.n_booleans == self.n_present:
            return "booleans"
        judged = self.n_present - self.n_placeholders
        alike = self.n_numbers + self.n_decorated
        return "mixed" if alike and alike >= REFUSED_SHARE * judged else "text"

    def refusal(self, column: str) -> BadCellError:
        """Return the refusal of a column that must hold numbers."""
        assert self.bad is not None
        wanted = f"no number ({self.n_numbers:,} of {self.n_present:,} cells are); {_advice(self.bad, self.style)}"
        return BadCellError(column, self.bad_row, self.bad, wanted)

    def reason(self) -> str:
        """Return why a text column is no feature."""
        if self.n_present and self.n_placeholders == self.n_present:
            return f"no values but signs such as {self.bad!r}"
        if not self.n_numbers:
            return "text"
        if self.n_numbers == self.n_present:
            return f"text, though all its {self.n_present:,} cells are numbers; convert it to use it"
        return f"text; {self.n_numbers:,} of its {self.n_present:,} cells are numbers, but not {self.bad!r}"


def _advice(bad: str, style: NumberStyle) -> str:
    """Return what to do about a cell that is no number."""
    text = bad.strip()
    whole = text.lstrip("+-")
    points, commas = r"\d{1,3}(\.\d{3})+(,\d*)?", r"\d{1,3}(,\d{3})+(\.\d*)?"
    if style.decimal == "." and re.fullmatch(points, whole):
        hint = "if the points separate thousands, say thousands='.', decimal=','"
    elif style.decimal == "." and re.fullmatch(r"\d{1,3},\d{3}", whole):
        hint = "if the comma is a decimal one, say decimal=','; if it separates thousands, thousands=','"
    elif style.decimal == "." and re.fullmatch(r"\d*,\d*", whole):
        hint = "if the comma is a decimal one, say decimal=','"
    elif re.fullmatch(commas, whole):
        hint = "if ',' separates thousands, say thousands=','"
    elif found := re.fullmatch(rf"\d{{1,3}}([{_SEPARATORS}])\d{{3}}(\1\d{{3}})*([.,]\d*)?", whole):
        hint = f"if {found[1]!r} separates thousands, say thousands={found[1]!r}"
    elif text.lower() in ("true", "false"):
        hint = "a column has either numbers or true and false; write 1 and 0"
    elif re.search(r"\d", text) and pc.match_substring_regex(pa.array([text]), _DECORATED)[0].as_py():
        hint = "write the number alone, without signs and units"
    else:
        hint = f"if it stands for a missing value, say missing={text!r}"
    return f"{hint}; or leave the column out (exclude)"


def _array(values: pa.Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
    found: np.ndarray[Any, np.dtype[np.bool_]] = values.fill_null(False).to_numpy(zero_copy_only=False).astype(bool)
    return found


def missing_tuple(missing: str | Iterable[str]) -> tuple[str, ...]:
    """Return the words for a missing number as a tuple."""
    words = (missing,) if isinstance(missing, str) else tuple(missing)
    for word in words:
        if not isinstance(word, str):
            raise TypeError(f"missing must be text or a list of texts, got {word!r}")
    return tuple(word.strip() for word in words)
