"""Options for ranking the features of findings."""

from __future__ import annotations

import numbers
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from isoxide._ranks.dtypes import RankDefinition

__all__ = ["MIN_GROUP", "ZSCORES", "RankOptions"]

#: Default minimum number of rows of a group with ranks.
MIN_GROUP = 20
#: Pattern of the usual names of z-score columns.
ZSCORES = "*zscore*"


@dataclass(frozen=True)
class RankOptions:
    """Options for ranking the features of findings.

    Parameters
    ----------
    kind : {"rank", "weak", "strict", "mean"}, default="rank"
        Treatment of equal values; `isoxide.percentileofscore` describes each.
    tail : {"upper", "lower", "both"}, default="upper"
        Side on which values are unusual: high values, low values, or both.
    groups : str, optional
        Column of labels: features are ranked among the rows with the same label, such as a peer group. With the
        entity's column, they are ranked in the entity's own history. ``"size"`` makes bands of rows of similar size: of
        the features that are counts, the one that explains the others best tells the size, and each band has at least
        100 rows and `min_group` rows. A column that is called ``size`` makes ``"size"`` ambiguous, which is refused.
        Typical values come from the same rows.
    zscores : str, optional
        Name or pattern of features that already are z-scores: the default rules flag them at 3 or more, and they come
        after all other features of a finding. By default ``"*zscore*"``, or no feature if `domain_defaults` is False.
    nan_policy : {"omit", "propagate", "raise"}, default="omit"
        Treatment of missing values in the table: leave them out, make all ranks of the feature NaN, or raise an error.
    min_group : int, default=20
        Minimum number of rows of a group. A finding of a smaller group has no ranks (NaN), and ``rank_among`` gives the
        reason; its features are ordered by their ranks among all rows.
    domain_defaults : bool, default=True
        Whether column names that are usual in user behaviour analytics have a meaning: features called ``*zscore*`` are
        z-scores, the default rules flag ``leaver_action`` and ``is_weekend`` whenever they are above zero, and reports
        then list ``is_weekend``. False switches all of this off, so that only `zscores`, `rules` and the options of a
        report can treat a feature differently from others.
    """

    kind: str = "rank"
    tail: str = "upper"
    groups: str | None = None
    zscores: str | None = None
    nan_policy: str = "omit"
    min_group: int = MIN_GROUP
    domain_defaults: bool = True

    def check(self) -> RankOptions:
        """Check the options, and return the rank options with the default pattern of z-scores filled in.

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
