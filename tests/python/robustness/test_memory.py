"""Test that repeated calls do not increase memory, and that large tables are not copied."""

import gc
import pathlib
import pickle

import numpy as np
import pytest
import scipy.sparse

from isoxide import IsolationForest, RankReference, percentileofscore, rank_features
from new_process import MALLOC_SETTINGS, run_in_new_process

STATUS = pathlib.Path("/proc/self/status")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.current_versions(reason="processes, threads, signals and memory do not depend on scikit-learn"),
    pytest.mark.skipif(not STATUS.is_file(), reason="this system has no /proc/self/status"),
]

WARM_UP, CALLS = 100, 1_000
#: If each of the thousand calls kept 20 KiB, memory would grow by 20 MiB.
TOLERANCE_MIB = 4
MIB = 2**20


def resident(field="VmRSS"):
    """Return the memory now, or the peak so far (VmHWM), in MiB; `ru_maxrss` would count the parent process too."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024 / MIB


def growth(job, calls=CALLS):
    """Return by how many MiB so many calls increase memory."""
    for _ in range(WARM_UP):
        job()
    gc.collect()
    before = resident()
    for _ in range(calls):
        job()
    gc.collect()
    return resident() - before


def jobs(seed):
    r = np.random.default_rng(seed)
    X = r.normal(size=(2_000, 6)).round(2)
    sparse = scipy.sparse.csr_array(np.where(X > 0, X, 0))
    forest = IsolationForest(random_state=seed, n_jobs=2).fit(X)
    small_forest = IsolationForest(random_state=seed, n_estimators=10, n_jobs=2).fit(X)
    on_sparse = IsolationForest(random_state=seed, n_estimators=10).fit(sparse)
    warm_forest = IsolationForest(random_state=seed, n_estimators=5, n_jobs=2)
    blob = pickle.dumps(small_forest)
    reference = RankReference(X)
    column, queries = X[:, 0].copy(), X[:10, 0].copy()

    def refuse():
        for call in (lambda: forest.score_samples(X[:, :3]), lambda: IsolationForest(max_samples=1e-9).fit(X)):
            with pytest.raises(ValueError, match=r"X has 3 features|at least one non-zero"):
                call()

    def warm_start():
        warm_forest.set_params(warm_start=False, n_estimators=5).fit(X[:500])
        warm_forest.set_params(warm_start=True, n_estimators=8).fit(X[:500])

    def read_trees():
        forest = IsolationForest(n_estimators=2).fit(X[:50])
        return forest.estimators_ + forest.estimators_samples_

    return {
        "fit": lambda: IsolationForest(n_estimators=5, n_jobs=2, contamination=0.1).fit(X),
        "fit sparse rows": lambda: IsolationForest(n_estimators=5, n_jobs=2).fit(sparse),
        "warm start": warm_start,
        "score": lambda: forest.score_samples(X),
        "score five rows": lambda: forest.predict(X[:5]),
        "score sparse rows": lambda: on_sparse.score_samples(sparse[:600]),
        "score for the first time": lambda: pickle.loads(blob).score_samples(X[:300]),
        "pickle": lambda: pickle.dumps(pickle.loads(blob)),
        "trees": read_trees,
        "rank": lambda: rank_features(X[:50], X, n_jobs=2).to_records(),
        "rank a column": lambda: percentileofscore(column, queries),
        "rank with a reference": lambda: reference.rank_features(X[:50], n_jobs=2),
        "make a reference": lambda: RankReference(X, n_jobs=2),
        "refuse": refuse,
    }


def print_jobs_that_increase_memory(seed):
    for name, job in jobs(seed).items():
        mebibytes = growth(job)
        if mebibytes > TOLERANCE_MIB:
            print(f"{name}: {mebibytes:.1f} MiB")


def test_a_thousand_calls_do_not_increase_memory(seed):
    assert run_in_new_process(print_jobs_that_increase_memory, seed) == (0, "", "")


def print_peak(name, before, job):
    """Run a job, and print by how many MiB the peak of memory exceeds that of before."""
    job()
    print(f"{name}: {resident('VmHWM') - before:.1f}")


def read_peaks(function, *args):
    """Return the peaks that a function prints. Without the settings, the holes between freed arrays would count too."""
    ended = run_in_new_process(function, *args, **MALLOC_SETTINGS)
    assert (ended.code, ended.err) == (0, "")
    return {name: float(value) for name, value in (line.split(": ") for line in ended.out.splitlines())}


def random_cells(n):
    """Return random numbers, made without a copy, so that the calls determine the peak of memory."""
    table = np.empty(n)
    np.random.default_rng(0).random(out=table)
    return table


def both_layouts(buffer, n_columns):
    """Yield the same memory as a row-major and as a column-major table."""
    yield "row-major", buffer.reshape(-1, n_columns)
    yield "column-major", buffer.reshape(n_columns, -1).T


def rank_a_large_table(n_rows, n_columns):
    buffer = random_cells(n_rows * n_columns)
    before = resident()
    for layout, X in both_layouts(buffer, n_columns):
        print_peak(layout, before, lambda X=X: rank_features(X[:1_000], X, n_jobs=2))


def test_ranks_in_ten_million_rows_take_little_memory():
    # A copy of the table would take 760 MiB.
    peaks = read_peaks(rank_a_large_table, 10_000_000, 10)
    assert max(peaks.values()) < 16, peaks


def score_a_large_table(n_rows, n_columns):
    buffer = random_cells(n_rows * n_columns)
    before = resident()
    for layout, X in both_layouts(buffer, n_columns):
        forest = IsolationForest(random_state=0, n_jobs=2)
        print_peak(f"fit, {layout}", before, lambda X=X, forest=forest: forest.fit(X))
        print_peak(f"score_samples, {layout}", before, lambda X=X, forest=forest: forest.score_samples(X))
        print_peak(f"decision_function, {layout}", before, lambda X=X, forest=forest: forest.decision_function(X))


def test_scores_of_a_million_rows_take_little_memory():
    # The result and one copy of it take 16 bytes a row, and each thread less than a megabyte.
    peaks = read_peaks(score_a_large_table, 1_000_000, 50)
    assert max(peaks.values()) < 16 * 1_000_000 / MIB + 4, peaks
