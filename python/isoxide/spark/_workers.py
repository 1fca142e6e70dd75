"""What runs in Spark's workers, on the batches of one partition at a time."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark import TaskContext

from isoxide._partitioned.aggregators import SCORE
from isoxide._partitioned.columns import batch_scores, score_batch
from isoxide._partitioned.model import Model
from isoxide._partitioned.table import ROW_NUMBER, Part, Step

Batches = Iterator[pa.RecordBatch]

#: What a step gives, as Spark and as Arrow say it.
RESULT = "part long, result binary, refusal string"
_RESULT = pa.schema([("part", pa.int64()), ("result", pa.binary()), ("refusal", pa.string())])
#: Errors that come again however often a task is tried: they are handed on, not raised, for Spark would wrap each in
#: pages of its own words, after three more tries.
_REFUSALS = {"ValueError": ValueError, "TypeError": TypeError}
#: `monotonically_increasing_id` puts the partition above these bits, and below them the row's place in it.
ROW_BITS = 33


def run_step(step: Step, schema: pa.Schema) -> Callable[[Batches], Batches]:
    """For ``mapInArrow``: a step on a partition, whose columns are those of the schema in its order."""

    def run(batches: Batches) -> Batches:
        part = _partition()
        yield _result(part, lambda: step.run(Part(part, None), as_declared(batches, schema)))

    return run


def merge_results(step: Step) -> Callable[[Batches], Batches]:
    """For ``mapInArrow``: one result for all of a partition's, or the first refusal."""

    def merge(batches: Batches) -> Batches:
        results = []
        for batch in batches:
            refused = batch.filter(pc.is_valid(batch["refusal"]))
            if refused.num_rows:
                yield refused.slice(0, 1).select(_RESULT.names)
                return
            results.append(batch["result"])
        if results:
            yield _result(_partition(), lambda: step.merge(each.as_py() for column in results for each in column))

    return merge


def _partition() -> int:
    context = TaskContext.get()
    assert context is not None, "runs in a worker"
    return int(context.partitionId())


def _result(part: int, compute: Callable[[], bytes]) -> pa.RecordBatch:
    try:
        row: dict[str, Any] = {"part": part, "result": compute(), "refusal": None}
    except tuple(_REFUSALS.values()) as error:
        kind = next(name for name, refused in _REFUSALS.items() if isinstance(error, refused))
        refusal = json.dumps([kind, str(error), traceback.format_exc()])
        row = {"part": part, "result": None, "refusal": refusal}
    return pa.RecordBatch.from_pylist([row], schema=_RESULT)


def raise_refusal(refusal: str) -> None:
    """Raises on the driver what a worker refused; where that was is in its cause."""
    kind, message, where = json.loads(refusal)
    raise _REFUSALS[kind](message) from RuntimeError(f"in a worker of Spark:\n{where}")


def as_declared(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Batches:
    """Batches with names and types as the driver knows them: times are in UTC, not in the session's zone."""
    for batch in batches:
        columns = [column.cast(field.type) for column, field in zip(batch.columns, schema, strict=True)]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


class LookAtOrder(Step):
    """How many sorted rows there are in each partition, and whether their key tells them apart."""

    def __init__(self, key: tuple[str, ...]) -> None:
        self._key = key
        self.columns = (*key, ROW_NUMBER)

    def run(self, part: Part, batches: Batches) -> bytes:
        """Equal keys follow one another, and never lie in two partitions."""
        rows: dict[str, int] = {}
        missing = repeated = 0
        shown: dict[str, str] = {}
        last = None
        for batch in batches:
            if not batch.num_rows:
                continue
            # The numbers say in which partition rows were sorted, whichever they are read in.
            for sorted_in, count in zip(*np.unique(_sorted_in(batch[ROW_NUMBER]), return_counts=True), strict=True):
                rows[str(sorted_in)] = rows.get(str(sorted_in), 0) + int(count)
            keys = batch.select(list(self._key))
            with_null = _any(pc.is_null(column) for column in keys.columns)
            missing += _count(with_null, keys, "missing", shown)
            if last is not None:
                repeated += _count(_same(last, keys.slice(0, 1)), last, "repeated", shown)
            repeated += _count(_same(keys.slice(0, len(keys) - 1), keys.slice(1)), keys.slice(1), "repeated", shown)
            last = keys.slice(len(keys) - 1)
        return json.dumps({"rows": rows, "missing": missing, "repeated": repeated, "shown": shown}).encode()

    def merge(self, results: Iterable[bytes]) -> bytes:
        """Sums, and one key of each kind."""
        rows: dict[str, int] = {}
        missing = repeated = 0
        shown: dict[str, str] = {}
        for found in map(json.loads, results):
            for sorted_in, count in found["rows"].items():
                rows[sorted_in] = rows.get(sorted_in, 0) + count
            missing += found["missing"]
            repeated += found["repeated"]
            shown = {**found["shown"], **shown}
        return json.dumps({"rows": rows, "missing": missing, "repeated": repeated, "shown": shown}).encode()


def _sorted_in(numbers: pa.Array) -> Any:
    return numbers.to_numpy() >> ROW_BITS


def _same(left: pa.RecordBatch, right: pa.RecordBatch) -> pa.Array:
    """Per row whether two keys are equal to Spark, to which NaN equals NaN; null where one has a null."""
    same = pa.scalar(True)
    for one, other in zip(left.columns, right.columns, strict=True):
        equal = pc.equal(one, other)
        if pa.types.is_floating(one.type):
            equal = pc.or_(equal, pc.and_(pc.is_nan(one), pc.is_nan(other)))
        same = pc.and_(same, equal)
    return same


def _any(masks: Iterable[pa.Array]) -> pa.Array:
    result = pa.scalar(False)
    for mask in masks:
        result = pc.or_(result, mask)
    return result


def _count(mask: pa.Array, keys: pa.RecordBatch, kind: str, shown: dict[str, str]) -> int:
    """How many rows are meant, one of which is shown."""
    found = keys.filter(mask)
    if len(found) and kind not in shown:
        (row,) = found.slice(0, 1).to_pylist()
        shown[kind] = ", ".join(
            f"{name}={value!r}" if isinstance(value, (str, bytes)) else f"{name}={value}" for name, value in row.items()
        )
    return len(found)


def score_column(model: Model, schema: pa.Schema) -> Callable[[Batches], Batches]:
    """For ``mapInArrow``: the scores alone, as ``score_samples`` gives them."""

    def run(batches: Batches) -> Batches:
        for batch in as_declared(batches, schema):
            scores = batch_scores(batch, schema.names, model.forest())
            yield pa.RecordBatch.from_arrays([pa.array(scores)], names=[SCORE])

    return run


def score_rows(model: Model, features: list[str], names: list[str]) -> Callable[[Batches], Batches]:
    """For ``mapInArrow``: every batch as it came, with two more columns."""

    def run(batches: Batches) -> Batches:
        for batch in batches:
            scores = score_batch(batch, features, model.forest())
            yield pa.RecordBatch.from_arrays(
                [*batch.columns, pa.array(scores), pa.array(scores < 0)], names=[*batch.schema.names, *names]
            )

    return run
