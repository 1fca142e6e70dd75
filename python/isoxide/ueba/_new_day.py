"""Detection on new rows with a kept model: every number is relative to the training rows, not to the new ones."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isoxide._common.progress import Step
from isoxide._common.warn import warn_caller
from isoxide._frames.table_profile import TableProfile
from isoxide._ranks.api import percentileofscore
from isoxide._ranks.groups import members
from isoxide.ueba._assemble import Detection, Highest, assemble, order_of_findings
from isoxide.ueba._calibrate import refuse_infinite
from isoxide.ueba._columns import refuse_result_names
from isoxide.ueba._entity_scores import entities_with_scores, entity_scores_of
from isoxide.ueba._findings import Findings
from isoxide.ueba._model_data import ModelData
from isoxide.ueba._quantiles import STATISTICS
from isoxide.ueba._ranks import Ranked
from isoxide.ueba._table import FeatureTable

__all__ = ["detect_new_day", "features_of_new_rows", "has_zone", "profile_of_new_rows", "scored_rows"]


def detect_new_day(
    model: ModelData,
    table: FeatureTable,
    since: datetime.date | None,
    drift: dict[str, Any],
    n_jobs: int | None,
    step: Step,
) -> Findings:
    """Return the findings of new rows.

    Parameters
    ----------
    model : ModelData
        The model.
    table : FeatureTable
        New rows, or the whole table with the new rows.
    since : date, optional
        First day whose rows are scored; None means all rows.
    drift : dict
        Entry of the manifest about drift.
    n_jobs : int, optional
        Number of threads; None means all cores.
    step : callable
        Function that begins the step with a given name; there are three.

    Raises
    ------
    ValueError
        If the table does not fit the model, or has no row since that day.
    """
    step("scoring the rows")
    settings, reference = model.settings, model.reference
    notes = _zone_notes(model, table)
    for note in notes:
        warn_caller(note)
    X = features_of_new_rows(model, table)
    is_scored = scored_rows(table, since)
    frame, days = table.frame[is_scored], table.days[is_scored]
    X = X[is_scored]
    entities, times = frame[settings.entity], frame[settings.time]
    if model.size is not None:
        labels: pd.Series | None = pd.Series(model.size.labels_of(X), index=X.index, dtype=object)
    else:
        labels = None if settings.peers is None else _labels(table, settings.peers)[is_scored]
    forest = model.forest
    anomaly_scores = -forest.score_samples(X)
    scores = -anomaly_scores - forest.offset_
    anomalies = np.flatnonzero(scores < 0)
    anomalies = anomalies[order_of_findings(scores[anomalies], times.to_numpy()[anomalies])]
    step("ranking the findings")
    own_scores = anomaly_scores[anomalies]
    known = reference.scores
    whole = known.expanded()
    rows = X.iloc[anomalies]
    names = [None if pd.isna(name) else str(name) for name in entities.iloc[anomalies]]
    of_day = pd.DataFrame({"day": days.to_numpy(), "score": scores, "anomaly_score": anomaly_scores}).groupby("day")
    comparisons = {}
    if labels is not None:
        name = "peers" if model.size is None else "size"
        comparisons[name] = _peers(model, rows, labels.iloc[anomalies].tolist(), n_jobs)
    comparisons["history"] = _histories(model, rows, names, n_jobs)
    detection = Detection(
        profile=profile_of_new_rows(model, table),
        source=table.source,
        sha256=table.checksum,
        entity=settings.entity,
        time=settings.time,
        features=reference.features,
        forest=forest,
        scores_sha256=hashlib.sha256(np.ascontiguousarray(scores, dtype="<f8").tobytes()).hexdigest(),
        rows=pd.concat([frame.iloc[anomalies][[settings.entity, settings.time]], rows], axis=1),
        scores=scores[anomalies],
        anomaly_scores=own_scores,
        severity=np.atleast_1d(percentileofscore(whole, own_scores)),
        rows_as_high=known.count_at_or_above(own_scores),
        highest=Highest.of(anomaly_scores, entities, times),
        days=pd.DataFrame(
            {"rows": of_day.size(), "lowest": of_day["score"].min(), "highest": of_day["anomaly_score"].max()}
        ).reset_index(),
        first_seen=_first_seen(model, table, names).set_axis(rows.index),
        ranks=_overall(model, rows, n_jobs),
        quantile=reference.quantile,
        notes=notes,
        n_reference=reference.n_rows,
        comparisons=comparisons,
        facts=_facts(model, table, days, entities, since, drift),
        families=model.families or [],
        entity_scores=_entity_scores(model, table, names),
    )
    step("explaining the findings")
    return assemble(detection, settings.bands, settings.ranks, settings.rules)


def features_of_new_rows(model: ModelData, table: FeatureTable) -> pd.DataFrame:
    """Return the features of the model, in its order.

    Raises
    ------
    ValueError
        If entity or time are other columns, a feature is missing, or a feature has infinite values.
    """
    for name in ("entity", "time"):
        own, theirs = getattr(model.settings, name), getattr(table, name)
        if own != theirs:
            raise ValueError(f"the {name} of the model is the column {own!r}, but that of the table is {theirs!r}")
    features = model.reference.features
    refuse_result_names(table.entity, table.time, features)
    columns = {}
    for name in features:
        reason = table.profile.left_out.get(name)
        if name in table.features:
            columns[name] = table.frame[name]
        elif reason == "no values":
            columns[name] = pd.Series(np.nan, index=table.frame.index)
        elif reason is not None:
            raise ValueError(f"the feature {name!r} of the model is not a feature of the table: {reason}")
        else:
            raise ValueError(f"the table has no column {name!r}, which is a feature of the model")
    refuse_infinite([name for name in table.profile.infinite if name in columns])
    return pd.DataFrame(columns, index=table.frame.index)


def profile_of_new_rows(model: ModelData, table: FeatureTable) -> TableProfile:
    """Return the profile of the table as the model uses it: its other features are left out, with the reason.

    A feature of the model that has no values in the table is a feature all the same, whose values are all missing.
    """
    profile, used = table.profile, set(model.reference.features)
    left_out = {name: reason for name, reason in profile.left_out.items() if name not in used}
    features = [name for name in table.frame.columns if name in used]
    missing = {name: 1.0 for name in features if name not in profile.features}
    unused = {name: "not a feature of the model" for name in profile.features if name not in used}
    groups = ([name for name in group if name in used] for group in profile.equal)
    lists = ("constant", "id_like", "infinite", "label_like", "growing")
    told: dict[str, Any] = {name: [own for own in getattr(profile, name) if own in used] for name in lists}
    return dataclasses.replace(
        profile,
        features=features,
        n_features=len(features),
        left_out={**left_out, **unused},
        nan_share={name: share for name, share in {**profile.nan_share, **missing}.items() if name in used},
        is_trained_on=False,
        equal=[group for group in groups if len(group) > 1],
        **told,
    )


def has_zone(dtype: Any) -> bool:
    """Return whether times of this dtype have a time zone."""
    return isinstance(dtype, pd.DatetimeTZDtype)


def _zone_notes(model: ModelData, table: FeatureTable) -> list[str]:
    """Return a note if only the times of the model, or only those of the table, have a time zone."""
    trained, new = model.training.has_zone, has_zone(table.frame[table.time].dtype)
    if trained is None or trained == new:
        return []
    which = (
        "the model was trained on times with a time zone, but the table has times without one"
        if trained
        else ("the model was trained on times without a time zone, but the table has times with one")
    )
    return [
        f"{which}; so findings of the same row have other ids than before, and decisions and earlier runs may not find "
        "them: write times with a zone in all tables, or in none"
    ]


def scored_rows(table: FeatureTable, since: datetime.date | None) -> NDArray[np.bool_]:
    """Return which rows are scored.

    Raises
    ------
    ValueError
        If the table has no row since that day.
    """
    if since is None:
        return np.ones(len(table), dtype=bool)
    is_scored: NDArray[np.bool_] = (table.days >= pd.Timestamp(since)).to_numpy()
    if not is_scored.any():
        raise ValueError(f"the table has no row since={since.isoformat()}; its last day is {table.days.max():%Y-%m-%d}")
    return is_scored


def _entity_scores(model: ModelData, table: FeatureTable, names: list[str | None]) -> pd.DataFrame:
    """Return the scores of the entities with findings on all days of the table, also those before the scored ones."""
    entities = table.frame[table.entity]
    as_text = {str(name): name for name in entities.unique() if not pd.isna(name)}
    wanted = [as_text[name] for name in entities_with_scores(names)]
    is_wanted = entities.isin(wanted)
    rows = features_of_new_rows(model, table)[is_wanted]
    scores = -model.forest.score_samples(rows) if len(rows) else np.empty(0)
    return entity_scores_of(entities[is_wanted], table.days[is_wanted], scores, wanted)


def _labels(table: FeatureTable, peers: str) -> pd.Series:
    if peers not in table.frame.columns:
        raise ValueError(f"the table has no column {peers!r}, which has the groups of the model")
    return table.labels(peers)


def _first_seen(model: ModelData, table: FeatureTable, names: list[str | None]) -> pd.Series:
    """Return the first day of each entity: that of the training rows if it has any, otherwise that of the table."""
    first = table.days.groupby(table.frame[table.entity], sort=False, dropna=False).min()
    new = {None if pd.isna(name) else str(name): day for name, day in zip(first.index, first, strict=True)}
    known = [model.reference.history(name)[0] for name in names]
    days = [new[name] if day is None else pd.Timestamp(day) for name, day in zip(names, known, strict=True)]
    return pd.Series(days, dtype=table.days.dtype)


def _overall(model: ModelData, rows: pd.DataFrame, n_jobs: int | None) -> Ranked:
    """Rank rows among all training rows."""
    n_features, n_rows = rows.shape[1], model.reference.n_rows
    if not len(rows):
        empty = np.empty((0, n_features))
        return Ranked(empty, empty.astype(np.intp), empty.astype(np.int8), np.empty(0, np.int64), [], None, None)
    ranks = model.reference.rank(0, rows, model.settings.ranks, n_jobs)
    sizes = np.full(len(rows), n_rows, dtype=np.int64)
    among = [f"all {n_rows:,} rows of the model"] * len(rows)
    return Ranked(ranks.percentiles, ranks.order, ranks.directions, sizes, among, None, None)


def _peers(model: ModelData, rows: pd.DataFrame, labels: list[Any], n_jobs: int | None) -> Ranked:
    """Rank rows among the training rows with the same label, which can be a band of similar size."""
    peers, reference, min_group = model.settings.peers, model.reference, model.settings.ranks.min_group
    size = model.size
    populations: list[int | None] = []
    sizes, among = [], []
    for label in labels:
        population = None if pd.isna(label) else reference.number("group", label)
        n_rows = 0 if population is None else int(reference.rows[population])
        is_large = n_rows >= min_group
        populations.append(population if is_large else None)
        sizes.append(n_rows)
        with_label = f"with {peers} {label!r}" if size is None else f"of similar size ({size.feature} {label})"
        if pd.isna(label):
            among.append(f"no ranks: no value in {peers if size is None else size.feature}")
        elif is_large:
            among.append(f"the {n_rows:,} rows of the model {with_label}")
        else:
            among.append(f"no ranks: {_counted(n_rows, 'row')} of the model {with_label}")
    return _within(model, rows, populations, sizes, among, n_jobs)


def _histories(model: ModelData, rows: pd.DataFrame, names: list[str | None], n_jobs: int | None) -> Ranked:
    """Rank rows among the training rows of the same entity."""
    reference, entity = model.reference, model.settings.entity
    populations = [None if name is None else reference.number("entity", name) for name in names]
    sizes, among = [], []
    for name, population in zip(names, populations, strict=True):
        n_days = reference.history(name)[1]
        n_rows = 0 if population is None else int(reference.rows[population])
        sizes.append(n_rows)
        if population is not None:
            among.append(f"the {n_rows:,} rows of the model with this {entity}")
        elif name is None:
            among.append(f"no ranks: no {entity}")
        else:
            among.append(f"no ranks: {_counted(n_days, 'day')} of history")
    return _within(model, rows, populations, sizes, among, n_jobs)


def _within(
    model: ModelData,
    rows: pd.DataFrame,
    populations: list[int | None],
    sizes: list[int],
    among: list[str],
    n_jobs: int | None,
) -> Ranked:
    """Rank each row within a population of its own; a row without one has no ranks."""
    shape = (len(rows), rows.shape[1])
    percentiles, directions = np.full(shape, np.nan), np.zeros(shape, dtype=np.int8)
    # Features without any rank keep their order in the table.
    order = np.tile(np.arange(shape[1], dtype=np.intp), (shape[0], 1))
    group_of, typical = np.full(len(rows), -1, dtype=np.intp), []
    for number, (own, _) in enumerate(members(populations, populations)):
        population = populations[int(own[0])]
        assert population is not None
        ranks = model.reference.rank(population, rows.iloc[own], model.settings.ranks, n_jobs)
        percentiles[own], directions[own], order[own] = ranks.percentiles, ranks.directions, ranks.order
        group_of[own] = number
        typical.append(model.reference.typical([population])[0])
    of_groups = np.array(typical, dtype=np.float64).reshape(-1, shape[1], len(STATISTICS))
    return Ranked(percentiles, order, directions, np.array(sizes, dtype=np.int64), among, group_of, of_groups)


def _facts(
    model: ModelData,
    table: FeatureTable,
    days: pd.Series,
    entities: pd.Series,
    since: datetime.date | None,
    drift: dict[str, Any],
) -> dict[str, Any]:
    """Return the entries of the manifest that describe the rows that were scored, and the model."""
    training, settings = model.training, model.settings
    n_rows = model.reference.n_rows
    return {
        "rows": len(days),
        "entities": int(entities.nunique(dropna=False)),
        "days": int(days.nunique()),
        "first_day": f"{days.min():%Y-%m-%d}",
        "last_day": f"{days.max():%Y-%m-%d}",
        "table_rows": len(table),
        "since": None if since is None else since.isoformat(),
        "ranking": {
            **settings.ranks.to_dict(),
            "groups": None,
            "among": f"all {n_rows:,} rows of the model",
            "rows": n_rows,
            "source": "the model",
        },
        "model": {
            "id": model.id,
            "rows": training.rows,
            "entities": training.entities,
            "days": training.days,
            "first_day": training.first_day,
            "last_day": training.last_day,
            "source": training.source,
            "sha256": training.sha256,
            "min_history": settings.min_history,
            "groups": settings.peers,
            **({} if model.size is None else {"size": model.size.to_dict()}),
            **settings.amount,
        },
        "drift": drift,
    }


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
