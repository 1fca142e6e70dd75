"""`IsolationForest`: parameters, fitting and scoring.

An estimator holds its parameters and, once fitted, one `FittedForest` (`fitted.py`). The Rust core grows the trees in
one call and sums the path lengths in another. NumPy computes the power of two, the logarithm and the percentile here:
their last bits differ between processors, and scikit-learn takes them from NumPy too. Saving and the conversion to
scikit-learn's objects are functions in `model_file.py` and `sklearn_interop.py`, which the methods here call.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OutlierMixin, _fit_context, clone
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from isoxide import _core
from isoxide._common.files import read_file, replace_file
from isoxide._common.stores import located
from isoxide._common.threads import apply_in_slices, resolve_n_jobs, resolve_n_jobs_for
from isoxide._forest import model_file, sklearn_interop
from isoxide._forest.explain import check_output, check_top, explain_rows, mean_contributions
from isoxide._forest.explanation import Explanation
from isoxide._forest.fitted import FittedForest, depth_limit
from isoxide._forest.path_length import average_path_lengths_up_to, total_average_path_length
from isoxide._forest.random_state import RandomState, draw_tree_seeds, noise_target, row_probabilities
from isoxide._frames.row_labels import RowLabels
from isoxide._frames.validation import (
    PARAMETER_CONSTRAINTS,
    Input,
    check_contamination,
    check_input,
    check_sample_weight,
)

if TYPE_CHECKING:
    from sklearn.ensemble import IsolationForest as SklearnForest
    from sklearn.tree import ExtraTreeRegressor
    from typing_extensions import Self

#: Name of the attribute with the fitted state, and of the key under which a pickle holds its bytes.
_FITTED = "_fitted"
#: Steps of scoring that take as long as explaining a row in one tree, at least.
_EXPLAINING_STEPS = 8
#: Public attributes that a fit sets.
_LEARNED = {"feature_names_in_", "max_samples_", "n_features_in_", "offset_"}
#: Private attributes that unreleased versions kept in their pickles instead of bytes.
_OBSOLETE = {
    *("_forest", "_max_features", "_n_samples", "_sample_weight", "_seeds", "_tree_depths", "_tree_seeds", "_trees"),
}


class IsolationForest(OutlierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn's bases are untyped
    """Detect anomalies with an isolation forest, whose random splits isolate anomalies early.

    Each tree draws a few rows and splits them at random thresholds of random columns until each row is alone or the
    tree is log2(n) deep. An anomaly lies apart from the other rows, so few splits isolate it. The number of splits that
    a row passes, its path length, is averaged over the trees and divided by c(n), the average path length among n rows.
    The paper's anomaly score is 2 to the power of minus this ratio: near 1 for anomalies, otherwise 0.5 or below.

    There are three score scales:

    - `score_samples` is the negated anomaly score of the paper, in [-1, 0]: the lower, the more abnormal.
    - `decision_function` is `score_samples` minus ``offset_``: below 0 for outliers.
    - `predict` is -1 for outliers and 1 for inliers.

    Trees, scores, offset and predictions equal those of ``sklearn.ensemble.IsolationForest`` of scikit-learn 1.9 bit
    for bit, for the same parameters and the same `random_state`, on any number of threads.

    Parameters
    ----------
    n_estimators : int, default=100
        Number of trees, at least 1. More trees give steadier scores.

    max_samples : "auto", int or float, default="auto"
        Number of rows that each tree draws. "auto" means ``min(256, n_samples)``. An int is the number itself; a number
        above ``n_samples`` is lowered to it with a warning. A float in (0, 1] is a fraction of ``n_samples``.

    contamination : "auto" or float, default="auto"
        Fraction of the training rows, in (0, 0.5], that `predict` labels as outliers. It only sets ``offset_``. "auto"
        sets ``offset_`` to -0.5, as in the paper.

    max_features : int or float, default=1.0
        Number of columns that each tree draws. An int is the number itself; a float in (0, 1] is a fraction of the
        columns, and at least one is drawn.

    bootstrap : bool, default=False
        Whether a tree may draw the same row more than once.

    n_jobs : int or None, default=None
        Number of threads for fitting and scoring. ``None`` means all cores that the process may use, within the limits
        of an active joblib context, and one thread inside a joblib worker. Results are the same for every number.

    random_state : int, RandomState instance or None, default=None
        Source of all random draws. With an int in [0, 2**32 - 1], every fit on the same data gives the same forest.

    verbose : int, default=0
        Verbosity. If it is above 0, `fit` prints one line when the trees are grown.

    warm_start : bool, default=False
        Whether `fit` keeps the trees of the last fit and only adds the missing ones, up to ``n_estimators``.

    Attributes
    ----------
    offset_ : float
        Score below which `predict` labels a row as an outlier, in [-1, 0].

    max_samples_ : int
        Number of rows that each tree drew.

    n_features_in_ : int
        Number of columns seen by `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns seen by `fit`. The attribute exists only if all names are strings.

    estimators_ : list of sklearn.tree.ExtraTreeRegressor
        Trees as scikit-learn's own objects, built when first read. ``len(forest)`` is the number of trees,
        ``forest[i]`` is one of them, and iterating over the forest yields them in order.

    estimator_ : sklearn.tree.ExtraTreeRegressor
        Unfitted tree with the parameters of the fitted ones.

    estimators_samples_ : list of ndarray of int64
        Row numbers that each tree of the last fit drew, in the order drawn.

    estimators_features_ : list of ndarray of int64
        Column numbers that each tree drew, in the order drawn.

    expected_value_ : float
        Mean path length that is expected of a row of which nothing is known: the mean over the trees of the path
        lengths of their leaves, weighted by their training rows. With the `shap_values` of a row it adds up to the mean
        path length of the row.

    See Also
    --------
    sklearn.ensemble.IsolationForest : The scikit-learn class with the same parameters, attributes and results.

    Notes
    -----
    The class has the parameters and attributes of scikit-learn's class and works with its tools: ``clone``, pipelines,
    grid searches, pickles. Some tools accept only scikit-learn's class; `to_sklearn` and `from_sklearn` convert fitted
    forests for them.

    References
    ----------
    F. T. Liu, K. M. Ting and Z.-H. Zhou, "Isolation forest", ICDM 2008, and "Isolation-based anomaly detection", TKDD
    6(1), 2012.

    Examples
    --------
    >>> from isoxide import IsolationForest
    >>> X = [[-1.1], [0.3], [0.5], [100]]
    >>> forest = IsolationForest(random_state=0).fit(X)
    >>> forest.predict([[0.1], [0], [90]])
    array([ 1,  1, -1])
    """

    n_features_in_: int
    feature_names_in_: NDArray[np.object_]
    max_samples_: int
    offset_: float
    #: Everything that the last fit learned. The offset and the names in it may be outdated, since users may set the
    #: public attributes above; `_fitted_now` returns the current ones.
    _fitted: FittedForest

    _parameter_constraints = PARAMETER_CONSTRAINTS

    #: scikit-learn shows a link to this page in notebooks. `docs/releasing.md` says what depends on the address.
    _doc_link_module = "isoxide"
    _doc_link_template = "https://isoxide.github.io/isoxide/reference/{estimator_module}.{estimator_name}.html"

    def __init__(
        self,
        *,
        n_estimators: int = 100,
        max_samples: Literal["auto"] | int | float = "auto",
        contamination: Literal["auto"] | float = "auto",
        max_features: int | float = 1.0,
        bootstrap: bool = False,
        n_jobs: int | None = None,
        random_state: RandomState = None,
        verbose: int = 0,
        warm_start: bool = False,
    ) -> None:
        self.n_estimators = n_estimators
        self.max_samples = max_samples
        self.contamination = contamination
        self.max_features = max_features
        self.bootstrap = bootstrap
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose
        self.warm_start = warm_start

    @classmethod
    def _get_param_names(cls) -> list[str]:
        """Return the names of the parameters in alphabetical order.

        scikit-learn reads the signature again at every fit, which takes several percent of a small one.
        """
        if cls is IsolationForest:
            return sorted(PARAMETER_CONSTRAINTS)
        names: list[str] = super()._get_param_names()
        return names

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> IsolationForest:
        """Grow the trees and set the offset.

        Parameters
        ----------
        X : array-like, frame or sparse matrix of shape (n_samples, n_features)
            Training rows: NumPy arrays of any dtype that converts to float32, frames, lists, SciPy's sparse matrices.
            NaN (missing) and infinities are allowed. Dense float64, float32 and int64 data and CSR matrices are read in
            place, without a copy, and only the rows that some tree drew are read.
        y : Ignored
            Present for API consistency.
        sample_weight : array-like of shape (n_samples,), float or None, default=None
            Weights of the rows, 0 or more. A tree draws a row with a probability of its weight divided by the sum of
            all weights. Weights have no other effect.

        Returns
        -------
        IsolationForest
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter is out of range, `X` is empty, not 2-D or not numeric, a weight is negative, or too few
            weights are above zero.
        MemoryError
            If there is not enough memory for the trees.

        Notes
        -----
        A fit that fails or is interrupted leaves the estimator unchanged. A `RandomState` instance has then advanced by
        the values drawn so far.
        """
        before = self.__dict__.copy()
        try:
            self._set_fitted(self._fit(X, sample_weight))
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise
        return self

    def _fit(self, X: Any, sample_weight: Any) -> FittedForest:
        """Grow the trees that a fit adds, and compute the offset. Set the attributes that describe the columns."""
        data = check_input(self, X, reset=True)
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, data.n_samples)
        if not isinstance(self.contamination, str):
            # Fail before growing trees if there is no memory for the scores: allocate it, and free it untouched.
            np.empty(data.n_samples)
        noise = noise_target(self.random_state, data.n_samples)
        max_samples = self._resolve_max_samples(data.n_samples)
        max_features = self._resolve_max_features(data.n_features)
        earlier: FittedForest | None = getattr(self, "_fitted", None) if self.warm_start else None
        n_existing = earlier.native.n_trees if earlier is not None else 0
        n_new = self.n_estimators - n_existing
        if n_new < 0:
            raise ValueError(
                f"n_estimators={self.n_estimators} must be larger or equal to "
                f"len(estimators_)={n_existing} when warm_start==True"
            )
        n_workers = resolve_n_jobs(self.n_jobs)
        if earlier is not None and n_new == 0:
            warnings.warn("Warm-start fitting without increasing n_estimators does not fit new trees.", stacklevel=4)
            native, seeds = earlier.native, earlier.seeds
            tree_seeds, tree_depths = earlier.tree_seeds, earlier.tree_depths
        else:
            seeds = draw_tree_seeds(self.random_state, n_existing, n_new)
            largest_node = max(max_samples, earlier.native.largest_node if earlier is not None else 0)
            probabilities = None
            if sample_weight is not None:
                probabilities = row_probabilities(sample_weight, max_samples, bool(self.bootstrap))
            started = time.perf_counter()
            native = _core.Forest.grow(
                data.table,
                noise,
                seeds,
                max_samples=max_samples,
                max_features=max_features,
                bootstrap=bool(self.bootstrap),
                average_path_lengths=average_path_lengths_up_to(largest_node),
                n_workers=n_workers,
                weights=probabilities,
                existing=earlier.native if earlier is not None else None,
            )
            if self.verbose:
                seconds = time.perf_counter() - started
                print(f"[IsolationForest] grew {n_new} trees in {seconds:.3f} s on up to {n_workers} threads")
            tree_seeds, tree_depths = seeds.astype(np.int64), np.full(n_new, depth_limit(max_samples), dtype=np.int64)
            if earlier is not None:
                tree_seeds = np.concatenate([earlier.tree_seeds, tree_seeds])
                tree_depths = np.concatenate([earlier.tree_depths, tree_depths])
        grown = FittedForest(
            native=native,
            offset=-0.5,
            feature_names=getattr(self, "feature_names_in_", None),
            n_samples=data.n_samples,
            max_samples=max_samples,
            max_features=max_features,
            sample_weight=sample_weight,
            seeds=seeds,
            tree_seeds=tree_seeds,
            tree_depths=tree_depths,
            estimators=earlier.estimators[:n_existing] if earlier is not None else [],
        )
        return replace(grown, offset=self._offset(grown, data, self.contamination))

    def _grow_on_drawn_rows(
        self,
        X: Any,
        rows: NDArray[np.int64],
        noise: int | NDArray[np.float64],
        seeds: NDArray[np.uint32],
        *,
        n_samples: int,
        n_features: int,
        max_samples: int,
        max_features: int,
    ) -> IsolationForest:
        """Fit a forest with these parameters on the drawn rows `X` of a larger table (see `SamplePlan`)."""
        forest: IsolationForest = clone(self)
        data = check_input(forest, X, reset=True)
        if (data.n_samples, data.n_features) != (len(rows), n_features):
            raise ValueError(
                f"X must have the {len(rows)} drawn rows and {n_features} columns, "
                f"got {data.n_samples} rows and {data.n_features} columns"
            )
        native = _core.Forest.grow_on_drawn_rows(
            data.table,
            rows,
            noise,
            seeds,
            n_samples=n_samples,
            max_samples=max_samples,
            max_features=max_features,
            bootstrap=bool(self.bootstrap),
            average_path_lengths=average_path_lengths_up_to(max_samples),
            n_workers=resolve_n_jobs(self.n_jobs),
        )
        forest._set_fitted(
            FittedForest(
                native=native,
                offset=-0.5,
                feature_names=getattr(forest, "feature_names_in_", None),
                n_samples=n_samples,
                max_samples=max_samples,
                max_features=max_features,
                sample_weight=None,
                seeds=seeds,
                tree_seeds=seeds.astype(np.int64),
                tree_depths=np.full(len(seeds), depth_limit(max_samples), dtype=np.int64),
            )
        )
        return forest

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Predict whether each row is an outlier.

        Parameters
        ----------
        X : array-like, frame or sparse matrix of shape (n_samples, n_features)
            Rows to predict, with the columns seen by `fit`.

        Returns
        -------
        ndarray of int64, shape (n_samples,)
            Label of each row: -1 for an outlier, where `decision_function` is negative, and 1 for an inlier.

        Examples
        --------
        >>> from isoxide import IsolationForest
        >>> forest = IsolationForest(random_state=0).fit([[-1.1], [0.3], [0.5], [100]])
        >>> forest.predict([[0.1], [90]])
        array([ 1, -1])
        """
        is_inlier = np.ones_like(scores := self.decision_function(X), dtype=int)
        is_inlier[scores < 0] = -1
        return is_inlier

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Compute the score of each row relative to the offset.

        Parameters
        ----------
        X : array-like, frame or sparse matrix of shape (n_samples, n_features)
            Rows to score, with the columns seen by `fit`.

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            Score of each row, ``score_samples(X) - offset_``: the lower, the more abnormal; negative for outliers.

        Examples
        --------
        >>> from isoxide import IsolationForest
        >>> forest = IsolationForest(random_state=0).fit([[-1.1], [0.3], [0.5], [100]])
        >>> forest.decision_function([[0.1], [90]]).round(2)
        array([ 0.16, -0.13])
        """
        if self._scores_itself() and type(self.offset_) in (float, np.float64):
            return self._score(self._fitted, check_input(self, X, reset=False), float(self.offset_))
        scores: NDArray[np.float64] = self.score_samples(X) - self.offset_
        return scores

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Compute the negated anomaly score of the isolation forest paper.

        Parameters
        ----------
        X : array-like, frame or sparse matrix of shape (n_samples, n_features)
            Rows to score, with the columns seen by `fit`. At each split, a missing value goes to the same side as the
            missing values of the training rows did; if there were none, it goes to the side with more training rows.
            In a sparse matrix it always goes right.

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            Score of each row, in [-1, 0]: the lower, the more abnormal.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the forest is not fitted.
        ValueError
            If the columns of `X` differ from those of the training rows.

        Examples
        --------
        >>> from isoxide import IsolationForest
        >>> forest = IsolationForest(random_state=0).fit([[-1.1], [0.3], [0.5], [100]])
        >>> forest.score_samples([[0.1], [90]]).round(2)
        array([-0.34, -0.63])
        """
        if not self.__sklearn_is_fitted__():
            check_is_fitted(self)
        return self._score(self._fitted, check_input(self, X, reset=False))

    def shap_values(self, X: Any) -> NDArray[np.float64]:
        """Compute the exact Shapley values of the mean path length: how much each column lengthens or shortens it.

        The mean path length of a row is the average over the trees of the number of splits that isolate the row. The
        value of a column is its average contribution over all orders in which the columns become known. While a column
        is unknown, both sides of its splits count, by their training rows. This is the path-dependent expectation of
        ``shap.TreeExplainer``.

        A negative value shortens the path: the column makes the row more anomalous. ``expected_value_`` and the values
        of a row add up to its mean path length L. Its score is ``-2 ** (-L / c)``, where ``c`` is the average path
        length c(n) among ``max_samples_`` rows.

        Parameters
        ----------
        X : array-like, frame or sparse matrix of shape (n_samples, n_features)
            Rows to explain, with the columns seen by `fit`, as `score_samples` takes them.

        Returns
        -------
        ndarray of float64, shape (n_samples, n_features)
            Shapley value of each row and column, in splits. A column that no tree uses has exactly 0.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the forest is not fitted.
        ValueError
            If the columns of `X` differ from those of the training rows, or a tree that came from a file or from
            scikit-learn has contradictory numbers of training rows.
        MemoryError
            If there is no memory for the values. The check comes first.

        See Also
        --------
        score_samples : Compute the scores that the values explain.

        Notes
        -----
        The values equal those of shap's ``TreeExplainer(forest, feature_perturbation="tree_path_dependent")`` up to
        rounding. They have the same bits on every processor, number of threads, layout and division of the rows. `X` is
        rounded to float32 first, which scikit-learn's trees do too but shap does not: a value near a threshold may go
        the other way there.

        References
        ----------
        S. M. Lundberg et al., "From local explanations to global understanding with explainable AI for trees", Nature
        Machine Intelligence 2, 2020.

        Examples
        --------
        >>> from isoxide import IsolationForest
        >>> X = [[-1.1, 1], [0.3, 2], [0.5, 1], [100, 2]]
        >>> forest = IsolationForest(random_state=0).fit(X)
        >>> forest.shap_values([[90, 1]]).round(2)
        array([[-0.65,  0.03]])
        """
        if not self.__sklearn_is_fitted__():
            check_is_fitted(self)
        data = check_input(self, X, reset=False)
        return self._fitted.native.shap_values(data.table, self._explaining_threads(data.n_samples))

    def explain(
        self, X: Any, *, output: Literal["log2", "path_length"] = "log2", top: int | None = None
    ) -> Explanation:
        """Explain the score of each row by the contributions of its features.

        Parameters
        ----------
        X : array-like, frame or sparse matrix of shape (n_samples, n_features)
            Rows to explain, with the columns seen by `fit`.
        output : {"log2", "path_length"}, default="log2"
            Scale of the contributions. "log2" explains the binary logarithm of the anomaly score,
            ``log2(-score_samples(X))``: a positive contribution makes the row more anomalous, and 1 doubles the anomaly
            score. "path_length" gives the `shap_values`, which explain the mean path length: a negative contribution
            makes the row more anomalous.
        top : int, optional
            Number of contributions to keep for each row: those that make it most anomalous, in descending order. It
            saves memory on wide tables. By default all are kept.

        Returns
        -------
        Explanation
            Contributions, which add up to the output of each row together with its base value.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the forest is not fitted.
        ValueError
            If `output` or `top` is out of range, or the columns of `X` differ from those of the training rows.
        TypeError
            If `top` is not an integer.
        MemoryError
            If there is no memory for the contributions. The check comes first.

        See Also
        --------
        importance : Mean absolute contribution of each feature.
        rank_features : Tell how unusual each value is.

        Examples
        --------
        >>> from isoxide import IsolationForest
        >>> X = [[-1.1, 1], [0.3, 2], [0.5, 1], [100, 2]]
        >>> explanation = IsolationForest(random_state=0).fit(X).explain([[90, 1]])
        >>> explanation.values.round(2)
        array([[ 0.35, -0.02]])
        >>> explanation.share()
        array([[1., 0.]])
        """
        check_is_fitted(self)
        output = check_output(output)
        data = check_input(self, X, reset=False)
        return explain_rows(
            self._fitted,
            data,
            RowLabels.of_table(X, data.n_samples),
            output=output,
            top=check_top(top, data.n_features),
            n_workers=self._explaining_threads(data.n_samples),
        )

    def importance(self, X: Any, *, output: Literal["log2", "path_length"] = "log2") -> NDArray[np.float64]:
        """Compute how much each feature moves the scores: its mean absolute contribution over all rows.

        No contribution of a row is kept, so a table of any length can be explained.

        Parameters
        ----------
        X : array-like, frame or sparse matrix of shape (n_samples, n_features)
            Rows to explain, with the columns seen by `fit`.
        output : {"log2", "path_length"}, default="log2"
            Scale of the contributions, as in `explain`.

        Returns
        -------
        ndarray of float64, shape (n_features,)
            Importance of each feature, at least 0. A feature that no tree uses has exactly 0.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the forest is not fitted.
        ValueError
            If `output` is unknown, or the columns of `X` differ from those of the training rows.

        Examples
        --------
        >>> from isoxide import IsolationForest
        >>> X = [[-1.1, 1], [0.3, 1], [0.5, 1], [100, 1]]
        >>> IsolationForest(random_state=0).fit(X).importance(X).round(1)
        array([0.4, 0. ])
        """
        check_is_fitted(self)
        output = check_output(output)
        data = check_input(self, X, reset=False)
        n_workers = self._explaining_threads(data.n_samples)
        return mean_contributions(self._fitted, data, output=output, n_workers=n_workers)

    def recalibrate(self, X: Any, *, contamination: Literal["auto"] | float) -> IsolationForest:
        """Set the offset for another contamination without growing trees.

        Parameters
        ----------
        X : array-like, frame or sparse matrix of shape (n_samples, n_features)
            Rows that determine the new offset: a fraction `contamination` of them are then outliers. For the training
            rows, the offset is exactly the one that ``fit(X)`` sets with this contamination.
        contamination : "auto" or float
            Fraction of the rows of `X`, in (0, 0.5]; "auto" sets ``offset_`` to -0.5. It replaces the estimator's
            parameter `contamination`.

        Returns
        -------
        IsolationForest
            The estimator itself, with the new ``offset_``.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the forest is not fitted.
        ValueError
            If `contamination` is out of range, or `X` cannot be scored.

        Examples
        --------
        >>> from isoxide import IsolationForest
        >>> X = [[-1.1], [0.3], [0.5], [100]]
        >>> forest = IsolationForest(random_state=0).fit(X)
        >>> int((forest.recalibrate(X, contamination=0.5).predict(X) == -1).sum())
        2
        """
        check_is_fitted(self)
        check_contamination(self, contamination)
        offset = self._offset(self._fitted, check_input(self, X, reset=False), contamination)
        self.contamination = contamination
        self._set_fitted(replace(self._fitted, offset=offset))
        return self

    def contamination_at(self, X: Any, threshold: float) -> float:
        """Compute the fraction of rows whose decision function is at or below a threshold.

        Parameters
        ----------
        X : array-like, frame or sparse matrix of shape (n_samples, n_features)
            Rows to count, with the columns seen by `fit`.
        threshold : float
            Threshold on the scale of `decision_function`: the lower, the fewer rows.

        Returns
        -------
        float
            Fraction of the rows, in [0, 1].

        Examples
        --------
        >>> from isoxide import IsolationForest
        >>> X = [[-1.1], [0.3], [0.5], [100]]
        >>> IsolationForest(random_state=0).fit(X).contamination_at(X, 0.0)
        0.25
        """
        return float(np.mean(self.decision_function(X) <= threshold))

    def save(self, path: str | os.PathLike[str], *, complete: bool = False, filesystem: Any = None) -> None:
        """Write the forest to a file that holds numbers and text only.

        The file has the safetensors format, with a checksum over everything. An existing file is replaced only once the
        new one is complete; if writing fails, the existing file stays.

        Parameters
        ----------
        path : str or os.PathLike
            File or URL to write, such as ``"forest.safetensors"``.
        complete : bool, default=False
            Whether to store the fields ``impurity`` and ``value`` of each node in `estimators_`. They record the random
            target that the trees were grown with, and no score depends on them. Without them the file is a third of
            the size, and they are NaN after loading.
        filesystem : pyarrow.fs.FileSystem or fsspec.AbstractFileSystem, optional
            File system of the path. By default `path` is a URL (such as ``s3://bucket/forest.safetensors``) or a local
            path.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the forest is not fitted.
        TypeError
            If a parameter has a type that a file cannot hold.
        ValueError
            If a parameter is out of range, or `path` is a device or a pipe.
        OSError
            If the file cannot be written.

        See Also
        --------
        load : Read the file.
        to_bytes : Make the same bytes without a file.

        Notes
        -----
        The file holds the trees, the parameters, the feature names and the offset, and the current state of a
        ``RandomState``. A pickle also holds attributes that you set yourself; the file does not.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> from isoxide import IsolationForest
        >>> X = [[-1.1], [0.3], [0.5], [100]]
        >>> path = pathlib.Path(tempfile.mkdtemp(), "forest.safetensors")
        >>> IsolationForest(random_state=0).fit(X).save(path)
        >>> IsolationForest.load(path).predict([[0.1], [0], [90]])
        array([ 1,  1, -1])
        """
        data = self.to_bytes(complete=complete)
        replace_file(path, lambda temporary: temporary.write_bytes(data), filesystem)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, filesystem: Any = None) -> Self:
        """Read a forest from a file that `save` wrote.

        Untrusted files are safe: everything in them is checked, and loading never executes code.

        Parameters
        ----------
        path : str or os.PathLike
            File or URL to read.
        filesystem : pyarrow.fs.FileSystem or fsspec.AbstractFileSystem, optional
            File system of the path. By default `path` is a URL (such as ``s3://bucket/forest.safetensors``) or a local
            path.

        Returns
        -------
        IsolationForest
            Forest with the parameters, trees, scores and offset of the saved one. With ``warm_start``, `fit` adds to
            its trees.

        Raises
        ------
        FileNotFoundError, IsADirectoryError
            If the file does not exist.
        ValueError
            If the file is damaged, has a later format, or is not a forest of this package.

        See Also
        --------
        save : Write the file.
        from_sklearn : Convert a forest of scikit-learn.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> from isoxide import IsolationForest
        >>> path = pathlib.Path(tempfile.mkdtemp(), "forest.safetensors")
        >>> IsolationForest(random_state=0).fit([[-1.1], [0.3], [0.5], [100]]).save(path)
        >>> IsolationForest.load(path).offset_
        -0.5
        """
        data = read_file(path, filesystem)
        try:
            return cls.from_bytes(data)
        except ValueError as error:
            raise ValueError(f"{located(path, filesystem)}: {error}") from error

    def to_bytes(self, *, complete: bool = False) -> bytes:
        """Make the bytes that `save` writes.

        Parameters
        ----------
        complete : bool, default=False
            Whether to store the fields ``impurity`` and ``value`` of each node in `estimators_`. They record the random
            target that the trees were grown with, and no score depends on them. Without them the result is a third of
            the size, and they are NaN after loading.

        Returns
        -------
        bytes
            The same bytes for the same forest, on every machine.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the forest is not fitted.
        TypeError
            If a parameter has a type that a file cannot hold.
        ValueError
            If a parameter is out of range.

        Examples
        --------
        >>> from isoxide import IsolationForest
        >>> forest = IsolationForest(random_state=0).fit([[-1.1], [0.3], [0.5], [100]])
        >>> IsolationForest.from_bytes(forest.to_bytes()).to_bytes() == forest.to_bytes()
        True
        """
        check_is_fitted(self)
        self._validate_params()
        return model_file.to_bytes(self._fitted_now(), self.get_params(deep=False), complete=complete)

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Self:
        """Make a forest from the bytes that `to_bytes` returned.

        Untrusted bytes are safe: everything in them is checked, and loading never executes code.

        Parameters
        ----------
        data : bytes, bytearray or memoryview
            Result of `to_bytes`, or the content of a file that `save` wrote.

        Returns
        -------
        IsolationForest
            Forest with the parameters, trees, scores and offset of the encoded one.

        Raises
        ------
        TypeError
            If `data` is of another type.
        ValueError
            If the bytes are damaged, have a later format, or are not a forest of this package.

        Examples
        --------
        >>> from isoxide import IsolationForest
        >>> data = IsolationForest(random_state=0).fit([[-1.1], [0.3], [0.5], [100]]).to_bytes()
        >>> IsolationForest.from_bytes(data).predict([[0.1], [0], [90]])
        array([ 1,  1, -1])
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data must be bytes, a bytearray or a memoryview, got {type(data).__name__}")
        fitted, parameters = model_file.from_bytes(bytes(data))
        forest = cls(**model_file.check_parameters(parameters, cls._get_param_names(), cls.__name__))
        forest._validate_params()
        forest._restore(fitted)
        return forest

    def to_sklearn(self) -> SklearnForest:
        """Convert the forest to scikit-learn's own class, for tools that accept only that class.

        Returns
        -------
        sklearn.ensemble.IsolationForest
            Forest with the same parameters and equal trees, scores and offset.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the forest is not fitted.
        NotImplementedError
            If this version of isoxide does not know how the installed scikit-learn stores its trees.

        Examples
        --------
        >>> from isoxide import IsolationForest
        >>> X = [[-1.1], [0.3], [0.5], [100]]
        >>> IsolationForest(random_state=0).fit(X).to_sklearn().predict([[0.1], [0], [90]])
        array([ 1,  1, -1])
        """
        check_is_fitted(self)
        return sklearn_interop.to_sklearn(self._fitted_now(), self.get_params())

    @classmethod
    def from_sklearn(cls, model: SklearnForest) -> Self:
        """Convert a fitted forest of scikit-learn.

        Parameters
        ----------
        model : sklearn.ensemble.IsolationForest
            Model fitted by scikit-learn 1.3 or later, possibly unpickled.

        Returns
        -------
        IsolationForest
            Forest with the same parameters and equal trees, scores and offset.

        Raises
        ------
        TypeError
            If `model` is of another class.
        sklearn.exceptions.NotFittedError
            If `model` is not fitted.
        ValueError
            If the trees cannot come from a fit of scikit-learn's isolation forest, or if a parameter that this class
            lacks does not have its default value.
        NotImplementedError
            If this version of isoxide does not know how the installed scikit-learn stores its trees.

        Examples
        --------
        >>> import sklearn.ensemble
        >>> from isoxide import IsolationForest
        >>> X = [[-1.1], [0.3], [0.5], [100]]
        >>> model = sklearn.ensemble.IsolationForest(random_state=0).fit(X)
        >>> IsolationForest.from_sklearn(model).predict([[0.1], [0], [90]])
        array([ 1,  1, -1])
        """
        forest = cls(**sklearn_interop.sklearn_parameters(model, cls._get_param_names()))
        forest._restore(sklearn_interop.from_sklearn(model))
        return forest

    @property
    def estimators_(self) -> list[ExtraTreeRegressor]:
        """Return the trees as scikit-learn's own objects, which are built when first read and then kept."""
        check_is_fitted(self)
        return sklearn_interop.estimators(self._fitted)

    @property
    def estimator_(self) -> ExtraTreeRegressor:
        """Return the unfitted tree that the fitted ones are clones of."""
        check_is_fitted(self)
        return sklearn_interop.estimator_template(depth_limit(self._fitted.max_samples), self.random_state)

    @property
    def estimators_samples_(self) -> list[NDArray[np.int64]]:
        """Return the rows that each tree of the last fit drew, in the order drawn; each access computes them again."""
        check_is_fitted(self)
        return sklearn_interop.estimators_samples(self._fitted, bootstrap=bool(self.bootstrap), n_jobs=self.n_jobs)

    @property
    def estimators_features_(self) -> list[NDArray[np.int64]]:
        """Return the columns that each tree drew, in the order drawn."""
        check_is_fitted(self)
        return sklearn_interop.estimators_features(self._fitted)

    @property
    def expected_value_(self) -> float:
        """Return the mean path length expected of an unknown row; each access computes it again."""
        check_is_fitted(self)
        return self._fitted.native.expected_value

    def __len__(self) -> int:
        """Return the number of trees."""
        check_is_fitted(self)
        return self._fitted.native.n_trees

    def __getitem__(self, index: Any) -> Any:
        """Return one tree, or a list of trees for a slice."""
        return self.estimators_[index]

    def __iter__(self) -> Iterator[ExtraTreeRegressor]:
        """Iterate over the trees as scikit-learn's objects."""
        return iter(self.estimators_)

    def __bool__(self) -> bool:
        """Return True, fitted or not; without this method, Python would call `__len__`, which needs a fit."""
        return True

    # The base class of scikit-learn's forest has these attributes. No parameter sets them there either.

    @property
    def estimator(self) -> None:
        """Return None: the class of the trees cannot be chosen."""
        return None

    @property
    def estimator_params(self) -> tuple[()]:
        """Return an empty tuple: no parameter is passed on to the trees."""
        return ()

    @property
    def bootstrap_features(self) -> bool:
        """Return False: a tree draws each column at most once."""
        return False

    @property
    def oob_score(self) -> bool:
        """Return False: without a target there is no out-of-bag score."""
        return False

    # Tools read these private attributes of scikit-learn's forest.

    @property
    def _n_samples(self) -> int:
        """Return the number of training rows."""
        return self._fitted.n_samples

    @property
    def _max_samples(self) -> int:
        """Return the number of rows that each tree drew."""
        return self._fitted.max_samples

    @property
    def _max_features(self) -> int:
        """Return the number of columns that each tree drew."""
        return self._fitted.max_features

    @property
    def _sample_weight(self) -> NDArray[Any] | None:
        """Return the weights of the training rows."""
        return self._fitted.sample_weight

    @property
    def _seeds(self) -> NDArray[np.uint32]:
        """Return the seeds of the trees of the last fit."""
        return self._fitted.seeds

    @property
    def _average_path_length_per_tree(self) -> tuple[NDArray[np.float64], ...]:
        """Return c(n) for each node of each tree, where n is the number of its rows."""
        return sklearn_interop.average_path_length_per_tree(self._fitted)

    @property
    def _decision_path_lengths(self) -> tuple[NDArray[np.int64], ...]:
        """Return the depth of each node of each tree."""
        return sklearn_interop.decision_path_lengths(self._fitted)

    def _explaining_threads(self, n_rows: int) -> int:
        """Compute the number of threads for explaining rows."""
        return resolve_n_jobs_for(self.n_jobs, n_rows * self._fitted.native.n_trees * _EXPLAINING_STEPS)

    def _scores_itself(self) -> bool:
        """Tell whether the forest is fitted, and `score_samples` is that of this class."""
        return self.__sklearn_is_fitted__() and (
            getattr(self.score_samples, "__func__", None) is IsolationForest.score_samples
        )

    def _score(self, fitted: FittedForest, data: Input, offset: float | None = None) -> NDArray[np.float64]:
        """Compute the scores of a checked table, minus an offset if there is one."""
        n_trees = fitted.native.n_trees
        n_workers = resolve_n_jobs_for(self.n_jobs, data.n_samples * n_trees)
        sums = fitted.native.depth_sums(data.table, n_workers)
        denominator = total_average_path_length(n_trees, fitted.max_samples)

        def score(values: NDArray[np.float64]) -> None:
            # Compute -(2 ** -(sums / denominator)) in place: fresh memory takes longer than the arithmetic. NumPy
            # computes the power, so that its last bit is scikit-learn's on every processor.
            if denominator == 0:
                # A single training row has no path length at all; the ratio is 1 by convention.
                values.fill(-0.5)
            else:
                np.divide(values, -denominator, out=values)
                np.power(2.0, values, out=values)
                np.negative(values, out=values)
            if offset is not None:
                np.subtract(values, offset, out=values)

        apply_in_slices(score, sums, n_workers)
        return sums

    def _offset(self, fitted: FittedForest, data: Input, contamination: Literal["auto"] | float) -> float:
        """Compute the offset for a contamination of the rows of a checked table."""
        if isinstance(contamination, str):
            return -0.5
        offset: float = np.percentile(self._score(fitted, data), 100.0 * contamination)
        return offset

    def _set_fitted(self, fitted: FittedForest) -> None:
        """Set the fitted state and the public attributes that do not describe the columns."""
        self._fitted = fitted
        self.max_samples_ = fitted.max_samples
        self.offset_ = fitted.offset

    def _restore(self, fitted: FittedForest) -> None:
        """Set the fitted state that a file, a pickle or a scikit-learn model gave, and `fit`'s public attributes."""
        if not isinstance(getattr(self, "contamination", None), str):
            # `fit` gets this type from `numpy.percentile`.
            fitted = replace(fitted, offset=np.float64(fitted.offset))
        self.n_features_in_ = fitted.native.n_features
        if fitted.feature_names is not None:
            self.feature_names_in_ = fitted.feature_names
        self._set_fitted(fitted)

    def _fitted_now(self) -> FittedForest:
        """Return the fitted state with the offset and the names of the public attributes, which users may set."""
        if self.n_features_in_ != self._fitted.native.n_features:
            raise ValueError(
                f"n_features_in_ is {self.n_features_in_}, but the trees were grown on "
                f"{self._fitted.native.n_features} columns; fit the forest again"
            )
        return replace(self._fitted, offset=self.offset_, feature_names=getattr(self, "feature_names_in_", None))

    def _resolve_max_samples(self, n_samples: int, *, warn: bool = True) -> int:
        """Compute how many of the training rows each tree draws."""
        max_samples = self.max_samples
        if isinstance(max_samples, str):
            return min(256, n_samples)
        if isinstance(max_samples, Integral):
            if max_samples > n_samples and warn:
                warnings.warn(
                    f"max_samples ({max_samples}) is greater than the total number of samples ({n_samples}). "
                    "max_samples will be set to n_samples for estimation.",
                    stacklevel=5,
                )
            return min(int(max_samples), n_samples)
        resolved = int(max_samples * n_samples)
        if resolved == 0:
            # The first sentence is scikit-learn's.
            raise ValueError(
                "Sample weights must contain at least one non-zero number. "
                f"(max_samples={max_samples} of {n_samples} rows is less than one row: "
                f"raise it to at least {1 / n_samples:.3g}, or pass an int.)"
            )
        return resolved

    def _resolve_max_features(self, n_features: int) -> int:
        """Compute how many of the columns each tree draws."""
        max_features = self.max_features
        resolved = int(max_features) if isinstance(max_features, Integral) else int(max_features * n_features)
        if resolved > n_features:
            raise ValueError("max_features must be <= n_features")
        return max(1, resolved)

    def __copy__(self) -> Self:
        """Return a shallow copy that shares the fitted state, which is immutable."""
        copied = type(self).__new__(type(self))
        copied.__dict__.update(self.__dict__)
        return copied

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle: parameters, attributes that users set, and the fitted state as bytes."""
        state: dict[str, Any] = dict(super().__getstate__())
        if _FITTED in state:
            state = {name: value for name, value in state.items() if name not in _LEARNED}
            state[_FITTED] = model_file.to_bytes(self._fitted_now(), None, complete=True)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a pickled state, with the same checks as for a file."""
        rest = {name: value for name, value in state.items() if name != _FITTED}
        learned = (_LEARNED | _OBSOLETE) & rest.keys()
        if "_forest" in learned or (learned and _FITTED in state):
            raise ValueError(
                "this forest was pickled by another version of isoxide, in a format that this version does not read: "
                "load it with that version, save it with IsolationForest.save, and load the file with this version"
            )
        super().__setstate__(rest)
        if _FITTED in state:
            fitted, _ = model_file.from_bytes(state[_FITTED])
            self._restore(fitted)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_fitted")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        return tags


# Pickles, skops files and messages contain the public module's name, so that private modules can move.
IsolationForest.__module__ = "isoxide"
