"""Quantiles from two neighbours equal NumPy's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoxide._common.quantiles import interpolate, quantile_position

NUMBERS = st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, -0.0, 1e-45, 3e38])


@settings(max_examples=300, deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=40), st.floats(0, 1), st.sampled_from([np.float32, np.float64]))
def test_quantiles(values, q, dtype):
    ordered = np.sort(np.array(values, dtype=dtype))
    place, way = quantile_position(len(values), q)
    found = interpolate(ordered[place], ordered[min(place + 1, len(values) - 1)], way, dtype)
    expected = np.quantile(ordered, np.array([q]))[0]
    np.testing.assert_array_equal(found, np.float64(expected))


@pytest.mark.parametrize("n", [1, 2, 3, 999, 10**8, 10**10])
def test_places_stay_inside(n):
    for q in (0.0, 0.001, 0.5, 1.0):
        place, way = quantile_position(n, q)
        assert 0 <= place < n
        assert 0 <= way < 1
        assert place + way == (n - 1) * q
