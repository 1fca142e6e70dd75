"""The verbs on tables that are read batch by batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sklearn.utils.validation import check_is_fitted

from isoxide._common.patterns import name_list
from isoxide._forest.estimator import IsolationForest
from isoxide._frames import ReadOptions, Roles, open_source
from isoxide._frames.features import need_column, roles_of_features
from isoxide._frames.source import ChooseRoles
from isoxide._frames.tables import read_table
from isoxide._partitioned import fit as _verbs
from isoxide._ranks.feature_ranks import FeatureRanks
from isoxide.stream._table import StreamTable
from isoxide.stream._write import ROWS_PER_FILE, ScoreWriter

if TYPE_CHECKING:
    from isoxide.ueba import Findings
    from isoxide.ueba._rules import Rule

__all__ = ["detect", "fit", "offset", "rank_features", "score"]


def _roles(texts: Iterable[str], numbers: Iterable[str], argument: str = "groups") -> ChooseRoles:
    """Return the roles of columns that are wanted by name; without names of numbers any column may be one."""
    texts, numbers = frozenset(texts), frozenset(numbers)

    def roles(names: list[str], where: str) -> Roles:
        for name in [*numbers, *texts]:
            need_column(names, name, "features" if name in numbers else argument, where)
        return Roles(texts - numbers, numbers, frozenset(names) - texts - numbers if numbers else frozenset())

    return roles


def _names_of(forest: IsolationForest) -> list[str]:
    """Return the names of the columns that a forest was fitted on, if it knows any."""
    return list(getattr(forest, "feature_names_in_", ()))


def _table(
    source: Any,
    batch_rows: int | None,
    progress: bool | None,
    reading: dict[str, Any],
    *,
    texts: Iterable[str] = (),
    numbers: Iterable[str] = (),
) -> StreamTable:
    opened = open_source(source, batch_rows, options=ReadOptions.of(**reading), roles=_roles(texts, numbers))
    return StreamTable(opened, progress=progress)


def fit(
    source: Any,
    features: Iterable[str] | None = None,
    *,
    forest: IsolationForest | None = None,
    batch_rows: int | None = None,
    progress: bool | None = None,
    **reading: Any,
) -> IsolationForest:
    """Fit a forest on a table that need not fit in memory.

    Trees, offset and scores are those of ``IsolationForest.fit`` on the same rows in memory, bit for bit. Only the rows
    that trees draw are kept: by default 25,600 at most.

    Parameters
    ----------
    source : path, list of paths, frame, pyarrow.dataset.Dataset, or object with an Arrow stream
        A file (Parquet, Feather or Arrow, CSV and its kin, JSON lines, Excel) or ``"-"`` for standard input; a folder
        of such, read in the order of their names (those of folders like ``day=2025-04-26`` are columns of Parquet files
        too); a frame of pandas or polars; a dataset; or whatever has ``__arrow_c_stream__``, such as a relation of
        DuckDB. It must give the same rows in the same order each time it is read. JSON lines and Excel files are read
        into memory; CSV files are read once more, to learn what their columns hold.
    features : list of str, optional
        The columns to fit on; by default all numeric ones.
    forest : IsolationForest, optional
        Its parameters are used; by default those of ``IsolationForest(random_state=0)``.
    batch_rows : int, optional
        Rows read at a time; by default as many as make about 16 MB.
    progress : bool, optional
        Whether to show a progress bar; by default on a terminal only.
    **reading
        How text files are read: ``sep``, ``decimal``, ``thousands``, ``missing`` and ``encoding``, as in
        `isoxide.ueba.read_table`.

    Returns
    -------
    IsolationForest
        A fitted one.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or the folder has none.
    ValueError
        If a file is damaged or has other columns than the first one, if a column is missing or not numeric, if the
        source has no rows or can be read only once, or a parameter is out of range.
    TypeError
        If `source` is something else.

    Notes
    -----
    The rows are read once, and once more if `contamination` is a number: the scores are then kept in a temporary file,
    8 bytes a row (in the folder that the environment variable ``TMPDIR`` names). Sources that do not know how many rows
    they have are read once more to count them.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np, pandas as pd
    >>> from isoxide import IsolationForest, stream
    >>> frame = pd.DataFrame(np.random.default_rng(0).normal(size=(5000, 3)), columns=["a", "b", "c"])
    >>> path = pathlib.Path(tempfile.mkdtemp(), "table.parquet")
    >>> frame.to_parquet(path)
    >>> forest = stream.fit(path, forest=IsolationForest(contamination=0.01, random_state=7))
    >>> bool(forest.offset_ == IsolationForest(contamination=0.01, random_state=7).fit(frame).offset_)
    True
    """
    features = None if features is None else name_list(features, "features")
    table = _table(source, batch_rows, progress, reading, numbers=features or ())
    return _verbs.fit(table, features=features, forest=forest)


def open_to_score(
    forest: IsolationForest,
    source: Any,
    keep: Iterable[str],
    batch_rows: int | None = None,
    progress: bool | None = None,
    **reading: Any,
) -> ScoreWriter:
    """Return what scores the rows of a source; columns to keep are read as text where they have no declared type."""
    keep = [keep] if isinstance(keep, str) else list(keep)
    roles = _roles(keep, _names_of(forest), "keep")
    opened = open_source(source, batch_rows, options=ReadOptions.of(**reading), roles=roles)
    return ScoreWriter(forest, opened, keep, progress)


def offset(
    forest: IsolationForest,
    source: Any,
    *,
    contamination: float | Literal["auto"],
    batch_rows: int | None = None,
    progress: bool | None = None,
    **reading: Any,
) -> float:
    """Find the offset of a forest for another contamination.

    Parameters
    ----------
    forest : IsolationForest
        A fitted one; it is left as it is.
    source : path, list of paths, frame, pyarrow.dataset.Dataset, or object with an Arrow stream
        The rows of which the share is to be outliers; see `fit`.
    contamination : float or "auto"
        Their share, in (0, 0.5].
    batch_rows : int, optional
        Rows read at a time.
    progress : bool, optional
        Whether to show a progress bar; by default on a terminal only.
    **reading
        How text files are read: ``sep``, ``decimal``, ``thousands``, ``missing`` and ``encoding``, as in
        `isoxide.ueba.read_table`.

    Returns
    -------
    float
        What ``forest.recalibrate(X, contamination=contamination).offset_`` is for the same rows in memory, bit for bit.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the forest is not fitted.
    ValueError
        If `contamination` is out of range, or the source lacks columns or rows.

    Examples
    --------
    >>> import numpy as np, pyarrow as pa
    >>> from isoxide import IsolationForest, stream
    >>> X = np.random.default_rng(0).normal(size=(5000, 3))
    >>> forest = IsolationForest(random_state=0).fit(X)
    >>> table = pa.table({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2]})
    >>> float(stream.offset(forest, table, contamination=0.25)) == float(np.percentile(forest.score_samples(X), 25))
    True
    """
    table = _table(source, batch_rows, progress, reading, numbers=_names_of(forest))
    return _verbs.offset(table, forest, contamination=contamination)


def score(
    forest: IsolationForest,
    source: Any,
    out: str | os.PathLike[str],
    *,
    keep: Iterable[str] = (),
    rows_per_file: int = ROWS_PER_FILE,
    resume: bool = False,
    batch_rows: int | None = None,
    progress: bool | None = None,
    **reading: Any,
) -> int:
    """Score a table and write the scores to Parquet.

    Written are the columns `keep`, ``score`` (that of ``IsolationForest.decision_function``: the lower, the more
    abnormal) and ``anomaly`` (whether it is below 0), row by row in the order of the source.

    Parameters
    ----------
    forest : IsolationForest
        A fitted one. With names of features, columns are found by these; else all numeric ones are taken.
    source : path, list of paths, frame, pyarrow.dataset.Dataset, or object with an Arrow stream
        The rows; see `fit`.
    out : path
        A file, if its name ends with ``.parquet``, which is replaced when the new one is whole. Otherwise a folder for
        files of `rows_per_file` rows each, which are put in it one after the other as they are whole; at the end the
        empty file ``_SUCCESS``.
    keep : list of str, optional
        Columns of the source to write beside the scores.
    rows_per_file : int, default=10,000,000
        Rows of each file of a folder.
    resume : bool, default=False
        Go on after the last whole file of a folder that was begun with the same forest, source and arguments.
    batch_rows : int, optional
        Rows read at a time.
    progress : bool, optional
        Whether to show a progress bar; by default on a terminal only.
    **reading
        How text files are read: ``sep``, ``decimal``, ``thousands``, ``missing`` and ``encoding``, as in
        `isoxide.ueba.read_table`.

    Returns
    -------
    int
        The number of rows that were scored, those of an earlier call among them.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the forest is not fitted.
    FileExistsError
        If the folder is there and not empty, unless with `resume`.
    ValueError
        If the source lacks columns or is damaged, or the folder was begun with something else.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np, pandas as pd
    >>> from isoxide import IsolationForest, stream
    >>> frame = pd.DataFrame(np.random.default_rng(0).normal(size=(5000, 3)), columns=["a", "b", "c"])
    >>> forest = IsolationForest(random_state=0).fit(frame)
    >>> out = pathlib.Path(tempfile.mkdtemp(), "scores.parquet")
    >>> stream.score(forest, frame, out, keep=["a"])
    5000
    >>> bool((pd.read_parquet(out)["score"] == forest.decision_function(frame)).all())
    True
    """
    check_is_fitted(forest)
    if rows_per_file < 1:
        raise ValueError(f"rows_per_file must be at least 1, got {rows_per_file}")
    writer = open_to_score(forest, source, keep, batch_rows, progress, **reading)
    return writer.write(Path(out), rows_per_file=rows_per_file, resume=resume)


def rank_features(
    rows: Any,
    source: Any,
    *,
    features: Iterable[str] | None = None,
    kind: str = "rank",
    tail: str = "upper",
    groups: str | None = None,
    rank_last: str | Callable[[str], bool] | None = None,
    nan_policy: str = "propagate",
    n_jobs: int | None = None,
    batch_rows: int | None = None,
    progress: bool | None = None,
    **reading: Any,
) -> FeatureRanks:
    """Percentile of every value in `rows` among the same column of a table that need not fit in memory.

    Parameters
    ----------
    rows : frame of shape (n_rows, n_features)
        The rows to explain, in memory; see `isoxide.rank_features`.
    source : path, list of paths, frame, pyarrow.dataset.Dataset, or object with an Arrow stream
        What they are compared with; see `fit`. It is read once.
    features : list of str, optional
        The columns to use; by default all of `rows`.
    kind : {'rank', 'weak', 'strict', 'mean'}, default='rank'
        See `isoxide.rank_features`, as for the next ones.
    tail : {'upper', 'lower', 'both'}, default='upper'
        Which values are unusual.
    groups : str, optional
        A column of both tables: each row is ranked among the rows with the same label only.
    rank_last : str or callable, optional
        Features that come after all others.
    nan_policy : {'propagate', 'raise', 'omit'}, default='propagate'
        What missing values do.
    n_jobs : int, optional
        Number of threads; None means all cores.
    batch_rows : int, optional
        Rows read at a time.
    progress : bool, optional
        Whether to show a progress bar; by default on a terminal only.
    **reading
        How text files are read: ``sep``, ``decimal``, ``thousands``, ``missing`` and ``encoding``, as in
        `isoxide.ueba.read_table`.

    Returns
    -------
    FeatureRanks
        What `isoxide.rank_features` gives for the same rows in memory, bit for bit.

    Raises
    ------
    ValueError
        If columns do not match, or an argument is out of range.
    TypeError
        If a column of `rows` is not numeric.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from isoxide import stream
    >>> reference = pa.table({"logins": [1.0, 2.0, 3.0], "share": [0.0, 0.0, 1.0]})
    >>> stream.rank_features(pa.table({"logins": [3.0], "share": [0.0]}), reference).percentiles
    array([[100.,  50.]])
    """
    if features is None:
        wanted = [name for name in read_table(rows, "rows").names or [] if name != groups]
    else:
        wanted = features = name_list(features, "features")
    table = _table(source, batch_rows, progress, reading, texts=() if groups is None else (groups,), numbers=wanted)
    return _verbs.rank_features(
        rows, table, features=features, kind=kind, tail=tail, groups=groups, rank_last=rank_last, nan_policy=nan_policy,
        n_jobs=n_jobs,
    )  # fmt: skip


def detect(
    source: Any,
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
    n_jobs: int | None = None,
    time_format: str | None = None,
    timezone: str | None = None,
    batch_rows: int | None = None,
    progress: bool | None = None,
    **reading: Any,
) -> Findings:
    """Find the anomalies of a table that need not fit in memory.

    Parameters
    ----------
    source : path, list of paths, frame, pyarrow.dataset.Dataset, or object with an Arrow stream
        A row per entity and time; see `fit`. It is read eight times, three of them for entity and time only; once less
        if times are no text, and once less with a fitted forest; once more if rows share entity and time, and more
        often where more than 10,000 different values of a feature crowd around one of its quantiles, or a finding's
        group is smaller than `min_group`.
    entity : str
        The column that says who; see `isoxide.ueba.read_table`, as for the next ones.
    time : str
        The column that says when.
    include : str or list of str, optional
        Names or patterns of the columns that are features.
    exclude : str or list of str, optional
        Names or patterns of columns that are no features.
    forest : IsolationForest, optional
        See `isoxide.ueba.detect`, as for the next ones.
    threshold : float, optional
        Rows at or below it are anomalies.
    contamination : float, optional
        Share of the rows that are anomalies.
    alerts_per_month : float, optional
        Anomalies a month.
    calibration_contamination : float, default=0.1
        The contamination that the scores of a threshold are counted from.
    random_state : int or None, default=0
        Of the default forest.
    kind : {"rank", "weak", "strict", "mean"}, default="rank"
        How equal values share a rank.
    tail : {"upper", "lower", "both"}, default="upper"
        Which values are unusual.
    groups : str, optional
        A column of the table: features are ranked among the rows of the same peer group.
    min_group : int, default=20
        Rows that a group must have; a finding of a smaller one has no ranks.
    nan_policy : {"omit", "propagate", "raise"}, default="omit"
        What missing values do to ranks.
    zscores : str, optional
        Name or pattern of features that are z-scores already: the default rules flag them from 3 on, and they come
        after all other features of a finding. By default ``"*zscore*"``, or no feature without `domain_defaults`.
    rules : list of rule, optional
        Which values are flagged.
    domain_defaults : bool, default=True
        Whether names of columns that are usual in user behaviour analytics have a meaning: features called
        ``*zscore*`` are z-scores, the default rules flag ``leaver_action`` and ``is_weekend`` whenever they are above
        zero, and reports list ``is_weekend`` whenever it is. False switches all of this off: features are then treated
        alike whatever their names, unless `zscores`, `rules` or the options of a report say otherwise.
    n_jobs : int, optional
        Number of threads; None means all cores.
    time_format : str, optional
        Pattern of the times as in `datetime.datetime.strptime`, or the unit of numbers since 1970: ``"s"``, ``"ms"``,
        ``"us"`` or ``"ns"``.
    timezone : str, optional
        Time zone whose days count; by default each time keeps the day that was written.
    batch_rows : int, optional
        Rows read at a time.
    progress : bool, optional
        Whether to show a progress bar; by default on a terminal only.
    **reading
        How text files are read: ``sep``, ``decimal``, ``thousands``, ``missing`` and ``encoding``, as in
        `isoxide.ueba.read_table`.

    Returns
    -------
    isoxide.ueba.Findings
        What `isoxide.ueba.detect` finds in the same rows in memory, bit for bit, a million findings at most. In its
        manifest the checksum of the source is missing; in its check, columns of more than 16,384 different values count
        as numbering the rows if their range allows it.

    Raises
    ------
    ImportError
        If pandas is not installed.
    ValueError
        If there are too many anomalies, a column is missing, a time cannot be read, or an argument is out of
        range.

    Notes
    -----
    Scores are kept in a temporary file, 8 bytes a row, and so are hashes of entity and time, to find rows that are
    there twice (in the folder that the environment variable ``TMPDIR`` names).

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from isoxide import stream
    >>> rng = np.random.default_rng(0)
    >>> frame = pd.DataFrame({"actor": "a", "day": pd.date_range("2025-01-01", periods=300), "x": rng.normal(size=300)})
    >>> frame.loc[42, "x"] = 9.0
    >>> findings = stream.detect(frame, entity="actor", time="day", contamination=0.01)
    >>> findings.frame["day"].iloc[0]
    Timestamp('2025-02-12 00:00:00')
    """
    # Here, since all else in this module does without pandas.
    from isoxide._partitioned import detect as _detect

    include = include if include is None or isinstance(include, str) else list(include)
    exclude = exclude if exclude is None or isinstance(exclude, str) else list(exclude)
    roles = roles_of_features(entity, time, include, exclude)
    opened = open_source(source, batch_rows, options=ReadOptions.of(**reading), roles=roles)
    return _detect.detect(
        StreamTable(opened, progress=progress),
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
        n_jobs=n_jobs,
        time_format=time_format,
        timezone=timezone,
    )
