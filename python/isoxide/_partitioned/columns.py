"""The columns that a forest asks for, and the scores of a batch."""

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
            raise ValueError(
                f"column {name!r} of {where} holds no numbers but {describe_dtype(kind)}; leave it out of features"
            )
    return names


def check_column(schema: pa.Schema, name: str, argument: str, where: str) -> None:
    """Refuses the name of a column that is not there.

    Raises
    ------
    ValueError
        It says which ones there are.
    """
    if schema.names.count(name) > 1:
        raise ValueError(f"{where} has several columns of the name {name!r}; rename them")
    need_column(schema.names, name, argument, where)


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


def batch_scores(batch: pa.RecordBatch | pa.Table, features: list[str], forest: IsolationForest) -> NDArray[np.float64]:
    """What ``score_samples`` gives for the rows of a batch."""
    if batch.num_rows == 0:
        return np.empty(0)
    data = Input(batch_table(batch, features), batch.num_rows, len(features))
    return forest._score(forest._fitted, data)


def score_batch(batch: pa.RecordBatch | pa.Table, features: list[str], forest: IsolationForest) -> NDArray[np.float64]:
    """What ``decision_function`` gives for the rows of a batch."""
    scores: NDArray[np.float64] = batch_scores(batch, features, forest) - forest.offset_
    return scores
