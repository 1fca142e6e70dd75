"""The public class of tables in partitions: one set of methods, whichever engine holds the rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal

from sklearn.utils.validation import check_is_fitted

from isoxide._common.options import takes
from isoxide._common.patterns import name_list
from isoxide._forest.estimator import IsolationForest
from isoxide._frames.features import need_column, roles_of_features
from isoxide._frames.source import ChooseRoles, Roles
from isoxide._frames.tables import read_table
from isoxide._partitioned import fit, ranks
from isoxide._partitioned.engine import Engine
from isoxide._partitioned.options import PartitionedDetectOptions
from isoxide._ranks.dtypes import RankDefinition
from isoxide._ranks.feature_ranks import FeatureRanks

if TYPE_CHECKING:
    from isoxide.ueba._findings import Findings

__all__ = ["PartitionedTable", "forest_features", "roles_of"]


class PartitionedTable(ABC):
    """A table that is read partition by partition: larger than memory, or on a cluster.

    No rows are read when it is made. Each method reads the rows as often as it needs, and returns the bits that the
    same rows in memory give, whatever the partitions are. The rows must be the same each time they are read.

    See Also
    --------
    isoxide.stream.open : Files, folders, datasets and Arrow streams on this machine.
    isoxide.spark.table : A DataFrame of Spark.
    isoxide.dask.table : A frame of Dask.

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

    #: Threads that grow forests in this process; None means all cores.
    _n_jobs: int | None = None

    @abstractmethod
    def _open(self, roles: ChooseRoles, *, order_by: Iterable[str] | None = None) -> AbstractContextManager[Engine]:
        """Return the engine that reads the table; leaving the context gives back what the engine kept.

        Parameters
        ----------
        roles : callable
            Says what columns are wanted for, where types are not declared.
        order_by : iterable of str, optional
            Columns that give the order of the rows where an engine has none of its own. None means that the order
            does not matter.
        """

    @abstractmethod
    def _scored(self, forest: IsolationForest, score: str, anomaly: str) -> Any:
        """Return a lazy frame of the engine with the two columns of `score`."""

    def _refuse_names(self, names: Iterable[str], table_name: str, *new: str, ignore_case: bool = False) -> None:
        """Refuse names of new columns that the table has already."""
        existing: dict[str, str] = {}
        for name in [*names, *new]:
            key = name.lower() if ignore_case else name
            if key in existing:
                raise ValueError(
                    f"{table_name} has a column {existing[key]!r} already; choose another name with score or anomaly"
                )
            existing[key] = name

    def _in_memory(self, rows: Any) -> Any:
        """Return rows that may be a frame of the engine in memory."""
        return rows

    def fit(self, forest: IsolationForest | None = None, *, features: Iterable[str] | None = None) -> IsolationForest:
        """Fit an isolation forest on the table.

        The forest is, bit for bit, the one that ``IsolationForest.fit`` makes of the same rows in memory. Only the
        rows that trees draw come to this process: by default 25,600 at most.

        Parameters
        ----------
        forest : IsolationForest, optional
            An estimator whose parameters are used; it is not changed. By default ``IsolationForest(random_state=0)``.
        features : list of str, optional
            Names of the columns to fit on, in this order. By default all numeric columns, on Spark without those that
            order the rows.

        Returns
        -------
        IsolationForest
            A new fitted forest, for rows in memory and in partitions.

        Raises
        ------
        ValueError
            If the table has no rows, a column is missing or not numeric, a parameter is out of range, or the order of
            the rows is not certain.

        See Also
        --------
        score : Score all rows.

        Notes
        -----
        The rows are counted, the drawn ones are read, and if the forest's `contamination` is a number, all rows are
        scored once to three times to find its offset.

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

        Nothing is computed until the result is read. The forest is brought to each worker once.

        Parameters
        ----------
        forest : IsolationForest
            A fitted forest. With names of features its columns are found by these; otherwise all numeric columns are
            taken.
        score : str, default="score"
            Name of the new column that holds ``decision_function``: the lower the score, the more abnormal the row.
        anomaly : str, default="anomaly"
            Name of the new column that says whether the score is below 0.

        Returns
        -------
        pyarrow.RecordBatchReader, pyspark.sql.DataFrame or dask.dataframe.DataFrame
            All columns of the table and the two new ones, in the engine's own kind of frame and with the same
            partitions. A reader of Arrow batches can be read once.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the forest is not fitted.
        ValueError
            If the table lacks a column of the forest, or has a column with the name of a new one.

        See Also
        --------
        fit : Fit a forest.
        offset : Find the offset that makes a given share of the rows anomalies.

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
            raise ValueError(f"score and anomaly are both {score!r}; they must be two columns")
        return self._scored(forest, score, anomaly)

    def offset(self, forest: IsolationForest, contamination: float | Literal["auto"]) -> float:
        """Find the offset with which a given share of the rows are anomalies.

        Parameters
        ----------
        forest : IsolationForest
            A fitted forest; it is not changed.
        contamination : float or "auto"
            The share of the rows, in (0, 0.5]; "auto" gives -0.5 whatever the rows are.

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
            If `contamination` is out of range, the table has no rows, or it lacks a column of the forest.

        See Also
        --------
        isoxide.IsolationForest.recalibrate : The same with rows in memory.

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
        """Rank every value of some rows among the same column of the table.

        The ranks are, bit for bit, those of `isoxide.rank_features` with the table in memory. It is read once.

        Parameters
        ----------
        rows : frame of shape (n_rows, n_features)
            The rows to explain: a frame in memory, or one of the engine, which is computed first.
        features : list of str, optional
            Names of the columns to rank, in this order. By default all columns of `rows` but `groups`.
        kind : {"rank", "weak", "strict", "mean"}, default="rank"
            How equal values share a rank; `isoxide.percentileofscore` describes each.
        tail : {"upper", "lower", "both"}, default="upper"
            Which values are unusual, and get high percentiles: high ones, low ones, or both.
        groups : str, optional
            A column of both tables: each row is ranked among the rows of the table with the same label only. Rows
            whose label is missing or unknown have no percentiles (NaN).
        rank_last : str or callable, optional
            Features that come after all others in the order of a row: a name or pattern, or a function that takes a
            name and returns whether it belongs there.
        nan_policy : {"propagate", "omit", "raise"}, default="propagate"
            Whether missing values of a column of the table make its percentiles NaN, are left out, or are refused.

        Returns
        -------
        FeatureRanks
            The percentiles, and the order of the features in each row.

        Raises
        ------
        ValueError
            If the columns do not match, NaN is refused, or an argument is out of range.
        TypeError
            If a column of `rows` is not numeric.

        See Also
        --------
        isoxide.rank_features : The same with a reference in memory.

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
            wanted = [name for name in read_table(rows, "rows").names or [] if name != groups]
        else:
            named = wanted = column_names(features, "features")
        definition = RankDefinition(kind, tail, nan_policy)
        with self._open(roles_of(texts=() if groups is None else (groups,), numbers=wanted)) as engine:
            return ranks.rank_rows(engine, rows, definition, features=named, groups=groups, rank_last=rank_last)

    @takes(PartitionedDetectOptions)
    def detect(self, options: PartitionedDetectOptions) -> Findings:
        """Find the anomalies of the table, and tell of each which features are out of the ordinary.

        The findings are, bit for bit, those of `isoxide.ueba.read_table` and `isoxide.ueba.detect` for the same rows
        in memory. The table has a row per entity and time.

        Parameters
        ----------
        **options
            The fields of `PartitionedDetectOptions`.

        Returns
        -------
        isoxide.ueba.Findings
            A row per anomaly, the lowest score first; of equal scores the latest time. There are a million at most.
            The checksum of the source is missing in their manifest.

        Raises
        ------
        ImportError
            If pandas is not installed.
        ValueError
            If there are too many anomalies, a column is missing, a time cannot be read, an argument is out of range,
            or the order of the rows is not certain.

        Warns
        -----
        UserWarning
            If no fitted forest is given and the table has fewer rows than a tree draws.

        See Also
        --------
        isoxide.ueba.detect : The same in memory.

        Notes
        -----
        The table is read eight times, three of them for entity and time only. Times that are not text save one of
        these, and so does a fitted forest. It is read once more if rows share entity and time, and more often where
        more than 10,000 distinct values of a feature crowd around one of its quantiles, or a finding's group is
        smaller than `min_group`.

        Rows that equal an earlier one are dropped, unless a key orders the rows (Spark). On one machine hashes of
        entity and time are kept in temporary files to find them, 8 bytes a row (in the folder that the environment
        variable ``TMPDIR`` names); on a cluster they come to this process.

        In the profile of the table, a column of whole numbers with more than 16,384 distinct values counts as
        numbering the rows if its range allows it.

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
        with self._open(roles, order_by=(options.entity, options.time)) as engine:
            return detect.detect(engine, options, self._n_jobs)


def column_names(names: Iterable[str], argument: str) -> list[str]:
    """Return names of columns as a list; one string is refused, as it would be taken for a list of letters."""
    listed = name_list(names, argument)
    for name in listed:
        if not isinstance(name, str):
            raise TypeError(f"{argument} must be names of columns, not {type(name).__name__}")
    return listed


def roles_of(texts: Iterable[str] = (), numbers: Iterable[str] = (), argument: str = "groups") -> ChooseRoles:
    """Return the roles of columns that are wanted by name; without names of numbers any column may hold numbers.

    Parameters
    ----------
    texts, numbers : iterable of str
        Columns that stay the text that was written, and columns that must be numbers.
    argument : str
        The argument that named `texts`, for messages.
    """
    texts, numbers = frozenset(texts), frozenset(numbers)

    def roles(names: list[str], table_name: str) -> Roles:
        for name in [*numbers, *texts]:
            need_column(names, name, "features" if name in numbers else argument, table_name)
        return Roles(texts - numbers, numbers, frozenset(names) - texts - numbers if numbers else frozenset())

    return roles


def forest_features(forest: IsolationForest) -> list[str]:
    """Return the names of the columns that a forest was fitted on, if it knows any."""
    return list(getattr(forest, "feature_names_in_", ()))
