"""Test that every call reads arrays of any dtype, byte order and layout like a contiguous copy, or refuses them."""

import ctypes
import decimal
import pickle
import warnings

import hypothesis
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
import scipy.stats
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided
from sklearn.ensemble import IsolationForest as SklearnForest

from isoxide import IsolationForest, RankReference, _core, percentileofscore, rank_features
from isoxide._forest.path_length import average_path_length
from isoxide._forest.sklearn_interop import native_parts
from isoxide.mergeable import RankCounts, SampleRows, ScoreSketch, sample_plan
from parity import assert_same_forest, assert_same_scores, fit_both
from seeds import SEED

pytestmark = [
    pytest.mark.parity,
    pytest.mark.current_versions(reason="scikit-learn 1.6 treats missing values and weights differently"),
]

#: Integers of 128 bits, as far as the installed polars has them.
WIDE_INTEGERS = [getattr(pl, name) for name in ("Int128", "UInt128") if hasattr(pl, name)]
DTYPES = ["f2", "f4", "f8", "g", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]
CORE_DTYPES = ["f4", "f8", "i8"]


def packed(x, before=1, after=0):
    """Return the values as a field of packed records, so that most cells are not aligned."""
    records = np.zeros(
        x.shape,
        dtype={"names": ["v"], "formats": [x.dtype], "offsets": [before], "itemsize": before + x.itemsize + after},
    )
    records["v"] = x
    return records["v"]


def shifted(x):
    """Return the values as a contiguous array that begins at an odd address."""
    buffer = np.zeros(x.nbytes + 1, dtype=np.uint8)
    view = buffer[1:].view(x.dtype).reshape(x.shape)
    view[...] = x
    return view


class Array(np.ndarray):
    """A subclass of arrays."""


def read_only(x):
    x.flags.writeable = False
    return x


#: Functions that change the layout of an array. All but `broadcast` and `overlapping` keep its values.
LAYOUTS = {
    "contiguous": lambda x: x,
    "packed records": packed,
    "records of three more bytes": lambda x: packed(x, 0, 3),
    "odd address": shifted,
    "odd address, Fortran": lambda x: shifted(x.T).T,
    "reversed": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "reversed packed records": lambda x: packed(np.ascontiguousarray(x[::-1, ::-1]))[::-1, ::-1],
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
    "transposed packed records": lambda x: packed(np.ascontiguousarray(x.T)).T,
    "every second of packed records": lambda x: packed(np.repeat(np.repeat(x, 2, 0), 3, 1))[::2, ::3],
    "broadcast": lambda x: np.broadcast_to(packed(x)[:1], x.shape),
    "broadcast columns": lambda x: np.broadcast_to(shifted(x)[:, :1], x.shape),
    "overlapping": lambda x: as_strided(shifted(x.ravel()), x.shape, (x.itemsize, x.itemsize), writeable=False),
    "read-only packed records": lambda x: read_only(packed(x)),
    "subclass of packed records": lambda x: packed(x).view(Array),
}


def values(r, n, d, dtype):
    numbers = r.normal(size=(n, d)) * 100
    if np.dtype(dtype).kind in "iu":
        numbers = np.abs(numbers).astype(np.int64) if np.dtype(dtype).kind == "u" else numbers.astype(np.int64)
    with np.errstate(all="ignore"):
        return numbers.astype(dtype)


def assert_same_calls(X):
    """Assert that every call of a forest on `X` gives the result of scikit-learn on a contiguous copy."""
    copy = np.array(X, order="C", subok=False)
    weights = packed(np.linspace(0.5, 1, len(X)))
    theirs = SklearnForest(n_estimators=4, random_state=0, contamination=0.1).fit(copy)
    ours = IsolationForest(n_estimators=4, random_state=0, contamination=0.1).fit(X)
    assert_same_forest(ours, theirs)
    for method in ("score_samples", "decision_function", "predict"):
        expected = getattr(theirs, method)(copy)
        np.testing.assert_array_equal(getattr(ours, method)(X), expected)
        np.testing.assert_array_equal(getattr(ours, method)(copy), expected)
        np.testing.assert_array_equal(getattr(ours, method)(X[:1]), expected[:1])
    assert ours.contamination_at(X, 0.0) == np.mean(theirs.decision_function(copy) <= 0)
    assert ours.recalibrate(X, contamination=0.3).offset_ == ours.recalibrate(copy, contamination=0.3).offset_
    weighted, extended = [], []
    for cls, table in ((IsolationForest, X), (SklearnForest, copy)):
        weighted.append(cls(n_estimators=2, random_state=0, bootstrap=True).fit(table, packed(copy[:, 0]), weights))
        forest = cls(n_estimators=2, random_state=0, warm_start=True).fit(table)
        extended.append(forest.set_params(n_estimators=5).fit(table))
    assert_same_forest(*weighted)
    assert_same_forest(*extended)
    plan = sample_plan(len(X), X.shape[1], random_state=0, n_estimators=4, max_samples=7)
    rows = np.ascontiguousarray(plan.rows)
    expected = IsolationForest(n_estimators=4, random_state=0, max_samples=7).fit(copy).score_samples(copy)
    drawn = packed(copy[rows])
    np.testing.assert_array_equal(plan.grow(drawn).score_samples(copy), expected)
    sample = SampleRows(shifted(rows), X.shape[1])
    sample.add(0, X)
    np.testing.assert_array_equal(plan.grow(sample.X).score_samples(copy), expected)


@pytest.mark.slow
@pytest.mark.parametrize("order", ["=", ">"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_forests_on_every_layout_equal_those_on_a_copy(layout, dtype, order, seed):
    r = np.random.default_rng(seed)
    X = LAYOUTS[layout](values(r, 40, 3, np.dtype(dtype).newbyteorder(order)))
    with np.errstate(all="ignore"):
        assert_same_calls(X)


def assert_same_ranks(rows, reference):
    """Assert that every call that ranks gives scipy's percentiles of contiguous copies."""
    copied_rows, copied_reference = (np.array(x, order="C", subok=False) for x in (rows, reference))
    expected = np.column_stack(
        [
            scipy.stats.percentileofscore(column.astype(column.dtype.newbyteorder("=")), values)
            for column, values in zip(copied_reference.T, copied_rows.T, strict=True)
        ]
    )
    np.testing.assert_array_equal(rank_features(rows, reference).percentiles, expected)
    sorted_reference = RankReference(reference)
    for ranker in (sorted_reference, pickle.loads(pickle.dumps(sorted_reference))):
        np.testing.assert_array_equal(ranker.rank_features(rows).percentiles, expected)
    np.testing.assert_array_equal(percentileofscore(reference[:, 0], rows[:, 0]), expected[:, 0])
    if rows.dtype.itemsize <= 8:
        counts = RankCounts(rows)
        counts.add(reference[: len(reference) // 2])
        counts.add(reference[len(reference) // 2 :])
        np.testing.assert_array_equal(counts.ranks().percentiles, expected)


@pytest.mark.parametrize("order", ["=", ">"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_ranks_on_every_layout_equal_those_on_a_copy(layout, dtype, order, seed):
    r = np.random.default_rng(seed)
    dtype = np.dtype(dtype).newbyteorder(order)
    assert_same_ranks(LAYOUTS[layout](values(r, 9, 2, dtype)), LAYOUTS[layout](values(r, 30, 2, dtype)))


@hypothesis.seed(SEED)
@hypothesis.settings(max_examples=60, deadline=None, database=None)
@hypothesis.given(
    case=st.integers(0, 2**32 - 1),
    dtypes=st.tuples(st.sampled_from(CORE_DTYPES), st.sampled_from(CORE_DTYPES)),
    order=st.sampled_from("CF"),
    n_rows=st.integers(0, 5),
    steps=st.lists(st.sampled_from([1, 2, 3, -1, -2, 0]), min_size=1, max_size=6),
)
def test_columns_that_are_views_of_one_array_are_read_like_copies(case, dtypes, order, n_rows, steps):
    r = np.random.default_rng(case)
    owners = [np.array(values(r, 30, 4, dtype), order=order) for dtype in dtypes]
    owners.append(owners[0].ravel(order="K")[:60])
    columns = []
    for step in steps:
        owner = owners[r.integers(len(owners))]
        column = owner if owner.ndim == 1 else owner[:, r.integers(4)]
        column = column[r.integers(3) :: step][:n_rows] if step else np.broadcast_to(column[:1], (n_rows,))
        columns.append(column if len(column) == n_rows else np.zeros(n_rows))
    copies = [column.copy() for column in columns]
    options = {"kind": "rank", "tail": "two", "omit_nan": False, "n_workers": 1}
    for ranks, expected in zip(
        _core.percentile_ranks(columns, columns, **options),
        _core.percentile_ranks(copies, copies, **options),
        strict=True,
    ):
        np.testing.assert_array_equal(ranks, expected)


@pytest.mark.slow
@hypothesis.seed(SEED)
@hypothesis.settings(max_examples=150, deadline=None, database=None)
@hypothesis.given(
    case=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(DTYPES),
    order=st.sampled_from("<>"),
    shape=st.tuples(st.integers(1, 60), st.integers(1, 4)),
    offset=st.integers(0, 19),
    gaps=st.tuples(st.integers(0, 19), st.integers(0, 19)),
    signs=st.tuples(st.sampled_from([1, -1, 0]), st.sampled_from([1, -1, 0])),
    is_transposed=st.booleans(),
)
def test_arrays_of_any_strides_are_read_like_a_copy(case, dtype, order, shape, offset, gaps, signs, is_transposed):
    dtype = np.dtype(dtype).newbyteorder(order)
    n, d = shape[::-1] if is_transposed else shape
    row_step = dtype.itemsize + gaps[1]
    steps = (row_step * d + gaps[0], row_step)
    source = values(np.random.default_rng(case), n, d, dtype)
    buffer = np.zeros(offset + n * steps[0], dtype=np.uint8)
    field = np.ndarray((n, d), dtype, buffer, offset, steps)
    field[...] = source
    starts = [size - 1 if sign < 0 else 0 for size, sign in zip((n, d), signs, strict=True)]
    start = offset + sum(i * step for i, step in zip(starts, steps, strict=True))
    strides = tuple(sign * step for sign, step in zip(signs, steps, strict=True))
    X = np.ndarray((n, d), dtype, buffer, start, strides)
    X = X.T if is_transposed else X
    with np.errstate(all="ignore"):
        theirs = SklearnForest(n_estimators=3, random_state=case).fit(X.copy())
        ours = IsolationForest(n_estimators=3, random_state=case).fit(X)
        assert_same_forest(ours, theirs)
        np.testing.assert_array_equal(ours.score_samples(X), theirs.score_samples(X.copy()))
    assert_same_ranks(X[: len(X) // 2 + 1], X)
    # The core reads the same values, or refuses an array that it cannot read in place.
    try:
        sums = ours._fitted.native.depth_sums(X, 1)
    except (TypeError, ValueError):
        is_core_dtype = dtype.isnative and dtype.str[1:] in CORE_DTYPES
        steps_are_cells = all(step % dtype.itemsize == 0 for step, n in zip(X.strides, X.shape, strict=True) if n > 1)
        assert not (is_core_dtype and steps_are_cells and X.flags.aligned)
    else:
        np.testing.assert_array_equal(sums, ours._fitted.native.depth_sums(X.copy(), 1))


def test_memory_maps_of_packed_records_are_read_like_a_copy(tmp_path):
    records = np.zeros(50, dtype=[("k", "u1"), ("v", "f4"), ("w", "f8")])
    records["v"], records["w"] = np.random.default_rng(0).normal(size=(2, 50))
    records.tofile(tmp_path / "records")
    for mode in ("r", "c"):
        mapped = np.memmap(tmp_path / "records", dtype=records.dtype, mode=mode)
        for name in ("v", "w"):
            X = mapped[name].reshape(-1, 1)
            assert not X.flags.aligned
            assert_same_calls(X)
            assert_same_ranks(X[:5], X)


@pytest.mark.parametrize("dtype", CORE_DTYPES)
@pytest.mark.parametrize("layout", ["packed records", "odd address", "reversed packed records", "broadcast"])
def test_frames_with_unusual_layouts_are_read_like_a_copy(layout, dtype, seed):
    X = LAYOUTS[layout](values(np.random.default_rng(seed), 60, 3, dtype))
    frames = [
        pd.DataFrame(X, columns=["a", "b", "c"], copy=False),
        pd.DataFrame({"a": X[:, 0], "b": X[:, 1]}, copy=False).assign(c=X[:, 2] > 0),
        pa.table({"a": pa.Array.from_buffers(pa.from_numpy_dtype(np.dtype(dtype)), 59, unaligned_buffers(X[:, 0]))}),
    ]
    for frame in frames:
        ours, theirs = fit_both(frame, n_estimators=4)
        assert_same_scores(ours, theirs, frame)
        ranks = rank_features(frame, frame)
        copy = frame.copy() if isinstance(frame, pd.DataFrame) else pa.table({"a": frame["a"].to_pylist()})
        np.testing.assert_array_equal(ranks.percentiles, rank_features(copy, copy).percentiles)


def unaligned_buffers(column):
    """Return the buffers of an Arrow array that begins at an odd address, as arrays in IPC messages may."""
    data = b"\0" + np.ascontiguousarray(column).tobytes()
    return [None, pa.py_buffer(data).slice(1)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_and_scores_of_any_layout_are_read(dtype, seed):
    X = np.random.default_rng(seed).normal(size=(50, 2))
    weights = np.random.default_rng(seed).random(50).astype(dtype)
    for view in (packed(weights), shifted(weights), np.repeat(weights, 2)[::2], weights[::-1].copy()[::-1]):
        # Both get the same array, since the layout decides in which order NumPy adds the weights up.
        ours, theirs = (
            cls(n_estimators=4, random_state=0).fit(X, None, view) for cls in (IsolationForest, SklearnForest)
        )
        assert_same_forest(ours, theirs)
        assert_same_forest(IsolationForest.from_bytes(ours.to_bytes()), theirs)
    scores = ours.score_samples(X)
    for view in (packed(scores), shifted(scores), scores[::-1], scores.astype(">f8")):
        sketch = ScoreSketch(50, 0.2)
        sketch.add(view)
        assert sketch.offset() == np.percentile(scores, 20)


@pytest.mark.parametrize("index_dtype", [np.int32, np.int64])
@pytest.mark.parametrize(
    "change_layout", [packed, shifted, lambda x: np.repeat(x, 2)[::2], lambda x: x.astype(">" + x.dtype.str[1:])]
)
def test_sparse_matrices_are_read_from_arrays_of_any_layout(change_layout, index_dtype):
    X = scipy.sparse.random(60, 5, density=0.4, format="csr", random_state=0, dtype=np.float32)
    X.indices, X.indptr = X.indices.astype(index_dtype), X.indptr.astype(index_dtype)
    theirs = SklearnForest(n_estimators=4, random_state=0).fit(X)
    for names in (["data"], ["indices"], ["indptr"], ["data", "indices", "indptr"]):
        changed = X.copy()
        for name in names:
            setattr(changed, name, change_layout(getattr(X, name)))
        ours = IsolationForest(n_estimators=4, random_state=0).fit(changed)
        assert_same_forest(ours, theirs)
        np.testing.assert_array_equal(ours.score_samples(changed), theirs.score_samples(X))


def test_from_sklearn_reads_arrays_that_are_not_aligned():
    X = np.random.default_rng(0).normal(size=(50, 3))
    theirs = SklearnForest(n_estimators=4, random_state=0, max_features=2).fit(X)
    theirs.estimators_features_ = [packed(features) for features in theirs.estimators_features_]
    np.testing.assert_array_equal(IsolationForest.from_sklearn(theirs).score_samples(X), theirs.score_samples(X))


# The core's own checks: it reads arrays in place, or refuses them

X = np.random.default_rng(0).normal(size=(20, 3))
GROW = {"max_samples": 20, "max_features": 3, "bootstrap": False, "n_workers": 1}
LENGTHS = average_path_length(np.arange(21))
NOISE, SEEDS = np.zeros(20), np.ones(2, dtype=np.uint32)
ROWS, DEPTHS = np.arange(20), np.array([5, 5])
FOREST = _core.Forest.grow(X, NOISE, SEEDS, average_path_lengths=LENGTHS, **GROW)
RANK = {"kind": "rank", "tail": "upper", "omit_nan": False, "n_workers": 1}


def grow(x=X, noise=NOISE, seeds=SEEDS, lengths=LENGTHS, weights=None):
    return _core.Forest.grow(x, noise, seeds, average_path_lengths=lengths, weights=weights, **GROW)


def grow_on_rows(x=X, rows=ROWS, noise=NOISE, seeds=SEEDS, lengths=LENGTHS):
    return _core.Forest.grow_on_drawn_rows(x, rows, noise, seeds, n_samples=20, average_path_lengths=lengths, **GROW)


def sample(seeds=SEEDS, weights=None):
    return _core.sample_rows(seeds, n_samples=20, n_features=3, weights=weights, **{**GROW, "max_samples": 5})


#: Calls that take a table.
TABLE_CALLS = {
    "grow": grow,
    "grow_on_drawn_rows": grow_on_rows,
    "depth_sums": lambda x: FOREST.depth_sums(x, 1),
    "reference": lambda x: _core.percentile_ranks(x, X, **RANK),
    "rows": lambda x: _core.percentile_ranks(X, x, **RANK),
    "sorted rows": lambda x: _core.sorted_ranks([(np.sort(c), None, 0) for c in X.T], x, **RANK),
    "counts": lambda x: _core.RankCounts(x),
    "partition": lambda x: _core.RankCounts(X).add(x, 1),
}
#: Calls that take a contiguous 1-D array, and an array that they accept.
CONTIGUOUS_CALLS = {
    "noise": (lambda a: grow(noise=a), NOISE),
    "seeds": (lambda a: grow(seeds=a), SEEDS),
    "lengths": (lambda a: grow(lengths=a), LENGTHS),
    "weights": (lambda a: grow(weights=a), np.full(20, 0.05)),
    "drawn rows": (lambda a: grow_on_rows(rows=a), ROWS),
    "noise of drawn rows": (lambda a: grow_on_rows(noise=a), NOISE),
    "seeds of drawn rows": (lambda a: grow_on_rows(seeds=a), SEEDS),
    "lengths of drawn rows": (lambda a: grow_on_rows(lengths=a), LENGTHS),
    "seeds of samples": (lambda a: sample(seeds=a), SEEDS),
    "weights of samples": (lambda a: sample(weights=a), np.full(20, 0.05)),
    "tree seeds": (lambda a: FOREST.to_bytes("{}", a, DEPTHS, None, False), ROWS[:2]),
    "tree depths": (lambda a: FOREST.to_bytes("{}", ROWS[:2], a, None, False), DEPTHS),
    "stored weights": (lambda a: FOREST.to_bytes("{}", ROWS[:2], DEPTHS, a, False), np.ones(20)),
}


def unreadable(x):
    """Yield arrays that cannot be read in place, with the class and the message of the exception."""
    yield packed(x), ValueError, "not aligned"
    yield shifted(x), ValueError, "not aligned"
    yield packed(x, 0, x.itemsize // 2), ValueError, "not aligned"
    yield x.astype(x.dtype.newbyteorder(">")), TypeError, "got .*>"
    yield x.astype(np.complex128), TypeError, "complex128"
    yield x.astype(object), TypeError, "object"
    yield x.astype(np.int16), TypeError, "int16"
    yield x[None, None], TypeError, r"[34]-D array"
    yield "x", TypeError, "str"


def with_steps_of_half_cells(x):
    """Return a view with strides of one and a half cells, which NumPy calls aligned on some machines."""
    return as_strided(x, x.shape, tuple(stride * 3 // 2 for stride in x.strides), writeable=False)


@pytest.mark.parametrize("call", TABLE_CALLS.values(), ids=TABLE_CALLS.keys())
@pytest.mark.parametrize("dtype", CORE_DTYPES)
def test_the_core_refuses_tables_that_it_cannot_read_in_place(call, dtype):
    x = (X * 100).astype(dtype)
    call(x)
    call(list(x.T))
    call(tuple(x.T))
    for bad, error, message in unreadable(x):
        with pytest.raises(error, match=message):
            call(bad)
    for bad, error, message in unreadable(np.ascontiguousarray(x[:, 1])):
        for sequence in (list, tuple):
            with pytest.raises(error, match=message):
                call(sequence([x[:, 0], bad, x[:, 2]]))
    with pytest.raises(ValueError, match="not aligned"):
        call(with_steps_of_half_cells(np.zeros((40, 6), dtype=dtype))[:20, :3])


@pytest.mark.parametrize(("call", "good"), CONTIGUOUS_CALLS.values(), ids=CONTIGUOUS_CALLS.keys())
def test_the_core_refuses_arrays_that_it_cannot_read_in_place(call, good):
    call(good)
    call(read_only(good.copy()))
    for bad, error, message in unreadable(good):
        with pytest.raises(error, match=message):
            call(bad)
    for bad in (np.repeat(good, 2)[::2], good[::-1], np.broadcast_to(good[:1], good.shape)):
        with pytest.raises(ValueError, match="do not lie side by side"):
            call(bad)


def test_the_core_refuses_parts_of_a_forest_that_it_cannot_read_in_place():
    parts = native_parts(IsolationForest(n_estimators=3, random_state=0).fit(X).to_sklearn())
    expected = _core.Forest.from_parts(*parts).depth_sums(X, 1)
    # All parts but the first are arrays or tuples of arrays.
    array_indices = [
        (i, j) for i, part in enumerate(parts) if i for j in (range(len(part)) if isinstance(part, tuple) else [None])
    ]
    assert len(array_indices) == 12
    for i, j in array_indices:
        good = parts[i] if j is None else parts[i][j]

        def rebuilt(array, i=i, j=j):
            part = array if j is None else (*parts[i][:j], array, *parts[i][j + 1 :])
            return _core.Forest.from_parts(*parts[:i], part, *parts[i + 1 :])

        np.testing.assert_array_equal(rebuilt(good.copy()).depth_sums(X, 1), expected)
        for bad, error, message in unreadable(good):
            if good.itemsize == 1 and (error is ValueError or ">" in message):
                # Single bytes are always aligned, and have no byte order.
                continue
            with pytest.raises(error, match=message):
                rebuilt(bad)
        with pytest.raises(ValueError, match="do not lie side by side"):
            rebuilt(np.repeat(good, 2)[::2])


def test_sorted_columns_and_scores_that_the_core_refuses():
    column, ends = np.sort(X[:, 0]), np.arange(1, 21)
    rank = lambda values, ends: _core.sorted_ranks([(values, ends, 0)], [column], **RANK)  # noqa: E731
    expected = rank(column, None)
    for result in (rank(column, ends), rank(column, np.repeat(ends, 2)[::2]), rank(np.repeat(column, 3)[::3], ends)):
        np.testing.assert_array_equal(result[0], expected[0])
    for bad, error, message in unreadable(column):
        with pytest.raises(error, match=message):
            rank(bad, ends)
        with pytest.raises(error, match=message):
            _core.Sketch(-9.0, 9.0, capacity=9).add(bad)
    for bad, error, message in unreadable(ends):
        with pytest.raises(error, match=message):
            rank(column, bad)


@pytest.mark.parametrize("name", ["data", "indices", "indptr"])
def test_the_core_refuses_sparse_arrays_that_it_cannot_read_in_place(name):
    matrix = scipy.sparse.csr_matrix(X)
    FOREST.depth_sums(matrix, 1)
    good = getattr(matrix, name)
    strided = (np.repeat(good, 2)[::2], ValueError, "do not lie side by side")
    for bad, error, message in [*unreadable(good), strided, (good[:0].copy(), ValueError, "sparse")]:
        matrix = UncheckedCsr(scipy.sparse.csr_matrix(X))
        setattr(matrix, name, bad)
        with pytest.raises(error, match=message):
            FOREST.depth_sums(matrix, 1)
        with pytest.raises(error, match=message):
            grow(matrix)


class UncheckedCsr:
    """Stand-in for a CSR matrix whose attributes can be set to any value."""

    format = "csr"

    def __init__(self, matrix):
        self.data, self.indices, self.indptr, self.shape = matrix.data, matrix.indices, matrix.indptr, matrix.shape


@pytest.mark.parametrize("layout", ["csc", "bsr"])
def test_the_core_refuses_other_sparse_formats(layout):
    """The attributes alone do not tell: a CSC matrix has those of a CSR matrix, its transpose."""
    matrix = scipy.sparse.csr_matrix(np.arange(9.0).reshape(3, 3)).asformat(layout)
    with pytest.raises(TypeError, match=f"must be in the format csr, got {layout}"):
        FOREST.depth_sums(matrix, 1)


@pytest.mark.parametrize("dtype", CORE_DTYPES)
def test_layouts_without_effect_are_accepted(dtype):
    """The address of an array without cells is never used, nor the stride of a dimension of length one."""
    for shape in ((0, 3), (3, 0), (0, 0)):
        empty = shifted(np.empty(shape, dtype=dtype))
        strided = np.ndarray(shape, dtype, np.zeros(64, np.uint8), 3, (-7, 5))
        for x in (empty, strided):
            expected = _core.percentile_ranks(x.copy(), x.copy(), **RANK)
            np.testing.assert_array_equal(_core.percentile_ranks(x, x, **RANK), expected)
    row = (X[:1] * 100).astype(dtype)
    strided = as_strided(row, (1, 3), (5, row.itemsize), writeable=False)
    np.testing.assert_array_equal(FOREST.depth_sums(strided, 1), FOREST.depth_sums(row, 1))
    column = (X[:, :1] * 100).astype(dtype)
    strided = as_strided(column, (20, 1), (column.itemsize, -3), writeable=False)
    np.testing.assert_array_equal(
        _core.percentile_ranks(strided, strided, **RANK)[0], _core.percentile_ranks(column, column, **RANK)[0]
    )


def fitted_or_error(cls, frame):
    """Return a fitted forest, or the type and message of the exception."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return cls(n_estimators=5, random_state=0).fit(frame)
        except Exception as error:
            return type(error), str(error)


def assert_same_fit(X):
    """Assert that our forest equals scikit-learn's on `X`, or raises the same exception."""
    ours, theirs = fitted_or_error(IsolationForest, X), fitted_or_error(SklearnForest, X)
    if isinstance(theirs, tuple):
        assert ours == theirs
    else:
        assert_same_forest(ours, theirs)
        assert_same_scores(ours, theirs, X)


# Objects and decimals


def addresses(cells):
    return np.frombuffer(cells, dtype=np.uintp)


class LyingFloat(float):
    """A float that converts to another value than its own."""

    def __float__(self):
        return 99.0


class Money(decimal.Decimal):
    """A subclass of decimals."""


DECIMALS = ["0.1", "-0", "1E+3", "1e-400", "Infinity", "NaN", "-NaN", "9" * 60, "123456789.123456789"]
#: Objects that the core converts, and objects that it leaves to NumPy.
CONVERTED_CELLS = [
    1.5, -0.0, np.nan, np.inf, 1e300, 1e-46, 3, 0, -7, 2**24 + 1, (1 << 60) + (1 << 36) + 1, 2**63, -(2**70), 10**300,
    True, False, None, np.float64(0.1), *map(decimal.Decimal, DECIMALS),
]  # fmt: skip
OTHER_CELLS = [
    np.float32(0.1), np.int64(2**60), np.uint8(3), np.bool_(True), np.longdouble(0.1), "1.5", b"2", "x", 10**400, 1j,
    LyingFloat(1.5), Money("1.5"), decimal.Decimal("sNaN"), decimal.Decimal("NaN12"), pd.NA, pd.Timestamp(0), [1.0],
    object(),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "is_converted"),
    [*((c, True) for c in CONVERTED_CELLS), *((c, False) for c in OTHER_CELLS)],
    ids=lambda value: repr(value).partition(" at 0x")[0],
)
def test_each_object_is_read_as_numpy_reads_it(cell, is_converted):
    cells = np.empty(3, dtype=object)
    cells[:] = [1.0, 2.0, 3.0]
    cells[1] = cell
    converted = _core.float32_of_objects(cells, addresses(cells))
    if is_converted:
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(converted, cells.astype(np.float32))
    else:
        assert converted is None
    table = np.stack([cells, cells]).T
    frame = pd.DataFrame({"a": cells, "b": [1, 2, 3]})
    for X in (table, np.asfortranarray(table), table[::-1], frame, pd.DataFrame(table, columns=["a", "b"])):
        assert_same_fit(X)


def test_the_core_refuses_arrays_of_other_objects():
    cells = X[:, 0].astype(object)
    with pytest.raises(ValueError, match="do not lie side by side"):
        _core.float32_of_objects(cells[::2], addresses(cells[:10]))
    for pointers in (addresses(cells).copy(), addresses(cells)[:-1], addresses(cells)[1:]):
        with pytest.raises(ValueError, match="addresses must be the memory"):
            _core.float32_of_objects(cells, pointers)
    with pytest.raises(TypeError, match="array of object"):
        _core.float32_of_objects(X[:, 0].copy(), addresses(cells))
    with pytest.raises(TypeError, match="1-D array of object"):
        _core.float32_of_objects(cells.reshape(4, 5), addresses(cells))


def test_null_pointers_among_objects_are_left_to_numpy():
    """They occur in memory that was never written, and NumPy reads them as None."""
    cells = X[:, 0].astype(object).copy()
    cell = cells[4]
    pointers = (ctypes.c_void_p * len(cells)).from_address(cells.ctypes.data)
    pointers[4], address = None, pointers[4]
    try:
        assert _core.float32_of_objects(cells, addresses(cells)) is None
    finally:
        pointers[4] = address
    assert cells[4] is cell


@hypothesis.seed(SEED)
@hypothesis.settings(max_examples=300, deadline=None, database=None)
@pytest.mark.slow
@hypothesis.given(
    numbers=st.lists(st.integers(-(10**38) + 1, 10**38 - 1) | st.integers(-(2**54), 2**54), min_size=1, max_size=20),
    scale=st.integers(-5, 38),
)
def test_decimals_equal_those_of_python(numbers, scale):
    exact = decimal.Context(prec=100)
    expected = [float(decimal.Decimal(number).scaleb(-scale, exact)) for number in numbers]
    halves = np.array([[(n & (2**64 - 1)) - (2**64 if n >> 63 & 1 else 0), n >> 64] for n in numbers], dtype=np.int64)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(_core.float32_of_decimals(halves, scale), np.array(expected).astype(np.float32))


def test_the_core_refuses_other_arrays_of_decimals():
    halves = np.zeros((3, 2), dtype=np.int64)
    for bad in (np.asfortranarray(halves), np.zeros((3, 3), np.int64), halves[::-1]):
        with pytest.raises(ValueError, match="two columns"):
            _core.float32_of_decimals(bad, 2)
    for bad, error in ((packed(halves), ValueError), (halves.astype(">i8"), TypeError), (halves.ravel(), TypeError)):
        with pytest.raises(error):
            _core.float32_of_decimals(bad, 2)


# Frames of every column type

N = 40


def cells(r, name):
    """Return a column of 40 cells; large integers round differently if they are converted to float64 first."""
    large = (1 << 60) + (1 << 36) * r.integers(0, 5, N) + r.integers(0, 3, N)
    floats, is_missing = r.normal(size=N), r.random(N) < 0.2
    small = r.integers(0, 9, N)
    hundredths = [decimal.Decimal(int(v)).scaleb(-2) for v in r.integers(-(10**9), 10**9, N)]
    long_decimals = [decimal.Decimal(int(v) * 10**12 + 7).scaleb(-9) for v in r.integers(-(2**62), 2**62, N)]

    def with_missing(values):
        return [None if missing else value for missing, value in zip(is_missing, values, strict=True)]

    match name:
        case "float64" | "float32" | "float16":
            return floats.astype(name)
        case "int64" | "uint64":
            return large.astype(name)
        case "int8" | "uint8" | "int16" | "uint32" | "int32":
            return small.astype(name)
        case "bool":
            return floats > 0
        case "decimal":
            return hundredths
        case "decimal missing":
            return with_missing(hundredths)
        case "long decimal":
            return long_decimals
        case "int64 missing":
            return with_missing(large.tolist())
        case "float64 missing":
            return with_missing(floats.tolist())
        case "bool missing":
            return with_missing((floats > 0).tolist())
    raise AssertionError(name)


COLUMN_TYPES = [
    "float64", "float32", "float16", "int64", "uint64", "int8", "uint8", "int16", "int32", "uint32", "bool", "decimal",
    "decimal missing", "long decimal", "int64 missing", "float64 missing", "bool missing",
]  # fmt: skip


def arrow_column(values):
    if isinstance(values, np.ndarray):
        return pa.array(values)
    dtype = pa.decimal128(38, 9) if any(isinstance(v, decimal.Decimal) for v in values) else None
    return pa.array(values, dtype)


def pandas_column(r, values):
    """Return the column with one of pandas' dtypes, drawn at random."""
    match int(r.integers(5)):
        case 0 if isinstance(values, np.ndarray):
            return values
        case 1:
            return pd.Series(values, dtype=object)
        case 2 | 0:
            return pd.array(arrow_column(values), dtype=pd.ArrowDtype(arrow_column(values).type))
        case _:
            series = pd.Series(values)
            return series.convert_dtypes() if series.dtype != np.float16 else series


def polars_column(values):
    return pl.Series(values) if isinstance(values, np.ndarray) else pl.from_arrow(arrow_column(values))


@pytest.mark.slow
@pytest.mark.parametrize("index", range(60))
@pytest.mark.parametrize("container", ["pandas", "polars", "pyarrow"])
def test_random_frames_of_every_column_type_are_read_as_by_scikit_learn(container, index, seed):
    r = np.random.default_rng([seed, index])
    candidates = r.permutation(COLUMN_TYPES)[: r.integers(1, len(COLUMN_TYPES))]
    column_types = r.choice(candidates, r.integers(1, 5))
    columns = {f"c{j}": cells(r, column_type) for j, column_type in enumerate(column_types)}
    match container:
        case "pandas":
            frame = pd.DataFrame({name: pandas_column(r, values) for name, values in columns.items()})
        case "polars":
            frame = pl.DataFrame({name: polars_column(values) for name, values in columns.items()})
            if r.random() < 0.2:
                frame = pl.concat([frame[:15], frame[15:]], rechunk=False)
            if r.random() < 0.2:
                frame = frame[3:30]
        case _:
            frame = pa.table({name: arrow_column(values) for name, values in columns.items()})
            frame = [frame, pa.concat_tables([frame.slice(0, 13), frame.slice(13)]), frame.slice(5, 30)][r.integers(3)]
    assert_same_fit(frame)


@pytest.mark.parametrize("dtype", WIDE_INTEGERS)
@pytest.mark.parametrize(
    "others",
    [[], ["float64"], ["float32"], ["int64"], ["bool"], ["decimal"], ["float64", "int64", "bool missing"]],
    ids=str,
)
@pytest.mark.parametrize("has_missing", [False, True])
def test_integers_of_128_bits_are_read_as_by_scikit_learn(dtype, others, has_missing):
    r = np.random.default_rng(0)
    values = [int(v) * 2**40 + 1 for v in r.integers(0, 2**62, N)]
    if has_missing:
        values[3] = None
    columns = {name: polars_column(cells(r, name)) for name in others}
    assert_same_fit(pl.DataFrame({"wide": pl.Series(values, dtype=dtype), **columns}))


#: Functions that make tables which scikit-learn would convert slowly: this takes 4 to 250 times as long as scoring.
SLOW_TO_CONVERT = {
    "objects": lambda: pd.DataFrame(X, columns=list("abc")).astype(object),
    "an object column": lambda: pd.DataFrame(X, columns=list("abc")).astype({"b": object}),
    "decimals": lambda: pd.DataFrame({"a": pd.Series([decimal.Decimal("1.5")] * 20), "b": 1}),
    "nullable": lambda: pd.DataFrame(X, columns=list("abc")).convert_dtypes().mask(X > 1),
    "Boolean": lambda: pd.DataFrame({"a": pd.array([True, None] * 10, dtype="boolean")}),
    "Arrow in pandas": lambda: pd.DataFrame(X, columns=list("abc")).convert_dtypes(dtype_backend="pyarrow").mask(X > 1),
    "Arrow": lambda: pa.table({"a": [True, None] * 10, "b": pa.array([decimal.Decimal("1.5"), None] * 10)}),
    "polars": lambda: pl.DataFrame({"a": [True, None] * 9, "b": [decimal.Decimal(1), None] * 9, "c": [1, None] * 9}),
    "array of objects": lambda: X.astype(object),
}  # fmt: skip


@pytest.mark.parametrize("make", SLOW_TO_CONVERT.values(), ids=SLOW_TO_CONVERT.keys())
def test_tables_that_scikit_learn_does_not_convert(make, monkeypatch):
    table = make()
    forest = IsolationForest(n_estimators=2).fit(table)

    def refuse_to_convert(estimator, X, **options):
        assert options.get("skip_check_array"), "scikit-learn was asked to convert"

    monkeypatch.setattr("isoxide._frames.validation.validate_data", refuse_to_convert)
    forest.score_samples(table)
