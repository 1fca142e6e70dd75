"""How many threads a call may use."""

from __future__ import annotations

import functools
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import joblib
import numpy as np
from joblib.parallel import get_active_backend

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

#: Rows times trees up to which one thread scores: with two it would take as long, as 163 rows and 100 trees show.
_FEW_STEPS = 2**14
#: Bytes of a thread that starts, its stack among them.
_THREAD_BYTES = 16 * 2**20


@functools.lru_cache(maxsize=16)
def _cores(process: int, affinity: int, limit: str | None) -> int:
    """Cores that the process may use. Asking the system takes 0.1 ms, as long as scoring a hundred rows."""
    return int(joblib.cpu_count())


def _available_cores() -> int:
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    return _cores(os.getpid(), affinity, os.environ.get("LOKY_MAX_CPU_COUNT"))


def resolve_n_jobs(n_jobs: int | None) -> int:
    """Number of threads for an ``n_jobs`` argument.

    Parameters
    ----------
    n_jobs : int or None
        ``None`` means all cores that the process may use (affinity, control groups and ``LOKY_MAX_CPU_COUNT`` are
        honoured), but no more than an active ``joblib.parallel_config(n_jobs=...)`` allows, and one within a worker
        of joblib or multiprocessing, whose siblings use the other cores. ``-1`` means all, ``-2`` all but one, and so
        on, as in joblib. A number above the cores of the machine means all of them.

    Returns
    -------
    int
        At least 1. The number never changes a result.

    Raises
    ------
    ValueError
        If `n_jobs` is 0.
    """
    if n_jobs is None:
        backend, context_n_jobs = get_active_backend()
        if context_n_jobs is not None:
            return max(1, min(int(backend.effective_n_jobs(context_n_jobs)), _available_cores()))
        in_worker = backend.nesting_level > 0 or multiprocessing.current_process().daemon
        return 1 if in_worker else _available_cores()
    if n_jobs == 0:
        # joblib's words.
        raise ValueError("n_jobs == 0 in Parallel has no meaning")
    cores = _available_cores()
    return max(1, cores + 1 + int(n_jobs)) if n_jobs < 0 else min(int(n_jobs), cores)


def resolve_n_jobs_for(n_jobs: int | None, n_steps: int) -> int:
    """The same for scoring that takes so many steps (rows times trees): one thread for few of them.

    Asking how many there may be takes longer than scoring a row.
    """
    if n_steps <= _FEW_STEPS and (n_jobs is None or (type(n_jobs) is int and n_jobs != 0)):
        return 1
    return resolve_n_jobs(n_jobs)


def ask_for_threads(n: int) -> None:
    """Ask for the memory that so many threads take to begin with: Python waits for ever for one that starts without it.

    Raises
    ------
    MemoryError
        If there is not so much.
    """
    np.empty(n * _THREAD_BYTES, dtype=np.uint8)


def mapped(function: Callable[[_Item], _Result], items: Sequence[_Item], n_workers: int) -> list[_Result]:
    """What a function gives for each item, in threads where there can be any.

    Once the main thread has ended, or where the system has no thread or no memory left, there can't: then one after the
    other.
    """
    if n_workers > 1 and len(items) > 1:
        try:
            ask_for_threads(n_workers)
            with ThreadPoolExecutor(n_workers) as pool:
                return list(pool.map(function, items))
        except (RuntimeError, MemoryError):
            # Python's own word for it. If it was the function's, it comes again.
            pass
    return [function(item) for item in items]
