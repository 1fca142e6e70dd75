"""Decisions of analysts about findings, in the order in which they were made."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from isoxide._common import html
from isoxide._common.files import read_file
from isoxide._common.stores import Location, located, on_this_machine
from isoxide.ueba._decision import Decision
from isoxide.ueba._decision_file import append_decision, parse

__all__ = ["Decisions"]

#: Largest size of a file in bytes.
_MAX_BYTES = 2**28


@dataclass(frozen=True)
class Decisions:
    """Decisions of analysts, in the order in which they were made.

    Parameters
    ----------
    entries : sequence of Decision, default=()
        Decisions; a later one about the same finding replaces an earlier one.
    source : str, optional
        Name of the file that they were read from.
    sha256 : str, optional
        SHA-256 of the bytes of this file.

    See Also
    --------
    Findings.apply : Hide and label findings by decisions.

    Examples
    --------
    >>> import tempfile
    >>> from isoxide import ueba
    >>> from isoxide.datasets import load_enron
    >>> table = ueba.read_table(load_enron(), entity="actor", time="day")
    >>> findings = ueba.detect(table, contamination=0.001)
    >>> decision = findings.decide(findings.frame["finding_id"].iloc[0], status="known-good", note="mailing list")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = ueba.Decisions.append(f"{folder}/decisions.csv", decision)
    ...     decisions = ueba.Decisions.read(path)
    >>> applied = findings.apply(decisions)
    >>> len(applied), len(applied.hidden)
    (10, 1)
    """

    entries: tuple[Decision, ...] = ()
    source: str | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", tuple(self.entries))

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        source = "" if self.source is None else f", source={self.source!r}"
        return f"Decisions({len(self.entries):,} of which {len(self.current):,} are not replaced{source})"

    def __iter__(self) -> Iterator[Decision]:
        return iter(self.entries)

    def _repr_html_(self) -> str:
        """Return the first decisions that no later one replaces as a table, for notebooks."""
        current, n = self.current, len(self.entries)
        source = f", read from {self.source}" if self.source else ""
        return html.block(
            html.heading("Decisions", f"{n:,} decision{'s' * (n != 1)}, {len(current):,} of them not replaced{source}"),
            html.table(
                ["about", "status", "until", "features", "by", "note"],
                [
                    [
                        decision.named(),
                        decision.status,
                        "" if decision.until is None else decision.until.isoformat(),
                        html.names_text(decision.features, 2) or "all",
                        decision.who,
                        decision.note,
                    ]
                    for decision in current[: html.MAX_ROWS]
                ],
            ),
            html.note(html.shown_of(current, "decisions")),
        )

    @property
    def current(self) -> list[Decision]:
        """Return the decisions that no later one replaces, in the order in which they were made."""
        latest = {decision.subject: number for number, decision in enumerate(self.entries)}
        return [self.entries[number] for number in sorted(latest.values())]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Decisions:
        """Read and check a file of decisions.

        Parameters
        ----------
        path : path or URL
            CSV file with the columns id, entity, time, features, score, status, until, who, when and note. An empty
            file has no decisions.

        Returns
        -------
        Decisions
            All decisions of the file.

        Raises
        ------
        FileNotFoundError
            If the file does not exist.
        ValueError
            If a column is missing, a cell is invalid, or two lines decide the same finding at the same time. The
            message names the file, the line, the value, and what to do.
        """
        location = located(path)
        if _size(location) > _MAX_BYTES:
            raise ValueError(f"{location} has more than {_MAX_BYTES:,} bytes, so it is not a file of decisions")
        data = read_file(location)
        return cls(tuple(parse(data, str(location))), str(location), hashlib.sha256(data).hexdigest())

    @staticmethod
    def append(path: str | os.PathLike[str], decision: Decision) -> Path:
        """Add a decision to a file, which is created if it does not exist.

        Several processes may add decisions to a file at once. If the file system has no space left, the file stays as
        it was.

        Parameters
        ----------
        path : path
            File of decisions on this machine: no line can be added to a file of an object store.
        decision : Decision
            Decision to add.

        Returns
        -------
        Path
            The path of the file.

        Raises
        ------
        ValueError
            If the file is not a valid file of decisions, or the path is the URL of a store.
        OSError
            If the file cannot be written.
        """
        reason = "lines are added to files of this machine only: copy the file to it, or write the decision elsewhere"
        return append_decision(on_this_machine(path, reason), decision)


def _size(location: Path | Location) -> int:
    """Return the number of bytes of a file, or 0 for anything else."""
    if isinstance(location, Location):
        return location.info().size or 0
    return location.stat().st_size if location.is_file() else 0
