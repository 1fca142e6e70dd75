"""Open input files: detect their format, decompress them, and compute checksums."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import stat
import sys
import tempfile
import weakref
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from isoxide._common.files import named_if_full
from isoxide._common.stores import Location, located, store_error, told

__all__ = [
    "READABLE_FILES",
    "InputFile",
    "RemoteFile",
    "decompressed",
    "file_format",
    "is_folder",
    "location_of",
    "open_input",
    "spool",
]

#: Format of a file, by its suffix.
FORMATS = {
    ".parquet": "parquet", ".parq": "parquet", ".pq": "parquet",
    ".feather": "arrow", ".arrow": "arrow", ".ipc": "arrow", ".arrows": "arrow",
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".tab": "csv",
    ".jsonl": "jsonl", ".ndjson": "jsonl",
    ".xlsx": "xlsx", ".xlsm": "xlsx",
}  # fmt: skip
#: Compression of a text file, by its last suffix.
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".xz": "xz"}
#: First bytes of a file, with the format or compression that they identify.
_MAGIC = (
    (b"PAR1", "parquet"), (b"ARROW1", "arrow"), (b"PK\x03\x04", "xlsx"), (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh", "bz2"), (b"\xfd7zXZ\x00", "xz"),
    (b"\xff\xff\xff\xff", "arrow"),
)  # fmt: skip
#: First bytes of files that are refused, with a description and what the user can do.
_REFUSED_FORMATS = {
    b"\xd0\xcf\x11\xe0": "an Excel file of the old format (.xls); save it as .xlsx or .csv",
    b"SQLite format 3": "an SQLite database; export the table as CSV or Parquet",
    b"\x89HDF": "an HDF5 file; write it as Parquet or CSV",
    b"\x80\x02": "a pickle, which is refused because loading it can run code; write the table as Parquet or CSV",
    b"\x80\x03": "a pickle, which is refused because loading it can run code; write the table as Parquet or CSV",
    b"\x80\x04\x95": "a pickle, which is refused because loading it can run code; write the table as Parquet or CSV",
    b"\x80\x05\x95": "a pickle, which is refused because loading it can run code; write the table as Parquet or CSV",
    b"Obj\x01": "an Avro file; write it as Parquet or CSV",
    b"FEA1": "a Feather file of the first version; write it again with a newer library, or as Parquet",
    b"ORC": "an ORC file; write it as Parquet or CSV",
}
READABLE_FILES = (
    ".parquet (.parq, .pq), .feather (.arrow), .csv, .tsv, .txt (also .gz, .zst, .bz2, .xz), .jsonl, .xlsx, "
    "or a folder of these"
)
_BLOCK = 1 << 20
#: Number and size in bytes of the parts of a file that identify it if its store knows no modification time.
_SAMPLED_PARTS, _SAMPLED_BYTES = 16, 4096


def location_of(path: Any, filesystem: Any = None) -> Path | Location:
    """Return a local path with ``~`` replaced by the home directory, or the location of a URL."""
    location = located(path, filesystem)
    return location if isinstance(location, Location) else location.expanduser()


def is_folder(path: Any) -> bool:
    """Return whether a path, URL or location is a folder; ``-`` is none."""
    return str(path) != "-" and location_of(path).is_dir()


def spool(file: Any, name: str) -> InputFile:
    """Copy an open file, a pipe or standard input to a temporary file, which is deleted with the returned object."""
    contents = tempfile.TemporaryFile(prefix="isoxide-input-")  # noqa: SIM115 (it stays open)
    while block := file.read(_BLOCK):
        with named_if_full(tempfile.gettempdir()):
            contents.write(block.encode() if isinstance(block, str) else block)
    with named_if_full(tempfile.gettempdir()):
        contents.flush()
    return InputFile(name, None, contents)


def _standard_input() -> InputFile:
    if sys.stdin is None or sys.stdin.closed:
        raise ValueError("standard input is closed; give a file instead of '-'")
    return spool(getattr(sys.stdin, "buffer", sys.stdin), "standard input")


def open_input(path: Any, filesystem: Any = None) -> InputFile:
    """Open a file or URL for reading; ``-`` is standard input, and a pipe is copied to a temporary file.

    Parameters
    ----------
    path : path, URL or Location
        File to open.
    filesystem : pyarrow or fsspec file system, optional
        File system of the path. By default a URL names it.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the path is a device, or a URL whose scheme is not known.
    """
    if str(path) == "-":
        return _standard_input()
    path = location_of(path, filesystem)
    if isinstance(path, Location):
        return RemoteFile(path)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path}") from None
    if stat.S_ISFIFO(mode):
        with path.open("rb") as pipe:
            return spool(pipe, str(path))
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path} is a folder, a device or a socket, not a file")
    return InputFile(str(path), path, None)


class _Reader(io.RawIOBase):
    """Reader of an open file that keeps its own position."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._position = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position}.get(whence)
        self._position = offset + (os.fstat(self._file.fileno()).st_size if base is None else base)
        return self._position

    def readinto(self, buffer: Any) -> int:
        data = os.pread(self._file.fileno(), len(buffer), self._position)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


class InputFile:
    """Input file that can be read several times; a change in between is an error.

    Parameters
    ----------
    name : str
        Name of the file in messages.
    path : Path or None
        Path of the file; None if its contents are in `contents`.
    contents : file or None
        Temporary file with the contents of a pipe or an open file.
    """

    def __init__(self, name: str, path: Path | None, contents: BinaryIO | None) -> None:
        self.name, self.path = name, path
        self._contents = contents
        if contents is not None:
            weakref.finalize(self, contents.close)
        self._first_state = self._state()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_contents": None}

    def _state(self) -> tuple[int, ...] | None:
        if self.path is None:
            return None
        status = self.path.stat()
        return status.st_ino, status.st_size, status.st_mtime_ns

    @property
    def suffixes(self) -> list[str]:
        """Return the suffixes of the file's name in lower case; an empty list for a pipe."""
        return [] if self.path is None else [suffix.lower() for suffix in self.path.suffixes]

    def folders_below(self, root: Any) -> tuple[str, ...]:
        """Return the names of the folders between a root and the file; none if there is no root."""
        return () if root is None or self.path is None else self.path.relative_to(root).parts[:-1]

    def unreadable(self, error: BaseException) -> Exception | None:
        """Return the error to raise if a failure to read is not about the contents, but about where they are."""
        return FileNotFoundError(f"there is no file {self.name}") if isinstance(error, FileNotFoundError) else None

    @property
    def size(self) -> int:
        """Return the number of bytes of the file."""
        if self._contents is not None:
            return self._contents.seek(0, os.SEEK_END)
        return 0 if self._first_state is None else self._first_state[1]

    def open(self) -> BinaryIO:
        """Open the file at its first byte.

        Raises
        ------
        ValueError
            If the file has changed since it was first opened.
        """
        self.check()
        if self.path is not None:
            return self.path.open("rb")
        if self._contents is None:
            raise ValueError(
                f"{self.name} cannot be read in this process: its contents came through a pipe into another process"
            )
        return io.BufferedReader(_Reader(self._contents))

    def check(self) -> None:
        """Refuse a file that has changed since it was first opened."""
        if self._state() != self._first_state:
            raise ValueError(f"{self.name} changed while it was read; read it again when no other program writes to it")

    def head(self, n: int = 64) -> bytes:
        """Return the first `n` bytes of the file."""
        with self.open() as file:
            return file.read(n)

    def fingerprint(self) -> list[Any]:
        """Return the size of the file, and its modification time; or, for a pipe, the SHA-256 of its contents."""
        return [self.size, self.checksum() if self._first_state is None else self._first_state[-1]]

    def checksum(self) -> str:
        """Return the SHA-256 of the bytes of the file, which must not have changed since it was first opened."""
        digest = hashlib.sha256()
        with self.open() as file:
            while block := file.read(_BLOCK):
                digest.update(block)
        self.check()
        return digest.hexdigest()


class RemoteFile(InputFile):
    """Input file in an object store or another remote file system.

    Parameters
    ----------
    location : Location
        Location of the file.
    """

    def __init__(self, location: Location) -> None:
        self.location = location
        super().__init__(location.name, None, None)

    def _state(self) -> tuple[int, ...] | None:
        info = self.location.info()
        if info.type.name == "NotFound":
            raise FileNotFoundError(f"there is no file {self.name}")
        if info.type.name == "Directory":
            raise ValueError(f"{self.name} is a folder, not a file")
        # Some stores know no modification time.
        return info.size or 0, -1 if info.mtime_ns is None else info.mtime_ns

    @property
    def size(self) -> int:
        """Return the number of bytes of the file."""
        assert self._first_state is not None
        return self._first_state[0]

    @property
    def suffixes(self) -> list[str]:
        """Return the suffixes of the file's name in lower case."""
        return [suffix.lower() for suffix in self.location.suffixes]

    def folders_below(self, root: Any) -> tuple[str, ...]:
        """Return the names of the folders between a root and the file; none if there is no root."""
        return () if root is None else self.location.parts_below(root)[:-1]

    def open(self) -> Any:
        """Open the file at its first byte, as a pyarrow file.

        Raises
        ------
        ValueError
            If the file has changed since it was first opened.
        """
        self.check()
        return self.location.open()

    def head(self, n: int = 64) -> bytes:
        """Return the first `n` bytes of the file."""
        with told(self.name, "read"):
            return super().head(n)

    def checksum(self) -> str:
        """Return the SHA-256 of the bytes of the file, which must not have changed since it was first opened."""
        with told(self.name, "read"):
            return super().checksum()

    def fingerprint(self) -> list[Any]:
        """Return the size and the modification time, or if the store knows none, the SHA-256 of parts of the file."""
        assert self._first_state is not None
        if self._first_state[1] >= 0:
            return list(self._first_state)
        digest = hashlib.sha256()
        with told(self.name, "read"), self.open() as file:
            # The last part of a Parquet file describes all others.
            for start in range(0, max(self.size, 1), max(self.size // _SAMPLED_PARTS, _SAMPLED_BYTES)):
                file.seek(start)
                digest.update(file.read(_SAMPLED_BYTES))
            file.seek(max(self.size - 16 * _SAMPLED_BYTES, 0))
            digest.update(file.read(16 * _SAMPLED_BYTES))
        return [self.size, digest.hexdigest()]

    def unreadable(self, error: BaseException) -> Exception | None:
        """Return an error of one line if the store failed, and the contents may be good."""
        return store_error(self.name, error, "read")


def file_format(file: InputFile) -> tuple[str, str | None]:
    """Return the format of a file and its compression.

    The format is ``"parquet"``, ``"arrow"``, ``"csv"``, ``"jsonl"`` or ``"xlsx"``. The compression of text is
    ``"gzip"``, ``"zstd"``, ``"bz2"``, ``"xz"`` or None.

    Raises
    ------
    ValueError
        If the file has another format, or its content does not match its suffix.
    """
    head = file.head()
    for magic, description in _REFUSED_FORMATS.items():
        if head.startswith(magic):
            raise ValueError(f"{file.name} is {description}")
    detected = next((name for magic, name in _MAGIC if head.startswith(magic)), None)
    suffixes = file.suffixes
    compression = None
    if suffixes and suffixes[-1] in COMPRESSIONS:
        compression = COMPRESSIONS[suffixes.pop()]
        if detected != compression:
            raise ValueError(
                f"{file.name} is not a {compression} file, although its name says so; rename it, or compress it again"
            )
    elif detected in COMPRESSIONS.values():
        compression = detected
    expected = FORMATS.get(suffixes[-1]) if suffixes else None
    if compression is not None:
        if expected in ("parquet", "arrow", "xlsx"):
            raise ValueError(f"{file.name} is a compressed {expected} file, which cannot be read; decompress it first")
        return expected or "csv", compression
    if detected == "xlsx":
        _check_workbook(file)
    if detected in ("parquet", "arrow", "xlsx"):
        return detected, None
    if expected in ("parquet", "arrow", "xlsx"):
        if not head:
            raise ValueError(f"{file.name} is empty")
        if head.isascii() and head.decode().replace("\t", "").splitlines()[0].isprintable():
            raise ValueError(
                f"{file.name} is text, although its name ends with {suffixes[-1]}; rename it to end with .csv"
            )
        raise ValueError(f"{file.name} cannot be read: it is damaged, or not in the format of {suffixes[-1]} files")
    if expected is None and suffixes:
        hint = "write one object per line, as .jsonl" if suffixes[-1] == ".json" else f"give {READABLE_FILES}"
        raise ValueError(f"{file.name}: files with the suffix {suffixes[-1]!r} cannot be read; {hint}")
    return expected or "csv", None


def _check_workbook(file: InputFile) -> None:
    """Refuse a ZIP archive that is not an Excel file."""
    try:
        with file.open() as stream, zipfile.ZipFile(stream) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise file.unreadable(error) or ValueError(
            f"{file.name} cannot be read; it may be damaged or truncated: {error}"
        ) from error
    if not any(name.startswith("xl/") for name in names):
        description = (
            "an OpenDocument file; save it as .xlsx or .csv"
            if "mimetype" in names
            else "a ZIP archive; unpack it first"
        )
        raise ValueError(f"{file.name} is {description}")


@contextmanager
def decompressed(file: InputFile, compression: str | None) -> Iterator[Any]:
    """Open a file as an Arrow stream of its decompressed contents; leaving the context closes it."""
    with ExitStack() as stack:
        if compression is None and file.path is not None:
            file.check()
            # Arrow reads files itself, without holding the interpreter lock.
            yield stack.enter_context(pa.OSFile(str(file.path), "rb"))
            return
        stream: Any = stack.enter_context(file.open())
        if compression is None and isinstance(stream, pa.NativeFile):
            yield stream
            return
        if compression == "gzip":
            # Arrow's own reader is not faster, and does not detect truncated files.
            stream = stack.enter_context(gzip.open(stream))
        elif compression == "xz":
            stream = stack.enter_context(lzma.open(stream))
        elif compression == "bz2":
            stream = stack.enter_context(bz2.open(stream))
        stream = pa.PythonFile(stream, mode="r")
        yield pa.CompressedInputStream(stream, "zstd") if compression == "zstd" else stream
