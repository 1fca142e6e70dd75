"""Add bytes to files that several processes write to, whole or not at all.

A file is locked as long as it is open here, so that processes take turns. On file systems without locks, and on
Windows, bytes are still added by a single call at the end of the file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from isoxide._common.locks import lock

__all__ = ["append_bytes", "locked_file"]


@contextmanager
def locked_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a regular file for reading and adding bytes, and lock it; create it if it does not exist.

    A file that was created here and is still empty at the end is removed.

    Parameters
    ----------
    path : path
        File. A symbolic link is followed.

    Yields
    ------
    file
        Unbuffered file at its beginning.

    Raises
    ------
    OSError
        If the file cannot be opened for writing, or another process holds the lock for half a minute.
    ValueError
        If the path is a pipe, a socket or a device.
    """
    path = Path(path)
    while True:
        # Check before the file is opened, since opening a pipe blocks.
        with contextlib.suppress(FileNotFoundError):
            _check_is_file(path, path.stat().st_mode)
        is_new = not path.exists()
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
        with open(os.open(path, flags, 0o666), "r+b", buffering=0) as file:
            _check_is_file(path, os.fstat(file.fileno()).st_mode)
            lock(file.fileno(), path, "another process is writing to it; retry")
            if not _is_at(file.fileno(), path):
                # Another process removed the file that it had created, before this one locked it.
                continue
            try:
                yield file
            finally:
                if is_new and not os.fstat(file.fileno()).st_size:
                    with contextlib.suppress(OSError):
                        path.unlink()
            return


def append_bytes(file: IO[bytes], data: bytes, name: str) -> None:
    """Add bytes at the end of a locked file; if not all can be written, the file stays as it was.

    Parameters
    ----------
    file : file
        File that `locked_file` yields.
    data : bytes
        Bytes to add.
    name : str
        Name of the file, for messages.

    Raises
    ------
    OSError
        If the bytes cannot be written, such as on a full disk.
    """
    descriptor = file.fileno()
    size = os.fstat(descriptor).st_size
    try:
        n_written = os.write(descriptor, data)
        if n_written < len(data):
            # Only this call can say why the rest does not fit.
            n_written += os.write(descriptor, data[n_written:])
        if n_written < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
    except BaseException as error:
        os.ftruncate(descriptor, size)
        if isinstance(error, OSError):
            raise OSError(error.errno, f"{error.strerror}; nothing was added", name) from error
        raise


def _check_is_file(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path} is not a regular file, but a pipe, a socket or a device")


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether an open file is the one at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
