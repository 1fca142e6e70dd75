"""Test the limits of the fields of a findings document: the last accepted value and the first refused one."""

import numpy as np
import pytest

from isoxide.ueba import _fields

LARGEST = 2**63 - 1


@pytest.mark.parametrize("depth", [1, 99, 100])
@pytest.mark.parametrize("pair", [b"[]", b"{}"])
def test_nesting_depth_is_limited(depth, pair):
    _fields.check_depth(pair[:1] * depth + b'"[[[{{{"' + pair[1:] * depth)
    # Many lists next to each other are not nested deeply.
    _fields.check_depth((pair[:1] * depth + pair[1:] * depth) * 50)
    with pytest.raises(ValueError, match="nested more than 100 deep"):
        _fields.check_depth(pair[:1] * (101 - depth) + pair[:1] * depth)


def test_the_number_of_digits_is_limited():
    assert _fields.parse_integer("9" * 1000) == 10**1000 - 1
    assert _fields.parse_integer("-12") == -12
    with pytest.raises(ValueError, match="a number has 1,001 digits"):
        _fields.parse_integer("9" * 1001)


@pytest.mark.parametrize(
    ("low", "high", "expected_message"), [(1, 5, "from 1 to 5"), (-1, 1, "from -1 to 1"), (0, 0, "from 0 to 0")]
)
def test_integers_out_of_range_are_refused(low, high, expected_message):
    result = _fields.integers(list(range(low, high + 1)), "x", low, high)
    assert result.dtype == np.int64
    assert result.tolist() == list(range(low, high + 1))
    for value in (low - 1, high + 1, float(low), None, "1", True, [1], LARGEST + 1):
        with pytest.raises(ValueError, match=f"^'x' is .*, but must be an integer {expected_message}$"):
            _fields.integers([low, value], "x", low, high)


def test_integers_beyond_64_bits_are_refused():
    assert _fields.integers([LARGEST, 3], "x", 3).tolist() == [LARGEST, 3]
    assert _fields.integers([], "x", 3).tolist() == []
    for value in (2, LARGEST + 1):
        with pytest.raises(ValueError, match=f"'x' is {value}, but must be an integer of at least 3"):
            _fields.integers([value], "x", 3)
    assert [_fields.cell(value) for value in (LARGEST, -LARGEST)] == [LARGEST, -LARGEST]
    for value in (LARGEST + 1, -LARGEST - 1):
        with pytest.raises(ValueError, match=f"'joined' is {value}, but must be an integer"):
            _fields.cell(value)


def test_numbers_out_of_range_are_refused():
    assert _fields.numbers([0, 100, 99.5], "x", 0, 100).tolist() == [0, 100, 99.5]
    assert _fields.numbers([-1e308, 2**70], "x").tolist() == [-1e308, 2.0**70]
    result = _fields.numbers([None, 1.5], "x", 0, 2, missing=True)
    assert np.isnan(result[0])
    assert result[1] == 1.5
    for value in (np.nextafter(0.0, -1).item(), np.nextafter(100.0, 101).item(), float("inf"), -float("inf")):
        with pytest.raises(ValueError, match=r"^'x' is .*, but must be from 0 to 100$"):
            _fields.numbers([5, value], "x", 0, 100)
    for value in (float("inf"), -float("inf")):
        with pytest.raises(ValueError, match=rf"^'x' is {value}, but must be finite$"):
            _fields.numbers([value], "x")
    for value in (None, True, "1", [1], {}):
        with pytest.raises(ValueError, match=r"^'x' is .*, but must be a number$"):
            _fields.numbers([1, value], "x")
    with pytest.raises(ValueError, match=r"^'x' is True, but must be a number$"):
        _fields.numbers([None, True], "x", missing=True)


def test_lists_of_another_length_are_refused():
    rows = [{"x": [1, None, 3]}, {"x": [4.5, 5, 6]}]
    assert np.array_equal(_fields.matrix(rows, "x", 3), [[1, np.nan, 3], [4.5, 5, 6]], equal_nan=True)
    assert _fields.matrix([], "x", 3).shape == (0, 3)
    assert _fields.integer_matrix([{"x": [2, 0, 1]}], "x", 3, 0, 2).tolist() == [[2, 0, 1]]
    for width in (2, 4):
        expected_message = rf"^'x' must be a list of {width} numbers, not a list$"
        with pytest.raises(ValueError, match=expected_message):
            _fields.matrix(rows, "x", width)
        with pytest.raises(ValueError, match=expected_message):
            _fields.integer_matrix(rows, "x", width, 0, 9)


def test_the_number_of_entries_is_limited():
    assert _fields.names(["a", "b"], "x", 2) == ["a", "b"]
    assert _fields.records([{}, {}], "x", 2) == [{}, {}]
    for read, item in ((_fields.names, "a"), (_fields.records, {})):
        with pytest.raises(ValueError, match="'x' has 3 entries, more than 2"):
            read([item] * 3, "x", 2)


def test_counts_are_integers_unless_some_are_missing():
    result = _fields.counts([{"x": 0}, {"x": 2**53 + 1}], "x")
    assert result.dtype == np.int64
    assert result.tolist() == [0, 2**53 + 1]
    result = _fields.counts([{"x": 7}, {"x": None}], "x")
    assert result.dtype == np.float64
    assert np.array_equal(result, [7, np.nan], equal_nan=True)
    with pytest.raises(ValueError, match="'x' is -1, but must be an integer of at least 0"):
        _fields.counts([{"x": -1}], "x")


@pytest.mark.parametrize("length", [58, 59, 1000])
def test_long_values_are_cut_in_messages(length):
    value = "v" * length
    shown = repr(value)
    assert _fields.short(value) == (shown if length == 58 else f"{shown[:60]}...")
    assert _fields.short([value]) == "a list"
    assert _fields.short(10**5000) == "an integer of thousands of digits"


@pytest.mark.parametrize(
    "value", ["2025-02-29", "2025-13-01", "2025-1-01", "2025-01-01\n", "20250101", "٢٠٢٥-01-01", 20250101, None]
)
def test_days_in_other_formats_are_refused(value):
    assert _fields.day("2024-02-29", "x") == "2024-02-29"
    with pytest.raises(ValueError, match="but must be a day in ISO 8601"):
        _fields.day(value, "x")
