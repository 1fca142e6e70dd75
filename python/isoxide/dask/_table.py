"""Make partitioned tables of Dask frames, and return scores as Dask frames."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import dask.dataframe as dd
import pandas as pd
import pyarrow as pa
from dask.delayed import delayed

from isoxide._forest.estimator import IsolationForest
from isoxide._frames.source import ChooseRoles
from isoxide._partitioned.broadcast import BroadcastForest
from isoxide._partitioned.columns import features_of
from isoxide._partitioned.row_columns import RowColumns
from isoxide._partitioned.table import PartitionedTable
from isoxide.dask._batches import partition_batches
from isoxide.dask._engine import DaskEngine

__all__ = ["DaskTable", "table"]


class DaskTable(PartitionedTable):
    """Dask frame as a partitioned table, made by `isoxide.dask.table`.

    See Also
    --------
    table : Make a table of a Dask frame.

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
        # The engine needs no cleanup, since it keeps only the lengths of the partitions.
        return nullcontext(self._engine)

    def _with_columns(self, forest: IsolationForest, added: RowColumns) -> Any:
        frame, engine = self._frame, self._engine
        engine.check_workers()
        self._refuse_names(frame.columns, engine.name, added)
        features = features_of(forest, engine.schema, engine.name)
        broadcast = engine.broadcast(forest)
        return frame.map_partitions(
            _partition_with_columns,
            # All other tasks depend on this task, so Dask sends its result to each worker once.
            delayed(broadcast, name=f"isoxide-model-{hashlib.sha256(broadcast.data).hexdigest()}", traverse=False),
            schema=pa.schema([engine.schema.field(name) for name in features]),
            added=added,
            meta=frame._meta.assign(**_pandas_columns(added, added.empty())),
            enforce_metadata=False,
            required_columns=features,
        )

    def _in_memory(self, rows: Any) -> Any:
        return rows.compute() if isinstance(rows, dd.DataFrame) else rows  # type: ignore[no-untyped-call]

    def __repr__(self) -> str:
        return f"<DaskTable of {len(self._frame.columns)} columns in {self._frame.npartitions} partitions>"

    def _facts(self) -> list[tuple[str, str]]:
        return [("partitions", f"{self._frame.npartitions:,}")]

    def _columns(self) -> dict[str, str]:
        return {str(name): str(dtype) for name, dtype in self._frame.dtypes.items()}


def table(ddf: Any) -> DaskTable:
    """Make a partitioned table of a Dask frame.

    Parameters
    ----------
    ddf : dask.dataframe.DataFrame
        Frame with pandas partitions. It must return its rows in the same order each time it is computed. Joins and
        shuffles (``merge``, ``set_index``) do not guarantee this: ``persist()`` their result first, or write it to a
        file. If the number of rows of a partition changes, an error is raised. A frame that fits in the memory of the
        workers is read faster after ``persist()``.

    Returns
    -------
    DaskTable
        Table with the methods ``fit``, ``score``, ``explain``, ``importance``, ``offset``, ``rank_features`` and
        ``detect``. ``score`` and ``explain`` return a Dask frame with the same partitions.

    Raises
    ------
    TypeError
        If `ddf` is not a Dask frame with pandas partitions, or a column name is not text.
    ValueError
        If `ddf` has no columns, or several columns have the same name.

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


def _partition_with_columns(
    partition: pd.DataFrame,
    broadcast: BroadcastForest,
    schema: pa.Schema,
    added: RowColumns,
    partition_info: dict[str, Any] | None = None,
) -> pd.DataFrame:
    """Return a partition with more columns; features are checked as in every other pass."""
    label = "a partition of the dask frame" if partition_info is None else f"partition {partition_info['number']}"
    forest = broadcast.forest()
    parts = [added.of(batch, schema.names, forest) for batch in partition_batches(partition, schema, label)]
    columns = [
        pa.chunked_array([part[k] for part in parts], added_field.type) for k, added_field in enumerate(added.fields)
    ]
    return partition.assign(**_pandas_columns(added, columns))


def _pandas_columns(added: RowColumns, columns: Iterable[Any]) -> dict[str, Any]:
    """Return new columns as pandas reads them from Arrow, without an index."""
    return {name: column.to_pandas().array for name, column in zip(added.names, columns, strict=True)}
