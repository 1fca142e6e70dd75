"""Keys as text: who a row is about keeps its spelling, whatever type the table has it in."""

from __future__ import annotations

import datetime
import decimal
import unicodedata
import uuid
from collections.abc import Iterable
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isoxide._frames.cells import BadCellError
from isoxide._frames.dtypes import EXACT_INTEGERS, is_text

__all__ = ["alike", "as_text", "refuse_float", "spelled", "text_labels"]


def as_text(column: pa.Array | pa.ChunkedArray, name: str, first_row: int | None = None) -> pa.Array:
    """Return a column of keys as text; empty cells are missing.

    Text keeps its spelling. Integers of any width become their digits, and so do floats and decimals that are whole,
    since a missing cell makes floats of a column of integers. Times lose what is zero: midnights are days.

    Parameters
    ----------
    column : pyarrow array
        The keys.
    name : str
        Name of the column, for messages.
    first_row : int, optional
        Number of the first row in the table, for messages; None where rows have no numbers.

    Raises
    ------
    BadCellError
        If the column holds floats that are too large to have kept all digits.
    TypeError
        If it holds lists, bytes or other values that have no spelling.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        # Beyond 2 GB of text.
        return pa.chunked_array([as_text(piece, name, first_row) for piece in column.chunks], pa.string())
    dtype, types = column.type, pa.types
    if types.is_dictionary(dtype):
        return pc.take(as_text(column.dictionary, name), column.indices)
    if is_text(dtype):
        texts = column if types.is_string(dtype) else column.cast(pa.string())
        return _without_empty(texts)
    if types.is_floating(dtype):
        return _from_floats(column.cast(pa.float64()), name, first_row)
    if types.is_null(dtype) or types.is_integer(dtype):
        return column.cast(pa.string())
    if types.is_boolean(dtype):
        return pc.if_else(column, "True", "False")
    if types.is_decimal(dtype):
        return pa.array([None if value is None else spelled(value) for value in column.to_pylist()], pa.string())
    if types.is_date(dtype) or types.is_timestamp(dtype):
        return _from_times(column.cast(pa.string()))
    if dtype == pa.uuid():
        bytes_of = column.storage.to_pylist()
        return pa.array([None if value is None else str(uuid.UUID(bytes=value)) for value in bytes_of], pa.string())
    raise TypeError(f"column {name!r} holds {dtype}, which cannot be a key; convert it to text")


def _without_empty(texts: pa.Array) -> pa.Array:
    """Return a column in which empty text is missing."""
    is_empty = pc.fill_null(pc.equal(texts, ""), False)
    if not pc.any(is_empty, min_count=0).as_py():
        return texts
    # By positions: `if_else` of pyarrow 18 reads beyond the ends of texts that are a slice of others.
    positions = np.arange(len(texts))
    return texts.take(pa.array(positions, mask=is_empty.to_numpy(zero_copy_only=False)))


def _from_floats(column: pa.Array, name: str, first_row: int | None) -> pa.Array:
    missing = pc.or_kleene(pc.is_null(column), pc.is_nan(column))
    column = pc.if_else(missing, pa.scalar(None, pa.float64()), column)
    large = pc.fill_null(pc.greater_equal(pc.abs(column), float(EXACT_INTEGERS)), False)
    rows = np.flatnonzero(large.to_numpy(zero_copy_only=False))
    if rows.size:
        refuse_float(column[int(rows[0])].as_py(), name, None if first_row is None else first_row + int(rows[0]))
    whole = pc.equal(pc.floor(column), column)
    digits = pc.if_else(whole, column, pa.scalar(None, pa.float64())).cast(pa.int64()).cast(pa.string())
    return pc.if_else(whole, digits, column.cast(pa.string()))


def refuse_float(value: float, name: str, row: int | None, place: str | None = None) -> NoReturn:
    """Refuse a key that was an integer and is a float that does not hold all its digits."""
    lost = "a float that has lost digits (those beyond 2**53 are); read the column as text or as integers"
    raise BadCellError(name, row, value, lost, place=place)


def _from_times(texts: pa.Array) -> pa.Array:
    """Return times without the zeros that their unit adds, midnights without their hour."""
    texts = pc.replace_substring_regex(texts, r"\.(\d*?)0+(Z|[+-]\d+)?$", r".\1\2")
    texts = pc.replace_substring_regex(texts, r"\.(Z|[+-]\d+)?$", r"\1")
    return pc.replace_substring_regex(texts, r" 00:00:00$", "")


def spelled(value: Any) -> str:
    """Return the text of one cell, as `as_text` gives it for a column of such.

    Examples
    --------
    >>> from isoxide._frames.keys import spelled
    >>> spelled(1001), spelled(1001.0), spelled("1001.0"), spelled(True)
    ('1001', '1001', '1001.0', 'True')
    """
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (float, np.floating)) and float(value).is_integer() and abs(float(value)) < EXACT_INTEGERS:
        return str(int(value))
    if isinstance(value, decimal.Decimal) and value.is_finite():
        whole, point, fraction = f"{value:f}".partition(".")
        return whole + point + fraction.rstrip("0") if fraction.rstrip("0") else whole
    return value.isoformat() if isinstance(value, (datetime.date, datetime.time)) else str(value)


def text_labels(values: list[Any], name: str) -> list[str | None]:
    """Return labels of rows in memory as the text that `as_text` gives for a column of such."""
    try:
        found: list[str | None] = as_text(pa.array(values, from_pandas=True), name).to_pylist()
    except pa.ArrowException:
        # Numbers among texts.
        missing = [value is None or value != value or value == "" for value in values]
        found = [None if absent else spelled(value) for value, absent in zip(values, missing, strict=True)]
    return found


def alike(texts: Iterable[Any]) -> list[tuple[str, ...]]:
    """Return the spellings that differ only in case, blanks or Unicode form, those of one name together, ascending."""
    together: dict[str, list[str]] = {}
    for text in texts:
        if isinstance(text, str):
            plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
            together.setdefault("".join(plain.split()).casefold(), []).append(text)
    return sorted(tuple(sorted(spellings)) for spellings in together.values() if len(spellings) > 1)
