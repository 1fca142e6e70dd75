"""A table in parts: what an engine must be able to do with one, and all that the verbs ask of it.

An engine reads Arrow record batches where its rows are, runs a `Step` on each part, and brings the results together. It
computes nothing: what a step does is the same on every engine, and so are the results, whatever the parts are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

    from isoxide._forest.estimator import IsolationForest
    from isoxide._partitioned.model import Model

#: The column in which rows that are handed on carry their number, where it is known.
ROW_NUMBER = "__isoxide_row"


class Part(NamedTuple):
    """Some rows of a table that follow one another."""

    #: Parts are numbered in the order of their rows.
    number: int
    #: The number of its first row in the table, from 0; None where the engine does not know it (yet).
    first_row: int | None


class Step(ABC):
    """What is done to each part; picklable, and the same wherever it runs."""

    #: The columns it reads, in this order. Batches hold these, and in this order; others may follow.
    columns: tuple[str, ...]

    @abstractmethod
    def run(self, part: Part, batches: Iterator[pa.RecordBatch]) -> bytes:
        """What is to be known of a part: the batches come in the order of the rows; there may be none at all."""

    @abstractmethod
    def merge(self, results: Iterable[bytes]) -> bytes:
        """What is to be known of some parts together, at least one; in any order and any grouping."""


class PartedTable(ABC):
    """A table in parts, of one engine. Column names are distinct."""

    #: What it is called in messages: a path, or what it is.
    name: str
    #: Names and types of all columns, in Arrow's terms.
    schema: pa.Schema
    #: Columns whose values together tell one row from all others, and give the order of the rows, where rows have no
    #: numbers while they are read. Otherwise empty.
    key: tuple[str, ...] = ()

    #: Why a column of text is none of numbers, where its cells were looked at.
    reasons: Mapping[str, str] = MappingProxyType({})
    #: By the name of a column of numbers that was read from text, the name under which its text can be read.
    written: Mapping[str, str] = MappingProxyType({})
    #: Columns of objects of which some are numbers and some are text; they are read as text.
    untyped: frozenset[str] = frozenset()
    #: What was changed or left out while the table was opened, a sentence each.
    notes: tuple[str, ...] = ()

    #: Whether steps run in this process, so that they can put things aside in files.
    is_local: bool = False

    @abstractmethod
    def gather(self, step: Step) -> bytes:
        """Runs a step on each part and merges what comes; a table without parts is a part without batches."""

    @abstractmethod
    def count(self) -> int:
        """The number of rows. After this parts know where they begin, unless the table has a `key`.

        Raises
        ------
        ValueError
            If the order of the rows is not certain: rows share a `key`.
        """

    @abstractmethod
    def fetch(self, rows: NDArray[np.int64], columns: Iterable[str]) -> pa.Table:
        """The rows of these numbers, distinct and ascending, in this order."""

    def number(self, found: pa.Table) -> NDArray[np.int64]:
        """The numbers of rows that a step gave; they have the columns of the `key`, or without one `ROW_NUMBER`."""
        numbers: NDArray[np.int64] = found[ROW_NUMBER].to_numpy()
        return numbers

    def scores(self, forest: IsolationForest) -> PartedTable:
        """The scores of all rows, as `score_samples` gives them, as a table of one column in the same parts.

        Made on the way whenever they are read, unless the engine has a better way.
        """
        from isoxide._partitioned.aggregators import ScoredTable

        return ScoredTable(self, forest)

    def share(self, forest: IsolationForest) -> Model:
        """A forest for steps, which is brought to each worker once."""
        from isoxide._partitioned.model import Model

        return Model(forest.to_bytes(), n_jobs=forest.n_jobs)

    def close(self) -> None:  # noqa: B027 (most have nothing to give back)
        """Gives back what was kept for the verbs."""
