"""Families of features of a partitioned table, from the same rows as in memory."""

from __future__ import annotations

from isoxide._frames.columns import plain_numbers
from isoxide._partitioned.profile import ProfiledTable
from isoxide.ueba._families import families_of, sampled_rows

__all__ = ["sampled_families"]


def sampled_families(table: ProfiledTable) -> list[list[int]]:
    """Return the families of the features of a table, in one more pass."""
    rows = table.engine.fetch(sampled_rows(table.n_rows), table.features)
    return families_of([plain_numbers(rows[name]).to_numpy() for name in table.features])
