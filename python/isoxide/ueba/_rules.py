"""Rules that flag unusual values of a finding by fixed limits.

Each rule becomes one or more checks, and a check has a limit for each of its columns. The first check that a value
meets flags it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isoxide._common.patterns import select
from isoxide._ranks.options import ZSCORES

__all__ = [
    "ZSCORES",
    "Flag",
    "Percentile",
    "Rule",
    "ZScore",
    "apply_rules",
    "default_rules",
    "quantiles_of_rules",
    "rules_of_list",
    "rules_to_list",
]

#: Function that returns the quantile of a column, given its name and a number from 0 to 1.
Quantile = Callable[[str, float], float]


class _Check(NamedTuple):
    """Limits of columns, and the code that marks the values beyond them."""

    columns: list[str]
    code: str
    #: Limit of each of the columns.
    limits: NDArray[np.float64]
    #: Whether values equal to the limit are flagged too.
    is_inclusive: bool
    #: Whether only values above zero are flagged.
    is_positive: bool


#: Defaults of user behaviour analytics, which `domain_defaults=False` switches off together with `ZSCORES`: names of
#: flags, and names of the flags that reports list whenever they are set.
FLAGS = ("leaver_action", "is_weekend")
SHOWN_FLAGS = ("is_weekend",)


@dataclass(frozen=True)
class ZScore:
    """Rule that flags high values of columns that already are z-scores; all other rules skip these columns.

    Parameters
    ----------
    limit : float, default=3.0
        Values at or above it are flagged.
    columns : str, default="*zscore*"
        Name or pattern of the z-score columns.

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
        """Return the text that marks values which this rule flags."""
        return f"zscore>={self.limit:g}"

    def _checks(self, names: Sequence[str], quantile: Quantile) -> list[_Check]:
        """Return the limit of the columns that are z-scores."""
        columns = select(names, self.columns)
        return [_Check(columns, self.code, np.full(len(columns), float(self.limit)), True, False)]


@dataclass(frozen=True)
class Flag:
    """Rule that flags every value above zero of given columns.

    Parameters
    ----------
    columns : sequence of str
        Names or patterns of the columns.
    code : str, default="flag"
        Text that marks values which this rule flags.

    Examples
    --------
    >>> from isoxide import ueba
    >>> ueba.Flag(["leaver_action", "is_weekend"]).code
    'flag'
    """

    columns: Sequence[str]
    code: str = "flag"

    def _checks(self, names: Sequence[str], quantile: Quantile) -> list[_Check]:
        """Return the limit of the columns, which is zero."""
        columns = select(names, self.columns)
        return [_Check(columns, self.code, np.zeros(len(columns)), False, True)]


@dataclass(frozen=True)
class Percentile:
    """Rule that flags values above zero that reach a percentile of their column in the table.

    Parameters
    ----------
    percents : sequence of float, default=(99, 95)
        Percentiles, from 0 to 100. A value is marked with the highest one that it reaches.

    Examples
    --------
    >>> from isoxide import ueba
    >>> ueba.Percentile((95, 99)).percents
    (95, 99)
    """

    percents: Sequence[float] = (99, 95)

    def _checks(self, names: Sequence[str], quantile: Quantile) -> list[_Check]:
        """Return the percentiles of each column, the highest first."""
        return [
            _Check(
                list(names),
                f">=p{percent:g}",
                np.array([quantile(name, percent / 100) for name in names], dtype=np.float64),
                True,
                True,
            )
            for percent in sorted(self.percents, reverse=True)
        ]


Rule = ZScore | Flag | Percentile


#: Largest absolute limit of a rule in a document.
MAX_LIMIT = 1e300
#: Kinds of rules by their names in documents.
_KINDS: dict[str, Callable[..., Rule]] = {"zscore": ZScore, "flag": Flag, "percentile": Percentile}


def rules_to_list(rules: Iterable[Rule]) -> list[dict[str, Any]]:
    """Return rules as dicts for JSON: the kind as ``rule``, and the fields."""
    kinds: dict[Any, str] = {kind: name for name, kind in _KINDS.items()}
    return [
        {
            "rule": kinds[type(rule)],
            **{k: v if isinstance(v, (str, int, float)) else list(v) for k, v in asdict(rule).items()},
        }
        for rule in rules
    ]


def rules_of_list(entries: Any) -> list[Rule]:
    """Return the rules that `rules_to_list` converted. Untrusted input is safe: every field is checked.

    Raises
    ------
    KeyError, TypeError, ValueError
        If a rule has an unknown kind, or an unknown or wrong field.
    """
    if not isinstance(entries, list):
        raise TypeError("'rules' must be a list")
    rules = []
    for entry in entries:
        own: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
        rule = _KINDS[own.pop("rule")](**own)
        if isinstance(rule, ZScore):
            is_right = _is_number(rule.limit) and _is_text(rule.columns)
        elif isinstance(rule, Flag):
            is_right = isinstance(rule.columns, tuple) and all(map(_is_text, rule.columns)) and _is_text(rule.code)
        else:
            is_right = isinstance(rule.percents, tuple) and all(map(_is_number, rule.percents))
        if not is_right:
            raise ValueError(f"the rule {entry['rule']!r} has a field of the wrong type")
        rules.append(rule)
    return rules


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= MAX_LIMIT


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def default_rules(zscores: str | None = ZSCORES, *, domain_defaults: bool = True) -> list[Rule]:
    """Return the rules that apply if none are given.

    Parameters
    ----------
    zscores : str or None, default="*zscore*"
        Name or pattern of the features that are z-scores, which are flagged at 3 or more. None means no feature.
    domain_defaults : bool, default=True
        Whether to flag ``leaver_action`` and ``is_weekend`` whenever they are above zero.

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


def quantiles_of_rules(rules: Iterable[Rule]) -> list[float]:
    """Return the distinct quantiles, from 0 to 1, that the rules need.

    Raises
    ------
    ValueError
        If a percentile is not from 0 to 100.
    """
    percents = [percent for rule in rules if isinstance(rule, Percentile) for percent in rule.percents]
    for percent in percents:
        if not 0 <= percent <= 100:
            raise ValueError(f"percents of the rule Percentile contain {percent!r}; each must be from 0 to 100")
    return list(dict.fromkeys(percent / 100 for percent in percents))


def apply_rules(
    rules: Iterable[Rule], names: Sequence[str], values: NDArray[np.float64], quantile: Quantile
) -> pd.DataFrame:
    """Return the values that rules flag, each with the first rule that flags it.

    Parameters
    ----------
    rules : list of rule
        Rules in the order in which they are tried. A column that a `ZScore` rule names is skipped by all other rules.
    names : sequence of str
        Names of the features.
    values : ndarray of shape (n_rows, n_features)
        Values to check.
    quantile : callable
        Function that returns a quantile of a column of the table, given its name and a number from 0 to 1.

    Returns
    -------
    DataFrame
        One row per flagged value, ordered by row and then by feature: ``row`` (index of the row of `values`),
        ``feature``, ``value``, ``rule`` (the code of the rule) and ``limit``.
    """
    rules, positions = list(rules), {name: j for j, name in enumerate(names)}
    zscores = {name for rule in rules if isinstance(rule, ZScore) for name in select(names, rule.columns)}
    check_of = np.full(values.shape, -1, dtype=np.int32)
    limits = np.full(values.shape, np.nan)
    codes: list[str] = []
    for rule in rules:
        for check in rule._checks(names, quantile):
            applies = [isinstance(rule, ZScore) or name not in zscores for name in check.columns]
            columns = np.array([positions[name] for name in check.columns], dtype=np.intp)[applies]
            limit = check.limits[applies]
            checked = values[:, columns]
            flagged = checked >= limit if check.is_inclusive else checked > limit
            if check.is_positive:
                flagged &= checked > 0
            rows, indices = np.nonzero(flagged & (check_of[:, columns] < 0))
            check_of[rows, columns[indices]] = len(codes)
            limits[rows, columns[indices]] = limit[indices]
            codes.append(check.code)
    rows, columns = np.nonzero(check_of >= 0)
    return pd.DataFrame(
        {
            "row": rows,
            "feature": pd.Series([names[int(j)] for j in columns], dtype=object).astype(str),
            "value": values[rows, columns],
            "rule": pd.Series([codes[k] for k in check_of[rows, columns]], dtype=object).astype(str),
            "limit": limits[rows, columns],
        }
    )
