"""Ranks from below and from both sides against scipy's of the mirrored values, bit for bit."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from isoxide import RankReference, rank_features
from isoxide.mergeable import RankCounts
from rank_tables import DTYPES, KINDS, TAILS, odd_values

pytestmark = pytest.mark.parity


def mirrored(reference, values):
    """Both with their signs changed; integers, of which not all types have negatives, by their place from the top."""
    if "f" in {reference.dtype.kind, values.dtype.kind}:
        return [-(x if x.dtype.kind == "f" else x.astype(np.float64)) for x in (reference, values)]
    descending = sorted({*reference.tolist(), *values.tolist()}, reverse=True)
    places = {value: place for place, value in enumerate(descending)}
    return [np.array([places[value] for value in x.tolist()]) for x in (reference, values)]


def by_scipy(reference, values, kind, tail, nan_policy):
    """The percentiles and directions of one column."""
    upper = scipy.stats.percentileofscore(reference, values, kind=kind, nan_policy=nan_policy)
    lower = scipy.stats.percentileofscore(*mirrored(reference, values), kind=kind, nan_policy=nan_policy)
    percentiles = {"upper": upper, "lower": lower, "both": np.maximum(upper, lower)}[tail]
    directions = np.where(np.isnan(upper), 0, np.where(upper >= lower, 1, -1)).astype(np.int8)
    return percentiles, directions


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_pair_of_types(dtype, kind, tail, seed):
    rng = np.random.default_rng(seed)
    reference = odd_values(rng, dtype, 150)
    for row_dtype in DTYPES:
        values = odd_values(rng, row_dtype, 40)
        ranks = rank_features(values[:, None], reference[:, None], kind=kind, tail=tail)
        percentiles, directions = by_scipy(reference, values, kind, tail, "propagate")
        np.testing.assert_array_equal(ranks.percentiles[:, 0], percentiles, strict=True)
        np.testing.assert_array_equal(ranks.directions[:, 0], directions, strict=True)


@pytest.mark.parametrize("nan_policy", ["propagate", "omit"])
@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("kind", KINDS)
def test_missing_values_by_policy(kind, tail, nan_policy, seed):
    rng = np.random.default_rng(seed)
    types = {"a": "f8", "b": "f4", "c": "i8", "d": "u8", "e": "f8", "f": np.longdouble}
    reference = pd.DataFrame({name: odd_values(rng, dtype, 300) for name, dtype in types.items()})
    rows = reference.sample(20, random_state=seed)
    reference.loc[::7, ["b", "f"]] = np.nan
    reference["e"] = np.nan
    rows.iloc[::3, [0, 1, 5]] = np.nan
    ranks = rank_features(rows, reference, kind=kind, tail=tail, nan_policy=nan_policy)
    for j, name in enumerate(types):
        found = ranks.percentiles[:, j], ranks.directions[:, j]
        expected = by_scipy(reference[name].to_numpy(), rows[name].to_numpy(), kind, tail, nan_policy)
        for found_array, expected_array in zip(found, expected, strict=True):
            np.testing.assert_array_equal(found_array, expected_array, strict=True)


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("n_rows", [3, 30, 700])
def test_long_references_on_any_number_of_threads(n_rows, tail, seed):
    # Few queries, some, and more than the kernels count by blocks.
    rng = np.random.default_rng(seed)
    reference = np.column_stack([rng.standard_normal(70_001), rng.poisson(0.3, 70_001)])
    rows = np.vstack([reference[: n_rows - 1], [0.5, 0.5]])
    columns = [by_scipy(reference[:, j], rows[:, j], "rank", tail, "propagate") for j in range(2)]
    for n_jobs in (1, 2, None):
        for layout in (reference, np.asfortranarray(reference)):
            ranks = rank_features(rows, layout, tail=tail, n_jobs=n_jobs)
            np.testing.assert_array_equal(ranks.percentiles, np.column_stack([found for found, _ in columns]))
            np.testing.assert_array_equal(ranks.directions, np.column_stack([found for _, found in columns]))


def test_directions_do_not_depend_on_the_tail_or_the_kind(seed):
    rng = np.random.default_rng(seed)
    reference = rng.integers(0, 9, (80, 5))
    expected = rank_features(reference, reference).directions
    for kind in KINDS:
        for tail in TAILS:
            found = rank_features(reference, reference, kind=kind, tail=tail).directions
            np.testing.assert_array_equal(found, expected, strict=True)
    assert expected.shape == (80, 5)
    assert not expected.flags.writeable


def test_no_rows_and_no_columns():
    none = rank_features(np.empty((0, 2)), np.ones((5, 2)), tail="both")
    assert (none.percentiles.shape, none.directions.shape, none.directions.dtype) == ((0, 2), (0, 2), np.int8)
    assert rank_features(np.ones((2, 0)), np.ones((5, 0)), tail="lower").directions.shape == (2, 0)
    np.testing.assert_array_equal(rank_features([[1.0]], np.empty((0, 1)), tail="both").directions, [[0]])


@pytest.mark.parametrize("tail", ["two", None, ["both"], "Both", ""])
def test_unknown_tails_are_refused(tail):
    calls = (
        lambda: rank_features([[1.0]], [[1.0]], tail=tail),
        lambda: RankReference([[1.0]]).rank_features([[1.0]], tail=tail),
        lambda: RankCounts([[1.0]]).ranks(tail=tail),
    )
    for call in calls:
        with pytest.raises(ValueError, match="tail must be 'upper', 'lower' or 'both', got "):
            call()


def named_first(rows, reference, culprits, tail):
    """The share of rows whose culprit comes first."""
    return np.mean(rank_features(rows, reference, tail=tail).order[:, 0] == culprits)


def test_planted_culprits_are_named_first_whether_high_or_low(seed):
    rng = np.random.default_rng(seed)
    reference = rng.standard_normal((20_000, 12))
    culprits = rng.integers(0, 12, 400)
    rows = rng.standard_normal((400, 12))
    # Half of them unusually low.
    rows[np.arange(400), culprits] = np.repeat([6.0, -6.0], 200)
    assert named_first(rows, reference, culprits, "both") >= 0.95
    assert named_first(rows[:200], reference, culprits[:200], "upper") >= 0.95
    assert named_first(rows[200:], reference, culprits[200:], "lower") >= 0.95
    # From above alone, the low half is missed.
    assert 0.45 <= named_first(rows, reference, culprits, "upper") <= 0.55
    directions = rank_features(rows, reference, tail="both").directions
    np.testing.assert_array_equal(directions[np.arange(400), culprits], np.repeat([1, -1], 200))
