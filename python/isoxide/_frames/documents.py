"""JSON lines and spreadsheets, which say of each cell whether it is a number or text."""

from __future__ import annotations

import datetime
import io
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from isoxide._frames.files import InputFile, decompressed
from isoxide._frames.frames import TypedTable
from isoxide._frames.names import text_names
from isoxide._frames.source import ChooseRoles, ReadOptions

__all__ = ["json_lines", "spreadsheet"]

#: Lines of JSON whose cells are put together at a time.
_LINES = 1 << 16
#: Braces within braces that a line may have.
_DEPTH = 100


class FileTable(TypedTable):
    """The table of a file that was read as a whole."""

    file: InputFile
    #: What a row is called, and the number of the first one.
    row_name: str
    first: int

    def place(self, row: int) -> str:
        """Return where a row stands in the file."""
        return f"{self.row_name} {row + self.first}"

    def checksum(self) -> str | None:
        """Return the SHA-256 of the file's bytes."""
        return self.file.checksum()


def _table(
    columns: dict[str, list[pa.Array]], untyped: set[str], file: InputFile, options: ReadOptions, roles: ChooseRoles,
    notes: list[str], row_name: str, first: int,
) -> FileTable:  # fmt: skip
    # Before the cells are looked at, since refusals name rows.
    FileTableOf = type("FileTable", (FileTable,), {"row_name": row_name, "first": first, "file": file})  # noqa: N806
    table = pa.table({name: pa.chunked_array(pieces) for name, pieces in columns.items()})
    source: FileTable = FileTableOf(
        table, file.name, untyped=untyped, options=options, roles=roles, notes=notes,
        fingerprint=[file.name, file.size, table.num_rows],
    )  # fmt: skip
    return source


def _spelled(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False)


def _typed(cells: list[list[str | None]], kinds: set[type]) -> tuple[list[pa.Array], bool]:
    """Return a column in the type of its cells, and whether some are numbers and some are text."""
    texts = [pa.array(piece, pa.string()) for piece in cells]
    kinds = kinds - {type(None)}
    if not kinds or kinds == {str}:
        return [text.cast(pa.string()) for text in texts] if kinds else [pa.nulls(len(text)) for text in texts], False
    if kinds == {bool}:
        return [text.cast(pa.bool_()) for text in texts], False
    if kinds <= {int, float}:
        if kinds == {int}:
            try:
                return [text.cast(pa.int64()) for text in texts], False
            except pa.ArrowInvalid:
                return texts, True
        # Digits are kept until it is known whether the column is a key.
        return texts, True
    return texts, bool(kinds <= {int, float, str, bool})


def json_lines(file: InputFile, compression: str | None, options: ReadOptions, roles: ChooseRoles) -> TypedTable:
    """Return the rows of a file with a JSON object per line; names that a line lacks are missing in it.

    Raises
    ------
    ValueError
        If a line is no object.
    """
    cells: dict[str, list[list[str | None]]] = {}
    kinds: dict[str, set[type]] = {}
    n_rows = 0
    for lines in _blocks(_objects(file, compression, options)):
        for name in dict.fromkeys(name for line in lines for name in line):
            if name not in cells:
                cells[name] = [[None] * n_rows] if n_rows else []
                kinds[name] = set()
        for name, pieces in cells.items():
            values = [line.get(name) for line in lines]
            kinds[name].update(map(type, values))
            pieces.append([_spelled(value) for value in values])
        n_rows += len(lines)
    if not cells:
        raise ValueError(f"{file.name} is empty")
    columns, untyped = {}, set()
    names, notes = text_names(cells, file.name)
    for name, label in zip(names, cells, strict=True):
        columns[name], is_untyped = _typed(cells[label], kinds[label])
        if is_untyped:
            untyped.add(name)
    return _table(columns, untyped, file, options, roles, notes, "line", 1)


def _objects(file: InputFile, compression: str | None, options: ReadOptions) -> Iterator[dict[str, Any]]:
    with decompressed(file, compression) as stream:
        text = io.TextIOWrapper(stream, encoding=options.encoding or "utf-8-sig")
        try:
            for number, line in enumerate(text, 1):
                if not line.strip():
                    continue
                yield _object(line, number, file.name)
        except UnicodeDecodeError:
            raise ValueError(f"{file.name} is not UTF-8 text; say encoding=... or convert it") from None
        except (EOFError, OSError) as error:
            raise ValueError(f"{file.name} cannot be read, it may be damaged or truncated: {error}") from error


def _object(line: str, number: int, name: str) -> dict[str, Any]:
    # A parser goes as deep as the text says.
    if line.count("{") + line.count("[") > _DEPTH:
        depth = highest = 0
        for character in line:
            depth += (character in "{[") - (character in "}]")
            highest = max(highest, depth)
        if highest > _DEPTH:
            raise ValueError(f"{name}: line {number} has values within values more than {_DEPTH} deep")
    try:
        found = json.loads(line, object_pairs_hook=lambda pairs: _distinct(pairs, number, name))
    except json.JSONDecodeError as error:
        raise ValueError(f"{name}: line {number} is no JSON: {error.msg}; there must be an object per line") from None
    if not isinstance(found, dict):
        raise ValueError(f"{name}: line {number} has no object but {type(found).__name__}; there must be one per line")
    return found


def _distinct(pairs: list[tuple[str, Any]], number: int, name: str) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [key for key, _ in pairs]
        repeated = next(key for key in names if names.count(key) > 1)
        raise ValueError(f"{name}: line {number} has {repeated!r} several times")
    return found


def _blocks(lines: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    block = []
    for line in lines:
        block.append(line)
        if len(block) == _LINES:
            yield block
            block = []
    if block:
        yield block


def spreadsheet(file: InputFile, options: ReadOptions, roles: ChooseRoles) -> TypedTable:
    """Return the first sheet of an Excel file, whose first row is the header.

    Raises
    ------
    ImportError
        If openpyxl is not installed.
    ValueError
        If it is no such file, or has no rows.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise ImportError(f"reading {file.name} needs openpyxl: pip install 'isoxide[excel]'") from error
    with file.open() as stream:
        try:
            book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
        except Exception as error:
            raise ValueError(f"{file.name} cannot be read as an Excel file, it may be damaged: {error}") from error
        try:
            sheets = book.sheetnames
            rows = [list(row) for row in book[sheets[0]].iter_rows(values_only=True)]
        finally:
            book.close()
    notes = [] if len(sheets) == 1 else [f"of {len(sheets)} sheets the first was read: {sheets[0]!r}"]
    while rows and all(cell is None for cell in rows[-1]):
        rows.pop()
    if not rows:
        raise ValueError(f"{file.name} is empty")
    n_columns = max(map(len, rows))
    rows = [[*row, *[None] * (n_columns - len(row))] for row in rows]
    header, body = rows[0], rows[1:]
    kept = [j for j in range(n_columns) if header[j] is not None or any(row[j] is not None for row in body)]
    names, told = text_names([header[j] for j in kept], file.name)
    columns, untyped = {}, set()
    for name, j in zip(names, kept, strict=True):
        values = [row[j] for row in body]
        columns[name], is_untyped = _sheet_column(values)
        if is_untyped:
            untyped.add(name)
    return _table(columns, untyped, file, options, roles, [*notes, *told], "row", 2)


def _sheet_column(values: list[Any]) -> tuple[list[pa.Array], bool]:
    kinds = {type(value) for value in values}
    present = kinds - {type(None)}
    if present and present <= {datetime.datetime, datetime.date}:
        return [pa.array(values, pa.timestamp("us"))], False
    return _typed([[_spelled(value) for value in values]], kinds)
