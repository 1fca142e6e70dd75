"""Send a fitted forest to the processes that read the rows."""

from __future__ import annotations

import functools

from isoxide._forest.estimator import IsolationForest

__all__ = ["BroadcastForest"]


@functools.lru_cache(maxsize=8)
def _forest(data: bytes) -> IsolationForest:
    return IsolationForest.from_bytes(data)


class BroadcastForest:
    """Encoded forest that each process decodes once.

    Parameters
    ----------
    data : bytes
        Result of ``IsolationForest.to_bytes``.
    n_jobs : int or None
        Number of threads that score a partition; None means all cores.
    """

    def __init__(self, data: bytes, *, n_jobs: int | None) -> None:
        self._data, self.n_jobs = data, n_jobs

    @property
    def data(self) -> bytes:
        """Return the bytes of the forest, which `forest` decodes."""
        return self._data

    def forest(self) -> IsolationForest:
        """Return the decoded forest, which is cached for all partitions that this process scores."""
        forest = _forest(self.data)
        forest.n_jobs = self.n_jobs
        return forest
