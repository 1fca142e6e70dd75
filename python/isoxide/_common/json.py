"""JSON that may come from anybody: how deep and how large it is is known before it is parsed.

The parser of the standard library calls itself for each list and object within another one. Deep ones end the process
where the recursion limit was raised or where a thread has a small stack, and objects of a million keys take seconds. So
the text is scanned first: without its strings, what remains are brackets, commas and colons, which are counted at the
speed of `str.count`.
"""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import Any

__all__ = ["MAX_DEPTH", "loads"]

#: Lists and objects within one another that are parsed by default: more than any document of this package has.
MAX_DEPTH = 16

_STRING = re.compile(r'"[^"]*"')
_NO_BRACKETS = re.compile(r"[^][{}]+")
_STEPS = {"[": 1, "{": 1, "]": -1, "}": -1}


def loads(
    text: str | bytes | bytearray,
    *,
    max_depth: int = MAX_DEPTH,
    max_keys: int | None = None,
    max_items: int | None = None,
    **options: Any,
) -> Any:
    """Parse a JSON document, unless it is deeper or larger than it can be.

    Parameters
    ----------
    text : str, bytes or bytearray
        The document; bytes are UTF-8.
    max_depth : int, default=16
        Lists and objects within one another, at most.
    max_keys : int, optional
        Keys of all objects together, at most.
    max_items : int, optional
        Commas between keys and between items of lists, at most.
    **options
        Further arguments of `json.loads`.

    Returns
    -------
    object
        What `json.loads` returns.

    Raises
    ------
    ValueError
        If the document is no JSON, no UTF-8, or exceeds a limit.

    Examples
    --------
    >>> from isoxide._common.json import loads
    >>> loads('{"names": ["a", "b"]}', max_keys=1)
    {'names': ['a', 'b']}
    >>> loads("[" * 100_000)
    Traceback (most recent call last):
    ...
    ValueError: it is nested more than 16 levels deep
    """
    if not isinstance(text, str):
        text = bytes(text).decode()
    plain = text
    if "\\" in plain:
        # Pairs of backslashes first, so that an escaped quotation mark is known from the end of a string.
        plain = plain.replace("\\\\", "").replace('\\"', "")
    plain = _STRING.sub("", plain)
    if max_keys is not None and plain.count(":") > max_keys:
        raise ValueError(f"its objects have more than {max_keys} keys")
    if max_items is not None and plain.count(",") > max_items:
        raise ValueError(f"its lists and objects have more than {max_items} items")
    brackets = _NO_BRACKETS.sub("", plain)
    if len(brackets) > max_depth and max(accumulate(map(_STEPS.__getitem__, brackets))) > max_depth:
        raise ValueError(f"it is nested more than {max_depth} levels deep")
    return json.loads(text, **options)
