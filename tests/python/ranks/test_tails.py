"""Test that ranks of the lower tail and of both equal scipy's ranks of the mirrored values, bit for bit."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from isoxide import RankReference, rank_features
from isoxide.mergeable import RankCounts
from rank_tables import DTYPES, KINDS, TAILS, tied_values

pytestmark = pytest.mark.parity


def mirrored(reference, values):
    """Return both in reverse order: floats negated, integers replaced by their positions among all, largest first."""
    if "f" in {reference.dtype.kind, values.dtype.kind}:
        return [-(x if x.dtype.kind == "f" else x.astype(np.float64)) for x in (reference, values)]
    # Unsigned integers cannot be negated.
    descending = sorted({*reference.tolist(), *values.tolist()}, reverse=True)
    positions = {value: position for position, value in enumerate(descending)}
    return [np.array([positions[value] for value in x.tolist()]) for x in (reference, values)]


def by_scipy(reference, values, kind, tail, nan_policy):
    """Return the percentiles and directions of one column."""
    upper = scipy.stats.percentileofscore(reference, values, kind=kind, nan_policy=nan_policy)
    lower = scipy.stats.percentileofscore(*mirrored(reference, values), kind=kind, nan_policy=nan_policy)
    percentiles = {"upper": upper, "lower": lower, "both": np.maximum(upper, lower)}[tail]
    directions = np.where(np.isnan(upper), 0, np.where(upper >= lower, 1, -1)).astype(np.int8)
    return percentiles, directions


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_pair_of_dtypes_gives_scipys_ranks(dtype, kind, tail, seed):
    rng = np.random.default_rng(seed)
    reference = tied_values(rng, dtype, 150)
    for row_dtype in DTYPES:
        values = tied_values(rng, row_dtype, 40)
        ranks = rank_features(values[:, None], reference[:, None], kind=kind, tail=tail)
        percentiles, directions = by_scipy(reference, values, kind, tail, "propagate")
        np.testing.assert_array_equal(ranks.percentiles[:, 0], percentiles, strict=True)
        np.testing.assert_array_equal(ranks.directions[:, 0], directions, strict=True)


@pytest.mark.parametrize("nan_policy", ["propagate", "omit"])
@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("kind", KINDS)
def test_missing_values_follow_the_policy(kind, tail, nan_policy, seed):
    rng = np.random.default_rng(seed)
    dtypes = {"a": "f8", "b": "f4", "c": "i8", "d": "u8", "e": "f8", "f": np.longdouble}
    reference = pd.DataFrame({name: tied_values(rng, dtype, 300) for name, dtype in dtypes.items()})
    rows = reference.sample(20, random_state=seed)
    reference.loc[::7, ["b", "f"]] = np.nan
    reference["e"] = np.nan
    rows.iloc[::3, [0, 1, 5]] = np.nan
    ranks = rank_features(rows, reference, kind=kind, tail=tail, nan_policy=nan_policy)
    for j, name in enumerate(dtypes):
        percentiles, directions = by_scipy(reference[name].to_numpy(), rows[name].to_numpy(), kind, tail, nan_policy)
        np.testing.assert_array_equal(ranks.percentiles[:, j], percentiles, strict=True)
        np.testing.assert_array_equal(ranks.directions[:, j], directions, strict=True)


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("n_rows", [3, 30, 700])
def test_long_references_give_the_same_ranks_on_any_number_of_threads(n_rows, tail, seed):
    # A column with more than 511 distinct queries is counted by another algorithm.
    rng = np.random.default_rng(seed)
    reference = np.column_stack([rng.standard_normal(70_001), rng.poisson(0.3, 70_001)])
    rows = np.vstack([reference[: n_rows - 1], [0.5, 0.5]])
    columns = [by_scipy(reference[:, j], rows[:, j], "rank", tail, "propagate") for j in range(2)]
    for n_jobs in (1, 2, None):
        for layout in (reference, np.asfortranarray(reference)):
            ranks = rank_features(rows, layout, tail=tail, n_jobs=n_jobs)
            np.testing.assert_array_equal(ranks.percentiles, np.column_stack([column for column, _ in columns]))
            np.testing.assert_array_equal(ranks.directions, np.column_stack([column for _, column in columns]))


def test_directions_do_not_depend_on_the_tail_or_the_kind(seed):
    rng = np.random.default_rng(seed)
    reference = rng.integers(0, 9, (80, 5))
    expected = rank_features(reference, reference).directions
    for kind in KINDS:
        for tail in TAILS:
            directions = rank_features(reference, reference, kind=kind, tail=tail).directions
            np.testing.assert_array_equal(directions, expected, strict=True)
    assert expected.shape == (80, 5)
    assert not expected.flags.writeable


def test_tables_without_rows_or_columns_have_no_directions():
    ranks = rank_features(np.empty((0, 2)), np.ones((5, 2)), tail="both")
    assert (ranks.percentiles.shape, ranks.directions.shape, ranks.directions.dtype) == ((0, 2), (0, 2), np.int8)
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


def fraction_ranked_first(rows, reference, features, tail):
    """Return the fraction of rows whose given feature has the highest rank."""
    return np.mean(rank_features(rows, reference, tail=tail).order[:, 0] == features)


def test_unusual_features_are_ranked_first_whether_high_or_low(seed):
    rng = np.random.default_rng(seed)
    reference = rng.standard_normal((20_000, 12))
    unusual = rng.integers(0, 12, 400)
    rows = rng.standard_normal((400, 12))
    # The first half of the rows is unusually high, the second half unusually low.
    rows[np.arange(400), unusual] = np.repeat([6.0, -6.0], 200)
    assert fraction_ranked_first(rows, reference, unusual, "both") >= 0.95
    assert fraction_ranked_first(rows[:200], reference, unusual[:200], "upper") >= 0.95
    assert fraction_ranked_first(rows[200:], reference, unusual[200:], "lower") >= 0.95
    # The upper tail misses the unusually low half.
    assert 0.45 <= fraction_ranked_first(rows, reference, unusual, "upper") <= 0.55
    directions = rank_features(rows, reference, tail="both").directions
    np.testing.assert_array_equal(directions[np.arange(400), unusual], np.repeat([1, -1], 200))
