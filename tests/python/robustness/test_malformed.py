"""Test that sparse matrices with wrong indices are refused: scipy would read and write out of bounds."""

import os

import numpy as np
import pytest
import scipy.sparse

from isoxide import IsolationForest
from new_process import assert_silent, exit_code, run_in_fork, run_in_new_process

pytestmark = pytest.mark.slow

FAR = 100_000_000


def matrix(layout, dtype):
    X = np.arange(600.0).reshape(100, 6) % 7 % 3
    return scipy.sparse.csr_matrix(X.astype(dtype)).asformat(layout)


def row_ends_beyond(X):
    """Set the ends of rows beyond the cells; scipy does not check them if the last one says that no cell is stored."""
    X.indptr[1:-1] = FAR
    X.indptr[-1] = 0


def negative_number_of_cells(X):
    X.indptr[1:-1] = FAR
    X.indptr[-1] = -1


def differences_that_overflow(X):
    limits = np.iinfo(X.indptr.dtype)
    X.indptr[2:5] = limits.max, limits.min, -1


def index_beyond(X):
    X.indices[3] = FAR


def index_before(X):
    X.indices[3] = -5


def row_beyond(X):
    X.row[:9] = FAR


def row_before(X):
    X.row[:9] = -5


def column_beyond(X):
    X.col[:9] = FAR


def column_before(X):
    X.col[:9] = -5


COMPRESSED = (row_ends_beyond, negative_number_of_cells, differences_that_overflow, index_beyond, index_before)
DAMAGE = {
    "csr": COMPRESSED,
    "csc": COMPRESSED,
    "bsr": COMPRESSED,
    "coo": (row_beyond, row_before, column_beyond, column_before),
}


def print_calls_that_are_not_refused(layout, dtype):
    forest = IsolationForest(n_estimators=2, random_state=0).fit(matrix("csr", np.float32))

    def check(damage, call):
        X = matrix(layout, dtype)
        damage(X)
        with pytest.raises(ValueError, match=r"ind(ex|ices|ptr)|Ind"):
            call(X)

    for damage in DAMAGE[layout]:
        for call in (IsolationForest(n_estimators=2).fit, forest.predict):
            # Each call has its own process, since a write out of bounds may crash a process much later.
            if code := exit_code(run_in_fork(check, damage, call)):
                print(f"{call.__name__} with {damage.__name__}: {code}")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("layout", DAMAGE)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_wrong_indices_are_refused(layout, dtype):
    assert_silent(run_in_new_process(print_calls_that_are_not_refused, layout, dtype))
