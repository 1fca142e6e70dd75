"""Detection on tables in parts: the findings that `ueba.detect` makes of the same rows in memory."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.base import clone

from isoxide import IsolationForest, ueba
from isoxide._names import select
from isoxide._parts._anomalies import DECISION, CountDecisions, FindAnomalies, FirstSeen
from isoxide._parts._columns import check_column, features_of, is_number
from isoxide._parts._quantiles import GroupQuantiles, Quantiles, SketchGroups
from isoxide._parts._steps import CountRanks, CountScores, Fold, Together, from_pickle, unpacked
from isoxide._parts._survey import FindKeys, HashKeys, Survey, Times, Zones, numbers_rows, temporary_folder
from isoxide._parts._table import ROW_NUMBER, PartedTable
from isoxide._parts._verbs import grow, rank_features, score_offset
from isoxide._parts._without import Without
from isoxide._rank_counts import RankCounts
from isoxide._sample_plan import SamplePlan
from isoxide.ueba._calibrate import check_amount, check_share, refuse_infinite, share_of_budget, small_table_notes
from isoxide.ueba._columns import refuse_result_names
from isoxide.ueba._detect import manifest, ranking
from isoxide.ueba._document import plain
from isoxide.ueba._quantiles import STATISTICS, typical_frame
from isoxide.ueba._ranks import MIN_GROUP, Groups, Ranked, RankOptions, Scope
from isoxide.ueba._rules import ZSCORES, Rule, apply_rules, asked_quantiles, default_rules
from isoxide.ueba._table import choose_features

#: Rows that are held in memory as findings, or as possible duplicates.
MOST_FINDINGS, MOST_DUPLICATES = 1_000_000, 4_000_000


class Surveyed:
    """A table that has been looked over, without the rows that are there twice."""

    def __init__(
        self,
        table: PartedTable,
        *,
        entity: str,
        time: str,
        include: str | Iterable[str] | None,
        exclude: str | Iterable[str] | None,
    ) -> None:
        if entity == time:
            raise ValueError(f"entity and time are both {entity!r}; they must be two columns")
        for name, argument in ((entity, "entity"), (time, "time")):
            check_column(table.schema, name, argument, table.name)
        self.entity, self.time = entity, time
        self._dtypes = table.schema.empty_table().to_pandas().dtypes
        # Before anything is read: names and types.
        candidates, _ = self._choose(lambda name: False, include, exclude)
        n_read = table.count()
        if n_read == 0:
            raise ValueError(f"{table.name} has no rows")
        kind = table.schema.field(time).type
        is_plain = is_number(kind) or pa.types.is_timestamp(kind)
        zones = [] if is_plain else from_pickle(table.gather(Zones(time)))
        self.times = Times(time, mixed_zones=len(zones) > 1)
        self.table, n_shared = self._without_duplicates(table)
        self.facts, sketches = Survey.read(self.table.gather(Survey(entity, self.times, candidates)))
        self.sketches = dict(zip(candidates, sketches, strict=True))
        self.features, left_out = self._choose(lambda name: self.sketches[name].n == 0, include, exclude)
        self.n_rows = int(self.facts["n"])
        self.check = self._check(n_read, n_shared, left_out)

    def _choose(self, is_empty: Any, include: Any, exclude: Any) -> tuple[list[str], dict[str, str]]:
        return choose_features(self._dtypes, is_empty, self.entity, self.time, include=include, exclude=exclude)

    def _without_duplicates(self, table: PartedTable) -> tuple[PartedTable, int]:
        """The table with equal rows once, and how many different rows share entity and time."""
        if table.key:
            # No two rows are equal; those that share entity and time with others are not counted.
            return table, 0
        with temporary_folder() as folder:
            keys = HashKeys(self.entity, self.times, Path(folder) if table.is_local else None)
            repeated = keys.repeated(table.gather(keys))
        if not repeated.size:
            return table, 0
        keys.folder = None
        found = table.gather(FindKeys(repeated, keys, table.schema, MOST_DUPLICATES))
        frame = pa.ipc.open_stream(found).read_all().sort_by(ROW_NUMBER).to_pandas().set_index(ROW_NUMBER)
        frame[self.time] = self.times.parsed(frame[self.time])
        frame = frame[frame.duplicated([self.entity, self.time], keep=False)]
        is_repeated = frame.duplicated()
        dropped: NDArray[np.int64] = frame.index[is_repeated].to_numpy(dtype=np.int64)
        n_shared = int(frame[~is_repeated].duplicated([self.entity, self.time], keep=False).sum())
        return (Without(table, dropped) if dropped.size else table), n_shared

    def _check(self, n_read: int, n_shared: int, left_out: dict[str, str]) -> ueba.TableCheck:
        days = pd.DatetimeIndex(sorted(self.facts["days"]))
        missing = pd.date_range(days[0], days[-1], freq="D").difference(days)
        infinite, constant, id_like, nan_share = [], [], [], {}
        for name in self.features:
            sketch = self.sketches[name]
            low, high = sketch.extremes() or (np.nan, np.nan)
            if sketch.n_missing:
                nan_share[name] = sketch.n_missing / self.n_rows
            if np.isinf([low, high]).any():
                infinite.append(name)
            if low == high:
                constant.append(name)
            elif self.facts["id_like"][name] and numbers_rows(sketch):
                id_like.append(name)
        return ueba.TableCheck(
            n_read=n_read,
            n_rows=self.n_rows,
            n_duplicates=n_read - self.n_rows,
            n_duplicate_keys=n_shared,
            n_entities=sum(len(column) for column in self.facts["entities"]),
            n_days=len(days),
            n_features=len(self.features),
            first_day=days[0].date().isoformat(),
            last_day=days[-1].date().isoformat(),
            missing_days=[day.date().isoformat() for day in missing],
            constant=constant,
            id_like=id_like,
            infinite=infinite,
            nan_share=nan_share,
            left_out=left_out,
            mixed_time_zones=self.times.mixed_zones,
            has_times_of_day=self.facts["has_times_of_day"],
        )

    def quantiles(self, qs: Iterable[float]) -> Quantiles:
        """The quantiles of all features, as far as they are known."""
        types = {name: np.float32 if self._dtypes[name] == np.float32 else np.float64 for name in self.features}
        return Quantiles({name: self.sketches[name] for name in self.features}, qs, types)


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
    budget: float | None = None,
    baseline: float = 0.1,
    random_state: int | None = 0,
    kind: str = "rank",
    tail: str = "upper",
    groups: str | None = None,
    min_group: int = MIN_GROUP,
    nan_policy: str = "omit",
    zscores: str = ZSCORES,
    rules: Iterable[Rule] | None = None,
    n_jobs: int | None = None,
) -> ueba.Findings:
    """Find the anomalies of a table in partitions; see `isoxide.ueba.read_table` and `isoxide.ueba.detect`."""
    check_amount(threshold, contamination, budget)
    refuse_result_names(entity, time, _candidates(table.schema, include, exclude))
    options = RankOptions(kind, tail, groups, zscores, nan_policy, min_group).check()
    if groups is not None and groups not in table.schema.names:
        raise ValueError(f"groups={groups!r} is no column of the table")
    rules = default_rules(zscores) if rules is None else list(rules)
    qs = list(dict.fromkeys([*STATISTICS.values(), *asked_quantiles(rules)]))
    surveyed = Surveyed(table, entity=entity, time=time, include=include, exclude=exclude)
    refuse_infinite(surveyed.check.infinite)
    notes = small_table_notes(surveyed.n_rows, forest)
    for note in notes:
        warnings.warn(note, stacklevel=3)
    forest = _grown(surveyed, forest, random_state, n_jobs)
    scores = surveyed.table.scores(forest)
    try:
        _calibrate(surveyed, scores, forest, threshold, contamination, budget, baseline)
        quantiles = surveyed.quantiles(qs)
        facts, found = _find(surveyed, forest, [] if groups is None else [groups], quantiles)
        rows = found.select([name for name in found.column_names if name not in (DECISION, ROW_NUMBER)]).to_pandas()
        rows.index = pd.Index(surveyed.table.number(found))
        labels = None if groups is None else pd.Series(found[groups].to_pylist(), rows.index, dtype=object)
        decisions = found[DECISION].to_numpy()
        rows[time] = surveyed.times.parsed(rows[time])
        if not len(rows):
            # Without a text to parse pandas knows neither unit nor zone.
            rows[time] = rows[time].astype(pd.DatetimeIndex(list(surveyed.facts["days"])).dtype)
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
                surveyed.check, forest, features, source=table.name, sha256=None, anomalies=len(frame),
                scores_sha256=facts["sha256"],
            ),
            "threshold": plain(threshold),
            "budget": plain(budget),
            "ranking": ranking(options, scope, surveyed.n_rows),
            "notes": notes,
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
    budget: float | None,
    baseline: float,
) -> None:
    """Sets the offset of the forest, as `ueba.detect` does."""
    if threshold is not None or budget is not None:
        forest.set_params(contamination=baseline)
        forest._validate_params()
        if threshold is not None:
            offset = score_offset(scores, surveyed.n_rows, baseline)
            n, lowest = CountScores.read(scores.gather(CountScores(float(offset), threshold)))
            contamination = n / surveyed.n_rows
            check_share(contamination, threshold)
            if n == 0:
                # As `Calibration.at_threshold`: all rows score above it.
                forest.offset_ = np.float64(offset + min(threshold, lowest))
                return
        else:
            days = pd.DatetimeIndex(sorted(surveyed.facts["days"]))
            assert budget is not None
            contamination = share_of_budget(budget, surveyed.n_rows, (days[-1] - days[0]).days + 1)
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
    days = rows[time].dt.normalize()
    # Whatever scores lower on the same day is an anomaly too.
    by_day = pd.Series(decisions, index=frame.index).groupby(days.to_numpy())
    frame["day_rank"] = by_day.rank(method="min").astype(np.int64)
    frame["day_rows"] = days.map(surveyed.facts["days"]).to_numpy(dtype=np.int64)
    column = pa.array(rows[entity], type=_value_type(surveyed.table.schema.field(entity).type), from_pandas=True)
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
        str(options.groups), peers.distinct, surveyed.features, time=surveyed.times if is_history else None,
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
        "features": features, "kind": options.kind, "tail": options.tail, "last": options.zscores, "n_jobs": n_jobs,
    }  # fmt: skip
    if peers is None:
        ranks = rank_features(rows[features], surveyed.table, nan_policy=options.nan_policy, **how)
        n_rows, words = np.full(len(rows), surveyed.n_rows, dtype=np.int64), [scope.whole(surveyed.n_rows)]
        return Ranked(ranks.percentiles, ranks.order, ranks.directions, n_rows, words * len(rows), None, None)
    typical = np.empty((0, len(features), len(STATISTICS)))
    if grouped is not None:
        n_rows_of, days_of, _ = SketchGroups.read(counted)
        peers.set_sizes(n_rows_of, [len(days) for days in days_of])
        known = GroupQuantiles(grouped, counted, peers.large.tolist(), STATISTICS.values(), quantiles.types)
        while (step := known.step) is not None:
            known.take(surveyed.table.gather(step))
        typical = known.values(features)
    n_features = len(features)
    percentiles, directions = np.full((len(rows), n_features), np.nan), np.zeros((len(rows), n_features), dtype=np.int8)
    order = np.empty((len(rows), n_features), dtype=np.intp)
    ranked = peers.group_of >= 0
    if ranked.any():
        asked = rows[list(dict.fromkeys([*features, str(options.groups)]))][ranked]
        ranks = rank_features(asked, surveyed.table, groups=options.groups, nan_policy=options.nan_policy, **how)
        percentiles[ranked], directions[ranked], order[ranked] = ranks.percentiles, ranks.directions, ranks.order
    if not ranked.all():
        order[~ranked] = rank_features(rows[features][~ranked], surveyed.table, nan_policy="omit", **how).order
    return Ranked(percentiles, order, directions, peers.rank_rows, peers.rank_among, peers.group_of, typical)


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _timeline(surveyed: Surveyed, facts: dict[str, Any], frame: pd.DataFrame, time: str) -> pd.DataFrame:
    days = sorted(facts["days"])
    found = frame[time].dt.normalize().value_counts().to_dict()
    return pd.DataFrame(
        {
            "day": days,
            "rows": [surveyed.facts["days"][day] for day in days],
            "lowest": [facts["days"][day] for day in days],
            "findings": [found.get(day, 0) for day in days],
        }
    )
