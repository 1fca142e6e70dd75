"""Notice that a source without a version gives other rows, or another order of rows, than in an earlier pass."""

from __future__ import annotations

import zlib

import numpy as np
import pyarrow as pa

__all__ = ["PassRecord"]


class PassRecord:
    """Numbers of rows and checksums of columns of the complete passes over a source.

    The checksum of a column depends on its values and their order, not on how the rows are divided into batches. Only
    columns of numbers and times have one.

    Parameters
    ----------
    source_name : str
        Name of the source in messages.
    advice : str
        Advice for the user, at the end of the message about rows that changed.
    """

    def __init__(self, source_name: str, advice: str) -> None:
        self._name, self._advice = source_name, advice
        self._n_rows: int | None = None
        self._checksums: dict[str, tuple[int, int]] = {}

    def begin(self, schema: pa.Schema) -> Pass:
        """Return the record of a new pass that reads the given columns."""
        return Pass(self, schema)

    def compare(self, n_rows: int, checksums: dict[str, tuple[int, int]]) -> None:
        """Compare a complete pass with the earlier ones.

        Raises
        ------
        ValueError
            If the number of rows or the checksum of a column is another one.
        """
        if self._n_rows is not None and n_rows != self._n_rows:
            raise ValueError(
                f"{self._name} changed while it was read: it has {n_rows} rows now, but had {self._n_rows} before; "
                f"{self._advice}"
            )
        for name, checksum in checksums.items():
            if self._checksums.setdefault(name, checksum) != checksum:
                raise ValueError(
                    f"{self._name} changed while it was read: the column {name!r} has other values, or its rows are in "
                    f"another order, than in an earlier pass; {self._advice}"
                )
        self._n_rows = n_rows


class Pass:
    """One pass over a source.

    Parameters
    ----------
    record : PassRecord
        Record of all passes.
    schema : pyarrow.Schema
        Columns that the pass reads.
    """

    def __init__(self, record: PassRecord, schema: pa.Schema) -> None:
        self._record, self._n_rows = record, 0
        #: Checksum of the values of each column, and of the positions of its missing cells.
        self._checksums = {field.name: (0, 0) for field in schema if _width(field.type) is not None}

    @property
    def n_rows(self) -> int:
        """Return the number of rows so far."""
        return self._n_rows

    def update(self, batch: pa.RecordBatch) -> None:
        """Add a batch of rows."""
        for name, (values, missing) in self._checksums.items():
            column = batch.column(name)
            if column.null_count:
                positions = np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False)) + self._n_rows
                missing = zlib.crc32(positions.astype(np.int64).tobytes(), missing)
                # The value below a missing cell is arbitrary.
                column = column.drop_null()
            self._checksums[name] = zlib.crc32(_bytes_of(column), values), missing
        self._n_rows += batch.num_rows

    def finish(self) -> None:
        """Compare the pass, which is complete, with the earlier ones."""
        self._record.compare(self._n_rows, self._checksums)


def _width(dtype: pa.DataType) -> int | None:
    """Return the bytes per value of a dtype of numbers or times, or None for other dtypes."""
    if pa.types.is_boolean(dtype):
        return 1
    if pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_decimal(dtype):
        return int(dtype.bit_width) // 8
    return 8 if pa.types.is_timestamp(dtype) else None


def _bytes_of(column: pa.Array) -> memoryview:
    """Return the bytes of the values of a column without missing cells."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    width = _width(column.type)
    values = column.buffers()[1]
    if values is None or width is None:
        return memoryview(b"")
    return memoryview(values)[column.offset * width : (column.offset + len(column)) * width]
