"""Fitted forests as scikit-learn's own objects, and taken over from them: every field equal."""

import copy
import pickle
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

with warnings.catch_warnings():
    # Its colour maps are made in a way that matplotlib is to give up.
    warnings.simplefilter("ignore", PendingDeprecationWarning)
    import shap

R = np.random.default_rng(0)
DENSE = np.column_stack([R.normal(size=300), R.poisson(2, 300), R.normal(size=300).round(1), R.exponential(50, 300)])
MISSING = np.where(R.random(DENSE.shape) < 0.2, np.nan, DENSE)
SPARSE = scipy.sparse.csr_array(np.where(DENSE > 1, DENSE, 0.0))
FRAME = pd.DataFrame(DENSE, columns=["a", "b", "c", "d"])
WEIGHTS = R.random(300)

#: Table, weights, parameters.
KINDS = {
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


def fit(cls, kind, n_estimators=8, **more):
    X, weights, params = KINDS[kind]
    return cls(n_estimators=n_estimators, random_state=5, **params, **more).fit(X, sample_weight=weights)


def grow_on(model, kind, n_estimators):
    X, weights, _ = KINDS[kind]
    return model.set_params(n_estimators=n_estimators).fit(X, sample_weight=weights)


def assert_same_trees(ours, theirs):
    """Everything that a fitted tree has."""
    assert len(ours) == len(theirs)
    for index, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        assert type(mine) is type(other) is ExtraTreeRegressor
        assert mine.get_params() == other.get_params(), index
        state, expected = mine.tree_.__getstate__(), other.tree_.__getstate__()
        assert state.keys() == expected.keys()
        for key in ("max_depth", "node_count"):
            assert state[key] == expected[key], (index, key)
        assert state["nodes"].dtype == expected["nodes"].dtype
        for name in expected["nodes"].dtype.names:
            np.testing.assert_array_equal(state["nodes"][name], expected["nodes"][name], err_msg=f"{index} {name}")
        np.testing.assert_array_equal(state["values"], expected["values"], err_msg=str(index))
        attributes = {name: value for name, value in vars(other).items() if name.endswith("_") and name != "tree_"}
        assert {name: getattr(mine, name) for name in attributes} == attributes
        assert mine.tree_.n_features == other.tree_.n_features


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def test_trees(kind):
    ours, theirs = fit(IsolationForest, kind), fit(SklearnForest, kind)
    assert_same_trees(ours.estimators_, theirs.estimators_)
    assert ours.estimator_.get_params() == {**theirs.estimators_[0].get_params(), "random_state": 5}
    assert ours.estimators_ is ours.estimators_


def test_trees_after_a_warm_start(kind):
    ours, theirs = fit(IsolationForest, kind, warm_start=True), fit(SklearnForest, kind, warm_start=True)
    first = list(ours.estimators_)
    for n_estimators in (11, 14):
        grow_on(ours, kind, n_estimators)
        grow_on(theirs, kind, n_estimators)
        assert all(now is before for now, before in zip(ours.estimators_, first, strict=False))
        assert_same_trees(ours.estimators_, theirs.estimators_)
    ours.set_params(warm_start=False)
    grow_on(ours, kind, 3)
    assert len(ours.estimators_) == 3
    assert ours.estimators_[0] is not first[0]


def test_trees_of_a_seed_that_is_a_stream():
    ours, theirs = IsolationForest(n_estimators=5), SklearnForest(n_estimators=5)
    for forest in (ours, theirs):
        forest.set_params(random_state=np.random.RandomState(3)).fit(DENSE)
    assert_same_trees(ours.estimators_, theirs.estimators_)


def test_trees_and_models_of_an_unfitted_forest():
    for name in ("estimators_", "estimator_", "estimators_samples_", "estimators_features_"):
        assert not hasattr(IsolationForest(), name)
    with pytest.raises(NotFittedError):
        IsolationForest().to_sklearn()


def test_to_sklearn(kind):
    X = KINDS[kind][0]
    ours, theirs = fit(IsolationForest, kind), fit(SklearnForest, kind)
    model = ours.to_sklearn()
    assert type(model) is SklearnForest
    assert model.get_params() == theirs.get_params()
    assert vars(model).keys() >= {name for name in vars(theirs) if name.endswith("_")}
    assert_same_trees(model.estimators_, theirs.estimators_)
    for one in (model, pickle.loads(pickle.dumps(model))):
        assert_same_forest(ours, one)
        assert_same_scores(ours, one, X)
    assert clone(model).get_params() == model.get_params()


def test_to_sklearn_goes_on_with_a_warm_start(kind):
    X = KINDS[kind][0]
    theirs = grow_on(fit(SklearnForest, kind, warm_start=True), kind, 12)
    ours = fit(IsolationForest, kind, warm_start=True)
    model = grow_on(ours.to_sklearn(), kind, 12)
    assert_same_trees(model.estimators_, theirs.estimators_)
    np.testing.assert_array_equal(model.score_samples(X), theirs.score_samples(X))
    assert model.offset_ == theirs.offset_
    # The forest that the model was made from has not grown with it.
    assert len(ours.estimators_) == ours._forest.n_trees == 8


def test_from_sklearn(kind):
    X = KINDS[kind][0]
    theirs = fit(SklearnForest, kind)
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


def test_from_sklearn_goes_on_with_a_warm_start(kind):
    X = KINDS[kind][0]
    theirs = fit(SklearnForest, kind, warm_start=True)
    ours = IsolationForest.from_sklearn(theirs)
    for n_estimators in (11, 14):
        grow_on(ours, kind, n_estimators)
        grow_on(theirs, kind, n_estimators)
        assert_same_forest(ours, theirs)
        assert_same_scores(ours, theirs, X)
        assert_same_trees(ours.estimators_, theirs.estimators_)


def test_from_sklearn_after_a_warm_start(kind):
    """Seeds of trees before the last fit are not kept by scikit-learn, and so not known; all else is."""
    X = KINDS[kind][0]
    theirs = grow_on(fit(SklearnForest, kind, warm_start=True), kind, 12)
    ours = IsolationForest.from_sklearn(theirs)
    assert_same_forest(ours, theirs)
    assert_same_scores(ours, theirs, X)
    assert [tree.random_state for tree in ours.estimators_[:8]] == [None] * 8
    assert_same_trees(ours.estimators_[8:], theirs.estimators_[8:])


def test_there_and_back_again(kind):
    X = KINDS[kind][0]
    forest = fit(IsolationForest, kind)
    again = IsolationForest.from_sklearn(forest.to_sklearn())
    assert again.get_params() == forest.get_params()
    assert_same_arrays(again.estimators_samples_, forest.estimators_samples_)
    assert_same_trees(again.estimators_, forest.estimators_)
    np.testing.assert_array_equal(again.decision_function(X), forest.decision_function(X))


@pytest.mark.parametrize("other", [IsolationForest().fit(DENSE), RandomForestRegressor(), None, SklearnForest, "model"])
def test_other_things_are_not_taken(other):
    with pytest.raises(TypeError, match=r"must be a fitted sklearn\.ensemble\.IsolationForest"):
        IsolationForest.from_sklearn(other)


def test_an_unfitted_model_is_not_taken():
    with pytest.raises(NotFittedError):
        IsolationForest.from_sklearn(SklearnForest())


def test_trees_in_another_numbering_are_not_taken():
    model = fit(SklearnForest, "default")
    # Left and right children change places.
    tree = model.estimators_[3].tree_
    state = tree.__getstate__()
    left = state["nodes"]["left_child"].copy()
    state["nodes"]["left_child"], state["nodes"]["right_child"] = state["nodes"]["right_child"].copy(), left
    tree.__setstate__(state)
    with pytest.raises(ValueError, match="tree 3 is not numbered depth first"):
        IsolationForest.from_sklearn(model)


def test_a_subclass_is_made_by_itself():
    class Mine(IsolationForest):
        pass

    assert type(Mine.from_sklearn(fit(SklearnForest, "default"))) is Mine


def ours_and_loaded(kind):
    """A forest, and the same from a file without what trees record of the noise target."""
    forest = fit(IsolationForest, kind)
    loaded = IsolationForest.from_bytes(forest.to_bytes())
    assert np.isnan(loaded.estimators_[0].tree_.value).all()
    return forest.to_sklearn(), loaded.to_sklearn()


@pytest.mark.parametrize("kind", ["default", "bootstrap and columns", "names"])
def test_shap(kind):
    X = KINDS[kind][0][:20]
    values = [shap.TreeExplainer(model).shap_values(X) for model in (*ours_and_loaded(kind), fit(SklearnForest, kind))]
    assert np.abs(values[0]).max() > 0
    np.testing.assert_array_equal(values[0], values[2])
    np.testing.assert_array_equal(values[1], values[2])


# The converter refuses scikit-learn's forests too if their trees draw columns.
@pytest.mark.parametrize("kind", ["default", "contamination", "weights, bootstrap"])
def test_onnx(kind):
    X = DENSE.astype(np.float32)
    forest = fit(IsolationForest, kind)
    for ours in ours_and_loaded(kind):
        model = skl2onnx.to_onnx(ours, X[:1], target_opset={"": 18, "ai.onnx.ml": 3})
        session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        labels, scores = session.run(None, {session.get_inputs()[0].name: X})
        np.testing.assert_array_equal(labels.ravel(), forest.predict(X))
        # ONNX computes depths, c(n) and the power in float32: some roundings of 2**-24 each.
        np.testing.assert_allclose(scores.ravel(), forest.decision_function(X), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["default", "contamination", "missing"])
def test_treelite(kind):
    X = KINDS[kind][0].astype(np.float32)
    predictions = [
        treelite.gtil.predict(treelite.sklearn.import_model(model), X)
        for model in (*ours_and_loaded(kind), fit(SklearnForest, kind))
    ]
    assert np.ptp(predictions[0]) > 0
    np.testing.assert_array_equal(predictions[0], predictions[2])
    np.testing.assert_array_equal(predictions[1], predictions[2])


def test_copies_share_the_trees_and_nothing_that_changes():
    X = np.random.default_rng(0).normal(size=(200, 3))
    forest = IsolationForest(random_state=0, contamination=0.1, warm_start=True).fit(X)
    offset, trees = forest.offset_, forest.estimators_
    twin = copy.copy(forest)
    assert twin._forest is forest._forest
    twin.recalibrate(X, contamination=0.01)
    twin.set_params(n_estimators=120).fit(X)
    assert len(twin.estimators_) == 120
    assert (forest.offset_, forest.contamination, forest.n_estimators) == (offset, 0.1, 100)
    assert len(forest.estimators_) == len(trees) == 100
