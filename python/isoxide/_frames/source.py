"""Interface of everything that rows are read from, the options of reading, and the size of batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from isoxide._frames.cells import CellFacts, NumberStyle, missing_tuple
from isoxide._frames.names import RESERVED_PREFIX

__all__ = ["TEXT_PREFIX", "ReadOptions", "Roles", "Source", "first_line"]

#: Prefix of a column's name that asks for the text which its numbers were read from.
TEXT_PREFIX = f"{RESERVED_PREFIX}text_"
#: Bytes of a batch, roughly, and the bounds of its number of rows.
_BATCH_BYTES, _MIN_BATCH_ROWS, _MAX_BATCH_ROWS = 16 << 20, 1 << 12, 1 << 18
#: Bytes assumed for a value of a dtype without a fixed width, such as text.
_ASSUMED_WIDTH = 32


@dataclass(frozen=True)
class ReadOptions:
    """Options for reading text; tables with declared dtypes need none.

    Parameters
    ----------
    sep : str or None
        Field delimiter; None takes the one of ``, ; tab |`` that splits the header into most names.
    encoding : str or None
        Encoding of the text; None reads UTF-8, or UTF-16 if the first bytes of the file say so.
    numbers : NumberStyle
        Style in which numbers are written.
    keeps_rows : bool
        Whether the first pass over a text file keeps what it reads, because the whole table is wanted in memory.
    """

    sep: str | None = None
    encoding: str | None = None
    numbers: NumberStyle = field(default_factory=NumberStyle)
    keeps_rows: bool = False

    @classmethod
    def of(
        cls,
        *,
        sep: str | None = None,
        decimal: str = ".",
        thousands: str | None = None,
        missing: str | Iterable[str] = (),
        encoding: str | None = None,
    ) -> ReadOptions:
        """Check the arguments of a public function, and return them as options."""
        if sep is not None and (not isinstance(sep, str) or len(sep) != 1 or sep in '"\r\n' or ord(sep) > 127):
            raise ValueError(f"sep={sep!r} must be a single ASCII character other than a quote or a line break")
        if encoding is not None:
            if not isinstance(encoding, str):
                raise TypeError(f"encoding={encoding!r} must be the name of an encoding, such as 'utf-8'")
            try:
                "".encode(encoding)
            except LookupError:
                raise ValueError(
                    f"encoding={encoding!r} is not known to Python; try 'utf-8', 'utf-16' or 'cp1252'"
                ) from None
        return cls(sep, encoding, NumberStyle(decimal, thousands, missing_tuple(missing)))


@dataclass(frozen=True)
class Roles:
    """Purposes of the columns of a table without declared dtypes.

    Parameters
    ----------
    texts : frozenset of str
        Keys, times and columns to keep; they stay the text that was written.
    numbers : frozenset of str
        Columns that must be numbers; any other cell is refused, even if most cells are text.
    ignored : frozenset of str
        Columns that are not used; they stay text.
    """

    texts: frozenset[str] = frozenset()
    numbers: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()


#: Function of the names of all columns and the name of the table that assigns roles; it may refuse them.
ChooseRoles = Callable[[list[str], str], Roles]


class Source(ABC):
    """Rows that can be read several times in the same order, in batches of Arrow columns."""

    #: Name of the source in messages.
    name: str
    #: Names and dtypes of all columns. Names are distinct and not empty.
    schema: pa.Schema
    #: One sentence for each change or omission while reading.
    notes: list[str]
    #: Reason why a column of text holds no numbers, by its name, if its cells were looked at.
    reasons: dict[str, str]
    #: Name under which `batches` gives the original text of a column of numbers that was read from text, by its name.
    written: Mapping[str, str] = MappingProxyType({})
    #: Rows per batch if the user chose a number; None lets the size of a row decide.
    batch_rows: int | None = None

    @abstractmethod
    def count(self) -> int | None:
        """Return the number of rows, or None if it is not known without reading them."""

    @abstractmethod
    def fingerprint(self) -> Any:
        """Return values, of types that JSON has, that differ for another or a changed source as far as known."""

    @abstractmethod
    def read(self, columns: list[str], first_row: int) -> Iterator[pa.RecordBatch]:
        """Yield batches of any size of some columns, beginning with the row `first_row`."""

    def batches(self, columns: Iterable[str], first_row: int = 0) -> Iterator[pa.RecordBatch]:
        """Yield batches of bounded size of some columns, beginning with the row `first_row`."""
        columns = list(columns)
        return sliced(self.read(columns, first_row), self.rows_per_batch(columns))

    def rows_per_batch(self, columns: Iterable[str]) -> int:
        """Return the number of rows of a batch of these columns."""
        return self.batch_rows or batch_rows(self.schema, columns)

    def table(self) -> pa.Table:
        """Return all rows and columns as one table."""
        return pa.Table.from_batches(self.batches(self.schema.names), self.schema)

    def cell_facts(self, column: str) -> CellFacts | None:
        """Return the counts of cells of a column without a declared dtype; None if it was not inspected."""
        return None

    def keep_as_text(self, column: str, reason: str) -> None:
        """Read a column as text although all its cells here are numbers, since other files have text in it."""
        raise NotImplementedError

    def locate(self, row: int) -> str:
        """Return the position of a row in the words of its file, such as ``"line 5"``."""
        return f"row {row} (the first is 0)"

    def checksum(self) -> str | None:
        """Return the SHA-256 of the bytes that were read; None if they did not come from files."""
        return None


def first_line(error: BaseException) -> str:
    """Return the first line of a library's error message, without its internal details."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def batch_rows(schema: pa.Schema, columns: Iterable[str]) -> int:
    """Return the number of rows for which a batch of these columns has a bounded size."""
    width = 0
    for name in columns:
        try:
            width += schema.field(name).type.bit_width // 8 + 1
        except (KeyError, ValueError):
            width += _ASSUMED_WIDTH
    return max(_MIN_BATCH_ROWS, min(_MAX_BATCH_ROWS, _BATCH_BYTES // max(width, 1)))


def sliced(batches: Iterable[pa.RecordBatch], n_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the same rows in batches of at most `n_rows`, without empty ones."""
    for batch in batches:
        for start in range(0, batch.num_rows, n_rows):
            yield batch.slice(start, n_rows)


def skip_rows(batches: Iterable[pa.RecordBatch], n_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the same rows without the first `n_rows`."""
    for batch in batches:
        if n_rows >= batch.num_rows:
            n_rows -= batch.num_rows
        else:
            yield batch.slice(n_rows)
            n_rows = 0
