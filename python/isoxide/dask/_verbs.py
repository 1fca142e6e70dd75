"""The verbs on dask frames."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
from dask.delayed import delayed
from sklearn.utils.validation import check_is_fitted

from isoxide._forest.estimator import IsolationForest
from isoxide._partitioned import fit as _verbs
from isoxide._partitioned.columns import features_of, score_batch
from isoxide._partitioned.model import Model
from isoxide._ranks.feature_ranks import FeatureRanks
from isoxide.dask._arrow import batches
from isoxide.dask._table import DaskTable

if TYPE_CHECKING:
    from isoxide.ueba import Findings
    from isoxide.ueba._rules import Rule

__all__ = ["detect", "fit", "offset", "rank_features", "score"]


def fit(ddf: Any, features: Iterable[str] | None = None, *, forest: IsolationForest | None = None) -> IsolationForest:
    """Fit an isolation forest on a dask frame.

    The forest is the one that ``IsolationForest.fit`` makes of the same rows in memory, in every bit: rows are in the
    order of the partitions. Only the rows that a tree drew come to this process.

    Parameters
    ----------
    ddf : dask.dataframe.DataFrame
        The training rows.
    features : list of str, optional
        The columns to fit on, in this order; by default all numeric ones.
    forest : IsolationForest, optional
        Its parameters are used, and it is not changed. By default ``IsolationForest(random_state=0)``.

    Returns
    -------
    IsolationForest
        The fitted forest.

    Raises
    ------
    TypeError
        If `ddf` is no dask frame.
    ValueError
        If a column is missing or not numeric, or the partitions are not what the frame says.

    See Also
    --------
    score : Scores of all rows.

    Notes
    -----
    The frame is read twice, and some times more if `contamination` is a number; its rows must come in the same order
    each time. Joins and shuffles (``merge``, ``set_index``) do not promise that: ``persist()`` their result first, or
    write it to a file. A partition that comes with another number of rows is refused.

    Examples
    --------
    >>> import dask.dataframe as dd, pandas as pd
    >>> import isoxide.dask
    >>> ddf = dd.from_pandas(pd.DataFrame({"x": [-1.1, 0.3, 0.5, 100.0]}), npartitions=2)
    >>> isoxide.dask.fit(ddf).predict(pd.DataFrame({"x": [0.1, 90.0]}))
    array([ 1, -1])
    """
    return _verbs.fit(DaskTable(ddf), features=_names(features), forest=forest)


def score(forest: IsolationForest, ddf: Any, *, score: str = "score", anomaly: str = "anomaly") -> Any:
    """Add the scores of a forest to a dask frame.

    Nothing is computed before dask is told to. The forest goes to each worker once.

    Parameters
    ----------
    forest : IsolationForest
        A fitted one.
    ddf : dask.dataframe.DataFrame
        The rows to score; it has the columns that the forest was fitted on, and may have others.
    score : str, default="score"
        Name of the new column for ``decision_function``: the lower, the more abnormal.
    anomaly : str, default="anomaly"
        Name of the new column that says whether the score is below 0.

    Returns
    -------
    dask.dataframe.DataFrame
        All columns of `ddf` and the two new ones, with the same partitions.

    Raises
    ------
    TypeError
        If `ddf` is no dask frame.
    ValueError
        If a column of the forest is missing, or `ddf` has a column of a new one's name.

    See Also
    --------
    offset : Moves the threshold.

    Examples
    --------
    >>> import dask.dataframe as dd, pandas as pd
    >>> import isoxide.dask
    >>> ddf = dd.from_pandas(pd.DataFrame({"x": [-1.1, 0.3, 0.5, 100.0]}), npartitions=2)
    >>> scored = isoxide.dask.score(isoxide.dask.fit(ddf), ddf)
    >>> scored["anomaly"].compute().tolist()
    [False, False, False, True]
    """
    table = DaskTable(ddf)
    if score == anomaly:
        raise ValueError(f"score and anomaly are both {score!r}; they must be two columns")
    for name in (score, anomaly):
        if name in ddf.columns:
            raise ValueError(f"the dask frame has a column {name!r} already; give another name for the new one")
    check_is_fitted(forest)
    features = features_of(forest, table.schema, table.name)
    schema = pa.schema([table.schema.field(name) for name in features])
    model = table.share(forest)
    return ddf.map_partitions(
        _with_scores,
        # One task that all others depend on: its result is brought to each worker once.
        delayed(model, name=f"isoxide-model-{hashlib.sha256(model.data).hexdigest()}", traverse=False),
        schema=schema,
        names=(score, anomaly),
        meta=ddf._meta.assign(**{score: np.empty(0, np.float64), anomaly: np.empty(0, np.bool_)}),
        enforce_metadata=False,
        required_columns=features,
    )


def _with_scores(
    partition: pd.DataFrame,
    model: Model,
    schema: pa.Schema,
    names: tuple[str, str],
    partition_info: dict[str, Any] | None = None,
) -> pd.DataFrame:
    """A partition and two columns more; features are looked at as in every other pass."""
    place = "a partition of the dask frame" if partition_info is None else f"partition {partition_info['number']}"
    forest = model.forest()
    scores = [score_batch(batch, schema.names, forest) for batch in batches(partition, schema, place)]
    found = np.concatenate(scores) if scores else np.empty(0)
    return partition.assign(**dict(zip(names, (found, found < 0), strict=True)))


def offset(forest: IsolationForest, ddf: Any, *, contamination: float | Literal["auto"]) -> float:
    """Offset at which a share of the rows of a dask frame are anomalies.

    It is the one that ``IsolationForest.recalibrate`` sets for the same rows in memory.

    Parameters
    ----------
    forest : IsolationForest
        A fitted one; it is not changed.
    ddf : dask.dataframe.DataFrame
        The rows of which the share is to be anomalies.
    contamination : float or "auto"
        That share, in (0, 0.5]; "auto" is -0.5, whatever the rows.

    Returns
    -------
    float
        For ``forest.offset_``.

    Raises
    ------
    TypeError
        If `ddf` is no dask frame.
    ValueError
        If `contamination` is out of range, or a column of the forest is missing.

    Examples
    --------
    >>> import dask.dataframe as dd, pandas as pd
    >>> import isoxide.dask
    >>> ddf = dd.from_pandas(pd.DataFrame({"x": [-1.1, 0.3, 0.5, 100.0]}), npartitions=2)
    >>> forest = isoxide.dask.fit(ddf)
    >>> forest.offset_ = isoxide.dask.offset(forest, ddf, contamination=0.5)
    >>> int(isoxide.dask.score(forest, ddf)["anomaly"].sum().compute())
    2
    """
    return _verbs.offset(DaskTable(ddf), forest, contamination=contamination)


def rank_features(
    rows: Any,
    ddf: Any,
    *,
    features: Iterable[str] | None = None,
    kind: str = "rank",
    tail: str = "upper",
    groups: str | None = None,
    rank_last: str | Callable[[str], bool] | None = None,
    nan_policy: str = "propagate",
) -> FeatureRanks:
    """Percentile of every value in some rows among the same column of a dask frame.

    The ranks are those of `isoxide.rank_features` with the same rows in memory, in every bit.

    Parameters
    ----------
    rows : frame or dask.dataframe.DataFrame
        The rows to explain; those of a dask frame are computed first.
    ddf : dask.dataframe.DataFrame
        What they are compared with.
    features : list of str, optional
        The columns to use, in this order; by default all, in the order of `rows`.
    kind : {'rank', 'weak', 'strict', 'mean'}, default='rank'
        See `isoxide.rank_features`, as for the next ones.
    tail : {'upper', 'lower', 'both'}, default='upper'
        Which values are unusual: high ones, low ones, or both.
    groups : str, optional
        A column of both: rows are ranked among the rows of the same label.
    rank_last : str or callable, optional
        Features that come after all others.
    nan_policy : {'propagate', 'raise', 'omit'}, default='propagate'
        What missing values do to ranks.

    Returns
    -------
    FeatureRanks
        The percentiles and what follows from them.

    Raises
    ------
    TypeError
        If `ddf` is no dask frame, or a column is not numeric.
    ValueError
        If the columns do not match, or NaN is to be refused.

    Examples
    --------
    >>> import dask.dataframe as dd, pandas as pd
    >>> import isoxide.dask
    >>> ddf = dd.from_pandas(pd.DataFrame({"x": [1.0, 2.0, 3.0], "y": [0, 0, 1]}), npartitions=2)
    >>> isoxide.dask.rank_features(pd.DataFrame({"x": [3.0], "y": [0]}), ddf).percentiles
    array([[100.,  50.]])
    """
    table = DaskTable(ddf)
    if isinstance(rows, dd.DataFrame):
        rows = rows.compute()  # type: ignore[no-untyped-call]
    return _verbs.rank_features(
        rows,
        table,
        features=_names(features),
        kind=kind,
        tail=tail,
        groups=groups,
        rank_last=rank_last,
        nan_policy=nan_policy,
    )


def detect(
    ddf: Any,
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
    min_group: int = 20,
    nan_policy: str = "omit",
    zscores: str | None = None,
    rules: Iterable[Rule] | None = None,
    domain_defaults: bool = True,
    time_format: str | None = None,
    timezone: str | None = None,
) -> Findings:
    """Find the anomalies of a dask frame, and say of each which features are out of the ordinary.

    The findings are those of `isoxide.ueba.detect` on the same rows in memory, a million of them at most.

    Parameters
    ----------
    ddf : dask.dataframe.DataFrame
        A row per entity and time.
    entity : str
        The column that says who.
    time : str
        The column that says when.
    include : str or list of str, optional
        Names or patterns of the columns that are features; by default every numeric one besides `entity` and `time`.
    exclude : str or list of str, optional
        Names or patterns of columns that are no features.
    forest : IsolationForest, optional
        See `isoxide.ueba.detect`, as for all that follow.
    threshold : float, optional
        The score at and below which rows are anomalies.
    contamination : float, optional
        The share of the rows that are.
    alerts_per_month : float, optional
        How many a month there may be, on average.
    calibration_contamination : float, default=0.1
        The contamination that scores are counted from.
    random_state : int or None, default=0
        Of the default forest.
    kind : {"rank", "weak", "strict", "mean"}, default="rank"
        How equal values are counted.
    tail : {"upper", "lower", "both"}, default="upper"
        Which values are unusual: high ones, low ones, or both.
    groups : str, optional
        A column: features are ranked among the rows of the same group.
    min_group : int, default=20
        Rows that a group must have; a finding of a smaller one has no ranks.
    nan_policy : {"omit", "propagate", "raise"}, default="omit"
        What missing values do to ranks.
    zscores : str, optional
        Name or pattern of features that are z-scores already: the default rules flag them from 3 on, and they come
        after all other features of a finding. By default ``"*zscore*"``, or no feature without `domain_defaults`.
    rules : list of rule, optional
        What marks a feature of a finding.
    domain_defaults : bool, default=True
        Whether names of columns that are usual in user behaviour analytics have a meaning: features called
        ``*zscore*`` are z-scores, the default rules flag ``leaver_action`` and ``is_weekend`` whenever they are above
        zero, and reports list ``is_weekend`` whenever it is. False switches all of this off: features are then treated
        alike whatever their names, unless `zscores`, `rules` or the options of a report say otherwise.
    time_format : str, optional
        Pattern of the times as in `datetime.datetime.strptime`, or the unit of numbers since 1970: ``"s"``, ``"ms"``,
        ``"us"`` or ``"ns"``.
    timezone : str, optional
        Time zone whose days count; by default each time keeps the day that was written.

    Returns
    -------
    Findings
        A row per anomaly, the lowest score first; of equal ones the latest.

    Raises
    ------
    TypeError
        If `ddf` is no dask frame.
    ValueError
        If there are too many anomalies, an argument is out of range, or a column is not as it must be.

    Notes
    -----
    The frame is read some eight times, and must come with its rows in the same order each time (see `fit`): if it fits
    in the memory of the workers, ``persist()`` it first. To find rows
    that are there twice, 8 bytes a row come to this process. In the manifest of the findings the checksums are missing
    that only whole tables have.

    Examples
    --------
    >>> import dask.dataframe as dd, numpy as np, pandas as pd
    >>> import isoxide.dask
    >>> rng = np.random.default_rng(0)
    >>> frame = pd.DataFrame({"actor": "a", "day": pd.date_range("2025-01-01", periods=300), "x": rng.normal(size=300)})
    >>> frame.loc[42, "x"] = 9.0
    >>> ddf = dd.from_pandas(frame, npartitions=3)
    >>> isoxide.dask.detect(ddf, entity="actor", time="day", contamination=0.01).frame["day"].iloc[0]
    Timestamp('2025-02-12 00:00:00')
    """
    table = DaskTable(ddf)
    from isoxide._partitioned.detect import detect as detect_in_parts

    if forest is None:
        # Of its own threads, since trees are grown in this process.
        forest = IsolationForest(random_state=random_state)
    return detect_in_parts(
        table,
        entity=entity,
        time=time,
        include=include,
        exclude=exclude,
        forest=forest,
        threshold=threshold,
        contamination=contamination,
        alerts_per_month=alerts_per_month,
        calibration_contamination=calibration_contamination,
        random_state=random_state,
        kind=kind,
        tail=tail,
        groups=groups,
        min_group=min_group,
        nan_policy=nan_policy,
        zscores=zscores,
        rules=rules,
        domain_defaults=domain_defaults,
        time_format=time_format,
        timezone=timezone,
        # Of each task.
        n_jobs=1,
    )


def _names(features: Iterable[str] | None) -> list[str] | None:
    if isinstance(features, str):
        raise TypeError(f"features must be a list of names, not the text {features!r}")
    return None if features is None else list(features)
