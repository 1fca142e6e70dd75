"""Wire format of the mergeable pieces (`isoxide.mergeable`): how they travel between processes and machines.

All pieces have the same layout, in this order:

    isoxide piece 1 score sketch      the format number and the name of the piece, one line
    9f86d081...                       SHA-256 of everything but this line, 64 hexadecimal digits, one line
    {"facts": ..., "shapes": [...]}   facts (numbers, names, parameters) and the shape of each block, one line of JSON
    ...                               the blocks, one after the other: arrays in little-endian byte order, or bytes that
                                      the core made (their shape is their length)

The same piece gives the same bytes everywhere. `FORMAT` rises with every change of this layout, of the facts or blocks
of a piece, or of the bytes that the core makes; other numbers are refused. Untrusted input is safe: decoding never
executes code, the JSON is limited in depth and size before it is parsed (`json.py`), and no block is larger than the
input.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoxide._common.json import loads

__all__ = ["FORMAT", "RAW", "from_bytes", "to_bytes"]

#: Number of the format that is written and read.
FORMAT = 1
#: Type of a block that is bytes, not an array.
RAW = "bytes"

_MAGIC = b"isoxide piece "


def to_bytes(name: str, facts: dict[str, Any], blocks: Sequence[NDArray[Any] | bytes]) -> bytes:
    """Encode a piece in the wire format.

    Parameters
    ----------
    name : str
        Name of the piece, such as ``"score sketch"``.
    facts : dict
        Numbers, text, lists and objects, as JSON can hold them.
    blocks : list of ndarray or bytes
        Arrays, and bytes that the core made.

    Returns
    -------
    bytes
        The same bytes for the same piece, on every machine.
    """
    shapes = [[len(block)] if isinstance(block, bytes) else list(block.shape) for block in blocks]
    body = [block if isinstance(block, bytes) else _little_endian(block) for block in blocks]
    title = _MAGIC + f"{FORMAT} {name}\n".encode()
    text = json.dumps({"facts": facts, "shapes": shapes}, sort_keys=True, allow_nan=False).encode() + b"\n"
    return b"".join([title, _checksum(title, text, *body), b"\n", text, *body])


def from_bytes(
    name: str, data: bytes, types: Sequence[str], *, max_items: int | None = 200
) -> tuple[dict[str, Any], list[Any]]:
    """Decode a piece from the wire format.

    Parameters
    ----------
    name : str
        Name of the expected piece.
    data : bytes
        Result of `to_bytes`, or anything else.
    types : list of str
        Type of each block: a dtype with its byte order, such as ``"<f8"``, or `RAW`.
    max_items : int or None, default=200
        Maximum number of items in the lists and objects of the facts; None if they hold a list of any length.

    Returns
    -------
    facts : dict
        The facts. Their values are not checked.
    blocks : list of ndarray or bytes
        The blocks; arrays are copies in the byte order of the machine.

    Raises
    ------
    ValueError
        If the bytes are damaged, have another format, or are those of another piece.
    """
    data = bytes(data)
    title, _, rest = data.partition(b"\n")
    try:
        _check_title(name, title)
        checksum, _, rest = rest.partition(b"\n")
        text, _, body = rest.partition(b"\n")
        if checksum != _checksum(title, b"\n", text, b"\n", body):
            raise ValueError("they are damaged or truncated")
        head = loads(text, max_depth=4, max_keys=100, max_items=max_items)
        facts: dict[str, Any] = head["facts"]
        return facts, _blocks(body, types, head["shapes"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"not the bytes of a {name}: {error}") from None


def _check_title(name: str, title: bytes) -> None:
    """Refuse other formats, other pieces and other data, by their first line."""
    if not title.startswith(_MAGIC):
        raise ValueError(f"they do not begin with {_MAGIC.decode()!r}; pass what to_bytes returned")
    number, _, other = title[len(_MAGIC) :].partition(b" ")
    if not number.isdigit():
        raise ValueError("they have no format number")
    if number != str(FORMAT).encode():
        raise ValueError(
            f"they have format {number[:20].decode()}, and this version of isoxide reads format {FORMAT}; "
            "install the same version of isoxide on all machines, and make them again"
        )
    if other != name.encode():
        raise ValueError(f"they are those of a {other[:40].decode(errors='replace')}")


def _blocks(body: bytes, types: Sequence[str], shapes: Any) -> list[Any]:
    """Cut the body of a piece into its blocks."""
    blocks: list[Any] = []
    start = 0
    for dtype, shape in zip(types, shapes, strict=True):
        if not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError("a block has no valid shape")
        end = start + math.prod(shape) * (1 if dtype == RAW else np.dtype(dtype).itemsize)
        if end > len(body):
            raise ValueError("a block is too short")
        block = body[start:end]
        blocks.append(
            block if dtype == RAW else np.frombuffer(block, dtype=dtype).reshape(shape).astype(dtype[1:], copy=True)
        )
        start = end
    if start != len(body):
        raise ValueError("they are too long")
    return blocks


def _little_endian(array: NDArray[Any]) -> bytes:
    """Return the values of an array in row-major order and little-endian byte order."""
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()


def _checksum(*pieces: bytes) -> bytes:
    """Compute the SHA-256 of joined bytes, in hexadecimal digits."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest().encode()
