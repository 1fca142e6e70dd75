"""Test the conversion of forests to and from scikit-learn, and that every public name of its class exists."""

import copy
import inspect
import operator
import pathlib
import pickle
import re
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import skl2onnx
import treelite
from onnxruntime import InferenceSession
from sklearn.base import clone
from sklearn.ensemble import IsolationForest as SklearnForest
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import NotFittedError
from sklearn.tree import ExtraTreeRegressor

from isoxide import IsolationForest
from parity import assert_same_arrays, assert_same_forest, assert_same_scores

pytestmark = [
    pytest.mark.parity,
    pytest.mark.current_versions(reason="scikit-learn 1.6 treats missing values and weights differently"),
]

with warnings.catch_warnings():
    # shap uses a function that matplotlib will remove.
    warnings.simplefilter("ignore", PendingDeprecationWarning)
    import shap

R = np.random.default_rng(0)
DENSE = np.column_stack([R.normal(size=300), R.poisson(2, 300), R.normal(size=300).round(1), R.exponential(50, 300)])
MISSING = np.where(R.random(DENSE.shape) < 0.2, np.nan, DENSE)
SPARSE = scipy.sparse.csr_array(np.where(DENSE > 1, DENSE, 0.0))
FRAME = pd.DataFrame(DENSE, columns=["a", "b", "c", "d"])
WEIGHTS = R.random(300)

#: Table, sample weights and parameters of each forest.
FORESTS = {
    "default": (DENSE, None, {}),
    "contamination": (DENSE, None, {"contamination": 0.07, "max_samples": 0.5}),
    "bootstrap and columns": (DENSE, None, {"bootstrap": True, "max_features": 2}),
    "missing": (MISSING, None, {"contamination": 0.1}),
    "sparse": (SPARSE, None, {"contamination": 0.1}),
    "sparse, columns": (SPARSE, None, {"max_features": 0.7}),
    "weights": (DENSE, WEIGHTS, {"max_samples": 100}),
    "weights, bootstrap": (DENSE, WEIGHTS.astype(np.float32), {"bootstrap": True}),
    "names": (FRAME, None, {"max_features": 3}),
    "one row": (DENSE[:1], None, {}),
}


def fit(cls, name, n_estimators=8, **options):
    X, weights, params = FORESTS[name]
    return cls(n_estimators=n_estimators, random_state=5, **params, **options).fit(X, sample_weight=weights)


def fit_again(model, name, n_estimators):
    X, weights, _ = FORESTS[name]
    return model.set_params(n_estimators=n_estimators).fit(X, sample_weight=weights)


def assert_same_trees(ours, theirs):
    """Compare the parameters, the state and all attributes of fitted trees."""
    assert len(ours) == len(theirs)
    for index, (our_tree, their_tree) in enumerate(zip(ours, theirs, strict=True)):
        assert type(our_tree) is type(their_tree) is ExtraTreeRegressor
        assert our_tree.get_params() == their_tree.get_params(), index
        state, expected = our_tree.tree_.__getstate__(), their_tree.tree_.__getstate__()
        assert state.keys() == expected.keys()
        for key in ("max_depth", "node_count"):
            assert state[key] == expected[key], (index, key)
        assert state["nodes"].dtype == expected["nodes"].dtype
        for name in expected["nodes"].dtype.names:
            np.testing.assert_array_equal(state["nodes"][name], expected["nodes"][name], err_msg=f"{index} {name}")
        np.testing.assert_array_equal(state["values"], expected["values"], err_msg=str(index))
        attributes = {name: value for name, value in vars(their_tree).items() if name != "tree_"}
        assert {name: value for name, value in vars(our_tree).items() if name != "tree_"} == attributes
        assert our_tree.tree_.n_features == their_tree.tree_.n_features


@pytest.fixture(params=FORESTS)
def name(request):
    return request.param


def test_trees_equal_scikit_learns(name):
    ours, theirs = fit(IsolationForest, name), fit(SklearnForest, name)
    assert_same_trees(ours.estimators_, theirs.estimators_)
    assert ours.estimator_.get_params() == {**theirs.estimators_[0].get_params(), "random_state": 5}
    assert ours.estimators_ is ours.estimators_


def test_trees_after_a_warm_start(name):
    ours, theirs = fit(IsolationForest, name, warm_start=True), fit(SklearnForest, name, warm_start=True)
    first = list(ours.estimators_)
    for n_estimators in (11, 14):
        fit_again(ours, name, n_estimators)
        fit_again(theirs, name, n_estimators)
        assert all(now is before for now, before in zip(ours.estimators_, first, strict=False))
        assert_same_trees(ours.estimators_, theirs.estimators_)
    ours.set_params(warm_start=False)
    fit_again(ours, name, 3)
    assert len(ours.estimators_) == 3
    assert ours.estimators_[0] is not first[0]


def test_trees_of_a_random_state_instance_equal_scikit_learns():
    ours, theirs = IsolationForest(n_estimators=5), SklearnForest(n_estimators=5)
    for forest in (ours, theirs):
        forest.set_params(random_state=np.random.RandomState(3)).fit(DENSE)
    assert_same_trees(ours.estimators_, theirs.estimators_)


def test_an_unfitted_forest_has_no_trees_and_cannot_be_converted():
    for name in ("estimators_", "estimator_", "estimators_samples_", "estimators_features_"):
        assert not hasattr(IsolationForest(), name)
    with pytest.raises(NotFittedError):
        IsolationForest().to_sklearn()


def test_to_sklearn_returns_the_model_of_scikit_learn(name):
    X = FORESTS[name][0]
    ours, theirs = fit(IsolationForest, name), fit(SklearnForest, name)
    model = ours.to_sklearn()
    assert type(model) is SklearnForest
    assert model.get_params() == theirs.get_params()
    assert vars(model).keys() >= {name for name in vars(theirs) if name.endswith("_")}
    assert_same_trees(model.estimators_, theirs.estimators_)
    for converted in (model, pickle.loads(pickle.dumps(model))):
        assert_same_forest(ours, converted)
        assert_same_scores(ours, converted, X)
    assert clone(model).get_params() == model.get_params()


@pytest.mark.slow
def test_a_converted_model_continues_a_warm_start(name):
    X = FORESTS[name][0]
    theirs = fit_again(fit(SklearnForest, name, warm_start=True), name, 12)
    ours = fit(IsolationForest, name, warm_start=True)
    model = fit_again(ours.to_sklearn(), name, 12)
    assert_same_trees(model.estimators_, theirs.estimators_)
    np.testing.assert_array_equal(model.score_samples(X), theirs.score_samples(X))
    assert model.offset_ == theirs.offset_
    # The forest from which the model was made still has its own trees only.
    assert len(ours.estimators_) == ours._fitted.native.n_trees == 8


def test_from_sklearn_returns_an_equal_forest(name):
    X = FORESTS[name][0]
    theirs = fit(SklearnForest, name)
    ours = IsolationForest.from_sklearn(theirs)
    assert type(ours) is IsolationForest
    assert ours.get_params() == theirs.get_params()
    assert_same_forest(ours, theirs)
    assert_same_scores(ours, theirs, X)
    assert_same_trees(ours.estimators_, theirs.estimators_)
    assert ours.estimator_.get_params() == {**theirs.estimators_[0].get_params(), "random_state": 5}
    copied = pickle.loads(pickle.dumps(ours))
    assert_same_forest(copied, theirs)
    assert_same_scores(copied, theirs, X)


def test_a_forest_from_sklearn_continues_a_warm_start(name):
    X = FORESTS[name][0]
    theirs = fit(SklearnForest, name, warm_start=True)
    ours = IsolationForest.from_sklearn(theirs)
    for n_estimators in (11, 14):
        fit_again(ours, name, n_estimators)
        fit_again(theirs, name, n_estimators)
        assert_same_forest(ours, theirs)
        assert_same_scores(ours, theirs, X)
        assert_same_trees(ours.estimators_, theirs.estimators_)


def test_from_sklearn_after_a_warm_start(name):
    """scikit-learn does not keep the seeds of trees before its last fit, so these are None; all else is equal."""
    X = FORESTS[name][0]
    theirs = fit_again(fit(SklearnForest, name, warm_start=True), name, 12)
    ours = IsolationForest.from_sklearn(theirs)
    assert_same_forest(ours, theirs)
    assert_same_scores(ours, theirs, X)
    assert [tree.random_state for tree in ours.estimators_[:8]] == [None] * 8
    assert_same_trees(ours.estimators_[8:], theirs.estimators_[8:])


def test_converting_to_sklearn_and_back_gives_an_equal_forest(name):
    X = FORESTS[name][0]
    forest = fit(IsolationForest, name)
    converted = IsolationForest.from_sklearn(forest.to_sklearn())
    assert converted.get_params() == forest.get_params()
    assert_same_arrays(converted.estimators_samples_, forest.estimators_samples_)
    assert_same_trees(converted.estimators_, forest.estimators_)
    np.testing.assert_array_equal(converted.decision_function(X), forest.decision_function(X))


def test_from_sklearn_reads_a_subclass_with_another_constructor():
    class Mine(SklearnForest):
        def __init__(self, trees=4):
            super().__init__(n_estimators=trees, random_state=2, contamination=0.1)
            self.trees = trees

    theirs = Mine().fit(DENSE)
    ours = IsolationForest.from_sklearn(theirs)
    assert (ours.n_estimators, ours.contamination) == (4, 0.1)
    assert_same_scores(ours, theirs, DENSE)


@pytest.mark.parametrize("other", [IsolationForest().fit(DENSE), RandomForestRegressor(), None, SklearnForest, "model"])
def test_other_objects_are_refused(other):
    with pytest.raises(TypeError, match=r"must be a fitted sklearn\.ensemble\.IsolationForest"):
        IsolationForest.from_sklearn(other)


def test_an_unfitted_model_is_refused():
    with pytest.raises(NotFittedError):
        IsolationForest.from_sklearn(SklearnForest())


def test_trees_in_another_numbering_are_refused():
    model = fit(SklearnForest, "default")
    # The left and the right child of each node are exchanged.
    tree = model.estimators_[3].tree_
    state = tree.__getstate__()
    left = state["nodes"]["left_child"].copy()
    state["nodes"]["left_child"], state["nodes"]["right_child"] = state["nodes"]["right_child"].copy(), left
    tree.__setstate__(state)
    with pytest.raises(ValueError, match="tree 3 of model is not numbered depth first"):
        IsolationForest.from_sklearn(model)


def test_from_sklearn_of_a_subclass_returns_the_subclass():
    class Mine(IsolationForest):
        pass

    assert type(Mine.from_sklearn(fit(SklearnForest, "default"))) is Mine


def ours_and_loaded(name):
    """Return a forest, and the same forest loaded from a file without the noise values, as scikit-learn's models."""
    forest = fit(IsolationForest, name)
    loaded = IsolationForest.from_bytes(forest.to_bytes())
    assert np.isnan(loaded.estimators_[0].tree_.value).all()
    return forest.to_sklearn(), loaded.to_sklearn()


@pytest.mark.parametrize("name", ["default", "bootstrap and columns", "names"])
def test_shap_values_equal_those_of_scikit_learns_model(name):
    X = FORESTS[name][0][:20]
    ours = fit(IsolationForest, name)
    models = [fit(SklearnForest, name), *ours_and_loaded(name), ours, pickle.loads(pickle.dumps(ours))]
    expected, *values = (shap.TreeExplainer(model).shap_values(X) for model in models)
    assert np.abs(expected).max() > 0
    for actual in values:
        np.testing.assert_array_equal(actual, expected)


# The converter refuses scikit-learn's forests too if their trees draw columns.
@pytest.mark.parametrize("name", ["default", "contamination", "weights, bootstrap"])
def test_onnx_models_give_equal_scores(name):
    X = DENSE.astype(np.float32)
    forest = fit(IsolationForest, name)
    for ours in ours_and_loaded(name):
        model = skl2onnx.to_onnx(ours, X[:1], target_opset={"": 18, "ai.onnx.ml": 3})
        session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        labels, scores = session.run(None, {session.get_inputs()[0].name: X})
        np.testing.assert_array_equal(labels.ravel(), forest.predict(X))
        # ONNX computes depths, c(n) and the power in float32, so there are several rounding errors of 2**-24.
        np.testing.assert_allclose(scores.ravel(), forest.decision_function(X), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["default", "contamination", "missing"])
def test_treelite_models_give_equal_predictions(name):
    X = FORESTS[name][0].astype(np.float32)
    models = [fit(SklearnForest, name), *ours_and_loaded(name), fit(IsolationForest, name)]
    expected, *predictions = (treelite.gtil.predict(treelite.sklearn.import_model(model), X) for model in models)
    assert np.ptp(expected) > 0
    for actual in predictions:
        np.testing.assert_array_equal(actual, expected)


def test_copies_share_the_trees_and_nothing_that_changes():
    X = np.random.default_rng(0).normal(size=(200, 3))
    forest = IsolationForest(random_state=0, contamination=0.1, warm_start=True).fit(X)
    offset, trees = forest.offset_, forest.estimators_
    twin = copy.copy(forest)
    assert twin._fitted is forest._fitted
    twin.recalibrate(X, contamination=0.01)
    twin.set_params(n_estimators=120).fit(X)
    assert len(twin.estimators_) == 120
    assert (forest.offset_, forest.contamination, forest.n_estimators) == (offset, 0.1, 100)
    assert len(forest.estimators_) == len(trees) == 100


# The names of scikit-learn's class

#: Private names with which scikit-learn's base classes grow and score, which docs/compatibility.md lists, and names of
#: ABCMeta.
INTERNAL = {
    *("_compute_chunked_score_samples", "_compute_score_samples", "_get_estimator", "_get_estimators_indices"),
    *("_make_estimator", "_parallel_args", "_score_samples", "_set_oob_score", "_validate_estimator", "_validate_y"),
    *("__abstractmethods__", "_abc_impl"),
}
#: Attributes of scikit-learn's base class that look like parameters but are none of an isolation forest.
BASE_ATTRIBUTES = {"bootstrap_features": False, "estimator": None, "estimator_params": (), "oob_score": False}


def both(name="names", **options):
    return fit(IsolationForest, name, **options), fit(SklearnForest, name, **options)


def test_every_name_of_scikit_learn_exists():
    """If a later scikit-learn adds a name, provide it, or list it in `INTERNAL` and in docs/compatibility.md."""
    pairs = [(IsolationForest, SklearnForest), (IsolationForest(), SklearnForest()), both("names"), both("missing")]
    for ours, theirs in pairs:
        missing = {*dir(theirs)} - {*dir(ours)}
        assert {name for name in missing if not name.startswith("_")} == set()
        assert missing <= INTERNAL
    # A fitted forest also has every attribute, including private ones.
    ours, theirs = both("names")
    assert vars(theirs).keys() <= {*dir(ours)}


def test_the_list_of_internal_names_has_no_unneeded_entries():
    assert {*dir(SklearnForest)} >= INTERNAL
    assert not {*dir(IsolationForest)} & INTERNAL


def test_the_page_on_compatibility_lists_the_missing_names():
    page = (pathlib.Path(__file__).parents[3] / "docs" / "compatibility.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| private methods \|.*$", page, re.MULTILINE)
    assert {name for name in INTERNAL if "abc" not in name and "abstract" not in name} == set(
        re.findall(r"`(\w+)`", row)
    )


def parameters(method):
    """Return the names, kinds and defaults of the parameters, without `*args` and `**kwargs`."""
    all_parameters = inspect.signature(method).parameters.values()
    return [(p.name, p.kind, p.default) for p in all_parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def test_signatures_equal_scikit_learns():
    """Public methods have the same parameters in the same order with the same defaults."""
    for name in dir(SklearnForest):
        theirs, ours = getattr(SklearnForest, name), getattr(IsolationForest, name, None)
        if callable(theirs) and (not name.startswith("_") or name == "__init__"):
            assert parameters(ours) == parameters(theirs), name


def outcome(call, forest):
    """Return the result of a call, or the type and the message of its exception."""
    try:
        return call(forest)
    except Exception as error:
        return type(error), str(error)


#: Operations of a list, which raise the same exceptions as for a list.
LIST_OPERATIONS = {
    "length": len,
    "truth": bool,
    "an index out of range": lambda f: f[8],
    "an index out of range below": lambda f: f[-9],
    "a float": lambda f: f[1.0],
    "a string": lambda f: f["trees"],
    "None": lambda f: f[None],
    "two indices": lambda f: f[0, 1],
    "an array": lambda f: f[np.array([0, 1])],
    "a step of zero": lambda f: f[::0],
    "assignment": lambda f: operator.setitem(f, 0, None),
    "deletion": lambda f: operator.delitem(f, 0),
}


@pytest.mark.parametrize("operation", LIST_OPERATIONS)
def test_a_forest_is_read_as_a_list_of_trees(operation):
    ours, theirs = both("default")
    assert outcome(LIST_OPERATIONS[operation], ours) == outcome(LIST_OPERATIONS[operation], theirs)


def test_indexing_and_slicing_return_the_trees():
    ours, theirs = both("default")
    assert len(ours) == len(theirs) == len(ours.estimators_) == 8
    for index in (0, 7, -1, -8, np.int64(3), True):
        assert ours[index] is ours.estimators_[index]
    for part in (slice(None), slice(2, 5), slice(None, None, -3), slice(100, None), slice(-3, None)):
        assert type(ours[part]) is list
        assert_same_trees(ours[part], theirs[part])
    assert list(ours) == list(iter(ours)) == ours.estimators_
    assert list(reversed(ours)) == ours.estimators_[::-1]
    assert ours[3] in ours
    assert theirs[3] not in ours
    first, *_, last = ours
    assert (first, last) == (ours[0], ours[-1])
    trees = [tree.tree_.n_leaves for tree in ours]
    assert trees == [tree.tree_.n_leaves for tree in theirs]


def test_len_makes_no_trees():
    ours = fit(IsolationForest, "default")
    assert len(ours) == 8
    assert bool(ours)
    assert ours._fitted.estimators == []


def test_lengths_after_a_warm_start():
    ours, theirs = both("default", warm_start=True)
    assert len(fit_again(ours, "default", 12)) == len(fit_again(theirs, "default", 12)) == 12
    assert len(IsolationForest.from_bytes(ours.to_bytes())) == len(pickle.loads(pickle.dumps(ours))) == 12


UNFITTED_OPERATIONS = {"len": len, "iter": iter, "index": lambda f: f[0], "slice": lambda f: f[:], "list": list}


@pytest.mark.parametrize("operation", UNFITTED_OPERATIONS)
def test_an_unfitted_forest_has_no_trees(operation):
    """Both raise an AttributeError; ours is also a NotFittedError, whose message says what to do."""
    for forest in (IsolationForest(), SklearnForest()):
        with pytest.raises(AttributeError):
            UNFITTED_OPERATIONS[operation](forest)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        UNFITTED_OPERATIONS[operation](IsolationForest())


def test_a_forest_is_always_true():
    """`bool` of an unfitted forest raises in scikit-learn; docs/compatibility.md lists the difference."""
    assert IsolationForest()
    assert fit(IsolationForest, "default")
    with pytest.raises(AttributeError):
        bool(SklearnForest())


def test_attributes_of_the_base_class_are_equal_and_read_only():
    for ours, theirs in ((IsolationForest(), SklearnForest()), both("default")):
        for name, value in BASE_ATTRIBUTES.items():
            assert getattr(ours, name) == getattr(theirs, name) == value
            assert type(getattr(ours, name)) is type(getattr(theirs, name))
            # Setting them would have no effect, so it is refused.
            with pytest.raises(AttributeError):
                setattr(ours, name, value)
            assert name not in ours.get_params()


def test_a_fitted_forest_has_the_attributes_of_scikit_learns(name):
    """A fitted forest has all attributes that scikit-learn sets, including private ones, because tools read them."""
    ours, theirs = fit(IsolationForest, name), fit(SklearnForest, name)
    for attribute, expected in vars(theirs).items():
        actual = getattr(ours, attribute)
        assert type(actual) is type(expected), attribute
        if attribute == "estimator_":
            assert actual.get_params() == expected.get_params()
        elif attribute == "estimators_":
            assert_same_trees(actual, expected)
        elif isinstance(expected, (list, tuple)):
            assert_same_arrays(actual, expected)
        else:
            np.testing.assert_array_equal(actual, expected, err_msg=attribute)


def test_private_attributes_do_not_exist_before_a_fit():
    for name in ("_max_samples", "_average_path_length_per_tree", "_decision_path_lengths"):
        assert not hasattr(IsolationForest(), name)
