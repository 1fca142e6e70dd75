"""Interface that each engine implements for a partitioned table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isoxide._forest.estimator import IsolationForest
from isoxide._partitioned.aggregators import ROW_NUMBER, Aggregator
from isoxide._partitioned.broadcast import BroadcastForest

__all__ = ["Engine"]

R = TypeVar("R")


class Engine(ABC):
    """Interface that each engine implements for a partitioned table.

    An engine reads the rows as Arrow record batches, runs aggregators on them, and merges the states. It does so in
    this process, or in the workers of a cluster. Column names are distinct.
    """

    #: Name of the table in messages: a path, or a description such as "the DataFrame".
    name: str
    #: Names and Arrow types of all columns.
    schema: pa.Schema
    #: Columns of a unique key that orders the rows, if the engine does not know row numbers while it reads. Otherwise
    #: empty.
    key: tuple[str, ...] = ()
    #: Number of threads of one task; None means all cores.
    n_jobs: int | None = None
    #: Whether aggregators run in this process, so that they can use temporary files.
    is_local: bool = False

    #: For each text column whose cells were inspected, the reason why it is not a column of numbers.
    reasons: Mapping[str, str] = MappingProxyType({})
    #: For each column of numbers that was read from text, the name under which the text can be read.
    written: Mapping[str, str] = MappingProxyType({})
    #: Columns of objects that are partly numbers and partly text; they are read as text.
    untyped: frozenset[str] = frozenset()
    #: One sentence for each change or omission when the table was opened.
    notes: tuple[str, ...] = ()

    @abstractmethod
    def aggregate(self, aggregator: Aggregator[Any, R]) -> R:
        """Return the result of an aggregator over all rows; a table without partitions counts as an empty one."""

    @abstractmethod
    def count(self) -> int:
        """Return the number of rows. Afterwards the engine knows the first row of each partition, or has sorted `key`.

        Raises
        ------
        ValueError
            If several rows have the same `key`, so that the order of the rows is ambiguous.
        """

    @abstractmethod
    def fetch(self, rows: NDArray[np.int64], columns: Iterable[str]) -> pa.Table:
        """Return the rows with these numbers, which are distinct and in ascending order."""

    @abstractmethod
    def scores(self, forest: IsolationForest) -> Engine:
        """Return the scores of the table: aggregators may read ``score_samples`` as the column `SCORE`.

        On a local engine, which computes the scores once and keeps them, aggregators may read the columns of the table
        at the same time. Other engines may offer the scores alone.
        """

    def row_numbers(self, rows: pa.Table) -> NDArray[np.int64]:
        """Return the row numbers of rows that an aggregator collected with the columns of `key` or `ROW_NUMBER`."""
        numbers: NDArray[np.int64] = rows[ROW_NUMBER].to_numpy()
        return numbers

    def broadcast(self, forest: IsolationForest) -> BroadcastForest:
        """Return the forest in a form that is sent to each worker once."""
        return BroadcastForest(forest.to_bytes(), n_jobs=forest.n_jobs)

    def close(self) -> None:  # noqa: B027 (most engines keep nothing)
        """Free the resources of the engine."""
