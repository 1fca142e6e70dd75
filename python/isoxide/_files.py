"""Files that are whole or not there, and reading that does not wait."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["read_file", "replace_file"]


def replace_file(path: str | os.PathLike[str], write: Callable[[Path], Any]) -> Path:
    """Let `write` write a temporary file beside `path`, and put it in its place when it is whole.

    Raises
    ------
    ValueError
        If there is something at `path` that is no file, such as a device: it would be replaced too.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        pass
    else:
        _check_is_file(path, mode)
    # No name that anybody else could know or use: not another thread either. Short, since that of `path` may not be.
    temporary = path.with_name(f".isoxide-{secrets.token_hex(8)}.tmp")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file. Of what never ends, or may not come, none is read.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If `path` is nothing, or a folder.
    ValueError
        If it is a pipe, a socket or a device.
    """
    path = Path(path)
    # Before it is opened, since that alone does something to some devices.
    _check_is_file(path, path.stat().st_mode)
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    with open(os.open(path, flags), "rb") as file:
        _check_is_file(path, os.fstat(file.fileno()).st_mode)
        return file.read()


def _check_is_file(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path} is not a regular file, but a pipe, a socket or a device")
