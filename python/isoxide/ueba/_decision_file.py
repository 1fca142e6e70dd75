"""File of decisions: reading, checking, and adding lines, also from several processes at once.

A file of decisions is a CSV file in UTF-8 with a header. Lines are only added: a later line about the same finding
replaces the earlier one. It has these columns, in any order, and may have others, which are ignored:

    id         identifier of the finding; empty if the decision is about the entity on every day
    entity     entity; empty if the decision is about the finding `id` alone
    time       time of the finding, in ISO 8601, or empty
    features   JSON array of the features for which the finding was known; empty if any feature is covered
    score      anomaly score of the finding when it was decided, or empty if any score is covered
    status     known-good, false-positive, confirmed or open
    until      last day on which the decision holds; empty means 90 days after `when` for known-good and false-positive
    who, note  any text
    when       time of the decision, in ISO 8601; UTC if it has no offset

An apostrophe before a text that a spreadsheet would run as a formula is removed when the file is read.

A line is added under a lock, by a single call. If only part of it can be written, the file is cut to its earlier length
before the lock is released. So the file has whole lines only, and no line gets lost.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from isoxide._common.appending import append_bytes, locked_file
from isoxide._common.messages import did_you_mean
from isoxide.ueba._decision import COLUMNS, Decision

__all__ = ["append_decision", "parse"]


def parse(data: bytes, source: str) -> list[Decision]:
    """Return the decisions of the bytes of a file.

    Parameters
    ----------
    data : bytes
        Content of the file.
    source : str
        Name of the file, with which messages begin.

    Raises
    ------
    ValueError
        If the content is not a valid file of decisions.
    """
    decisions: list[Decision] = []
    lines: dict[tuple[Any, ...], int] = {}
    for line, row in _rows(data, source):
        try:
            decision = Decision.from_row(row, line)
        except ValueError as error:
            raise ValueError(f"{source}, line {line}: {error}") from None
        key = (decision.subject, decision.when)
        if key in lines:
            raise ValueError(
                f"{source}, line {line}: {decision.named()!r} is decided twice at the same time {row['when']!r} (also "
                f"in line {lines[key]}); remove one of the lines, or give the later one a later time"
            )
        lines[key] = line
        decisions.append(decision)
    return decisions


def _rows(data: bytes, source: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number of the first line and the cells of each row of a file."""
    header, records = _records(data, source)
    if not header:
        return
    _check_header(header, source)
    for line, cells in records:
        if [cell.removeprefix("\ufeff").strip() for cell in cells] == header:
            # A file was added to another one, with its header.
            continue
        if len(cells) != len(header):
            raise ValueError(
                f"{source}, line {line}: {len(cells)} cells instead of {len(header)}; put a text with a comma in "
                "quotation marks"
            )
        yield line, dict(zip(header, cells, strict=True))


def _header(data: bytes, source: str) -> list[str]:
    """Return the names of the columns of a file; an empty list if the file is empty."""
    return _records(data, source)[0]


def _check_header(header: list[str], source: str) -> None:
    """Refuse a header that lacks a column, or names one twice."""
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        hint = did_you_mean(missing[0], header)
        delimiter = next((sep for sep in ";\t" if len(header) == 1 and sep in header[0]), None)
        if delimiter is not None:
            hint = f"; its cells seem to be separated by {delimiter!r}: save it with commas"
        raise ValueError(
            f"{source}, line 1: the column {missing[0]!r} is missing{hint}; a file of decisions has the columns "
            f"{','.join(COLUMNS)}"
        )
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{source}, line 1: the column {twice!r} occurs twice; remove one of them")


def _records(data: bytes, source: str) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Return the header, and the other records with the number of their first line."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{source}, line {line}: the text is not UTF-8; save the file as UTF-8") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)

    def records() -> Iterator[tuple[int, list[str]]]:
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise ValueError(f"{source}, line {line}: it is not CSV ({error}); check its quotation marks") from None
            if any(cell.strip() for cell in cells):
                yield line, cells

    remaining = records()
    _, header = next(remaining, (0, []))
    return [name.strip() for name in header], remaining


def append_decision(path: Path, decision: Decision, on_added: Callable[[], None] | None = None) -> Path:
    """Add a decision to a file; `Decisions.append` describes the arguments and the errors.

    `on_added` is called while the file is still locked. If it fails, the decision is removed again.
    """
    with locked_file(path) as file:
        data = file.read()
        existing = parse(data, str(path))
        # Two decisions about the same finding must differ in their time.
        taken = {other.when for other in existing if other.subject == decision.subject}
        while decision.when in taken:
            decision = dataclasses.replace(decision, when=decision.when + datetime.timedelta(microseconds=1))
        header = _header(data, str(path))
        lines = [] if header else [list(COLUMNS)]
        row = decision.to_row()
        lines.append([row.get(name, "") for name in header or COLUMNS])
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(lines)
        try:
            added = text.getvalue().encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError(f"the decision about {decision.named()!a} has a text that UTF-8 cannot hold") from None
        # The last line of a file that was edited by hand may have no end.
        append_bytes(file, (b"\n" if data and not data.endswith(b"\n") else b"") + added, str(path))
        if on_added is not None:
            try:
                on_added()
            except BaseException:
                os.ftruncate(file.fileno(), len(data))
                raise
    return path
