"""What a feature table looks like before anything is made of it, in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["TableProfile"]

#: Names listed of each kind in a sentence, and columns listed of those used and left out.
_LISTED, _COLUMNS = 8, 30


@dataclass(frozen=True)
class TableProfile:
    """What `read_table` found. Printing it gives the report.

    Attributes
    ----------
    n_read, n_rows : int
        Rows read, and rows kept.
    n_duplicates : int
        Rows dropped because they equal an earlier one in every column.
    n_duplicate_keys : int
        Rows kept that share entity and time with another one.
    n_entities, n_days, n_features : int
        Distinct entities, days and features.
    n_unnamed : int
        Rows without an entity.
    first_day, last_day : str
        In ISO 8601.
    n_missing_days : int
        Days between the first and the last one without any row; gaps before and after `far_days` do not count.
    gaps : list of [str, str]
        The longest runs of such days: first and last day, at most 20.
    far_days : dict of str to int
        Days that lie more than a year from all others, and their rows: usually a default of a database.
    n_period_days : int
        Days from the first to the last one, without `far_days`: what "a month" is counted by.
    features : list of str
        Names of the features.
    constant, id_like, infinite : list of str
        Features with one value only, features that seem to number the rows, and features with infinite values.
    nan_share : dict of str to float
        Share of missing values per feature, where there are any, from 0 to 1.
    left_out : dict of str to str
        Columns that are no features, and why.
    time_zones : list of str
        The zones in which times were written, if there are several; each keeps the day that was written.
    has_times_of_day : bool
        Whether some times are not at midnight.
    spellings : list of list of str
        Entities whose names differ only in case, blanks or Unicode form, at most 20 groups.
    n_spellings : int
        Number of such groups.
    notes : list of str
        What was changed, read as missing or left out while reading.
    """

    n_read: int
    n_rows: int
    n_duplicates: int
    n_duplicate_keys: int
    n_entities: int
    n_unnamed: int
    n_days: int
    n_features: int
    first_day: str
    last_day: str
    n_missing_days: int
    n_period_days: int
    has_times_of_day: bool
    gaps: list[list[str]] = field(default_factory=list)
    far_days: dict[str, int] = field(default_factory=dict)
    features: list[str] = field(default_factory=list)
    constant: list[str] = field(default_factory=list)
    id_like: list[str] = field(default_factory=list)
    infinite: list[str] = field(default_factory=list)
    nan_share: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    time_zones: list[str] = field(default_factory=list)
    spellings: list[list[str]] = field(default_factory=list)
    n_spellings: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def warnings(self) -> list[str]:
        """What deserves a look, a sentence each."""
        found = list(self.notes)
        if self.n_duplicate_keys:
            found.append(f"{self.n_duplicate_keys:,} rows share entity and time with another, different row")
        if self.n_unnamed:
            found.append(f"{self.n_unnamed:,} rows have no entity; they are kept as one without a name")
        if self.n_spellings:
            shown = "; ".join(" and ".join(map(repr, group)) for group in self.spellings[:3])
            found.append(
                f"{self.n_spellings:,} names of entities differ from another only in case or blanks "
                f"(or in how an accent is stored), and stay apart: {shown}"
            )
        if self.far_days:
            shown = ", ".join(f"{day} ({rows:,} rows)" for day, rows in list(self.far_days.items())[:_LISTED])
            found.append(f"{len(self.far_days)} days lie more than a year from all others: {shown}")
        if self.n_missing_days:
            shown = _some([first if first == last else f"{first} to {last}" for first, last in self.gaps])
            found.append(f"{self.n_missing_days:,} days have no rows: {shown}")
        if self.constant:
            found.append(f"{len(self.constant)} features are constant: {_some(self.constant)}")
        if self.id_like:
            found.append(f"{len(self.id_like)} features look like row numbers or identifiers: {_some(self.id_like)}")
        if self.infinite:
            found.append(f"{len(self.infinite)} features have infinite values: {_some(self.infinite)}")
        empty = [name for name, why in self.left_out.items() if why == "no values"]
        if empty:
            found.append(f"{len(empty)} columns have no values and were left out: {_some(empty)}")
        for name, why in self.left_out.items():
            if "cells are numbers" in why:
                found.append(f"column {name!r} was left out: {why}")
        if self.time_zones:
            found.append(
                f"times were written in {len(self.time_zones)} zones ({_some(self.time_zones)}); "
                "each keeps the day that was written, unless timezone=... says whose days count"
            )
        if self.n_days == 1:
            found.append("all rows are of one day")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return everything, for JSON.

        Returns
        -------
        dict
            From the names of the attributes to their values.
        """
        return asdict(self)

    def __str__(self) -> str:
        lines = [
            f"{self.n_rows:,} rows of {self.n_entities:,} entities on {self.n_days:,} days"
            f" ({self.first_day} to {self.last_day}), {self.n_features} features"
        ]
        if self.n_duplicates:
            lines.append(f"{self.n_duplicates:,} of {self.n_read:,} rows read were duplicates and dropped")
        lines.append(f"features: {_some(self.features, _COLUMNS)}")
        if self.left_out:
            together: dict[str, list[str]] = {}
            for name, why in self.left_out.items():
                together.setdefault(why, []).append(name)
            told = [f"{_some(names, _COLUMNS)} ({why})" for why, names in together.items()]
            lines.append(f"left out: {_some(told, _COLUMNS)}")
        if self.nan_share:
            worst = max(self.nan_share, key=self.nan_share.__getitem__)
            lines.append(
                f"{len(self.nan_share)} features have missing values, most of all {worst} ({self.nan_share[worst]:.1%})"
            )
        lines += [f"note: {warning}" for warning in self.warnings]
        return "\n".join(lines)


def _some(names: Iterable[str], listed: int = _LISTED) -> str:
    names = list(names)
    more = len(names) - listed
    return ", ".join(names[:listed]) + (f" and {more} more" if more > 0 else "")
