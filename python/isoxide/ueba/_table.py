"""Feature tables: a row per entity and time, read, parsed and looked over."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from isoxide._frames.table_profile import TableProfile

try:
    import pyarrow as pa

    from isoxide._frames import ReadOptions, Source, open_source
    from isoxide._frames.cells import BadCellError
    from isoxide._frames.columns import plain_numbers
    from isoxide._frames.features import choose_features, roles_of_features
    from isoxide._frames.frames import PandasTable, from_pandas
    from isoxide._frames.keys import as_text
    from isoxide._frames.profile import Profiler, repeated_rows
    from isoxide._frames.times import Times, TimeStyle, days_of, zones
except ImportError as error:
    raise ImportError("isoxide.ueba needs pyarrow: pip install 'isoxide[ueba]'") from error

__all__ = ["FeatureTable", "read_table"]

#: Bytes of pandas' hash tables for each row, and besides.
_HASH_BYTES, _HEADROOM = 128, 2**20


@dataclass(frozen=True)
class FeatureTable:
    """A table with a row per entity and time: what `read_table` returns.

    Attributes
    ----------
    frame : pandas.DataFrame
        The rows kept, with all columns: entity, time, features and others. The entity is text, features are plain
        numbers. Its index is the number of the row read.
    entity, time : str
        Names of the columns that say who and when.
    features : tuple of str
        Names of the columns of numbers that are features, in the order of the table.
    profile : TableProfile
        What was found on the way; ``print(table.profile)``.
    source : str or None
        The file or folder read.
    checksum : str or None
        SHA-256 of the bytes that were read: of a file; of several files that of their checksums and names.

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
    profile: TableProfile
    source: str | None = None
    checksum: str | None = None
    days: pd.Series = field(repr=False, kw_only=True)
    """Per row the day of its time, at midnight."""
    _source: Source | None = field(default=None, repr=False, kw_only=True, compare=False)

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        return f"FeatureTable({len(self)} rows, {len(self.features)} features, {self.profile.n_days} days)"

    @cached_property
    def X(self) -> pd.DataFrame:  # noqa: N802
        """The features alone: what forests are fitted on."""
        return self.frame[list(self.features)]

    def labels(self, name: str) -> pd.Series:
        """Return a column as the text that was written, to group rows by.

        Parameters
        ----------
        name : str
            Name of the column.

        Returns
        -------
        pandas.Series
            A text per row, missing where the cell is; the index is that of `frame`.

        Raises
        ------
        ValueError
            If there is no such column.
        """
        if name not in self.frame.columns:
            raise ValueError(f"groups={name!r} is no column of the table")
        if self._source is None or name == self.entity:
            column = pa.Array.from_pandas(self.frame[name])
        else:
            written = self._source.written.get(name, name)
            column = pa.chunked_array([batch.column(0) for batch in self._source.batches([written])])
            column = column.take(pa.array(self.frame.index.to_numpy()))
        texts: pd.Series = as_text(column, name).to_pandas()
        return texts.set_axis(self.frame.index).rename(name)


def read_table(
    source: str | os.PathLike[str] | Any,
    *,
    entity: str,
    time: str,
    include: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] | None = None,
    sep: str | None = None,
    decimal: str = ".",
    thousands: str | None = None,
    missing: str | Iterable[str] = (),
    encoding: str | None = None,
    time_format: str | None = None,
    timezone: str | None = None,
) -> FeatureTable:
    """Read a table with a row per entity and time, and look it over.

    Rows that are equal in every column are kept once. Every column of numbers besides `entity` and `time` is a
    feature, unless it has no values at all; others are kept, for grouping and joining. Files without declared types
    (CSV, JSON lines, spreadsheets) are judged by all of their cells: a column of which at least half of the cells are
    numbers, or look like some, must hold nothing else, or the table is refused by column, row and value.

    Parameters
    ----------
    source : path, list of paths, open file, or frame
        A file (CSV and its kin, also compressed; Parquet, Feather or Arrow; JSON lines; Excel), a folder of such with
        the same columns (read in the order of their names), ``"-"`` for standard input, a frame of pandas or polars, or
        anything else with an Arrow stream. Named levels of an index become columns.
    entity : str
        The column that says who: an actor, a host, an account. It is read as text, exactly as it is written: ``0001``
        and ``1`` are two entities. Only an empty cell is missing.
    time : str
        The column that says when: dates or times, as such, as text in ISO 8601, or as eight digits such as 20250426.
    include : str or list of str, optional
        Names or patterns (``"n_*"``) of the columns that are features; others are not. A name in full must be a column
        of numbers.
    exclude : str or list of str, optional
        Names or patterns of columns that are no features.
    sep : str, optional
        Field delimiter of a text file. By default the one of comma, semicolon, tab and bar that parts the header into
        most names, and the next row into as many.
    decimal : str, default="."
        The character between the whole and the fractional part of a number in a text file.
    thousands : str, optional
        The character between groups of three digits. By default there is none.
    missing : str or list of str, optional
        Words for a missing number besides the usual ones (``NA``, ``NaN``, ``null``, ...), such as ``"-"``.
    encoding : str, optional
        Encoding of a text file. By default UTF-8, or UTF-16 where the file says so.
    time_format : str, optional
        Pattern of the times as in `datetime.datetime.strptime` (``"%d.%m.%Y"``), or the unit of numbers that count
        since 1970 in UTC: ``"s"``, ``"ms"``, ``"us"`` or ``"ns"``.
    timezone : str, optional
        Time zone whose days count, such as ``"Europe/Oslo"``. By default each time keeps the day that was written.

    Returns
    -------
    FeatureTable
        The rows, and in ``profile`` what was found, used and left out.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a column is missing, a cell is neither a number nor missing, a time cannot be read, or nothing is left to
        work on; the message names the column and the row.
    TypeError
        If `source` is nothing that a table can be read from.
    ImportError
        If reading needs a package that is not installed.

    Notes
    -----
    Declared types are believed (Parquet, Arrow, polars, pandas): decimals are numbers, booleans are 0, 1 or missing;
    text, categories, times, durations and nested values are left out. Every reason stands in ``profile.left_out``.

    Columns without a declared type (CSV, JSON lines, Excel, objects of pandas that mix numbers and text, integers of
    128 bits) are judged by all of their cells. All numbers or usual words for a missing one: numbers. All true or
    false: booleans. At least half numbers, or numbers with signs, units or separators (``<5``, ``5%``, ``1 234``): the
    table is refused by column, line and value. Otherwise the column is text.

    Keys are exact text: integers of any width are their digits, and so are floats and decimals that are whole. Floats
    beyond 2**53 have lost digits and are refused.

    Named levels of an index are columns; unnamed ones, and what pandas writes of them into files, are left out.

    Examples
    --------
    >>> import pandas as pd
    >>> from isoxide import ueba
    >>> frame = pd.DataFrame({"actor": ["a", "b", "b"], "day": 20250101, "logins": [1, 7, 7], "zscore_logins": 0.5})
    >>> table = ueba.read_table(frame, entity="actor", time="day", exclude="zscore_*")
    >>> table
    FeatureTable(2 rows, 1 features, 1 days)
    >>> table.profile.n_duplicates
    1
    """
    options = ReadOptions.of(sep=sep, decimal=decimal, thousands=thousands, missing=missing, encoding=encoding)
    style = TimeStyle(time_format, timezone)
    include = include if include is None or isinstance(include, str) else list(include)
    exclude = exclude if exclude is None or isinstance(exclude, str) else list(exclude)
    roles = roles_of_features(entity, time, include, exclude)
    given: pd.DataFrame | None = None
    opened: Source
    if isinstance(source, pd.DataFrame):
        opened, given = from_pandas(source, options, roles)
    else:
        opened = open_source(source, options=replace(options, keeps_rows=True), roles=roles)
    try:
        return _read(opened, given, entity, time, include, exclude, style)
    except BadCellError as error:
        if error.row is None:
            raise
        raise error.at(opened.place(error.row)) from None


def _read(
    source: Source,
    given: pd.DataFrame | None,
    entity: str,
    time: str,
    include: str | list[str] | None,
    exclude: str | list[str] | None,
    style: TimeStyle,
) -> FeatureTable:
    """Return a feature table of a source; `given` has its columns where they came from pandas."""
    # Columns of plain numbers stay where they are.
    rows = source.held() if isinstance(source, PandasTable) else source.table()
    n_read = rows.num_rows
    if n_read == 0:
        raise ValueError(f"{source.name} has no rows")

    def chosen(empty: set[str]) -> tuple[list[str], dict[str, str]]:
        return choose_features(
            source.schema, entity, time, include=include, exclude=exclude, is_empty=empty.__contains__,
            reasons=source.reasons,
        )  # fmt: skip

    candidates, left_out = chosen(set())
    texts = [name for name, why in left_out.items() if why == "text" and name not in source.reasons]
    reader = Times(time, style, frozenset(zones(rows[time].combine_chunks())))
    times = reader.read(rows[time])
    rows = rows.set_column(rows.schema.get_field_index(entity), entity, as_text(rows[entity], entity, 0))
    frame = _frame(rows, given, candidates).assign(**{time: times})
    frame[entity] = rows[entity].to_pandas()
    is_repeated, n_shared = _repeated(frame, entity, time)
    if is_repeated.any():
        frame = frame[~is_repeated]
    profiler = Profiler(entity, reader, candidates, texts)
    profile, first_row = profiler.start(), 0
    for batch in _batches(source, rows, is_repeated, list(profiler.columns)):
        profile = profiler.update(profile, batch, first_row)
        first_row += batch.num_rows
    features, left_out = chosen({name for name in candidates if profile.sketches[name].n == 0})
    table_profile = profiler.profile(
        profile, features=features, left_out=left_out, n_read=n_read, n_duplicate_keys=n_shared, notes=source.notes
    )
    checksum = source.checksum()
    return FeatureTable(
        frame, entity, time, tuple(features), table_profile, source.name if checksum is not None else None, checksum,
        days=days_of(frame[time]), _source=source,
    )  # fmt: skip


def _batches(
    source: Source, rows: pa.Table, is_repeated: np.ndarray[Any, np.dtype[np.bool_]], columns: list[str]
) -> Iterator[pa.RecordBatch]:
    """Yield some columns of the rows that are kept."""
    held = rows.select(columns).to_batches(max_chunksize=1 << 18) if set(columns) <= set(rows.column_names) else None
    first_row = 0
    for batch in source.batches(columns) if held is None else held:
        gone = is_repeated[first_row : first_row + batch.num_rows]
        first_row += batch.num_rows
        yield batch.filter(pa.array(~gone)) if gone.any() else batch


def _frame(rows: pa.Table, given: pd.DataFrame | None, candidates: list[str]) -> pd.DataFrame:
    """Return all columns for pandas: those of `candidates` in NumPy's types, others as they came."""
    if given is not None:
        held = set(rows.column_names)
        changed = {name: plain_numbers(rows[name]).to_pandas() for name in candidates if name in held}
        return given.assign(**changed) if changed else given.copy(deep=False)
    for place, field_ in enumerate(rows.schema):
        if field_.name in candidates:
            rows = rows.set_column(place, field_.name, plain_numbers(rows[field_.name]))
    # Unions have no type in pandas.
    odd = [field.name for field in rows.schema if pa.types.is_union(field.type)]
    frame: pd.DataFrame = rows.drop_columns(odd).to_pandas()
    for name in odd:
        frame.insert(rows.schema.get_field_index(name), name, pd.Series(rows[name].to_pylist(), dtype=object))
    for name in rows.column_names:
        column = rows[name]
        if name not in candidates and pa.types.is_integer(column.type) and column.null_count:
            # Not by way of floats: they are identifiers as often as not.
            frame[name] = column.to_pandas(types_mapper={column.type: pd.Int64Dtype()}.get)
    return frame


def _repeated(frame: pd.DataFrame, entity: str, time: str) -> tuple[np.ndarray[Any, np.dtype[np.bool_]], int]:
    """Return which rows equal an earlier one, and how many of the others share entity and time with another."""
    is_repeated = np.zeros(len(frame), dtype=bool)
    # Asked for and given back untouched: the hash tables of pandas end the process where there is no memory for them.
    np.empty(len(frame) * _HASH_BYTES + _HEADROOM, dtype=np.uint8)
    # Equal rows have equal keys, and few rows share a key: all columns are compared for those only.
    shared = np.flatnonzero(frame.duplicated([entity, time], keep=False))
    if not shared.size:
        return is_repeated, 0
    some = frame.iloc[shared].reset_index(drop=True)
    is_repeated[shared] = repeated_rows(some)
    kept = some[~is_repeated[shared]]
    return is_repeated, int(kept.duplicated([entity, time], keep=False).sum())
