"""What is done to parts of a table: steps that every engine runs as they are."""

from __future__ import annotations

import pickle
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isoxide._forest.estimator import IsolationForest
from isoxide._forest.score_sketch import ScoreSketch
from isoxide._frames.columns import number_column, plain_numbers
from isoxide._partitioned.columns import batch_scores, features_of
from isoxide._partitioned.model import Model
from isoxide._partitioned.table import ROW_NUMBER, Part, PartedTable, Step
from isoxide._ranks.counts import RankCounts
from isoxide._ranks.groups import members

#: The column of scores, as `score_samples` gives them, of a table that has been scored.
SCORE = "__isoxide_score"


class Fold(Step):
    """A step that takes in one batch after the other."""

    def run(self, part: Part, batches: Iterator[pa.RecordBatch]) -> bytes:
        """Feeds all batches to the state of a part."""
        state, first_row = self.begin(part), part.first_row
        for batch in batches:
            state = self.feed(state, batch, first_row)
            if first_row is not None:
                first_row += batch.num_rows
        return self.finish(state)

    @abstractmethod
    def begin(self, part: Part) -> Any:
        """The state before the first batch."""

    @abstractmethod
    def feed(self, state: Any, batch: pa.RecordBatch, first_row: int | None) -> Any:
        """The state after a batch, which may be the same object; `first_row` is the number of the batch's first row."""

    @abstractmethod
    def finish(self, state: Any) -> bytes:
        """The result of a part."""


class Together(Fold):
    """Several steps in one pass; their results come as a pickled list of bytes."""

    def __init__(self, steps: Iterable[Fold]) -> None:
        self.steps = list(steps)
        self.columns = tuple(dict.fromkeys(name for step in self.steps for name in step.columns))

    def begin(self, part: Part) -> Any:
        """The states of all steps."""
        return [step.begin(part) for step in self.steps]

    def feed(self, state: Any, batch: pa.RecordBatch, first_row: int | None) -> Any:
        """Feeds each step."""
        return [step.feed(one, batch, first_row) for step, one in zip(self.steps, state, strict=True)]

    def finish(self, state: Any) -> bytes:
        """All results."""
        return packed([step.finish(one) for step, one in zip(self.steps, state, strict=True)])

    def merge(self, results: Iterable[bytes]) -> bytes:
        """Merges the results of each step."""
        parts = [unpacked(result) for result in results]
        return packed([step.merge(list(own)) for step, *own in zip(self.steps, *parts, strict=True)])


def packed(parts: list[bytes]) -> bytes:
    """Some bytes as one: their lengths, then they themselves."""
    lengths = np.array([len(parts), *map(len, parts)], dtype="<i8")
    return b"".join([lengths.tobytes(), *parts])


def unpacked(data: bytes) -> list[bytes]:
    """What `packed` was given."""
    n = int(np.frombuffer(data, "<i8", 1)[0])
    ends = np.cumsum([8 * (n + 1), *np.frombuffer(data, "<i8", n, offset=8)])
    return [data[start:end] for start, end in pairwise(ends)]


def table_bytes(table: pa.Table) -> bytes:
    """A table in Arrow's stream format."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def table_from(data: bytes) -> pa.Table:
    """What `table_bytes` was given."""
    return pa.ipc.open_stream(data).read_all()


class CountRows(Fold):
    """How many rows there are."""

    columns = ()

    def begin(self, part: Part) -> Any:
        """None yet."""
        return 0

    def feed(self, state: Any, batch: pa.RecordBatch, first_row: int | None) -> Any:
        """Some more."""
        return state + batch.num_rows

    def finish(self, state: Any) -> bytes:
        """As eight bytes."""
        return int(state).to_bytes(8, "little")

    def merge(self, results: Iterable[bytes]) -> bytes:
        """The sum."""
        return sum(int.from_bytes(result, "little") for result in results).to_bytes(8, "little")


class RowsStep(Fold):
    """A step that collects rows; results are tables in Arrow's stream format, in no particular order."""

    #: What the rows look like, for parts that have none.
    schema: pa.Schema

    def begin(self, part: Part) -> Any:
        """No rows."""
        return []

    def finish(self, state: Any) -> bytes:
        """The rows of a part."""
        return table_bytes(pa.Table.from_batches(state, self.schema))

    def merge(self, results: Iterable[bytes]) -> bytes:
        """All rows."""
        return table_bytes(pa.concat_tables([table_from(result) for result in results]))


def numbered(batch: pa.RecordBatch, numbers: NDArray[np.int64]) -> pa.RecordBatch:
    """A batch with the numbers of its rows."""
    return batch.append_column(ROW_NUMBER, pa.array(numbers))


class PickRows(RowsStep):
    """The rows of some numbers, with these; for engines whose parts know where they begin."""

    def __init__(self, rows: NDArray[np.int64], schema: pa.Schema, columns: Iterable[str]) -> None:
        self.rows = rows
        self.columns = tuple(columns)
        fields = [schema.field(name) for name in self.columns]
        self.schema = pa.schema([*fields, pa.field(ROW_NUMBER, pa.int64())])

    def feed(self, state: Any, batch: pa.RecordBatch, first_row: int | None) -> Any:
        """Those of a batch."""
        assert first_row is not None
        wanted = self.rows[slice(*np.searchsorted(self.rows, [first_row, first_row + batch.num_rows]))]
        if len(wanted):
            picked = batch.select(list(self.columns)).take(pa.array(wanted - first_row))
            state.append(numbered(picked, wanted))
        return state


def picked_rows(data: bytes, rows: NDArray[np.int64], columns: Iterable[str], where: str) -> pa.Table:
    """What `PickRows` gave, in the order of the numbers.

    Raises
    ------
    ValueError
        If they are other rows: the table has changed since it was counted.
    """
    table = table_from(data).sort_by(ROW_NUMBER)
    if not np.array_equal(table[ROW_NUMBER].to_numpy(), rows):
        raise ValueError(
            f"{where} changed while it was read: of {len(rows)} rows that were asked for, {table.num_rows} came; "
            "keep it as it is, or make it give the same rows in the same order each time"
        )
    return table.select(list(columns))


class Scored(Step):
    """Lets a step that reads scores run on a table that has none: they are made on the way."""

    def __init__(self, step: Step, model: Model, features: Iterable[str]) -> None:
        self.step, self.model = step, model
        self.columns = tuple(features)

    def run(self, part: Part, batches: Iterator[pa.RecordBatch]) -> bytes:
        """Scores the batches."""
        forest, features = self.model.forest(), list(self.columns)
        scores = (batch_scores(batch, features, forest) for batch in batches)
        return self.step.run(part, (pa.record_batch([pa.array(values)], [SCORE]) for values in scores))

    def merge(self, results: Iterable[bytes]) -> bytes:
        """As the step itself."""
        return self.step.merge(results)


class SketchScores(Fold):
    """The scores as far as an offset depends on them."""

    columns = (SCORE,)

    def __init__(self, sketch: ScoreSketch) -> None:
        self.sketch = sketch.to_bytes()

    def begin(self, part: Part) -> Any:
        """An empty sketch."""
        return ScoreSketch.from_bytes(self.sketch)

    def feed(self, state: Any, batch: pa.RecordBatch, first_row: int | None) -> Any:
        """More scores."""
        state.add(number_column(batch, SCORE))
        return state

    def finish(self, state: Any) -> bytes:
        """The sketch."""
        return state.to_bytes()  # type: ignore[no-any-return]

    def merge(self, results: Iterable[bytes]) -> bytes:
        """One sketch of all."""
        first, *rest = (ScoreSketch.from_bytes(result) for result in results)
        for other in rest:
            first.merge(other)
        return first.to_bytes()


class CountScores(Fold):
    """How many decision scores are at or below a threshold, and which is the lowest score."""

    columns = (SCORE,)

    def __init__(self, offset: float, threshold: float) -> None:
        self.offset, self.threshold = offset, threshold

    def begin(self, part: Part) -> Any:
        """None, and no lowest."""
        return 0, np.inf

    def feed(self, state: Any, batch: pa.RecordBatch, first_row: int | None) -> Any:
        """Those of a batch."""
        scores = number_column(batch, SCORE) - self.offset
        n, lowest = state
        return n + int(np.count_nonzero(scores <= self.threshold)), min(lowest, float(scores.min(initial=np.inf)))

    def finish(self, state: Any) -> bytes:
        """Both numbers."""
        n, lowest = state
        return n.to_bytes(8, "little") + np.float64(lowest).tobytes()  # type: ignore[no-any-return]

    def merge(self, results: Iterable[bytes]) -> bytes:
        """The sum, and the lowest of all."""
        found = [self.read(result) for result in results]
        return self.finish((sum(n for n, _ in found), min(lowest for _, lowest in found)))

    @staticmethod
    def read(data: bytes) -> tuple[int, float]:
        """The two numbers."""
        return int.from_bytes(data[:8], "little"), float(np.frombuffer(data[8:])[0])


class CountRanks(Fold):
    """Counts for ranks; with groups, among the rows of the same label only."""

    def __init__(
        self,
        counts: list[RankCounts],
        features: Iterable[str],
        *,
        groups: str | None = None,
        labels: list[Any] | None = None,
        n_jobs: int | None = 1,
    ) -> None:
        self.counts = [one.to_bytes() for one in counts]
        self.features = list(features)
        self.groups = groups
        #: Of each of the counts the label; without groups there is one of them, for all rows.
        self.labels = labels
        self.n_jobs = n_jobs
        self.columns = tuple(dict.fromkeys(self.features if groups is None else [*self.features, groups]))

    def begin(self, part: Part) -> Any:
        """Nothing counted."""
        return [RankCounts.from_bytes(one) for one in self.counts]

    def feed(self, state: Any, batch: pa.RecordBatch, first_row: int | None) -> Any:
        """Counts a batch."""
        table = pa.table({name: plain_numbers(batch.column(name)) for name in self.features})
        if self.groups is None or self.labels is None:
            for counts in state:
                counts.add(table, n_jobs=self.n_jobs)
            return state
        labels = batch.column(self.groups).to_pylist()
        numbers = {label: number for number, label in enumerate(self.labels)}
        for places, rows in members(self.labels, labels):
            state[numbers[self.labels[int(places[0])]]].add(table.take(pa.array(rows)), n_jobs=self.n_jobs)
        return state

    def finish(self, state: Any) -> bytes:
        """All counts."""
        return packed([counts.to_bytes() for counts in state])

    def merge(self, results: Iterable[bytes]) -> bytes:
        """The sums."""
        first, *rest = (self.read(result) for result in results)
        for other in rest:
            for mine, theirs in zip(first, other, strict=True):
                mine.merge(theirs)
        return self.finish(first)

    @staticmethod
    def read(data: bytes) -> list[RankCounts]:
        """The counts."""
        return [RankCounts.from_bytes(one) for one in unpacked(data)]


def as_pickle(state: Any) -> bytes:
    """What an own process of the engine made, for another one; never read from files."""
    return pickle.dumps(state)


def from_pickle(data: bytes) -> Any:
    """What `as_pickle` was given."""
    return pickle.loads(data)  # noqa: S301 (from our own steps, over the engine's own channels)


class ScoredTable(PartedTable):
    """The scores of a table, made whenever they are read."""

    def __init__(self, table: PartedTable, forest: IsolationForest) -> None:
        self.table = table
        self.name, self.key = table.name, table.key
        self.schema = pa.schema([pa.field(SCORE, pa.float64())])
        self.model = table.share(forest)
        self.features = features_of(forest, table.schema, table.name)

    def gather(self, step: Step) -> bytes:
        """Scores on the way."""
        return self.table.gather(Scored(step, self.model, self.features))

    def count(self) -> int:
        """As the table itself."""
        return self.table.count()

    def fetch(self, rows: NDArray[np.int64], columns: Iterable[str]) -> pa.Table:
        """Not there: nobody asks for single scores."""
        raise NotImplementedError
