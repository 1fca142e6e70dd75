"""Rows that are needed once a table is profiled, and families of its features, from the same rows as in memory."""

from __future__ import annotations

from contextlib import suppress
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from isoxide._forest.estimator import IsolationForest
from isoxide._forest.random_state import integer_seed
from isoxide._forest.sample_plan import SamplePlan
from isoxide._frames.columns import plain_numbers
from isoxide._partitioned.profile import MAX_PLANNED_ROWS, ProfiledTable
from isoxide.ueba._families import families_of, sampled_rows

__all__ = ["PlannedRows", "sampled_columns", "sampled_families"]


class PlannedRows:
    """Rows that are needed once a table is profiled: those that trees draw, and those that correlations come from.

    Parameters
    ----------
    forest : IsolationForest or None
        Unfitted forest; None if no forest is grown.
    has_sample : bool
        Whether the rows of `sampled_rows` are needed.
    """

    def __init__(self, forest: IsolationForest | None, *, has_sample: bool) -> None:
        self.forest, self.has_sample = forest, has_sample
        self._plan: SamplePlan | None = None

    def rows(self, n_rows: int, n_features: int) -> NDArray[np.int64]:
        """Return the numbers of the rows that are needed if the table has this size, in ascending order."""
        rows = sampled_rows(n_rows) if self.has_sample else np.empty(0, dtype=np.int64)
        forest = self.forest
        if forest is not None and self._can_be_planned(forest, n_rows):
            with suppress(ValueError, TypeError):
                return np.union1d(rows, self.plan(n_rows, n_features).rows)
        return rows

    @staticmethod
    def _can_be_planned(forest: IsolationForest, n_rows: int) -> bool:
        """Return whether a plan may be made twice, because the size may turn out to be another."""
        # Another stream of random numbers would have advanced. Errors and warnings wait until the size is known.
        if integer_seed(forest.random_state) is None:
            return False
        max_samples, n_trees = forest.max_samples, forest.n_estimators
        if isinstance(max_samples, Real) and not isinstance(max_samples, Integral):
            max_samples = max_samples * n_rows
        drawn = 256 if isinstance(max_samples, str) else max_samples
        if not isinstance(drawn, Real) or not isinstance(n_trees, Integral):
            return False
        return bool(drawn <= n_rows and drawn * n_trees <= MAX_PLANNED_ROWS)

    def plan(self, n_rows: int, n_features: int) -> SamplePlan:
        """Return the plan of the forest for a table of this size."""
        assert self.forest is not None
        plan = self._plan
        if plan is None or (plan.n_samples, plan.n_features) != (n_rows, n_features):
            plan = self._plan = SamplePlan(clone(self.forest), n_rows, n_features)
        return plan


def sampled_families(table: ProfiledTable) -> list[list[int]]:
    """Return the families of the features of a table."""
    return families_of(sampled_columns(table))


def sampled_columns(table: ProfiledTable) -> list[NDArray[Any]]:
    """Return the values of each feature in the sampled rows; missing ones are NaN."""
    rows = table.fetch(sampled_rows(table.n_rows), table.features)
    return [np.asarray(plain_numbers(rows[name]).to_numpy(), dtype=np.float64) for name in table.features]
