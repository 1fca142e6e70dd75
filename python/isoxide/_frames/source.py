"""Interface of the sources that rows are read from, options for reading, and the size of batches."""

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

#: Prefix of a column name in `Source.read` that requests the original text of a column of numbers.
TEXT_PREFIX = f"{RESERVED_PREFIX}text_"
#: Approximate bytes of a batch, and the minimum and maximum of its number of rows.
_BATCH_BYTES, _MIN_BATCH_ROWS, _MAX_BATCH_ROWS = 16 << 20, 1 << 12, 1 << 18
#: Bytes assumed for a value of a dtype without a fixed width, such as text.
_ASSUMED_WIDTH = 32


@dataclass(frozen=True)
class ReadOptions:
    """Options for reading text and folders of files.

    Parameters
    ----------
    sep : str or None
        Field delimiter; None chooses among ``, ; tab |`` the one that splits the header into the most names.
    encoding : str or None
        Encoding of the text; None reads UTF-8, or UTF-16 if the file begins with its byte order mark.
    numbers : NumberStyle
        Style in which numbers are written.
    keeps_rows : bool
        Whether the first pass over a text file keeps all rows, because the whole table will be held in memory.
    upcast : bool
        Whether a column that files store with different dtypes gets the narrowest one that holds all values exactly.
    """

    sep: str | None = None
    encoding: str | None = None
    numbers: NumberStyle = field(default_factory=NumberStyle)
    keeps_rows: bool = False
    upcast: bool = False

    @classmethod
    def of(
        cls,
        *,
        sep: str | None = None,
        decimal: str = ".",
        thousands: str | None = None,
        missing: str | Iterable[str] = (),
        encoding: str | None = None,
        upcast: bool = False,
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
        if not isinstance(upcast, bool):
            raise TypeError(f"upcast must be True or False, got {upcast!r}")
        return cls(sep, encoding, NumberStyle(decimal, thousands, missing_tuple(missing)), upcast=upcast)


@dataclass(frozen=True)
class Roles:
    """Roles of the columns of a table that does not declare dtypes.

    Parameters
    ----------
    texts : frozenset of str
        Keys, times and columns to keep; they are read as the exact text in the source.
    numbers : frozenset of str
        Columns that must hold numbers; a cell that is not a number is refused, even if most cells are text.
    ignored : frozenset of str
        Columns that are not used; they are read as text.
    """

    texts: frozenset[str] = frozenset()
    numbers: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()


#: Function that gets all column names and the table's name, and returns the roles or raises an error.
ChooseRoles = Callable[[list[str], str], Roles]


class Source(ABC):
    """Rows that can be read several times in the same order, in batches of Arrow columns."""

    #: Name of the source in messages.
    name: str
    #: Names and dtypes of all columns. Names are distinct and not empty.
    schema: pa.Schema
    #: One sentence for each change or omission while reading.
    notes: list[str]
    #: For each text column whose cells were inspected, the reason why it is not a column of numbers.
    reasons: dict[str, str]
    #: For each column of numbers that was read from text, the name under which `batches` returns the original text.
    written: Mapping[str, str] = MappingProxyType({})
    #: Whether the dtypes of all columns are declared, so that they do not depend on the roles of the columns.
    has_declared_types = False
    #: Rows per batch if the user chose a number; None means a number that depends on the size of a row.
    batch_rows: int | None = None

    @abstractmethod
    def count(self) -> int | None:
        """Return the number of rows, or None if it is not known without reading them."""

    @abstractmethod
    def fingerprint(self) -> Any:
        """Return JSON values by which a changed or different source can be recognised, as far as possible."""

    @abstractmethod
    def read(self, columns: list[str], first_row: int) -> Iterator[pa.RecordBatch]:
        """Yield the given columns in batches of any size, beginning with the row `first_row`."""

    def batches(self, columns: Iterable[str], first_row: int = 0) -> Iterator[pa.RecordBatch]:
        """Yield the given columns in batches of bounded size, beginning with the row `first_row`."""
        columns = list(columns)
        return sliced(self.read(columns, first_row), self.rows_per_batch(columns))

    def rows_per_batch(self, columns: Iterable[str]) -> int:
        """Return the number of rows in a batch of these columns."""
        return self.batch_rows or batch_rows(self.schema, columns)

    def table(self) -> pa.Table:
        """Return all rows and columns as one table."""
        return pa.Table.from_batches(self.batches(self.schema.names), self.schema)

    def cell_facts(self, column: str) -> CellFacts | None:
        """Return the counts of the cells of a column without a declared dtype; None if it was not inspected."""
        return None

    def keep_as_text(self, column: str, reason: str) -> None:
        """Read a column as text although all its cells here are numbers, since other files have text in it."""
        raise NotImplementedError

    def locate(self, row: int) -> str:
        """Describe the position of a row in its file, such as ``"line 5"``."""
        return f"row {row} (the first is 0)"

    def checksum(self) -> str | None:
        """Return the SHA-256 of the bytes that were read; None if they did not come from files."""
        return None

    def other_version(self, fingerprint: Any) -> str | None:
        """Return what the fingerprint of another version of this table names, such as ``"version 3"``, or None."""
        return None


def first_line(error: BaseException) -> str:
    """Return the first line of a library's error message, without its internal details."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def batch_rows(schema: pa.Schema, columns: Iterable[str]) -> int:
    """Return the number of rows that keeps a batch of these columns at a bounded size."""
    width = 0
    for name in columns:
        try:
            width += schema.field(name).type.bit_width // 8 + 1
        except (KeyError, ValueError):
            width += _ASSUMED_WIDTH
    return max(_MIN_BATCH_ROWS, min(_MAX_BATCH_ROWS, _BATCH_BYTES // max(width, 1)))


def sliced(batches: Iterable[pa.RecordBatch], n_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the same rows in batches of at most `n_rows` rows, without empty batches."""
    for batch in batches:
        for start in range(0, batch.num_rows, n_rows):
            yield batch.slice(start, n_rows)


def skip_rows(batches: Iterable[pa.RecordBatch], n_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield all rows except the first `n_rows`."""
    for batch in batches:
        if n_rows >= batch.num_rows:
            n_rows -= batch.num_rows
        else:
            yield batch.slice(n_rows)
            n_rows = 0
