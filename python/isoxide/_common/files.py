"""Write files completely or not at all, and read regular files only, since others may block.

A file is written under a temporary name in the folder of its destination, and renamed when it is complete. In all other
respects this behaves like opening the destination for writing: symbolic links are followed, a file keeps its mode and
owner, and a read-only file, a folder or a device is refused.

A `FileSet` moves several files that belong together to their folder, under a lock on it:

```text
folder/.isoxide-HEX/      private to one run
    lock                  locked as long as the run lives
    new/NAME              what the run writes
    old/NAME              links to the files that are being replaced
    plan.json             exists while the files are being moved
folder/.isoxide-HEX.part  one file that `replace_file` is writing; it is locked too
```

The system releases the lock of a process no matter how the process ends. So the next run recognises the files that a
killed run has left behind, and removes them. If the killed run had begun to move its files, all of them exist and are
complete. Then the next run moves the remaining ones, unless somebody has changed the file at the destination since.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from isoxide._common.json import loads
from isoxide._common.locks import lock
from isoxide._common.stores import Location, located, replace_remote

try:
    import fcntl
except ImportError:  # Windows: files that killed runs leave behind are not removed.
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "FileSet",
    "clear_leftovers",
    "destination",
    "file_size",
    "named_if_full",
    "read_file",
    "replace_file",
]

_TEMPORARY = re.compile(r"\.isoxide-[0-9a-f]{16}(\.part)?")
#: Errors of writing for which the system names no file: no space, quota used up, file too large.
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG}
_LOCK, _NEW, _OLD, _DRAFT, _PLAN = "lock", "new", "old", "plan.draft", "plan.json"


def replace_file(path: Any, write: Callable[[Path], Any], filesystem: Any = None) -> Any:
    """Write a temporary file, and rename it to `path` when it is complete.

    A file of a store is written to a temporary local file, and sent when it is complete.

    The new file gets the mode and, where the system allows it, the owner of the file that it replaces. A symbolic link
    stays, and the file that it names is replaced.

    Parameters
    ----------
    path : path, URL or Location
        Destination of the file.
    write : callable
        Function that writes the file; it gets the path of an empty temporary file in the folder of the destination.
    filesystem : pyarrow or fsspec file system, optional
        File system of the path. By default a URL names it.

    Returns
    -------
    Path or str
        The destination, as a path; for a store, as text.

    Raises
    ------
    IsADirectoryError, PermissionError
        If `path` is a folder, or a file that this process may not write to.
    ValueError
        If `path` is a pipe, a socket or a device.
    OSError
        If there is no space for the file; the error names it.
    """
    location = located(path, filesystem)
    if isinstance(location, Location):
        replace_remote(location, write)
        return str(location)
    path = location
    target = destination(path)
    clear_leftovers(target.parent)
    # The temporary file gets no more permissions than the existing one until `_inherit` copies its mode.
    mode = 0o600 if target.exists() else 0o666
    with _temporary_file(target.parent, mode) as temporary, named_if_full(path):
        write(temporary)
        _inherit(temporary, target)
        os.replace(temporary, target)
    return path


@contextmanager
def named_if_full(path: str | os.PathLike[str]) -> Iterator[None]:
    """Name a file or folder in the error of a write for which there is no space, since the system names none.

    Parameters
    ----------
    path : path
        File or folder that is written to.

    Raises
    ------
    OSError
        With the name, instead of an error that says that there is no space.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None or error.errno not in _FULL:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def read_file(path: Any, filesystem: Any = None) -> bytes:
    """Read a regular file or a file of a store; refuse pipes and devices, which may never end.

    Parameters
    ----------
    path : path, URL or Location
        The file.
    filesystem : pyarrow or fsspec file system, optional
        File system of the path. By default a URL names it.

    Returns
    -------
    bytes
        Content of the file.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If `path` does not exist, or is a folder.
    ValueError
        If `path` is a pipe, a socket or a device.
    """
    location = located(path, filesystem)
    if isinstance(location, Location):
        return location.read()
    path = location
    # Check before the file is opened, since merely opening some devices has an effect.
    _check_is_file(path, path.stat().st_mode)
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    with open(os.open(path, flags), "rb") as file:
        _check_is_file(path, os.fstat(file.fileno()).st_mode)
        return file.read()


def file_size(path: Path | Location) -> int:
    """Return the number of bytes of a file, or 0 for anything else."""
    if isinstance(path, Location):
        return path.info().size or 0
    return path.stat().st_size if path.is_file() else 0


def destination(path: str | os.PathLike[str]) -> Path:
    """Return the file that opening `path` for writing would write to.

    Parameters
    ----------
    path : path
        Path of a file that may or may not exist, or of a symbolic link to one.

    Returns
    -------
    Path
        The file at the end of all links, or `path` itself.

    Raises
    ------
    IsADirectoryError, PermissionError
        If it is a folder, or a file that this process may not write to.
    ValueError
        If it is a pipe, a socket or a device.
    """
    path = Path(path)
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return target
    _check_is_file(path, mode)
    if not os.access(target, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return target


def clear_leftovers(folder: str | os.PathLike[str]) -> None:
    """Remove the temporary files of this user in a folder if the run that wrote them no longer exists.

    If a run was killed while it moved a `FileSet`, the remaining files are moved first.

    Parameters
    ----------
    folder : path
        Folder to search, without its subfolders.
    """
    if fcntl is None:
        return
    try:
        with os.scandir(folder) as entries:
            paths = [Path(entry.path) for entry in entries if _TEMPORARY.fullmatch(entry.name)]
    except OSError:
        return
    for path in paths:
        # Another run may remove a file first, and a file that cannot be removed does not stop this run.
        with contextlib.suppress(OSError):
            _clear(path)


class FileSet:
    """Set of files that are moved to a folder together: all of them, or none.

    Parameters
    ----------
    folder : path
        Destination of the files. It is created if it does not exist, and `close` removes a created folder if it is
        empty.

    Attributes
    ----------
    folder : Path
        Destination of the files.
    paths : list of Path
        Final paths of the files, in the order in which they were added.
    in_place : bool
        Whether `put_in_place` has succeeded.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        location = located(folder)
        if isinstance(location, Location):
            raise ValueError(f"{location} is a URL, but these files are written to a folder of this machine only")
        self.folder = location
        self.paths: list[Path] = []
        self.in_place = False
        self._made: list[Path] = []
        self._temporary: Path | None = None
        self._lock: int | None = None
        self._keep = False

    def open(self) -> None:
        """Create the folder and a private folder inside it; fail early if the folder is not writable."""
        for _ in range(100):
            try:
                self._make_folder()
                clear_leftovers(self.folder)
                self._make_temporary()
            except FileNotFoundError:
                # Another run has removed the folder that it had created, or the lock file before this run locked it.
                continue
            return
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.folder))

    def __truediv__(self, name: str) -> Path:
        """Add the file `name` to the set, and return the temporary path to write it to."""
        assert self._temporary is not None
        self.paths.append(self.folder / name)
        return self._temporary / _NEW / name

    def put_in_place(self, before_moving: Callable[[list[tuple[Path, Path]]], None] | None = None) -> None:
        """Move all files to the folder; if one cannot be moved, undo the moves.

        Parameters
        ----------
        before_moving : callable, optional
            Function that is called while the folder is locked, with each file and its destination. If it raises an
            exception, nothing is moved.

        Raises
        ------
        OSError, ValueError
            If a path in the folder is taken by something other than a writable file, or a file cannot be moved.
        """
        assert self._temporary is not None
        with _locked_folder(self.folder):
            # If a run was killed in the middle of this step, complete its moves before its files are replaced.
            clear_leftovers(self.folder)
            moves = []
            for path in self.paths:
                new = self._temporary / _NEW / path.name
                target = destination(path)
                if target.parent.stat().st_dev != self._temporary.stat().st_dev:
                    raise OSError(
                        errno.EXDEV,
                        f"it is a symbolic link to another file system, {target}",
                        str(path),
                    )
                _inherit(new, target)
                moves.append((new, target, self._temporary / _OLD / path.name))
            if before_moving is not None:
                before_moving([(new, target) for new, target, _ in moves])
            plan = [[new.name, _identity(target)] for new, target, _ in moves]
            with named_if_full(self.folder):
                (self._temporary / _DRAFT).write_text(json.dumps(plan))
            os.replace(self._temporary / _DRAFT, self._temporary / _PLAN)
            self._move(moves)
            self.in_place = True
            (self._temporary / _PLAN).unlink()

    def _move(self, moves: list[tuple[Path, Path, Path]]) -> None:
        assert self._temporary is not None
        begun: list[tuple[Path, Path, Path, bool]] = []
        try:
            for new, target, old in moves:
                begun.append((new, target, old, _back_up(target, old)))
                os.replace(new, target)
        except BaseException:
            (self._temporary / _PLAN).unlink()
            for new, target, old, existed in reversed(begun):
                if not new.exists():
                    self._move_back(target, old, existed=existed)
            raise

    def _move_back(self, target: Path, old: Path, *, existed: bool) -> None:
        try:
            if existed:
                os.replace(old, target)
            else:
                target.unlink(missing_ok=True)
        except OSError as error:
            # Keep the private folder, since it holds the only copy of an earlier file.
            self._keep = True
            raise OSError(
                error.errno, f"{error.strerror}; the earlier files are in {old.parent}", str(target)
            ) from error

    def close(self) -> None:
        """Remove the private folder, and the folder itself if this run created it and it is empty."""
        if self._temporary is not None and not self._keep:
            _remove(self._temporary)
            self._temporary = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        for folder in reversed(self._made):
            # The folder is not empty if it holds the results or other files.
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _make_folder(self) -> None:
        missing = []
        folder = self.folder
        while not folder.exists() and folder != folder.parent:
            missing.append(folder)
            folder = folder.parent
        for folder in reversed(missing):
            try:
                folder.mkdir()
            except FileExistsError:
                # Another run has just created it; if it is not a folder, the next step fails.
                continue
            self._made.append(folder)

    def _make_temporary(self) -> None:
        temporary = self.folder / f".isoxide-{secrets.token_hex(8)}"
        try:
            temporary.mkdir(0o700)
        except OSError as error:
            # The message names the user's folder instead of the temporary one.
            raise OSError(error.errno, error.strerror, str(self.folder)) from None
        # From now on, `close` removes it.
        self._temporary = temporary
        self._lock = os.open(temporary / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        if not _hold(self._lock, temporary / _LOCK):
            os.close(self._lock)
            self._lock = self._temporary = None
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(temporary))
        for name in (_NEW, _OLD):
            (temporary / name).mkdir()


def _check_is_file(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path} is not a regular file, but a pipe, a socket or a device")


def _inherit(new: Path, target: Path) -> None:
    """Give a new file the mode and the owner of the file that it is going to replace."""
    try:
        status = target.stat()
    except FileNotFoundError:
        return
    current = new.stat()
    if (current.st_uid, current.st_gid) != (status.st_uid, status.st_gid) and hasattr(os, "chown"):
        for owner in (status.st_uid, -1):
            with contextlib.suppress(PermissionError):
                os.chown(new, owner, status.st_gid)
                break
    new.chmod(stat.S_IMODE(status.st_mode) & 0o777)


@contextmanager
def _temporary_file(folder: Path, mode: int) -> Iterator[Path]:
    """Create an empty locked file, and remove it at the end if it still exists."""
    while True:
        # The name is random, so that no other thread or process uses it. It is short, since the target's name with a
        # suffix might be too long.
        path = folder / f".isoxide-{secrets.token_hex(8)}.part"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(folder)) from None
        if _hold(descriptor, path):
            break
        os.close(descriptor)
    if fcntl is None:
        # Windows cannot rename an open file.
        os.close(descriptor)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
        if fcntl is not None:
            os.close(descriptor)


def _hold(descriptor: int, path: Path) -> bool:
    """Lock a new file; return False if another run removed it as a leftover before it was locked."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # This file system has no locks, so no run clears leftovers on it.
        return True
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _locked_folder(folder: Path) -> Iterator[None]:
    """Lock a folder, so that no other run moves files to it at the same time, if the file system has locks."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        lock(descriptor, folder, "another run is moving its files there; retry")
        yield
    finally:
        os.close(descriptor)


def _back_up(target: Path, old: Path) -> bool:
    """Keep a copy of the file that is going to be replaced, and return whether it exists."""
    if not target.exists():
        return False
    try:
        os.link(target, old)
    except OSError:
        # Some file systems have no hard links, and some systems forbid hard links to files of other users.
        shutil.copy2(target, old)
    return True


def _identity(path: Path) -> list[int] | None:
    """Return values that change if a file is replaced or changed, or None if it does not exist."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_ino, status.st_size, status.st_mtime_ns]


def _clear(path: Path) -> None:
    """Remove one temporary file or folder, unless it is locked or belongs to another user."""
    status = path.lstat()
    is_folder = stat.S_ISDIR(status.st_mode)
    if status.st_uid != os.geteuid() or not (is_folder or stat.S_ISREG(status.st_mode)):
        return
    try:
        descriptor = os.open(path / _LOCK if is_folder else path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        if is_folder:
            # Its run ended before it created the lock. Any other folder is not empty, so it stays.
            path.rmdir()
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_folder:
            _finish(path)
            _remove(path)
        else:
            path.unlink()
    finally:
        os.close(descriptor)


def _finish(temporary: Path) -> None:
    """Move the remaining files of a run that was killed while it moved them."""
    try:
        plan = loads(read_file(temporary / _PLAN))
        moves = [(Path(str(name)).name, identity) for name, identity in plan]
    except (FileNotFoundError, ValueError, TypeError, RecursionError):
        # The run had not begun to move its files.
        return
    for name, identity in moves:
        new = temporary / _NEW / name
        with contextlib.suppress(OSError, ValueError):
            target = destination(temporary.parent / name)
            if new.is_file() and _identity(target) == identity:
                os.replace(new, target)


def _remove(temporary: Path) -> None:
    """Remove the private folder of a run, its lock last, so that another run can continue if this one is killed."""
    for name in (_DRAFT, _PLAN):
        with contextlib.suppress(OSError):
            (temporary / name).unlink()
    for name in (_NEW, _OLD):
        shutil.rmtree(temporary / name, ignore_errors=True)
    with contextlib.suppress(OSError):
        (temporary / _LOCK).unlink()
        temporary.rmdir()
