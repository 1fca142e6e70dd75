"""Detection on tables in parts: the findings that `ueba.detect` makes of the same rows in memory."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.base import clone

from isoxide import ueba
from isoxide._common.patterns import select
from isoxide._forest.estimator import IsolationForest
from isoxide._forest.sample_plan import SamplePlan
from isoxide._frames.columns import plain_numbers
from isoxide._frames.dtypes import is_number
from isoxide._frames.times import TimeStyle, days_of
from isoxide._partitioned.aggregators import CountRanks, CountScores, Fold, Together, from_pickle, unpacked
from isoxide._partitioned.anomalies import DECISION, CountDecisions, FindAnomalies, FirstSeen
from isoxide._partitioned.columns import features_of
from isoxide._partitioned.fit import grow, rank_features, score_offset
from isoxide._partitioned.profiled import Surveyed
from isoxide._partitioned.quantiles import GroupQuantiles, Quantiles, SketchGroups
from isoxide._partitioned.table import ROW_NUMBER, PartedTable
from isoxide._ranks.counts import RankCounts
from isoxide.ueba._calibrate import check_amount, check_share, refuse_infinite, share_of_alerts, small_table_notes
from isoxide.ueba._columns import refuse_result_names
from isoxide.ueba._detect import manifest
from isoxide.ueba._quantiles import STATISTICS, typical_frame
from isoxide.ueba._ranks import MIN_GROUP, Groups, Ranked, RankOptions, Scope, ranking
from isoxide.ueba._rules import Rule, apply_rules, asked_quantiles

#: Rows that are held in memory as findings.
MOST_FINDINGS = 1_000_000


def detect(
    table: PartedTable,
    *,
    entity: str,
    time: str,
    include: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] | None = None,
    forest: IsolationForest | None = None,
    threshold: float | None = None,
    contamination: float | None = None,
    alerts_per_month: float | None = None,
    calibration_contamination: float = 0.1,
    random_state: int | None = 0,
    kind: str = "rank",
    tail: str = "upper",
    groups: str | None = None,
    min_group: int = MIN_GROUP,
    nan_policy: str = "omit",
    zscores: str | None = None,
    rules: Iterable[Rule] | None = None,
    domain_defaults: bool = True,
    n_jobs: int | None = None,
    time_format: str | None = None,
    timezone: str | None = None,
) -> ueba.Findings:
    """Find the anomalies of a table in partitions; see `isoxide.ueba.read_table` and `isoxide.ueba.detect`."""
    check_amount(threshold, contamination, alerts_per_month)
    refuse_result_names(entity, time, _candidates(table.schema, include, exclude))
    options = RankOptions(kind, tail, groups, zscores, nan_policy, min_group, domain_defaults).check()
    if groups is not None and groups not in table.schema.names:
        raise ValueError(f"groups={groups!r} is no column of the table")
    rules = options.default_rules() if rules is None else list(rules)
    qs = list(dict.fromkeys([*STATISTICS.values(), *asked_quantiles(rules)]))
    include = include if include is None or isinstance(include, str) else list(include)
    exclude = exclude if exclude is None or isinstance(exclude, str) else list(exclude)
    surveyed = Surveyed(
        table, entity=entity, time=time, include=include, exclude=exclude, groups=groups,
        style=TimeStyle(time_format, timezone),
    )  # fmt: skip
    refuse_infinite(surveyed.profile.infinite)
    notes = small_table_notes(surveyed.n_rows, forest)
    for note in notes:
        warnings.warn(note, stacklevel=3)
    forest = _grown(surveyed, forest, random_state, n_jobs)
    scores = surveyed.table.scores(forest)
    try:
        _calibrate(surveyed, scores, forest, threshold, contamination, alerts_per_month, calibration_contamination)
        quantiles = surveyed.quantiles(qs)
        facts, found = _find(surveyed, forest, [] if groups is None else [str(surveyed.group_column)], quantiles)
        for name in surveyed.features:
            found = found.set_column(found.schema.get_field_index(name), name, plain_numbers(found[name]))
        rows = found.select([name for name in found.column_names if name not in (DECISION, ROW_NUMBER)]).to_pandas()
        rows.index = pd.Index(surveyed.table.number(found))
        labels = (
            None if groups is None else pd.Series(found[surveyed.group_column].to_pylist(), rows.index, dtype=object)
        )
        decisions = found[DECISION].to_numpy()
        rows[time] = surveyed.times.parsed(rows[time])
        if not len(rows):
            # Without a text to parse pandas knows neither unit nor zone.
            rows[time] = rows[time].astype(surveyed.time_dtype)
        rows, decisions = _in_order(rows, decisions, time)
        severity = _severity(scores, forest, decisions, n_jobs) if len(rows) else np.empty(0)
    finally:
        scores.close()
    scope = Scope(groups, entity)
    peers = None if labels is None else Groups(labels.loc[rows.index].tolist(), scope, options.min_group)
    grouped = None if peers is None else _group_step(surveyed, peers, options)
    frame, counted = _findings_frame(surveyed, rows, decisions, severity, quantiles, grouped)
    while quantiles.steps:
        quantiles.take(surveyed.table.gather(quantiles.steps[0]))
    features = list(surveyed.features)
    ranks = _ranks(surveyed, rows, peers, grouped, counted, quantiles, options, scope, n_jobs)
    values = rows[features].to_numpy(dtype=np.float64, na_value=np.nan)
    return ueba.Findings(
        frame.assign(rank_rows=ranks.rank_rows, rank_among=ranks.rank_among),
        entity=entity,
        time=time,
        features=features,
        values=values,
        percentiles=ranks.percentiles,
        order=ranks.order,
        directions=ranks.directions,
        reference=typical_frame(
            features,
            np.array([[quantiles.quantile(name, q) for q in STATISTICS.values()] for name in features]),
        ),
        group_of=ranks.group_of,
        group_typical=ranks.group_typical,
        flags=apply_rules(rules, features, values, quantiles.quantile),
        timeline=_timeline(surveyed, facts, frame, time),
        manifest={
            **manifest(
                surveyed.profile, forest, features, source=table.name, sha256=None, anomalies=len(frame),
                scores_sha256=facts["sha256"],
            ),
            "threshold": threshold,
            "alerts_per_month": alerts_per_month,
            "ranking": ranking(options, scope, surveyed.n_rows),
            "notes": [*notes, *surveyed.profile.warnings],
        },
        forest=forest,
    )  # fmt: skip


def _grown(
    surveyed: Surveyed, forest: IsolationForest | None, random_state: int | None, n_jobs: int | None
) -> IsolationForest:
    """A forest of the table, or a copy of the one that was given."""
    if forest is None:
        forest = IsolationForest(random_state=random_state, n_jobs=n_jobs)
    if hasattr(forest, "offset_"):
        wanted = features_of(forest, surveyed.table.schema, surveyed.table.name)
        if wanted != surveyed.features:
            raise ValueError(
                f"the forest was fitted on other features than those of the table: {wanted} and {surveyed.features}"
            )
        # The trees are shared; only the offset moves.
        return copy.copy(forest)
    plan = SamplePlan(clone(forest), surveyed.n_rows, len(surveyed.features))
    grown = grow(surveyed.table, plan, surveyed.features)
    grown.offset_ = np.nan
    return grown


def _calibrate(
    surveyed: Surveyed,
    scores: PartedTable,
    forest: IsolationForest,
    threshold: float | None,
    contamination: float | None,
    alerts_per_month: float | None,
    calibration_contamination: float,
) -> None:
    """Sets the offset of the forest, as `ueba.detect` does."""
    if threshold is not None or alerts_per_month is not None:
        forest.set_params(contamination=calibration_contamination)
        forest._validate_params()
        if threshold is not None:
            offset = score_offset(scores, surveyed.n_rows, calibration_contamination)
            n, lowest = CountScores.read(scores.gather(CountScores(float(offset), threshold)))
            contamination = n / surveyed.n_rows
            check_share(contamination, threshold)
            if n == 0:
                # As `Calibration.at_threshold`: all rows score above it.
                forest.offset_ = np.float64(offset + min(threshold, lowest))
                return
        else:
            assert alerts_per_month is not None
            contamination = share_of_alerts(alerts_per_month, surveyed.n_rows, surveyed.profile.n_period_days)
    if contamination is not None:
        forest.contamination = contamination
    if not isinstance(forest.contamination, str) and (contamination is not None or np.isnan(forest.offset_)):
        forest.offset_ = score_offset(scores, surveyed.n_rows, forest.contamination)
    elif np.isnan(forest.offset_):
        forest.offset_ = -0.5


def _find(
    surveyed: Surveyed,
    forest: IsolationForest,
    others: list[str],
    quantiles: Quantiles,
) -> tuple[dict[str, Any], pa.Table]:
    """Return the anomalies; quantiles of the columns go on in the same pass."""
    table = surveyed.table
    step = FindAnomalies(
        table.share(forest), float(forest.offset_), surveyed.entity, surveyed.times, surveyed.features,
        [*others, *table.key], table.schema, MOST_FINDINGS,
    )  # fmt: skip
    first, *rest = unpacked(table.gather(Together([step, *quantiles.steps])))
    if rest:
        quantiles.take(rest[0])
    return FindAnomalies.read(first)


def _in_order(rows: pd.DataFrame, decisions: NDArray[np.float64], time: str) -> tuple[pd.DataFrame, Any]:
    """The lowest score first, of equal ones the latest; what is equal in both as it comes out of the rows' order."""
    by_number = np.argsort(rows.index.to_numpy(), kind="stable")
    rows, decisions = rows.iloc[by_number], decisions[by_number]
    found = pd.DataFrame({"score": decisions, "time": rows[time].to_numpy()})
    order = found.sort_values(["score", "time"], ascending=[True, False]).index
    return rows.iloc[order], decisions[order]


def _severity(
    scores: PartedTable, forest: IsolationForest, decisions: NDArray[np.float64], n_jobs: int | None
) -> NDArray[np.float64]:
    """The percentile of each decision among all, from the other end: lower ones are worse."""
    counts = CountRanks([RankCounts(pa.table({DECISION: decisions}))], [DECISION], n_jobs=n_jobs)
    (counted,) = CountRanks.read(scores.gather(CountDecisions(float(forest.offset_), counts)))
    return counted.ranks(tail="lower").percentiles[:, 0]


def _findings_frame(
    surveyed: Surveyed, rows: pd.DataFrame, decisions: Any, severity: Any, quantiles: Quantiles, more: Fold | None
) -> tuple[pd.DataFrame, bytes]:
    """Return what is known of each finding, and the result of one more step, which runs in the same pass."""
    entity, time = surveyed.entity, surveyed.time
    frame = rows[[entity, time]].copy()
    frame["score"], frame["severity"] = decisions, severity
    days = days_of(rows[time])
    # Whatever scores lower on the same day is an anomaly too.
    by_day = pd.Series(decisions, index=frame.index).groupby(days.to_numpy())
    frame["day_rank"] = by_day.rank(method="min").astype(np.int64)
    frame["day_rows"] = days.map(surveyed.days).to_numpy(dtype=np.int64)
    column = pa.array(rows[entity], type=pa.string(), from_pandas=True)
    entities = column.unique()
    steps = [FirstSeen(entity, surveyed.times, entities)] if len(rows) else []
    own = [*steps, *quantiles.steps, *([] if more is None else [more])]
    results = unpacked(surveyed.table.gather(Together(own))) if own else []
    counted = b"" if more is None else results.pop()
    if quantiles.steps:
        quantiles.take(results.pop())
    first_days = from_pickle(results[0]) if steps else {}
    places = {who: place for place, who in enumerate(entities.to_pylist())}
    seen = [first_days[places[who]] for who in column.to_pylist()]
    frame["first_seen"] = pd.Series(seen, index=frame.index).astype(days.dtype)
    return frame, counted


def _candidates(schema: pa.Schema, include: Any, exclude: Any) -> list[str]:
    """Return the columns of numbers that are features unless they have no values."""
    names = [field.name for field in schema if is_number(field.type)]
    wanted = names if include is None else select(names, include)
    left_out = set(select(names, exclude))
    return [name for name in wanted if name not in left_out]


def _group_step(surveyed: Surveyed, peers: Groups, options: RankOptions) -> SketchGroups | None:
    """Return the step that counts the rows of the groups of findings, and sketches their columns."""
    if not peers.distinct:
        peers.set_sizes([], [])
        return None
    is_history = options.groups == surveyed.entity
    return SketchGroups(
        str(surveyed.group_column), peers.distinct, surveyed.features, time=surveyed.times if is_history else None,
        max_days=options.min_group,
    )  # fmt: skip


def _ranks(
    surveyed: Surveyed,
    rows: pd.DataFrame,
    peers: Groups | None,
    grouped: SketchGroups | None,
    counted: bytes,
    quantiles: Quantiles,
    options: RankOptions,
    scope: Scope,
    n_jobs: int | None,
) -> Ranked:
    """Rank the findings as `isoxide.ueba._ranks.rank_rows` does."""
    features = list(surveyed.features)
    if len(rows) == 0:
        return Ranked.empty(len(features), options)
    how: dict[str, Any] = {
        "features": features,
        "kind": options.kind,
        "tail": options.tail,
        "rank_last": options.zscores,
        "n_jobs": n_jobs,
    }
    if peers is None:
        ranks = rank_features(rows[features], surveyed.table, nan_policy=options.nan_policy, **how)
        n_rows, words = np.full(len(rows), surveyed.n_rows, dtype=np.int64), [scope.whole(surveyed.n_rows)]
        return Ranked(ranks.percentiles, ranks.order, ranks.directions, n_rows, words * len(rows), None, None)
    typical = np.empty((0, len(features), len(STATISTICS)))
    if grouped is not None:
        n_rows_of, group_days, _ = SketchGroups.read(counted)
        peers.set_sizes(n_rows_of, [len(days) for days in group_days])
        known = GroupQuantiles(grouped, counted, peers.large.tolist(), STATISTICS.values(), quantiles.types)
        while (step := known.step) is not None:
            known.take(surveyed.table.gather(step))
        typical = known.values(features)
    n_features = len(features)
    percentiles, directions = np.full((len(rows), n_features), np.nan), np.zeros((len(rows), n_features), dtype=np.int8)
    order = np.empty((len(rows), n_features), dtype=np.intp)
    ranked = peers.group_of >= 0
    if ranked.any():
        group = surveyed.group_column
        asked = rows[[*features, group]][ranked]
        ranks = rank_features(asked, surveyed.table, groups=group, nan_policy=options.nan_policy, **how)
        percentiles[ranked], directions[ranked], order[ranked] = ranks.percentiles, ranks.directions, ranks.order
    if not ranked.all():
        order[~ranked] = rank_features(rows[features][~ranked], surveyed.table, nan_policy="omit", **how).order
    return Ranked(percentiles, order, directions, peers.rank_rows, peers.rank_among, peers.group_of, typical)


def _timeline(surveyed: Surveyed, facts: dict[str, Any], frame: pd.DataFrame, time: str) -> pd.DataFrame:
    days = sorted(facts["days"])
    found = days_of(frame[time]).value_counts().to_dict()
    return pd.DataFrame(
        {
            "day": days,
            "rows": [surveyed.days[day] for day in days],
            "lowest": [facts["days"][day] for day in days],
            "findings": [found.get(day, 0) for day in days],
        }
    )
