"""A table in parts that has been looked at: its features, its profile, and the rows that are there once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isoxide._frames.dtypes import is_number
from isoxide._frames.features import choose_features, roles_of_features
from isoxide._frames.names import text_names
from isoxide._frames.profile import Profiler, repeated_rows
from isoxide._frames.times import Times, TimeStyle
from isoxide._partitioned.aggregators import from_pickle
from isoxide._partitioned.filter import Without
from isoxide._partitioned.keyed import GROUP, Keyed
from isoxide._partitioned.profile import FindKeys, HashKeys, Survey, Zones, temporary_folder
from isoxide._partitioned.quantiles import Quantiles
from isoxide._partitioned.table import ROW_NUMBER, PartedTable

#: Rows that are held in memory as possible duplicates.
MOST_DUPLICATES = 4_000_000


class Surveyed:
    """A table that has been looked over, without the rows that are there twice.

    Attributes
    ----------
    table : PartedTable
        The rows that are kept; keys are text.
    features : list of str
        Names of the features.
    times : Times
        How times are read.
    profile : TableProfile
        What is told of the table.
    days : dict
        Rows of each day.
    time_dtype : numpy or pandas dtype
        Type of the times that were read.
    group_column : str or None
        Column that holds the labels of the groups, as text.
    """

    def __init__(
        self,
        table: PartedTable,
        *,
        entity: str,
        time: str,
        include: str | Iterable[str] | None,
        exclude: str | Iterable[str] | None,
        groups: str | None = None,
        style: TimeStyle | None = None,
    ) -> None:
        roles_of_features(entity, time, include, exclude)(table.schema.names, table.name)
        self.entity, self.time = entity, time
        # A column that is a feature stays one, beside the text it is as a label.
        keyed = Keyed(table, [entity], group=None if groups == entity else groups)
        self.group_column = groups if groups in (None, entity) else GROUP
        reasons = dict(table.reasons)

        def chosen(empty: set[str]) -> tuple[list[str], dict[str, str]]:
            return choose_features(
                table.schema, entity, time, include=include, exclude=exclude, is_empty=empty.__contains__,
                reasons=reasons,
            )  # fmt: skip

        # Before anything is read: names and types.
        candidates, left_out = chosen(set())
        texts = [name for name, why in left_out.items() if why == "text" and name not in reasons]
        n_read = table.count()
        if n_read == 0:
            raise ValueError(f"{table.name} has no rows")
        dtype = table.schema.field(time).type
        is_plain = is_number(dtype) or pa.types.is_timestamp(dtype) or pa.types.is_date(dtype)
        zones = [] if is_plain else from_pickle(keyed.gather(Zones(time)))
        self.times = Times(time, style or TimeStyle(), frozenset(zones))
        self.table, n_shared = self._without_duplicates(keyed)
        profiler = Profiler(entity, self.times, candidates, texts)
        profile = profiler.from_bytes(self.table.gather(Survey(profiler)))
        self.sketches = profile.sketches
        self.features, left_out = chosen({name for name in candidates if profile.sketches[name].n == 0})
        for name in table.untyped:
            if name in profile.texts and profile.texts[name].category in ("mixed", "numbers"):
                raise profile.texts[name].refusal(name) if profile.texts[name].bad is not None else _untyped(name)
        self.n_rows, self.days, self.time_dtype = profile.n, profile.days, profile.time_dtype
        self.profile = profiler.summary(
            profile, features=self.features, left_out=left_out, n_read=n_read, n_duplicate_keys=n_shared,
            notes=dict.fromkeys([*table.notes, *text_names(table.schema.names, table.name)[1]]),
        )  # fmt: skip

    def _without_duplicates(self, table: PartedTable) -> tuple[PartedTable, int]:
        """Return the table with equal rows once, and how many different rows share entity and time."""
        if table.key:
            # No two rows are equal; those that share entity and time with others are not counted.
            return table, 0
        with temporary_folder() as folder:
            keys = HashKeys(self.entity, self.times, Path(folder) if table.is_local else None)
            repeated = keys.repeated(table.gather(keys))
        if not repeated.size:
            return table, 0
        keys.folder = None
        columns = pa.schema([field for field in table.schema if field.name != GROUP])
        found = table.gather(FindKeys(repeated, keys, columns, MOST_DUPLICATES))
        rows = pa.ipc.open_stream(found).read_all().sort_by(ROW_NUMBER)
        numbers: NDArray[np.int64] = rows[ROW_NUMBER].to_numpy()
        frame = rows.drop_columns([ROW_NUMBER]).to_pandas()
        frame[self.time] = self.times.read(rows[self.time]).to_numpy()
        shared = frame.duplicated([self.entity, self.time], keep=False).to_numpy()
        frame, numbers = frame[shared].reset_index(drop=True), numbers[shared]
        is_repeated = repeated_rows(frame)
        dropped = numbers[is_repeated]
        n_shared = int(frame[~is_repeated].duplicated([self.entity, self.time], keep=False).sum())
        return (Without(table, dropped) if dropped.size else table), n_shared

    def quantiles(self, qs: Iterable[float]) -> Quantiles:
        """Return the quantiles of all features, as far as they are known."""
        schema = self.table.schema
        types = {name: np.float32 if schema.field(name).type == pa.float32() else np.float64 for name in self.features}
        return Quantiles({name: self.sketches[name] for name in self.features}, qs, types)


def _untyped(name: str) -> ValueError:
    return ValueError(f"column {name!r} holds numbers, some of them as text; convert it (astype) or leave it out")
