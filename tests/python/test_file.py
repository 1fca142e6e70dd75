"""Forests saved and loaded: nothing is lost, and nothing that is damaged, foreign or made up gets in."""

import copy
import fractions
import hashlib
import http
import json
import os
import pathlib
import pickle
import resource
import stat
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.ensemble import IsolationForest as SklearnForest
from sklearn.exceptions import NotFittedError

from isoxide import IsolationForest, _core

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
FIXTURES = pathlib.Path(__file__).parent / "fixtures"


def fit(kind, cls=IsolationForest, **more):
    table, weights, params = KINDS[kind]
    params = {"n_estimators": 8, "random_state": 5, "warm_start": True, **copy.deepcopy(params), **more}
    forest = (SklearnForest if kind == "from scikit-learn" else cls)(**params).fit(table, sample_weight=weights)
    return forest if isinstance(forest, IsolationForest) else cls.from_sklearn(forest)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


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


# There and back


@pytest.mark.parametrize("complete", [False, True])
def test_there_and_back(kind, complete, tmp_path):
    forest, table = fit(kind), KINDS[kind][0]
    data = forest.to_bytes(complete=complete)
    assert type(data) is bytes
    forest.save(tmp_path / "forest.safetensors", complete=complete)
    assert (tmp_path / "forest.safetensors").read_bytes() == data
    loaded = [IsolationForest.from_bytes(kind(data)) for kind in (bytes, bytearray, memoryview)]
    loaded += [IsolationForest.load(path(tmp_path / "forest.safetensors")) for path in (str, pathlib.Path)]
    for one in loaded:
        assert_same(one, forest, table, complete=complete)
        # What is not there cannot be asked for.
        assert one.to_bytes(complete=True) == data
        assert one.to_bytes() == forest.to_bytes()


def test_going_on_with_a_warm_start(kind):
    forest, (table, weights, _) = fit(kind), KINDS[kind]
    models = [forest, *(IsolationForest.from_bytes(forest.to_bytes(complete=complete)) for complete in (True, False))]
    for n_estimators in (11, 14):
        for model in models:
            model.set_params(n_estimators=n_estimators).fit(table, sample_weight=weights)
        if kind == "seedless":
            continue
        assert models[1].to_bytes(complete=True) == models[0].to_bytes(complete=True)
        assert models[2].to_bytes() == models[0].to_bytes()
        assert_same(models[1], models[0], table, complete=True)
        # Rows are known of the trees of the last fit only.
        assert_same(IsolationForest.from_bytes(models[0].to_bytes()), models[0], table, complete=False)
        assert len(models[0].estimators_samples_) == 3
        again = IsolationForest.from_bytes(models[2].to_bytes(complete=True))
        assert_array_equal(again.score_samples(table), models[0].score_samples(table))
        impurities = [tree.tree_.impurity for tree in again.estimators_]
        assert [np.isnan(impurity).all() for impurity in impurities] == [True] * 8 + [False] * (n_estimators - 8)


def test_seeds_that_are_not_known():
    """scikit-learn does not keep those of trees before its last fit."""
    model = SklearnForest(n_estimators=4, random_state=5, warm_start=True).fit(X)
    forest = IsolationForest.from_sklearn(model.set_params(n_estimators=7).fit(X))
    for complete in (False, True):
        loaded = IsolationForest.from_bytes(forest.to_bytes(complete=complete))
        assert_same(loaded, forest, X, complete=complete)
        assert [tree.random_state is None for tree in loaded.estimators_] == [True] * 4 + [False] * 3


def test_a_loaded_forest_is_changed_alone():
    forest = fit("stream")
    data, state = forest.to_bytes(), repr(forest.random_state.get_state())
    loaded = IsolationForest.from_bytes(data)
    loaded.set_params(n_estimators=20).fit(X)
    loaded.recalibrate(X, contamination=0.2)
    assert (forest.to_bytes(), repr(forest.random_state.get_state())) == (data, state)


def test_the_same_bytes_in_every_process():
    kinds = [kind for kind in KINDS if kind != "seedless"]
    code = f"from test_file import *; print(*(hashlib.sha256(fit(kind).to_bytes()).hexdigest() for kind in {kinds}))"
    expected = [hashlib.sha256(fit(kind).to_bytes()).hexdigest() for kind in kinds]
    for seed in ("0", "1234"):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": os.pathsep.join([*sys.path, str(FIXTURES.parent)]),
        }
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.split() == expected


def test_files_are_small():
    table = R.normal(size=(2_000, 10))
    theirs = len(pickle.dumps(SklearnForest(random_state=0).fit(table)))
    forest = IsolationForest(random_state=0).fit(table)
    assert theirs > 900_000
    assert theirs / len(forest.to_bytes()) > 5
    assert theirs / len(forest.to_bytes(complete=True)) > 2.5
    assert len(pickle.dumps(forest)) < len(forest.to_bytes(complete=True)) + 1_000


def test_numbers_of_numpy_become_plain():
    params = {
        **{"n_estimators": np.int32(7), "max_samples": np.float64(0.5), "contamination": np.float32(0.1)},
        **{"bootstrap": np.bool_(True), "random_state": np.uint8(3), "max_features": np.int64(2)},
    }
    forest = IsolationForest(**params).fit(X)
    loaded = IsolationForest.from_bytes(forest.to_bytes())
    assert loaded.get_params() == forest.get_params()
    assert {type(loaded.get_params()[name]) for name in params} == {int, float, bool}
    assert_array_equal(loaded.score_samples(X), forest.score_samples(X))


def test_offsets_that_a_user_set():
    for offset in (0, -0.25, np.float32(-0.1), np.inf, -np.inf, np.nan):
        forest = fit("default")
        forest.offset_ = offset
        assert_array_equal(IsolationForest.from_bytes(forest.to_bytes()).offset_, float(offset))


def test_a_subclass():
    class Mine(IsolationForest):
        def __init__(self, *, label="x", n_estimators=100, max_samples="auto", contamination="auto", max_features=1.0,
                     bootstrap=False, n_jobs=None, random_state=None, verbose=0, warm_start=False):  # fmt: skip
            super().__init__(n_estimators=n_estimators, max_samples=max_samples, contamination=contamination,
                             max_features=max_features, bootstrap=bootstrap, n_jobs=n_jobs, random_state=random_state,
                             verbose=verbose, warm_start=warm_start)  # fmt: skip
            self.label = label

    forest = fit("default", Mine, label="mine")
    assert_same(Mine.from_bytes(forest.to_bytes()), forest, X, complete=False)
    with pytest.raises(ValueError, match="it has the parameter 'label', IsolationForest does not agree"):
        IsolationForest.from_bytes(forest.to_bytes())
    with pytest.raises(ValueError, match="it lacks the parameter 'label', Mine does not agree"):
        Mine.from_bytes(fit("default").to_bytes())


# Files of this and of earlier formats


KEPT = sorted(FIXTURES.glob("isoxide-format-*.safetensors"))


def test_there_are_files_kept():
    names = [path.name for path in KEPT]
    assert names == [f"isoxide-format-1{kind}.safetensors" for kind in ("-columns", "-complete", "")]


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_files_kept(path):
    """Path lengths exactly; scores but for the last bit of NumPy's power, which differs between processors."""
    number, _, kind = path.stem.removeprefix("isoxide-format-").partition("-")
    kind = f"-{kind}" if kind else ""
    forest = IsolationForest.load(path)
    with np.load(FIXTURES / f"isoxide-format-{number}.npz") as expected:
        rows = pd.DataFrame(expected["X"], columns=["a", "b", "über", "d"]) if kind == "-columns" else expected["X"]
        assert_array_equal(forest._forest.depth_sums(expected["X"], 1), expected[f"depth_sums{kind}"])
        assert_array_equal(forest.predict(rows), expected[f"predict{kind}"])
        np.testing.assert_array_max_ulp(forest.score_samples(rows), expected[f"scores{kind}"], maxulp=2)
        assert_array_equal(forest.estimators_samples_, expected[f"samples{kind}"])
    params = {
        "": {},
        "-columns": {"n_estimators": 8, "max_samples": 32, "max_features": 2, "bootstrap": True, "contamination": 0.1},
        "-complete": {"n_estimators": 6, "max_samples": 20, "contamination": 0.2, "warm_start": True},
    }[kind]
    expected_params = {**IsolationForest(**params).get_params(), "random_state": 7}
    found = forest.get_params()
    if kind == "-complete":
        found["random_state"] = 7
        assert isinstance(forest.random_state, np.random.RandomState)
        assert forest._sample_weight.dtype == np.float32
    assert found == expected_params
    assert np.isnan(forest.estimators_[0].tree_.impurity).all() == (kind != "-complete")
    # While this is the format that is written.
    assert forest.to_bytes(complete=True) == path.read_bytes()


# Pickles


def test_a_pickled_state_is_parameters_and_bytes():
    forest = fit("names")
    forest.remark = {"by": "a user"}
    state = forest.__getstate__()
    assert state.keys() == {*forest.get_params(), "remark", "_fitted"}
    assert type(state["_fitted"]) is bytes
    for twin in (pickle.loads(pickle.dumps(forest)), copy.deepcopy(forest)):
        assert_same(twin, forest, FRAME, complete=True)
        assert twin.remark == forest.remark
    # What a file could not hold goes through a pickle all the same.
    forest.set_params(contamination=fractions.Fraction(1, 10), n_jobs=10**30)
    assert pickle.loads(pickle.dumps(forest)).get_params() == forest.get_params()


def test_states_that_are_not_taken():
    forest = fit("default")
    state = forest.__getstate__()

    def take(state):
        IsolationForest.__new__(IsolationForest).__setstate__(state)

    take(state)
    for place in (0, 8, 200, len(state["_fitted"]) // 2, -1):
        damaged = bytearray(state["_fitted"])
        damaged[place] ^= 1
        with pytest.raises(ValueError, match=r"not an isoxide forest|the file is damaged"):
            take({**state, "_fitted": bytes(damaged)})
    with pytest.raises(ValueError, match="pickled by another version of isoxide"):
        take({**state, "_seeds": forest._seeds})
    del state["_fitted"]
    with pytest.raises(ValueError, match="pickled by another version of isoxide"):
        take({**state, "_forest": (1, 2)})
    with pytest.raises(ValueError, match="the state of a pickled forest, of which the pickle holds the parameters"):
        IsolationForest.from_bytes(forest.__getstate__()["_fitted"])


# What cannot be saved


def test_an_unfitted_forest_is_not_saved(tmp_path):
    with pytest.raises(NotFittedError):
        IsolationForest().save(tmp_path / "forest")
    with pytest.raises(NotFittedError):
        IsolationForest().to_bytes()
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        (
            {"n_estimators": http.HTTPStatus.OK},
            TypeError,
            "the parameter n_estimators=.* it is a HTTPStatus, not a number",
        ),
        ({"contamination": np.longdouble("0.1")}, TypeError, "the parameter contamination="),
        ({"n_estimators": 10**30}, ValueError, "the parameter n_estimators cannot be stored in a file: it is a number"),
        ({"n_estimators": -1}, ValueError, "The 'n_estimators' parameter of IsolationForest must be"),
        ({"max_samples": None}, ValueError, "The 'max_samples' parameter of IsolationForest must be"),
        (
            {"random_state": np.random.RandomState(np.random.PCG64(1))},
            TypeError,
            "the parameter random_state=.* it is no plain RandomState",
        ),
    ],
)
def test_parameters_that_are_not_saved(params, error, message, tmp_path):
    forest = fit("default").set_params(**params)
    with pytest.raises(error, match=message):
        forest.save(tmp_path / "forest")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"n_features_in_": 3}, "n_features_in_ is 3, but the trees were grown on 4 columns; if a later fit failed"),
        ({"max_samples_": 0}, "the forest cannot be stored: max_samples is 0"),
        ({"feature_names_in_": np.array(["a"], dtype=object)}, "there are 1 names of 4 features"),
        ({"feature_names_in_": np.array([1, 2, 3, 4])}, "feature_names is no list of strings|not JSON serializable"),
        ({"_tree_depths": np.array([2] * 8)}, "the forest cannot be stored: tree 0 is . deep, its limit is 2"),
        ({"_sample_weight": np.ones(3)}, "there are 3 sample weights of 300 rows"),
    ],
)
def test_forests_that_are_not_saved(attributes, message):
    forest = fit("default")
    vars(forest).update(attributes)
    with pytest.raises((TypeError, ValueError), match=message):
        forest.to_bytes()


# Files


class FullDiskError(OSError):
    pass


@pytest.mark.parametrize("error", [FullDiskError, KeyboardInterrupt])
def test_what_was_there_stays_when_saving_fails(tmp_path, monkeypatch, error):
    path = tmp_path / "forest.safetensors"
    fit("default").save(path)
    before = path.read_bytes()

    def fail(source, target):
        # All of it had been written, beside.
        assert len(pathlib.Path(source).read_bytes()) > len(before)
        assert path.read_bytes() == before
        raise error

    monkeypatch.setattr("isoxide._files.os.replace", fail)
    with pytest.raises(error):
        fit("default").save(path, complete=True)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_is_full_in_the_middle_of_a_file(tmp_path):
    path = tmp_path / "forest.safetensors"
    fit("default").save(path)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            fit("names").save(path)
        with pytest.raises(OSError, match="too large"):
            fit("names").save(tmp_path / "other")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_threads_that_save_to_one_place(tmp_path):
    path = tmp_path / "forest.safetensors"
    forests = [fit("default", random_state=seed) for seed in range(4)]
    seen = {forest.to_bytes() for forest in forests}
    forests[0].save(path)
    threads = [threading.Thread(target=lambda f=f: [f.save(path) for _ in range(30)]) for f in forests]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert path.read_bytes() in seen
    for thread in threads:
        thread.join()
    assert IsolationForest.load(path).to_bytes() in seen
    assert list(tmp_path.iterdir()) == [path]


def test_permissions_are_those_of_any_new_file(tmp_path):
    before = os.umask(0o027)
    try:
        fit("default").save(tmp_path / "forest")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "forest").stat().st_mode) == 0o640
    name = "f" * 255
    fit("default").save(tmp_path / name)
    assert IsolationForest.load(tmp_path / name).n_features_in_ == 4


def test_places_that_are_no_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        IsolationForest.load(tmp_path / "nowhere")
    with pytest.raises(IsADirectoryError):
        IsolationForest.load(tmp_path)
    with pytest.raises(IsADirectoryError):
        fit("default").save(tmp_path)
    with pytest.raises(FileNotFoundError):
        fit("default").save(tmp_path / "nowhere" / "forest")
    os.mkfifo(tmp_path / "pipe")
    os.symlink("/dev/zero", tmp_path / "endless")
    for name in ("pipe", "endless"):
        with pytest.raises(ValueError, match="is not a regular file"):
            IsolationForest.load(tmp_path / name)
        with pytest.raises(ValueError, match="is not a regular file"):
            fit("default").save(tmp_path / name)
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "endless"}
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    fit("default").save(tmp_path / "forest")
    os.symlink("forest", tmp_path / "link")
    assert IsolationForest.load(tmp_path / "link").n_features_in_ == 4


# What is not loaded


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


def test_parts_make_the_file_again():
    assert_same(IsolationForest.from_bytes(parts().bytes()), fit("names"), FRAME, complete=False)


@pytest.mark.parametrize("data", ["text", None, 5, [1, 2], np.zeros(3)])
def test_other_types_are_not_taken(data):
    with pytest.raises(TypeError, match="data must be bytes, a bytearray or a memoryview"):
        IsolationForest.from_bytes(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda: b"", "not an isoxide forest: the file is empty"),
        (lambda: b"actor,day\nx,1\n" * 20, "no safetensors file"),
        (lambda: pickle.dumps(SklearnForest()), "a pickle, such as scikit-learn's models are kept in"),
        (lambda: pickle.dumps(fit("default")), "a pickle, such as scikit-learn's"),
        (lambda: b"PK\x03\x04" + bytes(100), "a zip archive, such as skops writes"),
        (lambda: fit("default").to_bytes()[:-1], "truncated"),
        (lambda: fit("default").to_bytes()[:100], "truncated"),
        (lambda: fit("default").to_bytes() + b"\n", "something was appended"),
        (lambda: fit("default").to_bytes()[:-1] + b"\xff", "the checksum does not match: the file is damaged"),
    ],
)
def test_files_of_other_kinds(data, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        IsolationForest.from_bytes(data())
    path = tmp_path / "forest.safetensors"
    path.write_bytes(data())
    with pytest.raises(ValueError, match=f"forest.safetensors: .*{message}"):
        IsolationForest.load(path)


def test_a_later_format_asks_for_a_later_isoxide():
    later = parts()
    later.put("format", np.array([2], dtype=np.uint32))
    later.put("of a kind not known now", np.zeros(3))
    later.says = {"quite": "different"}
    with pytest.raises(ValueError, match=r"format 2 is newer than this isoxide reads \(1\): upgrade isoxide"):
        IsolationForest.from_bytes(later.bytes())


def change(**changes):
    return lambda says: says.update(changes)


def change_parameter(**changes):
    return lambda says: says["parameters"].update(changes)


STREAM = [list(range(624)), 624, 0, 0.0]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda says: says.pop("offset"), "header has no key 'offset'"),
        (change(more=1), "header has an unknown key 'more'"),
        (change(feature_names="abcd"), "feature_names is no list of strings"),
        (change(feature_names=["a", "b", "c", 4]), "feature_names is no list of strings"),
        (change(feature_names=["a"]), "there are 1 names of 4 features"),
        (change(max_features=0), "max_features is 0 instead of a whole number from 1"),
        (change(max_features=5), "max_features is 5 of 4 features"),
        (change(max_features=True), "max_features is bool instead of"),
        (change(max_samples=301), "max_samples is 301 of 300 rows"),
        (change(max_samples=2.0), "max_samples is 2.0 instead of a whole number"),
        (change(max_samples=2**32, n_samples=2**40), "max_samples is 4294967296 of"),
        (change(n_samples=2**63), "n_samples is 9223372036854775808 instead of"),
        (change(n_seeds=9), "of 9 trees of the last fit not all seeds are there"),
        (change(n_seeds=0), "n_seeds is 0 instead of"),
        (change(offset=-1), "offset is no number"),
        (change(offset="half"), "offset is no number"),
        (change(offset=None), "offset is no number"),
        (change(parameters=None), "the state of a pickled forest"),
        (change(parameters=[]), "parameters is no object"),
        (lambda says: says["parameters"].pop("n_jobs"), "it lacks the parameter 'n_jobs'"),
        (change_parameter(depth=3), "it has the parameter 'depth'"),
        (change_parameter(__class__="os.system"), "it has the parameter '__class__'"),
        (change_parameter(n_estimators=0), "The 'n_estimators' parameter of IsolationForest must be"),
        (change_parameter(n_estimators="many"), "The 'n_estimators' parameter of IsolationForest must be"),
        (change_parameter(n_estimators=2**63), "the parameter n_estimators is 9223372036854775808 instead"),
        (change_parameter(contamination=0.9), "The 'contamination' parameter of IsolationForest must be"),
        (change_parameter(n_jobs=[1]), "the parameter n_jobs is a list"),
        (change_parameter(random_state=-1), "The 'random_state' parameter of IsolationForest must be"),
        (change_parameter(random_state={}), "random_state has no key 'MT19937'"),
        (change_parameter(random_state={"MT19937": STREAM, "more": 1}), "random_state has an unknown key 'more'"),
        (change_parameter(random_state={"MT19937": STREAM[:3]}), "is no state of 624 words"),
        (change_parameter(random_state={"MT19937": [[0] * 623, *STREAM[1:]]}), "is no state of 624 words"),
        (change_parameter(random_state={"MT19937": [[-1] * 624, *STREAM[1:]]}), "a word of .* is -1 instead"),
        (change_parameter(random_state={"MT19937": [[0.5] * 624, *STREAM[1:]]}), "a word of .* is 0.5 instead"),
        (change_parameter(random_state={"MT19937": [STREAM[0], 625, 0, 0.0]}), "the position of .* is 625 instead"),
        (change_parameter(random_state={"MT19937": [STREAM[0], 0, 2, 0.0]}), "has_gauss of .* is 2 instead"),
        (change_parameter(random_state={"MT19937": [STREAM[0], 0, 1, "x"]}), "gauss of .* is no finite number"),
    ],
)
def test_headers_that_are_not_taken(edit, message):
    forest = parts()
    edit(forest.says)
    with pytest.raises(ValueError, match=message):
        IsolationForest.from_bytes(forest.bytes())


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "[]", "{", "{}", '"text"', "\x00", "[" * 1_000_000, '{"a":' * 1_000_000, "1" * 10_000),
        *('{"offset": NaN}', '{"offset": 1, "offset": 2}', '{"n_seeds": ' + "9" * 5_000 + "}"),
    ],
    ids=lambda text: text[:12],
)
def test_texts_that_are_not_taken(text):
    with pytest.raises(ValueError, match="not an isoxide forest: "):
        IsolationForest.from_bytes(parts().bytes(text))


def test_a_key_that_is_there_twice_is_not_taken():
    forest = parts()
    text = json.dumps(forest.says)
    with pytest.raises(ValueError, match="a key is there twice"):
        IsolationForest.from_bytes(forest.bytes(text.replace('"offset":', '"offset": -0.5, "offset":')))


def test_numbers_too_large_for_a_float_are_not_taken():
    forest = parts()
    text = json.dumps(forest.says)
    huge = text.replace('"contamination": "auto"', '"contamination": 1e999')
    assert huge != text
    with pytest.raises(ValueError, match="the parameter contamination is not finite"):
        IsolationForest.from_bytes(forest.bytes(huge))


def test_weights_belong_to_the_rows():
    forest = parts("weights")
    for weights in (WEIGHTS[:-1], WEIGHTS.astype(np.float32)[:0]):
        forest.put("sample_weight", weights)
        with pytest.raises(ValueError, match="sample weights of 300 rows"):
            IsolationForest.from_bytes(forest.bytes())
    forest.put("sample_weight", -WEIGHTS)
    with pytest.raises(ValueError, match="a sample weight is negative or not finite"):
        IsolationForest.from_bytes(forest.bytes())


def test_rows_that_there_is_no_room_for():
    """What was drawn is made anew when asked for; a file can claim any number."""
    forest = parts("bootstrap and columns")
    forest.says.update(max_samples=2**32 - 1, n_samples=2**62)
    loaded = IsolationForest.from_bytes(forest.bytes())
    assert loaded.predict(X).shape == (300,)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**36, limits[1]))
    try:
        with pytest.raises(MemoryError, match="524296 MiB of memory could not be had"):
            assert loaded.estimators_samples_
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


# Hostile files: the checksum is always right


BASES = {kind: Parts(fit(kind, n_estimators=3).to_bytes(complete=True)) for kind in KINDS}
#: What may stand in a text at any place.
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 400)
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["auto", "inf", "nan", "a", "MT19937", 2**31, 2**32, 2**63, 0.5, -1])
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["MT19937", "x"]), inner, max_size=2),
    max_leaves=5,
)


@settings(
    max_examples=int(os.environ.get("ISOXIDE_FILE_EXAMPLES", "300")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
@pytest.mark.filterwarnings("ignore")
def test_made_up_files_are_refused_or_a_forest(data):
    kind = data.draw(st.sampled_from(sorted(BASES)))
    forest = copy.deepcopy(BASES[kind])
    for _ in range(data.draw(st.integers(1, 3))):
        if data.draw(st.booleans()):
            says = forest.says["parameters"] if data.draw(st.booleans()) else forest.says
            if isinstance(says, dict) and says:
                says[data.draw(st.sampled_from(sorted(says)))] = data.draw(JSON)
            continue
        name = data.draw(st.sampled_from(sorted({*forest.tensors} - {"checksum"})))
        array = forest.array(name)
        if len(array) == 0:
            continue
        place = data.draw(st.integers(0, len(array) - 1))
        match data.draw(st.integers(0, 3)):
            case 0:
                array[place] = array[data.draw(st.integers(0, len(array) - 1))]
            case 1:
                special = [0, 1, 2, 3, 255, np.iinfo(np.int64).max, np.nan, np.inf, -1.0]
                with np.errstate(all="ignore"):
                    array[place] = np.array(data.draw(st.sampled_from(special))).astype(array.dtype)
            case 2:
                array = np.delete(array, place)
            case _:
                array = np.insert(array, place, array[place])
        forest.put(name, array)
    # Of a frame the values, since made-up names may be such as no frame has.
    table = KINDS[kind][0]
    check_if_taken(forest.bytes(), X if table is FRAME else table)


def check_if_taken(data, table):
    """Whatever is let through does all that a forest does."""
    try:
        forest = IsolationForest.from_bytes(data)
    except ValueError:
        return
    stored = forest.to_bytes(complete=True)
    again = IsolationForest.from_bytes(stored)
    assert again.to_bytes(complete=True) == stored
    assert pickle.loads(pickle.dumps(forest)).to_bytes(complete=True) == stored
    for tree in forest.estimators_:
        assert tree.tree_.node_count == len(tree.tree_.compute_node_depths())
    if forest.n_features_in_ != 4:
        return
    if forest.n_jobs == 0:
        forest.set_params(n_jobs=1)
    assert_array_equal(again.set_params(n_jobs=1).score_samples(table), forest.score_samples(table))
    assert_array_equal(forest.to_sklearn().score_samples(table), forest.score_samples(table))
    forest.set_params(warm_start=True, n_estimators=5, max_samples="auto", max_features=1.0)
    forest.fit(table)
    assert len(forest.estimators_) == 5


def test_the_core_takes_bytes_only():
    for data in ("text", None, bytearray(3)):
        with pytest.raises(TypeError):
            _core.Forest.from_bytes(data)
