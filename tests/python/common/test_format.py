"""Test how numbers, times and sizes are formatted."""

import math

import pandas as pd
import pytest

from isoxide._common.format import format_bytes, format_time, format_value


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "-"),
        (math.nan, "-"),
        (math.inf, "∞"),
        (-math.inf, "-∞"),
        (0.0, "0"),
        (-3.0, "-3"),
        (1e14, "100,000,000,000,000"),
        (1e15, "1e+15"),
        (0.1 + 0.2, "0.3"),
        (1234.5, "1234"),
        (9999.4, "9999"),
        (123456.78, "123,456.8"),
        (999_999_999.5, "999,999,999.5"),
        (1_234_567_890.5, "1.235e+09"),
    ],
)
def test_values_are_formatted(number, text):
    assert format_value(number) == text


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (99_950, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (123_456_789, "123 MB"),
        (999_500_000, "1.0 GB"),
        (1536 << 20, "1.6 GB"),
        (10**12, "1.0 TB"),
        (5 * 10**15, "5000 TB"),
    ],
)
def test_sizes_are_formatted(n, text):
    assert format_bytes(n) == text


def test_times_at_midnight_are_formatted_as_dates():
    assert format_time(pd.Timestamp("2026-03-01")) == "2026-03-01"
    assert format_time(pd.Timestamp("2026-03-01 07:05")) == "2026-03-01 07:05"
