"""Log of runs: a line of JSON for each run, chained by hashes, so that a changed or missing line is noticed.

```text
{"format": "isoxide-run", "version": 1, "time": ..., "command": ..., ..., "outputs": [{"path", "bytes", "sha256"}, ...],
 "previous": SHA-256 of the line before, or null, "sha256": SHA-256 of this line without this entry}
```

A line is added under a lock. The line of a run that writes files is added immediately before they are moved to their
folder, and removed again if they cannot be moved. So neither a full disk nor two runs at once leave files without a
line, or a line without files.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

from isoxide._common.appending import append_bytes, locked_file
from isoxide._common.files import read_file
from isoxide._common.json import loads

__all__ = ["LOG_NAME", "Entry", "Verified", "file_facts", "locked_log", "read_log", "verify_log"]

#: Name of the log.
LOG_NAME = "runs.jsonl"
FORMAT, VERSION = "isoxide-run", 1
_START = f'{{"format": "{FORMAT}",'.encode()
_END = re.compile(rb', "sha256": "([0-9a-f]{64})"\}\Z')
#: Number of bytes that are hashed at once.
_BLOCK = 2**20
#: Largest number of characters of a path that cannot be read.
MAX_NAME = 200


class Entry:
    """Line that a run adds to a locked log.

    Parameters
    ----------
    file : file
        Log, from `locked_file`.
    path : Path
        Path of the log.
    """

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file, self._path = file, path

    def add(self, facts: dict[str, Any]) -> None:
        """Add the line with the given facts.

        Raises
        ------
        OSError
            If the line cannot be written; then the log is unchanged.
        """
        self._file.seek(0)
        data = self._file.read()
        is_complete = data.endswith(b"\n") or not data
        last = data.rstrip(b"\n").rpartition(b"\n")[2]
        previous = hashlib.sha256(last).hexdigest() if data else None
        line = _line({"format": FORMAT, "version": VERSION, **facts, "previous": previous})
        append_bytes(self._file, (b"" if is_complete else b"\n") + line + b"\n", str(self._path))


def _line(document: dict[str, Any]) -> bytes:
    body = json.dumps(document, ensure_ascii=True, allow_nan=False).encode()
    return body[:-1] + f', "sha256": "{hashlib.sha256(body).hexdigest()}"}}'.encode()


@contextmanager
def locked_log(path: Path) -> Iterator[Entry]:
    """Lock a log, and yield the line to add; the line is removed again if an exception leaves the context.

    Raises
    ------
    ValueError
        If the file is something else.
    OSError
        If the log cannot be written.
    """
    with locked_file(path) as file:
        start = file.read(len(_START))
        if start and start != _START:
            raise ValueError(f"{path} is not a log of isoxide; choose another file with --log")
        size = os.fstat(file.fileno()).st_size
        try:
            yield Entry(file, path)
        except BaseException:
            os.ftruncate(file.fileno(), size)
            raise


def file_facts(path: Path, name: Path, log: Path, *, appended: bool = False) -> dict[str, Any]:
    """Return the entry of a file in a line.

    Parameters
    ----------
    path : Path
        File to read.
    name : Path
        Path that the file has, or will have when it is moved. It is stored relative to the folder of the log if it is
        inside.
    log : Path
        Path of the log.
    appended : bool, default=False
        Whether bytes may be added to the file later, so that only its present bytes are verified.
    """
    n_bytes, digest = _digest(path, None)
    folder, own = os.path.abspath(log.parent), os.path.abspath(name)
    with suppress(ValueError):
        if os.path.commonpath([folder, own]) == folder:
            own = os.path.relpath(own, folder).replace(os.sep, "/")
    return {"path": own, "bytes": n_bytes, "sha256": digest, **({"appended": True} if appended else {})}


def _digest(path: Path, limit: int | None) -> tuple[int, str]:
    """Return the number of bytes of a file, or of its beginning, and their SHA-256."""
    digest, n_bytes = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK if limit is None else min(_BLOCK, limit - n_bytes)):
            digest.update(block)
            n_bytes += len(block)
    return n_bytes, digest.hexdigest()


def read_log(path: Path) -> list[bytes]:
    """Return the lines of a log.

    Raises
    ------
    FileNotFoundError
        If the log does not exist.
    ValueError
        If the file is something else.
    """
    data = read_file(path)
    if data and not data.startswith(b"{"):
        raise ValueError(f"{path} is not a log of isoxide; give the {LOG_NAME} of a run")
    return data.split(b"\n")


class Verified(NamedTuple):
    """Result of the verification of a log."""

    #: Number of lines, and SHA-256 of the last one.
    n_lines: int
    last: str | None
    #: Sentences about lines and files that were changed or are missing.
    problems: list[str]
    #: Number of verified files, and paths of files that do not exist any more.
    n_files: int
    missing: list[str]


def verify_log(path: Path, expected: str | None = None) -> Verified:
    """Verify the chain of a log, and the files that its runs wrote.

    Parameters
    ----------
    path : Path
        The log.
    expected : str, optional
        SHA-256 of a line that the log must have, or at least its first digits, which shows that no lines are missing
        at the end.
    """
    path.stat()
    with ExitStack() as stack:
        # A run that is just moving its files would look like a changed one. A log that nobody may write needs no lock.
        with suppress(OSError):
            stack.enter_context(locked_file(path))
        return _verified(path, expected)


def _verified(path: Path, expected: str | None) -> Verified:
    lines = read_log(path)
    problems: list[str] = []
    if lines.pop():
        problems.append(f"line {len(lines) + 1} is not complete")
    digests = [hashlib.sha256(line).hexdigest() for line in lines]
    documents = [_checked(line) for line in lines]
    for number, document in enumerate(documents):
        if document is None:
            problems.append(f"line {number + 1} was changed")
            continue
        before = digests[number - 1] if number else None
        if document.get("previous") == before:
            continue
        if number and documents[number - 1] is None:
            # The changed line before is the reason.
            continue
        if document.get("previous") in digests:
            follows = digests.index(document["previous"]) + 1
            problems.append(f"line {number + 1} follows line {follows}, so lines were moved or are missing")
        else:
            problems.append(f"a line before line {number + 1} is missing")
    if expected is not None and not any(digest.startswith(expected.lower()) for digest in digests):
        problems.append(f"no line has the hash {expected}, so lines at the end are missing, or were changed")
    # A later run may replace a file.
    outputs: dict[str, tuple[int, dict[str, Any]]] = {}
    for number, document in enumerate(documents):
        for output in (document or {}).get("outputs", []):
            outputs[output["path"]] = number + 1, output
    missing = []
    for name, (number, output) in outputs.items():
        file = path.parent / name
        try:
            if not file.is_file():
                missing.append(name)
                continue
            facts = _digest(file, output["bytes"] if output.get("appended") else None)
        except OSError as error:
            problems.append(f"the file {name[:MAX_NAME]} of line {number} cannot be read: {error.strerror}")
            continue
        if facts != (output["bytes"], output["sha256"]):
            problems.append(f"the file {name} was changed after the run of line {number}")
    return Verified(len(lines), digests[-1] if digests else None, problems, len(outputs) - len(missing), missing)


def _checked(line: bytes) -> dict[str, Any] | None:
    """Return the document of a line, or None if the line does not fit its own hash."""
    end = _END.search(line)
    if end is None or not line.startswith(_START):
        return None
    if hashlib.sha256(line[: end.start()] + b"}").hexdigest().encode() != end[1]:
        return None
    try:
        document = loads(line)
        outputs = document.get("outputs", [])
        is_valid = all(
            isinstance(own["path"], str)
            and isinstance(own["bytes"], int)
            and own["bytes"] >= 0
            and isinstance(own["sha256"], str)
            for own in outputs
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return document if is_valid else None
