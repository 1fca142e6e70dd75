"""Rank cells and score rows with scikit-learn and scipy alone, so that tests can compare isoxide with the results.

The module has the names of isoxide but never imports it, so a test can replace one with the other. It is slow on
purpose: every number comes from one call of scikit-learn or scipy, and every order from a stable sort.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import percentileofscore
from sklearn.ensemble import IsolationForest

__all__ = ["FeatureRanks", "IsolationForest", "rank_features"]


class FeatureRanks:
    """Percentile of every cell of `rows` within its column of the reference, and the order of features in every row."""

    def __init__(
        self,
        features: list[str],
        percentiles: np.ndarray,
        values: np.ndarray,
        index: pd.Index,
        is_last: list[bool],
    ) -> None:
        self.features = features
        self.index = index
        self.percentiles = percentiles
        self.values = values
        self.order = np.empty(percentiles.shape, dtype=np.intp)
        for i, row in enumerate(percentiles):
            # NaN would make the sort undefined, so features with NaN are appended at the end.
            known = [j for j in range(len(features)) if not np.isnan(row[j])]
            unknown = [j for j in range(len(features)) if np.isnan(row[j])]
            # There are two stable sorts: by percentile, then to move the `rank_last` features behind all others.
            known = sorted(known, key=lambda j: row[j], reverse=True)
            self.order[i] = sorted(known, key=lambda j: is_last[j]) + sorted(unknown, key=lambda j: is_last[j])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.percentiles, dtype=dtype, copy=copy)

    def to_records(self) -> list[list[tuple[str, float, Any]]]:
        return [
            [(self.features[j], self.percentiles[i, j], self.values[i, j]) for j in order]
            for i, order in enumerate(self.order)
        ]

    def to_frame(self) -> pd.DataFrame:
        return pd.DataFrame(
            [
                (label, position, *record)
                for label, records in zip(self.index, self.to_records(), strict=True)
                for position, record in enumerate(records)
            ],
            columns=["row", "position", "feature", "percentile", "value"],
        )

    def cutoff_table(self, cutoffs: Sequence[float]) -> pd.DataFrame:
        lines = []
        for cutoff in cutoffs:
            counts = [sum(percentile >= cutoff for percentile in row) for row in self.percentiles]
            lines.append((cutoff, sum(counts) / len(counts), min(counts)))
        return pd.DataFrame(lines, columns=["cutoff", "mean", "min"])

    def feature_counts(self, cutoff: float, always_show: Sequence[str] = ()) -> pd.Series:
        counts = {}
        for j, feature in enumerate(self.features):
            hits = [
                percentile >= cutoff or (feature in always_show and value > 0)
                for percentile, value in zip(self.percentiles[:, j], self.values[:, j], strict=True)
            ]
            if any(hits):
                counts[feature] = sum(hits)
        # A stable sort keeps features with equal counts in the order of the columns.
        ordered = sorted(counts.items(), key=lambda item: item[1], reverse=True)
        names = pd.Index([feature for feature, _ in ordered], dtype="str", name="feature")
        return pd.Series([count for _, count in ordered], index=names, name="count", dtype=np.int64)


def rank_features(
    rows: Any,
    reference: Any,
    *,
    features: Sequence[str] | None = None,
    kind: str = "rank",
    rank_last: str | Callable[[str], bool] | None = None,
    nan_policy: str = "propagate",
    n_jobs: int | None = None,
) -> FeatureRanks:
    """Call `percentileofscore` once for every row and column; `n_jobs` is accepted and ignored."""
    rows, reference = _frame(rows, reference), _frame(reference, rows)
    if set(rows.columns) != set(reference.columns):
        raise ValueError(f"columns differ: {sorted(set(rows.columns) ^ set(reference.columns))}")
    names = list(rows.columns) if features is None else list(features)

    percentiles = np.empty((len(rows), len(names)))
    for i in range(len(rows)):
        for j, name in enumerate(names):
            percentiles[i, j] = percentileofscore(
                reference[name].to_numpy(), rows[name].iloc[i], kind=kind, nan_policy=nan_policy
            )

    if rank_last is None:
        is_last = [False] * len(names)
    elif callable(rank_last):
        is_last = [bool(rank_last(name)) for name in names]
    else:
        is_last = [fnmatchcase(name, rank_last) for name in names]
    return FeatureRanks(names, percentiles, rows[names].to_numpy(), rows.index, is_last)


def _frame(data: Any, other: Any) -> pd.DataFrame:
    """Return data as a frame. An array gets the column names of the other frame, or x0, x1, ... if both are arrays."""
    if isinstance(data, pd.DataFrame):
        return data
    array = np.asarray(data)
    names = other.columns if isinstance(other, pd.DataFrame) else [f"x{j}" for j in range(array.shape[1])]
    return pd.DataFrame(array, columns=names)
