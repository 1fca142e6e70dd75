"""The public class of partitioned tables, whose methods are the same for every engine that reads the rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from isoxide._common import html
from isoxide._common.options import takes
from isoxide._common.patterns import name_list
from isoxide._common.progress import steps
from isoxide._forest.estimator import IsolationForest
from isoxide._forest.explain import check_output, check_top
from isoxide._frames.features import need_column, roles_of_features
from isoxide._frames.source import ChooseRoles, Roles
from isoxide._frames.tables import read_table
from isoxide._partitioned import fit, ranks
from isoxide._partitioned.engine import Engine
from isoxide._partitioned.importance import importance
from isoxide._partitioned.options import PartitionedDetectOptions, PartitionedModelOptions
from isoxide._partitioned.reported import ReportedPasses
from isoxide._partitioned.row_columns import ExplanationColumns, RowColumns, ScoreColumns
from isoxide._ranks.dtypes import RankDefinition
from isoxide._ranks.feature_ranks import FeatureRanks

if TYPE_CHECKING:
    from isoxide.ueba._findings import Findings
    from isoxide.ueba._model import Model

__all__ = ["PartitionedTable", "forest_features", "roles_of"]


class PartitionedTable(ABC):
    """A table that is read partition by partition: larger than memory, or on a cluster.

    Creating it reads no rows. Each method reads the rows as often as it needs. Its result is bit-identical to the
    result for the same rows in memory, however they are partitioned. The source must return the same rows in the same
    order each time it is read.

    See Also
    --------
    isoxide.stream.open : Open files, folders, datasets and Arrow streams on this machine.
    isoxide.spark.table : Make a table of a Spark DataFrame.
    isoxide.dask.table : Make a table of a Dask DataFrame.

    Examples
    --------
    >>> import numpy as np, pyarrow as pa
    >>> from isoxide import stream
    >>> rows = pa.table({"x": np.sin(np.arange(300)), "y": np.arange(300) % 7})
    >>> table = stream.open(rows)
    >>> forest = table.fit()
    >>> forest.feature_names_in_.tolist()
    ['x', 'y']
    """

    #: Number of threads that grow forests in this process; None means all cores.
    _n_jobs: int | None = None

    @abstractmethod
    def _open(self, roles: ChooseRoles, *, order_by: Iterable[str] | None = None) -> AbstractContextManager[Engine]:
        """Return the engine that reads the table; leaving the context frees the resources of the engine.

        Parameters
        ----------
        roles : callable
            Function that chooses the role of each column (text, number or unused) if the source declares no dtypes.
        order_by : iterable of str, optional
            Columns by which an engine without a row order of its own (Spark) sorts the rows. None means that the order
            does not matter.
        """

    @abstractmethod
    def _with_columns(self, forest: IsolationForest, added: RowColumns) -> Any:
        """Return a lazy frame of the engine with the columns that a forest adds to each row."""

    def _refuse_names(
        self, names: Iterable[str], table_name: str, added: RowColumns, *, ignore_case: bool = False
    ) -> None:
        """Refuse names of new columns that the table already has."""
        existing: dict[str, str] = {}
        for name in [*names, *added.names]:
            key = name.lower() if ignore_case else name
            if key in existing:
                raise ValueError(f"{table_name} already has a column {existing[key]!r}; {added.remedy}")
            existing[key] = name

    def _facts(self) -> list[tuple[str, str]]:
        """Return facts about the source by name, for notebooks; no rows are read for them."""
        return []

    def _columns(self) -> Mapping[str, str] | None:
        """Return the type of each column by its name, or None if rows would have to be read to know the columns."""
        return None

    def _repr_html_(self) -> str:
        """Return the source and its columns as a table, for notebooks; no rows are read."""
        columns = self._columns()
        summary = "read partition by partition; no rows have been read to show this"
        rows = [] if columns is None else list(columns.items())[: html.MAX_ROWS]
        return html.block(
            html.heading(type(self).__name__, summary if columns is None else f"{len(columns):,} columns, {summary}"),
            html.facts(self._facts()),
            html.table(["column", "type"], rows) if rows else html.Html(""),
            html.note(html.shown_of(len(columns or ()), "columns")),
        )

    def _in_memory(self, rows: Any) -> Any:
        """Return the rows in memory; an engine computes them first if they are one of its own frames."""
        return rows

    def fit(self, forest: IsolationForest | None = None, *, features: Iterable[str] | None = None) -> IsolationForest:
        """Fit an isolation forest on the table.

        The forest is bit-identical to the one that ``IsolationForest.fit`` grows on the same rows in memory. Only the
        rows that trees draw are loaded into this process: at most 25,600 by default.

        Parameters
        ----------
        forest : IsolationForest, optional
            Estimator whose parameters are used; it is not changed. By default ``IsolationForest(random_state=0)``.
        features : list of str, optional
            Names of the columns to fit on, in this order. By default all numeric columns; on Spark, the columns of
            `order_by` are left out.

        Returns
        -------
        IsolationForest
            New fitted forest. It can score rows in memory as well as partitioned tables.

        Raises
        ------
        ValueError
            If the table has no rows, a column is missing or not numeric, a parameter is out of range, or the rows
            have no fixed order.

        See Also
        --------
        score : Score all rows.

        Notes
        -----
        The table is read once to count the rows and once for the drawn rows. If the forest's `contamination` is a
        number, all rows are also scored, one to three times, to find the offset.

        Examples
        --------
        >>> import numpy as np, pyarrow as pa
        >>> from isoxide import IsolationForest, stream
        >>> X = np.random.default_rng(0).normal(size=(5000, 2))
        >>> params = IsolationForest(contamination=0.01, random_state=7)
        >>> forest = stream.open(pa.table({"a": X[:, 0], "b": X[:, 1]})).fit(params)
        >>> bool(forest.offset_ == params.fit(X).offset_)
        True
        """
        named = None if features is None else column_names(features, "features")
        if forest is None:
            forest = IsolationForest(random_state=0, n_jobs=self._n_jobs)
        with self._open(roles_of(numbers=named or ()), order_by=()) as engine:
            return fit.fit(engine, forest, named)

    def score(self, forest: IsolationForest, *, score: str = "score", anomaly: str = "anomaly") -> Any:
        """Add the scores of a forest to the table, row by row.

        Nothing is computed until the result is read. Each worker receives the forest once.

        Parameters
        ----------
        forest : IsolationForest
            Fitted forest. If it has feature names, they select the columns; otherwise all numeric columns are used.
        score : str, default="score"
            Name of the new column that holds ``decision_function``: the lower the score, the more abnormal the row.
        anomaly : str, default="anomaly"
            Name of the new column that says whether the score is below 0.

        Returns
        -------
        pyarrow.RecordBatchReader, pyspark.sql.DataFrame or dask.dataframe.DataFrame
            All columns of the table and the two new ones, as a frame of the engine with the same partitions. A
            ``RecordBatchReader`` can be read only once.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the forest is not fitted.
        ValueError
            If the table lacks a feature of the forest, or already has a column named `score` or `anomaly`.

        See Also
        --------
        fit : Fit a forest.
        offset : Find the offset at which a given fraction of the rows are anomalies.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from isoxide import stream
        >>> table = stream.open(pa.table({"x": [-1.1, 0.3, 0.5, 100.0]}))
        >>> table.score(table.fit()).read_all()["anomaly"].to_pylist()
        [False, False, False, True]
        """
        check_is_fitted(forest)
        if score == anomaly:
            raise ValueError(f"score and anomaly are both {score!r}; choose two different names")
        return self._with_columns(forest, ScoreColumns(score, anomaly))

    def explain(
        self,
        forest: IsolationForest,
        *,
        top: int = 5,
        output: Literal["log2", "path_length"] = "log2",
        prefix: str = "top_",
    ) -> Any:
        """Add to each row the features that make it most anomalous, with their contributions to its score.

        Nothing is computed until the result is read. The contributions are bit-identical to those of
        ``IsolationForest.explain`` for the same rows in memory.

        Parameters
        ----------
        forest : IsolationForest
            Fitted forest. If it has feature names, they select the columns; otherwise all numeric columns are used.
        top : int, default=5
            Number of features for each row, at least 1, the most anomalous contribution first. A forest with fewer
            features gives all of them.
        output : {"log2", "path_length"}, default="log2"
            Scale of the contributions, as in ``IsolationForest.explain``.
        prefix : str, optional
            Beginning of the names of the new columns, by default ``top_``: ``top_1_feature`` (name of the feature),
            ``top_1_value`` (its value as float64), ``top_1_contribution`` and ``top_1_share`` (its share in what makes
            the row anomalous, from 0 to 1), then ``top_2_feature``, and so on.

        Returns
        -------
        pyarrow.RecordBatchReader, pyspark.sql.DataFrame or dask.dataframe.DataFrame
            All columns of the table and the new ones, as a frame of the engine with the same partitions. A
            ``RecordBatchReader`` can be read only once.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the forest is not fitted.
        ValueError
            If `top` or `output` is out of range, the table lacks a feature of the forest, or it already has one of the
            new columns.
        TypeError
            If `top` is not an integer.

        See Also
        --------
        importance : Compute the mean absolute contribution of each feature.
        isoxide.IsolationForest.explain : Explain rows in memory.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from isoxide import stream
        >>> table = stream.open(pa.table({"x": [-1.1, 0.3, 0.5, 100.0], "y": [1, 1, 1, 1]}))
        >>> explained = table.explain(table.fit(), top=1).read_all()
        >>> explained.column_names
        ['x', 'y', 'top_1_feature', 'top_1_value', 'top_1_contribution', 'top_1_share']
        >>> explained["top_1_feature"].to_pylist()[3]
        'x'
        """
        check_is_fitted(forest)
        if top is None:
            raise TypeError("top must be an integer, got None")
        kept = check_top(top, forest.n_features_in_)
        assert kept is not None
        return self._with_columns(forest, ExplanationColumns(kept, check_output(output), prefix))

    def importance(
        self, forest: IsolationForest, *, output: Literal["log2", "path_length"] = "log2"
    ) -> NDArray[np.float64]:
        """Compute how much each feature moves the scores: its mean absolute contribution over all rows.

        The result is bit-identical to that of ``IsolationForest.importance`` for the same rows in memory. The table is
        read once.

        Parameters
        ----------
        forest : IsolationForest
            Fitted forest. If it has feature names, they select the columns; otherwise all numeric columns are used.
        output : {"log2", "path_length"}, default="log2"
            Scale of the contributions, as in ``IsolationForest.explain``.

        Returns
        -------
        ndarray of float64, shape (n_features,)
            Importance of each feature of the forest, at least 0.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the forest is not fitted.
        ValueError
            If `output` is unknown, or the table has no rows or lacks a feature of the forest.

        See Also
        --------
        explain : Find the features that make each row most anomalous.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from isoxide import stream
        >>> table = stream.open(pa.table({"x": [-1.1, 0.3, 0.5, 100.0], "y": [1, 1, 1, 1]}))
        >>> table.importance(table.fit()).round(1)
        array([0.4, 0. ])
        """
        check_is_fitted(forest)
        output = check_output(output)
        with self._open(roles_of(numbers=forest_features(forest))) as engine:
            return importance(engine, forest, output)

    def offset(self, forest: IsolationForest, contamination: float | Literal["auto"]) -> float:
        """Find the offset at which a given fraction of the rows are anomalies.

        Parameters
        ----------
        forest : IsolationForest
            Fitted forest; it is not changed.
        contamination : float or "auto"
            Fraction of the rows, in (0, 0.5]; "auto" always gives -0.5.

        Returns
        -------
        float
            The offset that ``forest.recalibrate(X, contamination=contamination)`` sets for the same rows in memory.
            Assign it to ``forest.offset_``.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the forest is not fitted.
        ValueError
            If `contamination` is out of range, or the table has no rows or lacks a feature of the forest.

        See Also
        --------
        isoxide.IsolationForest.recalibrate : Set the offset from rows in memory.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from isoxide import stream
        >>> table = stream.open(pa.table({"x": [-1.1, 0.3, 0.5, 100.0]}))
        >>> forest = table.fit()
        >>> forest.offset_ = table.offset(forest, 0.5)
        >>> table.score(forest).read_all()["anomaly"].to_pylist()
        [True, False, False, True]
        """
        with self._open(roles_of(numbers=forest_features(forest))) as engine:
            return float(fit.offset(engine, forest, contamination))

    def rank_features(
        self,
        rows: Any,
        *,
        features: Iterable[str] | None = None,
        kind: str = "rank",
        tail: str = "upper",
        groups: str | None = None,
        rank_last: str | Callable[[str], bool] | None = None,
        nan_policy: str = "propagate",
    ) -> FeatureRanks:
        """Rank every value of the given rows among the same column of the table.

        The ranks are bit-identical to the ranks of `isoxide.rank_features` with the table in memory. The table is read
        once.

        Parameters
        ----------
        rows : frame of shape (n_rows, n_features)
            Rows to explain: a frame in memory, or a frame of the engine, which is computed first.
        features : list of str, optional
            Names of the columns to rank, in this order. By default all columns of `rows` except `groups`.
        kind : {"rank", "weak", "strict", "mean"}, default="rank"
            How equal values share a rank; `isoxide.percentileofscore` describes each.
        tail : {"upper", "lower", "both"}, default="upper"
            Side on which values are unusual and have high percentiles: high values, low values, or both.
        groups : str, optional
            Column of labels in both tables: each row is ranked only among the rows of the table with the same label.
            Rows whose label is missing or does not occur in the table have no percentiles (NaN).
        rank_last : str or callable, optional
            Features that come after all others in the order of a row: a name or pattern, or a function that takes a
            feature's name and returns True for these features.
        nan_policy : {"propagate", "omit", "raise"}, default="propagate"
            Treatment of missing values in a column of the table: make all percentiles of the column NaN, leave them
            out, or raise an error.

        Returns
        -------
        FeatureRanks
            Percentiles, and the order of the features in each row.

        Raises
        ------
        ValueError
            If the columns do not match, `nan_policy` is "raise" and a value is missing, or an argument is out of range.
        TypeError
            If a column of `rows` is not numeric.

        See Also
        --------
        isoxide.rank_features : Rank rows among a table in memory.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from isoxide import stream
        >>> table = stream.open(pa.table({"logins": [1.0, 2.0, 3.0], "share": [0.0, 0.0, 1.0]}))
        >>> table.rank_features(pa.table({"logins": [3.0], "share": [0.0]})).percentiles
        array([[100.,  50.]])
        """
        rows = self._in_memory(rows)
        if features is None:
            named = None
            ranked = [name for name in read_table(rows, "rows").names or [] if name != groups]
        else:
            named = ranked = column_names(features, "features")
        definition = RankDefinition(kind, tail, nan_policy)
        with self._open(roles_of(texts=() if groups is None else (groups,), numbers=ranked)) as engine:
            return ranks.rank_rows(engine, rows, definition, features=named, groups=groups, rank_last=rank_last)

    @takes(PartitionedDetectOptions)
    def detect(self, options: PartitionedDetectOptions) -> Findings:
        """Find the anomalies of the table, and rank the unusual features of each.

        The findings are bit-identical to the result of `isoxide.ueba.detect` for the same rows in memory. The table
        must have one row per entity and time.

        Parameters
        ----------
        **options
            The fields of `PartitionedDetectOptions`.

        Returns
        -------
        isoxide.ueba.Findings
            One row per anomaly, at most a million: the lowest score first, and the latest time first among equal
            scores. Their manifest has no checksum of the source.

        Raises
        ------
        ImportError
            If pandas is not installed, or `progress` is True and tqdm is not.
        ValueError
            If there are more than a million anomalies, a column is missing, a time cannot be read, an argument is out
            of range, or the rows have no fixed order.

        Warns
        -----
        UserWarning
            If a forest is fitted on a table that has fewer rows than a tree draws, since `train_on_this` is True.

        See Also
        --------
        isoxide.ueba.detect : Find the anomalies of a table in memory.

        Notes
        -----
        The table is read three times: for its profile and the rows that trees draw, for the scores, and for the ranks.
        If several rows share entity and time, one more pass is needed, and another one if some of them are dropped.
        Times with several zones and ``groups="size"`` each need one more, and so does a number of anomalies that is not
        known beforehand and above 4,000,000 cells. On Dask and Spark further passes count the rows and fetch those
        that trees draw.
        Further passes are needed if more than 10,000 distinct values of a feature lie close to one of its quantiles, or
        if a finding's group is smaller than `min_group`.

        Temporary files (in the folder that the environment variable ``TMPDIR`` names) take 8 bytes per row: hashes of
        entity and time, by which rows that equal an earlier one are found, then the scores. On a cluster the hashes are
        sent to this process, and scores are computed again in each pass that needs them.

        Rows that equal an earlier one are dropped; on Spark there are none, since the key is unique.

        The profile of the table lists columns of whole numbers that look like row numbers. If a column has more than
        16,384 distinct values, the range of its values decides this instead of the number of distinct values.

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> from isoxide import stream
        >>> days = pd.date_range("2025-01-01", periods=300)
        >>> frame = pd.DataFrame({"actor": "a", "day": days, "x": np.random.default_rng(0).normal(size=300)})
        >>> frame.loc[42, "x"] = 9.0
        >>> findings = stream.open(frame).detect(entity="actor", time="day", contamination=0.01)
        >>> findings.frame["day"].iloc[0]
        Timestamp('2025-02-12 00:00:00')
        """
        # Findings need pandas; nothing else here does.
        from isoxide._partitioned import detect

        roles = roles_of_features(options.entity, options.time, options.include, options.exclude)
        with (
            self._open(roles, order_by=(options.entity, options.time)) as engine,
            steps(options.progress, None, "detect") as step,
        ):
            reported = engine if options.progress is False else ReportedPasses(engine, step)
            return detect.detect(reported, options, self._n_jobs)

    @takes(PartitionedModelOptions)
    def fit_model(self, options: PartitionedModelOptions) -> Model:
        """Train a model on the table, which is kept and scores the rows of new days.

        The files of the model are the same as those of `isoxide.ueba.Model.fit` for the same rows in memory. The table
        must have one row per entity and time.

        Parameters
        ----------
        **options
            The fields of `PartitionedModelOptions`.

        Returns
        -------
        isoxide.ueba.Model
            The model. Its source has no checksum.

        Raises
        ------
        ImportError
            If pandas is not installed.
        ValueError
            If the table is too small and `train_on_this` is False, a column is missing, a feature has infinite values,
            more than half of the rows are above the threshold, an argument is out of range, or the rows have no fixed
            order.

        Warns
        -----
        UserWarning
            If the table has fewer rows than a tree draws and `train_on_this` is True.

        See Also
        --------
        isoxide.ueba.Model.fit : Train a model on a table in memory.

        Notes
        -----
        The table is read three times: for its profile and the rows that trees draw, for the keys (and for scores, if
        `contamination` or `alerts_per_month` sets the threshold), and for the values. If several rows share entity and
        time, one more pass is needed, and another one if some of them are dropped. Times with several zones and
        ``groups="size"`` each need one more. On Dask and Spark further passes count the rows and fetch those that trees
        draw. The reference is
        exact, so it holds each distinct value of each feature once for all rows, and again for each group and each
        entity with enough days: up to 16 bytes per cell for each of these, in this process.

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> from isoxide import stream
        >>> days = pd.date_range("2025-01-01", periods=300)
        >>> frame = pd.DataFrame({"actor": "a", "day": days, "x": np.random.default_rng(0).normal(size=300)})
        >>> model = stream.open(frame).fit_model(entity="actor", time="day", threshold=0.7)
        >>> model.training["rows"]
        300
        """
        # Models need pandas.
        from isoxide._partitioned import model

        roles = roles_of_features(options.entity, options.time, options.include, options.exclude)
        with self._open(roles, order_by=(options.entity, options.time)) as engine:
            return model.fit_model(engine, options, self._n_jobs)


def column_names(names: Iterable[str], argument: str) -> list[str]:
    """Return names of columns as a list; a single string is refused, since it would be read as a list of letters."""
    listed = name_list(names, argument)
    for name in listed:
        if not isinstance(name, str):
            raise TypeError(f"{argument} must be names of columns, not {type(name).__name__}")
    return listed


def roles_of(texts: Iterable[str] = (), numbers: Iterable[str] = (), argument: str = "groups") -> ChooseRoles:
    """Return a function that gives the named columns their roles; without `numbers`, any column may hold numbers.

    Parameters
    ----------
    texts, numbers : iterable of str
        Columns to keep as the text in the source, and columns that must hold numbers.
    argument : str
        Name of the argument that `texts` come from, for messages.
    """
    texts, numbers = frozenset(texts), frozenset(numbers)

    def roles(names: list[str], table_name: str) -> Roles:
        for name in [*numbers, *texts]:
            need_column(names, name, "features" if name in numbers else argument, table_name)
        return Roles(texts - numbers, numbers, frozenset(names) - texts - numbers if numbers else frozenset())

    return roles


def forest_features(forest: IsolationForest) -> list[str]:
    """Return the feature names of a forest, or an empty list if it was fitted without names."""
    return list(getattr(forest, "feature_names_in_", ()))


# Messages and the documentation contain the public module's name, so that private modules can move.
PartitionedTable.__module__ = "isoxide.stream"
