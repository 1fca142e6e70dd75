"""View of an engine that tells a caller which pass over the table begins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isoxide._common.progress import Step
from isoxide._forest.estimator import IsolationForest
from isoxide._partitioned.aggregators import Aggregator
from isoxide._partitioned.engine import Engine
from isoxide._partitioned.views import EngineView

__all__ = ["ReportedPasses"]

R = TypeVar("R")


class ReportedPasses(EngineView):
    """Engine whose passes over the table begin a step each.

    Parameters
    ----------
    engine : Engine
        Engine that reads the table.
    step : callable
        Function that begins the step with a given name.
    label : str, default="reading the table"
        Name of a pass.
    """

    def __init__(self, engine: Engine, step: Step, label: str = "reading the table") -> None:
        super().__init__(engine)
        self.reasons, self.written, self.untyped, self.notes = (
            engine.reasons, engine.written, engine.untyped, engine.notes,
        )  # fmt: skip
        self._step, self._label = step, label

    def aggregate(self, aggregator: Aggregator[Any, R]) -> R:
        """Return the result of an aggregator over all rows."""
        self._step(self._label)
        return self.engine.aggregate(aggregator)

    def count(self) -> int:
        """Return the number of rows."""
        self._step("counting the rows")
        return self.engine.count()

    def fetch(self, rows: NDArray[np.int64], columns: Iterable[str]) -> pa.Table:
        """Return the rows with these numbers."""
        self._step("fetching rows")
        return self.engine.fetch(rows, columns)

    def scores(self, forest: IsolationForest) -> Engine:
        """Return the scores of all rows, whose passes are reported too."""
        return ReportedPasses(self.engine.scores(forest), self._step, "reading the scores")
