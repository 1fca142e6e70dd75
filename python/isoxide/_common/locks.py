"""Locks on files and folders, so that processes write to them one after the other."""

from __future__ import annotations

import errno
import time
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no such locks.
    fcntl = None  # type: ignore[assignment]

__all__ = ["lock"]

#: Seconds after which waiting for a lock ends.
_TIMEOUT = 30.0


def lock(descriptor: int, path: Path, message: str) -> None:
    """Wait for the lock on an open file or folder, which is free again when the descriptor is closed.

    This does nothing if the system or the file system has no locks.

    Raises
    ------
    OSError
        If another process keeps the lock; the error has the given message.
    """
    if fcntl is None:
        return
    until = time.monotonic() + _TIMEOUT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise OSError(errno.EAGAIN, message, str(path)) from None
            time.sleep(0.01)
            continue
        except OSError:
            # This file system has no locks.
            pass
        return
