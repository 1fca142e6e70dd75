"""Compute the number of threads that a call may use, and apply functions to items and array slices in threads."""

from __future__ import annotations

import functools
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

#: Maximum of rows times trees that one thread scores: two threads take as long (measured at 163 rows and 100 trees). So
#: many values of a reference are counted in less time.
_SERIAL_MAX_STEPS = 2**14
#: Values of an array that one thread takes at a time. A multiple of 512, so that slices are aligned as the array is.
#: NumPy releases the interpreter within each, and a signal is handled after each: they take 0.3 to 1 ms.
SLICE_VALUES = 2**16
#: Smallest number of values per thread for which starting a thread pays: it takes 0.05 ms, and 2 ms on a busy machine.
THREAD_MIN_VALUES = 2**17
#: Bytes that a new thread takes, with its stack.
_THREAD_BYTES = 16 * 2**20


@functools.lru_cache(maxsize=16)
def _cores(process: int, affinity: int, limit: str | None) -> int:
    """Return the number of cores that the process may use.

    The number is cached by the arguments, which it depends on, since asking the system takes 0.1 ms, as long as scoring
    a hundred rows.
    """
    # Importing joblib takes as long as importing NumPy, and ranks on one thread do not need it.
    import joblib

    return int(joblib.cpu_count())


def _available_cores() -> int:
    """Return the number of cores that the process may use now."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    return _cores(os.getpid(), affinity, os.environ.get("LOKY_MAX_CPU_COUNT"))


def resolve_n_jobs(n_jobs: int | None) -> int:
    """Compute the number of threads for an ``n_jobs`` argument.

    Parameters
    ----------
    n_jobs : int or None
        Argument of a public function. ``None`` means all cores that the process may use (affinity, control groups and
        ``LOKY_MAX_CPU_COUNT`` are honoured), but no more than an active ``joblib.parallel_config(n_jobs=...)`` allows,
        and one within a worker of joblib or multiprocessing, since the other workers use the other cores. ``-1`` means
        all cores, ``-2`` all but one, and so on, as in joblib. A number above the number of cores means all cores.

    Returns
    -------
    int
        Number of threads, at least 1. Results are the same for every number.

    Raises
    ------
    ValueError
        If `n_jobs` is 0.
    """
    if n_jobs is None:
        from joblib.parallel import get_active_backend

        backend, context_n_jobs = get_active_backend()
        if context_n_jobs is not None:
            return max(1, min(int(backend.effective_n_jobs(context_n_jobs)), _available_cores()))
        in_worker = backend.nesting_level > 0 or multiprocessing.current_process().daemon
        return 1 if in_worker else _available_cores()
    if n_jobs == 0:
        # joblib raises the same message.
        raise ValueError("n_jobs == 0 in Parallel has no meaning")
    cores = _available_cores()
    return max(1, cores + 1 + int(n_jobs)) if n_jobs < 0 else min(int(n_jobs), cores)


def resolve_n_jobs_for(n_jobs: int | None, n_steps: int) -> int:
    """Compute the number of threads for scoring or ranking: one if there are few steps.

    Determining the number of available cores takes longer than scoring a row.

    Parameters
    ----------
    n_jobs : int or None
        Argument of a public function, as in `resolve_n_jobs`.
    n_steps : int
        Number of rows times number of trees, or number of values of the reference.

    Returns
    -------
    int
        Number of threads, at least 1.
    """
    if n_steps <= _SERIAL_MAX_STEPS and (n_jobs is None or (type(n_jobs) is int and n_jobs != 0)):
        return 1
    return resolve_n_jobs(n_jobs)


def check_thread_memory(n: int) -> None:
    """Check that there is memory to start `n` threads, since Python waits forever for a thread that fails to start.

    Raises
    ------
    MemoryError
        If there is too little memory.
    """
    np.empty(n * _THREAD_BYTES, dtype=np.uint8)


def mapped(function: Callable[[_Item], _Result], items: Sequence[_Item], n_workers: int) -> list[_Result]:
    """Apply a function to each item, in threads if the system allows them.

    A thread cannot start after the main thread has ended, or if memory or the system's threads are exhausted. Then the
    items are processed one after the other.

    Parameters
    ----------
    function : callable
        Function of one item.
    items : sequence
        Items to process.
    n_workers : int
        Number of threads.

    Returns
    -------
    list
        Results in the order of the items.
    """
    if n_workers > 1 and len(items) > 1:
        try:
            check_thread_memory(n_workers)
            with ThreadPoolExecutor(n_workers) as pool:
                return list(pool.map(function, items))
        except (RuntimeError, MemoryError):
            # Threads could not start. If the function raised the error, it raises the same error again below.
            pass
    return [function(item) for item in items]


def apply_in_slices(function: Callable[[NDArray[Any]], None], array: NDArray[Any], n_workers: int) -> None:
    """Apply a function that works in place to an array: to slices of it in threads if it is long, otherwise to all.

    The threads end before this call does, so that none is alive when the process forks later. The calling thread works
    too, and handles signals between two slices. Threads that start late, or cannot start, leave their slices to it.

    Parameters
    ----------
    function : callable
        Function of a slice, which must treat each value by itself. NumPy's treatment of floating-point errors
        (``np.errstate``) is that of the caller in every thread.
    array : ndarray of shape (n,)
        Array to work on.
    n_workers : int
        Largest number of threads, with the calling one.

    Raises
    ------
    Exception
        The first exception of `function`, after all threads have ended. Slices that had not begun are left as they
        were.
    """
    n_threads = min(n_workers, len(array) // THREAD_MIN_VALUES)
    if n_threads < 2:
        function(array)
        return
    # A deque gives each slice to one thread only, with or without an interpreter lock.
    pending = deque(array[start : start + SLICE_VALUES] for start in range(0, len(array), SLICE_VALUES))
    errors: list[BaseException] = []
    handling: dict[str, Any] = {**np.geterr(), "call": np.geterrcall()}

    def work() -> None:
        try:
            with np.errstate(**handling):
                while True:
                    try:
                        part = pending.popleft()
                    except IndexError:
                        return
                    function(part)
        except BaseException as error:
            pending.clear()
            errors.append(error)

    threads = [threading.Thread(target=work, name="isoxide-slices") for _ in range(n_threads - 1)]
    try:
        with suppress(RuntimeError, MemoryError):
            check_thread_memory(len(threads))
            for thread in threads:
                thread.start()
        work()
    finally:
        # After an exception, such as that of a signal, only the slices that have begun are finished.
        pending.clear()
        for thread in threads:
            _wait_for(thread)
    if errors:
        raise errors[0]


def _wait_for(thread: threading.Thread) -> None:
    """Wait until a thread has ended, if it has started; a signal is handled after that."""
    if thread.is_alive():
        try:
            thread.join()
        except BaseException:
            thread.join()
            raise
