"""What a file says of a forest in words: parameters, names, offset. It may come from anybody: every type is checked."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

import numpy as np

from isoxide._common.json import loads

__all__ = ["Header", "decode", "encode"]

#: Whole numbers beyond these are no parameter of a forest.
_WHOLE = (-(2**63), 2**63 - 1)
#: The key under which the stream of a ``RandomState`` is stored.
_STREAM = "MT19937"
#: Words of its state.
_N_WORDS = 624
_PLAIN = (type(None), bool, int, float, str)
#: Lists and objects of the text within one another: the header, parameters, a stream, its state, its words.
_DEPTH = 5
#: More keys than the header, the parameters and a stream have, of any version.
_MOST_KEYS = 100


class Header(NamedTuple):
    """The text of a file, taken apart. The names are those in the text."""

    feature_names: list[str] | None
    max_features: int
    max_samples: int
    n_samples: int
    #: Trees of the last fit.
    n_seeds: int
    offset: float
    #: None where they are kept beside, as in a pickle.
    parameters: dict[str, Any] | None


def encode(header: Header) -> str:
    """The text: the same for the same forest, everywhere.

    Raises
    ------
    TypeError
        If a parameter is of a type that a file cannot hold.
    ValueError
        If something is out of range.
    """
    parameters = header.parameters
    if parameters is not None:
        parameters = {name: _stored(name, value) for name, value in parameters.items()}
    stored = header._replace(parameters=parameters, offset=_number_or_word(header.offset))
    text = json.dumps(
        stored._asdict(),
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
        check_circular=False,
        allow_nan=False,
    )
    # What could not be read must not be written.
    decode(text, len(header.feature_names or ()))
    return text


def decode(text: str, n_features: int) -> Header:
    """The text taken apart, which may have as many names as there are features.

    Raises
    ------
    ValueError
        If anything in it is not as `encode` writes it.
    """
    try:
        found = loads(
            text,
            max_depth=_DEPTH,
            max_keys=_MOST_KEYS,
            max_items=n_features + _N_WORDS + _MOST_KEYS,
            parse_constant=_no_constant,
            object_pairs_hook=_no_key_twice,
        )
    except (ValueError, RecursionError) as error:
        raise _refusal(f"its header is no JSON ({error})") from None
    _check_keys("header", found, Header._fields)
    names = found["feature_names"]
    if names is not None and not (type(names) is list and all(type(name) is str for name in names)):
        raise _refusal("feature_names is no list of strings")
    for name in ("max_features", "max_samples", "n_samples", "n_seeds"):
        _check_whole(name, found[name], 1, _WHOLE[1])
    if found["max_samples"] > min(found["n_samples"], 2**32 - 1):
        raise _refusal(f"max_samples is {found['max_samples']} of {found['n_samples']} rows")
    found["offset"] = _number(found["offset"])
    parameters = found["parameters"]
    if parameters is not None:
        if type(parameters) is not dict:
            raise _refusal("parameters is no object")
        found["parameters"] = {name: _taken(name, value) for name, value in parameters.items()}
    return Header(**found)


def _stored(name: str, value: Any) -> Any:
    """A parameter as JSON has it."""
    if isinstance(value, np.random.RandomState):
        return {_STREAM: _state(name, value)}
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) not in _PLAIN:
        raise TypeError(
            f"the parameter {name}={value!r} cannot be stored in a file: it is a {type(value).__name__}, "
            "not a number, a string, None or a RandomState"
        )
    if type(value) is float and not math.isfinite(value):
        raise ValueError(f"the parameter {name}={value!r} cannot be stored in a file: it is not finite")
    if type(value) is int and not _WHOLE[0] <= value <= _WHOLE[1]:
        raise ValueError(f"the parameter {name} cannot be stored in a file: it is a number of more than 64 bits")
    return value


def _state(name: str, stream: np.random.RandomState) -> list[Any]:
    state: Any = stream.get_state(legacy=False)
    if type(stream) is not np.random.RandomState or state["bit_generator"] != _STREAM:
        raise TypeError(f"the parameter {name}={stream!r} cannot be stored in a file: it is no plain RandomState")
    words = state["state"]
    return [words["key"].tolist(), int(words["pos"]), int(state["has_gauss"]), float(state["gauss"])]


def _taken(name: str, value: Any) -> Any:
    """A parameter from JSON."""
    if type(value) is dict:
        _check_keys(name, value, [_STREAM])
        return _stream(name, value[_STREAM])
    if type(value) not in _PLAIN:
        raise _refusal(f"the parameter {name} is a {type(value).__name__}")
    if type(value) is int:
        _check_whole(f"the parameter {name}", value, *_WHOLE)
    if type(value) is float and not math.isfinite(value):
        raise _refusal(f"the parameter {name} is not finite")
    return value


def _stream(name: str, state: Any) -> np.random.RandomState:
    what = f"the stream of the parameter {name}"
    if type(state) is not list or len(state) != 4 or type(state[0]) is not list or len(state[0]) != _N_WORDS:
        raise _refusal(f"{what} is no state of {_N_WORDS} words")
    words, position, has_gauss, gauss = state
    for word in words:
        _check_whole(f"a word of {what}", word, 0, 2**32 - 1)
    _check_whole(f"the position of {what}", position, 0, _N_WORDS)
    _check_whole(f"has_gauss of {what}", has_gauss, 0, 1)
    if type(gauss) is not float or not math.isfinite(gauss):
        raise _refusal(f"gauss of {what} is no finite number")
    stream = np.random.RandomState()
    stream.set_state((_STREAM, np.array(words, dtype=np.uint32), position, has_gauss, gauss))
    return stream


def _number_or_word(number: float) -> Any:
    """A float for JSON, which has no infinity."""
    return number if math.isfinite(number) else str(number)


def _number(value: Any) -> float:
    if value in ("inf", "-inf", "nan") or type(value) is float:
        return float(value)
    raise _refusal("offset is no number")


def _check_whole(what: str, value: Any, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        shown = value if type(value) in (int, float, str) and len(str(value)) < 40 else type(value).__name__
        raise _refusal(f"{what} is {shown} instead of a whole number from {low} to {high}")


def _check_keys(what: str, found: Any, expected: Any) -> None:
    if type(found) is not dict:
        raise _refusal(f"{what} is no object")
    for key in sorted(found.keys() ^ {*expected}):
        raise _refusal(f"{what} has an unknown key {key[:40]!r}" if key in found else f"{what} has no key {key!r}")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _refusal(reason: str) -> ValueError:
    return ValueError(f"not an isoxide forest: {reason}")
