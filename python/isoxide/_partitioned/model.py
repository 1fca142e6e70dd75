"""A forest that travels to where rows are: as bytes, made a forest once in each process."""

from __future__ import annotations

import functools

from isoxide._forest.estimator import IsolationForest


@functools.lru_cache(maxsize=8)
def _forest(data: bytes) -> IsolationForest:
    return IsolationForest.from_bytes(data)


class Model:
    """A fitted forest as bytes."""

    def __init__(self, data: bytes, *, n_jobs: int | None) -> None:
        self._data = data
        #: Threads that a part is scored with.
        self.n_jobs = n_jobs

    @property
    def data(self) -> bytes:
        """The bytes of the forest."""
        return self._data

    def forest(self) -> IsolationForest:
        """The forest, kept for all parts that this process scores."""
        forest = _forest(self.data)
        forest.n_jobs = self.n_jobs
        return forest
