"""Test `IsolationForest.explain` and `importance`: sums, signs, containers, the largest contributions and refusals."""
# ruff: noqa: PD011 (`values` belongs to Explanation here, not to pandas)

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

from isoxide import IsolationForest, _core
from isoxide._forest.explain import _negative_sums

OUTPUTS = ["log2", "path_length"]
#: Sign of a contribution that makes a row more anomalous.
SIGNS = {"log2": 1, "path_length": -1}


@pytest.fixture(scope="module", name="X")
def table(seed):
    X = np.random.default_rng(seed).normal(size=(700, 6)).astype(np.float32).astype(np.float64)
    X[:, 4] = np.round(X[:, 4])
    X[::9, 1] = np.nan
    # Two rows that are ordinary in all features but one.
    X[:2] = 0
    X[0, 2], X[1, 3] = 20, -20
    return X


def grown(X, **parameters):
    return IsolationForest(n_estimators=40, random_state=1, **parameters).fit(X)


@pytest.fixture(scope="module")
def forest(X):
    return grown(X)


def path_lengths(forest, X):
    """Return the mean path length of each row, from its score."""
    c = -np.log2(-forest.score_samples(X))
    n = forest.max_samples_
    return c * (2 * (np.log(n - 1) + np.euler_gamma) - 2 * (n - 1) / n)


@pytest.mark.parametrize(
    "parameters",
    [{}, {"bootstrap": True}, {"max_features": 0.5}, {"max_samples": 17}, {"max_samples": 700, "contamination": 0.1}],
    ids=str,
)
def test_contributions_add_up_to_the_score(X, parameters):
    forest = grown(X, **parameters)
    explanation = forest.explain(X)
    total = explanation.values.sum(axis=1) + explanation.base_values
    assert_allclose(total, np.log2(-forest.score_samples(X)), rtol=0, atol=1e-12)
    explanation = forest.explain(X, output="path_length")
    assert_array_equal(explanation.values, forest.shap_values(X))
    assert_array_equal(explanation.base_values, np.full(len(X), forest.expected_value_))
    total = explanation.values.sum(axis=1) + explanation.base_values
    assert_allclose(total, path_lengths(forest, X), rtol=0, atol=1e-9)


def test_weights_and_warm_starts(X, seed):
    weight = np.random.default_rng(seed).uniform(size=len(X))
    forest = IsolationForest(n_estimators=10, random_state=0, warm_start=True).fit(X, sample_weight=weight)
    before = forest.explain(X)
    forest.set_params(n_estimators=20).fit(X, sample_weight=weight)
    after = forest.explain(X)
    assert np.abs(after.values - before.values).max() > 0.001
    total = after.values.sum(axis=1) + after.base_values
    assert_allclose(total, np.log2(-forest.score_samples(X)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("output", OUTPUTS)
def test_high_and_low_values_make_a_row_more_anomalous(forest, X, output):
    for row, feature in ((0, 2), (1, 3)):
        explanation = forest.explain(X, output=output)[row]
        contributions = explanation.values * SIGNS[output]
        assert contributions.argmax() == explanation.order[0] == feature
        assert contributions[feature] > 0.1
        assert explanation.share()[feature] > 0.5
        top = forest.explain(X, output=output, top=1)[row]
        assert top.indices.tolist() == [feature]
        assert top.values[0] == explanation.values[feature]


CONTAINERS = {
    "list": lambda X: X.tolist(),
    "Fortran order": np.asfortranarray,
    "float32": lambda X: X.astype(np.float32),
    "pandas": lambda X: pd.DataFrame(X, columns=[*"abcdef"]),
    "nullable": lambda X: pd.DataFrame(X, columns=[*"abcdef"]).astype({"b": "Float64", "e": "Int64"}),
    "pandas Arrow": lambda X: pd.DataFrame(X, columns=[*"abcdef"]).astype("float64[pyarrow]"),
    "polars": lambda X: pl.DataFrame(X, schema=[*"abcdef"], nan_to_null=True),
    "pyarrow": lambda X: pa.table(dict(zip("abcdef", X.T, strict=True))),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers(forest, X, container):
    table = CONTAINERS[container](X)
    if container not in ("list", "Fortran order", "float32"):
        forest = grown(table)
    explanation, expected = forest.explain(table), grown(X).explain(X)
    assert_array_equal(explanation.values, expected.values)
    assert_array_equal(explanation.data, X)
    assert_array_equal(forest.explain(table, top=2).values, grown(X).explain(X, top=2).values)
    assert_array_equal(forest.explain(table, top=2).data, grown(X).explain(X, top=2).data)
    assert_array_equal(forest.importance(table), grown(X).importance(X))
    assert (
        explanation.feature_names
        == getattr(forest, "feature_names_in_", np.array([f"x{j}" for j in range(6)])).tolist()
    )


@pytest.mark.parametrize("form", [scipy.sparse.csr_array, scipy.sparse.csc_matrix, scipy.sparse.coo_array])
def test_sparse(forest, X, form):
    dense = np.where(np.abs(np.nan_to_num(X)) > 1, np.nan_to_num(X), 0)
    for name in ("explain", "importance", "shap_values"):
        actual, expected = (getattr(forest, name)(table) for table in (form(dense), dense))
        assert_array_equal(np.asarray(actual), np.asarray(expected))


@pytest.mark.parametrize("top", [1, 3, 6, 100])
def test_the_largest_contributions_are_those_of_all(forest, X, top):
    everything = forest.explain(X)
    first = forest.explain(X, top=np.int32(top))
    kept = min(top, 6)
    assert_array_equal(first.indices, everything.order[:, :kept])
    assert_array_equal(first.values, np.take_along_axis(everything.values, first.indices, axis=1))
    assert_array_equal(first.share(), np.take_along_axis(everything.share(), first.indices, axis=1))
    assert_array_equal(first.base_values, everything.base_values)


@pytest.mark.parametrize("n_features", [1, 6, 40])
@pytest.mark.parametrize("n_workers", [1, 2])
def test_the_sums_of_the_core_have_the_bits_of_those_of_all_values(n_features, n_workers, seed):
    X = np.random.default_rng(seed).normal(size=(1100, n_features))
    forest = IsolationForest(n_estimators=30, random_state=0, max_features=0.7).fit(X)
    core = forest._fitted.native
    _, _, sums = core.top_shap_values(X, top=1, most_negative=True, n_workers=n_workers)
    assert_array_equal(sums, _negative_sums(core.shap_values(X, n_workers)))
    assert sums.min() < 0
    assert_array_equal(core.top_shap_values(X, top=1, most_negative=False, n_workers=n_workers)[2], sums)


@pytest.mark.parametrize("output", OUTPUTS)
def test_importance(forest, X, output):
    explanation = forest.explain(X, output=output)
    importance = forest.importance(X, output=output)
    assert_allclose(importance, np.abs(explanation.values).mean(axis=0), rtol=1e-12)
    assert_allclose(importance, explanation.importance(), rtol=1e-12)
    assert_array_equal(importance, forest.importance(X[::-1], output=output))
    unused = grown(np.column_stack([X, np.ones(len(X))])).importance(
        np.column_stack([X, np.ones(len(X))]), output=output
    )
    assert unused[-1] == 0
    assert (unused[:-1] > 0).all()


def test_importance_uses_the_unit_of_the_core(forest, X):
    sums = forest._fitted.native.shap_magnitude_sums(X[:1], 1)
    assert [total / 2**_core.Forest.MAGNITUDE_UNIT_BITS for total in sums] == pytest.approx(
        np.abs(forest.shap_values(X[:1]))[0], rel=1e-15
    )


def test_a_forest_of_one_row_explains_nothing():
    forest = IsolationForest(n_estimators=3, random_state=0).fit([[1.0, 2.0]])
    explanation = forest.explain([[1.0, 2.0], [5.0, np.nan]])
    assert_array_equal(explanation.values, np.zeros((2, 2)))
    assert_array_equal(explanation.base_values, np.log2(-forest.score_samples([[1.0, 2.0], [5.0, np.nan]])))
    assert_array_equal(forest.importance([[1.0, 2.0]]), [0, 0])


def test_bad_input(forest, X):
    for call in (IsolationForest().explain, IsolationForest().importance, IsolationForest().shap_values):
        with pytest.raises(NotFittedError):
            call(X)
    named = grown(pd.DataFrame(X, columns=[*"abcdef"]))
    for call in (forest.explain, forest.importance, forest.shap_values):
        with pytest.raises(ValueError, match="X has 5 features, but IsolationForest is expecting 6 features"):
            call(X[:, :5])
    for call in (named.explain, named.importance, named.shap_values):
        with pytest.raises(ValueError, match="The feature names should match those that were passed during fit"):
            call(pd.DataFrame(X, columns=[*"abcdeg"]))
    for output in ("log", None, 2, ["log2"]):
        with pytest.raises(ValueError, match="output must be one of 'log2', 'path_length', got "):
            forest.explain(X, output=output)
        with pytest.raises(ValueError, match="output must be one of 'log2', 'path_length', got "):
            forest.importance(X, output=output)
    for top in (0, -1):
        with pytest.raises(ValueError, match=f"top must be at least 1, got {top}; None keeps"):
            forest.explain(X, top=top)
    for top in (1.5, "3", True):
        with pytest.raises(TypeError, match="top must be an integer or None, got "):
            forest.explain(X, top=top)


def test_memory_that_is_not_there(forest):
    """A broadcast table takes no memory, but its contributions would take terabytes."""
    X = np.broadcast_to(np.zeros(6, dtype=np.float32), (10**12, 6))
    with pytest.raises(MemoryError, match="top="):
        forest.shap_values(X)
    with pytest.raises(MemoryError):
        forest.explain(X)
