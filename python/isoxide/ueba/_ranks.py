"""Rank findings among all rows of a table or the rows of their group, and compute typical values of these rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isoxide._ranks.api import rank_features
from isoxide._ranks.groups import members
from isoxide._ranks.options import MIN_GROUP, RankOptions
from isoxide.ueba._quantiles import STATISTICS, TableQuantiles
from isoxide.ueba._size import SizeBands
from isoxide.ueba._table import FeatureTable

__all__ = ["MIN_GROUP", "Groups", "RankOptions", "Ranked", "Scope", "rank_rows", "ranking"]


class Scope(NamedTuple):
    """Description, for reports, of the rows that values are ranked among."""

    #: Name of the column with the group labels, or None.
    groups: str | None
    #: Name of the column with the entities.
    entity: str
    #: Name of the reference table; None if it is the table that the findings come from.
    source: str | None = None
    #: Bands of similar size, if they are the groups.
    size: SizeBands | None = None

    @classmethod
    def other(cls, table: FeatureTable, groups: str | None, entity: str, size: SizeBands | None = None) -> Scope:
        """Return the scope of ranks among the rows of another table."""
        return cls(groups, entity, "the reference table" if table.source is None else Path(table.source).name, size)

    def all_rows(self, n_rows: int) -> str:
        """Describe all rows of the table."""
        return f"all {n_rows:,} rows" if self.source is None else f"the {n_rows:,} rows of {self.source}"

    def overall(self, n_rows: int) -> str:
        """Describe the rows that all findings are ranked among."""
        if self.groups is None:
            return self.all_rows(n_rows)
        of = "" if self.source is None else f" of {self.source}"
        if self.size is not None:
            return f"the rows{of} of similar size (bands of {self.size.feature})"
        return f"the rows{of} with the same {self.groups}"

    def group(self, label: Any, n_rows: int, n_days: int, *, is_large: bool) -> str:
        """Describe the rows that a finding is ranked among, or the reason why it has no ranks."""
        is_history = self.groups == self.entity
        of = "" if self.source is None else f" of {self.source}"
        if self.size is not None:
            of_size = f"{of} of similar size ({self.size.feature} {label})"
            return f"the {n_rows:,} rows{of_size}" if is_large else f"no ranks: {_counted(n_rows, 'row')}{of_size}"
        if not is_large:
            if is_history:
                return f"no ranks: {_counted(n_days, 'day')} of history{of and f' in {self.source}'}"
            return f"no ranks: {_counted(n_rows, 'row')}{of} in the group with {self.groups} {_label(label)}"
        if is_history:
            return f"the {n_rows:,} rows{of} of this {self.entity}"
        return f"the {n_rows:,} rows{of} with {self.groups} {_label(label)}"

    def missing(self) -> str:
        """Describe why a finding without a group label has no ranks."""
        return f"no ranks: no value in {self.groups if self.size is None else self.size.feature}"


def _label(label: Any) -> str:
    return repr(label) if isinstance(label, str) else str(label)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def ranking(options: RankOptions, scope: Scope, n_rows: int) -> dict[str, Any]:
    """Return the manifest's entry about ranks: the options, and the rows that values are ranked among."""
    size = {} if scope.size is None else {"size": scope.size.to_dict()}
    return {**options.to_dict(), "among": scope.overall(n_rows), "rows": n_rows, **size}


class Ranked(NamedTuple):
    """Ranks of findings, and the rows that they are ranked among."""

    #: Percentile of each feature of each finding, the order of the features, and the side of each value.
    percentiles: NDArray[np.float64]
    order: NDArray[np.intp]
    directions: NDArray[np.int8]
    #: For each finding, the number of rows that it is ranked among, and a description of these rows.
    rank_rows: NDArray[np.int64]
    rank_among: list[str]
    #: For each finding, the position of its group in `group_typical`, or -1. None if there are no groups.
    group_of: NDArray[np.intp] | None
    #: Typical values of shape (n_groups, n_features, 3). None if there are no groups.
    group_typical: NDArray[np.float64] | None

    def typical(self, n_features: int) -> NDArray[np.float64]:
        """Return the typical values of each finding, of shape (n_findings, n_features, 3); NaN without ranks."""
        assert self.group_of is not None
        assert self.group_typical is not None
        return np.concatenate([self.group_typical, np.full((1, n_features, len(STATISTICS)), np.nan)])[self.group_of]

    @classmethod
    def empty(cls, n_features: int, options: RankOptions) -> Ranked:
        """Return the ranks of an empty set of findings."""
        grouped = options.groups is not None
        return cls(
            np.empty((0, n_features)),
            np.empty((0, n_features), dtype=np.intp),
            np.empty((0, n_features), dtype=np.int8),
            np.empty(0, dtype=np.int64),
            [],
            np.empty(0, dtype=np.intp) if grouped else None,
            np.empty((0, n_features, len(STATISTICS))) if grouped else None,
        )


class Groups:
    """Groups of findings, with their sizes in the reference; only large enough groups have ranks.

    Parameters
    ----------
    labels : list
        Label of each finding. A finding whose label is missing has no group.
    scope : Scope
        Description of the rows that contain the groups.
    min_group : int
        Minimum number of rows of a group with ranks.
    """

    def __init__(self, labels: list[Any], scope: Scope, min_group: int) -> None:
        self.labels, self.scope, self.min_group = labels, scope, min_group
        groups = list(members(labels, labels))
        #: Distinct labels, and for each finding, the position of its label or -1.
        self.distinct = [labels[int(rows[0])] for rows, _ in groups]
        self.position = np.full(len(labels), -1, dtype=np.intp)
        for position, (rows, _) in enumerate(groups):
            self.position[rows] = position

    def set_sizes(self, n_rows: Sequence[int], n_days: Sequence[int]) -> None:
        """Set the number of rows and days that each distinct label has in the reference."""
        is_large = np.array([n >= self.min_group for n in n_rows], dtype=bool)
        self.large = np.flatnonzero(is_large)
        renumbered = np.full(len(self.distinct) + 1, -1, dtype=np.intp)
        renumbered[self.large] = np.arange(len(self.large))
        #: For each finding, the position of its group among the large enough groups, or -1.
        self.group_of = renumbered[self.position]
        descriptions = [
            self.scope.group(label, rows, days, is_large=bool(large))
            for label, rows, days, large in zip(self.distinct, n_rows, n_days, is_large, strict=True)
        ]
        self.rank_among = [descriptions[k] if k >= 0 else self.scope.missing() for k in self.position]
        sizes = np.array([*n_rows, 0], dtype=np.int64)
        self.rank_rows = sizes[self.position]

    @property
    def ranked_labels(self) -> list[Any]:
        """Return the label of each finding; None for findings without ranks."""
        return [label if k >= 0 else None for label, k in zip(self.labels, self.group_of, strict=True)]


def rank_rows(
    rows: pd.DataFrame,
    labels: list[Any] | None,
    reference: FeatureTable,
    reference_labels: list[Any] | None,
    statistics: TableQuantiles,
    options: RankOptions,
    scope: Scope,
    n_jobs: int | None,
) -> Ranked:
    """Rank the features of findings among the rows of a table.

    Parameters
    ----------
    rows : DataFrame of shape (n_rows, n_features)
        Features of the findings.
    labels : list, optional
        Group label of each finding; None if there are no groups.
    reference : FeatureTable
        Table to rank among.
    reference_labels : list, optional
        Group label of each row of `reference`.
    statistics : TableQuantiles
        Quantiles of the features of `reference`.
    options : RankOptions
        Options of the ranks.
    scope : Scope
        Description of the rows to rank among.
    n_jobs : int, optional
        Number of threads; None means all cores.

    Returns
    -------
    Ranked
        Ranks. Findings whose group is too small have no percentiles; their features are ordered by their ranks among
        all rows.
    """
    if len(rows) == 0:
        return Ranked.empty(rows.shape[1], options)
    X = reference.X if list(reference.features) == list(rows.columns) else reference.X[list(rows.columns)]
    keywords: dict[str, Any] = {
        "kind": options.kind,
        "tail": options.tail,
        "rank_last": options.zscores,
        "n_jobs": n_jobs,
    }
    if labels is None or reference_labels is None:
        ranks = rank_features(rows, X, nan_policy=options.nan_policy, **keywords)
        n_rows = np.full(len(rows), len(X), dtype=np.int64)
        among = [scope.all_rows(len(X))] * len(rows)
        return Ranked(ranks.percentiles, ranks.order, ranks.directions, n_rows, among, None, None)
    groups = Groups(labels, scope, options.min_group)
    empty = np.empty(0, dtype=np.intp)
    rows_of = [empty] * len(groups.distinct)
    for findings, reference_rows in members(labels, reference_labels):
        rows_of[groups.position[findings[0]]] = reference_rows
    days = reference.days.to_numpy()
    groups.set_sizes([len(positions) for positions in rows_of], [len(np.unique(days[p])) for p in rows_of])
    ranks = rank_features(
        rows, X, groups=(groups.ranked_labels, reference_labels), nan_policy=options.nan_policy, **keywords
    )
    order, is_unranked = ranks.order, groups.group_of < 0
    if is_unranked.any():
        order = order.copy()
        order[is_unranked] = rank_features(rows[is_unranked], X, nan_policy="omit", **keywords).order
    qs = list(STATISTICS.values())
    typical = np.empty((len(groups.large), rows.shape[1], len(qs)))
    for position, k in enumerate(groups.large):
        typical[position] = statistics.of_rows(rows_of[k], qs)
    return Ranked(
        ranks.percentiles, order, ranks.directions, groups.rank_rows, groups.rank_among, groups.group_of, typical
    )
