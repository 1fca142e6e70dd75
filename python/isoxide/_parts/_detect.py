"""Detection on tables in parts: the findings that `ueba.detect` makes of the same rows in memory."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.base import clone

from isoxide import IsolationForest, ueba
from isoxide._parts._anomalies import DECISION, CountDecisions, FindAnomalies, FirstSeen
from isoxide._parts._columns import check_column, features_of, is_number
from isoxide._parts._quantiles import ColumnQuantiles, Quantiles
from isoxide._parts._steps import CountRanks, CountScores, Together, from_pickle, unpacked
from isoxide._parts._survey import FindKeys, HashKeys, Survey, Times, Zones, numbers_rows, temporary_folder
from isoxide._parts._table import ROW_NUMBER, PartedTable
from isoxide._parts._verbs import grow, rank_features, score_offset
from isoxide._parts._without import Without
from isoxide._rank_counts import RankCounts
from isoxide._sample_plan import SamplePlan
from isoxide.ueba._calibrate import check_amount, check_share, refuse_infinite, share_of_budget
from isoxide.ueba._detect import manifest, no_anomalies
from isoxide.ueba._rules import ZSCORES, Percentile, Rule, apply_rules, default_rules
from isoxide.ueba._table import choose_features

#: Rows that are held in memory as findings, or as possible duplicates.
MOST_FINDINGS, MOST_DUPLICATES = 1_000_000, 4_000_000
#: What findings tell of each feature's values.
_REFERENCE = {0.5: "median", 0.95: "p95", 0.99: "p99"}


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
    nan_policy: str = "omit",
    zscores: str = ZSCORES,
    rules: Iterable[Rule] | None = None,
    n_jobs: int | None = None,
) -> ueba.Findings:
    """See `isoxide.ueba.read_table` and `isoxide.ueba.detect`; the table is read some five times."""
    check_amount(threshold, contamination, budget)
    if groups is not None and groups not in table.schema.names:
        raise ValueError(f"groups={groups!r} is no column of the table")
    surveyed = Surveyed(table, entity=entity, time=time, include=include, exclude=exclude)
    refuse_infinite(surveyed.check.infinite)
    rules = default_rules(zscores) if rules is None else list(rules)
    forest = _grown(surveyed, forest, random_state, n_jobs)
    scores = surveyed.table.scores(forest)
    try:
        _calibrate(surveyed, scores, forest, threshold, contamination, budget, baseline)
        quantiles = surveyed.quantiles(_wanted(rules))
        facts, found = _find(surveyed, forest, [] if groups is None else [groups], quantiles)
        if found.num_rows == 0:
            lowest, _, who, when = facts["lowest"]
            raise no_anomalies(lowest, who, when)
        rows = found.select([name for name in found.column_names if name not in (DECISION, ROW_NUMBER)]).to_pandas()
        rows.index = pd.Index(surveyed.table.number(found))
        decisions = found[DECISION].to_numpy()
        rows[time] = surveyed.times.parsed(rows[time])
        rows, decisions = _in_order(rows, decisions, time)
        severity = _severity(scores, forest, decisions, n_jobs)
    finally:
        scores.close()
    frame = _findings_frame(surveyed, rows, decisions, severity, quantiles)
    values = rows[surveyed.features]
    ranking: dict[str, Any] = {
        "kind": kind, "tail": tail, "groups": groups, "zscores": zscores, "nan_policy": nan_policy,
    }  # fmt: skip
    asked = rows[list(dict.fromkeys([*surveyed.features, *([] if groups is None else [groups])]))]
    ranks = rank_features(
        asked, surveyed.table, features=surveyed.features, kind=kind, tail=tail, groups=groups, last=zscores,
        nan_policy=nan_policy, n_jobs=n_jobs,
    )  # fmt: skip
    while quantiles.steps:
        quantiles.take(surveyed.table.gather(quantiles.steps[0]))
    reference: Any = {name: ColumnQuantiles(quantiles, name) for name in surveyed.features}
    return ueba.Findings(
        frame,
        entity=entity,
        time=time,
        features=list(surveyed.features),
        values=values.to_numpy(dtype=np.float64, na_value=np.nan),
        percentiles=ranks.percentiles,
        order=ranks.order,
        directions=ranks.directions,
        reference=_reference(surveyed, quantiles),
        flags=apply_rules(rules, values, reference),
        timeline=_timeline(surveyed, facts, frame, time),
        manifest={
            **manifest(
                surveyed.check, forest, surveyed.features, source=table.name, sha256=None, anomalies=len(frame),
                scores_sha256=facts["sha256"],
            ),
            "threshold": threshold,
            "budget": budget,
            "ranking": ranking,
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
            if not 0 < contamination <= 0.5:
                facts, _ = _find(surveyed, forest, [], None, offset=float(offset), collect=False)
                check_share(contamination, threshold, lowest, *facts["lowest"][2:])
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


def _wanted(rules: Iterable[Rule]) -> list[float]:
    percents = [percent / 100 for rule in rules if isinstance(rule, Percentile) for percent in rule.percents]
    return list(dict.fromkeys([*_REFERENCE, *percents]))


def _find(
    surveyed: Surveyed,
    forest: IsolationForest,
    others: list[str],
    quantiles: Quantiles | None,
    *,
    offset: float | None = None,
    collect: bool = True,
) -> tuple[dict[str, Any], pa.Table]:
    """The anomalies; quantiles of the columns go on in the same pass."""
    table = surveyed.table
    offset = float(forest.offset_) if offset is None else offset
    step = FindAnomalies(
        table.share(forest), offset, surveyed.entity, surveyed.times, surveyed.features, [*others, *table.key],
        table.schema, MOST_FINDINGS if collect else None,
    )  # fmt: skip
    more = [] if quantiles is None else quantiles.steps
    first, *rest = unpacked(table.gather(Together([step, *more])))
    if quantiles is not None and rest:
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
    surveyed: Surveyed, rows: pd.DataFrame, decisions: Any, severity: Any, quantiles: Quantiles
) -> pd.DataFrame:
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
    step = FirstSeen(entity, surveyed.times, entities)
    first, *rest = unpacked(surveyed.table.gather(Together([step, *quantiles.steps])))
    if rest:
        quantiles.take(rest[0])
    first_days = from_pickle(first)
    places = {who: place for place, who in enumerate(entities.to_pylist())}
    seen = [first_days[places[who]] for who in column.to_pylist()]
    frame["first_seen"] = pd.Series(seen, index=frame.index).astype(days.dtype)
    return frame


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _reference(surveyed: Surveyed, quantiles: Quantiles) -> pd.DataFrame:
    stats = {
        name: {word: ColumnQuantiles(quantiles, name).quantile(q) for q, word in _REFERENCE.items()}
        for name in surveyed.features
    }
    return pd.DataFrame.from_dict(stats, orient="index")


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
