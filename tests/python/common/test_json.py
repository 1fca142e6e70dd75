"""JSON is as deep and as large as it may be before it is parsed."""

import hashlib
import json
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alone import alone, assert_silent
from isoxide import IsolationForest
from isoxide._common import json as bounded_json
from isoxide.mergeable import RankCounts, SamplePlan, SampleRows, ScoreSketch
from stored_forests import parts

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
def test_a_document_is_parsed_up_to_its_own_depth_and_size(value, ascii, indent):
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
def test_other_text_is_refused_as_the_parser_does(text):
    if text == "NaN":
        with pytest.raises(ZeroDivisionError):
            bounded_json.loads(text, parse_constant=lambda _: 1 / 0)
        return
    with pytest.raises(ValueError, match=r"."):
        bounded_json.loads(text)


#: Names of the pieces in the wire format.
PIECES = {
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


def documents(text):
    """Calls that read a document which comes from anybody, each with one that is not as it should be."""
    forest, head = parts(), text.encode()
    whole = forest.bytes(text)
    yield lambda: IsolationForest.from_bytes(whole)
    nested = parts()
    nested.says["parameters"] = None
    data = nested.bytes(text)
    yield lambda: IsolationForest().__setstate__({"_fitted": data})
    length = len(head).to_bytes(8, "little")
    yield lambda: IsolationForest.from_bytes(length + head)
    for kind, name in PIECES.items():
        title = f"isoxide piece 1 {name}\n".encode()
        checksum = hashlib.sha256(title + head + b"\n").hexdigest().encode()
        sealed = b"".join([title, checksum, b"\n", head, b"\n"])
        yield lambda kind=kind, sealed=sealed: kind.from_bytes(sealed)


def read_deep_documents():
    sys.setrecursionlimit(10**6)

    def read():
        for text in deep(90_000):
            for call in documents(text):
                with pytest.raises(ValueError, match=r"nested|deeper|entries|keys|items"):
                    call()

    read()
    threading.stack_size(256 * 1024)
    thread = threading.Thread(target=read)
    thread.start()
    thread.join()


@pytest.mark.slow
def test_deep_documents_are_refused_on_any_stack():
    assert_silent(alone(read_deep_documents))


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
    for call in documents(text):
        before = time.process_time()
        with pytest.raises(ValueError, match=r"not .* (forest|bytes)"):
            call()
        assert time.process_time() - before < 1.5


@pytest.mark.slow
@pytest.mark.parametrize("what", ["tensors", "metadata", "shape", "inner"])
def test_large_headers_of_files_are_refused_at_once(what):
    forest = parts()
    if what == "tensors":
        header = {f"t{i}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for i in range(10**5)}
    elif what == "metadata":
        header = {"__metadata__": {f"a{i}": "" for i in range(10**6)}}
    elif what == "shape":
        header = {"t": {"dtype": "U8", "shape": [0] * 10**6, "data_offsets": [0, 0]}}
    else:
        forest.metadata.update({f"a{i}": "" for i in range(10**6)})
        before = time.process_time()
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
