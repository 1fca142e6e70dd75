"""Feature tables: a row per entity and time, read, parsed and looked over."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from isoxide.ueba._check import TableCheck, look_over

__all__ = ["FeatureTable", "read_table"]

_PARQUET = (".parquet", ".pq")


@dataclass(frozen=True)
class FeatureTable:
    """A table with a row per entity and time: what `read_table` returns.

    Attributes
    ----------
    frame : pandas.DataFrame
        The rows kept, with all columns: entity, time, features and others. Its index is the number of the row read.
    entity, time : str
        Names of the columns that say who and when.
    features : tuple of str
        Names of the numeric columns that are features, in the order of the table.
    check : TableCheck
        What was found on the way; ``print(table.check)``.
    source : str or None
        The file or folder read.
    checksum : str or None
        SHA-256 of its bytes; None of a folder.

    See Also
    --------
    read_table : Makes one.

    Examples
    --------
    >>> import pandas as pd
    >>> from isoxide import ueba
    >>> frame = pd.DataFrame({"actor": ["a", "b"], "day": ["2025-01-01", "2025-01-02"], "logins": [1, 7]})
    >>> table = ueba.read_table(frame, entity="actor", time="day")
    >>> table.features
    ('logins',)
    """

    frame: pd.DataFrame
    entity: str
    time: str
    features: tuple[str, ...]
    check: TableCheck
    source: str | None = None
    checksum: str | None = None
    days: pd.Series = field(repr=False, kw_only=True)
    """Per row the day of its time, at midnight."""

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        return f"FeatureTable({len(self)} rows, {len(self.features)} features, {self.check.n_days} days)"

    @cached_property
    def X(self) -> pd.DataFrame:  # noqa: N802
        """The features alone: what forests are fitted on."""
        return self.frame[list(self.features)]


def read_table(
    source: str | os.PathLike[str] | Any,
    *,
    entity: str,
    time: str,
    include: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] | None = None,
    sep: str = ",",
) -> FeatureTable:
    """Read a table with a row per entity and time, and look it over.

    Rows that are equal in every column are kept once. Every numeric column besides `entity` and `time` is a feature,
    unless it has no values at all; others are kept, for grouping and joining.

    Parameters
    ----------
    source : path or frame
        A CSV file (also compressed: ``.csv.gz``), a Parquet file, a folder of Parquet files with the same columns (read
        in the order of their names), or a frame of pandas or polars.
    entity : str
        The column that says who: an actor, a host, an account.
    time : str
        The column that says when: dates or times, as such, as text in ISO 8601, or as numbers such as 20250426.
    include : str or list of str, optional
        Names or patterns (``"n_*"``) of the columns that are features; others are not.
    exclude : str or list of str, optional
        Names or patterns of columns that are no features.
    sep : str, default=","
        What stands between the values of a CSV file.

    Returns
    -------
    FeatureTable
        The rows, and in ``check`` what was found.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a column is missing, a time cannot be read, or nothing is left to work on; the message names the column and
        the row.

    Examples
    --------
    >>> import pandas as pd
    >>> from isoxide import ueba
    >>> frame = pd.DataFrame({"actor": ["a", "b", "b"], "day": 20250101, "logins": [1, 7, 7], "zscore_logins": 0.5})
    >>> table = ueba.read_table(frame, entity="actor", time="day", exclude="zscore_*")
    >>> table
    FeatureTable(2 rows, 1 features, 1 days)
    >>> table.check.n_duplicates
    1
    """
    frame, path = _read(source, sep)
    _need_column(frame, entity, "entity", path)
    _need_column(frame, time, "time", path)
    if entity == time:
        raise ValueError(f"entity and time are both {entity!r}; they must be two columns")
    repeated = frame.columns[frame.columns.duplicated()].unique()
    if len(repeated):
        raise ValueError(f"the table has several columns of the name {repeated[0]!r}; rename them")
    if len(frame) == 0:
        raise ValueError(f"{_place(path)} has no rows")
    mixed_zones = has_mixed_zones(frame[time])
    times = parse_times(frame[time], time, mixed_zones=mixed_zones)
    frame = frame.assign(**{time: times})
    n_read = len(frame)
    frame, n_duplicates = _without_duplicates(frame, entity, time)
    features, left_out = choose_features(
        frame.dtypes, lambda name: bool(frame[name].isna().all()), entity, time, include=include, exclude=exclude
    )
    days = frame[time].dt.normalize()
    check = look_over(
        frame,
        entity=entity,
        days=days,
        features=features,
        left_out=left_out,
        n_read=n_read,
        n_duplicates=n_duplicates,
        mixed_time_zones=mixed_zones,
    )
    checksum = None if path is None or path.is_dir() else _checksum(path)
    return FeatureTable(
        frame, entity, time, tuple(features), check, None if path is None else str(path), checksum, days=days
    )


def read_frame(path: str | os.PathLike[str], sep: str = ",") -> pd.DataFrame:
    """A CSV or Parquet file as it is."""
    return _read(path, sep)[0]


def _read(source: Any, sep: str) -> tuple[pd.DataFrame, Path | None]:
    if isinstance(source, pd.DataFrame):
        return source.reset_index(drop=True), None
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if path.is_dir():
            return _read_folder(path), path
        if not path.exists():
            raise FileNotFoundError(f"there is no file {path}")
        return _read_file(path, sep), path
    if hasattr(source, "to_pandas"):
        return source.to_pandas().reset_index(drop=True), None
    raise TypeError(f"source must be a path or a frame of pandas or polars, not {type(source).__name__}")


def _read_folder(path: Path) -> pd.DataFrame:
    try:
        import pyarrow as pa

        from isoxide._sources import open_source
    except ImportError as error:
        raise ImportError(f"reading {path} needs pyarrow: pip install 'isoxide[ueba]'") from error
    source = open_source(path)
    frame: pd.DataFrame = pa.Table.from_batches(source.batches(source.schema.names), source.schema).to_pandas()
    return frame


def _read_file(path: Path, sep: str) -> pd.DataFrame:
    try:
        if path.suffix.lower() in _PARQUET:
            return pd.read_parquet(path).reset_index(drop=True)
        return pd.read_csv(path, sep=sep)
    except ImportError as error:
        raise ImportError(f"reading {path} needs pyarrow: pip install 'isoxide[ueba]'") from error
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path} is empty") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); convert it first") from None
    except (pd.errors.ParserError, OSError, ValueError, EOFError) as error:
        # Of the reader's words the first line: the rest is about its own insides.
        raise ValueError(f"{path} cannot be read: {str(error).strip().splitlines()[0]}") from error


def _place(path: Path | None) -> str:
    return "the table" if path is None else str(path)


def _need_column(frame: pd.DataFrame, name: str, argument: str, path: Path | None) -> None:
    if name in frame.columns:
        return
    columns = [str(column) for column in frame.columns]
    if len(columns) == 1 and (other := next((s for s in ";\t|," if s in columns[0]), None)):
        raise ValueError(
            f"{_place(path)} has a single column, {columns[0][:80]!r}: its values seem to be separated by {other!r}; "
            f"say so with sep"
        )
    close = difflib.get_close_matches(name, columns, n=1, cutoff=0.6) or [
        c for c in columns if c.lower() == name.lower()
    ]
    hint = (
        f"did you mean {close[0]!r}?"
        if close
        else f"there are {', '.join(map(repr, columns[:8]))}"
        + (f" and {len(columns) - 8} more" if len(columns) > 8 else "")
    )
    raise ValueError(f"{_place(path)} has no column {name!r} ({argument}); {hint}")


def _is_text(column: pd.Series) -> bool:
    return not pd.api.types.is_datetime64_any_dtype(column) and not pd.api.types.is_numeric_dtype(column)


def zones(column: pd.Series) -> set[str]:
    """The time zones that times in words come in, as they are written; none if the times are no words."""
    if not _is_text(column) or column.isna().any():
        return set()
    unique = pd.Series(pd.factorize(column.astype("str"))[1])
    return {*unique.str.extract(r"(Z|[+-]\d\d:?\d\d)$", expand=False).fillna("")}


def has_mixed_zones(column: pd.Series) -> bool:
    """Whether times come in several time zones."""
    return len(zones(column)) > 1


def parse_times(column: pd.Series, name: str, *, mixed_zones: bool, first_row: int = 0) -> pd.Series:
    """The times as such.

    Parameters
    ----------
    column : Series
        Times, texts or numbers such as 20250426; its index is kept.
    name : str
        Of the column.
    mixed_zones : bool
        Whether there are several time zones, here or elsewhere in the column: all times are then brought to UTC.
    first_row : int, default=0
        Number of the first row in the table, for messages.

    Raises
    ------
    ValueError
        If one is missing or cannot be read; it names the row.
    """
    if column.isna().any():
        row = first_row + int(np.flatnonzero(column.isna())[0])
        raise ValueError(f"column {name!r} has no value in row {row} (the first is 0)")
    if pd.api.types.is_datetime64_any_dtype(column):
        return column
    if pd.api.types.is_numeric_dtype(column):
        # As nanoseconds since 1970 these would all be on one day.
        as_text = column.map(lambda value: f"{value:.0f}" if float(value).is_integer() else str(value))
        times = pd.to_datetime(as_text, format="%Y%m%d", errors="coerce")
        return _all_parsed(times, column, name, "a day written as 20250426", first_row)
    # Each text once: there are few days and many rows.
    codes, texts = pd.factorize(column.astype("str"))
    parsed = pd.to_datetime(pd.Series(texts), format="ISO8601", errors="coerce", utc=mixed_zones)
    times = pd.Series(parsed.array.take(codes), index=column.index, name=column.name)
    wanted = "a date or time in ISO 8601 (2025-04-26, 2025-04-26T13:00:00Z)"
    return _all_parsed(times, column, name, wanted, first_row)


def _all_parsed(times: pd.Series, column: pd.Series, name: str, wanted: str, first_row: int) -> pd.Series:
    bad = np.flatnonzero(times.isna())
    if bad.size:
        value = column.iloc[int(bad[0])]
        row = first_row + int(bad[0])
        shown = repr(value) if isinstance(value, str) else str(value)
        more = f", as have {bad.size - 1} more rows" if bad.size > 1 else ""
        raise ValueError(f"column {name!r} has {shown} in row {row} (the first is 0){more}, which is not {wanted}")
    return times


def _without_duplicates(frame: pd.DataFrame, entity: str, time: str) -> tuple[pd.DataFrame, int]:
    # Equal rows have equal keys, and few rows share a key: all columns are compared for those only.
    shared = frame.duplicated([entity, time], keep=False)
    if not shared.any():
        return frame, 0
    repeated = frame[shared].duplicated()
    rows = repeated.index[repeated]
    return (frame.drop(index=rows), len(rows)) if len(rows) else (frame, 0)


def _patterns(patterns: str | Iterable[str] | None) -> list[str] | None:
    if patterns is None:
        return None
    return [patterns] if isinstance(patterns, str) else list(patterns)


def choose_features(
    dtypes: pd.Series,
    is_empty: Callable[[str], bool],
    entity: str,
    time: str,
    *,
    include: str | Iterable[str] | None,
    exclude: str | Iterable[str] | None,
) -> tuple[list[str], dict[str, str]]:
    """Names of the features, and of columns that could be one but are not, with the reason.

    Parameters
    ----------
    dtypes : Series
        The type of each column by its name.
    is_empty : callable
        Says of a column whether it has no values at all.
    entity, time : str
        Columns that are no features.
    include, exclude : str or list of str, optional
        See `read_table`.

    Raises
    ------
    ValueError
        If a pattern fits nothing, or no features are left.
    """
    include, exclude = _patterns(include), _patterns(exclude)
    columns = [str(column) for column in dtypes.index]
    for argument, patterns in (("include", include), ("exclude", exclude)):
        for pattern in patterns or []:
            if not any(fnmatchcase(column, pattern) for column in columns):
                close = difflib.get_close_matches(pattern, columns, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise ValueError(f"{argument} has {pattern!r}, which is no column's name{hint}")
    features, left_out = [], {}
    for column, name in zip(dtypes.index, columns, strict=True):
        if name in (entity, time):
            continue
        dtype = dtypes[column]
        numeric = pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype)
        wanted = include is None or any(fnmatchcase(name, pattern) for pattern in include)
        if not numeric:
            if include is not None and name in include:
                raise ValueError(f"include has {name!r}, which is not numeric but {dtype}")
            left_out[name] = f"not numeric ({dtype})"
        elif not wanted or any(fnmatchcase(name, pattern) for pattern in exclude or []):
            left_out[name] = "not chosen"
        elif is_empty(column):
            left_out[name] = "no values"
        else:
            features.append(column)
    if not features:
        listed = [f"{name!r} ({why})" for name, why in left_out.items()]
        more = f" and {len(listed) - 8} more" if len(listed) > 8 else ""
        raise ValueError(
            f"no features are left besides {entity!r} and {time!r}; "
            + (f"left out were {', '.join(listed[:8])}{more}" if listed else "the table has no other columns")
        )
    return features, left_out


def _checksum(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
