"""scikit-learn's isolation forest and scipy's percentile ranks, bit for bit, only faster."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isoxide._iforest import IsolationForest
    from isoxide._rank import FeatureRanks, percentileofscore, rank_features
    from isoxide._rank_reference import RankReference
    from isoxide._show_versions import show_versions

__all__ = ["FeatureRanks", "IsolationForest", "RankReference", "percentileofscore", "rank_features", "show_versions"]


#: The module that each public name lives in. It is imported when the name is first used, since the command installs its
#: signal handlers before that, and its help needs none of them.
_HOMES = {
    "FeatureRanks": "_rank",
    "IsolationForest": "_iforest",
    "RankReference": "_rank_reference",
    "percentileofscore": "_rank",
    "rank_features": "_rank",
    "show_versions": "_show_versions",
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
