"""Memory: calls leave nothing behind, and large tables are read where they are."""

import gc
import pathlib
import pickle

import numpy as np
import pytest
import scipy.sparse

from isoxide import IsolationForest, RankReference, percentileofscore, rank_features
from new_process import run_in_new_process

STATUS = pathlib.Path("/proc/self/status")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.current_versions(reason="processes, threads, signals and memory do not depend on scikit-learn"),
    pytest.mark.skipif(not STATUS.is_file(), reason="this system does not tell of memory in /proc"),
]

WARM_UP, CALLS = 100, 1_000
#: A thousand calls that leave 20 KiB each would take 20 of them.
TOLERANCE_MIB = 4
MIB = 2**20


def resident(what="VmRSS"):
    """MiB of memory now, or at most so far (VmHWM; `ru_maxrss` would count the process that started this one)."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) * 1024 / MIB


def growth(job, calls=CALLS):
    """MiB that so many calls leave behind."""
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
    few = IsolationForest(random_state=seed, n_estimators=10, n_jobs=2).fit(X)
    on_sparse = IsolationForest(random_state=seed, n_estimators=10).fit(sparse)
    grown = IsolationForest(random_state=seed, n_estimators=5, n_jobs=2)
    blob = pickle.dumps(few)
    prepared = RankReference(X)
    column, queries = X[:, 0].copy(), X[:10, 0].copy()

    def refused():
        for call in (lambda: forest.score_samples(X[:, :3]), lambda: IsolationForest(max_samples=1e-9).fit(X)):
            with pytest.raises(ValueError, match=r"X has 3 features|at least one non-zero"):
                call()

    def warm_start():
        grown.set_params(warm_start=False, n_estimators=5).fit(X[:500])
        grown.set_params(warm_start=True, n_estimators=8).fit(X[:500])

    return {
        "fit": lambda: IsolationForest(n_estimators=5, n_jobs=2, contamination=0.1).fit(X),
        "fit sparse rows": lambda: IsolationForest(n_estimators=5, n_jobs=2).fit(sparse),
        "warm start": warm_start,
        "score": lambda: forest.score_samples(X),
        "score few rows": lambda: forest.predict(X[:5]),
        "score sparse rows": lambda: on_sparse.score_samples(sparse[:600]),
        "score for the first time": lambda: pickle.loads(blob).score_samples(X[:300]),
        "pickle": lambda: pickle.dumps(pickle.loads(blob)),
        "trees": lambda: (few := IsolationForest(n_estimators=2).fit(X[:50])).estimators_ + few.estimators_samples_,
        "rank": lambda: rank_features(X[:50], X, n_jobs=2).to_records(),
        "rank a column": lambda: percentileofscore(column, queries),
        "rank, prepared": lambda: prepared.rank_features(X[:50], n_jobs=2),
        "prepare ranks": lambda: RankReference(X, n_jobs=2),
        "refuse": refused,
    }


def many_calls(seed):
    for name, job in jobs(seed).items():
        grown = growth(job)
        if grown > TOLERANCE_MIB:
            print(f"{name}: {grown:.1f} MiB")


def test_a_thousand_calls_of_each_kind_leave_memory_as_it_is(seed):
    assert run_in_new_process(many_calls, seed) == (0, "", "")


def report(name, before, job):
    """Prints how many MiB more than before there have been at most, now that the job was done."""
    job()
    print(f"{name}: {resident('VmHWM') - before:.1f}")


def numbers(ended):
    assert (ended.code, ended.err) == (0, "")
    return {name: float(value) for name, value in (line.split(": ") for line in ended.out.splitlines())}


def cells(n):
    """Random numbers, made in place: the peak of memory is to be that of the calls."""
    table = np.empty(n)
    np.random.default_rng(0).random(out=table)
    return table


def both_layouts(buffer, n_columns):
    """The same memory as a table of rows and as one of columns."""
    yield "row-major", buffer.reshape(-1, n_columns)
    yield "column-major", buffer.reshape(n_columns, -1).T


def rank_a_large_table(n_rows, n_columns):
    buffer = cells(n_rows * n_columns)
    before = resident()
    for layout, X in both_layouts(buffer, n_columns):
        report(layout, before, lambda X=X: rank_features(X[:1_000], X, n_jobs=2))


def test_ranks_in_ten_million_rows():
    """The table is neither copied nor sorted: 200 MiB would be a quarter of it."""
    more = numbers(run_in_new_process(rank_a_large_table, 10_000_000, 10))
    assert max(more.values()) < 16, more


def score_a_large_table(n_rows, n_columns):
    buffer = cells(n_rows * n_columns)
    before = resident()
    for layout, X in both_layouts(buffer, n_columns):
        forest = IsolationForest(random_state=0, n_jobs=2)
        report(f"fit, {layout}", before, lambda X=X, forest=forest: forest.fit(X))
        report(f"score_samples, {layout}", before, lambda X=X, forest=forest: forest.score_samples(X))
        report(f"decision_function, {layout}", before, lambda X=X, forest=forest: forest.decision_function(X))


def test_scores_of_a_million_rows():
    """Nothing but the result, at most twice: 16 bytes a row, and less than a megabyte for each thread."""
    more = numbers(run_in_new_process(score_a_large_table, 1_000_000, 50))
    assert max(more.values()) < 16 * 1_000_000 / MIB + 4, more
