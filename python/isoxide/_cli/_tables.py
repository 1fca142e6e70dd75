"""Open the tables that a command reads, and recognise the columns with the entity and the time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from isoxide._cli._messages import tell
from isoxide._cli._options import ENTITY_NAMES, TIME_NAMES

__all__ = ["Tables"]

#: Largest number of columns that a message lists.
MAX_LISTED_COLUMNS = 12
#: Options for reading files; all other reading options describe times.
_FILE_OPTIONS = ("sep", "decimal", "thousands", "missing", "encoding", "upcast")


class Tables:
    """Tables of a command, opened once; the content of standard input and pipes is kept for further passes.

    Parameters
    ----------
    names : list of str
        Files and folders; ``-`` is standard input.
    reading : dict
        Reading options that the user gave, by argument name.

    Attributes
    ----------
    inputs : list
        Open files and tables of lakes, and paths of folders.
    """

    def __init__(self, names: list[str], reading: dict[str, Any]) -> None:
        from isoxide._frames.opening import reopenable

        if "-" in names and sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty():
            tell("isoxide: the table is read from this terminal; end it with Ctrl-D")
        known: dict[Any, Any] = {}
        opened = [reopenable(name, is_alone=len(names) == 1, known=known) for name in names]
        self.inputs: list[Any] = [str(item) if isinstance(item, Path) else item for item in opened]
        self.reading = reading

    @property
    def source(self) -> Any:
        """Return the source to read: a single input, or the list of all inputs."""
        return self.inputs[0] if len(self.inputs) == 1 else self.inputs

    @property
    def name(self) -> str:
        """Return the name of the tables for messages."""
        first = self.inputs[0]
        name: str = first if isinstance(first, str) else first.name
        return name if len(self.inputs) == 1 else f"{name} and {len(self.inputs) - 1} more"

    @property
    def file_reading(self) -> dict[str, Any]:
        """Return the reading options for files."""
        return {name: value for name, value in self.reading.items() if name in _FILE_OPTIONS}

    @property
    def time_reading(self) -> dict[str, Any]:
        """Return the reading options that describe times."""
        return {name: value for name, value in self.reading.items() if name not in _FILE_OPTIONS}

    def choose_keys(self, entity: str | None, time: str | None) -> tuple[str, str]:
        """Return the columns with the entity and the time, recognised by their names if they are not given.

        Parameters
        ----------
        entity, time : str or None
            Columns that the user gave.

        Raises
        ------
        ValueError
            If a column is not given, and none or several of the table's columns have one of the usual names.
        """
        if entity is not None and time is not None:
            return entity, time
        from isoxide._frames import ReadOptions
        from isoxide._frames.opening import column_names

        columns = column_names(self.source, ReadOptions.of(**self.file_reading))
        keys = []
        for option, key, other_key, names in (
            ("entity", entity, time, ENTITY_NAMES),
            ("time", time, entity, TIME_NAMES),
        ):
            if key is not None:
                keys.append(key)
                continue
            candidates = [name for name in columns if name.strip().lower() in names and name != other_key]
            if len(candidates) != 1:
                called = f"{len(candidates)} columns are" if candidates else "no column is"
                delimiter = next((sep for sep in ";\t|," if len(columns) == 1 and sep in columns[0]), None)
                if delimiter is not None:
                    raise ValueError(
                        f"{self.name} has a single column, {columns[0][:80]!r}: its values seem to be separated by "
                        f"{delimiter!r}; give sep={delimiter!r}"
                    )
                listed = ", ".join(map(repr, columns[:MAX_LISTED_COLUMNS]))
                more = f" and {len(columns) - MAX_LISTED_COLUMNS} more" if len(columns) > MAX_LISTED_COLUMNS else ""
                raise ValueError(
                    f"give --{option}: {called} called {', '.join(names[:-1])} or {names[-1]}; "
                    f"the columns of {self.name} are {listed}{more}"
                )
            keys.append(candidates[0])
            tell(f"isoxide: {option} is the column {candidates[0]!r}; choose another one with --{option}")
        return keys[0], keys[1]
