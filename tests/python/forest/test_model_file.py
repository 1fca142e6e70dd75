"""Test that saved and loaded forests are equal, and that an existing file stays if saving fails."""

import copy
import dataclasses
import fractions
import hashlib
import http
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
from numpy.testing import assert_array_equal
from sklearn.ensemble import IsolationForest as SklearnForest
from sklearn.exceptions import NotFittedError

from isoxide import IsolationForest
from stored_forests import FORESTS, FRAME, R, X, assert_same, fit

FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures"


@pytest.fixture(params=FORESTS)
def name(request):
    return request.param


# Saving and loading


@pytest.mark.parametrize("complete", [False, True])
def test_loaded_forests_equal_the_saved_one(name, complete, tmp_path):
    forest, table = fit(name), FORESTS[name][0]
    data = forest.to_bytes(complete=complete)
    assert type(data) is bytes
    forest.save(tmp_path / "forest.safetensors", complete=complete)
    assert (tmp_path / "forest.safetensors").read_bytes() == data
    loaded = [IsolationForest.from_bytes(buffer(data)) for buffer in (bytes, bytearray, memoryview)]
    loaded += [IsolationForest.load(path(tmp_path / "forest.safetensors")) for path in (str, pathlib.Path)]
    for twin in loaded:
        assert_same(twin, forest, table, complete=complete)
        # A loaded forest can only write what its file held, so `complete` adds nothing.
        assert twin.to_bytes(complete=True) == data
        assert twin.to_bytes() == forest.to_bytes()


def test_loaded_forests_continue_a_warm_start(name):
    forest, (table, weights, _) = fit(name), FORESTS[name]
    models = [forest, *(IsolationForest.from_bytes(forest.to_bytes(complete=complete)) for complete in (True, False))]
    for n_estimators in (11, 14):
        for model in models:
            model.set_params(n_estimators=n_estimators).fit(table, sample_weight=weights)
        if name == "seedless":
            continue
        assert models[1].to_bytes(complete=True) == models[0].to_bytes(complete=True)
        assert models[2].to_bytes() == models[0].to_bytes()
        assert_same(models[1], models[0], table, complete=True)
        # The drawn rows are known only for the trees of the last fit.
        assert_same(IsolationForest.from_bytes(models[0].to_bytes()), models[0], table, complete=False)
        assert len(models[0].estimators_samples_) == 3
        reloaded = IsolationForest.from_bytes(models[2].to_bytes(complete=True))
        assert_array_equal(reloaded.score_samples(table), models[0].score_samples(table))
        impurities = [tree.tree_.impurity for tree in reloaded.estimators_]
        assert [np.isnan(impurity).all() for impurity in impurities] == [True] * 8 + [False] * (n_estimators - 8)


def test_unknown_seeds_stay_unknown_in_a_file():
    """scikit-learn does not keep the seeds of trees before its last fit."""
    model = SklearnForest(n_estimators=4, random_state=5, warm_start=True).fit(X)
    forest = IsolationForest.from_sklearn(model.set_params(n_estimators=7).fit(X))
    for complete in (False, True):
        loaded = IsolationForest.from_bytes(forest.to_bytes(complete=complete))
        assert_same(loaded, forest, X, complete=complete)
        assert [tree.random_state is None for tree in loaded.estimators_] == [True] * 4 + [False] * 3


def test_a_loaded_forest_shares_nothing_with_the_original():
    forest = fit("stream")
    data, state = forest.to_bytes(), repr(forest.random_state.get_state())
    loaded = IsolationForest.from_bytes(data)
    loaded.set_params(n_estimators=20).fit(X)
    loaded.recalibrate(X, contamination=0.2)
    assert (forest.to_bytes(), repr(forest.random_state.get_state())) == (data, state)


@pytest.mark.slow
def test_every_process_saves_the_same_bytes():
    names = [name for name in FORESTS if name != "seedless"]
    code = (
        "import hashlib; from stored_forests import fit; "
        f"print(*(hashlib.sha256(fit(name).to_bytes()).hexdigest() for name in {names}))"
    )
    expected = [hashlib.sha256(fit(name).to_bytes()).hexdigest() for name in names]
    for seed in ("0", "1234"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
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


def test_numpy_numbers_become_python_numbers():
    params = {
        **{"n_estimators": np.int32(7), "max_samples": np.float64(0.5), "contamination": np.float32(0.1)},
        **{"bootstrap": np.bool_(True), "random_state": np.uint8(3), "max_features": np.int64(2)},
    }
    forest = IsolationForest(**params).fit(X)
    loaded = IsolationForest.from_bytes(forest.to_bytes())
    assert loaded.get_params() == forest.get_params()
    assert {type(loaded.get_params()[name]) for name in params} == {int, float, bool}
    assert_array_equal(loaded.score_samples(X), forest.score_samples(X))


def test_an_offset_that_the_user_set_is_saved():
    for offset in (0, -0.25, np.float32(-0.1), np.inf, -np.inf, np.nan):
        forest = fit("default")
        forest.offset_ = offset
        assert_array_equal(IsolationForest.from_bytes(forest.to_bytes()).offset_, float(offset))


def test_a_file_is_loaded_only_by_the_class_whose_parameters_it_has():
    class Subclass(IsolationForest):
        def __init__(self, *, label="x", n_estimators=100, max_samples="auto", contamination="auto", max_features=1.0,
                     bootstrap=False, n_jobs=None, random_state=None, verbose=0, warm_start=False):  # fmt: skip
            super().__init__(n_estimators=n_estimators, max_samples=max_samples, contamination=contamination,
                             max_features=max_features, bootstrap=bootstrap, n_jobs=n_jobs, random_state=random_state,
                             verbose=verbose, warm_start=warm_start)  # fmt: skip
            self.label = label

    forest = fit("default", Subclass, label="mine")
    assert_same(Subclass.from_bytes(forest.to_bytes()), forest, X, complete=False)
    with pytest.raises(ValueError, match="it has the parameter 'label', unlike IsolationForest; load it"):
        IsolationForest.from_bytes(forest.to_bytes())
    with pytest.raises(ValueError, match="it lacks the parameter 'label', unlike Subclass; load it"):
        Subclass.from_bytes(fit("default").to_bytes())


# Files of this and of earlier formats


STORED_FILES = sorted(FIXTURES.glob("isoxide-format-*.safetensors"))


def test_files_of_all_formats_are_fixtures():
    names = [path.name for path in STORED_FILES]
    assert names == [f"isoxide-format-1{variant}.safetensors" for variant in ("-columns", "-complete", "")]


@pytest.mark.parametrize("path", STORED_FILES, ids=lambda path: path.stem)
def test_stored_files_load_with_the_results_of_their_time(path):
    """Path lengths are equal. Scores may differ by the last bit of NumPy's power, which depends on the processor."""
    number, _, variant = path.stem.removeprefix("isoxide-format-").partition("-")
    variant = f"-{variant}" if variant else ""
    forest = IsolationForest.load(path)
    with np.load(FIXTURES / f"isoxide-format-{number}.npz") as expected:
        rows = pd.DataFrame(expected["X"], columns=["a", "b", "über", "d"]) if variant == "-columns" else expected["X"]
        assert_array_equal(forest._fitted.native.depth_sums(expected["X"], 1), expected[f"depth_sums{variant}"])
        assert_array_equal(forest.predict(rows), expected[f"predict{variant}"])
        np.testing.assert_array_max_ulp(forest.score_samples(rows), expected[f"scores{variant}"], maxulp=2)
        assert_array_equal(forest.estimators_samples_, expected[f"samples{variant}"])
    params = {
        "": {},
        "-columns": {"n_estimators": 8, "max_samples": 32, "max_features": 2, "bootstrap": True, "contamination": 0.1},
        "-complete": {"n_estimators": 6, "max_samples": 20, "contamination": 0.2, "warm_start": True},
    }[variant]
    expected_params = {**IsolationForest(**params).get_params(), "random_state": 7}
    actual = forest.get_params()
    if variant == "-complete":
        actual["random_state"] = 7
        assert isinstance(forest.random_state, np.random.RandomState)
        assert forest._sample_weight.dtype == np.float32
    assert actual == expected_params
    assert np.isnan(forest.estimators_[0].tree_.impurity).all() == (variant != "-complete")
    # This holds as long as this format is the one that is written.
    assert forest.to_bytes(complete=True) == path.read_bytes()


# Pickles


def test_a_stored_pickle_loads_with_the_results_of_its_time():
    """A pickle holds the parameters and the bytes of a file, so it does not depend on private attributes."""
    unpickled = pickle.loads((FIXTURES / "isoxide-format-1.pkl").read_bytes())
    loaded = IsolationForest.load(FIXTURES / "isoxide-format-1-columns.safetensors")
    with np.load(FIXTURES / "isoxide-format-1.npz") as expected:
        rows = pd.DataFrame(expected["X"], columns=["a", "b", "über", "d"])
        assert_array_equal(unpickled.predict(rows), expected["predict-columns"])
    assert unpickled.to_bytes(complete=True) == loaded.to_bytes(complete=True)
    assert_same(unpickled, loaded, rows, complete=False)


def test_a_pickled_state_is_parameters_and_bytes():
    forest = fit("names")
    forest.remark = {"by": "a user"}
    state = forest.__getstate__()
    assert state.keys() == {*forest.get_params(), "remark", "_fitted"}
    assert type(state["_fitted"]) is bytes
    for twin in (pickle.loads(pickle.dumps(forest)), copy.deepcopy(forest)):
        assert_same(twin, forest, FRAME, complete=True)
        assert twin.remark == forest.remark
    # A pickle can hold parameters that a file cannot.
    forest.set_params(contamination=fractions.Fraction(1, 10), n_jobs=10**30)
    assert pickle.loads(pickle.dumps(forest)).get_params() == forest.get_params()


def test_invalid_pickled_states_are_refused():
    forest = fit("default")
    state = forest.__getstate__()

    def set_state(state):
        IsolationForest.__new__(IsolationForest).__setstate__(state)

    set_state(state)
    for index in (0, 8, 200, len(state["_fitted"]) // 2, -1):
        damaged = bytearray(state["_fitted"])
        damaged[index] ^= 1
        with pytest.raises(ValueError, match=r"not an isoxide forest|the file is damaged"):
            set_state({**state, "_fitted": bytes(damaged)})
    with pytest.raises(ValueError, match="pickled by another version of isoxide"):
        set_state({**state, "_seeds": forest._seeds})
    del state["_fitted"]
    with pytest.raises(ValueError, match="pickled by another version of isoxide"):
        set_state({**state, "_forest": (1, 2)})
    with pytest.raises(ValueError, match="the state of a pickled forest, which lacks the parameters; load the pickle"):
        IsolationForest.from_bytes(forest.__getstate__()["_fitted"])


# Forests that cannot be saved


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
            "the parameter n_estimators=.* it is a HTTPStatus; set it to a number",
        ),
        ({"contamination": np.longdouble("0.1")}, TypeError, "the parameter contamination="),
        (
            {"n_estimators": 10**30},
            ValueError,
            "the parameter n_estimators cannot be stored in a file: it has more",
        ),
        ({"n_estimators": -1}, ValueError, "The 'n_estimators' parameter of IsolationForest must be"),
        ({"max_samples": None}, ValueError, "The 'max_samples' parameter of IsolationForest must be"),
        (
            {"random_state": np.random.RandomState(np.random.PCG64(1))},
            TypeError,
            "the parameter random_state=.* it is not a plain RandomState",
        ),
    ],
)
def test_parameters_that_cannot_be_saved_are_refused(params, error, message, tmp_path):
    forest = fit("default").set_params(**params)
    with pytest.raises(error, match=message):
        forest.save(tmp_path / "forest")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"n_features_in_": 3}, "n_features_in_ is 3, but the trees were grown on 4 columns; fit the forest again"),
        ({"feature_names_in_": np.array(["a"], dtype=object)}, "it has 1 feature names, but its trees have 4 columns"),
        ({"feature_names_in_": np.array([1, 2, 3, 4])}, "feature_names is not a list of strings|not JSON serializable"),
    ],
)
def test_attributes_that_cannot_be_saved_are_refused(attributes, message):
    forest = fit("default")
    vars(forest).update(attributes)
    with pytest.raises((TypeError, ValueError), match=message):
        forest.to_bytes()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_samples": 0}, "the forest cannot be stored: max_samples is 0"),
        ({"tree_depths": np.array([2] * 8)}, "the forest cannot be stored: tree 0 is . deep, its limit is 2"),
        ({"sample_weight": np.ones(3)}, "the forest cannot be stored: it has 3 sample weights, but 300 training rows"),
    ],
)
def test_fitted_states_that_cannot_be_saved_are_refused(fields, message):
    forest = fit("default")
    forest._fitted = dataclasses.replace(forest._fitted, **fields)
    with pytest.raises(ValueError, match=message):
        forest.to_bytes()


# Files


class FullDiskError(OSError):
    pass


@pytest.mark.parametrize("error", [FullDiskError, KeyboardInterrupt])
def test_an_existing_file_stays_if_saving_fails(tmp_path, monkeypatch, error):
    path = tmp_path / "forest.safetensors"
    fit("default").save(path)
    before = path.read_bytes()

    def fail(source, target):
        # Both files are complete when the new one is moved.
        assert len(pathlib.Path(source).read_bytes()) > len(before)
        assert path.read_bytes() == before
        raise error

    monkeypatch.setattr("isoxide._common.files.os.replace", fail)
    with pytest.raises(error):
        fit("default").save(path, complete=True)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_existing_file_stays_if_the_disk_becomes_full(tmp_path):
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


def test_threads_that_save_to_the_same_path_leave_one_complete_file(tmp_path):
    path = tmp_path / "forest.safetensors"
    forests = [fit("default", random_state=seed) for seed in range(4)]
    contents = {forest.to_bytes() for forest in forests}
    forests[0].save(path)
    threads = [threading.Thread(target=lambda f=f: [f.save(path) for _ in range(30)]) for f in forests]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert path.read_bytes() in contents
    for thread in threads:
        thread.join()
    assert IsolationForest.load(path).to_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]


def test_a_saved_file_has_the_permissions_of_a_new_file(tmp_path):
    before = os.umask(0o027)
    try:
        fit("default").save(tmp_path / "forest")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "forest").stat().st_mode) == 0o640
    name = "f" * 255
    fit("default").save(tmp_path / name)
    assert IsolationForest.load(tmp_path / name).n_features_in_ == 4


def test_only_regular_files_are_loaded_and_replaced(tmp_path):
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
