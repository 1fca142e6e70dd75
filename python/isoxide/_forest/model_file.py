"""Encode fitted forests as bytes for files and pickles, and decode them without executing code.

The bytes are a safetensors file with a checksum. The core writes and checks the trees in it (`src/forest/file.rs`);
`file_header.py` writes and checks the parameters, names and counts, which are JSON text in its header. A pickle holds
the same bytes without the parameters, which are part of the pickled state.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoxide import _core
from isoxide._forest.file_header import NOT_A_FOREST, Header, decode, encode
from isoxide._forest.fitted import FittedForest
from isoxide._frames.dtypes import readable

__all__ = ["check_parameters", "from_bytes", "to_bytes"]


def to_bytes(fitted: FittedForest, parameters: dict[str, Any] | None, *, complete: bool) -> bytes:
    """Encode a fitted forest and its parameters.

    Parameters
    ----------
    fitted : FittedForest
        The forest.
    parameters : dict or None
        Parameters of the estimator; None for a pickle, whose state holds them.
    complete : bool
        Whether to store the impurity and value of each node, which scoring does not need.

    Returns
    -------
    bytes
        Encoded forest: the same bytes for the same forest on every machine.

    Raises
    ------
    TypeError
        If a parameter has a type that a file cannot hold.
    ValueError
        If a parameter or a fitted value is out of range.
    """
    names = fitted.feature_names
    weights = fitted.sample_weight
    if weights is not None:
        # Keep the precision in which the weights are added up.
        dtype = np.float32 if weights.dtype.itemsize == 4 else np.float64
        weights = readable(np.ascontiguousarray(weights, dtype=dtype))
    header = Header(
        feature_names=None if names is None else [str(name) if isinstance(name, str) else name for name in names],
        max_features=int(fitted.max_features),
        max_samples=int(fitted.max_samples),
        n_samples=int(fitted.n_samples),
        n_seeds=len(fitted.seeds),
        offset=float(fitted.offset),
        parameters=parameters,
    )
    try:
        _check(header, fitted.native, fitted.tree_seeds, weights)
        return fitted.native.to_bytes(encode(header), fitted.tree_seeds, fitted.tree_depths, weights, complete)
    except ValueError as error:
        if not str(error).startswith(NOT_A_FOREST):
            raise
        raise ValueError(f"the forest cannot be stored: {str(error).removeprefix(NOT_A_FOREST)}") from error


def from_bytes(data: bytes) -> tuple[FittedForest, dict[str, Any] | None]:
    """Decode the bytes that `to_bytes` returned. Untrusted input is safe: decoding never executes code.

    Parameters
    ----------
    data : bytes
        Result of `to_bytes`.

    Returns
    -------
    fitted : FittedForest
        The forest.
    parameters : dict or None
        Parameters of the estimator; None if the bytes come from a pickle.

    Raises
    ------
    ValueError
        If the bytes are damaged, have a later format, or are not a forest.
    """
    native, text, tree_seeds, tree_depths, sample_weight = _core.Forest.from_bytes(data)
    header = decode(text, native.n_features)
    _check(header, native, tree_seeds, sample_weight)
    names = header.feature_names
    fitted = FittedForest(
        native=native,
        offset=header.offset,
        feature_names=None if names is None else np.array(names, dtype=object),
        n_samples=header.n_samples,
        max_samples=header.max_samples,
        max_features=header.max_features,
        sample_weight=sample_weight,
        seeds=tree_seeds[-header.n_seeds :].astype(np.uint32),
        tree_seeds=tree_seeds,
        tree_depths=tree_depths,
    )
    return fitted, header.parameters


def check_parameters(parameters: dict[str, Any] | None, expected: Iterable[str], class_name: str) -> dict[str, Any]:
    """Check that a file has exactly the parameters of the class that loads it.

    Parameters
    ----------
    parameters : dict or None
        Parameters that `from_bytes` returned.
    expected : list of str
        Names of the parameters that the class has.
    class_name : str
        Name of the class, for messages.

    Returns
    -------
    dict
        The parameters.

    Raises
    ------
    ValueError
        If the file has no parameters, one is missing, or one is unknown.
    """
    if parameters is None:
        raise ValueError(
            f"{NOT_A_FOREST}these bytes are the state of a pickled forest, which lacks the parameters; "
            "load the pickle itself"
        )
    for name in sorted(parameters.keys() ^ {*expected}):
        has = "has the parameter" if name in parameters else "lacks the parameter"
        raise ValueError(
            f"{NOT_A_FOREST}it {has} {name[:40]!r}, unlike {class_name}; load it with the class that saved it"
        )
    return parameters


def _check(
    header: Header, native: _core.Forest, tree_seeds: NDArray[np.int64], sample_weight: NDArray[Any] | None
) -> None:
    """Refuse a header that cannot belong to the trees."""
    n_names = native.n_features if header.feature_names is None else len(header.feature_names)
    if n_names != native.n_features:
        raise ValueError(
            f"{NOT_A_FOREST}it has {n_names} feature names, but its trees have {native.n_features} columns"
        )
    if header.max_features > native.n_features:
        raise ValueError(
            f"{NOT_A_FOREST}max_features is {header.max_features}, but its trees have {native.n_features} columns"
        )
    if header.n_seeds > len(tree_seeds) or (tree_seeds[-header.n_seeds :] < 0).any():
        raise ValueError(f"{NOT_A_FOREST}it lacks seeds of the {header.n_seeds} trees of the last fit")
    if sample_weight is not None and sample_weight.shape != (header.n_samples,):
        raise ValueError(
            f"{NOT_A_FOREST}it has {len(sample_weight)} sample weights, but {header.n_samples} training rows"
        )
