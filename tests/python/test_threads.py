"""How many threads a call may use, and that processes made by fork can call too."""

import multiprocessing
import os
import subprocess
import sys

import joblib
import pytest

from isoxide._threads import resolve_n_jobs

CORES = joblib.cpu_count()


def test_none_means_all_cores_within_what_joblib_says():
    assert resolve_n_jobs(None) == CORES
    with joblib.parallel_config(backend="threading", n_jobs=1):
        assert resolve_n_jobs(None) == 1
    with joblib.parallel_config(backend="loky", n_jobs=-1):
        assert resolve_n_jobs(None) == CORES


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_one_thread_inside_a_worker(backend):
    workers = joblib.Parallel(n_jobs=2, backend=backend)
    assert workers(joblib.delayed(resolve_n_jobs)(None) for _ in range(2)) == [1, 1]


def test_one_thread_inside_a_worker_of_multiprocessing():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(resolve_n_jobs, (None,)) == 1
        assert pool.apply(resolve_n_jobs, (-1,)) == CORES


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_affinity_is_followed():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert resolve_n_jobs(None) == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert resolve_n_jobs(None) == CORES


def test_numbers_are_joblibs():
    assert resolve_n_jobs(1) == 1
    assert resolve_n_jobs(10_000) == CORES
    assert resolve_n_jobs(-1) == CORES
    assert resolve_n_jobs(-10_000) == 1
    assert resolve_n_jobs(-2) == max(1, CORES - 1)
    with pytest.raises(ValueError, match="n_jobs == 0"):
        resolve_n_jobs(0)


FORK = """
import os, warnings
import numpy as np
from isoxide import IsolationForest
warnings.simplefilter("ignore", DeprecationWarning)
X = np.random.default_rng(0).normal(size=(20000, 4))
forest = IsolationForest(random_state=0, n_jobs={n_jobs}).fit(X)
expected = forest.score_samples(X)
child = os.fork()
if child == 0:
    same = np.array_equal(forest.score_samples(X), expected)
    again = IsolationForest(random_state=0, n_jobs={n_jobs}).fit(X).score_samples(X)
    os._exit(0 if same and np.array_equal(again, expected) else 1)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_forked_child_can_fit_and_score(n_jobs):
    # In a process of its own, so that a hang is a failure and nothing else is forked.
    done = subprocess.run(
        [sys.executable, "-c", FORK.format(n_jobs=n_jobs)], timeout=120, check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
