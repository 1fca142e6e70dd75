"""Checks of features that often are mistakes: labels, equal columns, and counters that only grow for each entity.

Each check works on batches and merges the results of partitions, so a table gets the same warnings on every engine:

    looks_like_label  a name and two values, known from the sketch of the column
    EqualColumns      classes of columns that have been equal in every batch; merging refines the classes
    Growth            the earliest times of a sample of entities, the same sample whatever the order of the rows

Nothing is left out because of a check; the profile of the table tells.
"""

from __future__ import annotations

import heapq
import re
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from isoxide._frames.times import CodedTimes

__all__ = ["EqualColumns", "Growth", "looks_like_label"]

#: Words that name what an anomaly detector should find. Names such as ``is_weekend`` and ``is_admin`` are features.
_LABEL = re.compile(
    r"labels?|targets?|ground_?truth|truth|class|outcomes?|verdicts?|y|y_true|(?:is|was|has|true)_?(?:label|target|"
    r"anomal(?:y|ous)|outlier|abnormal|attack(?:er)?|malicious|malware|fraud(?:ulent)?|insider|threat|incident|intrusion|"
    r"compromised?|breach(?:ed)?|infected|bad|evil|suspicious|positive|alert(?:ed)?|scanner|bot|tp)",
)
#: Number of entities in the sample of `Growth`, and of their earliest times that are kept.
MAX_ENTITIES, MAX_TIMES = 256, 100
#: A counter grows in at least this share of the steps from one time of an entity to the next, of which there must be
#: this number: 20 steps of random values never decrease only once in 2**20 cases.
_GROWING_SHARE, _MIN_STEPS = 0.5, 20


def looks_like_label(name: str, low: float, high: float, n_distinct: int | None) -> bool:
    """Return whether a feature looks like the label of the rows: by its name, and since its values are 0 and 1.

    Parameters
    ----------
    name : str
        Name of the feature.
    low, high : float
        Smallest and largest value.
    n_distinct : int or None
        Number of distinct values; None if there are too many to be counted.

    Examples
    --------
    >>> from isoxide._frames.checks import looks_like_label
    >>> [looks_like_label(name, 0.0, 1.0, 2) for name in ("Label", "isFraud", "is_weekend", "n_targets")]
    [True, True, False, False]
    """
    # "isFraud" becomes "is_fraud".
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    plain = re.sub(r"[\W_]+", "_", plain).strip("_").lower()
    return n_distinct == 2 and (low, high) == (0.0, 1.0) and _LABEL.fullmatch(plain) is not None


class EqualColumns:
    """Columns that are equal in all batches so far.

    Parameters
    ----------
    names : list of str
        Names of the columns.
    """

    def __init__(self, names: Iterable[str]) -> None:
        #: For each column, the first column that it has been equal to.
        self.first = dict.fromkeys(names, "")
        for name in self.first:
            self.first[name] = next(iter(self.first))

    def update(self, columns: dict[str, NDArray[Any]]) -> None:
        """Separate columns that differ in a batch; missing values are equal to each other."""
        for members in self._classes():
            remaining = members
            while len(remaining) > 1:
                lead, *others = remaining
                equal = {name for name in others if np.array_equal(columns[lead], columns[name], equal_nan=True)}
                for name in [lead, *equal]:
                    self.first[name] = lead
                remaining = [name for name in others if name not in equal]
            for name in remaining:
                self.first[name] = name

    def merge(self, other: EqualColumns) -> None:
        """Separate columns that differ in another partition."""
        leads: dict[tuple[str, str], str] = {}
        self.first = {name: leads.setdefault((own, other.first[name]), name) for name, own in self.first.items()}

    def groups(self, names: Iterable[str]) -> list[list[str]]:
        """Return the groups of at least two equal columns among the given ones."""
        wanted = set(names)
        groups = ([name for name in members if name in wanted] for members in self._classes())
        return [group for group in groups if len(group) > 1]

    def _classes(self) -> list[list[str]]:
        """Return the columns of each class that has several."""
        classes: dict[str, list[str]] = {}
        for name, lead in self.first.items():
            classes.setdefault(lead, []).append(name)
        return [members for members in classes.values() if len(members) > 1]


class Growth:
    """Sample of a table that tells which features only grow from each time of an entity to the next.

    The sample has the entities whose names have the lowest checksums, and the earliest times of each of them. For each
    time, it has the smallest and the largest value of each feature. So it does not depend on the order of the rows.

    Parameters
    ----------
    names : list of str
        Names of the features.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = list(names)
        #: Names of the entities in ascending order of checksum, and of name if these are equal.
        self.entities: list[str] = []
        self._keys: list[tuple[int, str]] = []
        #: Index of the entity, and time in microseconds, of each line of the sample.
        self.codes, self.times = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        self.low = self.high = np.empty((0, len(self.names)))

    def update(self, entities: pa.Array, times: pd.Series, columns: dict[str, NDArray[Any]]) -> None:
        """Add a batch.

        Parameters
        ----------
        entities : pyarrow.Array of strings
            Entity of each row; rows without one are left out.
        times : pandas.Series
            Time of each row.
        columns : dict of str to ndarray
            Values of each feature.
        """
        codes = self.admit(name for name in entities.unique().to_pylist() if name is not None)
        indices = pc.index_in(entities, value_set=pa.array(list(codes), type=entities.type))
        positions = np.append(np.array(list(codes.values()), dtype=np.int64), -1)
        codes_of_rows = positions[pc.fill_null(indices, -1).to_numpy(zero_copy_only=False)]
        self.add_rows(codes_of_rows, CodedTimes(times, np.arange(len(times))), columns)

    def add_rows(self, codes: NDArray[np.int64], times: CodedTimes, columns: dict[str, NDArray[Any]]) -> None:
        """Add the rows of entities of the sample.

        Parameters
        ----------
        codes : ndarray of int64
            Index of the entity of each row in `entities`, or -1 if it is not in the sample.
        times : CodedTimes
            Time of each row.
        columns : dict of str to ndarray
            Values of each feature.
        """
        rows = np.flatnonzero(codes >= 0)
        if not rows.size or not self.names:
            return
        codes, microseconds = codes[rows], times.microseconds[times.codes[rows]]
        # In a table that is ordered by time, nearly all rows are later than the times that are kept.
        early = microseconds <= self._latest()[codes]
        rows, codes, microseconds = rows[early], codes[early], microseconds[early]
        kept = _earliest(codes, microseconds)
        rows, codes, microseconds = rows[kept], codes[kept], microseconds[kept]
        if not rows.size:
            return
        values = np.empty((len(rows), len(self.names)))
        for j, name in enumerate(self.names):
            values[:, j] = columns[name][rows]
        self._add(codes, microseconds, values, values)

    def _latest(self) -> NDArray[np.int64]:
        """Return the latest time of each entity that may still be kept."""
        latest = np.full(len(self.entities), np.iinfo(np.int64).max)
        counts = np.bincount(self.codes, minlength=len(self.entities))
        is_full = counts >= MAX_TIMES
        # The lines are sorted by entity and time.
        latest[is_full] = self.times[np.cumsum(counts)[is_full] - 1]
        return latest

    def merge(self, other: Growth) -> None:
        """Add the sample of another partition."""
        codes = self.admit(other.entities)
        new = np.array([codes.get(name, -1) for name in other.entities], dtype=np.int64)
        if not len(new):
            return
        mapped = new[other.codes]
        kept = mapped >= 0
        self._add(mapped[kept], other.times[kept], other.low[kept], other.high[kept])

    def growing(self) -> list[str]:
        """Return the features that never decrease from one time of an entity to the next, and that often grow."""
        if len(self.codes) < 2:
            return []
        # The lines are sorted by entity and time.
        is_step = self.codes[1:] == self.codes[:-1]
        before, after = self.high[:-1][is_step], self.low[1:][is_step]
        with np.errstate(invalid="ignore"):
            n_steps = (~(np.isnan(before) | np.isnan(after))).sum(axis=0)
            decreases = (after < before).any(axis=0) | (self.low < self.high).any(axis=0)
            n_growing = (after > before).sum(axis=0)
        grows = ~decreases & (n_steps >= _MIN_STEPS) & (n_growing >= _GROWING_SHARE * n_steps)
        return [name for name, is_growing in zip(self.names, grows.tolist(), strict=True) if is_growing]

    def admit(self, names: Iterable[str]) -> dict[str, int]:
        """Take entities into the sample if their checksums are low enough; return the index of each entity in it."""
        limit = self._keys[-1] if len(self._keys) == MAX_ENTITIES else None
        keys = ((zlib.crc32(name.encode("utf-8", "surrogatepass")), name) for name in names)
        lower = (key for key in keys if limit is None or key < limit)
        # A batch has far more names than the sample, and only its lowest can come into it.
        new = set(heapq.nsmallest(MAX_ENTITIES, lower)) - set(self._keys)
        if new:
            chosen = sorted([*self._keys, *new])[:MAX_ENTITIES]
            index = {key: k for k, key in enumerate(chosen)}
            moved = np.array([index.get(key, -1) for key in self._keys], dtype=np.int64)
            self._keys, self.entities = chosen, [name for _, name in chosen]
            if len(self.codes):
                codes = moved[self.codes]
                kept = codes >= 0
                self.codes, self.times = codes[kept], self.times[kept]
                self.low, self.high = self.low[kept], self.high[kept]
        return {name: k for k, name in enumerate(self.entities)}

    def _add(
        self, codes: NDArray[np.int64], times: NDArray[np.int64], low: NDArray[np.float64], high: NDArray[np.float64]
    ) -> None:
        """Add lines, join those of the same entity and time, and keep the earliest times of each entity."""
        codes, times = np.concatenate([self.codes, codes]), np.concatenate([self.times, times])
        low, high = np.concatenate([self.low, low]), np.concatenate([self.high, high])
        if not len(codes):
            return
        order = np.lexsort((times, codes))
        codes, times = codes[order], times[order]
        starts = np.flatnonzero(np.r_[True, (np.diff(codes) != 0) | (np.diff(times) != 0)])
        self.codes, self.times = codes[starts], times[starts]
        # Missing values are left out unless all values of the time are missing.
        self.low, self.high = np.fmin.reduceat(low[order], starts), np.fmax.reduceat(high[order], starts)
        kept = _earliest(self.codes, self.times)
        self.codes, self.times = self.codes[kept], self.times[kept]
        self.low, self.high = self.low[kept], self.high[kept]


def _earliest(codes: NDArray[np.int64], times: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which lines have one of the `MAX_TIMES` earliest times of their entity."""
    order = np.lexsort((times, codes))
    codes, times = codes[order], times[order]
    is_first = np.r_[True, np.diff(codes) != 0]
    is_new = is_first | np.r_[True, np.diff(times) != 0]
    # Number of distinct times of the entity up to each line.
    n_times = np.cumsum(is_new)
    starts = np.flatnonzero(is_first)
    n_before = np.repeat(n_times[starts] - 1, np.diff(np.r_[starts, len(codes)]))
    kept = np.empty(len(codes), dtype=bool)
    kept[order] = n_times - n_before <= MAX_TIMES
    return kept
