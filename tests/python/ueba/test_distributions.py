"""Distributions are compared with NumPy and pandas on the values that they were counted from."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from isoxide.ueba import _distributions
from isoxide.ueba._distributions import Distribution, ValueCounts, distinct_values


def columns(rng, n):
    values = np.where(rng.random(n) < 0.5, 0, rng.geometric(0.2, n))
    yield values
    yield values.astype(np.float32) / 3
    yield np.where(rng.random(n) < 0.3, np.nan, rng.normal(size=n))
    yield np.where(rng.random(n) < 0.3, np.nan, rng.normal(size=n)).astype(np.float32)
    yield np.full(n, np.nan)
    yield rng.random(n) < 0.2
    yield np.where(rng.random(n) < 0.5, -0.0, 0.0)
    yield 2**60 + rng.integers(0, 3, n)


def test_values_of_each_population(seed, monkeypatch):
    """Whatever the order and the partitions, the result is that of all rows."""
    monkeypatch.setattr(_distributions, "MIN_PENDING", 40)
    rng = np.random.default_rng(seed)
    for values in columns(rng, 500):
        codes = rng.integers(-1, 4, 500).astype(np.int32)
        parts = []
        for rows in np.array_split(rng.permutation(500), 7):
            part = ValueCounts()
            for chunk in np.array_split(rows, 3):
                part.add(values[chunk], codes[chunk])
            parts.append(pickle.loads(pickle.dumps(part)))
        merged = ValueCounts()
        for k in rng.permutation(7):
            merged.merge(parts[k])
        own_codes, own_values, own_counts = merged.counted()
        frame = pd.DataFrame({"code": codes, "value": values})
        frame = frame[(frame["code"] >= 0) & frame["value"].notna()]
        expected = frame.groupby(["code", "value"]).size().reset_index(name="n")
        if not len(expected):
            assert len(own_values) == 0
            continue
        assert_array_equal(own_codes, expected["code"])
        assert_array_equal(own_values, expected["value"])
        assert_array_equal(own_counts, expected["n"])
        assert not np.signbit(own_values[own_values == 0]).any()


@pytest.mark.current_versions(reason="quantiles of pandas 2.2 have other last bits")
def test_quantiles_are_those_of_pandas(seed):
    rng = np.random.default_rng(seed)
    qs = [0, 0.05, 0.5, 0.95, 0.99, 0.123, 1]
    for n in (1, 2, 7, 200):
        for values in columns(rng, n):
            counts = ValueCounts()
            counts.add(values)
            own = counts.distribution(n)
            assert own.n + own.n_missing == n
            series = pd.Series(values if values.dtype.kind != "b" else values.astype(float))
            assert_array_equal(own.quantiles(qs), series.quantile(qs).to_numpy())


def test_count_at_or_above(seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 9, 50) / 4
    counts = ValueCounts()
    counts.add(values)
    queries = np.append(values[:10], [-1.0, 99.0])
    assert_array_equal(counts.distribution(50).count_at_or_above(queries), [(values >= x).sum() for x in queries])


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.array([1, 2**53 - 1]), np.float64),
        (np.array([1, 2**53]), np.int64),
        (np.array([-(2**53), 0]), np.int64),
        (np.array([0.5], dtype=np.float32), np.float32),
        (np.array([1, 2], dtype=np.uint8), np.float64),
    ],
)
def test_integers_are_floats_where_these_are_exact(values, dtype):
    assert distinct_values(values).dtype == dtype
    assert distinct_values(values).tolist() == values.tolist()


def test_no_values():
    own = Distribution(np.empty(0), np.empty(0, dtype=np.int64), 3)
    assert np.isnan(own.quantiles([0.5])).all()
    assert own.count_at_or_above(np.array([1.0])).tolist() == [0]
