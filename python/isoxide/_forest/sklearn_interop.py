"""Views of a fitted forest as scikit-learn's own objects, and conversion in both directions.

For each public attribute that scikit-learn's forest has after a fit, a function here computes it from a `FittedForest`.
Only this module needs scikit-learn's private tree objects (`sklearn_tree.py`); fitting, scoring and files do not.
So the functions import scikit-learn's trees and forests when they are called: that takes 0.1 s, and the command never
uses them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from isoxide import _core
from isoxide._common.threads import resolve_n_jobs
from isoxide._forest.fitted import FittedForest, depth_limit
from isoxide._forest.path_length import average_path_lengths_up_to
from isoxide._forest.random_state import MAX_SEED, row_probabilities
from isoxide._forest.sklearn_tree import has_categories, make_tree, set_fitted, unknown_layout

if TYPE_CHECKING:
    from sklearn.ensemble import IsolationForest as SklearnForest
    from sklearn.tree import ExtraTreeRegressor

#: Entry of `FittedForest.tree_seeds` for trees of earlier fits in a warm start, whose seeds scikit-learn does not keep.
UNKNOWN_SEED = -1


def estimators(fitted: FittedForest) -> list[ExtraTreeRegressor]:
    """Return the trees as scikit-learn's objects, which are built on first use and then kept.

    Parameters
    ----------
    fitted : FittedForest
        The forest.

    Returns
    -------
    list of ExtraTreeRegressor
        The same list at every call.

    Raises
    ------
    NotImplementedError
        If this version of isoxide does not know how the installed scikit-learn stores its trees.
    """
    known, n_trees = fitted.estimators, fitted.native.n_trees
    first = len(known)
    if first < n_trees:
        seeds, depths = fitted.tree_seeds.tolist(), fitted.tree_depths.tolist()
        missing = [_estimator(fitted.native, index, seeds[index], depths[index]) for index in range(first, n_trees)]
        # Another thread may have added the same trees in the meantime: assigning to the slice replaces them.
        known[first:] = missing
    return known


def estimator_template(max_depth: int, random_state: Any) -> ExtraTreeRegressor:
    """Make the unfitted tree that scikit-learn's forest clones for each of its trees."""
    from sklearn.tree import ExtraTreeRegressor

    return ExtraTreeRegressor(max_depth=max_depth, max_features=1, splitter="random", random_state=random_state)


def estimators_samples(fitted: FittedForest, *, bootstrap: bool, n_jobs: int | None) -> list[NDArray[np.int64]]:
    """Draw the rows of each tree of the last fit again.

    Parameters
    ----------
    fitted : FittedForest
        The forest.
    bootstrap : bool
        Whether a tree may draw the same row more than once.
    n_jobs : int or None
        Number of threads, as in `IsolationForest`.

    Returns
    -------
    list of ndarray of int64
        Row numbers of each tree, in the order drawn.
    """
    weights = fitted.sample_weight
    if weights is not None:
        weights = row_probabilities(weights, fitted.max_samples, bootstrap)
    return _core.sample_rows(
        fitted.seeds,
        n_samples=fitted.n_samples,
        n_features=fitted.native.n_features,
        max_samples=fitted.max_samples,
        max_features=fitted.max_features,
        bootstrap=bootstrap,
        n_workers=resolve_n_jobs(n_jobs),
        weights=weights,
    )


def estimators_features(fitted: FittedForest) -> list[NDArray[np.int64]]:
    """Return the columns of each tree, in the order drawn."""
    return [fitted.native.tree_features(tree) for tree in range(fitted.native.n_trees)]


def average_path_length_per_tree(fitted: FittedForest) -> tuple[NDArray[np.float64], ...]:
    """Return c(n) for each node of each tree, where n is the number of its rows; tools read it from the forest."""
    # Use the stored values, since the last bits may differ between the installed NumPy and the one used in the fit.
    c = fitted.native.average_path_lengths
    return tuple(c[estimator.tree_.n_node_samples] for estimator in estimators(fitted))


def decision_path_lengths(fitted: FittedForest) -> tuple[NDArray[np.int64], ...]:
    """Return the depth of each node of each tree; tools read it from a private attribute of the forest."""
    return tuple(estimator.tree_.compute_node_depths() for estimator in estimators(fitted))


def to_sklearn(fitted: FittedForest, parameters: dict[str, Any]) -> SklearnForest:
    """Make a fitted forest of scikit-learn's own class.

    Parameters
    ----------
    fitted : FittedForest
        The forest.
    parameters : dict
        Parameters of the estimator.

    Returns
    -------
    sklearn.ensemble.IsolationForest
        The forest with equal trees, scores and offset.

    Raises
    ------
    NotImplementedError
        If this version of isoxide does not know how the installed scikit-learn stores its trees.
    """
    from sklearn.ensemble import IsolationForest as SklearnForest

    model = SklearnForest(**parameters)
    # Copy the list, since a warm start of the model appends to it.
    model.estimators_ = list(estimators(fitted))
    model.estimators_features_ = estimators_features(fitted)
    model.estimator_ = estimator_template(depth_limit(fitted.max_samples), parameters["random_state"])
    model.n_features_in_ = fitted.native.n_features
    if fitted.feature_names is not None:
        model.feature_names_in_ = fitted.feature_names
    model.max_samples_ = model._max_samples = fitted.max_samples
    model._max_features = fitted.max_features
    model._n_samples = fitted.n_samples
    model._seeds = fitted.seeds.astype(np.int64)
    model._sample_weight = fitted.sample_weight
    model._average_path_length_per_tree = average_path_length_per_tree(fitted)
    model._decision_path_lengths = decision_path_lengths(fitted)
    model.offset_ = fitted.offset
    _complete(model)
    return model


def from_sklearn(model: SklearnForest) -> FittedForest:
    """Convert the fitted state of a scikit-learn forest.

    Parameters
    ----------
    model : sklearn.ensemble.IsolationForest
        Fitted model.

    Returns
    -------
    FittedForest
        The forest with equal trees, scores and offset.

    Raises
    ------
    ValueError
        If the trees cannot come from a fit of scikit-learn's isolation forest on numbers.
    NotImplementedError
        If this version of isoxide does not know how the installed scikit-learn stores its trees.
    """
    seeds = np.asarray(model._seeds).astype(np.uint32)
    earlier = np.full(len(model.estimators_) - len(seeds), UNKNOWN_SEED)
    return FittedForest(
        native=_core.Forest.from_parts(*native_parts(model)),
        offset=model.offset_,
        feature_names=getattr(model, "feature_names_in_", None),
        n_samples=int(model._n_samples),
        max_samples=int(model.max_samples_),
        max_features=int(model._max_features),
        # Before scikit-learn 1.8, weights had no effect on the drawn rows, and the model did not keep them.
        sample_weight=getattr(model, "_sample_weight", None),
        seeds=seeds,
        tree_seeds=np.concatenate([earlier, seeds]).astype(np.int64),
        tree_depths=np.array([tree.max_depth for tree in model.estimators_], dtype=np.int64),
    )


def sklearn_parameters(model: Any, names: list[str]) -> dict[str, Any]:
    """Read the parameters of a fitted forest of scikit-learn.

    Parameters
    ----------
    model : sklearn.ensemble.IsolationForest
        Fitted model; objects of other classes are refused.
    names : list of str
        Parameters that isoxide's class has.

    Returns
    -------
    dict
        Their values.

    Raises
    ------
    TypeError
        If `model` is of another class.
    sklearn.exceptions.NotFittedError
        If `model` is not fitted.
    ValueError
        If a parameter that isoxide's class lacks, such as ``categorical_features``, does not have its default value.
    """
    from sklearn.ensemble import IsolationForest as SklearnForest

    # isoxide's class, which is registered as a subclass, does not inherit from scikit-learn's.
    if SklearnForest not in type(model).__mro__:
        raise TypeError(f"model must be a fitted sklearn.ensemble.IsolationForest, got {type(model).__name__}")
    check_is_fitted(model, "estimators_")
    for name, default in SklearnForest().get_params().items():
        value = getattr(model, name, default)
        if name in names or value is default:
            continue
        if not isinstance(value, (bool, int, float, str)) or value != default:
            raise ValueError(
                f"model has {name}={value!r}, and isoxide has no such parameter: only models with {name}={default!r} "
                "can be converted"
            )
    # Read the attributes, not `get_params`: the constructor of a subclass may have other parameters.
    return {name: getattr(model, name) for name in names}


def native_parts(model: SklearnForest) -> tuple[Any, ...]:
    """Collect the arguments of ``_core.Forest.from_parts`` from a fitted forest of scikit-learn.

    Parameters
    ----------
    model : sklearn.ensemble.IsolationForest
        Fitted model.

    Returns
    -------
    tuple
        The arguments: all trees joined, node by node.

    Raises
    ------
    ValueError
        If the trees cannot come from a fit of scikit-learn's isolation forest on numbers.
    """
    trees = [estimator.tree_ for estimator in model.estimators_]
    features = [np.asarray(columns, dtype=np.uint32) for columns in model.estimators_features_]
    for index, tree in enumerate(trees):
        if has_categories(tree):
            raise ValueError(f"tree {index} of model splits on categories; only splits on numbers can be converted")
        split = tree.children_left >= 0
        if not np.array_equal(tree.children_left[split], np.flatnonzero(split) + 1):
            raise ValueError(
                f"tree {index} of model is not numbered depth first, left child first, as scikit-learn numbers trees; "
                "fit the model again"
            )

    def joined(name: str, dtype: Any) -> NDArray[Any]:
        """Join a property of all trees, node by node."""
        return np.concatenate([np.asarray(getattr(tree, name)).ravel() for tree in trees]).astype(dtype)

    leaf = joined("children_left", np.int64) < 0
    n_node_samples = joined("n_node_samples", np.int64)
    c = average_path_lengths_up_to(int(n_node_samples.max())).copy()
    stored = getattr(model, "_average_path_length_per_tree", None)
    if stored is not None:
        # Keep the values that the model was fitted with: the last bit of a logarithm differs between processors.
        c[n_node_samples] = np.concatenate(stored)
    return (
        int(model.n_features_in_),
        np.concatenate(features),
        _starts([len(columns) for columns in features]),
        _starts([tree.node_count for tree in trees]),
        (
            joined("threshold", np.float64),
            np.where(leaf, np.iinfo(np.uint32).max, joined("feature", np.int64)).astype(np.uint32),
            np.where(leaf, 0, joined("children_right", np.int64)).astype(np.uint32),
            n_node_samples.astype(np.uint32),
            joined("missing_go_to_left", np.uint8),
        ),
        (joined("impurity", np.float64), joined("value", np.float64), joined("weighted_n_node_samples", np.float64)),
        c,
    )


def _estimator(native: _core.Forest, index: int, seed: int, max_depth: int) -> ExtraTreeRegressor:
    """Make one tree of a forest as scikit-learn's object."""
    # scikit-learn draws the random state of a tree from a stream that starts at the tree's seed.
    random_state = None if seed == UNKNOWN_SEED else int(np.random.RandomState(seed).randint(MAX_SEED))
    tree = make_tree(native.tree(index), len(native.tree_features(index)))
    return set_fitted(estimator_template(max_depth, random_state), tree)


@lru_cache(maxsize=1)
def _small_forest() -> SklearnForest:
    """Fit a small forest of scikit-learn, which shows the attributes that the installed version sets."""
    from sklearn.ensemble import IsolationForest as SklearnForest

    return SklearnForest(n_estimators=1, n_jobs=1, random_state=0).fit(np.array([[0.0], [1.0]], dtype=np.float32))


def _complete(model: SklearnForest) -> None:
    """Set attributes that only a later scikit-learn has to None, or raise if that version uses one of them."""
    unknown = {name: value for name, value in vars(_small_forest()).items() if name not in vars(model)}
    if in_use := sorted(name for name, value in unknown.items() if value is not None):
        raise unknown_layout(f"a fitted forest has the attributes {in_use}")
    for name in unknown:
        setattr(model, name, None)


def _starts(lengths: list[int]) -> NDArray[np.uint64]:
    """Return the start offset of each of several joined arrays, and the end of the last one."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.uint64)
