"""Read JSON lines and spreadsheets, whose cells have types of their own but whose columns have none."""

from __future__ import annotations

import datetime
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from isoxide._frames.cells import BadCellError
from isoxide._frames.dtypes import EXACT_INTEGERS
from isoxide._frames.files import InputFile, decompressed
from isoxide._frames.frames import TableSource
from isoxide._frames.keys import cell_text, refuse_inexact_key
from isoxide._frames.names import names_without_index
from isoxide._frames.source import ChooseRoles, ReadOptions

__all__ = ["json_lines", "spreadsheet"]

#: Arrow dtypes of columns whose cells all have one of these types; a column of days and times becomes one of times.
_TYPES = {datetime.date: pa.timestamp("us"), datetime.timedelta: pa.duration("us"), datetime.time: pa.time64("us")}
#: Number of lines of JSON that are converted to columns at once.
_BLOCK_LINES = 1 << 16
#: Deepest nesting that a line may have.
_MAX_DEPTH = 100


class DocumentTable(TableSource):
    """Table of a file that is read as a whole."""

    def __init__(self, file: InputFile, row_name: str, rows: list[int] | int, table: pa.Table, **options: Any) -> None:
        # Set before the base class inspects the cells, since its errors name rows.
        self.file, self._row_name, self._rows = file, row_name, rows
        super().__init__(table, file.name, fingerprint=[file.name, table.num_rows, *file.fingerprint()], **options)

    def locate(self, row: int) -> str:
        """Return the line or row of the file, such as ``"line 5"``."""
        return _location(self._row_name, self._rows, row)

    def checksum(self) -> str | None:
        """Return the SHA-256 of the file's bytes."""
        return self.file.checksum()


def _location(row_name: str, rows: list[int] | int, row: int) -> str:
    return f"{row_name} {row + rows if isinstance(rows, int) else rows[row]}"


def _document(
    labels: list[Any],
    cells: list[list[list[Any]]],
    file: InputFile,
    row_name: str,
    rows: list[int] | int,
    options: ReadOptions,
    roles: ChooseRoles,
    notes: list[str],
) -> DocumentTable:
    """Return the table of a document.

    Parameters
    ----------
    labels : list
        Labels of the columns.
    cells : list of list of list
        Cells of each column, in blocks of rows.
    file : InputFile
        File that holds the table.
    row_name : str
        Word for a row of the file in messages: ``"line"`` or ``"row"``.
    rows : list of int or int
        Number of each row in the file, or of the first row if the others follow it.
    options : ReadOptions
        Options for numbers.
    roles : callable
        Assigns roles to the columns.
    notes : list of str
        Notes so far.
    """
    names, renames = names_without_index(labels, file.name)
    column_roles = roles([name for name in names if name is not None], file.name)
    columns, untyped, nested = {}, set(), {}
    for name, blocks in zip(names, cells, strict=True):
        if name is None:
            continue
        classes = {type(value) for block in blocks for value in block} - {type(None)}
        is_text = name in column_roles.texts
        if is_text:
            _check_key(name, blocks, lambda row: _location(row_name, rows, row), row_name == "row")
        columns[name] = pa.chunked_array(_typed(blocks, classes, is_text=is_text, options=options))
        if pa.types.is_string(columns[name].type):
            if classes <= {dict, list}:
                nested[name] = "nested values"
            elif not is_text:
                untyped.add(name)
    table = pa.table(columns)
    source = DocumentTable(
        file, row_name, rows, table=table, untyped=untyped, options=options, roles=roles, notes=[*notes, *renames]
    )
    source.reasons.update(nested)
    return source


def _check_key(name: str, blocks: list[list[Any]], location: Callable[[int], str], has_floats_only: bool) -> None:
    """Refuse keys without a text form, and numbers too large for exact digits."""
    for row, value in enumerate(value for block in blocks for value in block):
        if isinstance(value, (dict, list)):
            raise BadCellError(
                name, row, value, "neither text nor a number nor a time, and cannot be a key", location=location(row)
            )
        # A spreadsheet stores all numbers as floats.
        inexact = (float, int) if has_floats_only else float
        if isinstance(value, inexact) and abs(value) >= EXACT_INTEGERS:
            refuse_inexact_key(value, name, row, location(row))


def _text_or_json(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else cell_text(value)


def _typed(cells: list[list[Any]], classes: set[type], *, is_text: bool, options: ReadOptions) -> list[pa.Array]:
    """Return the cells of a column in their common type, or as text to be inspected if they have none."""
    for cls, dtype in _TYPES.items():
        if classes and issubclass(next(iter(classes)), cls) and all(issubclass(other, cls) for other in classes):
            return [pa.array(block, dtype) for block in cells]
    if not classes:
        return [pa.nulls(len(block)) for block in cells]
    if classes == {bool}:
        return [pa.array(block, pa.bool_()) for block in cells]
    if classes == {int} and not is_text and not options.numbers.has_missing_numbers:
        try:
            return [pa.array(block, pa.int64()) for block in cells]
        except (pa.ArrowInvalid, OverflowError):
            pass
    return [pa.array([_text_or_json(value) for value in block], pa.string()) for block in cells]


def json_lines(file: InputFile, compression: str | None, options: ReadOptions, roles: ChooseRoles) -> TableSource:
    """Read a file with one JSON object per line; cells of names that a line lacks are missing.

    Raises
    ------
    ValueError
        If a line is not a JSON object.
    """
    cells: dict[str, list[list[Any]]] = {}
    rows: list[int] = []
    for lines in _blocks(_objects(file, compression, options)):
        for name in dict.fromkeys(name for _, line in lines for name in line):
            if name not in cells:
                cells[name] = [[None] * len(rows)] if rows else []
        for name, blocks in cells.items():
            blocks.append([line.get(name) for _, line in lines])
        rows += [number for number, _ in lines]
    if not cells:
        raise ValueError(f"{file.name} is empty")
    return _document(list(cells), list(cells.values()), file, "line", rows, options, roles, [])


def _objects(file: InputFile, compression: str | None, options: ReadOptions) -> Iterator[tuple[int, dict[str, Any]]]:
    with decompressed(file, compression) as stream:
        text = io.TextIOWrapper(stream, encoding=options.encoding or "utf-8-sig")
        try:
            for number, line in enumerate(text, 1):
                if not line.strip():
                    continue
                yield number, _object(line, number, file.name)
        except UnicodeDecodeError:
            raise ValueError(f"{file.name} is not UTF-8 text; name its encoding (encoding=...) or convert it") from None
        except (EOFError, OSError) as error:
            raise file.unreadable(error) or ValueError(
                f"{file.name} cannot be read; it may be damaged or truncated: {error}"
            ) from error


def _object(line: str, number: int, name: str) -> dict[str, Any]:
    # The depth is checked first, since the parser would recurse as deep as the text is nested.
    if line.count("{") + line.count("[") > _MAX_DEPTH:
        depth = highest = 0
        for character in line:
            depth += (character in "{[") - (character in "}]")
            highest = max(highest, depth)
        if highest > _MAX_DEPTH:
            raise ValueError(f"{name}: line {number} is nested more than {_MAX_DEPTH} levels deep")
    try:
        value = json.loads(line, object_pairs_hook=lambda pairs: _distinct(pairs, number, name))
    except json.JSONDecodeError as error:
        raise ValueError(f"{name}: line {number} is not JSON: {error.msg}; every line must be one object") from None
    if not isinstance(value, dict):
        raise ValueError(f"{name}: line {number} has {type(value).__name__}, not an object; every line must be one")
    return value


def _distinct(pairs: list[tuple[str, Any]], number: int, name: str) -> dict[str, Any]:
    line = dict(pairs)
    if len(line) < len(pairs):
        names = [key for key, _ in pairs]
        repeated = next(key for key in names if names.count(key) > 1)
        raise ValueError(f"{name}: line {number} has {repeated!r} several times; names must be unique")
    return line


def _blocks(lines: Iterator[tuple[int, dict[str, Any]]]) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    block = []
    for line in lines:
        block.append(line)
        if len(block) == _BLOCK_LINES:
            yield block
            block = []
    if block:
        yield block


def spreadsheet(file: InputFile, options: ReadOptions, roles: ChooseRoles) -> TableSource:
    """Read the first sheet of an Excel file, whose first row is the header.

    Raises
    ------
    ImportError
        If openpyxl is not installed.
    ValueError
        If it is not an Excel file, or has no rows.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise ImportError(f"reading {file.name} needs openpyxl: pip install 'isoxide[excel]'") from error
    with file.open() as stream:
        try:
            book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
        except Exception as error:
            raise ValueError(f"{file.name} cannot be read as an Excel file; it may be damaged: {error}") from error
        try:
            sheets = book.sheetnames
            rows = [list(row) for row in book[sheets[0]].iter_rows(values_only=True)]
        finally:
            book.close()
    notes = [] if len(sheets) == 1 else [f"only the first of {len(sheets)} sheets was read: {sheets[0]!r}"]
    while rows and all(cell is None for cell in rows[-1]):
        rows.pop()
    if not rows:
        raise ValueError(f"{file.name} is empty")
    n_columns = max(map(len, rows))
    rows = [[*row, *[None] * (n_columns - len(row))] for row in rows]
    header, body = rows[0], rows[1:]
    used = [j for j in range(n_columns) if header[j] is not None or any(row[j] is not None for row in body)]
    cells = [[[row[j] for row in body]] for j in used]
    return _document([header[j] for j in used], cells, file, "row", 2, options, roles, notes)
