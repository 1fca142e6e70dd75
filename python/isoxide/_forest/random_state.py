"""What is drawn from ``random_state`` before any tree is grown, in scikit-learn's order.

By NumPy itself, but for an integer: the core draws the same from that, many times as fast, and only what trees read.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from isoxide import _core

#: Seeds of trees are drawn below this number.
MAX_SEED = np.iinfo(np.int32).max

#: More have no seeds in any memory, and NumPy has other words for such numbers.
MOST_TREES = 2**40

#: A noise target of more rows fits in no memory, and to pass over it takes a quarter of an hour.
MAX_ROWS = 2**40

#: Bytes of a tree of one node, with its seed.
SMALLEST_TREE = 128

RandomState = int | np.random.RandomState | None


def noise_target(random_state: RandomState, n_samples: int) -> int | NDArray[np.float64]:
    """The random target that scikit-learn fits its trees to: one value per row, or the integer it is drawn from.

    Raises
    ------
    MemoryError
        If there can be no memory for so many values.
    """
    check_rows(n_samples)
    seed = integer_seed(random_state)
    if seed is not None:
        return seed
    return np.asarray(check_random_state(random_state).uniform(size=n_samples))


def check_rows(n_samples: int) -> None:
    """Refuse a table of more rows than any machine has.

    Raises
    ------
    MemoryError
        If it has more than `MAX_ROWS`.
    """
    if n_samples > MAX_ROWS:
        raise MemoryError(f"a table of {n_samples} rows fits in no memory; fit on at most {MAX_ROWS} of them")


def draw_tree_seeds(random_state: RandomState, n_existing: int, n_new: int) -> NDArray[np.uint32]:
    """The seeds of `n_new` trees that follow `n_existing` ones of an earlier fit.

    An integer `random_state` starts its stream anew here; an instance goes on after the noise target.

    Raises
    ------
    MemoryError
        If there can be no memory for so many trees.
    """
    if n_new > MOST_TREES:
        raise MemoryError(f"{n_new} trees fit in no memory; lower n_estimators")
    # Asked for and given back untouched: if the smallest of trees are too many, their seeds need not be drawn.
    np.empty(n_new * SMALLEST_TREE, dtype=np.uint8)
    seed = integer_seed(random_state)
    if seed is not None:
        return _core.tree_seeds(seed, n_existing, n_new)
    stream = check_random_state(random_state)
    if n_existing:
        stream.randint(MAX_SEED, size=n_existing)
    return np.asarray(stream.randint(MAX_SEED, size=n_new)).astype(np.uint32)


def integer_seed(random_state: RandomState) -> int | None:
    """The integer that a stream starts from; None for live streams, and for integers that NumPy refuses."""
    is_seed = isinstance(random_state, Integral) and 0 <= int(random_state) < 2**32
    return int(random_state) if is_seed else None  # type: ignore[arg-type]  # an instance is no Integral


def row_probabilities(sample_weight: NDArray[Any], max_samples: int, bootstrap: bool) -> NDArray[np.float64]:
    """The chances of the rows to be drawn: weights divided by their sum, in the precision of the weights.

    Raises
    ------
    ValueError
        As ``RandomState.choice`` does: if a weight is negative or missing, or too few are above zero.
    """
    probabilities = sample_weight / np.sum(sample_weight)
    # Draws nothing that counts, but objects to what cannot be drawn with, in NumPy's words.
    np.random.RandomState(0).choice(len(probabilities), max_samples, replace=bootstrap, p=probabilities)
    return np.ascontiguousarray(probabilities, dtype=np.float64)
