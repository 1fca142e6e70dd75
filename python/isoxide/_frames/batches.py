"""Batches in the sizes that are wanted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

#: Bytes of a batch, about, and how many rows that may be.
_BATCH_BYTES, _FEWEST, _MOST = 16 << 20, 1 << 12, 1 << 18
#: Bytes of a value of a type that does not say.
_UNKNOWN_WIDTH = 32


def batch_rows(schema: pa.Schema, columns: Iterable[str]) -> int:
    """Rows of these columns that make a batch of a size that stays in bounds."""
    width = 0
    for name in columns:
        try:
            width += schema.field(name).type.bit_width // 8 + 1
        except (KeyError, ValueError):
            width += _UNKNOWN_WIDTH
    return max(_FEWEST, min(_MOST, _BATCH_BYTES // max(width, 1)))


def sliced(batches: Iterable[pa.RecordBatch], n_rows: int) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of so many at most, and none without any."""
    for batch in batches:
        for start in range(0, batch.num_rows, n_rows):
            yield batch.slice(start, n_rows)


def without_first(batches: Iterable[pa.RecordBatch], n_rows: int) -> Iterator[pa.RecordBatch]:
    """All but the first rows."""
    for batch in batches:
        if n_rows >= batch.num_rows:
            n_rows -= batch.num_rows
        else:
            yield batch.slice(n_rows)
            n_rows = 0
