"""Data of a kept model: forest, settings, reference and facts, which detection, drift and files share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from isoxide._forest.estimator import IsolationForest
from isoxide.ueba._identifiers import document_id
from isoxide.ueba._model_settings import ModelSettings
from isoxide.ueba._quantiles import STATISTICS
from isoxide.ueba._reference import Reference
from isoxide.ueba._size import SizeBands

__all__ = ["ENTITIES_FILE", "FOREST_FILE", "REFERENCE_FILE", "FeatureFacts", "ModelData", "Training", "feature_facts"]

#: Files of a model besides the document that describes them.
FOREST_FILE, REFERENCE_FILE, ENTITIES_FILE = "forest.safetensors", "reference.parquet", "entities.parquet"
#: Quantiles of the anomaly scores that the document has.
_SCORE_QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 1.0)


@dataclass(frozen=True)
class FeatureFacts:
    """Facts about a feature in the training rows.

    Parameters
    ----------
    name : str
        Name of the feature.
    median, p95, p99 : float
        Typical values; NaN without values.
    lowest, highest : float
        Extreme values; NaN without values.
    nan_share, zero_share : float
        Fractions of the rows without a value, and with the value zero, from 0 to 1.
    is_constant_within_days : bool
        Whether all rows of each day have the same value, as for the day of the week.
    """

    name: str
    median: float
    p95: float
    p99: float
    lowest: float
    highest: float
    nan_share: float
    zero_share: float
    is_constant_within_days: bool


def feature_facts(reference: Reference, is_constant_within_days: Sequence[bool]) -> list[FeatureFacts]:
    """Return the facts about each feature."""
    facts = []
    for name, is_constant in zip(reference.features, is_constant_within_days, strict=True):
        values, counts, n_missing = own = reference.distribution(name)
        n_zeros = int(counts[np.asarray(values) == 0].sum())
        ends = (float(values[0]), float(values[-1])) if len(values) else (np.nan, np.nan)
        median, p95, p99 = own.quantiles(list(STATISTICS.values())).tolist()
        n = reference.n_rows
        facts.append(FeatureFacts(name, median, p95, p99, *ends, n_missing / n, n_zeros / n, bool(is_constant)))
    return facts


@dataclass(frozen=True)
class Training:
    """Facts about the training table.

    Parameters
    ----------
    rows, entities, days, period_days : int
        Numbers of rows, of entities, of days with rows, and of days from the first to the last one, without days that
        lie far from all others.
    first_day, last_day : str
        First and last day, in ISO 8601.
    source, sha256 : str or None
        Name of the file that was read, and the checksum of its bytes; None if they are not known.
    profile : dict
        Profile of the table.
    versions : dict of str to str
        Versions of Python, this package and others.
    created : str
        Time of training, in ISO 8601.
    has_zone : bool, optional
        Whether times have a time zone, on which the identifiers of findings depend; None if it is not known, since an
        early version trained the model.
    """

    rows: int
    entities: int
    days: int
    period_days: int
    first_day: str
    last_day: str
    source: str | None = None
    sha256: str | None = None
    profile: dict[str, Any] = field(default_factory=dict, repr=False)
    versions: dict[str, str] = field(default_factory=dict, repr=False)
    created: str = ""
    has_zone: bool | None = None

    #: Fields that say where a model comes from; the model does not depend on them.
    PROVENANCE = ("source", "sha256", "profile", "versions", "created")

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as a dictionary."""
        return asdict(self)


@dataclass(frozen=True)
class ModelData:
    """Data of a model.

    Parameters
    ----------
    forest : IsolationForest
        Forest, whose offset is the negated threshold.
    settings : ModelSettings
        Settings.
    reference : Reference
        Exact distributions of the training rows.
    facts : list of FeatureFacts
        Facts about each feature.
    training : Training
        Facts about the training table.
    stored : mapping of str to bytes, optional
        Content of the files that the model was loaded from.
    families : list of list of int, optional
        Indices of the features of each family, whose shares are added up; None if the model was saved without them.
    size : SizeBands, optional
        Bands of similar size, if they are the groups that rows are compared with.
    """

    forest: IsolationForest
    settings: ModelSettings
    reference: Reference
    facts: list[FeatureFacts]
    training: Training
    stored: Mapping[str, bytes] | None = None
    families: list[list[int]] | None = None
    size: SizeBands | None = None

    @property
    def threshold(self) -> float:
        """Return the anomaly score above which a row is a finding."""
        return -float(self.forest.offset_)

    @property
    def n_above(self) -> int:
        """Return the number of training rows whose anomaly score is above the threshold."""
        return int(self.reference.scores.count_at_or_above(np.array([np.nextafter(self.threshold, 2.0)]))[0])

    @cached_property
    def files(self) -> Mapping[str, bytes]:
        """Return the content of the files besides the document, by name."""
        if self.stored is not None:
            return self.stored
        populations, entities = self.reference.to_parquet()
        return {FOREST_FILE: self.forest.to_bytes(), REFERENCE_FILE: populations, ENTITIES_FILE: entities}

    @cached_property
    def content(self) -> dict[str, Any]:
        """Return the document without the identifier and the provenance."""
        training = {k: v for k, v in self.training.to_dict().items() if k not in Training.PROVENANCE}
        if training["has_zone"] is None:
            del training["has_zone"]
        scores = self.reference.scores.quantiles(_SCORE_QUANTILES)
        return {
            "threshold": self.threshold,
            "settings": self.settings.to_dict(),
            "training": training,
            "features": [_finite(asdict(own)) for own in self.facts],
            **({} if self.families is None else {"families": self.families}),
            **({} if self.size is None else {"size": self.size.to_dict()}),
            "score_quantiles": {f"{q:g}": value for q, value in zip(_SCORE_QUANTILES, scores.tolist(), strict=True)},
            "files": {
                name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
                for name, data in self.files.items()
            },
        }

    @cached_property
    def id(self) -> str:
        """Return the identifier of the model."""
        return document_id(self.content)


def _finite(entries: dict[str, Any]) -> dict[str, Any]:
    """Return entries with None instead of NaN, which JSON does not have."""
    return {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in entries.items()}
