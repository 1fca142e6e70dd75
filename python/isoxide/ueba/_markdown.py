"""The report as Markdown (CommonMark with tables), in which all user-supplied text is escaped."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isoxide._common.format import format_share, format_time, format_value
from isoxide.ueba._findings_data import FindingsData
from isoxide.ueba._sentences import (
    Population,
    Sentences,
    Style,
    counted_entities,
    listed_reasons,
    populations,
)
from isoxide.ueba._shares import parts_of
from isoxide.ueba._texts import (
    LongTexts,
    ValueTexts,
    entity_groups,
    hidden_findings,
    hidden_summary,
    left_out,
    notes,
    quiet_text,
    rank_descriptions,
    shown_features,
)

__all__ = ["escape", "render"]

#: Columns that are aligned to the right.
_NUMBERS = {"Anomaly score", "Rarity", "Value", "Typical", "Percentile", "Share"}
_ABOUT_SHARES = (
    "A share is the part of a feature in what made the score of a row more abnormal (exact Shapley values of the "
    "forest, which add up to 100 %). Shares of features that move together are added up below each table. A share "
    "tells what moved the score. It is not better at naming the culprit than percentiles on both sides are, so look at "
    "both."
)
#: Characters with a meaning in CommonMark or in its tables.
_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~&=:$^@\"'])")
#: Line breaks, other control characters, and marks that change the direction of the text after them.
_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]+")


def escape(text: Any) -> str:
    r"""Escape a text for Markdown, and return it as one line.

    Examples
    --------
    >>> from isoxide.ueba._markdown import escape
    >>> print(escape("a|b <script>"))
    a\|b \<script\>
    """
    return _SPECIAL.sub(r"\\\1", _INVISIBLE.sub(" ", str(text)).strip())


def render(findings: FindingsData, selected: NDArray[np.bool_], *, cutoff: float, order: str) -> str:
    """Return the report.

    Parameters
    ----------
    findings : FindingsData
        Findings to report.
    selected : ndarray of bool, shape (n_findings, n_features)
        Mask of the unusual values.
    cutoff : float
        Percentile at or above which values count as unusual; the report states it.
    order : {"score", "entity"}
        Order of the entities: by their highest anomaly score, or by name.

    Raises
    ------
    ValueError
        If `order` is neither "score" nor "entity".
    """
    if order not in ("score", "entity"):
        raise ValueError(f"order={order!r} must be 'score' or 'entity'")
    long, (among, among_by_finding) = LongTexts(), rank_descriptions(findings)
    lines = [*_head(findings, cutoff, among, long), *_notes(findings, long)]
    grouped = [] if among_by_finding is None else ["Ranked among"]
    columns = ["Day", "Anomaly score", "Rarity", "Band", *grouped, "Feature", "Value", "Typical", "Percentile"]
    among_populations = populations(findings)
    columns += [_shown(population.label, long) for population in among_populations[1:]]
    columns += [] if findings.explained is None else ["Share"]
    rule = "|".join("--:" if name in _NUMBERS else "---" for name in columns)
    listed = shown_features(findings, selected)
    tables = _tables(findings, listed, among_by_finding, among_populations[1:], long)
    summaries = _share_summaries(findings, listed, long)
    sentences = _sentences(findings, listed, cutoff, among_populations, long)
    joined_columns = [findings.frame[name].tolist() for name in findings.joined]
    for entity, numbers in entity_groups(findings, sort=order == "entity"):
        joined = [_shown(cells[numbers[0]], long) for cells in joined_columns]
        lines += [
            f"## {', '.join([_shown(entity, long), *joined])}",
            "",
            *(sentences(number) for number in numbers),
            "",
            f"| {' | '.join(columns)} |",
            f"|{rule}|",
        ]
        for number in numbers:
            lines += tables(number)
        lines += ["", *(summaries(number) for number in numbers)] if findings.explained is not None else []
        lines.append("")
    if not len(findings):
        lead = "All findings are known." if findings.n_hidden else "No row is an anomaly."
        lines += [f"{lead} {_shown(quiet_text(findings), long)}", ""]
    lines += _left_out(findings, long)
    lines += _hidden(findings, long)
    if long.texts:
        # Shortened texts above refer to these numbers.
        lines += ["## Full texts", "", *(f"{k}. {escape(text)}" for k, text in enumerate(long.texts, 1)), ""]
    return "\n".join(lines)


def _shown(text: Any, long: LongTexts) -> str:
    """Return an escaped text in one line, shortened if it is long."""
    if text is None or (pd.api.types.is_scalar(text) and pd.isna(text)):
        return "\\-"
    shown = long.show(_INVISIBLE.sub(" ", str(text)))
    return escape(shown.text) if not shown.number else f"{escape(shown.text)}… (full text {shown.number})"


def _count(value: Any, noun: str) -> list[str]:
    """Return a number with its noun, or an empty list if the manifest lacks the number."""
    return [f"{value:,} {noun}"] if isinstance(value, int) else []


def _head(findings: FindingsData, cutoff: float, among: str, long: LongTexts) -> list[str]:
    """Return the lines of the title and of the sentences below it."""
    manifest = findings.manifest
    with_findings = counted_entities(findings.frame[findings.entity].nunique(), findings.entity)
    table = [*_count(manifest.get("days"), "days"), *_count(manifest.get("rows"), "rows")]
    n_known = manifest.get("entities")
    entities = [counted_entities(n_known, findings.entity)] if isinstance(n_known, int) else []
    of = ", ".join(table) + "".join(f" of {_shown(count, long)}" for count in entities)
    days = f"{manifest.get('first_day')} to {manifest.get('last_day')}"
    return [
        f"# Findings: {escape(days)}",
        "",
        f"{of}: {len(findings):,} findings of {_shown(with_findings, long)}. The higher an anomaly"
        f" score, the more abnormal the row; findings are above {findings.anomaly_threshold:.4f}. A rarity of 1 in 100"
        f" means that one row of the reference in 100 scores as high. Features at or above percentile"
        f" {cutoff:g} are listed, or otherwise the most unusual one.",
        "",
        f"Percentiles and typical values (medians) refer to {_shown(among, long)}.",
        "",
        *([] if findings.explained is None else [_ABOUT_SHARES, ""]),
    ]


def _notes(findings: FindingsData, long: LongTexts) -> list[str]:
    """Return the lines of the section with notes, or an empty list if there are no notes."""
    texts = notes(findings)
    return ["## Notes on the table", "", *(f"- {_shown(note, long)}" for note in texts), ""] if texts else []


def _left_out(findings: FindingsData, long: LongTexts) -> list[str]:
    """Return the lines of the section about columns that are not features, or an empty list if there are none."""
    columns = left_out(findings)
    lines = [f"- {_shown(name, long)}: {_shown(reason, long)}" for name, reason in columns]
    return ["## Columns that are not features", "", *lines, ""] if lines else []


def _sentences(
    findings: FindingsData, features: list[list[int]], cutoff: float, among: list[Population], long: LongTexts
) -> Callable[[int], str]:
    """Return a function that returns the line with the sentence about a finding."""
    reasons = listed_reasons(findings, features, cutoff)
    times, ids = findings.frame[findings.time].tolist(), findings.frame["finding_id"].tolist()
    style = Style(
        lambda j: _shown(findings.features[j], long),
        lambda text: _shown(text, long),
        lambda number: f"**{number}**",
    )
    writer = Sentences(findings, among, style, cutoff)

    def sentence(number: int) -> str:
        return f"- {format_time(times[number])} ({ids[number]}): {writer.write(number, reasons[number])}"

    return sentence


def _hidden(findings: FindingsData, long: LongTexts) -> list[str]:
    """Return the lines of the section with the findings that decisions hide, or an empty list if there are none."""
    if not findings.n_hidden:
        return []
    lines = [
        f"- {_shown(own.entity, long)}, {own.time}: anomaly score {own.score}, {own.rarity}; "
        f"{_shown(own.decision, long)}"
        for own in hidden_findings(findings)
    ]
    return [f"## {hidden_summary(findings)}", "", *lines, ""]


def _share_summaries(findings: FindingsData, features: list[list[int]], long: LongTexts) -> Callable[[int], str]:
    """Return a function that returns the line with the largest shares of a finding."""
    times, explained, shares = findings.frame[findings.time].tolist(), findings.explained, findings.shares
    if explained is None or shares is None:
        return lambda number: ""

    def summary(number: int) -> str:
        parts = []
        for part in parts_of(explained, shares[number]):
            named = [_shown(findings.features[j], long) for j in part.named]
            more = [f"{part.n_more} {'more' if named else 'others'}"] if part.n_more else []
            parts.append(f"{' + '.join([*named, *more])} {part.share}")
        parts[:1] = [f"{part} of the abnormality" for part in parts[:1]] or ["no feature makes the score more abnormal"]
        listed = format_share(float(shares[number][features[number]].sum()))
        return f"- {format_time(times[number])}: {'; '.join(parts)}. The features in the table add up to {listed}."

    return summary


def _tables(
    findings: FindingsData,
    features: list[list[int]],
    among_by_finding: list[str] | None,
    others: list[Population],
    long: LongTexts,
) -> Callable[[int], list[str]]:
    """Return a function that returns the lines of a finding in the table of its entity."""
    frame = findings.frame
    times, scores, bands = (frame[name].tolist() for name in (findings.time, "anomaly_score", "band"))
    rarities = findings.rarity_texts()
    values, percentiles = findings.values.tolist(), findings.percentiles.tolist()  # noqa: PD011
    medians, directions = findings.typical("median").tolist(), findings.directions.tolist()
    texts, arrows = ValueTexts(), {1: " ↑", -1: " ↓"}
    shares = None if findings.shares is None else findings.shares.tolist()

    @functools.cache
    def name(j: int) -> str:
        return _shown(findings.features[j], long)

    @functools.cache
    def percentile_text(percentile: float) -> str:
        return "-" if math.isnan(percentile) else f"{percentile:.2f}"

    compared = [(p.percentiles.tolist(), p.medians.tolist(), p.p99s.tolist(), p.missing) for p in others]

    def compared_cells(number: int, j: int) -> str:
        """Return a cell for each population besides the first one."""
        cells = []
        for their_percentiles, their_medians, p99s, missing in compared:
            usual = f"usual {texts[their_medians[number][j]]}, 1 in 100: {texts[p99s[number][j]]}"
            cell = f"{percentile_text(their_percentiles[number][j])} ({usual})"
            cells.append(f" {_shown(missing[number], long) if missing[number] else cell} |")
        return "".join(cells)

    def lines(number: int) -> list[str]:
        lead = f"| {format_time(times[number])} | {scores[number]:.4f} | {rarities[number]} | {bands[number]} | "
        blank = "|  |  |  |  | "
        if among_by_finding is not None:
            lead, blank = f"{lead}{_shown(among_by_finding[number], long)} | ", f"{blank} | "
        own = values[number], medians[number], percentiles[number], directions[number]
        own_values, own_medians, own_percentiles, own_directions = own
        written = [
            f"{blank}{name(j)}{arrows.get(own_directions[j], '')} | {format_value(own_values[j])} | "
            f"{texts[own_medians[j]]} | {percentile_text(own_percentiles[j])} |{compared_cells(number, j)}"
            f"{'' if shares is None else f' {format_share(shares[number][j])} |'}"
            for j in features[number]
        ]
        written[0] = f"{lead}{written[0].removeprefix(blank)}"
        return written

    return lines
