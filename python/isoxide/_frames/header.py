"""The header of a text file: its encoding, its delimiter, and the names of its columns."""

from __future__ import annotations

import csv
import io
import re

from isoxide._frames.files import InputFile, decompressed
from isoxide._frames.names import text_names, written_index
from isoxide._frames.source import ReadOptions, first_line

__all__ = ["TextFile", "header_names"]

_DELIMITERS = ",;\t|"
#: Bytes of text that are looked at for the header: more if it is longer.
_HEADS = (1 << 16, 1 << 20, 1 << 24)


class TextFile:
    """A text file whose header has been read.

    Attributes
    ----------
    sep : str
        The delimiter.
    labels : list of str
        The names of the columns as they are written.
    """

    def __init__(self, file: InputFile, compression: str | None, options: ReadOptions) -> None:
        self.name, self.file, self.options = file.name, file, options
        self._compression = compression
        self._encoding = options.encoding or _encoding(self._head_bytes(_HEADS[0]))
        self.sep, self._skipped, self.labels = self._header()
        # Columns that stand at the end of each line without a name, as `sep` at its end makes them, are no index.
        self._index = written_index(self.labels) if any(self.labels) else set()
        usable = [f"index_{place + 1}" if place in self._index else label for place, label in enumerate(self.labels)]
        self._all_names, self._name_notes = text_names(usable, self.name)

    @property
    def names(self) -> list[str]:
        """The names of all columns but an index that pandas wrote."""
        return [name for place, name in enumerate(self._all_names) if place not in self._index]

    def _head_bytes(self, size: int) -> bytes:
        try:
            with decompressed(self.file, self._compression) as stream:
                return bytes(stream.read(size))
        except (EOFError, OSError) as error:
            raise self._damaged(error) from error

    def _header(self) -> tuple[str, int, list[str]]:
        """Return the delimiter, the lines before the first row, and the labels of the columns."""
        for size in _HEADS:
            head = self._head_bytes(size)
            is_whole = len(head) < size
            try:
                text = head.decode(self._encoding, errors="strict" if is_whole else "ignore")
            except UnicodeError:
                raise self._not_text(head) from None
            if is_whole or "\n" in text or "\r" in text:
                sep, skipped, labels = _header(text, self.options.sep, self.file)
                # A header that ends with what was read may go on.
                if is_whole or skipped < len(text.splitlines()):
                    self._check_text(text)
                    return sep, skipped, labels
        raise ValueError(f"{self.name} has no header within its first {_HEADS[-1] >> 20} MB")

    def _check_text(self, text: str) -> None:
        if self._encoding == "utf-8" and text[:64].count("\0") > len(text[:64]) // 4:
            raise ValueError(
                f"{self.name} seems to be UTF-16 without a mark at its beginning; say encoding='utf-16-le'"
            )

    def _not_text(self, head: bytes) -> ValueError:
        if b"\0" in head[:4096] and self._encoding == "utf-8":
            return ValueError(f"{self.name} is no text; give it the suffix of what it is (.parquet, .xlsx)")
        line = self._undecodable_line()
        where = "" if line is None else f" (line {line} is not)"
        return ValueError(
            f"{self.name} is not {self._encoding.upper()} text{where}; say encoding='cp1252' for what Excel writes on "
            "Windows, or convert it"
        )

    def _undecodable_line(self) -> int | None:
        """Return the number of the first line that is not in the encoding; None where lines are not known by bytes."""
        if self._encoding not in ("utf-8", "ascii"):
            return None
        with decompressed(self.file, self._compression) as stream:
            for number, line in enumerate(io.BufferedReader(stream), 1):
                try:
                    line.decode(self._encoding)
                except UnicodeError:
                    return number
        return None

    def _damaged(self, error: Exception) -> Exception:
        if isinstance(error, FileNotFoundError):
            return error
        return ValueError(f"{self.name} cannot be read, it may be damaged or truncated: {first_line(error)}")


def header_names(file: InputFile, compression: str | None, options: ReadOptions) -> list[str]:
    """Return the names of the columns of a text file, without reading its rows."""
    return TextFile(file, compression, options).names


def _encoding(head: bytes) -> str:
    """Return the encoding that a file names by its first bytes."""
    if head.startswith((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")):
        return "utf-32"
    return "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"


def _header(head: str, sep: str | None, file: InputFile) -> tuple[str, int, list[str]]:
    """Return the delimiter, the lines before the first row, and the labels of the columns."""
    text = head.removeprefix("\ufeff")
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
        sep = "\t" if is_tabbed and "\t" in lines[0] else max(_DELIMITERS, key=lambda one: _parted(lines, one))
    n_lines, labels = _first_row(lines, sep)
    return sep, skipped + n_lines, labels


def _parted(lines: list[str], sep: str) -> tuple[bool, int]:
    """Return how well a delimiter parts the header: best if it parts the next row into as many."""
    n_lines, labels = _first_row(lines, sep)
    rest = [line for line in lines[n_lines : n_lines + 64] if line.strip()]
    is_even = len(labels) > 1 and (not rest or len(_first_row(rest, sep)[1]) == len(labels))
    return is_even, len(labels)


def _first_row(lines: list[str], sep: str) -> tuple[int, list[str]]:
    rows = csv.reader(lines, delimiter=sep)
    row = next(rows)
    return rows.line_num, row
