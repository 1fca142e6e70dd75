r"""Identifiers of findings, which are the same in every file and run, and of models and settings.

The identifier of a finding is the first 12 hexadecimal digits of the SHA-256 of its entity and its time. The hashed
bytes are the entity in UTF-8, a line feed, and the time in ASCII; if the entity is missing, they are the time alone.
The time is written in one of these forms, the first one if the time is midnight without a time zone:

    2025-04-26                      a day
    2025-04-26T13:45:00             a time without a time zone
    2025-04-26T13:45:00.25          with a fraction of a second, without trailing zeros
    2025-04-26T11:45:00Z            a time with a time zone, converted to UTC

A shell computes the same: ``printf 'user07\n2025-04-26' | sha256sum | cut -c 1-12``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import pandas as pd

__all__ = ["document_id", "finding_ids"]

#: Number of hexadecimal digits of an identifier.
N_DIGITS = 12


def document_id(document: Any) -> str:
    """Return the identifier of a document: the start of the SHA-256 of its JSON with sorted keys."""
    text = json.dumps(document, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:N_DIGITS]


def finding_ids(entities: Iterable[Any], times: pd.Series) -> list[str]:
    """Return the identifier of each finding.

    Parameters
    ----------
    entities : iterable of str or None
        Entity of each finding; any missing value counts as no entity.
    times : pandas.Series
        Time of each finding.

    Examples
    --------
    >>> import pandas as pd
    >>> from isoxide.ueba._identifiers import finding_ids
    >>> finding_ids(["user07"], pd.Series(pd.to_datetime(["2025-04-26"])))
    ['2c5e3193ed71']
    """
    return [_identifier(entity, _text(time)) for entity, time in zip(entities, times, strict=True)]


def _identifier(entity: Any, time: str) -> str:
    name = "" if pd.isna(entity) else f"{entity}\n"
    # Surrogates, which UTF-8 cannot hold, cannot come from a file.
    return hashlib.sha256(f"{name}{time}".encode("utf-8", "surrogatepass")).hexdigest()[:N_DIGITS]


def _text(time: pd.Timestamp) -> str:
    has_zone = time.tzinfo is not None
    if has_zone:
        time = time.tz_convert("UTC").tz_localize(None)
    written = time.isoformat()
    if not has_zone and time == time.normalize():
        return written[:10]
    nanoseconds = time.microsecond * 1000 + time.nanosecond
    fraction = f".{nanoseconds:09}".rstrip("0") if nanoseconds else ""
    return f"{written[:19]}{fraction}{'Z' if has_zone else ''}"
