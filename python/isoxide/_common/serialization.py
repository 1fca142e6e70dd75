"""Arrays and a few facts as bytes and back: a line of JSON, then the arrays as they lie in memory."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoxide._common.json import loads


def to_bytes(what: str, facts: dict[str, Any], arrays: Sequence[NDArray[Any]]) -> bytes:
    """The bytes: the same for the same facts and arrays, with a checksum."""
    body = b"".join(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes() for array in arrays)
    head = {"what": what, "facts": facts, "shapes": [array.shape for array in arrays]}
    line = json.dumps(head, sort_keys=True, allow_nan=False).encode()
    return line + b"\n" + hashlib.sha256(line + body).hexdigest().encode() + b"\n" + body


def from_bytes(what: str, data: bytes, types: Sequence[str]) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """What `to_bytes` was given, of arrays of these types.

    Raises
    ------
    ValueError
        If they are not the bytes of that, or damaged.
    """
    try:
        line, checksum, body = bytes(data).split(b"\n", 2)
        head = loads(line, max_depth=4, max_keys=100, max_items=200)
        if head["what"] != what:
            raise ValueError(f"they are those of {str(head['what'])[:40]!r}")
        if hashlib.sha256(line + body).hexdigest().encode() != checksum:
            raise ValueError("they are damaged or truncated")
        arrays, start = [], 0
        for kind, shape in zip(types, head["shapes"], strict=True):
            if not all(type(n) is int and n >= 0 for n in shape):
                raise ValueError("an array has no proper shape")
            end = start + np.dtype(kind).itemsize * math.prod(shape)
            if end > len(body):
                raise ValueError("an array ends too early")
            arrays.append(np.frombuffer(body[start:end], dtype=kind).reshape(shape).astype(kind[1:], copy=True))
            start = end
        if start != len(body):
            raise ValueError("something follows them")
        facts: dict[str, Any] = head["facts"]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"not the bytes of {what}: {error}") from None
    return facts, arrays
