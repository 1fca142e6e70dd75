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

#: What the core takes: a 2-D array, one 1-D array per column (of float64, float32 or int64; in a tuple, integers are
#: rounded to float64 before they are rounded to float32), or compressed sparse rows.
Table: TypeAlias = (
    "NDArray[Any] | list[NDArray[Any]] | tuple[NDArray[Any], ...] | scipy.sparse.csr_array | scipy.sparse.csr_matrix"
)

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

_BORROWED = (np.dtype(np.float64), np.dtype(np.float32), np.dtype(np.int64))


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
        if scipy.sparse.issparse(X) and X.format in ("csr", "csc", "bsr"):
            # Indices out of range would be read out of bounds by scipy's conversions.
            X.check_format(full_check=True)
        table = validate_data(estimator, X, accept_sparse="csr", dtype=np.float32, ensure_all_finite=False, reset=reset)
    else:
        # Only the names and the number of features are left to check.
        validate_data(estimator, X, skip_check_array=True, reset=reset)
    if isinstance(table, (list, tuple)):
        return Input(table, len(table[0]), len(table))
    return Input(table, *table.shape)


def check_contamination(estimator: BaseEstimator, contamination: Any) -> None:
    """Checks a contamination as scikit-learn checks the parameter."""
    constraints = {"contamination": PARAMETER_CONSTRAINTS["contamination"]}
    validate_parameter_constraints(constraints, {"contamination": contamination}, type(estimator).__name__)


def check_sample_weight(sample_weight: Any, n_samples: int) -> NDArray[Any]:
    """Checks weights as scikit-learn would: a number for all rows, or one per row, float32 or float64."""
    rows = np.broadcast_to(np.float32(0), (n_samples, 1))
    weights: NDArray[Any] = _check_sample_weight(sample_weight, rows, dtype=None)
    return weights


def _borrow(X: Any) -> Table | None:
    """`X` as the core can read it in place; None if it cannot, or if there is anything to object to."""
    if isinstance(X, np.ndarray):
        plain = type(X) in (np.ndarray, np.memmap) and X.ndim == 2 and X.size > 0
        return X if plain and X.dtype in _BORROWED and X.flags.aligned else None
    if scipy.sparse.issparse(X):
        return None
    columns = frame_columns(X)
    if columns is None or not columns or len(columns[0]) == 0:
        return None
    return _common(columns, direct=_is_instance(X, "pyarrow", "Table"))


def frame_columns(X: Any) -> list[NDArray[Any]] | None:
    """The columns of a pandas or polars frame or an Arrow table as arrays, views where possible.

    None if `X` is no such frame, or has a column that is not of a plain boolean or number type.
    """
    if _is_instance(X, "pandas", "DataFrame"):
        if not all(isinstance(dtype, np.dtype) for dtype in X.dtypes):
            return None
        columns = [series.to_numpy(copy=False) for _, series in X.items()]
    elif _is_instance(X, "polars", "DataFrame"):
        if not all(dtype.is_numeric() for dtype in X.dtypes):
            return None
        columns = [series.to_numpy() for series in X.get_columns()]
    elif _is_instance(X, "pyarrow", "Table"):
        types = sys.modules["pyarrow"].types
        if not all(types.is_integer(field.type) or types.is_floating(field.type) for field in X.schema):
            return None
        columns = [_from_chunks(column) for column in X.columns]
    else:
        return None
    return columns if all(column.dtype.kind in "biuf" for column in columns) else None


def _from_chunks(column: Any) -> NDArray[Any]:
    """An Arrow column; missing values become NaN."""
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    values: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return values


def _is_instance(X: Any, module: str, name: str) -> bool:
    """Whether `X` is of a class of a package, which is not imported for that."""
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(X, kind)


def _common(columns: list[NDArray[Any]], *, direct: bool) -> list[NDArray[Any]] | tuple[NDArray[Any], ...] | None:
    """Columns in types of the core that round to the same float32 as scikit-learn's conversion of the frame.

    Frames bring integers among floats to the common type float64 before they are rounded to float32, unless they hold
    booleans (pandas) or are Arrow tables (`direct`): there each column is rounded for itself.
    """
    kinds = {column.dtype.kind for column in columns}
    by_way_of_float64 = "f" in kinds and "b" not in kinds and not direct
    converted = []
    for column in columns:
        dtype = column.dtype
        if dtype.kind in "biu":
            if dtype.kind == "u" and dtype.itemsize == 8:
                return None
            column = column.astype(np.int64, copy=False)
        if column.dtype not in _BORROWED or not column.flags.aligned:
            return None
        converted.append(column)
    return tuple(converted) if by_way_of_float64 else converted
