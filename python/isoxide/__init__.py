"""scikit-learn's isolation forest and scipy's percentile ranks, bit for bit, only faster."""

from isoxide._iforest import IsolationForest

__all__ = ["IsolationForest"]
