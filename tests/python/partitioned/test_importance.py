"""Test that importances of partitions have the bits of those of the whole table."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError

from isoxide import IsolationForest
from list_engine import arrow, partitioned
from partition_tables import frame_of, in_memory

pytestmark = pytest.mark.current_versions(reason="scikit-learn 1.6 grows other forests on some tables")


@pytest.mark.parametrize("n_partitions", [1, 2, 7, 64])
@pytest.mark.parametrize("output", ["log2", "path_length"])
def test_importances_equal_those_of_the_whole_table(seed, n_partitions, output):
    frame = frame_of(np.random.default_rng([seed, n_partitions]), 900)
    X = in_memory(frame).drop(columns="group")
    forest = IsolationForest(n_estimators=15, random_state=0).fit(X)
    actual = partitioned(arrow(frame), n_partitions, seed).importance(forest, output=output)
    assert_array_equal(actual, forest.importance(X, output=output))
    assert (actual[[0, 1]] > 0).all()
    assert actual[X.columns.get_loc("constant")] == 0


def test_bad_input(seed):
    frame = frame_of(np.random.default_rng(seed), 50).drop(columns="group")
    forest = IsolationForest(n_estimators=2, random_state=0).fit(in_memory(frame))
    with pytest.raises(NotFittedError):
        partitioned(arrow(frame), 2).importance(IsolationForest())
    with pytest.raises(ValueError, match="output must be one of"):
        partitioned(arrow(frame), 2).importance(forest, output="score")
    with pytest.raises(ValueError, match="the list has no rows, but an importance needs at least one"):
        partitioned(arrow(frame[:0]), 2).importance(forest)
    with pytest.raises(ValueError, match="'normal'"):
        partitioned(arrow(frame.drop(columns="normal")), 2).importance(forest)
