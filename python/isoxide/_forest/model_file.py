"""Fitted forests as files and bytes that run no code, and as pickles made of the same bytes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.tree import ExtraTreeRegressor
from sklearn.utils.validation import check_is_fitted

from isoxide import _core
from isoxide._common.files import read_file, replace_file
from isoxide._forest.file_header import Header, decode, encode
from isoxide._frames.dtypes import readable

if TYPE_CHECKING:
    from typing_extensions import Self

#: What the core reads: the trees, the header, seed and depth of each tree, sample weights.
_Stored: TypeAlias = "tuple[_core.Forest, str, NDArray[np.int64], NDArray[np.int64], NDArray[Any] | None]"

#: The entry of a pickled state that holds what was fitted.
_STATE = "_fitted"
#: What is in it.
_FITTED = {
    *("_forest", "_max_features", "_n_samples", "_sample_weight", "_seeds", "_tree_depths", "_tree_seeds", "_trees"),
    *("feature_names_in_", "max_samples_", "n_features_in_", "offset_"),
}
_NOT_OURS = "not an isoxide forest: "


class ModelFile(BaseEstimator):  # type: ignore[misc]  # scikit-learn's bases are untyped
    """How a fitted forest is kept.

    A base of ``IsolationForest``, which sets the attributes below when it is fitted.
    """

    contamination: Literal["auto"] | float
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]
    max_samples_: int
    offset_: float
    _forest: _core.Forest
    _max_features: int
    _n_samples: int
    _sample_weight: NDArray[Any] | None
    #: Seeds of the trees of the last fit.
    _seeds: NDArray[np.uint32]
    #: Seed and depth limit of every tree.
    _tree_seeds: NDArray[np.int64]
    _tree_depths: NDArray[np.int64]
    #: The trees made by `estimators_` so far.
    _trees: list[ExtraTreeRegressor]

    def save(self, path: str | os.PathLike[str], *, complete: bool = False) -> None:
        """Write the forest to a file that holds numbers and text only.

        In the safetensors format, with a checksum over everything. A file that was there is replaced when the new one
        is whole, and stays if that fails.

        Parameters
        ----------
        path : str or os.PathLike
            The file to write, such as ``"forest.safetensors"``.
        complete : bool, default=False
            Whether to store what `estimators_` record of the random target that the trees were grown with: the fields
            ``impurity`` and ``value`` of each node, which nothing here reads. Without them the file is a third in size,
            and they are NaN after loading.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the forest is not fitted.
        TypeError
            If a parameter is of a type that a file cannot hold.
        ValueError
            If a parameter is out of range, or `path` is a device or a pipe.
        OSError
            If the file cannot be written.

        See Also
        --------
        load : The other way round.
        to_bytes : The same without a file.

        Notes
        -----
        Stored are the trees, the parameters, the names of the features and the offset; of a ``RandomState`` its present
        state. Attributes that you set yourself are not: a pickle has those.

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

        def write(temporary: Path) -> None:
            with open(temporary, "wb") as file:
                file.write(data)

        replace_file(path, write)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a forest from a file that `save` wrote.

        Nothing in a file is run, and everything in it is checked, so that it may come from anybody.

        Parameters
        ----------
        path : str or os.PathLike
            The file to read.

        Returns
        -------
        IsolationForest
            With the parameters, trees, scores and offset of the one that was saved. `fit` goes on with its trees if
            ``warm_start`` is set.

        Raises
        ------
        FileNotFoundError, IsADirectoryError
            If there is no such file.
        ValueError
            If it is damaged, of a later format, or no forest of this package at all.

        See Also
        --------
        save : The other way round.
        from_sklearn : Takes over a forest of scikit-learn.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> from isoxide import IsolationForest
        >>> path = pathlib.Path(tempfile.mkdtemp(), "forest.safetensors")
        >>> IsolationForest(random_state=0).fit([[-1.1], [0.3], [0.5], [100]]).save(path)
        >>> IsolationForest.load(path).offset_
        -0.5
        """
        data = read_file(path)
        try:
            return cls.from_bytes(data)
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}: {error}") from error

    def to_bytes(self, *, complete: bool = False) -> bytes:
        """Make the bytes that `save` writes.

        Parameters
        ----------
        complete : bool, default=False
            Whether to store what `estimators_` record of the random target that the trees were grown with: the fields
            ``impurity`` and ``value`` of each node, which nothing here reads. They are NaN otherwise, after loading.

        Returns
        -------
        bytes
            The same for the same forest, on every machine.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the forest is not fitted.
        TypeError
            If a parameter is of a type that a file cannot hold.
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
        return self._to_bytes(self.get_params(deep=False), complete)

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Self:
        """Make a forest from the bytes that `to_bytes` gave.

        Nothing in them is run, and everything is checked, so that they may come from anybody.

        Parameters
        ----------
        data : bytes, bytearray or memoryview
            What `to_bytes` gave, or a file that `save` wrote.

        Returns
        -------
        IsolationForest
            With the parameters, trees, scores and offset of the one that the bytes were made of.

        Raises
        ------
        TypeError
            If `data` is of another type.
        ValueError
            If the bytes are damaged, of a later format, or no forest of this package at all.

        Examples
        --------
        >>> from isoxide import IsolationForest
        >>> data = IsolationForest(random_state=0).fit([[-1.1], [0.3], [0.5], [100]]).to_bytes()
        >>> IsolationForest.from_bytes(data).predict([[0.1], [0], [90]])
        array([ 1,  1, -1])
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data must be bytes, a bytearray or a memoryview, got {type(data).__name__}")
        stored = _core.Forest.from_bytes(bytes(data))
        facts = decode(stored[1], stored[0].n_features)
        if facts.parameters is None:
            raise ValueError(_NOT_OURS + "the state of a pickled forest, of which the pickle holds the parameters")
        for name in sorted(facts.parameters.keys() ^ {*cls._get_param_names()}):
            there = "has the parameter" if name in facts.parameters else "lacks the parameter"
            raise ValueError(f"{_NOT_OURS}it {there} {name[:40]!r}, {cls.__name__} does not agree")
        model = cls(**facts.parameters)
        model._validate_params()
        model._take(stored, facts)
        return model

    def __copy__(self) -> Self:
        """A shallow copy: it shares the trees, which never change."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """The parameters and whatever was set by others as they are, and the bytes of a file for what was fitted."""
        state: dict[str, Any] = dict(super().__getstate__())
        if "_forest" in state:
            state = {name: value for name, value in state.items() if name not in _FITTED}
            state[_STATE] = self._to_bytes(None, complete=True)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Takes the state back, with the checks of a file."""
        rest = {name: value for name, value in state.items() if name != _STATE}
        fitted = _FITTED & rest.keys()
        if "_forest" in fitted or (fitted and _STATE in state):
            raise ValueError("this forest was pickled by another version of isoxide, which kept it in another way")
        super().__setstate__(rest)
        if _STATE in state:
            stored = _core.Forest.from_bytes(state[_STATE])
            self._take(stored, decode(stored[1], stored[0].n_features))

    def _to_bytes(self, parameters: dict[str, Any] | None, complete: bool) -> bytes:
        names = getattr(self, "feature_names_in_", None)
        weights = self._sample_weight
        if weights is not None:
            # In the precision that they are added up in.
            dtype = np.float32 if weights.dtype.itemsize == 4 else np.float64
            weights = readable(np.ascontiguousarray(weights, dtype=dtype))
        facts = Header(
            feature_names=None if names is None else [str(name) if isinstance(name, str) else name for name in names],
            max_features=int(self._max_features),
            max_samples=int(self.max_samples_),
            n_samples=int(self._n_samples),
            n_seeds=len(self._seeds),
            offset=float(self.offset_),
            parameters=parameters,
        )
        if self.n_features_in_ != self._forest.n_features:
            raise ValueError(
                f"n_features_in_ is {self.n_features_in_}, but the trees were grown on {self._forest.n_features} "
                "columns; if a later fit failed, fit again"
            )
        try:
            _check(facts, self._forest, self._tree_seeds, weights)
            return self._forest.to_bytes(encode(facts), self._tree_seeds, self._tree_depths, weights, complete)
        except ValueError as error:
            if not str(error).startswith(_NOT_OURS):
                raise
            raise ValueError(f"the forest cannot be stored: {str(error).removeprefix(_NOT_OURS)}") from error

    def _take(self, stored: _Stored, facts: Header) -> None:
        """Becomes the forest that the core has read."""
        forest, _, tree_seeds, tree_depths, sample_weight = stored
        _check(facts, forest, tree_seeds, sample_weight)
        self.n_features_in_ = forest.n_features
        if facts.feature_names is not None:
            self.feature_names_in_ = np.array(facts.feature_names, dtype=object)
        self.max_samples_ = facts.max_samples
        # The types that `fit` gives.
        is_fixed = isinstance(getattr(self, "contamination", None), str)
        self.offset_ = facts.offset if is_fixed else np.float64(facts.offset)
        self._seeds = tree_seeds[-facts.n_seeds :].astype(np.uint32)
        self._tree_seeds = tree_seeds
        self._tree_depths = tree_depths
        self._trees = []
        self._sample_weight = sample_weight
        self._n_samples = facts.n_samples
        self._max_features = facts.max_features
        self._forest = forest


def _check(
    facts: Header, forest: _core.Forest, tree_seeds: NDArray[np.int64], sample_weight: NDArray[Any] | None
) -> None:
    """Whether what is said of a forest can be true of its trees."""
    n_names = forest.n_features if facts.feature_names is None else len(facts.feature_names)
    if n_names != forest.n_features:
        raise ValueError(f"{_NOT_OURS}there are {n_names} names of {forest.n_features} features")
    if facts.max_features > forest.n_features:
        raise ValueError(f"{_NOT_OURS}max_features is {facts.max_features} of {forest.n_features} features")
    if facts.n_seeds > len(tree_seeds) or (tree_seeds[-facts.n_seeds :] < 0).any():
        raise ValueError(f"{_NOT_OURS}of {facts.n_seeds} trees of the last fit not all seeds are there")
    if sample_weight is not None and sample_weight.shape != (facts.n_samples,):
        raise ValueError(f"{_NOT_OURS}there are {len(sample_weight)} sample weights of {facts.n_samples} rows")
