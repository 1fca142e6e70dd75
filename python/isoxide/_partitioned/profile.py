"""Profile a partitioned table before detection: features, days, repeated rows and a sketch of each column.

`ProfiledTable` makes these passes:

    count rows -> zones of times -> hashes of the keys -> rows whose keys repeat -> profile of the rows that are kept
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from isoxide._common.files import named_if_full
from isoxide._frames.dtypes import is_number
from isoxide._frames.features import choose_features, roles_of_features
from isoxide._frames.keys import as_text
from isoxide._frames.names import text_names
from isoxide._frames.profile import Profile, Profiler, repeated_rows
from isoxide._frames.times import Times, TimeStyle, zones
from isoxide._partitioned.aggregators import (
    ROW_NUMBER,
    Aggregator,
    CollectRows,
    Partition,
    with_row_numbers,
)
from isoxide._partitioned.engine import Engine
from isoxide._partitioned.quantiles import Quantiles
from isoxide._partitioned.views import GROUP, TextKeys, WithoutRows

__all__ = ["ProfiledTable"]

#: Maximum number of rows that are held in memory as possible duplicates.
MAX_SHARED_KEYS = 4_000_000
#: Number of leading bits of a hash that choose the file it is written to.
_FILE_BITS = 6


class CollectZones(Aggregator[set[Any], set[Any]]):
    """Collect the time zones that occur in a text column of times."""

    def __init__(self, time: str) -> None:
        self.columns = (time,)

    def init(self, partition: Partition) -> set[Any]:
        """Return an empty set of zones."""
        return set()

    def update(self, state: set[Any], batch: pa.RecordBatch, first_row: int | None) -> set[Any]:
        """Add the zones of a batch."""
        return state | zones(batch.column(self.columns[0]))

    def merge(self, states: Iterable[set[Any]]) -> set[Any]:
        """Return the zones of all partitions."""
        return set().union(*states)


class HashKeys(Aggregator[list[NDArray[np.uint64]], NDArray[np.uint64]]):
    """Find the hashes of entity and time that occur more than once, in ascending order.

    Parameters
    ----------
    entity : str
        Name of the column with the entities.
    times : Times
        Reader of the times.
    folder : Path or None
        Folder that all partitions can write to. Hashes are kept there in files by their leading bits, and the state
        is empty. If there is no folder, the state takes 8 bytes per row.
    """

    def __init__(self, entity: str, times: Times, folder: Path | None) -> None:
        self.entity, self.times, self.folder = entity, times, folder
        self.columns = (entity, times.name)

    def init(self, partition: Partition) -> list[NDArray[np.uint64]]:
        """Return an empty list of hashes."""
        return []

    def update(
        self, state: list[NDArray[np.uint64]], batch: pa.RecordBatch, first_row: int | None
    ) -> list[NDArray[np.uint64]]:
        """Add the hashes of a batch."""
        hashes = self.hashes(batch, first_row)
        if self.folder is None:
            state.append(hashes)
            return state
        file_numbers = (hashes >> np.uint64(64 - _FILE_BITS)).astype(np.int64)
        order = np.argsort(file_numbers, kind="stable")
        ends = np.cumsum(np.bincount(file_numbers, minlength=1 << _FILE_BITS))
        for number, chunk in enumerate(np.split(hashes[order], ends[:-1])):
            with named_if_full(self.folder), open(self.folder / str(number), "ab") as file:
                file.write(chunk.tobytes())
        return state

    def hashes(self, batch: pa.RecordBatch, first_row: int | None) -> NDArray[np.uint64]:
        """Return a hash for each row of a batch; rows with equal keys have equal hashes."""
        entities = as_text(batch.column(self.entity), self.entity).to_pandas()
        frame = pd.DataFrame({"entity": entities, "time": self.times.of(batch, first_row)})
        hashes: NDArray[np.uint64] = np.asarray(pd.util.hash_pandas_object(frame, index=False), dtype=np.uint64)
        return hashes

    def merge(self, states: Iterable[list[NDArray[np.uint64]]]) -> list[NDArray[np.uint64]]:
        """Return the hashes of all partitions."""
        return [chunk for state in states for chunk in state]

    def finish(self, state: list[NDArray[np.uint64]]) -> NDArray[np.uint64]:
        """Return the hashes that occur more than once."""
        if self.folder is None:
            return _repeated(np.concatenate([np.empty(0, dtype=np.uint64), *state]))
        files = [self.folder / str(number) for number in range(1 << _FILE_BITS)]
        repeated = [_repeated(np.fromfile(path, np.uint64)) for path in files if path.exists()]
        return np.concatenate([np.empty(0, dtype=np.uint64), *repeated])


def _repeated(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    ordered = np.sort(hashes)
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


class RowsOfKeys(CollectRows):
    """Collect the rows whose keys have one of the given hashes, with their row numbers.

    Parameters
    ----------
    hashes : ndarray of uint64
        Hashes of the keys to collect.
    keys : HashKeys
        Aggregator that computes the hash of a key.
    schema : pyarrow.Schema
        Names and types of the columns that are collected.
    max_rows : int
        Maximum number of rows to collect; more rows raise a ValueError.
    """

    def __init__(self, hashes: NDArray[np.uint64], keys: HashKeys, schema: pa.Schema, max_rows: int) -> None:
        self.hashes, self.keys, self.max_rows = hashes, keys, max_rows
        self.columns = tuple(schema.names)
        self.schema = pa.schema([*schema, pa.field(ROW_NUMBER, pa.int64())])

    def update(self, state: list[pa.RecordBatch], batch: pa.RecordBatch, first_row: int | None) -> list[pa.RecordBatch]:
        """Add the rows of a batch."""
        batch = batch.select(list(self.columns))
        rows = np.flatnonzero(np.isin(self.keys.hashes(batch, first_row), self.hashes))
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
                f"more than {self.max_rows:,} rows share {self.keys.entity!r} and {self.keys.times.name!r} with other "
                "rows; drop duplicates first, or name other columns as entity and time"
            )
        return state


class ProfileRows(Aggregator[Profile, Profile]):
    """Profile a table with the `Profiler` that tables in memory use too."""

    def __init__(self, profiler: Profiler) -> None:
        self.profiler, self.columns = profiler, profiler.columns

    def init(self, partition: Partition) -> Profile:
        """Return the profile of an empty table."""
        return self.profiler.start()

    def update(self, state: Profile, batch: pa.RecordBatch, first_row: int | None) -> Profile:
        """Return the profile with a batch added to it."""
        return self.profiler.update(state, batch, first_row) if batch.num_rows else state

    def merge(self, states: Iterable[Profile]) -> Profile:
        """Return the profile of all partitions."""
        return self.profiler.merge(states)


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
        dtype = engine.schema.field(time).type
        is_text = not (is_number(dtype) or pa.types.is_timestamp(dtype) or pa.types.is_date(dtype))
        time_zones = frozenset(keyed.aggregate(CollectZones(time)) if is_text else ())
        self.times = Times(time, style or TimeStyle(), time_zones)
        self.engine, n_shared = self._without_duplicates(keyed)
        profiler = Profiler(entity, self.times, candidates, texts)
        profile = self.engine.aggregate(ProfileRows(profiler))
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

    def _without_duplicates(self, engine: Engine) -> tuple[Engine, int]:
        """Return the table without repeated rows, and the number of different rows that share entity and time."""
        if engine.key:
            # The key is unique, so no row is repeated. Rows that share entity and time are not counted.
            return engine, 0
        with tempfile.TemporaryDirectory(prefix="isoxide-keys-") as folder:
            keys = HashKeys(self.entity, self.times, Path(folder) if engine.is_local else None)
            repeated = engine.aggregate(keys)
        if not repeated.size:
            return engine, 0
        keys.folder = None
        columns = pa.schema([field for field in engine.schema if field.name != GROUP])
        rows = engine.aggregate(RowsOfKeys(repeated, keys, columns, MAX_SHARED_KEYS)).sort_by(ROW_NUMBER)
        numbers: NDArray[np.int64] = rows[ROW_NUMBER].to_numpy()
        frame = rows.drop_columns([ROW_NUMBER]).to_pandas()
        frame[self.time] = self.times.read(rows[self.time]).to_numpy()
        shared = frame.duplicated([self.entity, self.time], keep=False).to_numpy()
        frame, numbers = frame[shared].reset_index(drop=True), numbers[shared]
        is_repeated = repeated_rows(frame)
        dropped = numbers[is_repeated]
        n_shared = int(frame[~is_repeated].duplicated([self.entity, self.time], keep=False).sum())
        return (WithoutRows(engine, dropped) if dropped.size else engine), n_shared

    def quantiles(self, qs: Iterable[float]) -> Quantiles:
        """Return the quantiles of all features, as far as the sketches determine them."""
        schema = self.engine.schema
        dtypes = {name: np.float32 if schema.field(name).type == pa.float32() else np.float64 for name in self.features}
        return Quantiles({name: self.sketches[name] for name in self.features}, qs, dtypes)


def _untyped(name: str) -> ValueError:
    return ValueError(f"column {name!r} holds numbers, some of them as text; convert it with astype, or exclude it")
