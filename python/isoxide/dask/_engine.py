"""Engine that reads the partitions of a Dask frame in order."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray

from isoxide._forest.estimator import IsolationForest
from isoxide._frames.names import INDEX_NOTE, pandas_index_positions
from isoxide._frames.pandas_columns import UNTYPED, declared_type, objects_type
from isoxide._partitioned.aggregators import Aggregator, CountRows, Partition, decode, encode
from isoxide._partitioned.broadcast import BroadcastForest
from isoxide._partitioned.engine import Engine
from isoxide._partitioned.views import ScoredRows
from isoxide.dask._batches import joined_type, partition_batches

__all__ = ["DaskEngine"]

#: Maximum number of states that one task merges.
_MERGED_STATES = 8
#: Maximum number of partitions that one task reads, and of the rows of these if there are several.
_MAX_TOGETHER, _MAX_ROWS_TOGETHER = 32, 2**16
#: Number of partitions that are read in parallel to find the one that cannot be read.
_SEARCHED_PARTITIONS = 16
#: Beginnings of Dask's messages about a partition that does not match the metadata of its frame.
_MISMATCH = ("Metadata mismatch", "The columns in the computed data do not match", "Length mismatch")

R = TypeVar("R")


class DaskEngine(Engine):
    """Engine of a Dask frame, which tasks of the active client, or threads of this process, read.

    Row numbers are known as soon as any pass over all partitions has found their lengths.

    Parameters
    ----------
    frame : dask.dataframe.DataFrame
        Frame to read.
    """

    name = "the dask frame"
    #: Dask runs a task on each of its threads.
    n_jobs = 1

    def __init__(self, frame: Any) -> None:
        self._frame, self.notes = _without_index(checked(frame))
        #: Number of the first row of each partition, then the number of all rows.
        self._starts: NDArray[np.int64] | None = None
        self._are_workers_checked = False

    @cached_property
    def schema(self) -> pa.Schema:
        """Return the names and types of the columns; only objects and unknown categories require reading partitions."""
        meta = self._frame._meta
        types = {name: declared_type(meta[name]) for name in meta.columns}
        undeclared = [name for name, dtype in types.items() if dtype is None]
        if undeclared:
            types |= self._inferred_types(undeclared)
        self.untyped = frozenset(name for name, dtype in types.items() if dtype == UNTYPED)
        mark = {b"untyped": b""}
        return pa.schema(
            [
                pa.field(name, pa.string(), metadata=mark) if name in self.untyped else pa.field(name, dtype)
                for name, dtype in types.items()
            ]
        )

    def aggregate(self, aggregator: Aggregator[Any, R]) -> R:
        """Aggregate each partition in a task, and merge the states in further tasks, a few at a time.

        A task costs as much as reading thousands of rows, so one task reads several small partitions, as soon as their
        lengths are known.
        """
        schema = self._schema_of(aggregator.columns)
        job = _sent_once(_Job(aggregator, schema, self.name))
        run, merge = delayed(_run, pure=False), delayed(_merge, pure=False)
        partitions = self._partitions(schema.names)
        states = [
            run(job, [self._range(number) for number in numbers], *(partitions[number] for number in numbers))
            for numbers in self._tasks(len(partitions))
        ]
        merged = self._compute(_in_stages(states, lambda tasks: merge(job, *tasks)), schema.names)
        # Every pass returns the lengths at no cost, so counting needs no separate pass.
        self._set_lengths(merged.lengths)
        return aggregator.finish(decode(merged.state))

    def count(self) -> int:
        """Return the number of rows; the frame is read only if no earlier pass has counted them."""
        if self._starts is None:
            self.aggregate(CountRows())
        assert self._starts is not None
        return int(self._starts[-1])

    def fetch(self, rows: NDArray[np.int64], columns: Iterable[str]) -> pa.Table:
        """Return the rows with the given numbers; only partitions that contain them are read."""
        n_rows, schema = self.count(), self._schema_of(columns)
        if rows.size and not (rows[0] >= 0 and rows[-1] < n_rows):
            raise IndexError(f"rows {rows[0]} to {rows[-1]} were requested, but {self.name} has {n_rows} rows")
        assert self._starts is not None
        job, take = _sent_once(_Job(None, schema, self.name)), delayed(_take, pure=False)
        partitions = self._partitions(schema.names)
        ends = np.searchsorted(rows, self._starts)
        tables = []
        for number in np.flatnonzero(np.diff(ends)).tolist():
            positions = rows[ends[number] : ends[number + 1]] - self._starts[number]
            tables.append(take(job, self._range(number), partitions[number], positions))
        if not tables:
            return schema.empty_table()
        concat = delayed(_concat, pure=False)
        return self._compute(_in_stages(tables, lambda tasks: concat(*tasks)), schema.names)

    def scores(self, forest: IsolationForest) -> Engine:
        """Return the scores, which are computed again each time they are read."""
        return ScoredRows(self, forest)

    def broadcast(self, forest: IsolationForest) -> BroadcastForest:
        """Return the forest in a form that scores on the single thread of a task."""
        return BroadcastForest(forest.to_bytes(), n_jobs=self.n_jobs)

    def _tasks(self, n_partitions: int) -> list[range]:
        """Return the numbers of the partitions that each task reads, in order."""
        if self._starts is None:
            return [range(number, number + 1) for number in range(n_partitions)]
        tasks, first = [], 0
        while first < n_partitions:
            most = int(np.searchsorted(self._starts, self._starts[first] + _MAX_ROWS_TOGETHER, side="right")) - 1
            end = min(max(most, first + 1), first + _MAX_TOGETHER, n_partitions)
            tasks.append(range(first, end))
            first = end
        return tasks

    def _range(self, number: int) -> _RowRange:
        if self._starts is None:
            return _RowRange(number, None, None)
        start, end = self._starts[number : number + 2].tolist()
        return _RowRange(number, start, end - start)

    def _set_lengths(self, lengths: dict[int, int]) -> None:
        self._starts = np.cumsum([0, *(lengths[number] for number in range(len(lengths)))])

    def _schema_of(self, columns: Iterable[str]) -> pa.Schema:
        return pa.schema([self.schema.field(name) for name in columns])

    def _narrow_column(self) -> str:
        """Return a column that is fast to read."""
        dtypes = self._frame._meta.dtypes
        # The item size of an object column does not include the objects.
        sizes = {
            name: dtype.itemsize for name, dtype in dtypes.items() if isinstance(dtype, np.dtype) and dtype.kind != "O"
        }
        first: str = self._frame.columns[0]
        return min(sizes, key=sizes.__getitem__, default=first)

    @cached_property
    def _n_partitions(self) -> int:
        with _untuned():
            return int(self._frame.optimize().npartitions)

    def _partitions(self, names: Sequence[str]) -> list[Delayed]:
        """Return the partitions with at least these columns; the rows of a partition do not depend on the columns."""
        frame = self._frame
        with _untuned():
            partitions: list[Delayed] = frame[list(names) or [self._narrow_column()]].to_delayed()
            return partitions if len(partitions) == self._n_partitions else list(frame.to_delayed())

    def _inferred_types(self, names: list[str]) -> dict[str, pa.DataType]:
        """Return the types of the given columns, inferred from the cells of all partitions."""
        tasks = [delayed(_types)(partition, names) for partition in self._partitions(names)]
        types: list[dict[str, pa.DataType]] = self._compute(_in_stages(tasks, _listed), names)
        return {name: joined_type([partition[name] for partition in types]) for name in names}

    def check_workers(self) -> None:
        """Refuse a cluster with workers that cannot import what tasks need; without this check Dask waits for ever."""
        client = None if self._are_workers_checked else _active_client()
        if client is None:
            return
        self._are_workers_checked = True

        # Dask sends a function inside a function as a whole, so that a worker need not have this module.
        def missing() -> list[str]:
            from importlib import import_module

            names = []
            for name in ("numpy", "sklearn", "pandas", "pyarrow", "isoxide"):
                try:
                    import_module(name)
                except ImportError:
                    names.append(name)
            return names

        for address, names in client.run(missing, on_error="return").items():
            # A worker that is just ending returns an exception instead.
            if isinstance(names, list) and names:
                raise ImportError(
                    f"the worker {address} cannot import {', '.join(names)}: install isoxide[dask] in the Python "
                    "environment of all workers and of the scheduler",
                    name=names[0],
                )

    def _compute(self, task: Delayed, names: Sequence[str]) -> Any:
        self.check_workers()
        try:
            return _compute(task)[0]
        except (KeyError, ValueError) as error:
            if isinstance(error, KeyError) or any(message in str(error) for message in _MISMATCH):
                self._raise_mismatch(names)
            raise

    def _raise_mismatch(self, names: Sequence[str]) -> None:
        """Raise an error that names the first partition that does not match the metadata of the frame."""
        partitions = [delayed(len)(partition) for partition in self._partitions(names)]
        for start in range(0, len(partitions), _SEARCHED_PARTITIONS):
            searched = partitions[start : start + _SEARCHED_PARTITIONS]
            try:
                _compute(*searched)
            except (KeyError, ValueError):
                for number, partition in enumerate(searched, start):
                    try:
                        partition.compute()
                    except (KeyError, ValueError) as error:
                        reason = error.args[0] if error.args else error
                        raise ValueError(
                            f"partition {number} of {self.name} does not match its metadata: {reason}"
                        ) from error


def checked(frame: Any) -> Any:
    """Check a Dask frame: its partitions are pandas frames, and its column names are distinct text."""
    if not isinstance(frame, dd.DataFrame):
        class_name = f"{type(frame).__module__.split('.')[0]}.{type(frame).__name__}"
        if isinstance(frame, pd.DataFrame):
            remedy = "for a frame in memory use IsolationForest, isoxide.rank_features and isoxide.ueba"
        elif type(frame).__module__.startswith("dask."):
            remedy = "convert it to a frame (to_frame, to_dask_dataframe, to_dataframe)"
        else:
            remedy = "use isoxide.stream for paths, Arrow readers and tables of other engines"
        raise TypeError(f"ddf must be a dask.dataframe.DataFrame, not {class_name}; {remedy}")
    meta = frame._meta
    if not isinstance(meta, pd.DataFrame):
        raise TypeError(
            f"the partitions of ddf must be pandas frames, not {type(meta).__module__}; use to_backend('pandas')"
        )
    if not len(meta.columns):
        raise ValueError("the dask frame has no columns")
    for name in meta.columns:
        if not isinstance(name, str):
            raise TypeError(f"column names must be text, but {name!r} is not; use rename(columns=str)")
    repeated = meta.columns[meta.columns.duplicated()]
    if len(repeated):
        raise ValueError(f"the dask frame has several columns named {repeated[0]!r}; rename them")
    if meta.index.name is not None:
        if meta.index.name in meta.columns:
            raise ValueError(f"the dask frame has an index and a column named {meta.index.name!r}; rename one")
        frame = frame.reset_index()
    return frame


def _without_index(frame: Any) -> tuple[Any, tuple[str, ...]]:
    """Return a frame without the index that pandas wrote into its files, and a note if there was one."""
    index = pandas_index_positions(frame.columns)
    if not index or len(index) == len(frame.columns):
        return frame, ()
    return frame[[name for position, name in enumerate(frame.columns) if position not in index]], (INDEX_NOTE,)


class _Job(NamedTuple):
    """Arguments that all tasks of a pass share."""

    aggregator: Aggregator[Any, Any] | None
    schema: pa.Schema
    name: str


class _RowRange(NamedTuple):
    """Number of a partition, with its first row and its length if a pass has found them."""

    number: int
    first_row: int | None
    length: int | None


class _Aggregated(NamedTuple):
    """Encoded state of one or more partitions, with the lengths of the partitions.

    Tasks must not change their inputs, since Dask may run a task again. So tasks exchange states as bytes.
    """

    state: bytes
    lengths: dict[int, int]


def _sent_once(job: _Job) -> Delayed:
    """Return an object that each worker gets once, not with each task; Dask recomputes it if its worker is lost."""
    sent: Delayed = delayed(job, name=f"isoxide-{uuid.uuid4().hex}", pure=False, traverse=False)
    return sent


def _run(job: _Job, ranges: list[_RowRange], *partitions: pd.DataFrame) -> _Aggregated:
    """Aggregate consecutive partitions as if they were one."""
    assert job.aggregator is not None
    pairs = list(zip(ranges, partitions, strict=True))
    labels = [_checked_label(job, rows, partition) for rows, partition in pairs]
    batches = (
        batch
        for label, partition in zip(labels, partitions, strict=True)
        for batch in partition_batches(partition, job.schema, label)
    )
    state = job.aggregator.accumulate(Partition(ranges[0].number, ranges[0].first_row), batches)
    return _Aggregated(encode(state), {rows.number: len(partition) for rows, partition in pairs})


def _checked_label(job: _Job, rows: _RowRange, partition: pd.DataFrame) -> str:
    """Return the name of a partition for messages, and refuse a partition whose length has changed."""
    label = f"partition {rows.number} of {job.name}"
    if rows.length not in (None, len(partition)):
        raise ValueError(
            f"{label} had {rows.length} rows when they were counted, but now has {len(partition)}: "
            "partitions must be the same each time they are read; persist() the frame, or write it to a file first"
        )
    return label


def _merge(job: _Job, *results: _Aggregated) -> _Aggregated:
    assert job.aggregator is not None
    lengths: dict[int, int] = {}
    for result in results:
        lengths |= result.lengths
    return _Aggregated(encode(job.aggregator.merge(decode(result.state) for result in results)), lengths)


def _take(job: _Job, rows: _RowRange, partition: pd.DataFrame, positions: NDArray[np.int64]) -> pa.Table:
    label = _checked_label(job, rows, partition)
    return pa.Table.from_batches(partition_batches(partition, job.schema, label), schema=job.schema).take(positions)


def _concat(*tables: pa.Table) -> pa.Table:
    return pa.concat_tables(tables)


def _in_stages(tasks: list[Delayed], merge: Callable[[list[Delayed]], Delayed]) -> Delayed:
    """Return one task that merges the results of all tasks in order, a few at a time."""
    while True:
        tasks = [merge(tasks[start : start + _MERGED_STATES]) for start in range(0, len(tasks), _MERGED_STATES)]
        if len(tasks) == 1:
            return tasks[0]


def _types(partition: pd.DataFrame, names: list[str]) -> list[dict[str, pa.DataType]]:
    return [{name: objects_type(partition[name]) for name in names}]


def _listed(tasks: list[Delayed]) -> Delayed:
    task: Delayed = delayed(_chained)(*tasks)
    return task


def _chained(*lists: list[dict[str, pa.DataType]]) -> list[dict[str, pa.DataType]]:
    return [types for listed in lists for types in listed]


def _compute(*tasks: Delayed) -> tuple[Any, ...]:
    results: tuple[Any, ...] = dask.compute(*tasks)  # type: ignore[attr-defined, no-untyped-call]
    return results


def _active_client() -> Any:
    """Return the client of the cluster that computes tasks, or None if this process computes them."""
    distributed = sys.modules.get("distributed")
    if distributed is None or dask.config.get("scheduler", None) not in (None, "distributed", "dask.distributed"):
        return None
    try:
        client = distributed.default_client()
    except ValueError:
        return None
    return None if client.asynchronous else client


def _untuned() -> Any:
    """Return a context in which Dask does not combine small files, since the number depends on the columns."""
    return dask.config.set({"optimization.tune.active": False})
