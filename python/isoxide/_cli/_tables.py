"""The tables that a command reads, and columns recognised by their names."""

from __future__ import annotations

import sys
from typing import Any

from isoxide._cli._messages import tell
from isoxide._cli._parser import ENTITY_NAMES, TIME_NAMES

__all__ = ["Tables"]

#: Columns listed in a message.
_LISTED = 12
#: Options of text files; the others of a command concern times.
_TEXT_OPTIONS = ("sep", "decimal", "thousands", "missing", "encoding")


class Tables:
    """The tables of a command, opened once: what comes from standard input or a pipe is kept for all passes.

    Parameters
    ----------
    names : list of str
        Files and folders; ``-`` is standard input.
    reading : dict
        How the user says the tables are written.

    Attributes
    ----------
    inputs : list
        What readers take: open files, and paths of folders.
    """

    def __init__(self, names: list[str], reading: dict[str, Any]) -> None:
        from isoxide._frames.files import local_path, opened

        if "-" in names and sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty():
            tell("isoxide: the table is read from this terminal; end it with Ctrl-D")
        self.inputs: list[Any] = []
        for name in names:
            folder = name != "-" and local_path(name).is_dir()
            self.inputs.append(str(local_path(name)) if folder else opened(name))
        self.reading = reading

    @property
    def source(self) -> Any:
        """What readers take: one table, or several."""
        return self.inputs[0] if len(self.inputs) == 1 else self.inputs

    @property
    def name(self) -> str:
        """The tables as the user named them."""
        first = self.inputs[0]
        name = first if isinstance(first, str) else first.name
        return name if len(self.inputs) == 1 else f"{name} and {len(self.inputs) - 1} more"

    @property
    def text_reading(self) -> dict[str, Any]:
        """The options of reading that do not concern times."""
        return {name: value for name, value in self.reading.items() if name in _TEXT_OPTIONS}

    @property
    def time_reading(self) -> dict[str, Any]:
        """The options of reading that concern times."""
        return {name: value for name, value in self.reading.items() if name not in _TEXT_OPTIONS}

    def choose_keys(self, entity: str | None, time: str | None) -> tuple[str, str]:
        """Return the columns that say who and when; those that are not given are recognised by their names.

        Parameters
        ----------
        entity, time : str or None
            The columns that the user gave.

        Raises
        ------
        ValueError
            If a column is not given, and not exactly one has such a name.
        """
        if entity is not None and time is not None:
            return entity, time
        from isoxide._frames import ReadOptions
        from isoxide._frames.opening import column_names

        columns = column_names(self.source, ReadOptions.of(**self.text_reading))
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
                parted = next((sep for sep in ";\t|," if len(columns) == 1 and sep in columns[0]), None)
                if parted is not None:
                    raise ValueError(
                        f"{self.name} has a single column, {columns[0][:80]!r}: its values seem to be separated by "
                        f"{parted!r}; give sep={parted!r}"
                    )
                listed = ", ".join(map(repr, columns[:_LISTED]))
                more = f" and {len(columns) - _LISTED} more" if len(columns) > _LISTED else ""
                raise ValueError(
                    f"give --{option}: {called} called {', '.join(names[:-1])} or {names[-1]}; "
                    f"the columns of {self.name} are {listed}{more}"
                )
            chosen.append(fitting[0])
            tell(f"isoxide: {option} is the column {fitting[0]!r}; choose another one with --{option}")
        return chosen[0], chosen[1]
