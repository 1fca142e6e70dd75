"""Header of a forest file: parameters, feature names, offset and counts as JSON text.

Untrusted input is safe: every key, type and range is checked, and decoding never executes code.
"""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

import numpy as np

from isoxide._common.json import loads

__all__ = ["NOT_A_FOREST", "Header", "decode", "encode"]

#: Beginning of every error about data that is not a forest; the core (`src/forest/file.rs`) uses it too.
NOT_A_FOREST = "not an isoxide forest: "

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
#: Key of the state of a ``RandomState``, named after its algorithm.
_MT19937 = "MT19937"
#: Number of 32-bit words in that state.
_N_STATE_WORDS = 624
_PLAIN_TYPES = (type(None), bool, int, float, str)
#: Nesting depth of the text: the header, its parameters, a ``RandomState``, its state, the words of the state.
_MAX_DEPTH = 5
#: Maximum number of keys: those of a header with parameters and a ``RandomState``, and a reserve for later versions.
_MAX_KEYS = 100


class Header(NamedTuple):
    """Decoded header. The fields have the names of the keys in the text."""

    #: None if not all training columns had names.
    feature_names: list[str] | None
    max_features: int
    max_samples: int
    n_samples: int
    #: Number of trees of the last fit.
    n_seeds: int
    offset: float
    #: None in a pickle, which keeps the parameters itself.
    parameters: dict[str, Any] | None


def encode(header: Header) -> str:
    """Encode a header as JSON text, the same text for the same header on every machine.

    Parameters
    ----------
    header : Header
        The header.

    Returns
    -------
    str
        The text, in ASCII.

    Raises
    ------
    TypeError
        If a parameter has a type that a file cannot hold.
    ValueError
        If a value is out of range.
    """
    parameters = header.parameters
    if parameters is not None:
        parameters = {name: _encoded(name, value) for name, value in parameters.items()}
    stored = header._replace(parameters=parameters, offset=_encoded_float(header.offset))
    text = json.dumps(
        stored._asdict(),
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
        check_circular=False,
        allow_nan=False,
    )
    # Refuse to write a header that could not be read again.
    decode(text, len(header.feature_names or ()))
    return text


def decode(text: str, n_features: int) -> Header:
    """Decode a header and check everything in it.

    Parameters
    ----------
    text : str
        JSON text, which may be untrusted.
    n_features : int
        Number of columns of the forest, which limits the number of names in the text.

    Returns
    -------
    Header
        The header.

    Raises
    ------
    ValueError
        If `encode` cannot have written the text.
    """
    try:
        header = loads(
            text,
            max_depth=_MAX_DEPTH,
            max_keys=_MAX_KEYS,
            max_items=n_features + _N_STATE_WORDS + _MAX_KEYS,
            parse_constant=_refuse_constant,
            object_pairs_hook=_with_distinct_keys,
        )
    except (ValueError, RecursionError) as error:
        raise _refusal(f"its header is not valid JSON ({error})") from None
    _check_keys("header", header, Header._fields)
    names = header["feature_names"]
    if names is not None and not (type(names) is list and all(type(name) is str for name in names)):
        raise _refusal("feature_names is not a list of strings")
    for name in ("max_features", "max_samples", "n_samples", "n_seeds"):
        _check_integer(name, header[name], 1, _INT64_MAX)
    if header["max_samples"] > min(header["n_samples"], 2**32 - 1):
        raise _refusal(f"max_samples is {header['max_samples']}, but there were {header['n_samples']} training rows")
    header["offset"] = _decoded_float(header["offset"])
    parameters = header["parameters"]
    if parameters is not None:
        if type(parameters) is not dict:
            raise _refusal("parameters is not an object")
        header["parameters"] = {name: _decoded(name, value) for name, value in parameters.items()}
    return Header(**header)


def _encoded(name: str, value: Any) -> Any:
    """Convert a parameter to a JSON value."""
    if isinstance(value, np.random.RandomState):
        return {_MT19937: _encoded_state(name, value)}
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) not in _PLAIN_TYPES:
        raise TypeError(
            f"the parameter {name}={value!r} cannot be stored in a file: it is a {type(value).__name__}; "
            "set it to a number, a string, None or a RandomState, or pickle the forest"
        )
    if type(value) is float and not math.isfinite(value):
        raise ValueError(f"the parameter {name}={value!r} cannot be stored in a file: it is not finite")
    if type(value) is int and not _INT64_MIN <= value <= _INT64_MAX:
        raise ValueError(f"the parameter {name} cannot be stored in a file: it has more than 64 bits")
    return value


def _encoded_state(name: str, stream: np.random.RandomState) -> list[Any]:
    """Convert the state of a random stream to lists and numbers."""
    state: Any = stream.get_state(legacy=False)
    if type(stream) is not np.random.RandomState or state["bit_generator"] != _MT19937:
        raise TypeError(
            f"the parameter {name}={stream!r} cannot be stored in a file: it is not a plain RandomState; "
            "set it to one, or pickle the forest"
        )
    fields = state["state"]
    return [fields["key"].tolist(), int(fields["pos"]), int(state["has_gauss"]), float(state["gauss"])]


def _decoded(name: str, value: Any) -> Any:
    """Convert a parameter from JSON, and check its type and range."""
    if type(value) is dict:
        _check_keys(name, value, [_MT19937])
        return _decoded_state(name, value[_MT19937])
    if type(value) not in _PLAIN_TYPES:
        raise _refusal(f"the parameter {name} is a {type(value).__name__}")
    if type(value) is int:
        _check_integer(f"the parameter {name}", value, _INT64_MIN, _INT64_MAX)
    if type(value) is float and not math.isfinite(value):
        raise _refusal(f"the parameter {name} is not finite")
    return value


def _decoded_state(name: str, state: Any) -> np.random.RandomState:
    """Make a random stream from the lists and numbers of its state."""
    label = f"the stream of the parameter {name}"
    if type(state) is not list or len(state) != 4 or type(state[0]) is not list or len(state[0]) != _N_STATE_WORDS:
        raise _refusal(f"{label} does not have a state of {_N_STATE_WORDS} words")
    key, position, has_gauss, gauss = state
    for word in key:
        _check_integer(f"a word of {label}", word, 0, 2**32 - 1)
    _check_integer(f"the position of {label}", position, 0, _N_STATE_WORDS)
    _check_integer(f"has_gauss of {label}", has_gauss, 0, 1)
    if type(gauss) is not float or not math.isfinite(gauss):
        raise _refusal(f"gauss of {label} is not a finite number")
    stream = np.random.RandomState()
    stream.set_state((_MT19937, np.array(key, dtype=np.uint32), position, has_gauss, gauss))
    return stream


def _encoded_float(number: float) -> Any:
    """Convert a float to a JSON value: a string if it is not finite."""
    return number if math.isfinite(number) else str(number)


def _decoded_float(value: Any) -> float:
    """Convert the offset from JSON."""
    if value in ("inf", "-inf", "nan") or type(value) is float:
        return float(value)
    raise _refusal("offset is not a number")


def _check_integer(label: str, value: Any, low: int, high: int) -> None:
    """Refuse a value that is not an integer from `low` to `high`."""
    if type(value) is not int or not low <= value <= high:
        shown = value if type(value) in (int, float, str) and len(str(value)) < 40 else type(value).__name__
        raise _refusal(f"{label} is {shown} instead of an integer from {low} to {high}")


def _check_keys(label: str, value: Any, expected: Any) -> None:
    """Refuse a value that is not an object with exactly these keys."""
    if type(value) is not dict:
        raise _refusal(f"{label} is not an object")
    for key in sorted(value.keys() ^ {*expected}):
        raise _refusal(f"{label} has an unknown key {key[:40]!r}" if key in value else f"{label} lacks the key {key!r}")


def _refuse_constant(name: str) -> None:
    """Refuse NaN and Infinity, which are not JSON."""
    raise ValueError(f"{name} is not a JSON number")


def _with_distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object from its pairs, and refuse repeated keys."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key occurs twice")
    return result


def _refusal(reason: str) -> ValueError:
    """Make the error for a text that is not the header of a forest."""
    return ValueError(NOT_A_FOREST + reason)
