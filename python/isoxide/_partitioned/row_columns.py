"""Columns that a forest adds to each row of a partitioned table: scores, and the contributions that explain them.

A `RowColumns` is sent to the workers together with the forest. It computes its columns from a batch, so their values
depend on neither batches nor partitions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from isoxide._forest.estimator import IsolationForest
from isoxide._forest.explain import explain_rows
from isoxide._forest.explanation import Output
from isoxide._frames.columns import batch_table
from isoxide._frames.row_labels import RowLabels
from isoxide._frames.validation import Input
from isoxide._partitioned.columns import score_batch

__all__ = ["AllColumns", "ExplanationColumns", "RowColumns", "ScoreColumns"]


class RowColumns(ABC):
    """Columns that a forest adds to each row."""

    #: Names and types of the columns.
    fields: list[pa.Field]
    #: Sentence about the remedy if the table already has a column with one of the names.
    remedy: str

    @abstractmethod
    def of(self, batch: pa.RecordBatch, features: list[str], forest: IsolationForest) -> list[pa.Array]:
        """Compute the columns for the rows of a batch, given the columns that the forest reads."""

    @property
    def names(self) -> list[str]:
        """Return the names of the columns."""
        return [field.name for field in self.fields]

    def empty(self) -> list[pa.Array]:
        """Return the columns for no rows."""
        return [pa.array([], field.type) for field in self.fields]


class ScoreColumns(RowColumns):
    """Decision score of each row, and whether it is below 0.

    Parameters
    ----------
    score, anomaly : str
        Names of the two columns.
    """

    remedy = "choose another name with score= or anomaly="

    def __init__(self, score: str = "score", anomaly: str = "anomaly") -> None:
        self.fields = [pa.field(score, pa.float64()), pa.field(anomaly, pa.bool_())]

    def of(self, batch: pa.RecordBatch, features: list[str], forest: IsolationForest) -> list[pa.Array]:
        """Compute the scores of a batch."""
        scores = score_batch(batch, features, forest)
        return [pa.array(scores), pa.array(scores < 0)]


class ExplanationColumns(RowColumns):
    """Contributions that make each row most anomalous: the feature of each, its value, the contribution and its share.

    Parameters
    ----------
    top : int
        Number of contributions, at most the number of features.
    output : {"log2", "path_length"}
        Scale of the contributions.
    prefix : str
        Beginning of the names of all columns.
    """

    remedy = "choose other names with prefix="

    def __init__(self, top: int, output: Output, prefix: str) -> None:
        self.top, self.output = top, output
        types = {"feature": pa.string(), "value": pa.float64(), "contribution": pa.float64(), "share": pa.float64()}
        self.fields = [
            pa.field(f"{prefix}{number}_{name}", dtype) for number in range(1, top + 1) for name, dtype in types.items()
        ]

    def of(self, batch: pa.RecordBatch, features: list[str], forest: IsolationForest) -> list[pa.Array]:
        """Explain the rows of a batch."""
        n_rows = batch.num_rows
        if n_rows == 0:
            return self.empty()
        explanation = explain_rows(
            forest._fitted,
            Input(batch_table(batch, features), n_rows, len(features)),
            RowLabels(np.arange(n_rows)),
            output=self.output,
            top=self.top,
            n_workers=forest._explaining_threads(n_rows),
        )
        assert explanation.indices is not None
        names, contributions, shares = pa.array(features, pa.string()), np.asarray(explanation), explanation.share()
        columns = []
        for k in range(self.top):
            columns += [
                names.take(pa.array(explanation.indices[:, k])),
                pa.array(np.asarray(explanation.data[:, k], dtype=np.float64)),
                pa.array(contributions[:, k]),
                pa.array(shares[:, k]),
            ]
        return columns


class AllColumns(RowColumns):
    """Columns of several `RowColumns`, one after the other.

    Parameters
    ----------
    parts : iterable of RowColumns
        Columns to join.
    """

    def __init__(self, parts: Iterable[RowColumns]) -> None:
        self.parts = list(parts)
        self.fields = [field for part in self.parts for field in part.fields]
        self.remedy = self.parts[-1].remedy

    def of(self, batch: pa.RecordBatch, features: list[str], forest: IsolationForest) -> list[pa.Array]:
        """Compute all columns of a batch."""
        return [column for part in self.parts for column in part.of(batch, features, forest)]
