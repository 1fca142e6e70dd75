"""Build scikit-learn's private tree objects in the layout of the installed version.

scikit-learn may change the arguments of ``Tree`` and the fields of a node in any release: 1.10 added the argument
``n_categories`` and the fields ``left_cat_bitset`` and ``split_kind``. So the layout is read from a stump, a tree with
one split that the installed version fits:

    arguments  = those that the stump's pickle passes to ``Tree``, with another number of features
    node       = a copy of the stump's root for a split, of its leaf for a leaf, with the fields of every version set
    attributes = those that ``fit`` sets on the stump

An unknown field, argument or attribute could mean anything, so it is refused. Fitting and scoring do not use this
module.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import sklearn
from numpy.typing import NDArray

from isoxide._common.version import package_version

if TYPE_CHECKING:
    from sklearn.tree import ExtraTreeRegressor

#: Fields of a node in every version, and the properties of ``Tree`` that show them.
FIELDS = {
    "left_child": "children_left",
    "right_child": "children_right",
    "feature": "feature",
    "threshold": "threshold",
    "impurity": "impurity",
    "n_node_samples": "n_node_samples",
    "weighted_n_node_samples": "weighted_n_node_samples",
    "missing_go_to_left": "missing_go_to_left",
}
#: Fields of a node since 1.10 that describe splits on categories, which isolation forests do not have.
CATEGORY_FIELDS = {"left_cat_bitset", "split_kind"}
#: Entries of the state of a pickled tree.
STATE = {"max_depth", "node_count", "nodes", "values"}
#: Attributes that ``fit`` sets on the estimator of a tree, besides those that are None without categories.
ATTRIBUTES = {"n_features_in_", "n_outputs_", "max_features_", "tree_"}


class UnknownTreeLayoutError(NotImplementedError, AttributeError):
    """Raised if this version of isoxide does not know how the installed scikit-learn stores its trees.

    It is an ``AttributeError`` too, so that ``hasattr(forest, "estimators_")`` is False and ``dir(forest)`` works.
    """


class Layout(NamedTuple):
    """Layout in which the installed scikit-learn keeps a tree."""

    #: Constructor of ``Tree``; its first argument is the number of features.
    make: Any
    #: Further arguments that are the same for all trees.
    fixed: tuple[Any, ...]
    #: Further arguments with an entry for each feature, given here for one feature.
    per_feature: tuple[NDArray[Any], ...]
    #: Node that is a split.
    split: NDArray[Any]
    #: Node that is a leaf.
    leaf: NDArray[Any]
    #: Attributes that are None on every fitted tree without categories.
    absent: tuple[str, ...]


def fit_stump() -> ExtraTreeRegressor:
    """Fit a tree with one split, without a draw from NumPy's global stream."""
    from sklearn.tree import ExtraTreeRegressor

    stump = ExtraTreeRegressor(max_depth=1, max_features=1, splitter="random", random_state=0)
    return stump.fit(np.array([[0.0], [1.0]], dtype=np.float32), np.array([0.0, 1.0]))


@lru_cache(maxsize=1)
def installed_layout() -> Layout:
    """Read the layout of the installed version from a stump.

    Raises
    ------
    UnknownTreeLayoutError
        If the layout has an unknown argument, field, entry or attribute.
    """
    return layout_of(fit_stump())


def layout_of(stump: ExtraTreeRegressor) -> Layout:
    """Read the layout from a stump, and refuse an unknown one with an `UnknownTreeLayoutError`."""
    make, arguments, state = stump.tree_.__reduce__()
    if not _are_known_arguments(arguments):
        raise unknown_layout(f"Tree takes the arguments {arguments!r}")
    if state.keys() != STATE:
        raise unknown_layout(f"a pickled Tree has the entries {sorted(state)}")
    nodes = state["nodes"]
    if not FIELDS.keys() <= {*nodes.dtype.names} <= FIELDS.keys() | CATEGORY_FIELDS:
        raise unknown_layout(f"a node has the fields {nodes.dtype.names}")
    fitted = vars(stump).keys() - stump.get_params().keys() - {"class_weight"} - ATTRIBUTES
    if set_ := sorted(name for name in fitted if getattr(stump, name) is not None):
        raise unknown_layout(f"a fitted tree has the attributes {set_}")
    return Layout(make, arguments[1:3], arguments[3:], nodes[0], nodes[1], tuple(sorted(fitted)))


def _are_known_arguments(arguments: tuple[Any, ...]) -> bool:
    """Return whether ``Tree`` takes numbers of features, classes, outputs and, since 1.10, categories per feature."""
    if len(arguments) not in (3, 4) or arguments[0] != 1 or arguments[2] != 1:
        return False
    # For a numeric feature the number of categories is -1.
    return np.array_equal(arguments[1], [1]) and all(np.array_equal(counts, [-1]) for counts in arguments[3:])


def make_tree(arrays: dict[str, NDArray[Any]], n_features: int) -> Any:
    """Make scikit-learn's tree object from arrays with an entry for each node.

    Parameters
    ----------
    arrays : dict of str to ndarray
        Properties of ``Tree`` in `FIELDS`, and ``value``, each with an entry for each node.
    n_features : int
        Number of columns that the tree was grown on.

    Returns
    -------
    sklearn.tree._tree.Tree
        The tree.

    Raises
    ------
    UnknownTreeLayoutError
        If this version of isoxide does not know how the installed scikit-learn stores its trees.
    """
    layout = installed_layout()
    left, right = arrays["children_left"], arrays["children_right"]
    depth = np.zeros(len(left), dtype=np.intp)
    for node in np.flatnonzero(left >= 0):
        depth[[left[node], right[node]]] = depth[node] + 1
    tree = layout.make(n_features, *layout.fixed, *(np.repeat(item, n_features) for item in layout.per_feature))
    tree.__setstate__(
        {
            "max_depth": int(depth.max()),
            "node_count": len(left),
            "nodes": fill_nodes(layout, arrays),
            "values": arrays["value"].reshape(-1, 1, 1),
        }
    )
    return tree


def fill_nodes(layout: Layout, arrays: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """Fill the structured array of a tree's nodes."""
    is_leaf = arrays["children_left"] < 0
    nodes = np.zeros(len(is_leaf), dtype=layout.split.dtype)
    nodes[~is_leaf], nodes[is_leaf] = layout.split, layout.leaf
    for field, name in FIELDS.items():
        nodes[field] = arrays[name]
    return nodes


def set_fitted(estimator: ExtraTreeRegressor, tree: Any) -> ExtraTreeRegressor:
    """Set the attributes that ``fit`` sets on an estimator with this tree, and return the estimator."""
    for name in installed_layout().absent:
        setattr(estimator, name, None)
    estimator.n_features_in_ = tree.n_features
    estimator.n_outputs_ = 1
    estimator.max_features_ = 1
    estimator.tree_ = tree
    return estimator


def has_categories(tree: Any) -> bool:
    """Return whether a tree of scikit-learn has a split on categories.

    Raises
    ------
    UnknownTreeLayoutError
        If this version of isoxide does not know how the installed scikit-learn stores its trees.
    """
    layout = installed_layout()
    nodes = tree.__getstate__()["nodes"]
    is_leaf = nodes["left_child"] < 0
    return any(
        (nodes[field][rows] != usual[field]).any()
        for field in CATEGORY_FIELDS & {*nodes.dtype.names}
        for rows, usual in ((is_leaf, layout.leaf), (~is_leaf, layout.split))
    )


def unknown_layout(reason: str) -> UnknownTreeLayoutError:
    """Make the error that says what is unknown about the installed scikit-learn, and what depends on it."""
    return UnknownTreeLayoutError(
        f"isoxide {package_version()} does not know how scikit-learn {sklearn.__version__} stores its trees: {reason}. "
        "Only the trees as objects (estimators_, forest[i], iteration), to_sklearn and from_sklearn depend on it; "
        "fitting, scoring and files do not. Install a later isoxide, or scikit-learn 1.6 to 1.10."
    )
