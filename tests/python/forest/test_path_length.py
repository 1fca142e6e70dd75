"""Test the average path lengths that the core and scikit-learn's formula share."""

import numpy as np
import pytest
from sklearn.ensemble._iforest import _average_path_length

from isoxide._forest import path_length


@pytest.mark.parametrize("largest", [0, 1, 2, 3, 256, path_length._CACHED_ROWS, path_length._CACHED_ROWS + 1])
def test_tables_of_average_path_lengths_equal_scikit_learns_and_each_other(largest):
    first, second = (path_length.average_path_lengths_up_to(largest) for _ in range(2))
    expected = _average_path_length(np.arange(largest + 1))
    np.testing.assert_array_equal(first, expected, strict=True)
    np.testing.assert_array_equal(second, expected, strict=True)


def test_a_kept_table_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        path_length.average_path_lengths_up_to(256)[3] = 0.0
