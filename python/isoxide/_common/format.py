"""Format numbers, times and sizes for people who read reports and messages."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["format_bytes", "format_percentile", "format_share", "format_time", "format_value"]


def format_value(value: Any) -> str:
    """Format a number: in full if it is whole and below 1e15, otherwise rounded; NaN and None become a hyphen.

    Numbers below 10,000 are rounded to four significant digits, and numbers from 10,000 to 1e9 to one decimal.

    Examples
    --------
    >>> from isoxide._common.format import format_value
    >>> [format_value(value) for value in (12.0, 1234567, 0.000123456, 123.456, float("nan"))]
    ['12', '1,234,567', '0.0001235', '123.5', '-']
    """
    number = float(value) if value is not None else math.nan
    if math.isnan(number):
        return "-"
    if math.isinf(number):
        return "∞" if number > 0 else "-∞"
    if number.is_integer() and abs(number) < 1e15:
        return f"{int(number):,}"
    text = f"{number:.4g}"
    # Numbers up to 1e9 are shown as 123,456.7 rather than as 1.235e+05.
    return f"{number:,.1f}" if "e+" in text and abs(number) < 1e9 else text


def format_percentile(percentile: float) -> str:
    """Format a percentile with at most two decimals, rounded down, so that only the highest value of all is at 100.

    Examples
    --------
    >>> from isoxide._common.format import format_percentile
    >>> [format_percentile(percentile) for percentile in (99.999, 100.0, 12.5, float("nan"))]
    ['99.99', '100', '12.5', '-']
    """
    # The summand undoes rounding in the last bit, which could move 99.5 to 99.49.
    return "-" if math.isnan(percentile) else f"{math.floor(percentile * 100 + 1e-9) / 100:g}"


def format_share(share: float) -> str:
    """Format a share from 0 to 1 as a whole percentage; shares that would become 0 % are shown as ``"<1 %"``.

    Examples
    --------
    >>> from isoxide._common.format import format_share
    >>> [format_share(share) for share in (0.618, 0.003, 0.0, 1.0)]
    ['62 %', '<1 %', '0 %', '100 %']
    """
    return "<1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def format_time(time: pd.Timestamp) -> str:
    """Format a day, with the time of day unless it is midnight."""
    is_midnight = not (time.hour or time.minute or time.second or time.microsecond or time.nanosecond)
    return f"{time:%Y-%m-%d}" if is_midnight else f"{time:%Y-%m-%d %H:%M}"


def format_bytes(n: int) -> str:
    """Format a number of bytes in the largest decimal unit in which it is at least 1.

    Examples
    --------
    >>> from isoxide._common.format import format_bytes
    >>> [format_bytes(n) for n in (512, 1536, 1536 << 20, 100 << 30)]
    ['512 B', '1.5 kB', '1.6 GB', '107 GB']
    """
    if n < 1000:
        return f"{n} B"
    for unit, size in (("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12)):
        # A number that rounds to 1,000 of a unit is shown as 1 of the next one.
        if n < 999.5 * size or unit == "TB":
            break
    return f"{n / size:.1f} {unit}" if n < 99.95 * size else f"{n / size:.0f} {unit}"
