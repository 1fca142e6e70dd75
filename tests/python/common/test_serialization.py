"""Test the wire format of mergeable objects: its layout, its number, and that damaged or foreign bytes are refused."""

import hashlib
import json
import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from isoxide._common import serialization
from isoxide._common.serialization import FORMAT, RAW, from_bytes, to_bytes

FACTS = {"names": ["a", "über"], "share": 0.1, "none": None, "nested": {"n": 2**60}}
PARTS = [np.arange(6, dtype=np.int64).reshape(2, 3), np.array([True, False]), b"made by the core", np.empty((0, 4))]
TYPES = ["<i8", "|b1", RAW, "<f8"]


def encoded():
    return to_bytes("test piece", FACTS, PARTS)


def with_checksum(title, text, body=b""):
    """Return bytes with a correct checksum, whatever they contain."""
    checksum = hashlib.sha256(title + b"\n" + text + b"\n" + body).hexdigest().encode()
    return b"\n".join([title, checksum, text, body])


def test_facts_and_arrays_are_restored():
    facts, parts = from_bytes("test piece", encoded(), TYPES)
    assert facts == FACTS
    for part, expected in zip(parts, PARTS, strict=True):
        if isinstance(expected, bytes):
            assert part == expected
            continue
        assert_array_equal(part, expected)
        assert (part.dtype, part.shape) == (expected.dtype, expected.shape)
        assert part.flags.writeable
    for data in (bytearray(encoded()), memoryview(encoded())):
        assert from_bytes("test piece", data, TYPES)[0] == FACTS


def test_the_layout_is_the_documented_one():
    # Change `FORMAT` with the layout, or processes with two versions of isoxide misread each other.
    title, checksum, text, body = to_bytes("test piece", {"n": 1}, [np.array([1, 2], dtype=">u2"), b"xyz"]).split(b"\n")
    assert title == b"isoxide piece 1 test piece"
    assert json.loads(text) == {"facts": {"n": 1}, "shapes": [[2], [3]]}
    assert body == b"\x01\x00\x02\x00xyz"
    assert checksum.decode() == hashlib.sha256(b"\n".join([title, text, body])).hexdigest()


def test_bytes_do_not_depend_on_the_order_of_keys_and_bytes_in_memory():
    swapped = [PARTS[0].astype(">i8"), *PARTS[1:3], np.asfortranarray(PARTS[3])]
    assert to_bytes("test piece", dict(reversed(FACTS.items())), swapped) == encoded()


@pytest.mark.parametrize("number", [0, 2, 17])
def test_an_unknown_format_is_refused_by_its_number(number, monkeypatch):
    monkeypatch.setattr(serialization, "FORMAT", number)
    data = encoded()
    monkeypatch.undo()
    with pytest.raises(
        ValueError, match=f"cannot decode these bytes as a test piece: they have format {number}, and this"
    ):
        from_bytes("test piece", data, TYPES)
    with pytest.raises(ValueError, match=f"reads format {FORMAT}; install the same version of isoxide on all machines"):
        from_bytes("test piece", data, TYPES)


def test_another_class_is_refused_by_its_name():
    with pytest.raises(ValueError, match="cannot decode these bytes as a score sketch: they hold a test piece"):
        from_bytes("score sketch", encoded(), TYPES)


@pytest.mark.parametrize("data", [b"", b"{}", b"\n\n\n", pickle.dumps(FACTS), b'{"facts": {}}\n0\n'])
def test_other_data_is_refused(data):
    with pytest.raises(ValueError, match="they do not begin with 'isoxide piece '; pass the result of to_bytes"):
        from_bytes("test piece", data, TYPES)


def test_every_changed_or_missing_byte_is_detected():
    data = encoded()
    for index in range(len(data)):
        damaged = bytearray(data)
        damaged[index] ^= 1
        with pytest.raises(ValueError, match="cannot decode these bytes as a test piece: they "):
            from_bytes("test piece", bytes(damaged), TYPES)
    for end in range(len(data)):
        with pytest.raises(ValueError, match="cannot decode these bytes as a test piece: they "):
            from_bytes("test piece", data[:end], TYPES)
    with pytest.raises(ValueError, match="damaged or truncated"):
        from_bytes("test piece", data + b"\n", TYPES)


TITLE = b"isoxide piece 1 test piece"


@pytest.mark.parametrize(
    ("title", "text", "body", "message"),
    [
        (b"isoxide piece x test piece", b"{}", b"", "they have no format number"),
        (b"isoxide piece ", b"{}", b"", "they have no format number"),
        (TITLE, b"", b"", "cannot decode these bytes as a test piece"),
        (TITLE, b"[]", b"", "cannot decode these bytes as a test piece"),
        (TITLE, b"{}", b"", "'facts'"),
        (TITLE, b'{"facts": {}, "shapes": []}', b"", "cannot decode these bytes as a test piece"),
        (TITLE, b'{"facts": {}, "shapes": [[2], [0]]}', b"1234567", "a block is too short"),
        (TITLE, b'{"facts": {}, "shapes": [[1], [2]]}', b"12345678x", "a block is too short"),
        (TITLE, b'{"facts": {}, "shapes": [[1], [0]]}', b"12345678x", "extra bytes after the last block"),
        (TITLE, b'{"facts": {}, "shapes": [[-1], [0]]}', b"", "a block has an invalid shape"),
        (TITLE, b'{"facts": {}, "shapes": [[1.0], [0]]}', b"12345678", "a block has an invalid shape"),
        (TITLE, b'{"facts": {}, "shapes": [[true], [0]]}', b"12345678", "a block has an invalid shape"),
        (TITLE, b'{"facts": {}, "shapes": [[4611686018427387904, 4], [0]]}', b"", "a block is too short"),
        (TITLE, b'{"facts": {}, "shapes": 3}', b"", "cannot decode these bytes as a test piece"),
        (TITLE, b"[" * 100_000, b"", "nested more than 4 levels deep"),
        (TITLE, b'{"facts": [' + b"0," * 300 + b"0]}", b"", "more than 200 items"),
    ],
)
def test_invalid_contents_with_a_correct_checksum_are_refused(title, text, body, message):
    with pytest.raises(ValueError, match=message):
        from_bytes("test piece", with_checksum(title, text, body), ["<i8", RAW])


def test_long_lists_are_read_only_without_a_limit():
    data = to_bytes("test piece", {"names": [f"c{j}" for j in range(1000)]}, [])
    assert len(from_bytes("test piece", data, [], max_items=None)[0]["names"]) == 1000
    with pytest.raises(ValueError, match="more than 200 items"):
        from_bytes("test piece", data, [])


def test_nan_is_not_written_as_json():
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_bytes("test piece", {"share": float("nan")}, [])
