"""Test aggregators: that their states can be sent between processes, and that several of them run in one pass."""

import pickle

import numpy as np
import pyarrow as pa
import pytest

from isoxide import _core
from isoxide._partitioned.aggregators import (
    STATE_FORMAT,
    AggregateAll,
    CountAlerts,
    CountRows,
    Partition,
    PickRows,
    decode,
    encode,
)
from isoxide._partitioned.anomalies import ScoreDigest
from isoxide._partitioned.quantiles import SketchColumns


def test_states_of_another_format_are_refused():
    assert decode(encode({"n": 3})) == {"n": 3}
    other = pickle.dumps((STATE_FORMAT + 1, {"n": 3}))
    with pytest.raises(ValueError, match=f"in format {STATE_FORMAT + 1}, .* reads format {STATE_FORMAT}; install the"):
        decode(other)


def test_a_state_contains_the_values_of_its_sketches(seed):
    sketch = _core.Sketch(-np.inf, np.inf, capacity=100)
    sketch.add(np.random.default_rng(seed).normal(size=1000))
    (copy, same) = decode(encode([sketch, sketch]))
    assert copy.to_bytes() == sketch.to_bytes()
    assert copy is same


def test_a_digest_continues_after_it_was_sent():
    digest = ScoreDigest()
    digest.add(np.arange(3.0))
    assert decode(encode(digest)).hexdigest() == digest.hexdigest()
    digest.add(np.arange(2.0))
    assert decode(encode(digest)).hexdigest() == digest.hexdigest()


def test_several_aggregators_run_in_one_pass(seed):
    values = np.random.default_rng(seed).normal(size=90)
    table = pa.table({"x": values, "__isoxide_score": values})
    sketch = _core.Sketch(-np.inf, np.inf, capacity=1000)
    aggregators = [
        CountRows(),
        SketchColumns([("x", sketch)]),
        CountAlerts(0.5, -0.5),
        PickRows(np.array([3, 80]), table.schema, ["x"], "t"),
    ]
    combined = AggregateAll(aggregators)
    assert combined.columns == ("x", "__isoxide_score")
    states = [
        combined.accumulate(Partition(number, start), table.slice(start, 30).to_batches(max_chunksize=7))
        for number, start in enumerate((0, 30, 60))
    ]
    n, (merged_sketch,), alerts, picked = combined.finish(combined.merge(decode(encode(states[::-1]))))
    assert n == 90
    assert merged_sketch.neighbours(44) == tuple(np.sort(values)[44:46])
    assert alerts == ((values - 0.5 <= -0.5).sum(), values.min() - 0.5)
    assert picked["x"].to_pylist() == values[[3, 80]].tolist()


def test_rows_that_no_longer_exist_are_reported():
    pick = PickRows(np.array([1, 7]), pa.schema([("x", pa.float64())]), ["x"], "the table")
    batch = pa.record_batch({"x": [1.0, 2.0, 3.0]})
    with pytest.raises(
        ValueError, match="the table changed while it was read: 2 rows were requested, but 1 were found"
    ):
        pick.finish(pick.accumulate(Partition(0, 0), [batch]))
