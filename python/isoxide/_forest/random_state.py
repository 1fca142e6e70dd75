"""Draws from ``random_state`` before any tree is grown, in scikit-learn's order.

    one value per row    the random target that scikit-learn fits its trees to (noise target)
    one seed per tree    for an integer ``random_state`` from a new stream, for an instance from the same one

For an integer, the core draws the same numbers as NumPy, but many times faster, and only the numbers that trees read.
For an instance, NumPy draws all of them.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from isoxide import _core

#: Upper limit (exclusive) of the seeds of trees.
MAX_SEED = np.iinfo(np.int32).max

#: Maximum number of trees: more seeds fit into no memory, and NumPy's message for such sizes would be less clear.
MAX_TREES = 2**40

#: Maximum number of rows: a larger noise target fits into no memory, and drawing it takes a quarter of an hour.
MAX_ROWS = 2**40

#: Bytes of the smallest tree, which has one node, and of its seed.
MIN_TREE_BYTES = 128

RandomState = int | np.random.RandomState | None


def noise_target(random_state: RandomState, n_samples: int) -> int | NDArray[np.float64]:
    """Draw the random target that scikit-learn fits its trees to.

    Parameters
    ----------
    random_state : int, RandomState instance or None
        Source of the draws.
    n_samples : int
        Number of rows.

    Returns
    -------
    int or ndarray of shape (n_samples,)
        One value per row. For an integer `random_state` it is the integer itself, and the core draws the values.

    Raises
    ------
    MemoryError
        If so many values fit into no memory.
    """
    check_rows(n_samples)
    seed = integer_seed(random_state)
    if seed is not None:
        return seed
    return np.asarray(check_random_state(random_state).uniform(size=n_samples))


def check_rows(n_samples: int) -> None:
    """Refuse a table with more rows than any memory could hold.

    Raises
    ------
    MemoryError
        If the table has more than `MAX_ROWS` rows.
    """
    if n_samples > MAX_ROWS:
        raise MemoryError(f"a table of {n_samples} rows fits in no memory; fit on at most {MAX_ROWS} rows")


def draw_tree_seeds(random_state: RandomState, n_existing: int, n_new: int) -> NDArray[np.uint32]:
    """Draw the seeds of new trees.

    Parameters
    ----------
    random_state : int, RandomState instance or None
        Source of the draws. An integer starts a new stream; an instance continues after the noise target.
    n_existing : int
        Number of trees of earlier fits, whose seeds are skipped.
    n_new : int
        Number of new trees.

    Returns
    -------
    ndarray of uint32, shape (n_new,)
        Seeds of the new trees.

    Raises
    ------
    MemoryError
        If so many trees fit into no memory.
    """
    if n_new > MAX_TREES:
        raise MemoryError(f"{n_new} trees fit in no memory; lower n_estimators")
    # Fail before drawing the seeds if even the smallest trees do not fit: allocate their memory, and free it untouched.
    np.empty(n_new * MIN_TREE_BYTES, dtype=np.uint8)
    seed = integer_seed(random_state)
    if seed is not None:
        return _core.tree_seeds(seed, n_existing, n_new)
    stream = check_random_state(random_state)
    if n_existing:
        stream.randint(MAX_SEED, size=n_existing)
    return np.asarray(stream.randint(MAX_SEED, size=n_new)).astype(np.uint32)


def integer_seed(random_state: RandomState) -> int | None:
    """Return `random_state` if it is a valid integer seed; None for instances and for integers that NumPy refuses."""
    is_seed = isinstance(random_state, Integral) and 0 <= int(random_state) < 2**32
    return int(random_state) if is_seed else None  # type: ignore[arg-type]  # an instance is not an Integral


def row_probabilities(sample_weight: NDArray[Any], max_samples: int, bootstrap: bool) -> NDArray[np.float64]:
    """Compute the probability that a tree draws each row: its weight divided by the sum, in the precision of weights.

    Parameters
    ----------
    sample_weight : ndarray of float32 or float64
        Weights of the rows.
    max_samples : int
        Number of rows that a tree draws.
    bootstrap : bool
        Whether a tree may draw the same row more than once.

    Returns
    -------
    ndarray of float64
        Probabilities of the rows.

    Raises
    ------
    ValueError
        If a weight is negative or NaN, or too few are above zero, with the message of ``RandomState.choice``.
    """
    probabilities = sample_weight / np.sum(sample_weight)
    # Draw once with NumPy, so that it refuses invalid weights with its own messages.
    np.random.RandomState(0).choice(len(probabilities), max_samples, replace=bootstrap, p=probabilities)
    return np.ascontiguousarray(probabilities, dtype=np.float64)
