"""Test `TreeExplainer` against shap: the same values, shapes and attributes, and shap's plots of the results."""
# ruff: noqa: PD011 (`values` belongs to Explanation here, not to pandas)

import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn.ensemble
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import isoxide

pytestmark = pytest.mark.current_versions(reason="shap needs a current version of scikit-learn")

with warnings.catch_warnings():
    # shap uses a function that matplotlib will remove.
    warnings.simplefilter("ignore", PendingDeprecationWarning)
    import shap

NAMES = ["logins", "bytes", "hour"]


@pytest.fixture(scope="module")
def frame(seed):
    X = np.random.default_rng(seed).normal(size=(400, 3))
    X[0, 1], X[1, 2] = 15, -15
    # shap does not round to float32, as trees do.
    return pd.DataFrame(X.astype(np.float32), columns=NAMES)


@pytest.fixture(scope="module", params=["isoxide", "sklearn"])
def forest(request, frame):
    cls = isoxide.IsolationForest if request.param == "isoxide" else sklearn.ensemble.IsolationForest
    return cls(n_estimators=50, random_state=0).fit(frame)


@pytest.fixture(scope="module")
def theirs(frame):
    return shap.TreeExplainer(sklearn.ensemble.IsolationForest(n_estimators=50, random_state=0).fit(frame))


def test_values_are_those_of_shap(forest, theirs, frame):
    ours = isoxide.TreeExplainer(forest)
    assert isinstance(ours.model, isoxide.IsolationForest)
    unnamed = isoxide.TreeExplainer(type(forest)(n_estimators=50, random_state=0).fit(frame.to_numpy()))
    rows = frame[:50]
    for explainer, X in ((ours, rows), (ours, rows.iloc[3]), (unnamed, rows.to_numpy()), (unnamed, [*rows.iloc[3]])):
        actual, expected = explainer.shap_values(X), theirs.shap_values(np.asarray(X))
        assert actual.shape == expected.shape
        assert_allclose(actual, expected, rtol=0, atol=1e-9 * np.abs(expected).max())
    assert ours.expected_value.shape == theirs.expected_value.shape == (1,)
    assert_allclose(ours.expected_value, theirs.expected_value, rtol=1e-12)


def test_calls_return_what_shap_returns(forest, theirs, frame):
    actual, expected = isoxide.TreeExplainer(forest)(frame[:20]), theirs(frame[:20])
    assert type(actual) is type(expected)
    assert_allclose(actual.values, expected.values, rtol=0, atol=1e-9)
    assert_allclose(actual.base_values, expected.base_values, rtol=1e-12)
    assert_array_equal(actual.data, expected.data)
    assert list(actual.feature_names) == list(expected.feature_names) == NAMES


def test_names_of_features(forest, frame):
    explainer = isoxide.TreeExplainer(forest, feature_names=["a", "b", "c"])
    assert explainer.feature_names == ["a", "b", "c"]
    assert explainer(frame[:2]).feature_names == ["a", "b", "c"]
    assert isoxide.TreeExplainer(forest).feature_names == NAMES
    with pytest.raises(ValueError, match="feature_names has 2 names for 3 features"):
        isoxide.TreeExplainer(forest, feature_names=["a", "b"])


@pytest.mark.not_parallel(reason="it starts a process")
def test_without_shap_the_explanation_is_ours():
    code = """
import sys
from isoxide import Explanation, IsolationForest, TreeExplainer
X = [[1.0, 2.0], [2.0, 1.0], [90.0, 1.0]]
explanation = TreeExplainer(IsolationForest(random_state=0).fit(X))(X)
assert type(explanation) is Explanation and explanation.output == "path_length" and "shap" not in sys.modules
print(explanation)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "Explanation(3 rows, 2 features, output='path_length')\n"


def drawn_bars(axes):
    return [text.get_text() for text in axes.get_yticklabels()]


@pytest.mark.thread_unsafe(reason="pyplot's figures are the whole process's")
@pytest.mark.parametrize("plot", ["waterfall", "beeswarm", "bar"])
@pytest.mark.parametrize("source", ["TreeExplainer", "log2"])
def test_plots_of_shap(forest, frame, plot, source):
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    if source == "TreeExplainer":
        explanation = isoxide.TreeExplainer(forest)(frame[:100])
    else:
        explanation = isoxide.TreeExplainer(forest).model.explain(frame[:100]).to_shap()
    getattr(shap.plots, plot)(explanation[0] if plot == "waterfall" else explanation, show=False)
    axes = plt.gcf().axes[0]
    plt.gcf().canvas.draw()
    labels = " ".join(drawn_bars(axes))
    assert all(name in labels for name in NAMES)
    plt.close("all")


def test_signs_in_explanations_of_shap(forest, frame):
    """A high and a low value make a row more anomalous: fewer splits, and a higher logarithm of the anomaly score."""
    explainer = isoxide.TreeExplainer(forest)
    for row, feature in ((0, 1), (1, 2)):
        assert explainer(frame)[row].values[feature] < -0.5
        assert explainer(frame)[row].values.argmin() == feature
        assert explainer.model.explain(frame).to_shap()[row].values[feature] > 0.05
        assert explainer.model.explain(frame).to_shap()[row].values.argmax() == feature


def test_one_row_of_an_explanation_of_shap(forest, frame):
    row = isoxide.TreeExplainer(forest).model.explain(frame)[0]
    assert_array_equal(row.to_shap().values, row.values)
    assert row.to_shap().base_values == row.base_values


def test_other_models_are_refused(forest, frame):
    with pytest.raises(
        TypeError, match=r"isolation forests of isoxide and scikit-learn, got Pipeline; give the forest"
    ):
        isoxide.TreeExplainer(make_pipeline(StandardScaler(), forest))
    for other in (sklearn.ensemble.RandomForestClassifier(), "model", None, sklearn.ensemble.IsolationForest):
        with pytest.raises(TypeError, match=r"use shap\.TreeExplainer for other models"):
            isoxide.TreeExplainer(other)
    for unfitted in (isoxide.IsolationForest(), sklearn.ensemble.IsolationForest()):
        with pytest.raises(NotFittedError):
            isoxide.TreeExplainer(unfitted)


def test_what_is_not_computed_is_refused(forest, frame):
    with pytest.raises(ValueError, match="data must be None: interventional values need a background table"):
        isoxide.TreeExplainer(forest, frame)
    with pytest.raises(ValueError, match="model_output must be 'raw', got 'probability'"):
        isoxide.TreeExplainer(forest, model_output="probability")
    with pytest.raises(ValueError, match="feature_perturbation must be 'auto' or 'tree_path_dependent', got 'interv"):
        isoxide.TreeExplainer(forest, feature_perturbation="interventional")
    with pytest.raises(ValueError, match="approximate must be False: the values are exact"):
        isoxide.TreeExplainer(forest, approximate=True)
    explainer = isoxide.TreeExplainer(forest)
    with pytest.raises(ValueError, match="tree_limit must be None, since all trees are explained, got 5"):
        explainer.shap_values(frame, tree_limit=5)
    with pytest.raises(ValueError, match="approximate must be False"):
        explainer.shap_values(frame, approximate=True)
    with pytest.raises(ValueError, match="interactions must be False"):
        explainer(frame, interactions=True)
    with pytest.raises(ValueError, match=r"2 features, but IsolationForest is expecting 3|feature names should match"):
        explainer.shap_values(frame[["logins", "hour"]])
