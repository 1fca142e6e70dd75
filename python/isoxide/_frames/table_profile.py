"""Profile of a feature table for the user: numbers, names and warnings about data quality."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from isoxide._common import html

__all__ = ["TableProfile"]

#: Maximum number of names in a warning, and of columns in the lists of features and of columns left out.
_MAX_LISTED, _MAX_COLUMNS = 8, 30


@dataclass(frozen=True)
class TableProfile:
    """Profile of a feature table: rows, days, entities, features and data-quality warnings. Print it to see all.

    Attributes
    ----------
    n_read, n_rows : int
        Number of rows read, and number of rows kept.
    n_duplicates : int
        Number of rows that were dropped because they equal an earlier row in every column.
    n_duplicate_keys : int
        Number of kept rows that share entity and time with another row.
    n_entities, n_days, n_features : int
        Number of distinct entities, of distinct days, and of features.
    n_unnamed : int
        Number of rows without an entity.
    first_day, last_day : str
        First and last day, in ISO 8601.
    n_missing_days : int
        Number of days without rows between the first and the last day, not counting the gaps around `far_days`.
    gaps : list of [str, str]
        First and last day of the longest runs of days without rows, at most 20 runs.
    far_days : dict of str to int
        Days more than a year away from all others, with their numbers of rows. They often come from a database's
        default value.
    n_period_days : int
        Number of days from the first to the last day, without `far_days`. Alerts per month refer to it.
    features : list of str
        Names of the features.
    constant, id_like, infinite : list of str
        Names of the features with a single value, of the features that look like row numbers or identifiers, and of
        the features with infinite values.
    label_like : list of str
        Names of the features that look like the label of the rows: only 0 and 1, and a name such as ``is_fraud``.
    growing : list of str
        Names of the features that never decrease from one time of an entity to the next, such as the number of days
        since the first one. They are found in a sample of 256 entities.
    equal : list of list of str
        Groups of features with equal values in all rows.
    nan_share : dict of str to float
        Fraction of missing values, above 0 and up to 1, of each feature that has missing values.
    left_out : dict of str to str
        Names of the columns that are not features, each with the reason.
    time_zones : list of str
        Time zones in the source, if there are several. Each time then keeps the day in the source.
    has_times_of_day : bool
        Whether some times are not midnight.
    spellings : list of list of str
        Groups of entities whose names differ only in case, blanks or Unicode form, at most 20.
    n_spellings : int
        Number of such groups in the whole table.
    notes : list of str
        One sentence for each change or omission while reading.
    is_trained_on : bool
        Whether a forest is trained on the rows. The new rows of a model are not, and then the warnings about features
        that would disturb a training are left out.
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
    label_like: list[str] = field(default_factory=list)
    growing: list[str] = field(default_factory=list)
    equal: list[list[str]] = field(default_factory=list)
    nan_share: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    time_zones: list[str] = field(default_factory=list)
    spellings: list[list[str]] = field(default_factory=list)
    n_spellings: int = 0
    notes: list[str] = field(default_factory=list)
    is_trained_on: bool = True

    @property
    def warnings(self) -> list[str]:
        """Return the notes, then one sentence for each property of the data that may be a mistake."""
        messages = list(self.notes)
        if self.n_duplicate_keys:
            messages.append(f"{self.n_duplicate_keys:,} rows share entity and time with another, different row")
        if self.n_unnamed:
            messages.append(f"{self.n_unnamed:,} rows have no entity; they are kept as one entity without a name")
        if self.n_spellings:
            shown = "; ".join(" and ".join(map(repr, group)) for group in self.spellings[:3])
            messages.append(
                f"{self.n_spellings:,} entity names differ from another only in case or blanks "
                f"(or in how an accent is stored), and remain separate entities: {shown}"
            )
        if self.far_days:
            shown = ", ".join(f"{day} ({rows:,} rows)" for day, rows in list(self.far_days.items())[:_MAX_LISTED])
            days = "1 day lies" if len(self.far_days) == 1 else f"{len(self.far_days)} days lie"
            messages.append(f"{days} more than a year from all others: {shown}")
        if self.n_missing_days:
            shown = _listed([first if first == last else f"{first} to {last}" for first, last in self.gaps])
            days = "1 day has" if self.n_missing_days == 1 else f"{self.n_missing_days:,} days have"
            messages.append(f"{days} no rows: {shown}")
        if self.is_trained_on:
            messages += self._warnings_about_training()
        if self.infinite:
            messages.append(f"{_counted(self.infinite, 'has', 'have')} infinite values: {_listed(self.infinite)}")
        empty = [name for name, reason in self.left_out.items() if reason == "no values"]
        if empty and self.is_trained_on:
            columns = (
                "1 column has no values and was" if len(empty) == 1 else f"{len(empty)} columns have no values and were"
            )
            messages.append(f"{columns} left out: {_listed(empty)}")
        for name, reason in self.left_out.items():
            if "cells are numbers" in reason:
                messages.append(f"column {name!r} was left out: {reason}")
        if self.time_zones:
            messages.append(
                f"times have {len(self.time_zones)} different zones ({_listed(self.time_zones)}); "
                "each time keeps the day in the source, unless timezone=... names the zone that decides the day"
            )
        if self.n_days == 1 and self.is_trained_on:
            messages.append("all rows belong to one day")
        return messages

    def _warnings_about_training(self) -> list[str]:
        """Return one sentence for each kind of feature that disturbs a forest that is trained on it."""
        messages = []
        if self.constant:
            messages.append(f"{_counted(self.constant, 'is', 'are')} constant: {_listed(self.constant)}")
        if self.id_like:
            messages.append(
                f"{_counted(self.id_like, 'looks', 'look')} like row numbers or identifiers: {_listed(self.id_like)}"
            )
        if self.label_like:
            messages.append(
                f"{_counted(self.label_like, 'looks', 'look')} like a label, which tells the forest what it should "
                f"find: {_listed(self.label_like)} (leave it out with exclude)"
            )
        if self.growing:
            messages.append(
                f"{_counted(self.growing, 'only grows', 'only grow')} from day to day of an entity, so the last days "
                f"always look unusual: {_listed(self.growing)} (leave it out with exclude)"
            )
        if self.equal:
            groups = [" = ".join(group) for group in self.equal]
            messages.append(f"some features are equal in all rows, and so count several times: {_listed(groups)}")
        return messages

    def to_dict(self) -> dict[str, Any]:
        """Return all attributes as a dictionary, for JSON.

        Returns
        -------
        dict
            Values of the attributes, by name.
        """
        return asdict(self)

    def __repr__(self) -> str:
        n_warnings = len(self.warnings)
        return f"TableProfile({self._summary()}, {n_warnings:,} warning{'s' * (n_warnings != 1)})"

    def __str__(self) -> str:
        lines = [self._summary()]
        if self.n_duplicates:
            lines.append(f"{self.n_duplicates:,} of {self.n_read:,} rows read were duplicates and dropped")
        lines.append(f"features: {_listed(self.features, _MAX_COLUMNS)}")
        if self.left_out:
            groups = [f"{_listed(names, _MAX_COLUMNS)} ({reason})" for reason, names in self._left_out_by_reason()]
            lines.append(f"left out: {_listed(groups, _MAX_COLUMNS)}")
        lines += filter(None, [self._missing_values()])
        lines += [f"note: {warning}" for warning in self.warnings]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Return the same facts as a table, for notebooks."""
        duplicates = f"{self.n_duplicates:,} of {self.n_read:,} rows read" if self.n_duplicates else ""
        left_out = self._left_out_by_reason()
        return html.block(
            html.heading("TableProfile", self._summary()),
            html.facts(
                [
                    ("features", html.names_text(self.features)),
                    ("duplicates dropped", duplicates),
                    ("missing values", self._missing_values()),
                    *((f"left out: {reason}", html.names_text(names)) for reason, names in left_out[: html.MAX_ROWS]),
                ]
            ),
            html.note(html.shown_of(left_out, "reasons")),
            html.items(self.warnings, "warnings"),
        )

    def _summary(self) -> str:
        """Return the numbers of rows, entities, days and features in words."""
        return (
            f"{_number(self.n_rows, 'row')} of {_number(self.n_entities, 'entity', 'entities')} on "
            f"{_number(self.n_days, 'day')} ({' to '.join(dict.fromkeys([self.first_day, self.last_day]))}), "
            f"{_number(self.n_features, 'feature')}"
        )

    def _left_out_by_reason(self) -> list[tuple[str, list[str]]]:
        """Return the reasons for which columns are left out, each with the names of these columns."""
        by_reason: dict[str, list[str]] = {}
        for name, reason in self.left_out.items():
            by_reason.setdefault(reason, []).append(name)
        return list(by_reason.items())

    def _missing_values(self) -> str:
        """Return how many features have missing values, and which one has most; an empty text if none has any."""
        if not self.nan_share:
            return ""
        worst = max(self.nan_share, key=self.nan_share.__getitem__)
        return (
            f"{_counted(self.nan_share, 'has', 'have')} missing values, most of all {worst} "
            f"({self.nan_share[worst]:.1%})"
        )


def _counted(names: Collection[str], verb: str, plural_verb: str) -> str:
    return f"1 feature {verb}" if len(names) == 1 else f"{len(names)} features {plural_verb}"


def _number(n: int, noun: str, plural: str | None = None) -> str:
    return f"{n:,} {noun if n == 1 else plural or f'{noun}s'}"


def _listed(names: Iterable[str], n_listed: int = _MAX_LISTED) -> str:
    names = list(names)
    more = len(names) - n_listed
    return ", ".join(names[:n_listed]) + (f" and {more} more" if more > 0 else "")
