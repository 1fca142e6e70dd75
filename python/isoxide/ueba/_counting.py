"""Count the rows that a reference is made of: in any order, and in partitions.

Two passes over the rows are enough. `KeyCounts` counts the rows and days of each entity and of each group, from which
`Populations` follow. `CellCounts` then counts the values of every feature in each population.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from isoxide.ueba._distributions import ValueCounts, distinct_values
from isoxide.ueba._reference import ENTITIES, Reference, table_schema

__all__ = ["CellCounts", "KeyCounts", "Populations"]

#: Number of partial results that are kept before they are merged.
MAX_FRAMES = 64


class KeyCounts:
    """Count the rows of each entity, and of each group, on each day.

    Attributes
    ----------
    days : pyarrow.Table
        ``entity``, ``day`` and ``rows``, once for each pair of an entity and a day.
    groups : pyarrow.Table
        ``label``, ``day`` and ``rows``, once for each pair of a label and a day.
    """

    def __init__(self, days: Iterable[pa.Table] = (), groups: Iterable[pa.Table] = ()) -> None:
        empty = pa.schema({"entity": pa.string(), "day": pa.date32(), "rows": pa.int64()})
        self.days = _added(days, ["entity", "day"], empty)
        days_of_groups = pa.schema({"label": pa.string(), "day": pa.date32(), "rows": pa.int64()})
        self.groups = _added(groups, ["label", "day"], days_of_groups)

    @classmethod
    def of(cls, entities: pa.Array, days: pd.Series, labels: pa.Array | None) -> KeyCounts:
        """Count the rows of a batch.

        Parameters
        ----------
        entities : pyarrow.Array of strings
            Entity of each row.
        days : pandas.Series
            Day of each row, at midnight and without a time zone.
        labels : pyarrow.Array of strings, optional
            Label of the group of each row.
        """
        ones = pa.array(np.ones(len(entities), dtype=np.int64))
        dates = pa.array(days.to_numpy().astype("M8[D]"), pa.date32())
        keys = pa.table({"entity": _strings(entities), "day": dates, "rows": ones})
        return cls(
            [keys], [] if labels is None else [pa.table({"label": _strings(labels), "day": dates, "rows": ones})]
        )

    @classmethod
    def merged(cls, counts: Iterable[KeyCounts]) -> KeyCounts:
        """Return the counts of several partitions together."""
        counts = list(counts)
        return cls([own.days for own in counts], [own.groups for own in counts])

    def entities(self) -> pa.Table:
        """Return a row per entity, in ascending order: its first day, and its numbers of days and rows."""
        grouped = self.days.group_by("entity", use_threads=False)
        table = grouped.aggregate([("day", "min"), ("day", "count"), ("rows", "sum")])
        named = [table[name] for name in ("entity", "day_min", "day_count", "rows_sum")]
        return pa.table(named, schema=ENTITIES).sort_by("entity").combine_chunks()

    def labels(self) -> pa.Table:
        """Return a row per group, in ascending order of the labels: ``label``, ``days`` and ``rows``."""
        groups = self.groups.filter(pc.is_valid(self.groups["label"]))
        table = groups.group_by("label", use_threads=False).aggregate([("day", "count"), ("rows", "sum")])
        named = {"label": table["label"], "days": table["day_count"], "rows": table["rows_sum"]}
        return pa.table(named).sort_by("label").combine_chunks()

    def n_days(self) -> int:
        """Return the number of distinct days."""
        return int(pc.count_distinct(self.days["day"]).as_py())


def _strings(column: Any) -> Any:
    """Return a column of text with the type that all partitions share."""
    return column.cast(pa.string())


def _added(tables: Iterable[pa.Table], keys: list[str], schema: pa.Schema) -> pa.Table:
    """Return the sums of the rows of each key, in ascending order of the keys."""
    table = pa.concat_tables([table.select(schema.names).cast(schema) for table in tables] or [schema.empty_table()])
    added = table.group_by(keys, use_threads=False).aggregate([("rows", "sum")])
    named = [added[name] for name in (*keys, "rows_sum")]
    return pa.table(named, schema=schema).sort_by([(key, "ascending") for key in keys]).combine_chunks()


class Populations:
    """Populations of a reference, which are known once the keys are counted.

    Parameters
    ----------
    keys : KeyCounts
        Counts of all rows.
    min_group : int
        Minimum number of rows of a group with a distribution.
    min_history : int
        Minimum number of days of an entity with a distribution.
    """

    def __init__(self, keys: KeyCounts, *, min_group: int, min_history: int) -> None:
        self.n_rows, self.n_days = int(pc.sum(keys.days["rows"]).as_py() or 0), keys.n_days()
        self.entities = keys.entities()
        has_history = pc.and_(
            pc.greater_equal(self.entities["days"], min_history), pc.is_valid(self.entities["entity"])
        )
        self.histories = self.entities.filter(has_history)
        self.groups = keys.labels()
        self._is_large = np.append(self.groups["rows"].to_numpy() >= min_group, False)

    def history_codes(self, entities: Any) -> NDArray[np.int32]:
        """Return, for each row, the number of its entity among those with a history, or -1."""
        return _codes(entities, self.histories["entity"])

    def group_codes(self, labels: Any) -> NDArray[np.int32]:
        """Return, for each row, the number of its group, or -1 if the group is too small."""
        codes = _codes(labels, self.groups["label"])
        return np.where(self._is_large[codes], codes, np.int32(-1))


def _codes(column: Any, labels: Any) -> NDArray[np.int32]:
    codes = pc.fill_null(pc.index_in(_strings(column), value_set=labels.combine_chunks()), -1)
    if isinstance(codes, pa.ChunkedArray):
        codes = codes.combine_chunks()
    return np.asarray(codes.to_numpy(zero_copy_only=False), dtype=np.int32)


class DayExtremes:
    """Lowest and highest value of each feature on each day, which tell whether a feature varies within a day."""

    def __init__(self) -> None:
        self._frames: list[pd.DataFrame] = []

    def add(self, columns: Sequence[NDArray[Any]], days: NDArray[Any]) -> None:
        """Add the rows of a batch: a column per feature, and the day of each row."""
        groups = pd.DataFrame(dict(enumerate(columns))).groupby(days)
        extremes = {"low": groups.min(), "high": groups.max(), "n": groups.count()}
        frame = pd.concat(extremes, axis=1)
        frame["rows", 0] = groups.size()
        self._frames.append(frame)
        if len(self._frames) > MAX_FRAMES:
            self._frames = [self._merged()]

    def merge(self, other: DayExtremes) -> None:
        """Add the extremes of another partition."""
        self._frames += other._frames
        if len(self._frames) > MAX_FRAMES:
            self._frames = [self._merged()]

    def is_constant_within_days(self, n_features: int) -> list[bool]:
        """Return, for each feature, whether all rows of each day have the same value, and a day has several rows."""
        if not self._frames:
            return [False] * n_features
        merged = self._merged()
        rows = merged["rows"][0]
        constant = []
        for j in range(n_features):
            low, high, n = (merged[name][j] for name in ("low", "high", "n"))
            constant.append(bool((((low == high) & (n == rows)) | (n == 0)).all() and (n > 1).any()))
        return constant

    def _merged(self) -> pd.DataFrame:
        groups = pd.concat(self._frames).groupby(level=0)
        lows, others = groups.min(), groups.sum()
        highs = groups.max()
        return pd.concat({"low": lows["low"], "high": highs["high"], "n": others["n"], "rows": others["rows"]}, axis=1)


class CellCounts:
    """Counts of the values of each feature in each population, and of the scores.

    Parameters
    ----------
    n_features : int
        Number of features.
    has_groups : bool
        Whether there are groups.
    """

    def __init__(self, n_features: int, *, has_groups: bool) -> None:
        scopes = ["all", "group", "entity"] if has_groups else ["all", "entity"]
        self.counts = {scope: [ValueCounts() for _ in range(n_features)] for scope in scopes}
        self.scores, self.days = ValueCounts(), DayExtremes()

    def add(
        self,
        columns: Sequence[NDArray[Any]],
        scores: NDArray[np.float64],
        days: NDArray[Any],
        group_codes: NDArray[np.int32] | None,
        history_codes: NDArray[np.int32],
    ) -> None:
        """Count the rows of a batch: a column per feature, the anomaly scores, the days, and the codes."""
        self.scores.add(scores)
        self.days.add(columns, days)
        codes = {"all": None, "group": group_codes, "entity": history_codes}
        for scope, counts in self.counts.items():
            for own, column in zip(counts, columns, strict=True):
                own.add(column, codes[scope])

    def merge(self, other: CellCounts) -> None:
        """Add the counts of another partition."""
        self.scores.merge(other.scores)
        self.days.merge(other.days)
        for scope, counts in self.counts.items():
            for own, theirs in zip(counts, other.counts[scope], strict=True):
                own.merge(theirs)

    def reference(self, features: Sequence[str], populations: Populations) -> Reference:
        """Return the reference, once all rows are counted."""
        groups, histories = populations.groups, populations.histories
        if "group" not in self.counts:
            groups = groups.slice(0, 0)
        sizes = {"all": 1, "group": len(groups), "entity": len(histories)}
        _, values, counts = self.scores.counted()
        ends = np.full(sum(sizes.values()), len(values), dtype=np.int64)
        labels = [None, *groups["label"].to_pylist(), *histories["entity"].to_pylist()]
        columns: list[Any] = [
            pa.array([scope for scope, size in sizes.items() for _ in range(size)], pa.string()),
            pa.array(labels, pa.string()),
            _joined([populations.n_rows], groups["rows"], histories["rows"]),
            _joined([populations.n_days], groups["days"], histories["days"]),
            _lists(values, ends),
            _lists(counts, ends),
        ]
        types = []
        for j in range(len(features)):
            values_of, counts_of = self._feature(j, sizes)
            columns += [values_of, counts_of]
            types.append(values_of.type.value_type)
        return Reference(features, pa.table(columns, schema=table_schema(features, types)), populations.entities)

    def _feature(self, j: int, sizes: dict[str, int]) -> tuple[pa.Array, pa.Array]:
        """Return the values and the counts of a feature, as a list per population."""
        _, whole, whole_counts = self.counts["all"][j].counted()
        whole = distinct_values(whole)
        all_values, all_counts, all_ends = [whole], [whole_counts], [np.array([len(whole)], dtype=np.int64)]
        for scope in ("group", "entity"):
            if scope in self.counts:
                codes, values, counts = self.counts[scope][j].counted()
                codes = np.empty(0, dtype=np.int32) if codes is None else codes
                ends = np.searchsorted(codes, np.arange(sizes[scope]), side="right")
                all_ends.append(ends + sum(map(len, all_values)))
                all_values.append(values.astype(whole.dtype))
                all_counts.append(counts)
        ends = np.concatenate(all_ends)
        return _lists(np.concatenate(all_values), ends), _lists(np.concatenate(all_counts), ends)


def _joined(*columns: Any) -> pa.Array:
    """Return columns of integers, one after the other."""
    return pa.array(np.concatenate([np.asarray(column, dtype=np.int64) for column in columns]))


def _lists(values: NDArray[Any], ends: NDArray[np.int64]) -> pa.Array:
    """Return consecutive lists that end at the given positions."""
    return pa.LargeListArray.from_arrays(pa.array(np.append(0, ends), pa.int64()), pa.array(values))
