"""Fitted state of a forest: one immutable object.

A fitted estimator consists of its parameters and one `FittedForest`. Growing trees, reading a file and converting a
model of scikit-learn create one. Scoring (`estimator.py`), saving (`model_file.py`) and the conversion to
scikit-learn's objects (`sklearn_interop.py`) read it. Copies of an estimator share it. A fit that fails keeps it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isoxide import _core

if TYPE_CHECKING:
    from sklearn.tree import ExtraTreeRegressor

__all__ = ["FittedForest", "depth_limit"]


@dataclass(frozen=True, eq=False, slots=True)
class FittedForest:
    """Hold everything that a fit learned.

    Parameters
    ----------
    native : _core.Forest
        The trees in the form that the Rust core grows and scores.
    offset : float
        Score below which a row is an outlier.
    feature_names : ndarray of object or None
        Names of the training columns; None unless all of them were strings.
    n_samples : int
        Number of training rows.
    max_samples : int
        Number of rows that each tree drew.
    max_features : int
        Number of columns that each tree drew.
    sample_weight : ndarray of float32 or float64, or None
        Weights of the training rows in the last fit.
    seeds : ndarray of uint32
        Seeds of the trees of the last fit, which are the last ones of the forest.
    tree_seeds : ndarray of int64
        Seed of every tree; `sklearn_interop.UNKNOWN_SEED` if scikit-learn did not keep it.
    tree_depths : ndarray of int64
        Depth limit of every tree.
    estimators : list of ExtraTreeRegressor
        Cache of the trees as scikit-learn's objects. It is filled on first use; a warm start keeps the earlier trees.
    """

    native: _core.Forest
    offset: float
    feature_names: NDArray[np.object_] | None
    n_samples: int
    max_samples: int
    max_features: int
    sample_weight: NDArray[Any] | None
    seeds: NDArray[np.uint32]
    tree_seeds: NDArray[np.int64]
    tree_depths: NDArray[np.int64]
    estimators: list[ExtraTreeRegressor] = field(default_factory=list, repr=False)


def depth_limit(max_samples: int) -> int:
    """Compute the depth at which a tree over `max_samples` rows ends: log2 of the rows, rounded up, as in the paper."""
    return int(np.ceil(np.log2(max(max_samples, 2))))
