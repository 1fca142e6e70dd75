"""The verbs on tables in parts; each engine hands its own tables on to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from isoxide._forest.estimator import IsolationForest
from isoxide._forest.sample_plan import SamplePlan
from isoxide._forest.score_sketch import ScoreSketch
from isoxide._frames.columns import float32_rows
from isoxide._frames.keys import text_labels
from isoxide._frames.tables import read_table
from isoxide._frames.validation import check_contamination
from isoxide._partitioned.aggregators import CountRanks, SketchScores
from isoxide._partitioned.columns import check_column, check_features, features_of, numeric_names
from isoxide._partitioned.keyed import GROUP, Keyed
from isoxide._partitioned.table import PartedTable
from isoxide._ranks.counts import RankCounts
from isoxide._ranks.dtypes import RankDefinition
from isoxide._ranks.feature_ranks import FeatureRanks, feature_ranks
from isoxide._ranks.groups import members
from isoxide._ranks.matching import match


def fit(table: PartedTable, *, features: Iterable[str] | None, forest: IsolationForest | None) -> IsolationForest:
    """A forest with the parameters of `forest`, fitted on some columns of a table; by default on all numeric ones.

    Raises
    ------
    ValueError
        If a parameter is out of range, the table is empty, or a column is not there or not numeric.
    """
    forest = IsolationForest(random_state=0) if forest is None else clone(forest)
    names = check_features(table.schema, numeric_names(table.schema) if features is None else features, table.name)
    forest._validate_params()
    n_samples = table.count()
    if n_samples == 0:
        raise ValueError(f"{table.name} has no rows, but a forest needs at least one")
    grown = grow(table, SamplePlan(forest, n_samples, len(names)), names)
    if not isinstance(grown.contamination, str):
        grown.offset_ = offset(table, grown, contamination=grown.contamination)
    return grown


def grow(table: PartedTable, plan: SamplePlan, names: list[str]) -> IsolationForest:
    """The forest of a plan, with the names of its columns; its offset is not set yet."""
    rows = table.fetch(plan.rows, names)
    if rows.num_rows != len(plan.rows):
        raise ValueError(f"{table.name} changed while it was read: {rows.num_rows} rows of {len(plan.rows)} came")
    grown = plan.grow(float32_rows(rows, names))
    grown.feature_names_in_ = np.array(names, dtype=object)
    return grown


def offset(table: PartedTable, forest: IsolationForest, *, contamination: float | Literal["auto"]) -> float:
    """The offset that `forest` has for a contamination of the rows of a table.

    Raises
    ------
    ValueError
        If the contamination is out of range, or the table has no rows or other columns than the forest.
    """
    check_is_fitted(forest)
    check_contamination(forest, contamination)
    if isinstance(contamination, str):
        return -0.5
    features_of(forest, table.schema, table.name)
    n_samples = table.count()
    if n_samples == 0:
        raise ValueError(f"{table.name} has no rows to take a percentile of")
    scores = table.scores(forest)
    try:
        return score_offset(scores, n_samples, contamination)
    finally:
        scores.close()


def score_offset(scores: PartedTable, n_samples: int, contamination: float) -> np.float64:
    """The offset for a contamination, of a table of scores."""
    sketch = ScoreSketch(n_samples, contamination)
    while True:
        seen = ScoreSketch.from_bytes(scores.gather(SketchScores(sketch)))
        if seen.n_seen != n_samples:
            raise ValueError(f"{scores.name} changed while it was read: {n_samples} rows, then {seen.n_seen}")
        if seen.is_resolved:
            return seen.offset()
        sketch = seen.refined()


def rank_features(
    rows: Any,
    table: PartedTable,
    *,
    features: Iterable[str] | None = None,
    kind: str = "rank",
    tail: str = "upper",
    groups: str | None = None,
    rank_last: str | Callable[[str], bool] | None = None,
    nan_policy: str = "propagate",
    n_jobs: int | None = 1,
) -> FeatureRanks:
    """The ranks of some rows, which are in memory, among those of a table; see `isoxide.rank_features`.

    Raises
    ------
    ValueError
        If columns do not match, or an argument is out of range.
    TypeError
        If a column is not numeric.
    """
    definition = RankDefinition(kind, tail, nan_policy).check()
    given = read_table(rows, "rows")
    if given.names is None:
        raise ValueError(f"rows must be a frame with column names, since the columns of {table.name} are found by name")
    if features is None:
        features = [name for name in given.names if name != groups]
    names, places, _ = match(given, given, features)
    check_features(table.schema, names, table.name)
    queries = [given.column(j, name) for j, name in zip(places, names, strict=True)]
    labels: list[Any] = [None]
    where: list[Any] = [np.arange(given.n_rows)]
    if groups is not None:
        check_column(table.schema, groups, "groups", table.name)
        if groups not in given.names:
            raise ValueError(f"groups={groups!r} names no column of rows")
        if groups != GROUP:
            table = Keyed(table, [], group=groups)
        labels, where = _by_label(text_labels(given.labels(groups), groups))
    templates = [RankCounts(_frame(names, [query[at] for query in queries])) for at in where]
    step = CountRanks(templates, names, groups=None if groups is None else GROUP, labels=labels, n_jobs=n_jobs)
    counted = CountRanks.read(table.gather(step)) if templates else []
    percentiles = np.full((given.n_rows, len(names)), np.nan)
    directions = np.zeros((given.n_rows, len(names)), dtype=np.int8)
    for counts, at in zip(counted, where, strict=True):
        ranks = counts.ranks(kind=kind, tail=tail, nan_policy=definition.nan_policy)
        percentiles[at], directions[at] = ranks.percentiles, ranks.directions
    return feature_ranks(given, places, names, queries, (percentiles, directions), rank_last)


def _by_label(labels: list[Any]) -> tuple[list[Any], list[Any]]:
    """The labels that are there, and of each the rows; rows without one are in none."""
    found = list(members(labels, labels))
    return [labels[int(rows[0])] for rows, _ in found], [rows for rows, _ in found]


def _frame(names: list[str], columns: list[Any]) -> Any:
    # Arrow has one order of bytes.
    native = [np.asarray(column, dtype=column.dtype.newbyteorder("=")) for column in columns]
    return pa.table(dict(zip(names, native, strict=True)))
