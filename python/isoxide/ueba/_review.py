"""Knowledge about findings that their numbers lack: decisions of analysts, and an earlier run."""

from __future__ import annotations

import datetime
import numbers
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from isoxide.ueba._decision import Decision

__all__ = ["AGAIN", "DEFAULT_CUTOFF", "NEW", "STATES", "STRONGER", "Judged", "Review", "check_cutoff"]

#: States of a finding, in comparison with an earlier run or with a decision.
STATES = NEW, AGAIN, STRONGER = ("new", "again", "stronger")
#: Percentile at or above which a feature is a reason of a finding.
DEFAULT_CUTOFF = 99.0


class Judged(NamedTuple):
    """Decision about one finding, and its state in comparison with an earlier run."""

    #: State in comparison with an earlier run, or None.
    seen: str | None = None
    #: Decision that hides the finding, gives its status, or does not hold for it any more.
    decision: Decision | None = None
    #: Reason why the decision does not hold any more; empty if it does.
    outgrown: str = ""

    @property
    def state(self) -> str | None:
        """Return the state: "new", "again", "stronger" or None."""
        return STRONGER if self.outgrown else self.seen

    @property
    def status(self) -> str:
        """Return the status, which is "open" without a decision that holds."""
        return "open" if self.decision is None or self.outgrown else self.decision.status

    @property
    def is_hidden(self) -> bool:
        """Return whether the decision hides the finding."""
        return self.decision is not None and self.decision.hides and not self.outgrown


@dataclass(frozen=True)
class Review:
    """Record of the decisions that were applied to findings, and of the run that they were compared with.

    Parameters
    ----------
    cutoff : float
        Percentile at or above which a feature is a reason of a finding.
    today : date, optional
        Day on which the decisions were applied; None if none were.
    source, sha256 : str, optional
        Name of the file of decisions, and the checksum of its bytes.
    n_decisions : int
        Number of decisions that no later one replaces.
    expired : list of Decision
        Decisions whose last day has passed.
    unmatched : list of Decision
        Decisions that hold, but are about none of the findings.
    previous : dict, optional
        Facts about the run that the findings were compared with.
    """

    cutoff: float = DEFAULT_CUTOFF
    today: datetime.date | None = None
    source: str | None = None
    sha256: str | None = None
    n_decisions: int = 0
    expired: list[Decision] = field(default_factory=list)
    unmatched: list[Decision] = field(default_factory=list)
    previous: dict[str, Any] | None = None


def check_cutoff(cutoff: float) -> None:
    """Refuse a cutoff that is no percentile, which no value or every value would reach.

    Raises
    ------
    TypeError
        If it is not a number.
    ValueError
        If it is not from 0 to 100.
    """
    if isinstance(cutoff, bool) or not isinstance(cutoff, numbers.Real):
        raise TypeError(f"cutoff must be a number, a percentile from 0 to 100, not {cutoff!r}")
    if not 0 <= cutoff <= 100:
        raise ValueError(f"cutoff={cutoff!r} must be a percentile from 0 to 100")
