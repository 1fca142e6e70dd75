"""
See which features matter for a whole table
===========================================

The importance of a feature is the mean of its absolute contributions over all rows.
"""

from isoxide import IsolationForest
from isoxide.datasets import load_enron
from isoxide.displays import ImportanceDisplay

X = load_enron().select_dtypes("number").drop(columns="n_prior_days")
forest = IsolationForest(random_state=0).fit(X)
ImportanceDisplay.from_estimator(forest, X, n_features=12)
