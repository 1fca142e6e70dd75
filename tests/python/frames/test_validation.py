"""Test that bad input raises the exception of scikit-learn's own class with its message, and never a panic."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.ensemble import IsolationForest as SklearnForest
from sklearn.exceptions import NotFittedError

from isoxide import IsolationForest, _core
from isoxide._forest.path_length import average_path_length
from isoxide._frames.validation import check_input

X = np.random.default_rng(0).normal(size=(20, 3))
FRAME = pd.DataFrame(X, columns=["a", "b", "c"])


def refusal(call):
    with pytest.raises(Exception) as caught:  # noqa: PT011  (the class is what is compared)
        call()
    return type(caught.value), str(caught.value)


BAD_PARAMS = [
    {"n_estimators": 0},
    {"n_estimators": 1.5},
    {"max_samples": 0},
    {"max_samples": 0.0},
    {"max_samples": 1.5},
    {"max_samples": "all"},
    {"max_samples": True},
    {"max_features": 4},
    {"max_features": 0.0},
    {"max_features": 1.5},
    {"max_features": "sqrt"},
    {"contamination": 0.0},
    {"contamination": 0.6},
    {"contamination": "many"},
    {"contamination": np.nan},
    {"bootstrap": 1},
    {"n_jobs": 0},
    {"n_jobs": 1.0},
    {"random_state": -1},
    {"random_state": 2**32},
    {"random_state": "0"},
    {"random_state": np.random.default_rng(0)},
    {"verbose": -1},
    {"warm_start": "yes"},
]


@pytest.mark.parametrize("params", BAD_PARAMS, ids=lambda params: str(params).partition(" at 0x")[0])
def test_invalid_parameters_raise_scikit_learns_exception(params):
    try:
        SklearnForest(**params).fit(X)
    except Exception as error:
        expected = type(error), str(error)
    else:
        IsolationForest(**params).fit(X)
        return
    assert refusal(lambda: IsolationForest(**params).fit(X)) == expected


BAD_TABLES = {
    "no rows": np.empty((0, 3)),
    "no columns": np.empty((3, 0)),
    "one dimension": X[0],
    "no dimension": np.float64(1.0),
    "three dimensions": X.reshape(5, 4, 3),
    "strings": [["a", "b", "c"]],
    "object strings": np.array([["1", "x", "2"]], dtype=object),
    "complex": X + 1j,
    "text column": pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}),
    "category": pd.DataFrame({"a": pd.Categorical(["x", "y"])}),
    "ragged": [[1.0, 2.0], [3.0]],
    "series": pd.Series([1.0, 2.0]),
    "empty frame": FRAME.iloc[:0],
    "frame without columns": FRAME[[]],
    "a list": [],
    "none": None,
    "a word": "table",
    "duplicate names": pytest.param(
        pd.DataFrame(X, columns=["a", "a", "b"]),
        marks=pytest.mark.current_versions(reason="scikit-learn 1.6 takes frames with duplicate names"),
    ),
    "names of several types": pd.DataFrame({1: [1.0], "b": [2.0]}),
}


@pytest.mark.parametrize("table", BAD_TABLES.values(), ids=BAD_TABLES.keys())
def test_tables_that_cannot_be_fitted_raise_scikit_learns_exception(table):
    expected = refusal(lambda: SklearnForest().fit(table))
    assert refusal(lambda: IsolationForest().fit(table)) == expected


BAD_QUERIES = {
    "fewer columns": X[:, :2],
    "more columns": np.column_stack([X, X]),
    "no rows": X[:0],
    "one dimension": X[0],
    "strings": [["a", "b", "c"]],
    "complex": X * 1j,
    "fewer names": FRAME[["a", "b"]],
    "another order": FRAME[["b", "a", "c"]],
    "other names": FRAME.rename(columns={"a": "z"}),
    "more names": FRAME.assign(d=1.0),
}


@pytest.mark.parametrize("method", ["score_samples", "decision_function", "predict"])
@pytest.mark.parametrize("query", BAD_QUERIES.values(), ids=BAD_QUERIES.keys())
@pytest.mark.parametrize("training", [X, FRAME], ids=["array", "frame"])
@pytest.mark.filterwarnings("ignore:X (has|does not have):UserWarning")
def test_tables_that_cannot_be_scored_raise_scikit_learns_exception(method, query, training):
    ours, theirs = IsolationForest(n_estimators=2).fit(training), SklearnForest(n_estimators=2).fit(training)
    try:
        getattr(theirs, method)(query)
    except Exception as error:
        expected = type(error), str(error)
    else:
        getattr(ours, method)(query)
        return
    assert refusal(lambda: getattr(ours, method)(query)) == expected


@pytest.mark.parametrize(("training", "query"), [(X, FRAME), (FRAME, X)])
def test_names_in_only_one_of_fit_and_score_give_scikit_learns_warning(training, query):
    messages = []
    for forest in (IsolationForest(n_estimators=2), SklearnForest(n_estimators=2)):
        with pytest.warns(UserWarning, match="feature names") as caught:
            forest.fit(training).score_samples(query)
        messages.append([str(w.message) for w in caught])
    assert messages[0] == messages[1]


@pytest.mark.parametrize("method", ["score_samples", "decision_function", "predict"])
def test_an_unfitted_forest_raises_scikit_learns_exception(method):
    expected = refusal(lambda: getattr(SklearnForest(), method)(X))
    assert refusal(lambda: getattr(IsolationForest(), method)(X)) == expected
    assert expected[0] is NotFittedError


@pytest.mark.parametrize("name", ["estimators_samples_", "estimators_features_"])
def test_fitted_attributes_do_not_exist_before_a_fit(name):
    assert not hasattr(IsolationForest(), name)


@pytest.mark.current_versions(reason="scikit-learn 1.6 has another message")
def test_max_samples_below_one_row_is_refused():
    error, message = refusal(lambda: SklearnForest(max_samples=0.01).fit(X))
    with pytest.raises(error) as caught:
        IsolationForest(max_samples=0.01).fit(X)
    assert str(caught.value).startswith(message)
    assert "max_samples=0.01 of 20 rows" in str(caught.value)


BAD_WEIGHTS = {
    "too short": np.ones(19),
    "two dimensions": np.ones((20, 1)),
    "negative": np.r_[-1.0, np.ones(19)],
    "all zero": np.zeros(20),
    "too few": np.r_[1.0, np.zeros(19)],
    "missing": np.r_[np.nan, np.ones(19)],
    "infinite": np.r_[np.inf, np.ones(19)],
    "words": ["a"] * 20,
    "complex": np.ones(20) * 1j,
}


@pytest.mark.current_versions(reason="scikit-learn 1.6 puts weights into the trees instead of into the draw")
@pytest.mark.parametrize("bootstrap", [False, True])
@pytest.mark.parametrize("weights", BAD_WEIGHTS.values(), ids=BAD_WEIGHTS.keys())
def test_invalid_weights_raise_scikit_learns_exception(weights, bootstrap):
    try:
        SklearnForest(bootstrap=bootstrap).fit(X, sample_weight=weights)
    except Exception as error:
        expected = type(error), str(error)
    else:
        IsolationForest(bootstrap=bootstrap).fit(X, sample_weight=weights)
        return
    assert refusal(lambda: IsolationForest(bootstrap=bootstrap).fit(X, sample_weight=weights)) == expected


@pytest.mark.current_versions(reason="scikit-learn 1.6 puts weights into the trees instead of into the draw")
@pytest.mark.parametrize("weights", [1.0, 3, [1] * 20, np.arange(20), pd.Series(np.arange(20.0)), np.float32(2)])
def test_weights_of_other_types_give_scikit_learns_samples(weights):
    ours, theirs = (c(random_state=0, bootstrap=True).fit(X, None, weights) for c in (IsolationForest, SklearnForest))
    np.testing.assert_array_equal(ours.score_samples(X), theirs.score_samples(X))
    np.testing.assert_array_equal(ours.estimators_samples_, theirs.estimators_samples_)


def malformed(name, *, indptr=None, indices=None):
    """Return a sparse matrix with inconsistent arrays, since scipy does not check arrays that are assigned later."""
    matrix = scipy.sparse.csr_array(X) if "csr" in name else scipy.sparse.csc_array(X)
    if indptr is not None:
        matrix.indptr = np.array(indptr, dtype=matrix.indptr.dtype)
    if indices is not None:
        matrix.indices[0] = indices
    return matrix


@pytest.mark.parametrize("name", ["csr", "csc"])
@pytest.mark.parametrize(
    "parts",
    [
        {"indices": 1_000_000},
        {"indices": -1},
        {"indices": 20},
        {"indptr": [0, 1_000_000, 2]},
        {"indptr": [0, *[60] * 30]},
        {"indptr": [5] * 21},
        {"indptr": [0, 30, 10, *[60] * 18]},
        {"indptr": []},
    ],
    ids=str,
)
def test_malformed_sparse_matrices_are_refused(name, parts):
    # scikit-learn itself reads out of bounds with some of these.
    forest = IsolationForest(n_estimators=2).fit(X)
    for call in (IsolationForest().fit, forest.score_samples):
        with pytest.raises(ValueError, match=r"ind(ex|ices|ptr)"):
            call(malformed(name, **parts))


def test_the_core_refuses_malformed_sparse_matrices():
    forest = IsolationForest(n_estimators=2).fit(X)._fitted.native
    for parts in ({"indices": 1_000_000}, {"indptr": [0, 30, 10, *[60] * 18]}, {"indptr": [0, 60]}):
        with pytest.raises(ValueError, match="not a valid sparse matrix"):
            forest.depth_sums(malformed("csr", **parts), 1)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_sparse_indices_may_have_32_or_64_bits(dtype):
    matrix = scipy.sparse.random(50, 7, density=0.3, format="csr", random_state=0)
    matrix.indices, matrix.indptr = matrix.indices.astype(dtype), matrix.indptr.astype(dtype)
    expected = SklearnForest(random_state=0).fit(scipy.sparse.csr_matrix(matrix.toarray()))
    forest = IsolationForest(random_state=0).fit(matrix)
    np.testing.assert_array_equal(forest.score_samples(matrix), expected.score_samples(matrix.toarray()))


def test_a_failed_fit_keeps_the_old_forest():
    forest = IsolationForest(random_state=0).fit(X)
    scores = forest.score_samples(X)
    with pytest.raises(ValueError, match="max_features"):
        forest.set_params(max_features=9).fit(X)
    np.testing.assert_array_equal(forest.score_samples(X), scores)


BORROWED = {
    "float64": X,
    "fortran float64": np.asfortranarray(X),
    "float32": X.astype(np.float32),
    "int64": (X * 100).astype(np.int64),
    "strided": np.repeat(X, 2, axis=0)[::2],
    "negative strides": X[::-1, ::-1],
    "broadcast": np.broadcast_to(X[0], (20, 3)),
}


@pytest.mark.parametrize("table", BORROWED.values(), ids=BORROWED.keys())
def test_plain_arrays_are_read_in_place(table):
    assert check_input(IsolationForest(), table, reset=True).table is table


def test_a_frame_of_one_block_is_read_in_place():
    table = check_input(IsolationForest(), FRAME, reset=True).table
    assert all(np.shares_memory(column, FRAME[name].to_numpy()) for name, column in zip("abc", table.T, strict=True))


CONVERTED = {
    "datetime": pd.DataFrame({"when": pd.date_range("2026-01-01", periods=3)}),
    "big-endian": X.astype(">f8"),
    "half": X.astype(np.float16),
    "long double": X.astype(np.longdouble),
    "uint64": (X * 100).astype(np.int64).astype(np.uint64),
    "int8": X.astype(np.int8),
    "object": X.astype(object),
    "decimals": np.array([[Decimal("1.5"), 2, True]] * 3, dtype=object),
    "unaligned": np.frombuffer(b"\0" + X.tobytes(), dtype=np.float64, offset=1).reshape(X.shape),
    "structured": np.rec.fromarrays([X[:, 0], X[:, 1].astype("i1"), X[:, 2]], names="a,b,c")["c"].reshape(-1, 1),
    "nullable frame": FRAME.convert_dtypes(),
    "nullable with missing": pytest.param(
        pd.DataFrame({"a": pd.array([1, None, 3], dtype="Int64"), "b": [0.5, 1.5, 2.5]}),
        marks=pytest.mark.current_versions(reason="scikit-learn 1.6 splits missing values differently"),
    ),
    "number names": pd.DataFrame(X),
    "bool frame": FRAME > 0,
    "uint64 and int64 frame": pd.DataFrame({"a": X[:, 0].astype(np.int64), "b": np.arange(20, dtype=np.uint64)}),
    "half frame": FRAME.astype(np.float16),
}


@pytest.mark.slow
@pytest.mark.parametrize("table", CONVERTED.values(), ids=CONVERTED.keys())
def test_other_tables_are_converted_as_scikit_learn_does(table):
    ours, theirs = IsolationForest(random_state=0), SklearnForest(random_state=0)
    np.testing.assert_array_equal(ours.fit(table).score_samples(table), theirs.fit(table).score_samples(table))


def test_numpy_matrices_raise_scikit_learns_exception():
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.matrix(X)
    expected = refusal(lambda: SklearnForest().fit(matrix))
    assert refusal(lambda: IsolationForest().fit(matrix)) == expected


def parts_of(forest, average_path_lengths):
    """Return the arguments of `from_parts` for the first tree of a forest."""
    tree = forest.tree(0)
    leaf = tree["children_left"] < 0
    features = forest.tree_features(0)
    ends = [np.array([0, n], dtype=np.uint64) for n in (len(features), len(leaf))]
    nodes = (
        tree["threshold"],
        np.where(leaf, 2**32 - 1, tree["feature"]).astype(np.uint32),
        np.where(leaf, 0, tree["children_right"]).astype(np.uint32),
        tree["n_node_samples"].astype(np.uint32),
        tree["missing_go_to_left"].astype(np.uint8),
    )
    noise = (tree["impurity"], tree["value"], tree["weighted_n_node_samples"])
    return (forest.n_features, features.astype(np.uint32), *ends, nodes, noise, average_path_lengths)


def test_the_core_refuses_invalid_arguments():
    c = average_path_length(np.arange(21))
    y, seeds = np.zeros(20), np.ones(1, dtype=np.uint32)
    sizes = {"max_samples": 20, "max_features": 3, "bootstrap": False, "average_path_lengths": c, "n_workers": 1}
    grow = _core.Forest.grow
    for table in ("x", [X], [[1.0]], X.astype(np.int8), None):
        with pytest.raises(TypeError, match="2-D array or a list of 1-D arrays"):
            grow(table, y, seeds, **sizes)
    with pytest.raises(ValueError, match="same length"):
        grow([X[:, 0], X[:5, 1]], y, seeds, **sizes)
    with pytest.raises(ValueError, match="max_samples must be in"):
        grow(X, y, seeds, **{**sizes, "max_samples": 21})
    with pytest.raises(ValueError, match="noise target"):
        grow(X, y[:3], seeds, **sizes)
    forest = grow(X, y, seeds, **sizes)
    with pytest.raises(ValueError, match="X has 2 features"):
        forest.depth_sums(X[:, :2], 1)
    with pytest.raises(IndexError):
        forest.tree(1)
    rebuild, parts = _core.Forest.from_parts, parts_of(forest, c)
    np.testing.assert_array_equal(rebuild(*parts).depth_sums(X, 1), forest.depth_sums(X, 1))
    for index, part in enumerate(parts[1:], start=1):
        shorter = (part[0][:0], *part[1:]) if isinstance(part, tuple) else part[:0]
        with pytest.raises(ValueError, match=r"forest|array of nodes|table"):
            rebuild(*parts[:index], shorter, *parts[index + 1 :])
