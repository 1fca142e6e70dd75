"""Tables that the contenders work on: made once per run, saved, and read by every child."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

#: Rows that forests are fitted on when it is scoring that is timed: trees of 256 rows do not depend on more.
FIT_ROWS = 100_000
#: Of a mixed frame, so many of the columns with counts are integers.
INTEGER_COLUMNS = 10


@dataclass(frozen=True)
class Data:
    """Content of a table ("plain", "missing" with NaN, "sparse", or "none" for no table), and its shape."""

    kind: str
    n: int
    d: int

    @property
    def file(self) -> str:
        return f"{self.kind}-{self.n}x{self.d}.{'npz' if self.kind == 'sparse' else 'npy'}"


def table(n: int, d: int, seed: int = 0) -> np.ndarray:
    """Half normal columns, half counts with 70 % zeros, and 1 % of the rows three times as large."""
    r = np.random.default_rng(seed)
    x = np.empty((n, d))
    for j in range(d):
        zero = r.random(n) < 0.7
        counts = np.where(zero, 0, r.geometric(0.05 if j % 4 == 1 else 0.3, n))
        x[:, j] = counts if j % 2 else r.normal(j % 7, 1 + j % 3, n)
    x[r.choice(n, max(1, n // 100), replace=False)] *= 3
    return x


def with_missing(x: np.ndarray, seed: int = 1) -> np.ndarray:
    """NaN in 10 % of the cells of half of the columns, of both kinds."""
    r = np.random.default_rng(seed)
    for j in range(x.shape[1]):
        if j % 4 < 2:
            x[r.random(len(x)) < 0.1, j] = np.nan
    return x


def sparse_table(n: int, d: int, seed: int = 2) -> Any:
    """Compressed rows with 1 % of the cells filled with counts."""
    import scipy.sparse

    r = np.random.default_rng(seed)
    x = scipy.sparse.random_array((n, d), density=0.01, format="csr", rng=r)
    x.data = r.geometric(0.05, x.nnz).astype(np.float64)
    return x


def save(data: Data, folder: Path) -> Path:
    """Make the table unless it is there; data of kind "none" has no table."""
    path = folder / data.file
    if path.exists() or data.kind == "none":
        return path
    if data.kind == "sparse":
        import scipy.sparse

        scipy.sparse.save_npz(path, sparse_table(data.n, data.d), compressed=False)
    else:
        x = table(data.n, data.d)
        np.save(path, with_missing(x) if data.kind == "missing" else x)
    return path


def read(data: Data, folder: Path, layout: str) -> Any:
    """Return the table in memory of this process, in a layout that `Work.layout` describes."""
    if layout == "csr":
        import scipy.sparse

        return scipy.sparse.load_npz(folder / data.file)
    x = np.load(folder / data.file, mmap_mode="r")
    order, dtype = order_and_dtype(layout)
    if order in ("C", "F"):
        return np.array(x, order="C" if order == "C" else "F", dtype=dtype)
    names = [f"c{j}" for j in range(data.d)]
    if layout == "polars":
        import polars as pl

        return pl.DataFrame({name: np.ascontiguousarray(x[:, j]) for j, name in enumerate(names)})
    import pandas as pd

    integers = set(range(1, data.d, 2)[:INTEGER_COLUMNS]) if layout == "pandas" else set()
    columns = {n: x[:, j].astype(np.int64 if j in integers else np.float64) for j, n in enumerate(names)}
    return pd.DataFrame(columns)


def order_and_dtype(layout: str) -> tuple[str, str]:
    """Split "F int64" into the order and the dtype, which is float64 by default."""
    order, _, dtype = layout.partition(" ")
    return order, dtype or "float64"


def columns_of(data: Data, folder: Path, positions: range, dtype: str = "float64") -> list[np.ndarray]:
    """Return contiguous columns, which a frame holds and which sort and compare fastest."""
    x = np.load(folder / data.file, mmap_mode="r")
    return [np.ascontiguousarray(x[:, j], dtype=dtype) for j in positions]


def queries_of(data: Data, folder: Path, count: int, dtype: str = "float64") -> np.ndarray:
    """Return rows of the table at equal distances, to be ranked in it."""
    x = np.load(folder / data.file, mmap_mode="r")
    return np.array(x[:: max(1, data.n // count)][:count], dtype=dtype)


def head(x: Any, n: int) -> Any:
    """The first rows of a table of any layout."""
    return x.iloc[:n] if hasattr(x, "iloc") else x[:n]
