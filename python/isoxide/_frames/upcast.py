"""Find the narrowest dtype that holds every value of a column that several files store with different dtypes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa

from isoxide._frames.dtypes import is_text

__all__ = ["common_type", "exact_common_type", "unlike_dtypes"]

#: Numbers of bits of a float that hold integers exactly, the sign not counted, by the float's number of bits.
_FLOAT_PRECISION = {16: 11, 32: 24, 64: 53}
#: Dtypes of numbers, narrow ones first, and integers before floats.
_NUMBERS = (
    pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64(),
    pa.float16(), pa.float32(), pa.float64(),
)  # fmt: skip
#: Units of times, coarse ones first.
_UNITS = ("s", "ms", "us", "ns")
#: Largest number of digits of a decimal of 128 and of 256 bits.
_MAX_DIGITS_128, _MAX_DIGITS_256 = 38, 76


def common_type(dtypes: Iterable[pa.DataType], *, upcast: bool) -> pa.DataType | None:
    """Return the dtype of a column that several files store; None if they have no common one.

    A column without values (the null dtype) agrees with any dtype, and all dtypes of text agree.

    Parameters
    ----------
    dtypes : iterable of pyarrow.DataType
        Dtype of the column in each file, at least one.
    upcast : bool
        Whether other dtypes become the narrowest one that holds all of their values exactly.
    """
    dtypes = list(dict.fromkeys(dtypes))
    typed = [dtype for dtype in dtypes if not pa.types.is_null(dtype)]
    if len(typed) < 2:
        return typed[0] if typed else dtypes[0]
    if all(map(is_text, typed)):
        return pa.large_string()
    return exact_common_type(typed) if upcast else None


def exact_common_type(dtypes: Iterable[pa.DataType]) -> pa.DataType | None:
    """Return the narrowest dtype that holds every value of all dtypes exactly, or None if there is none.

    The result does not depend on the order of the dtypes. Times of a finer unit have a smaller range; a value that lies
    outside is an error when it is cast.
    """
    distinct = list(dict.fromkeys(dtypes))
    if len(distinct) == 1:
        return distinct[0]
    if all(dtype in _NUMBERS for dtype in distinct):
        return next((wide for wide in _NUMBERS if all(_holds(wide, narrow) for narrow in distinct)), None)
    if all(map(pa.types.is_decimal, distinct)):
        return _common_decimal(distinct)
    if all(map(pa.types.is_timestamp, distinct)) and len({dtype.tz for dtype in distinct}) == 1:
        return pa.timestamp(_finest_unit(distinct), distinct[0].tz)
    if all(map(pa.types.is_duration, distinct)):
        return pa.duration(_finest_unit(distinct))
    if all(pa.types.is_binary(dtype) or pa.types.is_large_binary(dtype) for dtype in distinct):
        return pa.large_binary()
    return None


def unlike_dtypes(column: str, files: Mapping[pa.DataType, str], *, upcast: bool) -> str:
    """Return the message about a column whose dtypes have no common one, and what the user can do.

    Parameters
    ----------
    column : str
        Name of the column.
    files : mapping of pyarrow.DataType to str
        Dtypes of the column in the order of the files, with the name of the first file of each dtype.
    upcast : bool
        Whether the user asked for exact casts.
    """
    dtypes = list(files)
    n_alike = next(n for n in range(1, len(dtypes)) if common_type(dtypes[: n + 1], upcast=upcast) is None)
    other = dtypes[n_alike]
    pairs = (dtype for dtype in dtypes[:n_alike] if common_type([dtype, other], upcast=upcast) is None)
    first = next(pairs, dtypes[0])
    exact = exact_common_type(dtypes)
    if upcast:
        advice = "no dtype holds all values of both exactly; write the files with the same dtypes"
    elif exact is None:
        advice = "all files must have the same dtypes"
    else:
        advice = f"all files must have the same dtypes; with upcast=True the column is read as {exact}"
    return f"column {column!r} is {first} in {files[first]} and {other} in {files[other]}; {advice}"


def _holds(wide: pa.DataType, narrow: pa.DataType) -> bool:
    """Tell whether a dtype of numbers holds every value of another exactly."""
    if pa.types.is_floating(narrow):
        return bool(pa.types.is_floating(wide) and wide.bit_width >= narrow.bit_width)
    is_signed, is_wide_signed = pa.types.is_signed_integer(narrow), pa.types.is_signed_integer(wide)
    n_bits = int(narrow.bit_width) - int(is_signed)
    if pa.types.is_floating(wide):
        return n_bits <= _FLOAT_PRECISION[wide.bit_width]
    if is_signed and not is_wide_signed:
        return False
    return n_bits <= int(wide.bit_width) - int(is_wide_signed)


def _common_decimal(dtypes: list[pa.DataType]) -> pa.DataType | None:
    scale = max(dtype.scale for dtype in dtypes)
    digits = max(dtype.precision - dtype.scale for dtype in dtypes) + scale
    if digits > _MAX_DIGITS_256:
        return None
    is_wide = digits > _MAX_DIGITS_128 or any(map(pa.types.is_decimal256, dtypes))
    return pa.decimal256(digits, scale) if is_wide else pa.decimal128(digits, scale)


def _finest_unit(dtypes: list[pa.DataType]) -> str:
    return max((str(dtype.unit) for dtype in dtypes), key=_UNITS.index)
