"""Detection: the anomalies of a table, each with what is known of it."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from isoxide import IsolationForest, percentileofscore
from isoxide.ueba._calibrate import calibrate, fitted
from isoxide._frames.check import TableCheck
from isoxide.ueba._findings import Findings
from isoxide.ueba._ranks import rank_rows
from isoxide.ueba._rules import ZSCORES, Rule, apply_rules, default_rules, numbers
from isoxide.ueba._table import FeatureTable

__all__ = ["detect"]


def detect(
    table: FeatureTable,
    *,
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
) -> Findings:
    """Find the anomalies of a table, and say of each which features are out of the ordinary.

    Parameters
    ----------
    table : FeatureTable
        From `read_table`.
    forest : IsolationForest, optional
        A fitted one is not grown again; with a threshold, contamination or budget its offset moves, in a copy.
        Without any of these its own offset decides. By default a forest is fitted on the table.
    threshold : float, optional
        See `calibrate`.
    contamination : float, optional
        See `calibrate`. With neither this nor `threshold` nor `budget`, and no forest, it is ``"auto"``: anomalies are
        rows whose score in the paper's terms is above 0.5.
    budget : float, optional
        See `calibrate`.
    baseline : float, default=0.1
        See `calibrate`.
    random_state : int or None, default=0
        Of the default forest.
    kind : {"rank", "weak", "strict", "mean"}, default="rank"
        See `isoxide.rank_features`, as for the next ones.
    tail : {"upper", "lower", "two"}, default="upper"
        Which values are unusual: high ones, low ones, or both.
    groups : str, optional
        A column of the table: features are ranked among the rows of the same peer group, or with the entity's column
        in the entity's own history.
    nan_policy : {"omit", "propagate", "raise"}, default="omit"
        What missing values of the table do to ranks.
    zscores : str, default="*zscore*"
        Pattern of features that are z-scores already: they come after all others in a finding.
    rules : list of rule, optional
        See `ZScore`, `Fixed` and `Percentile`; percentiles are those of the table, not of the findings. By default
        `zscores` from 3 on, the flags ``leaver_action`` and ``is_weekend``, and the 99th and 95th percentile.
    n_jobs : int, optional
        Number of threads; None means all cores.

    Returns
    -------
    Findings
        A row per anomaly, the lowest score first; of equal ones the latest.

    Raises
    ------
    ValueError
        If there are no anomalies, or an argument is out of range.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from isoxide import ueba
    >>> rng = np.random.default_rng(0)
    >>> frame = pd.DataFrame({"actor": "a", "day": pd.date_range("2025-01-01", periods=300), "x": rng.normal(size=300)})
    >>> frame.loc[42, "x"] = 9.0
    >>> findings = ueba.detect(ueba.read_table(frame, entity="actor", time="day"), contamination=0.01)
    >>> findings.frame["day"].iloc[0]
    Timestamp('2025-02-12 00:00:00')
    """
    if threshold is not None or budget is not None:
        study = calibrate(
            table, forest=forest, threshold=threshold, contamination=contamination, budget=budget, baseline=baseline,
            random_state=random_state, n_jobs=n_jobs,
        )  # fmt: skip
        forest, contamination = study.forest, study.contamination
    forest = fitted(table, forest, contamination=contamination, random_state=random_state, n_jobs=n_jobs)
    scores = forest.decision_function(table.X)
    anomalies = np.flatnonzero(scores < 0)
    if anomalies.size == 0:
        place = int(np.argmin(scores))
        who, when = (table.frame[name].iloc[place] for name in (table.entity, table.time))
        raise no_anomalies(float(scores[place]), who, when)
    found = pd.DataFrame({"score": scores[anomalies], "time": table.frame[table.time].to_numpy()[anomalies]})
    order = found.sort_values(["score", "time"], ascending=[True, False]).index
    anomalies = anomalies[order]
    rows = table.X.iloc[anomalies]
    ranking: dict[str, Any] = {
        "kind": kind, "tail": tail, "groups": groups, "zscores": zscores, "nan_policy": nan_policy,
    }  # fmt: skip
    ranks = rank_rows(table, rows.index, **ranking, n_jobs=n_jobs)
    flags = apply_rules(default_rules(zscores) if rules is None else rules, rows, table.X)
    return Findings(
        _findings_frame(table, scores, anomalies),
        entity=table.entity,
        time=table.time,
        features=list(table.features),
        values=rows.to_numpy(dtype=np.float64, na_value=np.nan),
        percentiles=ranks.percentiles,
        order=ranks.order,
        directions=ranks.directions,
        reference=_reference(table.X),
        flags=flags,
        timeline=_timeline(table, scores),
        manifest={
            **manifest(
                table.check,
                forest,
                table.features,
                source=table.source,
                sha256=table.checksum,
                anomalies=len(anomalies),
                scores_sha256=hashlib.sha256(np.ascontiguousarray(scores, dtype="<f8").tobytes()).hexdigest(),
            ),
            "threshold": threshold,
            "budget": budget,
            "ranking": ranking,
        },
        forest=forest,
    )


def no_anomalies(lowest: float, who: Any, when: pd.Timestamp) -> ValueError:
    """The refusal where nothing is found."""
    return ValueError(
        f"no row is an anomaly: the lowest score is {lowest:.4f} ({who}, {when:%Y-%m-%d}) "
        "and must be below 0; raise contamination or threshold"
    )


def _findings_frame(table: FeatureTable, scores: np.ndarray[Any, Any], anomalies: np.ndarray[Any, Any]) -> pd.DataFrame:
    frame = table.frame.iloc[anomalies][[table.entity, table.time]].copy()
    frame["score"] = scores[anomalies]
    # Lower scores are worse: the percentile from the other end.
    frame["severity"] = percentileofscore(-scores, -scores[anomalies])
    by_day = pd.Series(scores).groupby(table.days.to_numpy())
    frame["day_rank"] = by_day.rank(method="min").to_numpy()[anomalies].astype(np.int64)
    frame["day_rows"] = by_day.transform("size").to_numpy()[anomalies]
    first = table.days.groupby(table.frame[table.entity], sort=False, dropna=False).transform("min")
    frame["first_seen"] = first.iloc[anomalies]
    return frame


def _reference(X: pd.DataFrame) -> pd.DataFrame:
    # Column by column: of a whole frame the last bits depend on which columns pandas keeps together.
    stats = pd.DataFrame({name: column.quantile([0.5, 0.95, 0.99]) for name, column in numbers(X).items()}).T
    stats.columns = pd.Index(["median", "p95", "p99"])
    return stats


def _timeline(table: FeatureTable, scores: np.ndarray[Any, Any]) -> pd.DataFrame:
    days = pd.DataFrame({"day": table.days.to_numpy(), "score": scores, "found": scores < 0})
    groups = days.groupby("day")
    return pd.DataFrame(
        {"rows": groups.size(), "lowest": groups["score"].min(), "findings": groups["found"].sum()}
    ).reset_index()


def manifest(
    check: TableCheck,
    forest: IsolationForest,
    features: Iterable[str],
    *,
    source: str | None,
    sha256: str | None,
    anomalies: int,
    scores_sha256: str | None,
) -> dict[str, Any]:
    """What it takes to make the same findings again, and to see whether they are."""
    parameters = {name: value for name, value in forest.get_params().items() if name not in ("n_jobs", "verbose")}
    if parameters["random_state"] is not None and not isinstance(parameters["random_state"], int):
        parameters["random_state"] = str(parameters["random_state"])
    return {
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "source": source,
        "sha256": sha256,
        "rows": check.n_rows,
        "entities": check.n_entities,
        "days": check.n_days,
        "first_day": check.first_day,
        "last_day": check.last_day,
        "features": list(features),
        "forest": parameters,
        "offset": float(forest.offset_),
        "anomalies": anomalies,
        "scores_sha256": scores_sha256,
        "check": json.loads(json.dumps(check.to_dict())),
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    import platform
    from importlib.metadata import version

    names = ("isoxide", "scikit-learn", "numpy", "pandas")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
