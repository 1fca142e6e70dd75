"""Test how many threads a call may use."""

import multiprocessing
import os

import joblib
import pytest

from isoxide._common.threads import resolve_n_jobs

pytestmark = pytest.mark.parity

CORES = joblib.cpu_count()


def test_none_means_all_cores_up_to_the_limit_of_joblib():
    assert resolve_n_jobs(None) == CORES
    with joblib.parallel_config(backend="threading", n_jobs=1):
        assert resolve_n_jobs(None) == 1
    with joblib.parallel_config(backend="loky", n_jobs=-1):
        assert resolve_n_jobs(None) == CORES


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_none_means_one_thread_in_a_worker_of_joblib(backend):
    workers = joblib.Parallel(n_jobs=2, backend=backend)
    assert workers(joblib.delayed(resolve_n_jobs)(None) for _ in range(2)) == [1, 1]


def test_none_means_one_thread_in_a_worker_of_multiprocessing():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(resolve_n_jobs, (None,)) == 1
        assert pool.apply(resolve_n_jobs, (-1,)) == CORES


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_threads_are_limited_by_the_affinity_of_the_process():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert resolve_n_jobs(None) == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert resolve_n_jobs(None) == CORES


def test_n_jobs_means_what_it_means_in_joblib():
    assert resolve_n_jobs(1) == 1
    assert resolve_n_jobs(10_000) == CORES
    assert resolve_n_jobs(-1) == CORES
    assert resolve_n_jobs(-10_000) == 1
    assert resolve_n_jobs(-2) == max(1, CORES - 1)
    with pytest.raises(ValueError, match="n_jobs == 0"):
        resolve_n_jobs(0)
