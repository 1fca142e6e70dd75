"""Bands of similar size, in which ``groups="size"`` ranks values: a big day is compared with other big days.

On a day with many events every count is high, so that ranks among all rows repeat the same fact. Among days of similar
size only those values stay unusual that the size does not explain.

    counts    the features whose values are all whole numbers of at least 0, some of them above 1
    size      the count that explains most of the others: its squared rank correlations with them have the highest sum
    octaves   0, 1, 2 to 3, 4 to 7, 8 to 15, ...: sizes that differ by a factor below 2
    bands     the octaves from the largest size down, each joined with the next ones until it has 100 rows

Bands of equally many rows would put sizes that differ by any factor into the highest band, where most anomalies are.
Among fewer than a hundred rows only the highest value would reach the 99th percentile, and it always would.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isoxide._frames.table_profile import TableProfile
from isoxide.ueba import _fields as fields
from isoxide.ueba._families import rank_correlations, sampled_rows
from isoxide.ueba._quantiles import column_numbers

__all__ = ["SIZE", "OctaveCounts", "SizeBands", "asks_for_size", "bands_of", "size_of_frame"]

#: Value of the argument `groups` that asks for bands of similar size.
SIZE = "size"
#: Minimum number of rows of a band.
MIN_BAND_ROWS = 100
#: Number of octaves, of which the last one has all values from 2 ** 62 on, so that each edge is an integer of 64 bits.
N_OCTAVES = 64


class SizeBands(NamedTuple):
    """Bands of the feature that tells the size of a row.

    Parameters
    ----------
    feature : str
        Name of the feature.
    edges : tuple of int
        Smallest value of each band but the lowest one, in ascending order; they are powers of 2.
    n_counts : int
        Number of features that are counts, including this one.
    explained : float or None
        Mean of the squared rank correlations with the other counts, where a negative one counts as 0; None if there are
        no others.
    """

    feature: str
    edges: tuple[int, ...]
    n_counts: int
    explained: float | None

    @property
    def names(self) -> list[str]:
        """Return the name of each band, such as "8 to 15", the smallest sizes first."""
        first = "0" if self.edges[0] == 1 else f"at most {self.edges[0] - 1:,}"
        pairs = zip(self.edges, self.edges[1:], strict=False)
        between = [f"{low:,}" if high - low == 1 else f"{low:,} to {high - 1:,}" for low, high in pairs]
        return [first, *between, f"{self.edges[-1]:,} or more"]

    def labels(self, values: Any) -> list[str | None]:
        """Return the name of the band of each value, or None for a missing value."""
        numbers = np.asarray(values, dtype=np.float64)
        codes = np.searchsorted(np.array(self.edges, dtype=np.float64), numbers, side="right")
        codes[np.isnan(numbers)] = len(self.edges) + 1
        return np.array([*self.names, None], dtype=object)[codes].tolist()  # type: ignore[no-any-return]

    def labels_of(self, frame: pd.DataFrame) -> list[str | None]:
        """Return the name of the band of each row of a frame with the feature."""
        return self.labels(column_numbers(frame[self.feature]))

    def note(self) -> str:
        """Return a sentence for the notes of a report."""
        n_others = self.n_counts - 1
        others = f"the {n_others:,} other counts" if n_others > 1 else "the other count"
        why = f"the count that explains {others} best" if n_others else "the only count"
        return (
            f"values are compared with rows of similar size, in {len(self.names)} bands of {self.feature}, {why}: "
            f"{', '.join(self.names)}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the bands for JSON."""
        return {**self._asdict(), "edges": list(self.edges)}

    @classmethod
    def from_dict(cls, document: Any, features: Collection[str]) -> SizeBands:
        """Return the bands of a document.

        Raises
        ------
        KeyError, TypeError, ValueError
            If an entry is missing or out of range.
        """
        if not isinstance(document, dict) or set(document) != set(cls._fields):
            raise ValueError(f"'size' must have the entries {', '.join(cls._fields)}")
        feature, edges = fields.text(document["feature"], "feature"), document["edges"]
        if feature not in features:
            raise ValueError(f"'size' has the feature {feature!r}, which is none of the features")
        if not isinstance(edges, list) or not 1 <= len(edges) < N_OCTAVES:
            raise ValueError("'edges' must be a list of powers of 2")
        if any(type(edge) is not int or edge < 1 or edge & (edge - 1) for edge in edges) or sorted(set(edges)) != edges:
            raise ValueError("'edges' must be powers of 2 in ascending order")
        fields.integers([document["n_counts"]], "n_counts", 1)
        explained = document["explained"]
        if explained is not None:
            fields.numbers([explained], "explained", 0, 1)
        return cls(feature, tuple(edges), document["n_counts"], explained)


def asks_for_size(groups: str | None, columns: Iterable[Any], table_name: str = "the table") -> bool:
    """Return whether `groups` asks for bands of similar size.

    Raises
    ------
    ValueError
        If a column has the same name, so that the request is ambiguous.
    """
    if groups != SIZE:
        return False
    if SIZE in columns:
        raise ValueError(
            f"groups={SIZE!r} is ambiguous: it means bands of rows of similar size, but {table_name} has a column "
            f"{SIZE!r}; rename the column"
        )
    return True


class OctaveCounts:
    """Number of rows in each octave of each feature, and whether the feature is a count; counted in any order.

    Parameters
    ----------
    n_features : int
        Number of features.
    """

    def __init__(self, n_features: int) -> None:
        self.rows = np.zeros((n_features, N_OCTAVES), dtype=np.int64)
        self.is_whole = np.ones(n_features, dtype=bool)

    def add(self, columns: Iterable[NDArray[Any]]) -> None:
        """Count the rows of a batch: a column per feature, with NaN for missing values."""
        for j, column in enumerate(columns):
            values = np.asarray(column, dtype=np.float64)
            values = values[~np.isnan(values)]
            self.is_whole[j] &= bool(((values >= 0) & (values == np.floor(values)) & (values < np.inf)).all())
            if self.is_whole[j]:
                # The exponent of x is e if 2 ** (e - 1) <= x < 2 ** e, and that of 0 is 0.
                octaves = np.minimum(np.frexp(values)[1], N_OCTAVES - 1)
                self.rows[j] += np.bincount(octaves, minlength=N_OCTAVES)

    def merge(self, other: OctaveCounts) -> None:
        """Add the rows of another partition."""
        self.rows += other.rows
        self.is_whole &= other.is_whole

    def is_count(self) -> NDArray[np.bool_]:
        """Return which features are counts: whole numbers of at least 0, some of them above 1."""
        result: NDArray[np.bool_] = self.is_whole & (self.rows[:, 2:].sum(axis=1) > 0)
        return result


def bands_of(
    features: Sequence[str],
    counts: OctaveCounts,
    sampled: Sequence[NDArray[Any]],
    profile: TableProfile,
    min_group: int,
) -> SizeBands:
    """Return the bands of a table.

    Parameters
    ----------
    features : sequence of str
        Names of the features.
    counts : OctaveCounts
        Counts of all rows.
    sampled : sequence of ndarray
        Values of each feature in the rows of `sampled_rows`, from which correlations are computed.
    profile : TableProfile
        Profile of the table. Its features that only grow, or look like identifiers or labels, tell no size.
    min_group : int
        Minimum number of rows of a band, if it is above 100.

    Raises
    ------
    ValueError
        If no feature is a count, or fewer than two bands have enough rows.
    """
    other = {*profile.growing, *profile.id_like, *profile.label_like}
    candidates = [j for j in np.flatnonzero(counts.is_count()).tolist() if features[j] not in other]
    if not candidates:
        raise ValueError(
            f"groups={SIZE!r} needs a count, and the table has none: a feature of whole numbers of at least 0, some of "
            "them above 1, which does not only grow; add one, such as the number of events, or leave groups out"
        )
    # Rounding makes the choice independent of the order in which a processor adds.
    correlations = np.round(rank_correlations([sampled[j] for j in candidates]), 9)
    np.fill_diagonal(correlations, 0.0)
    squares = np.maximum(correlations, 0.0) ** 2
    sums = np.round(squares.sum(axis=1), 9)
    best = int(np.argmax(sums))
    j = candidates[best]
    min_rows = max(MIN_BAND_ROWS, min_group)
    lowest_octaves, n_rows = [], 0
    for octave in range(N_OCTAVES - 1, -1, -1):
        n_rows += int(counts.rows[j, octave])
        if n_rows >= min_rows:
            lowest_octaves.append(octave)
            n_rows = 0
    # The lowest band also has the rows that are too few for a band of their own.
    edges = tuple(2 ** (octave - 1) for octave in reversed(lowest_octaves[:-1]))
    if not edges:
        raise ValueError(
            f"groups={SIZE!r} needs at least two bands of {min_rows:,} rows, but the {int(counts.rows[j].sum()):,} "
            f"values of {features[j]!r}, which explains most of the counts, make only {len(lowest_octaves)}; leave "
            "groups out, or name a column with groups"
        )
    n_others = len(candidates) - 1
    return SizeBands(features[j], edges, len(candidates), float(sums[best] / n_others) if n_others else None)


def size_of_frame(features: pd.DataFrame, profile: TableProfile, min_group: int) -> SizeBands:
    """Return the bands of a table in memory; `bands_of` describes the errors."""
    columns = [column_numbers(features.iloc[:, j]) for j in range(features.shape[1])]
    counts = OctaveCounts(len(columns))
    counts.add(columns)
    rows = sampled_rows(len(features))
    sampled = [np.asarray(column[rows], dtype=np.float64) for column in columns]
    return bands_of(list(features.columns), counts, sampled, profile, min_group)
