"""Sparse matrices whose parts do not fit together are refused: scipy's own conversions read and write out of bounds."""

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
    """No row ends where the last one does: scipy looks at none of them where there seems to be nothing stored."""
    X.indptr[1:-1] = FAR
    X.indptr[-1] = 0


def fewer_than_nothing(X):
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


COMPRESSED = (row_ends_beyond, fewer_than_nothing, differences_that_overflow, index_beyond, index_before)
DAMAGE = {
    "csr": COMPRESSED,
    "csc": COMPRESSED,
    "bsr": COMPRESSED,
    "coo": (row_beyond, row_before, column_beyond, column_before),
}


def refused(layout, dtype):
    """Each in a process of its own, since what is written out of bounds may only tell much later."""
    forest = IsolationForest(n_estimators=2, random_state=0).fit(matrix("csr", np.float32))

    def check(damage, call):
        X = matrix(layout, dtype)
        damage(X)
        with pytest.raises(ValueError, match=r"ind(ex|ices|ptr)|Ind"):
            call(X)

    for damage in DAMAGE[layout]:
        for call in (IsolationForest(n_estimators=2).fit, forest.predict):
            if code := exit_code(run_in_fork(check, damage, call)):
                print(f"{call.__name__} with {damage.__name__}: {code}")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("layout", DAMAGE)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parts_that_do_not_fit_are_refused(layout, dtype):
    assert_silent(run_in_new_process(refused, layout, dtype))
