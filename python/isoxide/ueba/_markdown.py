"""The report as Markdown (CommonMark with tables), in which every name stays text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isoxide._format import format_time, format_value

if TYPE_CHECKING:
    from isoxide.ueba._findings import Findings

__all__ = ["escape", "render"]

#: All that means something in CommonMark or in its tables.
_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~&=:$^@\"'])")
#: Line breaks, other controls, and marks that turn the direction of what follows.
_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]+")


def escape(text: Any) -> str:
    r"""Text that no Markdown reader takes for anything else, in one line.

    Examples
    --------
    >>> from isoxide.ueba._markdown import escape
    >>> print(escape("a|b <script>"))
    a\|b \<script\>
    """
    return _SPECIAL.sub(r"\\\1", _INVISIBLE.sub(" ", str(text)).strip())


def render(findings: Findings, selected: NDArray[np.bool_], *, cutoff: float, order: str) -> str:
    """See `Findings.to_markdown`."""
    if order not in ("score", "entity"):
        raise ValueError(f"order={order!r} must be 'score' or 'entity'")
    manifest = findings.manifest
    n_entities = findings.frame[findings.entity].nunique()
    lines = [
        f"# Findings: {manifest.get('first_day')} to {manifest.get('last_day')}",
        "",
        f"{manifest.get('days'):,} days, {manifest.get('rows'):,} rows of {manifest.get('entities'):,} entities:"
        f" {len(findings):,} findings, {n_entities:,} entities with findings. Listed are features from the"
        f" percentile {cutoff:g} on.",
        "",
    ]
    frame = findings.frame.reset_index(drop=True)
    # In the order of the findings, which is that of the scores.
    for entity, rows in frame.groupby(findings.entity, sort=order == "entity", dropna=False):
        known = [escape(frame.at[rows.index[0], name]) for name in findings.joined]
        lines += [
            f"## {', '.join([escape(entity), *known])}",
            "",
            "| Day | Score | Severity | Feature | Value | Typical | Percentile |",
            "|---|--:|--:|---|--:|--:|--:|",
        ]
        for number in rows.index:
            lines += _finding(findings, number, selected[number])
        lines.append("")
    return "\n".join(lines)


def shown(findings: Findings, number: int, selected: NDArray[np.bool_]) -> list[int]:
    """The features of a finding that are shown: those selected, or the most unusual one."""
    order = [int(j) for j in findings.order[number]]
    return [j for j in order if selected[j]] or order[:1]


def _finding(findings: Findings, number: int, selected: NDArray[np.bool_]) -> list[str]:
    row = findings.frame.iloc[number]
    lead = f"{format_time(row[findings.time])} | {row['score']:.6f} | {row['severity']:.2f}"
    lines = []
    for j in shown(findings, number, selected):
        name = findings.features[j]
        arrow = "↑" if findings.directions[number, j] > 0 else "↓"
        cells = (
            lead,
            f"{escape(name)} {arrow}",
            format_value(findings.values[number, j]),
            format_value(findings.reference.at[name, "median"]),
            f"{findings.percentiles[number, j]:.2f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
        lead = " | | "
    return lines
