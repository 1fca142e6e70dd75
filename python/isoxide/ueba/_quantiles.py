"""Compute exact quantiles of many columns at once: the values of ``pandas.Series.quantile``, but faster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isoxide._common.quantiles import quantile_position
from isoxide._frames.adapter import pandas_column

__all__ = ["STATISTICS", "TableQuantiles", "column_numbers", "quantiles", "typical_frame"]

#: Typical values of a feature, each with its quantile.
STATISTICS = {"median": 0.5, "p95": 0.95, "p99": 0.99}
#: Dtypes whose values are interpolated in float32, as in pandas.
_FLOAT32 = (np.dtype(np.float32), pd.Float32Dtype())
#: Maximum number of cells that are copied at once.
_BLOCK_CELLS = 2**22


def quantiles(values: NDArray[np.float64], qs: Sequence[float], is_float32: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return quantiles of the values in each row of a matrix that are not missing.

    Each result is bit-identical to ``pandas.Series.quantile`` and to `isoxide._partitioned.quantiles.Quantiles`.

    Parameters
    ----------
    values : ndarray of shape (n_columns, n_values)
        Columns of a table, each as a row of the matrix, which is reordered in place.
    qs : sequence of float
        Quantiles, from 0 to 1.
    is_float32 : ndarray of bool, shape (n_columns,)
        Mask of the columns that hold float32 values. Their neighbours are subtracted in float32, and the result is
        rounded to float32 if values are missing.

    Returns
    -------
    ndarray of shape (n_columns, n_quantiles)
        Quantiles, NaN for columns without values.
    """
    n_columns, n_values = values.shape
    result = np.full((n_columns, len(qs)), np.nan)
    n_valid = n_values - np.isnan(values).sum(axis=1)
    # The two neighbours of a quantile depend on the number of values, which most columns share.
    lower = np.zeros((n_columns, len(qs)), dtype=np.intp)
    weight = np.zeros((n_columns, len(qs)))
    for n in np.unique(n_valid[n_valid > 0]):
        columns = n_valid == n
        for k, q in enumerate(qs):
            lower[columns, k], weight[columns, k] = quantile_position(int(n), q)
    upper = np.minimum(lower + 1, np.maximum(n_valid - 1, 0)[:, np.newaxis])
    neighbours = np.unique(np.concatenate([lower.ravel(), upper.ravel()]))
    if not n_values or not neighbours.size:
        return result
    if 8 * len(neighbours) > n_values:
        values.sort(axis=1)
    else:
        values.partition(neighbours, axis=1)
    low, high = np.take_along_axis(values, lower, axis=1), np.take_along_axis(values, upper, axis=1)
    with np.errstate(invalid="ignore", over="ignore"):
        single = is_float32[:, np.newaxis]
        step = np.where(single, (high.astype(np.float32) - low.astype(np.float32)).astype(np.float64), high - low)
        # The order of operations fixes the last bit.
        result = np.where(weight >= 0.5, high - step * (1 - weight), low + step * weight)
        rounded = single & (n_valid < n_values)[:, np.newaxis]
        result = np.where(rounded, result.astype(np.float32).astype(np.float64), result)
    result[n_valid == 0] = np.nan
    return result


def column_numbers(series: pd.Series) -> NDArray[Any]:
    """Return a column as an array of numbers, with NaN for missing values."""
    column = pandas_column(series)
    if column.family is None or column.family == "decimal":
        return series.to_numpy(dtype=np.float64, na_value=np.nan)
    return column.with_nan() if column.has_missing() else column.values()


class TableQuantiles:
    """Quantiles of all columns of a frame of numbers.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_features)
        Frame of numbers.
    qs : iterable of float
        Quantiles that `quantile` can return in addition to those of `STATISTICS`, from 0 to 1.
    """

    def __init__(self, frame: pd.DataFrame, qs: Iterable[float]) -> None:
        self._qs = list(dict.fromkeys([*STATISTICS.values(), *qs]))
        self._columns = [column_numbers(frame.iloc[:, j]) for j in range(frame.shape[1])]
        self._names = {name: j for j, name in enumerate(frame.columns)}
        self._is_float32 = np.array([dtype in _FLOAT32 for dtype in frame.dtypes], dtype=bool)
        self._values = self.of_rows(None, self._qs)

    def of_rows(self, rows: NDArray[np.intp] | None, qs: Sequence[float]) -> NDArray[np.float64]:
        """Return quantiles of the given rows, or of all, as an array of shape (n_features, n_quantiles)."""
        n_columns = len(self._columns)
        result = np.empty((n_columns, len(qs)))
        n_rows = len(rows) if rows is not None else len(self._columns[0]) if self._columns else 0
        size = max(1, _BLOCK_CELLS // max(1, n_rows))
        for start in range(0, n_columns, size):
            columns = self._columns[start : start + size]
            block = np.empty((len(columns), n_rows))
            for line, column in zip(block, columns, strict=True):
                line[:] = column if rows is None else column[rows]
            result[start : start + size] = quantiles(block, qs, self._is_float32[start : start + size])
        return result

    def quantile(self, name: str, q: float) -> float:
        """Return a quantile of a column; `q` must be one of the quantiles that the constructor was given."""
        return float(self._values[self._names[name], self._qs.index(q)])

    def typical(self) -> pd.DataFrame:
        """Return the median and the upper percentiles of each column."""
        return typical_frame(list(self._names), self._values[:, : len(STATISTICS)])


def typical_frame(features: Sequence[str], values: NDArray[np.float64]) -> pd.DataFrame:
    """Return typical values, of shape (n_features, 3), as a frame with one row per feature."""
    return pd.DataFrame(values, index=pd.Index(features), columns=pd.Index(list(STATISTICS)))
