"""Importance of features on partitioned tables.

The core adds the magnitudes of contributions as integers, without rounding. So the sums of partitions add up to those
of the whole table, in any order.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isoxide._forest.estimator import IsolationForest
from isoxide._forest.explain import mean_of_sums
from isoxide._forest.explanation import Output
from isoxide._frames.columns import batch_table
from isoxide._partitioned.aggregators import Aggregator, Partition
from isoxide._partitioned.broadcast import BroadcastForest
from isoxide._partitioned.columns import features_of
from isoxide._partitioned.engine import Engine

__all__ = ["importance"]

#: Number of rows, and the sum of each feature in the unit of the core.
_Sums = tuple[int, list[int]]


class SumMagnitudes(Aggregator[_Sums, _Sums]):
    """Add the magnitudes of the contributions of each feature.

    Parameters
    ----------
    forest : BroadcastForest
        Forest whose scores are explained.
    features : list of str
        Columns that the forest reads.
    """

    def __init__(self, forest: BroadcastForest, features: list[str]) -> None:
        self.forest = forest
        self.columns = tuple(features)

    def init(self, partition: Partition) -> _Sums:
        """Return the sums of no rows."""
        return 0, [0] * len(self.columns)

    def update(self, state: _Sums, batch: pa.RecordBatch, first_row: int | None) -> _Sums:
        """Add the rows of a batch."""
        n_rows = batch.num_rows
        if n_rows == 0:
            return state
        forest = self.forest.forest()
        table = batch_table(batch, self.columns)
        sums = forest._fitted.native.shap_magnitude_sums(table, forest._explaining_threads(n_rows))
        return self.merge([state, (n_rows, sums)])

    def merge(self, states: Iterable[_Sums]) -> _Sums:
        """Return the sums of all rows."""
        n_rows, sums = zip(*states, strict=True)
        return sum(n_rows), [sum(own) for own in zip(*sums, strict=True)]


def importance(engine: Engine, forest: IsolationForest, output: Output) -> NDArray[np.float64]:
    """Compute the mean absolute contribution of each feature over the rows of a table.

    Raises
    ------
    ValueError
        If the table has no rows or lacks a column of the forest.
    """
    features = features_of(forest, engine.schema, engine.name)
    n_rows, sums = engine.aggregate(SumMagnitudes(engine.broadcast(forest), features))
    if n_rows == 0:
        raise ValueError(f"{engine.name} has no rows, but an importance needs at least one")
    return mean_of_sums(forest._fitted, sums, n_rows, output=output)
