"""Argument `groups` of `rank_features`: read the labels of both tables, and find the rows that share a label."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoxide._common.patterns import name_list
from isoxide._frames.tables import Table

#: Labels of the rows, and labels of the reference.
Labels = tuple[list[Any], list[Any]]


def features_without(groups: str, rows: Table, reference: Table, features: Iterable[str] | None) -> list[str]:
    """List the features to use if `groups` is the name of a column.

    Parameters
    ----------
    groups : str
        Name of the column of labels.
    rows, reference : Table
        Tables that have the column.
    features : list of str or None
        Columns to use; None means all columns except the labels.

    Returns
    -------
    list of str
        Names of the features.

    Raises
    ------
    ValueError
        If the column is not in both tables.
    """
    for table in (rows, reference):
        if groups not in (table.names or []):
            has = f"its columns are {table.names}" if table.names else "its columns have no names; pass two arrays"
            raise ValueError(f"groups={groups!r} is not a column of {table.table_name}: {has}")
    if features is None:
        return [name for name in rows.names or [] if name != groups]
    return name_list(features, "features")


def labels(groups: Any, rows: Table, reference: Table) -> Labels:
    """Convert labels to Python objects, so that labels from arrays, frames and lists compare equal.

    Parameters
    ----------
    groups : str or pair of array-like
        Name of a column of both tables, or the labels of each table.
    rows, reference : Table
        Tables that the labels belong to.

    Returns
    -------
    row_labels : list
        Labels of `rows`.
    reference_labels : list
        Labels of `reference`.

    Raises
    ------
    ValueError
        If `groups` is not a pair, or its items are not as long as the tables.
    """
    if isinstance(groups, str):
        return rows.labels(groups), reference.labels(groups)
    if not isinstance(groups, tuple | list) or len(groups) != 2:
        raise ValueError(
            "groups must be the name of a column or a pair (labels of the rows, labels of the reference), "
            f"got {type(groups).__name__}{f' of length {len(groups)}' if hasattr(groups, '__len__') else ''}"
        )
    pair = _label_list(groups[0], rows), _label_list(groups[1], reference)
    for labels_, table in zip(pair, (rows, reference), strict=True):
        if len(labels_) != table.n_rows:
            raise ValueError(f"groups has {len(labels_)} labels for {table.table_name}, which has {table.n_rows} rows")
    return pair


def _label_list(x: Any, table: Table) -> list[Any]:
    """Convert the labels of one table to a list of Python objects."""
    if isinstance(x, str) or not hasattr(x, "__len__") or len(getattr(x, "shape", (0,))) != 1:
        raise ValueError(f"groups must be one-dimensional for {table.table_name}, got {type(x).__name__}")
    if isinstance(x, np.ndarray):
        # Microseconds become datetimes, as in pandas; nanoseconds would become integers, and days would become dates.
        return (x.astype("M8[us]") if x.dtype.kind == "M" else x).tolist()  # type: ignore[no-any-return]
    for method in ("to_pylist", "to_list"):
        if hasattr(x, method):
            return getattr(x, method)()  # type: ignore[no-any-return]
    return list(x)


def members(rows: list[Any], reference: list[Any]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield the positions of each label that occurs in both lists.

    Parameters
    ----------
    rows : list
        Labels of the rows to rank.
    reference : list
        Labels of the rows to rank among.

    Yields
    ------
    row_positions : ndarray of intp
        Positions of the label in `rows`, in ascending order.
    reference_positions : ndarray of intp
        Positions of the label in `reference`, in ascending order.

    Raises
    ------
    TypeError
        If a label cannot be hashed.
    """
    codes: dict[Any, int] = {}
    try:
        for label in rows:
            if label not in codes and not _is_missing(label):
                codes[label] = len(codes)
        row_positions, reference_positions = (_positions(codes, labels) for labels in (rows, reference))
    except TypeError as error:
        raise TypeError(f"groups must be labels such as names or numbers: {error}") from error
    for in_rows, in_reference in zip(row_positions, reference_positions, strict=True):
        if in_reference.size:
            yield in_rows, in_reference


def _positions(codes: dict[Any, int], labels: list[Any]) -> list[NDArray[np.intp]]:
    """Return the positions of each label, in the order of the codes."""
    coded = np.fromiter((codes.get(label, -1) for label in labels), np.intp, len(labels))
    order = np.argsort(coded, kind="stable")
    starts = np.searchsorted(coded[order], np.arange(len(codes) + 1))
    return [order[start:end] for start, end in pairwise(starts)]


def _is_missing(label: Any) -> bool:
    """Return whether a label stands for a missing value: None, NaN, NaT or pandas.NA."""
    if label is None:
        return True
    try:
        return not label == label  # noqa: SIM201 (NaN and NaT differ from themselves)
    except TypeError:
        # pandas.NA is neither equal nor unequal to itself.
        return True
