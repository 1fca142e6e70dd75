"""Read CSV and similar text files in two passes: one to infer the dtype of each column, and one for the rows.

    pass 1   inspect every cell of every column; refuse rows of the wrong length, text that cannot be decoded, and
             cells that are not numbers in a column of numbers; the error names the line
    pass 2   read the rows, as often as necessary, in the dtypes that pass 1 inferred; a table in memory keeps the rows
             of pass 1 instead

If the first cells of a column are numbers, it is parsed as numbers from the start, which is several times as fast as
text. If a later cell is not a number, the first pass starts again and reads that column as text.
"""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from isoxide._frames.cells import BadCellError, CellFacts, parse_booleans, parse_numbers
from isoxide._frames.dtypes import EXACT_INTEGERS
from isoxide._frames.files import InputFile, decompressed
from isoxide._frames.header import TextFile
from isoxide._frames.names import INDEX_NOTE, rename_notes
from isoxide._frames.source import TEXT_PREFIX, ChooseRoles, ReadOptions, Source, skip_rows

__all__ = ["DelimitedFile"]

#: Bytes of text read at a time.
_BLOCK = 1 << 22
_RENAMED_NOTE = "column names that were not text"
#: Maximum number of times that the first pass starts again with one more column as text; then all are read as text.
_MAX_RETRIES = 3
_BAD_COLUMN = re.compile(r"In CSV column #(\d+): ")


class DelimitedFile(TextFile, Source):
    """Text file with a header and a field delimiter."""

    def __init__(self, file: InputFile, compression: str | None, options: ReadOptions, roles: ChooseRoles) -> None:
        super().__init__(file, compression, options)
        self.notes, self.reasons = [], {}
        if self.sep != "," and options.sep is None:
            self.notes.append(f"values are separated by {self.sep!r}")
        labels, names = self.labels, self._all_names
        self._roles = roles(self.names, self.name)
        self._style = options.numbers
        #: Reader of each column: ``"double"`` parses numbers directly; ``"numbers"``, ``"booleans"``, ``"empty"`` and
        #: ``"text"`` read text first.
        self._readers: dict[str, str] = {}
        self._integers: set[str] = set()
        self._n_rows = 0
        #: Batches of the first pass, if the whole table will be held in memory.
        self._first_pass: list[pa.RecordBatch] = []
        #: Counts of cells of each column that was inspected.
        self._facts: dict[str, CellFacts] = {}
        self._infer_types()
        unnamed = self._drop_unnamed(labels)
        shown = [position for position, name in enumerate(names) if position not in self._index and name not in unnamed]
        renames = set(rename_notes(labels, names))
        self.notes += [note for note in self._name_notes if note not in renames and not note.startswith(_RENAMED_NOTE)]
        self.notes += rename_notes([labels[position] for position in shown], [names[position] for position in shown])
        if self._index:
            self.notes.append(INDEX_NOTE)
        self._set_schema()

    def _set_schema(self) -> None:
        self.schema = pa.schema([pa.field(name, self._dtype(name)) for name in self._names])
        self.written = {name: TEXT_PREFIX + name for name in self._names if self._readers[name] != "text"}

    def _reader(self, stream: Any, columns: list[str], as_double: set[str]) -> Any:
        if self._encoding != "utf-8":
            stream = pa.transcoding_input_stream(stream, self._encoding, "utf-8")
        # Name columns by position, since a header can have any names.
        names = {name: f"c{position}" for position, name in enumerate(self._all_names)}
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

    def _batches(self, columns: list[str], as_double: set[str]) -> Generator[pa.RecordBatch, None, None]:
        """Yield batches of the given columns, those in `as_double` as numbers and all others as text."""
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
            return self._not_text(b"")
        if "straddling" in message:
            return self._unclosed_quote() or ValueError(
                f"{self.name} has a row of more than {_BLOCK >> 20} MB; split it, or check its quotes"
            )
        if "CSV parse error" in message or "out of sync" in message:
            return self._wrong_length() or self._damaged(error)
        return self._damaged(error)

    # Pass 1: infer the dtypes of the columns.

    def _infer_types(self) -> None:
        names = [name for position, name in enumerate(self._all_names) if position not in self._index]
        texts = {name for name in names if name in self._roles.texts or name in self._roles.ignored}
        inspected = [name for name in names if name not in texts]
        as_double = self._columns_of_numbers(inspected)
        for attempt in range(_MAX_RETRIES + 1):
            try:
                self._facts = self._inspect(as_double, inspected)
                break
            except pa.ArrowInvalid as error:
                match = _BAD_COLUMN.search(str(error))
                position = int(match[1]) if match else -1
                bad = self._all_names[position] if 0 <= position < len(self._all_names) else None
                as_double = set() if attempt + 1 >= _MAX_RETRIES or bad not in as_double else as_double - {bad}
        self._readers = dict.fromkeys(texts, "text")
        for name in inspected:
            self._readers[name] = "double" if name in as_double else self._category_of_text(name, self._facts[name])
        self._integers &= as_double
        large = [
            name for name in as_double if self._highest.get(name, 0.0) >= EXACT_INTEGERS and name in self._whole_numbers
        ]
        if large:
            self.notes.append(f"integers beyond 2**53 were rounded: {', '.join(map(repr, sorted(large)[:4]))}")
        self._names = names

    def _columns_of_numbers(self, inspected: list[str]) -> set[str]:
        """Return the columns with only numbers in the first block, and record those with only whole numbers."""
        numeric: set[str] = set()
        self._whole_numbers: set[str] = set()
        if self._style.thousands is not None or self._style.has_missing_numbers:
            return numeric
        batches = self._batches(self._all_names, set())
        first = next(batches, None)
        batches.close()
        if first is None:
            return numeric
        for name in inspected:
            present = first.column(name).drop_null()
            if self._style.decimal != "." and pc.any(pc.match_substring(present, "."), min_count=0).as_py():
                continue
            try:
                values = pc.replace_substring(present, self._style.decimal, ".").cast(pa.float64()).to_numpy()
            except pa.ArrowInvalid:
                continue
            if len(values) and not np.isnan(values).any():
                numeric.add(name)
                if not pc.any(pc.match_substring_regex(present, "[^0-9+-]")).as_py():
                    self._whole_numbers.add(name)
        self._integers = set(self._whole_numbers)
        return numeric

    def _inspect(self, as_double: set[str], inspected: list[str]) -> dict[str, CellFacts]:
        """Inspect all cells, and count numbers, missing values and other text.

        Text that means a missing number raises an error in a column that is parsed as numbers, so that the column is
        then read as text and the cell is counted.
        """
        facts = {name: CellFacts(style=self._style) for name in inspected}
        #: Largest finite absolute value of each column.
        self._highest: dict[str, float] = {}
        self._n_rows, last = 0, None
        self._first_pass.clear()
        for batch in self._batches(self._all_names, as_double):
            for name, column in facts.items():
                if name not in as_double:
                    column.update(batch.column(name), self._n_rows)
                    continue
                values = batch.column(name).drop_null().to_numpy(zero_copy_only=False)
                if np.isnan(values).any():
                    raise pa.ArrowInvalid(f"In CSV column #{self._all_names.index(name)}: a text for a missing number")
                column.n_present += len(values)
                column.n_numbers += len(values)
                self._update_range(name, values)
            self._n_rows += batch.num_rows
            last = batch
            if self.options.keeps_rows:
                self._first_pass.append(batch)
        if last is not None and (error := self._check_end(last)) is not None:
            raise error
        return facts

    def _check_end(self, batch: pa.RecordBatch) -> ValueError | None:
        """Return an error if a quote is still open at the end of the file, since it would swallow rows."""
        row = batch.slice(batch.num_rows - 1)
        texts = [column[0].as_py() for column in row.columns if pa.types.is_string(column.type)]
        return self._unclosed_quote() if any(text and ("\n" in text or "\r" in text) for text in texts) else None

    def _unclosed_quote(self) -> ValueError | None:
        line, text = deque(self._raw_rows(), maxlen=1).pop()
        try:
            for _ in csv.reader(io.StringIO(text, newline=""), delimiter=self.sep, strict=True):
                pass
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                return ValueError(f"{self.name}: line {line} opens a double quote that is never closed")
        return None

    def _update_range(self, name: str, values: np.ndarray[Any, Any]) -> None:
        sizes = np.abs(values)
        largest = float(sizes.max(initial=0.0, where=np.isfinite(values)))
        self._highest[name] = max(largest, self._highest.get(name, 0.0))
        if name in self._whole_numbers:
            is_whole = bool(np.isfinite(sizes).all()) and np.array_equal(values, np.rint(values))
            if not is_whole:
                self._whole_numbers.discard(name)
            if not is_whole or largest >= EXACT_INTEGERS:
                self._integers.discard(name)

    def _category_of_text(self, name: str, facts: CellFacts) -> str:
        category = facts.category
        if category == "mixed" or (name in self._roles.numbers and category == "text"):
            raise self._located(facts.refusal(name))
        if facts.n_missing_texts and category in ("numbers", "booleans", "empty"):
            self.notes.append(
                f"column {name!r}: {facts.n_missing_texts:,} cells such as {facts.missing_text!r} were read as missing"
            )
        if category in ("text", "empty"):
            self.reasons[name] = facts.reason() if category == "text" else "no values"
        return category

    def _drop_unnamed(self, labels: list[str]) -> set[str]:
        """Leave out columns without a name and values, which come from a delimiter at the end of every line."""
        unnamed = {
            name
            for position, name in enumerate(self._all_names)
            if not labels[position].strip() and self._readers.get(name) == "empty"
        }
        if unnamed:
            self._names = [name for name in self._names if name not in unnamed]
            self.notes.append(f"{len(unnamed)} columns without a name and without values were left out")
        return unnamed

    def _dtype(self, name: str) -> pa.DataType:
        reader = self._readers[name]
        if reader == "double":
            return pa.int64() if name in self._integers else pa.float64()
        return {"numbers": pa.float64(), "booleans": pa.bool_(), "empty": pa.float64()}.get(reader, pa.string())

    # Pass 2: read the rows.

    def count(self) -> int | None:
        """Return the number of rows, which the first pass counted."""
        return self._n_rows

    def fingerprint(self) -> Any:
        """Return the name of the file, its number of rows, its size and its modification time."""
        return [self.name, self._n_rows, *self.file.fingerprint()]

    def read(self, columns: list[str], first_row: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows in the inferred dtypes; column names with `TEXT_PREFIX` give the original text."""
        stored = list(dict.fromkeys(name.removeprefix(TEXT_PREFIX) for name in columns)) or self._all_names[:1]
        as_text = {name.removeprefix(TEXT_PREFIX) for name in columns if name.startswith(TEXT_PREFIX)}
        as_double = {name for name in stored if self._readers.get(name) == "double"} - as_text
        n_rows = 0

        def typed() -> Iterator[pa.RecordBatch]:
            nonlocal n_rows
            for batch in self._batches(stored, as_double):
                n_rows += batch.num_rows
                if not columns:
                    yield from _empty(batch.num_rows)
                    continue
                arrays = [self._converted(batch.column(name.removeprefix(TEXT_PREFIX)), name) for name in columns]
                yield pa.RecordBatch.from_arrays(arrays, names=columns)

        yield from skip_rows(typed(), first_row)
        if n_rows != self._n_rows:
            raise ValueError(f"{self.name} changed while it was read; read it again when no other program writes to it")

    def _converted(self, column: pa.Array, name: str) -> pa.Array:
        if name.startswith(TEXT_PREFIX):
            return column
        reader = self._readers[name]
        if reader == "double" and pa.types.is_string(column.type):
            column = parse_numbers(column, self._style)[0]
        if reader == "double":
            # The first pass found only whole numbers.
            return column.cast(pa.int64(), safe=False) if name in self._integers else column
        if reader in ("numbers", "empty"):
            return parse_numbers(column, self._style)[0]
        return parse_booleans(column, self._style) if reader == "booleans" else column

    def table(self) -> pa.Table:
        """Return all rows; the first call can take the rows that the first pass kept."""
        if not self._first_pass:
            return super().table()
        batches, self._first_pass = self._first_pass, []
        self.file.check()
        columns = [[self._converted(batch.column(name), name) for batch in batches] for name in self._names]
        return pa.table([pa.chunked_array(chunks) for chunks in columns], schema=self.schema)

    def cell_facts(self, column: str) -> CellFacts | None:
        """Return what is known about the cells of a column, or None if it was not inspected."""
        return self._facts.get(column)

    def keep_as_text(self, column: str, reason: str) -> None:
        """Read a column as text although all its cells are numbers, since other files have text in it."""
        self._readers[column], self.reasons[column] = "text", reason
        self._set_schema()

    def checksum(self) -> str | None:
        """Return the SHA-256 of the file's bytes."""
        return self.file.checksum()

    # Positions for messages.

    def _raw_rows(self) -> Iterator[tuple[int, str]]:
        """Yield the line number and the text of every row that is not blank; this is slow, so only for messages."""
        with decompressed(self.file, self._compression) as stream:
            text = io.TextIOWrapper(stream, encoding=self._encoding, errors="replace", newline="")
            csv.field_size_limit(1 << 30)
            row_lines: list[str] = []

            def recorded() -> Iterator[str]:
                for line in text:
                    row_lines.append(line)
                    yield line

            rows, line = csv.reader(recorded(), delimiter=self.sep), 1
            for row in rows:
                if row and rows.line_num > self._skipped:
                    yield line, "".join(row_lines)
                row_lines.clear()
                line = rows.line_num + 1

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the line number and the values of every row that is not blank."""
        for line, text in self._raw_rows():
            yield line, next(csv.reader(io.StringIO(text, newline=""), delimiter=self.sep))

    def locate(self, row: int) -> str:
        """Return the line of a row, such as ``"line 5"``."""
        for number, (line, _) in enumerate(self._raw_rows()):
            if number == row:
                return f"line {line}"
        return super().locate(row)

    def _located(self, error: BadCellError) -> BadCellError:
        return error if error.row is None else error.at(self.locate(error.row))

    def _wrong_length(self) -> ValueError | None:
        """Return the error for the first row whose number of values differs from the number of names."""
        n_names = len(self._all_names)
        if (unclosed := self._unclosed_quote()) is not None:
            return unclosed
        for line, row in self._lines():
            if len(row) == n_names:
                continue
            if len(row) == n_names - 1 and self._all_names[-1] == f"column_{n_names}":
                hint = f"the header ends with {self.sep!r}, but the line does not; remove it from the header"
            elif len(row) == n_names + 1 and not row[-1]:
                hint = (
                    f"the line ends with {self.sep!r}, but the header does not; remove it, or add a name to the header"
                )
            else:
                hint = f"values that contain {self.sep!r} must be in double quotes"
            return ValueError(
                f"{self.name}: line {line} has {len(row)} values, but the header has {n_names} names; {hint}"
            )
        return None


def _empty(n_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield a batch without columns that keeps its number of rows."""
    yield pa.RecordBatch.from_struct_array(pa.array([{}] * n_rows, pa.struct([])))
