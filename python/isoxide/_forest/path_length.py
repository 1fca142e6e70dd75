"""c(n), the expected path length of an unsuccessful search among n rows."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

#: Bytes that c(n) takes with its intermediate results.
_BYTES = 64


def average_path_length(n_samples: NDArray[np.int64]) -> NDArray[np.float64]:
    """Average path length of isolation trees of the given sizes.

    NumPy's logarithm differs between processors in the last bit, and scikit-learn's scores with it, so NumPy is asked
    here too.

    Parameters
    ----------
    n_samples : ndarray of int64
        Numbers of rows, 0 or more.

    Returns
    -------
    ndarray of float64
        c(n) in the same shape, 0 or more.

    References
    ----------
    Liu, Ting and Zhou, "Isolation forest", ICDM 2008, equation 1.
    """
    result = np.zeros(n_samples.shape)
    result[n_samples == 2] = 1.0
    large = n_samples > 2
    n = n_samples[large]
    # The order of operations fixes the last bit.
    result[large] = 2.0 * (np.log(n - 1.0) + np.euler_gamma) - 2.0 * (n - 1.0) / n
    return result


def average_path_lengths_up_to(largest: int) -> NDArray[np.float64]:
    """Return c(n) for every n from 0 to the largest number of rows.

    Raises
    ------
    MemoryError
        If there is no memory for these and for what is made on the way.
    """
    # Asked for and given back untouched: to find out in the middle would take as long as a fit.
    np.empty((largest + 1) * _BYTES, dtype=np.uint8)
    return average_path_length(np.arange(largest + 1))


@functools.lru_cache(maxsize=256)
def total_average_path_length(n_trees: int, max_samples: int) -> float:
    """c(`max_samples`) times the number of trees: what the sum of a row's path lengths is compared with.

    Kept, since NumPy takes longer for this one number than the core for a row.
    """
    return float((n_trees * average_path_length(np.array([max_samples])))[0])
