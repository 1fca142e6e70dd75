"""Isolation forests and exact percentile ranks: bit-identical to scikit-learn and SciPy, and many times faster.

`IsolationForest` is a drop-in replacement for scikit-learn's class. `rank_features` and `RankReference` compute the
percentile rank of every cell of a table, as SciPy's ``percentileofscore`` does for one value.

The analyst's work is in `isoxide.ueba` (detect, explain and report) and `isoxide.displays` (plots); tables larger than
memory and clusters are in `isoxide.stream`, `isoxide.spark`, `isoxide.dask` and `isoxide.mergeable`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isoxide._common.show_versions import show_versions
    from isoxide._forest.estimator import IsolationForest
    from isoxide._forest.explanation import Explanation
    from isoxide._forest.tree_explainer import TreeExplainer
    from isoxide._ranks.api import FeatureRanks, percentileofscore, rank_features
    from isoxide._ranks.reference import RankReference

    __version__: str

__all__ = [
    "Explanation",
    "FeatureRanks",
    "IsolationForest",
    "RankReference",
    "TreeExplainer",
    "percentileofscore",
    "rank_features",
    "show_versions",
]


#: Module of each public name. It is imported when the name is first used, so that the command `isoxide` can install its
#: signal handlers, and print its help, before NumPy and scikit-learn are imported.
_HOMES = {
    "Explanation": "_forest.explanation",
    "FeatureRanks": "_ranks.feature_ranks",
    "IsolationForest": "_forest.sklearn_subclass",
    "RankReference": "_ranks.reference",
    "TreeExplainer": "_forest.tree_explainer",
    "percentileofscore": "_ranks.api",
    "rank_features": "_ranks.api",
    "show_versions": "_common.show_versions",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, and look up the version when it is asked for."""
    if name == "__version__":
        from isoxide._common.version import package_version

        return package_version()
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*globals(), *__all__, "__version__"})
