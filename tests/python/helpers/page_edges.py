"""Pass arrays that end or begin at a protected memory page to isoxide: an access beyond them kills the process.

`test_edges.py` runs this file as a program, with the name of a function in `CHECKS` as its argument. The program prints
each step before it takes it, so the last line says where the process died.
"""

import ctypes
import faulthandler
import itertools
import mmap
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import scipy.sparse
from sklearn.base import clone

from isoxide import IsolationForest, RankReference, _core, percentileofscore, rank_features
from isoxide._forest.sklearn_interop import native_parts

PAGE = mmap.PAGESIZE
SIDES = ("after", "before")
#: Distance between neighbouring rows and between neighbouring columns, in cells, for a table of n rows and d columns.
LAYOUTS = {
    "rows": lambda _, d: (d, 1),
    "columns": lambda n, _: (1, n),
    "every second row": lambda _, d: (2 * d, 1),
    "every third cell": lambda _, d: (3 * d, 3),
    "columns apart": lambda n, _: (1, n + 5),
    "backwards": lambda _, d: (-d, -1),
}
TYPES = (np.float64, np.float32, np.int64, np.int32)
#: Numbers of rows to score: around multiples of a block of 512 rows, and few enough that trees are walked row by row.
ROWS = (1, 9, 300, 513, 1025)
COLUMNS = (1, 3, 17, 66)


def memory(n_bytes, side):
    """Return memory that lies between two protected pages; it begins at one ("before") or ends at one ("after")."""
    size = -(-n_bytes // PAGE) * PAGE
    region = mmap.mmap(-1, size + 2 * PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(region))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    for page in (address, address + PAGE + size):
        if protect(ctypes.c_void_p(page), ctypes.c_size_t(PAGE), 0) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")
    start = PAGE if side == "before" else PAGE + size - n_bytes
    return np.frombuffer(region, dtype=np.uint8, count=n_bytes, offset=start)


def at_edge_of_memory(array, side, steps=None):
    """Return a copy of an array at the edge of memory, with strides of `steps` cells and no bytes around it."""
    array = np.asarray(array)
    if steps is None:
        steps = [int(np.prod(array.shape[axis + 1 :])) for axis in range(array.ndim)]
    strides = [step * array.itemsize for step in steps]
    extents = [(n - 1) * stride for n, stride in zip(array.shape, strides, strict=True)]
    n_bytes = sum(map(abs, extents)) + array.itemsize
    start = -sum(extent for extent in extents if extent < 0)
    if not array.size:
        return array
    out = np.ndarray(array.shape, array.dtype, memory(n_bytes, side), start, strides)
    out[...] = array
    return out


def table(rng, n, d, dtype):
    """Return values with ties, and missing ones if the dtype has NaN."""
    values = rng.integers(-40, 40, (n, d)).astype(dtype)
    if values.dtype.kind == "f":
        values += rng.choice([0.0, 0.1, 1e-30], (n, d)).astype(dtype)
        values[rng.random((n, d)) < 0.02] = np.nan
    return values


def arrays(rng, n, d):
    """Yield arrays of each dtype: a name, the array, and its copy at the edge of memory in each layout."""
    for dtype in TYPES:
        x = table(rng, n, d, dtype)
        for layout, side in itertools.product(LAYOUTS, SIDES):
            yield f"{np.dtype(dtype)}, {layout}, {side}", x, at_edge_of_memory(x, side, LAYOUTS[layout](n, d))


def columns(rng, n, d):
    """Yield lists and frames of columns, and the same whose columns each lie at an edge of memory, without a copy."""
    ordinary = [table(rng, n, 1, TYPES[j % 3])[:, 0] for j in range(d)]
    for side in SIDES:
        at_edge = [at_edge_of_memory(column, side) for column in ordinary]
        names = [f"c{j}" for j in range(d)]
        arrow = pa.table(
            {
                name: pa.Array.from_buffers(pa.from_numpy_dtype(c.dtype), n, [None, pa.py_buffer(c)])
                for name, c in zip(names, at_edge, strict=True)
            }
        )
        frame = pd.DataFrame(dict(zip(names, at_edge, strict=True)), copy=False)
        assert all(np.shares_memory(frame[name].to_numpy(), c) for name, c in zip(names, at_edge, strict=True))
        plain = pd.DataFrame(dict(zip(names, ordinary, strict=True)))
        yield f"pandas, {side}", plain, frame
        yield f"pyarrow, {side}", pa.Table.from_pandas(plain, preserve_index=False), arrow
        yield f"polars, {side}", pl.from_pandas(plain, nan_to_null=False), pl.from_arrow(arrow)
        yield f"list, {side}", ordinary, at_edge


def sparse(rng, n, d):
    """Yield a CSR matrix, and the same whose three arrays each lie at an edge of memory."""
    x = scipy.sparse.random_array((n, d), density=0.2, format="csr", dtype=np.float32, rng=rng)
    for index, side in itertools.product((np.int32, np.int64), SIDES):
        at_edge = scipy.sparse.csr_array(x.shape, dtype=np.float32)
        # Set the arrays one by one, since the constructor would convert the indices to another dtype.
        at_edge.data = at_edge_of_memory(x.data, side)
        at_edge.indices, at_edge.indptr = (at_edge_of_memory(a.astype(index), side) for a in (x.indices, x.indptr))
        yield f"{np.dtype(index)}, {side}", x, at_edge


def same(result, expected):
    np.testing.assert_array_equal(result, expected, strict=True)


def say(*values):
    print(*values, flush=True)


def fit_each(n, d, tables, **parameters):
    for name, x, at_edge in tables:
        if isinstance(x, list):
            continue
        say("fit", n, d, parameters, name)
        make = IsolationForest(n_estimators=7, random_state=3, **parameters)
        result = IsolationForest(**make.get_params()).fit(at_edge)
        assert result.to_bytes(complete=True) == make.fit(x).to_bytes(complete=True)


def fit():
    rng = np.random.default_rng(0)
    for n, d in ((1, 3), (9, 1), (300, 17), (513, 3), (1025, 66)):
        for parameters in ({}, {"max_samples": 1.0}, {"max_features": 0.5, "bootstrap": True}):
            fit_each(n, d, arrays(rng, n, d), **parameters)
            fit_each(n, d, columns(rng, n, d), **parameters)
            fit_each(n, d, sparse(rng, n, d), **parameters)


def score():
    rng = np.random.default_rng(1)
    # Trees over all training rows are so large that rare branches are walked row by row.
    for d, max_samples in itertools.product(COLUMNS, (64, 1.0)):
        training = table(rng, 1500, d, np.float64)
        make = IsolationForest(n_estimators=9, max_samples=max_samples, random_state=0)
        named_training = pd.DataFrame(training, columns=[f"c{j}" for j in range(d)])
        named = clone(make).fit(named_training)
        forest = make.fit(training)
        # Score many rows first, so that the forest has its scoring plan when few rows are scored.
        forest.score_samples(training)
        named.score_samples(named_training)
        for n in ROWS:
            for name, x, at_edge in itertools.chain(arrays(rng, n, d), columns(rng, n, d), sparse(rng, n, d)):
                say("score", n, d, max_samples, name)
                if isinstance(x, list) or scipy.sparse.issparse(x):
                    same(forest._fitted.native.depth_sums(at_edge, 1), forest._fitted.native.depth_sums(x, 1))
                else:
                    scorer = forest if isinstance(x, np.ndarray) else named
                    same(scorer.score_samples(at_edge), scorer.score_samples(x))


def from_parts():
    """Build a forest from the arrays of scikit-learn's trees, and grow one from arrays of draws."""
    rng = np.random.default_rng(2)
    x = table(rng, 700, 9, np.float64)
    for parameters in ({}, {"max_samples": 1.0, "max_features": 0.5}):
        model = IsolationForest(n_estimators=7, random_state=0, **parameters).fit(x)
        forest, arrays = model._fitted.native, native_parts(model.to_sklearn())
        for side in SIDES:
            say("from_parts", parameters, side)

            def at_edge(part, side=side):
                if isinstance(part, tuple):
                    return tuple(map(at_edge, part))
                return at_edge_of_memory(part, side) if isinstance(part, np.ndarray) else part

            rebuilt = _core.Forest.from_parts(*map(at_edge, arrays))
            same(rebuilt.depth_sums(x, 1), forest.depth_sums(x, 1))
            lengths = at_edge(forest.average_path_lengths)
            noise, seeds = at_edge(rng.random(700)), at_edge(_core.tree_seeds(0, 0, 7))
            weights = at_edge(np.full(700, 1 / 700))
            kwargs = {"max_samples": 64, "max_features": 3, "bootstrap": False, "n_workers": 1}
            result = _core.Forest.grow(x, noise, seeds, average_path_lengths=lengths, weights=weights, **kwargs)
            kwargs["average_path_lengths"] = lengths.copy()
            expected = _core.Forest.grow(x, noise.copy(), seeds.copy(), weights=weights.copy(), **kwargs)
            same(result.depth_sums(x, 1), expected.depth_sums(x, 1))


def ranks():
    rng = np.random.default_rng(3)
    # A column with more than 511 distinct queries is counted by another algorithm.
    for n, d, n_rows in ((1, 1, 1), (9, 3, 9), (513, 17, 3), (1025, 66, 40), (5001, 3, 700), (5001, 1, 1400)):
        pairs = zip(arrays(rng, n, d), arrays(rng, n_rows, d), strict=True)
        pairs = itertools.chain(pairs, zip(columns(rng, n, d), columns(rng, n_rows, d), strict=True))
        for (name, reference, reference_at_edge), (_, rows, rows_at_edge) in pairs:
            say("rank", n, d, n_rows, name)
            kwargs = {"kind": "rank", "tail": "two", "n_workers": 1, "omit_nan": True}
            if isinstance(reference, list):
                expected = _core.percentile_ranks(reference, rows, **kwargs)
                ranks = _core.percentile_ranks(reference_at_edge, rows_at_edge, **kwargs)
                for result, expected_array in zip(ranks, expected, strict=True):
                    same(result, expected_array)
                continue
            expected = rank_features(rows, reference, nan_policy="omit", n_jobs=1)
            for ranks in (
                rank_features(rows_at_edge, reference_at_edge, nan_policy="omit", n_jobs=1),
                RankReference(reference_at_edge).rank_features(rows_at_edge, nan_policy="omit"),
            ):
                same(ranks.percentiles, expected.percentiles)
                same(ranks.directions, expected.directions)
            if isinstance(reference, np.ndarray):
                result = percentileofscore(reference_at_edge[:, 0], rows_at_edge[:, 0], nan_policy="omit")
                same(result, percentileofscore(reference[:, 0], rows[:, 0], nan_policy="omit"))


def sorted_ranks():
    """Rank rows in sorted columns, which list every value or each distinct value with its cumulative count."""
    rng = np.random.default_rng(4)
    kwargs = {"kind": "mean", "tail": "two", "n_workers": 1, "omit_nan": True}
    for dtype, n, side in itertools.product(TYPES[:3], (1, 9, 513, 1025), SIDES):
        say("sorted_ranks", np.dtype(dtype), n, side)
        values = np.sort(rng.integers(0, n, n).astype(dtype))
        distinct, ends = np.unique(values, return_counts=True)
        ends = np.cumsum(ends)
        rows = rng.integers(-1, n + 1, (30, 1)).astype(dtype)
        expected = _core.percentile_ranks(values[:, None].copy(), rows, **kwargs)
        every_value = [(at_edge_of_memory(values, side), None, 0)]
        distinct_values = [(at_edge_of_memory(distinct, side), at_edge_of_memory(ends, side), 0)]
        for columns in (every_value, distinct_values):
            ranks = _core.sorted_ranks(columns, at_edge_of_memory(rows, side), **kwargs)
            for result, expected_array in zip(ranks, expected, strict=True):
                same(result, expected_array)


CHECKS = {f.__name__: f for f in (fit, score, from_parts, ranks, sorted_ranks)}

if __name__ == "__main__":
    faulthandler.enable()
    say(_core.kernel())
    CHECKS[sys.argv[1]]()
    say("done")
