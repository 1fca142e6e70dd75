"""Where rows come from: the interface of everything that is read batch by batch, and the options of reading."""

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

#: Before the name of a column, it stands for the text that its numbers were read from.
TEXT_PREFIX = f"{RESERVED_PREFIX}text_"
#: Bytes of a batch, about, and how many rows that may be.
_BATCH_BYTES, _FEWEST, _MOST = 16 << 20, 1 << 12, 1 << 18
#: Bytes of a value of a type that does not say.
_UNKNOWN_WIDTH = 32


@dataclass(frozen=True)
class ReadOptions:
    """How text is read; tables that declare their types do without.

    Parameters
    ----------
    sep : str or None
        The field delimiter; None takes the one of ``, ; tab |`` that parts the header into most names.
    encoding : str or None
        The encoding of the text; None reads UTF-8, or UTF-16 where the file says so by its first bytes.
    numbers : NumberStyle
        How numbers are written.
    keeps_rows : bool
        Whether what the first pass over a text file reads is kept, since all of it is wanted in memory.
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
        """Return the options from the arguments of public functions, checked."""
        if sep is not None and (not isinstance(sep, str) or len(sep) != 1 or sep in '"\r\n' or ord(sep) > 127):
            raise ValueError(f"sep={sep!r} must be one ASCII character that is no quote and no line break")
        if encoding is not None:
            if not isinstance(encoding, str):
                raise TypeError(f"encoding={encoding!r} must be the name of an encoding, such as 'utf-8'")
            try:
                "".encode(encoding)
            except LookupError:
                raise ValueError(f"encoding={encoding!r} is not known; try 'utf-8', 'utf-16' or 'cp1252'") from None
        return cls(sep, encoding, NumberStyle(decimal, thousands, missing_tuple(missing)))


@dataclass(frozen=True)
class Roles:
    """What columns of a table without declared types are wanted for.

    Parameters
    ----------
    texts : frozenset of str
        Keys, times and columns to keep: they stay the text that was written.
    numbers : frozenset of str
        Columns that must be numbers: a cell that is none is refused, however few are.
    ignored : frozenset of str
        Columns that nobody looks at; they stay text.
    """

    texts: frozenset[str] = frozenset()
    numbers: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()


#: Decides about columns when their names, and what has them, are known; refuses names of columns that are not there.
ChooseRoles = Callable[[list[str], str], Roles]


class Source(ABC):
    """Rows in an order that is the same each time they are read."""

    #: What it is called in messages.
    name: str
    #: Names and types of all columns. Names are distinct and not empty.
    schema: pa.Schema
    #: What was changed or left out while reading, a sentence each.
    notes: list[str]
    #: Why a column of text is no column of numbers, by its name, where cells were looked at.
    reasons: dict[str, str]
    #: By the name of a column that was read from text as numbers, the name under which `batches` gives the text itself.
    written: Mapping[str, str] = MappingProxyType({})
    #: Rows per batch that were asked for; None leaves it to the size of a row.
    batch_rows: int | None = None

    @abstractmethod
    def count(self) -> int | None:
        """Return the number of rows, if it can be known without reading them."""

    @abstractmethod
    def fingerprint(self) -> Any:
        """Return what tells this source from another one or a changed one, as far as known; in types of JSON."""

    @abstractmethod
    def read(self, columns: list[str], first_row: int) -> Iterator[pa.RecordBatch]:
        """Yield batches of some columns from a row on, of any size."""

    def batches(self, columns: Iterable[str], first_row: int = 0) -> Iterator[pa.RecordBatch]:
        """Yield the same, of a size that stays in bounds."""
        columns = list(columns)
        return sliced(self.read(columns, first_row), self.rows_of(columns))

    def rows_of(self, columns: Iterable[str]) -> int:
        """Return the number of rows of a batch of these columns."""
        return self.batch_rows or batch_rows(self.schema, columns)

    def table(self) -> pa.Table:
        """Return all rows and columns."""
        return pa.Table.from_batches(self.batches(self.schema.names), self.schema)

    def facts(self, column: str) -> CellFacts | None:
        """Return what the cells of a column without a declared type are, if they were judged."""
        return None

    def leave_as_text(self, column: str, reason: str) -> None:
        """Give a column that was judged as text, since other files have text in it."""
        raise NotImplementedError

    def place(self, row: int) -> str:
        """Return where a row stands, as its file counts."""
        return f"row {row} (the first is 0)"

    def checksum(self) -> str | None:
        """Return the SHA-256 of the bytes that were read; None if there are no files."""
        return None


def first_line(error: BaseException) -> str:
    """Return what a library says of an error, without what it says of its own insides."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


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


def skip_rows(batches: Iterable[pa.RecordBatch], n_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the same rows without the first `n_rows`."""
    for batch in batches:
        if n_rows >= batch.num_rows:
            n_rows -= batch.num_rows
        else:
            yield batch.slice(n_rows)
            n_rows = 0
