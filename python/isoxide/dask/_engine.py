"""The engine of Dask: the partitions of a dask frame, in their order."""

from __future__ import annotations

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

#: States that are merged by one task.
_MERGED_STATES = 8
#: Partitions that are read at once in search of the one that cannot be read.
_SEARCHED = 16
#: What dask says where a partition is not what its frame says.
_MISMATCH = ("Metadata mismatch", "The columns in the computed data do not match", "Length mismatch")

R = TypeVar("R")


class DaskEngine(Engine):
    """A dask frame, read by tasks of the active client, or on threads of this process.

    Rows have numbers once the lengths of the partitions are known, which any pass over all of them tells.

    Parameters
    ----------
    frame : dask.dataframe.DataFrame
        The rows.
    """

    name = "the dask frame"
    #: Dask runs a task on each of its threads.
    n_jobs = 1

    def __init__(self, frame: Any) -> None:
        self._frame, self.notes = _without_index(checked(frame))
        #: The number of the first row of each partition, and of all rows.
        self._starts: NDArray[np.int64] | None = None

    @cached_property
    def schema(self) -> pa.Schema:
        """Return names and types of the columns; partitions are read only for objects and unknown categories."""
        meta = self._frame._meta
        types = {name: declared_type(meta[name]) for name in meta.columns}
        unknown = [name for name, known in types.items() if known is None]
        if unknown:
            types |= self._look_at(unknown)
        self.untyped = frozenset(name for name, dtype in types.items() if dtype == UNTYPED)
        mark = {b"untyped": b""}
        return pa.schema(
            [
                pa.field(name, pa.string(), metadata=mark) if name in self.untyped else pa.field(name, dtype)
                for name, dtype in types.items()
            ]
        )

    def aggregate(self, aggregator: Aggregator[Any, R]) -> R:
        """Aggregate each partition and merge the states, some at a time, in tasks as well."""
        schema = self._schema_of(aggregator.columns)
        job = _once(_Job(aggregator, schema, self.name))
        run, merge = delayed(_run, pure=False), delayed(_merge, pure=False)
        partitions = self._partitions(schema.names)
        states = [run(job, self._known(number), partition) for number, partition in enumerate(partitions)]
        done = self._compute(_in_stages(states, lambda tasks: merge(job, *tasks)), schema.names)
        # They cost nothing here, so that counting needs no pass of its own.
        self._learn(done.lengths)
        return aggregator.finish(decode(done.state))

    def count(self) -> int:
        """Return the number of rows; they are only read for this if nothing has been aggregated before."""
        if self._starts is None:
            self.aggregate(CountRows())
        assert self._starts is not None
        return int(self._starts[-1])

    def fetch(self, rows: NDArray[np.int64], columns: Iterable[str]) -> pa.Table:
        """Return rows by number; partitions without any of them are not read."""
        n_rows, schema = self.count(), self._schema_of(columns)
        if rows.size and not (rows[0] >= 0 and rows[-1] < n_rows):
            raise IndexError(f"rows {rows[0]} to {rows[-1]} are asked for; {self.name} has {n_rows}")
        assert self._starts is not None
        job, take = _once(_Job(None, schema, self.name)), delayed(_take, pure=False)
        partitions = self._partitions(schema.names)
        ends = np.searchsorted(rows, self._starts)
        tables = []
        for number in np.flatnonzero(np.diff(ends)).tolist():
            inside = rows[ends[number] : ends[number + 1]] - self._starts[number]
            tables.append(take(job, self._known(number), partitions[number], inside))
        if not tables:
            return schema.empty_table()
        concat = delayed(_concat, pure=False)
        return self._compute(_in_stages(tables, lambda tasks: concat(*tasks)), schema.names)

    def scores(self, forest: IsolationForest) -> Engine:
        """Return the scores, made anew whenever they are read."""
        return ScoredRows(self, forest)

    def broadcast(self, forest: IsolationForest) -> BroadcastForest:
        """Return a forest that scores on the one thread of a task."""
        return BroadcastForest(forest.to_bytes(), n_jobs=self.n_jobs)

    def _known(self, number: int) -> _Known:
        if self._starts is None:
            return _Known(number, None, None)
        start, end = self._starts[number : number + 2].tolist()
        return _Known(number, start, end - start)

    def _learn(self, lengths: dict[int, int]) -> None:
        self._starts = np.cumsum([0, *(lengths[number] for number in range(len(lengths)))])

    def _schema_of(self, columns: Iterable[str]) -> pa.Schema:
        return pa.schema([self.schema.field(name) for name in columns])

    def _narrow_column(self) -> str:
        """Return a column that is read fast."""
        dtypes = self._frame._meta.dtypes
        # Objects are larger than they look.
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
        """Return the partitions with these columns, or more; they hold the same rows whatever the columns are."""
        frame = self._frame
        with _untuned():
            partitions: list[Delayed] = frame[list(names) or [self._narrow_column()]].to_delayed()
            return partitions if len(partitions) == self._n_partitions else list(frame.to_delayed())

    def _look_at(self, names: list[str]) -> dict[str, pa.DataType]:
        """Return the types of some columns by what they hold in all partitions."""
        looks = [delayed(_types)(partition, names) for partition in self._partitions(names)]
        types: list[dict[str, pa.DataType]] = self._compute(_in_stages(looks, _listed), names)
        return {name: joined_type([own[name] for own in types]) for name in names}

    def _compute(self, task: Delayed, names: Sequence[str]) -> Any:
        try:
            return _compute(task)[0]
        except (KeyError, ValueError) as error:
            if isinstance(error, KeyError) or any(message in str(error) for message in _MISMATCH):
                self._blame(names)
            raise

    def _blame(self, names: Sequence[str]) -> None:
        """Name the first partition that dask cannot read since it is not as the frame says."""
        partitions = [delayed(len)(partition) for partition in self._partitions(names)]
        for start in range(0, len(partitions), _SEARCHED):
            searched = partitions[start : start + _SEARCHED]
            try:
                _compute(*searched)
            except (KeyError, ValueError):
                for number, partition in enumerate(searched, start):
                    try:
                        partition.compute()
                    except (KeyError, ValueError) as error:
                        reason = error.args[0] if error.args else error
                        raise ValueError(
                            f"partition {number} of {self.name} is not as the frame says: {reason}"
                        ) from error


def checked(frame: Any) -> Any:
    """Return a dask frame of pandas partitions, whose columns have distinct names that are text."""
    if not isinstance(frame, dd.DataFrame):
        given = f"{type(frame).__module__.split('.')[0]}.{type(frame).__name__}"
        if isinstance(frame, pd.DataFrame):
            instead = "for a frame in memory use IsolationForest, isoxide.rank_features and isoxide.ueba"
        elif type(frame).__module__.startswith("dask."):
            instead = "make one of it (to_frame, to_dask_dataframe, to_dataframe)"
        else:
            instead = "paths, Arrow readers and other engines' tables are read by isoxide.stream"
        raise TypeError(f"isoxide.dask works on dask.dataframe.DataFrame, not {given}; {instead}")
    meta = frame._meta
    if not isinstance(meta, pd.DataFrame):
        raise TypeError(f"partitions must be of pandas, not {type(meta).__module__}; use to_backend('pandas')")
    if not len(meta.columns):
        raise ValueError("the dask frame has no columns")
    for name in meta.columns:
        if not isinstance(name, str):
            raise TypeError(f"names of columns must be text; {name!r} is not: use rename(columns=str)")
    repeated = meta.columns[meta.columns.duplicated()]
    if len(repeated):
        raise ValueError(f"the dask frame has several columns named {repeated[0]!r}; rename them")
    if meta.index.name is not None:
        if meta.index.name in meta.columns:
            raise ValueError(f"the dask frame has an index and a column of the name {meta.index.name!r}; rename one")
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


class _Known(NamedTuple):
    """A partition, and what is known of it after a first pass."""

    number: int
    first_row: int | None
    length: int | None


class _Done(NamedTuple):
    """The encoded state of some partitions, and how long they are.

    Tasks must not change what they are given, as dask may run them again; so states are bytes between tasks.
    """

    state: bytes
    lengths: dict[int, int]


def _once(job: _Job) -> Delayed:
    """Return an object that each worker gets once, not with each task; it is made anew if its worker is lost."""
    once: Delayed = delayed(job, name=f"isoxide-{uuid.uuid4().hex}", pure=False, traverse=False)
    return once


def _run(job: _Job, known: _Known, partition: pd.DataFrame) -> _Done:
    assert job.aggregator is not None
    label = _checked_label(job, known, partition)
    batches = partition_batches(partition, job.schema, label)
    state = job.aggregator.accumulate(Partition(known.number, known.first_row), batches)
    return _Done(encode(state), {known.number: len(partition)})


def _checked_label(job: _Job, known: _Known, partition: pd.DataFrame) -> str:
    """Return what a partition is called, and refuse one that is not as long as it was."""
    label = f"partition {known.number} of {job.name}"
    if known.length not in (None, len(partition)):
        raise ValueError(
            f"{label} had {known.length} rows when they were counted, and now has {len(partition)}: "
            "partitions must be the same each time they are read; persist() the frame, or write it to a file first"
        )
    return label


def _merge(job: _Job, *done: _Done) -> _Done:
    assert job.aggregator is not None
    lengths: dict[int, int] = {}
    for own in done:
        lengths |= own.lengths
    return _Done(encode(job.aggregator.merge(decode(own.state) for own in done)), lengths)


def _take(job: _Job, known: _Known, partition: pd.DataFrame, rows: NDArray[np.int64]) -> pa.Table:
    label = _checked_label(job, known, partition)
    return pa.Table.from_batches(partition_batches(partition, job.schema, label), schema=job.schema).take(rows)


def _concat(*tables: pa.Table) -> pa.Table:
    return pa.concat_tables(tables)


def _in_stages(tasks: list[Delayed], merge: Callable[[list[Delayed]], Delayed]) -> Delayed:
    """Return one task for the results of many, in their order; a few at a time, so that none waits for all."""
    while True:
        tasks = [merge(tasks[start : start + _MERGED_STATES]) for start in range(0, len(tasks), _MERGED_STATES)]
        if len(tasks) == 1:
            return tasks[0]


def _types(partition: pd.DataFrame, names: list[str]) -> list[dict[str, pa.DataType]]:
    return [{name: objects_type(partition[name]) for name in names}]


def _listed(tasks: list[Delayed]) -> Delayed:
    task: Delayed = delayed(_chained)(*tasks)
    return task


def _chained(*looks: list[dict[str, pa.DataType]]) -> list[dict[str, pa.DataType]]:
    return [types for look in looks for types in look]


def _compute(*tasks: Delayed) -> tuple[Any, ...]:
    done: tuple[Any, ...] = dask.compute(*tasks)  # type: ignore[attr-defined, no-untyped-call]
    return done


def _untuned() -> Any:
    """Return a context in which dask does not read small files together: how many depends on the columns."""
    return dask.config.set({"optimization.tune.active": False})
