"""Read the header of a text file: its encoding, its delimiter, and the names of its columns."""

from __future__ import annotations

import csv
import io
import re

from isoxide._frames.files import InputFile, decompressed
from isoxide._frames.names import pandas_index_positions, text_names
from isoxide._frames.source import ReadOptions, first_line

__all__ = ["TextFile", "header_names"]

_DELIMITERS = ",;\t|"
#: Numbers of bytes that are searched for the header; the next number is tried if the header is longer.
_HEADER_BYTES = (1 << 16, 1 << 20, 1 << 24)


class TextFile:
    """Text file whose header has been read.

    Attributes
    ----------
    sep : str
        Field delimiter.
    labels : list of str
        Column names exactly as in the file.
    """

    def __init__(self, file: InputFile, compression: str | None, options: ReadOptions) -> None:
        self.name, self.file, self.options = file.name, file, options
        self._compression = compression
        self._encoding = options.encoding or _encoding(self._head_bytes(_HEADER_BYTES[0]))
        self.sep, self._skipped, self.labels = self._header()
        # If no column has a name, the columns are not an index.
        self._index = pandas_index_positions(self.labels) if any(self.labels) else set()
        usable = [
            f"index_{position + 1}" if position in self._index else label for position, label in enumerate(self.labels)
        ]
        self._all_names, self._name_notes = text_names(usable, self.name)

    @property
    def names(self) -> list[str]:
        """Return the names of all columns except an index that pandas wrote."""
        return [name for position, name in enumerate(self._all_names) if position not in self._index]

    def _head_bytes(self, size: int) -> bytes:
        try:
            with decompressed(self.file, self._compression) as stream:
                return bytes(stream.read(size))
        except (EOFError, OSError) as error:
            raise self._damaged(error) from error

    def _header(self) -> tuple[str, int, list[str]]:
        """Return the delimiter, the number of lines before the first row, and the labels of the columns."""
        for size in _HEADER_BYTES:
            head = self._head_bytes(size)
            is_whole = len(head) < size
            try:
                text = head.decode(self._encoding, errors="strict" if is_whole else "ignore")
            except UnicodeError:
                raise self._not_text(head) from None
            if is_whole or "\n" in text or "\r" in text:
                sep, skipped, labels = _header(text, self.options.sep, self.file)
                # If the header reaches the end of the bytes that were read, it may continue after them.
                if is_whole or skipped < len(text.splitlines()):
                    self._check_text(text)
                    return sep, skipped, labels
        raise ValueError(f"{self.name} has no complete header within its first {_HEADER_BYTES[-1] >> 20} MB")

    def _check_text(self, text: str) -> None:
        if self._encoding == "utf-8" and text[:64].count("\0") > len(text[:64]) // 4:
            raise ValueError(f"{self.name} seems to be UTF-16 without a byte order mark; give encoding='utf-16-le'")

    def _not_text(self, head: bytes) -> ValueError:
        if b"\0" in head[:4096] and self._encoding == "utf-8":
            return ValueError(f"{self.name} is not a text file; give it the suffix of its format (.parquet, .xlsx)")
        line = self._undecodable_line()
        detail = "" if line is None else f" (see line {line})"
        return ValueError(
            f"{self.name} is not {self._encoding.upper()} text{detail}; give encoding='cp1252' for files that Excel "
            "writes on Windows, or convert the file"
        )

    def _undecodable_line(self) -> int | None:
        """Return the number of the first line that cannot be decoded; None for encodings other than UTF-8 and ASCII."""
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
        return self.file.unreadable(error) or ValueError(
            f"{self.name} cannot be read; it may be damaged or truncated: {first_line(error)}"
        )


def header_names(file: InputFile, compression: str | None, options: ReadOptions) -> list[str]:
    """Return the names of the columns of a text file, without reading its rows."""
    return TextFile(file, compression, options).names


def _encoding(head: bytes) -> str:
    """Return the encoding that the byte order mark of a file indicates; without one, UTF-8."""
    if head.startswith((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")):
        return "utf-32"
    return "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"


def _header(head: str, sep: str | None, file: InputFile) -> tuple[str, int, list[str]]:
    """Return the delimiter, the number of lines before the first row, and the labels of the columns."""
    text = head.removeprefix("\ufeff")
    if not text.strip():
        raise ValueError(f"{file.name} is empty")
    skipped = 0
    lines = text.splitlines(keepends=True)
    # Excel can write a line with the delimiter above the header.
    if (match := re.fullmatch(r"\"?sep=(.)\"?\s*", lines[0], re.IGNORECASE)) is not None:
        sep = sep or match[1]
        skipped, lines = 1, lines[1:]
    while lines and not lines[0].strip():
        skipped, lines = skipped + 1, lines[1:]
    if not lines:
        raise ValueError(f"{file.name} has no header")
    if sep is None:
        is_tabbed = file.path is not None and {".tsv", ".tab"} & {*file.suffixes}
        sep = (
            "\t"
            if is_tabbed and "\t" in lines[0]
            else max(_DELIMITERS, key=lambda candidate: _split_quality(lines, candidate))
        )
    n_lines, labels = _first_row(lines, sep)
    return sep, skipped + n_lines, labels


def _split_quality(lines: list[str], sep: str) -> tuple[bool, int]:
    """Return a sort key for delimiters: the best one splits the header and the next row into equally many values."""
    n_lines, labels = _first_row(lines, sep)
    rest = [line for line in lines[n_lines : n_lines + 64] if line.strip()]
    is_even = len(labels) > 1 and (not rest or len(_first_row(rest, sep)[1]) == len(labels))
    return is_even, len(labels)


def _first_row(lines: list[str], sep: str) -> tuple[int, list[str]]:
    rows = csv.reader(lines, delimiter=sep)
    row = next(rows)
    return rows.line_num, row
