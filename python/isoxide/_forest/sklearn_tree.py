"""Build scikit-learn's private tree objects in the layout of the installed version.

scikit-learn may change the arguments of ``Tree`` and the fields of a node in any release: 1.10 added the argument
``n_categories`` and the fields ``left_cat_bitset`` and ``split_kind``. So both are read off a stump, a tree with one
split that the installed version fits:

    arguments  = what the stump's pickle passes to ``Tree``, with another number of features
    node       = the stump's root for a split, its leaf for a leaf, and the fields that every version has filled in
    attributes = what ``fit`` sets on an estimator, as on the stump

A field, an argument or an attribute that is not known here could mean anything, so it is refused. Fitting and scoring
need nothing of this module.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.tree import ExtraTreeRegressor

#: The fields of a node that every version has, and the names of the properties of ``Tree`` that show them.
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
#: The fields that tell splits on categories from splits on numbers, since 1.10. Isolation forests have the latter only.
CATEGORY_FIELDS = {"left_cat_bitset", "split_kind"}
#: The entries of a pickled tree.
STATE = {"max_depth", "node_count", "nodes", "values"}
#: What ``fit`` sets on the estimator of a tree, besides what is None where there are no categories.
ATTRIBUTES = {"n_features_in_", "n_outputs_", "max_features_", "tree_"}


class UnknownTreeLayoutError(NotImplementedError, AttributeError):
    """The installed scikit-learn keeps its trees in a way that is not known here.

    An ``AttributeError`` too, so that ``hasattr(forest, "estimators_")`` is False and ``dir(forest)`` works.
    """


class Layout(NamedTuple):
    """How the installed scikit-learn keeps a tree."""

    make: Any
    #: Arguments of `make` behind the number of features: the same for all trees, ...
    fixed: tuple[Any, ...]
    #: ... and with an entry per feature, here that of one feature.
    per_feature: tuple[NDArray[Any], ...]
    #: A split and a leaf.
    split: NDArray[Any]
    leaf: NDArray[Any]
    #: Attributes that are None on every fitted tree without categories.
    absent: tuple[str, ...]


def fit_stump() -> ExtraTreeRegressor:
    """Fit a tree with one split. It draws nothing from NumPy's global stream."""
    stump = ExtraTreeRegressor(max_depth=1, max_features=1, splitter="random", random_state=0)
    return stump.fit(np.array([[0.0], [1.0]], dtype=np.float32), np.array([0.0, 1.0]))


@lru_cache(maxsize=1)
def installed_layout() -> Layout:
    """Read the layout of the installed version off a stump.

    Raises
    ------
    UnknownTreeLayoutError
        If there is anything in it that is not known here.
    """
    return layout_of(fit_stump())


def layout_of(stump: ExtraTreeRegressor) -> Layout:
    """Read the layout off a stump; see `installed_layout`."""
    make, arguments, state = stump.tree_.__reduce__()
    if not _are_known(arguments):
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


def _are_known(arguments: tuple[Any, ...]) -> bool:
    """Whether ``Tree`` takes numbers of features, classes, outputs and, since 1.10, categories of each feature."""
    if len(arguments) not in (3, 4) or arguments[0] != 1 or arguments[2] != 1:
        return False
    # A feature with -1 categories is a number.
    return np.array_equal(arguments[1], [1]) and all(np.array_equal(more, [-1]) for more in arguments[3:])


def make_tree(arrays: dict[str, NDArray[Any]], n_features: int) -> Any:
    """Make scikit-learn's tree object.

    Parameters
    ----------
    arrays : dict
        By the names of the properties of ``Tree``, each with an entry per node, and ``value``.
    n_features : int
        Columns that the tree was grown on.

    Raises
    ------
    UnknownTreeLayoutError
        If the installed scikit-learn keeps its trees in a way that is not known here.
    """
    layout = installed_layout()
    left, right = arrays["children_left"], arrays["children_right"]
    depth = np.zeros(len(left), dtype=np.intp)
    for node in np.flatnonzero(left >= 0):
        depth[[left[node], right[node]]] = depth[node] + 1
    tree = layout.make(n_features, *layout.fixed, *(np.repeat(one, n_features) for one in layout.per_feature))
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
    """Set what ``fit`` would set on an estimator whose tree is `tree`."""
    for name in installed_layout().absent:
        setattr(estimator, name, None)
    estimator.n_features_in_ = tree.n_features
    estimator.n_outputs_ = 1
    estimator.max_features_ = 1
    estimator.tree_ = tree
    return estimator


def has_categories(tree: Any) -> bool:
    """Whether a tree of scikit-learn has a split that is not one on a number.

    Raises
    ------
    UnknownTreeLayoutError
        If the installed scikit-learn keeps its trees in a way that is not known here.
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
    """Make the error that says what of the installed scikit-learn is not known, and what depends on it."""
    try:
        ours = version("isoxide")
    except PackageNotFoundError:
        ours = "(of unknown version)"
    return UnknownTreeLayoutError(
        f"isoxide {ours} does not know how scikit-learn {sklearn.__version__} keeps its trees: {reason}. "
        "Only the trees as objects (estimators_, forest[i], iteration), to_sklearn and from_sklearn depend on it; "
        "fitting, scoring and files do not. Install a later isoxide, or scikit-learn 1.6 to 1.10."
    )
