"""Test `Explanation`: contributions that add up, selection, order, shares, frames and conversions."""
# ruff: noqa: PD011 (`values` belongs to Explanation here, not to pandas)

import copy
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from numpy.testing import assert_allclose, assert_array_equal

from hostile_names import HOSTILE
from isoxide import Explanation, IsolationForest
from notebook_html import parse

NAMES = ["logins", "bytes", "hour", "share"]


@pytest.fixture(scope="module")
def table(seed):
    frame = pd.DataFrame(np.random.default_rng(seed).normal(size=(300, 4)), columns=NAMES)
    frame.index = [f"r{i}" for i in range(300)]
    # A high and a low value, so that what makes these two rows anomalous is known.
    frame.loc["r0", "hour"], frame.loc["r1", "bytes"] = 12.0, -12.0
    return frame


@pytest.fixture(scope="module")
def forest(table):
    return IsolationForest(n_estimators=60, random_state=0).fit(table)


@pytest.fixture(scope="module")
def explanation(forest, table):
    return forest.explain(table)


@pytest.fixture(scope="module")
def first(forest, table):
    """The explanation with the two most anomalous contributions of each row."""
    return forest.explain(table, top=2)


def test_attributes(explanation, table):
    assert explanation.values.shape == explanation.data.shape == (300, 4)
    assert explanation.base_values.shape == (300,)
    assert explanation.feature_names == NAMES
    assert (explanation.output, explanation.indices) == ("log2", None)
    assert_array_equal(explanation.data, table)
    assert len(explanation) == 300
    assert repr(explanation) == "Explanation(300 rows, 4 features, output='log2')"
    assert repr(explanation[0]) == "Explanation(1 row, 4 features, output='log2')"
    assert_array_equal(np.asarray(explanation), explanation.values)
    assert np.asarray(explanation, dtype=np.float32).dtype == np.float32


def test_it_is_immutable(forest, table):
    X = table.to_numpy()
    explanation = IsolationForest(n_estimators=5, random_state=0).fit(X).explain(X)
    for part in (explanation, explanation[:3], explanation[[1, 2]], explanation[0]):
        for name in ("values", "base_values", "data"):
            array = getattr(part, name)
            if isinstance(array, np.ndarray):
                with pytest.raises(ValueError, match="read-only"):
                    array[...] = 0
            with pytest.raises(AttributeError):
                setattr(part, name, array)
    explanation.feature_names.append("another")
    assert explanation.feature_names == ["x0", "x1", "x2", "x3"]
    expected = explanation.data.copy()
    changed = X.copy()
    later = IsolationForest(n_estimators=5, random_state=0).fit(changed).explain(changed)
    changed[:] = 0
    assert_array_equal(later.data, expected)


@pytest.mark.parametrize("key", [0, -1, np.int64(7), slice(3, 9), slice(None, None, -2), [5, 1, 5], [], np.arange(3)])
def test_rows(explanation, key):
    part = explanation[key]
    assert isinstance(part, Explanation)
    rows = np.array(key, dtype=int) if isinstance(key, list) else key
    for name in ("values", "base_values", "data"):
        assert_array_equal(getattr(part, name), getattr(explanation, name)[rows])
    assert_array_equal(part.share(), explanation.share()[rows])
    assert len(part) == np.atleast_2d(part.values).shape[0]


def test_masks_features_and_pairs(explanation):
    mask = explanation["hour"] > 0
    assert 0 < mask.sum() < len(mask)
    assert_array_equal(explanation[mask].values, explanation.values[mask])
    assert_array_equal(explanation["hour"], explanation.values[:, 2])
    assert_array_equal(explanation[3:9, "hour"], explanation.values[3:9, 2])
    assert explanation[3]["hour"] == explanation[3, "hour"] == explanation.values[3, 2]
    assert isinstance(explanation[3, "hour"], float)
    assert [part.values.tolist() for part in explanation[:3]] == explanation.values[:3].tolist()
    row = explanation[3]
    assert row[:] is row


def test_wrong_indices(explanation):
    with pytest.raises(KeyError, match="no feature is called 'login'; did you mean 'logins'"):
        explanation["login"]
    with pytest.raises(KeyError, match="no feature is called 'hours'; did you mean 'hour'"):
        explanation[3, "hours"]
    with pytest.raises(IndexError, match="out of bounds"):
        explanation[300]
    with pytest.raises(IndexError, match="boolean index did not match"):
        explanation[np.ones(299, dtype=bool)]
    for key in (1.5, [0.5], [[1, 2]], ["hour", "bytes"], None, True, {"a"}):
        with pytest.raises(IndexError, match="indexed by an integer, a slice, a list of integers, a mask or the name"):
            explanation[key]
    with pytest.raises(IndexError, match="by rows and a feature, got 3 indices"):
        explanation[0, "hour", 1]
    with pytest.raises(TypeError, match="explanation of one row: index it by the name of a feature, not by 0"):
        explanation[0][0]


def test_shares(explanation):
    shares, positive = explanation.share(), np.maximum(explanation.values, 0)
    sums = positive.sum(axis=1, keepdims=True)
    assert_allclose(shares * sums, positive, rtol=1e-13)
    # Rows in the middle of the table have no feature that makes them more anomalous.
    is_normal = sums[:, 0] == 0
    assert 0 < is_normal.sum() < 150
    assert_allclose(shares.sum(axis=1), np.where(is_normal, 0, 1), rtol=1e-13)
    assert_array_equal(explanation[5].share(), shares[5])
    assert shares[0].argmax() == NAMES.index("hour")
    assert shares[1].argmax() == NAMES.index("bytes")


def test_shares_do_not_depend_on_the_scale(forest, table, explanation):
    path_length = forest.explain(table, output="path_length")
    assert_allclose(path_length.share(), explanation.share(), rtol=1e-13)
    assert_array_equal(path_length.order, explanation.order)
    assert_array_equal(path_length.values, forest.shap_values(table))


def test_shares_of_a_forest_that_tells_no_rows_apart():
    explanation = IsolationForest(n_estimators=3, random_state=0).fit([[1.0, 2.0]] * 4).explain([[1.0, 2.0]])
    assert_array_equal(explanation.values, [[0, 0]])
    assert_array_equal(explanation.share(), [[0, 0]])
    assert not np.signbit(explanation.values).any()


def test_order(explanation):
    in_order = np.take_along_axis(explanation.values, explanation.order, axis=1)
    assert_array_equal(in_order, -np.sort(-explanation.values, axis=1))
    assert_array_equal(explanation[4].order, explanation.order[4])


def test_top(explanation, first):
    assert first.values.shape == first.indices.shape == first.data.shape == (300, 2)
    assert first.feature_names == NAMES
    assert repr(first) == "Explanation(300 rows, 4 features, top 2 of each row, output='log2')"
    assert_array_equal(first.indices, explanation.order[:, :2])
    for name in ("values", "data"):
        expected = np.take_along_axis(getattr(explanation, name), first.indices, axis=1)
        assert_array_equal(getattr(first, name), expected)
    assert_array_equal(first.share(), np.take_along_axis(explanation.share(), first.indices, axis=1))
    assert_array_equal(first.order, [[0, 1]] * 300)
    assert_array_equal(first[7].indices, explanation.order[7, :2])
    assert_array_equal(first[-3:].share(), first.share()[-3:])
    assert first[7].to_frame()["feature"].tolist() == [NAMES[j] for j in explanation.order[7, :2]]


def test_what_needs_all_features_says_so(first):
    for call in (first.importance, first.to_shap, lambda: first["hour"], lambda: first[0, "hour"]):
        with pytest.raises(
            ValueError, match="of all features, but top=2 kept only the largest of each row; call explain"
        ):
            call()


def test_importance(explanation):
    assert_allclose(explanation.importance(), np.abs(explanation.values).mean(axis=0), rtol=1e-13)
    assert_array_equal(explanation[3].importance(), np.abs(explanation.values[3]))
    assert np.isnan(explanation[:0].importance()).all()


def test_frames(explanation, table):
    frame = explanation[:2].to_frame()
    assert frame.columns.tolist() == ["row", "position", "feature", "contribution", "share", "value"]
    assert frame["row"].tolist() == ["r0"] * 4 + ["r1"] * 4
    assert frame["position"].tolist() == [0, 1, 2, 3] * 2
    assert frame["feature"].tolist() == [NAMES[j] for j in explanation.order[:2].ravel()]
    assert frame["feature"].iloc[0] == "hour"
    assert frame["feature"].iloc[4] == "bytes"
    for line in frame.itertuples():
        i, j = table.index.get_loc(line.row), NAMES.index(line.feature)
        assert line.contribution == explanation.values[i, j]
        assert line.share == explanation.share()[i, j]
        assert line.value == table.iloc[i, j]
    pd.testing.assert_frame_equal(explanation[1].to_frame(), frame[4:].reset_index(drop=True))
    assert explanation[:0].to_frame().shape == (0, 6)


@pytest.mark.parametrize(("convert", "cls"), [(pl.from_pandas, pl.DataFrame), (pa.Table.from_pandas, pa.Table)])
def test_frames_are_of_the_library_of_the_rows(forest, table, explanation, convert, cls):
    frame = forest.explain(convert(table.reset_index(drop=True)))[[4, 2]].to_frame()
    assert isinstance(frame, cls)
    columns = (
        {name: frame[name].to_pylist() if cls is pa.Table else frame[name].to_list() for name in frame.columns}
        if cls is pl.DataFrame
        else frame.to_pydict()
    )
    expected = explanation[[4, 2]].to_frame().drop(columns="row").to_dict("list")
    assert columns == {"row": [4] * 4 + [2] * 4} | expected


def test_with_feature_names(explanation):
    renamed = explanation.with_feature_names("abcd")
    assert renamed.feature_names == [*"abcd"]
    assert_array_equal(renamed["c"], explanation["hour"])
    with pytest.raises(ValueError, match="names has 3 names for 4 features"):
        explanation.with_feature_names("abc")


def test_html_escapes_names_and_labels(seed):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(len(HOSTILE) + 5, len(HOSTILE))), columns=HOSTILE)
    frame.index = [*HOSTILE, *"abcde"]
    explanation = IsolationForest(n_estimators=20, random_state=0).fit(frame).explain(frame)
    for part in (explanation, explanation[0], explanation[:0]):
        page = part._repr_html_()
        assert "<script" not in page
        assert "<img" not in page
        assert "<b>" not in page
        parse(page)
    assert "&lt;script&gt;" in explanation._repr_html_()
    assert "10 of 15 rows …" in explanation._repr_html_()
    assert explanation._repr_html_().count("<tr>") == 11


def test_html_of_the_largest_contributions(explanation, first):
    whole, part = explanation[[0]]._repr_html_(), first[[0]]._repr_html_()
    assert "hour = 12<br>" in whole
    assert whole.count("<td ") == 4
    assert part.count("<td ") == 2
    assert f"({100 * explanation.share()[0].max():.0f} %)" in part


@pytest.mark.parametrize("duplicate", [lambda item: pickle.loads(pickle.dumps(item)), copy.copy, copy.deepcopy])
def test_copies_and_pickles(explanation, first, duplicate):
    for item in (explanation, first, explanation[3]):
        again = duplicate(item)
        assert (repr(again), again.feature_names) == (repr(item), item.feature_names)
        assert_array_equal(again.values, item.values)
        assert_array_equal(again.share(), item.share())
        assert not again.values.flags.writeable
        pd.testing.assert_frame_equal(again.to_frame(), item.to_frame())
    assert b"_forest" not in pickle.dumps(explanation)


def test_sparse(table):
    X = scipy.sparse.random_array((200, 5), density=0.3, rng=0, format="csr", dtype=np.float64)
    forest = IsolationForest(n_estimators=20, random_state=0).fit(X)
    sparse, dense = forest.explain(X), forest.explain(X.toarray())
    assert scipy.sparse.issparse(sparse.data)
    assert_array_equal(sparse.values, dense.values)
    assert_array_equal(sparse.data.toarray(), dense.data.astype(np.float32))
    assert_array_equal(sparse[3].data, sparse.data.toarray()[3])
    assert sparse[4]._repr_html_() == forest.explain(X.toarray().astype(np.float32))[4]._repr_html_()
    top = forest.explain(X, top=3)
    assert_array_equal(top.values, forest.explain(X.toarray(), top=3).values)
    assert_array_equal(top.data, np.take_along_axis(sparse.data.toarray(), top.indices, axis=1))
    pd.testing.assert_frame_equal(
        top.to_frame(), forest.explain(X.toarray().astype(np.float32), top=3).to_frame(), check_dtype=False
    )
