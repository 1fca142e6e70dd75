"""Validate the input of the estimator as scikit-learn does, without a copy if the core can read it in place.

If the core can read an array or a frame in place, only the feature names and the number of features are checked. All
other input goes through scikit-learn's own checks, which convert it or raise the messages that users know. No other
module calls scikit-learn's validation.
"""

from __future__ import annotations

import sys
from numbers import Integral, Real
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions, validate_parameter_constraints
from sklearn.utils.validation import _check_sample_weight, validate_data

from isoxide._frames.adapter import float32_of_objects
from isoxide._frames.containers import Columns, frame_columns, is_one_piece
from isoxide._frames.dtypes import READABLE, is_uint64, readable

#: Table that the core accepts: a 2-D array, a list or tuple of one 1-D array per column (float64, float32 or int64; in
#: a tuple, integers are rounded to float64 before they are rounded to float32), or compressed sparse rows.
Table: TypeAlias = "NDArray[Any] | Columns | scipy.sparse.csr_array | scipy.sparse.csr_matrix"

#: Constraints on the parameters of ``IsolationForest``, the same as in scikit-learn 1.9.
PARAMETER_CONSTRAINTS: dict[str, list[Any]] = {
    "n_estimators": [Interval(Integral, 1, None, closed="left")],
    "max_samples": [
        StrOptions({"auto"}),
        Interval(Integral, 1, None, closed="left"),
        Interval(RealNotInt, 0, 1, closed="right"),
    ],
    "contamination": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="right")],
    "max_features": [Integral, Interval(Real, 0, 1, closed="right")],
    "bootstrap": ["boolean"],
    "n_jobs": [Integral, None],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
}

_PLAIN_ARRAYS = (np.ndarray, np.memmap)

#: Maximum numbers of rows and cells of a pandas frame of several blocks that is copied into one array. Taking a single
#: column costs 11 us, as much as copying 30,000 of its rows.
SMALL_FRAME_MAX_ROWS, SMALL_FRAME_MAX_CELLS = 2**14, 2**20


class Input(NamedTuple):
    """Checked table with its number of rows and of columns."""

    table: Table
    n_samples: int
    n_features: int


def check_input(estimator: BaseEstimator, X: Any, *, reset: bool) -> Input:
    """Check a table as scikit-learn does, without a copy if the core can read it in place.

    Parameters
    ----------
    estimator : estimator
        Estimator whose ``n_features_in_`` and ``feature_names_in_`` are set if `reset`, and compared otherwise.
    X : array-like, frame or sparse matrix of shape (n_samples, n_features)
        Table; missing and infinite values are allowed.
    reset : bool
        Whether the estimator is being fitted on `X`.

    Raises
    ------
    ValueError, TypeError
        The exceptions of scikit-learn's own class.
    """
    table = _borrow(X)
    if table is None:
        if scipy.sparse.issparse(X):
            X = _checked_sparse(X)
        table = validate_data(estimator, X, accept_sparse="csr", dtype=np.float32, ensure_all_finite=False, reset=reset)
        table = _readable_sparse(table) if scipy.sparse.issparse(table) else readable(table)
    elif reset or not _is_as_fitted(estimator, X):
        # Only the names and the number of features remain to be checked.
        validate_data(estimator, X, skip_check_array=True, reset=reset)
    if isinstance(table, (list, tuple)):
        return Input(table, len(table[0]), len(table))
    return Input(table, *table.shape)


def _checked_sparse(X: Any) -> Any:
    """Check the indices of a sparse matrix, since scipy's conversions would read out of bounds otherwise.

    A matrix that will be converted is copied first, since another thread could change it between the check and the
    conversion. A matrix that will not be converted is read by the core, which checks indices itself.
    """
    if X.format != "csr" or X.dtype != np.float32:
        X = X.copy() if X.dtype.isnative else X.astype(X.dtype.newbyteorder("="))
    if X.format in ("csr", "csc", "bsr"):
        # scipy does not check the other entries of `indptr` if the last one is 0.
        if len(X.indptr) and (X.indptr[0] != 0 or (X.indptr[1:] < X.indptr[:-1]).any()):
            raise ValueError("index pointer values (indptr) of the sparse matrix must begin with 0 and never decrease")
        X.check_format(full_check=True)
    elif X.format == "coo":
        for axis, (indices, size) in enumerate(zip((X.row, X.col), X.shape, strict=True)):
            if len(indices) and not (indices.min() >= 0 and indices.max() < size):
                raise ValueError(f"the indices of axis {axis} of the sparse matrix must be in [0, {size})")
    return X


def _readable_sparse(X: Any) -> Any:
    """Return compressed sparse rows that the core can read in place: `X` itself, or a matrix with copied arrays."""
    arrays = (X.data, X.indices, X.indptr)
    if X.indices.dtype.kind not in "iu" or X.indptr.dtype.kind not in "iu":
        # scipy never creates indices of other dtypes, and the core refuses them.
        return X
    dtypes = (np.float32, *(np.int32 if array.dtype == np.int32 else np.int64 for array in arrays[1:]))
    copies = [np.require(array, dtype, ("C", "A")) for array, dtype in zip(arrays, dtypes, strict=True)]
    if all(copy is array for copy, array in zip(copies, arrays, strict=True)):
        return X
    matrix = scipy.sparse.csr_array(X.shape, dtype=np.float32)
    matrix.data, matrix.indices, matrix.indptr = copies
    return matrix


def check_contamination(estimator: BaseEstimator, contamination: Any) -> None:
    """Check a contamination as scikit-learn checks the parameter."""
    constraints = {"contamination": PARAMETER_CONSTRAINTS["contamination"]}
    validate_parameter_constraints(constraints, {"contamination": contamination}, type(estimator).__name__)


def check_sample_weight(sample_weight: Any, n_samples: int) -> NDArray[Any]:
    """Check weights as scikit-learn does: one number for all rows, or one per row, as float32 or float64."""
    rows = np.broadcast_to(np.float32(0), (n_samples, 1))
    weights: NDArray[Any] = _check_sample_weight(sample_weight, rows, dtype=None)
    return weights


def _is_as_fitted(estimator: BaseEstimator, X: Any) -> bool:
    """Tell whether a table certainly has the columns that the estimator was fitted on.

    If so, scikit-learn's check, which takes ten times as long, would find no problem and can be skipped.
    """
    names = getattr(estimator, "feature_names_in_", None)
    n_features = getattr(estimator, "n_features_in_", None)
    if isinstance(X, np.ndarray):
        return names is None and X.shape[1] == n_features
    if not isinstance(names, np.ndarray) or not _is_pandas_frame(X):
        return False
    labels = X.columns.tolist()
    # Repeated labels and instances of str's subclasses are left to scikit-learn, even if they equal the names.
    are_plain = {*map(type, labels)} == {str} and len({*labels}) == len(labels) == n_features
    return are_plain and labels == names.tolist()


def _borrow(X: Any) -> Table | None:
    """Return `X` in a form that the core can read in place, or None if scikit-learn must convert or refuse it."""
    if isinstance(X, np.ndarray):
        if type(X) not in _PLAIN_ARRAYS or X.ndim != 2 or X.size == 0:
            return None
        if X.dtype in READABLE:
            return X if X.flags.aligned else None
        return float32_of_objects(X) if X.dtype == object else None
    if scipy.sparse.issparse(X):
        return None
    if _is_pandas_frame(X) and (array := _one_array(X)) is not None:
        return array
    return frame_columns(X)


def _one_array(X: Any) -> NDArray[Any] | None:
    """Return a pandas frame as one array: a view if it is one block, a copy if it is small; otherwise None.

    The array has the same values as in scikit-learn's conversion: pandas converts columns of several dtypes to one that
    holds them all, and integers in a frame with floats to float64 (see `containers`).
    """
    n_rows, n_columns = X.shape
    dtypes = {*X.dtypes.tolist()}
    if n_rows == 0 or not dtypes or not all(map(_is_borrowable, dtypes)):
        return None
    is_small = n_rows <= SMALL_FRAME_MAX_ROWS and n_rows * n_columns <= SMALL_FRAME_MAX_CELLS
    if not is_small and (len(dtypes) > 1 or not is_one_piece(X)):
        return None
    array: NDArray[Any] = X.to_numpy()
    if array.dtype.kind in "iu":
        array = array.astype(np.int64, copy=False)
    return array if array.dtype in READABLE and array.flags.aligned else None


def _is_borrowable(dtype: Any) -> bool:
    """Tell whether the core reads a dtype, or it is an integer dtype that int64 holds."""
    if not isinstance(dtype, np.dtype):
        return False
    return dtype in READABLE or (dtype.kind in "iu" and not is_uint64(dtype))


def _is_pandas_frame(X: Any) -> bool:
    """Tell whether `X` is a pandas frame, but not of a subclass, which may convert itself differently."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and type(X) is getattr(pandas, "DataFrame", None)
