"""Forests that other versions of scikit-learn fitted and pickled, taken over; see fixtures/README.md."""

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
KINDS = ["plain", "columns", "weights", "missing"]


def load(path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        content = pickle.loads(path.read_bytes())
    return content, [warning.category for warning in caught]


FORESTS = {f"{path.stem}-{kind}": forest for path in FILES for kind, forest in load(path)[0]["forests"].items()}


@pytest.fixture(params=FORESTS)
def fixture(request):
    return FORESTS[request.param]


def test_there_are_fixtures():
    assert [path.stem.removeprefix("sklearn-") for path in FILES] == VERSIONS
    # Missing values are taken from 1.6 on.
    assert len(FORESTS) == len(VERSIONS) * len(KINDS) - 3


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_only_the_version_is_warned_of(path):
    content, categories = load(path)
    same = content["versions"]["scikit-learn"] == sklearn.__version__
    assert set(categories) == (set() if same else {InconsistentVersionWarning})


def test_scores_are_those_of_the_model(fixture):
    """Of the model in the scikit-learn that is installed, with the NumPy that is installed, exactly."""
    model, X = fixture["model"], fixture["X"]
    forest = IsolationForest.from_sklearn(model)
    for method in ("score_samples", "decision_function", "predict"):
        np.testing.assert_array_equal(getattr(forest, method)(X), getattr(model, method)(X), err_msg=method)
    unseen = np.random.default_rng(0).normal(size=(100, 4)) * 20
    np.testing.assert_array_equal(forest.score_samples(unseen), model.score_samples(unseen))


def test_results_are_those_of_the_version_that_fitted(fixture):
    """Path lengths rather than scores: the power is NumPy's, whose last bit differs between its versions."""
    forest = IsolationForest.from_sklearn(fixture["model"])
    np.testing.assert_array_equal(forest._fitted.native.depth_sums(fixture["X"], 1), fixture["depth_sums"])
    np.testing.assert_array_equal(forest.predict(fixture["X"]), fixture["predict"])
    assert forest.offset_ == fixture["offset"]
    np.testing.assert_array_equal(forest.estimators_samples_, fixture["samples"])


def test_what_is_known_of_the_model_is_kept(fixture):
    model = fixture["model"]
    forest = IsolationForest.from_sklearn(model)
    assert forest.get_params() == model.get_params()
    assert forest.max_samples_ == model.max_samples_
    assert forest.n_features_in_ == model.n_features_in_
    np.testing.assert_array_equal(forest.estimators_features_, model.estimators_features_)
    for mine, theirs in zip(forest.estimators_, model.estimators_, strict=True):
        # A tree of 1.3 lacks a parameter that came with 1.4.
        params = {name: value for name, value in mine.get_params().items() if hasattr(theirs, name)}
        assert params.items() >= {"max_depth": 5, "max_features": 1, "splitter": "random"}.items()
        assert params == {name: getattr(theirs, name) for name in params}
        ours, other = mine.tree_.__getstate__(), theirs.tree_.__getstate__()
        assert ours["max_depth"] == other["max_depth"]
        np.testing.assert_array_equal(ours["values"], other["values"])
        for name in other["nodes"].dtype.names:
            np.testing.assert_array_equal(ours["nodes"][name], other["nodes"][name], err_msg=name)


def test_there_and_back_again(fixture):
    X = fixture["X"]
    forest = IsolationForest.from_sklearn(fixture["model"])
    model = forest.to_sklearn()
    again = IsolationForest.from_sklearn(model)
    for one in (model, again):
        np.testing.assert_array_equal(one.score_samples(X), forest.score_samples(X))
        assert one.offset_ == forest.offset_
    np.testing.assert_array_equal(again._fitted.native.depth_sums(X, 1), fixture["depth_sums"])
