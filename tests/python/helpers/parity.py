"""Compare forests with scikit-learn's bit for bit, and draw random tables and parameters for such comparisons."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import scipy.sparse
from sklearn.ensemble import IsolationForest as SklearnForest

from isoxide import IsolationForest

TREE_ARRAYS = ("children_left", "children_right", "feature", "threshold", "n_node_samples", "missing_go_to_left")


def assert_same_forest(ours: IsolationForest, theirs: SklearnForest) -> None:
    """Assert that the trees, the drawn rows and columns, and the offset are equal."""
    assert ours.max_samples_ == theirs.max_samples_
    assert ours.n_features_in_ == theirs.n_features_in_
    assert ours._fitted.native.n_trees == len(theirs.estimators_)
    for index, estimator in enumerate(theirs.estimators_):
        tree = ours._fitted.native.tree(index)
        for name in TREE_ARRAYS:
            np.testing.assert_array_equal(tree[name], getattr(estimator.tree_, name), err_msg=f"tree {index}, {name}")
    assert_same_arrays(ours.estimators_features_, theirs.estimators_features_)
    assert_same_arrays(ours.estimators_samples_, theirs.estimators_samples_)
    np.testing.assert_array_equal(ours.offset_, theirs.offset_)
    assert type(ours.offset_) is type(theirs.offset_)
    assert hasattr(ours, "feature_names_in_") == hasattr(theirs, "feature_names_in_")
    if hasattr(ours, "feature_names_in_"):
        np.testing.assert_array_equal(ours.feature_names_in_, theirs.feature_names_in_)


def assert_same_arrays(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    assert len(ours) == len(theirs)
    for our_array, their_array in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(our_array, their_array)
        assert our_array.dtype == their_array.dtype


def assert_same_scores(ours: IsolationForest, theirs: SklearnForest, X: Any) -> None:
    for method in ("score_samples", "decision_function", "predict"):
        our_result, our_warnings = outcome(getattr(ours, method), X)
        their_result, their_warnings = outcome(getattr(theirs, method), X)
        assert our_warnings == their_warnings
        np.testing.assert_array_equal(our_result, their_result, err_msg=method)
        assert our_result.dtype == their_result.dtype


def outcome(call: Callable[..., Any], *args: Any) -> tuple[Any, list[tuple[type, str]]]:
    """Return the result of a call and its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # NumPy warns when scikit-learn casts a table to float32; isoxide casts cell by cell without this warning.
        warnings.filterwarnings("ignore", "overflow encountered in cast", RuntimeWarning)
        result = call(*args)
    return result, [(w.category, str(w.message)) for w in caught]


def fit_both(X: Any, make_state: Callable[[], Any] = lambda: 0, **params: Any) -> tuple[IsolationForest, SklearnForest]:
    """Return both forests, fitted on X, after a comparison of their warnings."""
    theirs, their_warnings = outcome(lambda: SklearnForest(random_state=make_state(), **params).fit(X))
    ours, our_warnings = outcome(lambda: IsolationForest(random_state=make_state(), **params).fit(X))
    assert our_warnings == their_warnings
    return ours, theirs


def _gauss(r: np.random.Generator, n: int, d: int) -> np.ndarray:
    return r.normal(size=(n, d)) * 10.0 ** r.integers(-3, 4, d)


def _counts(r: np.random.Generator, n: int, d: int) -> np.ndarray:
    counts = np.where(r.random((n, d)) < 0.7, 0, r.geometric(0.2, (n, d)))
    counts[:, r.random(d) < 0.3] = r.integers(0, 3)
    return counts


def _flags(r: np.random.Generator, n: int, d: int) -> np.ndarray:
    return r.random((n, d)) < r.random(d)


def _duplicates(r: np.random.Generator, n: int, d: int) -> np.ndarray:
    return r.normal(size=(max(1, n // 8), d))[r.integers(0, max(1, n // 8), n)]


def _missing(r: np.random.Generator, n: int, d: int) -> np.ndarray:
    x = _counts(r, n, d) * 1.0 if r.random() < 0.5 else _gauss(r, n, d)
    x[r.random((n, d)) < r.choice([0.01, 0.2, 0.7])] = np.nan
    x[:, r.random(d) < 0.15] = np.nan
    return x


def _extremes(r: np.random.Generator, n: int, d: int) -> np.ndarray:
    special = [np.inf, -np.inf, np.nan, 0.0, -0.0, 1e300, -1e300, 3e38, 1e-45, 1.0, 2.0**24 + 1]
    return np.where(r.random((n, d)) < 0.3, r.choice(special, (n, d)), r.integers(0, 4, (n, d)))


def _near_constant(r: np.random.Generator, n: int, d: int) -> np.ndarray:
    return 2.0 ** r.integers(-3, 3, d) * (1 + r.integers(0, 3, (n, d)) * 2.0**-23)


def _large_integers(r: np.random.Generator, n: int, d: int) -> np.ndarray:
    return (r.integers(0, 50, (n, d)) + (1 << 60)) * 3 + (1 << r.integers(30, 37, (n, d)))


TABLE_MAKERS = (_gauss, _counts, _flags, _duplicates, _missing, _extremes, _near_constant, _large_integers)


def random_table(r: np.random.Generator) -> np.ndarray:
    """Return a small table with values of a random type and with a random shape."""
    n = int(r.choice([1, 2, 3, 7, 20, 100, 257, 259, 400, 1000]))
    d = int(r.choice([1, 2, 3, 5, 9, 20]))
    return TABLE_MAKERS[r.integers(len(TABLE_MAKERS))](r, n, d)


def random_container(r: np.random.Generator, x: np.ndarray) -> Any:
    """Return the same numbers in a random container, dtype and layout that scikit-learn accepts."""
    if r.random() < 0.3:
        with np.errstate(all="ignore"):
            dtypes = [np.float32, np.float64] + ([np.int64, np.int32, np.uint8] if np.isfinite(x).all() else [])
            x = x.astype(dtypes[r.integers(len(dtypes))])
    match int(r.integers(15)):
        case 0:
            return np.asfortranarray(x)
        case 1:
            return np.repeat(np.repeat(x, 2, axis=0), 3, axis=1)[::2, ::3]
        case 2:
            return np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1]
        case 3:
            x = x.copy()
            x.flags.writeable = False
            return x
        case 4:
            return x.tolist()
        case 5:
            return pd.DataFrame(x, columns=[f"feature {j}" for j in range(x.shape[1])])
        case 6:
            return mixed_frame(r, x)
        case 7:
            return pl.DataFrame({f"feature {j}": column for j, column in enumerate(x.T)})
        case 8:
            return pa.Table.from_pandas(mixed_frame(r, x))
        case 9:
            return scipy.sparse.csr_array(x)
        case 10:
            return scipy.sparse.csc_matrix(x)
        case 11:
            return scipy.sparse.coo_array(x)
        case _:
            return x


def mixed_frame(r: np.random.Generator, x: np.ndarray) -> pd.DataFrame:
    """Return a frame whose columns have different dtypes, as after reading a CSV file."""
    columns = {}
    for j, column in enumerate(x.T.astype(np.float64)):
        small = np.isfinite(column).all() and (np.abs(column) < 2**31).all()
        dtypes = [np.float64, np.float32] + ([np.int64, np.int32, np.int16, np.bool_, np.uint8] if small else [])
        with np.errstate(all="ignore"):
            columns[f"c{j}"] = column.astype(np.int64 if small else np.float64).astype(dtypes[r.integers(len(dtypes))])
    return pd.DataFrame(columns)


def random_weights(r: np.random.Generator, n_samples: int) -> Any:
    """Return sample weights, or None in most cases."""
    if r.random() < 0.6:
        return None
    weights = r.random(n_samples).astype([np.float32, np.float64][r.integers(2)])
    weights[r.random(n_samples) < r.choice([0.0, 0.3])] = 0
    weights[r.integers(n_samples)] = 1
    return weights


def random_params(r: np.random.Generator, n_samples: int, n_features: int) -> dict[str, Any]:
    """Return random constructor arguments, without random_state."""
    share = float(r.uniform(1 / n_samples, 1.0)) if n_samples > 1 else 1.0
    max_samples = [
        "auto", "auto", 1.0, share, int(r.integers(1, n_samples + 1)), n_samples, n_samples + int(r.integers(1, 50)), 2,
    ]  # fmt: skip
    max_features = [1.0, 1.0, float(r.uniform(0.01, 1.0)), int(r.integers(1, n_features + 1)), 0, -2]
    return {
        "n_estimators": int(r.choice([1, 3, 10])),
        "max_samples": max_samples[r.integers(len(max_samples))],
        "max_features": max_features[r.integers(len(max_features))],
        "bootstrap": bool(r.integers(2)),
        "contamination": [*["auto"] * 2, float(r.uniform(0.001, 0.5)), 0.5][r.integers(4)],
        "n_jobs": [None, 1, 2, -1][r.integers(4)],
    }
