"""Test that percentile ranks equal scipy's bit for bit."""

import subprocess
import sys

import hypothesis
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from isoxide._ranks.api import percentileofscore, rank_features
from rank_tables import by_scipy, reference_frame
from seeds import SEED

pytestmark = pytest.mark.parity

KINDS = ["rank", "weak", "strict", "mean"]
POLICIES = ["propagate", "omit", "raise"]
DTYPES = [
    np.float64, np.float32, np.float16, np.longdouble, ">f8", np.int64, np.int32, np.int8, ">i4", np.uint8, np.uint32,
    np.uint64, np.bool_, np.complex128, object,
]  # fmt: skip

#: The seed repeats a run, so no examples are stored.
seeded = hypothesis.seed(SEED)
settings = hypothesis.settings(max_examples=400, deadline=None, database=None)


def outcome(function, *args, **kwargs):
    """Return the result of a call, or the class and message of its exception."""
    try:
        return function(*args, **kwargs)
    except Exception as error:
        # One message contains a set, in any order, and another one depends on which of two objects is compared first.
        return type(error), "" if "instances of" in str(error) else str(error).split("{")[0]


def assert_same(*args, **kwargs):
    # SciPy compares complex NaN with everything before it masks them, and NumPy warns.
    with np.errstate(invalid="ignore"):
        expected = outcome(scipy.stats.percentileofscore, *args, **kwargs)
    actual = outcome(percentileofscore, *args, **kwargs)
    if isinstance(expected, tuple):
        assert actual == expected
        return
    assert type(actual) is type(expected)
    np.testing.assert_array_equal(actual, expected, strict=True)


def elements(dtype):
    """Return a strategy for a few values, so that many are tied, and for special values of the type."""
    dtype = np.dtype(dtype)
    small = st.integers(0 if dtype.kind in "ub" else -3, 1 if dtype.kind == "b" else 3)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        edges = {info.min, info.max, info.max - 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**63 + 1}
        return small | st.sampled_from(sorted(edge for edge in edges if info.min <= edge <= info.max))
    if dtype.kind == "f":
        special = st.sampled_from([np.nan, np.inf, -np.inf, -0.0, 0.1, 1.0 / 3.0])
        return small | special | st.floats(width=min(dtype.itemsize * 8, 64))
    if dtype.kind == "c":
        return small | st.complex_numbers() | st.sampled_from([complex(1, np.nan), complex(np.nan, 1)])
    if dtype.kind == "O":
        return small | st.sampled_from([0.5, 2**70, None, "a", float("nan"), np.float64("nan")])
    return small


def arrays(shape):
    """Return a strategy for arrays of any type and layout, half of them without NaN."""

    @st.composite
    def draw(draw):
        dtype = draw(st.sampled_from(DTYPES))
        pool = elements(dtype)
        if draw(st.booleans()):
            pool = pool.filter(lambda item: isinstance(item, str) or item is None or item == item)
        # Objects are converted, so that float16 and longdouble get any float64.
        values = draw(hnp.arrays(object, draw(shape), elements=pool, fill=st.nothing()))
        with np.errstate(all="ignore"):
            array = values.astype(dtype)
        layout = draw(st.sampled_from(["as is", "fortran", "strided", "backwards", "read-only", "list"]))
        if layout == "fortran":
            return np.asfortranarray(array)
        if layout == "strided" and array.ndim:
            return np.repeat(array, 2, axis=-1)[..., ::2]
        if layout == "backwards" and array.ndim:
            return array[..., ::-1]
        array.flags.writeable = layout != "read-only"
        return array.tolist() if layout == "list" and array.size else array

    return draw()


@pytest.mark.slow
@seeded
@settings
@hypothesis.given(
    a=arrays(st.tuples(st.integers(0, 40))),
    score=arrays(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6)),
    kind=st.sampled_from([*KINDS, "median"]),
    nan_policy=st.sampled_from([*POLICIES, "skip"]),
)
def test_any_input_gives_the_result_of_scipy(a, score, kind, nan_policy):
    assert_same(a, score, kind=kind, nan_policy=nan_policy)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("score_dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_every_pair_of_types_gives_the_result_of_scipy(dtype, score_dtype, kind, seed):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 100, 200).astype(dtype)
    score = np.append(rng.integers(0, 100, 30), 1).astype(score_dtype)
    assert_same(a, score, kind=kind)


def test_times_and_strings_are_compared_as_by_numpy():
    days = np.array(["2020-01-01", "2020-01-02", "NaT"], dtype="M8[D]")
    assert_same(days, days.astype("M8[h]"))
    assert_same(days, np.datetime64("2020-01-02"), kind="weak")
    assert_same(["a", "b"], ["b", "c"], kind="mean")
    fields, no_text = np.zeros(2, dtype="i4,f8"), np.array([], dtype=str)
    for a, score in [(["a", "b"], 1), (days, [1]), (fields, 1), ([1], no_text), ([1], None)]:
        assert_same(a, score)


def test_integers_beyond_double_precision_are_compared_exactly():
    a = np.array([2**53, 2**53 + 1, 2**53 + 2])
    for score in (a, a.astype(np.float64), a.astype(np.uint64), [2**63 - 1], [2**63], [2**64 - 1], [2**70]):
        for kind in KINDS:
            assert_same(a, score, kind=kind)
            assert_same(a.astype(np.uint64), score, kind=kind)
            assert_same(np.append(a.astype(np.uint64), 2**64 - 1), score, kind=kind)
    assert percentileofscore(a, 2**53 + 1, kind="strict") == 100 / 3


def test_an_unknown_kind_is_refused_only_where_scipy_refuses_it():
    for a in ([], [1.0], [np.nan, 1.0], [np.nan]):
        for nan_policy in POLICIES:
            for score in (1.0, [], [np.nan]):
                assert_same(a, score, kind="median", nan_policy=nan_policy)
    with pytest.raises(ValueError, match="kind can only be 'rank', 'strict', 'weak' or 'mean'"):
        percentileofscore([1], 1, kind="median")


def test_arguments_that_scipy_refuses_are_refused_alike():
    assert_same([[1.0]], 1.0)
    assert_same(1.0, 1.0)
    assert_same([1.0], 1.0, nan_policy="skip")
    assert_same([1.0], 1.0, nan_policy=None)
    assert_same([1.0], 1.0, nan_policy=["omit"])
    assert_same([1.0, np.nan], 1.0, nan_policy="raise")
    assert_same([1.0], [1.0, np.nan], nan_policy="raise")
    assert_same([1.0], [[1.0], [2.0, 3.0]])
    assert_same(np.array([np.nan], dtype=object), np.array(2**70), nan_policy="raise")
    with pytest.raises(ValueError, match=r"nan_policy must be one of \{'"):
        percentileofscore([1], 1, nan_policy="skip")


def test_masked_arrays_are_read_as_their_data():
    masked = np.ma.masked_array([1.0, 2.0, 3.0], [False, True, False])
    assert_same(masked, masked)
    assert_same(masked[:0], masked)


def test_unaligned_fields_series_and_broadcast_arrays_are_read():
    record = np.zeros(50, dtype=[("flag", "i1"), ("x", "f8"), ("n", "i8")])
    record["x"] = np.arange(50)
    record["n"] = -np.arange(50)
    assert_same(record["x"], record["x"][::7])
    assert_same(record["n"], record["n"][::7])
    assert_same(pd.Series([1, 2, 2, 5]), pd.Series([2.0, 3.0]))
    assert_same(np.broadcast_to(2.0, 5), [1.0, 2.0])


@pytest.mark.parametrize("n", [1023, 1024, 1025, 33_000, 70_001])
def test_ranks_in_long_references_equal_scipys(n, seed):
    rng = np.random.default_rng(seed)
    for a in (rng.standard_normal(n), rng.poisson(0.2, n), rng.standard_normal(n).astype(np.float32)):
        score = np.concatenate([rng.choice(a, 30), rng.standard_normal(5)])
        for kind in KINDS:
            assert_same(a, score, kind=kind)
            assert_same(a, score[-6:-4], kind=kind)


@pytest.mark.slow
@pytest.mark.thread_unsafe(reason="it starts a process")
def test_scipys_own_tests_pass(tmp_path):
    # A new process, since scipy's tests need scipy's markers and options.
    script = (
        "import pytest, scipy.stats, isoxide._ranks.api as rank\n"
        "scipy.stats.percentileofscore = rank.percentileofscore\n"
        "tests = 'scipy.stats.tests.test_stats::TestPercentileOfScore'\n"
        "raise SystemExit(pytest.main(['--pyargs', tests, '-q', '-p', 'no:cacheprovider']))\n"
    )
    process = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (process.returncode, " passed" in process.stdout) == (0, True), process.stdout + process.stderr


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_jobs", [1, 2, None])
def test_frames_with_columns_of_several_types_are_ranked(kind, n_jobs, seed):
    rng = np.random.default_rng(seed)
    reference = reference_frame(rng)
    rows = reference.sample(20, random_state=seed)
    features = list(rows.columns.drop("actor"))
    ranks = rank_features(rows, reference, features=features, kind=kind, n_jobs=n_jobs)
    np.testing.assert_array_equal(ranks.percentiles, by_scipy(rows[features], reference, kind=kind), strict=True)
    assert ranks.features == features
    assert repr(ranks) == "FeatureRanks(20 rows, 7 features)"


@pytest.mark.parametrize("dtype", DTYPES[:-2], ids=str)
@pytest.mark.parametrize("layout", ["C", "F", "strided", "list"])
def test_arrays_of_every_type_and_layout_are_ranked(dtype, layout, seed):
    rng = np.random.default_rng(seed)
    reference = (rng.standard_normal((300, 11)) * 20 + 50).astype(dtype)
    rows = reference[:13]
    if layout == "F":
        reference = np.asfortranarray(reference)
    elif layout == "strided":
        reference = np.repeat(np.repeat(reference, 2, axis=0), 3, axis=1)[::2, ::3]
    elif layout == "list" and np.dtype(dtype) != np.longdouble:
        reference, rows = reference.tolist(), rows.tolist()
    ranks = rank_features(rows, reference)
    by_column = zip(np.asarray(rows).T, np.asarray(reference).T, strict=True)
    expected = np.column_stack([scipy.stats.percentileofscore(column, values) for values, column in by_column])
    np.testing.assert_array_equal(ranks.percentiles, expected, strict=True)
    rows = np.asarray(rows)
    np.testing.assert_array_equal(ranks.values, rows.astype(rows.dtype.newbyteorder("=")), strict=True)
    assert ranks.features == [f"x{j}" for j in range(11)]


@pytest.mark.parametrize("nan_policy", ["propagate", "omit"])
def test_missing_values_follow_the_policy(nan_policy, seed):
    rng = np.random.default_rng(seed)
    reference = pd.DataFrame(rng.integers(0, 9, (200, 4)).astype(float), columns=list("abcd"))
    rows = reference[:9].copy()
    reference.loc[::3, "b"] = np.nan
    reference["c"] = np.nan
    rows.loc[2, ["a", "b"]] = np.nan
    ranks = rank_features(rows, reference, nan_policy=nan_policy)
    np.testing.assert_array_equal(ranks.percentiles, by_scipy(rows, reference, nan_policy=nan_policy), strict=True)


def test_missing_values_are_refused_by_name():
    complete = pd.DataFrame({"a": [1.0, 2.0], "b": [3, 4]})
    incomplete = pd.DataFrame({"a": [1.0, np.nan], "b": [3, 4]})
    with pytest.raises(ValueError, match="The input contains nan values: column 'a' of reference"):
        rank_features(complete, incomplete, nan_policy="raise")
    with pytest.raises(ValueError, match="The input contains nan values: column 'a' of rows"):
        rank_features(incomplete, complete, nan_policy="raise")
    np.testing.assert_array_equal(
        rank_features(complete, complete, nan_policy="raise").percentiles, [[50, 50], [100, 100]]
    )
    assert np.isnan(rank_features(complete, complete[:0], nan_policy="raise").percentiles).all()


def test_integers_are_converted_only_if_the_reference_holds_floats():
    big = np.array([[2**53], [2**53 + 1], [2**53 + 2]])
    strict = rank_features(big, big, kind="strict").percentiles[:, 0]
    np.testing.assert_array_equal(strict, scipy.stats.percentileofscore(big[:, 0], big[:, 0], kind="strict"))
    mixed = rank_features(big, big.astype(float), kind="strict").percentiles[:, 0]
    np.testing.assert_array_equal(mixed, scipy.stats.percentileofscore(big[:, 0] * 1.0, big[:, 0], kind="strict"))
