"""Make findings from the results of detection, which is the last step in memory and on every engine.

Detection finds the anomalous rows, ranks their features and computes quantiles of all columns. Each engine does this in
its own way. `assemble` does not read the table; it converts the results to `Findings`.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isoxide._common.version import package_version
from isoxide._forest.anomaly_options import AnomalyOptions
from isoxide._forest.estimator import IsolationForest
from isoxide._frames.table_profile import TableProfile
from isoxide._frames.times import days_of
from isoxide._ranks.options import RankOptions
from isoxide.ueba._document import json_value
from isoxide.ueba._findings import Findings
from isoxide.ueba._identifiers import document_id, finding_ids
from isoxide.ueba._quantiles import STATISTICS, typical_frame
from isoxide.ueba._ranks import Ranked, Scope, ranking
from isoxide.ueba._rarity import bands_of, check_bands, rarity_of
from isoxide.ueba._rules import Quantile, Rule, apply_rules, default_rules, rules_to_list
from isoxide.ueba._shares import explain_rows
from isoxide.ueba._size import SizeBands

__all__ = ["Detection", "Highest", "assemble", "order_of_findings", "rules_or_default", "versions"]


class Highest(NamedTuple):
    """Row with the highest anomaly score; of several, the one with the latest time, then with the first entity."""

    anomaly_score: float
    entity: str | None
    time: pd.Timestamp

    @classmethod
    def of(cls, anomaly_scores: NDArray[np.float64], entities: pd.Series, times: pd.Series) -> Highest:
        """Return the row with the highest score; there is at least one row."""
        rows = np.flatnonzero(anomaly_scores == anomaly_scores.max())
        return max(
            (
                cls(float(anomaly_scores[row]), None if pd.isna(entity) else str(entity), time)
                for row, entity, time in zip(rows, entities.iloc[rows], times.iloc[rows], strict=True)
            ),
            key=cls.precedence,
        )

    def precedence(self) -> tuple[Any, ...]:
        """Return a key that is largest for the highest row."""
        # Characters are negated, so that the first entity wins; a missing one comes last.
        name = () if self.entity is None else (*(-ord(character) for character in self.entity), 1)
        return self.anomaly_score, self.time, name


@dataclass(frozen=True)
class Detection:
    """Results of detection on a table, from which findings are made.

    Parameters
    ----------
    profile : TableProfile
        Summary of the table.
    source, sha256 : str or None
        Name of the file or folder that was read, and the checksum of its bytes.
    entity, time : str
        Names of the columns with the entity and the time.
    features : list of str
        Names of the features.
    forest : IsolationForest
        Forest whose offset separates anomalies from other rows.
    scores_sha256 : str or None
        Checksum of the decision scores of all rows in the order of the rows, or None if it is not known.
    rows : DataFrame
        Entity, time and features of the anomalies, in the order of the findings; the index is the row number.
    scores, anomaly_scores : ndarray of shape (n_anomalies,)
        Decision scores of the anomalies, and their anomaly scores.
    severity : ndarray of shape (n_anomalies,)
        Percentile of each negated score among the negated scores of all rows of the reference.
    rows_as_high : ndarray of int64, shape (n_anomalies,)
        Number of rows of the reference that score as high as each anomaly or higher.
    highest : Highest
        Row with the highest anomaly score of all rows that were scored.
    days : DataFrame
        One line per day of the table, in ascending order: ``day``, ``rows`` (number of rows), ``lowest`` (lowest
        decision score) and ``highest`` (highest anomaly score).
    first_seen : Series
        First day of the entity of each anomaly, with the index of `rows`.
    ranks : Ranked
        Ranks of the features of the anomalies.
    quantile : callable
        Function that returns a quantile of a feature, given its name and a number from 0 to 1.
    notes : list of str
        Warnings that detection gave.
    n_reference : int, optional
        Number of rows of the reference; by default that of the table.
    comparisons : dict of str to Ranked, optional
        Ranks of the same findings among other rows, by the name of these rows.
    size : SizeBands, optional
        Bands of similar size, if the ranks are among their rows.
    facts : dict, optional
        Further entries of the manifest, which replace those of the table.
    families : list of list of int, optional
        Indices of the features of each family, whose shares are added up.
    entity_scores : DataFrame, optional
        Anomaly scores of the entities with findings over time, from `entity_scores_of`.
    """

    profile: TableProfile
    source: str | None
    sha256: str | None
    entity: str
    time: str
    features: list[str]
    forest: IsolationForest
    scores_sha256: str | None
    rows: pd.DataFrame
    scores: NDArray[np.float64]
    anomaly_scores: NDArray[np.float64]
    severity: NDArray[np.float64]
    rows_as_high: NDArray[np.int64]
    highest: Highest
    days: pd.DataFrame
    first_seen: pd.Series
    ranks: Ranked
    quantile: Quantile
    notes: list[str]
    n_reference: int | None = None
    comparisons: dict[str, Ranked] = field(default_factory=dict)
    size: SizeBands | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    families: list[list[int]] = field(default_factory=list)
    entity_scores: pd.DataFrame | None = None


def rules_or_default(rules: Iterable[Rule] | None, options: RankOptions) -> list[Rule]:
    """Return the given rules as a list, or the default rules if `rules` is None."""
    if rules is None:
        return default_rules(options.zscores, domain_defaults=options.domain_defaults)
    return list(rules)


def order_of_findings(scores: NDArray[np.float64], times: Any) -> NDArray[np.intp]:
    """Return positions that sort anomalies: the lowest score first, and the latest time first among equal scores."""
    frame = pd.DataFrame({"score": scores, "time": times})
    positions: NDArray[np.intp] = frame.sort_values(["score", "time"], ascending=[True, False]).index.to_numpy()
    return positions


def assemble(
    detection: Detection,
    bands: Sequence[float],
    ranks: RankOptions,
    rules: Iterable[Rule],
    asked: AnomalyOptions | None = None,
    *,
    explain: bool = True,
) -> Findings:
    """Return the findings of a table.

    Parameters
    ----------
    detection : Detection
        Results of detection.
    bands : sequence of three numbers
        Limits of the bands of rarity.
    ranks : RankOptions
        Options that the ranks were computed with.
    rules : iterable of rule
        Rules that flag features of a finding.
    asked : AnomalyOptions, optional
        Options that chose the anomalies; None if a model did.
    explain : bool, default=True
        Whether the findings have contributions and shares of their features.
    """
    features, ranked = detection.features, detection.ranks
    frame = _findings_frame(detection)
    n_reference = detection.profile.n_rows if detection.n_reference is None else detection.n_reference
    rarity = rarity_of(detection.rows_as_high, n_reference)
    ids = finding_ids(frame[detection.entity].tolist(), frame[detection.time])
    values = detection.rows[features].to_numpy(dtype=np.float64, na_value=np.nan)
    typical = np.array([[detection.quantile(name, q) for q in STATISTICS.values()] for name in features])
    scope = Scope(ranks.groups, detection.entity, size=detection.size)
    rules = list(rules)
    settings = _settings(detection, bands, ranks, rules, asked)
    return Findings(
        frame.assign(
            rank_rows=ranked.rank_rows,
            rank_among=ranked.rank_among,
            finding_id=pd.Series(ids, index=frame.index, dtype=object).astype(str),
            anomaly_score=detection.anomaly_scores,
            rarity=rarity,
            rows_as_high=detection.rows_as_high,
            band=pd.Series(bands_of(rarity, bands), index=frame.index, dtype=object).astype(str),
        ),
        entity=detection.entity,
        time=detection.time,
        features=features,
        values=values,
        percentiles=ranked.percentiles,
        order=ranked.order,
        directions=ranked.directions,
        reference=typical_frame(features, typical),
        group_of=ranked.group_of,
        group_typical=ranked.group_typical,
        comparisons=detection.comparisons,
        explained=explain_rows(detection.forest, detection.rows[features], detection.families) if explain else None,
        entity_scores=detection.entity_scores,
        flags=apply_rules(rules, features, values, detection.quantile),
        timeline=_timeline(detection),
        manifest={
            **_manifest(detection),
            "threshold": None if asked is None else json_value(asked.threshold),
            "alerts_per_month": None if asked is None else json_value(asked.alerts_per_month),
            "bands": list(check_bands(bands)),
            "reference_rows": n_reference,
            "settings": settings,
            "settings_id": document_id(settings),
            "ranking": ranking(ranks, scope, n_reference),
            "notes": [*detection.notes, *detection.profile.warnings],
            **detection.facts,
        },
        forest=detection.forest,
    )


def _settings(
    detection: Detection,
    bands: Sequence[float],
    ranks: RankOptions,
    rules: Iterable[Rule],
    asked: AnomalyOptions | None,
) -> dict[str, Any]:
    """Return everything but the rows that findings depend on, so that runs with equal settings can be compared."""
    model = detection.facts.get("model")
    amounts = [
        "threshold",
        "anomaly_threshold",
        "contamination",
        "alerts_per_month",
        "top",
        "calibration_contamination",
    ]
    return {
        "entity": detection.entity,
        "time": detection.time,
        "features": list(detection.features),
        "model": None if model is None else model["id"],
        "forest": _parameters(detection.forest),
        "amount": None if asked is None else {name: json_value(getattr(asked, name)) for name in amounts},
        "ranks": ranks.to_dict(),
        "rules": [
            {name: value if isinstance(value, list) else json_value(value) for name, value in rule.items()}
            for rule in rules_to_list(rules)
        ],
        "bands": list(check_bands(bands)),
    }


def _parameters(forest: IsolationForest) -> dict[str, Any]:
    """Return the parameters of a forest that its trees depend on."""
    parameters = {name: value for name, value in forest.get_params().items() if name not in ("n_jobs", "verbose")}
    if parameters["random_state"] is not None and not isinstance(parameters["random_state"], int):
        parameters["random_state"] = str(parameters["random_state"])
    return parameters


def _findings_frame(detection: Detection) -> pd.DataFrame:
    frame = detection.rows[[detection.entity, detection.time]].copy()
    days = days_of(frame[detection.time])
    frame["score"], frame["severity"] = detection.scores, detection.severity
    # Every row with a lower score on the same day is an anomaly too, so ranks among anomalies are ranks among all rows.
    by_day = pd.Series(detection.scores, index=frame.index).groupby(days.to_numpy())
    frame["day_rank"] = by_day.rank(method="min").astype(np.int64)
    rows_of = dict(zip(detection.days["day"], detection.days["rows"], strict=True))
    frame["day_rows"] = days.map(rows_of).to_numpy(dtype=np.int64)
    frame["first_seen"] = detection.first_seen
    return frame


def _timeline(detection: Detection) -> pd.DataFrame:
    n_findings = days_of(detection.rows[detection.time]).value_counts().to_dict()
    return detection.days.assign(findings=[n_findings.get(day, 0) for day in detection.days["day"]])


def _manifest(detection: Detection) -> dict[str, Any]:
    """Return the facts that are needed to reproduce the findings, and to check that they are the same."""
    profile, forest = detection.profile, detection.forest
    return {
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "source": detection.source,
        "sha256": detection.sha256,
        "rows": profile.n_rows,
        "entities": profile.n_entities,
        "days": profile.n_days,
        "first_day": profile.first_day,
        "last_day": profile.last_day,
        "features": list(detection.features),
        "forest": _parameters(forest),
        "offset": float(forest.offset_),
        "anomaly_threshold": -float(forest.offset_),
        "highest": {
            "anomaly_score": detection.highest.anomaly_score,
            "entity": detection.highest.entity,
            "time": detection.highest.time.isoformat(),
        },
        "anomalies": len(detection.rows),
        "scores_sha256": detection.scores_sha256,
        "profile": json.loads(json.dumps(profile.to_dict())),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of those that results depend on."""
    import platform
    from importlib.metadata import version

    others = {name: version(name) for name in ("scikit-learn", "numpy", "pandas")}
    return {"python": platform.python_version(), "isoxide": package_version(), **others}
