"""Test that trees have the layout of the installed scikit-learn, and that unknown layouts are refused."""

import copy

import numpy as np
import pytest
import sklearn
from sklearn.ensemble import IsolationForest as SklearnForest

import isoxide._forest.sklearn_interop
from isoxide import IsolationForest
from isoxide._forest import sklearn_tree
from isoxide._forest.sklearn_tree import CATEGORY_FIELDS, FIELDS, UnknownTreeLayoutError

X = np.random.default_rng(0).normal(size=(60, 3))

#: Fields that scikit-learn 1.10 adds to a node.
FIELDS_OF_1_10 = [("left_cat_bitset", np.uint32, (8,)), ("split_kind", np.uint8)]


class FakeTree:
    """Stand-in for scikit-learn's private tree object, with the methods that isoxide uses."""

    def __init__(self, n_features, *arguments):
        self.n_features, self.arguments = n_features, arguments

    def __reduce__(self):
        return type(self), (self.n_features, *self.arguments), self.state

    def __getstate__(self):
        return self.state

    def __setstate__(self, state):
        self.state = state


def stump_with(new_fields=(), new_arguments=(), new_state=None, without=(), split_kinds=(1, 0)):
    """Return a stump as another version of scikit-learn might fit it."""
    stump = sklearn_tree.fit_stump()
    _, arguments, state = stump.tree_.__reduce__()
    ours = [(name, state["nodes"].dtype[name]) for name in FIELDS if name not in without]
    nodes = np.zeros(3, dtype=[*ours, *new_fields])
    for name, _ in ours:
        nodes[name] = state["nodes"][name]
    if "split_kind" in nodes.dtype.names:
        nodes["split_kind"] = [split_kinds[0], split_kinds[1], split_kinds[1]]
    tree = FakeTree(*arguments[:3], *new_arguments)
    tree.__setstate__({**state, "nodes": nodes, **(new_state or {})})
    stump.tree_ = tree
    return stump


def test_the_installed_layout_is_known():
    """isoxide can make the trees of the installed scikit-learn."""
    layout = sklearn_tree.installed_layout()
    assert {*layout.split.dtype.names} - FIELDS.keys() <= CATEGORY_FIELDS
    assert (layout.split["left_child"], layout.leaf["left_child"]) == (1, -1)


def test_fitting_a_stump_draws_nothing_from_the_global_stream():
    before = np.random.get_state()[1].copy()
    sklearn_tree.fit_stump()
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize("split_kinds", [(1, 0), (0, 7)])
def test_trees_can_have_the_layout_of_1_10(split_kinds, monkeypatch):
    """Nodes have the kinds of the stump, bit sets are empty, and each feature has its number of categories."""
    categories = np.array([-1], dtype=np.intp)
    layout = sklearn_tree.layout_of(stump_with(FIELDS_OF_1_10, [categories], split_kinds=split_kinds))
    monkeypatch.setattr(sklearn_tree, "installed_layout", lambda: layout)
    forest = IsolationForest(n_estimators=3, random_state=0, max_features=2).fit(X)
    theirs = SklearnForest(n_estimators=3, random_state=0, max_features=2).fit(X)
    for our_tree, their_tree in zip(forest, theirs, strict=True):
        tree, expected = our_tree.tree_, their_tree.tree_
        assert type(tree) is FakeTree
        assert (tree.n_features, tree.arguments[0].tolist(), tree.arguments[1]) == (2, [1], 1)
        assert tree.arguments[2].tolist() == [-1, -1]
        nodes = tree.state["nodes"]
        for name in FIELDS:
            np.testing.assert_array_equal(nodes[name], expected.__getstate__()["nodes"][name])
        is_leaf = expected.children_left < 0
        np.testing.assert_array_equal(nodes["split_kind"], np.where(is_leaf, *split_kinds[::-1]))
        assert not nodes["left_cat_bitset"].any()
        assert (tree.state["max_depth"], tree.state["node_count"]) == (expected.max_depth, expected.node_count)
        assert not sklearn_tree.has_categories(tree)


@pytest.mark.parametrize("field", ["left_cat_bitset", "split_kind"])
@pytest.mark.parametrize("node", [0, 1])
def test_splits_on_categories_are_detected(field, node, monkeypatch):
    stump = stump_with(FIELDS_OF_1_10, [np.array([-1])])
    layout = sklearn_tree.layout_of(stump)
    monkeypatch.setattr(sklearn_tree, "installed_layout", lambda: layout)
    tree = stump_with(FIELDS_OF_1_10, [np.array([-1])]).tree_
    assert not sklearn_tree.has_categories(tree)
    tree.state["nodes"][field][node] = 5
    assert sklearn_tree.has_categories(tree)


def test_a_model_that_splits_on_categories_is_refused(monkeypatch):
    model = SklearnForest(n_estimators=4, random_state=0).fit(X)
    third = model.estimators_[2].tree_
    monkeypatch.setattr(isoxide._forest.sklearn_interop, "has_categories", lambda tree: tree is third)
    with pytest.raises(ValueError, match="tree 2 of model splits on categories; only splits on numbers"):
        IsolationForest.from_sklearn(model)


#: Changes to the layout, and the messages.
UNKNOWN = {
    "an additional field": ({"new_fields": [("weight", float)]}, "a node has the fields .*'weight'"),
    "a missing field": ({"without": ["threshold"]}, "a node has the fields"),
    "additional arguments": ({"new_arguments": [np.array([-1]), 1]}, "Tree takes the arguments"),
    "an argument with another meaning": ({"new_arguments": [np.array([7])]}, "Tree takes the arguments"),
    "an argument that is no array": ({"new_arguments": ["gini"]}, "Tree takes the arguments"),
    "an additional entry": ({"new_state": {"seed": 1}}, "a pickled Tree has the entries .*'seed'"),
}


@pytest.mark.parametrize("change", UNKNOWN)
def test_unknown_layouts_are_refused(change):
    options, message = UNKNOWN[change]
    with pytest.raises(UnknownTreeLayoutError, match=message) as refused:
        sklearn_tree.layout_of(stump_with(**options))
    text = str(refused.value)
    assert f"scikit-learn {sklearn.__version__}" in text
    assert "isoxide 0." in text
    assert "fitting, scoring and files do not" in text


def test_unknown_attributes_of_a_fitted_tree_are_refused():
    stump = sklearn_tree.fit_stump()
    stump.unknown_ = None
    assert sklearn_tree.layout_of(stump).absent[-1] == "unknown_"
    stump.unknown_ = [1]
    with pytest.raises(UnknownTreeLayoutError, match=r"a fitted tree has the attributes \['unknown_'\]"):
        sklearn_tree.layout_of(stump)


def test_only_attributes_that_need_the_trees_fail_with_an_unknown_layout(monkeypatch, tmp_path):
    theirs = SklearnForest(n_estimators=5, random_state=0, contamination=0.1).fit(X)

    def unknown():
        return sklearn_tree.layout_of(stump_with([("weight", float)]))

    monkeypatch.setattr(sklearn_tree, "installed_layout", unknown)
    forest = IsolationForest(n_estimators=5, random_state=0, contamination=0.1, warm_start=True).fit(X)
    for read in (
        lambda: forest.estimators_,
        lambda: forest[0],
        lambda: list(forest),
        forest.to_sklearn,
        lambda: IsolationForest.from_sklearn(theirs),
    ):
        with pytest.raises(NotImplementedError, match=r"does not know how scikit-learn .* stores its trees"):
            read()
    # Tools that check for the attribute first find that it does not exist.
    assert not hasattr(forest, "estimators_")
    assert "predict" in dir(forest)
    assert len(forest) == 5
    assert "random_state=0" in repr(forest)
    assert forest._repr_html_()
    assert forest.offset_ == theirs.offset_
    np.testing.assert_array_equal(forest.score_samples(X), theirs.score_samples(X))
    forest.save(tmp_path / "forest")
    twin = IsolationForest.load(tmp_path / "forest").set_params(n_estimators=7).fit(X)
    assert len(twin) == 7
    assert len(twin.estimators_samples_) == 2
    assert len(twin.estimators_features_) == 7


def test_unknown_attributes_of_a_fitted_forest_are_refused_unless_they_are_none(monkeypatch):
    """None means that a feature of a later scikit-learn is not used. Any other value may be needed for predictions."""
    small = copy.copy(isoxide._forest.sklearn_interop._small_forest())
    monkeypatch.setattr(isoxide._forest.sklearn_interop, "_small_forest", lambda: small)
    forest = IsolationForest(n_estimators=3, random_state=0).fit(X)
    assert not hasattr(forest.to_sklearn(), "is_categorical_")
    small.is_categorical_ = None
    model = forest.to_sklearn()
    assert model.is_categorical_ is None
    np.testing.assert_array_equal(model.score_samples(X), forest.score_samples(X))
    small.is_categorical_ = np.array([False])
    with pytest.raises(NotImplementedError, match=r"a fitted forest has the attributes \['is_categorical_'\]"):
        forest.to_sklearn()


class LaterForest(SklearnForest):
    """Forest of scikit-learn with parameters that a later version may have."""

    def __init__(self, *, n_estimators=100, random_state=None, categorical_features=None, share=0.5):
        super().__init__(n_estimators=n_estimators, random_state=random_state)
        self.categorical_features, self.share = categorical_features, share


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"categorical_features": [0]}, r"model has categorical_features=\[0\], and isoxide has no such parameter"),
        ({"categorical_features": np.array([True, False, False])}, "model has categorical_features=array"),
        ({"categorical_features": "from_dtype"}, "only models with categorical_features=None can be converted"),
        ({"share": 0.25}, "only models with share=0.5 can be converted"),
        ({}, None),
        ({"share": 1 / 2}, None),
    ],
)
def test_parameters_of_a_later_scikit_learn_must_have_their_defaults(params, message, monkeypatch):
    monkeypatch.setattr(isoxide._forest.sklearn_interop, "SklearnForest", LaterForest)
    model = LaterForest(n_estimators=3, random_state=0).fit(X).set_params(**params)
    if message:
        with pytest.raises(ValueError, match=message):
            IsolationForest.from_sklearn(model)
    else:
        forest = IsolationForest.from_sklearn(model)
        np.testing.assert_array_equal(forest.score_samples(X), model.score_samples(X))
