"""Feature tables in memory: one row per entity and time, read, parsed and profiled."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from isoxide._common import html
from isoxide._common.format import format_time, format_value
from isoxide._frames.table_profile import TableProfile

try:
    import pyarrow as pa

    from isoxide._frames import ReadOptions, Source, open_source
    from isoxide._frames.cells import BadCellError
    from isoxide._frames.columns import plain_numbers
    from isoxide._frames.features import choose_features, roles_of_features
    from isoxide._frames.frames import PandasSource, from_pandas
    from isoxide._frames.keys import as_text
    from isoxide._frames.profile import Profiler, repeated_rows
    from isoxide._frames.times import Times, TimeStyle, days_of, zones
except ImportError as error:
    raise ImportError("isoxide.ueba needs pyarrow: pip install 'isoxide[ueba]'") from error

__all__ = ["FeatureTable", "read_table"]

#: Numbers of rows and features that the HTML of a table shows.
_SHOWN_ROWS, _SHOWN_FEATURES = 5, 6

#: Bytes that the hash tables of pandas take per row, and bytes that they always take.
_HASH_BYTES_PER_ROW, _HASH_BYTES_EXTRA = 128, 2**20


@dataclass(frozen=True)
class FeatureTable:
    """Table in memory with one row per entity and time.

    `read_table` returns instances.

    Attributes
    ----------
    frame : pandas.DataFrame
        Rows that are kept, with all columns: entity, time, features and others. Entities are text, and features have
        NumPy dtypes. The index is the row number in the source.
    entity, time : str
        Names of the columns with the entity and the time.
    features : tuple of str
        Names of the feature columns, in the order of the table.
    profile : TableProfile
        Counts of rows, entities and days, the columns that are left out with the reasons, and data-quality warnings.
        ``print(table.profile)`` shows it.
    source : str or None
        Name of the file or folder, or of a Delta or Iceberg table with its version. None for a table from a frame.
    checksum : str or None
        SHA-256 of the bytes of the file. For several files, it is computed from their checksums and names, and for a
        Delta or Iceberg table from its identifier, its version and the paths of its files.
    days : pandas.Series
        Day of each row, at midnight and without a time zone.

    See Also
    --------
    read_table : Read a table with one row per entity and time.

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
    _source: Source | None = field(default=None, repr=False, kw_only=True, compare=False)

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        return f"FeatureTable({len(self)} rows, {len(self.features)} features, {self.profile.n_days} days)"

    def _repr_html_(self) -> str:
        """Return a table of the first rows, and the number of warnings of the profile, for notebooks."""
        features = list(self.features[:_SHOWN_FEATURES])
        frame = self.frame.head(_SHOWN_ROWS)
        entities, times = frame[self.entity].tolist(), frame[self.time].tolist()
        values = [[format_value(value) for value in frame[name]] for name in features]
        n_rows, n_warnings = len(self), len(self.profile.warnings)
        columns = [self.entity, self.time, *map(html.Number, features)]
        hint = f"{n_warnings:,} warning{'s' * (n_warnings != 1)} about the data: show the attribute profile"
        shown = [f"{len(frame):,} of {n_rows:,} rows"] * (n_rows > len(frame))
        shown += [f"{len(features):,} of {len(self.features):,} features"] * (len(self.features) > len(features))
        return html.block(
            html.heading("FeatureTable", self.profile._summary()),
            html.table(
                columns,
                zip(
                    ["-" if pd.isna(entity) else str(entity) for entity in entities],
                    ["-" if pd.isna(time) else format_time(time) for time in times],
                    *values,
                    strict=True,
                ),
            ),
            html.note(f"{', '.join(shown)} …" if shown else ""),
            html.note(hint if n_warnings else ""),
        )

    @cached_property
    def X(self) -> pd.DataFrame:  # noqa: N802
        """Return the features of all rows, which forests are fitted on."""
        return self.frame[list(self.features)]

    def labels(self, name: str) -> pd.Series:
        """Return a column as exact text, for grouping rows.

        Parameters
        ----------
        name : str
            Name of the column.

        Returns
        -------
        pandas.Series
            Text of each row exactly as in the source, or a missing value, with the index of `frame`.

        Raises
        ------
        ValueError
            If the table has no such column.
        """
        if name not in self.frame.columns:
            raise ValueError(f"groups={name!r} is not a column of the table")
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
    upcast: bool = False,
) -> FeatureTable:
    """Read a table with one row per entity and time, and profile it.

    If rows are equal in all columns, only the first one is kept. Every numeric column except `entity` and `time` is a
    feature, unless it has no values at all. Other columns are kept for grouping and joining. In files without declared
    types (CSV, JSON lines, spreadsheets), all cells of a column decide its type: if at least half of the cells are
    numbers, or look like numbers, then every other cell is an error that names column, row and value.

    Parameters
    ----------
    source : path, list of paths, open file, frame, or table of a lake
        File (CSV, TSV or other delimited text, also compressed; Parquet, Feather or Arrow; JSON lines; Excel), a
        folder of such files with the same columns, which are read in the order of their names, ``"-"`` for standard
        input, a Delta or Iceberg table (its folder, or an object of ``deltalake`` or ``pyiceberg``), a pandas or polars
        frame, a polars ``LazyFrame``, or any object with an Arrow stream. Named levels of an index become columns.
    entity : str
        Column with the entity, such as an actor, a host or an account. It is read as exact text: ``0001`` and ``1`` are
        two entities. Only an empty cell is missing.
    time : str
        Column with dates or times: a date or time type, text in ISO 8601, or eight digits such as 20250426.
    include : str or list of str, optional
        Names or patterns (``"n_*"``) of the columns that are features; all others are not. A column given by its full
        name must be numeric. By default all numeric columns are features.
    exclude : str or list of str, optional
        Names or patterns of columns that are not features. By default there are none.
    sep : str, optional
        Field delimiter of a text file. By default it is the comma, semicolon, tab or vertical bar that splits the
        header into the most names, and the next row into as many cells.
    decimal : str, default="."
        Decimal separator of the numbers in a text file.
    thousands : str, optional
        Thousands separator of the numbers in a text file. By default there is none.
    missing : str or list of str, optional
        Texts that mean a missing number, such as ``"-"``, in addition to the usual ones (``NA``, ``NaN``, ``null`` and
        others).
    encoding : str, optional
        Encoding of a text file. By default it is UTF-8, or UTF-16 if the file begins with its byte order mark.
    time_format : str, optional
        Format of the times for `datetime.datetime.strptime`, such as ``"%d.%m.%Y"``, or the unit of numbers that count
        from 1970 in UTC: ``"s"``, ``"ms"``, ``"us"`` or ``"ns"``. By default times are in ISO 8601.
    timezone : str, optional
        Time zone that decides which day a time belongs to, such as ``"Europe/Oslo"``. By default each time keeps the
        day in the source.
    upcast : bool, default=False
        Whether a column may have different dtypes in the files of a folder. If so, all files are read as the narrowest
        dtype that holds their values exactly, such as int64 for int32 and int64. By default such files are refused.

    Returns
    -------
    FeatureTable
        Table, whose ``profile`` lists the columns that are used and those that are left out.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If a column is missing, a cell is neither a number nor missing, a time cannot be read, or no row or feature
        remains. The message names the column and the row.
    TypeError
        If `source` is not a path, a file, a frame or an object with an Arrow stream.
    ImportError
        If reading needs a package that is not installed.

    Notes
    -----
    Declared types decide how columns of Parquet, Arrow, polars and pandas are read: decimals are numbers, and booleans
    are 0, 1 or missing. Text, categories, times, durations and nested values are left out, and ``profile.left_out``
    gives the reasons.

    Columns without a declared type (CSV, JSON lines, Excel, object columns of pandas that mix numbers and text,
    128-bit integers) get their type from all of their cells. If all cells are numbers or missing, the column is
    numeric; if all are true or false, it is boolean. If at least half of the cells are numbers, or numbers
    with signs, units or separators (``<5``, ``5%``, ``1 234``), every other cell is an error that names column, line
    and value. All other columns are text.

    Entities are compared as exact text. Integers of any width, and whole floats and decimals, become their digits.
    Floats beyond 2**53 may have lost digits, so they are refused.

    Named levels of an index are columns. Unnamed levels, and the columns that pandas writes for them into files, are
    left out.

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
    options = ReadOptions.of(
        sep=sep, decimal=decimal, thousands=thousands, missing=missing, encoding=encoding, upcast=upcast
    )
    style = TimeStyle(time_format, timezone)
    include = include if include is None or isinstance(include, str) else list(include)
    exclude = exclude if exclude is None or isinstance(exclude, str) else list(exclude)
    roles = roles_of_features(entity, time, include, exclude)
    frame: pd.DataFrame | None = None
    opened: Source
    if isinstance(source, pd.DataFrame):
        opened, frame = from_pandas(source, options, roles)
    else:
        opened = open_source(source, options=replace(options, keeps_rows=True), roles=roles)
    try:
        return _read(opened, frame, entity, time, include, exclude, style)
    except BadCellError as error:
        if error.row is None:
            raise
        raise error.at(opened.locate(error.row)) from None


def _read(
    source: Source,
    original: pd.DataFrame | None,
    entity: str,
    time: str,
    include: str | list[str] | None,
    exclude: str | list[str] | None,
    style: TimeStyle,
) -> FeatureTable:
    """Return the feature table of a source; `original` is the pandas frame that the source reads, or None."""
    # Columns with NumPy dtypes are not copied.
    rows = source.arrow_table() if isinstance(source, PandasSource) else source.table()
    n_read = rows.num_rows
    if n_read == 0:
        raise ValueError(f"{source.name} has no rows")

    def choose(empty: set[str]) -> tuple[list[str], dict[str, str]]:
        return choose_features(
            source.schema, entity, time, include=include, exclude=exclude, is_empty=empty.__contains__,
            reasons=source.reasons,
        )  # fmt: skip

    candidates, left_out = choose(set())
    texts = [name for name, why in left_out.items() if why == "text" and name not in source.reasons]
    reader = Times(time, style, frozenset(zones(rows[time].combine_chunks())))
    times = reader.read(rows[time])
    rows = rows.set_column(rows.schema.get_field_index(entity), entity, as_text(rows[entity], entity, 0))
    frame = _frame(rows, original, candidates).assign(**{time: times})
    frame[entity] = rows[entity].to_pandas()
    is_repeated, n_shared = _repeated(frame, entity, time)
    if is_repeated.any():
        frame = frame[~is_repeated]
    profiler = Profiler(entity, reader, candidates, texts)
    profile, first_row = profiler.start(), 0
    for batch in _batches(source, rows, is_repeated, list(profiler.columns)):
        profile = profiler.update(profile, batch, first_row)
        first_row += batch.num_rows
    features, left_out = choose({name for name in candidates if profile.sketches[name].n == 0})
    table_profile = profiler.summary(
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
    """Yield batches of the given columns, without rows that repeat an earlier one."""
    are_in_rows = set(columns) <= set(rows.column_names)
    batches = rows.select(columns).to_batches(max_chunksize=1 << 18) if are_in_rows else source.batches(columns)
    first_row = 0
    for batch in batches:
        dropped = is_repeated[first_row : first_row + batch.num_rows]
        first_row += batch.num_rows
        yield batch.filter(pa.array(~dropped)) if dropped.any() else batch


def _frame(rows: pa.Table, original: pd.DataFrame | None, candidates: list[str]) -> pd.DataFrame:
    """Return all columns as a pandas frame: `candidates` with NumPy dtypes, other columns unchanged."""
    if original is not None:
        converted = set(rows.column_names)
        changed = {name: plain_numbers(rows[name]).to_pandas() for name in candidates if name in converted}
        return original.assign(**changed) if changed else original.copy(deep=False)
    for index, field_ in enumerate(rows.schema):
        if field_.name in candidates:
            rows = rows.set_column(index, field_.name, plain_numbers(rows[field_.name]))
    # Unions have no type in pandas, so they become objects.
    unions = [field.name for field in rows.schema if pa.types.is_union(field.type)]
    frame: pd.DataFrame = rows.drop_columns(unions).to_pandas()
    for name in unions:
        frame.insert(rows.schema.get_field_index(name), name, pd.Series(rows[name].to_pylist(), dtype=object))
    for name in rows.column_names:
        column = rows[name]
        if name not in candidates and pa.types.is_integer(column.type) and column.null_count:
            # The integers may be identifiers, which floats would round.
            frame[name] = column.to_pandas(types_mapper={column.type: pd.Int64Dtype()}.get)
    return frame


def _repeated(frame: pd.DataFrame, entity: str, time: str) -> tuple[np.ndarray[Any, np.dtype[np.bool_]], int]:
    """Return which rows repeat an earlier row, and how many of the other rows share entity and time."""
    is_repeated = np.zeros(len(frame), dtype=bool)
    # Raise MemoryError if the hash tables of pandas do not fit in memory; pandas itself would crash the process.
    np.empty(len(frame) * _HASH_BYTES_PER_ROW + _HASH_BYTES_EXTRA, dtype=np.uint8)
    # Equal rows have equal keys, and few rows share a key. So all columns are compared only for rows that share one.
    positions = np.flatnonzero(frame.duplicated([entity, time], keep=False))
    if not positions.size:
        return is_repeated, 0
    sharing = frame.iloc[positions].reset_index(drop=True)
    is_repeated[positions] = repeated_rows(sharing)
    remaining = sharing[~is_repeated[positions]]
    return is_repeated, int(remaining.duplicated([entity, time], keep=False).sum())
