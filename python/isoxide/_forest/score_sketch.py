"""The offset of a contamination from scores that come in parts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoxide import _core
from isoxide._common.quantiles import interpolate, quantile_position
from isoxide._frames.dtypes import readable

#: Where scores are: a path is less than four times as long as the average one.
_LOWEST, _HIGHEST = -1.0, -(2.0**-4)
#: More scores are not counted exactly by doubles.
_MOST = 2**53


class ScoreSketch:
    """The scores of a table, as far as its offset depends on them, in bounded memory.

    The offset is ``numpy.percentile(scores, 100 * contamination)``, in every bit: it depends on two neighbours in the
    order of the scores. Where few are lower, the lowest are kept and one pass over the scores is enough. Otherwise
    scores are kept while there are not too many different ones, and counted in 65,536 buckets from there on; a second
    pass (beyond some 10**9 scores a third) looks into the bucket of the two.

    What a sketch holds depends on the scores alone, not on their order or on how they were parted and merged.

    Parameters
    ----------
    n_samples : int
        How many scores there will be in all.
    contamination : float
        Share of them below the offset, in (0, 0.5].
    capacity : int, default=65536
        Different scores kept, at most; 16 bytes each. More take more memory and save passes.

    See Also
    --------
    isoxide.IsolationForest.recalibrate : The same for a table in memory.

    Examples
    --------
    >>> import numpy as np
    >>> from isoxide import IsolationForest
    >>> from isoxide.mergeable import ScoreSketch
    >>> X = np.random.default_rng(0).normal(size=(5000, 3))
    >>> forest = IsolationForest(random_state=0).fit(X)
    >>> first, second = ScoreSketch(5000, 0.01), ScoreSketch(5000, 0.01)
    >>> first.add(forest.score_samples(X[:3000]))
    >>> second.add(forest.score_samples(X[3000:]))
    >>> first.merge(second)
    >>> bool(first.offset() == forest.recalibrate(X, contamination=0.01).offset_)
    True
    """

    def __init__(self, n_samples: int, contamination: float, *, capacity: int = 2**16) -> None:
        if not (isinstance(contamination, (float, int, np.number)) and 0 < contamination <= 0.5):
            raise ValueError(f"contamination must be a number in (0, 0.5], got {contamination!r}")
        if n_samples < 1:
            raise ValueError(f"n_samples must be at least 1, got {n_samples}")
        if capacity < 2:
            raise ValueError(f"capacity must be at least 2, got {capacity}")
        for name, value in (("n_samples", n_samples), ("capacity", capacity)):
            if value > _MOST:
                raise ValueError(f"{name} must be at most 2**53, got {value}")
        self._n_samples, self._contamination = int(n_samples), float(contamination)
        # The division is numpy.percentile's.
        self._place, self._way = quantile_position(self._n_samples, 100.0 * self._contamination / 100)
        self._sketch = _core.Sketch(_LOWEST, _HIGHEST, lowest=self._place + 2, capacity=int(capacity))

    @property
    def n_seen(self) -> int:
        """How many scores have come."""
        return self._sketch.n

    @property
    def is_resolved(self) -> bool:
        """Whether the offset is known; if not, another pass with `refined` is needed.

        Raises
        ------
        ValueError
            If not all scores have come.
        """
        self._check_complete()
        return self._sketch.neighbours(self._place) is not None

    def add(self, scores: ArrayLike) -> None:
        """Take in the scores of some rows.

        Parameters
        ----------
        scores : array-like of shape (n,)
            What ``IsolationForest.score_samples`` gives.

        Raises
        ------
        ValueError
            If they are not one-dimensional, or not such scores.
        """
        values: NDArray[np.float64] = readable(np.ascontiguousarray(scores, dtype=np.float64))
        if values.ndim != 1:
            raise ValueError(f"scores must be one-dimensional, got an array of shape {values.shape}")
        if values.size and not (values.min() >= _LOWEST and values.max() <= _HIGHEST):
            raise ValueError(
                f"scores must be those of score_samples, from {_LOWEST:g} to {_HIGHEST:g}; "
                f"got {values.min()} to {values.max()}"
            )
        self._sketch.add(values)

    def merge(self, other: ScoreSketch) -> None:
        """Add what another sketch has seen of the same table.

        Parameters
        ----------
        other : ScoreSketch
            The other one.

        Raises
        ------
        ValueError
            If it is of another table, contamination, capacity or pass.
        """
        if (self._n_samples, self._contamination) != (other._n_samples, other._contamination):
            raise ValueError(f"{other} is a sketch of something else than {self}")
        self._sketch.merge(other._sketch)

    def refined(self) -> ScoreSketch:
        """Make a sketch for another pass over all scores, after which more is known.

        Returns
        -------
        ScoreSketch
            It has seen nothing yet.

        Raises
        ------
        ValueError
            If not all scores have come.
        """
        self._check_complete()
        return self._like(self._sketch.refined(self._place))

    def offset(self) -> np.float64:
        """What ``offset_`` is for the contamination.

        Returns
        -------
        float
            ``numpy.percentile(scores, 100 * contamination)``.

        Raises
        ------
        ValueError
            If not all scores have come, or another pass is needed.
        """
        self._check_complete()
        neighbours = self._sketch.neighbours(self._place)
        if neighbours is None:
            raise ValueError(
                "the offset is not known yet: add all scores once more, to the sketch that refined() gives"
            )
        return interpolate(*neighbours, self._way)

    def to_bytes(self) -> bytes:
        """Make bytes of the sketch.

        Returns
        -------
        bytes
            The same for the same scores; up to 1.5 MB with the default capacity.
        """
        head = (
            np.array([self._n_samples], dtype="<i8").tobytes() + np.array([self._contamination], dtype="<f8").tobytes()
        )
        return head + self._sketch.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> ScoreSketch:
        """Make a sketch from what `to_bytes` gave.

        Parameters
        ----------
        data : bytes
            They may come from anybody: nothing in them is run.

        Returns
        -------
        ScoreSketch
            Equal to the one that the bytes were made of.

        Raises
        ------
        ValueError
            If they are none of a sketch.
        """
        data = bytes(data)
        if len(data) < 16:
            raise ValueError("not the bytes of a sketch: they are truncated")
        n_samples = int(np.frombuffer(data[:8], dtype="<i8")[0])
        contamination = float(np.frombuffer(data[8:16], dtype="<f8")[0])
        try:
            return cls(n_samples, contamination)._like(_core.Sketch.from_bytes(data[16:]))
        except ValueError as error:
            raise ValueError(f"not the bytes of a sketch: {error}") from None

    def _like(self, sketch: _core.Sketch) -> ScoreSketch:
        twin = ScoreSketch(self._n_samples, self._contamination)
        twin._sketch = sketch
        return twin

    def _check_complete(self) -> None:
        if self.n_seen != self._n_samples:
            raise ValueError(f"{self.n_seen:,} of {self._n_samples:,} scores have come")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ScoreSketch) and self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __reduce__(self) -> tuple[Any, ...]:
        return ScoreSketch.from_bytes, (self.to_bytes(),)

    def __repr__(self) -> str:
        return f"ScoreSketch({self.n_seen:,} of {self._n_samples:,} scores, contamination={self._contamination:g})"
