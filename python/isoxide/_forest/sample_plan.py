"""Which rows of a table the trees draw, and growing on these rows alone."""

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

#: Values of the noise target drawn at once from a live stream.
_CHUNK = 1 << 20
_WHAT = "a sample plan, format 1"


class SamplePlan:
    """The rows that the trees of a forest draw, by their numbers: what `sample_plan` returns.

    They depend on the number of rows and the seed alone, so they are known before any row is read.

    Attributes
    ----------
    n_samples, n_features : int
        Shape of the table.
    max_samples : int
        Rows that each tree draws.

    See Also
    --------
    sample_plan : Makes one.
    SampleRows : Collects the rows.
    """

    def __init__(self, forest: IsolationForest, n_samples: int, n_features: int) -> None:
        forest._validate_params()
        if forest.warm_start:
            raise ValueError(
                "warm_start=True cannot be planned: rows of earlier trees are not drawn again; set it False"
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
        # The values of all rows come before the seeds in a live stream, and the seeds say which of them are read: the
        # stream is gone through once for the seeds, and a copy of it for the values.
        stream = check_random_state(state)
        again = np.random.RandomState()
        again.set_state(stream.get_state())
        for n in self._chunks():
            stream.uniform(size=n)
        self._seeds = draw_tree_seeds(stream, 0, n_trees)
        self._draw()
        values, first = [], 0
        for n in self._chunks():
            drawn = again.uniform(size=n)
            places = np.searchsorted(self._rows, [first, first + n])
            values.append(drawn[self._rows[slice(*places)] - first])
            first += n
        self._noise = np.concatenate(values)

    def _chunks(self) -> Iterable[int]:
        return (min(_CHUNK, self.n_samples - first) for first in range(0, self.n_samples, _CHUNK))

    def _draw(self) -> None:
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
        """For each tree the rows that it draws, in the order drawn: ``estimators_samples_`` of the forest."""
        return list(self._samples)

    @property
    def rows(self) -> NDArray[np.int64]:
        """The rows that any tree draws, ascending, each once: those to be fetched."""
        return self._rows

    def grow(self, X: Any) -> IsolationForest:
        """Grow the forest on the drawn rows.

        Parameters
        ----------
        X : array-like or frame of shape (len(rows), n_features)
            The rows of the table with the numbers `rows`, in this order.

        Returns
        -------
        IsolationForest
            The forest that ``fit`` would give on the whole table, tree by tree; but for its ``offset_``, which is -0.5
            until it is set: with a `contamination` other than "auto" to what `ScoreSketch` finds.

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
        """Make bytes of the plan: its parameters, seeds, and what is drawn for its rows.

        Returns
        -------
        bytes
            The same for the same plan. A ``RandomState`` is not among them, only what was drawn from it.
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
        return to_bytes(_WHAT, facts, [self._seeds, np.empty(0) if drawn is None else drawn])

    @classmethod
    def from_bytes(cls, data: bytes) -> SamplePlan:
        """Make a plan from what `to_bytes` gave.

        Parameters
        ----------
        data : bytes
            They may come from anybody: nothing in them is run.

        Returns
        -------
        SamplePlan
            Equal to the one that the bytes were made of.

        Raises
        ------
        ValueError
            If they are none of a plan.
        """
        facts, (seeds, drawn) = from_bytes(_WHAT, data, ["<u4", "<f8"])
        try:
            plan = cls.__new__(cls)
            forest = plan._forest = IsolationForest(**facts["parameters"])
            forest._validate_params()
            plan.n_samples, plan.n_features = int(facts["n_samples"]), int(facts["n_features"])
            check_rows(plan.n_samples)
            # It was said when the plan was made.
            plan.max_samples = forest._resolve_max_samples(plan.n_samples, warn=False)
            plan._max_features = forest._resolve_max_features(plan.n_features)
            if seeds.shape != (forest.n_estimators,):
                raise ValueError(f"there are {len(seeds)} seeds of {forest.n_estimators} trees")
            plan._seeds = seeds
            plan._draw()
            seed = facts["seed"]
            plan._noise = drawn if seed is None else int(seed)
            if (seed is None and drawn.shape != plan._rows.shape) or (seed is not None and integer_seed(seed) is None):
                raise ValueError("what was drawn for the rows is not there")
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"not the bytes of {_WHAT}: {error}") from None
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
    """Say which rows of a table the trees of a forest will draw.

    Parameters
    ----------
    n_samples, n_features : int
        Shape of the table.
    random_state : int, RandomState instance or None, default=None
        See `isoxide.IsolationForest`, as for all others.
    n_estimators : int, default=100
        Number of trees.
    max_samples : "auto", int or float, default="auto"
        Rows that each tree draws.
    contamination : "auto" or float, default="auto"
        Kept for the forest.
    max_features : int or float, default=1.0
        Columns that each tree draws.
    bootstrap : bool, default=False
        Whether a tree may draw the same row more than once.
    n_jobs : int or None, default=None
        Threads; None means all cores.

    Returns
    -------
    SamplePlan
        The rows, and the way to the forest.

    Raises
    ------
    ValueError
        If an argument is out of range.

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
