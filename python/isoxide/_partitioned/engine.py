"""The interface that each engine implements for a partitioned table."""

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

    An engine reads Arrow record batches where the rows are, runs aggregators on them and brings the states together.
    Column names are distinct.
    """

    #: What the table is called in messages: a path, or what it is.
    name: str
    #: Names and types of all columns, in Arrow's terms.
    schema: pa.Schema
    #: Columns whose values together tell one row from all others and give the order of the rows, where rows have no
    #: numbers while they are read. Otherwise empty.
    key: tuple[str, ...] = ()
    #: Threads that one task uses where the rows are; None means all cores.
    n_jobs: int | None = None
    #: Whether aggregators run in this process, so that they can put things aside in files.
    is_local: bool = False

    #: By the name of a column of text whose cells were looked at, why it holds no numbers.
    reasons: Mapping[str, str] = MappingProxyType({})
    #: By the name of a column of numbers that was read from text, the name under which its text can be read.
    written: Mapping[str, str] = MappingProxyType({})
    #: Columns of objects of which some are numbers and some are text; they are read as text.
    untyped: frozenset[str] = frozenset()
    #: What was changed or left out while the table was opened, a sentence each.
    notes: tuple[str, ...] = ()

    @abstractmethod
    def aggregate(self, aggregator: Aggregator[Any, R]) -> R:
        """Return the result of an aggregator over all rows; a table without partitions is one without batches."""

    @abstractmethod
    def count(self) -> int:
        """Return the number of rows. After this, partitions know where they begin, unless the table has a `key`.

        Raises
        ------
        ValueError
            If the order of the rows is not certain, since rows share a `key`.
        """

    @abstractmethod
    def fetch(self, rows: NDArray[np.int64], columns: Iterable[str]) -> pa.Table:
        """Return the rows of these numbers, which are distinct and ascending, in this order."""

    @abstractmethod
    def scores(self, forest: IsolationForest) -> Engine:
        """Return a table of one column in the same partitions: what ``score_samples`` gives for each row."""

    def row_numbers(self, rows: pa.Table) -> NDArray[np.int64]:
        """Return the numbers of rows that an aggregator collected with the columns of `key`, or with `ROW_NUMBER`."""
        numbers: NDArray[np.int64] = rows[ROW_NUMBER].to_numpy()
        return numbers

    def broadcast(self, forest: IsolationForest) -> BroadcastForest:
        """Return a forest for aggregators, which is brought to each worker once."""
        return BroadcastForest(forest.to_bytes(), n_jobs=forest.n_jobs)

    def close(self) -> None:  # noqa: B027 (most engines keep nothing)
        """Give back what the engine kept for its results."""
