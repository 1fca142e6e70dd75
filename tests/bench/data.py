"""Make the tables of the works once per run, and read them in the process of each contender."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

#: Rows on which forests are fitted when scoring is timed. More rows would not change the size of trees of 256 rows.
FIT_ROWS = 100_000
#: Number of integer columns in a pandas frame of mixed types.
INTEGER_COLUMNS = 10


@dataclass(frozen=True)
class Data:
    """The shape of a table, and its kind: "plain", "missing" (with NaN) or "sparse"."""

    kind: str
    n: int
    d: int

    @property
    def file(self) -> str:
        return f"{self.kind}-{self.n}x{self.d}.{'npz' if self.kind == 'sparse' else 'npy'}"


def table(n: int, d: int, seed: int = 0) -> np.ndarray:
    """Make a table: half normal columns, half counts with 70 % zeros, and 1 % of the rows three times as large."""
    rng = np.random.default_rng(seed)
    x = np.empty((n, d))
    for j in range(d):
        zero = rng.random(n) < 0.7
        counts = np.where(zero, 0, rng.geometric(0.05 if j % 4 == 1 else 0.3, n))
        x[:, j] = counts if j % 2 else rng.normal(j % 7, 1 + j % 3, n)
    x[rng.choice(n, max(1, n // 100), replace=False)] *= 3
    return x


def with_missing(x: np.ndarray, seed: int = 1) -> np.ndarray:
    """Set 10 % of the cells of every other pair of columns to NaN."""
    rng = np.random.default_rng(seed)
    for j in range(x.shape[1]):
        if j % 4 < 2:
            x[rng.random(len(x)) < 0.1, j] = np.nan
    return x


def sparse_table(n: int, d: int, seed: int = 2) -> Any:
    """Make compressed rows with counts in 1 % of the cells."""
    import scipy.sparse

    rng = np.random.default_rng(seed)
    x = scipy.sparse.random_array((n, d), density=0.01, format="csr", rng=rng)
    x.data = rng.geometric(0.05, x.nnz).astype(np.float64)
    return x


def save(data: Data, folder: Path) -> Path:
    """Make and save the table unless its file exists, and return the path."""
    path = folder / data.file
    if path.exists():
        return path
    if data.kind == "sparse":
        import scipy.sparse

        scipy.sparse.save_npz(path, sparse_table(data.n, data.d), compressed=False)
    else:
        x = table(data.n, data.d)
        np.save(path, with_missing(x) if data.kind == "missing" else x)
    return path


def read(data: Data, folder: Path, layout: str) -> Any:
    """Read the table in a layout: "C", "F", "pandas" (mixed types), "pandas floats", "polars" or "csr"."""
    if layout == "csr":
        import scipy.sparse

        return scipy.sparse.load_npz(folder / data.file)
    x = np.load(folder / data.file, mmap_mode="r")
    if layout in "CF":
        return np.array(x, order="C" if layout == "C" else "F")
    names = [f"c{j}" for j in range(data.d)]
    if layout == "polars":
        import polars as pl

        return pl.DataFrame({name: np.ascontiguousarray(x[:, j]) for j, name in enumerate(names)})
    import pandas as pd

    integers = set(range(1, data.d, 2)[:INTEGER_COLUMNS]) if layout == "pandas" else set()
    columns = {n: x[:, j].astype(np.int64 if j in integers else np.float64) for j, n in enumerate(names)}
    return pd.DataFrame(columns)


def columns_of(data: Data, folder: Path, indices: range) -> list[np.ndarray]:
    """Return columns as contiguous arrays, as a frame has them."""
    x = np.load(folder / data.file, mmap_mode="r")
    return [np.ascontiguousarray(x[:, j]) for j in indices]


def queries_of(data: Data, folder: Path, count: int) -> np.ndarray:
    """Return the rows to rank: `count` rows of the table at equal distances."""
    x = np.load(folder / data.file, mmap_mode="r")
    return np.array(x[:: max(1, data.n // count)][:count])


def head(x: Any, n: int) -> Any:
    """Return the first rows of a table in any layout but "csr"."""
    return x.iloc[:n] if hasattr(x, "iloc") else x[:n]
