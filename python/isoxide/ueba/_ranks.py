"""Rank findings among all rows of a table or those of their group, and find the typical values of the same rows."""

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
from isoxide.ueba._table import FeatureTable

__all__ = ["MIN_GROUP", "Groups", "RankOptions", "Ranked", "Scope", "rank_rows", "ranking"]


class Scope(NamedTuple):
    """Rows that ranks are among, and the words that name them."""

    #: The column that holds the groups, if there are any.
    groups: str | None
    #: The column that holds the entities.
    entity: str
    #: The name of the reference table; None if the findings are of this very table.
    source: str | None = None

    @classmethod
    def other(cls, table: FeatureTable, groups: str | None, entity: str) -> Scope:
        """Return the scope of ranks among the rows of another table."""
        return cls(groups, entity, "the reference table" if table.source is None else Path(table.source).name)

    def whole(self, n_rows: int) -> str:
        """Say that ranks are among all rows."""
        return f"all {n_rows:,} rows" if self.source is None else f"the {n_rows:,} rows of {self.source}"

    def overall(self, n_rows: int) -> str:
        """Say what the ranks of all findings are among."""
        if self.groups is None:
            return self.whole(n_rows)
        of = "" if self.source is None else f" of {self.source}"
        return f"the rows{of} with the same {self.groups}"

    def group(self, label: Any, n_rows: int, n_days: int, *, is_large: bool) -> str:
        """Say what the ranks of a finding are among, or why it has none."""
        is_history = self.groups == self.entity
        of = "" if self.source is None else f" of {self.source}"
        if not is_large:
            if is_history:
                return f"no ranks: {_counted(n_days, 'day')} of history{of and f' in {self.source}'}"
            return f"no ranks: {_counted(n_rows, 'row')}{of} in the group with {self.groups} {_label(label)}"
        if is_history:
            return f"the {n_rows:,} rows{of} of this {self.entity}"
        return f"the {n_rows:,} rows{of} with {self.groups} {_label(label)}"

    def missing(self) -> str:
        """Say that a finding belongs to no group."""
        return f"no ranks: no value in {self.groups}"


def _label(label: Any) -> str:
    return repr(label) if isinstance(label, str) else str(label)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def ranking(options: RankOptions, scope: Scope, n_rows: int) -> dict[str, Any]:
    """Return the entry of ranks in a manifest: the options, and the rows that values are ranked among."""
    return {**options.to_dict(), "among": scope.overall(n_rows), "rows": n_rows}


class Ranked(NamedTuple):
    """Ranks of findings, and the rows that they are among."""

    #: Percentile of each feature of each finding, the order of the features, and the sides on which values stand.
    percentiles: NDArray[np.float64]
    order: NDArray[np.intp]
    directions: NDArray[np.int8]
    #: For each finding the number of rows that its ranks are among, and a description of these rows.
    rank_rows: NDArray[np.int64]
    rank_among: list[str]
    #: For each finding the position of its group in `group_typical`, or -1; None without groups.
    group_of: NDArray[np.intp] | None
    #: Typical values of shape (n_groups, n_features, 3); None without groups.
    group_typical: NDArray[np.float64] | None

    @classmethod
    def empty(cls, n_features: int, options: RankOptions) -> Ranked:
        """Return the ranks of no findings."""
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
    """Groups of findings: how large they are in the reference, and which are large enough for ranks.

    Parameters
    ----------
    labels : list
        The label of each finding. A finding whose label is missing is in no group.
    scope : Scope
        Rows that the groups are in.
    min_group : int
        Rows that a group must have.
    """

    def __init__(self, labels: list[Any], scope: Scope, min_group: int) -> None:
        self.labels, self.scope, self.min_group = labels, scope, min_group
        groups = list(members(labels, labels))
        #: Distinct labels, and for each finding the position of its label, or -1.
        self.distinct = [labels[int(rows[0])] for rows, _ in groups]
        self.position = np.full(len(labels), -1, dtype=np.intp)
        for position, (rows, _) in enumerate(groups):
            self.position[rows] = position

    def set_sizes(self, n_rows: Sequence[int], n_days: Sequence[int]) -> None:
        """Take over how many rows and days each distinct label has in the reference."""
        is_large = np.array([n >= self.min_group for n in n_rows], dtype=bool)
        self.large = np.flatnonzero(is_large)
        renumbered = np.full(len(self.distinct) + 1, -1, dtype=np.intp)
        renumbered[self.large] = np.arange(len(self.large))
        #: For each finding the position of its group among the large enough ones, or -1.
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
    """Rank the features of findings among those of a table.

    Parameters
    ----------
    rows : DataFrame of shape (n_rows, n_features)
        The features of the findings.
    labels : list, optional
        The label of the group of each finding; None without groups.
    reference : FeatureTable
        The table that they are ranked among.
    reference_labels : list, optional
        The label of the group of each row of `reference`.
    statistics : TableQuantiles
        Quantiles of the features of `reference`.
    options : RankOptions
        How values are ranked.
    scope : Scope
        Rows that the ranks are among.
    n_jobs : int, optional
        Number of threads; None means all cores.

    Returns
    -------
    Ranked
        Findings whose group is too small have no percentiles; their features are in the order of their ranks among all
        rows.
    """
    if len(rows) == 0:
        return Ranked.empty(rows.shape[1], options)
    X = reference.X if list(reference.features) == list(rows.columns) else reference.X[list(rows.columns)]
    chosen: dict[str, Any] = {
        "kind": options.kind,
        "tail": options.tail,
        "rank_last": options.zscores,
        "n_jobs": n_jobs,
    }
    if labels is None or reference_labels is None:
        ranks = rank_features(rows, X, nan_policy=options.nan_policy, **chosen)
        n_rows = np.full(len(rows), len(X), dtype=np.int64)
        among = [scope.whole(len(X))] * len(rows)
        return Ranked(ranks.percentiles, ranks.order, ranks.directions, n_rows, among, None, None)
    groups = Groups(labels, scope, options.min_group)
    empty = np.empty(0, dtype=np.intp)
    known = {int(groups.position[own[0]]): theirs for own, theirs in members(labels, reference_labels)}
    rows_of = [known.get(k, empty) for k in range(len(groups.distinct))]
    days = reference.days.to_numpy()
    groups.set_sizes([len(own) for own in rows_of], [len(np.unique(days[own])) for own in rows_of])
    ranks = rank_features(
        rows, X, groups=(groups.ranked_labels, reference_labels), nan_policy=options.nan_policy, **chosen
    )
    order, is_unranked = ranks.order, groups.group_of < 0
    if is_unranked.any():
        order = order.copy()
        order[is_unranked] = rank_features(rows[is_unranked], X, nan_policy="omit", **chosen).order
    qs = list(STATISTICS.values())
    typical = np.empty((len(groups.large), rows.shape[1], len(qs)))
    for position, k in enumerate(groups.large):
        typical[position] = statistics.of_rows(rows_of[k], qs)
    return Ranked(
        ranks.percentiles, order, ranks.directions, groups.rank_rows, groups.rank_among, groups.group_of, typical
    )
