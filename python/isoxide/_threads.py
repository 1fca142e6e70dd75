"""How many threads a call may use."""

from __future__ import annotations

import joblib
from joblib.parallel import get_active_backend


def resolve_n_jobs(n_jobs: int | None) -> int:
    """Number of threads for an ``n_jobs`` argument.

    Parameters
    ----------
    n_jobs : int or None
        ``None`` means all cores that the process may use (affinity, control groups and ``LOKY_MAX_CPU_COUNT`` are
        honoured), but no more than an active ``joblib.parallel_config(n_jobs=...)`` allows, and one within a worker
        of joblib, whose siblings use the other cores. ``-1`` means all, ``-2`` all but one, and so on, as in joblib.
        A number above the cores of the machine means all of them.

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
        backend, n_jobs = get_active_backend()
        if n_jobs is None:
            n_jobs = 1 if backend.nesting_level else -1
    return max(1, min(int(joblib.effective_n_jobs(n_jobs)), int(joblib.cpu_count())))
