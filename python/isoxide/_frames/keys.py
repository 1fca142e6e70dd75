"""Convert keys to text: an entity or group label keeps its spelling, regardless of the dtype of its column."""

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

__all__ = ["as_text", "cell_text", "refuse_inexact_key", "similar_spellings", "text_labels"]


def as_text(column: pa.Array | pa.ChunkedArray, name: str, first_row: int | None = None) -> pa.Array:
    """Return a column of keys as text; empty cells are missing.

    Text keeps its spelling. Integers of any width become their digits. Whole floats and decimals become digits too,
    since pandas turns a column of integers into floats when a cell is missing. Times drop trailing zeros: midnights
    become days.

    Parameters
    ----------
    column : pyarrow array
        Column of keys.
    name : str
        Name of the column in messages.
    first_row : int, optional
        Number of the first row in the table, for messages; None if it is not known.

    Raises
    ------
    BadCellError
        If the column holds floats of 2**53 or more, which may have lost digits.
    TypeError
        If it holds lists, bytes or other values that have no text form.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        # An Arrow array holds at most 2 GB of text, so larger columns stay in several chunks.
        return pa.chunked_array([as_text(chunk, name, first_row) for chunk in column.chunks], pa.string())
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
        return pa.array([None if value is None else cell_text(value) for value in column.to_pylist()], pa.string())
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
    # Rows are taken by position, since `if_else` of pyarrow 18 reads beyond the ends of a sliced array of texts.
    positions = np.arange(len(texts))
    return texts.take(pa.array(positions, mask=is_empty.to_numpy(zero_copy_only=False)))


def _from_floats(column: pa.Array, name: str, first_row: int | None) -> pa.Array:
    missing = pc.or_kleene(pc.is_null(column), pc.is_nan(column))
    column = pc.if_else(missing, pa.scalar(None, pa.float64()), column)
    large = pc.fill_null(pc.greater_equal(pc.abs(column), float(EXACT_INTEGERS)), False)
    rows = np.flatnonzero(large.to_numpy(zero_copy_only=False))
    if rows.size:
        refuse_inexact_key(column[int(rows[0])].as_py(), name, None if first_row is None else first_row + int(rows[0]))
    whole = pc.equal(pc.floor(column), column)
    digits = pc.if_else(whole, column, pa.scalar(None, pa.float64())).cast(pa.int64()).cast(pa.string())
    return pc.if_else(whole, digits, column.cast(pa.string()))


def refuse_inexact_key(value: float, name: str, row: int | None, location: str | None = None) -> NoReturn:
    """Refuse a key that is a float of 2**53 or more, since the original integer may have lost digits."""
    problem = "a float too large for exact digits (2**53 or more); read the column as text or as integers"
    raise BadCellError(name, row, value, problem, location=location)


def _from_times(texts: pa.Array) -> pa.Array:
    """Remove trailing zeros of fractions of a second, and the time of day of midnights."""
    texts = pc.replace_substring_regex(texts, r"\.(\d*?)0+(Z|[+-]\d+)?$", r".\1\2")
    texts = pc.replace_substring_regex(texts, r"\.(Z|[+-]\d+)?$", r"\1")
    return pc.replace_substring_regex(texts, r" 00:00:00$", "")


def cell_text(value: Any) -> str:
    """Return the text of one cell, equal to the text that `as_text` gives for a column of such cells.

    Examples
    --------
    >>> from isoxide._frames.keys import cell_text
    >>> cell_text(1001), cell_text(1001.0), cell_text("1001.0"), cell_text(True)
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
    """Return labels of rows in memory as text, equal to the text that `as_text` gives for a column of them."""
    try:
        texts: list[str | None] = as_text(pa.array(values, from_pandas=True), name).to_pylist()
    except pa.ArrowException:
        # Arrow has no type for mixed numbers and text, so each cell is converted separately.
        missing = [value is None or value != value or value == "" for value in values]
        texts = [None if absent else cell_text(value) for value, absent in zip(values, missing, strict=True)]
    return texts


def similar_spellings(texts: Iterable[Any]) -> list[tuple[str, ...]]:
    """Return groups of texts that differ only in case, blanks or Unicode form, sorted."""
    groups: dict[str, list[str]] = {}
    for text in texts:
        if isinstance(text, str):
            plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
            groups.setdefault("".join(plain.split()).casefold(), []).append(text)
    return sorted(tuple(sorted(spellings)) for spellings in groups.values() if len(spellings) > 1)
