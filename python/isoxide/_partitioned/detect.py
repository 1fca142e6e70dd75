"""Detection on a partitioned table, with the same findings as `isoxide.ueba.detect` for the same rows in memory.

    survey of the rows    profile, first days of the entities, and the rows that trees draw
    grow                  no pass
    survey of the scores  rows with the lowest scores, lowest score of each day, sketch of the scores
    offset, severity      from the survey; if it does not suffice, from the scores alone
    facts of findings     ranks, groups, and scores of their entities
    assemble              no pass

If the profile does not determine a quantile of a column, the later passes refine its sketch at the same time.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from isoxide._common.patterns import select
from isoxide._common.warn import warn_caller
from isoxide._forest.anomaly_options import AnomalyOptions
from isoxide._forest.estimator import IsolationForest
from isoxide._forest.score_sketch import ScoreSketch
from isoxide._frames.columns import plain_numbers
from isoxide._frames.dtypes import is_number
from isoxide._frames.times import TimeStyle, days_of
from isoxide._partitioned.aggregators import ROW_NUMBER, SCORE, AggregateAll, Aggregator, CountAlerts, positions_of
from isoxide._partitioned.anomalies import (
    DigestScores,
    FindAnomalies,
    FirstSeen,
    ScoreEntities,
    ScoreSurvey,
    SurveyScores,
)
from isoxide._partitioned.columns import features_of
from isoxide._partitioned.engine import Engine
from isoxide._partitioned.families import PlannedRows, sampled_families
from isoxide._partitioned.fit import check_scored, grow, score_offset
from isoxide._partitioned.options import PartitionedDetectOptions
from isoxide._partitioned.profile import ProfiledTable
from isoxide._partitioned.quantiles import GroupQuantiles, GroupSketches, Quantiles, SketchGroups
from isoxide._partitioned.ranks import RowRanks, rank_rows
from isoxide._partitioned.sizes import group_by_size
from isoxide._partitioned.views import ScoredRows
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
#: Maximum number of cells of the rows with the lowest scores that are kept while the offset is not known: in this
#: process, and in each state of a cluster.
MAX_KEPT_CELLS, MAX_SENT_CELLS = 2**22, 2**20


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
    unfitted = options.forest
    if unfitted is None:
        unfitted = IsolationForest(random_state=options.random_state, n_jobs=n_jobs)
    is_fitted = hasattr(unfitted, "offset_")
    planned = PlannedRows(None if is_fitted else unfitted, has_sample=options.explain or is_size)
    table = ProfiledTable(
        engine, entity=options.entity, time=options.time, include=options.include, exclude=options.exclude,
        groups=None if is_size else groups, style=TimeStyle(options.time_format, options.timezone),
        planned_rows=planned.rows,
    )  # fmt: skip
    refuse_infinite(table.profile.infinite)
    check_training(table.n_rows, table.profile.n_days, options.forest, train_on_this=options.train_on_this)
    size = group_by_size(table, rank_options.min_group) if is_size else None
    notes = small_table_notes(table.n_rows, options.forest)
    for note in notes:
        warn_caller(note)
    forest = _fitted(table, unfitted) if is_fitted else _grown(table, planned)
    quantiles = table.quantiles(qs)
    scores = table.engine.scores(forest)
    try:
        scored = scores if engine.is_local else ScoredRows(table.engine, forest)
        survey = _score_survey(table, scored, forest, options, quantiles)
        _calibrate(table, scores, forest, options, survey.sketch)
        anomalies = _find_anomalies(table, scored, forest, survey)
        rows, samples, labels = _in_order(table, anomalies, forest)
        decisions = samples - forest.offset_
        severity, rows_as_high = _severity(decisions, table.n_rows)
        scope = Scope(groups, options.entity, size=size)
        peers = None if labels is None else Groups(labels, scope, options.min_group)
        digest = scores.aggregate(DigestScores(float(forest.offset_))) if engine.is_local else None
        facts = _facts_of_findings(table, scored, rows, forest, quantiles, peers, rank_options)
    finally:
        scores.close()
    while (aggregator := quantiles.next_pass) is not None:
        quantiles.take(table.engine.aggregate(aggregator))
    days = sorted(survey.lowest)
    lowest = np.array([survey.lowest[day] for day in days])
    detection = Detection(
        profile=table.profile,
        source=engine.name,
        sha256=None,
        entity=options.entity,
        time=options.time,
        features=list(table.features),
        forest=forest,
        scores_sha256=digest,
        rows=rows,
        scores=decisions,
        anomaly_scores=-samples,
        severity=severity,
        rows_as_high=rows_as_high,
        highest=survey.highest,
        # Subtraction rounds monotonically, so the lowest decision score is that of the lowest score.
        days=pd.DataFrame(
            {
                "day": days,
                "rows": [table.days[day] for day in days],
                "lowest": lowest - forest.offset_,
                "highest": -lowest,
            }
        ),
        first_seen=facts.first_seen,
        ranks=_ranks(table, rows, peers, facts, quantiles, rank_options, scope),
        quantile=quantiles.quantile,
        notes=notes,
        size=size,
        families=sampled_families(table) if options.explain else [],
        entity_scores=facts.entity_scores,
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


def _fitted(table: ProfiledTable, forest: IsolationForest) -> IsolationForest:
    """Return a copy of a fitted forest, which shares its trees and may get another offset."""
    features = features_of(forest, table.engine.schema, table.engine.name)
    if features != table.features:
        raise ValueError(f"the forest was fitted on the features {features}, but the table has {table.features}")
    return copy.copy(forest)


def _grown(table: ProfiledTable, planned: PlannedRows) -> IsolationForest:
    """Grow a forest on the table."""
    plan = planned.plan(table.n_rows, len(table.features))
    grown = grow(table.engine, plan, table.features, table.fetch(plan.rows, table.features))
    grown.offset_ = np.nan
    return grown


def _score_survey(
    table: ProfiledTable,
    scored: Engine,
    forest: IsolationForest,
    options: PartitionedDetectOptions,
    quantiles: Quantiles,
) -> ScoreSurvey:
    """Survey the scores of all rows, and refine the quantiles of the columns in the same pass."""
    contamination, is_last = _first_contamination(table, forest, options)
    sketch = None if contamination is None else ScoreSketch(table.n_rows, contamination)
    columns = _columns_of_anomalies(table)
    n_max = (MAX_KEPT_CELLS if scored.is_local else MAX_SENT_CELLS) // len(columns)
    bound = np.inf
    if contamination is None:
        bound = -options.anomaly_threshold if options.anomaly_threshold is not None else float(forest.offset_)
        bound = -0.5 if np.isnan(bound) else bound
    elif is_last:
        # The offset is at most the next score after these.
        n_lowest = int(table.n_rows * contamination) + 2
        n_max = n_lowest if n_lowest <= n_max else 0
    surveyor = SurveyScores(sketch, table.times, table.entity, columns, n_max=n_max, bound=bound)
    survey: ScoreSurvey
    (survey,) = _with_quantiles(scored, [surveyor], quantiles)
    check_scored(scored, table.n_rows, survey.n)
    return survey


def _columns_of_anomalies(table: ProfiledTable) -> list[str]:
    labels = () if table.group_column is None else (table.group_column,)
    return list(dict.fromkeys([table.entity, table.time, *table.features, *labels, *table.engine.key]))


def _first_contamination(
    table: ProfiledTable, forest: IsolationForest, options: AnomalyOptions
) -> tuple[float | None, bool]:
    """Return the contamination whose offset `_calibrate` needs first, and whether it is that of the anomalies."""
    if options.threshold is not None:
        return options.calibration_contamination, False
    contamination: float | str | None = _final_contamination(table, options)
    if contamination is None and np.isnan(forest.offset_):
        contamination = forest.contamination
    is_number = contamination is not None and not isinstance(contamination, str)
    return (contamination if is_number else None), is_number  # type: ignore[return-value]


def _final_contamination(table: ProfiledTable, options: AnomalyOptions) -> float | None:
    """Return the fraction of rows that are anomalies if the options say it without knowing scores."""
    if options.top is not None:
        return share_of_top(options.top, table.n_rows)
    if options.alerts_per_month is not None:
        return share_of_alerts(options.alerts_per_month, table.n_rows, table.profile.n_period_days)
    return options.contamination


def _calibrate(
    table: ProfiledTable, scores: Engine, forest: IsolationForest, options: AnomalyOptions, sketch: ScoreSketch | None
) -> None:
    """Set the offset of the forest, as `isoxide.ueba.detect` does; `sketch` is for `_first_contamination`."""
    if options.anomaly_threshold is not None:
        forest.offset_ = np.float64(-options.anomaly_threshold)
        # A score is below 0 if it is at or below the largest number below 0.
        n, _ = scores.aggregate(CountAlerts(float(forest.offset_), -np.nextafter(0.0, 1.0)))
        check_share_above(n / table.n_rows, options.anomaly_threshold)
        return
    contamination = _final_contamination(table, options)
    if options.threshold is not None or options.alerts_per_month is not None:
        forest.set_params(contamination=options.calibration_contamination)
        forest._validate_params()
    if options.threshold is not None:
        offset = score_offset(scores, table.n_rows, options.calibration_contamination, sketch)
        n, lowest = scores.aggregate(CountAlerts(float(offset), options.threshold))
        contamination, sketch = n / table.n_rows, None
        check_share(contamination, options.threshold)
        if n == 0:
            # As in `Calibration.at_threshold`, all rows must score above the offset.
            forest.offset_ = np.float64(offset + min(options.threshold, lowest))
            return
    if contamination is not None:
        forest.contamination = contamination
    if not isinstance(forest.contamination, str) and (contamination is not None or np.isnan(forest.offset_)):
        forest.offset_ = score_offset(scores, table.n_rows, forest.contamination, sketch)
    elif np.isnan(forest.offset_):
        forest.offset_ = -0.5


def _find_anomalies(table: ProfiledTable, scored: Engine, forest: IsolationForest, survey: ScoreSurvey) -> pa.Table:
    """Return the anomalies: from the rows that the survey kept, or in another pass if they are not all there."""
    finder = FindAnomalies(float(forest.offset_), _columns_of_anomalies(table), table.engine.schema, MAX_FINDINGS)
    anomalies = finder.of(survey.kept)
    survey.kept.batches.clear()
    return scored.aggregate(finder) if anomalies is None else anomalies


def _with_quantiles(engine: Engine, aggregators: list[Aggregator[Any, Any]], quantiles: Quantiles) -> list[Any]:
    """Return the results of aggregators, and refine the quantiles of the columns in the same pass."""
    refiner = quantiles.next_pass
    all_aggregators = [*aggregators, *([] if refiner is None else [refiner])]
    results = engine.aggregate(AggregateAll(all_aggregators)) if all_aggregators else []
    if refiner is not None:
        quantiles.take(results.pop())
    return results


def _in_order(
    table: ProfiledTable, anomalies: pa.Table, forest: IsolationForest
) -> tuple[pd.DataFrame, NDArray[np.float64], list[Any] | None]:
    """Return the anomalous rows in the order of the findings, their scores, and the labels of their groups."""
    arrow, time = anomalies, table.time
    for name in table.features:
        arrow = arrow.set_column(arrow.schema.get_field_index(name), name, plain_numbers(arrow[name]))
    rows = arrow.select([name for name in arrow.column_names if name not in (SCORE, ROW_NUMBER)]).to_pandas()
    rows.index = pd.Index(table.engine.row_numbers(anomalies))
    samples = arrow[SCORE].to_numpy()
    rows[time] = table.times.parsed(rows[time])
    if not len(rows):
        # Without any time, pandas does not know the unit and the zone.
        rows[time] = rows[time].astype(table.time_dtype)
    # Rows with equal scores and times keep the order of the table.
    by_number = np.argsort(rows.index.to_numpy(), kind="stable")
    decisions = samples - forest.offset_
    order = by_number[order_of_findings(decisions[by_number], rows[time].to_numpy()[by_number])]
    labels = None
    if table.group_column is not None:
        column = arrow[table.group_column].to_pylist()
        labels = [column[position] for position in order]
    return rows.iloc[order], samples[order], labels


def _severity(decisions: NDArray[np.float64], n_rows: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the severity of each anomaly, and the number of rows whose decision score is as low.

    The severity is the percentile of the negated decision score among those of all rows. A row whose score is as low as
    that of an anomaly is an anomaly too, so all other rows count as one higher score.
    """
    if not len(decisions):
        return np.empty(0), np.empty(0, dtype=np.int64)
    name = "decision"
    frame = pa.table({name: decisions})
    counts, others = RankCounts(frame), RankCounts(frame)
    counts.add(frame, n_jobs=1)
    others.add(pa.table({name: [0.0]}), n_jobs=1)
    # The counts of 1, 2, 4 and more rows add up to those of all other rows.
    n_others = n_rows - len(decisions)
    while n_others:
        if n_others % 2:
            counts.merge(others)
        others.merge(RankCounts.from_bytes(others.to_bytes()))
        n_others //= 2
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


class _Facts(NamedTuple):
    """Facts about findings that another pass over the table collects."""

    #: First day of the entity of each finding.
    first_seen: pd.Series
    #: Anomaly scores of the entities with findings over time.
    entity_scores: pd.DataFrame
    #: Aggregator of the groups of findings and its result, if there are any.
    sketcher: SketchGroups | None
    group_sketches: GroupSketches | None
    #: Ranks of the findings among all rows, or among the rows of each group, with the counts; None without findings.
    ranks: RowRanks | None
    counts: list[RankCounts]


def _facts_of_findings(
    table: ProfiledTable,
    scored: Engine,
    rows: pd.DataFrame,
    forest: IsolationForest,
    quantiles: Quantiles,
    peers: Groups | None,
    options: RankOptions,
) -> _Facts:
    """Collect the facts about findings, and refine the quantiles of the columns in the same pass."""
    column = pa.array(rows[table.entity], type=pa.string(), from_pandas=True)
    entities, dtype = column.unique(), days_of(rows[table.time]).dtype
    names = entities_with_scores(column.to_pylist())
    first_days = table.entities.first_days_of(entities)
    aggregators: dict[str, Aggregator[Any, Any]] = {}
    sketcher = None if peers is None else _group_sketcher(table, peers, options)
    if sketcher is not None:
        aggregators["groups"] = sketcher
    ranks = None
    if len(rows):
        if first_days is None:
            aggregators["first days"] = FirstSeen(table.entity, table.times, entities)
        broadcast = None if scored.is_local else table.engine.broadcast(forest)
        aggregators["scores"] = ScoreEntities(
            table.entity, table.times, pa.array(names, type=pa.string()), forest=broadcast, features=table.features
        )
        if peers is None:
            ranks = RowRanks.of_frame(rows[table.features], n_jobs=table.engine.n_jobs)
        elif peers.distinct:
            members = [np.flatnonzero(peers.position == number) for number in range(len(peers.distinct))]
            ranks = RowRanks.of_frame(
                rows[table.features], members, group_column=table.group_column, labels=peers.distinct,
                n_jobs=table.engine.n_jobs,
            )  # fmt: skip
        if ranks is not None:
            aggregators["ranks"] = ranks.counter
    has_scores = scored.is_local and "scores" in aggregators
    results = _with_quantiles(scored if has_scores else table.engine, list(aggregators.values()), quantiles)
    by_name = dict(zip(aggregators, results, strict=True))
    if first_days is None:
        first_days = np.array(by_name.get("first days", []), dtype="datetime64[D]")
    first_seen = pd.Series(first_days[positions_of(column, entities)], index=rows.index)
    no_lines = np.empty(0, dtype=np.int64)
    positions, days, anomaly_scores = by_name.get("scores", (no_lines, no_lines, np.empty(0)))
    entity_scores = entity_scores_of(
        pd.Series([names[position] for position in positions.tolist()], dtype=object),
        pd.Series(days.astype("datetime64[D]")).astype(dtype),
        anomaly_scores,
        names,
    )
    return _Facts(
        first_seen.astype(dtype), entity_scores, sketcher, by_name.get("groups"), ranks, by_name.get("ranks", [])
    )


def _ranks(
    table: ProfiledTable,
    rows: pd.DataFrame,
    peers: Groups | None,
    facts: _Facts,
    quantiles: Quantiles,
    options: RankOptions,
    scope: Scope,
) -> Ranked:
    """Rank the findings with the same results as `isoxide.ueba._ranks.rank_rows`."""
    features, engine = list(table.features), table.engine
    if len(rows) == 0:
        return Ranked.empty(len(features), options)
    definition = RankDefinition(options.kind, options.tail, options.nan_policy)
    if peers is None:
        assert facts.ranks is not None
        ranks = facts.ranks.ranks(facts.counts, definition, options.zscores)
        n_rows = np.full(len(rows), table.n_rows, dtype=np.int64)
        among = [scope.all_rows(table.n_rows)] * len(rows)
        return Ranked(ranks.percentiles, ranks.order, ranks.directions, n_rows, among, None, None)
    typical = np.empty((0, len(features), len(STATISTICS)))
    if facts.sketcher is not None and facts.group_sketches is not None:
        sketches = facts.group_sketches
        peers.set_sizes(sketches.rows, [len(days) for days in sketches.days])
        group_quantiles = GroupQuantiles(
            facts.sketcher, sketches.sketches, peers.large.tolist(), STATISTICS.values(), quantiles.dtypes
        )
        while (aggregator := group_quantiles.next_pass) is not None:
            group_quantiles.take(engine.aggregate(aggregator).sketches)
        typical = group_quantiles.values(features)
    shape = (len(rows), len(features))
    percentiles, directions = np.full(shape, np.nan), np.zeros(shape, dtype=np.int8)
    order = np.empty(shape, dtype=np.intp)
    is_ranked = peers.group_of >= 0
    if facts.ranks is not None and is_ranked.any():
        is_large = np.isin(np.arange(len(facts.counts)), peers.large)
        counts = [own if large else None for own, large in zip(facts.counts, is_large.tolist(), strict=True)]
        ranks = facts.ranks.ranks(counts, definition, options.zscores)
        percentiles, directions, order = ranks.percentiles, ranks.directions, ranks.order.copy()
    if not is_ranked.all():
        others = definition._replace(nan_policy="omit")
        ranks = rank_rows(engine, rows[features][~is_ranked], others, features=features, rank_last=options.zscores)
        order[~is_ranked] = ranks.order
    return Ranked(percentiles, order, directions, peers.rank_rows, peers.rank_among, peers.group_of, typical)
