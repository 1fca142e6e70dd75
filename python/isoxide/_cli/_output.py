"""Findings on the terminal, and scores as files."""

from __future__ import annotations

import errno
import gzip
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isoxide._cli._messages import print_json, print_lines, shown, tell
from isoxide._common.format import format_time, format_value

if TYPE_CHECKING:
    import pandas as pd

    from isoxide.ueba import Findings

__all__ = ["print_findings", "write_scores"]

#: Findings and features of each that are listed, and characters of a name.
_LISTED, _FEATURES, _NAME = 10, 3, 40


def print_findings(findings: Findings, paths: list[Path], *, as_json: bool) -> None:
    """Print the table's check, the lowest scores with their features, and the files.

    Parameters
    ----------
    findings : Findings
        What was found.
    paths : list of Path
        The files that were written.
    as_json : bool
        Print one JSON object instead, and the check on standard error.
    """
    check = _check_of(findings)
    lowest = findings.frame[[findings.entity, findings.time, "score"]].head(_LISTED)
    rows = list(lowest.itertuples(index=False, name=None))
    if as_json:
        tell(check)
        print_json(
            {
                "findings": len(findings),
                "lowest": [[str(who), when.isoformat(), score] for who, when, score in rows],
                "files": [str(path) for path in paths],
                "manifest": findings.manifest,
            }
        )
        return
    print_lines(check)
    n_entities = findings.frame[findings.entity].nunique()
    print_lines(f"{len(findings):,} findings of {n_entities:,} entities, offset {findings.manifest['offset']:.6f}")
    names = [_cut(who) for who, _, _ in rows]
    times = [format_time(when) for _, when, _ in rows]
    if not rows:
        lowest_score = findings.timeline["lowest"].min()
        print_lines(f"  no row is an anomaly; the one that comes closest scores {lowest_score:.4f} above the threshold")
    for number, (name, time, (_, _, score)) in enumerate(zip(names, times, rows, strict=True)):
        name, time = name.ljust(max(map(len, names))), time.ljust(max(map(len, times)))
        print_lines(f"  {score:8.4f}  {time}  {name}  {_features(findings, number)}".rstrip())
    if len(findings) > len(rows):
        print_lines(f"  and {len(findings) - len(rows):,} more")
    for path in paths:
        print_lines(f"  {path}")


def _check_of(findings: Findings) -> str:
    """Return what was found in the table; findings of another version may have a check that cannot be shown."""
    from isoxide.ueba import TableProfile

    try:
        return str(TableProfile(**findings.manifest["profile"]))
    except (AttributeError, LookupError, TypeError, ValueError):
        return "what was found in the table cannot be shown: another version wrote these findings"


def _features(findings: Findings, row: int) -> str:
    """Return the most unusual features of a finding, each with its value and percentile."""
    told, values = [], findings.values  # noqa: PD011
    for column in findings.order[row][:_FEATURES]:
        percentile = findings.percentiles[row, column]
        rank = "" if np.isnan(percentile) else f" (p{np.floor(percentile * 10) / 10:g})"
        value = format_value(float(values[row, column]))
        told.append(f"{_cut(findings.features[column])} {value}{rank}")
    return ", ".join(told)


def _cut(name: Any) -> str:
    text = shown(name)
    return text if len(text) <= _NAME else f"{text[: _NAME - 3]}..."


def write_scores(scores: pd.DataFrame, out: str | None, kind: str | None) -> None:
    """Write scores to a file, or to standard output.

    Parameters
    ----------
    scores : DataFrame
        The columns to write.
    out : str or None
        The file; None means standard output.
    kind : {"csv", "csv.gz"} or None
        The format of the file.
    """
    from isoxide._common.files import replace_file
    from isoxide.ueba._files import write_csv

    def write_gzip(path: Path) -> None:
        # Without a time in it, equal scores give equal files.
        with (
            path.open("wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
            io.TextIOWrapper(packed, encoding="utf-8", newline="") as text,
        ):
            write_csv(scores, text)

    if out is None:
        _print_csv(scores)
    elif kind == "csv.gz":
        replace_file(out, write_gzip)
    else:
        replace_file(out, lambda file: write_csv(scores, file))


def _print_csv(scores: pd.DataFrame) -> None:
    """Print scores: escaped on a terminal; elsewhere they are data, in UTF-8 as in a file."""
    from isoxide.ueba._files import write_csv

    if sys.stdout is None:
        raise OSError(errno.EBADF, "standard output is closed; give --out", "-")
    if sys.stdout.isatty():
        write_csv(scores, _Escaped())
        return
    sys.stdout.flush()
    text = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="")
    try:
        write_csv(scores, text)
        text.flush()
    finally:
        # The buffer belongs to standard output, and stays open.
        try:
            text.detach()
        except OSError:
            # Whoever read it has gone. The wrapper would try to write once more when it is collected.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
            raise


class _Escaped(io.TextIOBase):
    """Text for a terminal: its lines, with everything else escaped that is not printable."""

    def write(self, text: str) -> int:
        """Print a piece of text."""
        sys.stdout.write("\n".join(shown(line) for line in text.split("\n")))
        return len(text)
