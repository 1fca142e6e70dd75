"""Plan a fit on a table that is not in memory: find the rows that the trees draw, and grow the trees on them.

The rows that trees draw follow from the number of rows and the seed:

    seeds of the trees = the first draws of the seed's stream (of a `RandomState`: after one value for each row)
    rows of a tree     = drawn from the tree's own seed
    noise target       = one value per row from the seed's stream; only the values of drawn rows are kept

So a plan can be made before any row is read, and the trees need only the drawn rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from isoxide import _core
from isoxide._common.serialization import from_bytes, to_bytes
from isoxide._common.threads import resolve_n_jobs
from isoxide._forest.estimator import IsolationForest
from isoxide._forest.random_state import RandomState, check_rows, draw_tree_seeds, integer_seed

#: Number of values of the noise target that are drawn from a `RandomState` in one call.
_CHUNK = 1 << 20
#: Name in the wire format (`isoxide._common.serialization`).
_NAME = "sample plan"


class SamplePlan:
    """Hold the row numbers that the trees of a forest draw, and grow the forest on these rows.

    The row numbers depend on the number of rows and the seed alone, so they are known before any row is read.

    Parameters
    ----------
    forest : IsolationForest
        Unfitted estimator whose parameters the forest gets. ``warm_start`` must be False.
    n_samples : int
        Number of rows of the table, from 1 to 2**40.
    n_features : int
        Number of columns of the table, at least 1.

    Attributes
    ----------
    n_samples : int
        Number of rows of the table.
    n_features : int
        Number of columns of the table.
    max_samples : int
        Number of rows that each tree draws.

    Raises
    ------
    ValueError
        If an argument or a parameter of `forest` is out of range.
    MemoryError
        If the table has more rows, or the forest more trees, than any memory could hold.

    See Also
    --------
    sample_plan : Make a plan from parameters.
    SampleRows : Collect the drawn rows.

    Examples
    --------
    >>> from isoxide import IsolationForest
    >>> from isoxide.mergeable import SamplePlan
    >>> SamplePlan(IsolationForest(random_state=0), 100_000, 3)
    SamplePlan(100 trees of 256 rows: 22,545 of 100,000 rows)
    """

    def __init__(self, forest: IsolationForest, n_samples: int, n_features: int) -> None:
        forest._validate_params()
        if forest.warm_start:
            raise ValueError(
                "warm_start=True cannot be planned: the rows of earlier trees are not drawn again; set warm_start=False"
            )
        for name, value in (("n_samples", n_samples), ("n_features", n_features)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        check_rows(n_samples)
        if n_features >= 2**63:
            raise ValueError(f"n_features must be below 2**63, got {n_features}")
        self.n_samples, self.n_features = int(n_samples), int(n_features)
        self.max_samples = forest._resolve_max_samples(self.n_samples)
        self._forest = forest
        self._max_features = forest._resolve_max_features(self.n_features)
        state, n_trees = forest.random_state, forest.n_estimators
        seed = integer_seed(state)
        if seed is not None:
            self._seeds = draw_tree_seeds(seed, 0, n_trees)
            self._noise: int | NDArray[np.float64] = seed
            self._draw()
            return
        # A `RandomState` gives the noise of all rows before the seeds, and the seeds decide which values are kept.
        # So the stream is read once for the seeds, and a copy of the stream is read for the values.
        stream = check_random_state(state)
        stream_copy = np.random.RandomState()
        stream_copy.set_state(stream.get_state())
        for n in self._chunks():
            stream.uniform(size=n)
        self._seeds = draw_tree_seeds(stream, 0, n_trees)
        self._draw()
        values, first = [], 0
        for n in self._chunks():
            drawn = stream_copy.uniform(size=n)
            start, end = np.searchsorted(self._rows, [first, first + n])
            values.append(drawn[self._rows[start:end] - first])
            first += n
        self._noise = np.concatenate(values)

    def _chunks(self) -> Iterable[int]:
        """Yield the sizes of the chunks in which the stream of a `RandomState` is read."""
        return (min(_CHUNK, self.n_samples - first) for first in range(0, self.n_samples, _CHUNK))

    def _draw(self) -> None:
        """Draw the rows of each tree from its seed."""
        self._samples = _core.sample_rows(
            self._seeds,
            n_samples=self.n_samples,
            n_features=self.n_features,
            max_samples=self.max_samples,
            max_features=self._max_features,
            bootstrap=bool(self._forest.bootstrap),
            n_workers=resolve_n_jobs(self._forest.n_jobs),
        )
        self._rows = np.unique(np.concatenate(self._samples))

    @property
    def samples(self) -> list[NDArray[np.int64]]:
        """Return the row numbers of each tree, in the order drawn: ``estimators_samples_`` of the forest."""
        return list(self._samples)

    @property
    def rows(self) -> NDArray[np.int64]:
        """Return the numbers of all rows to fetch: those that any tree draws, in ascending order without duplicates."""
        return self._rows

    def grow(self, X: Any) -> IsolationForest:
        """Grow the forest on the drawn rows.

        Parameters
        ----------
        X : array-like or frame of shape (len(rows), n_features)
            Rows of the table with the numbers `rows`, in this order.

        Returns
        -------
        IsolationForest
            Forest with the trees that ``fit`` would grow on the whole table. Its ``offset_`` is -0.5; for a
            `contamination` other than "auto", set it to the offset that `ScoreSketch` computes.

        Raises
        ------
        ValueError
            If `X` has another shape, or is not numeric.

        Examples
        --------
        >>> import numpy as np
        >>> from isoxide import IsolationForest
        >>> from isoxide.mergeable import sample_plan
        >>> X = np.random.default_rng(0).normal(size=(100_000, 3))
        >>> plan = sample_plan(100_000, 3, random_state=0, n_estimators=10)
        >>> forest = plan.grow(X[plan.rows])
        >>> usual = IsolationForest(n_estimators=10, random_state=0).fit(X)
        >>> bool((forest.score_samples(X) == usual.score_samples(X)).all())
        True
        """
        return self._forest._grow_on_drawn_rows(
            X,
            self._rows,
            self._noise,
            self._seeds,
            n_samples=self.n_samples,
            n_features=self.n_features,
            max_samples=self.max_samples,
            max_features=self._max_features,
        )

    def to_bytes(self) -> bytes:
        """Encode the plan: its parameters, seeds and the noise values of its rows.

        Returns
        -------
        bytes
            Encoded plan: the same bytes for the same plan. They contain the values drawn from a ``RandomState``, but
            not the ``RandomState`` itself.
        """
        parameters = {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in self._forest.get_params().items()
        }
        if integer_seed(parameters["random_state"]) is None:
            parameters["random_state"] = None
        drawn = self._noise if isinstance(self._noise, np.ndarray) else None
        facts = {
            "n_samples": self.n_samples,
            "n_features": self.n_features,
            "parameters": parameters,
            "seed": None if drawn is not None else self._noise,
        }
        return to_bytes(_NAME, facts, [self._seeds, np.empty(0) if drawn is None else drawn])

    @classmethod
    def from_bytes(cls, data: bytes) -> SamplePlan:
        """Decode the bytes that `to_bytes` returned.

        Parameters
        ----------
        data : bytes
            Result of `to_bytes`. Untrusted input is safe: decoding never executes code.

        Returns
        -------
        SamplePlan
            Plan equal to the encoded one.

        Raises
        ------
        ValueError
            If the bytes are damaged, have another format number, or do not hold a plan.
        """
        facts, (seeds, drawn) = from_bytes(_NAME, data, ["<u4", "<f8"])
        try:
            plan = cls.__new__(cls)
            forest = plan._forest = IsolationForest(**facts["parameters"])
            forest._validate_params()
            plan.n_samples, plan.n_features = int(facts["n_samples"]), int(facts["n_features"])
            check_rows(plan.n_samples)
            # The warning about max_samples was given when the plan was made.
            plan.max_samples = forest._resolve_max_samples(plan.n_samples, warn=False)
            plan._max_features = forest._resolve_max_features(plan.n_features)
            if seeds.shape != (forest.n_estimators,):
                raise ValueError(f"they have {len(seeds)} seeds for {forest.n_estimators} trees")
            plan._seeds = seeds
            plan._draw()
            seed = facts["seed"]
            plan._noise = drawn if seed is None else int(seed)
            if (seed is None and drawn.shape != plan._rows.shape) or (seed is not None and integer_seed(seed) is None):
                raise ValueError("they lack the noise values of the rows")
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"cannot decode these bytes as a {_NAME}: {error}") from None
        return plan

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SamplePlan) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    def __reduce__(self) -> tuple[Any, ...]:
        return SamplePlan.from_bytes, (self.to_bytes(),)

    def __repr__(self) -> str:
        return (
            f"SamplePlan({len(self._seeds)} trees of {self.max_samples} rows: "
            f"{len(self._rows):,} of {self.n_samples:,} rows)"
        )


def sample_plan(
    n_samples: int,
    n_features: int,
    *,
    random_state: RandomState = None,
    n_estimators: int = 100,
    max_samples: Literal["auto"] | int | float = "auto",
    contamination: Literal["auto"] | float = "auto",
    max_features: int | float = 1.0,
    bootstrap: bool = False,
    n_jobs: int | None = None,
) -> SamplePlan:
    """Plan a fit: choose the rows that the trees of a forest draw from a table.

    Parameters
    ----------
    n_samples : int
        Number of rows of the table, from 1 to 2**40.
    n_features : int
        Number of columns of the table, at least 1.
    random_state : int, RandomState instance or None, default=None
        Source of all random draws. With an int in [0, 2**32 - 1], every call returns the same plan.
    n_estimators : int, default=100
        Number of trees, at least 1.
    max_samples : "auto", int or float, default="auto"
        Number of rows that each tree draws. "auto" means ``min(256, n_samples)``. An int is the number itself; a float
        in (0, 1] is a fraction of ``n_samples``.
    contamination : "auto" or float, default="auto"
        Fraction of outliers, in (0, 0.5]. It becomes a parameter of the forest, and does not affect the plan.
    max_features : int or float, default=1.0
        Number of columns that each tree draws. An int is the number itself; a float in (0, 1] is a fraction of the
        columns, and at least one is drawn.
    bootstrap : bool, default=False
        Whether a tree may draw the same row more than once.
    n_jobs : int or None, default=None
        Number of threads for drawing and growing; None means all cores. Results are the same for every number.

    Returns
    -------
    SamplePlan
        Plan with the numbers of the rows to fetch, and a method that grows the forest on them.

    Raises
    ------
    ValueError
        If an argument is out of range.

    See Also
    --------
    isoxide.IsolationForest : Fit on a table in memory.

    Examples
    --------
    >>> import numpy as np
    >>> from isoxide import IsolationForest
    >>> from isoxide.mergeable import sample_plan
    >>> plan = sample_plan(1_000_000_000, 50, random_state=0)
    >>> plan
    SamplePlan(100 trees of 256 rows: 25,600 of 1,000,000,000 rows)
    >>> X = np.random.default_rng(0).normal(size=(1000, 3))
    >>> forest = IsolationForest(random_state=7).fit(X)
    >>> plan = sample_plan(1000, 3, random_state=7)
    >>> all((a == b).all() for a, b in zip(plan.samples, forest.estimators_samples_, strict=True))
    True
    """
    forest = IsolationForest(
        n_estimators=n_estimators,
        max_samples=max_samples,
        contamination=contamination,
        max_features=max_features,
        bootstrap=bootstrap,
        n_jobs=n_jobs,
        random_state=random_state,
    )
    return SamplePlan(forest, n_samples, n_features)
