"""Test forests with other tools (pipelines, searches, joblib, serialization), and the recalibration of forests."""

import copy
import io
import multiprocessing
import pickle
import pickletools
import warnings

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import skops.io
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from isoxide import IsolationForest

R = np.random.default_rng(0)
X = R.normal(size=(400, 4))
FRAME = pd.DataFrame(X, columns=["a", "b", "c", "d"])
SPARSE = scipy.sparse.csr_array(np.where(X > 0.5, X, 0.0))
TABLES = {"array": X, "frame": FRAME, "sparse": SPARSE}


def forest(**params):
    return IsolationForest(**{"n_estimators": 10, "random_state": 3, **params})


def assert_same(actual, expected, table=X):
    assert actual.offset_ == expected.offset_
    for method in ("score_samples", "decision_function", "predict"):
        np.testing.assert_array_equal(getattr(actual, method)(table), getattr(expected, method)(table), err_msg=method)


# Pipelines and searches


def test_a_clone_has_the_parameters_but_is_not_fitted():
    fitted = forest(contamination=0.1, max_features=2).fit(X)
    copied = clone(fitted)
    assert type(copied) is IsolationForest
    assert copied.get_params() == fitted.get_params()
    assert not hasattr(copied, "offset_")
    assert_same(copied.fit(X), fitted)


def test_a_pipeline_with_a_column_transformer_gives_the_results_of_its_steps():
    frame = FRAME.assign(kind=np.where(X[:, 0] > 0, "x", "y"))
    columns = ColumnTransformer(
        [("numbers", StandardScaler(), list("abcd")), ("categories", OneHotEncoder(), ["kind"])]
    )
    pipeline = Pipeline([("columns", columns), ("forest", forest(contamination=0.1))]).fit(frame)
    assert_same(pipeline[-1], forest(contamination=0.1).fit(columns.fit_transform(frame)), columns.transform(frame))
    np.testing.assert_array_equal(pipeline.predict(frame), pipeline[-1].predict(columns.transform(frame)))
    assert (pipeline.fit_predict(frame) == -1).sum() == 40
    assert pipeline.set_params(forest__n_estimators=3).fit(frame)[-1]._fitted.native.n_trees == 3


def test_feature_names_come_from_the_previous_step():
    # The previous step gives frames for fitting and for scoring, so no warning about names is expected.
    scaler = StandardScaler().set_output(transform="pandas")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pipeline = make_pipeline(scaler, forest(contamination=0.1)).fit(FRAME)
        assert list(pipeline[-1].feature_names_in_) == ["a", "b", "c", "d"]
        scores = pipeline.score_samples(FRAME)
    without_names = make_pipeline(StandardScaler(), forest(contamination=0.1)).fit(X)
    np.testing.assert_array_equal(scores, without_names.score_samples(X))
    assert pipeline[-1].offset_ == without_names[-1].offset_


def test_a_grid_search_gives_equal_results_for_any_number_of_jobs():
    y = (np.abs(X).sum(axis=1) > 5).astype(int)

    def scorer(model, X, y):
        return roc_auc_score(y, -model.score_samples(X))

    grid = {"max_samples": [16, 64], "max_features": [2, 4]}
    searches = [GridSearchCV(forest(), grid, scoring=scorer, cv=3, n_jobs=n_jobs).fit(X, y) for n_jobs in (1, 2)]
    assert searches[0].best_params_ == searches[1].best_params_
    for name in ("mean_test_score", "split0_test_score"):
        np.testing.assert_array_equal(*(search.cv_results_[name] for search in searches))
    assert searches[1].best_score_ > 0.5
    assert_same(searches[1].best_estimator_, forest(**searches[1].best_params_).fit(X))


def test_metadata_routing_passes_weights_to_the_steps_that_request_them():
    weights = R.random(400)
    expected = forest().fit(StandardScaler().fit_transform(X), sample_weight=weights)
    unweighted = forest().fit(StandardScaler().fit_transform(X))
    assert not np.array_equal(expected.score_samples(X), unweighted.score_samples(X))
    with config_context(enable_metadata_routing=True):
        steps = StandardScaler().set_fit_request(sample_weight=False), forest().set_fit_request(sample_weight=True)
        pipeline = make_pipeline(*steps).fit(X, sample_weight=weights)
        assert_same(pipeline[-1], expected)
        steps = StandardScaler().set_fit_request(sample_weight=True), forest().set_fit_request(sample_weight=False)
        assert_same(
            make_pipeline(*steps).fit(X, sample_weight=weights)[-1],
            forest().fit(StandardScaler().fit_transform(X, sample_weight=weights)),
        )
    assert_same(make_pipeline(StandardScaler(), forest()).fit(X, isolationforest__sample_weight=weights)[-1], expected)


# joblib and other processes


@pytest.mark.parametrize("backend", ["threading", "loky", "sequential"])
@pytest.mark.parametrize("n_jobs", [1, 2, -1])
def test_results_do_not_depend_on_the_joblib_backend(backend, n_jobs):
    expected = forest(contamination=0.1).fit(X)
    with joblib.parallel_config(backend=backend, n_jobs=n_jobs):
        assert_same(forest(contamination=0.1).fit(X), expected)
        assert_same(expected, forest(contamination=0.1, n_jobs=2).fit(X))


def _fit_and_score(table):
    return forest(contamination=0.1).fit(table).decision_function(table)


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_results_in_joblib_workers_equal_those_in_the_parent(backend):
    expected = _fit_and_score(X)
    fitted = forest(contamination=0.1).fit(X)
    with joblib.parallel_config(backend=backend, n_jobs=2):
        for scores in joblib.Parallel()(joblib.delayed(_fit_and_score)(X) for _ in range(4)):
            np.testing.assert_array_equal(scores, expected)
        for scores in joblib.Parallel()(joblib.delayed(fitted.decision_function)(X) for _ in range(4)):
            np.testing.assert_array_equal(scores, expected)


@pytest.mark.slow
@pytest.mark.thread_unsafe(reason="it starts a process")
def test_a_spawned_process_scores_an_unpickled_forest():
    fitted = forest(contamination=0.1).fit(X)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for scores in pool.map(fitted.decision_function, [X] * 3):
            np.testing.assert_array_equal(scores, fitted.decision_function(X))


# Serialization


def by_joblib(path, fitted, compress=0, **options):
    joblib.dump(fitted, path / "forest.joblib", compress=compress)
    return joblib.load(path / "forest.joblib", **options)


STORES = {
    **{f"pickle {p}": lambda path, f, p=p: pickle.loads(pickle.dumps(f, protocol=p)) for p in range(2, 6)},
    "cloudpickle": lambda path, fitted: cloudpickle.loads(cloudpickle.dumps(fitted)),
    "joblib": by_joblib,
    "joblib, compressed": lambda path, fitted: by_joblib(path, fitted, compress=3),
    "joblib, mapped": lambda path, fitted: by_joblib(path, fitted, mmap_mode="r"),
    "skops": lambda path, fitted: skops.io.loads(skops.io.dumps(fitted), trusted=[TYPE]),
    "copy": lambda path, fitted: copy.copy(fitted),
    "deepcopy": lambda path, fitted: copy.deepcopy(fitted),
}
#: The name of the class in files of skops.
TYPE = f"{IsolationForest.__module__}.{IsolationForest.__qualname__}"


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("store", STORES)
def test_a_loaded_forest_equals_the_stored_one(store, table, tmp_path):
    table = TABLES[table]
    weights = R.random(400)
    params = {"contamination": 0.1, "max_features": 2, "warm_start": True}
    fitted = forest(**params).fit(table, sample_weight=weights)
    loaded = STORES[store](tmp_path, fitted)
    assert type(loaded) is IsolationForest
    assert loaded.get_params() == fitted.get_params()
    assert_same(loaded, fitted, table)
    assert hasattr(loaded, "feature_names_in_") == hasattr(fitted, "feature_names_in_")
    np.testing.assert_array_equal(loaded.estimators_samples_, fitted.estimators_samples_)
    np.testing.assert_array_equal(loaded.estimators_features_, fitted.estimators_features_)
    np.testing.assert_array_equal(loaded.to_sklearn().score_samples(table), fitted.score_samples(table))
    for model in (loaded, fitted):
        model.set_params(n_estimators=15).fit(table, sample_weight=weights)
    assert_same(loaded, fitted, table)


@pytest.mark.parametrize("store", STORES)
def test_unfitted_forests_can_be_stored(store, tmp_path):
    loaded = STORES[store](tmp_path, forest(max_features=2))
    assert loaded.get_params() == forest(max_features=2).get_params()
    with pytest.raises(NotFittedError):
        loaded.predict(X)


def test_skops_needs_trust_only_in_the_class():
    fitted = forest(contamination=0.1).fit(FRAME)
    assert fitted.estimators_  # These trees are made on demand, and are not stored in the file.
    stored = skops.io.dumps(fitted)
    assert skops.io.get_untrusted_types(data=stored) == [TYPE]
    assert TYPE == "isoxide.IsolationForest"
    with pytest.raises(skops.io.exceptions.UntrustedTypesFoundException):
        skops.io.loads(stored)


def test_a_pickle_refers_to_no_private_module():
    # Public names stay valid in later versions. The trees made for `estimators_` are not stored.
    fitted = forest(contamination=0.1).fit(FRAME)
    data = pickle.dumps(fitted)
    assert fitted.estimators_
    assert pickle.dumps(fitted) == data
    out = io.StringIO()
    pickletools.dis(data, out=out)
    names = {line.split("'")[1] for line in out.getvalue().splitlines() if "UNICODE" in line}
    assert {name for name in names if name.startswith("isoxide")} == {"isoxide"}
    assert not any("tree" in name and name.startswith("sklearn") for name in names)


# Recalibration


@pytest.mark.parametrize("contamination", ["auto", 0.001, 0.01, 0.05, 0.1, 1 / 3, 0.5, np.float32(0.2)])
@pytest.mark.parametrize("table", TABLES)
def test_recalibrating_equals_fitting_with_that_contamination(table, contamination):
    table = TABLES[table]
    expected = forest(contamination=contamination).fit(table)
    for before in ("auto", 0.25):
        recalibrated = forest(contamination=before).fit(table)
        trees = recalibrated._fitted.native
        assert recalibrated.recalibrate(table, contamination=contamination) is recalibrated
        assert recalibrated._fitted.native is trees
        assert recalibrated.contamination == contamination
        assert type(recalibrated.offset_) is type(expected.offset_)
        assert recalibrated.get_params() == expected.get_params()
        assert_same(recalibrated, expected, table)


def test_recalibrating_on_other_rows_sets_the_offset_for_these_rows():
    recalibrated = forest().fit(X).recalibrate(X[:100], contamination=0.1)
    assert (recalibrated.predict(X[:100]) == -1).sum() == 10
    assert recalibrated.offset_ == np.percentile(recalibrated.score_samples(X[:100]), 10)


@pytest.mark.parametrize("contamination", [0, 0.0, -0.1, 0.51, 1, np.nan, np.inf, "many", None, [0.1]])
def test_invalid_contaminations_are_refused(contamination):
    fitted = forest(contamination=0.1).fit(X)
    offset = fitted.offset_
    with pytest.raises(ValueError, match="The 'contamination' parameter of IsolationForest must be"):
        fitted.recalibrate(X, contamination=contamination)
    assert (fitted.offset_, fitted.contamination) == (offset, 0.1)


@pytest.mark.parametrize("contamination", ["auto", 0.2])
def test_refused_rows_do_not_change_the_forest(contamination):
    fitted = forest(contamination=0.1).fit(X)
    offset = fitted.offset_
    for rows, message in (
        (X[:, :2], "X has 2 features"),
        (X[:0], "Found array with 0 sample"),
        ([["x"] * 4], "convert"),
    ):
        with pytest.raises(ValueError, match=message):
            fitted.recalibrate(rows, contamination=contamination)
        with pytest.raises(ValueError, match=message):
            fitted.contamination_at(rows, 0.0)
    assert (fitted.offset_, fitted.contamination) == (offset, 0.1)


def test_unfitted_forests_are_refused():
    with pytest.raises(NotFittedError):
        IsolationForest().recalibrate(X, contamination=0.1)
    with pytest.raises(NotFittedError):
        IsolationForest().contamination_at(X, 0.0)


@pytest.mark.parametrize("table", TABLES)
def test_contamination_at_is_the_share_of_rows_at_or_below_the_threshold(table):
    table = TABLES[table]
    fitted = forest(contamination=0.1).fit(table)
    decision = fitted.decision_function(table)
    share = fitted.contamination_at(table, 0.0)
    assert type(share) is float
    assert share == (decision <= 0.0).mean() >= (fitted.predict(table) == -1).mean()
    for threshold in (-1.0, -0.05, float(decision.min()), float(np.median(decision)), float(decision.max()), 1.0):
        assert fitted.contamination_at(table, threshold) == (decision <= threshold).mean()
    assert fitted.contamination_at(table, -np.inf) == 0.0
    assert fitted.contamination_at(table, np.inf) == 1.0


def test_contamination_at_counts_the_threshold_itself():
    # `predict` labels only rows below the threshold as outliers.
    fitted = forest().fit(X)
    fitted.offset_ = fitted.score_samples(X)[17]
    decision = fitted.decision_function(X)
    assert decision[17] == 0.0
    assert fitted.contamination_at(X, 0.0) == (decision < 0).mean() + (decision == 0).mean()
    assert fitted.contamination_at(X, 0.0) > (fitted.predict(X) == -1).mean()
