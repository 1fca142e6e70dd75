"""Test that a public call that runs out of memory at any moment raises an exception, and does not end the process."""

import faulthandler
import os
import pickle
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse

from isoxide import IsolationForest, RankReference, percentileofscore, rank_features, stream, ueba
from isoxide.mergeable import RankCounts, SampleRows, ScoreSketch, sample_plan
from new_process import MALLOC_SETTINGS, run_in_new_process

pytestmark = [
    pytest.mark.slow,
    # The tests set the alarm that pytest-timeout uses by default.
    pytest.mark.timeout(method="thread"),
    pytest.mark.not_parallel(reason="it runs processes with little memory"),
    pytest.mark.current_versions(reason="processes, threads, signals and memory do not depend on scikit-learn"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of the address space are Linux's"),
]

KIB, MIB = 2**10, 2**20
RESULT, REFUSAL, FAILURE = 0, 3, 1
#: Bytes of address space that a call gets beyond what the process has.
GROWTH = 1.5
LIMITS = (0, 100 * KIB, MIB, 3 * MIB, *(7 * MIB * GROWTH**step for step in range(15)))


def address_space():
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def use_up_freed_memory():
    """Allocate what earlier calls freed and the process still has, so that the next call cannot use it."""
    blocks = []
    for size in (16 * MIB, MIB, 128 * KIB, 16 * KIB, 2 * KIB):
        before = address_space()
        while address_space() <= before:
            blocks.append(np.empty(size, dtype=np.uint8))
        blocks.pop()
    return blocks


def exit_code_under_limit(call, n_bytes):
    """Run a call in a forked child that may take `n_bytes` more memory, and return the child's exit code.

    pandas ends the process when its hash tables run out of memory. isoxide cannot prevent that, so if the innermost
    Python function is one of pandas, it counts as a refusal.
    """
    with tempfile.TemporaryFile("w+") as trace:
        child = os.fork()
        if child == 0:
            faulthandler.enable(trace)
            call_under_limit_and_exit(call, n_bytes)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        trace.seek(0)
        innermost = re.search(r"Current thread .*\n  File \"(.*)\"", trace.read())
    return REFUSAL if code < 0 and innermost and "/site-packages/pandas/" in innermost[1] else code


def call_under_limit_and_exit(call, n_bytes):
    code = FAILURE
    try:
        blocks = use_up_freed_memory()  # noqa: F841 (they exist until the child ends)
        limit = address_space() + n_bytes
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        signal.alarm(60)
        try:
            call()
            code = RESULT
        except MemoryError:
            code = REFUSAL
        except Exception as error:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            if is_about_memory(error):
                code = REFUSAL
            else:
                traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def is_about_memory(error):
    """Return whether an exception, possibly one of another library, says that memory ran out."""
    chain = []
    while error is not None:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return any(
        isinstance(link, MemoryError)
        or (isinstance(link, OSError) and link.errno == 12)
        or any(phrase in str(link) for phrase in ("thread", "bad_alloc", "allocate memory", "failed to map segment"))
        for link in chain
    )


def estimator_calls(seed, folder):
    r = np.random.default_rng(seed)
    X = r.normal(size=(10_000, 12))
    columns = np.asfortranarray(X)
    first_rows = X[:1500]
    frame = pd.DataFrame({f"c{j}": X[:, j] for j in range(5)}).assign(n=np.arange(len(X)), text=np.arange(len(X)) % 7)
    weights = r.random(len(X))
    cells = r.normal(size=30_000).astype(np.float32), (r.integers(0, 1000, 30_000), r.integers(0, 20_000, 30_000))
    sparse = scipy.sparse.csr_array(cells, shape=(1000, 20_000))
    large = IsolationForest(max_samples=0.9, n_estimators=8, random_state=seed).fit(X)
    wide = IsolationForest(n_estimators=60, random_state=seed, max_samples=64).fit(r.normal(size=(300, 3000)))
    stumps = IsolationForest(n_estimators=5000, max_samples=2, random_state=seed).fit(first_rows)
    on_sparse = IsolationForest(n_estimators=40, random_state=seed).fit(sparse)
    weighted = IsolationForest(n_estimators=5, random_state=seed).fit(first_rows, sample_weight=weights[:1500])
    stored = {name: forest.to_bytes(complete=True) for name, forest in [("large", large), ("wide", wide)]}
    stored |= {name: forest.to_bytes() for name, forest in [("stumps", stumps), ("on sparse", on_sparse)]}
    pickled, path = pickle.dumps(large), folder / "forest.safetensors"
    large.save(path)
    sklearn_forest = large.to_sklearn()
    queries = r.normal(size=(1000, 3000))

    def fit(X=X, y=None, sample_weight=None, **parameters):
        return IsolationForest(**{"random_state": seed, "n_jobs": 2, **parameters}).fit(X, y, sample_weight)

    def fit_with_warm_start():
        forest = fit(first_rows, n_estimators=200)
        forest.set_params(warm_start=True, n_estimators=1200).fit(first_rows)

    return {
        "fit": fit,
        "fit columns": lambda: fit(columns),
        "fit a frame": lambda: fit(frame),
        "fit a list": lambda: fit(first_rows.tolist()),
        "fit many trees": lambda: fit(first_rows, n_estimators=2000),
        "fit constants": lambda: fit(np.zeros((1000, 3)), n_estimators=2000),
        "fit huge trees": lambda: fit(max_samples=1.0, n_estimators=4),
        "fit half of the rows": lambda: fit(max_samples=0.5, n_estimators=6, bootstrap=False),
        "fit a bootstrap": lambda: fit(max_samples=0.7, n_estimators=6, bootstrap=True),
        "fit with a RandomState": lambda: fit(random_state=np.random.RandomState(seed), max_samples=0.3),
        "fit with weights": lambda: fit(sample_weight=weights, max_samples=2000, n_estimators=20),
        "fit with weights, repeatedly": lambda: fit(sample_weight=weights, bootstrap=True),
        "fit with a contamination": lambda: fit(contamination=0.1),
        "fit sparse rows": lambda: fit(sparse, n_estimators=20),
        "fit half of the sparse columns": lambda: fit(sparse, n_estimators=60, max_samples=10, max_features=0.5),
        "fit with warm start": fit_with_warm_start,
        "score": lambda: IsolationForest.from_bytes(stored["large"]).score_samples(X),
        "score five rows": lambda: IsolationForest.from_bytes(stored["large"]).decision_function(first_rows[:5]),
        "score wide rows": lambda: IsolationForest.from_bytes(stored["wide"]).score_samples(queries),
        "score stumps": lambda: IsolationForest.from_bytes(stored["stumps"]).predict(first_rows),
        "score sparse rows": lambda: IsolationForest.from_bytes(stored["on sparse"]).score_samples(sparse),
        "recalibrate": lambda: IsolationForest.from_bytes(stored["large"]).recalibrate(X, contamination=0.2),
        "save": lambda: large.save(folder / "saved.safetensors", complete=True),
        "load": lambda: IsolationForest.load(path),
        "to bytes": lambda: stumps.to_bytes(complete=True),
        "to bytes with weights": lambda: weighted.to_bytes(),
        "from bytes": lambda: IsolationForest.from_bytes(stored["stumps"]),
        "pickle": lambda: pickle.dumps(large),
        "unpickle": lambda: pickle.loads(pickled),
        "trees": lambda: IsolationForest.from_bytes(stored["large"]).estimators_,
        "rows drawn": lambda: large.estimators_samples_,
        "rows drawn with weights": lambda: weighted.estimators_samples_,
        "to scikit-learn": lambda: IsolationForest.from_bytes(stored["large"]).to_sklearn(),
        "from scikit-learn": lambda: IsolationForest.from_sklearn(sklearn_forest),
    }


def rank_and_table_calls(seed, folder):
    """Return the calls that rank, that use `isoxide.mergeable`, `isoxide.ueba` or `isoxide.stream`, by name."""
    r = np.random.default_rng(seed)
    X = r.normal(size=(20_000, 20))
    integers = r.integers(0, 5000, (20_000, 8))
    groups = r.integers(0, 200, len(X))
    reference = RankReference(X)
    counts = RankCounts(X[:4000])
    counts.add(X)
    stored_counts, wide_counts = counts.to_bytes(), RankCounts(np.zeros((1, 20_000))).to_bytes()
    sketch = ScoreSketch(100_000, 0.4)
    scores = -r.uniform(0.1, 1, 100_000)
    sketch.add(scores)
    stored_sketch = sketch.to_bytes()
    plan = sample_plan(10**6, 3, random_state=seed)
    stored_plan = plan.to_bytes()
    table = pd.DataFrame(X[:3000, :6], columns=[f"z_{j}" for j in range(6)]).assign(
        user=[f"u{i % 60}" for i in range(3000)], day=pd.date_range("2024-01-01", periods=50).repeat(60).astype(str)
    )
    features = ueba.read_table(table, entity="user", time="day")
    parquet = folder / "table.parquet"
    pq.write_table(pa.Table.from_pandas(table), parquet, row_group_size=500)
    names = [f"z_{j}" for j in range(6)]
    forest = IsolationForest(random_state=seed, n_jobs=2).fit(table[names])

    def collect():
        rows = SampleRows(plan.rows, 3)
        rows.add(0, X[:, :3])
        return rows.to_bytes()

    def sketch_of_large_capacity():
        sketch = ScoreSketch(100_000, 0.4, capacity=10**12)
        sketch.add(scores)
        return ScoreSketch.from_bytes(sketch.to_bytes())

    return {
        "rank": lambda: rank_features(X[:3000], X, n_jobs=2),
        "rank all": lambda: rank_features(X[:, :6], X[:, :6], n_jobs=2),
        "rank columns": lambda: rank_features(np.asfortranarray(X[:300]), np.asfortranarray(X), n_jobs=2),
        "rank integers": lambda: rank_features(integers[:9000], integers, tail="both", nan_policy="omit"),
        "rank by group": lambda: rank_features(X[:3000], X, groups=(groups[:3000], groups), n_jobs=2),
        "rank and tabulate": lambda: rank_features(X[:300], X, n_jobs=2).to_frame(),
        "rank a column": lambda: percentileofscore(X[:, 0], X[:, 1]),
        "rank a column of objects": lambda: percentileofscore(X[:2000, 0].astype(object), X[:9, 1]),
        "make a reference": lambda: RankReference(X, n_jobs=2),
        "rank with a reference": lambda: reference.rank_features(X[:9000], n_jobs=2),
        "count ranks": lambda: RankCounts(X[:4000]).add(X, n_jobs=2),
        "count ranks of many columns": lambda: RankCounts(np.zeros((2, 3000))).add(np.ones((3, 3000)), n_jobs=2),
        "counts as bytes": lambda: RankCounts.from_bytes(stored_counts).to_bytes(),
        "counts of many columns": lambda: RankCounts.from_bytes(wide_counts),
        "merge counts": lambda: RankCounts.from_bytes(stored_counts).merge(counts),
        "ranks of counts": lambda: RankCounts.from_bytes(stored_counts).ranks(),
        "sketch": lambda: ScoreSketch(100_000, 0.4).add(scores),
        "sketch of a large capacity": sketch_of_large_capacity,
        "sketch as bytes": lambda: ScoreSketch.from_bytes(stored_sketch).to_bytes(),
        "merge sketches": lambda: ScoreSketch.from_bytes(stored_sketch).merge(sketch),
        "plan": lambda: sample_plan(10**9, 3, random_state=seed),
        "plan with max_samples": lambda: sample_plan(500_000, 3, random_state=seed, max_samples=0.02, n_estimators=6),
        "plan as bytes": lambda: type(plan).from_bytes(stored_plan).to_bytes(),
        "grow a plan": lambda: plan.grow(np.zeros((len(plan.rows), 3))),
        "collect rows": collect,
        "read a table": lambda: ueba.read_table(table, entity="user", time="day"),
        "detect": lambda: ueba.detect(features, threshold=-0.1),
        "stream: fit": lambda: stream.open(parquet).fit(IsolationForest(random_state=seed), features=names),
        "stream: score": lambda: stream.open(parquet).write_scores(forest, tempfile.mkdtemp(dir=folder) + "/scores"),
        "stream: detect": lambda: stream.open(parquet).detect(entity="user", time="day", threshold=-0.1),
    }


CALLS = {"estimator": estimator_calls, "ranks and tables": rank_and_table_calls}


def print_failures_under_limits(group, seed):
    """Run each call with more and more memory until it returns; print those that end otherwise than by a refusal."""
    warnings.simplefilter("ignore")
    # Each seed tests other limits.
    shift = np.random.default_rng(seed).uniform(1, GROWTH)
    with tempfile.TemporaryDirectory() as folder:
        for name, call in CALLS[group](seed, Path(folder)).items():
            # The first call imports modules and prepares forests; the limits are for what every call needs.
            call()
            for n_bytes in LIMITS:
                code = exit_code_under_limit(call, int(n_bytes * shift))
                if code == RESULT:
                    break
                if code != REFUSAL:
                    print(f"{name}: {code} with {n_bytes * shift / MIB:.2f} MiB")
            else:
                print(f"{name}: no result with {n_bytes * shift / MIB:.0f} MiB")


@pytest.mark.parametrize("group", CALLS)
def test_a_call_that_runs_out_of_memory_at_any_moment_is_refused(group, seed):
    ended = run_in_new_process(print_failures_under_limits, group, seed, timeout=300, **MALLOC_SETTINGS)
    assert (ended.code, ended.out) == (0, ""), ended.err


def repeated(*shape, value=0.0):
    """Return a table of this shape in the memory of one cell."""
    return np.broadcast_to(np.asarray(value), shape)


def impossible_calls(X):
    """Yield calls whose input or result is larger than any memory, by name."""

    def fit(X=X, sample_weight=None, **parameters):
        return IsolationForest(**{"random_state": 0, "n_estimators": 2, **parameters}).fit(
            X, sample_weight=sample_weight
        )

    def csr(n_columns, **parameters):
        cells = np.ones(3, np.float32), ([0, 1, 2], [0, 5, n_columns - 1])
        return fit(scipy.sparse.csr_array(cells, shape=(3, n_columns)), **parameters)

    forest, one_feature = fit(), {"max_features": 1}
    forest_of_wide_rows = fit(repeated(9, 10**12), **one_feature)
    grown_further = fit(warm_start=True).set_params(n_estimators=10**10)
    cells = np.zeros(5, np.float32), np.zeros(5, np.int32)
    for n in (10**11, 10**12, 10**13, 2**62 // 8):
        rows = repeated(n, 1)
        yield f"{n} rows", lambda rows=rows: fit(rows)
        yield f"{n} rows, no seed", lambda rows=rows: fit(rows, random_state=None)
        yield f"{n} rows, half of them", lambda rows=rows: fit(rows, max_samples=0.5)
        yield f"{n} rows, weighted", lambda rows=rows, n=n: fit(rows, repeated(n, value=1.0))
        yield f"{n} rows, contamination", lambda rows=rows: fit(rows, contamination=0.1)
        yield f"score {n} rows", lambda n=n: forest.score_samples(repeated(n, 2))
        yield f"predict {n} rows", lambda n=n: forest.predict(repeated(n, 2, value=np.float32(0)))
        yield f"recalibrate on {n} rows", lambda n=n: forest.recalibrate(repeated(n, 2), contamination=0.1)
        yield f"rank {n} rows", lambda n=n: rank_features(repeated(n, 2), X)
        yield f"rank {n} rows with a reference", lambda n=n: RankReference(X).rank_features(repeated(n, 2))
        yield f"reference of {n} rows", lambda rows=rows: RankReference(rows)
        yield f"groups of {n} rows", lambda n=n: rank_features(X, repeated(n, 2), groups=([0] * len(X), repeated(n)))
        yield f"{n} scores", lambda n=n: percentileofscore(X[:, 0], repeated(n))
        yield f"{n} integers", lambda n=n: percentileofscore(repeated(n, value=np.int32(1)), 2)
        yield f"count for {n} rows", lambda n=n: RankCounts(repeated(n, 2))
        yield f"sketch {n} scores", lambda n=n: ScoreSketch(n, 0.5).add(repeated(n, value=-0.5))
        yield f"plan {n} rows", lambda n=n: sample_plan(n, 1, random_state=0, max_samples=0.5)
    for n in (10**10, 10**12, 10**13):
        yield f"{n} columns", lambda n=n: fit(repeated(3, n))
        yield f"half of {n} columns", lambda n=n: fit(repeated(3, n), max_features=0.5)
        yield f"{n} sparse columns", lambda n=n: csr(n)
        yield f"one of {n} sparse columns", lambda n=n: csr(100 * n, **one_feature)
        yield f"rank {n} columns", lambda n=n: rank_features(repeated(1, n), repeated(2, n))
        yield f"reference of {n} columns", lambda n=n: RankReference(repeated(1, n))
        yield f"count {n} columns", lambda n=n: RankCounts(repeated(1, n))
        yield f"plan {n} columns", lambda n=n: sample_plan(1000, n, random_state=0)
        yield f"collect {n} columns", lambda n=n: SampleRows(range(3), n)
    for n in (10**9, 10**12, 10**18, 2**63 - 1, 10**30):
        yield f"{n} trees", lambda n=n: fit(n_estimators=n)
        yield f"plan {n} trees", lambda n=n: sample_plan(1000, 2, random_state=0, n_estimators=n)
    for n in (10**15, 10**18, 10**30):
        yield f"plan {n} rows", lambda n=n: sample_plan(n, 3, random_state=0)
        yield f"plan {n} rows with a RandomState", lambda n=n: sample_plan(n, 3, random_state=np.random.RandomState(0))
    yield "plan 10**30 columns", lambda: sample_plan(10, 10**30, random_state=0)
    yield "sketch 10**30 scores", lambda: ScoreSketch(10**30, 0.5)
    yield "sketch with a capacity of 10**30", lambda: ScoreSketch(10, 0.5, capacity=10**30)
    yield "10**9 more trees", lambda: grown_further.fit(X)
    yield "bootstrap", lambda: fit(repeated(10**10, 1), bootstrap=True, max_samples=4 * 10**9)
    yield "score 9 wide rows", lambda: forest_of_wide_rows.score_samples(repeated(9, 10**12))
    yield "score 300 wide rows", lambda: forest_of_wide_rows.score_samples(repeated(300, 10**12))
    yield "10**18 features", lambda: fit(max_features=10**18)
    yield "sparse rows without cells", lambda: fit(scipy.sparse.csr_array((10**13, 3), dtype=np.float32))
    yield (
        "sparse columns without cells",
        lambda: fit(scipy.sparse.csc_array((*cells[:1], cells[1], np.zeros(10**6, np.int64)), (5, 10**13))),
    )


def print_impossible_calls_that_are_not_refused_at_once():
    X = np.random.default_rng(0).normal(size=(100, 2))
    warnings.simplefilter("ignore")
    # With this limit, the calls are refused on machines with much memory too.
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + 4 * 2**30, resource.RLIM_INFINITY))
    for name, call in impossible_calls(X):
        before, grown = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            print(f"{name}: {call()!r:.80}")
        except (MemoryError, ValueError):
            pass
        except Exception as error:
            print(f"{name}: {error!r}")
        seconds, grown = time.process_time() - before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - grown
        if seconds > 2 or grown > 300 * KIB:
            print(f"{name}: {seconds:.1f} s, {grown} KiB")


def test_impossible_sizes_are_refused_at_once():
    ended = run_in_new_process(print_impossible_calls_that_are_not_refused_at_once)
    assert (ended.code, ended.out, ended.err) == (0, "", "")


def test_a_plan_for_many_rows_takes_memory_only_for_those_that_are_drawn():
    def plan_for_many_rows():
        resource.setrlimit(resource.RLIMIT_AS, (address_space() + 300 * MIB, resource.RLIM_INFINITY))
        plan = sample_plan(10**9, 1, random_state=0, n_estimators=2)
        return plan.grow(np.zeros((len(plan.rows), 1)))

    assert exit_code_under_limit(plan_for_many_rows, 300 * MIB) == RESULT


def test_a_signal_ends_the_growth_of_a_plan_for_many_rows():
    # `grow` computes a value of the noise target for each of the rows.
    plan = sample_plan(10**12, 1, random_state=0, n_estimators=2)
    X = np.zeros((len(plan.rows), 1))

    def ring(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            plan.grow(X)
        assert time.monotonic() - started < 20
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
