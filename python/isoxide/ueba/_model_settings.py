"""Settings of a kept model: how it is trained, and how it ranks and names the rows of a new day."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from isoxide._ranks.options import RankOptions
from isoxide.ueba._calibrate import check_amount
from isoxide.ueba._rarity import check_bands
from isoxide.ueba._rules import Flag, Percentile, Rule, ZScore, asked_quantiles, default_rules

__all__ = ["ModelOptions", "ModelSettings"]

#: Default minimum number of days of an entity whose values are ranked in its own history.
MIN_HISTORY = 20
#: Kinds of rules by their names in a file.
_RULES: dict[str, Callable[..., Rule]] = {"zscore": ZScore, "flag": Flag, "percentile": Percentile}


@dataclass(frozen=True, kw_only=True)
class ModelOptions(RankOptions):
    """Options of a model.

    Parameters
    ----------
    threshold : float, optional
        Rows whose anomaly score is above it are findings, between 0 and 1. The anomaly score is the negated result of
        `isoxide.IsolationForest.score_samples`: it does not depend on the number of findings, and 0.5 is an average
        row.
    contamination : float, optional
        Fraction of the training rows that are above the threshold, in (0, 0.5].
    alerts_per_month : float, optional
        Number of training rows per month of 30.4 days that are above the threshold, on average. Give at most one of
        `threshold`, `contamination` and `alerts_per_month`; by default the threshold is 0.5.
    n_estimators : int, default=500
        Number of trees, at least 1. With more trees, a model that is trained again finds fewer other rows by chance.
    max_samples : "auto", int or float, default="auto"
        Number of rows that each tree draws, or the fraction of the rows if it is a float. "auto" means 256, or all rows
        if there are fewer.
    random_state : int or None, default=0
        Seed of the forest.
    rules : list of rule, optional
        Instances of `ZScore`, `Flag` and `Percentile`. The first rule that a value meets flags it. Percentiles are
        those of the training rows. An empty list flags nothing. By default, `zscores` are flagged at 3 or more,
        ``leaver_action`` and ``is_weekend`` whenever they are above zero (see `domain_defaults`), and all other
        features at or above the 99th and the 95th percentile.
    min_history : int, default=20
        Minimum number of days that an entity must have in the training rows, at least 1, for ranks in its own history.
    bands : tuple of three numbers, default=(100, 1_000, 10_000)
        Limits of the bands "minor", "major" and "critical": a finding is "minor" if at most one in 100 training rows
        scores as high.
    train_on_this : bool, default=False
        Whether to train on a table with fewer rows than a tree draws, or with a single day. Such a table is refused by
        default, since almost any of its rows would be a finding.
    n_jobs : int, optional
        Number of threads; None means all cores.
    """

    threshold: float | None = None
    contamination: float | None = None
    alerts_per_month: float | None = None
    n_estimators: int = 500
    max_samples: Literal["auto"] | int | float = "auto"
    random_state: int | None = 0
    rules: Iterable[Rule] | None = None
    min_history: int = MIN_HISTORY
    bands: tuple[float, float, float] = (100, 1_000, 10_000)
    train_on_this: bool = False
    n_jobs: int | None = None

    def settings(self, entity: str, time: str) -> ModelSettings:
        """Check the options, and return the settings that are kept with the model.

        Raises
        ------
        TypeError, ValueError
            If an option has the wrong type or is out of range.
        """
        if self.threshold is not None:
            check_amount(None, None, None, self.threshold)
        check_amount(self.threshold, self.contamination, self.alerts_per_month)
        if isinstance(self.min_history, bool) or not isinstance(self.min_history, numbers.Integral):
            raise TypeError(f"min_history must be an integer, not {self.min_history!r}")
        if self.min_history < 1:
            raise ValueError(f"min_history={self.min_history} must be at least 1 day")
        ranks = self.check()
        rules = default_rules(ranks.zscores, domain_defaults=ranks.domain_defaults)
        rules = rules if self.rules is None else list(self.rules)
        asked_quantiles(rules)
        amounts = {name: getattr(self, name) for name in ("threshold", "contamination", "alerts_per_month")}
        amount = {name: float(value) for name, value in amounts.items() if value is not None}
        return ModelSettings(entity, time, amount, ranks, int(self.min_history), check_bands(self.bands), tuple(rules))


@dataclass(frozen=True)
class ModelSettings:
    """Settings that are kept with a model.

    Parameters
    ----------
    entity, time : str
        Names of the columns with the entity and the time.
    amount : dict of str to float
        Option that set the threshold, if there was one.
    ranks : RankOptions
        Options of the ranks.
    min_history : int
        Minimum number of days of an entity with ranks in its own history.
    bands : tuple of float
        Limits of the bands of rarity.
    rules : tuple of rule
        Rules that flag values.
    """

    entity: str
    time: str
    amount: dict[str, float]
    ranks: RankOptions
    min_history: int
    bands: tuple[float, ...]
    rules: tuple[Rule, ...]

    @property
    def peers(self) -> str | None:
        """Return the column with the groups of peers; None if there are none, or each entity is its own group."""
        return None if self.ranks.groups == self.entity else self.ranks.groups

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as dicts, lists, texts and numbers for JSON."""
        kinds: dict[Any, str] = {kind: name for name, kind in _RULES.items()}
        return {
            "entity": self.entity,
            "time": self.time,
            "amount": self.amount,
            "ranks": self.ranks.to_dict(),
            "min_history": self.min_history,
            "bands": list(self.bands),
            "rules": [{"rule": kinds[type(rule)], **_plain(asdict(rule))} for rule in self.rules],
        }

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> ModelSettings:
        """Return the settings of a document.

        Raises
        ------
        KeyError, TypeError, ValueError
            If an entry is missing, unknown or out of range.
        """
        ranks = dict(document["ranks"])
        unknown = set(ranks) - {field.name for field in fields(RankOptions)}
        if unknown:
            raise ValueError(f"'ranks' has the unknown entry {min(unknown)!r}")
        rules: list[Rule] = []
        for entry in document["rules"]:
            own: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()
            }
            rules.append(_RULES[own.pop("rule")](**own))
        options = ModelOptions(
            **ranks, **document["amount"], min_history=document["min_history"], bands=tuple(document["bands"]),
            rules=rules,
        )  # fmt: skip
        settings = options.settings(document["entity"], document["time"])
        for name in ("entity", "time"):
            if not isinstance(document[name], str):
                raise TypeError(f"{name!r} must be text")
        return settings


def _plain(entries: dict[str, Any]) -> dict[str, Any]:
    """Return the entries of a rule with lists instead of other sequences."""
    return {name: value if isinstance(value, (str, int, float)) else list(value) for name, value in entries.items()}
