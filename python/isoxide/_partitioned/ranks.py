"""Rank rows in memory among the rows of a partitioned table, by adding up the counts of all partitions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isoxide._frames.keys import text_labels
from isoxide._frames.tables import read_table
from isoxide._partitioned.aggregators import CountRanks
from isoxide._partitioned.columns import check_column, check_features
from isoxide._partitioned.engine import Engine
from isoxide._partitioned.views import GROUP, TextKeys
from isoxide._ranks.counts import RankCounts
from isoxide._ranks.dtypes import RankDefinition
from isoxide._ranks.feature_ranks import FeatureRanks, feature_ranks
from isoxide._ranks.groups import members
from isoxide._ranks.matching import match

__all__ = ["rank_rows"]


def rank_rows(
    engine: Engine,
    rows: Any,
    definition: RankDefinition,
    *,
    features: Iterable[str] | None = None,
    groups: str | None = None,
    rank_last: str | Callable[[str], bool] | None = None,
) -> FeatureRanks:
    """Return the ranks of rows in memory among the rows of a partitioned table.

    Parameters
    ----------
    engine : Engine
        Engine that reads the table.
    rows : frame of shape (n_rows, n_features)
        Rows to rank, with column names.
    definition : RankDefinition
        Definition of the percentiles: `kind`, `tail` and `nan_policy`.
    features : iterable of str, optional
        Columns to rank. By default all columns of `rows` except `groups`.
    groups : str, optional
        Column of labels in both tables: rows are ranked among the rows of the table with the same label.
    rank_last : str or callable, optional
        Features that come after all others.

    Raises
    ------
    ValueError
        If columns do not match, or an argument is out of range.
    TypeError
        If a column is not numeric.
    """
    definition = definition.check()
    row_table = read_table(rows, "rows")
    if row_table.names is None:
        raise ValueError(
            f"rows must be a frame with column names, since the columns of {engine.name} are found by name"
        )
    if features is None:
        features = [name for name in row_table.names if name != groups]
    names, positions, _ = match(row_table, row_table, features)
    check_features(engine.schema, names, engine.name)
    queries = row_table.columns(positions, names)
    labels: list[Any] = [None]
    row_groups: list[Any] = [np.arange(row_table.n_rows)]
    if groups is not None:
        check_column(engine.schema, groups, "groups", engine.name)
        if groups not in row_table.names:
            raise ValueError(f"groups={groups!r} is not a column of rows")
        if groups != GROUP:
            engine = TextKeys(engine, [], group=groups)
        labels, row_groups = _by_label(text_labels(row_table.labels(groups), groups))
    templates = [RankCounts(_frame(names, [query[group] for query in queries])) for group in row_groups]
    group_column = None if groups is None else GROUP
    counter = CountRanks(templates, names, groups=group_column, labels=labels, n_jobs=engine.n_jobs)
    filled = engine.aggregate(counter) if templates else []
    percentiles = np.full((row_table.n_rows, len(names)), np.nan)
    directions = np.zeros((row_table.n_rows, len(names)), dtype=np.int8)
    for counts, group in zip(filled, row_groups, strict=True):
        ranks = counts.ranks(**definition._asdict())
        percentiles[group], directions[group] = ranks.percentiles, ranks.directions
    return feature_ranks(row_table, positions, names, queries, (percentiles, directions), rank_last)


def _by_label(labels: list[Any]) -> tuple[list[Any], list[NDArray[np.intp]]]:
    """Return the distinct labels and the rows of each label; rows without a label are left out."""
    groups = list(members(labels, labels))
    return [labels[int(rows[0])] for rows, _ in groups], [rows for rows, _ in groups]


def _frame(names: list[str], columns: list[Any]) -> Any:
    # Arrow supports only the byte order of the machine.
    native = [np.asarray(column, dtype=column.dtype.newbyteorder("=")) for column in columns]
    return pa.table(dict(zip(names, native, strict=True)))
