"""Anomaly scores of the entities with findings over time, which the page draws as a line per entity."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isoxide.ueba import _fields as fields

__all__ = [
    "MAX_ENTITY_DAYS",
    "MAX_SCORED_ENTITIES",
    "entities_with_scores",
    "entity_scores_of",
    "entity_scores_to_list",
    "load_entity_scores",
]

#: Numbers of entities whose scores are kept (those with the most abnormal findings), and of the latest days of each.
MAX_SCORED_ENTITIES, MAX_ENTITY_DAYS = 1_000, 120


def entities_with_scores(entities: Iterable[Any]) -> list[Any]:
    """Return the distinct entities whose scores are kept, given that of each finding; missing ones are left out."""
    return list(dict.fromkeys(name for name in entities if not pd.isna(name)))[:MAX_SCORED_ENTITIES]


def entity_scores_of(
    entities: pd.Series, days: pd.Series, anomaly_scores: NDArray[np.float64], wanted: Iterable[Any]
) -> pd.DataFrame:
    """Return the highest anomaly score of each of the latest days of each wanted entity.

    Parameters
    ----------
    entities, days : Series of length n_rows
        Entity and day of each row.
    anomaly_scores : ndarray of shape (n_rows,)
        Anomaly score of each row.
    wanted : iterable
        Entity of each finding, the most abnormal one first.

    Returns
    -------
    DataFrame
        Columns ``entity`` (text), ``day`` and ``anomaly_score``, in ascending order of entity and day.
    """
    is_wanted = entities.isin(entities_with_scores(wanted)).to_numpy()
    frame = pd.DataFrame(
        {
            "entity": pd.Series([str(name) for name in entities[is_wanted].tolist()], dtype=object),
            "day": days.to_numpy()[is_wanted],
            "anomaly_score": anomaly_scores[is_wanted],
        }
    )
    highest = frame.groupby(["entity", "day"], sort=True)["anomaly_score"].max().reset_index()
    return highest.groupby("entity", sort=False).tail(MAX_ENTITY_DAYS).reset_index(drop=True)


def entity_scores_to_list(scores: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the scores of entities as JSON values, one object per entity."""
    return [
        {
            "entity": entity,
            "days": own["day"].dt.strftime("%Y-%m-%d").tolist(),
            "anomaly_scores": own["anomaly_score"].tolist(),
        }
        for entity, own in scores.groupby("entity", sort=False)
    ]


def load_entity_scores(entries: Any) -> pd.DataFrame | None:
    """Check the scores of entities in a document of findings; None if it has none.

    Raises
    ------
    KeyError, ValueError
        If a field is missing or invalid.
    """
    if entries is None:
        return None
    columns: dict[str, list[Any]] = {"entity": [], "day": [], "anomaly_score": []}
    for entry in fields.records(entries, "entity_scores", MAX_SCORED_ENTITIES):
        days = fields.names(entry["days"], "days of entity_scores", MAX_ENTITY_DAYS)
        scores = entry["anomaly_scores"]
        if not isinstance(scores, list) or len(scores) != len(days):
            raise ValueError("'entity_scores' must have a score for each of its days")
        columns["entity"] += [fields.text(entry["entity"], "entity")] * len(days)
        columns["day"] += days
        columns["anomaly_score"] += scores
    return pd.DataFrame(
        {
            "entity": pd.Series(columns["entity"], dtype=object),
            "day": fields.days(columns["day"], "day of entity_scores"),
            "anomaly_score": fields.numbers(
                columns["anomaly_score"], "anomaly_scores", -fields.MAX_SCORE, fields.MAX_SCORE
            ),
        }
    )
