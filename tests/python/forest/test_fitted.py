"""Test that the fitted state of a forest is one immutable object, which copies share and fits replace."""

import copy
import dataclasses
import threading

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import IsolationForest as SklearnForest

from isoxide import IsolationForest
from isoxide._forest.fitted import depth_limit

X = np.random.default_rng(0).normal(size=(300, 3))


def test_the_fitted_state_cannot_be_changed():
    fitted = IsolationForest(n_estimators=3, random_state=0).fit(X)._fitted
    for field in dataclasses.fields(fitted):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(fitted, field.name, None)


def test_a_fit_adds_only_public_attributes_and_the_fitted_state():
    forest = IsolationForest(n_estimators=3, random_state=0)
    assert vars(forest).keys() == forest.get_params().keys()
    forest.fit(X)
    learned = {"n_features_in_", "max_samples_", "offset_", "_fitted"}
    assert vars(forest).keys() == {*forest.get_params(), *learned}
    assert vars(clone(forest)).keys() == forest.get_params().keys()


def test_fits_and_calibrations_replace_the_fitted_state():
    forest = IsolationForest(n_estimators=3, random_state=0, warm_start=True).fit(X)
    first, trees = forest._fitted, list(forest.estimators_)
    twin = copy.copy(forest)
    assert twin._fitted is first
    forest.recalibrate(X, contamination=0.1)
    assert forest._fitted is not first
    assert (forest._fitted.offset, first.offset) == (forest.offset_, -0.5)
    assert forest._fitted.native is first.native
    assert forest.estimators_ is twin.estimators_
    forest.set_params(n_estimators=5).fit(X)
    assert (len(forest), len(twin)) == (5, 3)
    assert forest.estimators_[:3] == twin.estimators_ == trees


def test_files_and_copies_have_the_public_attributes_that_a_user_set():
    forest = IsolationForest(n_estimators=3, random_state=0).fit(X)
    forest.offset_ = -0.25
    forest.feature_names_in_ = np.array(["a", "b", "c"], dtype=object)
    for other in (IsolationForest.from_bytes(forest.to_bytes()), copy.deepcopy(forest), forest.to_sklearn()):
        assert other.offset_ == -0.25
        assert list(other.feature_names_in_) == ["a", "b", "c"]


def test_scores_follow_the_trees_not_the_public_attribute():
    """scikit-learn's scores do not follow ``max_samples_`` either."""
    ours, theirs = (cls(n_estimators=3, random_state=0).fit(X) for cls in (IsolationForest, SklearnForest))
    ours.max_samples_ = theirs.max_samples_ = 2
    np.testing.assert_array_equal(ours.score_samples(X), theirs.score_samples(X))
    np.testing.assert_array_equal(IsolationForest.from_bytes(ours.to_bytes()).score_samples(X), theirs.score_samples(X))


def test_threads_that_read_the_trees_at_once_get_the_same_objects():
    forest = IsolationForest(n_estimators=50, random_state=0).fit(X)
    barrier, lists = threading.Barrier(4), []

    def read():
        barrier.wait()
        lists.append(forest.estimators_)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(trees is lists[0] for trees in lists)
    assert len(lists[0]) == 50
    assert len({id(tree) for tree in lists[0]}) == 50


@pytest.mark.parametrize(("max_samples", "limit"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (256, 8), (257, 9)])
def test_the_depth_limit_equals_scikit_learns(max_samples, limit):
    theirs = SklearnForest(n_estimators=1, max_samples=max_samples).fit(X)
    assert depth_limit(max_samples) == theirs.estimators_[0].max_depth == limit
