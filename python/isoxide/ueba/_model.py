"""A model that is kept: trained once, stored in a folder, and used for every new day."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from isoxide._common import html
from isoxide._common.options import takes
from isoxide._common.progress import Progress, steps
from isoxide._common.warn import warn_caller
from isoxide._forest.estimator import IsolationForest
from isoxide._frames.dtypes import native
from isoxide._frames.keys import as_text
from isoxide._frames.table_profile import TableProfile
from isoxide._ranks.model_options import ModelOptions
from isoxide.ueba._assemble import versions
from isoxide.ueba._calibrate import (
    check_share_above,
    check_training,
    refuse_infinite,
    share_of_alerts,
    small_table_notes,
)
from isoxide.ueba._columns import refuse_result_names
from isoxide.ueba._counting import CellCounts, DayExtremes, KeyCounts, Populations
from isoxide.ueba._days import parse_day
from isoxide.ueba._drift import Drift, drift_of
from isoxide.ueba._families import sampled_rows
from isoxide.ueba._findings import Findings
from isoxide.ueba._model_data import ModelData, Training, feature_facts
from isoxide.ueba._model_files import read_model, write_model
from isoxide.ueba._model_settings import ModelSettings, settings_of
from isoxide.ueba._new_day import detect_new_day, features_of_new_rows, has_zone, scored_rows
from isoxide.ueba._quantiles import column_numbers
from isoxide.ueba._reference import Reference
from isoxide.ueba._sentences import entities_word
from isoxide.ueba._shares import families_of_frame
from isoxide.ueba._size import SizeBands, asks_for_size, size_of_frame
from isoxide.ueba._table import FeatureTable

__all__ = ["Model", "made_model", "new_forest", "set_threshold"]


class Model:
    """Forest and exact reference of a training table, which score and explain the rows of new days.

    A model is never changed by the rows that it scores, so a row has the same findings in every run. `fit` and `load`
    return instances.

    Attributes
    ----------
    forest : IsolationForest
        Forest; its ``offset_`` is the negated threshold.
    threshold : float
        Anomaly score above which a row is a finding, from 0 to 1.
    entity, time : str
        Names of the columns with the entity and the time.
    features : list of str
        Names of the features.
    id : str
        Identifier: 12 hexadecimal digits that depend on the forest, the reference and the settings.
    n_above : int
        Number of training rows above the threshold.
    training : dict
        Facts about the training table: its rows, entities and days, its source and checksum, and versions.

    See Also
    --------
    detect : Find the anomalies of a table with a forest that is fitted on the same table.

    Examples
    --------
    >>> import tempfile
    >>> from isoxide import ueba
    >>> from isoxide.datasets import load_enron
    >>> mail = load_enron()
    >>> options = {"entity": "actor", "time": "day", "exclude": ["n_prior_days", "known_rcpt_share"]}
    >>> before = ueba.read_table(mail[mail["day"] < "2001-11-01"], **options)
    >>> model = ueba.Model.fit(before, alerts_per_month=10, n_estimators=100)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model = ueba.Model.load(model.save(f"{folder}/model"))
    >>> day = ueba.read_table(mail[mail["day"] == "2001-11-21"], **options)
    >>> findings = model.detect(day)
    >>> findings.frame[["actor", "band"]].values.tolist(), findings.rarity_texts()
    ([['emp151', 'minor']], ['1 in 125'])
    """

    def __init__(self, data: ModelData) -> None:
        self._data = data

    @property
    def forest(self) -> IsolationForest:
        """Return the forest that scores rows."""
        return self._data.forest

    @property
    def threshold(self) -> float:
        """Return the anomaly score above which a row is a finding."""
        return self._data.threshold

    @property
    def entity(self) -> str:
        """Return the name of the column with the entity."""
        return self._data.settings.entity

    @property
    def time(self) -> str:
        """Return the name of the column with the time."""
        return self._data.settings.time

    @property
    def features(self) -> list[str]:
        """Return the names of the features."""
        return list(self._data.reference.features)

    @property
    def id(self) -> str:
        """Return the identifier of the model."""
        return self._data.id

    @property
    def n_above(self) -> int:
        """Return the number of training rows that are above the threshold."""
        return self._data.n_above

    @property
    def training(self) -> dict[str, Any]:
        """Return facts about the training table."""
        return self._data.training.to_dict()

    def __repr__(self) -> str:
        training = self._data.training
        return (
            f"Model({self.id}, {training.rows:,} rows, {len(self.features)} features, {training.first_day} to "
            f"{training.last_day}, threshold {self.threshold:.4f})"
        )

    def _repr_html_(self) -> str:
        """Return the facts about the model and its training as a table, for notebooks."""
        training, settings = self._data.training, self._data.settings
        n_features, forest = len(self.features), self.forest
        size = self._data.size
        groups = f"rows of similar {size.feature}" if size is not None else settings.peers or ""
        return html.block(
            html.heading("Model", f"{self.id}, {training.rows:,} rows, {n_features:,} features"),
            html.facts(
                [
                    ("trained on", f"{training.first_day} to {training.last_day}: {training.days:,} days"),
                    (entities_word(self.entity), f"{training.entities:,}"),
                    ("source", training.source or ""),
                    ("threshold", f"anomaly score {self.threshold:.4f} (from 0 to 1: the higher, the more abnormal)"),
                    ("rows above it", f"{self.n_above:,} of the training rows, {self.n_above / training.rows:.2%}"),
                    ("features", html.names_text(self.features)),
                    ("groups", groups),
                    ("forest", repr(forest)),
                ]
            ),
            html.note("detect() finds the anomalies of new rows, and drift() tells whether the model still fits them."),
        )

    @staticmethod
    @takes(ModelOptions)
    def fit(table: FeatureTable, options: ModelOptions) -> Model:
        """Train a model on a table.

        Parameters
        ----------
        table : FeatureTable
            Training rows, from `read_table`.
        **options
            The fields of `ModelOptions`.

        Returns
        -------
        Model
            The model.

        Raises
        ------
        ValueError
            If the table has fewer rows than a tree draws or a single day and `train_on_this` is False, a feature has
            infinite values, more than half of the rows are above the threshold, or an argument is out of range.
        TypeError
            If an argument has the wrong type.

        Warns
        -----
        UserWarning
            If the table is small and `train_on_this` is True.

        See Also
        --------
        isoxide.stream.StreamTable.fit_model : Train the same model on a table that is larger than memory.

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> from isoxide import ueba
        >>> days = pd.date_range("2025-01-01", periods=300)
        >>> frame = pd.DataFrame({"actor": "a", "day": days, "x": np.random.default_rng(0).normal(size=300)})
        >>> model = ueba.Model.fit(ueba.read_table(frame, entity="actor", time="day"), threshold=0.7)
        >>> model.threshold
        0.7
        """
        settings = settings_of(options, table.entity, table.time)
        refuse_result_names(table.entity, table.time, table.features)
        refuse_infinite(table.profile.infinite)
        forest = new_forest(options)
        check_training(len(table), table.profile.n_days, forest, train_on_this=options.train_on_this)
        size, labels = None, None
        if asks_for_size(settings.peers, table.frame.columns):
            size = size_of_frame(table.X, table.profile, settings.ranks.min_group)
            labels = pa.array(size.labels_of(table.X), pa.string())
        elif settings.peers is not None:
            labels = pa.Array.from_pandas(table.labels(settings.peers)).cast(pa.string())
        for note in small_table_notes(len(table), forest):
            warn_caller(note)
        forest.fit(table.X)
        samples = forest.score_samples(table.X)
        set_threshold(
            forest, options, len(table), table.profile.n_period_days,
            lambda contamination: np.float64(np.percentile(samples, 100.0 * contamination)),
        )  # fmt: skip
        check_share_above(float(np.mean(samples < forest.offset_)), -float(forest.offset_))
        entities = as_text(pa.Array.from_pandas(table.frame[table.entity]), table.entity)
        keys = KeyCounts.of(entities, table.days, labels)
        populations = Populations(keys, min_group=settings.ranks.min_group, min_history=settings.min_history)
        cells = CellCounts(len(table.features), has_groups=labels is not None)
        cells.add(
            [native(column_numbers(table.frame[name])) for name in table.features], -samples, table.days.to_numpy(),
            None if labels is None else populations.group_codes(labels), populations.history_codes(entities),
        )  # fmt: skip
        return made_model(
            forest, settings, cells.reference(table.features, populations), cells.days, table.profile,
            table.source, table.checksum, table.frame[table.time].dtype,
            families_of_frame(table.X.iloc[sampled_rows(len(table))]), size,
        )  # fmt: skip

    def save(self, folder: str | os.PathLike[str], *, filesystem: Any = None) -> Any:
        """Write the model to a folder: all of its files, or none.

        The files are ``model.json`` (settings, facts, and checksums of the other files), ``forest.safetensors``,
        ``reference.parquet`` (exact distributions) and ``entities.parquet`` (first days).

        Parameters
        ----------
        folder : path or URL
            Folder, which is created if it does not exist. An earlier model in it is replaced in one step; other files
            stay. In a store the files are replaced one by one, ``model.json`` last; it has the checksums of the others,
            so `load` refuses a model of which only one half was replaced.
        filesystem : pyarrow.fs.FileSystem or fsspec.AbstractFileSystem, optional
            File system of the folder. By default `folder` is a URL (such as ``s3://bucket/model``) or a local path.

        Returns
        -------
        Path or str
            The folder; text for a folder of a store.

        Raises
        ------
        FileExistsError
            If the folder has a file ``model.json`` of something else.
        OSError
            If a file cannot be written; then a local folder is unchanged.
        """
        return write_model(self._data, folder, filesystem=filesystem)

    @staticmethod
    def load(folder: str | os.PathLike[str], *, filesystem: Any = None) -> Model:
        """Read a model that `save` wrote. Untrusted input is safe: everything is checked, and no code is executed.

        Parameters
        ----------
        folder : path or URL
            Folder of the model.
        filesystem : pyarrow.fs.FileSystem or fsspec.AbstractFileSystem, optional
            File system of the folder. By default `folder` is a URL (such as ``s3://bucket/model``) or a local path.

        Returns
        -------
        Model
            The model.

        Raises
        ------
        FileNotFoundError
            If the folder does not exist, or lacks a file.
        ValueError
            If a file was changed or damaged, or another product or a later version wrote it.
        """
        return Model(read_model(folder, filesystem))

    def detect(
        self,
        table: FeatureTable,
        *,
        since: str | datetime.date | None = None,
        n_jobs: int | None = None,
        progress: Progress = False,
    ) -> Findings:
        """Find the anomalies of new rows, and compare them with the training rows.

        Scores, severity, rarity, ranks, typical values, rules and first days refer to the training rows only.

        Parameters
        ----------
        table : FeatureTable
            New rows, or the whole table with the new rows.
        since : str or date, optional
            First day whose rows are scored, such as ``"2025-04-26"``. By default all rows are scored.
        n_jobs : int, optional
            Number of threads; None means all cores.
        progress : bool or callable, default=False
            Whether to show a progress bar of tqdm: below the cell of a notebook, otherwise on standard error. A
            function is called instead as each step begins, with the name of the step (text), the number of finished
            steps, and the number of all steps; at the end it is called with ``"done"`` and the number of all steps
            twice. An error that it raises ends the call. The findings do not depend on it.

        Returns
        -------
        Findings
            One row per finding, the most abnormal one first. On a quiet day there is none. `Findings.comparisons` has
            the ranks among peers or among rows of similar size, if the model has groups, and in the entity's own
            history.

        Raises
        ------
        ValueError
            If the table lacks a feature or the groups of the model, has another entity or time, or has no row since
            that day.
        TypeError
            If `since` is not a day, or `progress` is neither a bool nor a function.
        ImportError
            If `progress` is True, and tqdm is not installed.

        Warns
        -----
        UserWarning
            If only the training rows, or only the new rows, have times with a time zone.

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> from isoxide import ueba
        >>> days = pd.date_range("2025-01-01", periods=301)
        >>> frame = pd.DataFrame({"actor": "a", "day": days, "x": np.random.default_rng(0).normal(size=301)})
        >>> frame.loc[300, "x"] = 9.0
        >>> model = ueba.Model.fit(ueba.read_table(frame[:300], entity="actor", time="day"), threshold=0.7)
        >>> findings = model.detect(ueba.read_table(frame, entity="actor", time="day"), since="2025-10-28")
        >>> findings.rarity_texts()
        ['1 in 300']
        """
        day = parse_day(since, "since")
        with steps(progress, 4, "detect") as step:
            step("measuring drift")
            drift = self.drift(table, since=day)
            return detect_new_day(self._data, table, day, drift.summary(), n_jobs, step)

    def drift(self, table: FeatureTable, *, since: str | datetime.date | None = None) -> Drift:
        """Compare new rows with the training rows, to see whether the model still fits.

        Parameters
        ----------
        table : FeatureTable
            New rows; a week or more, so that days of the week do not count as drift.
        since : str or date, optional
            First day whose rows are compared, such as ``"2025-04-26"``. By default all rows are compared.

        Returns
        -------
        Drift
            Verdict (``"ok"``, ``"watch"`` or ``"retrain"``), the reasons, and the numbers of each feature.

        Raises
        ------
        ValueError
            If the table lacks a feature of the model, has another entity or time, or has no row since that day.
        TypeError
            If `since` is not a day.

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> from isoxide import ueba
        >>> days = pd.date_range("2025-01-01", periods=300)
        >>> frame = pd.DataFrame({"actor": "a", "day": days, "x": np.random.default_rng(0).normal(size=300)})
        >>> table = ueba.read_table(frame, entity="actor", time="day")
        >>> model = ueba.Model.fit(table)
        >>> model.drift(table).verdict
        'ok'
        >>> model.drift(ueba.read_table(frame.assign(x=frame["x"] + 3), entity="actor", time="day")).worst
        ['x']
        """
        X = features_of_new_rows(self._data, table)
        is_scored = scored_rows(table, parse_day(since, "since"))
        X = X[is_scored]
        scores = -self.forest.score_samples(X)
        return drift_of(self._data, X, table.days[is_scored], table.frame[table.entity][is_scored], scores)


def new_forest(options: ModelOptions) -> IsolationForest:
    """Return the forest of a model before it is fitted."""
    return IsolationForest(
        n_estimators=options.n_estimators, max_samples=options.max_samples, random_state=options.random_state,
        n_jobs=options.n_jobs,
    )  # fmt: skip


def set_threshold(
    forest: IsolationForest,
    options: ModelOptions,
    n_rows: int,
    n_days: int,
    offset: Callable[[float], np.float64],
) -> None:
    """Set the offset of a fitted forest to the negated threshold.

    Parameters
    ----------
    forest : IsolationForest
        Forest that was fitted with ``contamination="auto"``.
    options : ModelOptions
        Options, of which at most one sets the threshold.
    n_rows, n_days : int
        Numbers of training rows, and of days that alerts per month refer to.
    offset : callable
        Function that returns the offset for a contamination of the training rows.
    """
    contamination = options.contamination
    if options.alerts_per_month is not None:
        contamination = share_of_alerts(options.alerts_per_month, n_rows, n_days)
    if contamination is not None:
        forest.set_params(contamination=float(contamination))
        forest.offset_ = offset(float(contamination))
    elif options.threshold is not None:
        forest.offset_ = np.float64(-options.threshold)
    # The number of threads is a choice of each run.
    forest.set_params(n_jobs=None)


def made_model(
    forest: IsolationForest,
    settings: ModelSettings,
    reference: Reference,
    days: DayExtremes,
    profile: TableProfile,
    source: str | None,
    sha256: str | None,
    time_dtype: Any,
    families: list[list[int]],
    size: SizeBands | None,
) -> Model:
    """Return the model of a fitted forest and a counted reference."""
    training = Training(
        rows=reference.n_rows,
        entities=profile.n_entities,
        days=profile.n_days,
        period_days=profile.n_period_days,
        first_day=profile.first_day,
        last_day=profile.last_day,
        source=source,
        sha256=sha256,
        profile=json.loads(json.dumps(profile.to_dict())),
        versions=versions(),
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        has_zone=has_zone(time_dtype),
    )
    facts = feature_facts(reference, days.is_constant_within_days(len(reference.features)))
    return Model(ModelData(forest, settings, reference, facts, training, families=families, size=size))
