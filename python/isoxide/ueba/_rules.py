"""Rules: which features of a finding are out of the ordinary by a fixed standard, and by which one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["Fixed", "Percentile", "Rule", "ZScore", "apply_rules", "default_rules"]

#: What columns of z-scores are usually called.
ZSCORES = "*zscore*"


@dataclass(frozen=True)
class ZScore:
    """Columns that are z-scores already are flagged from a limit on; no other rule looks at them.

    Parameters
    ----------
    limit : float, default=3.0
        Values at or above it are flagged.
    columns : str, default="*zscore*"
        Pattern of the columns' names.

    Examples
    --------
    >>> from isoxide import ueba
    >>> ueba.ZScore(3, columns="z_*").code
    'zscore>=3'
    """

    limit: float = 3.0
    columns: str = ZSCORES

    @property
    def code(self) -> str:
        """What a finding is marked with."""
        return f"zscore>={self.limit:g}"

    def _takes(self, name: str) -> bool:
        """Whether a column is this rule's alone."""
        return fnmatchcase(name, self.columns)

    def _flag(
        self, name: str, values: NDArray[np.float64], reference: pd.Series
    ) -> list[tuple[NDArray[np.bool_], str, float]]:
        """Which values of a column are flagged, with the code and the limit."""
        return [(values >= self.limit, self.code, float(self.limit))] if self._takes(name) else []


@dataclass(frozen=True)
class Fixed:
    """Flags: columns that are out of the ordinary whenever they are above zero.

    Parameters
    ----------
    columns : sequence of str
        Names or patterns of the columns.
    code : str, default="flag"
        What a finding is marked with.

    Examples
    --------
    >>> from isoxide import ueba
    >>> ueba.Fixed(["leaver_action", "is_weekend"]).code
    'flag'
    """

    columns: Sequence[str]
    code: str = "flag"

    def _flag(
        self, name: str, values: NDArray[np.float64], reference: pd.Series
    ) -> list[tuple[NDArray[np.bool_], str, float]]:
        """Which values of a column are flagged, with the code and the limit."""
        columns = [self.columns] if isinstance(self.columns, str) else self.columns
        return [(values > 0, self.code, 0.0)] if any(fnmatchcase(name, column) for column in columns) else []


@dataclass(frozen=True)
class Percentile:
    """Values above zero that reach a percentile of the reference are flagged.

    Parameters
    ----------
    percents : sequence of float, default=(99, 95)
        The highest one reached counts.

    Examples
    --------
    >>> from isoxide import ueba
    >>> ueba.Percentile((95, 99)).percents
    (95, 99)
    """

    percents: Sequence[float] = (99, 95)

    def _flag(
        self, name: str, values: NDArray[np.float64], reference: pd.Series
    ) -> list[tuple[NDArray[np.bool_], str, float]]:
        """Which values of a column are flagged, with the code and the limit."""
        found = []
        for percent in sorted(self.percents, reverse=True):
            limit = float(reference.quantile(percent / 100))
            found.append(((values >= limit) & (values > 0), f">=p{percent:g}", limit))
        return found


Rule = ZScore | Fixed | Percentile


def default_rules(zscores: str = ZSCORES) -> list[Rule]:
    """Z-scores from 3 on, flags of weekends and leavers, and the upper 1 % and 5 % of all else."""
    return [ZScore(columns=zscores), Fixed(["leaver_action", "is_weekend"]), Percentile((99, 95))]


def numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame with its booleans as numbers: pandas knows no quantiles of these."""
    booleans = [name for name in frame.columns if pd.api.types.is_bool_dtype(frame[name].dtype)]
    return frame.astype(dict.fromkeys(booleans, "uint8")) if booleans else frame


def apply_rules(rules: Iterable[Rule], values: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Judges every value of some rows by the first rule that flags it.

    Parameters
    ----------
    rules : list of rule
        In the order in which they are tried. A column that a `ZScore` takes is left alone by all others.
    values : DataFrame of shape (n_rows, n_features)
        The rows.
    reference : DataFrame of shape (n_samples, n_features)
        What percentiles are taken of.

    Returns
    -------
    DataFrame
        A line per value flagged, row by row in the order of the features: ``row`` (its number), ``feature``,
        ``value``, ``rule`` and ``limit``.
    """
    rules = list(rules)
    if isinstance(reference, pd.DataFrame):
        reference = numbers(reference)
    parts = []
    for place, name in enumerate(values.columns):
        column = values[name].to_numpy(dtype=np.float64, na_value=np.nan)
        free = np.ones(len(column), dtype=bool)
        taken = any(isinstance(rule, ZScore) and rule._takes(name) for rule in rules)
        for rule in rules:
            if taken and not isinstance(rule, ZScore):
                continue
            for flagged, code, limit in rule._flag(name, column, reference[name]):
                rows = np.flatnonzero(flagged & free)
                free[rows] = False
                part = {
                    "row": rows,
                    "place": place,
                    "feature": name,
                    "value": column[rows],
                    "rule": code,
                    "limit": limit,
                }
                parts.append(pd.DataFrame(part))
    columns = ["row", "feature", "value", "rule", "limit"]
    if not any(len(part) for part in parts):
        return pd.DataFrame({name: [] for name in columns})
    flags = pd.concat([part for part in parts if len(part)], ignore_index=True)
    return flags.sort_values(["row", "place"], kind="stable", ignore_index=True)[columns]
