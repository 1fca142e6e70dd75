"""Numbers in files are written as Python writes them, whatever they are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoxide.ueba import _numbers
from isoxide.ueba._numbers import joined_rows


def expected(values, separator, missing="nan"):
    return [
        separator.join(missing if value != value else repr(value) for value in row)  # NaN differs from itself
        for row in values.tolist()
    ]


def edges():
    powers = np.array([10.0**k for k in range(-12, 23)] + [2.0**k for k in range(-40, 64)])
    close = [np.nextafter(powers, -np.inf), powers, np.nextafter(powers, np.inf), powers / 3, powers - 1, powers + 0.5]
    odd = [
        0.0,
        np.nan,
        np.inf,
        5e-324,
        2.2250738585072014e-308,
        1.7976931348623157e308,
        0.1 + 0.2,
        1e23,
        9007199254740993,
    ]
    cells = np.concatenate([*close, odd])
    return np.concatenate([cells, -cells])


@pytest.mark.parametrize("n_columns", [1, 2, 38])
def test_numbers_at_all_edges_are_written_as_python_writes_them(n_columns):
    cells = edges()
    values = cells[: len(cells) // n_columns * n_columns].reshape(-1, n_columns)
    assert list(joined_rows(values, ", ")) == expected(values, ", ")
    assert list(joined_rows(values, ",", missing="null")) == expected(values, ",", "null")


def test_random_numbers_are_written_as_python_writes_them(seed):
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2**64, 20_000, dtype=np.uint64).view(np.float64)
    usual = rng.normal(size=100_000) * 10.0 ** rng.integers(-5, 10, 100_000)
    rounded = np.round(usual[:50_000], 2)
    for cells in (bits, usual, rounded, np.trunc(usual)):
        values = cells.reshape(-1, 50)
        assert list(joined_rows(values, " ")) == expected(values, " ")


@given(st.lists(st.floats(), min_size=1, max_size=20))
def test_any_numbers_are_written_as_python_writes_them(cells):
    values = np.array([cells])
    assert list(joined_rows(values, ";")) == expected(values, ";")


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.intp])
def test_integers(dtype):
    limits = np.iinfo(dtype)
    values = np.array([[0, 1, -1], [limits.min, limits.max, 7]], dtype=dtype)
    assert list(joined_rows(values, ", ")) == expected(values, ", ")


def test_blocks_and_layouts_do_not_matter(monkeypatch):
    values = np.asfortranarray(edges()[:1200].reshape(300, 4))[:, ::-1]
    whole = list(joined_rows(values, ","))
    assert whole == expected(values, ",")
    monkeypatch.setattr(_numbers, "_BLOCK_CELLS", 30)
    assert list(joined_rows(values, ",")) == whole


def test_tables_without_rows_or_columns():
    assert list(joined_rows(np.empty((0, 3)), ",")) == []
    assert list(joined_rows(np.empty((2, 0)), ",")) == ["", ""]
