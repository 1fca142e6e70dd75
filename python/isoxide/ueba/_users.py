"""What is known of the entities, from a file or a frame, with keys as exact text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from isoxide._frames import ReadOptions, Roles, open_source
from isoxide._frames.keys import text_labels

__all__ = ["Users", "load_users", "read_users", "unmatched_warning"]

#: Names listed in a warning, and characters shown of each.
_LISTED, _SHOWN = 8, 60


class Users(NamedTuple):
    """A row per entity: the keys, and the columns to add."""

    #: Exact text; None where it is missing.
    keys: list[str | None]
    columns: dict[str, pd.Series]


def read_users(users: Any, on: str, columns: Iterable[str] | None, sep: str | None) -> Users:
    """Read one row per entity.

    Parameters
    ----------
    users : path or frame
        A CSV file (its cells stay text, and empty ones are missing), a Parquet file, or a frame of pandas, polars or
        pyarrow.
    on : str
        The column that holds the entities.
    columns : iterable of str, optional
        The columns to add; by default all others.
    sep : str, optional
        Field delimiter of a CSV file; None guesses it from the header.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read, a column is missing, or an entity has several rows.
    TypeError
        If `users` is neither a path nor a frame.
    """
    frame = load_users(users, sep)
    names = [str(name) for name in frame.columns]
    wanted = [name for name in names if name != on] if columns is None else list(columns)
    for name in (on, *wanted):
        if names.count(name) != 1:
            listed = ", ".join(map(repr, names[:_LISTED]))
            has = f"{names.count(name)} columns {name!r}" if name in names else f"no column {name!r}"
            raise ValueError(f"users has {has}; there are {listed}")
    by_name = {name: frame.iloc[:, names.index(name)] for name in (on, *wanted)}
    keys = text_labels(by_name[on].tolist(), on)
    seen: dict[str, int] = {}
    for row, key in enumerate(keys):
        if key is not None and seen.setdefault(key, row) != row:
            raise ValueError(
                f"users has several rows of {key!r} in {on!r}, such as rows {seen[key]} and {row} (the first is 0); "
                "one row per entity is wanted"
            )
    return Users(keys, {name: by_name[name] for name in wanted})


def load_users(users: Any, sep: str | None = None) -> pd.DataFrame:
    """Return a table of users as a frame; files without declared types are text throughout.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read.
    TypeError
        If `users` is neither a path nor a frame.
    """
    if isinstance(users, pd.DataFrame):
        return users
    try:
        opened = open_source(users, options=ReadOptions.of(sep=sep), roles=_all_text)
    except TypeError:
        raise TypeError(
            f"users must be a path or a frame of pandas, polars or pyarrow, not {type(users).__name__}"
        ) from None
    return _from_arrow(opened.table())


def _all_text(names: list[str], where: str) -> Roles:
    return Roles(texts=frozenset(names))


def _from_arrow(table: Any) -> pd.DataFrame:
    # As Python's own objects: pandas would make floats of integers where cells are missing.
    columns = [pd.Series(column.to_pylist(), dtype=object) for column in table.columns]
    frame = pd.concat(columns, axis=1) if columns else pd.DataFrame()
    frame.columns = pd.Index(list(table.column_names), dtype=object)
    return frame


def matched(users: Users, entities: Sequence[str | None]) -> dict[str, pd.Series]:
    """Return the columns of the users for some entities; what no user has is missing."""
    rows = {key: row for row, key in enumerate(users.keys) if key is not None}
    places = np.array([-1 if key is None else rows.get(key, -1) for key in entities], dtype=np.intp)
    found = {}
    for name, column in users.columns.items():
        if (places >= 0).all():
            found[name] = column.iloc[places].reset_index(drop=True)
        else:
            cells = column.astype(object).tolist()
            found[name] = pd.Series([None if place < 0 else cells[place] for place in places], dtype=object)
    return found


def unmatched_warning(users: Users, entities: Iterable[str | None]) -> str | None:
    """Say which entities are not among the users; None if all are."""
    distinct = list(dict.fromkeys(key for key in entities if key is not None))
    known = {key for key in users.keys if key is not None}
    absent = [key for key in distinct if key not in known]
    if not absent:
        return None
    alike = {_folded(key) for key in known}
    n_alike = sum(_folded(key) in alike for key in absent)
    shown = ", ".join(repr(key if len(key) <= _SHOWN else f"{key[:_SHOWN]}...") for key in absent[:_LISTED])
    more = ", ..." if len(absent) > _LISTED else ""
    count = f"{len(absent):,} of {len(distinct):,} entities of the findings are not in users: {shown}{more}"
    return f"{count}; {n_alike:,} of them differ only in case or blanks" if n_alike else count


def _folded(key: str) -> str:
    return "".join(key.split()).casefold()
