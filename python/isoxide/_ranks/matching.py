"""Match the columns of the two tables of `rank_features`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from isoxide._common.patterns import check_distinct, check_known, name_list, names_without
from isoxide._frames.tables import Table

#: Maximum number of columns: more fit into no memory, and NumPy's message for such sizes would be less clear.
MAX_COLUMNS = 2**40
#: Bytes of the objects for each column: its name, its position, and a view of it.
_COLUMN_BYTES = 1024


class Layout(NamedTuple):
    """Names and number of the columns of a table, which other tables can be matched with later."""

    names: list[str] | None
    n_columns: int


def match(
    rows: Table, reference: Table | Layout, features: Iterable[str] | None
) -> tuple[list[str], list[int], list[int]]:
    """Match the columns of two tables: by name if both have names, otherwise by position.

    Parameters
    ----------
    rows : Table
        Table to rank.
    reference : Table or Layout
        Table to rank among, or its names and number of columns.
    features : list of str or None
        Columns to use, in this order; None means all columns, in the order of `rows`.

    Returns
    -------
    names : list of str
        Names of the features; ``"x0"``, ``"x1"``, ... if neither table has names.
    row_positions : list of int
        Position of each feature in `rows`.
    reference_positions : list of int
        Position of each feature in `reference`.

    Raises
    ------
    ValueError
        If a column has no counterpart, or `features` has unknown or repeated names, or is a single string.
    """
    by_name = rows.names is not None and reference.names is not None
    if not by_name and rows.n_columns != reference.n_columns:
        raise ValueError(
            f"rows has {rows.n_columns} columns, but reference has {reference.n_columns}; "
            "columns are matched by position unless both tables have names, so the numbers must be equal"
        )
    row_names = rows.names or reference.names or numbered_names(rows.n_columns)
    reference_names = reference.names or row_names
    if features is None:
        missing, extra = names_without(reference_names, row_names), names_without(row_names, reference_names)
        if missing or extra:
            raise ValueError(
                f"rows and reference must have the same columns; not in rows: {missing}, not in reference: {extra}; "
                "list the columns to use with features=[...]"
            )
        names = list(row_names)
    else:
        names = name_list(features, "features")
        check_known(names, row_names, "features not in rows")
        check_known(names, reference_names, "features not in reference")
        check_distinct(names, "features")
    row_positions = {name: j for j, name in enumerate(row_names)}
    reference_positions = {name: j for j, name in enumerate(reference_names)}
    return names, [row_positions[name] for name in names], [reference_positions[name] for name in names]


def numbered_names(n: int) -> list[str]:
    """Return the names ``"x0"``, ``"x1"``, ... of `n` columns that have none.

    Raises
    ------
    MemoryError
        If there is not enough memory for the names.
    """
    if n > MAX_COLUMNS:
        raise MemoryError(f"a table of {n} columns fits in no memory; use at most {MAX_COLUMNS} columns")
    # Fail early if there is no memory for all names: a growing list would first take the memory of other programs.
    np.empty(n * _COLUMN_BYTES, dtype=np.uint8)
    return [f"x{j}" for j in range(n)]
