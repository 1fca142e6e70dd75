"""Shares of features in what makes findings anomalous, from the contributions to their scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isoxide._common.format import format_share
from isoxide._forest.estimator import IsolationForest
from isoxide._forest.explain import base_value
from isoxide.ueba import _fields as fields
from isoxide.ueba._families import families_of

__all__ = [
    "Explained",
    "Part",
    "SharedBy",
    "check_families",
    "explain_rows",
    "families_of_frame",
    "load_explained",
    "parts_of",
]

#: Largest magnitude of a contribution in a file: a score is between 2**-1 and 2**-1000 times its expectation at most.
_MAX_CONTRIBUTION = 1e6
#: Features or families that a summary names before it adds up the rest, and features of a family that it names.
_NAMED, _NAMED_MEMBERS = 4, 3


class SharedBy(NamedTuple):
    """Share of a feature or of a family in what makes a finding anomalous."""

    #: Indices of the features, the one with the largest share first.
    features: list[int]
    share: float


@dataclass(frozen=True)
class Explained:
    """Contributions to the scores of findings.

    Parameters
    ----------
    contributions : ndarray of float64, shape (n_findings, n_features)
        Contributions to the binary logarithm of the anomaly score, as `IsolationForest.explain` returns them: a
        positive value makes a row more anomalous.
    expected : float
        Binary logarithm of the anomaly score of a row of which nothing is known.
    families : list of list of int
        Indices of the features of each family.
    """

    contributions: NDArray[np.float64]
    expected: float
    families: list[list[int]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return what a document of findings holds besides the contributions."""
        return {"expected": self.expected, "families": self.families}

    def shares(self, rows: slice = slice(None)) -> NDArray[np.float64]:
        """Return the share of each feature in what makes each of the given findings anomalous, from 0 to 1."""
        positive = np.maximum(self.contributions[rows], 0.0)
        total = positive.sum(axis=1, keepdims=True)
        shares = np.zeros(positive.shape)
        np.divide(positive, total, out=shares, where=total > 0)
        return shares

    def by_family(self, shares: NDArray[np.float64]) -> list[SharedBy]:
        """Add up the shares of a finding by family; the largest share comes first, and shares of 0 are left out.

        Parameters
        ----------
        shares : ndarray of shape (n_features,)
            Shares of the features of the finding.
        """
        alone = set(range(len(shares))) - {j for family in self.families for j in family}
        groups = [*self.families, *([j] for j in alone)]
        shared = []
        for group in groups:
            members = sorted((j for j in group if shares[j] > 0), key=lambda j: (-shares[j], j))
            if members:
                shared.append(SharedBy(members, float(sum(shares[j] for j in members))))
        return sorted(shared, key=lambda item: (-item.share, item.features[0]))


class Part(NamedTuple):
    """Part of the summary of a finding's shares: what it names, and its share as text."""

    #: Indices of the features that are named; empty for all other features together.
    named: list[int]
    #: Number of features that are not named.
    n_more: int
    share: str


def parts_of(explained: Explained, shares: NDArray[np.float64]) -> Iterator[Part]:
    """Yield the largest families or features of a finding, and then the sum of all others."""
    groups = explained.by_family(shares)
    n_named = _NAMED if len(groups) > _NAMED + 1 else len(groups)
    for features, share in groups[:n_named]:
        named = features if len(features) <= _NAMED_MEMBERS + 1 else features[:_NAMED_MEMBERS]
        yield Part(named, len(features) - len(named), format_share(share))
    if rest := groups[n_named:]:
        yield Part([], sum(len(group.features) for group in rest), format_share(sum(group.share for group in rest)))


def explain_rows(forest: IsolationForest, rows: pd.DataFrame, families: list[list[int]]) -> Explained:
    """Explain the scores of the rows of findings.

    Parameters
    ----------
    forest : IsolationForest
        Forest that scored the rows.
    rows : pandas.DataFrame
        Features of the findings.
    families : list of list of int
        Indices of the features of each family.
    """
    expected = base_value(forest._fitted, "log2")
    if not len(rows):
        return Explained(np.empty(rows.shape), expected, families)
    is_named = hasattr(forest, "feature_names_in_")
    return Explained(np.asarray(forest.explain(rows if is_named else rows.to_numpy())), expected, families)


def families_of_frame(rows: pd.DataFrame) -> list[list[int]]:
    """Return the families of the columns of a frame of sampled rows."""
    return families_of([rows[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in rows.columns])


def load_explained(entry: Any, rows: list[dict[str, Any]], n_features: int) -> Explained | None:
    """Check the contributions of a document of findings; None if it has none.

    Raises
    ------
    KeyError, ValueError
        If a field is missing or invalid.
    """
    if entry is None:
        return None
    if not isinstance(entry, dict):
        raise ValueError("'explanation' must be an object")
    bounds = -_MAX_CONTRIBUTION, _MAX_CONTRIBUTION
    expected = float(fields.numbers([entry["expected"]], "expected", *bounds)[0])
    contributions = fields.matrix(rows, "contributions", n_features, low=bounds[0], high=bounds[1])
    if np.isnan(contributions).any() or np.isnan(expected):
        raise ValueError("a 'contribution' is missing")
    return Explained(contributions, expected, check_families(entry["families"], n_features))


def check_families(families: Any, n_features: int) -> list[list[int]]:
    """Check the families of a document: lists of indices of features, each of which occurs once.

    Raises
    ------
    ValueError
        If they are something else.
    """
    if not isinstance(families, list) or len(families) > n_features:
        raise ValueError("'families' must be a list, not longer than the features")
    checked: list[list[int]] = []
    for family in families:
        if not isinstance(family, list) or len(family) > n_features:
            raise ValueError("each of 'families' must be a list, not longer than the features")
        checked.append(fields.integers(family, "families", 0, n_features - 1).tolist())
    members = [j for family in checked for j in family]
    if len(set(members)) != len(members):
        raise ValueError("'families' must not name a feature twice")
    return checked
