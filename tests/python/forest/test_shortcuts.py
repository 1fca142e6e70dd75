"""Test that the shortcuts of scoring valid tables give the results, errors and warnings of the full checks."""

import contextlib
import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from sklearn import config_context
from sklearn.ensemble import IsolationForest as SklearnForest
from sklearn.exceptions import NotFittedError

from isoxide import IsolationForest
from isoxide._common.threads import THREAD_MIN_VALUES, resolve_n_jobs, resolve_n_jobs_for
from isoxide._forest import estimator
from isoxide._forest.path_length import average_path_length, total_average_path_length
from isoxide._frames import validation
from parity import outcome

pytestmark = pytest.mark.parity

METHODS = ("score_samples", "decision_function", "predict")
R = np.random.default_rng(0)
X = R.normal(size=(300, 3)) * 10
FRAME = pd.DataFrame(X, columns=["a", "b", "c"])
MIXED = FRAME.assign(b=X[:, 1].astype(np.int64), c=X[:, 2].astype(np.float32))
INTEGERS = FRAME.astype(np.int64)


class Array(np.ndarray):
    """A subclass of arrays."""


class Frame(pd.DataFrame):
    """A subclass of frames."""

    @property
    def _constructor(self):
        return Frame


class Name(str):
    """A subclass of strings."""

    __slots__ = ()


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def with_missing(table):
    table = table.copy()
    (table.iloc if isinstance(table, pd.DataFrame) else table)[3, 1] = np.nan
    return table


def labelled(labels):
    frame = FRAME.copy()
    frame.columns = labels
    return frame


QUERIES = {
    "array": X,
    "one row": X[:1],
    "float32": X.astype(np.float32),
    "int64": X.astype(np.int64),
    "int32": X.astype(np.int32),
    "big-endian": X.astype(">f8"),
    "object": X.astype(object),
    "object text": np.array([["1", "x", "2"]], dtype=object),
    "booleans": X > 0,
    "complex": X * 1j,
    "read-only": read_only(X),
    "fortran": np.asfortranarray(X),
    "reversed": X[::-1, ::-1],
    "missing": with_missing(X),
    "infinite": np.where(X > 5, np.inf, X),
    "subclass of arrays": X.view(Array),
    "masked": np.ma.MaskedArray(X),
    "list": X[:5].tolist(),
    "fewer columns": X[:, :2],
    "more columns": np.column_stack([X, X]),
    "no rows": X[:0],
    "no columns": X[:, :0],
    "one dimension": X[0],
    "three dimensions": X[:, :, None],
    "no dimension": np.float64(1),
    "csr": scipy.sparse.csr_array(X),
    "csc": scipy.sparse.csc_matrix(X),
    "frame": FRAME,
    "day": FRAME.iloc[10:50],
    "mixed frame": MIXED,
    "int frame": INTEGERS,
    "booleans in a frame": FRAME.assign(c=X[:, 2] > 0),
    "text in a frame": FRAME.assign(c="x"),
    "nullable": FRAME.convert_dtypes(),
    "missing in a frame": with_missing(FRAME),
    "fewer names": FRAME[["a", "b"]],
    "more names": FRAME.assign(d=1.0),
    "reordered": FRAME[["c", "a", "b"]],
    "other names": FRAME.rename(columns={"a": "z"}),
    "duplicate names": labelled(["a", "b", "b"]),
    "number names": labelled([0, 1, 2]),
    "names of several types": labelled(["a", "b", 2]),
    "names of several levels": labelled(pd.MultiIndex.from_tuples([("a", "x"), ("b", "x"), ("c", "x")])),
    "missing name": labelled(["a", "b", None]),
    "subclass of names": labelled(pd.Index([Name("a"), "b", "c"], dtype=object)),
    "names of NumPy": labelled(pd.Index([np.str_("a"), "b", "c"], dtype=object)),
    "names as objects": labelled(pd.Index(["a", "b", "c"], dtype=object)),
    "names as categories": labelled(pd.CategoricalIndex(["a", "b", "c"])),
    "subclass of frames": Frame(FRAME),
    "no rows in a frame": FRAME.iloc[:0],
    "no columns in a frame": FRAME[[]],
    "polars": pl.DataFrame(FRAME.to_dict("series")),
    "arrow": pa.Table.from_pandas(FRAME),
    "series": FRAME["a"],
}
TRAININGS = {"array": X, "frame": FRAME, "mixed": MIXED, "number names": pd.DataFrame(X), "polars": QUERIES["polars"]}


def result(call, *args):
    """Return the scores of a call with their dtype, flags and warnings, or its exception."""
    try:
        scores, warned = outcome(call, *args)
    except Exception as error:
        return type(error), str(error)
    return scores.tolist(), scores.dtype, scores.flags.owndata, scores.flags.writeable, warned


@contextlib.contextmanager
def full_checks():
    """Switch the shortcuts off: scikit-learn checks every table, frames are read by column, all threads are used."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "_is_as_fitted", lambda estimator, X: False)
        patch.setattr(validation, "_one_array", lambda X: None)
        patch.setattr(estimator, "resolve_n_jobs_for", lambda n_jobs, n_steps: resolve_n_jobs(n_jobs))
        yield


@pytest.fixture
def checked_tables(monkeypatch):
    """Collect the tables that scikit-learn checks."""
    tables = []

    def validate_data(estimator, X, **options):
        tables.append(X)
        return original(estimator, X, **options)

    original = validation.validate_data
    monkeypatch.setattr(validation, "validate_data", validate_data)
    return tables


@pytest.mark.slow
@pytest.mark.parametrize("training", TRAININGS)
@pytest.mark.parametrize("query", QUERIES)
def test_every_shortcut_has_the_result_of_the_full_checks(training, query):
    table = QUERIES[query]
    ours = IsolationForest(n_estimators=5, random_state=0).fit(TRAININGS[training])
    theirs = SklearnForest(n_estimators=5, random_state=0).fit(TRAININGS[training])
    copied = pickle.loads(pickle.dumps(ours))
    for method in METHODS:
        expected = result(getattr(theirs, method), table)
        assert result(getattr(ours, method), table) == expected
        assert result(getattr(copied, method), table) == expected
        with full_checks():
            assert result(getattr(ours, method), table) == expected


#: Training table and query of calls that skip the check by scikit-learn, and of calls that do not.
UNCHECKED = [
    ("array", "array"), ("array", "one row"), ("array", "float32"), ("array", "int64"), ("array", "fortran"),
    ("array", "read-only"), ("array", "missing"), ("number names", "array"), ("frame", "frame"), ("frame", "day"),
    ("frame", "mixed frame"), ("frame", "int frame"), ("mixed", "mixed frame"), ("mixed", "frame"),
    ("frame", "names as objects"), ("frame", "missing in a frame"), ("polars", "frame"),
    ("frame", "booleans in a frame"), ("array", "object"), ("frame", "nullable"),
]  # fmt: skip
CHECKED = [
    ("array", "frame"), ("frame", "array"), ("frame", "number names"), ("frame", "subclass of frames"),
    ("frame", "subclass of names"), ("frame", "polars"), ("array", "subclass of arrays"), ("array", "object text"),
    ("array", "big-endian"), ("array", "csr"), ("array", "list"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("training", "query"), UNCHECKED)
def test_scikit_learn_does_not_check_tables_that_it_would_accept(training, query, checked_tables):
    forest = IsolationForest(n_estimators=2).fit(TRAININGS[training])
    checked_tables.clear()
    for method in METHODS:
        getattr(forest, method)(QUERIES[query])
    assert checked_tables == []


@pytest.mark.parametrize(("training", "query"), CHECKED)
def test_scikit_learn_checks_all_other_tables(training, query, checked_tables):
    forest = IsolationForest(n_estimators=2).fit(TRAININGS[training])
    checked_tables.clear()
    result(forest.score_samples, QUERIES[query])
    assert len(checked_tables) == 1


def test_scikit_learn_checks_names_that_occur_twice(checked_tables):
    """Some versions of scikit-learn accept such names, and others refuse them."""
    forest = IsolationForest(n_estimators=2).fit(FRAME)
    forest.feature_names_in_ = np.array(["a", "b", "b"], dtype=object)
    checked_tables.clear()
    result(forest.score_samples, QUERIES["duplicate names"])
    assert len(checked_tables) == 1


@pytest.mark.parametrize("name", ["feature_names_in_", "n_features_in_"])
def test_scikit_learn_checks_tables_if_a_fitted_attribute_was_deleted(name, checked_tables):
    forest = IsolationForest(n_estimators=2).fit(FRAME)
    delattr(forest, name)
    checked_tables.clear()
    result(forest.score_samples, FRAME)
    assert len(checked_tables) == 1


def test_a_frame_that_changes_between_two_calls_is_read_again():
    forest = IsolationForest(random_state=0).fit(FRAME)
    frame = FRAME.copy()
    scores = forest.score_samples(frame)
    frame.loc[:, "a"] = 1000.0
    assert not np.array_equal(forest.score_samples(frame), scores)
    frame["b"] = frame["b"].astype(np.int64)
    np.testing.assert_array_equal(forest.score_samples(frame), forest.score_samples(frame.astype(np.float64)))
    frame.columns = ["a", "c", "b"]
    with pytest.raises(ValueError, match="same order"):
        forest.score_samples(frame)


@pytest.mark.parametrize(
    "context",
    [{"assume_finite": True}, {"skip_parameter_validation": True}, {"enable_metadata_routing": True}],
    ids=str,
)
@pytest.mark.parametrize("table", [X, FRAME, MIXED, with_missing(X)], ids=["array", "frame", "mixed", "missing"])
def test_settings_of_scikit_learn_do_not_change_results(context, table):
    forest = IsolationForest(random_state=0).fit(table)
    expected = result(forest.decision_function, table)
    with config_context(**context):
        assert result(forest.decision_function, table) == expected


class NeverFitted(IsolationForest):
    def __sklearn_is_fitted__(self):
        return False


class OtherScores(IsolationForest):
    def score_samples(self, X):
        return super().score_samples(X) * 2


def test_methods_that_a_subclass_overrides_are_called():
    with pytest.raises(NotFittedError, match="This NeverFitted instance is not fitted yet"):
        NeverFitted().fit(X).predict(X)
    forest, other = IsolationForest(random_state=0).fit(X), OtherScores(random_state=0).fit(X)
    np.testing.assert_array_equal(other.decision_function(X), forest.score_samples(X) * 2 - forest.offset_)
    with pytest.raises(ValueError, match="X has 2 features, but OtherScores is expecting 3 features"):
        other.predict(X[:, :2])


@pytest.mark.parametrize("table", [X[:1], FRAME.iloc[:10], X], ids=["one row", "frame", "many rows"])
@pytest.mark.parametrize("n_jobs", [0, np.int64(0), "2", 0.0])
def test_an_invalid_n_jobs_is_refused_whatever_the_size(n_jobs, table):
    forest = IsolationForest().fit(table)
    forest.set_params(n_jobs=n_jobs)
    expected = result(resolve_n_jobs, n_jobs)
    assert expected[0] in (ValueError, TypeError)
    assert result(forest.predict, table) == expected


@pytest.mark.parametrize("n_jobs", [None, 1, 2, -1, True, np.int64(3)])
def test_little_work_takes_one_thread(n_jobs, monkeypatch):
    resolved = []
    monkeypatch.setattr("isoxide._common.threads.resolve_n_jobs", lambda n_jobs: resolved.append(n_jobs) or 5)
    is_python_integer = n_jobs is None or type(n_jobs) is int
    assert resolve_n_jobs_for(n_jobs, 100) == (1 if is_python_integer else 5)
    assert resolve_n_jobs_for(n_jobs, 2**24) == 5
    assert resolved == ([n_jobs] if is_python_integer else [n_jobs, n_jobs])


def test_threads_that_share_a_forest_get_their_own_results():
    """Some frames have the names of the fit in order, and others do not."""
    forest = IsolationForest(random_state=0).fit(FRAME)
    tables = [FRAME.iloc[10 * i : 10 * i + 9] for i in range(30)] + [FRAME[["b", "a", "c"]], FRAME[["a"]]] * 5
    expected = [result(forest.decision_function, table) for table in tables]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            assert list(pool.map(lambda table: result(forest.decision_function, table), tables)) == expected


@pytest.mark.parametrize("table", [X, FRAME, MIXED], ids=["array", "frame", "mixed"])
def test_scoring_does_not_change_the_forest(table):
    """A cache in the forest would be pickled, and shared by threads."""
    forest = IsolationForest(random_state=0).fit(table)
    before, stored = copy.copy(vars(forest)), pickle.dumps(forest)
    for method in METHODS:
        getattr(forest, method)(table)
    assert vars(forest) == before
    assert pickle.dumps(forest) == stored


def test_the_score_of_a_row_does_not_depend_on_the_other_rows(seed):
    """The last bit does not depend on how many rows are scored at once, nor where they begin."""
    r = np.random.default_rng(seed)
    table = r.normal(size=(5000, 3))
    forest = IsolationForest(random_state=seed, n_estimators=20).fit(table)
    scores = forest.score_samples(table)
    for _ in range(200):
        start, length = r.integers(0, 4000), int(2 ** r.uniform(0, 9.9))
        part = forest.score_samples(table[start : start + length])
        np.testing.assert_array_equal(part, scores[start : start + length])


def test_the_power_of_a_slice_in_place_equals_that_of_the_array(seed):
    r = np.random.default_rng(seed)
    x = -np.concatenate([r.random(4000), r.random(100) * 1e-12, [0.0, 1.0, 0.5]])
    expected = (2**x).view(np.int64)
    for _ in range(500):
        start, length = r.integers(0, len(x)), int(2 ** r.uniform(0, 12))
        part = x.copy()[start : start + length]
        np.power(2.0, part, out=part)
        np.testing.assert_array_equal(part.view(np.int64), expected[start : start + length])


@pytest.mark.parametrize("n_trees", [1, 7, 100])
def test_the_cached_denominator_equals_numpys(n_trees):
    for n in (0, 1, 2, 3, 256, 255, 1000, np.int64(77)):
        expected = n_trees * average_path_length(np.array([n]))
        for _ in range(2):
            assert total_average_path_length(n_trees, n) == expected[0]


def test_a_forest_on_one_row_scores_every_row_half():
    ours, theirs = (cls(random_state=0).fit(X[:1]) for cls in (IsolationForest, SklearnForest))
    for table in (X, X[:1]):
        assert result(ours.score_samples, table) == result(theirs.score_samples, table)
        assert result(ours.score_samples, table)[0] == [-0.5] * len(table)


def test_a_caller_may_change_the_scores():
    forest = IsolationForest(random_state=0).fit(X)
    first = forest.score_samples(X)
    expected = first.copy()
    second = forest.score_samples(X)
    first[:] = 0
    np.testing.assert_array_equal(second, expected)
    np.testing.assert_array_equal(forest.score_samples(X), expected)


@pytest.mark.parametrize("contamination", ["auto", 0.01])
def test_long_tables_take_the_power_in_threads(contamination, seed):
    """Scores of many rows, whose power several threads take, are those of one thread and of scikit-learn's formula."""
    X = np.random.default_rng(seed).normal(size=(2 * THREAD_MIN_VALUES + 777, 2))
    forest = IsolationForest(n_estimators=3, contamination=contamination, random_state=0, n_jobs=2).fit(X)
    scores, decisions = forest.score_samples(X), forest.decision_function(X)
    forest.n_jobs = 1
    np.testing.assert_array_equal(forest.score_samples(X).view(np.int64), scores.view(np.int64))
    np.testing.assert_array_equal(forest.decision_function(X).view(np.int64), decisions.view(np.int64))
    np.testing.assert_array_equal(decisions.view(np.int64), (scores - forest.offset_).view(np.int64))
    np.testing.assert_array_equal(forest.to_sklearn().decision_function(X).view(np.int64), decisions.view(np.int64))


def test_the_decision_follows_a_score_that_a_subclass_defines():
    class Halved(IsolationForest):
        def score_samples(self, X):
            return super().score_samples(X) / 2

    X = np.arange(20.0).reshape(10, 2)
    halved, forest = (cls(random_state=0).fit(X) for cls in (Halved, IsolationForest))
    np.testing.assert_array_equal(halved.decision_function(X), forest.score_samples(X) / 2 - forest.offset_)
    forest.score_samples = lambda X: np.ones(len(X))
    np.testing.assert_array_equal(forest.decision_function(X), np.full(10, 1.5))


@pytest.mark.parametrize("offset", [-0.25, np.float64(-0.25), np.float32(-0.25), 0, np.full((10, 1), -0.25)])
def test_the_decision_subtracts_whatever_offset_is_set(offset):
    X = np.arange(20.0).reshape(10, 2)
    forest = IsolationForest(random_state=0).fit(X)
    forest.offset_ = offset
    decisions, expected = forest.decision_function(X), forest.score_samples(X) - offset
    np.testing.assert_array_equal(decisions, expected)
    assert decisions.dtype == expected.dtype
