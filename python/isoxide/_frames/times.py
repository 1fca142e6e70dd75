"""Read the times of rows in any notation; each time keeps the day that the source states."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from isoxide._frames.cells import BadCellError
from isoxide._frames.dtypes import is_text
from isoxide._frames.keys import as_text

__all__ = ["CodedTimes", "TimeStyle", "Times", "days_of", "zones"]

#: Values of `time_format` that are not patterns: units of numbers that count from 1970-01-01 in UTC.
EPOCH_UNITS = {
    prefix + name: unit
    for unit, names in {
        "s": ("s", "seconds"), "ms": ("ms", "milliseconds"), "us": ("us", "microseconds"), "ns": ("ns", "nanoseconds"),
    }.items()
    for name in names
    for prefix in ("", "epoch_", "unix_", "epoch ", "unix ")
} | {"epoch": "s", "unix": "s"}  # fmt: skip
#: Day in ISO 8601. pandas also accepts months and weeks, but they do not name a day.
_DAY = r"^(\d{4}[-/]\d{1,2}[-/]\d{1,2}|\d{8})([T ].*)?$"
_ZONE = re.compile(r"(?<=\d)\s?(?:Z|z|UTC|GMT|[+-]\d\d(?::?\d\d)?)$")
_YEAR_BOUNDS = np.datetime64("0001-01-01"), np.datetime64("10000-01-01")
_EXPECTED = "a day in ISO 8601 (2025-04-26, 2025-04-26T13:00:00Z) or of eight digits (20250426)"
_HINT = "give time_format='%d.%m.%Y' for other patterns, time_format='s' or 'ms' for seconds or milliseconds since 1970"


@dataclass(frozen=True)
class TimeStyle:
    """Style in which times are written.

    Parameters
    ----------
    format : str or None
        Pattern for `datetime.datetime.strptime`, or the unit of numbers that count from 1970 (`EPOCH_UNITS`). None
        reads ISO 8601 and eight digits.
    timezone : str or None
        Time zone that decides the day of each time, such as ``"Europe/Oslo"``. None keeps the day in the source.
    """

    format: str | None = None
    timezone: str | None = None

    def __post_init__(self) -> None:
        if self.format is not None and (
            not isinstance(self.format, str) or ("%" not in self.format and self.format not in EPOCH_UNITS)
        ):
            raise ValueError(
                f"time_format={self.format!r} must be a pattern such as '%d.%m.%Y', or a unit: 's', 'ms', 'us', 'ns'"
            )
        if self.format is not None and "%" in self.format:
            try:
                datetime.datetime.strptime("", self.format)
            except ValueError as error:
                if "does not match" not in str(error):
                    raise ValueError(f"time_format={self.format!r} is not a pattern of strptime: {error}") from None
        if self.timezone is not None:
            if not isinstance(self.timezone, str):
                raise TypeError(f"timezone={self.timezone!r} must be the name of a zone, such as 'Europe/Oslo'")
            try:
                pd.Timestamp("2025-01-01", tz=self.timezone)
            except Exception as error:
                raise ValueError(f"timezone={self.timezone!r} is not a time zone that pandas knows") from error


def days_of(times: pd.Series) -> pd.Series:
    """Return the day of each time as midnight without a time zone, since some zones have days without a midnight."""
    naive: pd.Series = times if times.dt.tz is None else times.dt.tz_localize(None)
    days: pd.Series = naive.dt.normalize()
    return days


class CodedTimes(NamedTuple):
    """Times of rows, each of which is read once from the cells that share it."""

    #: Times that rows have; several of them may be equal, since they can be written in several ways.
    distinct: pd.Series
    #: Position of the time of each row in `distinct`.
    codes: NDArray[Any]

    @property
    def of_rows(self) -> pd.Series:
        """Return the time of each row."""
        return pd.Series(self.distinct.array.take(self.codes), name=self.distinct.name)

    @property
    def microseconds(self) -> NDArray[np.int64]:
        """Return `distinct` in whole microseconds since 1970 in UTC; times without a zone are taken as they are."""
        times = self.distinct
        naive = times if times.dt.tz is None else times.dt.tz_convert("UTC").dt.tz_localize(None)
        counts: NDArray[np.int64] = naive.to_numpy().astype("datetime64[us]").astype(np.int64)
        return counts


def _zone(text: str) -> str:
    """Return the zone that a time was written in: ``""`` for none, ``"UTC"``, or an offset such as ``"+02:00"``."""
    match = _ZONE.search(text)
    # The last two digits of a day (2025-04-26) look like an offset, but only times of day have one.
    if match is None or not re.search(r"[T ]", text):
        return ""
    zone = match[0].strip()
    if zone[0] not in "+-" or not zone.strip("+-:0"):
        return "UTC"
    digits = zone[1:].replace(":", "").ljust(4, "0")
    return f"{zone[0]}{digits[:2]}:{digits[2:]}"


def zones(column: pa.Array) -> set[str]:
    """Return the time zones in which times are written, or an empty set if they are not text."""
    is_coded = pa.types.is_dictionary(column.type)
    if not is_text(column.type.value_type if is_coded else column.type):
        return set()
    values = column.dictionary if is_coded else column.unique()
    return {_zone(text) for text in values.to_pylist() if text is not None}


@dataclass(frozen=True)
class Times:
    """Reader of the times of one column, with the same result in every partition.

    Parameters
    ----------
    name : str
        Name of the column.
    style : TimeStyle
        Style in which its times are written.
    zones : frozenset of str
        Time zones that occur in the times of the whole table, if they are text.
    """

    name: str
    style: TimeStyle = field(default_factory=TimeStyle)
    zones: frozenset[str] = frozenset()

    @property
    def is_mixed(self) -> bool:
        """Tell whether zones are dropped, because the times have several zones and the user chose none."""
        return len(self.zones) > 1 and self.style.timezone is None

    def of(self, batch: pa.RecordBatch, first_row: int | None) -> pd.Series:
        """Return the times of the rows of a batch (see `read`)."""
        return self.read(batch.column(self.name), first_row)

    def parsed(self, column: pd.Series) -> pd.Series:
        """Return the times of a pandas column that came from Arrow, with the same index."""
        return self.read(pa.Array.from_pandas(column)).set_axis(column.index)

    def read(self, column: pa.Array | pa.ChunkedArray, first_row: int | None = 0) -> pd.Series:
        """Return the times of a column (see `coded`)."""
        return self.coded(column, first_row).of_rows

    def coded(self, column: pa.Array | pa.ChunkedArray, first_row: int | None = 0) -> CodedTimes:
        """Return the times of a column, each distinct cell of which is read once.

        Parameters
        ----------
        column : pyarrow array
            Column of text, days, times or whole numbers.
        first_row : int or None
            Number of the first row in the table, for messages; None if it is not known.

        Raises
        ------
        BadCellError
            If a time is missing or cannot be read.
        """
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()
        if pa.types.is_nested(column.type) or isinstance(column.type, pa.BaseExtensionType):
            self._refuse(column, pa.repeat(True, len(column)), first_row, _not_a_time(column.type))
        if column.null_count:
            self._refuse(column, pc.is_null(column), first_row, None)
        coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        # Many rows share few days, so each distinct value is read once.
        values, codes = coded.dictionary, coded.indices.to_numpy(zero_copy_only=False)
        if values.null_count:
            self._refuse(column, pc.is_null(column.cast(values.type)), first_row, None)
        if pa.types.is_dictionary(column.type):
            # Skip categories that no row has, since they need not be times.
            used, codes = np.unique(codes, return_inverse=True)
            values = values.take(pa.array(used))
        times, problem = self._parsed(values)
        bad = np.flatnonzero(times.isna())
        if bad.size:
            self._refuse(column, pa.array(np.isin(codes, bad)), first_row, problem)
        if self.style.timezone is not None:
            times = self._localized(times) if times.dt.tz is None else times.dt.tz_convert(self.style.timezone)
        naive = times.dt.tz_localize(None).to_numpy().astype("datetime64[s]")
        outside = np.flatnonzero((naive < _YEAR_BOUNDS[0]) | (naive >= _YEAR_BOUNDS[1]))
        if outside.size:
            self._refuse(column, pa.array(np.isin(codes, outside)), first_row, "not within the years 1 to 9999")
        return CodedTimes(pd.Series(times.array, name=self.name), codes)

    def _localized(self, times: pd.Series) -> pd.Series:
        # The clock skips or repeats some hours; the day is the same either way.
        localized: pd.Series = times.dt.tz_localize(self.style.timezone, ambiguous=False, nonexistent="shift_forward")
        return localized

    def _parsed(self, values: pa.Array) -> tuple[pd.Series, str]:
        dtype, types = values.type, pa.types
        if len(values) == 0:
            return pd.Series([], dtype="datetime64[us]"), _EXPECTED
        if types.is_date(dtype):
            return values.cast(pa.timestamp("us")).to_pandas(), _EXPECTED
        if types.is_timestamp(dtype):
            return values.to_pandas(), _EXPECTED
        if self.style.format in EPOCH_UNITS:
            return self._from_epoch(values)
        if is_text(dtype):
            return self._from_text(values.to_pandas().astype("str"))
        if types.is_integer(dtype):
            return self._from_integers(values)
        if types.is_decimal(dtype):
            # Databases store whole numbers as decimals.
            return self._from_text(as_text(values, self.name).to_pandas().astype("str"))
        return pd.Series(np.full(len(values), np.datetime64("NaT", "s"))), _not_a_time(dtype)

    def _from_text(self, texts: pd.Series) -> tuple[pd.Series, str]:
        if self.style.format is not None:
            return self._from_pattern(texts)
        texts = texts.str.strip()
        is_day = texts.str.match(_DAY).astype(bool)
        if self.is_mixed:
            texts = texts.str.replace(_ZONE, "", regex=True).where(texts.str.contains("[T ]"), texts)
        else:
            texts = texts.str.replace(r"\s?(?:UTC|GMT)$", "Z", regex=True)
        texts = texts.where(is_day)
        if self.style.timezone is None:
            return pd.to_datetime(texts, format="ISO8601", errors="coerce"), f"not {_EXPECTED}; {_HINT}"
        # Times without a zone belong to the chosen zone; the others are converted to it.
        has_zone = texts.str.contains(_ZONE).eq(True) & texts.str.contains("[T ]").eq(True)
        zoned = pd.to_datetime(texts.where(has_zone), format="ISO8601", errors="coerce", utc=True)
        naive = pd.to_datetime(texts.where(~has_zone), format="ISO8601", errors="coerce")
        times = zoned.dt.tz_convert(self.style.timezone)
        return times.where(has_zone, self._localized(naive)), f"not {_EXPECTED}; {_HINT}"

    def _from_pattern(self, texts: pd.Series) -> tuple[pd.Series, str]:
        pattern = str(self.style.format)
        problem = f"not a time of the form {pattern}"
        texts = texts.str.strip()
        width = _digits(pattern)
        if width is not None:
            # Without a leading zero, 1042025 could be 01.04.2025 or 10.4.2025.
            texts = texts.where(texts.str.len() == width)
        if "%z" not in pattern:
            return pd.to_datetime(texts, format=pattern, errors="coerce"), problem
        if self.style.timezone is not None:
            return pd.to_datetime(texts, format=pattern, errors="coerce", utc=True), problem
        # Each time keeps the day that was written.
        return pd.to_datetime(pd.Series([_written(text, pattern) for text in texts], dtype="datetime64[us]")), problem

    def _from_integers(self, values: pa.Array) -> tuple[pd.Series, str]:
        texts = values.cast(pa.string()).to_pandas().astype("str")
        if self.style.format is not None:
            # Numbers have lost leading zeros, which patterns need.
            return self._from_text(texts.str.zfill(_digits(self.style.format) or 0))
        lengths = {len(text.lstrip("-")) for text in texts}
        guess = {10: "s", 13: "ms", 16: "us", 19: "ns"}.get(max(lengths))
        hint = f"it may count from 1970: give time_format={guess!r}" if guess else _HINT
        days = texts.where(texts.str.fullmatch(r"\d{8}"))
        return pd.to_datetime(days, format="%Y%m%d", errors="coerce"), f"not a day of eight digits (20250426); {hint}"

    def _from_epoch(self, values: pa.Array) -> tuple[pd.Series, str]:
        unit: Any = EPOCH_UNITS[str(self.style.format)]
        numbers = pd.to_numeric(values.to_pandas(), errors="coerce")
        times = pd.to_datetime(numbers, unit=unit, errors="coerce", utc=True)
        return times, f"not a number of {unit} since 1970 in the range of pandas' times"

    def _refuse(self, column: pa.Array, is_bad: pa.Array, first_row: int | None, problem: str | None) -> NoReturn:
        rows = np.flatnonzero(is_bad.to_numpy(zero_copy_only=False))
        row = int(rows[0])
        try:
            value = column[row].as_py()
        except (OverflowError, ValueError):
            # Python has fewer years than Arrow.
            value = pc.cast(column[row], pa.int64()).as_py()
        more = f" ({rows.size - 1:,} more rows have the same problem)" if rows.size > 1 else ""
        problem = f"{problem}{more}" if problem else f"not a time{more}; every row needs one"
        shown: Any = "no value" if value is None else value if isinstance(value, str) else str(value)
        number = None if first_row is None else first_row + row
        raise BadCellError(self.name, number, shown if isinstance(value, str) else _Unquoted(shown), problem)


def _not_a_time(dtype: pa.DataType) -> str:
    return f"a value of type {dtype}, not {_EXPECTED}; {_HINT}"


#: Number of digits of each pattern field that always has the same number of digits.
_WIDTHS = {"Y": 4, "m": 2, "d": 2, "y": 2, "H": 2, "M": 2, "S": 2, "j": 3}


def _digits(pattern: str) -> int | None:
    """Return the number of digits that a pattern stands for; None if it stands for anything but digits."""
    parts = re.findall("%(.)", pattern)
    is_whole = "".join(f"%{part}" for part in parts) == pattern
    return sum(_WIDTHS[part] for part in parts) if is_whole and all(part in _WIDTHS for part in parts) else None


def _written(text: str, pattern: str) -> datetime.datetime | None:
    """Return a time without its zone, or None if it does not match the pattern."""
    try:
        return datetime.datetime.strptime(text, pattern).replace(tzinfo=None)
    except ValueError:
        return None


class _Unquoted(str):
    """Text that messages show without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
