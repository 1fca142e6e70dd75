"""Test the families of features that move together."""

import itertools

import numpy as np
import pytest
import scipy.stats

from isoxide.ueba._families import MAX_SAMPLED_ROWS, MIN_CORRELATION, families_of, sampled_rows


def correlated(seed, n=500):
    """Return columns of which some are correlated by ranks."""
    rng = np.random.default_rng(seed)
    common, other = rng.normal(size=n), rng.normal(size=n)
    return [
        common, np.exp(common + 0.2 * rng.normal(size=n)), other, -(common**3), np.full(n, 7.0), other * 2 + 1,
        common + rng.normal(size=n), np.round(rng.normal(size=n)),
    ]  # fmt: skip


def test_each_two_features_of_a_family_are_correlated(seed):
    columns = correlated(seed)
    families = families_of(columns)
    assert [0, 1, 3] in families
    assert [2, 5] in families
    rho = scipy.stats.spearmanr(np.column_stack(columns[:4] + columns[5:])).statistic
    positions = {j: k for k, j in enumerate(j for j in range(8) if j != 4)}
    for family in families:
        for i, j in itertools.combinations(family, 2):
            assert abs(rho[positions[i], positions[j]]) >= MIN_CORRELATION - 1e-9
    assert sum(map(len, families)) == len({j for family in families for j in family})
    assert not any(4 in family for family in families)


def test_chains_are_not_families(seed):
    """Complete linkage: the ends of a chain of correlated features need not be correlated."""
    rng = np.random.default_rng(seed)
    steps = [rng.normal(size=2000) for _ in range(6)]
    columns = [np.sum(steps[i : i + 4], axis=0) for i in range(3)] + [np.sum(steps[4:], axis=0)]
    for family in families_of(columns):
        rho = np.atleast_2d(scipy.stats.spearmanr(np.column_stack([columns[j] for j in family])).statistic)
        assert np.abs(rho).min() >= MIN_CORRELATION - 1e-9


def test_missing_values_count_as_the_middle(seed):
    x = np.random.default_rng(seed).normal(size=400)
    few, many = x.copy(), x.copy()
    few[::50], many[:399] = np.nan, np.nan
    assert families_of([x, few, many]) == [[0, 1]]
    assert families_of([np.full(5, np.nan), np.full(5, np.nan), np.arange(5.0)]) == []


def test_small_tables():
    assert families_of([]) == families_of([np.arange(9.0)]) == families_of([np.empty(0), np.empty(0)]) == []
    assert families_of([np.array([1.0]), np.array([1.0])]) == []
    assert families_of([np.array([1.0, 2.0]), np.array([2.0, 1.0])]) == [[0, 1]]


@pytest.mark.parametrize("n", [0, 1, 7, MAX_SAMPLED_ROWS, MAX_SAMPLED_ROWS + 1, 10**9])
def test_sampled_rows(n):
    rows = sampled_rows(n)
    assert len(rows) == min(n, MAX_SAMPLED_ROWS)
    assert (np.diff(rows) >= 1).all()
    assert n == 0 or (rows[0] == 0 and n * 0.99 - 2 <= rows[-1] < n)
