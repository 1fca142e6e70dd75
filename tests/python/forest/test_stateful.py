"""One estimator through a long life, step by step next to scikit-learn's: whatever is called in whatever order."""

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
def tables(draw, n_columns=None, fewest=1):
    """Zero-heavy counts with ties, measures, constant columns, missing values; arrays, frames and sparse rows."""
    r = np.random.default_rng(draw(SEEDS))
    n, d = draw(st.sampled_from([fewest, 2, 9, 120, 300])), n_columns or draw(st.integers(1, 5))
    X = np.where(r.random((n, d)) < 0.6, 0.0, r.poisson(3, (n, d)))
    kind = draw(st.sampled_from(["counts", "measures", "missing", "constant"]))
    if kind == "measures":
        X = r.normal(size=(n, d)) * 10.0 ** r.integers(-3, 4, d)
    elif kind == "missing":
        X[r.random((n, d)) < 0.2] = np.nan
    elif kind == "constant":
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


#: What cannot be fitted: parameters, table and weights.
X = np.arange(20.0).reshape(10, 2)
BAD = {
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


def fails(call, *args):
    """The class of the exception that a call ends with; None if it ends well."""
    try:
        outcome(call, *args)
    except Exception as error:
        return type(error)
    return None


class Life(RuleBasedStateMachine):
    """Ours and theirs, with the same parameters and the same history."""

    @initialize(seed=SEEDS)
    def begin(self, seed):
        self.ours = IsolationForest(n_estimators=3, random_state=seed)
        self.theirs = SklearnForest(n_estimators=3, random_state=seed)
        self.fitted = self.weights = None
        #: Whether a fit of theirs on the same table would give the same trees again.
        self.is_fresh = False

    @property
    def both(self):
        return self.ours, self.theirs

    def is_fitted(self):
        return self.fitted is not None

    @rule(params=st.fixed_dictionaries({}, optional=PARAMS))
    def set_params(self, params):
        for forest in self.both:
            forest.set_params(**params)
        self.is_fresh = False

    @rule(n_more=st.integers(1, 4))
    def go_on(self, n_more):
        for forest in self.both:
            forest.set_params(warm_start=True, n_estimators=forest.n_estimators + n_more)
        self.is_fresh = False

    @rule(seed=SEEDS, kind=st.sampled_from(["int", "instance", "global"]))
    def set_random_state(self, seed, kind):
        for forest in self.both:
            states = {"int": seed, "instance": np.random.RandomState(seed), "global": None}
            forest.set_params(random_state=states[kind])
        self.is_fresh = False

    @rule(data=st.data(), seed=SEEDS, weighted=st.booleans())
    def fit(self, data, seed, weighted):
        # Trees that stay were grown on so many columns.
        goes_on = self.is_fitted() and self.ours.warm_start
        if goes_on:
            # scikit-learn cannot score trees over some of the columns once it was told to draw all of them.
            for forest in self.both:
                forest.set_params(max_features=self.max_features)
        # A share of one row is no row: refused by ours even if no tree is to be grown on it, by theirs only if one is.
        fewest = 2 if isinstance(self.ours.max_samples, float) else 1
        table = data.draw(tables(self.ours.n_features_in_ if goes_on else None, fewest))
        n = table.shape[0]
        weights = np.random.default_rng(seed).integers(0, 3, n) + 0.5 if weighted else None
        before = copy.deepcopy(self.theirs)
        results = []
        for forest in self.both:
            np.random.seed(seed)  # what random_state=None draws from
            try:
                results.append(outcome(forest.fit, table, None, weights)[1])
            except ValueError as error:
                results.append(str(error).split(" (")[0])
        ours, theirs = results
        assert ours == theirs, f"{ours} | {theirs}"
        if isinstance(ours, str):
            self.refused(before)
        else:
            self.fitted, self.weights, self.max_features = table, weights, self.ours.max_features
            self.is_fresh = not goes_on and isinstance(self.ours.random_state, int)

    @precondition(is_fitted)
    @rule(data=st.data(), seed=SEEDS, weighted=st.booleans())
    def fit_without_new_trees(self, data, seed, weighted):
        for forest in self.both:
            forest.set_params(warm_start=True, n_estimators=len(forest.estimators_))
        self.fit(data, seed, weighted)

    @rule(name=st.sampled_from(sorted(BAD)))
    def fit_what_cannot_be_fitted(self, name):
        params, table, weights = BAD[name]
        before, kept = copy.deepcopy(self.theirs), self.ours.get_params()
        state = {name: value for name, value in vars(self.ours).items() if name not in kept}
        for forest in self.both:
            # A warm start that grows nothing does not look at all of it.
            forest.set_params(warm_start=False, **params)
        ours, theirs = (fails(forest.fit, table, None, weights) for forest in self.both)
        assert ours is theirs
        assert ours is not None
        self.ours.set_params(**kept)
        after = {name: value for name, value in vars(self.ours).items() if name not in kept}
        assert state.keys() == after.keys()
        assert all(state[name] is after[name] for name in state)
        self.refused(before)

    def refused(self, before):
        """Ours is as it was; theirs is made so, for a fit that fails leaves it changed."""
        self.theirs = before
        if isinstance(self.ours.random_state, np.random.RandomState):
            # Is the caller's; how far a fit got in it before it failed is not promised.
            self.set_random_state(0, "instance")

    @precondition(is_fitted)
    @rule(contamination=st.one_of(st.just("auto"), SHARES))
    def recalibrate(self, contamination):
        self.ours.recalibrate(self.fitted, contamination=contamination)
        if self.is_fresh:
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
            self.is_fresh = False
        elif how == "deepcopy":
            self.ours, self.theirs = copy.deepcopy(self.both)
        else:
            self.ours, self.theirs = (pickle.loads(pickle.dumps(forest, how)) for forest in self.both)

    @precondition(is_fitted)
    @rule(way=st.sampled_from(["there", "back", "both"]))
    def change_sides(self, way):
        """Each becomes what the other can be made into."""
        # Copies: an instance as random_state would otherwise be shared by the two.
        ours, theirs = IsolationForest.from_sklearn(copy.deepcopy(self.theirs)), copy.deepcopy(self.ours).to_sklearn()
        if way != "back":
            self.ours = ours
        if way != "there":
            self.theirs = theirs

    @precondition(is_fitted)
    @rule(data=st.data())
    def score(self, data):
        assert_same_scores(*self.both, data.draw(tables(self.ours.n_features_in_)))
        assert_same_scores(*self.both, self.fitted)

    @precondition(is_fitted)
    @rule(more=st.sampled_from([-1, 1]))
    def score_other_columns(self, more):
        table = np.ones((3, self.ours.n_features_in_ + more))
        ours, theirs = (fails(forest.predict, table) for forest in self.both)
        assert ours is theirs is ValueError

    @precondition(lambda self: not self.is_fitted())
    @rule()
    def score_before_any_fit(self):
        for forest in self.both:
            with pytest.raises(NotFittedError):
                forest.predict(X)

    @invariant()
    def has_the_same_parameters(self):
        ours, theirs = (forest.get_params() for forest in self.both)
        states = [params.pop("random_state") for params in (ours, theirs)]
        assert ours == theirs, f"{ours} | {theirs}"
        if isinstance(states[0], np.random.RandomState):
            states = [copy.deepcopy(state).randint(2**31) for state in states]
        assert states[0] == states[1]

    @invariant()
    def has_the_same_attributes(self):
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


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=100,
    stateful_step_count=20,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
