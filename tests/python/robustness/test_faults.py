"""Test that a panic, an impossible size or too little memory raises an exception, and the process continues."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse

from isoxide import IsolationForest, _core, percentileofscore, rank_features

X = np.random.default_rng(0).normal(size=(2000, 4))


@pytest.mark.parametrize("in_pool", [False, True])
def test_a_panic_of_the_core_is_an_exception(capfd, in_pool):
    forest = IsolationForest(random_state=0).fit(X)
    expected = forest.score_samples(X)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="internal error in isoxide; please report it"):
            _core.panic(in_pool)
    assert "a test requested this panic" in capfd.readouterr().err
    np.testing.assert_array_equal(forest.score_samples(X), expected)
    np.testing.assert_array_equal(IsolationForest(random_state=0, n_jobs=2).fit(X).score_samples(X), expected)


@pytest.mark.parametrize("n_estimators", [10**9, 10**12, 10**18, 2**63 - 1, 2**64, 10**30])
@pytest.mark.parametrize("random_state", [0, np.random.RandomState(0)])
def test_an_impossible_number_of_trees_is_refused(n_estimators, random_state):
    forest = IsolationForest(n_estimators=n_estimators, random_state=random_state)
    with pytest.raises((MemoryError, ValueError)):
        forest.fit(X)
    assert not hasattr(forest, "n_features_in_")


def test_an_impossible_number_of_rows_is_refused():
    forest = IsolationForest(random_state=0).fit(X)
    # All rows of this table share the memory of one.
    rows = np.broadcast_to(np.zeros((1, 4)), (10**13, 4))
    with pytest.raises(MemoryError):
        forest.score_samples(rows)
    with pytest.raises(MemoryError):
        rank_features(rows, X)
    for parameters in ({"random_state": 0, "max_samples": 1.0}, {"random_state": np.random.RandomState(0)}):
        with pytest.raises((MemoryError, ValueError)):
            IsolationForest(**parameters).fit(rows)
    # A million rows are possible: the trees read only the rows that they draw.
    assert IsolationForest(random_state=0, max_samples=3, n_estimators=2).fit(rows[: 10**6]).max_samples_ == 3


def test_an_impossible_number_of_columns_is_refused():
    wide = scipy.sparse.csr_array((np.ones(3, np.float32), ([0, 1, 2], [0, 5, 10**12])), shape=(3, 10**13))
    with pytest.raises(MemoryError):
        IsolationForest(random_state=0, max_features=3).fit(wide)


#: A script that repeats each call with more address space each time, until it succeeds.
SCRIPT_WITH_LITTLE_MEMORY = """
import resource
import numpy as np, scipy.sparse
from isoxide import IsolationForest, rank_features, percentileofscore

rng = np.random.default_rng(0)
X = rng.normal(size=(200_000, 20))
first_rows = X[:3000]
cells = (rng.normal(size=20_000).astype(np.float32), (rng.integers(0, 2000, 20_000), rng.integers(0, 10**6, 20_000)))
S = scipy.sparse.csr_matrix(cells, shape=(2000, 10**6))
large = IsolationForest(max_samples=100_000, n_estimators=10, random_state=0).fit(X)
sparse = IsolationForest(n_estimators=10, random_state=0).fit(S)
stored = large.to_bytes(complete=True)

# These are loaded now: the system says that a library cannot be loaded for want of memory by an ImportError.
import sklearn.ensemble

calls = {
    "default": lambda: IsolationForest(random_state=0, n_jobs=2).fit(X),
    "many trees": lambda: IsolationForest(n_estimators=5000, random_state=0, n_jobs=2).fit(first_rows),
    "huge trees": lambda: IsolationForest(max_samples=1.0, n_estimators=6, random_state=0, n_jobs=2).fit(X),
    "RandomState": lambda: IsolationForest(
        random_state=np.random.RandomState(0), n_jobs=2, bootstrap=True, max_samples=0.5, n_estimators=5
    ).fit(X),
    "sparse": lambda: IsolationForest(random_state=0, n_jobs=2, n_estimators=10).fit(S),
    "score sparse": lambda: IsolationForest.from_bytes(sparse.to_bytes()).score_samples(S),
    "score": lambda: IsolationForest.from_bytes(stored).score_samples(X),
    "from scikit-learn": lambda: IsolationForest.from_sklearn(large.to_sklearn()),
    "store": lambda: large.to_bytes(complete=True),
    "rank": lambda: rank_features(first_rows, X, n_jobs=2),
    "rank all": lambda: rank_features(X, X, n_jobs=2),
    "rank a column": lambda: percentileofscore(X[:, 0], X[:, 0]),
    "rows drawn": lambda: large.estimators_samples_,
}

def address_space():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()

for name, call in calls.items():
    mebibytes = 2
    while True:
        limit = address_space() + int(mebibytes * 2**20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        try:
            call()
            break
        except MemoryError:
            pass
        except RuntimeError as error:
            assert "thread" in str(error), error
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        mebibytes *= 1.5
        assert mebibytes < 20_000, name
    print(name, f"{mebibytes:.0f} MiB")
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of the address space are Linux's")
def test_a_call_that_runs_out_of_memory_raises_an_exception():
    command = [sys.executable, "-c", SCRIPT_WITH_LITTLE_MEMORY]
    script = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert (script.returncode, script.stderr) == (0, ""), script.stdout + script.stderr
    assert len(script.stdout.splitlines()) == 13


SPECIAL_VALUES = {
    "nan payloads": np.array([0x7FF0000000000001, 0xFFF8DEADBEEF0000, 0x7FFFFFFFFFFFFFFF], np.uint64).view(np.float64),
    "denormals": np.array([5e-324, -5e-324, 2.2e-308, 1e-45, -1e-40]),
    "extremes": np.array([np.inf, -np.inf, 1.7e308, -1.7e308, 3.4e38, 3.5e38]),
    "zeros": np.array([0.0, -0.0]),
}


@pytest.mark.current_versions(reason="scikit-learn 1.6 finds other columns constant")
@pytest.mark.parametrize("values", SPECIAL_VALUES.values(), ids=SPECIAL_VALUES)
def test_special_values_rank_as_in_scipy_and_score_as_in_scikit_learn(values):
    from scipy.stats import percentileofscore as scipy_percentileofscore
    from sklearn.ensemble import IsolationForest as SklearnForest

    rng = np.random.default_rng()
    table = np.where(rng.random((1000, 3)) < 0.5, rng.choice(values, (1000, 3)), rng.normal(size=(1000, 3)))
    narrow = np.clip(table, -3.4e38, 3.4e38)
    # NumPy warns of signalling NaN when scikit-learn converts the table.
    with np.errstate(invalid="ignore", over="ignore"):
        sklearn_forest = SklearnForest(random_state=0).fit(narrow)
        forest = IsolationForest(random_state=0).fit(narrow)
        np.testing.assert_array_equal(forest.score_samples(narrow), sklearn_forest.score_samples(narrow))
        np.testing.assert_array_equal(forest.score_samples(table), forest.score_samples(np.asfortranarray(table)))
    for policy in ("propagate", "omit"):
        ranks = percentileofscore(table[:, 0], table[:100, 0], nan_policy=policy)
        expected = scipy_percentileofscore(table[:, 0], table[:100, 0], nan_policy=policy)
        np.testing.assert_array_equal(ranks, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("format", ["csr", "csc", "coo"])
def test_sparse_matrices_with_indices_out_of_bounds_are_refused(dtype, format):
    good = scipy.sparse.random_array((50, 6), density=0.5, format=format, dtype=dtype, rng=0)
    forest = IsolationForest(random_state=0).fit(good)
    bad = good.copy()
    if format == "coo":
        bad.coords[1][3] = 10**6
    else:
        # By the last entry, no cell is stored.
        bad.indptr[3], bad.indptr[-1] = 10**6, 0
    for call in (forest.score_samples, IsolationForest(random_state=0).fit):
        with pytest.raises(ValueError, match=r"ind(ex|ptr|ices)"):
            call(bad)
    np.testing.assert_array_equal(forest.score_samples(good), forest.score_samples(good.toarray()))
