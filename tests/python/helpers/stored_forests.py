"""Forests of all kinds, what makes two of them the same, and files in parts that can be changed."""

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

#: Table, weights, parameters.
KINDS = {
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


def fit(kind, cls=IsolationForest, **more):
    table, weights, params = KINDS[kind]
    params = {"n_estimators": 8, "random_state": 5, "warm_start": True, **copy.deepcopy(params), **more}
    forest = (SklearnForest if kind == "from scikit-learn" else cls)(**params).fit(table, sample_weight=weights)
    return forest if isinstance(forest, IsolationForest) else cls.from_sklearn(forest)


def params_of(forest):
    """Parameters that can be compared: a stream by its state."""
    params = forest.get_params()
    if isinstance(params["random_state"], np.random.RandomState):
        params["random_state"] = repr(params["random_state"].get_state())
    return params


def assert_same(one, other, table, *, complete):
    assert type(one) is type(other)
    assert params_of(one) == params_of(other)
    assert {name: type(value) for name, value in vars(one).items()} == {
        name: type(value) for name, value in vars(other).items()
    }
    for method in ("score_samples", "decision_function", "predict"):
        assert_array_equal(getattr(one, method)(table), getattr(other, method)(table), err_msg=method)
    assert_array_equal(one.estimators_samples_, other.estimators_samples_)
    assert_array_equal(one.estimators_features_, other.estimators_features_)
    assert (one.offset_, one.max_samples_, one.n_features_in_) == (
        other.offset_,
        other.max_samples_,
        other.n_features_in_,
    )
    assert hasattr(one, "feature_names_in_") == hasattr(other, "feature_names_in_")
    if hasattr(one, "feature_names_in_"):
        assert one.feature_names_in_.dtype == other.feature_names_in_.dtype == object
        assert one.feature_names_in_.tolist() == other.feature_names_in_.tolist()
    for mine, theirs in zip(one.estimators_, other.estimators_, strict=True):
        assert mine.get_params() == theirs.get_params()
        ours, expected = mine.tree_.__getstate__(), theirs.tree_.__getstate__()
        assert ours["max_depth"] == expected["max_depth"]
        for name in expected["nodes"].dtype.names:
            if complete or name != "impurity":
                assert_array_equal(ours["nodes"][name], expected["nodes"][name], err_msg=name)
        if complete:
            assert_array_equal(ours["values"], expected["values"])
        else:
            assert np.isnan(ours["nodes"]["impurity"]).all()
            assert np.isnan(ours["values"]).all()


class Parts:
    """A file in its parts, to be changed and put together again with a checksum that is right."""

    def __init__(self, data):
        end = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:end])
        self.metadata = header.pop("__metadata__")
        self.says = json.loads(self.metadata["isoxide"])
        self.tensors = {}
        for name, info in header.items():
            start, stop = info["data_offsets"]
            self.tensors[name] = [info["dtype"], info["shape"], data[end + start : end + stop]]

    def array(self, name):
        dtype, _, data = self.tensors[name]
        return np.frombuffer(data, dtype=f"<{dtype[0].lower()}{int(dtype[1:]) // 8}").copy()

    def put(self, name, array):
        kind = f"{array.dtype.kind.upper()}{8 * array.dtype.itemsize}"
        self.tensors[name] = [kind, list(array.shape), array.tobytes()]

    def bytes(self, text=None):
        self.metadata["isoxide"] = json.dumps(self.says) if text is None else text
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


def parts(kind="names"):
    return Parts(fit(kind).to_bytes())
