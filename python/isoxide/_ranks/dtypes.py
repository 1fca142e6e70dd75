"""Percentile ranks of pairs of arrays, for every dtype: values of a column, and queries to rank among them.

The Rust core ranks float64, float32 and int64. A pair of dtypes is converted to these if every comparison then has the
same result as in NumPy. `comparison` chooses the conversion:

    "exact"     each array is converted exactly to a dtype of the core, which compares different dtypes exactly
    "float"     both become float64, since NumPy compares uint64 with floats as float64
    "flipped"   unsigned 64-bit integers become int64 with their top bit flipped, which keeps their order
    None        the core cannot compare them (objects, complex numbers, long doubles), so NumPy compares each query
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isoxide import _core
from isoxide._frames.dtypes import is_core_number, is_uint64, native

_KINDS = ("rank", "strict", "weak", "mean")
#: Values of `tail`, and the core's names for them.
_TAILS = {"upper": "upper", "lower": "lower", "both": "two"}
#: Number of values between two checks for signals.
_CHUNK = 2**26
_NAN_POLICIES = frozenset(("propagate", "raise", "omit"))

#: Pairs of a reference column and the queries to rank in it.
Pairs = list[tuple[NDArray[Any], NDArray[Any]]]
#: Percentiles and directions, with one column for each pair.
Ranks = tuple[NDArray[np.float64], NDArray[np.int8]]


class RankDefinition(NamedTuple):
    """Definition of a percentile rank: the arguments of `rank_features` with the same names."""

    kind: str
    #: None for `percentileofscore`, which makes only SciPy's comparisons, since some objects support no others.
    tail: str | None
    nan_policy: str

    def check(self) -> RankDefinition:
        """Check the arguments, and return the definition."""
        check_kind(self.kind)
        if self.tail not in [*_TAILS]:
            raise ValueError(f"tail must be 'upper', 'lower' or 'both', got {self.tail!r}")
        check_nan_policy(self.nan_policy)
        return self

    def native(self) -> dict[str, Any]:
        """Return the keyword arguments of the core."""
        return {"kind": self.kind, "tail": _TAILS[self.tail or "upper"], "omit_nan": self.nan_policy == "omit"}


def check_kind(kind: str) -> None:
    """Refuse kinds that SciPy does not have, with SciPy's message."""
    if kind not in _KINDS:
        raise ValueError("kind can only be 'rank', 'strict', 'weak' or 'mean'")


def check_nan_policy(nan_policy: str) -> None:
    """Refuse policies that SciPy does not have, with SciPy's message."""
    if nan_policy not in _NAN_POLICIES:
        raise ValueError("nan_policy must be one of {'propagate', 'raise', 'omit'}.")


def check_nan(x: NDArray[Any], nan_policy: str) -> bool:
    """Return whether an array has NaN; with the policy 'raise', NaN raises SciPy's error."""
    result = has_nan(x)
    if result and nan_policy == "raise":
        raise ValueError("The input contains nan values")
    return result


def has_nan(x: NDArray[Any]) -> bool:
    """Return whether SciPy would find NaN in an array; among objects, it finds only NaN of NumPy's number types."""
    if x.size == 0:
        return False
    if x.dtype.kind == "f":
        if x.ndim != 1 or x.size <= _CHUNK:
            return bool(np.isnan(x.max()))
        # Read in chunks, so that signals are handled in between.
        return any(np.isnan(x[start : start + _CHUNK].max()) for start in range(0, x.size, _CHUNK))
    if x.dtype.kind == "c":
        return bool(np.isnan(x).any())
    return x.dtype.kind == "O" and any(np.issubdtype(type(item), np.number) and np.isnan(item) for item in x.flat)


def refuse_nan(columns: list[NDArray[Any]], names: list[str], table_name: str) -> None:
    """Refuse NaN in any column; the error names the column."""
    for column, name in zip(columns, names, strict=True):
        if has_nan(column):
            raise nan_error(name, table_name)


def nan_error(name: str, table_name: str) -> ValueError:
    """Make the error for NaN in a column: SciPy's message, with the column and the table."""
    return ValueError(f"The input contains nan values: column {name!r} of {table_name}")


def column_ranks(pairs: Pairs, n_rows: int, definition: RankDefinition, n_workers: int) -> Ranks:
    """Rank each pair of a column and its queries.

    Parameters
    ----------
    pairs : list of (ndarray, ndarray)
        Column of the reference and the `n_rows` queries to rank among its values.
    n_rows : int
        Number of queries of each pair.
    definition : RankDefinition
        Definition of the percentiles.
    n_workers : int
        Number of threads.

    Returns
    -------
    percentiles : ndarray of shape (n_rows, n_pairs)
        Percentiles, with one column for each pair.
    directions : ndarray of shape (n_rows, n_pairs)
        Directions, with one column for each pair.
    """
    native_pairs = {j: converted for j, pair in enumerate(pairs) if (converted := native_pair(*pair)) is not None}
    if len(native_pairs) == len(pairs) > 0:
        return native_ranks(list(native_pairs.values()), definition, n_workers)
    percentiles, directions = np.empty((n_rows, len(pairs))), np.empty((n_rows, len(pairs)), dtype=np.int8)
    if native_pairs:
        positions = list(native_pairs)
        ranks = native_ranks(list(native_pairs.values()), definition, n_workers)
        percentiles[:, positions], directions[:, positions] = ranks
    for j, pair in enumerate(pairs):
        if j not in native_pairs:
            percentiles[:, j], directions[:, j] = ranks_by_numpy(*pair, definition)
    return percentiles, directions


def native_ranks(pairs: Pairs, definition: RankDefinition, n_workers: int) -> Ranks:
    """Rank pairs of arrays with dtypes of the core."""
    columns, queries = map(list, zip(*pairs, strict=True))
    return _core.percentile_ranks(columns, queries, n_workers=n_workers, **definition.native())


def ranks_by_numpy(a: NDArray[Any], queries: NDArray[Any], definition: RankDefinition) -> Ranks:
    """Rank one pair of arrays with dtypes that the core does not support; NumPy compares one query at a time."""
    kind, tail, nan_policy = definition
    if has_nan(a):
        a = a[~np.isnan(a)] if nan_policy == "omit" else a[:0]
    # Types that cannot be compared are refused even if there are no queries.
    _ = a[:0] <= queries[:0] if kind == "weak" else a[:0] < queries[:0]
    below, at_or_below = np.zeros(queries.shape, dtype=np.int64), np.zeros(queries.shape, dtype=np.int64)
    # NumPy warns when it compares a NaN among complex numbers or objects.
    with np.errstate(invalid="ignore"):
        for i in range(queries.size if a.size else 0):
            # Take a slice, since an item of an object array would lose its dtype.
            query = queries[i : i + 1]
            if tail is not None or kind != "weak":
                below[i] = np.count_nonzero(a < query)
            if tail is not None or kind != "strict":
                at_or_below[i] = np.count_nonzero(a <= query)
    upper = _percentiles(below, at_or_below, a.size, kind)
    lower = _percentiles(a.size - at_or_below, a.size - below, a.size, kind)
    percentiles = upper if tail in (None, "upper") else lower if tail == "lower" else np.maximum(upper, lower)
    directions = np.where(upper >= lower, 1, -1).astype(np.int8)
    if queries.dtype.kind in "fc":
        percentiles[np.isnan(queries)] = np.nan
    directions[np.isnan(percentiles)] = 0
    return percentiles, directions


def _percentiles(left: NDArray[np.int64], right: NDArray[np.int64], n: int, kind: str) -> NDArray[np.float64]:
    """Compute percentiles from the numbers of values below and at or below, in SciPy's order of operations."""
    if n == 0:
        return np.full(left.shape, np.nan)
    if kind in ("weak", "strict"):
        return (right if kind == "weak" else left) * np.float64(100.0 / n)
    tied = (left < right) if kind == "rank" else 0
    return (left + right + tied) * np.float64(50.0 / n)


@functools.lru_cache(maxsize=64)
def comparison(a: np.dtype[Any], b: np.dtype[Any]) -> str | None:
    """Choose the conversion with which the core compares two dtypes like NumPy; the module's head lists them."""
    if not (is_core_number(a) and is_core_number(b)):
        return None
    if not (is_uint64(a) or is_uint64(b)):
        return "exact"
    if "f" in (a.kind, b.kind):
        return "float"
    # NumPy compares signed and unsigned integers exactly, without a common type.
    return None if "i" in (a.kind, b.kind) else "flipped"


def native_pair(a: NDArray[Any], b: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Convert a pair to dtypes that the core compares like NumPy; return None if there are none."""
    conversion = comparison(a.dtype, b.dtype)
    return None if conversion is None else (as_compared(a, conversion), as_compared(b, conversion))


def as_compared(x: NDArray[Any], conversion: str) -> NDArray[Any]:
    """Convert an array for the result of `comparison`, without a copy if it already has the dtype."""
    if conversion == "flipped":
        # Flipping the top bit makes unsigned integers signed and keeps their order.
        return (x.astype(np.uint64) ^ np.uint64(2**63)).view(np.int64)
    return native(x, np.float64 if conversion == "float" else None)
