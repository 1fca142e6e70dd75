"""A fitted forest that is sent to where the rows are."""

from __future__ import annotations

import functools

from isoxide._forest.estimator import IsolationForest

__all__ = ["BroadcastForest"]


@functools.lru_cache(maxsize=8)
def _forest(data: bytes) -> IsolationForest:
    return IsolationForest.from_bytes(data)


class BroadcastForest:
    """The bytes of a forest, decoded once in each process.

    Parameters
    ----------
    data : bytes
        The result of ``IsolationForest.to_bytes``.
    n_jobs : int or None
        Threads that score a partition; None means all cores.
    """

    def __init__(self, data: bytes, *, n_jobs: int | None) -> None:
        self._data, self.n_jobs = data, n_jobs

    @property
    def data(self) -> bytes:
        """Return the bytes of the forest, from which `forest` decodes it."""
        return self._data

    def forest(self) -> IsolationForest:
        """Return the forest, which is kept for all partitions that this process scores."""
        forest = _forest(self.data)
        forest.n_jobs = self.n_jobs
        return forest
