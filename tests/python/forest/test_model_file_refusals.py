"""Test that damaged, foreign and manipulated files are refused with a message that says what is wrong."""

import copy
import json
import os
import pickle
import resource

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.ensemble import IsolationForest as SklearnForest

from isoxide import IsolationForest, _core
from stored_forests import FORESTS, FRAME, WEIGHTS, ForestFile, X, assert_same, fit, forest_file


def test_the_helper_encodes_an_unchanged_file_again():
    assert_same(IsolationForest.from_bytes(forest_file().bytes()), fit("names"), FRAME, complete=False)


@pytest.mark.parametrize("data", ["text", None, 5, [1, 2], np.zeros(3)])
def test_other_types_are_refused(data):
    with pytest.raises(TypeError, match="data must be bytes, a bytearray or a memoryview"):
        IsolationForest.from_bytes(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda: b"", "not an isoxide forest: the file is empty"),
        (lambda: b"actor,day\nx,1\n" * 20, "it is not a safetensors file"),
        (lambda: pickle.dumps(SklearnForest()), "it is a pickle, as scikit-learn's models are"),
        (lambda: pickle.dumps(fit("default")), "it is a pickle, as scikit-learn's"),
        (lambda: b"PK\x03\x04" + bytes(100), "it is a zip archive, as skops writes"),
        (lambda: fit("default").to_bytes()[:-1], "truncated"),
        (lambda: fit("default").to_bytes()[:100], "truncated"),
        (lambda: fit("default").to_bytes() + b"\n", "something was appended"),
        (lambda: fit("default").to_bytes()[:-1] + b"\xff", "the checksum does not match: the file is damaged"),
    ],
)
def test_other_files_are_refused_by_what_they_are(data, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        IsolationForest.from_bytes(data())
    path = tmp_path / "forest.safetensors"
    path.write_bytes(data())
    with pytest.raises(ValueError, match=f"forest.safetensors: .*{message}"):
        IsolationForest.load(path)


def test_a_later_format_asks_for_a_later_isoxide():
    later = forest_file()
    later.set_array("format", np.array([2], dtype=np.uint32))
    later.set_array("an array of a later version", np.zeros(3))
    later.header = {"quite": "different"}
    with pytest.raises(ValueError, match=r"format 2 is newer than this isoxide reads \(1\): upgrade isoxide"):
        IsolationForest.from_bytes(later.bytes())


def change(**changes):
    return lambda header: header.update(changes)


def change_parameter(**changes):
    return lambda header: header["parameters"].update(changes)


STREAM = [list(range(624)), 624, 0, 0.0]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda header: header.pop("offset"), "header lacks the key 'offset'"),
        (change(more=1), "header has an unknown key 'more'"),
        (change(feature_names="abcd"), "feature_names is not a list of strings"),
        (change(feature_names=["a", "b", "c", 4]), "feature_names is not a list of strings"),
        (change(feature_names=["a"]), "it has 1 feature names, but its trees have 4 columns"),
        (change(max_features=0), "max_features is 0 instead of an integer from 1"),
        (change(max_features=5), "max_features is 5, but its trees have 4 columns"),
        (change(max_features=True), "max_features is bool instead of"),
        (change(max_samples=301), "max_samples is 301, but there were 300 training rows"),
        (change(max_samples=2.0), "max_samples is 2.0 instead of an integer"),
        (change(max_samples=2**32, n_samples=2**40), "max_samples is 4294967296, but"),
        (change(n_samples=2**63), "n_samples is 9223372036854775808 instead of"),
        (change(n_seeds=9), "it lacks seeds of the 9 trees of the last fit"),
        (change(n_seeds=0), "n_seeds is 0 instead of"),
        (change(offset=-1), "offset is not a number"),
        (change(offset="half"), "offset is not a number"),
        (change(offset=None), "offset is not a number"),
        (change(parameters=None), "the state of a pickled forest"),
        (change(parameters=[]), "parameters is not an object"),
        (lambda header: header["parameters"].pop("n_jobs"), "it lacks the parameter 'n_jobs'"),
        (change_parameter(depth=3), "it has the parameter 'depth'"),
        (change_parameter(__class__="os.system"), "it has the parameter '__class__'"),
        (change_parameter(n_estimators=0), "The 'n_estimators' parameter of IsolationForest must be"),
        (change_parameter(n_estimators="many"), "The 'n_estimators' parameter of IsolationForest must be"),
        (change_parameter(n_estimators=2**63), "the parameter n_estimators is 9223372036854775808 instead"),
        (change_parameter(contamination=0.9), "The 'contamination' parameter of IsolationForest must be"),
        (change_parameter(n_jobs=[1]), "the parameter n_jobs is a list"),
        (change_parameter(random_state=-1), "The 'random_state' parameter of IsolationForest must be"),
        (change_parameter(random_state={}), "random_state lacks the key 'MT19937'"),
        (change_parameter(random_state={"MT19937": STREAM, "more": 1}), "random_state has an unknown key 'more'"),
        (change_parameter(random_state={"MT19937": STREAM[:3]}), "does not have a state of 624 words"),
        (change_parameter(random_state={"MT19937": [[0] * 623, *STREAM[1:]]}), "does not have a state of 624 words"),
        (change_parameter(random_state={"MT19937": [[-1] * 624, *STREAM[1:]]}), "a word of .* is -1 instead"),
        (change_parameter(random_state={"MT19937": [[0.5] * 624, *STREAM[1:]]}), "a word of .* is 0.5 instead"),
        (change_parameter(random_state={"MT19937": [STREAM[0], 625, 0, 0.0]}), "the position of .* is 625 instead"),
        (change_parameter(random_state={"MT19937": [STREAM[0], 0, 2, 0.0]}), "has_gauss of .* is 2 instead"),
        (change_parameter(random_state={"MT19937": [STREAM[0], 0, 1, "x"]}), "gauss of .* is not a finite number"),
    ],
)
def test_invalid_headers_are_refused(edit, message):
    forest = forest_file()
    edit(forest.header)
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
def test_texts_that_are_no_header_are_refused(text):
    with pytest.raises(ValueError, match="not an isoxide forest: "):
        IsolationForest.from_bytes(forest_file().bytes(text))


def test_a_key_that_occurs_twice_is_refused():
    forest = forest_file()
    text = json.dumps(forest.header)
    with pytest.raises(ValueError, match="a key occurs twice"):
        IsolationForest.from_bytes(forest.bytes(text.replace('"offset":', '"offset": -0.5, "offset":')))


def test_numbers_too_large_for_a_float_are_refused():
    forest = forest_file()
    text = json.dumps(forest.header)
    huge = text.replace('"contamination": "auto"', '"contamination": 1e999')
    assert huge != text
    with pytest.raises(ValueError, match="the parameter contamination is not finite"):
        IsolationForest.from_bytes(forest.bytes(huge))


def test_weights_of_another_number_of_rows_or_below_zero_are_refused():
    forest = forest_file("weights")
    for weights in (WEIGHTS[:-1], WEIGHTS.astype(np.float32)[:0]):
        forest.set_array("sample_weight", weights)
        with pytest.raises(ValueError, match="sample weights, but 300 training rows"):
            IsolationForest.from_bytes(forest.bytes())
    forest.set_array("sample_weight", -WEIGHTS)
    with pytest.raises(ValueError, match="a sample weight is negative or not finite"):
        IsolationForest.from_bytes(forest.bytes())


def test_samples_that_do_not_fit_in_memory_raise_a_memory_error():
    """A file can claim any number of drawn rows. They are drawn again when `estimators_samples_` is read."""
    forest = forest_file("bootstrap and columns")
    forest.header.update(max_samples=2**32 - 1, n_samples=2**62)
    loaded = IsolationForest.from_bytes(forest.bytes())
    assert loaded.predict(X).shape == (300,)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**36, limits[1]))
    try:
        with pytest.raises(MemoryError, match=r"could not allocate \d{6,} MiB of memory"):
            assert loaded.estimators_samples_
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


# Manipulated files with a valid checksum


FILES = {name: ForestFile(fit(name, n_estimators=3).to_bytes(complete=True)) for name in FORESTS}
#: Values to put into a header.
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


@pytest.mark.slow
@settings(
    max_examples=int(os.environ.get("ISOXIDE_FILE_EXAMPLES", "300")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
@pytest.mark.filterwarnings("ignore")
def test_manipulated_files_are_refused_or_hold_a_working_forest(data):
    forest_name = data.draw(st.sampled_from(sorted(FILES)))
    forest = copy.deepcopy(FILES[forest_name])
    for _ in range(data.draw(st.integers(1, 3))):
        if data.draw(st.booleans()):
            values = forest.header["parameters"] if data.draw(st.booleans()) else forest.header
            if isinstance(values, dict) and values:
                values[data.draw(st.sampled_from(sorted(values)))] = data.draw(JSON)
            continue
        name = data.draw(st.sampled_from(sorted({*forest.tensors} - {"checksum"})))
        array = forest.array(name)
        if len(array) == 0:
            continue
        index = data.draw(st.integers(0, len(array) - 1))
        match data.draw(st.integers(0, 3)):
            case 0:
                array[index] = array[data.draw(st.integers(0, len(array) - 1))]
            case 1:
                special = [0, 1, 2, 3, 255, np.iinfo(np.int64).max, np.nan, np.inf, -1.0]
                with np.errstate(all="ignore"):
                    array[index] = np.array(data.draw(st.sampled_from(special))).astype(array.dtype)
            case 2:
                array = np.delete(array, index)
            case _:
                array = np.insert(array, index, array[index])
        forest.set_array(name, array)
    # An array has no names that could differ from the manipulated names of a file.
    table = FORESTS[forest_name][0]
    check_forest_unless_refused(forest.bytes(), X if table is FRAME else table)


def check_forest_unless_refused(data, table):
    """Check that a file that is not refused gives a forest whose methods all work."""
    try:
        forest = IsolationForest.from_bytes(data)
    except ValueError:
        return
    stored = forest.to_bytes(complete=True)
    reloaded = IsolationForest.from_bytes(stored)
    assert reloaded.to_bytes(complete=True) == stored
    assert pickle.loads(pickle.dumps(forest)).to_bytes(complete=True) == stored
    for tree in forest.estimators_:
        assert tree.tree_.node_count == len(tree.tree_.compute_node_depths())
    if forest.n_features_in_ != 4:
        return
    if forest.n_jobs == 0:
        forest.set_params(n_jobs=1)
    assert_array_equal(reloaded.set_params(n_jobs=1).score_samples(table), forest.score_samples(table))
    assert_array_equal(forest.to_sklearn().score_samples(table), forest.score_samples(table))
    forest.set_params(warm_start=True, n_estimators=5, max_samples="auto", max_features=1.0)
    forest.fit(table)
    assert len(forest.estimators_) == 5


def test_the_core_takes_bytes_only():
    for data in ("text", None, bytearray(3)):
        with pytest.raises(TypeError):
            _core.Forest.from_bytes(data)
