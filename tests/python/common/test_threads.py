"""Test how many threads a call may use, and functions that are applied in threads."""

import multiprocessing
import os
import signal
import threading
import time

import joblib
import numpy as np
import pytest

from isoxide._common import threads
from isoxide._common.threads import SLICE_VALUES, THREAD_MIN_VALUES, apply_in_slices, resolve_n_jobs

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


def power(values):
    np.power(2.0, values, out=values)


def test_numpy_computes_the_same_power_wherever_a_slice_begins_and_ends(seed):
    """Slices of every length and offset have the bits of the whole array: no value depends on its neighbours."""
    exponents = -np.random.default_rng(seed).uniform(0.01, 3, 3 * 512 + 100)
    whole = exponents.copy()
    power(whole)
    for start in [*range(18), 63, 64, 65, 511, 512, 513, 1024]:
        for length in [*range(1, 70), 255, 256, 257, 511, 512, 513, 514, 527, 529, 1023, 1024, 1025, 1026]:
            if start + length > len(exponents):
                continue
            part = exponents.copy()
            power(part[start : start + length])
            np.testing.assert_array_equal(
                part[start : start + length].view(np.int64), whole[start : start + length].view(np.int64)
            )
            np.testing.assert_array_equal(part[:start], exponents[:start])
            np.testing.assert_array_equal(part[start + length :], exponents[start + length :])


@pytest.mark.parametrize("n_workers", [1, 2, 3, 16])
@pytest.mark.parametrize(
    "n",
    [0, 1, 7, THREAD_MIN_VALUES, 2 * THREAD_MIN_VALUES - 1, 2 * THREAD_MIN_VALUES, 4 * THREAD_MIN_VALUES + 513],
)
def test_slices_give_the_bits_of_the_whole(n, n_workers, seed):
    exponents = -np.random.default_rng(seed).uniform(0.01, 3, n)
    whole, sliced = exponents.copy(), exponents.copy()
    power(whole)
    apply_in_slices(power, sliced, n_workers)
    np.testing.assert_array_equal(sliced.view(np.int64), whole.view(np.int64))


def test_long_arrays_are_shared_by_threads_and_short_ones_are_not():
    def workers(n, n_workers):
        seen, both = set(), threading.Barrier(2, timeout=60)

        def record(values):
            assert values.ctypes.data % 4096 == array.ctypes.data % 4096
            if threading.get_ident() not in seen:
                seen.add(threading.get_ident())
                if n_workers > 1 and n >= 2 * THREAD_MIN_VALUES:
                    both.wait()  # a single thread would wait for ever
            values += 1

        array = np.zeros(n)
        apply_in_slices(record, array, n_workers)
        assert (array == 1).all()
        return len(seen)

    before = threading.active_count()
    assert workers(2 * THREAD_MIN_VALUES - 1, 2) == 1
    assert workers(2 * THREAD_MIN_VALUES, 1) == 1
    assert workers(2 * THREAD_MIN_VALUES, 2) == 2
    assert workers(3 * THREAD_MIN_VALUES - 1, 16) == 2
    assert threading.active_count() == before


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
def test_without_threads_the_caller_does_it_all(error, monkeypatch):
    def refuse(*_):
        raise error

    monkeypatch.setattr(threading.Thread, "start", refuse)
    array = np.zeros(3 * THREAD_MIN_VALUES)
    apply_in_slices(power, array, 4)
    assert (array == 1).all()


def test_an_error_in_any_thread_is_raised_once_all_have_ended(monkeypatch):
    for in_caller in (True, False):
        caller, n_before, done = threading.get_ident(), threading.active_count(), []

        def fail(values, caller=caller, in_caller=in_caller, done=done):
            if (threading.get_ident() == caller) == in_caller:
                raise ZeroDivisionError("of this slice")
            time.sleep(0.01)
            done.append(len(values))

        with pytest.raises(ZeroDivisionError, match="of this slice"):
            apply_in_slices(fail, np.zeros(64 * SLICE_VALUES), 2)
        assert threading.active_count() == n_before
        assert len(done) < 63


@pytest.mark.parametrize("handling", ["raise", "call", "ignore"])
def test_floating_point_errors_are_handled_as_in_the_caller(handling):
    calls = []
    with np.errstate(under=handling, call=lambda *what: calls.append(what)):
        array = np.full(2 * THREAD_MIN_VALUES, -5000.0)
        if handling == "raise":
            with pytest.raises(FloatingPointError, match="underflow"):
                apply_in_slices(power, array, 2)
        else:
            apply_in_slices(power, array, 2)
            assert (array == 0).all()
    assert len(calls) == (2 * THREAD_MIN_VALUES / SLICE_VALUES if handling == "call" else 0)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timer signals")
@pytest.mark.timeout(method="thread")
def test_a_signal_ends_it_after_the_slices_that_have_begun():
    class AlarmError(Exception):
        pass

    def ring(*_):
        raise AlarmError

    done, n_before = [], threading.active_count()

    def slow(values):
        time.sleep(0.02)
        done.append(values.ctypes.data)

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(AlarmError):
            apply_in_slices(slow, np.zeros(500 * SLICE_VALUES), 2)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    n_done = len(done)
    assert threading.active_count() == n_before
    assert n_done < 250
    time.sleep(0.1)
    assert len(done) == n_done


def test_a_thread_that_fails_to_start_for_lack_of_memory_is_not_waited_for(monkeypatch):
    def refuse(n):
        raise MemoryError

    monkeypatch.setattr(threads, "check_thread_memory", refuse)
    array = np.zeros(2 * THREAD_MIN_VALUES)
    apply_in_slices(power, array, 2)
    assert (array == 1).all()
