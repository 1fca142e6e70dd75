"""A dask frame as a table in parts: its partitions, in their order."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

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
from isoxide._partitioned.aggregators import CountRows
from isoxide._partitioned.model import Model
from isoxide._partitioned.table import Part, PartedTable, Step
from isoxide.dask._arrow import batches, joined_type

#: How many results are merged by one task.
_MERGED = 8
#: How many partitions are read at once in search of the one that cannot be.
_SEARCHED = 16
#: What dask says where a partition is not what its frame says.
_MISMATCH = ("Metadata mismatch", "The columns in the computed data do not match", "Length mismatch")


class DaskTable(PartedTable):
    """A dask frame. What is computed runs where dask's tasks do: on the active client, or on threads of this process.

    Rows have numbers once the lengths of the partitions are known, which any pass over all of them tells.
    """

    name = "the dask frame"

    def __init__(self, frame: Any) -> None:
        self._frame, self.notes = _without_index(checked(frame))
        #: The number of the first row of each partition, and of all rows.
        self._starts: NDArray[np.int64] | None = None

    @cached_property
    def schema(self) -> pa.Schema:
        """Names and types; only for columns of objects and unknown categories partitions are looked at."""
        meta = self._frame._meta
        types = {name: declared_type(meta[name]) for name in meta.columns}
        unknown = [name for name, known in types.items() if known is None]
        if unknown:
            types |= self._look_at(unknown)
        self.untyped = frozenset(name for name, dtype in types.items() if dtype == UNTYPED)
        told = {b"untyped": b""}
        return pa.schema(
            [
                pa.field(name, pa.string(), metadata=told) if name in self.untyped else pa.field(name, dtype)
                for name, dtype in types.items()
            ]
        )

    def gather(self, step: Step) -> bytes:
        """Runs a step on each partition and merges what comes, some results at a time, in tasks as well."""
        schema = self._schema_of(step.columns)
        job = _once(_Job(step, schema, self.name))
        run, merge = delayed(_run, pure=False), delayed(_merge, pure=False)
        partitions = self._partitions(schema.names)
        results = [run(job, self._place(number), partition) for number, partition in enumerate(partitions)]
        done = self._compute(_together(results, lambda some: merge(job, *some)), schema.names)
        # They cost nothing here, so that counting needs no pass of its own.
        self._learn(done.lengths)
        result: bytes = done.result
        return result

    def count(self) -> int:
        """The number of rows; they are only read for this if no step has been run before."""
        if self._starts is None:
            self.gather(CountRows())
        assert self._starts is not None
        return int(self._starts[-1])

    def fetch(self, rows: NDArray[np.int64], columns: Iterable[str]) -> pa.Table:
        """Rows by number; partitions without any are not read."""
        n_rows, schema = self.count(), self._schema_of(columns)
        if rows.size and not (rows[0] >= 0 and rows[-1] < n_rows):
            raise IndexError(f"rows {rows[0]} to {rows[-1]} are asked for; {self.name} has {n_rows}")
        assert self._starts is not None
        job, take = _once(_Job(None, schema, self.name)), delayed(_take, pure=False)
        partitions = self._partitions(schema.names)
        places = np.searchsorted(rows, self._starts)
        tables = []
        for number in np.flatnonzero(np.diff(places)).tolist():
            inside = rows[places[number] : places[number + 1]] - self._starts[number]
            tables.append(take(job, self._place(number), partitions[number], inside))
        if not tables:
            return schema.empty_table()
        concat = delayed(_concat, pure=False)
        return self._compute(_together(tables, lambda some: concat(*some)), schema.names)

    def share(self, forest: IsolationForest) -> Model:
        """A forest that scores on one thread: dask has a task on each of its threads."""
        return Model(forest.to_bytes(), n_jobs=1)

    def _place(self, number: int) -> _Place:
        if self._starts is None:
            return _Place(number, None, None)
        start, end = self._starts[number : number + 2].tolist()
        return _Place(number, start, end - start)

    def _learn(self, lengths: dict[int, int]) -> None:
        self._starts = np.cumsum([0, *(lengths[number] for number in range(len(lengths)))])

    def _schema_of(self, columns: Iterable[str]) -> pa.Schema:
        return pa.schema([self.schema.field(name) for name in columns])

    def _narrow_column(self) -> str:
        """A column that is read soon."""
        kinds = self._frame._meta.dtypes
        # Objects are larger than they look.
        sizes = {name: kind.itemsize for name, kind in kinds.items() if isinstance(kind, np.dtype) and kind.kind != "O"}
        first: str = self._frame.columns[0]
        return min(sizes, key=sizes.__getitem__, default=first)

    @cached_property
    def _n_partitions(self) -> int:
        with _untuned():
            return int(self._frame.optimize().npartitions)

    def _partitions(self, names: Sequence[str]) -> list[Delayed]:
        """The partitions with some columns, or more; they hold the same rows whatever the columns."""
        frame = self._frame
        with _untuned():
            parts: list[Delayed] = frame[list(names) or [self._narrow_column()]].to_delayed()
            return parts if len(parts) == self._n_partitions else list(frame.to_delayed())

    def _look_at(self, names: list[str]) -> dict[str, pa.DataType]:
        """Return the types of some columns by what they hold in all partitions."""
        looks = [delayed(_types)(partition, names) for partition in self._partitions(names)]
        found: list[dict[str, pa.DataType]] = self._compute(_together(looks, _listed), names)
        return {name: joined_type([look[name] for look in found]) for name in names}

    def _compute(self, task: Delayed, names: Sequence[str]) -> Any:
        try:
            return _compute(task)[0]
        except (KeyError, ValueError) as error:
            if isinstance(error, KeyError) or any(words in str(error) for words in _MISMATCH):
                self._blame(names)
            raise

    def _blame(self, names: Sequence[str]) -> None:
        """Says which partition dask cannot read, of those that are not as the frame says."""
        partitions = [delayed(len)(partition) for partition in self._partitions(names)]
        for start in range(0, len(partitions), _SEARCHED):
            some = partitions[start : start + _SEARCHED]
            try:
                _compute(*some)
            except (KeyError, ValueError):
                for number, partition in enumerate(some, start):
                    try:
                        partition.compute()
                    except (KeyError, ValueError) as error:
                        what = error.args[0] if error.args else error
                        raise ValueError(
                            f"partition {number} of {self.name} is not as the frame says: {what}"
                        ) from error


def checked(frame: Any) -> Any:
    """A dask frame of pandas partitions, whose columns have distinct names that are text."""
    if not isinstance(frame, dd.DataFrame):
        kind = f"{type(frame).__module__.split('.')[0]}.{type(frame).__name__}"
        if isinstance(frame, pd.DataFrame):
            instead = "for a frame in memory use IsolationForest, isoxide.rank_features and isoxide.ueba"
        elif type(frame).__module__.startswith("dask."):
            instead = "make one of it (to_frame, to_dask_dataframe, to_dataframe)"
        else:
            instead = "paths, Arrow readers and other engines' tables are read by isoxide.stream"
        raise TypeError(f"isoxide.dask works on dask.dataframe.DataFrame, not {kind}; {instead}")
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
        raise ValueError(f"the dask frame has several columns of the name {repeated[0]!r}; rename them")
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
    return frame[[name for place, name in enumerate(frame.columns) if place not in index]], (INDEX_NOTE,)


class _Job(NamedTuple):
    """What all tasks of a pass share."""

    step: Step | None
    schema: pa.Schema
    name: str


class _Place(NamedTuple):
    """A partition, and what is known of it after a first pass."""

    number: int
    first_row: int | None
    length: int | None


class _Done(NamedTuple):
    """What came of some partitions, and how long they are."""

    result: bytes
    lengths: dict[int, int]


def _once(job: _Job) -> Delayed:
    """An object that each worker gets once, and not with each task; made anew where the worker that has it is lost."""
    once: Delayed = delayed(job, name=f"isoxide-{uuid.uuid4().hex}", pure=False, traverse=False)
    return once


def _run(job: _Job, place: _Place, partition: pd.DataFrame) -> _Done:
    assert job.step is not None
    name = _same_length(job, place, partition)
    result = job.step.run(Part(place.number, place.first_row), batches(partition, job.schema, name))
    return _Done(result, {place.number: len(partition)})


def _same_length(job: _Job, place: _Place, partition: pd.DataFrame) -> str:
    """The partition's name, after it has been looked at whether it still is as long as it was."""
    name = f"partition {place.number} of {job.name}"
    if place.length not in (None, len(partition)):
        raise ValueError(
            f"{name} had {place.length} rows when they were counted, and now has {len(partition)}: "
            "partitions must be the same each time they are read; persist() the frame, or write it to a file first"
        )
    return name


def _merge(job: _Job, *done: _Done) -> _Done:
    assert job.step is not None
    lengths: dict[int, int] = {}
    for some in done:
        lengths |= some.lengths
    return _Done(job.step.merge(some.result for some in done), lengths)


def _take(job: _Job, place: _Place, partition: pd.DataFrame, rows: NDArray[np.int64]) -> pa.Table:
    name = _same_length(job, place, partition)
    return pa.Table.from_batches(batches(partition, job.schema, name), schema=job.schema).take(rows)


def _concat(*tables: pa.Table) -> pa.Table:
    return pa.concat_tables(tables)


def _together(tasks: list[Delayed], merge: Callable[[list[Delayed]], Delayed]) -> Delayed:
    """One task for the results of many, in their order: some at a time, so that none waits for very many."""
    while True:
        tasks = [merge(tasks[start : start + _MERGED]) for start in range(0, len(tasks), _MERGED)]
        if len(tasks) == 1:
            return tasks[0]


def _types(partition: pd.DataFrame, names: list[str]) -> list[dict[str, pa.DataType]]:
    return [{name: objects_type(partition[name]) for name in names}]


def _listed(some: list[Delayed]) -> Delayed:
    looks: Delayed = delayed(_chained)(*some)
    return looks


def _chained(*looks: list[dict[str, pa.DataType]]) -> list[dict[str, pa.DataType]]:
    return [one for look in looks for one in look]


def _compute(*tasks: Delayed) -> tuple[Any, ...]:
    done: tuple[Any, ...] = dask.compute(*tasks)  # type: ignore[attr-defined, no-untyped-call]
    return done


def _untuned() -> Any:
    """Without it dask reads small files together, and how many depends on the columns that are asked for."""
    return dask.config.set({"optimization.tune.active": False})
