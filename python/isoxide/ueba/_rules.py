"""Rules: which features of a finding are out of the ordinary by a fixed standard, and by which one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isoxide._common.patterns import select

__all__ = ["Flag", "Percentile", "Rule", "ZScore", "apply_rules", "asked_quantiles", "default_rules"]

#: Gives a quantile of a column by its name, as ``pandas.Series.quantile`` does.
Quantile = Callable[[str, float], float]


class _Standard(NamedTuple):
    """One limit that values are held against: which columns it is for, and which values it flags."""

    columns: list[str]
    code: str
    limits: NDArray[np.float64]
    is_inclusive: bool
    is_positive: bool


#: Defaults of user behaviour analytics, which `domain_defaults=False` switches off: names of z-scores, of flags, and of
#: the flags that reports list whenever they are set.
ZSCORES = "*zscore*"
FLAGS = ("leaver_action", "is_weekend")
SHOWN_FLAGS = ("is_weekend",)


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

    def _standards(self, names: Sequence[str], quantile: Quantile) -> list[_Standard]:
        """Return the limit of the columns that are z-scores."""
        columns = select(names, self.columns)
        return [_Standard(columns, self.code, np.full(len(columns), float(self.limit)), True, False)]


@dataclass(frozen=True)
class Flag:
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
    >>> ueba.Flag(["leaver_action", "is_weekend"]).code
    'flag'
    """

    columns: Sequence[str]
    code: str = "flag"

    def _standards(self, names: Sequence[str], quantile: Quantile) -> list[_Standard]:
        """Return the limit of the flags, which is zero."""
        columns = select(names, self.columns)
        return [_Standard(columns, self.code, np.zeros(len(columns)), False, True)]


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

    def _standards(self, names: Sequence[str], quantile: Quantile) -> list[_Standard]:
        """Return the percentiles of each column, the highest first."""
        return [
            _Standard(
                list(names),
                f">=p{percent:g}",
                np.array([quantile(name, percent / 100) for name in names], dtype=np.float64),
                True,
                True,
            )
            for percent in sorted(self.percents, reverse=True)
        ]


Rule = ZScore | Flag | Percentile


def default_rules(zscores: str | None = ZSCORES, *, domain_defaults: bool = True) -> list[Rule]:
    """Return the rules that apply if none are given.

    Parameters
    ----------
    zscores : str or None, default="*zscore*"
        Name or pattern of the features that are z-scores, which are flagged from 3 on. None means that no feature is.
    domain_defaults : bool, default=True
        Whether the usual flags are flagged whenever they are above zero.

    Returns
    -------
    list of rule
        Rules for z-scores, for flags, and for values that reach the 99th or the 95th percentile, in this order.
    """
    rules: list[Rule] = [Percentile((99, 95))]
    if domain_defaults:
        rules.insert(0, Flag(FLAGS))
    if zscores is not None:
        rules.insert(0, ZScore(columns=zscores))
    return rules


def asked_quantiles(rules: Iterable[Rule]) -> list[float]:
    """Return the quantiles, from 0 to 1, that some rules ask for.

    Raises
    ------
    ValueError
        If a percentile is not from 0 to 100.
    """
    percents = [percent for rule in rules if isinstance(rule, Percentile) for percent in rule.percents]
    for percent in percents:
        if not 0 <= percent <= 100:
            raise ValueError(f"Percentile has {percent!r} among its percents, which must be from 0 to 100")
    return list(dict.fromkeys(percent / 100 for percent in percents))


def apply_rules(
    rules: Iterable[Rule], names: Sequence[str], values: NDArray[np.float64], quantile: Quantile
) -> pd.DataFrame:
    """Judge every value of some rows by the first rule that flags it.

    Parameters
    ----------
    rules : list of rule
        In the order in which they are tried. A column that a `ZScore` takes is left alone by all others.
    names : sequence of str
        Names of the features.
    values : ndarray of shape (n_rows, n_features)
        The rows.
    quantile : callable
        Gives the quantile of a column by its name and a number from 0 to 1: what percentiles are taken of.

    Returns
    -------
    DataFrame
        A line per value flagged, row by row in the order of the features: ``row`` (its number), ``feature``,
        ``value``, ``rule`` and ``limit``.
    """
    rules, positions = list(rules), {name: j for j, name in enumerate(names)}
    zscores = {name for rule in rules if isinstance(rule, ZScore) for name in select(names, rule.columns)}
    standard_of = np.full(values.shape, -1, dtype=np.int32)
    limits = np.full(values.shape, np.nan)
    codes: list[str] = []
    for rule in rules:
        for standard in rule._standards(names, quantile):
            kept = [isinstance(rule, ZScore) or name not in zscores for name in standard.columns]
            columns = np.array([positions[name] for name in standard.columns], dtype=np.intp)[kept]
            limit = standard.limits[kept]
            own = values[:, columns]
            flagged = own >= limit if standard.is_inclusive else own > limit
            if standard.is_positive:
                flagged &= own > 0
            rows, which = np.nonzero(flagged & (standard_of[:, columns] < 0))
            standard_of[rows, columns[which]] = len(codes)
            limits[rows, columns[which]] = limit[which]
            codes.append(standard.code)
    rows, columns = np.nonzero(standard_of >= 0)
    return pd.DataFrame(
        {
            "row": rows,
            "feature": pd.Series([names[int(j)] for j in columns], dtype=object).astype(str),
            "value": values[rows, columns],
            "rule": pd.Series([codes[k] for k in standard_of[rows, columns]], dtype=object).astype(str),
            "limit": limits[rows, columns],
        }
    )
