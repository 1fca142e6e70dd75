"""Tables of Dask: the constructor, and scores as a dask frame."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
from dask.delayed import delayed

from isoxide._forest.estimator import IsolationForest
from isoxide._frames.source import ChooseRoles
from isoxide._partitioned.broadcast import BroadcastForest
from isoxide._partitioned.columns import features_of, score_batch
from isoxide._partitioned.table import PartitionedTable
from isoxide.dask._batches import partition_batches
from isoxide.dask._engine import DaskEngine

__all__ = ["DaskTable", "table"]


class DaskTable(PartitionedTable):
    """A dask frame as a table in partitions, made by `isoxide.dask.table`.

    See Also
    --------
    table : Make one.

    Examples
    --------
    >>> import dask.dataframe as dd, pandas as pd
    >>> import isoxide.dask
    >>> ddf = dd.from_pandas(pd.DataFrame({"x": [-1.1, 0.3, 0.5, 100.0]}), npartitions=2)
    >>> isoxide.dask.table(ddf).fit().n_features_in_
    1
    """

    def __init__(self, ddf: Any) -> None:
        self._frame, self._engine = ddf, DaskEngine(ddf)

    def _open(self, roles: ChooseRoles, *, order_by: Iterable[str] | None = None) -> AbstractContextManager[DaskEngine]:
        # It keeps no more than the lengths of the partitions.
        return nullcontext(self._engine)

    def _scored(self, forest: IsolationForest, score: str, anomaly: str) -> Any:
        frame, engine = self._frame, self._engine
        self._refuse_names(frame.columns, engine.name, score, anomaly)
        features = features_of(forest, engine.schema, engine.name)
        broadcast = engine.broadcast(forest)
        return frame.map_partitions(
            _with_scores,
            # One task that all others depend on: its result is brought to each worker once.
            delayed(broadcast, name=f"isoxide-model-{hashlib.sha256(broadcast.data).hexdigest()}", traverse=False),
            schema=pa.schema([engine.schema.field(name) for name in features]),
            names=(score, anomaly),
            meta=frame._meta.assign(**{score: np.empty(0, np.float64), anomaly: np.empty(0, np.bool_)}),
            enforce_metadata=False,
            required_columns=features,
        )

    def _in_memory(self, rows: Any) -> Any:
        return rows.compute() if isinstance(rows, dd.DataFrame) else rows  # type: ignore[no-untyped-call]

    def __repr__(self) -> str:
        return f"<DaskTable of {len(self._frame.columns)} columns in {self._frame.npartitions} partitions>"


def table(ddf: Any) -> DaskTable:
    """Make a table in partitions of a dask frame.

    Parameters
    ----------
    ddf : dask.dataframe.DataFrame
        The rows, in partitions of pandas. They must come in the same order each time they are read. Joins and shuffles
        (``merge``, ``set_index``) do not promise that: ``persist()`` their result first, or write it to a file. A
        partition that comes with another number of rows is refused. A frame that fits in the memory of the workers is
        read faster after ``persist()``.

    Returns
    -------
    DaskTable
        A table with the methods ``fit``, ``score``, ``offset``, ``rank_features`` and ``detect``. Scores are a dask
        frame with the same partitions.

    Raises
    ------
    TypeError
        If `ddf` is not a dask frame of pandas partitions, or a name of a column is not text.
    ValueError
        If `ddf` has no columns, or several of one name.

    Examples
    --------
    >>> import dask.dataframe as dd, pandas as pd
    >>> import isoxide.dask
    >>> ddf = dd.from_pandas(pd.DataFrame({"x": [-1.1, 0.3, 0.5, 100.0]}), npartitions=2)
    >>> table = isoxide.dask.table(ddf)
    >>> forest = table.fit()
    >>> table.score(forest)["anomaly"].compute().tolist()
    [False, False, False, True]
    """
    return DaskTable(ddf)


def _with_scores(
    partition: pd.DataFrame,
    broadcast: BroadcastForest,
    schema: pa.Schema,
    names: tuple[str, str],
    partition_info: dict[str, Any] | None = None,
) -> pd.DataFrame:
    """Return a partition with two more columns; features are checked as in every other pass."""
    label = "a partition of the dask frame" if partition_info is None else f"partition {partition_info['number']}"
    forest = broadcast.forest()
    scores = [score_batch(batch, schema.names, forest) for batch in partition_batches(partition, schema, label)]
    decisions = np.concatenate(scores) if scores else np.empty(0)
    return partition.assign(**dict(zip(names, (decisions, decisions < 0), strict=True)))
