"""Make partitioned tables of Spark DataFrames, and return scores as DataFrames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql.types import BooleanType, DoubleType, StringType, StructField, StructType

from isoxide._forest.estimator import IsolationForest
from isoxide._frames.source import ChooseRoles
from isoxide._partitioned.columns import features_of
from isoxide._partitioned.row_columns import RowColumns
from isoxide._partitioned.table import PartitionedTable, column_names
from isoxide.spark import _workers
from isoxide.spark._engine import SparkEngine, mapped, no_order

__all__ = ["SparkTable", "table"]

#: Spark's types of new columns, by the names of the Arrow types.
_TYPES = {"double": DoubleType, "bool": BooleanType, "string": StringType}


class SparkTable(PartitionedTable):
    """Spark DataFrame as a partitioned table, made by `isoxide.spark.table`.

    See Also
    --------
    table : Make a table of a Spark DataFrame.

    Examples
    --------
    >>> from pyspark.sql import SparkSession
    >>> import isoxide.spark
    >>> spark = SparkSession.builder.master("local[1]").config("spark.sql.shuffle.partitions", 2).getOrCreate()
    >>> df = spark.range(300).selectExpr("id", "sin(id) AS x", "id % 7 AS y")
    >>> isoxide.spark.table(df, order_by="id").fit().feature_names_in_.tolist()
    ['x', 'y']
    """

    def __init__(self, df: DataFrame, order_by: list[str]) -> None:
        self._frame, self._order_by = df, order_by
        # Refuse an object that is not a table, or columns that are not a key, before any other work.
        SparkEngine(df, order_by=order_by)

    @contextmanager
    def _open(self, roles: ChooseRoles, *, order_by: Iterable[str] | None = None) -> Iterator[SparkEngine]:
        if self._frame.isStreaming:
            raise ValueError(
                "the DataFrame is a stream, which only score and explain can read: fit, rank and detect on a batch, "
                "and score the stream with its forest"
            )
        key = [] if order_by is None else self._order_by or list(order_by)
        if order_by is not None and not key:
            raise ValueError(no_order("a forest"))
        engine = SparkEngine(self._frame, order_by=key)
        try:
            yield engine
        finally:
            engine.close()

    def _with_columns(self, forest: IsolationForest, added: RowColumns) -> DataFrame:
        # The engine is not closed, since the result needs the forest as long as it exists.
        engine, frame = SparkEngine(self._frame), self._frame
        # Spark ignores the case of column names.
        self._refuse_names(frame.columns, engine.name, added, ignore_case=True)
        features = features_of(forest, engine.schema, engine.name)
        run = _workers.add_columns(engine.broadcast(forest), features, added)
        new = [StructField(field.name, _TYPES[str(field.type)]()) for field in added.fields]
        return mapped(frame, run, StructType([*frame.schema.fields, *new]))

    def _in_memory(self, rows: Any) -> Any:
        return rows.toArrow() if isinstance(rows, DataFrame) else rows

    def __repr__(self) -> str:
        return (
            f"<SparkTable of {len(self._frame.columns)} columns, ordered by {', '.join(self._order_by) or 'nothing'}>"
        )

    def _facts(self) -> list[tuple[str, str]]:
        return [("ordered by", ", ".join(self._order_by) or "nothing")]

    def _columns(self) -> dict[str, str]:
        return dict(self._frame.dtypes)


def table(df: DataFrame, *, order_by: str | Iterable[str] | None = None) -> SparkTable:
    """Make a partitioned table of a DataFrame.

    Parameters
    ----------
    df : pyspark.sql.DataFrame
        DataFrame with the rows, in any order. It is computed several times, and must give the same rows each time: if
        it is not deterministic, write it to a table or persist it.
    order_by : str or list of str, optional
        Names of the columns of a unique key, such as an id. Trees depend on the order of the rows, but Spark's rows
        have none. So ``fit`` and ``detect`` return the results for the rows sorted by the key. Without a key, ``fit``
        raises an error, and ``detect`` sorts by entity and time. The other methods do not need a key.

    Returns
    -------
    SparkTable
        Table with the methods ``fit``, ``score``, ``explain``, ``importance``, ``offset``, ``rank_features`` and
        ``detect``. ``score`` and ``explain`` return a DataFrame.

    Raises
    ------
    TypeError
        If `df` is not a Spark DataFrame.
    ValueError
        If a column of the key is missing or has a type that cannot be sorted, or several columns have the same name.
        A duplicate or null key raises the error only when the rows are read.

    Examples
    --------
    >>> from pyspark.sql import SparkSession
    >>> import isoxide.spark
    >>> spark = SparkSession.builder.master("local[1]").config("spark.sql.shuffle.partitions", 2).getOrCreate()
    >>> df = spark.range(300).selectExpr("id", "IF(id = 42, 9.0D, sin(id)) AS x")
    >>> table = isoxide.spark.table(df, order_by="id")
    >>> forest = table.fit()
    >>> table.score(forest).orderBy("score").first()["id"]
    42
    >>> forest.offset_ = table.offset(forest, contamination=0.01)
    >>> table.score(forest).where("anomaly").count()
    3
    >>> table.rank_features(df.where("id = 42"), features=["x"]).percentiles
    array([[100.]])
    """
    names = [order_by] if isinstance(order_by, str) else column_names(order_by or (), "order_by")
    return SparkTable(df, names)
