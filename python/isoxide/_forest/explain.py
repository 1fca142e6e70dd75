"""Explain the scores of rows: contributions on the scale that the user chose, from the core's Shapley values."""

from __future__ import annotations

from numbers import Integral
from typing import Any, cast, get_args

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from isoxide._forest.explanation import Explanation, Output
from isoxide._forest.fitted import FittedForest
from isoxide._forest.path_length import total_average_path_length
from isoxide._frames.row_labels import RowLabels
from isoxide._frames.validation import Input

__all__ = ["base_value", "check_output", "check_top", "explain_rows", "mean_contributions", "mean_of_sums"]


def check_output(output: Any) -> Output:
    """Check the scale of contributions.

    Raises
    ------
    ValueError
        If it is no scale; the message lists all.
    """
    if not isinstance(output, str) or output not in get_args(Output):
        raise ValueError(f"output must be one of {', '.join(map(repr, get_args(Output)))}, got {output!r}")
    return cast("Output", output)


def check_top(top: Any, n_features: int) -> int | None:
    """Check the number of contributions to keep for each row, and return it, at most the number of features.

    Raises
    ------
    TypeError
        If it is no integer.
    ValueError
        If it is below 1.
    """
    if top is None:
        return None
    if isinstance(top, (bool, np.bool_)) or not isinstance(top, Integral):
        raise TypeError(f"top must be an integer or None, got {top!r}")
    if top < 1:
        raise ValueError(f"top must be at least 1, got {top}; None keeps the contributions of all features")
    return min(int(top), n_features)


def explain_rows(
    fitted: FittedForest, data: Input, labels: RowLabels, *, output: Output, top: int | None, n_workers: int
) -> Explanation:
    """Explain the rows of a checked table.

    Parameters
    ----------
    fitted : FittedForest
        Forest whose scores are explained.
    data : Input
        Checked table.
    labels : RowLabels
        Labels of its rows.
    output : {"log2", "path_length"}
        Scale of the contributions.
    top : int, optional
        Number of contributions to keep for each row, those that make it most anomalous.
    n_workers : int
        Number of threads.
    """
    indices = None
    if top is None:
        # The copy comes first: then the core, which asks for memory before it works, knows what is left.
        cells = _cells(data.table, None)
        values = fitted.native.shap_values(data.table, n_workers)
        totals = _negative_sums(values)
    else:
        indices, values, totals = fitted.native.top_shap_values(
            data.table, top=top, most_negative=True, n_workers=n_workers
        )
        cells = _cells(data.table, indices)
    factor = _factor(fitted, output)
    values *= factor
    # A feature without influence has 0, not -0.
    values += 0.0
    return Explanation(
        values,
        np.full(data.n_samples, base_value(fitted, output)),
        cells,
        feature_names(fitted, data.n_features),
        output=output,
        totals=np.abs(totals * factor),
        labels=labels,
        indices=indices,
    )


def base_value(fitted: FittedForest, output: Output) -> float:
    """Compute the output that is expected of a row of which nothing is known."""
    factor = _factor(fitted, output)
    return fitted.native.expected_value * factor if factor else -1.0


def mean_contributions(fitted: FittedForest, data: Input, *, output: Output, n_workers: int) -> NDArray[np.float64]:
    """Compute the mean absolute contribution of each feature over the rows of a checked table."""
    sums = fitted.native.shap_magnitude_sums(data.table, n_workers)
    return mean_of_sums(fitted, sums, data.n_samples, output=output)


def mean_of_sums(fitted: FittedForest, sums: list[int], n_rows: int, *, output: Output) -> NDArray[np.float64]:
    """Compute mean absolute contributions from the sums of magnitudes, which the core adds without rounding.

    So the result does not depend on the order or the partitions of the rows.
    """
    # Python divides integers with one rounding.
    means = np.array([total / (n_rows << fitted.native.MAGNITUDE_UNIT_BITS) for total in sums])
    return means * abs(_factor(fitted, output))


def feature_names(fitted: FittedForest, n_features: int) -> list[str]:
    """Return the names of the training frame's columns, or x0, x1, and so on."""
    if fitted.feature_names is None:
        return [f"x{j}" for j in range(n_features)]
    return [str(name) for name in fitted.feature_names]


def _factor(fitted: FittedForest, output: Output) -> float:
    """Return the factor from Shapley values, in splits, to contributions on a scale."""
    if output == "path_length":
        return 1.0
    # The score is -2 ** -(L / c), so its binary logarithm is linear in the mean path length L. A forest of trees of one
    # row has c = 0, and every score is -0.5.
    c = total_average_path_length(1, fitted.max_samples)
    return -1.0 / c if c else 0.0


def _negative_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add the negative values of each row in the order of the columns, as the core does."""
    sums = np.zeros(len(values))
    for column in values.T:
        sums += np.minimum(column, 0.0)
    return sums


def _cells(table: Any, indices: NDArray[np.int64] | None) -> Any:
    """Return a copy of the cells of a checked table: all of them, or those of some columns of each row."""
    is_columns = isinstance(table, (list, tuple))
    if indices is None:
        return np.column_stack(table) if is_columns else table.copy()
    if not is_columns and not scipy.sparse.issparse(table):
        return np.take_along_axis(table, indices, axis=1)
    columns, positions = indices.ravel(), np.arange(indices.size)
    rows = positions // indices.shape[1]
    if not is_columns:
        return np.asarray(table[rows, columns]).reshape(indices.shape)
    cells = np.empty(indices.size)
    order = np.argsort(columns, kind="stable")
    ends = np.searchsorted(columns[order], np.arange(len(table)), side="right")
    for column, part in zip(table, np.split(order, ends[:-1]), strict=True):
        cells[part] = column[rows[part]]
    return cells.reshape(indices.shape)
