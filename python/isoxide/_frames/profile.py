"""Profile a feature table in one pass: its days, its entities and each of its columns.

update    add a batch: rows per day, entities, a sketch of each column of numbers, cell counts of each text column
merge     combine the profiles of partitions, in any order
summary   return the `TableProfile` for the user, the same in memory and on every engine
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from isoxide._common.threads import mapped, resolve_n_jobs_for
from isoxide._core import Sketch
from isoxide._frames.cells import CellFacts
from isoxide._frames.checks import EqualColumns, Growth, looks_like_label
from isoxide._frames.columns import number_column
from isoxide._frames.entities import Entities
from isoxide._frames.keys import as_text, similar_spellings
from isoxide._frames.table_profile import TableProfile
from isoxide._frames.times import CodedTimes, Times, days_of

__all__ = ["CAPACITY", "Keys", "Profile", "Profiler", "repeated_rows", "sketch_columns", "unbounded_sketch"]

#: Maximum number of distinct values of a column that a sketch keeps exactly.
CAPACITY = 2**14
#: A column looks like identifiers if at least this fraction of its values are distinct, both among the first values and
#: among all, and if it has at least this number of rows.
_FIRST_VALUES, _ID_LIKE_SHARE, _ID_LIKE_MIN_ROWS = 200, 0.95, 20
#: A day is far if it is more than this number of days from all others.
_FAR_DAYS = 366
#: Largest number of gaps, far days and groups of spellings that are listed.
_MAX_LISTED = 20


def unbounded_sketch() -> Sketch:
    """Return an empty sketch for any values of a column."""
    return Sketch(-np.inf, np.inf, capacity=CAPACITY)


def sketch_columns(pairs: list[tuple[Sketch, NDArray[Any]]], n_jobs: int | None) -> None:
    """Add values to sketches, each of which is filled by one thread."""
    n_workers = resolve_n_jobs_for(n_jobs, sum(len(values) for _, values in pairs))
    mapped(lambda pair: pair[0].add(pair[1]), pairs, n_workers)


class Keys(NamedTuple):
    """Entity and time of each row of a batch."""

    #: Entities as text.
    entities: pa.Array
    #: Code of the entity of each row, or None if there are too many entities for codes.
    codes: NDArray[np.int64] | None
    #: Names of the entities that occur for the first time; without codes, all names of the batch.
    new: pa.Array
    times: CodedTimes


class Profile:
    """Facts about the rows of a table or a partition, which `Profiler` collects."""

    def __init__(self, names: list[str], texts: list[str]) -> None:
        self.n = 0
        self.days: Counter[Any] = Counter()
        self.time_dtype: Any = None
        self.entities = Entities()
        self.n_unnamed = 0
        self.has_times_of_day = False
        self.may_be_ids = dict.fromkeys(names, True)
        self.sketches = {name: unbounded_sketch() for name in names}
        self.texts = {name: CellFacts() for name in texts}
        self.equal, self.growth = EqualColumns(names), Growth(names)
        #: Index in the sample of `growth` of each entity with a code, or -1; the last is for rows without an entity.
        self.sampled = np.full(1, -1)


class Profiler:
    """Aggregator of the profile of a table, batch by batch and partition by partition.

    Parameters
    ----------
    entity : str
        Name of the column of entities, whose cells are text.
    times : Times
        Reader of the column of times.
    names : list of str
        Names of the columns of numbers that may be features.
    texts : list of str
        Names of the columns of text whose cells are counted.
    n_jobs : int or None
        Number of threads that fill sketches; None means all cores.
    """

    def __init__(
        self, entity: str, times: Times, names: Iterable[str], texts: Iterable[str], *, n_jobs: int | None = 1
    ) -> None:
        self.entity, self.times, self.n_jobs = entity, times, n_jobs
        self.names, self.texts = list(names), list(texts)
        self.columns = tuple(dict.fromkeys([entity, times.name, *self.names, *self.texts]))

    def start(self) -> Profile:
        """Return the profile of an empty table."""
        return Profile(self.names, self.texts)

    def update(self, profile: Profile, batch: pa.RecordBatch, first_row: int | None) -> Profile:
        """Add a batch; `first_row` is the number of its first row, or None if it is not known."""
        return self.add(profile, batch, self.keys(profile, batch, first_row))

    def keys(self, profile: Profile, batch: pa.RecordBatch, first_row: int | None) -> Keys:
        """Return the entity and time of each row of a batch, and give codes to new entities."""
        times = self.times.coded(batch.column(self.times.name), first_row)
        entities = as_text(batch.column(self.entity), self.entity)
        return Keys(entities, *profile.entities.codes(entities), times)

    def add(self, profile: Profile, batch: pa.RecordBatch, keys: Keys) -> Profile:
        """Add a batch whose keys have been read."""
        entities, _, _, times = keys
        days = days_of(times.distinct)
        counts = np.bincount(times.codes, minlength=len(days))
        profile.days.update(pd.Series(counts).groupby(days.to_numpy()).sum().to_dict())
        profile.time_dtype = times.distinct.dtype if profile.time_dtype is None else profile.time_dtype
        profile.has_times_of_day |= bool((times.distinct.dt.tz_localize(None) != days).any())
        profile.n_unnamed += entities.null_count
        day_numbers = days.to_numpy().astype("datetime64[D]").astype(np.int64)
        profile.entities.add_days(keys.codes, day_numbers[times.codes])
        columns = {name: number_column(batch, name) for name in self.names}
        profile.equal.update(columns)
        self._add_growth(profile, keys, columns)
        for name, values in columns.items():
            # The first values suffice to rule out most columns.
            if profile.may_be_ids[name]:
                profile.may_be_ids[name] = _may_be_ids(values, is_first=profile.n == 0)
        sketch_columns([(profile.sketches[name], values) for name, values in columns.items()], self.n_jobs)
        for name in self.texts:
            # Errors here do not name rows, since some engines have no row numbers.
            column = batch.column(name)
            profile.texts[name].update(column.cast(pa.string()), None)
        profile.n += batch.num_rows
        return profile

    def _add_growth(self, profile: Profile, keys: Keys, columns: dict[str, NDArray[Any]]) -> None:
        if keys.codes is None:
            profile.growth.update(keys.entities, keys.times.of_rows, columns)
            return
        if len(keys.new):
            # An entity that was once refused or replaced never comes into the sample again.
            profile.growth.admit(keys.new.to_pylist())
            names = profile.entities.names
            sampled = pc.index_in(pa.array(profile.growth.entities, pa.string()), value_set=names).to_numpy()
            profile.sampled = np.full(len(names) + 1, -1)
            profile.sampled[sampled] = np.arange(len(sampled))
        profile.growth.add_rows(profile.sampled[keys.codes], keys.times, columns)

    def merge(self, profiles: Iterable[Profile]) -> Profile:
        """Combine the profiles of partitions, which may come in any order."""
        merged = self.start()
        for profile in profiles:
            if profile.n == 0:
                continue
            merged.n += profile.n
            merged.days += profile.days
            merged.time_dtype = profile.time_dtype if merged.time_dtype is None else merged.time_dtype
            merged.entities.merge(profile.entities)
            merged.n_unnamed += profile.n_unnamed
            merged.has_times_of_day |= profile.has_times_of_day
            for name in self.names:
                merged.may_be_ids[name] &= profile.may_be_ids[name]
                merged.sketches[name].merge(profile.sketches[name])
            merged.equal.merge(profile.equal)
            merged.growth.merge(profile.growth)
            for name in self.texts:
                merged.texts[name].merge(profile.texts[name])
        return merged

    def summary(
        self,
        profile: Profile,
        *,
        features: list[str],
        left_out: dict[str, str],
        n_read: int,
        n_duplicate_keys: int,
        notes: Iterable[str],
    ) -> TableProfile:
        """Return the profile of a table for the user.

        Parameters
        ----------
        profile : Profile
            Facts about all rows that are kept.
        features : list of str
            Names of the features.
        left_out : dict of str to str
            Names of the other columns, with the reason why they are not features.
        n_read, n_duplicate_keys : int
            Number of rows that were read, and number of kept rows that share entity and time with another row.
        notes : iterable of str
            Notes that were made while reading.
        """
        days = pd.DatetimeIndex(sorted(profile.days))
        far = far_days(days)
        period = days[~np.isin(np.arange(len(days)), far)]
        n_period = (period[-1] - period[0]).days + 1
        constant, flags, id_like, infinite, label_like, nan_share = [], [], [], [], [], {}
        for name in features:
            sketch = profile.sketches[name]
            low, high = sketch.extremes() or (np.nan, np.nan)
            if sketch.n_missing:
                nan_share[name] = sketch.n_missing / profile.n
            if np.isinf([low, high]).any():
                infinite.append(name)
            if sketch.n_distinct() == 2:
                flags.append(name)
            if low == high:
                constant.append(name)
            elif profile.may_be_ids[name] and _are_mostly_distinct(sketch):
                id_like.append(name)
            if looks_like_label(name, low, high, sketch.n_distinct()):
                label_like.append(name)
        # A flag that is not reset during a few days is no counter.
        growing = set(profile.growth.growing()) - {*constant, *flags, *id_like}
        left_out = {
            name: profile.texts[name].reason() if name in profile.texts and why == "text" else why
            for name, why in left_out.items()
        }
        groups = similar_spellings(profile.entities)
        return TableProfile(
            n_read=n_read,
            n_rows=profile.n,
            n_duplicates=n_read - profile.n,
            n_duplicate_keys=n_duplicate_keys,
            n_entities=len(profile.entities) + (profile.n_unnamed > 0),
            n_unnamed=profile.n_unnamed,
            n_days=len(days),
            n_features=len(features),
            first_day=days[0].date().isoformat(),
            last_day=days[-1].date().isoformat(),
            n_missing_days=n_period - len(period),
            n_period_days=n_period,
            has_times_of_day=profile.has_times_of_day,
            gaps=_gaps(period),
            far_days={days[index].date().isoformat(): profile.days[days[index]] for index in far[:_MAX_LISTED]},
            features=list(features),
            constant=constant,
            id_like=id_like,
            infinite=infinite,
            label_like=label_like,
            growing=[name for name in features if name in growing],
            equal=profile.equal.groups(name for name in features if name not in constant),
            nan_share=nan_share,
            left_out=left_out,
            time_zones=sorted(zone or "none" for zone in self.times.zones) if self.times.is_mixed else [],
            spellings=[list(group) for group in groups[:_MAX_LISTED]],
            n_spellings=len(groups),
            notes=list(notes),
        )


def far_days(days: pd.DatetimeIndex) -> list[int]:
    """Return the positions of the days that lie more than a year from the longest run of days, in ascending order."""
    if len(days) < 2:
        return []
    numbers = days.to_numpy().astype("datetime64[D]").astype(np.int64)
    cuts = np.flatnonzero(np.diff(numbers) > _FAR_DAYS) + 1
    runs = np.split(np.arange(len(days)), cuts)
    longest = max(runs, key=len)
    # If the days are spread over years, the longest run is not typical, so no day counts as far.
    if len(runs) == 1 or len(longest) < 3 * (len(days) - len(longest)):
        return []
    near = set(longest.tolist())
    return [index for index in range(len(days)) if index not in near]


def _gaps(days: pd.DatetimeIndex) -> list[list[str]]:
    """Return the longest runs of days without rows, in ascending order."""
    steps = np.array([(after - before).days for before, after in pairwise(days)], dtype=np.int64)
    indices = np.flatnonzero(steps > 1)
    longest = np.sort(indices[np.argsort(-steps[indices], kind="stable")[:_MAX_LISTED]])
    day = pd.Timedelta(days=1)
    return [
        [(days[index] + day).date().isoformat(), (days[index + 1] - day).date().isoformat()]
        for index in longest.tolist()
    ]


def _may_be_ids(values: NDArray[Any], *, is_first: bool) -> bool:
    """Return whether values of a column are whole numbers and, at its beginning, mostly distinct."""
    values = values[np.isfinite(values)]
    if not np.all(np.mod(values, 1) == 0):
        return False
    first = values[:_FIRST_VALUES]
    return not is_first or len(np.unique(first)) >= _ID_LIKE_SHARE * len(first)


def _are_mostly_distinct(sketch: Any) -> bool:
    """Return whether nearly all values of a column of whole numbers are distinct."""
    n, extremes = sketch.n, sketch.extremes()
    if n < _ID_LIKE_MIN_ROWS or extremes is None:
        return False
    # If there are more distinct values than the sketch counts, their range is an upper bound of their number.
    n_distinct = sketch.n_distinct()
    n_distinct = extremes[1] - extremes[0] + 1 if n_distinct is None else n_distinct
    return bool(n_distinct >= _ID_LIKE_SHARE * n)


def repeated_rows(rows: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which rows equal an earlier row in every column; columns may hold any objects."""
    comparable = {}
    for index, name in enumerate(rows.columns):
        column = rows[name]
        try:
            comparable[index] = column if column.dtype != object else pd.Series(pd.factorize(column)[0])
        except TypeError:
            # Lists and similar objects cannot be hashed, so their text is compared.
            comparable[index] = pd.Series([repr(_without_arrays(value)) for value in column])
    columns = {
        index: np.asarray(column) if column.dtype == object else column.array for index, column in comparable.items()
    }
    is_repeated: NDArray[np.bool_] = pd.DataFrame(columns).duplicated().to_numpy()
    return is_repeated


def _without_arrays(value: Any) -> Any:
    """Return a value with arrays replaced by lists, since the text of a long array is shortened."""
    if isinstance(value, np.ndarray):
        return [_without_arrays(inner) for inner in value.tolist()]
    return value
