"""Print findings on the terminal, and write scores to files."""

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

#: Maximum numbers of printed findings, of printed features per finding, and of characters of a name.
MAX_PRINTED_FINDINGS, MAX_PRINTED_FEATURES, MAX_NAME_LENGTH = 10, 3, 40


def print_findings(findings: Findings, paths: list[Path], *, as_json: bool) -> None:
    """Print the profile of the table, the highest anomaly scores with their features, and the files.

    Parameters
    ----------
    findings : Findings
        Findings to print.
    paths : list of Path
        Files that were written.
    as_json : bool
        Whether to print one JSON object instead; the profile then goes to standard error.
    """
    from isoxide.ueba._texts import hidden_summary, quiet_text

    profile, frame = _profile_text(findings), findings.frame
    columns = ["finding_id", findings.entity, findings.time, "anomaly_score", "band"]
    rows = list(frame[columns].head(MAX_PRINTED_FINDINGS).itertuples(index=False, name=None))
    if as_json:
        tell(profile)
        keys = ("id", "entity", "time", "anomaly_score", "band")
        cells = [(own_id, str(entity), time.isoformat(), score, band) for own_id, entity, time, score, band in rows]
        print_json(
            {
                "findings": len(findings),
                "hidden": findings.n_hidden,
                "states": _states(findings),
                "highest": [dict(zip(keys, own, strict=True)) for own in cells],
                "files": [str(path) for path in paths],
                "manifest": findings.manifest,
            }
        )
        return
    print_lines(profile)
    drift = findings.manifest.get("drift") or {}
    if drift.get("verdict") not in (None, "ok"):
        print_lines("\n".join([f"drift: {drift['verdict']}", *(f"  {reason}" for reason in drift["reasons"])]))
    n_entities = frame[findings.entity].nunique()
    n_findings = f"{len(findings):,} finding{'' if len(findings) == 1 else 's'}"
    whose = f"{n_entities:,} {'entity' if n_entities == 1 else 'entities'}"
    print_lines(f"{n_findings} of {whose}, anomaly score above {findings.anomaly_threshold:.4f}")
    if states := _states(findings):
        print_lines(f"  {', '.join(f'{n:,} {name}' for name, n in states.items())}")
    if findings.review.today is not None:
        print_lines(f"  {hidden_summary(findings)}")
    if findings.size_bands is not None:
        print_lines(f"  {findings.size_bands.note()}")
        remarks = findings._size_remarks(findings.review.cutoff)
        n_explained = sum(remark is not None and not remark.unusual for remark in remarks)
        if len(findings):
            have = (
                "finding has no value that is unusual for its"
                if len(findings) == 1
                else ("findings have no value that is unusual for their")
            )
            print_lines(f"  {n_explained:,} of {len(findings):,} {have} size")
    if not rows:
        print_lines(f"  {quiet_text(findings)}")
    names = _padded([_cut(entity) for _, entity, _, _, _ in rows])
    times = _padded([format_time(time) for _, _, time, _, _ in rows])
    rarities, bands = _padded(findings.rarity_texts()[: len(rows)]), _padded([row[-1] for row in rows])
    for number, texts in enumerate(zip(bands, rarities, times, names, strict=True)):
        print_lines(f"  {rows[number][-2]:.4f}  {'  '.join(texts)}  {_features(findings, number)}".rstrip())
    if len(findings) > len(rows):
        print_lines(f"  and {len(findings) - len(rows):,} more")
    for path in paths:
        print_lines(f"  {path}")


def _states(findings: Findings) -> dict[str, int]:
    """Return the numbers of findings by state, or an empty dict without a previous run or decisions."""
    previous, states = findings.review.previous, findings.states
    if previous is None:
        n_stronger = states.count("stronger")
        return {"stronger": n_stronger} if n_stronger else {}
    return {
        **{name: states.count(name) for name in ("new", "again", "stronger")},
        "gone": len(previous.get("gone", [])),
    }


def _padded(texts: list[str]) -> list[str]:
    """Return texts with blanks at the end, so that all have the same length."""
    width = max(map(len, texts), default=0)
    return [text.ljust(width) for text in texts]


def _profile_text(findings: Findings) -> str:
    """Return the profile of the table as text, or a sentence if another version wrote a profile without some field."""
    from isoxide.ueba import TableProfile

    try:
        return str(TableProfile(**findings.manifest["profile"]))
    except (AttributeError, LookupError, TypeError, ValueError):
        return "the profile of the table cannot be shown, since another version of isoxide wrote these findings"


def _features(findings: Findings, row: int) -> str:
    """Return the most unusual features of a finding, each with its value and percentile."""
    texts, values = [], findings.values  # noqa: PD011
    for column in findings.order[row][:MAX_PRINTED_FEATURES]:
        percentile = findings.percentiles[row, column]
        rank = "" if np.isnan(percentile) else f" (p{np.floor(percentile * 10) / 10:g})"
        value = format_value(float(values[row, column]))
        texts.append(f"{_cut(findings.features[column])} {value}{rank}")
    return ", ".join(texts)


def _cut(name: Any) -> str:
    """Escape a name for the terminal, and shorten it if it is long."""
    text = shown(name)
    return text if len(text) <= MAX_NAME_LENGTH else f"{text[: MAX_NAME_LENGTH - 3]}..."


def write_scores(scores: pd.DataFrame, out: str | None, format_: str | None) -> None:
    """Write scores to a file, or to standard output.

    Parameters
    ----------
    scores : DataFrame
        Columns to write.
    out : str or None
        File to write. None means standard output.
    format_ : {"csv", "csv.gz"} or None
        Format of the file. None means standard output.
    """
    from isoxide._common.files import replace_file
    from isoxide.ueba._files import write_csv

    def write_gzip(path: Path) -> None:
        # With a fixed modification time, equal scores give equal files.
        with (
            path.open("wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
            io.TextIOWrapper(packed, encoding="utf-8", newline="") as text,
        ):
            write_csv(scores, text)

    if out is None:
        _print_csv(scores)
    elif format_ == "csv.gz":
        replace_file(out, write_gzip)
    else:
        replace_file(out, lambda file: write_csv(scores, file))


def _print_csv(scores: pd.DataFrame) -> None:
    """Print scores as CSV, escaped on a terminal, otherwise the same UTF-8 bytes as in a file."""
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
        # The buffer belongs to standard output, so it stays open.
        try:
            text.detach()
        except OSError:
            # The reading program has ended. When garbage-collected, the wrapper would try to write again.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
            raise


class _Escaped(io.TextIOBase):
    """Text stream to a terminal that escapes characters which are not printable, except line ends."""

    def write(self, text: str) -> int:
        """Print a text, and return its length."""
        sys.stdout.write("\n".join(shown(line) for line in text.split("\n")))
        return len(text)
