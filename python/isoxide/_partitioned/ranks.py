"""Rank rows in memory among the rows of a partitioned table, by adding up the counts of all partitions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isoxide._frames.keys import text_labels
from isoxide._frames.tables import Table, read_table
from isoxide._partitioned.aggregators import CountRanks
from isoxide._partitioned.columns import check_column, check_features
from isoxide._partitioned.engine import Engine
from isoxide._partitioned.views import GROUP, TextKeys
from isoxide._ranks.counts import RankCounts
from isoxide._ranks.dtypes import RankDefinition
from isoxide._ranks.feature_ranks import FeatureRanks, feature_ranks
from isoxide._ranks.groups import members
from isoxide._ranks.matching import match

__all__ = ["RowRanks", "rank_rows"]


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
    row_groups: list[NDArray[np.intp]] = [np.arange(row_table.n_rows)]
    if groups is not None:
        check_column(engine.schema, groups, "groups", engine.name)
        if groups not in row_table.names:
            raise ValueError(f"groups={groups!r} is not a column of rows")
        if groups != GROUP:
            engine = TextKeys(engine, [], group=groups)
        labels, row_groups = _by_label(text_labels(row_table.labels(groups), groups))
    ranks = RowRanks(
        row_table, positions, names, queries, row_groups,
        group_column=None if groups is None else GROUP, labels=labels, n_jobs=engine.n_jobs,
    )  # fmt: skip
    filled = engine.aggregate(ranks.counter) if row_groups else []
    return ranks.ranks(filled, definition, rank_last)


class RowRanks:
    """Ranks of rows in memory among the rows of a table, which `counter` counts.

    Parameters
    ----------
    rows : Table
        Rows to rank.
    positions : list of int
        Position of each feature in `rows`.
    names : list of str
        Name of each feature.
    queries : list of ndarray
        Values of each feature.
    row_groups : list of ndarray of int
        Positions of the rows that are ranked among the same rows of the table.
    group_column : str, optional
        Column of the table with the labels of the groups as text. By default rows are ranked among the whole table.
    labels : list, optional
        Label of each group.
    n_jobs : int or None
        Number of threads that count.
    """

    def __init__(
        self,
        rows: Table,
        positions: list[int],
        names: list[str],
        queries: list[NDArray[Any]],
        row_groups: list[NDArray[np.intp]],
        *,
        group_column: str | None = None,
        labels: list[Any] | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self._rows, self._positions, self._names, self._queries = rows, positions, names, queries
        self._row_groups = row_groups
        templates = [RankCounts(_frame(names, [query[group] for query in queries])) for group in row_groups]
        self.counter = CountRanks(templates, names, groups=group_column, labels=labels, n_jobs=n_jobs)

    @classmethod
    def of_frame(cls, frame: Any, row_groups: list[NDArray[np.intp]] | None = None, **keywords: Any) -> RowRanks:
        """Return the ranks of all columns of a frame; see the class for the other parameters."""
        rows = read_table(frame, "rows")
        names = list(rows.names or [])
        positions = list(range(len(names)))
        groups = [np.arange(rows.n_rows)] if row_groups is None else row_groups
        return cls(rows, positions, names, rows.columns(positions, names), groups, **keywords)

    def ranks(
        self,
        filled: Iterable[RankCounts | None],
        definition: RankDefinition,
        rank_last: str | Callable[[str], bool] | None,
    ) -> FeatureRanks:
        """Return the ranks, given the counts of each group; a group without counts has no percentiles (NaN)."""
        shape = (self._rows.n_rows, len(self._names))
        percentiles, directions = np.full(shape, np.nan), np.zeros(shape, dtype=np.int8)
        for counts, group in zip(filled, self._row_groups, strict=True):
            if counts is not None:
                ranks = counts.ranks(**definition._asdict())
                percentiles[group], directions[group] = ranks.percentiles, ranks.directions
        ranked = percentiles, directions
        return feature_ranks(self._rows, self._positions, self._names, self._queries, ranked, rank_last)


def _by_label(labels: list[Any]) -> tuple[list[Any], list[NDArray[np.intp]]]:
    """Return the distinct labels and the rows of each label; rows without a label are left out."""
    groups = list(members(labels, labels))
    return [labels[int(rows[0])] for rows, _ in groups], [rows for rows, _ in groups]


def _frame(names: list[str], columns: list[Any]) -> Any:
    # Arrow supports only the byte order of the machine.
    native = [np.asarray(column, dtype=column.dtype.newbyteorder("=")) for column in columns]
    return pa.table(dict(zip(names, native, strict=True)))
