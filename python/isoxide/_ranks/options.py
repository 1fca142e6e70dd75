"""Options that say how the features of findings are ranked."""

from __future__ import annotations

import numbers
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from isoxide._ranks.dtypes import RankDefinition

__all__ = ["MIN_GROUP", "ZSCORES", "RankOptions"]

#: Rows that a group must have before values are ranked among them.
MIN_GROUP = 20
#: Pattern of the usual names of columns of z-scores.
ZSCORES = "*zscore*"


@dataclass(frozen=True)
class RankOptions:
    """Options of ranks: how the features of findings are ranked.

    Parameters
    ----------
    kind : {"rank", "weak", "strict", "mean"}, default="rank"
        How equal values share a rank; `isoxide.percentileofscore` describes each.
    tail : {"upper", "lower", "both"}, default="upper"
        Which values are unusual: high ones, low ones, or both.
    groups : str, optional
        A column of the table: features are ranked among the rows of the same peer group, or with the entity's column
        in the entity's own history. The typical values shown beside these ranks are those of the same rows.
    zscores : str, optional
        Name or pattern of features that are z-scores already: the default rules flag them from 3 on, and they come
        after all other features of a finding. By default ``"*zscore*"``, or no feature without `domain_defaults`.
    nan_policy : {"omit", "propagate", "raise"}, default="omit"
        Whether ranks leave missing values of the table out, become NaN, or are refused.
    min_group : int, default=20
        Rows that a group must have. A finding of a smaller group has no ranks (NaN), and ``rank_among`` says why; its
        features are in the order of their ranks among all rows.
    domain_defaults : bool, default=True
        Whether names of columns that are usual in user behaviour analytics have a meaning: features called
        ``*zscore*`` are z-scores, the default rules flag ``leaver_action`` and ``is_weekend`` whenever they are above
        zero, and reports list ``is_weekend`` whenever it is. False switches all of this off: features are then treated
        alike whatever their names, unless `zscores`, `rules` or the options of a report say otherwise.
    """

    kind: str = "rank"
    tail: str = "upper"
    groups: str | None = None
    zscores: str | None = None
    nan_policy: str = "omit"
    min_group: int = MIN_GROUP
    domain_defaults: bool = True

    def check(self) -> RankOptions:
        """Refuse options out of range before any work is done; return those of ranks, with the pattern of z-scores.

        Raises
        ------
        TypeError
            If `min_group` is not an integer.
        ValueError
            If `min_group` is below 1, or another option does not have one of the listed values.
        """
        if isinstance(self.min_group, bool) or not isinstance(self.min_group, numbers.Integral):
            raise TypeError(f"min_group must be an integer, not {self.min_group!r}")
        if self.min_group < 1:
            raise ValueError(f"min_group={self.min_group} must be at least 1 row")
        RankDefinition(self.kind, self.tail, self.nan_policy).check()
        options = RankOptions(**{field.name: getattr(self, field.name) for field in fields(RankOptions)})
        return replace(options, zscores=ZSCORES) if self.zscores is None and self.domain_defaults else options

    def to_dict(self) -> dict[str, Any]:
        """Return the options for the manifest of findings."""
        return {**asdict(self), "min_group": int(self.min_group)}
