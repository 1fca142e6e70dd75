"""What a feature table looks like before anything is made of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["TableCheck", "look_over"]

#: A column of whole numbers of which so many differ numbers the rows rather than counting anything.
_ID_LIKE = 0.95
#: Names listed of each kind in the report.
_LISTED = 8


@dataclass(frozen=True)
class TableCheck:
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
        How many there are.
    first_day, last_day : str
        In ISO 8601.
    missing_days : list of str
        Days in between without any row.
    constant, id_like, infinite : list of str
        Features with one value only, features that seem to number the rows, and features with infinite values.
    nan_share : dict of str to float
        Per feature the share of missing values, where there are any.
    left_out : dict of str to str
        Columns that are no features, and why.
    mixed_time_zones : bool
        Whether times came in several time zones; they are in UTC then.
    has_times_of_day : bool
        Whether some times are not at midnight.
    """

    n_read: int
    n_rows: int
    n_duplicates: int
    n_duplicate_keys: int
    n_entities: int
    n_days: int
    n_features: int
    first_day: str
    last_day: str
    missing_days: list[str]
    constant: list[str]
    id_like: list[str]
    infinite: list[str]
    nan_share: dict[str, float]
    left_out: dict[str, str]
    mixed_time_zones: bool
    has_times_of_day: bool

    @property
    def warnings(self) -> list[str]:
        """What deserves a look, a sentence each."""
        found = []
        if self.n_duplicate_keys:
            found.append(f"{self.n_duplicate_keys:,} rows share entity and time with another, different row")
        if self.missing_days:
            found.append(f"{len(self.missing_days)} days have no rows: {_some(self.missing_days)}")
        if self.constant:
            found.append(f"{len(self.constant)} features are constant: {_some(self.constant)}")
        if self.id_like:
            found.append(f"{len(self.id_like)} features look like row numbers or identifiers: {_some(self.id_like)}")
        if self.infinite:
            found.append(
                f"{len(self.infinite)} features have infinite values, which a forest refuses: {_some(self.infinite)}"
            )
        empty = [name for name, why in self.left_out.items() if why == "no values"]
        if empty:
            found.append(f"{len(empty)} columns have no values and were left out: {_some(empty)}")
        if self.mixed_time_zones:
            found.append("times came in several time zones; they were brought to UTC")
        if self.n_days == 1:
            found.append("all rows are of one day")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON.

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
        if self.nan_share:
            worst = max(self.nan_share, key=self.nan_share.__getitem__)
            lines.append(
                f"{len(self.nan_share)} features have missing values, most of all {worst} ({self.nan_share[worst]:.1%})"
            )
        lines += [f"note: {warning}" for warning in self.warnings]
        return "\n".join(lines)


def _some(names: list[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def look_over(
    frame: pd.DataFrame,
    *,
    entity: str,
    days: pd.Series,
    features: list[str],
    left_out: dict[str, str],
    n_read: int,
    n_duplicates: int,
    mixed_time_zones: bool,
) -> TableCheck:
    """Looks at every feature once."""
    constant, id_like, infinite, nan_share = [], [], [], {}
    for name in features:
        values = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
        # One pass tells of most columns that they hold neither.
        with np.errstate(over="ignore", invalid="ignore"):
            finite = np.isfinite(values.sum())
        if not finite:
            missing = np.isnan(values)
            if missing.any():
                nan_share[name] = float(missing.mean())
                values = values[~missing]
            if np.isinf(values).any():
                infinite.append(name)
                values = values[np.isfinite(values)]
        if values.size and values.min() == values.max():
            constant.append(name)
        elif _numbers_rows(values):
            id_like.append(name)
    present = pd.DatetimeIndex(days.unique()).sort_values()
    every_day = pd.date_range(present[0], present[-1], freq="D")
    time = days.name
    return TableCheck(
        n_read=n_read,
        n_rows=len(frame),
        n_duplicates=n_duplicates,
        n_duplicate_keys=int(frame.duplicated([entity, time], keep=False).sum()),
        n_entities=int(frame[entity].nunique(dropna=False)),
        n_days=len(present),
        n_features=len(features),
        first_day=present[0].date().isoformat(),
        last_day=present[-1].date().isoformat(),
        missing_days=[day.date().isoformat() for day in every_day.difference(present)],
        constant=constant,
        id_like=id_like,
        infinite=infinite,
        nan_share=nan_share,
        left_out=left_out,
        mixed_time_zones=mixed_time_zones,
        has_times_of_day=bool((frame[time] != days).any()),
    )


def _numbers_rows(values: np.ndarray[Any, np.dtype[np.float64]]) -> bool:
    """Whether nearly all values are different whole numbers; a few hundred tell of most columns that not."""
    if len(values) < 20:
        return False
    for some in (values[:200], values):
        if len(np.unique(some)) < _ID_LIKE * len(some) or not np.all(np.mod(some, 1) == 0):
            return False
    return True
