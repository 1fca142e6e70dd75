"""Test which pairs of dtypes the core compares, and after which conversion; NumPy compares all other pairs."""

import numpy as np
import pytest

from isoxide._frames.dtypes import native
from isoxide._ranks.dtypes import comparison, native_pair

#: Dtypes whose values the core compares without a conversion that could round them.
EXACT = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "f2", "f4", "f8"]


@pytest.mark.parametrize("reference", EXACT)
@pytest.mark.parametrize("queries", EXACT)
def test_the_core_compares_numbers_of_at_most_64_bits_exactly(reference, queries):
    assert comparison(np.dtype(reference), np.dtype(queries)) == "exact"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("other", "conversion"),
    [
        ("u8", "flipped"),
        ("u4", "flipped"),
        ("?", "flipped"),
        ("f4", "float"),
        ("f8", "float"),
        ("i8", None),
        ("i1", None),
    ],
)
def test_unsigned_integers_of_64_bits_are_flipped_or_become_floats(order, other, conversion):
    unsigned, other = np.dtype(f"{order}u8"), np.dtype(other)
    assert comparison(unsigned, other) == comparison(other, unsigned) == conversion
    pair = native_pair(np.array([2**64 - 1, 0, 2**63], dtype=unsigned), np.ones(3, dtype=other))
    if conversion is None:
        assert pair is None
    else:
        expected = np.dtype("f8" if conversion == "float" else "i8")
        assert [array.dtype for array in pair] == [expected] * 2


@pytest.mark.parametrize("number", ["f8", "i8", "u8"])
@pytest.mark.parametrize("other", ["O", "c8", "c16", "U3", "S3", "M8[ns]", "m8[ns]", np.longdouble, np.clongdouble])
def test_numpy_compares_other_dtypes(other, number):
    other, number = np.dtype(other), np.dtype(number)
    assert comparison(other, number) is comparison(number, other) is comparison(other, other) is None
    assert native_pair(np.empty(1, dtype=other), np.empty(1, dtype=number)) is None


@pytest.mark.parametrize(
    ("dtype", "expected"), [("f2", "f4"), ("f4", "f4"), (">f4", "=f4"), (">i2", "i8"), ("?", "i8")]
)
def test_native_arrays_hold_the_same_values(dtype, expected):
    x = np.array([0, 1, 1, 0], dtype=dtype)
    assert native(x).dtype == np.dtype(expected)
    assert native(x).tolist() == x.tolist()
    assert (native(x) is x) == (x.dtype == np.dtype(expected))
