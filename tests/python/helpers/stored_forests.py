"""Fit forests of many parameters for tests of files and pickles, compare them, and change the parts of a file."""

import copy
import hashlib
import json

import numpy as np
import pandas as pd
import scipy.sparse
from numpy.testing import assert_array_equal
from sklearn.ensemble import IsolationForest as SklearnForest

from isoxide import IsolationForest

R = np.random.default_rng(0)
X = np.column_stack([R.normal(size=300), R.poisson(2, 300), R.normal(size=300).round(1), R.exponential(50, 300)])
MISSING = np.where(R.random(X.shape) < 0.2, np.nan, X)
SPARSE = scipy.sparse.csr_array(np.where(X > 1, X, 0.0))
FRAME = pd.DataFrame(X, columns=["a", "b", "über", '\U0001f332 "odd"\n'])
WEIGHTS = R.random(300)

#: Training table, sample weights and parameters of each forest.
FORESTS = {
    "default": (X, None, {}),
    "contamination": (X, None, {"contamination": 0.07, "max_samples": 0.5}),
    "bootstrap and columns": (X, None, {"bootstrap": True, "max_features": 2}),
    "missing": (MISSING, None, {"contamination": 0.1}),
    "sparse": (SPARSE, None, {"contamination": 0.1, "max_features": 0.7}),
    "weights": (X, WEIGHTS, {"max_samples": 100}),
    "weights of 32 bits, bootstrap": (X, WEIGHTS.astype(np.float32), {"bootstrap": True}),
    "names": (FRAME, None, {"max_features": 3, "n_jobs": 2}),
    "one row": (X[:1], None, {}),
    "seedless": (X, None, {"random_state": None}),
    "stream": (X, None, {"random_state": np.random.RandomState(3)}),
    "from scikit-learn": (X, None, {"contamination": 0.1, "bootstrap": True}),
}


def fit(name, cls=IsolationForest, **overrides):
    table, weights, params = FORESTS[name]
    params = {"n_estimators": 8, "random_state": 5, "warm_start": True, **copy.deepcopy(params), **overrides}
    forest = (SklearnForest if name == "from scikit-learn" else cls)(**params).fit(table, sample_weight=weights)
    return forest if isinstance(forest, IsolationForest) else cls.from_sklearn(forest)


def params_of(forest):
    """Return the parameters, with the state of a ``RandomState`` instead of the instance, so that `==` compares it."""
    params = forest.get_params()
    if isinstance(params["random_state"], np.random.RandomState):
        params["random_state"] = repr(params["random_state"].get_state())
    return params


def assert_same(loaded, original, table, *, complete):
    """Assert that forests are equal; without `complete`, the loaded one has NaN for impurities and values of nodes."""
    assert type(loaded) is type(original)
    assert params_of(loaded) == params_of(original)
    assert {name: type(value) for name, value in vars(loaded).items()} == {
        name: type(value) for name, value in vars(original).items()
    }
    for method in ("score_samples", "decision_function", "predict"):
        assert_array_equal(getattr(loaded, method)(table), getattr(original, method)(table), err_msg=method)
    assert_array_equal(loaded.estimators_samples_, original.estimators_samples_)
    assert_array_equal(loaded.estimators_features_, original.estimators_features_)
    for name in ("offset_", "max_samples_", "n_features_in_"):
        assert getattr(loaded, name) == getattr(original, name), name
    assert hasattr(loaded, "feature_names_in_") == hasattr(original, "feature_names_in_")
    if hasattr(loaded, "feature_names_in_"):
        assert loaded.feature_names_in_.dtype == original.feature_names_in_.dtype == object
        assert loaded.feature_names_in_.tolist() == original.feature_names_in_.tolist()
    for loaded_tree, original_tree in zip(loaded.estimators_, original.estimators_, strict=True):
        assert loaded_tree.get_params() == original_tree.get_params()
        state, expected = loaded_tree.tree_.__getstate__(), original_tree.tree_.__getstate__()
        assert state["max_depth"] == expected["max_depth"]
        for name in expected["nodes"].dtype.names:
            if complete or name != "impurity":
                assert_array_equal(state["nodes"][name], expected["nodes"][name], err_msg=name)
        if complete:
            assert_array_equal(state["values"], expected["values"])
        else:
            assert np.isnan(state["nodes"]["impurity"]).all()
            assert np.isnan(state["values"]).all()


class ForestFile:
    """Decoded file of a forest, whose header and arrays can be changed and encoded again with a valid checksum."""

    def __init__(self, data):
        end = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:end])
        self.metadata = header.pop("__metadata__")
        self.header = json.loads(self.metadata["isoxide"])
        self.tensors = {}
        for name, info in header.items():
            start, stop = info["data_offsets"]
            self.tensors[name] = [info["dtype"], info["shape"], data[end + start : end + stop]]

    def array(self, name):
        dtype, _, data = self.tensors[name]
        return np.frombuffer(data, dtype=f"<{dtype[0].lower()}{int(dtype[1:]) // 8}").copy()

    def set_array(self, name, array):
        dtype = f"{array.dtype.kind.upper()}{8 * array.dtype.itemsize}"
        self.tensors[name] = [dtype, list(array.shape), array.tobytes()]

    def bytes(self, text=None):
        self.metadata["isoxide"] = json.dumps(self.header) if text is None else text
        header, end = {"__metadata__": self.metadata}, 0
        for name, (dtype, shape, data) in self.tensors.items():
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + len(data)]}
            end += len(data)
        encoded = json.dumps(header).encode()
        out = bytearray(len(encoded).to_bytes(8, "little") + encoded)
        for _, _, data in self.tensors.values():
            out += data
        if "checksum" in header:
            start, stop = (8 + len(encoded) + offset for offset in header["checksum"]["data_offsets"])
            out[start:stop] = hashlib.sha256(out[:start] + out[stop:]).digest()
        return bytes(out)


def forest_file(name="names"):
    return ForestFile(fit(name).to_bytes())
