"""Find the anomalies of a table, and tell of each which features are out of the ordinary."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from isoxide._forest.estimator import IsolationForest
from isoxide._frames.table_profile import TableProfile
from isoxide._ranks.api import percentileofscore
from isoxide.ueba._calibrate import calibrate, check_amount, fitted, small_table_notes
from isoxide.ueba._columns import refuse_result_names
from isoxide.ueba._document import plain
from isoxide.ueba._findings import Findings
from isoxide.ueba._quantiles import TableQuantiles
from isoxide.ueba._ranks import MIN_GROUP, RankOptions, Scope, rank_rows, ranking
from isoxide.ueba._rules import Rule, apply_rules, asked_quantiles
from isoxide.ueba._table import FeatureTable

__all__ = ["detect"]


def detect(
    table: FeatureTable,
    *,
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
) -> Findings:
    """Find the anomalies of a table, and say of each which features are out of the ordinary.

    Parameters
    ----------
    table : FeatureTable
        The rows to search, from `read_table`.
    forest : IsolationForest, optional
        A fitted one is not grown again; `threshold`, `contamination` or `alerts_per_month` move its offset, in a copy.
        Without any of these its own offset decides. By default a forest is fitted on the table, with a warning if the
        table has fewer rows than a tree draws.
    threshold : float, optional
        Rows whose score is at or below it are anomalies; scores are those of `calibrate` with the same
        `calibration_contamination`.
    contamination : float, optional
        Share of the rows that are anomalies, in (0, 0.5]. With neither this nor `threshold` nor `alerts_per_month`,
        and no
        forest, it is ``"auto"``: anomalies are rows whose score in the paper's terms is above 0.5.
    alerts_per_month : float, optional
        Number of anomalies a month of 30.4 days, on average. At most one of these three may be given.
    calibration_contamination : float, default=0.1
        The contamination that the scores of a threshold are counted from.
    random_state : int or None, default=0
        Seed of the forest that is fitted when `forest` is None.
    kind : {"rank", "weak", "strict", "mean"}, default="rank"
        How equal values share a rank; `isoxide.percentileofscore` describes each.
    tail : {"upper", "lower", "both"}, default="upper"
        Which values are unusual: high ones, low ones, or both.
    groups : str, optional
        A column of the table: features are ranked among the rows of the same peer group, or with the entity's column
        in the entity's own history. The typical values shown beside these ranks are those of the same rows.
    min_group : int, default=20
        Rows that a group must have. A finding of a smaller group has no ranks (NaN), and ``rank_among`` says why; its
        features are in the order of their ranks among all rows.
    nan_policy : {"omit", "propagate", "raise"}, default="omit"
        Whether ranks leave missing values of the table out, become NaN, or are refused.
    zscores : str, optional
        Name or pattern of features that are z-scores already: the default rules flag them from 3 on, and they come
        after all other features of a finding. By default ``"*zscore*"``, or no feature without `domain_defaults`.
    rules : list of rule, optional
        Instances of `ZScore`, `Flag` and `Percentile`, of which the first that a value meets flags it. Percentiles are
        those of the table, not of the findings. An empty list flags nothing. By default `zscores` are flagged from 3
        on, ``leaver_action`` and ``is_weekend`` whenever they are above zero (see `domain_defaults`), and all other
        features from the 99th and the 95th percentile on.
    domain_defaults : bool, default=True
        Whether names of columns that are usual in user behaviour analytics have a meaning: features called
        ``*zscore*`` are z-scores, the default rules flag ``leaver_action`` and ``is_weekend`` whenever they are above
        zero, and reports list ``is_weekend`` whenever it is. False switches all of this off: features are then treated
        alike whatever their names, unless `zscores`, `rules` or the options of a report say otherwise.
    n_jobs : int, optional
        Number of threads; None means all cores.

    Returns
    -------
    Findings
        A row per anomaly, the lowest score first; of equal ones the latest. On a quiet day there is none.

    Raises
    ------
    ValueError
        If a column has the name of a column that findings add, a feature has infinite values, or an argument is out
        of range.

    Warns
    -----
    UserWarning
        If no fitted forest is given and the table has fewer rows than a tree draws.

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
    check_amount(threshold, contamination, alerts_per_month)
    refuse_result_names(table.entity, table.time, table.features)
    options = RankOptions(kind, tail, groups, zscores, nan_policy, min_group, domain_defaults).check()
    labels = None if groups is None else table.labels(groups)
    rules = options.default_rules() if rules is None else list(rules)
    qs = asked_quantiles(rules)
    notes = small_table_notes(len(table), forest)
    if threshold is not None or alerts_per_month is not None:
        study = calibrate(
            table,
            forest=forest,
            threshold=threshold,
            alerts_per_month=alerts_per_month,
            calibration_contamination=calibration_contamination,
            random_state=random_state,
            n_jobs=n_jobs,
        )
        forest, contamination = study.forest, study.contamination
        if contamination == 0:
            # No row reaches the threshold: it becomes the offset, without a share of the rows that would give it.
            forest, contamination = study.at_threshold(), None
    forest = fitted(table, forest, contamination=contamination, random_state=random_state, n_jobs=n_jobs)
    scores = forest.decision_function(table.X)
    anomalies = np.flatnonzero(scores < 0)
    found = pd.DataFrame({"score": scores[anomalies], "time": table.frame[table.time].to_numpy()[anomalies]})
    order = found.sort_values(["score", "time"], ascending=[True, False]).index
    anomalies = anomalies[order]
    rows = table.X.iloc[anomalies]
    statistics = TableQuantiles(table.X, qs)
    ranks = rank_rows(
        rows, None if labels is None else labels.iloc[anomalies].tolist(), table,
        None if labels is None else labels.tolist(), statistics, options, Scope(groups, table.entity), n_jobs,
    )  # fmt: skip
    features = list(table.features)
    values = rows.to_numpy(dtype=np.float64, na_value=np.nan)
    return Findings(
        _findings_frame(table, scores, anomalies).assign(rank_rows=ranks.rank_rows, rank_among=ranks.rank_among),
        entity=table.entity,
        time=table.time,
        features=features,
        values=values,
        percentiles=ranks.percentiles,
        order=ranks.order,
        directions=ranks.directions,
        reference=statistics.typical(),
        group_of=ranks.group_of,
        group_typical=ranks.group_typical,
        flags=apply_rules(rules, features, values, statistics.quantile),
        timeline=_timeline(table, scores),
        manifest={
            **manifest(
                table.profile,
                forest,
                table.features,
                source=table.source,
                sha256=table.checksum,
                anomalies=len(anomalies),
                scores_sha256=hashlib.sha256(np.ascontiguousarray(scores, dtype="<f8").tobytes()).hexdigest(),
            ),
            "threshold": plain(threshold),
            "alerts_per_month": plain(alerts_per_month),
            "ranking": ranking(options, Scope(groups, table.entity), len(table)),
            "notes": [*notes, *table.profile.warnings],
        },
        forest=forest,
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


def _timeline(table: FeatureTable, scores: np.ndarray[Any, Any]) -> pd.DataFrame:
    days = pd.DataFrame({"day": table.days.to_numpy(), "score": scores, "found": scores < 0})
    groups = days.groupby("day")
    return pd.DataFrame(
        {"rows": groups.size(), "lowest": groups["score"].min(), "findings": groups["found"].sum()}
    ).reset_index()


def manifest(
    profile: TableProfile,
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
        "rows": profile.n_rows,
        "entities": profile.n_entities,
        "days": profile.n_days,
        "first_day": profile.first_day,
        "last_day": profile.last_day,
        "features": list(features),
        "forest": parameters,
        "offset": float(forest.offset_),
        "anomalies": anomalies,
        "scores_sha256": scores_sha256,
        "profile": json.loads(json.dumps(profile.to_dict())),
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    import platform
    from importlib.metadata import version

    names = ("isoxide", "scikit-learn", "numpy", "pandas")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
