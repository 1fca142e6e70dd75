"""`TreeExplainer`: the interface of shap's class of this name for isolation forests."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest as SklearnForest
from sklearn.utils.validation import check_is_fitted

from isoxide._forest.estimator import IsolationForest
from isoxide._frames.adapter import is_instance

__all__ = ["TreeExplainer"]


class TreeExplainer:
    """Compute exact Shapley values of an isolation forest with the interface of ``shap.TreeExplainer``.

    Change the import, and a notebook that explains a forest with shap keeps its numbers and its plots. The values are
    those of shap's ``feature_perturbation="tree_path_dependent"``: they explain the mean path length, and a negative
    value makes a row more anomalous.

    Parameters
    ----------
    model : isoxide.IsolationForest or sklearn.ensemble.IsolationForest
        Fitted forest.
    data : None
        Only None is accepted: shap computes interventional values with a background table.
    model_output : {"raw"}
        Only the mean path length can be explained.
    feature_perturbation : {"auto", "tree_path_dependent"}
        Both values mean the same.
    feature_names : list of str, optional
        Names of the features in explanations. By default those of the training frame.
    approximate : bool, default=False
        Only False is accepted: the values are exact.

    Attributes
    ----------
    model : isoxide.IsolationForest
        The forest, converted if it was scikit-learn's.
    expected_value : ndarray of float64, shape (1,)
        Mean path length that is expected of a row of which nothing is known.
    feature_names : list of str or None
        Names of the features, if they were given or the forest was fitted on a frame.

    Raises
    ------
    TypeError
        If `model` is not an isolation forest.
    sklearn.exceptions.NotFittedError
        If the forest is not fitted.
    ValueError
        If a parameter asks for other values than those described above.

    See Also
    --------
    IsolationForest.explain : Explain the anomaly score itself, on a scale where positive means more anomalous.

    Examples
    --------
    >>> from isoxide import IsolationForest, TreeExplainer
    >>> X = [[-1.1, 1], [0.3, 2], [0.5, 1], [100, 2]]
    >>> explainer = TreeExplainer(IsolationForest(random_state=0).fit(X))
    >>> explainer.shap_values([[90, 1]]).round(2)
    array([[-0.65,  0.03]])
    """

    def __init__(
        self,
        model: Any,
        data: None = None,
        model_output: str = "raw",
        feature_perturbation: str = "auto",
        feature_names: list[str] | None = None,
        approximate: bool = False,
    ) -> None:
        if data is not None:
            raise ValueError(
                "data must be None: interventional values need a background table, and only path-dependent values are "
                "computed; use shap.TreeExplainer(model.to_sklearn(), data) for them"
            )
        _check_choice("model_output", model_output, ("raw",))
        _check_choice("feature_perturbation", feature_perturbation, ("auto", "tree_path_dependent"))
        _refuse_approximate(approximate)
        self.model = _as_forest(model)
        self.expected_value = np.array([self.model.expected_value_])
        names = getattr(self.model, "feature_names_in_", None)
        if feature_names is not None:
            n_features = self.model.n_features_in_
            if len(feature_names) != n_features:
                raise ValueError(f"feature_names has {len(feature_names)} names for {n_features} features")
            names = feature_names
        self.feature_names: list[str] | None = None if names is None else [str(name) for name in names]

    def shap_values(
        self,
        X: Any,
        y: Any = None,
        tree_limit: int | None = None,
        approximate: bool = False,
        check_additivity: bool = True,
    ) -> NDArray[np.float64]:
        """Compute the Shapley value of each feature of each row.

        Parameters
        ----------
        X : array-like, frame or sparse matrix of shape (n_samples, n_features), or array-like of shape (n_features,)
            Rows to explain, or one row.
        y : object, optional
            Ignored, as shap does for this output.
        tree_limit : int, optional
            Only None and -1, which use all trees, are accepted.
        approximate : bool, default=False
            Only False is accepted.
        check_additivity : bool, default=True
            Ignored: values always add up to the mean path length.

        Returns
        -------
        ndarray of float64 of the shape of `X`
            Shapley values in splits: a negative value makes the row more anomalous.

        Raises
        ------
        ValueError
            If the columns of `X` differ from those of the training rows, or a parameter is not accepted.
        """
        if tree_limit not in (None, -1):
            raise ValueError(f"tree_limit must be None, since all trees are explained, got {tree_limit!r}")
        _refuse_approximate(approximate)
        if _is_one_row(X):
            row: NDArray[np.float64] = self.model.shap_values(_as_table(X))[0]
            return row
        return self.model.shap_values(X)

    def __call__(
        self,
        X: Any,
        y: Any = None,
        interactions: bool = False,
        check_additivity: bool = True,
        approximate: bool = False,
    ) -> Any:
        """Explain rows: return shap's ``Explanation`` if shap has been imported, which its plots need, otherwise ours.

        Parameters
        ----------
        X : array-like, frame or sparse matrix of shape (n_samples, n_features)
            Rows to explain.
        y : object, optional
            Ignored, as shap does for this output.
        interactions : bool, default=False
            Only False is accepted.
        check_additivity : bool, default=True
            Ignored: values always add up to the mean path length.
        approximate : bool, default=False
            Only False is accepted.

        Returns
        -------
        isoxide.Explanation or shap.Explanation
            Explanation with ``output="path_length"``.

        Raises
        ------
        ValueError
            If the columns of `X` differ from those of the training rows, or a parameter is not accepted.
        """
        if interactions:
            raise ValueError("interactions must be False: values of pairs of features are not computed")
        _refuse_approximate(approximate)
        explanation = self.model.explain(_as_table(X) if _is_one_row(X) else X, output="path_length")
        if self.feature_names is not None:
            explanation = explanation.with_feature_names(self.feature_names)
        return explanation.to_shap() if "shap" in sys.modules else explanation


def _as_forest(model: Any) -> IsolationForest:
    """Return a forest of this package with the trees of a fitted forest."""
    if isinstance(model, IsolationForest):
        check_is_fitted(model)
        return model
    if isinstance(model, SklearnForest):
        check_is_fitted(model)
        return IsolationForest.from_sklearn(model)
    raise TypeError(
        f"TreeExplainer explains isolation forests of isoxide and scikit-learn, got {type(model).__name__}; give the "
        "forest itself, not the pipeline around it, and use shap.TreeExplainer for other models"
    )


def _is_one_row(X: Any) -> bool:
    """Tell whether `X` is one row rather than a table."""
    if isinstance(X, (list, tuple)):
        return len(X) > 0 and np.ndim(X[0]) == 0
    return getattr(X, "ndim", 2) == 1


def _as_table(X: Any) -> Any:
    """Return one row as a table of one row; a pandas Series keeps its labels as names of columns."""
    return X.to_frame().T if is_instance(X, "pandas", "Series") else np.reshape(np.asarray(X), (1, -1))


def _check_choice(name: str, value: Any, accepted: tuple[str, ...]) -> None:
    if value not in accepted:
        raise ValueError(
            f"{name} must be {' or '.join(map(repr, accepted))}, got {value!r}; use shap.TreeExplainer for other values"
        )


def _refuse_approximate(approximate: bool) -> None:
    if approximate:
        raise ValueError("approximate must be False: the values are exact")


# Pickles and messages contain the public module's name, so that private modules can move.
TreeExplainer.__module__ = "isoxide"
