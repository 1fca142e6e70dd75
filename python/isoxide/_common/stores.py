"""Read and write files in object stores and other remote file systems.

A `Location` is a file or folder in one of pyarrow's file systems; those of fsspec are wrapped by pyarrow's handler.
`located` makes one of a URL, or of a path in a file system that the caller gives, and leaves local paths alone. Nothing
here speaks a store's protocol.

A file is complete or absent: it is written to a temporary local file, and sent when it is complete. Object stores show
an object only once all of it has arrived. In file systems such as HDFS it is sent under a temporary name and renamed.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

__all__ = [
    "SCHEMES",
    "Location",
    "error_line",
    "located",
    "on_this_machine",
    "refuse_lost_slash",
    "replace_remote",
    "store_error",
    "told",
    "without_secrets",
]

#: Schemes of the URLs that are opened, all others are refused.
SCHEMES = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs", "file", "memory")
#: Schemes that pyarrow's own file systems open; fsspec opens the others, if it is installed.
_OF_ARROW = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
#: A URL that was made a path, which merges its slashes. The names of drives on Windows have a single letter.
_PATH_OF_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/(?!/)")
#: File systems in which an incomplete file can be seen while it is written, but files can be renamed.
_RENAMING = {"hdfs", "arrow_hdfs", "webhdfs", "sftp", "ssh", "smb", "ftp", "local", "file"}
#: Parts of messages by which stores refuse access, or say that there is no bucket.
_DENIED = re.compile(r"ACCESS_DENIED|AccessDenied|Access ?Denied|Forbidden|Permission|\b40[13]\b|[Cc]redentials")
_NO_BUCKET = re.compile(r"NO_SUCH_BUCKET|NoSuchBucket|[Bb]ucket does not exist|ContainerNotFound")
#: Parts of messages about the connection to a store, not about the contents of a file.
_CONNECTION = re.compile(
    r"AWS Error|Generic \w+ error|curl|HTTP|[Cc]onnect|[Tt]ime(d )?out|[Ss]ocket|RetriesExhausted|googleapis|[Aa]zure"
)
#: Codes for colours, which some libraries write into messages, and the largest number of characters of a message.
_COLOUR, _MAX_LINE = re.compile(r"\x1b\[[0-9;]*m"), 500


class _ToldError(OSError):
    """Error of a store that is told in one line already, and is passed on as it is."""


class NotFoundError(_ToldError, FileNotFoundError):
    """There is no such file, bucket or container."""


class DeniedError(_ToldError, PermissionError):
    """The store denies access to a file."""


class BrokenConnectionError(_ToldError, ConnectionError):
    """The store does not answer, or the connection ended."""


@dataclass(frozen=True, eq=False)
class Location:
    """File or folder in a remote file system.

    Parameters
    ----------
    name : str
        Name in messages: the URL without credentials and options.
    filesystem : pyarrow.fs.FileSystem
        File system, which may wrap one of fsspec.
    path : str
        Path in the file system.
    is_named_by_url : bool
        Whether the name is a URL that opens the file without credentials and options.
    """

    name: str
    filesystem: Any = field(repr=False)
    path: str = field(repr=False)
    is_named_by_url: bool = field(default=False, repr=False)

    def __str__(self) -> str:
        return self.name

    def __truediv__(self, name: str) -> Location:
        # The root of pyarrow's object stores has no name, and that of others is a slash.
        path = f"{self.path.rstrip('/')}/{name}" if self.path else name
        return Location(f"{self.name.rstrip('/')}/{name}", self.filesystem, path, self.is_named_by_url)

    @property
    def suffixes(self) -> list[str]:
        """Return the suffixes of the name, such as ``[".csv", ".gz"]``."""
        return PurePosixPath(self.path).suffixes

    @property
    def suffix(self) -> str:
        """Return the last suffix of the name, or an empty text."""
        return PurePosixPath(self.path).suffix

    def info(self) -> Any:
        """Return pyarrow's facts about the file: its type, size and modification time.

        Raises
        ------
        PermissionError, FileNotFoundError, ConnectionError
            If the store denies access, has no such bucket, or does not answer.
        """
        with told(self.name, "read"):
            return self.filesystem.get_file_info(self.path)

    def exists(self) -> bool:
        """Return whether there is a file or a folder."""
        return bool(self.info().type.name != "NotFound")

    def is_dir(self) -> bool:
        """Return whether there is a folder; in an object store, whether objects have names below this one."""
        return bool(self.info().type.name == "Directory")

    def files(self) -> list[Location]:
        """Return the files in a folder and its subfolders, sorted by name; an empty list if there is no folder."""
        import pyarrow.fs

        with told(self.name, "listed"):
            selector = pyarrow.fs.FileSelector(self.path, recursive=True, allow_not_found=True)
            infos = self.filesystem.get_file_info(selector)
        below = [info.path.removeprefix(self.path.rstrip("/") + "/") for info in infos if info.type.name == "File"]
        return [self / name for name in sorted(below, key=lambda name: name.split("/"))]

    def parts_below(self, root: Location) -> tuple[str, ...]:
        """Return the names of the folders between a root and this file, and the name of the file."""
        return tuple(self.path.removeprefix(root.path.rstrip("/")).strip("/").split("/"))

    def open(self) -> Any:
        """Open the file for reading, as a pyarrow file."""
        with told(self.name, "read"):
            return self.filesystem.open_input_file(self.path)

    def read(self) -> bytes:
        """Return the content of the file."""
        with told(self.name, "read"), self.filesystem.open_input_file(self.path) as file:
            return file.read()  # type: ignore[no-any-return]

    def put(self, file: Path) -> None:
        """Send a complete local file, which replaces an existing one."""
        with told(self.name, "written"):
            if not self._is_renaming:
                _send(file, self.filesystem, self.path)
                return
            parent = str(PurePosixPath(self.path).parent)
            self.filesystem.create_dir(parent, recursive=True)
            temporary = f"{parent}/.isoxide-{secrets.token_hex(8)}.part"
            try:
                _send(file, self.filesystem, temporary)
                self.filesystem.move(temporary, self.path)
            except BaseException:
                with suppress(Exception):
                    self.filesystem.delete_file(temporary)
                raise

    @property
    def _is_renaming(self) -> bool:
        filesystem = self.filesystem
        while hasattr(filesystem, "base_fs"):
            # It is a folder of another file system.
            filesystem = filesystem.base_fs
        return filesystem.type_name in _RENAMING or bool(_RENAMING & _protocols(filesystem))


def located(path: Any, filesystem: Any = None) -> Path | Location:
    """Return the location of a URL, or of a path in a file system; any other path is local.

    Parameters
    ----------
    path : str, os.PathLike or Location
        URL such as ``s3://bucket/folder``, a path of `filesystem`, or a local path.
    filesystem : pyarrow.fs.FileSystem or fsspec.AbstractFileSystem, optional
        File system of the path. By default a URL names it.

    Raises
    ------
    ImportError
        If the file system needs a package that is not installed.
    TypeError
        If `filesystem` is not a file system.
    ValueError
        If the URL has another scheme, or was made a path.
    """
    if isinstance(path, Location):
        return path
    text = os.fspath(path)
    if isinstance(text, bytes):
        text = os.fsdecode(text)
    match = _URL.match(text)
    if filesystem is not None:
        return _in_filesystem(text, _as_arrow(filesystem))
    if match is None:
        if isinstance(path, os.PathLike) and _PATH_OF_URL.match(text):
            raise ValueError(f"{text} was a URL before it became a path, which merges slashes; give the URL as text")
        refuse_lost_slash(text)
        return Path(text)
    scheme = match[1].lower()
    if scheme == "file":
        parts = urlsplit(text)
        if parts.netloc not in ("", "localhost"):
            raise ValueError(f"{text} names another computer, {parts.netloc}; give the path of a file of this one")
        return Path(url2pathname(parts.path))
    if scheme not in SCHEMES:
        raise ValueError(
            f"{without_secrets(text)} is a URL with the scheme {scheme!r}, which is not opened; download the "
            f"file first, give a URL with one of the schemes {', '.join(SCHEMES)}, or in Python the argument filesystem"
        )
    return _of_url(text, scheme)


def refuse_lost_slash(text: str) -> None:
    """Refuse a text such as ``s3:/bucket/x``, which would name a local folder ``s3:``.

    Raises
    ------
    ValueError
        If the text begins with a known scheme and a single slash.
    """
    if _PATH_OF_URL.match(text) and text.partition(":")[0].lower() in SCHEMES:
        scheme, _, path = text.partition(":/")
        raise ValueError(
            f"{text} is neither a URL nor likely a local path; write {scheme}://{path} for a URL, or ./{text} for a "
            "local path"
        )


def on_this_machine(path: Any, reason: str) -> Path:
    """Return a local path, and refuse the URL of a store without opening it.

    Parameters
    ----------
    path : str or os.PathLike
        Local path, or a URL with the scheme ``file``.
    reason : str
        Reason why it must be local, as the end of a message.

    Raises
    ------
    ValueError
        If the path is a URL, or was one.
    """
    text = os.fspath(path)
    match = _URL.match(text) if isinstance(text, str) else None
    if match is not None and match[1].lower() != "file":
        raise ValueError(f"{without_secrets(text)} is a URL, but {reason}")
    location = located(path)
    assert isinstance(location, Path)
    return location


def _of_url(url: str, scheme: str) -> Location:
    # Libraries know schemes in lower case only.
    url = scheme + url[len(scheme) :]
    name = without_secrets(url)
    pyarrow_fs = _pyarrow_fs(name)
    with told(name, "opened"):
        if scheme in _OF_ARROW:
            try:
                filesystem, path = pyarrow_fs.FileSystem.from_uri(url)
            except NotImplementedError:
                # This build of pyarrow lacks the store.
                pass
            except ValueError:
                # pyarrow's message would show the URL with its credentials.
                raise ValueError(
                    f"{name} is not a URL that pyarrow understands; check its form and the options after '?'"
                ) from None
            else:
                return Location(name, filesystem, path, name == url)
        try:
            import fsspec
        except ImportError:
            raise ImportError(f"{name} needs fsspec: pip install 'isoxide[stores]'", name="fsspec") from None
        wrapped, path = fsspec.core.url_to_fs(url)
        return Location(name, _as_arrow(wrapped), path, name == url)


def _in_filesystem(path: str, filesystem: Any) -> Path | Location:
    wrapped = _of_fsspec(filesystem)
    is_local = filesystem.type_name == "local" or bool({"file", "local"} & _protocols(filesystem))
    inner = _URL.sub("", path, count=1) if wrapped is None else wrapped._strip_protocol(path)
    if is_local:
        return Path(inner)
    return Location(without_secrets(path), filesystem, inner)


def _as_arrow(filesystem: Any) -> Any:
    """Return a file system as one of pyarrow."""
    pyarrow_fs = _pyarrow_fs("filesystem")
    if isinstance(filesystem, pyarrow_fs.FileSystem):
        return filesystem
    spec = getattr(sys.modules.get("fsspec"), "AbstractFileSystem", None)
    if spec is None or not isinstance(filesystem, spec):
        raise TypeError(
            f"filesystem must be a pyarrow.fs.FileSystem or a file system of fsspec, not {type(filesystem).__name__}"
        )
    return pyarrow_fs.PyFileSystem(pyarrow_fs.FSSpecHandler(filesystem))


def _of_fsspec(filesystem: Any) -> Any:
    """Return the file system of fsspec that one of pyarrow wraps, or None."""
    return getattr(getattr(filesystem, "handler", None), "fs", None)


def _protocols(filesystem: Any) -> set[str]:
    """Return the names of a file system of fsspec that one of pyarrow wraps; none for pyarrow's own."""
    protocols = getattr(_of_fsspec(filesystem), "protocol", ())
    return {protocols} if isinstance(protocols, str) else {*protocols}


def _pyarrow_fs(name: str) -> Any:
    try:
        import pyarrow.fs
    except ImportError:
        raise ImportError(f"{name} needs pyarrow: pip install 'isoxide[stream]'", name="pyarrow") from None
    return pyarrow.fs


def without_secrets(url: str) -> str:
    """Return a URL without credentials and options, which no message or file may hold."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    rest = rest.split("?", 1)[0].split("#", 1)[0]
    host, slash, path = rest.partition("/")
    # For Azure the part before @ is the container, and not a secret.
    host = host if scheme.lower().startswith("abfs") and ":" not in host else host.rpartition("@")[2]
    return f"{scheme}://{host}{slash}{path}"


def _send(file: Path, filesystem: Any, path: str) -> None:
    """Copy a local file to a remote one, on a thread of its own.

    A signal raises its exception in the main thread only. If it ended an upload half way, closing the stream would
    make a part of the file look complete. So the exception is raised when the upload has ended.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="isoxide-upload") as pool:
        pool.submit(_copy, file, filesystem, path).result()


def _copy(file: Path, filesystem: Any, path: str) -> None:
    import pyarrow as pa

    wrapped = _of_fsspec(filesystem)
    if wrapped is not None:
        wrapped.put_file(str(file), path)
        return
    # `pyarrow.fs.copy_files` ignores an error of the last part.
    stream = filesystem.open_output_stream(path)
    if file.stat().st_size:
        with pa.memory_map(str(file)) as source:
            stream.write(source.read_buffer())
    stream.close()


def replace_remote(location: Location, write: Callable[[Path], Any]) -> None:
    """Write a temporary local file, and send it when it is complete."""
    with tempfile.TemporaryDirectory(prefix="isoxide-") as folder:
        temporary = Path(folder) / (PurePosixPath(location.path).name or "file")
        temporary.touch()
        write(temporary)
        location.put(temporary)


def error_line(error: BaseException) -> str:
    """Return the first line of a library's error, with the lines below it if these only give the causes."""
    lines = [_COLOUR.sub("", line).strip() for line in str(error).strip().splitlines()]
    if not lines:
        return type(error).__name__
    n_causes = next((n for n, line in enumerate(lines[1:]) if not line.startswith("↳")), len(lines) - 1)
    causes = (cause.lstrip("↳ ") for cause in lines[1 : 1 + n_causes])
    line = ": ".join(text.rstrip(":") for text in (lines[0], *causes))
    return line if len(line) <= _MAX_LINE else f"{line[:_MAX_LINE]}..."


def store_error(name: str, error: BaseException, done: str) -> Exception | None:
    """Return an error in one line for the error of a store, or None if it is not about the store but the contents.

    Parameters
    ----------
    name : str
        Name of the file in the message.
    error : BaseException
        Error of the store's library.
    done : str
        Participle of what failed, such as "read".
    """
    text = error_line(error)
    if isinstance(error, _ToldError):
        return type(error)(text)
    if _NO_BUCKET.search(text):
        return NotFoundError(f"{name} cannot be {done}: the store has no such bucket or container")
    if isinstance(error, FileNotFoundError):
        return NotFoundError(f"there is no file {name}")
    if isinstance(error, PermissionError) or _DENIED.search(text):
        return DeniedError(
            f"{name} cannot be {done}: the store denies access ({text}); check the credentials and permissions"
        )
    if isinstance(error, (ConnectionError, TimeoutError)) or _CONNECTION.search(text):
        return BrokenConnectionError(
            f"{name} cannot be {done}: {text}; check the address and the connection, then retry"
        )
    return None


@contextmanager
def told(name: str, done: str) -> Iterator[None]:
    """Raise errors of a store with one line that names the file."""
    try:
        yield
    except (ImportError, MemoryError, TypeError, ValueError):
        # pyarrow raises a ValueError about arguments; other errors are about the store.
        raise
    except Exception as error:
        # Stores raise exceptions of many classes.
        raise store_error(name, error, done) or OSError(f"{name} cannot be {done}: {error_line(error)}") from error
