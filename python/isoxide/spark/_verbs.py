"""The verbs on DataFrames of Spark: a table in parts is made of them, and handed on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal

from pyspark.sql import DataFrame
from pyspark.sql.types import BooleanType, DoubleType, StructField, StructType
from sklearn.utils.validation import check_is_fitted

from isoxide._forest.estimator import IsolationForest
from isoxide._partitioned import fit as _verbs
from isoxide._partitioned.columns import features_of, numeric_names
from isoxide._ranks.feature_ranks import FeatureRanks
from isoxide.spark import _workers
from isoxide.spark._table import SparkTable, mapped, no_order

if TYPE_CHECKING:
    from isoxide.ueba import Findings
    from isoxide.ueba._rules import Rule

__all__ = ["detect", "fit", "offset", "rank_features", "score"]


def fit(
    df: DataFrame,
    features: Iterable[str] | None = None,
    *,
    order_by: str | Iterable[str] | None = None,
    forest: IsolationForest | None = None,
) -> IsolationForest:
    """Fit an isolation forest on a DataFrame.

    Trees are grown on the driver, on the rows that they draw, which are all that comes there. The forest is, bit for
    bit, that of the DataFrame sorted by `order_by` and fitted in memory.

    Parameters
    ----------
    df : pyspark.sql.DataFrame
        It is computed several times, and must come out the same: write down or persist what is not deterministic.
    features : iterable of str, optional
        Names of the columns; by default all numeric ones besides `order_by`.
    order_by : str or iterable of str
        Names of the columns of a unique key. Trees depend on the order of the rows, and Spark's rows have none of
        their own.
    forest : IsolationForest, optional
        An unfitted one, whose parameters are used; it stays as it is. By default
        ``IsolationForest(random_state=0)``.

    Returns
    -------
    IsolationForest
        A fitted one, for any rows, in Spark or in memory.

    Raises
    ------
    ValueError
        If there is no `order_by`, rows share a key or have a null in it, or a column cannot be fitted on.

    See Also
    --------
    score : Scores of all rows.

    Examples
    --------
    >>> from pyspark.sql import SparkSession
    >>> import isoxide.spark
    >>> spark = SparkSession.builder.master("local[1]").config("spark.sql.shuffle.partitions", 2).getOrCreate()
    >>> df = spark.range(300).selectExpr("id", "sin(id) AS x", "id % 7 AS y")
    >>> forest = isoxide.spark.fit(df, ["x", "y"], order_by="id")
    >>> forest.feature_names_in_.tolist()
    ['x', 'y']
    """
    with closing(SparkTable(df, order_by=_key(order_by, "a forest"))) as table:
        if features is None:
            features = [name for name in numeric_names(table.schema) if name not in table.key]
        return _verbs.fit(table, features=_names(features, "features"), forest=forest)


def score(forest: IsolationForest, df: DataFrame, *, score: str = "score", anomaly: str = "anomaly") -> DataFrame:
    """Score all rows of a DataFrame, once they are asked for.

    Parameters
    ----------
    forest : IsolationForest
        A fitted one, with names of features.
    df : pyspark.sql.DataFrame
        Its other columns are handed through. The rows may be in any order.
    score : str, default="score"
        Name of the new column of `IsolationForest.decision_function`: the lower, the more abnormal.
    anomaly : str, default="anomaly"
        Name of the new column that says whether that is below 0.

    Returns
    -------
    pyspark.sql.DataFrame
        All columns of `df` and the two new ones. Nothing is computed yet.

    Raises
    ------
    ValueError
        If a feature is missing, or there is a column of a new name already.

    See Also
    --------
    fit : Fits a forest.

    Examples
    --------
    >>> from pyspark.sql import SparkSession
    >>> import isoxide.spark
    >>> spark = SparkSession.builder.master("local[1]").config("spark.sql.shuffle.partitions", 2).getOrCreate()
    >>> df = spark.range(300).selectExpr("id", "IF(id = 42, 9.0D, sin(id)) AS x")
    >>> forest = isoxide.spark.fit(df, ["x"], order_by="id")
    >>> isoxide.spark.score(forest, df).orderBy("score").first()["id"]
    42
    """
    check_is_fitted(forest)
    table = SparkTable(df)
    wanted = features_of(forest, table.schema, table.name)
    # Spark takes upper and lower case for the same.
    there = {name.lower(): name for name in df.columns}
    for name in (score, anomaly):
        if name.lower() in there:
            raise ValueError(
                f"the DataFrame has a column {there[name.lower()]!r} already; name another with score or anomaly"
            )
        there[name.lower()] = name
    run = _workers.score_rows(table.share(forest), wanted, [score, anomaly])
    added = [StructField(score, DoubleType()), StructField(anomaly, BooleanType())]
    # The table is not closed: the forest is wanted for as long as the result is.
    return mapped(df, run, StructType([*df.schema.fields, *added]))


def offset(forest: IsolationForest, df: DataFrame, *, contamination: float | Literal["auto"]) -> float:
    """Find the offset with which a share of a DataFrame's rows are anomalies.

    Parameters
    ----------
    forest : IsolationForest
        A fitted one, with names of features; it stays as it is.
    df : pyspark.sql.DataFrame
        The rows, in any order.
    contamination : float or "auto"
        The share, in (0, 0.5].

    Returns
    -------
    float
        What `IsolationForest.offset_` would be after a fit on these rows with this `contamination`.

    Raises
    ------
    ValueError
        If a feature is missing, there are no rows, or `contamination` is out of range.

    See Also
    --------
    isoxide.IsolationForest.recalibrate : The same with rows in memory.

    Examples
    --------
    >>> from pyspark.sql import SparkSession
    >>> import isoxide.spark
    >>> spark = SparkSession.builder.master("local[1]").config("spark.sql.shuffle.partitions", 2).getOrCreate()
    >>> df = spark.range(300).selectExpr("id", "sin(id) AS x")
    >>> forest = isoxide.spark.fit(df, ["x"], order_by="id")
    >>> forest.offset_ = isoxide.spark.offset(forest, df, contamination=0.01)
    >>> isoxide.spark.score(forest, df).where("anomaly").count()
    3
    """
    with closing(SparkTable(df)) as table:
        return float(_verbs.offset(table, forest, contamination=contamination))


def rank_features(
    rows: Any,
    df: DataFrame,
    *,
    features: Iterable[str] | None = None,
    kind: str = "rank",
    tail: str = "upper",
    groups: str | None = None,
    rank_last: str | Callable[[str], bool] | None = None,
    nan_policy: str = "propagate",
) -> FeatureRanks:
    """Rank the features of some rows among all rows of a DataFrame.

    Parameters
    ----------
    rows : frame
        The rows of interest, in memory: a frame of pandas, polars or pyarrow, such as anomalies that were collected.
    df : pyspark.sql.DataFrame
        The reference, in any order.
    features : iterable of str, optional
        Names of the columns; by default as in `isoxide.rank_features`.
    kind : {"rank", "weak", "strict", "mean"}, default="rank"
        See `isoxide.rank_features`, as for the next ones.
    tail : {"upper", "lower", "both"}, default="upper"
        Which values are unusual: high ones, low ones, or both.
    groups : str, optional
        A column of both tables: features are ranked among the rows of the same group.
    rank_last : str or callable, optional
        Which features come after all others.
    nan_policy : {"propagate", "omit", "raise"}, default="propagate"
        What missing values of the reference do.

    Returns
    -------
    FeatureRanks
        What `isoxide.rank_features` gives with the reference in memory.

    Raises
    ------
    ValueError
        If a column is missing or cannot be ranked.

    See Also
    --------
    isoxide.rank_features : The same with a reference in memory.

    Examples
    --------
    >>> from pyspark.sql import SparkSession
    >>> import isoxide.spark
    >>> spark = SparkSession.builder.master("local[1]").config("spark.sql.shuffle.partitions", 2).getOrCreate()
    >>> df = spark.range(100).selectExpr("id", "id % 10 AS x")
    >>> rows = df.where("id = 57").toArrow()
    >>> isoxide.spark.rank_features(rows, df, features=["x"]).percentiles
    array([[75.5]])
    """
    with closing(SparkTable(df)) as table:
        return _verbs.rank_features(
            rows,
            table,
            features=None if features is None else _names(features, "features"),
            kind=kind,
            tail=tail,
            groups=groups,
            rank_last=rank_last,
            nan_policy=nan_policy,
            n_jobs=table.n_jobs,
        )


def detect(
    df: DataFrame,
    *,
    entity: str,
    time: str,
    order_by: str | Iterable[str] | None = None,
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
    """Find the anomalies of a DataFrame, and say of each which features are out of the ordinary.

    The forest, the scores and the findings are those of `isoxide.ueba.detect` for the table sorted by `order_by`.

    Parameters
    ----------
    df : pyspark.sql.DataFrame
        A row per entity and time. It is computed several times, and must come out the same.
    entity : str
        The column that says who.
    time : str
        The column that says when.
    order_by : str or iterable of str, optional
        Names of the columns of a unique key, by which the rows are ordered; by default `entity` and `time`.
    include : str or list of str, optional
        See `isoxide.ueba.read_table`, as for `exclude`.
    exclude : str or list of str, optional
        Names or patterns of columns that are no features.
    forest : IsolationForest, optional
        See `isoxide.ueba.detect`, as for all that follow.
    threshold : float, optional
        Of the scores in the terms of `isoxide.ueba.calibrate`.
    contamination : float, optional
        The share of rows that are anomalies.
    alerts_per_month : float, optional
        The number of findings per month, on average.
    calibration_contamination : float, default=0.1
        The contamination that `threshold` refers to.
    random_state : int or None, default=0
        Of the default forest.
    kind : {"rank", "weak", "strict", "mean"}, default="rank"
        How values are ranked.
    tail : {"upper", "lower", "both"}, default="upper"
        Which values are unusual: high ones, low ones, or both.
    groups : str, optional
        A column of the table: features are ranked among the rows of the same group.
    min_group : int, default=20
        Rows that a group must have; a finding of a smaller one has no ranks.
    nan_policy : {"omit", "propagate", "raise"}, default="omit"
        What missing values of the table do to ranks.
    zscores : str, optional
        Name or pattern of features that are z-scores already: the default rules flag them from 3 on, and they come
        after all other features of a finding. By default ``"*zscore*"``, or no feature without `domain_defaults`.
    rules : list of rule, optional
        Which features are out of the ordinary by a fixed standard.
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
    isoxide.ueba.Findings
        A row per anomaly, the lowest score first.

    Raises
    ------
    ValueError
        If rows share a key or have a null in it, or an argument is out of range.

    See Also
    --------
    isoxide.ueba.detect : The same in memory.

    Examples
    --------
    >>> from pyspark.sql import SparkSession
    >>> import isoxide.spark
    >>> spark = SparkSession.builder.master("local[1]").config("spark.sql.shuffle.partitions", 2).getOrCreate()
    >>> day = "timestamp_ntz'2025-01-01' + make_dt_interval(id) AS day"
    >>> df = spark.range(300).selectExpr("'a' AS actor", day, "IF(id = 42, 9.0D, sin(id)) AS x")
    >>> findings = isoxide.spark.detect(df, entity="actor", time="day", contamination=0.01)
    >>> findings.frame["day"].iloc[0]
    Timestamp('2025-02-12 00:00:00')
    """
    # Findings need pandas; nothing else here does.
    from isoxide._partitioned import detect as _detect

    with closing(SparkTable(df, order_by=[entity, time] if order_by is None else _key(order_by, "a forest"))) as table:
        findings = _detect.detect(
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
            n_jobs=table.n_jobs,
        )
        # Of a single partition the scores are known in one piece, but in its own order, which is not that of the rows.
        findings.manifest["scores_sha256"] = None
        return findings


def _key(order_by: str | Iterable[str] | None, what: str) -> list[str]:
    names = [] if order_by is None else _names(order_by, "order_by")
    if not names:
        raise ValueError(no_order(what))
    return names


def _names(names: str | Iterable[str], argument: str) -> list[str]:
    """A name or several, as a list."""
    listed = [names] if isinstance(names, str) else list(names)
    for name in listed:
        if not isinstance(name, str):
            raise TypeError(f"{argument} must be names of columns, not {type(name).__name__}")
    return listed
