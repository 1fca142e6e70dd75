"""Fit a forest on a partitioned table, and find its offset.

The rows that trees draw depend only on the number of rows and the seed. So a fit has these steps: count the rows, plan
the samples, fetch the drawn rows, grow the trees. An offset is a percentile of all scores. It lies between two
neighbouring scores, which sketches of the scores find exactly.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
import pyarrow as pa
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from isoxide._forest.estimator import IsolationForest
from isoxide._forest.sample_plan import SamplePlan
from isoxide._forest.score_sketch import ScoreSketch
from isoxide._frames.columns import float32_rows
from isoxide._frames.validation import check_contamination
from isoxide._partitioned.aggregators import SketchScores
from isoxide._partitioned.columns import check_features, features_of, numeric_names
from isoxide._partitioned.engine import Engine

__all__ = ["fit", "grow", "offset", "score_offset"]


def fit(engine: Engine, forest: IsolationForest, features: Iterable[str] | None) -> IsolationForest:
    """Fit a copy of a forest on columns of a table.

    Parameters
    ----------
    engine : Engine
        Engine that reads the table.
    forest : IsolationForest
        Forest with the parameters; it is not changed.
    features : iterable of str or None
        Columns to fit on; None means all numeric columns that are not part of the key.

    Raises
    ------
    ValueError
        If a parameter is out of range, the table has no rows, or a column is missing or not numeric.
    """
    forest = clone(forest)
    if features is None:
        features = [name for name in numeric_names(engine.schema) if name not in engine.key]
    names = check_features(engine.schema, features, engine.name)
    forest._validate_params()
    n_samples = engine.count()
    if n_samples == 0:
        raise ValueError(f"{engine.name} has no rows, but a forest needs at least one")
    grown = grow(engine, SamplePlan(forest, n_samples, len(names)), names)
    if not isinstance(grown.contamination, str):
        grown.offset_ = offset(engine, grown, grown.contamination)
    return grown


def grow(engine: Engine, plan: SamplePlan, names: list[str], rows: pa.Table | None = None) -> IsolationForest:
    """Grow the forest of a plan, and set its feature names but not its offset; fetch the drawn rows if not given."""
    rows = engine.fetch(plan.rows, names) if rows is None else rows
    if rows.num_rows != len(plan.rows):
        raise ValueError(
            f"{engine.name} changed while it was read: {len(plan.rows)} rows were requested, but {rows.num_rows} "
            "were found"
        )
    grown = plan.grow(float32_rows(rows, names))
    grown.feature_names_in_ = np.array(names, dtype=object)
    return grown


def offset(engine: Engine, forest: IsolationForest, contamination: float | Literal["auto"]) -> float:
    """Compute the offset of a forest for a contamination of the rows of a table.

    Raises
    ------
    ValueError
        If the contamination is out of range, or the table has no rows or lacks a column of the forest.
    """
    check_is_fitted(forest)
    check_contamination(forest, contamination)
    if isinstance(contamination, str):
        return -0.5
    features_of(forest, engine.schema, engine.name)
    n_samples = engine.count()
    if n_samples == 0:
        raise ValueError(f"{engine.name} has no rows, but an offset needs at least one")
    scores = engine.scores(forest)
    try:
        return score_offset(scores, n_samples, contamination)
    finally:
        scores.close()


def score_offset(scores: Engine, n_samples: int, contamination: float, sketch: ScoreSketch | None = None) -> np.float64:
    """Compute the offset for a contamination from a table of scores, of which a sketch may have been filled already."""
    if sketch is None:
        sketch = scores.aggregate(SketchScores(ScoreSketch(n_samples, contamination)))
    while True:
        check_scored(scores, n_samples, sketch.n_seen)
        if sketch.is_resolved:
            return sketch.offset()
        sketch = scores.aggregate(SketchScores(sketch.refined()))


def check_scored(scores: Engine, n_samples: int, n_scored: int) -> None:
    """Refuse a table that does not have as many rows as were counted."""
    if n_scored != n_samples:
        raise ValueError(
            f"{scores.name} changed while it was read: it had {n_samples} rows when they were counted, but "
            f"{n_scored} when they were scored"
        )
