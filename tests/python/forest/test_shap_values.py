"""Shapley values: equal to golden vectors and to shap, additive, and with the same bits for every form of the input."""

import copy
import json
import pathlib
import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from sklearn.ensemble import IsolationForest as SklearnForest
from sklearn.exceptions import NotFittedError

from isoxide import IsolationForest, _core
from isoxide._forest.path_length import average_path_length, average_path_lengths_up_to

pytestmark = pytest.mark.parity

GOLDEN = pathlib.Path(__file__).parents[2] / "golden" / "shapley"
FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures"


def rows(cells):
    """Return an array in which None is NaN."""
    return np.array(cells, dtype=float)


def mean_path_lengths(forest, X):
    """Return the mean path lengths of rows by their definition of the score."""
    c = average_path_length(np.array([forest.max_samples_]))[0]
    return -np.log2(-forest.score_samples(X)) * c


def assert_additive(forest, X):
    values = forest.shap_values(X)
    total = forest.expected_value_ + values.sum(axis=1)
    np.testing.assert_allclose(total, mean_path_lengths(forest, X), rtol=0, atol=1e-9)
    c = average_path_length(np.array([forest.max_samples_]))[0]
    np.testing.assert_allclose(-(2 ** (-total / c)), forest.score_samples(X), rtol=0, atol=1e-12)


def table(seed, n, d):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("*.json")))
def test_golden_vectors(name):
    golden = json.loads((GOLDEN / f"{name}.json").read_text())
    parameters = {**golden["parameters"]}
    weights = parameters.pop("sample_weight")
    forest = IsolationForest(**parameters).fit(rows(golden["fit"]), sample_weight=weights)
    X = rows(golden["X"])
    values = forest.shap_values(X)
    np.testing.assert_allclose(values, golden["values"], rtol=1e-12, atol=1e-12)
    assert forest.expected_value_ == pytest.approx(golden["expected_value"], rel=1e-13)
    lengths = forest.expected_value_ + values.sum(axis=1)
    np.testing.assert_allclose(lengths, golden["mean_path_length"], rtol=1e-12)
    np.testing.assert_allclose(
        -(2 ** (-lengths / golden["c_max_samples"])), golden["score_samples"], rtol=0, atol=1e-12
    )


@pytest.mark.slow
@pytest.mark.current_versions(reason="shap is not among the oldest versions")
@pytest.mark.parametrize(
    "d, parameters",
    [
        (2, {"max_samples": 1.0}),
        (10, {}),
        (50, {"n_estimators": 30}),
        (12, {"max_features": 0.5}),
        (6, {"warm_start": True}),
    ],
)
def test_shap_gives_the_same_values(d, parameters):
    shap = pytest.importorskip("shap")
    X = table(d, 400, d)
    forest = IsolationForest(random_state=1, **parameters).fit(X)
    if "warm_start" in parameters:
        forest.set_params(n_estimators=120).fit(X)
    rows = np.concatenate([X[:20], 3 * X[20:40]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        explainer = shap.TreeExplainer(forest.to_sklearn(), feature_perturbation="tree_path_dependent")
        expected = explainer.shap_values(rows)
    values = forest.shap_values(rows)
    assert np.abs(values - expected).max() <= 1e-9 * np.abs(expected).max()
    assert forest.expected_value_ == pytest.approx(float(np.ravel(explainer.expected_value)[0]), rel=1e-12)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"bootstrap": True},
        {"max_features": 0.4, "bootstrap": True},
        {"max_samples": 2},
        {"max_samples": 600, "n_estimators": 5},
    ],
    ids=str,
)
def test_values_add_up_to_the_score(parameters, seed):
    X = np.random.default_rng(seed).normal(size=(600, 7))
    X[:, 3] = np.round(X[:, 3])
    forest = IsolationForest(random_state=seed % 1000, **parameters).fit(X)
    assert_additive(forest, X[:50] * 2)


def test_values_add_up_to_the_score_where_values_are_missing_or_weighted(seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(300, 4))
    X[rng.random(X.shape) < 0.2] = np.nan
    assert_additive(IsolationForest(random_state=0).fit(X), X[:40])
    weights = rng.integers(0, 3, len(X)).astype(float)
    assert_additive(IsolationForest(max_samples=100, random_state=0).fit(X, sample_weight=weights), X[:40])


def test_every_form_of_a_table_gives_the_same_bits():
    X = table(0, 300, 5)
    X[X < 0] = np.round(X[X < 0])
    frame = pd.DataFrame(X, columns=list("abcde"))
    forest = IsolationForest(random_state=0).fit(frame)
    expected = forest.shap_values(frame)
    assert expected.shape == X.shape
    assert expected.dtype == np.float64
    assert expected.flags.c_contiguous
    forms = [
        frame.astype(float),
        frame.astype("Float64"),
        pl.DataFrame(frame),
    ]
    for form in forms:
        np.testing.assert_array_equal(forest.shap_values(form), expected)
    forest = IsolationForest(random_state=0).fit(X)
    wide = np.zeros((600, 10), dtype=np.float32)
    wide[::2, ::2] = X
    for form in [X, X.astype(float), np.asfortranarray(X), wide[::2, ::2], X.tolist(), X.astype(object)]:
        np.testing.assert_array_equal(forest.shap_values(form), expected)
    for form in [scipy.sparse.csr_matrix(X), scipy.sparse.csc_array(X.astype(float))]:
        np.testing.assert_array_equal(forest.shap_values(form), expected)
    pieces = [forest.shap_values(X[i : i + 77]) for i in range(0, 300, 77)]
    np.testing.assert_array_equal(np.concatenate(pieces), expected)
    for n_jobs in (1, 2, 4, -1):
        np.testing.assert_array_equal(forest.set_params(n_jobs=n_jobs).shap_values(X), expected)


def test_integers_and_float64_are_rounded_as_for_scores():
    X = np.random.default_rng(0).integers(-(2**40), 2**40, (200, 3))
    forest = IsolationForest(random_state=0).fit(X)
    expected = forest.shap_values(X.astype(np.float32))
    np.testing.assert_array_equal(forest.shap_values(X), expected)
    np.testing.assert_array_equal(forest.shap_values(X.astype(float)), expected)


def test_missing_values_of_sparse_rows_go_right():
    X = np.abs(table(0, 200, 4))
    X[X < 0.5] = 0
    forest = IsolationForest(random_state=0).fit(scipy.sparse.csr_array(X))
    rows = X[:30].copy()
    rows[rows > 1] = np.nan
    expected = forest.shap_values(np.where(np.isnan(rows), np.inf, rows))
    np.testing.assert_array_equal(forest.shap_values(scipy.sparse.csr_array(rows)), expected)


def test_copies_files_and_conversions_give_the_same_bits(tmp_path):
    X = table(3, 200, 6)
    forest = IsolationForest(random_state=0, bootstrap=True, max_features=4).fit(X)
    expected = forest.shap_values(X[:20])
    forest.save(tmp_path / "forest.safetensors")
    for other in (
        copy.copy(forest),
        copy.deepcopy(forest),
        pickle.loads(pickle.dumps(forest)),
        IsolationForest.load(tmp_path / "forest.safetensors"),
        IsolationForest.from_sklearn(forest.to_sklearn()),
        IsolationForest.from_sklearn(SklearnForest(random_state=0, bootstrap=True, max_features=4).fit(X)),
    ):
        np.testing.assert_array_equal(other.shap_values(X[:20]), expected)
        assert other.expected_value_ == forest.expected_value_


def test_a_warm_start_gives_the_values_of_all_trees():
    X = table(4, 300, 3)
    forest = IsolationForest(n_estimators=10, warm_start=True, random_state=0).fit(X)
    few = forest.shap_values(X[:9])
    forest.set_params(n_estimators=40).fit(X)
    at_once = IsolationForest(n_estimators=40, random_state=0).fit(X)
    np.testing.assert_array_equal(forest.shap_values(X[:9]), at_once.shap_values(X[:9]))
    assert (forest.shap_values(X[:9]) != few).any()


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_planted_high_and_low_values_make_rows_more_anomalous(unit):
    X = np.random.default_rng(0).normal(size=(500, 4)) * unit
    forest = IsolationForest(random_state=0).fit(X)
    planted = np.zeros((2, 4))
    planted[:, 2] = [8 * unit, -8 * unit]
    values = forest.shap_values(planted)
    assert (values.argmin(axis=1) == 2).all()
    assert (values[:, 2] < -1).all()
    assert (forest.score_samples(planted) < forest.score_samples(np.zeros((1, 4)))).all()


def test_columns_that_no_tree_uses_have_exactly_zero():
    X = table(5, 100, 5)
    X[:, 1] = 7
    values = IsolationForest(random_state=0).fit(X).shap_values(X)
    np.testing.assert_array_equal(values[:, 1].view(np.int64), 0)
    assert (values[:, 0] != 0).all()
    forest = IsolationForest(random_state=0, max_features=1, n_estimators=2).fit(table(5, 100, 5))
    used = np.concatenate(forest.estimators_features_)
    values = forest.shap_values(X)
    np.testing.assert_array_equal(values[:, [j for j in range(5) if j not in used]].view(np.int64), 0)
    assert (values[:, used] != 0).any(axis=0).all()


@pytest.mark.parametrize("n", [1, 2])
def test_tables_of_few_rows(n):
    forest = IsolationForest(random_state=0).fit(table(0, n, 1))
    values = forest.shap_values([[0.5]])
    assert values.shape == (1, 1)
    assert forest.expected_value_ == n - 1
    # One row makes trees of one leaf; two rows make a split, after which each is alone.
    np.testing.assert_array_equal(values, 0)


def test_the_first_values_and_exact_sums():
    X = table(6, 700, 8)
    native = IsolationForest(random_state=0).fit(X)._fitted.native
    values = native.shap_values(X, 1)
    for most_negative, key in ((True, values), (False, -np.abs(values))):
        columns, top, sums = native.top_shap_values(X, top=3, most_negative=most_negative, n_workers=2)
        expected = np.argsort(key, axis=1, kind="stable")[:, :3]
        np.testing.assert_array_equal(columns, expected)
        np.testing.assert_array_equal(top, np.take_along_axis(values, expected, axis=1))
        # Added in the order of the columns, as NumPy adds along the first axis.
        np.testing.assert_array_equal(sums, np.add.reduce(np.minimum(values, 0).T.copy(), axis=0))
    sums = native.shap_magnitude_sums(X, 2)
    parts = [native.shap_magnitude_sums(part, 1) for part in (X[:100], X[100:101], X[101:])]
    assert sums == [sum(column) for column in zip(*parts, strict=True)]
    np.testing.assert_allclose([total / 2**80 / len(X) for total in sums], np.abs(values).mean(axis=0), rtol=1e-12)
    for top in (0, 9):
        with pytest.raises(ValueError, match=rf"top must be in \[1, 8\], got {top}"):
            native.top_shap_values(X, top=top, most_negative=True, n_workers=1)


def test_the_same_refusals_as_for_scores():
    X = table(7, 50, 3)
    with pytest.raises(NotFittedError):
        IsolationForest().shap_values(X)
    with pytest.raises(NotFittedError):
        _ = IsolationForest().expected_value_
    assert not hasattr(IsolationForest(), "expected_value_")
    forest = IsolationForest(random_state=0).fit(pd.DataFrame(X, columns=list("abc")))
    for wrong in (X[:, :2], X[0], pd.DataFrame(X, columns=list("abz")), [["x", 1, 2]], np.zeros((0, 3)), None):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises((ValueError, TypeError)) as scoring:
                forest.score_samples(wrong)
            with pytest.raises(type(scoring.value)) as explaining:
                forest.shap_values(wrong)
        assert str(explaining.value) == str(scoring.value)


def test_memory_for_the_values_is_asked_for_first():
    native = IsolationForest(random_state=0).fit(table(8, 20, 2))._fitted.native
    rows = np.broadcast_to(np.zeros((1, 2)), (2**44, 2))
    with pytest.raises(MemoryError, match=r"could not allocate 268435456 MiB .* 17592186044416 rows .* pass top="):
        native.shap_values(rows, 1)


def chain(depth, n_columns):
    """Return a forest of one tree in which each split has a leaf, and the arrays of its nodes."""
    n = 2 * depth + 1
    feature, right = np.full(n, 2**32 - 1, dtype=np.uint32), np.zeros(n, dtype=np.uint32)
    feature[:depth] = np.arange(depth) % n_columns
    right[:depth] = 2 * depth - np.arange(depth)
    threshold = np.full(n, -2.0)
    threshold[:depth] = np.arange(depth) / depth - 0.5
    size = np.ones(n, dtype=np.uint32)
    size[:depth] = depth + 1 - np.arange(depth)
    return _core.Forest.from_parts(
        n_columns,
        np.arange(n_columns, dtype=np.uint32),
        np.array([0, n_columns], dtype=np.uint64),
        np.array([0, n], dtype=np.uint64),
        (threshold, feature, right, size, np.zeros(n, dtype=np.uint8)),
        (np.zeros(n), np.zeros(n), size.astype(float)),
        average_path_lengths_up_to(depth + 1),
    )


@pytest.mark.parametrize("depth, n_columns", [(60, 1), (60, 3), (60, 60), (64, 64)])
def test_deep_chains_add_up(depth, n_columns):
    native = chain(depth, n_columns)
    X = np.concatenate([table(0, 30, n_columns) / 3, np.full((1, n_columns), -1), np.full((1, n_columns), 1)])
    values = native.shap_values(X, 1)
    total = native.expected_value + values.sum(axis=1)
    np.testing.assert_allclose(total, native.depth_sums(X, 1), rtol=1e-13)
    # The row that passes all splits has the longest path. Every column lengthens it, except that of the last split,
    # which has two leaves of the same depth.
    deciding = min(n_columns, depth - 1)
    assert (values[-2][:deciding] > 0).all()
    np.testing.assert_array_equal(values[-2][deciding:], 0)


def test_contradictory_numbers_of_training_rows_are_refused():
    X = table(9, 50, 2)
    model = SklearnForest(n_estimators=2, random_state=0).fit(X)
    model.estimators_[1].tree_.weighted_n_node_samples[0] *= 2
    forest = IsolationForest.from_sklearn(model)
    with pytest.raises(
        ValueError, match="not a valid forest: tree 1: node 0 has a weighted number of training rows of"
    ):
        forest.shap_values(X)
