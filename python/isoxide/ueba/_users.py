"""Tables that describe entities: one row per entity, with the entity as exact text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from isoxide._frames import ReadOptions, Roles, open_source
from isoxide._frames.keys import text_labels

__all__ = ["Users", "load_users", "read_users", "unmatched_warning"]

#: Maximum number of names that a message lists, and of characters that it shows of each name.
_MAX_LISTED, _MAX_SHOWN = 8, 60


class Users(NamedTuple):
    """Table that describes entities, with one row per entity."""

    #: Entity of each row as exact text, or None if it is missing.
    keys: list[str | None]
    #: Columns to add to findings, by name.
    columns: dict[str, pd.Series]


def read_users(users: Any, on: str, columns: Iterable[str] | None, sep: str | None) -> Users:
    """Read a table with one row per entity.

    Parameters
    ----------
    users : path or frame
        CSV file (every cell is text, and empty cells are missing), Parquet file, or pandas, polars or pyarrow frame.
    on : str
        Column that holds the entities.
    columns : iterable of str or None
        Columns to add. None adds all columns except `on`.
    sep : str or None
        Field delimiter of a CSV file. None guesses it from the header.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file cannot be read, a column is missing or occurs twice, or an entity has several rows.
    TypeError
        If `users` is neither a path nor a frame.
    """
    frame = load_users(users, sep)
    names = [str(name) for name in frame.columns]
    added = [name for name in names if name != on] if columns is None else list(columns)
    for name in (on, *added):
        if names.count(name) != 1:
            listed = ", ".join(map(repr, names[:_MAX_LISTED]))
            problem = f"{names.count(name)} columns {name!r}" if name in names else f"no column {name!r}"
            raise ValueError(f"users has {problem}; its columns are {listed}")
    by_name = {name: frame.iloc[:, names.index(name)] for name in (on, *added)}
    keys = text_labels(by_name[on].tolist(), on)
    seen: dict[str, int] = {}
    for row, key in enumerate(keys):
        if key is not None and seen.setdefault(key, row) != row:
            raise ValueError(
                f"users has several rows of {key!r} in {on!r}, such as rows {seen[key]} and {row}, counted from 0; "
                "keep one row per entity"
            )
    return Users(keys, {name: by_name[name] for name in added})


def load_users(users: Any, sep: str | None = None) -> pd.DataFrame:
    """Read a table of users as a pandas frame; if a file does not declare types, all columns are text.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file cannot be read.
    TypeError
        If `users` is neither a path nor a frame.
    """
    if isinstance(users, pd.DataFrame):
        return users
    try:
        opened = open_source(users, options=ReadOptions.of(sep=sep), roles=_all_text)
    except TypeError:
        raise TypeError(
            f"users must be a path or a pandas, polars or pyarrow frame, not {type(users).__name__}"
        ) from None
    return _from_arrow(opened.table())


def _all_text(names: list[str], source_name: str) -> Roles:
    """Assign all columns the role of text."""
    return Roles(texts=frozenset(names))


def _from_arrow(table: Any) -> pd.DataFrame:
    """Return a frame of Python objects, since pandas would convert integers to floats if cells are missing."""
    columns = [pd.Series(column.to_pylist(), dtype=object) for column in table.columns]
    frame = pd.concat(columns, axis=1) if columns else pd.DataFrame()
    frame.columns = pd.Index(list(table.column_names), dtype=object)
    return frame


def matched(users: Users, entities: Sequence[str | None]) -> dict[str, pd.Series]:
    """Return the columns of the users with one row per given entity; entities that users lacks get missing cells."""
    rows_by_key = {key: row for row, key in enumerate(users.keys) if key is not None}
    rows = np.array([-1 if key is None else rows_by_key.get(key, -1) for key in entities], dtype=np.intp)
    columns = {}
    for name, column in users.columns.items():
        if (rows >= 0).all():
            columns[name] = column.iloc[rows].reset_index(drop=True)
        else:
            cells = column.astype(object).tolist()
            columns[name] = pd.Series([None if row < 0 else cells[row] for row in rows], dtype=object)
    return columns


def unmatched_warning(users: Users, entities: Iterable[str | None]) -> str | None:
    """Return a warning that names the entities missing in `users`, or None if none is missing."""
    distinct = list(dict.fromkeys(key for key in entities if key is not None))
    known = {key for key in users.keys if key is not None}
    absent = [key for key in distinct if key not in known]
    if not absent:
        return None
    alike = {_folded(key) for key in known}
    n_alike = sum(_folded(key) in alike for key in absent)
    shown = ", ".join(repr(key if len(key) <= _MAX_SHOWN else f"{key[:_MAX_SHOWN]}...") for key in absent[:_MAX_LISTED])
    more = ", ..." if len(absent) > _MAX_LISTED else ""
    count = f"{len(absent):,} of {len(distinct):,} entities of the findings are not in users: {shown}{more}"
    return f"{count}; {n_alike:,} of them differ from one in users only in case or blanks" if n_alike else count


def _folded(key: str) -> str:
    """Return a key without blanks and case, to recognise similar keys."""
    return "".join(key.split()).casefold()
