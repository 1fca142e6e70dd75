"""scikit-learn's isolation forest and scipy's percentile ranks, bit for bit, only faster."""

from isoxide._iforest import IsolationForest
from isoxide._rank import FeatureRanks, percentileofscore, rank_features
from isoxide._rank_reference import RankReference
from isoxide._show_versions import show_versions

__all__ = ["FeatureRanks", "IsolationForest", "RankReference", "percentileofscore", "rank_features", "show_versions"]

# Pickles, skops and error messages name the public place, so that modules can move.
for _public in (FeatureRanks, IsolationForest, RankReference, percentileofscore, rank_features, show_versions):
    _public.__module__ = __name__
