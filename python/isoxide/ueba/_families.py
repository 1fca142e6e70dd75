"""Families of features that move together, whose shares in a finding are added up.

Trees split by any one of several features that say the same, so a forest divides what they explain among them. Ten
counters of the same mails then have 6 % each, and a single odd hour with 9 % seems to matter most. Added up, the
counters have 60 %.

A family is a set of features of which each two have a rank correlation (Spearman) of at least 0.8 or at most -0.8 in a
sample of the table. Families are the clusters of complete linkage at that height.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MIN_CORRELATION", "families_of", "rank_correlations", "sampled_rows"]

#: Smallest magnitude of the rank correlation of two features of a family.
MIN_CORRELATION = 0.8
#: Number of rows that correlations are computed from. Their standard error is then below 0.006 at 0.8.
MAX_SAMPLED_ROWS = 4_096


def sampled_rows(n_rows: int) -> NDArray[np.int64]:
    """Return the numbers of the rows that correlations are computed from: all rows, or evenly spaced ones."""
    n = min(n_rows, MAX_SAMPLED_ROWS)
    return np.arange(n, dtype=np.int64) * n_rows // max(n, 1)


def families_of(columns: list[NDArray[Any]]) -> list[list[int]]:
    """Return the families of at least two features.

    Parameters
    ----------
    columns : list of ndarray of float64
        Values of each feature in the sampled rows. Missing values count as values in the middle.

    Returns
    -------
    list of list of int
        Indices of the features of each family, in ascending order; the family with the first feature comes first.

    Examples
    --------
    >>> import numpy as np
    >>> from isoxide.ueba._families import families_of
    >>> x = np.arange(50.0)
    >>> families_of([x, np.sin(x), -(x**3), np.ones(50)])
    [[0, 2]]
    """
    # Only detection needs families, so the other commands start without the time of this import.
    import scipy.cluster.hierarchy
    import scipy.spatial.distance

    if len(columns) < 2 or not len(columns[0]):
        return []
    # Rounding makes the result independent of the order in which a processor adds.
    distances = np.round(1 - np.abs(rank_correlations(columns)), 9)
    np.fill_diagonal(distances, 0.0)
    condensed = scipy.spatial.distance.squareform(np.maximum(distances, 0.0), checks=False)
    tree = scipy.cluster.hierarchy.linkage(condensed, method="complete")
    labels = scipy.cluster.hierarchy.fcluster(tree, t=round(1 - MIN_CORRELATION, 9), criterion="distance")
    families: dict[int, list[int]] = {}
    for j, label in enumerate(labels.tolist()):
        families.setdefault(label, []).append(j)
    return [family for family in families.values() if len(family) > 1]


def rank_correlations(columns: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """Return the rank correlations (Spearman) of all pairs of columns; 0 for a constant column.

    Parameters
    ----------
    columns : sequence of ndarray of float64
        Columns of equal lengths. Missing values count as values in the middle.
    """
    scores = np.array([_rank_scores(column) for column in columns])
    # einsum adds on one thread, while the threads of a matrix product would take a hundred times as long on a busy
    # machine.
    correlations: NDArray[np.float64] = np.einsum("in,jn->ij", scores, scores)
    return correlations


def _rank_scores(column: NDArray[Any]) -> NDArray[np.float64]:
    """Return the ranks of a column with the mean 0 and the length 1; all 0 if the column is constant."""
    import scipy.stats

    is_known = ~np.isnan(column)
    scores = np.zeros(len(column))
    if is_known.any():
        ranks = scipy.stats.rankdata(column[is_known])
        scores[is_known] = ranks - ranks.mean()
    length = np.sqrt(scores @ scores)
    return scores / length if length > 0 else scores
