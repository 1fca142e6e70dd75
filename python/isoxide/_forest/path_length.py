"""Average path length c(n) of isolation trees over n rows, by which path lengths are scaled.

    c(n) = 2 H(n - 1) - 2 (n - 1) / n,   H(i) = ln(i) + Euler's constant (approximately)

Liu, Ting and Zhou, "Isolation forest", ICDM 2008, equation 1: the average length of an unsuccessful search in a binary
search tree with n entries. NumPy computes it, since the last bit of its logarithm differs between
processors, and scikit-learn's scores have the same last bits.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

#: Bytes that one value takes with its intermediate results.
_VALUE_BYTES = 64
#: Up to this number of rows the values are kept, since NumPy needs several calls for them at every small fit.
_CACHED_ROWS = 4096


def average_path_length(n_samples: NDArray[np.int64]) -> NDArray[np.float64]:
    """Compute c(n) for numbers of rows.

    Parameters
    ----------
    n_samples : ndarray of int64
        Numbers of rows, 0 or more.

    Returns
    -------
    ndarray of float64
        Average path lengths in the same shape, 0 or more.
    """
    result = np.zeros(n_samples.shape)
    result[n_samples == 2] = 1.0
    large = n_samples > 2
    n = n_samples[large]
    # The order of operations fixes the last bit.
    result[large] = 2.0 * (np.log(n - 1.0) + np.euler_gamma) - 2.0 * (n - 1.0) / n
    return result


def average_path_lengths_up_to(largest: int) -> NDArray[np.float64]:
    """Compute c(n) for every n from 0 to `largest`. The array may be read-only.

    Raises
    ------
    MemoryError
        If there is no memory for the values and the intermediate results.
    """
    if largest <= _CACHED_ROWS:
        return _cached_average_path_lengths(largest)
    # Fail early if there is too little memory: failing halfway takes as long as a fit.
    np.empty((largest + 1) * _VALUE_BYTES, dtype=np.uint8)
    return average_path_length(np.arange(largest + 1))


@functools.lru_cache(maxsize=8)
def _cached_average_path_lengths(largest: int) -> NDArray[np.float64]:
    """Compute c(n) for every n from 0 to `largest`, as an array that nobody can change."""
    values = average_path_length(np.arange(largest + 1))
    values.flags.writeable = False
    return values


@functools.lru_cache(maxsize=256)
def total_average_path_length(n_trees: int, max_samples: int) -> float:
    """Compute c(max_samples) times the number of trees, by which the sum of a row's path lengths is divided.

    The value is cached, since NumPy takes longer for this number than the core takes to score a row.
    """
    return float((n_trees * average_path_length(np.array([max_samples])))[0])
