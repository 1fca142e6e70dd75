"""Fitted forests as scikit-learn's own objects, and the other way round."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest as SklearnForest
from sklearn.tree import ExtraTreeRegressor
from sklearn.tree._tree import Tree
from sklearn.utils.validation import check_is_fitted

from isoxide import _core
from isoxide._path_length import average_path_length
from isoxide._seeds import MAX_SEED

#: A seed that is not known: of trees that a scikit-learn forest had before its last warm start.
UNKNOWN_SEED = -1


def tree_template(max_samples: int, random_state: Any) -> ExtraTreeRegressor:
    """The unfitted tree that scikit-learn's forest clones."""
    max_depth = int(np.ceil(np.log2(max(max_samples, 2))))
    return ExtraTreeRegressor(max_depth=max_depth, max_features=1, splitter="random", random_state=random_state)


def fitted_tree(forest: _core.Forest, index: int, seed: int, max_samples: int) -> ExtraTreeRegressor:
    """One tree as the fitted ``ExtraTreeRegressor`` that scikit-learn has at its place."""
    # scikit-learn draws the state of a tree from a stream of its own, started from the tree's seed.
    state = None if seed == UNKNOWN_SEED else int(np.random.RandomState(seed).randint(MAX_SEED))
    estimator = tree_template(max_samples, state)
    estimator.n_features_in_ = len(forest.tree_features(index))
    estimator.n_outputs_ = 1
    estimator.max_features_ = 1
    estimator.tree_ = _tree(forest.tree(index), estimator.n_features_in_)
    return estimator


def _tree(arrays: dict[str, NDArray[Any]], n_features: int) -> Tree:
    fields = {
        "left_child": "children_left",
        "right_child": "children_right",
        "feature": "feature",
        "threshold": "threshold",
        "impurity": "impurity",
        "n_node_samples": "n_node_samples",
        "weighted_n_node_samples": "weighted_n_node_samples",
        "missing_go_to_left": "missing_go_to_left",
    }
    tree = Tree(n_features, np.array([1], dtype=np.intp), 1)
    # The layout of a node is scikit-learn's own matter; a field that is not known here would be a new rule.
    layout = tree.__getstate__()["nodes"].dtype
    if set(layout.names) != set(fields):
        raise NotImplementedError(f"the trees of this scikit-learn have fields {layout.names}, which isoxide does not know")
    nodes = np.zeros(len(arrays["feature"]), dtype=layout)
    for field, name in fields.items():
        nodes[field] = arrays[name]
    depth = np.zeros(len(nodes), dtype=np.intp)
    for node in np.flatnonzero(arrays["children_left"] >= 0):
        depth[[arrays["children_left"][node], arrays["children_right"][node]]] = depth[node] + 1
    tree.__setstate__(
        {
            "max_depth": int(depth.max()),
            "node_count": len(nodes),
            "nodes": nodes,
            "values": arrays["value"].reshape(-1, 1, 1),
        }
    )
    return tree


def path_lengths(trees: list[ExtraTreeRegressor]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """What scikit-learn's forest keeps of each tree for scoring: c(n) and depth of every node."""
    return (
        tuple(average_path_length(tree.tree_.n_node_samples) for tree in trees),
        tuple(tree.tree_.compute_node_depths() for tree in trees),
    )


def check_model(model: Any) -> None:
    """Refuses what is not a fitted isolation forest of scikit-learn."""
    if not isinstance(model, SklearnForest):
        raise TypeError(f"model must be a fitted sklearn.ensemble.IsolationForest, got {type(model).__name__}")
    check_is_fitted(model, "estimators_")


def native_forest(model: SklearnForest) -> _core.Forest:
    """The trees of a fitted scikit-learn forest.

    Raises
    ------
    ValueError
        If the trees are not such as scikit-learn grows for an isolation forest.
    """
    trees = [estimator.tree_ for estimator in model.estimators_]
    features = [np.asarray(columns, dtype=np.uint32) for columns in model.estimators_features_]
    for index, tree in enumerate(trees):
        split = tree.children_left >= 0
        if not np.array_equal(tree.children_left[split], np.flatnonzero(split) + 1):
            raise ValueError(f"tree {index} is not numbered depth first, left child first; only such trees can be taken")

    def joined(name: str, dtype: Any) -> NDArray[Any]:
        return np.concatenate([np.asarray(getattr(tree, name)).ravel() for tree in trees]).astype(dtype)

    leaf = joined("children_left", np.int64) < 0
    n_node_samples = joined("n_node_samples", np.int64)
    c = average_path_length(np.arange(n_node_samples.max() + 1))
    stored = getattr(model, "_average_path_length_per_tree", None)
    if stored is not None:
        # Made by the NumPy of the machine that fitted the model.
        c[n_node_samples] = np.concatenate(stored)
    return _core.Forest.from_parts(
        int(model.n_features_in_),
        np.concatenate(features),
        _starts([len(columns) for columns in features]),
        _starts([tree.node_count for tree in trees]),
        (
            joined("threshold", np.float64),
            np.where(leaf, np.iinfo(np.uint32).max, joined("feature", np.int64)).astype(np.uint32),
            np.where(leaf, 0, joined("children_right", np.int64)).astype(np.uint32),
            n_node_samples.astype(np.uint32),
            joined("missing_go_to_left", np.bool_),
        ),
        (joined("impurity", np.float64), joined("value", np.float64), joined("weighted_n_node_samples", np.float64)),
        c,
    )


def _starts(lengths: list[int]) -> NDArray[np.uint64]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.uint64)
