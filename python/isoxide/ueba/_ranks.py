"""Ranks of some rows of a table, among all of its rows or those of their group."""

from __future__ import annotations

import pandas as pd

from isoxide import FeatureRanks, rank_features
from isoxide.ueba._table import FeatureTable

__all__ = ["rank_rows"]


def rank_rows(
    table: FeatureTable,
    rows: pd.Index,
    *,
    kind: str,
    tail: str,
    groups: str | None,
    zscores: str,
    nan_policy: str,
    n_jobs: int | None,
) -> FeatureRanks:
    """See `detect`; `rows` are labels of ``table.frame``."""
    peers = None
    if groups is not None:
        if groups not in table.frame.columns:
            raise ValueError(f"groups={groups!r} is no column of the table")
        labels = table.frame[groups]
        peers = (labels.loc[rows].to_numpy(), labels.to_numpy())
    return rank_features(
        table.X.loc[rows],
        table.X,
        kind=kind,
        tail=tail,
        groups=peers,
        last=zscores,
        nan_policy=nan_policy,
        n_jobs=n_jobs,
    )
