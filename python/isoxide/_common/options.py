"""Options that several functions share, defined and described once.

A dataclass lists the options with their types, defaults and descriptions. With `takes`, a function is called with the
fields as keyword arguments. Its signature and docstring show them, and the function gets one checked object.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any, Concatenate, ParamSpec, TypeVar

__all__ = ["takes"]

P = ParamSpec("P")
First = TypeVar("First")
Options = TypeVar("Options")
Result = TypeVar("Result")
#: Entry of a docstring that the descriptions of all options replace.
_MARK = re.compile(r"^\*\*options\n(?: .*\n)+", re.MULTILINE)


def takes(
    options: Callable[P, Options],
) -> Callable[[Callable[[First, Options], Result]], Callable[Concatenate[First, P], Result]]:
    """Make a decorator that lets a function take the fields of an options class as keyword arguments.

    Parameters
    ----------
    options : type
        Dataclass of the options. Its docstring, or the docstring of the base class that defines a field, describes
        each field in its section of parameters.

    Returns
    -------
    callable
        Decorator. It replaces the entry ``**options`` in the docstring of the function with the descriptions.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> from isoxide._common.options import takes
    >>> @dataclass
    ... class Options:
    ...     power: int = 2
    >>> @takes(Options)
    ... def raised(number, options):
    ...     return number**options.power
    >>> raised(3, power=3)
    27
    """
    assert isinstance(options, type)
    # Put required options first; the sort is stable, so it keeps the order of all others.
    ordered = sorted(fields(options), key=lambda field: field.default is not MISSING)
    parameters = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=field.type,
        )
        for field in ordered
    ]
    entries = _entries(options)
    descriptions = "\n".join(entries[field.name] for field in ordered if field.name in entries)

    def decorate(function: Callable[[First, Options], Result]) -> Callable[Concatenate[First, P], Result]:
        original = inspect.signature(function)
        first, *_ = original.parameters.values()
        signature = original.replace(parameters=[first, *parameters])

        @functools.wraps(function)
        def call(*args: Any, **keywords: Any) -> Result:
            try:
                bound = signature.bind(*args, **keywords).arguments
            except TypeError as error:
                raise TypeError(f"{function.__name__}() {error}") from None
            return function(bound.pop(first.name), options(**bound))

        call.__signature__ = signature  # type: ignore[attr-defined]
        text = inspect.cleandoc(function.__doc__ or "") + "\n"
        call.__doc__ = _MARK.sub(lambda _: descriptions + "\n", text)
        return call

    return decorate


def _entries(options: type) -> dict[str, str]:
    """Return the description of each field, from the sections of parameters of a class and its bases."""
    entries: dict[str, str] = {}
    for base in reversed(options.__mro__):
        text = inspect.cleandoc(base.__dict__.get("__doc__") or "")
        section = re.search(r"^Parameters\n-+\n((?:(?!^\w[^\n]*\n-+$).*\n?)*)", text, re.MULTILINE)
        if section is not None:
            for entry in re.findall(r"^\w+ : .*\n(?:(?: .*)?(?:\n|$))+", section[1] + "\n", re.MULTILINE):
                entries[entry.split(" : ")[0]] = entry.rstrip()
    return entries
