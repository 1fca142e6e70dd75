"""Which types the core compares, and as what: all others are compared by NumPy, one query at a time."""

import numpy as np
import pytest

from isoxide._frames.dtypes import native
from isoxide._ranks.dtypes import comparison, native_pair

OWN = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "f2", "f4", "f8"]


@pytest.mark.parametrize("other", OWN)
@pytest.mark.parametrize("one", OWN)
def test_numbers_of_64_bits_at_most_are_compared_by_the_core(one, other):
    assert comparison(np.dtype(one), np.dtype(other)) == "own"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("other", "how"),
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
def test_unsigned_integers_of_64_bits(order, other, how):
    unsigned, other = np.dtype(f"{order}u8"), np.dtype(other)
    assert comparison(unsigned, other) == comparison(other, unsigned) == how
    pair = native_pair(np.array([2**64 - 1, 0, 2**63], dtype=unsigned), np.ones(3, dtype=other))
    assert [None if how is None else (array.dtype.kind, array.dtype.itemsize) for array in pair or [None]] == (
        [None] if how is None else [("f" if how == "float" else "i", 8)] * 2
    )


@pytest.mark.parametrize("other", ["f8", "i8", "u8"])
@pytest.mark.parametrize("one", ["O", "c8", "c16", "U3", "S3", "M8[ns]", "m8[ns]", np.longdouble, np.clongdouble])
def test_other_types_are_not(one, other):
    one, other = np.dtype(one), np.dtype(other)
    assert comparison(one, other) is comparison(other, one) is comparison(one, one) is None
    assert native_pair(np.empty(1, dtype=one), np.empty(1, dtype=other)) is None


@pytest.mark.parametrize(("given", "taken"), [("f2", "f4"), ("f4", "f4"), (">f4", "=f4"), (">i2", "i8"), ("?", "i8")])
def test_values_are_held_exactly(given, taken):
    x = np.array([0, 1, 1, 0], dtype=given)
    assert native(x).dtype == np.dtype(taken)
    assert native(x).tolist() == x.tolist()
    assert (native(x) is x) == (x.dtype == np.dtype(taken))
