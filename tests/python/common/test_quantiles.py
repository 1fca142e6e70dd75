"""Test that quantiles interpolated between two sorted values equal NumPy's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoxide._common.quantiles import interpolate, quantile_position

NUMBERS = st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, -0.0, 1e-45, 3e38])


@settings(max_examples=300, deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=40), st.floats(0, 1), st.sampled_from([np.float32, np.float64]))
def test_quantiles_equal_numpys(values, q, dtype):
    ordered = np.sort(np.array(values, dtype=dtype))
    index, fraction = quantile_position(len(values), q)
    quantile = interpolate(ordered[index], ordered[min(index + 1, len(values) - 1)], fraction, dtype)
    expected = np.quantile(ordered, np.array([q]))[0]
    np.testing.assert_array_equal(quantile, np.float64(expected))


@pytest.mark.parametrize("n", [1, 2, 3, 999, 10**8, 10**10])
def test_positions_are_within_the_values(n):
    for q in (0.0, 0.001, 0.5, 1.0):
        index, fraction = quantile_position(n, q)
        assert 0 <= index < n
        assert 0 <= fraction < 1
        assert index + fraction == (n - 1) * q
