"""Columns of Arrow batches as the core takes them, and the scores of a batch."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isoxide import IsolationForest
from isoxide._percentiles import native
from isoxide._validation import Input

_MOST = np.iinfo(np.int64).max


def is_number(kind: pa.DataType) -> bool:
    """Whether values of a type are numbers that a forest takes."""
    is_one = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return bool(is_one)


def check_features(schema: pa.Schema, names: Iterable[str], where: str) -> list[str]:
    """The names as a list, if they are distinct columns of numbers.

    Raises
    ------
    ValueError
        If one is not there, there twice, or of another type.
    """
    names = list(names)
    if not names:
        raise ValueError(f"no features are left of {where}: none of its columns are numbers, or none were named")
    for number, name in enumerate(names):
        if name in names[:number]:
            raise ValueError(f"features has {name!r} twice")
        check_column(schema, name, "features", where)
        if not is_number(kind := schema.field(name).type):
            raise ValueError(f"column {name!r} of {where} is not numeric but {kind}; leave it out of features")
    return names


def check_column(schema: pa.Schema, name: str, argument: str, where: str) -> None:
    """Refuses the name of a column that is not there.

    Raises
    ------
    ValueError
        It says which ones there are.
    """
    n = schema.names.count(name)
    if n == 1:
        return
    if n > 1:
        raise ValueError(f"{where} has {n} columns of the name {name!r}; rename them")
    close = difflib.get_close_matches(str(name), schema.names, n=1)
    listed = ", ".join(map(repr, schema.names[:8]))
    more = f" and {len(schema.names) - 8} more" if len(schema.names) > 8 else ""
    hint = f"did you mean {close[0]!r}?" if close else f"there are {listed}{more}"
    raise ValueError(f"{where} has no column {name!r} ({argument}); {hint}")


def numeric_names(schema: pa.Schema) -> list[str]:
    """All columns of numbers, in their order."""
    return [field.name for field in schema if is_number(field.type)]


def features_of(forest: IsolationForest, schema: pa.Schema, where: str = "the table") -> list[str]:
    """The columns that a fitted forest asks for, in its order; all numeric ones where it was fitted without names.

    Raises
    ------
    ValueError
        If they are not there.
    """
    names = getattr(forest, "feature_names_in_", None)
    if names is not None:
        return check_features(schema, names, where)
    numeric = numeric_names(schema)
    if len(numeric) != forest.n_features_in_:
        raise ValueError(
            f"the forest was fitted on {forest.n_features_in_} columns without names, "
            f"and {where} has {len(numeric)} numeric columns"
        )
    return numeric


def batch_table(
    batch: pa.RecordBatch | pa.Table, names: Iterable[str]
) -> list[NDArray[Any]] | tuple[NDArray[Any], ...]:
    """Some columns of a batch as the core takes them.

    Values round to float32 as those of the pandas frame of all rows do: integers beside floats by way of float64.
    """
    names = list(names)
    columns = [number_column(batch, name) for name in names]
    types = [batch.schema.field(name).type for name in names]
    has_floats = any(pa.types.is_floating(kind) for kind in types)
    has_booleans = any(pa.types.is_boolean(kind) for kind in types)
    return tuple(columns) if has_floats and not has_booleans else columns


def float32_rows(rows: pa.Table, names: Iterable[str]) -> NDArray[np.float32]:
    """Some columns as trees read them."""
    table = batch_table(rows, names)
    values = np.empty((rows.num_rows, len(table)), dtype=np.float32, order="F")
    # Beyond the range of float32 is infinity.
    with np.errstate(over="ignore"):
        for j, column in enumerate(table):
            values[:, j] = column.astype(np.float64) if isinstance(table, tuple) else column
    return values


def number_column(batch: pa.RecordBatch | pa.Table, name: str) -> NDArray[Any]:
    """A column as float64, float32 or int64, a view where possible; missing values are NaN."""
    column = batch.column(name)
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    values: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    if values.dtype.kind == "u" and values.dtype.itemsize == 8:
        return values.astype(np.float64 if (values > _MOST).any() else np.int64)
    return native(values)


def batch_scores(batch: pa.RecordBatch | pa.Table, features: list[str], forest: IsolationForest) -> NDArray[np.float64]:
    """What ``score_samples`` gives for the rows of a batch."""
    if batch.num_rows == 0:
        return np.empty(0)
    data = Input(batch_table(batch, features), batch.num_rows, len(features))
    return forest._score(forest._forest, data, forest.max_samples_)


def score_batch(batch: pa.RecordBatch | pa.Table, features: list[str], forest: IsolationForest) -> NDArray[np.float64]:
    """What ``decision_function`` gives for the rows of a batch."""
    scores: NDArray[np.float64] = batch_scores(batch, features, forest) - forest.offset_
    return scores
