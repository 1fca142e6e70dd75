"""Reference of a kept model: exact distributions of the training rows, from which ranks and typical values follow.

The reference has a population for all rows, for each group of peers, and for each entity with enough days:

    scope    label      rows   days   score values, counts     for each feature: distinct values, counts
    all      null       9500    340   [0.31, 0.32, ...], ...   [0, 1, 2, ...], [8100, 600, 200, ...]
    group    Manager     830    310   [], []                   [0, 1, 3, ...], [700, 40, 21, ...]
    entity   user07      120    120   [], []                   [0, 2], [118, 2]

A second table lists all entities with their first days. Both are stored as Parquet. Their content depends on the
multiset of the training rows only, not on their order or on partitions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from isoxide._ranks.feature_ranks import FeatureRanks
from isoxide._ranks.options import RankOptions
from isoxide._ranks.reference import RankReference
from isoxide.ueba._distributions import Distribution
from isoxide.ueba._quantiles import STATISTICS

__all__ = ["ENTITIES", "Reference", "table_schema"]

#: Columns of the table of entities.
ENTITIES = pa.schema({"entity": pa.string(), "first_day": pa.date32(), "days": pa.int64(), "rows": pa.int64()})
_SCOPES = ("all", "group", "entity")
_COUNTS = pa.large_list(pa.int64())
_VALUE_TYPES = (pa.float64(), pa.float32(), pa.int64())
#: Position of the first column with values; each is followed by the column with the counts. Scores come first.
_FIRST = 4


def table_schema(features: Sequence[str], types: Sequence[pa.DataType]) -> pa.Schema:
    """Return the columns of the table of populations, given the type of the values of each feature."""
    fields = [("scope", pa.string()), ("label", pa.string()), ("rows", pa.int64()), ("days", pa.int64())]
    fields += [("score values", pa.large_list(pa.float64())), ("score counts", _COUNTS)]
    for name, dtype in zip(features, types, strict=True):
        fields += [(f"values of {name}", pa.large_list(dtype)), (f"counts of {name}", _COUNTS)]
    return pa.schema(fields)


class Reference:
    """Exact distributions of the rows that a model was trained on.

    Parameters
    ----------
    features : sequence of str
        Names of the features.
    table : pyarrow.Table
        Populations, as the head of this module shows them; the first one has all rows.
    entities : pyarrow.Table
        ``entity``, ``first_day``, ``days`` and ``rows`` of each entity, in ascending order.

    Raises
    ------
    ValueError
        If the tables do not have this form.
    """

    def __init__(self, features: Sequence[str], table: pa.Table, entities: pa.Table) -> None:
        self.features = list(features)
        self.table, self.entities = table.combine_chunks(), entities.combine_chunks()
        self._lists = self._checked_lists()
        keys = zip(table["scope"].to_pylist(), table["label"].to_pylist(), strict=True)
        self._numbers = {key: number for number, key in enumerate(keys)}
        self.rows: NDArray[np.int64] = self.table["rows"].to_numpy()
        self._of_entity = {name: k for k, name in enumerate(self.entities["entity"].to_pylist())}
        self._positions = {name: j for j, name in enumerate(self.features)}

    @classmethod
    def read(cls, features: Sequence[str], populations: bytes, entities: bytes) -> Reference:
        """Return the reference that is stored in two Parquet files.

        Raises
        ------
        ValueError
            If the content of a file does not have the form of a reference.
        """
        tables = []
        for data in (populations, entities):
            try:
                tables.append(pq.read_table(pa.BufferReader(data)))
            except (pa.ArrowException, OSError) as error:
                raise ValueError(f"its Parquet cannot be read: {error}") from error
        return cls(features, *tables)

    def to_parquet(self) -> tuple[bytes, bytes]:
        """Return the bytes of the two Parquet files: the populations and the entities."""
        files = []
        for table in (self.table, self.entities):
            sink = pa.BufferOutputStream()
            pq.write_table(table, sink, compression="zstd")
            files.append(sink.getvalue().to_pybytes())
        return files[0], files[1]

    def _checked_lists(self) -> list[tuple[NDArray[np.int64], NDArray[Any], NDArray[np.int64]]]:
        """Return offsets, values and counts of the scores and of each feature, after checking them."""
        table = self.table
        n_columns = _FIRST + 2 + 2 * len(self.features)
        types = [getattr(field.type, "value_type", None) for field in table.schema][_FIRST + 2 :: 2]
        if (
            len(table.schema) != n_columns
            or any(dtype not in _VALUE_TYPES for dtype in types)
            or not table.schema.equals(table_schema(self.features, types))
            or not self.entities.schema.equals(ENTITIES)
        ):
            raise ValueError("its columns are not those of a reference with the features of the model")
        scopes = table["scope"].to_pylist()
        if scopes[:1] != ["all"] or scopes.count("all") > 1 or not set(scopes) <= set(_SCOPES):
            raise ValueError("it does not begin with the distribution of all rows")
        if any(table[name].null_count for name in ("rows", "days")) or self.entities["first_day"].null_count:
            raise ValueError("it has a population without a number of rows or days")
        n_rows = table["rows"].to_numpy()
        return [_checked(table.column(k), table.column(k + 1), n_rows) for k in range(_FIRST, n_columns, 2)]

    @property
    def n_rows(self) -> int:
        """Return the number of training rows."""
        return int(self.rows[0])

    @property
    def scores(self) -> Distribution:
        """Return the distribution of the anomaly scores of the training rows."""
        return self._distribution(0, 0)

    def number(self, scope: str, label: str | None) -> int | None:
        """Return the number of a population, or None if the reference does not have it."""
        return self._numbers.get((scope, label))

    def labels(self, scope: str) -> list[str | None]:
        """Return the labels of the populations of a scope, in the order of the reference."""
        return [label for own, label in self._numbers if own == scope]

    def history(self, entity: str | None) -> tuple[Any, int]:
        """Return the first day of an entity, and its number of days; None and 0 if the entity is not known."""
        k = self._of_entity.get(entity)
        if k is None:
            return None, 0
        return self.entities["first_day"][k].as_py(), self.entities["days"][k].as_py()

    def distribution(self, feature: str, population: int = 0) -> Distribution:
        """Return the distribution of a feature in a population, by default among all rows."""
        return self._distribution(1 + self._positions[feature], population)

    def _distribution(self, column: int, population: int) -> Distribution:
        offsets, values, counts = self._lists[column]
        own = slice(offsets[population], offsets[population + 1])
        n_missing = int(self.rows[population]) - int(counts[own].sum())
        return Distribution(values[own], counts[own], n_missing)

    def rank(self, population: int, rows: pd.DataFrame, options: RankOptions, n_jobs: int | None) -> FeatureRanks:
        """Rank rows among a population, as `isoxide.rank_features` does it among its rows."""
        columns = [self.distribution(name, population) for name in self.features]
        reference = RankReference._of_distinct(self.features, columns, int(self.rows[population]))
        return reference.rank_features(
            rows, kind=options.kind, tail=options.tail, rank_last=options.zscores, nan_policy=options.nan_policy,
            n_jobs=n_jobs,
        )  # fmt: skip

    def quantile(self, feature: str, q: float) -> float:
        """Return a quantile of a feature among all rows."""
        return float(self.distribution(feature).quantiles([q])[0])

    def typical(self, populations: Iterable[int]) -> NDArray[np.float64]:
        """Return the typical values of populations, as an array of shape (n_populations, n_features, 3)."""
        qs = list(STATISTICS.values())
        cells = [[self.distribution(name, k).quantiles(qs) for name in self.features] for k in populations]
        return np.array(cells, dtype=np.float64).reshape(-1, len(self.features), len(qs))


def _checked(
    values: pa.ChunkedArray, counts: pa.ChunkedArray, n_rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[np.int64]]:
    """Return offsets, values and counts of a column of distributions.

    Raises
    ------
    ValueError
        If values do not ascend, counts are not positive, or there are more values than rows.
    """
    values, counts = (_one_array(column) for column in (values, counts))
    offsets = values.offsets.to_numpy()
    flat, numbers = values.values, counts.values  # noqa: PD011 (Arrow's, not pandas')
    if values.null_count or counts.null_count or flat.null_count or numbers.null_count:
        raise ValueError("a distribution lacks values or counts")
    flat, numbers = flat.to_numpy(), numbers.to_numpy()
    # The first value of a list need not be above the last one of the list before it, but it must be a number.
    ascends = np.append(True, flat[1:] > flat[:-1]) if len(flat) else np.empty(0, dtype=bool)
    starts = offsets[:-1][offsets[:-1] < len(flat)]
    ascends[starts] = flat[starts] == flat[starts]
    sums = np.diff(np.append(0, np.cumsum(numbers))[offsets])
    if not (
        np.array_equal(offsets, counts.offsets.to_numpy())
        and ascends.all()
        and (numbers > 0).all()
        and (sums <= n_rows).all()
    ):
        raise ValueError("a distribution has values that do not ascend, or counts that do not fit its rows")
    return offsets, flat, numbers


def _one_array(column: pa.ChunkedArray) -> Any:
    """Return a column as a single array."""
    combined = column.combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined
