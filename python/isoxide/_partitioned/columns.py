"""Check the columns that a forest reads, and score a batch."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isoxide._forest.estimator import IsolationForest
from isoxide._frames.columns import batch_table
from isoxide._frames.dtypes import describe_dtype, is_number
from isoxide._frames.features import need_column
from isoxide._frames.validation import Input


def check_features(schema: pa.Schema, names: Iterable[str], table_name: str) -> list[str]:
    """Check that features are distinct columns of numbers, and return their names as a list.

    Raises
    ------
    ValueError
        If a column is missing, occurs twice, or does not hold numbers.
    """
    names = list(names)
    if not names:
        raise ValueError(f"no feature of {table_name} remains: none of its columns holds numbers, or features is empty")
    for number, name in enumerate(names):
        if name in names[:number]:
            raise ValueError(f"features has {name!r} twice")
        check_column(schema, name, "features", table_name)
        if not is_number(dtype := schema.field(name).type):
            raise ValueError(
                f"column {name!r} of {table_name} holds {describe_dtype(dtype)}, not numbers; remove it from features"
            )
    return names


def check_column(schema: pa.Schema, name: str, argument: str, table_name: str) -> None:
    """Refuse a name that is not the name of exactly one column.

    Raises
    ------
    ValueError
        If no column or several columns have the name.
    """
    if schema.names.count(name) > 1:
        raise ValueError(f"{table_name} has several columns named {name!r}; rename them")
    need_column(schema.names, name, argument, table_name)


def numeric_names(schema: pa.Schema) -> list[str]:
    """Return the names of all columns of numbers, in the order of the table."""
    return [field.name for field in schema if is_number(field.type)]


def features_of(forest: IsolationForest, schema: pa.Schema, table_name: str = "the table") -> list[str]:
    """Return the columns that a fitted forest reads, in its order; if it has no names, all numeric columns.

    Raises
    ------
    ValueError
        If the table lacks one of them.
    """
    names = getattr(forest, "feature_names_in_", None)
    if names is not None:
        return check_features(schema, names, table_name)
    numeric = numeric_names(schema)
    if len(numeric) != forest.n_features_in_:
        raise ValueError(
            f"the forest was fitted on {forest.n_features_in_} columns without names, "
            f"and {table_name} has {len(numeric)} numeric columns"
        )
    return numeric


def batch_scores(batch: pa.RecordBatch | pa.Table, features: list[str], forest: IsolationForest) -> NDArray[np.float64]:
    """Return the result of ``score_samples`` for the rows of a batch."""
    if batch.num_rows == 0:
        return np.empty(0)
    data = Input(batch_table(batch, features), batch.num_rows, len(features))
    return forest._score(forest._fitted, data)


def score_batch(batch: pa.RecordBatch | pa.Table, features: list[str], forest: IsolationForest) -> NDArray[np.float64]:
    """Return the result of ``decision_function`` for the rows of a batch."""
    scores: NDArray[np.float64] = batch_scores(batch, features, forest) - forest.offset_
    return scores
