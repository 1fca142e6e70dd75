"""Parser for untrusted JSON, which limits its depth and size before it is parsed.

The parser of the standard library recurses for each nested list and object. Deep ones crash the process if the
recursion limit was raised or the thread has a small stack, and objects with a million keys take seconds. So the text is
scanned first: without its strings, only brackets, commas and colons are left, which `str.count` counts fast.
"""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import Any

__all__ = ["MAX_DEPTH", "loads"]

#: Default limit on the nesting of lists and objects: more than any document of this package has.
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
    """Parse a JSON document, unless it exceeds a limit.

    Parameters
    ----------
    text : str, bytes or bytearray
        Document; bytes must be UTF-8.
    max_depth : int, default=16
        Maximum nesting of lists and objects.
    max_keys : int, optional
        Maximum number of keys of all objects together; None means any number.
    max_items : int, optional
        Maximum number of commas in all lists and objects together; None means any number.
    **options
        Further arguments of `json.loads`.

    Returns
    -------
    object
        Result of `json.loads`.

    Raises
    ------
    ValueError
        If the document is not valid JSON or UTF-8, or exceeds a limit.

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
        # Remove pairs of backslashes first: then a backslash before a quotation mark escapes it.
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
