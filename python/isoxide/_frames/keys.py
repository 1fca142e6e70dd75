"""Keys as text: who a row is about keeps its spelling, whatever type the table has it in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["alike", "as_text", "text_labels"]

#: Beyond this a float does not hold every integer: digits of an identifier are lost already.
_EXACT = 2.0**53


def as_text(column: pa.Array | pa.ChunkedArray, name: str) -> pa.Array:
    """Return a column of keys as text; empty cells are missing.

    Integers of any width become their digits, floats that are whole become theirs too, since a missing cell
    makes floats of a column of integers.

    Parameters
    ----------
    column : pyarrow array
        The keys.
    name : str
        Name of the column, for messages.

    Raises
    ------
    ValueError
        If the column holds floats that are too large to have kept all digits.
    TypeError
        If it holds lists, bytes or other values that have no spelling.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.chunked_array(column.chunks, column.type).combine_chunks()
    dtype, types = column.type, pa.types
    if types.is_dictionary(dtype):
        words = as_text(column.dictionary, name)
        return pc.take(words, column.indices)
    if types.is_string(dtype) or types.is_large_string(dtype) or types.is_string_view(dtype):
        texts = column if types.is_string(dtype) else column.cast(pa.string())
        return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)
    if types.is_floating(dtype):
        return _from_floats(column.cast(pa.float64()), name)
    if types.is_null(dtype):
        return column.cast(pa.string())
    if types.is_boolean(dtype):
        return pc.if_else(column, "True", "False")
    if types.is_integer(dtype) or types.is_decimal(dtype):
        return column.cast(pa.string())
    if types.is_date(dtype) or types.is_timestamp(dtype):
        return column.cast(pa.string())
    if isinstance(dtype, pa.BaseExtensionType) and not isinstance(dtype, pa.OpaqueType):
        return as_text(column.storage, name)
    raise TypeError(f"column {name!r} holds {dtype}, which cannot be a key; convert it to text")


def _from_floats(column: pa.Array, name: str) -> pa.Array:
    missing = pc.or_kleene(pc.is_null(column), pc.is_nan(column))
    column = pc.if_else(missing, pa.scalar(None, pa.float64()), column)
    large = pc.greater_equal(pc.abs(column), _EXACT)
    if pc.any(large, min_count=0).as_py():
        value = column.filter(large)[0].as_py()
        raise ValueError(
            f"column {name!r} holds identifiers as floats, such as {value:.0f}: digits beyond 2**53 are lost; "
            "read the column as text or as integers"
        )
    whole = pc.equal(pc.floor(column), column)
    digits = pc.if_else(whole, column, pa.scalar(None, pa.float64())).cast(pa.int64()).cast(pa.string())
    return pc.if_else(whole, digits, column.cast(pa.string()))


def text_labels(values: list[Any], name: str) -> list[str | None]:
    """Return labels of rows in memory as the text that `as_text` gives for a column of such."""
    try:
        found: list[str | None] = as_text(pa.array(values, from_pandas=True), name).to_pylist()
    except pa.ArrowException:
        # Numbers among texts.
        missing = [value is None or value != value or value == "" for value in values]
        found = [None if absent else str(value) for value, absent in zip(values, missing, strict=True)]
    return found


def alike(texts: Iterable[Any]) -> list[tuple[str, ...]]:
    """Return the spellings that differ only in case or blanks, those of one name together, in ascending order."""
    together: dict[str, list[str]] = {}
    for text in texts:
        if isinstance(text, str):
            together.setdefault("".join(text.split()).casefold(), []).append(text)
    return sorted(tuple(sorted(spellings)) for spellings in together.values() if len(spellings) > 1)
