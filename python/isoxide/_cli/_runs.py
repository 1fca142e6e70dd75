"""Runs: their folders, their lines in the log, and the decisions and earlier findings that they take into account."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoxide._cli._run_log import LOG_NAME, Entry, file_facts, locked_log
from isoxide._cli._session import Session
from isoxide._common.files import FileSet, read_file
from isoxide._common.version import package_version

if TYPE_CHECKING:
    from isoxide.ueba import Decisions, Findings

__all__ = ["Known", "Run", "findings_file", "user_name"]

#: Largest number of decisions, or of files, that a message names.
MAX_NAMED = 3


class Run:
    """Run of a command, which adds a line to the log.

    Parameters
    ----------
    options : argparse.Namespace
        Options of the command, with ``arguments`` (all of its arguments) and ``log``.
    folder : path
        Folder of the run, of its model, or of the findings that it is about. The log is beside it, in its parent
        folder, unless the user gave another one.
    session : Session
        Session that notes are given to.

    Attributes
    ----------
    facts : dict
        Facts of the line.
    """

    def __init__(self, options: argparse.Namespace, folder: str | os.PathLike[str], session: Session) -> None:
        self.options = options
        self.path = Path(os.path.abspath(folder)).parent / LOG_NAME if options.log is None else Path(options.log)
        self.facts: dict[str, Any] = {}
        self._is_logged = True
        if options.log is None and not self.path.parent.is_dir():
            return
        try:
            # Fail before the work is done.
            with self._entry():
                pass
        except OSError as error:
            if options.log is not None:
                raise
            self._is_logged = False
            session.notes.append(
                f"this run is in no log: {self.path}: {error.strerror or error}; choose another file with --log"
            )

    def add(self, outputs: list[tuple[Path, bool]]) -> None:
        """Add the line of the run.

        Parameters
        ----------
        outputs : list of tuple
            Files that were written, each with whether bytes may be added later.
        """
        if self._is_logged:
            with self._entry() as entry:
                listed = [file_facts(path, path, self.path, appended=appended) for path, appended in outputs]
                self._add(entry, listed)

    def put_in_place(self, results: FileSet) -> None:
        """Move the files of the run to their folder, and add the line of the run: both, or neither."""
        with self._entry() as entry:

            def before_moving(written: list[tuple[Path, Path]]) -> None:
                if not getattr(self.options, "force", False):
                    _refuse_other_run(written)
                if entry is not None:
                    self._add(entry, [file_facts(new, target, self.path) for new, target in written])

            results.put_in_place(before_moving)

    @contextmanager
    def _entry(self) -> Iterator[Entry | None]:
        if not self._is_logged:
            yield None
            return
        with locked_log(self.path) as entry:
            yield entry

    def _add(self, entry: Entry | None, outputs: list[dict[str, Any]]) -> None:
        if entry is None:
            return
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        entry.add(
            {
                "time": now,
                "command": self.options.run,
                "arguments": self.options.arguments,
                "user": user_name(),
                "isoxide": package_version(),
                **self.facts,
                "outputs": outputs,
            }
        )


def user_name() -> str:
    """Return the name of the user who runs the command, or an empty text if the system does not know it."""
    import getpass

    with suppress(OSError, KeyError, ImportError):
        return getpass.getuser()
    return ""


def _refuse_other_run(written: list[tuple[Path, Path]]) -> None:
    """Refuse to replace the findings of a run with other options or another input.

    Parameters
    ----------
    written : list of tuple
        Each file that was written, with its destination.

    Raises
    ------
    ValueError
        If a destination has such findings.
    """
    from isoxide.ueba._document import read_manifest

    for new, target in written:
        if not target.name.startswith("findings-") or target.suffix != ".json" or not target.exists():
            continue
        remedy = "choose another folder with --out, or replace these results with --force"
        try:
            old = read_manifest(target)
        except ValueError as error:
            raise ValueError(f"{error}; {remedy}") from None
        difference = _difference(read_manifest(new), old)
        if difference:
            raise ValueError(f"{target} is of a run with {difference}; {remedy}")


def _difference(new: dict[str, Any], old: dict[str, Any]) -> str:
    """Return how two runs differ, or an empty text if they have the same options and the same input."""
    if new.get("settings_id") != old.get("settings_id"):
        return "other options"
    # Checksums are not known for every input.
    for name in ("sha256", "scores_sha256", "rows"):
        values = new.get(name), old.get(name)
        if None not in values and values[0] != values[1]:
            return "another input"
    return ""


def findings_file(run: str) -> Path:
    """Return the JSON file of the findings of a run.

    Parameters
    ----------
    run : str
        Folder of the run, or the file itself.

    Raises
    ------
    FileNotFoundError
        If the run does not exist, or its folder has no findings.
    ValueError
        If the folder has the findings of several runs.
    """
    path = Path(run)
    if not path.exists():
        raise FileNotFoundError(f"{run} does not exist; give the folder of a run, or its findings-*.json")
    if not path.is_dir():
        return path
    files = sorted(path.glob("findings-*.json"))
    if not files:
        raise FileNotFoundError(f"{run} has no findings-*.json; give the folder of a run that `isoxide detect` wrote")
    if len(files) > 1:
        raise ValueError(f"{run} has the findings of {len(files):,} runs; give one of the files, such as {files[-1]}")
    return files[0]


class Known:
    """Decisions and the earlier findings that a run takes into account, read before the work begins.

    Parameters
    ----------
    options : argparse.Namespace
        Options of the command.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        from isoxide import ueba

        self.cutoff: float = options.cutoff
        self.decisions: Decisions | None = None
        self.previous: Findings | None = None
        self.previous_file: Path | None = None
        self.previous_sha256: str | None = None
        if options.decisions is not None:
            if not Path(options.decisions).exists():
                raise FileNotFoundError(
                    f"{options.decisions} does not exist; `isoxide decide` creates it, and an empty file has no "
                    "decisions"
                )
            self.decisions = ueba.Decisions.read(options.decisions)
        if options.previous is not None:
            self.previous_file = findings_file(options.previous)
            self.previous = ueba.read_findings(self.previous_file)
            self.previous_sha256 = hashlib.sha256(read_file(self.previous_file)).hexdigest()

    def review(self, findings: Findings, session: Session) -> Findings:
        """Return the findings with their states and statuses, without those that decisions hide."""
        # Decisions about the run are made with its cut-off.
        findings.review = dataclasses.replace(findings.review, cutoff=self.cutoff)
        if self.previous is not None:
            findings = findings.compare(self.previous, cutoff=self.cutoff).findings
            previous = findings.review.previous
            assert previous is not None
            previous["source"] = str(self.previous_file)
            for change in previous["changes"]:
                session.notes.append(f"changed since the previous run: {change}")
        if self.decisions is not None:
            findings = findings.apply(self.decisions, cutoff=self.cutoff)
            for verb, plural_verb, decisions in (
                ("has expired", "have expired", findings.expired),
                ("is about none of the findings", "are about none of the findings", findings.unmatched),
            ):
                if decisions:
                    named = ", ".join(decision.named() for decision in decisions[:MAX_NAMED])
                    more = f" and {len(decisions) - MAX_NAMED:,} more" if len(decisions) > MAX_NAMED else ""
                    of = f"{len(decisions):,} of {findings.review.n_decisions:,} decisions"
                    session.notes.append(f"{of} {verb if len(decisions) == 1 else plural_verb}: {named}{more}")
        return findings

    def facts(self, findings: Findings) -> dict[str, Any]:
        """Return the facts of the findings for the log."""
        manifest = findings.manifest
        model = manifest.get("model") or {}
        states = findings.states
        decisions = self.decisions
        return {
            "input": {"name": manifest.get("source"), "sha256": manifest.get("sha256")},
            "model": {"id": model["id"]} if model else None,
            "settings_id": manifest.get("settings_id"),
            "decisions": None if decisions is None else {"name": decisions.source, "sha256": decisions.sha256},
            "previous_run": None
            if self.previous_file is None
            else {"name": str(self.previous_file), "sha256": self.previous_sha256},
            "counts": {
                "rows": manifest.get("rows"),
                "findings": len(findings),
                "hidden": findings.n_hidden,
                **({} if self.previous is None else {s: states.count(s) for s in ("new", "again", "stronger")}),
            },
        }
