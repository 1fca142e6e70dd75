"""What is drawn from ``random_state`` before any tree is grown, in scikit-learn's order and by NumPy itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

#: Seeds of trees are drawn below this number.
MAX_SEED = np.iinfo(np.int32).max

RandomState = int | np.random.RandomState | None


def draw_noise_target(random_state: RandomState, n_samples: int) -> NDArray[np.float64]:
    """The random target in [0, 1) that scikit-learn fits its trees to, one value per row."""
    return np.asarray(check_random_state(random_state).uniform(size=n_samples))


def draw_tree_seeds(random_state: RandomState, n_existing: int, n_new: int) -> NDArray[np.uint32]:
    """The seeds of `n_new` trees that follow `n_existing` ones of an earlier fit.

    An integer `random_state` starts its stream anew here; an instance goes on after the noise target.
    """
    stream = check_random_state(random_state)
    if n_existing:
        stream.randint(MAX_SEED, size=n_existing)
    return np.asarray(stream.randint(MAX_SEED, size=n_new)).astype(np.uint32)
