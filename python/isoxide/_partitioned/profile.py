"""Profile a partitioned table before detection: features, days, repeated rows and a sketch of each column.

`ProfiledTable` makes one pass if all goes well:

    count rows -> survey: zones of times, hashes of the keys, profile, and the rows that will be needed later

The survey assumes that times are written in one zone and that no row repeats an earlier one. If its result says
otherwise, further passes follow:

    several zones  -> survey again, with times as they are written
    repeated keys  -> rows whose keys repeat -> survey again without the rows that repeat an earlier one, if any
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from isoxide._common.files import named_if_full
from isoxide._frames.cells import BadCellError
from isoxide._frames.dtypes import is_number
from isoxide._frames.features import choose_features, roles_of_features
from isoxide._frames.keys import as_text
from isoxide._frames.names import text_names
from isoxide._frames.profile import Keys, Profile, Profiler, repeated_rows
from isoxide._frames.times import CodedTimes, Times, TimeStyle, zones
from isoxide._partitioned.aggregators import (
    ROW_NUMBER,
    AggregateAll,
    Aggregator,
    CollectRows,
    Partition,
    PickRows,
    with_row_numbers,
)
from isoxide._partitioned.engine import Engine
from isoxide._partitioned.quantiles import Quantiles
from isoxide._partitioned.views import GROUP, TextKeys, WithoutRows

__all__ = ["ProfiledTable"]

#: Maximum number of rows that are held in memory as possible duplicates.
MAX_SHARED_KEYS = 4_000_000
#: Maximum number of planned rows that the survey collects.
MAX_PLANNED_ROWS = 1_000_000
#: Number of leading bits of a hash that choose the file it is written to.
_FILE_BITS = 6


@dataclass
class SurveyState:
    """State of `SurveyRows`: what is known about the rows so far."""

    #: Profile of the rows; None once the times turned out to be written in several zones.
    profile: Profile | None
    #: Time zones in which times are written.
    zones: set[str] = field(default_factory=set)
    #: Hashes of the keys of all rows, unless they are in files.
    hashes: list[NDArray[np.uint64]] = field(default_factory=list)
    #: Hash of each entity with a code, which saves hashing the text of each row.
    entity_hashes: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, dtype=np.uint64))


class Survey(NamedTuple):
    """Result of `SurveyRows`: what is known about all rows."""

    profile: Profile | None
    zones: set[str]
    #: Hashes of entity and time that occur more than once, in ascending order.
    repeated: NDArray[np.uint64]


class SurveyRows(Aggregator[SurveyState, Survey]):
    """Profile a table, find the time zones of its times, and the hashes of entity and time that occur more than once.

    Parameters
    ----------
    profiler : Profiler
        Profiler that tables in memory use too.
    has_zones : bool
        Whether times are text whose zones are not known yet. The profile is then given up if there are several.
    has_repeated_keys : bool
        Whether to look for hashes that occur more than once.
    folder : Path or None
        Folder that all partitions can write to. Hashes are kept there in files by their leading bits. If there is no
        folder, the state takes 8 bytes per row for them.
    """

    def __init__(self, profiler: Profiler, *, has_zones: bool, has_repeated_keys: bool, folder: Path | None) -> None:
        self.profiler, self.has_zones = profiler, has_zones
        self.has_repeated_keys, self.folder = has_repeated_keys, folder
        self.columns = profiler.columns

    def init(self, partition: Partition) -> SurveyState:
        """Return the state of a table without rows."""
        return SurveyState(self.profiler.start())

    def update(self, state: SurveyState, batch: pa.RecordBatch, first_row: int | None) -> SurveyState:
        """Add the rows of a batch."""
        if batch.num_rows == 0:
            return state
        times = self.profiler.times
        if self.has_zones:
            state.zones |= zones(batch.column(times.name))
            if len(state.zones) > 1 and times.style.timezone is None:
                state.profile = None
        if state.profile is None:
            return state
        try:
            keys = self.profiler.keys(state.profile, batch, first_row)
        except BadCellError:
            if not self.has_zones:
                raise
            # The time may be valid if another row has another zone. If it is not, the next survey raises the error.
            state.profile = None
            return state
        if self.has_repeated_keys:
            self._add_hashes(state, keys)
        state.profile = self.profiler.add(state.profile, batch, keys)
        return state

    def _add_hashes(self, state: SurveyState, keys: Keys) -> None:
        if keys.codes is None:
            hashes = hash_keys(keys.entities, keys.times)
        else:
            state.entity_hashes = np.append(state.entity_hashes, _hash_texts(keys.new))
            hashes = _combined(np.append(state.entity_hashes, _UNNAMED)[keys.codes], keys.times)
        if self.folder is None:
            state.hashes.append(hashes)
            return
        file_numbers = (hashes >> np.uint64(64 - _FILE_BITS)).astype(np.uint8)
        order = np.argsort(file_numbers, kind="stable")
        ends = np.cumsum(np.bincount(file_numbers, minlength=1 << _FILE_BITS))
        for number, chunk in enumerate(np.split(hashes[order], ends[:-1])):
            with named_if_full(self.folder), open(self.folder / str(number), "ab") as file:
                file.write(chunk.data)

    def merge(self, states: Iterable[SurveyState]) -> SurveyState:
        """Combine the states of all partitions."""
        merged = SurveyState(self.profiler.start())
        profiles: list[Profile] = []
        for state in states:
            merged.zones |= state.zones
            merged.hashes += state.hashes
            if state.profile is None:
                merged.profile = None
            else:
                profiles.append(state.profile)
        if len(merged.zones) > 1 and self.profiler.times.style.timezone is None:
            merged.profile = None
        if merged.profile is not None:
            merged.profile = self.profiler.merge(profiles)
        return merged

    def finish(self, state: SurveyState) -> Survey:
        """Return the profile, and the hashes that occur more than once."""
        if state.profile is None:
            return Survey(None, state.zones, np.empty(0, dtype=np.uint64))
        if self.folder is None:
            return Survey(state.profile, state.zones, _repeated(np.concatenate([_NO_HASHES, *state.hashes])))
        files = [self.folder / str(number) for number in range(1 << _FILE_BITS)]
        repeated = [_repeated(np.fromfile(path, np.uint64)) for path in files if path.exists()]
        return Survey(state.profile, state.zones, np.concatenate([_NO_HASHES, *repeated]))


_NO_HASHES = np.empty(0, dtype=np.uint64)
#: Hash of a missing entity.
_UNNAMED = np.uint64(0x9E3779B97F4A7C15)


def hash_keys(entities: pa.Array, times: CodedTimes) -> NDArray[np.uint64]:
    """Return a hash for each row; rows with the same entity and time have the same hash in every partition."""
    hashes = _hash_texts(entities)
    if entities.null_count:
        hashes = np.where(entities.is_null().to_numpy(zero_copy_only=False), _UNNAMED, hashes)
    return _combined(hashes, times)


def _hash_texts(texts: pa.Array) -> NDArray[np.uint64]:
    hashes: NDArray[np.uint64] = np.asarray(pd.util.hash_pandas_object(texts.to_pandas(), index=False), dtype=np.uint64)
    return hashes


def _combined(hashes: NDArray[np.uint64], times: CodedTimes) -> NDArray[np.uint64]:
    """Combine the hashes of entities with those of times (the last step of splitmix64)."""
    mixed = times.microseconds.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    combined: NDArray[np.uint64] = (hashes ^ mixed[times.codes]) * np.uint64(0x94D049BB133111EB)
    combined ^= combined >> np.uint64(31)
    return combined


def _repeated(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    ordered = np.sort(hashes)
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


class RowsOfKeys(CollectRows):
    """Collect the rows whose keys have one of the given hashes, with their row numbers.

    Parameters
    ----------
    hashes : ndarray of uint64
        Hashes of the keys to collect.
    entity : str
        Name of the column with the entities as text.
    times : Times
        Reader of the times.
    schema : pyarrow.Schema
        Names and types of the columns that are collected.
    max_rows : int
        Maximum number of rows to collect; more rows raise a ValueError.
    """

    def __init__(self, hashes: NDArray[np.uint64], entity: str, times: Times, schema: pa.Schema, max_rows: int) -> None:
        self.hashes, self.entity, self.times, self.max_rows = hashes, entity, times, max_rows
        self.columns = tuple(schema.names)
        self.schema = pa.schema([*schema, pa.field(ROW_NUMBER, pa.int64())])

    def update(self, state: list[pa.RecordBatch], batch: pa.RecordBatch, first_row: int | None) -> list[pa.RecordBatch]:
        """Add the rows of a batch."""
        batch = batch.select(list(self.columns))
        times = self.times.coded(batch.column(self.times.name), first_row)
        hashes = hash_keys(as_text(batch.column(self.entity), self.entity), times)
        rows = np.flatnonzero(np.isin(hashes, self.hashes))
        if rows.size:
            assert first_row is not None
            state.append(with_row_numbers(batch.take(pa.array(rows)), rows + first_row))
        return self._checked(state)

    def merge(self, states: Iterable[list[pa.RecordBatch]]) -> list[pa.RecordBatch]:
        """Return the rows of all partitions."""
        return self._checked(super().merge(states))

    def _checked(self, state: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
        if sum(batch.num_rows for batch in state) > self.max_rows:
            raise ValueError(
                f"more than {self.max_rows:,} rows share {self.entity!r} and {self.times.name!r} with other "
                "rows; drop duplicates first, or name other columns as entity and time"
            )
        return state


class ProfiledTable:
    """Table with its profile, without the rows that equal an earlier row.

    Parameters
    ----------
    engine : Engine
        Engine that reads the table.
    entity, time : str
        Names of the columns with the entity and the time.
    include, exclude : str or list of str or None
        Names or patterns of columns that are features, and of columns that are not.
    groups : str, optional
        Name of the column with group labels.
    style : TimeStyle, optional
        Style in which times are written.
    planned_rows : callable, optional
        Function that returns the numbers of rows that will be needed, for a number of rows and of features. They are
        collected in the same pass, if the engine knows row numbers, so that `fetch` need not read the table again.

    Attributes
    ----------
    engine : Engine
        Engine that reads the rows that are kept, with entities as text.
    features : list of str
        Names of the features.
    times : Times
        Reader of the times.
    profile : TableProfile
        Summary of the table for the user.
    entities : Entities
        Entities of the table, with the first day of each.
    n_rows : int
        Number of rows that are kept.
    days : dict
        Number of rows of each day.
    time_dtype : numpy or pandas dtype
        Dtype of the times after reading.
    group_column : str or None
        Name of the column that holds the group labels as text.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        entity: str,
        time: str,
        include: str | Iterable[str] | None = None,
        exclude: str | Iterable[str] | None = None,
        groups: str | None = None,
        style: TimeStyle | None = None,
        planned_rows: Callable[[int, int], NDArray[np.int64]] | None = None,
    ) -> None:
        roles_of_features(entity, time, include, exclude)(engine.schema.names, engine.name)
        self.entity, self.time = entity, time
        # A column of numbers can be a feature and, as text in a separate column, the group label.
        keyed = TextKeys(engine, [entity], group=None if groups == entity else groups)
        self.group_column = groups if groups in (None, entity) else GROUP
        reasons = dict(engine.reasons)

        def choose(empty: set[str]) -> tuple[list[str], dict[str, str]]:
            return choose_features(
                engine.schema, entity, time, include=include, exclude=exclude, is_empty=empty.__contains__,
                reasons=reasons,
            )  # fmt: skip

        # Choose by names and dtypes before anything is read.
        candidates, left_out = choose(set())
        texts = [name for name, why in left_out.items() if why == "text" and name not in reasons]
        n_read = engine.count()
        if n_read == 0:
            raise ValueError(f"{engine.name} has no rows")
        self.engine: Engine = keyed
        self._planned_rows = planned_rows
        self._fetched: tuple[NDArray[np.int64], pa.Table] | None = None
        dtype = engine.schema.field(time).type
        is_text = not (is_number(dtype) or pa.types.is_timestamp(dtype) or pa.types.is_date(dtype))
        self.times = Times(time, style or TimeStyle())
        profile, n_shared = self._surveyed(candidates, texts, has_zones=is_text)
        profiler = Profiler(entity, self.times, candidates, texts)
        self.entities = profile.entities
        self.sketches = profile.sketches
        self.features, left_out = choose({name for name in candidates if profile.sketches[name].n == 0})
        for name in engine.untyped:
            if name in profile.texts and profile.texts[name].category in ("mixed", "numbers"):
                raise profile.texts[name].refusal(name) if profile.texts[name].bad is not None else _untyped(name)
        self.n_rows, self.days, self.time_dtype = profile.n, profile.days, profile.time_dtype
        self.profile = profiler.summary(
            profile, features=self.features, left_out=left_out, n_read=n_read, n_duplicate_keys=n_shared,
            notes=dict.fromkeys([*engine.notes, *text_names(engine.schema.names, engine.name)[1]]),
        )  # fmt: skip

    def _surveyed(self, candidates: list[str], texts: list[str], *, has_zones: bool) -> tuple[Profile, int]:
        """Return the profile of the rows that are kept, and the number of different rows that share entity and time.

        The attributes `times` and `engine` are set to the zones that occur, and to the rows that are kept.
        """
        survey = self._survey(candidates, texts, has_zones=has_zones)
        if has_zones:
            self.times = Times(self.time, self.times.style, frozenset(survey.zones))
        if survey.profile is None:
            survey = self._survey(candidates, texts)
        n_shared = 0
        if survey.repeated.size:
            dropped, n_shared = self._repeated_rows(survey.repeated)
            if dropped.size:
                self.engine = WithoutRows(self.engine, dropped)
                survey = self._survey(candidates, texts, has_repeated_keys=False)
        assert survey.profile is not None
        return survey.profile, n_shared

    def _survey(
        self, candidates: list[str], texts: list[str], *, has_zones: bool = False, has_repeated_keys: bool = True
    ) -> Survey:
        """Survey the table, and collect the rows that will be needed if their numbers are known."""
        engine = self.engine
        profiler = Profiler(self.entity, self.times, candidates, texts, n_jobs=engine.n_jobs)
        # A unique key means that no row is repeated. Rows that share entity and time are then not counted.
        has_repeated_keys = has_repeated_keys and not engine.key
        pickers: list[PickRows] = []
        if self._planned_rows is not None and not engine.key and candidates:
            rows = self._planned_rows(engine.count(), len(candidates))
            if 0 < len(rows) <= MAX_PLANNED_ROWS:
                pickers = [PickRows(rows, engine.schema, candidates, engine.name)]
        with tempfile.TemporaryDirectory(prefix="isoxide-keys-") as folder:
            path = Path(folder) if engine.is_local else None
            surveyor = SurveyRows(profiler, has_zones=has_zones, has_repeated_keys=has_repeated_keys, folder=path)
            survey, *picked = engine.aggregate(AggregateAll([surveyor, *pickers]))
        if picked:
            self._fetched = pickers[0].rows, picked[0]
        result: Survey = survey
        return result

    def fetch(self, rows: NDArray[np.int64], columns: list[str]) -> pa.Table:
        """Return rows of the table by their numbers: those that were collected, or from another pass."""
        if self._fetched is None and self._planned_rows is not None:
            # The survey could not collect them, so all planned rows are fetched together.
            planned = np.union1d(rows, self._planned_rows(self.n_rows, len(self.features)))
            if len(planned) <= MAX_PLANNED_ROWS:
                self._fetched = planned, self.engine.fetch(planned, self.features)
        if self._fetched is not None:
            numbers, table = self._fetched
            positions = np.searchsorted(numbers, rows)
            if set(columns) <= set(table.column_names) and np.array_equal(numbers.take(positions, mode="clip"), rows):
                return table.select(columns).take(pa.array(positions))
        return self.engine.fetch(rows, columns)

    def _repeated_rows(self, repeated: NDArray[np.uint64]) -> tuple[NDArray[np.int64], int]:
        """Return the numbers of the rows that repeat an earlier one, and the number of others that share a key."""
        engine = self.engine
        columns = pa.schema([field for field in engine.schema if field.name != GROUP])
        collector = RowsOfKeys(repeated, self.entity, self.times, columns, MAX_SHARED_KEYS)
        rows = engine.aggregate(collector).sort_by(ROW_NUMBER)
        numbers: NDArray[np.int64] = rows[ROW_NUMBER].to_numpy()
        frame = rows.drop_columns([ROW_NUMBER]).to_pandas()
        frame[self.time] = self.times.read(rows[self.time]).to_numpy()
        shared = frame.duplicated([self.entity, self.time], keep=False).to_numpy()
        frame, numbers = frame[shared].reset_index(drop=True), numbers[shared]
        is_repeated = repeated_rows(frame)
        n_shared = int(frame[~is_repeated].duplicated([self.entity, self.time], keep=False).sum())
        return numbers[is_repeated], n_shared

    def quantiles(self, qs: Iterable[float]) -> Quantiles:
        """Return the quantiles of all features, as far as the sketches determine them; the sketches are freed."""
        schema = self.engine.schema
        dtypes = {name: np.float32 if schema.field(name).type == pa.float32() else np.float64 for name in self.features}
        sketches = {name: self.sketches.pop(name) for name in self.features}
        return Quantiles(sketches, qs, dtypes, n_jobs=self.engine.n_jobs)


def _untyped(name: str) -> ValueError:
    return ValueError(f"column {name!r} holds numbers, some of them as text; convert it with astype, or exclude it")
