"""Wire format in which processes and machines exchange the pieces of `isoxide.mergeable` (sketches, counts, rows).

All pieces have the same layout, in this order:

    isoxide piece 1 score sketch      the format number and the name of the piece, one line
    9f86d081...                       SHA-256 of everything but this line, 64 hexadecimal digits, one line
    {"facts": ..., "shapes": [...]}   facts (numbers, names, parameters) and the shape of each block, one line of JSON
    ...                               the blocks, one after the other: arrays in little-endian byte order, or bytes that
                                      the core made (with their length as the shape)

The same piece gives the same bytes on every machine. `FORMAT` is raised with every change of this layout, of the facts
or blocks of a piece, or of the bytes that the core makes. Decoding refuses other format numbers. Untrusted input is
safe: decoding never executes code, the JSON is limited in depth and size before it is parsed (`json.py`), and no block
is larger than the input.
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

#: Format number that this version writes, and the only one that it reads.
FORMAT = 1
#: Type of a block that holds raw bytes instead of an array.
RAW = "bytes"

_MAGIC = b"isoxide piece "


def to_bytes(name: str, facts: dict[str, Any], blocks: Sequence[NDArray[Any] | bytes]) -> bytes:
    """Encode a piece in the wire format.

    Parameters
    ----------
    name : str
        Name of the piece, such as ``"score sketch"``.
    facts : dict
        Numbers, strings, lists and dicts that JSON can represent.
    blocks : list of ndarray or bytes
        Arrays, and bytes that the core made.

    Returns
    -------
    bytes
        Encoded piece: the same bytes for the same piece on every machine.
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
        Result of `to_bytes`. Other bytes raise a ValueError.
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
        If the bytes are damaged, have another format number, or hold another kind of piece.
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
        raise ValueError(f"cannot decode these bytes as a {name}: {error}") from None


def _check_title(name: str, title: bytes) -> None:
    """Check the first line, and refuse other formats, other kinds of pieces and other data."""
    if not title.startswith(_MAGIC):
        raise ValueError(f"they do not begin with {_MAGIC.decode()!r}; pass the result of to_bytes")
    number, _, actual = title[len(_MAGIC) :].partition(b" ")
    if not number.isdigit():
        raise ValueError("they have no format number")
    if number != str(FORMAT).encode():
        raise ValueError(
            f"they have format {number[:20].decode()}, and this version of isoxide reads format {FORMAT}; "
            "install the same version of isoxide on all machines, and call to_bytes again"
        )
    if actual != name.encode():
        raise ValueError(f"they hold a {actual[:40].decode(errors='replace')}")


def _blocks(body: bytes, types: Sequence[str], shapes: Any) -> list[Any]:
    """Split the body of a piece into its blocks."""
    blocks: list[Any] = []
    start = 0
    for dtype, shape in zip(types, shapes, strict=True):
        if not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError("a block has an invalid shape")
        end = start + math.prod(shape) * (1 if dtype == RAW else np.dtype(dtype).itemsize)
        if end > len(body):
            raise ValueError("a block is too short")
        block = body[start:end]
        blocks.append(
            block if dtype == RAW else np.frombuffer(block, dtype=dtype).reshape(shape).astype(dtype[1:], copy=True)
        )
        start = end
    if start != len(body):
        raise ValueError("there are extra bytes after the last block")
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
