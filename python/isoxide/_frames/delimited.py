"""CSV and its kin, read twice by the same rules: once to learn what each column holds, then for the rows.

    pass 1   every cell of every column is looked at; rows of another length, text that is not in the encoding and
             cells that are no numbers among numbers are refused by their line
    pass 2   the rows, as often as they are wanted, in the types that pass 1 found

Columns whose first cells are numbers are read as such at once, which is several times as fast as text; a cell that
then turns out to be none sends the column back to be read as text.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from isoxide._frames.batches import without_first
from isoxide._frames.cells import BadCellError, CellFacts, NumberStyle, parse_booleans, parse_numbers
from isoxide._frames.files import InputFile, decompressed
from isoxide._frames.names import is_written_index, text_names
from isoxide._frames.source import ChooseRoles, ReadOptions, Roles, Source, first_line

__all__ = ["DelimitedFile", "header_names"]

_DELIMITERS = ",;\t|"
#: Bytes of text read at a time, and looked at for the header.
_BLOCK, _HEAD = 1 << 22, 1 << 20
#: How often columns are sent back to text one by one before all are.
_TRIES = 3
_BAD_COLUMN = re.compile(r"In CSV column #(\d+): ")
_INTEGER = re.compile(r"[+-]?\d+")
#: Every integer below is a float64.
_EXACT = 2.0**53


class DelimitedFile(Source):
    """A text file with a header and a delimiter."""

    def __init__(self, file: InputFile, compression: str | None, options: ReadOptions, roles: ChooseRoles) -> None:
        self.name, self.file, self.options = file.name, file, options
        self._compression = compression
        self.notes, self.reasons = [], {}
        header = Header.read(file, compression, options)
        self._encoding, self.sep, self._skipped = header.encoding, header.sep, header.n_lines
        if self.sep != "," and options.sep is None:
            self.notes.append(f"values are separated by {self.sep!r}")
        self._index, self._all_names = header.index, header.names
        self.notes += header.notes
        self._roles = roles([name for place, name in enumerate(header.names) if place not in header.index], self.name)
        self._style = options.numbers
        #: How each column is read: ``"double"``, or as text and then ``"numbers"``, ``"booleans"`` or ``"text"``.
        self._kinds: dict[str, str] = {}
        self._integers: set[str] = set()
        self._n_rows = 0
        self._learn()
        self._drop_unnamed(header.labels)
        self.schema = pa.schema([pa.field(name, self._type(name)) for name in self._names])

    def _reader(self, stream: Any, columns: list[str], as_double: set[str]) -> Any:
        if self._encoding != "utf-8":
            stream = pa.transcoding_input_stream(stream, self._encoding, "utf-8")
        # Names stand for positions, since a header may be anything.
        names = {name: f"c{place}" for place, name in enumerate(self._all_names)}
        types = {inner: pa.float64() if name in as_double else pa.string() for name, inner in names.items()}
        return pa.csv.open_csv(
            stream,
            read_options=pa.csv.ReadOptions(
                column_names=list(names.values()), skip_rows=self._skipped, block_size=_BLOCK
            ),
            parse_options=pa.csv.ParseOptions(delimiter=self.sep, newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(
                column_types=types,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
                decimal_point=self._style.decimal,
                include_columns=[names[name] for name in columns] or None,
            ),
        )

    def _batches(self, columns: list[str], as_double: set[str]) -> Iterator[pa.RecordBatch]:
        """Yield the file in the types of the reader."""
        try:
            with (
                decompressed(self.file, self._compression) as stream,
                self._reader(stream, columns, as_double) as reader,
            ):
                for batch in reader:
                    yield pa.RecordBatch.from_arrays(batch.columns, names=columns)
        except (pa.ArrowInvalid, EOFError, OSError, UnicodeError) as error:
            message = str(error)
            if "Could not skip" in message or "Empty CSV" in message:
                return
            if "conversion error to double" in message:
                raise
            raise self._refusal(message, error) from error

    def _refusal(self, message: str, error: Exception) -> Exception:
        if "UTF8" in message or isinstance(error, UnicodeError):
            return _not_text(self.name, self._encoding)
        if "CSV parse error" in message or "out of sync" in message or "straddling" in message:
            return self._wrong_length() or _damaged(self.name, error)
        return _damaged(self.name, error)

    # What the columns hold.

    def _learn(self) -> None:
        wanted = [name for place, name in enumerate(self._all_names) if place not in self._index]
        texts = {name for name in wanted if name in self._roles.texts or name in self._roles.ignored}
        judged = [name for name in wanted if name not in texts]
        as_double = self._plain_numbers(judged)
        for attempt in range(_TRIES + 1):
            try:
                facts, highest = self._look(as_double, judged)
                break
            except pa.ArrowInvalid as error:
                found = _BAD_COLUMN.search(str(error))
                place = int(found[1]) if found else -1
                bad = self._all_names[place] if 0 <= place < len(self._all_names) else None
                as_double = set() if attempt + 1 >= _TRIES or bad not in as_double else as_double - {bad}
        self._kinds = dict.fromkeys(texts, "text")
        for name in judged:
            self._kinds[name] = "double" if name in as_double else self._decide(name, facts[name])
        self._integers = {
            name for name in self._integers & as_double if highest[name] is not None and highest[name] < _EXACT
        }
        large = [name for name in as_double if (highest[name] or 0) >= _EXACT and name in self._whole]
        if large:
            self.notes.append(f"integers beyond 2**53 were rounded: {', '.join(map(repr, large[:4]))}")
        self._names = wanted

    def _plain_numbers(self, judged: list[str]) -> set[str]:
        """Return the columns whose cells in the first block are numbers and nothing else; ints are noted."""
        plain: set[str] = set()
        self._whole: set[str] = set()
        if self._style.thousands is not None:
            return plain
        batches = self._batches(self._all_names, set())
        first = next(batches, None)
        batches.close()
        if first is None:
            return plain
        for name in judged:
            present = first.column(name).drop_null()
            facts = self._facts()
            facts.update(present, 0)
            if facts.n_present and facts.n_numbers == facts.n_present and not facts.n_words:
                plain.add(name)
                if pc.all(pc.match_substring_regex(present, r"^\s*[+-]?\d+\s*$")).as_py():
                    self._whole.add(name)
        self._integers = set(self._whole)
        return plain

    def _facts(self) -> CellFacts:
        return CellFacts(style=self._style)

    def _look(self, as_double: set[str], judged: list[str]) -> tuple[dict[str, CellFacts], dict[str, float | None]]:
        """Look at all cells: facts of the columns that are read as text, and the largest number of the others."""
        facts = {name: self._facts() for name in judged if name not in as_double}
        highest: dict[str, float | None] = dict.fromkeys(as_double)
        self._n_rows = 0
        self._unnamed_values: set[str] = set()
        for batch in self._batches(self._all_names, as_double):
            for name, column in facts.items():
                column.update(batch.column(name), self._n_rows)
            for name in as_double:
                values = batch.column(name).drop_null().to_numpy(zero_copy_only=False)
                if len(values):
                    self._range(name, values, highest)
            self._n_rows += batch.num_rows
        return facts, highest

    def _range(self, name: str, values: np.ndarray[Any, Any], highest: dict[str, float | None]) -> None:
        largest = float(np.abs(values).max())
        known = highest[name]
        highest[name] = largest if known is None or not known >= largest else known
        if name in self._integers and not (largest < _EXACT and np.array_equal(values, np.rint(values))):
            self._integers.discard(name)
            if not largest >= _EXACT:
                self._whole.discard(name)

    def _decide(self, name: str, facts: CellFacts) -> str:
        kind = facts.kind
        if kind == "mixed" or (name in self._roles.numbers and kind == "text"):
            raise self._located(facts.refusal(name))
        if facts.n_words and kind in ("numbers", "booleans", "empty"):
            self.notes.append(f"column {name!r}: {facts.n_words:,} cells such as {facts.word!r} were read as missing")
        if kind in ("text", "empty"):
            self.reasons[name] = facts.reason() if kind == "text" else "no values"
        return kind

    def _drop_unnamed(self, labels: list[str]) -> None:
        """Leave out columns without a name and without values: what a delimiter at the end of every line makes."""
        unnamed = {
            name
            for place, name in enumerate(self._all_names)
            if not labels[place].strip() and self._kinds.get(name) == "empty"
        }
        if unnamed:
            self._names = [name for name in self._names if name not in unnamed]
            self.notes.append(f"{len(unnamed)} columns without a name and without values were left out")

    def _type(self, name: str) -> pa.DataType:
        kind = self._kinds[name]
        if kind == "double":
            return pa.int64() if name in self._integers else pa.float64()
        return {"numbers": pa.float64(), "booleans": pa.bool_(), "empty": pa.float64()}.get(kind, pa.string())

    # The rows.

    def count(self) -> int | None:
        """Return the number of rows, known from the first pass."""
        return self._n_rows

    def fingerprint(self) -> Any:
        """Return the name, the size and the number of rows."""
        return [self.name, self.file.size, self._n_rows]

    def read(self, columns: list[str], first_row: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows in the types that the first pass found."""
        as_double = {name for name in columns if self._kinds[name] == "double"}
        n_rows = 0
        schema = pa.schema([self.schema.field(name) for name in columns])

        def typed() -> Iterator[pa.RecordBatch]:
            nonlocal n_rows
            for batch in self._batches(columns or self._all_names[:1], as_double):
                n_rows += batch.num_rows
                if not columns:
                    yield from _empty(batch.num_rows)
                    continue
                arrays = [self._converted(batch.column(name), name) for name in columns]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)

        yield from without_first(typed(), first_row)
        if n_rows != self._n_rows:
            raise ValueError(f"{self.name} changed while it was read; read it again when nobody writes it")

    def _converted(self, column: pa.Array, name: str) -> pa.Array:
        kind = self._kinds[name]
        if kind == "double":
            return column.cast(pa.int64()) if name in self._integers else column
        if kind in ("numbers", "empty"):
            return parse_numbers(column, self._style)[0]
        return parse_booleans(column, self._style) if kind == "booleans" else column

    def texts(self, column: str) -> pa.ChunkedArray | None:
        """Return a column as it was written."""
        pieces = [batch.column(0) for batch in self._batches([column], set())]
        return pa.chunked_array(pieces, pa.string())

    def checksum(self) -> str | None:
        """Return the SHA-256 of the file's bytes."""
        return self.file.checksum()

    # Where things are.

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        """Yield every row that is not blank with the number of its first line, from 1, slowly: for messages only."""
        with decompressed(self.file, self._compression) as stream:
            text = io.TextIOWrapper(stream, encoding=self._encoding, errors="replace", newline="")
            csv.field_size_limit(1 << 30)
            rows = csv.reader(text, delimiter=self.sep)
            line = 1
            for row in rows:
                if row and rows.line_num > self._skipped:
                    yield line, row
                line = rows.line_num + 1

    def place(self, row: int) -> str:
        """Return the line of a row."""
        for number, (line, _) in enumerate(self._lines()):
            if number == row:
                return f"line {line}"
        return super().place(row)

    def _located(self, error: BadCellError) -> BadCellError:
        return error if error.row is None else error.at(self.place(error.row))

    def _wrong_length(self) -> ValueError | None:
        """Return the refusal of the first row that has more or fewer values than the header has names."""
        wanted = len(self._all_names)
        for line, row in self._lines():
            if len(row) == wanted:
                continue
            if len(row) == wanted + 1 and not row[-1]:
                hint = f"the line ends with {self.sep!r} and the header does not: take it away, or add a name"
            else:
                hint = f"values that contain {self.sep!r} must stand in double quotes"
            return ValueError(
                f"{self.name}: line {line} has {len(row)} values, and the header has {wanted} names; {hint}"
            )
        return None


def _empty(n_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield a batch of no columns, which has a number of rows all the same."""
    yield pa.RecordBatch.from_struct_array(pa.array([{}] * n_rows, pa.struct([])))


def _encoding(head: bytes) -> str:
    """Return the encoding that a file names by its first bytes."""
    if head.startswith((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")):
        return "utf-32"
    return "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"


def _damaged(name: str, error: Exception) -> Exception:
    if isinstance(error, FileNotFoundError):
        return error
    return ValueError(f"{name} cannot be read, it may be damaged or truncated: {first_line(error)}")


def _not_text(name: str, encoding: str) -> ValueError:
    return ValueError(
        f"{name} is not {encoding.upper()} text; say encoding='cp1252' for what Excel writes on Windows, or convert it"
    )


@dataclass(frozen=True)
class Header:
    """The names of the columns of a text file, and how it is written."""

    encoding: str
    sep: str
    #: Lines before the first row.
    n_lines: int
    #: The names as they are written, as they are used, and which columns are an index that pandas wrote.
    labels: list[str]
    names: list[str]
    index: list[int]
    notes: list[str]

    @classmethod
    def read(cls, file: InputFile, compression: str | None, options: ReadOptions) -> Header:
        """Read the beginning of a file.

        Raises
        ------
        ValueError
            If it is no text, is empty, or has two columns of one name.
        """
        try:
            with decompressed(file, compression) as stream:
                head = bytes(stream.read(_HEAD))
        except (EOFError, OSError) as error:
            raise _damaged(file.name, error) from error
        encoding = options.encoding or _encoding(head)
        if b"\0" in head[:4096] and encoding == "utf-8":
            raise ValueError(f"{file.name} is no text; give it the suffix of what it is (.parquet, .xlsx)")
        try:
            text = head.decode(encoding, errors="strict" if len(head) < _HEAD else "ignore")
        except UnicodeError:
            raise _not_text(file.name, encoding) from None
        sep, n_lines, labels = _parted(text.removeprefix("\ufeff"), options.sep, file)
        index = [place for place, label in enumerate(labels) if is_written_index(label, place)]
        usable = [f"column_{place + 1}" if place in index else label for place, label in enumerate(labels)]
        names, notes = text_names(usable, file.name)
        if index:
            notes.append("the first column has no name: it is taken for the index that pandas wrote, and left out")
        return cls(encoding, sep, n_lines, labels, names, index, notes)


def header_names(file: InputFile, compression: str | None, options: ReadOptions) -> list[str]:
    """Return the names of the columns of a text file, without reading its rows."""
    header = Header.read(file, compression, options)
    return [name for place, name in enumerate(header.names) if place not in header.index]


def _parted(text: str, sep: str | None, file: InputFile) -> tuple[str, int, list[str]]:
    """Return the delimiter, the lines before the first row, and the labels of the columns."""
    if not text.strip():
        raise ValueError(f"{file.name} is empty")
    skipped = 0
    lines = text.splitlines(keepends=True)
    # Excel writes the delimiter above the header, and takes it from there.
    if (found := re.fullmatch(r"\"?sep=(.)\"?\s*", lines[0], re.IGNORECASE)) is not None:
        sep = sep or found[1]
        skipped, lines = 1, lines[1:]
    while lines and not lines[0].strip():
        skipped, lines = skipped + 1, lines[1:]
    if not lines:
        raise ValueError(f"{file.name} has no header")
    if sep is None:
        is_tabbed = file.path is not None and {".tsv", ".tab"} & {s.lower() for s in file.path.suffixes}
        order = "\t,;|" if is_tabbed else _DELIMITERS
        sep = max(order, key=lambda one: len(_first_row(lines, one)[1]))
    n_lines, labels = _first_row(lines, sep)
    return sep, skipped + n_lines, labels


def _first_row(lines: list[str], sep: str) -> tuple[int, list[str]]:
    rows = csv.reader(lines, delimiter=sep)
    row = next(rows)
    return rows.line_num, row
