"""The public `IsolationForest`, registered as a subclass of scikit-learn's class.

Tools such as shap and treelite ask for an instance of scikit-learn's class, and then read attributes that a forest of
isoxide has too. The class inherits nothing from scikit-learn's. Other modules import it from `estimator`, because
importing scikit-learn's class takes a tenth of a second, which the command need not spend.
"""

from sklearn.ensemble import IsolationForest as SklearnForest

from isoxide._forest.estimator import IsolationForest

__all__ = ["IsolationForest"]

SklearnForest.register(IsolationForest)
