"""Percentile ranks against scipy itself, bit for bit."""
# ruff: noqa: PD011 (`values` belongs to FeatureRanks here, not to pandas)

import pickle
import subprocess
import sys

import hypothesis
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from conftest import SEED
from isoxide import _rank
from isoxide._rank import percentileofscore, rank_features

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


@seeded
@settings
@hypothesis.given(
    a=arrays(st.tuples(st.integers(0, 40))),
    score=arrays(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6)),
    kind=st.sampled_from([*KINDS, "median"]),
    nan_policy=st.sampled_from([*POLICIES, "skip"]),
)
def test_any_input_gives_what_scipy_gives(a, score, kind, nan_policy):
    assert_same(a, score, kind=kind, nan_policy=nan_policy)


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


def test_scipys_own_tests_pass(tmp_path):
    # In a process of its own: scipy's tests need scipy's markers and options.
    script = (
        "import pytest, scipy.stats, isoxide._rank as rank\n"
        "scipy.stats.percentileofscore = rank.percentileofscore\n"
        "tests = 'scipy.stats.tests.test_stats::TestPercentileOfScore'\n"
        "raise SystemExit(pytest.main(['--pyargs', tests, '-q', '-p', 'no:cacheprovider']))\n"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (run.returncode, " passed" in run.stdout) == (0, True), run.stdout + run.stderr


def reference_frame(rng, n=400):
    """Columns as an analyst has them, and a text column that is none."""
    return pd.DataFrame(
        {
            "actor": rng.choice(["ann", "bob"], n),
            "logins": rng.poisson(0.5, n),
            "bytes": rng.lognormal(size=n),
            "share": rng.random(n).astype(np.float32),
            "flag": rng.random(n) < 0.1,
            "small": rng.integers(-5, 5, n).astype(np.int8),
            "seen": rng.integers(0, 2**63, n, dtype=np.uint64) + np.uint64(2**62),
            "logins_zscore": rng.standard_normal(n).round(1),
        },
        index=[f"day {i}" for i in range(n)],
    )


def by_scipy(rows, reference, **kwargs):
    columns = [scipy.stats.percentileofscore(reference[name], rows[name], **kwargs) for name in rows.columns]
    return np.column_stack(columns)


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


def test_nullable_and_sparse_columns():
    plain = pd.DataFrame({"n": [1, 2, np.nan, 2], "x": [0.5, np.nan, 1, 2]})
    reference = plain.astype({"n": "Int64", "x": "Float64"})
    ranks = rank_features(reference, reference, nan_policy="omit")
    np.testing.assert_array_equal(ranks.percentiles, by_scipy(plain, plain, nan_policy="omit"), strict=True)
    full = reference.fillna(2)
    np.testing.assert_array_equal(rank_features(full, full).percentiles, by_scipy(plain.fillna(2), plain.fillna(2)))
    assert rank_features(full[["n"]], full[["n"]]).values.dtype == np.int64
    flags = pd.DataFrame(
        {"f": pd.array([True, None, False], dtype="boolean"), "s": pd.array([0.0, 0.0, 1.0], "Sparse")}
    )
    found = rank_features(flags, flags, nan_policy="omit").percentiles
    np.testing.assert_array_equal(found, [[100, 50], [np.nan, 50], [50, 100]])
    lossy = pd.DataFrame({"n": pd.array([2**53 + 1, None], dtype="Int64")})
    with pytest.raises(ValueError, match=r"column 'n' of rows has missing values and integers beyond 2\*\*53"):
        rank_features(lossy, lossy)


def test_columns_are_matched_by_name_or_by_position(seed):
    rng = np.random.default_rng(seed)
    reference = pd.DataFrame(rng.standard_normal((50, 3)), columns=list("abc"))
    rows = reference.loc[:4, ["c", "a", "b"]]
    ranks = rank_features(rows, reference)
    assert ranks.features == ["c", "a", "b"]
    np.testing.assert_array_equal(ranks.percentiles, by_scipy(rows, reference))
    bare = rank_features(rows.to_numpy(), reference)
    assert bare.features == ["a", "b", "c"]
    np.testing.assert_array_equal(bare.percentiles, by_scipy(rows.set_axis(list("abc"), axis=1), reference))
    assert rank_features(rows, reference.to_numpy()).features == ["c", "a", "b"]
    numbered = pd.DataFrame(rows.to_numpy())
    assert rank_features(numbered, numbered, features=["x2", "x0"]).features == ["x2", "x0"]
    np.testing.assert_array_equal(
        rank_features(rows, reference, features=["b", "c"]).percentiles, by_scipy(rows[["b", "c"]], reference)
    )


def test_refusals_of_tables():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [1, 2]})
    with pytest.raises(ValueError, match=r"rows must be a 2-D array or a frame, got 1 dimension"):
        rank_features(frame["a"], frame)
    with pytest.raises(ValueError, match=r"reference must be a 2-D array or a frame, got 3 dimension"):
        rank_features(frame, np.zeros((1, 1, 1)))
    with pytest.raises(ValueError, match=r"not in rows: \['a'\], not in reference: \['c'\]"):
        rank_features(frame.rename(columns={"a": "c"}), frame)
    with pytest.raises(ValueError, match="rows has 1 columns and reference has 2; "):
        rank_features([[1.0]], frame)
    with pytest.raises(ValueError, match=r"features not in rows: \['c'\]"):
        rank_features(frame, frame.assign(c=1), features=["a", "c"])
    with pytest.raises(ValueError, match=r"features not in reference: \['c'\]"):
        rank_features(frame.assign(c=1), frame, features=["a", "c"])
    with pytest.raises(ValueError, match=r"features must differ, but these occur more than once: \['a'\]"):
        rank_features(frame, frame, features=["a", "a"])
    with pytest.raises(ValueError, match="features must be a list of names, got the string 'ab'"):
        rank_features(frame, frame, features="ab")
    twice = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(ValueError, match=r"the column names of rows must differ, .*: \['a'\]"):
        rank_features(twice, frame)
    with pytest.raises(TypeError, match="the column names of reference must be all strings or none of them"):
        rank_features(frame, pd.DataFrame([[1, 2]], columns=["a", 1]))
    with pytest.raises(ValueError, match="kind can only be"):
        rank_features(frame[:0], frame, kind="median")
    with pytest.raises(ValueError, match="nan_policy must be one of"):
        rank_features(frame[:0], frame, nan_policy="skip")


@pytest.mark.parametrize(
    "column",
    [
        ["x", "y"], pd.to_datetime(["2020", "2021"]), pd.Categorical([1, 2]), np.array([1, 2], dtype=object),
        pd.to_timedelta([1, 2]), np.array([1j, 2]), pd.to_datetime(["2020", "2021"], utc=True),
    ],
)  # fmt: skip
def test_columns_that_are_no_numbers_are_refused_by_name(column):
    frame = pd.DataFrame({"a": [1.0, 2.0], "odd": column})
    with pytest.raises(TypeError, match=r"column 'odd' of rows has dtype .*list the numeric columns .* features="):
        rank_features(frame, frame)
    assert rank_features(frame, frame, features=["a"]).features == ["a"]
    with pytest.raises(TypeError, match="column 'x0' of rows has dtype <U1"):
        rank_features([["a"]], [["b"]])


def test_empty_tables():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [1, 2]})
    none = rank_features(frame[:0], frame)
    assert none.percentiles.shape == none.values.shape == none.order.shape == (0, 2)
    assert (len(none), none.to_records(), len(none.to_frame())) == (0, [], 0)
    assert np.isnan(rank_features(frame, frame[:0]).percentiles).all()
    assert rank_features(frame, frame, features=[]).percentiles.shape == (2, 0)
    assert rank_features(np.empty((3, 0)), np.empty((5, 0))).order.shape == (3, 0)
    np.testing.assert_array_equal(none.cutoff_table([50])[["mean", "min"]], [[np.nan, 0]])
    assert none.feature_counts(50).empty


def notebook_records(rows, reference, features, last):
    records = []
    for _, row in rows.iterrows():
        ranks = [(name, scipy.stats.percentileofscore(reference[name], row[name]), row[name]) for name in features]
        ranks = sorted(ranks, key=lambda item: item[1], reverse=True)
        records.append(sorted(ranks, key=lambda item: last in item[0]))
    return records


@pytest.mark.parametrize(
    "columns", ["all", ["logins", "flag"], ["bytes", "logins_zscore"], ["logins", "bytes"], ["share"]], ids=str
)
def test_records_equal_the_loop_of_the_notebook(columns, seed):
    rng = np.random.default_rng(seed)
    reference = reference_frame(rng).drop(columns="seen")
    rows = reference.sample(15, random_state=seed)
    if columns != "all":
        rows = rows[columns]
    features = [name for name in rows.columns if name != "actor"]
    found = rank_features(rows, reference, features=features, last="*zscore*").to_records()
    expected = notebook_records(rows, reference, features, "zscore")
    assert found == expected
    types = [[tuple(type(item) for item in record) for record in row] for row in found]
    assert types == [[tuple(type(item) for item in record) for record in row] for row in expected]


@pytest.fixture
def ranks():
    reference = pd.DataFrame({"z": [1.0, 2, 3, 4], "a": [1, 2, 3, 4], "b": [4, 3, 2, 1], "n": [1, 2, np.nan, 4]})
    rows = pd.DataFrame({"z": [4.0, 1], "a": [4, 2], "b": [4, 0], "n": [1.0, 1]}, index=["mon", "tue"])
    return rank_features(rows, reference, last="z")


def test_order(ranks):
    np.testing.assert_array_equal(ranks.percentiles, [[100, 100, 100, np.nan], [25, 50, 0, np.nan]])
    # Ties in the order of the columns, then what comes last, then NaN.
    np.testing.assert_array_equal(ranks.order, [[1, 2, 0, 3], [1, 2, 0, 3]])
    assert ranks.order.dtype == np.intp
    chosen = rank_features([[1.0, 5.0]], [[1.0, 0.0]], last=lambda name: name == "x0")
    np.testing.assert_array_equal(chosen.order, [[1, 0]])
    np.testing.assert_array_equal(rank_features([[np.nan, 1.0]], [[1.0, 0.0]], last="x1").order, [[1, 0]])


def test_array_protocol(ranks):
    assert np.asarray(ranks) is ranks.percentiles
    copy = np.array(ranks)
    assert copy is not ranks.percentiles
    assert copy.flags.writeable
    assert np.asarray(ranks, dtype=np.float32).dtype == np.float32
    with pytest.raises(ValueError, match="copy"):
        np.array(ranks, dtype=np.float32, copy=False)
    assert len(ranks) == 2


def test_ranks_do_not_change(ranks):
    for array in (ranks.percentiles, ranks.values, ranks.order):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1
    with pytest.raises(AttributeError):
        ranks.percentiles = None
    again = pickle.loads(pickle.dumps(ranks))
    np.testing.assert_array_equal(again.order, ranks.order)


def test_values_are_copied_to_their_common_type():
    rows = np.array([[1.0, 2.0]])
    ranks = rank_features(rows, rows)
    rows[:] = 0
    assert ranks.to_records() == [[("x0", 100.0, 1.0), ("x1", 100.0, 2.0)]]
    frame = pd.DataFrame({"i": [1, 2], "b": [True, False], "f": [0.5, 1]})
    assert rank_features(frame[["i", "b"]], frame[["i", "b"]]).values.dtype == np.int64
    assert rank_features(frame, frame).values.dtype == np.float64


def test_tidy_frame(ranks):
    expected = pd.DataFrame(
        {
            "row": ["mon"] * 4 + ["tue"] * 4,
            "position": [0, 1, 2, 3] * 2,
            "feature": ["a", "b", "z", "n"] * 2,
            "percentile": [100, 100, 100, np.nan, 50, 0, 25, np.nan],
            "value": [4.0, 4, 4, 1, 2, 0, 1, 1],
        }
    )
    pd.testing.assert_frame_equal(ranks.to_frame(), expected, check_exact=True)
    assert rank_features([[1.0]], [[1.0]]).to_frame()["row"].tolist() == [0]
    levels = pd.DataFrame({"a": [1.0]}, index=pd.MultiIndex.from_tuples([("ann", 1)]))
    assert rank_features(levels, levels).to_frame()["row"].tolist() == [("ann", 1)]


def test_cutoff_table(ranks):
    expected = pd.DataFrame({"cutoff": [25.0, 50.0, 100.0], "mean": [2.5, 2.0, 1.5], "min": [2, 1, 0]})
    pd.testing.assert_frame_equal(ranks.cutoff_table([25, 50, 100]), expected, check_exact=True)
    assert ranks.cutoff_table([]).shape == (0, 3)


def test_feature_counts(ranks):
    index = pd.Index(["a", "z", "b"], name="feature", dtype=str)
    pd.testing.assert_series_equal(ranks.feature_counts(50), pd.Series([2, 1, 1], index=index, name="count"))
    index = pd.Index(["a", "n", "z", "b"], name="feature", dtype=str)
    pd.testing.assert_series_equal(
        ranks.feature_counts(50, always=["n", "b"]), pd.Series([2, 2, 1, 1], index=index, name="count")
    )
    with pytest.raises(ValueError, match=r"always names unknown features: \['q'\]"):
        ranks.feature_counts(50, always=["q"])
    with pytest.raises(ValueError, match="always must be a list of names, got the string 'n'"):
        ranks.feature_counts(50, always="n")


def test_tables_without_pandas_say_what_to_install(ranks, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    for call in (ranks.to_frame, lambda: ranks.cutoff_table([99]), lambda: ranks.feature_counts(99)):
        with pytest.raises(ImportError, match=r'pip install "isoxide\[notebook\]"'):
            call()


def test_columns_of_frames_are_borrowed(seed):
    frame = pd.DataFrame(np.random.default_rng(seed).standard_normal((10, 3)), columns=list("abc"))
    column = _rank._native(_rank._read_table(frame, "rows").column(1, "b"))
    assert np.shares_memory(column, frame["b"].to_numpy(copy=False))
