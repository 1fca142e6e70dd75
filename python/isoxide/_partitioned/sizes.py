"""Bands of similar size of a partitioned table: their choice, and the rows with the name of their band."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import pyarrow as pa

from isoxide._frames.columns import number_column
from isoxide._partitioned.aggregators import Aggregator, MappedAggregator, Partition
from isoxide._partitioned.engine import Engine
from isoxide._partitioned.families import sampled_columns
from isoxide._partitioned.profile import ProfiledTable
from isoxide._partitioned.views import GROUP, EngineView
from isoxide.ueba._size import OctaveCounts, SizeBands, bands_of

__all__ = ["group_by_size"]

S = TypeVar("S")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class CountOctaves(Aggregator[OctaveCounts, OctaveCounts]):
    """Count the rows in each octave of each feature."""

    def __init__(self, features: Iterable[str]) -> None:
        self.columns = tuple(features)

    def init(self, partition: Partition) -> OctaveCounts:
        """Return the counts of a table without rows."""
        return OctaveCounts(len(self.columns))

    def update(self, state: OctaveCounts, batch: pa.RecordBatch, first_row: int | None) -> OctaveCounts:
        """Add the rows of a batch."""
        state.add([number_column(batch, name) for name in self.columns])
        return state

    def merge(self, states: Iterable[OctaveCounts]) -> OctaveCounts:
        """Return the counts of all partitions."""
        merged, *others = states
        for other in others:
            merged.merge(other)
        return merged


class SizedBatches(MappedAggregator[S, R_co]):
    """Pass a table to an aggregator with the name of each row's band as the column `GROUP`."""

    def __init__(self, inner: Aggregator[S, R_co], size: SizeBands) -> None:
        names = (size.feature if name == GROUP else name for name in inner.columns)
        super().__init__(inner, dict.fromkeys(names))
        self.size = size

    def changed(self, batch: pa.RecordBatch, first_row: int | None) -> tuple[pa.RecordBatch, int | None]:
        """Return the columns that the aggregator reads."""
        labels = pa.array(self.size.labels(number_column(batch, self.size.feature)), pa.string())
        arrays = [labels if name == GROUP else batch.column(name) for name in self.inner.columns]
        return pa.RecordBatch.from_arrays(arrays, names=list(self.inner.columns)), first_row


class WithSizes(EngineView):
    """View of a table with the name of each row's band as the column `GROUP`."""

    def __init__(self, engine: Engine, size: SizeBands) -> None:
        super().__init__(engine)
        self.size = size
        self.schema = engine.schema.append(pa.field(GROUP, pa.string()))

    def aggregate(self, aggregator: Aggregator[Any, R]) -> R:
        """Aggregate the batches, with the bands if the aggregator reads them."""
        if GROUP in aggregator.columns:
            return self.engine.aggregate(SizedBatches(aggregator, self.size))
        return self.engine.aggregate(aggregator)


def group_by_size(table: ProfiledTable, min_group: int) -> SizeBands:
    """Make bands of similar size the groups of a table, in two passes, and return them.

    Parameters
    ----------
    table : ProfiledTable
        Table without groups, which is changed.
    min_group : int
        Minimum number of rows of a band, if it is above 100.

    Raises
    ------
    ValueError
        If no feature is a count, or fewer than two bands have enough rows.
    """
    counts = table.engine.aggregate(CountOctaves(table.features))
    size = bands_of(table.features, counts, sampled_columns(table), table.profile, min_group)
    table.engine, table.group_column = WithSizes(table.engine, size), GROUP
    return size
