"""Python threads that share forests and tables: equal results, no waiting, no crash, a clean end."""

import atexit
import contextlib
import os
import pickle
import sys
import threading
import time

import numpy as np
import pytest
import scipy.sparse

from isoxide import IsolationForest, RankReference, percentileofscore, rank_features
from new_process import assert_silent, exit_code, run_in_new_process

pytestmark = [
    pytest.mark.slow,
    pytest.mark.current_versions(reason="processes, threads, signals and memory do not depend on scikit-learn"),
]

N_THREADS = 50
#: Rounds in which tables are changed in mid-call.
ROUNDS = 40
#: Ends of an interpreter with work in flight.
ENDS = 6


def in_threads(jobs):
    """Runs all jobs at once, each in a thread, from one moment on; their results."""
    start = threading.Barrier(len(jobs))
    results = [None] * len(jobs)

    def run(i):
        try:
            start.wait()
            results[i] = jobs[i]()
        except BaseException as error:
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def table(seed, n=4_000, d=5):
    r = np.random.default_rng(seed)
    X = r.normal(size=(n, d)).round(2)
    X[:, 0] = r.poisson(0.4, n)
    return X


def test_many_threads_score_one_forest(seed):
    X = table(seed)
    forest = IsolationForest(random_state=seed, n_jobs=2).fit(X)
    expected = forest.score_samples(X)
    r = np.random.default_rng(seed)
    pieces = [slice(start := int(r.integers(3_000)), start + int(r.integers(1, 1_000))) for _ in range(N_THREADS)]

    def job(piece):
        return lambda: [forest.score_samples(X if i % 3 else X[piece]) for i in range(6)]

    for piece, results in zip(pieces, in_threads([job(piece) for piece in pieces]), strict=True):
        for i, scores in enumerate(results):
            np.testing.assert_array_equal(scores, expected if i % 3 else expected[piece])


@pytest.mark.parametrize("n_rows", [1, 100, 4_000])
def test_the_very_first_calls_at_once(n_rows, seed):
    """What is prepared at the first call is prepared for all of them."""
    X = table(seed)
    blob = pickle.dumps(IsolationForest(random_state=seed, n_jobs=2).fit(X))
    expected = pickle.loads(blob).score_samples(X)
    for _ in range(3):
        forest = pickle.loads(blob)
        jobs = [lambda i=i, forest=forest: forest.score_samples(X[i : i + n_rows]) for i in range(N_THREADS)]
        for i, scores in enumerate(in_threads(jobs)):
            np.testing.assert_array_equal(scores, expected[i : i + n_rows])


def test_trees_asked_for_by_many_threads_at_once(seed):
    X = table(seed)
    for _ in range(3):
        forest = IsolationForest(random_state=seed, n_estimators=60).fit(X)
        lengths = in_threads([lambda forest=forest: len(forest.estimators_)] * 8)
        assert lengths == [60] * 8
        assert len(forest.estimators_) == 60


def test_fits_of_several_estimators_at_once(seed):
    tables = [table([seed, i], n=3_000 + i, d=3 + i % 4) for i in range(8)]

    def scores(i):
        return IsolationForest(random_state=i, n_jobs=2, max_samples=512, contamination=0.1).fit(tables[i])

    expected = [scores(i) for i in range(8)]
    for forest, lone in zip(in_threads([lambda i=i: scores(i) for i in range(8)]), expected, strict=True):
        assert forest.offset_ == lone.offset_
        X = tables[lone.n_features_in_ - 3]
        np.testing.assert_array_equal(forest.score_samples(X), lone.score_samples(X))


def test_ranks_in_many_threads(seed):
    X = table(seed, n=40_000)
    reference = RankReference(X)
    expected = rank_features(X[:200], X).percentiles

    def rank():
        return rank_features(X[:200], X, n_jobs=2).percentiles

    def rank_prepared():
        return reference.rank_features(X[:200], n_jobs=2).percentiles

    def rank_a_column():
        return np.column_stack([percentileofscore(column, column[:200]) for column in X.T])

    for ranks in in_threads([rank, rank_prepared, rank_a_column] * 6):
        np.testing.assert_array_equal(ranks, expected)


@pytest.mark.parametrize("n_rows", [40, 20_000])
def test_nobody_waits_for_the_whole_of_a_large_fit(n_rows, seed):
    X = table(seed, n=100_000, d=10)
    scorer = IsolationForest(random_state=seed, n_jobs=2).fit(X)
    rows = X[:n_rows]
    expected = scorer.score_samples(rows)
    started = threading.Event()
    times = {}

    def fit():
        started.set()
        times["begun"] = time.perf_counter()
        IsolationForest(random_state=seed, max_samples=1.0, n_jobs=-1).fit(X)
        times["ended"] = time.perf_counter()

    thread = threading.Thread(target=fit)
    thread.start()
    started.wait()
    waits = []
    while thread.is_alive():
        before = time.perf_counter()
        np.testing.assert_array_equal(scorer.score_samples(rows), expected)
        waits.append(time.perf_counter() - before)
    thread.join()
    took = times["ended"] - times["begun"]
    print(f"{len(waits)} calls in {took:.2f} s: median {np.median(waits):.2g} s, at most {max(waits):.2g} s")
    assert max(waits) < took / 3


def noise(r, size):
    """Cells of every kind, as float32 holds them."""
    odd = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e30, 1e-30, 5.0])
    return np.where(r.random(size) < 0.5, r.choice(odd, size), r.normal(size=size))


def dense_table(order, dtype, r):
    def cells():
        if dtype == "int64":
            return r.integers(-(2**62), 2**62, (3_000, 6)) >> r.integers(63, size=(3_000, 6))
        return noise(r, (3_000, 6))

    X = np.array(cells(), dtype=dtype, order=order)
    others = [cells().astype(dtype) for _ in range(3)]

    def scribble():
        for other in others:
            np.copyto(X, other)
            X[r.integers(3_000, size=500)] = other[0]

    return X, scribble


def sparse_table(index, dtype, r):
    X = scipy.sparse.random(3_000, 6, density=0.3, format="csr", random_state=r, dtype=dtype)
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    kept = X.indices.copy(), X.indptr.copy(), X.data.copy()
    limits = np.iinfo(index)

    def scribble():
        # One of them at a time: what is wrong with one would keep the others from being read.
        which = r.integers(3)
        if which == 0:
            at = r.integers(X.nnz, size=50)
            X.indices[at] = r.choice([-1, 6, 7, 10_000, limits.max, limits.min], 50)
        elif which == 1:
            at = r.integers(len(X.indptr), size=50)
            X.indptr[at] = r.choice([-1, 0, X.nnz, X.nnz + 1, limits.max, limits.min], 50)
        else:
            np.copyto(X.data, noise(r, X.nnz), casting="same_kind")
        time.sleep(r.uniform(0, 0.0003))
        # As it was for part of the time: calls that begin now find nothing to object to.
        for array, good in zip((X.indices, X.indptr, X.data), kept, strict=True):
            np.copyto(array, good)
        time.sleep(r.uniform(0, 0.001))

    return X, scribble


def first_rows(X, n):
    """The first rows, in the memory of all; scipy would copy them, and crash when it does so in mid-change."""
    if isinstance(X, np.ndarray):
        return X[:n]
    rows = scipy.sparse.csr_matrix((n, X.shape[1]))
    rows.data, rows.indices, rows.indptr = X.data, X.indices, X.indptr[: n + 1]
    return rows


def scribbled_over(kinds, rounds, seed):
    for kind in kinds:
        r = np.random.default_rng(seed)
        layout, *types = kind.split()
        X, scribble = sparse_table(*types, r) if layout == "csr" else dense_table(layout, *types, r)
        scribble_over(X, scribble, rounds, seed)


def scribble_over(X, scribble, rounds, seed):
    good = X.copy()
    # So few rows are walked down the trees, not compared by the block.
    few, some = first_rows(X, 5), first_rows(X, 250)
    reference = IsolationForest(random_state=seed, n_jobs=2).fit(good)
    expected = reference.score_samples(good)
    blob = pickle.dumps(reference)
    # Refitted meanwhile, also on other columns.
    shared = IsolationForest(random_state=seed, n_jobs=2, n_estimators=20).fit(good)
    stop = threading.Event()

    def scribble_on():
        while not stop.is_set():
            scribble()

    def refit():
        while not stop.is_set():
            for n_columns in (6, 4):
                shared.fit(good[:500, :n_columns])

    jobs = [
        lambda: IsolationForest(random_state=1, n_estimators=20, n_jobs=2).fit(X),
        lambda: IsolationForest(random_state=1, n_estimators=4, max_samples=1.0, contamination=0.1, n_jobs=2).fit(X),
        lambda: reference.score_samples(X),
        lambda: reference.predict(some),
        lambda: pickle.loads(blob).score_samples(some),
        lambda: shared.score_samples(good),
        lambda: shared.predict(few),
        lambda: shared.estimators_samples_,
    ]
    if isinstance(X, np.ndarray):
        jobs += [
            lambda: rank_features(X[:300], X, nan_policy="omit", n_jobs=2),
            lambda: rank_features(X[:3], X, tail="both", nan_policy="omit", n_jobs=2),
            lambda: rank_features(X, X, nan_policy="omit", n_jobs=2),
            lambda: RankReference(X, n_jobs=2).rank_features(X[:100], nan_policy="omit"),
            lambda: percentileofscore(X[:, 0], X[:50, 1], nan_policy="omit"),
        ]
    threads = [threading.Thread(target=scribble_on), threading.Thread(target=refit)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(rounds):
            for job in jobs:
                # Whatever is said of such a table; but the end of the process is no answer.
                with contextlib.suppress(Exception):
                    job()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    # What others of the process have is untouched.
    np.testing.assert_array_equal(reference.score_samples(good), expected)
    again = IsolationForest(random_state=seed, n_jobs=2).fit(good)
    np.testing.assert_array_equal(again.score_samples(good), expected)


@pytest.mark.parametrize(
    "kinds",
    [
        ("C float64", "F float32", "C int64"),
        # Read where they are.
        ("csr int32 float32", "csr int64 float32"),
        # Converted to float32 first.
        ("csr int32 float64", "csr int64 float64"),
    ],
    ids=["dense", "sparse", "sparse float64"],
)
def test_tables_changed_in_mid_call_do_not_crash(kinds, seed):
    ended = run_in_new_process(scribbled_over, kinds, ROUNDS, seed)
    # A worker may tell on stderr of an index that was out of range all of a sudden; the process lives, and works on.
    assert (ended.code, ended.out) == (0, ""), ended.err


def work_in_flight(seed):
    """Daemon threads that fit, score and rank for ever; returns when each of them is in the middle of it."""
    X = table(seed, n=20_000)
    forest = IsolationForest(random_state=seed, n_jobs=2).fit(X)
    blob = pickle.dumps(forest)
    jobs = [
        lambda: IsolationForest(n_estimators=20, max_samples=1_000, n_jobs=2).fit(X),
        lambda: forest.score_samples(X),
        lambda: forest.score_samples(X[:40]),
        *[lambda: pickle.loads(blob).predict(X[:1_000])] * 4,
        lambda: rank_features(X[:300], X, n_jobs=2),
    ]
    begun = threading.Barrier(len(jobs) + 1)

    def loop(job):
        begun.wait()
        while True:
            job()

    for job in jobs:
        threading.Thread(target=loop, args=(job,), daemon=True).start()
    begun.wait()


class TheEndError(Exception):
    """How one of the processes ends."""


def end_with_work_in_flight(how, times, seed):
    """Many processes that end so, and this one too, each a whole interpreter with all that its end entails."""
    # Forked before there is any thread, since starting so many interpreters would take a minute.
    for _ in range(times if hasattr(os, "fork") else 0):
        child = os.fork()
        if not child:
            break
        if (code := exit_code(child)) != CODES[how]:
            print(f"a child ended with {code}")
    work_in_flight(seed)
    # Of its own in each process: not all end at the same stage of the work.
    time.sleep(np.random.default_rng([seed, os.getpid()]).uniform(0, 0.05))
    if how == "sys.exit":
        sys.exit(3)
    if how == "exception":
        raise TheEndError


CODES = {"return": 0, "sys.exit": 3, "exception": 1}


@pytest.mark.parametrize("how", CODES)
def test_the_interpreter_ends_with_work_in_flight(how, seed):
    code, out, err = run_in_new_process(end_with_work_in_flight, how, ENDS, seed)
    if how == "exception":
        # What Python says of it itself.
        lines = [line for line in err.splitlines(keepends=True) if not line.startswith("  ")]
        err = "".join(line for line in lines if "Traceback" not in line and "TheEndError" not in line)
    assert (code, out, err) == (CODES[how], "", "")


def threads_that_outlive_the_main_thread(seed):
    X = table(seed, n=40_000)
    forest = IsolationForest(random_state=seed, n_jobs=2).fit(X)
    scores = forest.score_samples(X)
    ranks = rank_features(X[:200], X, n_jobs=2).percentiles

    def late():
        threading.main_thread().join()
        check()

    def check():
        again = IsolationForest(random_state=seed, n_jobs=2).fit(X)
        np.testing.assert_array_equal(again.score_samples(X), scores)
        np.testing.assert_array_equal(forest.score_samples(X), scores)
        np.testing.assert_array_equal(rank_features(X[:200], X, n_jobs=2).percentiles, ranks)
        np.testing.assert_array_equal(RankReference(X, n_jobs=2).rank_features(X[:200]).percentiles, ranks)

    threading.Thread(target=late).start()


def test_threads_that_outlive_the_main_thread(seed):
    assert_silent(run_in_new_process(threads_that_outlive_the_main_thread, seed))


def calls_in_an_exit_hook(seed):
    X = table(seed, n=40_000)
    forest = IsolationForest(random_state=seed, n_jobs=2).fit(X)
    scores = forest.score_samples(X)

    def hook():
        np.testing.assert_array_equal(forest.score_samples(X), scores)
        again = IsolationForest(random_state=seed, n_jobs=2).fit(X)
        np.testing.assert_array_equal(again.score_samples(X), scores)
        rank_features(X[:200], X, n_jobs=2)
        # Only now is it known that all of that went well: an exception in a hook does not change the exit code.
        print("done", flush=True)

    atexit.register(hook)


def test_calls_in_an_exit_hook(seed):
    """A service that scores what is left when it is stopped."""
    assert run_in_new_process(calls_in_an_exit_hook, seed) == (0, "done\n", "")
