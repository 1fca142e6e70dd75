"""Exact offset of a contamination from scores that arrive in partitions, in bounded memory.

The offset is ``numpy.percentile(scores, 100 * contamination)``, which interpolates between two neighbours in the sorted
scores. `_core.Sketch` (`src/sketch`) finds the two neighbours:

    if few scores are lower         keep the lowest scores
    if few scores are distinct      keep the distinct scores, with their counts
    otherwise                       count the scores in buckets of equally many float64 values; a second pass divides
                                    the bucket with the neighbours in the same way
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoxide import _core
from isoxide._common.quantiles import interpolate, quantile_position
from isoxide._common.serialization import RAW, from_bytes, to_bytes
from isoxide._frames.dtypes import readable

#: Range of `score_samples`, since a path is less than four times as long as the average path.
_MIN_SCORE, _MAX_SCORE = -1.0, -(2.0**-4)
#: Maximum number of scores that float64 counts exactly.
_MAX_COUNT = 2**53
#: Name in the wire format (`isoxide._common.serialization`).
_NAME = "score sketch"


class ScoreSketch:
    """Summarise the scores of a table so that its offset follows exactly, in bounded memory.

    The offset is bit-identical to ``numpy.percentile(scores, 100 * contamination)``. It depends on two neighbours in
    the sorted scores. If at most `capacity` scores are lower, the sketch keeps the lowest scores, and one pass over the
    scores is enough. Otherwise it keeps the distinct scores, if there are at most `capacity`. For more distinct scores,
    it counts scores in 65,536 buckets, and a second pass resolves the bucket of the two neighbours; for more than about
    10**9 scores, a third pass may be needed.

    The state of a sketch depends only on the scores, not on their order or on how they were partitioned and merged.

    Parameters
    ----------
    n_samples : int
        Number of scores in the whole table, from 1 to 2**53.
    contamination : float
        Fraction of the scores below the offset, in (0, 0.5].
    capacity : int, default=65536
        Maximum number of distinct scores to keep, at least 2; each takes 16 bytes. A larger capacity takes more memory
        and can save passes.

    Raises
    ------
    ValueError
        If an argument is out of range.

    See Also
    --------
    isoxide.IsolationForest.recalibrate : Compute the offset of a table in memory.

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
            if value > _MAX_COUNT:
                raise ValueError(f"{name} must be at most 2**53, got {value}")
        self._n_samples, self._contamination = int(n_samples), float(contamination)
        # numpy.percentile divides in the same way.
        self._position, self._fraction = quantile_position(self._n_samples, 100.0 * self._contamination / 100)
        self._sketch = _core.Sketch(_MIN_SCORE, _MAX_SCORE, lowest=self._position + 2, capacity=int(capacity))

    @property
    def n_seen(self) -> int:
        """Return the number of scores added so far."""
        return self._sketch.n

    @property
    def is_resolved(self) -> bool:
        """Return whether the offset is known; if not, another pass with `refined` is needed.

        Raises
        ------
        ValueError
            If not all scores have been added.
        """
        self._check_complete()
        return self._sketch.neighbours(self._position) is not None

    def add(self, scores: ArrayLike) -> None:
        """Add the scores of some rows.

        Parameters
        ----------
        scores : array-like of shape (n,)
            Result of ``IsolationForest.score_samples``.

        Raises
        ------
        ValueError
            If `scores` is not one-dimensional, or out of the range of `score_samples`.
        """
        values: NDArray[np.float64] = readable(np.ascontiguousarray(scores, dtype=np.float64))
        if values.ndim != 1:
            raise ValueError(f"scores must be one-dimensional, got an array of shape {values.shape}")
        if values.size and not (values.min() >= _MIN_SCORE and values.max() <= _MAX_SCORE):
            raise ValueError(
                f"scores must come from score_samples, in the range from {_MIN_SCORE:g} to {_MAX_SCORE:g}; "
                f"got values from {values.min()} to {values.max()}"
            )
        self._sketch.add(values)

    def merge(self, other: ScoreSketch) -> None:
        """Add the scores of another sketch of the same table.

        Parameters
        ----------
        other : ScoreSketch
            Sketch to add; it is not changed.

        Raises
        ------
        ValueError
            If `other` has a different number of scores, contamination, capacity or pass.
        """
        if (self._n_samples, self._contamination) != (other._n_samples, other._contamination):
            raise ValueError(
                f"other must be a sketch of the same table and contamination: {other} cannot be merged into {self}"
            )
        self._sketch.merge(other._sketch)

    def refined(self) -> ScoreSketch:
        """Make an empty sketch for another pass over all scores, which resolves the offset further.

        Returns
        -------
        ScoreSketch
            Sketch to which all scores have to be added again.

        Raises
        ------
        ValueError
            If not all scores have been added to this sketch.
        """
        self._check_complete()
        return self._with(self._sketch.refined(self._position))

    def offset(self) -> np.float64:
        """Compute the offset for the contamination.

        Returns
        -------
        float
            Result of ``numpy.percentile(scores, 100 * contamination)``, which ``fit`` sets as ``offset_``.

        Raises
        ------
        ValueError
            If not all scores have been added, or another pass is needed.
        """
        self._check_complete()
        neighbours = self._sketch.neighbours(self._position)
        if neighbours is None:
            raise ValueError("the offset is not known yet; add all scores again, to the sketch that refined() returns")
        return interpolate(*neighbours, self._fraction)

    def to_bytes(self) -> bytes:
        """Encode the sketch and the scores added so far.

        Returns
        -------
        bytes
            Encoded sketch: the same bytes for the same scores, at most 1.5 MB with the default capacity.
        """
        facts = {"n_samples": self._n_samples, "contamination": self._contamination}
        return to_bytes(_NAME, facts, [self._sketch.to_bytes()])

    @classmethod
    def from_bytes(cls, data: bytes) -> ScoreSketch:
        """Decode the bytes that `to_bytes` returned.

        Parameters
        ----------
        data : bytes
            Result of `to_bytes`. Untrusted input is safe: decoding never executes code.

        Returns
        -------
        ScoreSketch
            Sketch equal to the encoded one.

        Raises
        ------
        ValueError
            If the bytes are damaged, have another format number, or do not hold a sketch.
        """
        facts, (sketch,) = from_bytes(_NAME, data, [RAW])
        try:
            return cls(facts["n_samples"], facts["contamination"])._with(_core.Sketch.from_bytes(sketch))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"cannot decode these bytes as a {_NAME}: {error}") from None

    def _with(self, sketch: _core.Sketch) -> ScoreSketch:
        """Make a sketch of the same table and contamination with another state."""
        other = ScoreSketch(self._n_samples, self._contamination)
        other._sketch = sketch
        return other

    def _check_complete(self) -> None:
        """Raise an error unless all scores have been added."""
        if self.n_seen != self._n_samples:
            raise ValueError(f"{self.n_seen:,} of {self._n_samples:,} scores have been added; add all of them first")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ScoreSketch) and self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]  # a sketch changes

    def __reduce__(self) -> tuple[Any, ...]:
        return ScoreSketch.from_bytes, (self.to_bytes(),)

    def __repr__(self) -> str:
        return f"ScoreSketch({self.n_seen:,} of {self._n_samples:,} scores, contamination={self._contamination:g})"
