"""Find the anomalies of a table in memory, and rank the unusual features of each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from isoxide._common.options import takes
from isoxide._common.progress import Progress, Step, steps
from isoxide._forest.anomaly_options import AnomalyOptions
from isoxide._ranks.api import percentileofscore
from isoxide._ranks.options import RankOptions
from isoxide.ueba._assemble import Detection, Highest, assemble, order_of_findings, rules_or_default
from isoxide.ueba._calibrate import (
    calibrate,
    check_amount,
    check_share_above,
    check_training,
    fitted,
    share_of_top,
    small_table_notes,
)
from isoxide.ueba._columns import refuse_result_names
from isoxide.ueba._entity_scores import entity_scores_of
from isoxide.ueba._families import sampled_rows
from isoxide.ueba._findings import Findings
from isoxide.ueba._quantiles import TableQuantiles
from isoxide.ueba._ranks import Scope, rank_rows
from isoxide.ueba._rarity import check_bands
from isoxide.ueba._rules import Rule, quantiles_of_rules
from isoxide.ueba._shares import families_of_frame
from isoxide.ueba._size import asks_for_size, size_of_frame
from isoxide.ueba._table import FeatureTable

__all__ = ["detect"]


@dataclass(frozen=True, kw_only=True)
class DetectOptions(RankOptions, AnomalyOptions):
    """Options of detection in memory.

    Parameters
    ----------
    rules : list of rule, optional
        Instances of `ZScore`, `Flag` and `Percentile`. The first rule that a value meets flags it. Percentiles are
        computed from the table, not from the findings. An empty list flags nothing. By default, `zscores` are flagged
        at 3 or more, ``leaver_action`` and ``is_weekend`` whenever they are above zero (see `domain_defaults`), and all
        other features at or above the 99th and the 95th percentile.
    n_jobs : int, optional
        Number of threads; None means all cores.
    progress : bool or callable, default=False
        Whether to show a progress bar of tqdm: below the cell of a notebook, otherwise on standard error. A function is
        called instead as each step begins, with the name of the step (text), the number of finished steps, and the
        number of all steps; at the end it is called with ``"done"`` and the number of all steps twice. An error that it
        raises ends the call. The findings do not depend on it.
    """

    rules: Iterable[Rule] | None = None
    n_jobs: int | None = None
    progress: Progress = False


@takes(DetectOptions)
def detect(table: FeatureTable, options: DetectOptions) -> Findings:
    """Find the anomalies of a table, and rank the unusual features of each.

    Parameters
    ----------
    table : FeatureTable
        Rows to search, from `read_table`.
    **options
        The fields of `DetectOptions`.

    Returns
    -------
    Findings
        One row per anomaly: the lowest score first, and the latest time first among equal scores. A day may have no
        anomaly.

    Raises
    ------
    ValueError
        If a column has the name of a column that findings add, a feature has infinite values, or an argument is out
        of range.
    TypeError
        If an argument has the wrong type, such as a `progress` that is neither a bool nor a function.
    ImportError
        If `progress` is True, and tqdm is not installed.

    Warns
    -----
    UserWarning
        If a forest is fitted on a table that has fewer rows than a tree draws, since `train_on_this` is True.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from isoxide import ueba
    >>> days = pd.date_range("2025-01-01", periods=300)
    >>> frame = pd.DataFrame({"actor": "a", "day": days, "x": np.random.default_rng(0).normal(size=300)})
    >>> frame.loc[42, "x"] = 9.0
    >>> table = ueba.read_table(frame, entity="actor", time="day")
    >>> findings = ueba.detect(table, contamination=0.01)
    >>> findings.frame["day"].iloc[0]
    Timestamp('2025-02-12 00:00:00')
    """
    with steps(options.progress, 4, "detect") as step:
        return _detect(table, options, step)


def _detect(table: FeatureTable, options: DetectOptions, step: Step) -> Findings:
    """Return the findings, and begin four steps."""
    check_amount(
        options.threshold, options.contamination, options.alerts_per_month, options.anomaly_threshold, options.top
    )
    bands = check_bands(options.bands)
    refuse_result_names(table.entity, table.time, table.features)
    rank_options, groups, n_jobs = options.check(), options.groups, options.n_jobs
    is_size = asks_for_size(groups, table.frame.columns)
    check_training(len(table), table.profile.n_days, options.forest, train_on_this=options.train_on_this)
    size = None
    if is_size:
        size = size_of_frame(table.X, table.profile, rank_options.min_group)
        labels: pd.Series | None = pd.Series(size.labels_of(table.X), dtype=object)
    else:
        labels = None if groups is None else table.labels(groups)
    scope = Scope(groups, table.entity, size=size)
    rules = rules_or_default(options.rules, rank_options)
    qs = quantiles_of_rules(rules)
    notes = small_table_notes(len(table), options.forest)
    step("fitting the forest")
    forest, contamination = options.forest, options.contamination
    if options.top is not None:
        contamination = share_of_top(options.top, len(table))
    if options.threshold is not None or options.alerts_per_month is not None:
        study = calibrate(
            table,
            forest=forest,
            threshold=options.threshold,
            alerts_per_month=options.alerts_per_month,
            calibration_contamination=options.calibration_contamination,
            random_state=options.random_state,
            n_jobs=n_jobs,
        )
        forest, contamination = study.forest, study.contamination
        if contamination == 0:
            # No row reaches the threshold, so no contamination gives this offset; set the offset directly.
            forest, contamination = study.at_threshold(), None
    forest = fitted(table, forest, contamination=contamination, random_state=options.random_state, n_jobs=n_jobs)
    if options.anomaly_threshold is not None:
        forest.offset_ = np.float64(-options.anomaly_threshold)
    step("scoring the rows")
    anomaly_scores = -forest.score_samples(table.X)
    # These are the values of `decision_function`.
    scores = -anomaly_scores - forest.offset_
    if options.anomaly_threshold is not None:
        check_share_above(float(np.mean(scores < 0)), options.anomaly_threshold)
    anomalies = np.flatnonzero(scores < 0)
    anomalies = anomalies[order_of_findings(scores[anomalies], table.frame[table.time].to_numpy()[anomalies])]
    step("ranking the findings")
    features = list(table.features)
    statistics = TableQuantiles(table.X, qs)
    ranks = rank_rows(
        table.X.iloc[anomalies], None if labels is None else labels.iloc[anomalies].tolist(), table,
        None if labels is None else labels.tolist(), statistics, rank_options, scope, n_jobs,
    )  # fmt: skip
    entities = table.frame[table.entity]
    first = table.days.groupby(entities, sort=False, dropna=False).transform("min")
    of_rows = pd.DataFrame({"day": table.days.to_numpy(), "score": scores, "anomaly_score": anomaly_scores})
    by_day = of_rows.groupby("day")
    detection = Detection(
        profile=table.profile,
        source=table.source,
        sha256=table.checksum,
        entity=table.entity,
        time=table.time,
        features=features,
        forest=forest,
        scores_sha256=hashlib.sha256(np.ascontiguousarray(scores, dtype="<f8").tobytes()).hexdigest(),
        rows=table.frame.iloc[anomalies][[table.entity, table.time, *features]],
        scores=scores[anomalies],
        anomaly_scores=anomaly_scores[anomalies],
        # Negate the scores, since lower scores are more abnormal.
        severity=np.atleast_1d(percentileofscore(-scores, -scores[anomalies])),
        rows_as_high=np.searchsorted(np.sort(scores), scores[anomalies], side="right").astype(np.int64),
        highest=Highest.of(anomaly_scores, entities, table.frame[table.time]),
        days=pd.DataFrame(
            {"rows": by_day.size(), "lowest": by_day["score"].min(), "highest": by_day["anomaly_score"].max()}
        ).reset_index(),
        first_seen=first.iloc[anomalies],
        ranks=ranks,
        quantile=statistics.quantile,
        notes=notes,
        size=size,
        families=families_of_frame(table.X.iloc[sampled_rows(len(table))]) if options.explain else [],
        entity_scores=entity_scores_of(entities, table.days, anomaly_scores, entities.iloc[anomalies]),
    )
    step("explaining the findings")
    return assemble(detection, bands, rank_options, rules, options, explain=options.explain)
