"""Test the conversion of forests that other versions of scikit-learn fitted and pickled (fixtures/README.md)."""

import pathlib
import pickle
import warnings

import numpy as np
import pytest
import sklearn
from sklearn.exceptions import InconsistentVersionWarning

from isoxide import IsolationForest

pytestmark = pytest.mark.parity

FILES = sorted((pathlib.Path(__file__).parents[1] / "fixtures").glob("sklearn-*.pkl"))
VERSIONS = ["1.3.2", "1.4.2", "1.5.2", "1.6.1", "1.7.2", "1.8.0", "1.9.1"]
#: Names of the forests in each pickle.
NAMES = ["plain", "columns", "weights", "missing"]


def load(path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        content = pickle.loads(path.read_bytes())
    return content, [warning.category for warning in caught]


FORESTS = {f"{path.stem}-{name}": forest for path in FILES for name, forest in load(path)[0]["forests"].items()}


@pytest.fixture(params=FORESTS)
def fixture(request):
    return FORESTS[request.param]


def test_every_version_has_its_forests():
    assert [path.stem.removeprefix("sklearn-") for path in FILES] == VERSIONS
    # scikit-learn accepts missing values from 1.6 on, so three versions have no such forest.
    assert len(FORESTS) == len(VERSIONS) * len(NAMES) - 3


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_unpickling_warns_only_about_the_version(path):
    content, categories = load(path)
    is_same_version = content["versions"]["scikit-learn"] == sklearn.__version__
    assert set(categories) == (set() if is_same_version else {InconsistentVersionWarning})


def test_scores_equal_those_of_the_model(fixture):
    """The model scores with the installed scikit-learn and NumPy."""
    model, X = fixture["model"], fixture["X"]
    forest = IsolationForest.from_sklearn(model)
    for method in ("score_samples", "decision_function", "predict"):
        np.testing.assert_array_equal(getattr(forest, method)(X), getattr(model, method)(X), err_msg=method)
    unseen = np.random.default_rng(0).normal(size=(100, 4)) * 20
    np.testing.assert_array_equal(forest.score_samples(unseen), model.score_samples(unseen))


def test_results_equal_those_of_the_version_that_fitted(fixture):
    """Path lengths are compared, not scores: the last bit of NumPy's power differs between versions."""
    forest = IsolationForest.from_sklearn(fixture["model"])
    np.testing.assert_array_equal(forest._fitted.native.depth_sums(fixture["X"], 1), fixture["depth_sums"])
    np.testing.assert_array_equal(forest.predict(fixture["X"]), fixture["predict"])
    assert forest.offset_ == fixture["offset"]
    np.testing.assert_array_equal(forest.estimators_samples_, fixture["samples"])


def test_parameters_attributes_and_trees_equal_those_of_the_model(fixture):
    model = fixture["model"]
    forest = IsolationForest.from_sklearn(model)
    assert forest.get_params() == model.get_params()
    assert forest.max_samples_ == model.max_samples_
    assert forest.n_features_in_ == model.n_features_in_
    np.testing.assert_array_equal(forest.estimators_features_, model.estimators_features_)
    for our_tree, their_tree in zip(forest.estimators_, model.estimators_, strict=True):
        # A tree of 1.3 lacks a parameter that came with 1.4.
        params = {name: value for name, value in our_tree.get_params().items() if hasattr(their_tree, name)}
        assert params.items() >= {"max_depth": 5, "max_features": 1, "splitter": "random"}.items()
        assert params == {name: getattr(their_tree, name) for name in params}
        state, expected = our_tree.tree_.__getstate__(), their_tree.tree_.__getstate__()
        assert state["max_depth"] == expected["max_depth"]
        np.testing.assert_array_equal(state["values"], expected["values"])
        for name in expected["nodes"].dtype.names:
            np.testing.assert_array_equal(state["nodes"][name], expected["nodes"][name], err_msg=name)


def test_converting_to_scikit_learn_and_back_changes_no_result(fixture):
    X = fixture["X"]
    forest = IsolationForest.from_sklearn(fixture["model"])
    model = forest.to_sklearn()
    converted = IsolationForest.from_sklearn(model)
    for other in (model, converted):
        np.testing.assert_array_equal(other.score_samples(X), forest.score_samples(X))
        assert other.offset_ == forest.offset_
    np.testing.assert_array_equal(converted._fitted.native.depth_sums(X, 1), fixture["depth_sums"])
