"""The tables that a command reads: standard input and pipes kept in a file, and columns recognised by their names."""

from __future__ import annotations

import csv
import io
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from isoxide._cli._messages import tell
from isoxide._cli._parser import ENTITY_NAMES, TIME_NAMES
from isoxide._files import FileSet

__all__ = ["Tables", "open_tables", "read_columns"]

#: How files of each format begin, and the end of the name that readers know them by. Everything else is CSV.
_BEGINNINGS = {
    b"PAR1": ".parquet", b"ARROW1": ".arrow", b"PK\x03\x04": ".xlsx", b"\x1f\x8b": ".csv.gz", b"BZh": ".csv.bz2",
    b"\x28\xb5\x2f\xfd": ".csv.zst", b"\xfd7zXZ\x00": ".csv.xz",
}  # fmt: skip
_PARQUET = (".parquet", ".parq", ".pq")
_ARROW = (".arrow", ".feather")
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
#: Files whose columns are told by reading them.
_OTHER = (".jsonl", ".xlsx")
#: Bytes of a text file that are read to find its columns.
_HEAD = 1 << 20
_LISTED = 12


class Tables:
    """The tables of a command.

    Attributes
    ----------
    paths : list of str
        Files and folders.
    aliases : dict of str to str
        From the file that holds what came from standard input or a pipe to the name that the user gave.
    """

    def __init__(self, paths: list[str], aliases: dict[str, str]) -> None:
        self.paths, self.aliases = paths, aliases

    @property
    def source(self) -> str | list[str]:
        """What readers take: a path, or several."""
        return self.paths[0] if len(self.paths) == 1 else self.paths

    @property
    def name(self) -> str:
        """The tables as the user named them."""
        first = self.aliases.get(self.paths[0], self.paths[0])
        return first if len(self.paths) == 1 else f"{first} and {len(self.paths) - 1} more"

    def choose_keys(self, entity: str | None, time: str | None, reading: dict[str, Any]) -> tuple[str, str]:
        """Return the columns that say who and when; those that are not given are recognised by their names.

        Parameters
        ----------
        entity, time : str or None
            The columns that the user gave.
        reading : dict
            How the user says the table is written.

        Raises
        ------
        ValueError
            If a column is not given, and not exactly one has such a name.
        """
        if entity is not None and time is not None:
            return entity, time
        columns, _ = read_columns(Path(self.paths[0]), reading)
        chosen = []
        for option, given, other, names in (
            ("entity", entity, time, ENTITY_NAMES),
            ("time", time, entity, TIME_NAMES),
        ):
            if given is not None:
                chosen.append(given)
                continue
            fitting = [name for name in columns if name.strip().lower() in names and name != other]
            if len(fitting) != 1:
                called = f"{len(fitting)} columns are" if fitting else "no column is"
                listed = ", ".join(map(repr, columns[:_LISTED]))
                more = f" and {len(columns) - _LISTED} more" if len(columns) > _LISTED else ""
                raise ValueError(
                    f"give --{option}: {called} called {', '.join(names[:-1])} or {names[-1]}; "
                    f"the columns of {self.name} are {listed}{more}"
                    if columns
                    else f"give --{option}: the columns of {self.name} cannot be told before it is read"
                )
            chosen.append(fitting[0])
            tell(f"isoxide: {option} is the column {fitting[0]!r}; choose another one with --{option}")
        return chosen[0], chosen[1]


@contextmanager
def open_tables(names: list[str]) -> Iterator[Tables]:
    """Give the tables of a command as files and folders; what comes from a pipe is kept in a temporary file.

    A reader needs its table more than once: for the names of columns, for the size, and for each pass over batches.
    """
    kept = FileSet(tempfile.gettempdir())
    paths, aliases = [], {}
    try:
        for number, name in enumerate(names):
            if name != "-" and not _is_stream(name):
                paths.append(name)
                continue
            if not kept.is_open:
                kept.open()
            path = _keep(name, kept, number)
            paths.append(str(path))
            aliases[str(path)] = "standard input" if name == "-" else name
        yield Tables(paths, aliases)
    finally:
        kept.close()


def _is_stream(name: str) -> bool:
    """Whether a file is a pipe or the like, which can be read only once."""
    try:
        mode = os.stat(name).st_mode
    except OSError:
        # The reader says what is wrong.
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _keep(name: str, files: FileSet, number: int) -> Path:
    if name == "-":
        if sys.stdin is None:
            raise ValueError("there is no standard input to read the table from; give a file instead of -")
        if sys.stdin.isatty():
            tell("isoxide: the table is read from this terminal; end it with Ctrl-D")
        source: IO[bytes] = sys.stdin.buffer
    else:
        source = open(name, "rb")  # noqa: SIM115
    try:
        head = source.read(8)
        end = next((end for beginning, end in _BEGINNINGS.items() if head.startswith(beginning)), ".csv")
        path = files / f"{number}{end}"
        with path.open("wb") as file:
            file.write(head)
            shutil.copyfileobj(source, file, 1 << 20)
    finally:
        if name != "-":
            source.close()
    return path


def read_columns(path: Path, reading: dict[str, Any] | None = None) -> tuple[list[str], str]:
    """Return the names of the columns of a table, and the delimiter of a CSV file.

    There are no names if they cannot be told without reading the table.

    Parameters
    ----------
    path : Path
        A file, or a folder of Parquet files.
    reading : dict, optional
        How the user says the table is written.
    """
    given = reading or {}
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    if path.is_dir() or path.suffix.lower() in _PARQUET:
        from isoxide._sources import open_source

        return list(open_source(path).schema.names), ""
    if path.suffix.lower() in _ARROW:
        import pyarrow as pa

        with pa.memory_map(str(path)) as file:
            return list(pa.ipc.open_file(file).schema.names), ""
    compression = path.suffix.lower() if path.suffix.lower() in _COMPRESSED else ""
    if (path.with_suffix("") if compression else path).suffix.lower() in _OTHER:
        return [], ""
    head = _head(path, compression)
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    text = head.decode(given.get("encoding", encoding), errors="replace").removeprefix("\ufeff")
    separator = given.get("sep", "")
    first, _, rest = text.partition("\n")
    first = first.rstrip("\r")
    if first.lower().startswith("sep=") and len(first) == 5:
        # A line for spreadsheets.
        separator, text = separator or first[4], rest
    separator = separator or _separator(text.partition("\n")[0])
    return next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), []), separator


def _head(path: Path, compression: str) -> bytes:
    import bz2
    import gzip
    import lzma

    if compression == ".zst":
        import pyarrow as pa

        with pa.input_stream(str(path), compression="zstd") as stream:
            return bytes(stream.read(_HEAD))
    opened: Any = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}.get(compression, open)
    try:
        with opened(path, "rb") as file:
            return bytes(file.read(_HEAD))
    except (EOFError, OSError, lzma.LZMAError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def _separator(line: str) -> str:
    """Return the delimiter that occurs most often outside quotes; a comma if there is none."""
    unquoted = "".join(line.split('"')[::2])
    return max(",;\t|", key=lambda separator: unquoted.count(separator))
