"""Settings of a kept model: how it is trained, and how it ranks and names the rows of a new day."""

from __future__ import annotations

import dataclasses
import numbers
from dataclasses import dataclass
from typing import Any

from isoxide._ranks.model_options import ModelOptions
from isoxide._ranks.options import RankOptions
from isoxide.ueba import _fields as fields
from isoxide.ueba._calibrate import check_amount
from isoxide.ueba._rarity import check_bands
from isoxide.ueba._rules import Rule, default_rules, quantiles_of_rules, rules_of_list, rules_to_list

__all__ = ["ModelSettings", "settings_of"]


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
        return {
            "entity": self.entity,
            "time": self.time,
            "amount": self.amount,
            "ranks": self.ranks.to_dict(),
            "min_history": self.min_history,
            "bands": list(self.bands),
            "rules": rules_to_list(self.rules),
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
        unknown = set(ranks) - {field.name for field in dataclasses.fields(RankOptions)}
        if unknown:
            raise ValueError(f"'ranks' has the unknown entry {min(unknown)!r}")
        rules = rules_of_list(document["rules"])
        for name in ("groups", "zscores"):
            if ranks[name] is not None:
                fields.text(ranks[name], name)
        if not isinstance(ranks["domain_defaults"], bool):
            raise TypeError("'domain_defaults' must be true or false")
        options = ModelOptions(
            **ranks, **document["amount"], min_history=document["min_history"], bands=tuple(document["bands"]),
            rules=rules,
        )  # fmt: skip
        settings = settings_of(options, document["entity"], document["time"])
        fields.text(document["entity"], "entity")
        fields.text(document["time"], "time")
        return settings


def settings_of(options: ModelOptions, entity: str, time: str) -> ModelSettings:
    """Check the options, and return the settings that are kept with the model.

    Raises
    ------
    TypeError, ValueError
        If an option has the wrong type or is out of range.
    """
    check_amount(options.threshold, options.contamination, options.alerts_per_month)
    if options.threshold is not None and not 0 < options.threshold < 1:
        raise ValueError(f"threshold={options.threshold!r} must be an anomaly score between 0 and 1")
    if isinstance(options.min_history, bool) or not isinstance(options.min_history, numbers.Integral):
        raise TypeError(f"min_history must be an integer, not {options.min_history!r}")
    if options.min_history < 1:
        raise ValueError(f"min_history={options.min_history} must be at least 1 day")
    ranks = options.check()
    rules = default_rules(ranks.zscores, domain_defaults=ranks.domain_defaults)
    rules = rules if options.rules is None else list(options.rules)
    quantiles_of_rules(rules)
    amounts = {name: getattr(options, name) for name in ("threshold", "contamination", "alerts_per_month")}
    amount = {name: float(value) for name, value in amounts.items() if value is not None}
    return ModelSettings(
        entity, time, amount, ranks, int(options.min_history), check_bands(options.bands), tuple(rules)
    )
