"""Test that quantiles of many columns equal those of pandas bit for bit."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.testing import assert_array_equal

from isoxide.ueba import _quantiles
from isoxide.ueba._quantiles import STATISTICS, TableQuantiles

pytestmark = pytest.mark.current_versions(reason="quantiles of pandas 2.2 have other last bits")

QS = [0.0, 0.01, 1 / 3, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0]


def assert_equal_to_pandas(frame, rows=None):
    quantiles = TableQuantiles(frame, QS)
    selected = frame if rows is None else frame.iloc[rows]
    result = None if rows is None else quantiles.of_rows(rows, QS)
    for j, name in enumerate(frame.columns):
        column = selected[name]
        if pd.api.types.is_bool_dtype(column.dtype):
            column = column.astype("uint8")
        for k, q in enumerate(QS):
            expected = column.quantile(q)
            expected = np.nan if expected is pd.NA else np.float64(expected)
            value = np.float64(quantiles.quantile(name, q)) if rows is None else result[j, k]
            assert_array_equal(value, expected, err_msg=f"{name} {q}")


def table(seed, n):
    r = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "floats": r.normal(size=n) * 10.0 ** r.integers(-3, 8),
            "zeros": np.where(r.random(n) < 0.9, 0.0, r.random(n)),
            "small": r.integers(0, 3, n),
            "large": r.integers(-(2**40), 2**40, n),
            "float32": r.normal(size=n).astype(np.float32),
            "flag": r.random(n) < 0.3,
            "bytes": r.integers(0, 256, n).astype(np.uint8),
        }
    )
    for name in ("floats", "float32"):
        frame[f"{name} missing"] = frame[name].mask(r.random(n) < 0.4)
    frame["one value"] = frame["floats"].where(np.arange(n) == n // 2)
    frame["nullable"] = frame["small"].astype("Int64").mask(r.random(n) < 0.2)
    frame["nullable float32"] = frame["float32"].astype("Float32")
    frame["nullable float32 missing"] = frame["nullable float32"].mask(r.random(n) < 0.2)
    return frame


@pytest.mark.parametrize("n", [1, 2, 3, 7, 100, 101, 1000, 5000])
def test_quantiles_of_all_rows_equal_those_of_pandas(seed, n):
    assert_equal_to_pandas(table(seed + n, n))


def test_blocks_of_columns_give_the_same_quantiles(seed, monkeypatch):
    frame = table(seed, 300)
    monkeypatch.setattr(_quantiles, "_BLOCK_CELLS", 700)
    assert_equal_to_pandas(frame)


@pytest.mark.parametrize("n", [1, 2, 30, 400])
def test_quantiles_of_some_rows_equal_those_of_pandas(seed, n):
    frame = table(seed, 1000)
    assert_equal_to_pandas(frame, np.random.default_rng(seed).choice(1000, n, replace=False))


@pytest.mark.slow
@given(
    npst.arrays(
        st.sampled_from([np.float64, np.float32]),
        st.tuples(st.integers(1, 30), st.integers(1, 4)),
        elements=st.floats(-(2.0**100), 2.0**100, width=32) | st.just(np.nan),
    )
)
def test_quantiles_of_any_values_equal_those_of_pandas(values):
    assert_equal_to_pandas(pd.DataFrame(values))


def test_columns_without_values_have_no_quantiles():
    typical = TableQuantiles(pd.DataFrame({"empty": [np.nan, np.nan], "filled": [1.0, 3.0]}), []).typical()
    assert typical.loc["empty"].isna().all()
    assert typical.loc["filled", "median"] == 2.0
    assert typical.columns.tolist() == list(STATISTICS)
    assert TableQuantiles(pd.DataFrame({"empty": np.empty(0)}), []).typical().isna().all(axis=None)
