"""Show fitted forests as scikit-learn's own objects, and take such objects over."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest as SklearnForest
from sklearn.tree import ExtraTreeRegressor
from sklearn.utils.validation import check_is_fitted

from isoxide import _core
from isoxide._common.threads import resolve_n_jobs
from isoxide._forest.model_file import ModelFile
from isoxide._forest.path_length import average_path_lengths_up_to
from isoxide._forest.random_state import MAX_SEED, RandomState, row_probabilities
from isoxide._forest.sklearn_tree import has_categories, make_tree, set_fitted, unknown_layout

if TYPE_CHECKING:
    from typing_extensions import Self

#: A seed that is not known: of trees that a scikit-learn forest had before its last warm start.
UNKNOWN_SEED = -1


class SklearnViews(ModelFile):
    """Base class with everything that scikit-learn's own class has besides fitting and scoring.

    A base of ``IsolationForest``, which sets the attributes below when it is fitted.
    """

    bootstrap: bool
    n_jobs: int | None
    random_state: RandomState

    def to_sklearn(self) -> SklearnForest:
        """Make a fitted forest of scikit-learn's own class.

        Returns
        -------
        sklearn.ensemble.IsolationForest
            With the same parameters and equal trees, scores and offset; for tools that know that class.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the forest is not fitted.
        NotImplementedError
            If the installed scikit-learn keeps its trees in a way that this version of isoxide does not know.

        Examples
        --------
        >>> from isoxide import IsolationForest
        >>> X = [[-1.1], [0.3], [0.5], [100]]
        >>> IsolationForest(random_state=0).fit(X).to_sklearn().predict([[0.1], [0], [90]])
        array([ 1,  1, -1])
        """
        check_is_fitted(self)
        model = SklearnForest(**self.get_params())
        model.estimators_ = list(self.estimators_)
        model.estimators_features_ = self.estimators_features_
        model.estimator_ = self.estimator_
        model.n_features_in_ = self.n_features_in_
        if hasattr(self, "feature_names_in_"):
            model.feature_names_in_ = self.feature_names_in_
        model.max_samples_ = model._max_samples = self.max_samples_
        model._max_features = self._max_features
        model._n_samples = self._n_samples
        model._seeds = self._seeds.astype(np.int64)
        model._sample_weight = self._sample_weight
        model._average_path_length_per_tree = self._average_path_length_per_tree
        model._decision_path_lengths = self._decision_path_lengths
        model.offset_ = self.offset_
        _complete(model)
        return model

    @classmethod
    def from_sklearn(cls, model: SklearnForest) -> Self:
        """Take over a fitted forest of scikit-learn.

        Parameters
        ----------
        model : sklearn.ensemble.IsolationForest
            Fitted by scikit-learn 1.3 or later, possibly unpickled.

        Returns
        -------
        IsolationForest
            With the same parameters and equal trees, scores and offset.

        Raises
        ------
        TypeError
            If `model` is of another class.
        sklearn.exceptions.NotFittedError
            If `model` is not fitted.
        ValueError
            If its trees are not such as scikit-learn grows for an isolation forest on numbers, or if a parameter that
            this class lacks is not at its default.
        NotImplementedError
            If the installed scikit-learn keeps its trees in a way that this version of isoxide does not know.

        Examples
        --------
        >>> import sklearn.ensemble
        >>> from isoxide import IsolationForest
        >>> X = [[-1.1], [0.3], [0.5], [100]]
        >>> model = sklearn.ensemble.IsolationForest(random_state=0).fit(X)
        >>> IsolationForest.from_sklearn(model).predict([[0.1], [0], [90]])
        array([ 1,  1, -1])
        """
        if not isinstance(model, SklearnForest):
            raise TypeError(f"model must be a fitted sklearn.ensemble.IsolationForest, got {type(model).__name__}")
        check_is_fitted(model, "estimators_")
        # Not of `get_params`: a subclass may have a constructor of its own.
        forest = cls(**{name: getattr(model, name) for name in cls().get_params()})
        _refuse_other_parameters(model, forest.get_params())
        forest._forest = native_forest(model)
        forest.n_features_in_ = model.n_features_in_
        if hasattr(model, "feature_names_in_"):
            forest.feature_names_in_ = model.feature_names_in_
        forest.max_samples_ = int(model.max_samples_)
        forest._max_features = int(model._max_features)
        forest._n_samples = int(model._n_samples)
        # Before 1.8, weights did not change which rows were drawn, and were not kept.
        forest._sample_weight = getattr(model, "_sample_weight", None)
        forest._seeds = np.asarray(model._seeds).astype(np.uint32)
        earlier = np.full(len(model.estimators_) - len(forest._seeds), UNKNOWN_SEED)
        forest._tree_seeds = np.concatenate([earlier, forest._seeds]).astype(np.int64)
        forest._tree_depths = np.array([tree.max_depth for tree in model.estimators_], dtype=np.int64)
        forest._trees = []
        forest.offset_ = model.offset_
        return forest

    @property
    def estimators_(self) -> list[ExtraTreeRegressor]:
        """Return the trees as scikit-learn's own objects, which are made when first read and then kept."""
        check_is_fitted(self)
        known, n_trees = self._trees, self._forest.n_trees
        if len(known) < n_trees:
            # A list of its own until all are made: another thread may be making the same trees.
            seeds, depths = self._tree_seeds.tolist(), self._tree_depths.tolist()
            missing = range(len(known), n_trees)
            known = known + [fitted_tree(self._forest, index, seeds[index], depths[index]) for index in missing]
            self._trees = known
        return known

    @property
    def estimator_(self) -> ExtraTreeRegressor:
        """Return the unfitted tree that the others are clones of."""
        check_is_fitted(self)
        return tree_template(max_depth(self.max_samples_), self.random_state)

    @property
    def estimators_samples_(self) -> list[NDArray[np.int64]]:
        """Return the rows that each tree of the last fit drew, in the order drawn; computed anew at each call."""
        check_is_fitted(self)
        weights = self._sample_weight
        if weights is not None:
            weights = row_probabilities(weights, self.max_samples_, bool(self.bootstrap))
        return _core.sample_rows(
            self._seeds,
            n_samples=self._n_samples,
            n_features=self.n_features_in_,
            max_samples=self.max_samples_,
            max_features=self._max_features,
            bootstrap=bool(self.bootstrap),
            n_workers=resolve_n_jobs(self.n_jobs),
            weights=weights,
        )

    @property
    def estimators_features_(self) -> list[NDArray[np.int64]]:
        """Return the columns that each tree drew, in the order drawn."""
        check_is_fitted(self)
        return [self._forest.tree_features(tree) for tree in range(self._forest.n_trees)]

    def __len__(self) -> int:
        """Return the number of trees."""
        check_is_fitted(self)
        return self._forest.n_trees

    def __getitem__(self, index: Any) -> Any:
        """Return a tree, or a list of trees for a slice."""
        return self.estimators_[index]

    def __iter__(self) -> Iterator[ExtraTreeRegressor]:
        """Iterate over the trees."""
        return iter(self.estimators_)

    def __bool__(self) -> bool:
        """Return True, fitted or not: an estimator is no empty sequence before it is fitted."""
        return True

    # What scikit-learn's forest has from its base class, where it cannot be chosen either.

    @property
    def estimator(self) -> None:
        """Return None: the class of the trees cannot be chosen."""
        return None

    @property
    def estimator_params(self) -> tuple[()]:
        """Return an empty tuple: no parameter is handed on to the trees."""
        return ()

    @property
    def bootstrap_features(self) -> bool:
        """Return False: a tree draws each column once at most."""
        return False

    @property
    def oob_score(self) -> bool:
        """Return False: without a target there is no out-of-bag score."""
        return False

    # What tools read of scikit-learn's private attributes.

    @property
    def _max_samples(self) -> int:
        return self.max_samples_

    @property
    def _average_path_length_per_tree(self) -> tuple[NDArray[np.float64], ...]:
        # Of the values that the scores are made of, which another NumPy may have given.
        c = self._forest.average_path_lengths
        return tuple(c[estimator.tree_.n_node_samples] for estimator in self.estimators_)

    @property
    def _decision_path_lengths(self) -> tuple[NDArray[np.int64], ...]:
        return tuple(estimator.tree_.compute_node_depths() for estimator in self.estimators_)


def max_depth(max_samples: int) -> int:
    """Compute the depth at which a tree over that many rows ends."""
    return int(np.ceil(np.log2(max(max_samples, 2))))


def tree_template(max_depth: int, random_state: Any) -> ExtraTreeRegressor:
    """Make the unfitted tree that scikit-learn's forest clones."""
    return ExtraTreeRegressor(max_depth=max_depth, max_features=1, splitter="random", random_state=random_state)


def fitted_tree(forest: _core.Forest, index: int, seed: int, max_depth: int) -> ExtraTreeRegressor:
    """Make the fitted ``ExtraTreeRegressor`` that scikit-learn's forest has at an index."""
    # scikit-learn draws the state of a tree from a stream of its own, started from the tree's seed.
    state = None if seed == UNKNOWN_SEED else int(np.random.RandomState(seed).randint(MAX_SEED))
    tree = make_tree(forest.tree(index), len(forest.tree_features(index)))
    return set_fitted(tree_template(max_depth, state), tree)


@lru_cache(maxsize=1)
def _small_forest() -> SklearnForest:
    """Fit a forest of scikit-learn's, to see what a fitted one has."""
    return SklearnForest(n_estimators=1, n_jobs=1, random_state=0).fit(np.array([[0.0], [1.0]], dtype=np.float32))


def _complete(model: SklearnForest) -> None:
    """Set what later versions of scikit-learn set on a fitted forest: None, where it is about something not in use."""
    more = {name: value for name, value in vars(_small_forest()).items() if name not in vars(model)}
    if in_use := sorted(name for name, value in more.items() if value is not None):
        raise unknown_layout(f"a fitted forest has the attributes {in_use}")
    for name in more:
        setattr(model, name, None)


def _refuse_other_parameters(model: SklearnForest, ours: dict[str, Any]) -> None:
    """Refuse a model with a parameter of a later scikit-learn, such as ``categorical_features``, that is in use."""
    for name, default in SklearnForest().get_params().items():
        value = getattr(model, name, default)
        if name in ours or value is default:
            continue
        if not isinstance(value, (bool, int, float, str)) or value != default:
            raise ValueError(
                f"model has {name}={value!r}, and isoxide has no such parameter: only models with {name}={default!r} "
                "can be taken over"
            )


def native_forest(model: SklearnForest) -> _core.Forest:
    """Convert the trees of a fitted scikit-learn forest; see `native_parts`."""
    return _core.Forest.from_parts(*native_parts(model))


def native_parts(model: SklearnForest) -> tuple[Any, ...]:
    """Collect what ``_core.Forest.from_parts`` takes from a fitted scikit-learn forest.

    Raises
    ------
    ValueError
        If the trees are not such as scikit-learn grows for an isolation forest.
    """
    trees = [estimator.tree_ for estimator in model.estimators_]
    features = [np.asarray(columns, dtype=np.uint32) for columns in model.estimators_features_]
    for index, tree in enumerate(trees):
        if has_categories(tree):
            raise ValueError(f"tree {index} is split on categories; only splits on numbers can be taken")
        split = tree.children_left >= 0
        if not np.array_equal(tree.children_left[split], np.flatnonzero(split) + 1):
            raise ValueError(
                f"tree {index} is not numbered depth first, left child first; only such trees can be taken"
            )

    def joined(name: str, dtype: Any) -> NDArray[Any]:
        return np.concatenate([np.asarray(getattr(tree, name)).ravel() for tree in trees]).astype(dtype)

    leaf = joined("children_left", np.int64) < 0
    n_node_samples = joined("n_node_samples", np.int64)
    c = average_path_lengths_up_to(int(n_node_samples.max()))
    stored = getattr(model, "_average_path_length_per_tree", None)
    if stored is not None:
        # Made by the NumPy of the machine that fitted the model.
        c[n_node_samples] = np.concatenate(stored)
    return (
        int(model.n_features_in_),
        np.concatenate(features),
        _starts([len(columns) for columns in features]),
        _starts([tree.node_count for tree in trees]),
        (
            joined("threshold", np.float64),
            np.where(leaf, np.iinfo(np.uint32).max, joined("feature", np.int64)).astype(np.uint32),
            np.where(leaf, 0, joined("children_right", np.int64)).astype(np.uint32),
            n_node_samples.astype(np.uint32),
            joined("missing_go_to_left", np.uint8),
        ),
        (joined("impurity", np.float64), joined("value", np.float64), joined("weighted_n_node_samples", np.float64)),
        c,
    )


def _starts(lengths: list[int]) -> NDArray[np.uint64]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.uint64)
