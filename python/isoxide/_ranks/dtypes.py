"""Percentile ranks of pairs of a column and its queries: by the core, or by NumPy where it does not know the types."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isoxide import _core
from isoxide._frames.dtypes import is_core_number, is_uint64, native

_KINDS = ("rank", "strict", "weak", "mean")
_TAILS = ("upper", "lower", "both")
#: Values looked at between two looks at signals.
_PIECE = 2**26
_NAN_POLICIES = frozenset(("propagate", "raise", "omit"))


Pairs = list[tuple[NDArray[Any], NDArray[Any]]]
#: Percentiles and directions.
Ranks = tuple[NDArray[np.float64], NDArray[np.int8]]


class Definition(NamedTuple):
    """What a percentile is: arguments of the same names."""

    kind: str
    #: None where only the comparisons that SciPy makes may be made: not all objects have the others.
    tail: str | None
    nan_policy: str

    def check(self) -> Definition:
        """Refuses unknown words."""
        check_kind(self.kind)
        if self.tail not in _TAILS:
            raise ValueError(f"tail must be 'upper', 'lower' or 'both', got {self.tail!r}")
        check_nan_policy(self.nan_policy)
        return self

    def native(self) -> dict[str, Any]:
        """Return the arguments for the core, which calls the tail 'both' 'two'."""
        tail = "two" if self.tail == "both" else self.tail or "upper"
        return {"kind": self.kind, "tail": tail, "omit_nan": self.nan_policy == "omit"}


def check_kind(kind: str) -> None:
    """Refuses other kinds than SciPy's, in its words."""
    if kind not in _KINDS:
        raise ValueError("kind can only be 'rank', 'strict', 'weak' or 'mean'")


def check_nan_policy(nan_policy: str) -> None:
    """Refuses other policies than SciPy's, in its words."""
    if nan_policy not in _NAN_POLICIES:
        raise ValueError("nan_policy must be one of {'propagate', 'raise', 'omit'}.")


def look_for_nan(x: NDArray[Any], nan_policy: str) -> bool:
    """Whether there is a NaN, which the policy may refuse."""
    found = has_nan(x)
    if found and nan_policy == "raise":
        raise ValueError("The input contains nan values")
    return found


def has_nan(x: NDArray[Any]) -> bool:
    """Whether SciPy would see a NaN: in objects, only one whose type is a number for NumPy."""
    if x.size == 0:
        return False
    if x.dtype.kind == "f":
        if x.ndim != 1 or x.size <= _PIECE:
            return bool(np.isnan(x.max()))
        # In pieces, since NumPy sees no signal before it is done.
        return any(np.isnan(x[start : start + _PIECE].max()) for start in range(0, x.size, _PIECE))
    if x.dtype.kind == "c":
        return bool(np.isnan(x).any())
    return x.dtype.kind == "O" and any(np.issubdtype(type(item), np.number) and np.isnan(item) for item in x.flat)


def refuse_nan(columns: list[NDArray[Any]], names: list[str], what: str) -> None:
    """Refuses NaN by the name of its column."""
    for column, name in zip(columns, names, strict=True):
        if has_nan(column):
            raise nan_error(name, what)


def nan_error(name: str, what: str) -> ValueError:
    """SciPy's refusal, and where the NaN is."""
    return ValueError(f"The input contains nan values: column {name!r} of {what}")


def column_ranks(pairs: Pairs, n_rows: int, definition: Definition, n_workers: int) -> Ranks:
    """Per pair of a column and its queries the percentiles and directions of these, as a column."""
    known = {j: found for j, pair in enumerate(pairs) if (found := native_pair(*pair)) is not None}
    percentiles, directions = np.empty((n_rows, len(pairs))), np.empty((n_rows, len(pairs)), dtype=np.int8)
    if known:
        places = list(known)
        percentiles[:, places], directions[:, places] = native_ranks(list(known.values()), definition, n_workers)
    for j, pair in enumerate(pairs):
        if j not in known:
            percentiles[:, j], directions[:, j] = ranks_by_numpy(*pair, definition)
    return percentiles, directions


def native_ranks(pairs: Pairs, definition: Definition, n_workers: int) -> Ranks:
    """The same by the core."""
    columns, queries = map(list, zip(*pairs, strict=True))
    return _core.percentile_ranks(columns, queries, n_workers=n_workers, **definition.native())


def ranks_by_numpy(a: NDArray[Any], queries: NDArray[Any], definition: Definition) -> Ranks:
    """The same, of one pair, for types that the core does not know: NumPy takes one query at a time."""
    kind, tail, nan_policy = definition
    if has_nan(a):
        a = a[~np.isnan(a)] if nan_policy == "omit" else a[:0]
    # Types that do not compare are refused even if there are no queries.
    _ = a[:0] <= queries[:0] if kind == "weak" else a[:0] < queries[:0]
    below, at_or_below = np.zeros(queries.shape, dtype=np.int64), np.zeros(queries.shape, dtype=np.int64)
    # NumPy warns when it compares a NaN among complex numbers or objects.
    with np.errstate(invalid="ignore"):
        for i in range(queries.size if a.size else 0):
            # A slice, not an item: an item of an object array would lose its type.
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
    """Percentiles from the counts below, and at or below, in SciPy's order of operations."""
    if n == 0:
        return np.full(left.shape, np.nan)
    if kind in ("weak", "strict"):
        return (right if kind == "weak" else left) * np.float64(100.0 / n)
    tied = (left < right) if kind == "rank" else 0
    return (left + right + tied) * np.float64(50.0 / n)


def comparison(a: np.dtype[Any], b: np.dtype[Any]) -> str | None:
    """As what the core compares values of two types with NumPy's results (see `as_compared`); None if it cannot."""
    if not (is_core_number(a) and is_core_number(b)):
        return None
    if not (is_uint64(a) or is_uint64(b)):
        return "own"
    if "f" in (a.kind, b.kind):
        return "float"
    # NumPy compares signed and unsigned ones without a common type.
    return None if "i" in (a.kind, b.kind) else "flipped"


def native_pair(a: NDArray[Any], b: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Both arrays in types of the core whose comparison has the results of NumPy's; None if there are none."""
    how = comparison(a.dtype, b.dtype)
    return None if how is None else (as_compared(a, how), as_compared(b, how))


def as_compared(x: NDArray[Any], how: str) -> NDArray[Any]:
    """`x` in the type in which it is compared; not copied if that is its own."""
    if how == "flipped":
        # Flipping the top bit makes them signed and keeps their order.
        return (x.astype(np.uint64) ^ np.uint64(2**63)).view(np.int64)
    return native(x, np.float64 if how == "float" else None)
