"""Test that `RankReference.rank_features` returns exactly the results of `rank_features`."""

import pickle

import numpy as np
import pandas as pd
import pytest

from isoxide import RankReference, rank_features
from rank_tables import CONTAINERS, DTYPES, KINDS, TAILS, mixed_table, reference_frame, tied_values

pytestmark = pytest.mark.parity


def assert_same(actual, expected):
    assert actual.features == expected.features
    for name in ("percentiles", "directions", "values", "order"):
        np.testing.assert_array_equal(getattr(actual, name), getattr(expected, name), strict=True)
    assert str(actual.to_records()) == str(expected.to_records())
    assert type(actual.to_frame()) is type(expected.to_frame())


@pytest.mark.slow
@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_pair_of_types_gives_the_same_ranks(dtype, kind, tail, seed):
    rng = np.random.default_rng(seed)
    reference = tied_values(rng, dtype, 150)[:, None]
    ranker = RankReference(reference)
    for row_dtype in DTYPES:
        rows = tied_values(rng, row_dtype, 40)[:, None]
        assert_same(
            ranker.rank_features(rows, kind=kind, tail=tail), rank_features(rows, reference, kind=kind, tail=tail)
        )


@pytest.mark.parametrize("nan_policy", ["propagate", "omit"])
@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_gives_the_same_ranks(container, nan_policy, seed):
    rng = np.random.default_rng(seed)
    table = mixed_table(rng, 120, columns=12)
    rows = table[:30].select(rng.permutation(table.column_names).tolist())
    make = CONTAINERS[container]
    ranker = RankReference(make(table))
    for make_rows in (make, CONTAINERS["pandas"]):
        actual = ranker.rank_features(make_rows(rows), tail="both", nan_policy=nan_policy, rank_last="c1*")
        expected = rank_features(make_rows(rows), make(table), tail="both", nan_policy=nan_policy, rank_last="c1*")
        assert_same(actual, expected)


@pytest.mark.parametrize("n_rows", [1, 2, 3, 16, 17, 300])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_columns_sorted_in_one_call_are_stored_as_columns_sorted_alone(dtype, n_rows, seed):
    rng = np.random.default_rng(seed)
    table = np.column_stack([tied_values(rng, dtype, n_rows) for _ in range(7)])
    # One column has no equal values, others have few or many.
    table[:, 0] = rng.permutation(n_rows)
    table[:, 1:4] = table[rng.integers(max(1, n_rows // 3), size=n_rows), 1:4]
    if table.dtype.kind == "f":
        table[rng.random(n_rows) < 0.2, 2:5] = np.nan
    for order in "CF":
        together = RankReference(np.array(table, order=order))
        alone = [RankReference(table[:, [j]]) for j in range(table.shape[1])]
        assert together.nbytes == sum(reference.nbytes for reference in alone)
        for j, reference in enumerate(alone):
            for actual, expected in zip(together._columns[j], reference._columns[0], strict=True):
                np.testing.assert_array_equal(actual, expected, strict=True)


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("nan_policy", ["propagate", "omit"])
def test_missing_values_follow_the_policy(share, nan_policy, seed):
    rng = np.random.default_rng(seed)
    for values in (rng.standard_normal((500, 2)), rng.poisson(0.5, (500, 2)).astype(float)):
        for dtype in (np.float64, np.float32, np.longdouble):
            reference = values.astype(dtype)
            reference[rng.random(500) < share, 0] = np.nan
            for rows in (reference[:50], values[:50].astype(int)):
                actual = RankReference(reference).rank_features(rows, nan_policy=nan_policy)
                assert_same(actual, rank_features(rows, reference, nan_policy=nan_policy))


@pytest.mark.parametrize("distinct", [3, 100, 10_000, 70_000])
def test_long_references_give_the_same_ranks_on_any_number_of_threads(distinct, seed):
    # The reference has few distinct values, many, or almost only distinct ones.
    rng = np.random.default_rng(seed)
    for values in (rng.integers(0, distinct, (70_000, 4)), rng.integers(0, distinct, (70_000, 4)) / 7):
        rows = np.vstack([values[:300], values[:1] + 0.5, values.max(axis=0) + 1, values.min(axis=0) - 1])
        expected = rank_features(rows, values, tail="both")
        for n_jobs in (1, 2, None):
            ranker = RankReference(values, n_jobs=n_jobs)
            assert_same(ranker.rank_features(rows, tail="both", n_jobs=n_jobs), expected)
        assert ranker.nbytes <= values.nbytes
        if distinct <= 100:
            assert ranker.nbytes <= 4 * distinct * 16


def test_columns_are_matched_by_name_or_position(seed):
    rng = np.random.default_rng(seed)
    frame = reference_frame(rng)
    features = ["share", "seen", "flag", "logins"]
    rows = frame.sample(9, random_state=seed)
    ranker = RankReference(frame, features=iter(features))
    assert repr(ranker) == "RankReference(400 rows, 4 columns)"
    assert ranker.n_samples == 400
    assert_same(ranker.rank_features(rows), rank_features(rows, frame, features=features))
    assert_same(ranker.rank_features(rows[features[::-1]]), rank_features(rows, frame, features=features))
    # Columns are matched by position unless both tables have names.
    array = frame[features].to_numpy(dtype=float)
    by_position = RankReference(array, features=["flag"]).rank_features(rows[features])
    assert_same(by_position, rank_features(rows[features], array, features=["flag"]))
    assert_same(RankReference(array).rank_features(array[:3]), rank_features(array[:3], array))


def test_messages_equal_those_of_rank_features(seed):
    frame = pd.DataFrame({"a": [1.0, np.nan], "b": [1, 2], "text": ["x", "y"]})
    numbers = frame[["a", "b"]]
    calls = [
        (numbers, numbers, {"kind": "median"}),
        (numbers, numbers, {"tail": "two"}),
        (numbers, numbers, {"nan_policy": "skip"}),
        (numbers, numbers, {"nan_policy": "raise"}),
        (numbers[:1], numbers, {"nan_policy": "raise"}),
        (numbers[["a"]], numbers, {}),
        (frame, numbers, {}),
        (np.ones((2, 3)), numbers, {}),
        (np.ones(2), numbers, {}),
    ]
    for rows, reference, options in calls:
        with pytest.raises(ValueError) as expected:  # noqa: PT011 (the text is compared)
            rank_features(rows, reference, **options)
        ranker = RankReference(reference)
        with pytest.raises(ValueError) as actual:  # noqa: PT011
            ranker.rank_features(rows, **options)
        assert str(actual.value) == str(expected.value)
    assert RankReference(numbers).rank_features(numbers[:0], nan_policy="raise").percentiles.shape == (0, 2)
    with pytest.raises(TypeError, match="column 'text' of reference has dtype"):
        RankReference(frame)
    with pytest.raises(ValueError, match=r"features not in reference: \['c'\]"):
        RankReference(frame, features=["a", "c"])
    with pytest.raises(ValueError, match="features must differ"):
        RankReference(frame, features=["a", "a"])


def test_empty_tables_give_the_same_ranks():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [1, 2]})
    for rows, reference in [(frame[:0], frame), (frame, frame[:0]), (frame[[]], frame[[]])]:
        assert_same(RankReference(reference).rank_features(rows), rank_features(rows, reference))


def test_a_reference_can_be_pickled(seed):
    rng = np.random.default_rng(seed)
    table = mixed_table(rng, 200)
    ranker = RankReference(table)
    copied = pickle.loads(pickle.dumps(ranker))
    assert repr(copied) == repr(ranker)
    assert_same(copied.rank_features(table[:20], tail="both"), ranker.rank_features(table[:20], tail="both"))


def test_the_reference_is_copied():
    values = np.arange(20.0)[:, None]
    ranker = RankReference(values)
    values[:] = 0
    assert ranker.rank_features([[9.0]]).percentiles.tolist() == [[50.0]]
