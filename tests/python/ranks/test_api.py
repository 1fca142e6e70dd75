"""Percentile ranks against scipy itself, bit for bit."""

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

#: A run is repeated by its seed, not from a store of examples.
seeded = hypothesis.seed(SEED)
settings = hypothesis.settings(max_examples=400, deadline=None, database=None)


def outcome(function, *args, **kwargs):
    """What a call gives: its result, or the class and the text of its refusal."""
    try:
        return function(*args, **kwargs)
    except Exception as error:
        # The set in one message has no fixed order, and objects may be asked `a < b` or `b > a`.
        return type(error), "" if "instances of" in str(error) else str(error).split("{")[0]


def assert_same(*args, **kwargs):
    # SciPy compares complex NaN with everything before it masks them, and NumPy warns.
    with np.errstate(invalid="ignore"):
        expected = outcome(scipy.stats.percentileofscore, *args, **kwargs)
    found = outcome(percentileofscore, *args, **kwargs)
    if isinstance(expected, tuple):
        assert found == expected
        return
    assert type(found) is type(expected)
    np.testing.assert_array_equal(found, expected, strict=True)


def elements(dtype):
    """Few values, often tied, and the odd ones of the type."""
    dtype = np.dtype(dtype)
    few = st.integers(0 if dtype.kind in "ub" else -3, 1 if dtype.kind == "b" else 3)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        edges = {info.min, info.max, info.max - 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**63 + 1}
        return few | st.sampled_from(sorted(edge for edge in edges if info.min <= edge <= info.max))
    if dtype.kind == "f":
        odd = st.sampled_from([np.nan, np.inf, -np.inf, -0.0, 0.1, 1.0 / 3.0])
        return few | odd | st.floats(width=min(dtype.itemsize * 8, 64))
    if dtype.kind == "c":
        return few | st.complex_numbers() | st.sampled_from([complex(1, np.nan), complex(np.nan, 1)])
    if dtype.kind == "O":
        return few | st.sampled_from([0.5, 2**70, None, "a", float("nan"), np.float64("nan")])
    return few


def arrays(shape):
    """Arrays of any type and layout; all kinds of NaN are kept rare enough to meet arrays without them."""

    @st.composite
    def draw(draw):
        dtype = draw(st.sampled_from(DTYPES))
        pool = elements(dtype)
        if draw(st.booleans()):
            pool = pool.filter(lambda item: isinstance(item, str) or item is None or item == item)
        # By way of objects, so that float16 or longdouble take what a float64 can say.
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
def test_any_input_has_the_result_of_scipy(a, score, kind, nan_policy):
    assert_same(a, score, kind=kind, nan_policy=nan_policy)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("score_dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_every_pair_of_types(dtype, score_dtype, kind, seed):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 100, 200).astype(dtype)
    score = np.append(rng.integers(0, 100, 30), 1).astype(score_dtype)
    assert_same(a, score, kind=kind)


def test_every_unit_of_time_and_every_string_is_compared_by_numpy():
    days = np.array(["2020-01-01", "2020-01-02", "NaT"], dtype="M8[D]")
    assert_same(days, days.astype("M8[h]"))
    assert_same(days, np.datetime64("2020-01-02"), kind="weak")
    assert_same(["a", "b"], ["b", "c"], kind="mean")
    odd = [(["a", "b"], 1), (days, [1]), (np.zeros(2, dtype="i4,f8"), 1), ([1], np.array([], dtype=str)), ([1], None)]
    for a, score in odd:
        assert_same(a, score)


def test_integers_beyond_double_precision():
    a = np.array([2**53, 2**53 + 1, 2**53 + 2])
    for score in (a, a.astype(np.float64), a.astype(np.uint64), [2**63 - 1], [2**63], [2**64 - 1], [2**70]):
        for kind in KINDS:
            assert_same(a, score, kind=kind)
            assert_same(a.astype(np.uint64), score, kind=kind)
            assert_same(np.append(a.astype(np.uint64), 2**64 - 1), score, kind=kind)
    assert percentileofscore(a, 2**53 + 1, kind="strict") == 100 / 3


def test_scipy_looks_at_the_kind_only_when_it_counts():
    for a in ([], [1.0], [np.nan, 1.0], [np.nan]):
        for nan_policy in POLICIES:
            for score in (1.0, [], [np.nan]):
                assert_same(a, score, kind="median", nan_policy=nan_policy)
    with pytest.raises(ValueError, match="kind can only be 'rank', 'strict', 'weak' or 'mean'"):
        percentileofscore([1], 1, kind="median")


def test_refusals_of_scipy():
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


def test_unaligned_fields_and_frames():
    record = np.zeros(50, dtype=[("flag", "i1"), ("x", "f8"), ("n", "i8")])
    record["x"] = np.arange(50)
    record["n"] = -np.arange(50)
    assert_same(record["x"], record["x"][::7])
    assert_same(record["n"], record["n"][::7])
    assert_same(pd.Series([1, 2, 2, 5]), pd.Series([2.0, 3.0]))
    assert_same(np.broadcast_to(2.0, 5), [1.0, 2.0])


@pytest.mark.parametrize("n", [1023, 1024, 1025, 33_000, 70_001])
def test_long_references(n, seed):
    rng = np.random.default_rng(seed)
    for a in (rng.standard_normal(n), rng.poisson(0.2, n), rng.standard_normal(n).astype(np.float32)):
        score = np.concatenate([rng.choice(a, 30), rng.standard_normal(5)])
        for kind in KINDS:
            assert_same(a, score, kind=kind)
            assert_same(a, score[-6:-4], kind=kind)


@pytest.mark.slow
@pytest.mark.thread_unsafe(reason="a process of its own: four of them say no more than one")
def test_scipys_own_tests_pass(tmp_path):
    # In a process of its own: scipy's tests need scipy's markers and options.
    script = (
        "import pytest, scipy.stats, isoxide._ranks.api as rank\n"
        "scipy.stats.percentileofscore = rank.percentileofscore\n"
        "tests = 'scipy.stats.tests.test_stats::TestPercentileOfScore'\n"
        "raise SystemExit(pytest.main(['--pyargs', tests, '-q', '-p', 'no:cacheprovider']))\n"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (run.returncode, " passed" in run.stdout) == (0, True), run.stdout + run.stderr


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_jobs", [1, 2, None])
def test_frames_of_several_types(kind, n_jobs, seed):
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
def test_arrays_of_every_type_and_layout(dtype, layout, seed):
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
def test_missing_values_by_policy(nan_policy, seed):
    rng = np.random.default_rng(seed)
    reference = pd.DataFrame(rng.integers(0, 9, (200, 4)).astype(float), columns=list("abcd"))
    rows = reference[:9].copy()
    reference.loc[::3, "b"] = np.nan
    reference["c"] = np.nan
    rows.loc[2, ["a", "b"]] = np.nan
    ranks = rank_features(rows, reference, nan_policy=nan_policy)
    np.testing.assert_array_equal(ranks.percentiles, by_scipy(rows, reference, nan_policy=nan_policy), strict=True)


def test_missing_values_are_refused_by_name():
    clean = pd.DataFrame({"a": [1.0, 2.0], "b": [3, 4]})
    holed = pd.DataFrame({"a": [1.0, np.nan], "b": [3, 4]})
    with pytest.raises(ValueError, match="The input contains nan values: column 'a' of reference"):
        rank_features(clean, holed, nan_policy="raise")
    with pytest.raises(ValueError, match="The input contains nan values: column 'a' of rows"):
        rank_features(holed, clean, nan_policy="raise")
    np.testing.assert_array_equal(rank_features(clean, clean, nan_policy="raise").percentiles, [[50, 50], [100, 100]])
    assert np.isnan(rank_features(clean, clean[:0], nan_policy="raise").percentiles).all()


def test_integers_meet_integers_as_integers():
    big = np.array([[2**53], [2**53 + 1], [2**53 + 2]])
    strict = rank_features(big, big, kind="strict").percentiles[:, 0]
    np.testing.assert_array_equal(strict, scipy.stats.percentileofscore(big[:, 0], big[:, 0], kind="strict"))
    mixed = rank_features(big, big.astype(float), kind="strict").percentiles[:, 0]
    np.testing.assert_array_equal(mixed, scipy.stats.percentileofscore(big[:, 0] * 1.0, big[:, 0], kind="strict"))
