"""Tables of a data lake, Delta and Iceberg: recognise their folders, and pin a table to one version.

The folder of such a table holds Parquet files, but a log or metadata says which of them are rows of the table. Files of
removed and of rewritten rows stay in the folder, so it must never be read as a folder of files.

    refuse_lakes(listed)    a folder with such tables below it, or inside one, is refused with the folder to give
    find_lake(location)     the table that a folder or a file is part of
    LakeSource              what both formats share: a version, files in the order of their paths, and messages
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from isoxide._common.stores import Location, error_line, store_error, told
from isoxide._frames.source import Source

__all__ = ["ICEBERG_METADATA", "METADATA_SUFFIX", "LakeSource", "find_lake", "plain_url", "refuse_lakes"]

#: Folder in the folder of a Delta table, and of one of Hudi, that says which files belong to it.
_DELTA_LOG, _HUDI = "_delta_log", ".hoodie"
#: Folder in the folder of an Iceberg table, and the end of the names of the files in it that describe its versions.
ICEBERG_METADATA, METADATA_SUFFIX = "metadata", ".metadata.json"


def find_lake(location: Path | Location, known: dict[Any, Any] | None = None) -> tuple[str, Any] | None:
    """Return the format and the folder of the table that a location is, or that it is part of.

    Parameters
    ----------
    location : Path or Location
        File or folder.
    known : dict, optional
        Results for the folders of other files, which are used and added to.

    Returns
    -------
    format : str
        ``"Delta"``, ``"Iceberg"`` or ``"Hudi"``. Instead of both there is None if the location is no part of a table.
    folder : Path or Location
        Folder of the table, which is `location` itself or one of its parents.
    """
    if isinstance(location, Location):
        return _find_remote(location)
    own = _format_of(location)
    if own is not None:
        return own, location
    parent = location.absolute().parent
    known = {} if known is None else known
    if parent not in known:
        folders = [parent, *parent.parents]
        known[parent] = next(((own, folder) for folder in folders if (own := _format_of(folder)) is not None), None)
    result: tuple[str, Any] | None = known[parent]
    return result


def _format_of(folder: Path) -> str | None:
    if (folder / _DELTA_LOG).is_dir():
        return "Delta"
    if (folder / _HUDI).is_dir():
        return "Hudi"
    metadata = folder / ICEBERG_METADATA
    return "Iceberg" if metadata.is_dir() and any(metadata.glob(f"*{METADATA_SUFFIX}")) else None


def _find_remote(location: Location) -> tuple[str, Any] | None:
    if (own := _first_remote([location])) is not None:
        return own
    # The first part of a path in an object store is the bucket.
    parts = PurePosixPath(location.path).parts
    parents = [_up(location, len(parts) - n) for n in range(len(parts) - 1, 0, -1)]
    # Access may be granted to the folder only.
    with suppress(OSError):
        return _first_remote(parents)
    return None


def _first_remote(folders: list[Location]) -> tuple[str, Any] | None:
    """Return the format and the first of some folders in a store that is a table; one call asks for all of them."""
    marks = [
        (format_name, folder, folder / mark)
        for folder in folders
        for format_name, mark in (("Delta", _DELTA_LOG), ("Hudi", _HUDI), ("Iceberg", ICEBERG_METADATA))
    ]
    if not marks:
        return None
    with told(folders[0].name, "read"):
        infos = folders[0].filesystem.get_file_info([mark.path for _, _, mark in marks])
    for (format_name, folder, mark), info in zip(marks, infos, strict=True):
        if info.type.name != "Directory":
            continue
        if format_name != "Iceberg" or any(file.path.endswith(METADATA_SUFFIX) for file in mark.files()):
            return format_name, folder
    return None


def _up(location: Location, n_levels: int) -> Location:
    """Return the folder some levels above a location."""
    path = str(PurePosixPath(*PurePosixPath(location.path).parts[:-n_levels]))
    return replace(location, name=location.name.rstrip("/").rsplit("/", n_levels)[0], path=path)


def refuse_lakes(folder: Any, listed: Iterable[tuple[str, ...]]) -> None:
    """Refuse to read a folder of files that has tables of a lake below it.

    Parameters
    ----------
    folder : Path or Location
        Folder that was listed.
    listed : iterable of tuple of str
        Parts of the path of each file below the folder, hidden ones included.

    Raises
    ------
    ValueError
        If a file is part of the log or metadata of such a table.
    """
    for parts in listed:
        format_name = None
        for depth, part in enumerate(parts[:-1]):
            if part == _DELTA_LOG:
                format_name = "a Delta"
            elif part == _HUDI:
                format_name = "a Hudi"
            elif part == ICEBERG_METADATA and depth == len(parts) - 2 and parts[-1].endswith(METADATA_SUFFIX):
                format_name = "an Iceberg"
            if format_name is not None:
                inner = "/".join([str(folder).rstrip("/"), *parts[:depth]])
                raise ValueError(
                    f"the folder {folder} has {format_name} table in {inner}, whose files may hold rows that it "
                    "removed; give the folder of one table"
                )


def plain_url(location: Path | Location, package: str) -> str:
    """Return the path or URL by which a library opens a table, and refuse a location that a URL alone does not name.

    Raises
    ------
    ValueError
        If the location is in a file system that was given, or its URL has credentials or options.
    """
    if isinstance(location, Path):
        return str(location.absolute())
    if location.is_named_by_url:
        return location.name
    opener = "deltalake.DeltaTable(url, storage_options=...)" if package == "deltalake" else "its pyiceberg catalog"
    raise ValueError(
        f"{location} is a table of a lake, which {package} opens without filesystem= and the options of the URL; open "
        f"it with {opener}, and give the table"
    )


class LakeSource(Source):
    """Table of a lake, pinned to one version for all passes.

    Subclasses set `table_name`, such as ``"the Delta table /lake/days"``, `version`, such as ``"version 3"``, and
    `identity`, JSON values that tell tables apart but not the versions of one.
    """

    has_declared_types = True
    table_name: str
    version: str
    identity: dict[str, Any]

    def _describe(self, time: str | None = None) -> None:
        """Set the name, notes and reasons."""
        self.name = f"{self.table_name} ({self.version})"
        self.reasons = {}
        self.notes = [
            f"the rows are those of {self.version} of {self.table_name}" + (f", committed at {time}" if time else "")
        ]

    def fingerprint(self) -> Any:
        """Return what identifies the table, and its version."""
        return {**self.identity, "version": self.version}

    def other_version(self, fingerprint: Any) -> str | None:
        """Return the version that the fingerprint of this table has, if it is another one."""
        if not isinstance(fingerprint, dict) or not isinstance(version := fingerprint.get("version"), str):
            return None
        is_same_table = {**fingerprint, "version": self.version} == self.fingerprint()
        return version if is_same_table and version != self.version else None

    def checksum(self) -> str | None:
        """Return the SHA-256 of the table's identity and version, and of the paths of its files, which never change."""
        text = json.dumps([self.fingerprint(), self._paths()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @abstractmethod
    def _paths(self) -> list[str]:
        """Return the paths of the data files, in the order in which they are read."""

    def _failed(self, error: Exception) -> Exception:
        """Return an error of one line for an error of a library that reads a table."""
        if isinstance(error, MemoryError):
            return error
        if isinstance(error, FileNotFoundError):
            return FileNotFoundError(
                f"{self.name} has lost a file, which clean-up such as VACUUM or the expiry of snapshots removes: "
                f"{error_line(error)}; open the newest version, or clean up with a longer retention"
            )
        told = store_error(self.name, error, "read") if isinstance(error, OSError) else None
        return told or ValueError(f"{self.name} cannot be read: {error_line(error)}")
