"""Detection on a partitioned table, with the same findings as `isoxide.ueba.detect` for the same rows in memory.

    profile -> fetch drawn rows, grow -> scores -> offset -> anomalous rows -> severity, first days, ranks -> assemble

If the profile does not determine a quantile of a column, later passes refine its sketch while they do their own work.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.base import clone

from isoxide._common.patterns import select
from isoxide._common.warn import warn_caller
from isoxide._forest.anomaly_options import AnomalyOptions
from isoxide._forest.estimator import IsolationForest
from isoxide._forest.sample_plan import SamplePlan
from isoxide._frames.columns import plain_numbers
from isoxide._frames.dtypes import is_number
from isoxide._frames.times import TimeStyle, days_of
from isoxide._partitioned.aggregators import ROW_NUMBER, AggregateAll, Aggregator, CountAlerts, CountRanks
from isoxide._partitioned.anomalies import (
    ANOMALY_SCORE,
    DECISION,
    Anomalies,
    CountDecisions,
    FindAnomalies,
    FirstSeen,
    ScoreEntities,
)
from isoxide._partitioned.columns import features_of
from isoxide._partitioned.engine import Engine
from isoxide._partitioned.families import sampled_families
from isoxide._partitioned.fit import grow, score_offset
from isoxide._partitioned.options import PartitionedDetectOptions
from isoxide._partitioned.profile import ProfiledTable
from isoxide._partitioned.quantiles import GroupQuantiles, GroupSketches, Quantiles, SketchGroups
from isoxide._partitioned.ranks import rank_rows
from isoxide._partitioned.sizes import group_by_size
from isoxide._ranks.counts import RankCounts
from isoxide._ranks.dtypes import RankDefinition
from isoxide._ranks.options import RankOptions
from isoxide.ueba._assemble import Detection, assemble, order_of_findings, rules_or_default
from isoxide.ueba._calibrate import (
    check_amount,
    check_share,
    check_share_above,
    check_training,
    refuse_infinite,
    share_of_alerts,
    share_of_top,
    small_table_notes,
)
from isoxide.ueba._columns import refuse_result_names
from isoxide.ueba._entity_scores import entities_with_scores, entity_scores_of
from isoxide.ueba._findings import Findings
from isoxide.ueba._quantiles import STATISTICS
from isoxide.ueba._ranks import Groups, Ranked, Scope
from isoxide.ueba._rarity import check_bands
from isoxide.ueba._rules import quantiles_of_rules
from isoxide.ueba._size import asks_for_size

__all__ = ["detect"]

#: Maximum number of findings, which are held in memory.
MAX_FINDINGS = 1_000_000


def detect(engine: Engine, options: PartitionedDetectOptions, n_jobs: int | None = None) -> Findings:
    """Return the findings of a table.

    Parameters
    ----------
    engine : Engine
        Engine that reads the table; it stays open.
    options : PartitionedDetectOptions
        Arguments of `PartitionedTable.detect`.
    n_jobs : int, optional
        Number of threads that grow a forest in this process; None means all cores.
    """
    check_amount(
        options.threshold, options.contamination, options.alerts_per_month, options.anomaly_threshold, options.top
    )
    bands = check_bands(options.bands)
    candidates = _candidates(engine.schema, options.include, options.exclude)
    refuse_result_names(options.entity, options.time, candidates)
    rank_options, groups = options.check(), options.groups
    is_size = asks_for_size(groups, engine.schema.names, engine.name)
    if groups is not None and not is_size and groups not in engine.schema.names:
        raise ValueError(f"groups={groups!r} is not a column of the table")
    rules = rules_or_default(options.rules, rank_options)
    qs = list(dict.fromkeys([*STATISTICS.values(), *quantiles_of_rules(rules)]))
    table = ProfiledTable(
        engine, entity=options.entity, time=options.time, include=options.include, exclude=options.exclude,
        groups=None if is_size else groups, style=TimeStyle(options.time_format, options.timezone),
    )  # fmt: skip
    refuse_infinite(table.profile.infinite)
    check_training(table.n_rows, table.profile.n_days, options.forest, train_on_this=options.train_on_this)
    size = group_by_size(table, rank_options.min_group) if is_size else None
    notes = small_table_notes(table.n_rows, options.forest)
    for note in notes:
        warn_caller(note)
    forest = _grown(table, options, n_jobs)
    scores = table.engine.scores(forest)
    try:
        _calibrate(table, scores, forest, options)
        quantiles = table.quantiles(qs)
        anomalies = _find_anomalies(table, forest, quantiles)
        rows, decisions, anomaly_scores, labels = _in_order(table, anomalies)
        severity, rows_as_high = _severity(scores, forest, decisions)
    finally:
        scores.close()
    scope = Scope(groups, options.entity, size=size)
    peers = None if labels is None else Groups(labels, scope, options.min_group)
    sketcher = None if peers is None else _group_sketcher(table, peers, rank_options)
    first_seen, entity_scores, group_sketches = _facts_of_entities(table, rows, forest, quantiles, sketcher)
    while (aggregator := quantiles.next_pass) is not None:
        quantiles.take(table.engine.aggregate(aggregator))
    days = sorted(anomalies.lowest)
    detection = Detection(
        profile=table.profile,
        source=engine.name,
        sha256=None,
        entity=options.entity,
        time=options.time,
        features=list(table.features),
        forest=forest,
        scores_sha256=anomalies.scores_sha256,
        rows=rows,
        scores=decisions,
        anomaly_scores=anomaly_scores,
        severity=severity,
        rows_as_high=rows_as_high,
        highest=anomalies.highest,
        days=pd.DataFrame(
            {
                "day": days,
                "rows": [table.days[day] for day in days],
                "lowest": [anomalies.lowest[day] for day in days],
                "highest": [anomalies.highest_of_day[day] for day in days],
            }
        ),
        first_seen=first_seen,
        ranks=_ranks(table, rows, peers, sketcher, group_sketches, quantiles, rank_options, scope),
        quantile=quantiles.quantile,
        notes=notes,
        size=size,
        families=sampled_families(table) if options.explain else [],
        entity_scores=entity_scores,
    )
    return assemble(detection, bands, rank_options, rules, options, explain=options.explain)


def _candidates(
    schema: pa.Schema, include: str | Iterable[str] | None, exclude: str | Iterable[str] | None
) -> list[str]:
    """Return the columns of numbers that are features if they have any values."""
    names = [field.name for field in schema if is_number(field.type)]
    included = names if include is None else select(names, include)
    left_out = set(select(names, exclude))
    return [name for name in included if name not in left_out]


def _grown(table: ProfiledTable, options: AnomalyOptions, n_jobs: int | None) -> IsolationForest:
    """Grow a forest on the table, or copy the fitted forest that was given."""
    forest = options.forest
    if forest is None:
        forest = IsolationForest(random_state=options.random_state, n_jobs=n_jobs)
    if hasattr(forest, "offset_"):
        features = features_of(forest, table.engine.schema, table.engine.name)
        if features != table.features:
            raise ValueError(f"the forest was fitted on the features {features}, but the table has {table.features}")
        # The copy shares the trees; only its offset changes.
        return copy.copy(forest)
    plan = SamplePlan(clone(forest), table.n_rows, len(table.features))
    grown = grow(table.engine, plan, table.features)
    grown.offset_ = np.nan
    return grown


def _calibrate(table: ProfiledTable, scores: Engine, forest: IsolationForest, options: AnomalyOptions) -> None:
    """Set the offset of the forest, as `isoxide.ueba.detect` does."""
    if options.anomaly_threshold is not None:
        forest.offset_ = np.float64(-options.anomaly_threshold)
        # A score is below 0 if it is at or below the largest number below 0.
        n, _ = scores.aggregate(CountAlerts(float(forest.offset_), -np.nextafter(0.0, 1.0)))
        check_share_above(n / table.n_rows, options.anomaly_threshold)
        return
    threshold, alerts_per_month, contamination = options.threshold, options.alerts_per_month, options.contamination
    if options.top is not None:
        contamination = share_of_top(options.top, table.n_rows)
    if threshold is not None or alerts_per_month is not None:
        forest.set_params(contamination=options.calibration_contamination)
        forest._validate_params()
        if threshold is not None:
            offset = score_offset(scores, table.n_rows, options.calibration_contamination)
            n, lowest = scores.aggregate(CountAlerts(float(offset), threshold))
            contamination = n / table.n_rows
            check_share(contamination, threshold)
            if n == 0:
                # As in `Calibration.at_threshold`, all rows must score above the offset.
                forest.offset_ = np.float64(offset + min(threshold, lowest))
                return
        else:
            assert alerts_per_month is not None
            contamination = share_of_alerts(alerts_per_month, table.n_rows, table.profile.n_period_days)
    if contamination is not None:
        forest.contamination = contamination
    if not isinstance(forest.contamination, str) and (contamination is not None or np.isnan(forest.offset_)):
        forest.offset_ = score_offset(scores, table.n_rows, forest.contamination)
    elif np.isnan(forest.offset_):
        forest.offset_ = -0.5


def _find_anomalies(table: ProfiledTable, forest: IsolationForest, quantiles: Quantiles) -> Anomalies:
    """Find the anomalies, and refine the quantiles of the columns in the same pass."""
    engine = table.engine
    labels = () if table.group_column is None else (table.group_column,)
    columns = [table.entity, table.time, *table.features, *labels, *engine.key]
    finder = FindAnomalies(
        engine.broadcast(forest), float(forest.offset_), table.times, table.entity, columns, table.features,
        engine.schema, MAX_FINDINGS,
    )  # fmt: skip
    anomalies: Anomalies
    anomalies, *_ = _with_quantiles(engine, [finder], quantiles)
    return anomalies


def _with_quantiles(engine: Engine, aggregators: list[Aggregator[Any, Any]], quantiles: Quantiles) -> list[Any]:
    """Return the results of aggregators, and refine the quantiles of the columns in the same pass."""
    refiner = quantiles.next_pass
    all_aggregators = [*aggregators, *([] if refiner is None else [refiner])]
    results = engine.aggregate(AggregateAll(all_aggregators)) if all_aggregators else []
    if refiner is not None:
        quantiles.take(results.pop())
    return results


def _in_order(
    table: ProfiledTable, anomalies: Anomalies
) -> tuple[pd.DataFrame, NDArray[np.float64], NDArray[np.float64], list[Any] | None]:
    """Return the anomalous rows in the order of the findings, both of their scores, and the labels of their groups."""
    arrow, time = anomalies.rows, table.time
    for name in table.features:
        arrow = arrow.set_column(arrow.schema.get_field_index(name), name, plain_numbers(arrow[name]))
    rows = arrow.select(
        [name for name in arrow.column_names if name not in (DECISION, ANOMALY_SCORE, ROW_NUMBER)]
    ).to_pandas()
    rows.index = pd.Index(table.engine.row_numbers(anomalies.rows))
    decisions, anomaly_scores = arrow[DECISION].to_numpy(), arrow[ANOMALY_SCORE].to_numpy()
    rows[time] = table.times.parsed(rows[time])
    if not len(rows):
        # Without any time, pandas does not know the unit and the zone.
        rows[time] = rows[time].astype(table.time_dtype)
    # Rows with equal scores and times keep the order of the table.
    by_number = np.argsort(rows.index.to_numpy(), kind="stable")
    order = by_number[order_of_findings(decisions[by_number], rows[time].to_numpy()[by_number])]
    labels = None
    if table.group_column is not None:
        column = arrow[table.group_column].to_pylist()
        labels = [column[position] for position in order]
    return rows.iloc[order], decisions[order], anomaly_scores[order], labels


def _severity(
    scores: Engine, forest: IsolationForest, decisions: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the severity of each anomaly, and the number of rows whose decision score is as low.

    The severity is the percentile of the negated decision score among those of all rows.
    """
    if not len(decisions):
        return np.empty(0), np.empty(0, dtype=np.int64)
    counter = CountRanks([RankCounts(pa.table({DECISION: decisions}))], [DECISION], n_jobs=scores.n_jobs)
    (counts,) = scores.aggregate(CountDecisions(counter, float(forest.offset_)))
    # The percentile is a multiple of 100 / n with an error far below half of that.
    as_low = counts.ranks(kind="weak", tail="upper").percentiles[:, 0] * counts.n_seen / 100
    return counts.ranks(tail="lower").percentiles[:, 0], np.rint(as_low).astype(np.int64)


def _group_sketcher(table: ProfiledTable, peers: Groups, options: RankOptions) -> SketchGroups | None:
    """Return the aggregator that counts the rows of the groups of findings, and sketches their columns."""
    if not peers.distinct:
        peers.set_sizes([], [])
        return None
    is_history = options.groups == table.entity
    return SketchGroups(
        str(table.group_column), peers.distinct, table.features, times=table.times if is_history else None,
        max_days=options.min_group,
    )  # fmt: skip


def _facts_of_entities(
    table: ProfiledTable,
    rows: pd.DataFrame,
    forest: IsolationForest,
    quantiles: Quantiles,
    sketcher: SketchGroups | None,
) -> tuple[pd.Series, pd.DataFrame, GroupSketches | None]:
    """Return the first day of each finding's entity, scores of entities, and sketches of groups, in one pass."""
    column = pa.array(rows[table.entity], type=pa.string(), from_pandas=True)
    entities, dtype = column.unique(), days_of(rows[table.time]).dtype
    scored = pa.array(entities_with_scores(column.to_pylist()), type=pa.string())
    finders: list[Aggregator[Any, Any]] = []
    if len(rows):
        finders = [
            FirstSeen(table.entity, table.times, entities),
            ScoreEntities(table.engine.broadcast(forest), table.features, table.entity, table.times, scored),
        ]
    results = _with_quantiles(table.engine, [*finders, *([] if sketcher is None else [sketcher])], quantiles)
    first_days = dict(zip(entities.to_pylist(), results[0], strict=True)) if finders else {}
    first_seen = pd.Series([first_days[entity] for entity in column.to_pylist()], index=rows.index)
    highest: dict[tuple[int, Any], float] = results[1] if finders else {}
    names = scored.to_pylist()
    entity_scores = entity_scores_of(
        pd.Series([names[position] for position, _ in highest], dtype=object),
        pd.Series([day for _, day in highest]).astype(dtype),
        np.array(list(highest.values()), dtype=np.float64),
        names,
    )
    return first_seen.astype(dtype), entity_scores, None if sketcher is None else results[-1]


def _ranks(
    table: ProfiledTable,
    rows: pd.DataFrame,
    peers: Groups | None,
    sketcher: SketchGroups | None,
    group_sketches: GroupSketches | None,
    quantiles: Quantiles,
    options: RankOptions,
    scope: Scope,
) -> Ranked:
    """Rank the findings with the same results as `isoxide.ueba._ranks.rank_rows`."""
    features, engine = list(table.features), table.engine
    if len(rows) == 0:
        return Ranked.empty(len(features), options)
    definition = RankDefinition(options.kind, options.tail, options.nan_policy)
    keywords: dict[str, Any] = {"features": features, "rank_last": options.zscores}
    if peers is None:
        ranks = rank_rows(engine, rows[features], definition, **keywords)
        n_rows = np.full(len(rows), table.n_rows, dtype=np.int64)
        among = [scope.all_rows(table.n_rows)] * len(rows)
        return Ranked(ranks.percentiles, ranks.order, ranks.directions, n_rows, among, None, None)
    typical = np.empty((0, len(features), len(STATISTICS)))
    if sketcher is not None and group_sketches is not None:
        peers.set_sizes(group_sketches.rows, [len(days) for days in group_sketches.days])
        group_quantiles = GroupQuantiles(
            sketcher, group_sketches.sketches, peers.large.tolist(), STATISTICS.values(), quantiles.dtypes
        )
        while (aggregator := group_quantiles.next_pass) is not None:
            group_quantiles.take(engine.aggregate(aggregator).sketches)
        typical = group_quantiles.values(features)
    shape = (len(rows), len(features))
    percentiles, directions = np.full(shape, np.nan), np.zeros(shape, dtype=np.int8)
    order = np.empty(shape, dtype=np.intp)
    is_ranked = peers.group_of >= 0
    if is_ranked.any():
        labelled = rows[[*features, table.group_column]][is_ranked]
        ranks = rank_rows(engine, labelled, definition, groups=table.group_column, **keywords)
        percentiles[is_ranked], directions[is_ranked] = ranks.percentiles, ranks.directions
        order[is_ranked] = ranks.order
    if not is_ranked.all():
        others = rows[features][~is_ranked]
        order[~is_ranked] = rank_rows(engine, others, definition._replace(nan_policy="omit"), **keywords).order
    return Ranked(percentiles, order, directions, peers.rank_rows, peers.rank_among, peers.group_of, typical)
