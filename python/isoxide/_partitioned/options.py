"""Options of detection on partitioned tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isoxide._common.progress import Progress
from isoxide._forest.anomaly_options import AnomalyOptions
from isoxide._ranks.model_options import ModelOptions
from isoxide._ranks.options import RankOptions

if TYPE_CHECKING:
    from isoxide.ueba._rules import Rule

__all__ = ["PartitionedDetectOptions", "PartitionedModelOptions"]


@dataclass(frozen=True, kw_only=True)
class PartitionedDetectOptions(RankOptions, AnomalyOptions):
    """Options of detection on partitioned tables: options for reading, and the options of `isoxide.ueba.detect`.

    Parameters
    ----------
    entity : str
        Column with the entity of each row: an actor, a host, an account. It is read as text, exactly as written.
    time : str
        Column with the time of each row: a date or time type, text in ISO 8601, or eight digits such as 20250426.
    rules : list of rule, optional
        Instances of `isoxide.ueba.ZScore`, `isoxide.ueba.Flag` and `isoxide.ueba.Percentile`. The first rule that a
        value meets flags it. Percentiles are computed from the table. An empty list flags nothing. By default,
        `zscores` are flagged at 3 or more, ``leaver_action`` and ``is_weekend`` whenever they are above zero (see
        `domain_defaults`), and all other features at or above the 99th and the 95th percentile.
    include : str or list of str, optional
        Names or patterns (``"n_*"``) of the columns that are features; by default all numeric columns except `entity`
        and `time`.
    exclude : str or list of str, optional
        Names or patterns of columns that are not features.
    time_format : str, optional
        Format of the times for `datetime.datetime.strptime`, or the unit of times counted since 1970 in UTC: ``"s"``,
        ``"ms"``, ``"us"`` or ``"ns"``.
    timezone : str, optional
        Time zone that decides the day of each time, such as ``"Europe/Oslo"``. By default each time keeps the day in
        the source.
    progress : bool or callable, default=False
        Whether to show a progress bar of tqdm with the number of steps: below the cell of a notebook, otherwise on
        standard error. A step is a pass over the table, or finding its number of rows. A function is called instead as
        each step begins, with the name of the step (text), the number of finished steps, and None, since the number of
        all steps depends on the rows; at the end it is called with ``"done"`` and the number of all steps twice. An
        error that it raises ends the call. The findings do not depend on it.
    """

    entity: str
    time: str
    rules: Iterable[Rule] | None = None
    include: str | Iterable[str] | None = None
    exclude: str | Iterable[str] | None = None
    time_format: str | None = None
    timezone: str | None = None
    progress: Progress = False

    def __post_init__(self) -> None:
        _keep_patterns(self)


@dataclass(frozen=True, kw_only=True)
class PartitionedModelOptions(ModelOptions):
    """Options of a model of a partitioned table: options for reading, and the options of `isoxide.ueba.Model.fit`.

    Parameters
    ----------
    entity : str
        Column with the entity of each row: an actor, a host, an account. It is read as text, exactly as written.
    time : str
        Column with the time of each row: a date or time type, text in ISO 8601, or eight digits such as 20250426.
    include : str or list of str, optional
        Names or patterns (``"n_*"``) of the columns that are features; by default all numeric columns except `entity`
        and `time`.
    exclude : str or list of str, optional
        Names or patterns of columns that are not features.
    time_format : str, optional
        Format of the times for `datetime.datetime.strptime`, or the unit of times counted since 1970 in UTC: ``"s"``,
        ``"ms"``, ``"us"`` or ``"ns"``.
    timezone : str, optional
        Time zone that decides the day of each time, such as ``"Europe/Oslo"``. By default each time keeps the day in
        the source.
    """

    entity: str
    time: str
    include: str | Iterable[str] | None = None
    exclude: str | Iterable[str] | None = None
    time_format: str | None = None
    timezone: str | None = None

    def __post_init__(self) -> None:
        _keep_patterns(self)


def _keep_patterns(options: PartitionedDetectOptions | PartitionedModelOptions) -> None:
    """Replace iterators of patterns by lists, since they could be read only once."""
    for name in ("include", "exclude"):
        patterns = getattr(options, name)
        if patterns is not None and not isinstance(patterns, str):
            object.__setattr__(options, name, list(patterns))
