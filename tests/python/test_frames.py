"""Frames and other containers: read in place where their types allow it, and always with scikit-learn's results."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.ensemble import IsolationForest as SklearnForest

from isoxide import IsolationForest
from isoxide._validation import check_input
from parity import assert_same_scores, fit_both

N = 60


def column(r, kind):
    """A column of 60 rows; the large integers round differently by way of float64."""
    large = (1 << 60) + (1 << 36) * r.integers(0, 5, N) + r.integers(0, 3, N)
    return {
        "float64": lambda: r.normal(size=N),
        "float32": lambda: r.normal(size=N).astype(np.float32),
        "float16": lambda: r.normal(size=N).astype(np.float16),
        "missing": lambda: np.where(r.random(N) < 0.2, np.nan, r.normal(size=N)),
        "int64": lambda: large,
        "int32": lambda: r.integers(-9, 9, N).astype(np.int32),
        "uint8": lambda: r.integers(0, 9, N).astype(np.uint8),
        "uint32": lambda: r.integers(0, 2**32, N).astype(np.uint32),
        "uint64": lambda: large.astype(np.uint64) * 3,
        "bool": lambda: r.random(N) < 0.5,
    }[kind]()


def frames(r, columns):
    """The same columns in every kind of frame that can hold them."""
    yield pd.DataFrame(columns)
    yield pd.DataFrame(columns).convert_dtypes()
    yield pd.DataFrame(columns).convert_dtypes(dtype_backend="pyarrow")
    yield pa.table(columns)
    yield pa.concat_tables([pa.table(columns).slice(0, 25), pa.table(columns).slice(25)])
    if not any(c.dtype == np.float16 for c in columns.values()):
        polars = pl.DataFrame(columns)
        yield polars
        yield pl.concat([polars[:25], polars[25:]], rechunk=False)
        yield polars.with_columns(pl.when(pl.arange(N) % 7 > 0).then(pl.first()).alias(polars.columns[0]))


def refusal(forest, frame):
    """Class and message of the exception of a fit; None if there is none."""
    try:
        forest.fit(frame)
    except Exception as error:
        return type(error), str(error)
    return None


KINDS = ["float64", "float32", "float16", "missing", "int64", "int32", "uint8", "uint32", "uint64", "bool"]


@pytest.mark.parametrize("index", range(25))
def test_mixed_frames(index, seed):
    r = np.random.default_rng([seed, index])
    kinds = r.choice(KINDS, r.integers(1, 6))
    columns = {f"c{j}": column(r, kind) for j, kind in enumerate(kinds)}
    for frame in frames(r, columns):
        if (expected := refusal(SklearnForest(), frame)) is not None:
            assert refusal(IsolationForest(), frame) == expected
            continue
        ours, theirs = fit_both(frame, lambda: seed, n_estimators=5)
        np.testing.assert_array_equal(ours.feature_names_in_, theirs.feature_names_in_)
        assert_same_scores(ours, theirs, frame)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_columns_are_borrowed(make):
    r = np.random.default_rng(0)
    columns = {kind: column(r, kind) for kind in ("float64", "float32", "missing")}
    frame = make(columns)
    borrowed = check_input(IsolationForest(), frame, reset=True).table
    for name, array in zip(columns, borrowed, strict=True):
        source = {
            pd.DataFrame: lambda n=name: frame[n].to_numpy(copy=False),
            pl.DataFrame: lambda n=name: frame[n].to_numpy(allow_copy=False),
            pa.table: lambda n=name: frame[n].chunk(0).to_numpy(),
        }[make]()
        assert np.shares_memory(array, source)
        assert array.dtype == columns[name].dtype


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_names_are_checked_whatever_the_frame(make):
    r = np.random.default_rng(0)
    columns = {"a": column(r, "float64"), "b": column(r, "int32")}
    forest, reference = (c(n_estimators=2).fit(make(columns)) for c in (IsolationForest, SklearnForest))
    for other in ({"b": columns["b"], "a": columns["a"]}, {"a": columns["a"]}, {**columns, "c": columns["a"]}):
        messages = []
        for model in (forest, reference):
            with pytest.raises(ValueError, match="feature names") as caught:
                model.predict(make(other))
            messages.append(str(caught.value))
        assert messages[0] == messages[1]
    # A forest fitted on one kind of frame scores another with the same names.
    for kind in (pd.DataFrame, pl.DataFrame, pa.table):
        np.testing.assert_array_equal(forest.predict(kind(columns)), forest.predict(make(columns)))


@pytest.mark.parametrize("make", [pl.DataFrame, pa.table])
def test_frames_that_cannot_be_fitted(make):
    for columns in ({"a": ["x", "y"]}, {"a": [[1.0], [2.0]]}, {}, {"a": np.array([])}):
        expected = refusal(SklearnForest(), make(columns))
        assert expected is not None
        assert refusal(IsolationForest(), make(columns)) == expected


def test_memory_maps(tmp_path, seed):
    X = np.random.default_rng(seed).normal(size=(200, 3))
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    forest = IsolationForest(random_state=seed)
    assert check_input(forest, mapped, reset=True).table is mapped
    np.testing.assert_array_equal(forest.fit(mapped).score_samples(mapped), forest.fit(X).score_samples(X))
