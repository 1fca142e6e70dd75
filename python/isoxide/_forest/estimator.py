"""The estimator: parameters in, one native forest inside."""

from __future__ import annotations

import time
import warnings
from numbers import Integral
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import OutlierMixin, _fit_context, clone
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from isoxide import _core
from isoxide._common.threads import resolve_n_jobs, resolve_n_jobs_for
from isoxide._forest.path_length import average_path_lengths_up_to, total_average_path_length
from isoxide._forest.random_state import RandomState, draw_tree_seeds, noise_target, row_probabilities
from isoxide._forest.sklearn_interop import SklearnViews, max_depth
from isoxide._frames.validation import (
    PARAMETER_CONSTRAINTS,
    Input,
    check_contamination,
    check_input,
    check_sample_weight,
)


class IsolationForest(OutlierMixin, SklearnViews):  # type: ignore[misc]  # scikit-learn's bases are untyped
    """Isolate anomalies with random trees, bit-identical to scikit-learn's and many times faster.

    Trees, scores, offset and predictions equal those of ``sklearn.ensemble.IsolationForest`` of scikit-learn 1.9 for
    the same parameters and the same `random_state`, on any number of threads.

    Parameters
    ----------
    n_estimators : int, default=100
        Number of trees, at least 1.

    max_samples : "auto", int or float, default="auto"
        Rows that each tree draws: ``min(256, n_samples)`` for "auto"; that many for an int (at most ``n_samples``,
        with a warning when it is larger); that share of ``n_samples`` for a float in (0, 1].

    contamination : "auto" or float, default="auto"
        Share of the training rows, in (0, 0.5], that `predict` is to call outliers; it only sets ``offset_``. "auto"
        sets ``offset_`` to -0.5, as in the paper.

    max_features : int or float, default=1.0
        Columns that each tree draws: that many for an int, that share for a float in (0, 1]; at least one.

    bootstrap : bool, default=False
        Whether a tree may draw the same row more than once.

    n_jobs : int or None, default=None
        Threads for fitting and scoring. ``None`` means all cores that the process may use, within the limits of an
        active joblib context, and one inside a joblib worker. It never changes a result.

    random_state : int, RandomState instance or None, default=None
        Source of all random draws. An int in [0, 2**32 - 1] gives the same forest at every call.

    verbose : int, default=0
        Above 0, `fit` prints a line.

    warm_start : bool, default=False
        Whether `fit` keeps the trees of the last fit and adds ``n_estimators`` minus their number to them.

    Attributes
    ----------
    offset_ : float
        ``decision_function = score_samples - offset_``; in [-1, 0].

    max_samples_ : int
        Rows that each tree drew.

    n_features_in_ : int
        Columns seen by `fit`.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns seen by `fit`; only if all of them are strings.

    estimators_ : list of sklearn.tree.ExtraTreeRegressor
        The trees as scikit-learn's own objects, made when first read. ``len(forest)`` is their number, ``forest[i]`` is
        one of them, and iteration goes through them.

    estimator_ : sklearn.tree.ExtraTreeRegressor
        The unfitted tree.

    estimators_samples_ : list of ndarray of int64
        For each tree of the last fit the rows that it drew, in the order drawn.

    estimators_features_ : list of ndarray of int64
        For each tree the columns that it drew, in the order drawn.

    References
    ----------
    Liu, Ting and Zhou, "Isolation forest", ICDM 2008, and "Isolation-based anomaly detection", TKDD 6(1), 2012.
    The behaviour is that of scikit-learn's ``sklearn.ensemble.IsolationForest``.

    Examples
    --------
    >>> from isoxide import IsolationForest
    >>> X = [[-1.1], [0.3], [0.5], [100]]
    >>> forest = IsolationForest(random_state=0).fit(X)
    >>> forest.predict([[0.1], [0], [90]])
    array([ 1,  1, -1])
    """

    _parameter_constraints = PARAMETER_CONSTRAINTS

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

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> IsolationForest:
        """Grow the trees and set the offset.

        Parameters
        ----------
        X : array-like, frame or sparse matrix of shape (n_samples, n_features)
            Training rows: NumPy arrays of any dtype that converts to float32, frames, lists, scipy's sparse matrices
            (CSR is read in place). NaN (missing) and infinities are allowed. Dense float64, float32 and int64 data
            is read in place, and only where a tree drew it.
        y : Ignored
            Present for API consistency.
        sample_weight : array-like of shape (n_samples,), float or None, default=None
            Chances of the rows to be drawn, relative to one another: 0 or more. They do not enter the trees.

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
        A fit that fails or is interrupted leaves the estimator as it was. What it has drawn from a `RandomState`
        instance stays drawn.
        """
        before = self.__dict__.copy()
        try:
            return self._fit(X, sample_weight)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _fit(self, X: Any, sample_weight: Any) -> IsolationForest:
        data = check_input(self, X, reset=True)
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, data.n_samples)
        if not isinstance(self.contamination, str):
            # Memory for the scores of all rows is asked for before any tree is grown, and given back untouched.
            np.empty(data.n_samples)
        noise = noise_target(self.random_state, data.n_samples)
        max_samples = self._resolve_max_samples(data.n_samples)
        max_features = self._resolve_max_features(data.n_features)
        forest: _core.Forest | None = getattr(self, "_forest", None) if self.warm_start else None
        n_existing = forest.n_trees if forest is not None else 0
        n_new = self.n_estimators - n_existing
        if n_new < 0:
            raise ValueError(
                f"n_estimators={self.n_estimators} must be larger or equal to "
                f"len(estimators_)={n_existing} when warm_start==True"
            )
        n_workers = resolve_n_jobs(self.n_jobs)
        seeds = None
        if n_new == 0:
            warnings.warn("Warm-start fitting without increasing n_estimators does not fit new trees.", stacklevel=4)
        else:
            seeds = draw_tree_seeds(self.random_state, n_existing, n_new)
            largest_node = max(max_samples, forest.largest_node if forest is not None else 0)
            probabilities = None
            if sample_weight is not None:
                probabilities = row_probabilities(sample_weight, max_samples, bool(self.bootstrap))
            started = time.perf_counter()
            forest = _core.Forest.grow(
                data.table,
                noise,
                seeds,
                max_samples=max_samples,
                max_features=max_features,
                bootstrap=bool(self.bootstrap),
                average_path_lengths=average_path_lengths_up_to(largest_node),
                n_workers=n_workers,
                weights=probabilities,
                existing=forest,
            )
            if self.verbose:
                seconds = time.perf_counter() - started
                print(f"[IsolationForest] grew {n_new} trees in {seconds:.3f} s on up to {n_workers} threads")
        assert forest is not None
        offset = self._offset(forest, data, max_samples, self.contamination)
        if seeds is not None:
            self._seeds = seeds
            self._tree_seeds = self._append("_tree_seeds", n_existing, seeds)
            self._tree_depths = self._append("_tree_depths", n_existing, np.full(n_new, max_depth(max_samples)))
            self._trees = self._trees[:n_existing] if n_existing else []
        self._forest = forest
        self._sample_weight = sample_weight
        self._n_samples = data.n_samples
        self._max_features = max_features
        self.max_samples_ = max_samples
        self.offset_ = offset
        return self

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
        """Fit a forest with these parameters on a table of which `X` has the drawn rows only (see `SamplePlan`)."""
        grown: IsolationForest = clone(self)
        data = check_input(grown, X, reset=True)
        if (data.n_samples, data.n_features) != (len(rows), n_features):
            raise ValueError(
                f"X must have the {len(rows)} drawn rows and {n_features} columns, "
                f"got {data.n_samples} rows and {data.n_features} columns"
            )
        grown._forest = _core.Forest.grow_on_drawn_rows(
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
        grown._seeds = seeds
        grown._tree_seeds = seeds.astype(np.int64)
        grown._tree_depths = np.full(len(seeds), max_depth(max_samples), dtype=np.int64)
        grown._trees = []
        grown._sample_weight = None
        grown._n_samples, grown._max_features = n_samples, max_features
        grown.max_samples_, grown.offset_ = max_samples, -0.5
        return grown

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Predict whether each row is an inlier.

        Parameters
        ----------
        X : array-like, frame or sparse matrix of shape (n_samples, n_features)
            Rows with the columns seen by `fit`.

        Returns
        -------
        ndarray of int64, shape (n_samples,)
            -1 where `decision_function` is negative (an outlier), 1 elsewhere.
        """
        is_inlier = np.ones_like(scores := self.decision_function(X), dtype=int)
        is_inlier[scores < 0] = -1
        return is_inlier

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Compute the score of each row relative to the threshold.

        Parameters
        ----------
        X : array-like, frame or sparse matrix of shape (n_samples, n_features)
            Rows with the columns seen by `fit`.

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            ``score_samples(X) - offset_``: the lower, the more abnormal; negative means outlier.
        """
        scores: NDArray[np.float64] = self.score_samples(X) - self.offset_
        return scores

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Compute the opposite of the anomaly score of the paper.

        Parameters
        ----------
        X : array-like, frame or sparse matrix of shape (n_samples, n_features)
            Rows with the columns seen by `fit`. Missing values go where those of the training rows went, or where
            there were none, to the larger side; in a sparse matrix they always go right.

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            In [-1, 0): the lower, the more abnormal.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the forest is not fitted.
        ValueError
            If `X` has other columns than the training rows.
        """
        if not self.__sklearn_is_fitted__():
            check_is_fitted(self)
        return self._score(self._forest, check_input(self, X, reset=False), self.max_samples_)

    def recalibrate(self, X: Any, *, contamination: Literal["auto"] | float) -> IsolationForest:
        """Move the offset to another contamination without growing trees.

        Parameters
        ----------
        X : array-like, frame or sparse matrix of shape (n_samples, n_features)
            The rows of which the share is to be outliers. With the training rows, ``offset_`` becomes exactly what
            ``fit(X)`` with this contamination would make it.
        contamination : "auto" or float
            Share of the rows of `X`, in (0, 0.5]; "auto" sets ``offset_`` to -0.5. Becomes the estimator's parameter.

        Returns
        -------
        IsolationForest
            The estimator with another ``offset_``.

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
        offset = self._offset(self._forest, check_input(self, X, reset=False), self.max_samples_, contamination)
        self.contamination = contamination
        self.offset_ = offset
        return self

    def contamination_at(self, X: Any, threshold: float) -> float:
        """Compute the share of rows whose decision score is at or below a threshold.

        Parameters
        ----------
        X : array-like, frame or sparse matrix of shape (n_samples, n_features)
            The rows to count among.
        threshold : float
            On the scale of `decision_function`: the lower, the fewer rows.

        Returns
        -------
        float
            In [0, 1].

        Examples
        --------
        >>> from isoxide import IsolationForest
        >>> X = [[-1.1], [0.3], [0.5], [100]]
        >>> IsolationForest(random_state=0).fit(X).contamination_at(X, 0.0)
        0.25
        """
        return float(np.mean(self.decision_function(X) <= threshold))

    def _score(self, forest: _core.Forest, data: Input, max_samples: int) -> NDArray[np.float64]:
        n_trees = forest.n_trees
        depths = forest.depth_sums(data.table, resolve_n_jobs_for(self.n_jobs, data.n_samples * n_trees))
        denominator = total_average_path_length(n_trees, max_samples)
        if denominator == 0:
            # A single training row gives no path length at all; the ratio is 1 by convention.
            return np.full_like(depths, -0.5)
        # -(2 ** -(depths / denominator)), in place: fresh memory takes longer than the arithmetic. The power is
        # NumPy's, whose last bit is scikit-learn's on every processor.
        np.divide(depths, -denominator, out=depths)
        np.power(2.0, depths, out=depths)
        return np.negative(depths, out=depths)

    def _offset(
        self, forest: _core.Forest, data: Input, max_samples: int, contamination: Literal["auto"] | float
    ) -> float:
        if isinstance(contamination, str):
            return -0.5
        offset: float = np.percentile(self._score(forest, data, max_samples), 100.0 * contamination)
        return offset

    def _append(self, name: str, n_existing: int, new: NDArray[Any]) -> NDArray[np.int64]:
        """Append the new trees' entries to those of the trees that a warm start keeps."""
        existing = getattr(self, name)[:n_existing] if n_existing else []
        return np.concatenate([existing, new]).astype(np.int64)

    def _resolve_max_samples(self, n_samples: int, *, warn: bool = True) -> int:
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
        max_features = self.max_features
        resolved = int(max_features) if isinstance(max_features, Integral) else int(max_features * n_features)
        if resolved > n_features:
            raise ValueError("max_features must be <= n_features")
        return max(1, resolved)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_forest")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        return tags


# Pickles, skops and messages hold the public module's name, so that private ones can move.
IsolationForest.__module__ = "isoxide"
