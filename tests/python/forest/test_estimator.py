"""Compare IsolationForest with scikit-learn: trees, scores, offset and predictions must be bit-identical."""

import copy
import os
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.ensemble import IsolationForest as SklearnForest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from isoxide import IsolationForest
from parity import (
    assert_same_forest,
    assert_same_scores,
    fit_both,
    mixed_frame,
    outcome,
    random_container,
    random_params,
    random_table,
    random_weights,
)
from seeds import SEED

pytestmark = pytest.mark.parity

#: Number of random configurations in each run. ISOXIDE_TEST_GRID sets it for a longer search.
GRID = int(os.environ.get("ISOXIDE_TEST_GRID", "240"))


@pytest.mark.slow
@pytest.mark.search
@pytest.mark.current_versions(reason="scikit-learn 1.6 treats missing values and weights differently")
@pytest.mark.parametrize("index", range(GRID))
def test_random_forests_equal_scikit_learns(index):
    """Fit and score a random table in a random container with random parameters; all of them are drawn from SEED."""
    r = np.random.default_rng([SEED, index])
    x = random_table(r)
    X = random_container(r, x)
    params = random_params(r, *x.shape)
    seed = int(r.integers(2**32))
    state_type = ("instance", "global", "integer", "integer")[r.integers(4)]
    states = []

    def state():
        if state_type == "instance":
            states.append(np.random.RandomState(seed))
            states[-1].random_sample(seed % 700)
            return states[-1]
        if state_type == "global":
            np.random.seed(seed)  # random_state=None draws from this global generator.
            return None
        return seed

    weights = random_weights(r, len(x))
    can_draw_every_row = weights is None or params["bootstrap"] or (weights > 0).all()
    if not can_draw_every_row:
        # Both libraries refuse max_samples above the number of rows of positive weight; test_validation.py checks that.
        params["max_samples"] = max(1, int((weights > 0).sum()) // 2)
    theirs, their_warnings = outcome(lambda: SklearnForest(random_state=state(), **params).fit(X, None, weights))
    global_state = np.random.get_state()
    ours, our_warnings = outcome(lambda: IsolationForest(random_state=state(), **params).fit(X, None, weights))
    assert our_warnings == their_warnings
    assert_same_forest(ours, theirs)
    assert_same_scores(ours, theirs, X)
    if state_type == "instance":
        assert states[0].randint(2**31) == states[1].randint(2**31)
    if state_type == "global":
        np.testing.assert_array_equal(np.random.get_state()[1], global_state[1])
        assert np.random.get_state()[2] == global_state[2]
    if not hasattr(ours, "feature_names_in_"):
        unseen = r.choice([0.0, 1.0, -5.0, np.nan, np.inf, 0.3], (50, x.shape[1]))
        assert_same_scores(ours, theirs, unseen)


@pytest.mark.parametrize(
    ("n", "params"),
    [
        (30_000, {}),
        (12_000, {"max_samples": 64}),
        (3_000, {"max_samples": 1.0, "n_estimators": 3}),
        (300, {"max_samples": 299}),
        (20_000, {"contamination": 0.003}),
    ],
)
def test_every_sampling_algorithm_draws_the_rows_of_scikit_learn(n, params, seed):
    r = np.random.default_rng(seed)
    X = np.column_stack([r.normal(size=n), r.poisson(1, n), r.normal(size=n).round(1)])
    ours, theirs = fit_both(X, lambda: seed, **{"n_estimators": 10, **params})
    assert_same_forest(ours, theirs)
    assert_same_scores(ours, theirs, X)


@pytest.mark.parametrize("n_jobs", [None, 1, 2, 3, 64, -1, -2])
def test_n_jobs_does_not_change_results(n_jobs, seed):
    r = np.random.default_rng(seed)
    X = r.normal(size=(5_000, 11))
    X[r.random(X.shape) < 0.1] = np.nan
    expected = IsolationForest(random_state=seed, contamination=0.1, n_jobs=1).fit(X)
    result = IsolationForest(random_state=seed, contamination=0.1, n_jobs=n_jobs).fit(X)
    assert result.offset_ == expected.offset_
    np.testing.assert_array_equal(result.score_samples(X), expected.score_samples(X))


def test_warm_start(seed):
    X = np.random.default_rng(seed).normal(size=(300, 4))
    params = {"n_estimators": 5, "warm_start": True, "random_state": seed, "contamination": 0.2}
    ours, theirs = IsolationForest(**params), SklearnForest(**params)
    for n_estimators, max_samples in [(5, "auto"), (9, 20), (9, 20), (12, 300)]:
        for forest in (ours, theirs):
            forest.set_params(n_estimators=n_estimators, max_samples=max_samples)
        fits = [outcome(lambda f=forest: f.fit(X))[1] for forest in (ours, theirs)]
        assert fits[0] == fits[1]
        assert_same_forest(ours, theirs)
        assert_same_scores(ours, theirs, X)
    for forest in (ours, theirs):
        forest.set_params(n_estimators=3)
    messages = []
    for forest in (ours, theirs):
        with pytest.raises(ValueError, match="n_estimators=3 must be larger") as caught:
            forest.fit(X)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_large_integers_of_a_frame_are_rounded_as_pandas_does(seed):
    r = np.random.default_rng(seed)
    integers = (1 << 60) + (1 << 36) * r.integers(0, 3, (200, 3)) + r.integers(0, 3, (200, 3))
    frame = pd.DataFrame(integers, columns=["a", "b", "c"])
    for X in (frame, frame.assign(d=0.5), frame.astype({"a": np.float32}), integers):
        ours, theirs = fit_both(X, lambda: seed)
        assert_same_forest(ours, theirs)
        assert_same_scores(ours, theirs, X)


def test_frames_are_not_changed_and_give_the_scores_of_their_values(seed):
    r = np.random.default_rng(seed)
    frame = mixed_frame(r, r.poisson(3, (500, 6)) * 1.0)
    before = frame.copy(deep=True)
    forest = IsolationForest(random_state=seed).fit(frame)
    pd.testing.assert_frame_equal(frame, before)
    np.testing.assert_array_equal(
        forest.score_samples(frame),
        IsolationForest(random_state=seed).fit(frame.to_numpy(np.float64)).score_samples(frame.to_numpy(np.float64)),
    )


def test_fit_predict_is_fit_then_predict(seed):
    X = np.random.default_rng(seed).normal(size=(200, 3))
    forest = IsolationForest(random_state=seed, contamination=0.1)
    labels = forest.fit_predict(X)
    np.testing.assert_array_equal(labels, SklearnForest(random_state=seed, contamination=0.1).fit_predict(X))
    np.testing.assert_array_equal(labels, forest.predict(X))
    assert (labels == -1).sum() == 20


class ForestOfSubclass(IsolationForest):
    """Subclass with its own parameters."""

    def __init__(self, n_estimators=7, extra=None):
        super().__init__(n_estimators=n_estimators)
        self.extra = extra


def test_a_subclass_has_the_parameters_of_its_own_signature():
    forest = ForestOfSubclass(extra=3)
    assert forest.get_params() == {"extra": 3, "n_estimators": 7}
    assert clone(forest).get_params() == forest.get_params()
    names = IsolationForest._get_param_names()
    assert names == SklearnForest._get_param_names()
    # Changing the list changes no later call.
    names.clear()
    assert IsolationForest._get_param_names()


def test_parameters_clones_and_reprs_equal_scikit_learns(seed):
    X = np.random.default_rng(seed).normal(size=(100, 3))
    forest = IsolationForest(n_estimators=7, random_state=seed)
    reference = SklearnForest(n_estimators=7, random_state=seed)
    assert forest.get_params() == reference.get_params()
    assert clone(forest).get_params() == forest.get_params()
    assert repr(forest) == repr(reference)
    assert forest.fit(X) is forest
    assert "IsolationForest" in forest._repr_html_()
    assert forest.__sklearn_tags__().input_tags.allow_nan
    assert forest.__sklearn_tags__().estimator_type == "outlier_detector"
    pipeline = make_pipeline(StandardScaler(), IsolationForest(random_state=seed)).fit(X)
    twin = make_pipeline(StandardScaler(), SklearnForest(random_state=seed)).fit(X)
    np.testing.assert_array_equal(pipeline.decision_function(X), twin.decision_function(X))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda forest: pickle.loads(pickle.dumps(forest))])
def test_copies_score_the_same_and_continue_a_warm_start(copied, seed):
    X = np.random.default_rng(seed).normal(size=(300, 4))
    forest = IsolationForest(n_estimators=10, random_state=seed, max_features=2, warm_start=True).fit(X)
    twin = copied(forest)
    np.testing.assert_array_equal(twin.score_samples(X), forest.score_samples(X))
    for model in (forest, twin):
        model.set_params(n_estimators=15).fit(X)
    np.testing.assert_array_equal(twin.score_samples(X), forest.score_samples(X))


def test_verbose_prints_the_number_of_trees(capsys, seed):
    X = np.random.default_rng(seed).normal(size=(50, 2))
    IsolationForest(random_state=seed).fit(X)
    assert capsys.readouterr().out == ""
    IsolationForest(n_estimators=3, random_state=seed, verbose=1).fit(X)
    assert "3 trees" in capsys.readouterr().out


def test_many_python_threads_score_one_forest(seed):
    from concurrent.futures import ThreadPoolExecutor

    X = np.random.default_rng(seed).normal(size=(3_000, 5))
    forest = IsolationForest(random_state=seed).fit(X)
    expected = forest.score_samples(X)
    with ThreadPoolExecutor(8) as pool:
        for scores in pool.map(lambda _: forest.score_samples(X), range(32)):
            np.testing.assert_array_equal(scores, expected)
