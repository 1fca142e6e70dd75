"""Train a model on a partitioned table, with the same files as `isoxide.ueba.Model.fit` for the same rows in memory.

profile and drawn rows -> grow -> threshold, with rows and days of the keys -> values of each population
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from isoxide._common.warn import warn_caller
from isoxide._forest.estimator import IsolationForest
from isoxide._forest.score_sketch import ScoreSketch
from isoxide._frames.columns import number_column
from isoxide._frames.times import Times, TimeStyle, days_of
from isoxide._partitioned.aggregators import SCORE, AggregateAll, Aggregator, Partition, SketchScores
from isoxide._partitioned.broadcast import BroadcastForest
from isoxide._partitioned.columns import batch_scores
from isoxide._partitioned.engine import Engine
from isoxide._partitioned.families import PlannedRows, sampled_families
from isoxide._partitioned.fit import grow, score_offset
from isoxide._partitioned.options import PartitionedModelOptions
from isoxide._partitioned.profile import ProfiledTable
from isoxide._partitioned.sizes import group_by_size
from isoxide._partitioned.views import ScoredRows
from isoxide.ueba._calibrate import check_share_above, check_training, refuse_infinite, small_table_notes
from isoxide.ueba._columns import refuse_result_names
from isoxide.ueba._counting import CellCounts, KeyCounts, Populations
from isoxide.ueba._model import Model, made_model, new_forest, set_threshold
from isoxide.ueba._model_settings import settings_of
from isoxide.ueba._size import asks_for_size

__all__ = ["fit_model"]


class CountKeys(Aggregator[KeyCounts, KeyCounts]):
    """Count the rows of each entity, and of each group, on each day.

    Parameters
    ----------
    entity : str
        Column with the entities as text.
    times : Times
        Reader of the times.
    groups : str, optional
        Column with the labels of the groups as text.
    """

    def __init__(self, entity: str, times: Times, groups: str | None) -> None:
        self.entity, self.times, self.groups = entity, times, groups
        self.columns = (entity, times.name, *([] if groups is None else [groups]))

    def init(self, partition: Partition) -> KeyCounts:
        """Return the counts of a table without rows."""
        return KeyCounts()

    def update(self, state: KeyCounts, batch: pa.RecordBatch, first_row: int | None) -> KeyCounts:
        """Add the rows of a batch."""
        if batch.num_rows == 0:
            return state
        labels = None if self.groups is None else batch.column(self.groups)
        days = days_of(self.times.of(batch, first_row))
        return KeyCounts.merged([state, KeyCounts.of(batch.column(self.entity), days, labels)])

    def merge(self, states: Iterable[KeyCounts]) -> KeyCounts:
        """Return the counts of all partitions."""
        return KeyCounts.merged(states)


class CountCells(Aggregator[CellCounts, CellCounts]):
    """Count the values of each feature in each population, and the anomaly scores.

    Parameters
    ----------
    forest : BroadcastForest or None
        Forest that scores the rows; None reads the scores from the column `SCORE`.
    features : list of str
        Columns that the forest reads.
    keys : CountKeys
        Aggregator that counted the keys; its columns are read again.
    populations : Populations
        Populations that follow from the counts of the keys.
    """

    def __init__(
        self, forest: BroadcastForest | None, features: list[str], keys: CountKeys, populations: Populations
    ) -> None:
        self.forest, self.features, self.keys, self.populations = forest, features, keys, populations
        self.columns = tuple(dict.fromkeys([*keys.columns, *features, *([SCORE] if forest is None else [])]))

    def init(self, partition: Partition) -> CellCounts:
        """Return the counts of a table without rows."""
        return CellCounts(len(self.features), has_groups=self.keys.groups is not None)

    def update(self, state: CellCounts, batch: pa.RecordBatch, first_row: int | None) -> CellCounts:
        """Add the rows of a batch."""
        if batch.num_rows == 0:
            return state
        keys, populations = self.keys, self.populations
        groups = None if keys.groups is None else populations.group_codes(batch.column(keys.groups))
        if self.forest is None:
            scores = number_column(batch, SCORE)
        else:
            scores = batch_scores(batch, self.features, self.forest.forest())
        state.add(
            [number_column(batch, name) for name in self.features],
            -scores,
            days_of(keys.times.of(batch, first_row)).to_numpy(),
            groups,
            populations.history_codes(batch.column(keys.entity)),
        )
        return state

    def merge(self, states: Iterable[CellCounts]) -> CellCounts:
        """Return the counts of all partitions."""
        merged, *others = states
        for other in others:
            merged.merge(other)
        return merged


def fit_model(engine: Engine, options: PartitionedModelOptions, n_jobs: int | None = None) -> Model:
    """Return the model of a table.

    Parameters
    ----------
    engine : Engine
        Engine that reads the table; it stays open.
    options : PartitionedModelOptions
        Arguments of `PartitionedTable.fit_model`.
    n_jobs : int, optional
        Number of threads that grow the forest in this process if the options do not say; None means all cores.
    """
    settings = settings_of(options, options.entity, options.time)
    is_size = asks_for_size(settings.peers, engine.schema.names, engine.name)
    if settings.peers is not None and not is_size and settings.peers not in engine.schema.names:
        raise ValueError(f"groups={settings.peers!r} is not a column of the table")
    forest = new_forest(options)
    forest.set_params(n_jobs=options.n_jobs if options.n_jobs is not None else n_jobs)
    planned = PlannedRows(forest, has_sample=True)
    table = ProfiledTable(
        engine, entity=options.entity, time=options.time, include=options.include, exclude=options.exclude,
        groups=None if is_size else settings.peers, style=TimeStyle(options.time_format, options.timezone),
        planned_rows=planned.rows,
    )  # fmt: skip
    features = list(table.features)
    refuse_result_names(options.entity, options.time, features)
    refuse_infinite(table.profile.infinite)
    check_training(table.n_rows, table.profile.n_days, forest, train_on_this=options.train_on_this)
    size = group_by_size(table, settings.ranks.min_group) if is_size else None
    for note in small_table_notes(table.n_rows, forest):
        warn_caller(note)
    plan = planned.plan(table.n_rows, len(features))
    forest = grow(table.engine, plan, features, table.fetch(plan.rows, features))
    forest.offset_ = -0.5
    keys = CountKeys(options.entity, table.times, table.group_column)
    counted: list[KeyCounts] = []
    scores = table.engine.scores(forest)

    def offset(contamination: float) -> np.float64:
        """Return the offset, and count the keys in the same pass."""
        scored = scores if engine.is_local else ScoredRows(table.engine, forest)
        sketcher = SketchScores(ScoreSketch(table.n_rows, contamination))
        sketch, key_counts = scored.aggregate(AggregateAll([sketcher, keys]))
        counted.append(key_counts)
        return score_offset(scores, table.n_rows, contamination, sketch)

    try:
        set_threshold(forest, options, table.n_rows, table.profile.n_period_days, offset)
        key_counts = counted[0] if counted else table.engine.aggregate(keys)
        populations = Populations(key_counts, min_group=settings.ranks.min_group, min_history=settings.min_history)
        if counted and engine.is_local:
            # The scores were computed for the offset, and kept.
            cells = scores.aggregate(CountCells(None, features, keys, populations))
        else:
            counter = CountCells(_broadcast(table.engine, forest, n_jobs), features, keys, populations)
            cells = table.engine.aggregate(counter)
    finally:
        scores.close()
    reference = cells.reference(features, populations)
    if reference.n_rows != table.n_rows or reference.scores.n != table.n_rows:
        raise ValueError(f"{engine.name} changed while it was read; do not change the table")
    model = made_model(
        forest, settings, reference, cells.days, table.profile, engine.name, None, table.time_dtype,
        sampled_families(table), size,
    )  # fmt: skip
    check_share_above(model.n_above / table.n_rows, model.threshold)
    return model


def _broadcast(engine: Engine, forest: IsolationForest, n_jobs: int | None) -> BroadcastForest:
    """Send the forest to the workers; the stored forest has no number of threads."""
    threaded = IsolationForest.from_bytes(forest.to_bytes())
    threaded.set_params(n_jobs=engine.n_jobs if engine.n_jobs is not None else n_jobs)
    return engine.broadcast(threaded)
