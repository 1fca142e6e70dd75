"""Arrays and frames become what the core takes, without a copy where possible.

The one place that knows scikit-learn's ways of validating: whatever the core cannot borrow as it is goes through
scikit-learn's own checks, which convert it or refuse it with the words users know.
"""

from __future__ import annotations

import sys
from numbers import Integral, Real
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions
from sklearn.utils.validation import validate_data

#: What the core takes: a 2-D array, or one 1-D array per column, of float64, float32 or int64.
Table: TypeAlias = "NDArray[Any] | list[NDArray[Any]]"

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
    X : array-like or frame of shape (n_samples, n_features)
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
        table = validate_data(estimator, X, dtype=np.float32, ensure_all_finite=False, reset=reset)
    else:
        # Only the names and the number of features are left to check.
        validate_data(estimator, X, skip_check_array=True, reset=reset)
    if isinstance(table, list):
        return Input(table, len(table[0]), len(table))
    return Input(table, *table.shape)


def _borrow(X: Any) -> Table | None:
    """`X` as the core can read it in place; None if it cannot, or if there is anything to object to."""
    if isinstance(X, np.ndarray):
        plain = type(X) in (np.ndarray, np.memmap) and X.ndim == 2 and X.size > 0
        return X if plain and X.dtype in _BORROWED and X.flags.aligned else None
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(X, pandas.DataFrame):
        return _borrow_frame(X)
    return None


def _borrow_frame(X: Any) -> list[NDArray[Any]] | None:
    """The columns of a pandas frame of plain floats and signed integers."""
    if 0 in X.shape:
        return None
    kinds = {dtype.kind if isinstance(dtype, np.dtype) else "extension" for dtype in X.dtypes}
    if not kinds <= {"f", "i"}:
        return None
    # pandas brings integers among floats to the common type float64 before scikit-learn rounds them to float32.
    integer = np.dtype(np.float64) if "f" in kinds else np.dtype(np.int64)
    columns = []
    for _, series in X.items():
        column = series.to_numpy(copy=False)
        if column.dtype.kind == "i":
            column = column.astype(integer, copy=False)
        if column.dtype not in _BORROWED or not column.flags.aligned:
            return None
        columns.append(column)
    return columns
