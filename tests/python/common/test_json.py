"""Test that JSON text is refused before it is parsed if it is deeper or larger than allowed."""

import hashlib
import json
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoxide import IsolationForest
from isoxide._common import json as bounded_json
from isoxide.mergeable import RankCounts, SamplePlan, SampleRows, ScoreSketch
from new_process import assert_silent, run_in_new_process
from stored_forests import forest_file

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(st.sampled_from('ab\\"[]{},:é\n'), max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.sampled_from('a"\\[{'), max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


def depth(value):
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def n_keys(value):
    if isinstance(value, dict):
        return len(value) + sum(map(n_keys, value.values()))
    return sum(map(n_keys, value)) if isinstance(value, list) else 0


def n_commas(value):
    if isinstance(value, dict):
        value = list(value.values())
    return max(len(value) - 1, 0) + sum(map(n_commas, value)) if isinstance(value, list) else 0


@given(value=VALUES, ascii=st.booleans(), indent=st.sampled_from([None, 1]))
def test_a_document_is_parsed_within_the_limits_and_refused_beyond_each(value, ascii, indent):
    text = json.dumps(value, ensure_ascii=ascii, indent=indent)
    limits = {"max_depth": depth(value), "max_keys": n_keys(value), "max_items": n_commas(value)}
    assert bounded_json.loads(text, **limits) == value
    assert bounded_json.loads(text.encode(), **limits) == value
    for name, limit in limits.items():
        if limit:
            with pytest.raises(ValueError, match=r"nested more than|more than .* keys|more than .* items"):
                bounded_json.loads(text, **{**limits, name: limit - 1})


@pytest.mark.parametrize(
    "text", ["", "[", '{"a"', '"a', "[1,]", "nothing", b"\xff", "\\", '"\\', '["\\"]', "NaN", b'[\x00"\x00', "]]]][[[["]
)
def test_invalid_json_is_left_to_the_parser(text):
    if text == "NaN":
        with pytest.raises(ZeroDivisionError):
            bounded_json.loads(text, parse_constant=lambda _: 1 / 0)
        return
    with pytest.raises(ValueError, match=r"."):
        bounded_json.loads(text)


#: Mergeable classes and their names in the wire format.
MERGEABLE = {
    RankCounts: "set of rank counts",
    SamplePlan: "sample plan",
    SampleRows: "collection of sample rows",
    ScoreSketch: "score sketch",
}


def deep(n):
    yield "[" * n
    yield '{"a":' * n
    yield '["\\\\",' * n
    yield "[" * n + "]" * n


def reads_of(text):
    """Yield calls that decode bytes with `text` as their JSON header, for every format that has one."""
    header = text.encode()
    file = forest_file().bytes(text)
    yield lambda: IsolationForest.from_bytes(file)
    pickled = forest_file()
    pickled.header["parameters"] = None
    state = pickled.bytes(text)
    yield lambda: IsolationForest().__setstate__({"_fitted": state})
    length = len(header).to_bytes(8, "little")
    yield lambda: IsolationForest.from_bytes(length + header)
    for cls, name in MERGEABLE.items():
        title = f"isoxide piece 1 {name}\n".encode()
        checksum = hashlib.sha256(title + header + b"\n").hexdigest().encode()
        data = b"".join([title, checksum, b"\n", header, b"\n"])
        yield lambda cls=cls, data=data: cls.from_bytes(data)


def read_deep_documents():
    sys.setrecursionlimit(10**6)

    def read():
        for text in deep(90_000):
            for call in reads_of(text):
                with pytest.raises(ValueError, match=r"nested|deeper|entries|keys|items"):
                    call()

    read()
    threading.stack_size(256 * 1024)
    thread = threading.Thread(target=read)
    thread.start()
    thread.join()


@pytest.mark.slow
def test_deep_documents_are_refused_on_any_stack():
    assert_silent(run_in_new_process(read_deep_documents))


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        json.dumps({f"a{i}": i for i in range(10**6)}),
        json.dumps({"parameters": {f"a{i}": i for i in range(10**6)}}),
        json.dumps({"parameters": {"random_state": {"MT19937": list(range(10**6))}}}),
        json.dumps([{}] * 10**6),
    ],
    ids=["keys", "parameters", "words", "objects"],
)
def test_large_documents_are_refused_at_once(text):
    for call in reads_of(text):
        before = time.process_time()
        with pytest.raises(ValueError, match=r"not .* (forest|bytes)"):
            call()
        assert time.process_time() - before < 1.5


@pytest.mark.slow
@pytest.mark.parametrize("large_part", ["tensors", "metadata", "shape", "metadata of a forest"])
def test_large_headers_of_files_are_refused_at_once(large_part):
    if large_part == "tensors":
        header = {f"t{i}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for i in range(10**5)}
    elif large_part == "metadata":
        header = {"__metadata__": {f"a{i}": "" for i in range(10**6)}}
    elif large_part == "shape":
        header = {"t": {"dtype": "U8", "shape": [0] * 10**6, "data_offsets": [0, 0]}}
    else:
        forest = forest_file()
        forest.metadata.update({f"a{i}": "" for i in range(10**6)})
        data = forest.bytes()
        before = time.process_time()
        with pytest.raises(ValueError, match="more entries"):
            IsolationForest.from_bytes(data)
        assert time.process_time() - before < 0.5
        return
    encoded = json.dumps(header).encode()
    data = len(encoded).to_bytes(8, "little") + encoded
    before = time.process_time()
    with pytest.raises(ValueError, match="not an isoxide forest: its header has more entries"):
        IsolationForest.from_bytes(data)
    assert time.process_time() - before < 0.5


def test_names_of_many_columns_are_read():
    n = 20_000
    forest = IsolationForest(n_estimators=1, random_state=0, max_samples=2)
    import pandas as pd

    frame = pd.DataFrame([[0.0] * n, [1.0] * n], columns=[f'a"{{[,:\\{j}' for j in range(n)])
    stored = forest.fit(frame).to_bytes()
    assert IsolationForest.from_bytes(stored).feature_names_in_.tolist() == frame.columns.tolist()
