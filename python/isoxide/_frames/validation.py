"""Arrays and frames become what the core takes, without a copy where possible.

The one place that knows scikit-learn's ways of validating: whatever the core cannot borrow as it is goes through
scikit-learn's own checks, which convert it or refuse it with the words users know.
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

from isoxide._frames.containers import READABLE, Columns, float32_of_objects, frame_columns, is_one_piece, readable

#: What the core takes: a 2-D array, one 1-D array per column (of float64, float32 or int64; in a tuple, integers are
#: rounded to float64 before they are rounded to float32), or compressed sparse rows.
Table: TypeAlias = "NDArray[Any] | Columns | scipy.sparse.csr_array | scipy.sparse.csr_matrix"

#: Constraints on the parameters of ``IsolationForest``: those of scikit-learn 1.9.
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

#: Rows and cells up to which a pandas frame of several pieces is copied into one array: taking its columns one by one
#: costs 11 us each, as much as copying 30,000 rows of them.
_FEW_ROWS, _FEW_CELLS = 2**14, 2**20


class Input(NamedTuple):
    """A checked table and its shape."""

    table: Table
    n_samples: int
    n_features: int


def check_input(estimator: BaseEstimator, X: Any, *, reset: bool) -> Input:
    """Checks a table as scikit-learn would, and borrows it if the core can read it in place.

    Parameters
    ----------
    estimator : estimator
        Gets ``n_features_in_`` and ``feature_names_in_`` (`reset`), or is asked for them.
    X : array-like, frame or sparse matrix of shape (n_samples, n_features)
        Missing and infinite values are allowed.
    reset : bool
        Whether `X` is what the estimator is fitted on.

    Raises
    ------
    ValueError, TypeError
        As scikit-learn does for its own class.
    """
    table = _borrow(X)
    if table is None:
        if scipy.sparse.issparse(X):
            X = _checked_sparse(X)
        table = validate_data(estimator, X, accept_sparse="csr", dtype=np.float32, ensure_all_finite=False, reset=reset)
        table = _readable_sparse(table) if scipy.sparse.issparse(table) else readable(table)
    elif reset or not _is_as_fitted(estimator, X):
        # Only the names and the number of features are left to check.
        validate_data(estimator, X, skip_check_array=True, reset=reset)
    if isinstance(table, (list, tuple)):
        return Input(table, len(table[0]), len(table))
    return Input(table, *table.shape)


def _checked_sparse(X: Any) -> Any:
    """A sparse matrix whose indices are in range: scipy's conversions would read and write out of bounds otherwise.

    What is to be converted is copied before it is checked: another thread could change it between check and conversion.
    What is not is read by the core, which looks for itself.
    """
    if X.format != "csr" or X.dtype != np.float32:
        X = X.copy() if X.dtype.isnative else X.astype(X.dtype.newbyteorder("="))
    if X.format in ("csr", "csc", "bsr"):
        # scipy looks at nothing else where the last entry says that nothing is stored.
        if len(X.indptr) and (X.indptr[0] != 0 or (X.indptr[1:] < X.indptr[:-1]).any()):
            raise ValueError("index pointer values (indptr) of the sparse matrix must begin with 0 and never fall")
        X.check_format(full_check=True)
    elif X.format == "coo":
        for axis, (indices, size) in enumerate(zip((X.row, X.col), X.shape, strict=True)):
            if len(indices) and not (indices.min() >= 0 and indices.max() < size):
                raise ValueError(f"the indices of axis {axis} of the sparse matrix must be in [0, {size})")
    return X


def _readable_sparse(X: Any) -> Any:
    """Return compressed rows whose arrays the core can read in place: `X` itself, or another matrix with copies."""
    parts = (X.data, X.indices, X.indptr)
    if X.indices.dtype.kind not in "iu" or X.indptr.dtype.kind not in "iu":
        # scipy never makes such indices, and the core refuses them.
        return X
    dtypes = (np.float32, *(np.int32 if part.dtype == np.int32 else np.int64 for part in parts[1:]))
    copies = [np.require(part, dtype, ("C", "A")) for part, dtype in zip(parts, dtypes, strict=True)]
    if all(copy is part for copy, part in zip(copies, parts, strict=True)):
        return X
    matrix = scipy.sparse.csr_array(X.shape, dtype=np.float32)
    matrix.data, matrix.indices, matrix.indptr = copies
    return matrix


def check_contamination(estimator: BaseEstimator, contamination: Any) -> None:
    """Checks a contamination as scikit-learn checks the parameter."""
    constraints = {"contamination": PARAMETER_CONSTRAINTS["contamination"]}
    validate_parameter_constraints(constraints, {"contamination": contamination}, type(estimator).__name__)


def check_sample_weight(sample_weight: Any, n_samples: int) -> NDArray[Any]:
    """Checks weights as scikit-learn would: a number for all rows, or one per row, float32 or float64."""
    rows = np.broadcast_to(np.float32(0), (n_samples, 1))
    weights: NDArray[Any] = _check_sample_weight(sample_weight, rows, dtype=None)
    return weights


def _is_as_fitted(estimator: BaseEstimator, X: Any) -> bool:
    """Whether a borrowed table has the names and the number of columns that the estimator was fitted on.

    Only where this is quickly seen, and scikit-learn would then have nothing to say; it takes ten times as long.
    """
    names = getattr(estimator, "feature_names_in_", None)
    n_features = getattr(estimator, "n_features_in_", None)
    if isinstance(X, np.ndarray):
        return names is None and X.shape[1] == n_features
    if not isinstance(names, np.ndarray) or not _is_pandas_frame(X):
        return False
    labels = X.columns.tolist()
    # Labels that are not quite strings, or there twice, are scikit-learn's to judge, even if they equal the names.
    plain = {*map(type, labels)} == {str} and len({*labels}) == len(labels) == n_features
    return plain and labels == names.tolist()


def _borrow(X: Any) -> Table | None:
    """`X` as the core can read it in place; None if it cannot, or if there is anything to object to."""
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
    """A pandas frame as one array: a view if that can be had, a copy if the frame is small; otherwise None.

    The values are those of the columns: of several types a frame makes one that holds them all, but for integers among
    floats, which it brings to float64 (see `_common`).
    """
    n_rows, n_columns = X.shape
    dtypes = {*X.dtypes.tolist()}
    if n_rows == 0 or not dtypes or not all(map(_is_plain_number, dtypes)):
        return None
    is_small = n_rows <= _FEW_ROWS and n_rows * n_columns <= _FEW_CELLS
    if not is_small and (len(dtypes) > 1 or not is_one_piece(X)):
        return None
    array: NDArray[Any] = X.to_numpy()
    if array.dtype.kind in "iu":
        array = array.astype(np.int64, copy=False)
    return array if array.dtype in READABLE and array.flags.aligned else None


def _is_plain_number(dtype: Any) -> bool:
    """Whether a type of a column is one of NumPy's that the core reads, or integers that int64 holds."""
    if not isinstance(dtype, np.dtype):
        return False
    return dtype in READABLE or dtype.kind == "i" or (dtype.kind == "u" and dtype.itemsize < 8)


def _is_pandas_frame(X: Any) -> bool:
    """Whether `X` is a frame of pandas itself, not of a subclass, which may have ways of its own."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and type(X) is getattr(pandas, "DataFrame", None)
