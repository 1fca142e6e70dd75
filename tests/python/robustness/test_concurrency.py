"""Test threads that share forests and tables: results are equal, no call waits for another, and no process crashes."""

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
#: Number of rounds of calls on a table that another thread changes.
ROUNDS = 40
#: Number of processes that end while calls are running.
ENDS = 6


def in_threads(jobs):
    """Start all jobs at the same moment, each in a thread, and return their results."""
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
    ranges = [slice(start := int(r.integers(3_000)), start + int(r.integers(1, 1_000))) for _ in range(N_THREADS)]

    def job(rows):
        return lambda: [forest.score_samples(X if i % 3 else X[rows]) for i in range(6)]

    for rows, results in zip(ranges, in_threads([job(rows) for rows in ranges]), strict=True):
        for i, scores in enumerate(results):
            np.testing.assert_array_equal(scores, expected if i % 3 else expected[rows])


@pytest.mark.parametrize("n_rows", [1, 100, 4_000])
@pytest.mark.parametrize("method", ["score_samples", "shap_values"])
def test_many_threads_make_the_first_call_of_one_forest(n_rows, method, seed):
    # The first call prepares the forest; the others must not use it half prepared.
    X = table(seed)
    blob = pickle.dumps(IsolationForest(random_state=seed, n_jobs=2).fit(X))
    expected = getattr(pickle.loads(blob), method)(X)
    for _ in range(3):
        call = getattr(pickle.loads(blob), method)
        jobs = [lambda i=i, call=call: call(X[i : i + n_rows]) for i in range(N_THREADS)]
        for i, results in enumerate(in_threads(jobs)):
            np.testing.assert_array_equal(results, expected[i : i + n_rows])


def test_many_threads_read_the_trees_of_one_forest(seed):
    X = table(seed)
    for _ in range(3):
        forest = IsolationForest(random_state=seed, n_estimators=60).fit(X)
        lengths = in_threads([lambda forest=forest: len(forest.estimators_)] * 8)
        assert lengths == [60] * 8
        assert len(forest.estimators_) == 60


def test_fits_in_many_threads_equal_fits_one_after_another(seed):
    tables = [table([seed, i], n=3_000 + i, d=3 + i % 4) for i in range(8)]

    def fit(i):
        return IsolationForest(random_state=i, n_jobs=2, max_samples=512, contamination=0.1).fit(tables[i])

    expected = [fit(i) for i in range(8)]
    for forest, expected_forest in zip(in_threads([lambda i=i: fit(i) for i in range(8)]), expected, strict=True):
        assert forest.offset_ == expected_forest.offset_
        X = tables[forest.n_features_in_ - 3]
        np.testing.assert_array_equal(forest.score_samples(X), expected_forest.score_samples(X))


def test_ranks_in_many_threads_equal_ranks_in_one(seed):
    X = table(seed, n=40_000)
    reference = RankReference(X)
    expected = rank_features(X[:200], X).percentiles

    def rank():
        return rank_features(X[:200], X, n_jobs=2).percentiles

    def rank_with_reference():
        return reference.rank_features(X[:200], n_jobs=2).percentiles

    def rank_a_column():
        return np.column_stack([percentileofscore(column, column[:200]) for column in X.T])

    for ranks in in_threads([rank, rank_with_reference, rank_a_column] * 6):
        np.testing.assert_array_equal(ranks, expected)


@pytest.mark.parametrize("n_rows", [40, 20_000])
def test_scoring_does_not_wait_until_a_large_fit_ends(n_rows, seed):
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
    seconds = times["ended"] - times["begun"]
    print(f"{len(waits)} calls in {seconds:.2f} s: median {np.median(waits):.2g} s, at most {max(waits):.2g} s")
    assert max(waits) < seconds / 3


def numbers_with_nan_and_infinities(r, size):
    special = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e30, 1e-30, 5.0])
    return np.where(r.random(size) < 0.5, r.choice(special, size), r.normal(size=size))


def dense_table(order, dtype, r):
    """Return a table, and a function that writes other numbers into it."""

    def cells():
        if dtype == "int64":
            return r.integers(-(2**62), 2**62, (3_000, 6)) >> r.integers(63, size=(3_000, 6))
        return numbers_with_nan_and_infinities(r, (3_000, 6))

    X = np.array(cells(), dtype=dtype, order=order)
    contents = [cells().astype(dtype) for _ in range(3)]

    def change():
        for new_cells in contents:
            np.copyto(X, new_cells)
            X[r.integers(3_000, size=500)] = new_cells[0]

    return X, change


def sparse_table(index, dtype, r):
    """Return a table, and a function that writes other numbers or wrong indices into it, and restores it."""
    X = scipy.sparse.random(3_000, 6, density=0.3, format="csr", random_state=r, dtype=dtype)
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    good_arrays = X.indices.copy(), X.indptr.copy(), X.data.copy()
    limits = np.iinfo(index)

    def change():
        # Only one of the three arrays is wrong at a time: after an error in one, the others are not read.
        array_number = r.integers(3)
        if array_number == 0:
            at = r.integers(X.nnz, size=50)
            X.indices[at] = r.choice([-1, 6, 7, 10_000, limits.max, limits.min], 50)
        elif array_number == 1:
            at = r.integers(len(X.indptr), size=50)
            X.indptr[at] = r.choice([-1, 0, X.nnz, X.nnz + 1, limits.max, limits.min], 50)
        else:
            np.copyto(X.data, numbers_with_nan_and_infinities(r, X.nnz), casting="same_kind")
        time.sleep(r.uniform(0, 0.0003))
        # Calls that begin while the table is good pass the checks of the indices, and read the next wrong ones later.
        for array, good in zip((X.indices, X.indptr, X.data), good_arrays, strict=True):
            np.copyto(array, good)
        time.sleep(r.uniform(0, 0.001))

    return X, change


def first_rows(X, n):
    """Return the first rows without a copy; scipy would copy them, and crash if they change meanwhile."""
    if isinstance(X, np.ndarray):
        return X[:n]
    rows = scipy.sparse.csr_matrix((n, X.shape[1]))
    rows.data, rows.indices, rows.indptr = X.data, X.indices, X.indptr[: n + 1]
    return rows


def call_on_changing_tables(types, rounds, seed):
    for table_type in types:
        r = np.random.default_rng(seed)
        layout, *dtypes = table_type.split()
        X, change = sparse_table(*dtypes, r) if layout == "csr" else dense_table(layout, *dtypes, r)
        call_while_table_changes(X, change, rounds, seed)


def call_while_table_changes(X, change, rounds, seed):
    good = X.copy()
    # Five rows are scored one by one, 250 rows in blocks.
    five_rows, block_of_rows = first_rows(X, 5), first_rows(X, 250)
    reference = IsolationForest(random_state=seed, n_jobs=2).fit(good)
    expected = reference.score_samples(good)
    blob = pickle.dumps(reference)
    # Another thread refits this forest meanwhile, also with fewer columns.
    shared = IsolationForest(random_state=seed, n_jobs=2, n_estimators=20).fit(good)
    stop = threading.Event()

    def keep_changing():
        while not stop.is_set():
            change()

    def refit():
        while not stop.is_set():
            for n_columns in (6, 4):
                shared.fit(good[:500, :n_columns])

    jobs = [
        lambda: IsolationForest(random_state=1, n_estimators=20, n_jobs=2).fit(X),
        lambda: IsolationForest(random_state=1, n_estimators=4, max_samples=1.0, contamination=0.1, n_jobs=2).fit(X),
        lambda: reference.score_samples(X),
        lambda: reference.predict(block_of_rows),
        lambda: pickle.loads(blob).score_samples(block_of_rows),
        lambda: shared.score_samples(good),
        lambda: shared.predict(five_rows),
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
    threads = [threading.Thread(target=keep_changing), threading.Thread(target=refit)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(rounds):
            for job in jobs:
                # Any result and any exception will do, but the process may not end.
                with contextlib.suppress(Exception):
                    job()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    # The forest of before, and a new one, score as before.
    np.testing.assert_array_equal(reference.score_samples(good), expected)
    new_forest = IsolationForest(random_state=seed, n_jobs=2).fit(good)
    np.testing.assert_array_equal(new_forest.score_samples(good), expected)


@pytest.mark.parametrize(
    "types",
    [
        ("C float64", "F float32", "C int64"),
        # isoxide reads float32 without a copy.
        ("csr int32 float32", "csr int64 float32"),
        # isoxide converts float64 to float32 first.
        ("csr int32 float64", "csr int64 float64"),
    ],
    ids=["dense", "sparse", "sparse float64"],
)
def test_tables_changed_in_mid_call_do_not_crash(types, seed):
    ended = run_in_new_process(call_on_changing_tables, types, ROUNDS, seed)
    # A worker may print to stderr that an index is out of range; the process continues.
    assert (ended.code, ended.out) == (0, ""), ended.err


def start_endless_calls(seed):
    """Start daemon threads that fit, score and rank without end, and return when all of them have started."""
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


class EndOfProcessError(Exception):
    """The exception with which a process ends."""


def end_during_calls(ending, n_children, seed):
    """End this process and many forked children during calls."""
    # The children are forked before there is any thread; to start as many interpreters would take a minute.
    for _ in range(n_children if hasattr(os, "fork") else 0):
        child = os.fork()
        if not child:
            break
        if (code := exit_code(child)) != CODES[ending]:
            print(f"a child ended with {code}")
    start_endless_calls(seed)
    # The pause differs between the processes, so that they end at different moments of the calls.
    time.sleep(np.random.default_rng([seed, os.getpid()]).uniform(0, 0.05))
    if ending == "sys.exit":
        sys.exit(3)
    if ending == "exception":
        raise EndOfProcessError


CODES = {"return": 0, "sys.exit": 3, "exception": 1}


@pytest.mark.parametrize("ending", CODES)
def test_the_interpreter_can_end_during_calls(ending, seed):
    code, out, err = run_in_new_process(end_during_calls, ending, ENDS, seed)
    if ending == "exception":
        # Python prints the traceback.
        lines = [line for line in err.splitlines(keepends=True) if not line.startswith("  ")]
        err = "".join(line for line in lines if "Traceback" not in line and "EndOfProcessError" not in line)
    assert (code, out, err) == (CODES[ending], "", "")


def call_after_the_main_thread(seed):
    X = table(seed, n=40_000)
    forest = IsolationForest(random_state=seed, n_jobs=2).fit(X)
    scores = forest.score_samples(X)
    ranks = rank_features(X[:200], X, n_jobs=2).percentiles

    def check():
        threading.main_thread().join()
        new_forest = IsolationForest(random_state=seed, n_jobs=2).fit(X)
        np.testing.assert_array_equal(new_forest.score_samples(X), scores)
        np.testing.assert_array_equal(forest.score_samples(X), scores)
        np.testing.assert_array_equal(rank_features(X[:200], X, n_jobs=2).percentiles, ranks)
        np.testing.assert_array_equal(RankReference(X, n_jobs=2).rank_features(X[:200]).percentiles, ranks)

    threading.Thread(target=check).start()


def test_calls_work_after_the_main_thread_has_ended(seed):
    assert_silent(run_in_new_process(call_after_the_main_thread, seed))


def call_in_an_exit_hook(seed):
    X = table(seed, n=40_000)
    forest = IsolationForest(random_state=seed, n_jobs=2).fit(X)
    scores = forest.score_samples(X)

    def hook():
        np.testing.assert_array_equal(forest.score_samples(X), scores)
        new_forest = IsolationForest(random_state=seed, n_jobs=2).fit(X)
        np.testing.assert_array_equal(new_forest.score_samples(X), scores)
        rank_features(X[:200], X, n_jobs=2)
        # An exception in a hook does not change the exit code, so this line is what shows success.
        print("done", flush=True)

    atexit.register(hook)


def test_calls_work_in_an_exit_hook(seed):
    # A service may score the last rows when it is stopped.
    assert run_in_new_process(call_in_an_exit_hook, seed) == (0, "done\n", "")
