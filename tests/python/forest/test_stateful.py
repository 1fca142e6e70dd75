"""Call methods of our estimator and scikit-learn's in the same random order, and compare the two after each call."""

import copy
import pickle

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sklearn.base import clone
from sklearn.ensemble import IsolationForest as SklearnForest
from sklearn.exceptions import NotFittedError

from isoxide import IsolationForest
from parity import assert_same_arrays, assert_same_scores, outcome

pytestmark = [
    pytest.mark.slow,
    pytest.mark.current_versions(reason="scikit-learn 1.6 treats missing values and weights differently"),
]

SHARES = st.floats(0.01, 0.5)
PARAMS = {
    "n_estimators": st.integers(1, 8),
    "max_samples": st.one_of(st.just("auto"), st.integers(1, 400), st.floats(0.5, 1.0)),
    "contamination": st.one_of(st.just("auto"), SHARES),
    "max_features": st.one_of(st.just(1.0), st.integers(1, 3), st.floats(0.1, 1.0)),
    "bootstrap": st.booleans(),
    "warm_start": st.booleans(),
    "n_jobs": st.sampled_from([None, 1, 2]),
}
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def tables(draw, n_columns=None, min_rows=1):
    """Draw an array, a frame or a sparse matrix of counts, measurements, missing values or a constant column."""
    r = np.random.default_rng(draw(SEEDS))
    n, d = draw(st.sampled_from([min_rows, 2, 9, 120, 300])), n_columns or draw(st.integers(1, 5))
    X = np.where(r.random((n, d)) < 0.6, 0.0, r.poisson(3, (n, d)))
    values = draw(st.sampled_from(["counts", "measurements", "missing", "constant"]))
    if values == "measurements":
        X = r.normal(size=(n, d)) * 10.0 ** r.integers(-3, 4, d)
    elif values == "missing":
        X[r.random((n, d)) < 0.2] = np.nan
    elif values == "constant":
        X[:, 0] = draw(st.sampled_from([0.0, 5.0]))
    X = X.astype(draw(st.sampled_from([np.float32, np.float64])))
    match draw(st.sampled_from(["array", "array", "columns", "frame", "frame", "sparse"])):
        case "columns":
            return np.asfortranarray(X)
        case "frame":
            return pd.DataFrame(X, columns=[f"feature {j}" for j in range(d)])
        case "sparse":
            return scipy.sparse.csr_array(X)
    return X


X = np.arange(20.0).reshape(10, 2)
#: Parameters, table and weights of fits that fail.
INVALID_FITS = {
    "no table": ({}, [1.0, 2.0], None),
    "three dimensions": ({}, np.zeros((2, 2, 2)), None),
    "no rows": ({}, np.zeros((0, 3)), None),
    "no columns": ({}, np.zeros((3, 0)), None),
    "text": ({}, [["a", "b"], ["c", "d"]], None),
    "complex": ({}, X + 1j, None),
    "names that are not all text": ({}, pd.DataFrame(X, columns=["a", 1]), None),
    "contamination": ({"contamination": 0.7}, X, None),
    "no trees": ({"n_estimators": 0}, X, None),
    "too many features": ({"max_features": 99}, X, None),
    "less than a row": ({"max_samples": 1e-9}, X, None),
    "weights of other rows": ({}, X, np.ones(3)),
    "missing weights": ({}, X, np.full(10, np.nan)),
    "negative weights": ({}, X, np.arange(10.0) - 1),
}


def exception_class(call, *args):
    """Return the class of the exception that a call raises, or None."""
    try:
        outcome(call, *args)
    except Exception as error:
        return type(error)
    return None


class EstimatorMachine(RuleBasedStateMachine):
    """Our estimator and scikit-learn's, with the same parameters and the same calls so far."""

    @initialize(seed=SEEDS)
    def begin(self, seed):
        self.ours = IsolationForest(n_estimators=3, random_state=seed)
        self.theirs = SklearnForest(n_estimators=3, random_state=seed)
        self.fitted = self.weights = None
        #: Whether a fit of scikit-learn's on the same table would give the same trees.
        self.is_repeatable = False

    @property
    def both(self):
        return self.ours, self.theirs

    def is_fitted(self):
        return self.fitted is not None

    @rule(params=st.fixed_dictionaries({}, optional=PARAMS))
    def set_params(self, params):
        for forest in self.both:
            forest.set_params(**params)
        self.is_repeatable = False

    @rule(n_new=st.integers(1, 4))
    def add_trees_in_the_next_fit(self, n_new):
        for forest in self.both:
            forest.set_params(warm_start=True, n_estimators=forest.n_estimators + n_new)
        self.is_repeatable = False

    @rule(seed=SEEDS, state_type=st.sampled_from(["int", "instance", "global"]))
    def set_random_state(self, seed, state_type):
        for forest in self.both:
            states = {"int": seed, "instance": np.random.RandomState(seed), "global": None}
            forest.set_params(random_state=states[state_type])
        self.is_repeatable = False

    @rule(data=st.data(), seed=SEEDS, weighted=st.booleans())
    def fit(self, data, seed, weighted):
        keeps_trees = self.is_fitted() and self.ours.warm_start
        if keeps_trees:
            # After max_features is raised, scikit-learn cannot score trees that drew fewer columns.
            for forest in self.both:
                forest.set_params(max_features=self.max_features)
        # If max_samples is less than one row, ours refuses it always, and scikit-learn only if it grows a tree.
        min_rows = 2 if isinstance(self.ours.max_samples, float) else 1
        table = data.draw(tables(self.ours.n_features_in_ if keeps_trees else None, min_rows))
        n = table.shape[0]
        weights = np.random.default_rng(seed).integers(0, 3, n) + 0.5 if weighted else None
        before = copy.deepcopy(self.theirs)
        results = []
        for forest in self.both:
            np.random.seed(seed)  # random_state=None draws from this global generator.
            try:
                results.append(outcome(forest.fit, table, None, weights)[1])
            except ValueError as error:
                results.append(str(error).split(" (")[0])
        ours, theirs = results
        assert ours == theirs, f"{ours} | {theirs}"
        if isinstance(ours, str):
            self.undo_failed_fit(before)
        else:
            self.fitted, self.weights, self.max_features = table, weights, self.ours.max_features
            self.is_repeatable = not keeps_trees and isinstance(self.ours.random_state, int)

    @precondition(is_fitted)
    @rule(data=st.data(), seed=SEEDS, weighted=st.booleans())
    def fit_without_new_trees(self, data, seed, weighted):
        for forest in self.both:
            forest.set_params(warm_start=True, n_estimators=len(forest.estimators_))
        self.fit(data, seed, weighted)

    @rule(name=st.sampled_from(sorted(INVALID_FITS)))
    def fail_to_fit(self, name):
        params, table, weights = INVALID_FITS[name]
        before, params_before = copy.deepcopy(self.theirs), self.ours.get_params()
        state = {name: value for name, value in vars(self.ours).items() if name not in params_before}
        for forest in self.both:
            # A warm start that grows no tree does not check everything.
            forest.set_params(warm_start=False, **params)
        ours, theirs = (exception_class(forest.fit, table, None, weights) for forest in self.both)
        assert ours is theirs
        assert ours is not None
        self.ours.set_params(**params_before)
        after = {name: value for name, value in vars(self.ours).items() if name not in params_before}
        assert state.keys() == after.keys()
        assert all(state[name] is after[name] for name in state)
        self.undo_failed_fit(before)

    def undo_failed_fit(self, before):
        """Set scikit-learn's forest back: unlike ours, it is changed by a fit that fails."""
        self.theirs = before
        if isinstance(self.ours.random_state, np.random.RandomState):
            # The two fits may have drawn different numbers of values from the instances before they failed.
            self.set_random_state(0, "instance")

    @precondition(is_fitted)
    @rule(contamination=st.one_of(st.just("auto"), SHARES))
    def recalibrate(self, contamination):
        self.ours.recalibrate(self.fitted, contamination=contamination)
        if self.is_repeatable:
            outcome(self.theirs.set_params(contamination=contamination).fit, self.fitted, None, self.weights)
            return
        self.theirs.set_params(contamination=contamination)
        scores = outcome(self.theirs.score_samples, self.fitted)[0]
        self.theirs.offset_ = -0.5 if contamination == "auto" else np.percentile(scores, 100.0 * contamination)

    @rule(how=st.sampled_from(["deepcopy", "clone", *range(2, pickle.HIGHEST_PROTOCOL + 1)]))
    def become_a_copy(self, how):
        if how == "clone":
            self.ours, self.theirs = clone(self.ours), clone(self.theirs)
            self.fitted = self.weights = None
            self.is_repeatable = False
        elif how == "deepcopy":
            self.ours, self.theirs = copy.deepcopy(self.both)
        else:
            self.ours, self.theirs = (pickle.loads(pickle.dumps(forest, how)) for forest in self.both)

    @precondition(is_fitted)
    @rule(replaced=st.sampled_from(["ours", "theirs", "both"]))
    def convert(self, replaced):
        """Replace each forest by the conversion of the other one."""
        # Convert copies, so that the two do not share a RandomState instance.
        ours, theirs = IsolationForest.from_sklearn(copy.deepcopy(self.theirs)), copy.deepcopy(self.ours).to_sklearn()
        if replaced != "theirs":
            self.ours = ours
        if replaced != "ours":
            self.theirs = theirs

    @precondition(is_fitted)
    @rule(data=st.data())
    def score(self, data):
        assert_same_scores(*self.both, data.draw(tables(self.ours.n_features_in_)))
        assert_same_scores(*self.both, self.fitted)

    @precondition(is_fitted)
    @rule(difference=st.sampled_from([-1, 1]))
    def refuse_another_number_of_columns(self, difference):
        table = np.ones((3, self.ours.n_features_in_ + difference))
        ours, theirs = (exception_class(forest.predict, table) for forest in self.both)
        assert ours is theirs is ValueError

    @precondition(lambda self: not self.is_fitted())
    @rule()
    def refuse_to_score_before_a_fit(self):
        for forest in self.both:
            with pytest.raises(NotFittedError):
                forest.predict(X)

    @invariant()
    def parameters_are_equal(self):
        ours, theirs = (forest.get_params() for forest in self.both)
        states = [params.pop("random_state") for params in (ours, theirs)]
        assert ours == theirs, f"{ours} | {theirs}"
        if isinstance(states[0], np.random.RandomState):
            states = [copy.deepcopy(state).randint(2**31) for state in states]
        assert states[0] == states[1]

    @invariant()
    def attributes_are_equal(self):
        assert hasattr(self.ours, "offset_") == self.is_fitted()
        if not self.is_fitted():
            return
        ours, theirs = self.both
        np.testing.assert_array_equal(ours.offset_, theirs.offset_)
        assert ours.n_features_in_ == theirs.n_features_in_
        assert ours.max_samples_ == theirs.max_samples_
        assert len(ours.estimators_) == len(theirs.estimators_)
        assert_same_arrays(ours.estimators_samples_, theirs.estimators_samples_)
        assert_same_arrays(ours.estimators_features_, theirs.estimators_features_)
        names = [list(getattr(forest, "feature_names_in_", [])) for forest in self.both]
        assert names[0] == names[1]


TestEstimatorMachine = EstimatorMachine.TestCase
TestEstimatorMachine.settings = settings(
    max_examples=100,
    stateful_step_count=20,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
