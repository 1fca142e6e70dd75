"""
See what moved a score
======================

Contributions are exact Shapley values (those that SHAP computes). They add up to the
binary logarithm of the anomaly score.
"""

from isoxide import IsolationForest
from isoxide.datasets import load_enron
from isoxide.displays import ContributionDisplay

X = load_enron().select_dtypes("number").drop(columns="n_prior_days")
forest = IsolationForest(random_state=0).fit(X)
row = forest.score_samples(X).argmin()
ContributionDisplay.from_explanation(forest.explain(X.iloc[[row]]), 0)
