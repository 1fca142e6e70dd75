"""The argument `groups` of `rank_features`: labels of the rows of both tables, and which rows have the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoxide._common.patterns import name_list
from isoxide._frames.tables import Table

#: Those of the rows, and those of the reference.
Labels = tuple[list[Any], list[Any]]


def features_without(groups: str, rows: Table, reference: Table, features: Iterable[str] | None) -> list[str] | None:
    """The features to use beside a column of labels; None if tables without names leave it to others to object.

    Raises
    ------
    ValueError
        If the column is not in both tables, or is among the features.
    """
    for table in (rows, reference):
        if groups not in (table.names or []):
            has = f"its columns are {table.names}" if table.names else "its columns have no names"
            raise ValueError(f"groups={groups!r} names no column of {table.what}: {has}")
    if features is None:
        return [name for name in rows.names or [] if name != groups]
    features = name_list(features, "features")
    if groups in features:
        raise ValueError(f"groups={groups!r} is among the features; leave it out there, or give groups as two arrays")
    return features


def labels(groups: Any, rows: Table, reference: Table) -> Labels:
    """The labels as Python's objects, of which NumPy's types, frames and lists have the same.

    Parameters
    ----------
    groups : str or pair of array-like
        A column of both tables, or the labels of either.
    rows, reference : Table
        What they are of.

    Returns
    -------
    tuple of list
        Those of the rows, and those of the reference.

    Raises
    ------
    ValueError
        If `groups` is no pair, or its parts are not as long as the tables.
    """
    if isinstance(groups, str):
        return rows.labels(groups), reference.labels(groups)
    if not isinstance(groups, tuple | list) or len(groups) != 2:
        raise ValueError(
            "groups must be the name of a column or a pair (labels of the rows, labels of the reference), "
            f"got {type(groups).__name__}{f' of length {len(groups)}' if hasattr(groups, '__len__') else ''}"
        )
    found = _label_list(groups[0], rows), _label_list(groups[1], reference)
    for part, table in zip(found, (rows, reference), strict=True):
        if len(part) != table.n_rows:
            raise ValueError(f"groups has {len(part)} labels for {table.what}, which has {table.n_rows} rows")
    return found


def _label_list(x: Any, table: Table) -> list[Any]:
    if isinstance(x, str) or not hasattr(x, "__len__") or len(getattr(x, "shape", (0,))) != 1:
        raise ValueError(f"groups must be one-dimensional for {table.what}, got {type(x).__name__}")
    if isinstance(x, np.ndarray):
        # Of nanoseconds NumPy makes bare integers, of days dates; pandas knows times only.
        return (x.astype("M8[us]") if x.dtype.kind == "M" else x).tolist()  # type: ignore[no-any-return]
    for method in ("to_pylist", "to_list"):
        if hasattr(x, method):
            return getattr(x, method)()  # type: ignore[no-any-return]
    return list(x)


def members(rows: list[Any], reference: list[Any]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Of each label that both have, where it is in either, ascending.

    Raises
    ------
    TypeError
        If a label cannot be hashed.
    """
    numbers: dict[Any, int] = {}
    try:
        for label in rows:
            if label not in numbers and not _is_missing(label):
                numbers[label] = len(numbers)
        places = [_places(numbers, labels) for labels in (rows, reference)]
    except TypeError as error:
        raise TypeError(f"groups must be labels such as names or numbers: {error}") from error
    for row_places, reference_places in zip(*places, strict=True):
        if reference_places.size:
            yield row_places, reference_places


def _places(numbers: dict[Any, int], labels: list[Any]) -> list[NDArray[np.intp]]:
    """Per number of a label the places where it is."""
    found = np.fromiter((numbers.get(label, -1) for label in labels), np.intp, len(labels))
    order = np.argsort(found, kind="stable")
    starts = np.searchsorted(found[order], np.arange(len(numbers) + 1))
    return [order[start:end] for start, end in pairwise(starts)]


def _is_missing(label: Any) -> bool:
    if label is None:
        return True
    try:
        return not label == label  # noqa: SIM201 (NaN and NaT differ from themselves)
    except TypeError:
        # pandas.NA is neither.
        return True
