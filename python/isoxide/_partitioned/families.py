"""Families of features of a partitioned table, from the same rows as in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoxide._frames.columns import plain_numbers
from isoxide._partitioned.profile import ProfiledTable
from isoxide.ueba._families import families_of, sampled_rows

__all__ = ["sampled_columns", "sampled_families"]


def sampled_families(table: ProfiledTable) -> list[list[int]]:
    """Return the families of the features of a table, in one more pass."""
    return families_of(sampled_columns(table))


def sampled_columns(table: ProfiledTable) -> list[NDArray[Any]]:
    """Return the values of each feature in the sampled rows, in one pass; missing ones are NaN."""
    rows = table.engine.fetch(sampled_rows(table.n_rows), table.features)
    return [np.asarray(plain_numbers(rows[name]).to_numpy(), dtype=np.float64) for name in table.features]
