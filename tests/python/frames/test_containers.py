"""Test that frames and other containers are read without a copy if possible, with scikit-learn's results."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.ensemble import IsolationForest as SklearnForest

from isoxide import IsolationForest
from isoxide._frames import validation
from isoxide._frames.validation import check_input
from parity import assert_same_scores, fit_both

pytestmark = pytest.mark.parity

N = 60


def column(r, dtype):
    """Return a column of 60 rows. Large integers round to another float32 if they become float64 first."""
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
    }[dtype]()


def frames(r, columns):
    """Yield the same columns in every frame that can hold them."""
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
    """Return the class and the message of the exception of a fit, or None."""
    try:
        forest.fit(frame)
    except Exception as error:
        return type(error), str(error)
    return None


DTYPES = ["float64", "float32", "float16", "missing", "int64", "int32", "uint8", "uint32", "uint64", "bool"]


@pytest.mark.slow
@pytest.mark.current_versions(reason="scikit-learn 1.6 treats missing values and weights differently")
@pytest.mark.parametrize("index", range(25))
def test_fits_on_random_frames_equal_scikit_learns(index, seed):
    r = np.random.default_rng([seed, index])
    dtypes = r.choice(DTYPES, r.integers(1, 6))
    columns = {f"c{j}": column(r, dtype) for j, dtype in enumerate(dtypes)}
    for frame in frames(r, columns):
        if (expected := refusal(SklearnForest(), frame)) is not None:
            assert refusal(IsolationForest(), frame) == expected
            continue
        ours, theirs = fit_both(frame, lambda: seed, n_estimators=5)
        np.testing.assert_array_equal(ours.feature_names_in_, theirs.feature_names_in_)
        assert_same_scores(ours, theirs, frame)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_columns_are_not_copied(make, monkeypatch):
    monkeypatch.setattr(validation, "SMALL_FRAME_MAX_ROWS", 0)
    r = np.random.default_rng(0)
    columns = {dtype: column(r, dtype) for dtype in ("float64", "float32", "missing", "int64")}
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


#: Frames whose columns lie in one array.
ONE_ARRAY_FRAMES = {
    "row-major": lambda x: pd.DataFrame(x, copy=False),
    "column-major": lambda x: pd.DataFrame(np.asfortranarray(x), copy=False),
    "some rows": lambda x: pd.DataFrame(x, copy=False).iloc[5:50],
    "every second": lambda x: pd.DataFrame(x, copy=False).iloc[::2],
    "a mask": lambda x: pd.DataFrame(x)[np.arange(N) % 3 > 0],
    "one column": lambda x: pd.DataFrame(x, copy=False).iloc[:, [1]],
    "one row": lambda x: pd.DataFrame(x, copy=False).iloc[3:4],
    "joined": lambda x: pd.concat([pd.DataFrame(x[:20]), pd.DataFrame(x[20:])], ignore_index=True),
}


@pytest.mark.parametrize("small_rows", [0, 2**14])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
@pytest.mark.parametrize("make", ONE_ARRAY_FRAMES.values(), ids=ONE_ARRAY_FRAMES.keys())
def test_a_frame_of_one_array_is_read_as_this_array(make, dtype, small_rows, monkeypatch):
    monkeypatch.setattr(validation, "SMALL_FRAME_MAX_ROWS", small_rows)
    frame = make((np.random.default_rng(0).normal(size=(N, 4)) * 100).astype(dtype))
    frame.columns = [f"c{j}" for j in range(frame.shape[1])]
    table = check_input(IsolationForest(), frame, reset=True).table
    assert isinstance(table, np.ndarray)
    assert table.dtype == dtype
    assert np.shares_memory(table, frame.to_numpy())
    np.testing.assert_array_equal(table, frame.to_numpy())


def test_a_large_frame_of_several_arrays_is_not_copied(monkeypatch):
    r = np.random.default_rng(0)
    frame = pd.DataFrame({"a": column(r, "float64"), "b": column(r, "float64")})
    frame["c"] = column(r, "float64")
    small = check_input(IsolationForest(), frame, reset=True).table
    assert isinstance(small, np.ndarray)
    for limit in ("SMALL_FRAME_MAX_ROWS", "SMALL_FRAME_MAX_CELLS"):
        with monkeypatch.context() as patch:
            patch.setattr(validation, limit, 20)
            columns = check_input(IsolationForest(), frame, reset=True).table
        assert all(np.shares_memory(c, frame[n].to_numpy()) for c, n in zip(columns, frame, strict=True))
        np.testing.assert_array_equal(np.column_stack(columns), small)


@pytest.mark.parametrize("index", range(25))
def test_a_copy_in_one_array_scores_as_the_columns_do(index, seed, monkeypatch):
    r = np.random.default_rng([seed, index, 1])
    dtypes = r.choice([dtype for dtype in DTYPES if dtype not in ("bool", "uint64", "float16")], r.integers(1, 6))
    frame = pd.DataFrame({f"c{j}": column(r, dtype) for j, dtype in enumerate(dtypes)})
    forest = IsolationForest(n_estimators=30, random_state=index).fit(frame)
    assert isinstance(check_input(forest, frame, reset=False).table, np.ndarray)
    scores = forest.score_samples(frame)
    monkeypatch.setattr(validation, "_one_array", lambda X: None)
    assert not isinstance(check_input(forest, frame, reset=False).table, np.ndarray)
    np.testing.assert_array_equal(forest.score_samples(frame), scores)
    fitted_on_columns = IsolationForest(n_estimators=30, random_state=index).fit(frame)
    np.testing.assert_array_equal(fitted_on_columns.score_samples(frame), scores)


@pytest.mark.parametrize("dtype", ["bool", "uint64", "float16"])
@pytest.mark.parametrize("other", ["float64", "int64", "uint8"])
def test_frames_with_booleans_uint64_or_float16_are_never_copied_to_one_array(dtype, other):
    """Columns of frames with booleans are rounded one by one, and scikit-learn converts uint64 and float16."""
    r = np.random.default_rng(0)
    frame = pd.DataFrame({"a": column(r, other), "b": column(r, dtype)})
    assert validation._one_array(frame) is None


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_names_are_checked_in_every_type_of_frame(make):
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
    # A forest that was fitted on one type of frame scores the others if the names are the same.
    for other_make in (pd.DataFrame, pl.DataFrame, pa.table):
        np.testing.assert_array_equal(forest.predict(other_make(columns)), forest.predict(make(columns)))


@pytest.mark.parametrize("make", [pl.DataFrame, pa.table])
def test_frames_that_cannot_be_fitted_raise_scikit_learns_exception(make):
    for columns in ({"a": ["x", "y"]}, {"a": [[1.0], [2.0]]}, {}, {"a": np.array([])}):
        expected = refusal(SklearnForest(), make(columns))
        assert expected is not None
        assert refusal(IsolationForest(), make(columns)) == expected


def test_memory_maps_are_read_in_place(tmp_path, seed):
    X = np.random.default_rng(seed).normal(size=(200, 3))
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    forest = IsolationForest(random_state=seed)
    assert check_input(forest, mapped, reset=True).table is mapped
    np.testing.assert_array_equal(forest.fit(mapped).score_samples(mapped), forest.fit(X).score_samples(X))
