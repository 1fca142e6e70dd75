"""scikit-learn's isolation forest and scipy's percentile ranks, bit for bit, only faster."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isoxide._common.show_versions import show_versions
    from isoxide._forest.estimator import IsolationForest
    from isoxide._ranks.api import FeatureRanks, percentileofscore, rank_features
    from isoxide._ranks.reference import RankReference

__all__ = ["FeatureRanks", "IsolationForest", "RankReference", "percentileofscore", "rank_features", "show_versions"]


#: The module that each public name lives in. It is imported when the name is first used, since the command installs its
#: signal handlers before that, and its help needs none of them.
_HOMES = {
    "FeatureRanks": "_ranks.feature_ranks",
    "IsolationForest": "_forest.estimator",
    "RankReference": "_ranks.reference",
    "percentileofscore": "_ranks.api",
    "rank_features": "_ranks.api",
    "show_versions": "_common.show_versions",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
