"""Table of the first findings, by which notebooks show them; the page with all of them is in `_page`."""

from __future__ import annotations

import math

from isoxide._common import html
from isoxide._common.format import format_percentile, format_time, format_value
from isoxide.ueba._findings_data import FindingsData
from isoxide.ueba._page_texts import text_of
from isoxide.ueba._reasons import N_REASONS, TicketReason
from isoxide.ueba._sentences import counted_entities
from isoxide.ueba._texts import hidden_summary, quiet_text

__all__ = ["findings_html", "findings_table"]


def findings_html(findings: FindingsData) -> html.Html:
    """Return the first findings with their scores and leading reasons, as a block of HTML."""
    n, n_features = len(findings), len(findings.features)
    hidden = f"; {hidden_summary(findings)}" if findings.n_hidden else ""
    if not n:
        return html.block(html.heading("Findings", f"none; {quiet_text(findings)}"))
    n_entities = int(findings.frame[findings.entity].nunique(dropna=False))
    entities = counted_entities(n_entities, text_of(findings.entity))
    return html.block(
        html.heading("Findings", f"{n:,} row{'s' * (n != 1)} of {entities}, {n_features:,} features{hidden}"),
        html.note(
            "Anomaly score from 0 to 1, the higher the more abnormal; findings are above "
            f"{format_value(findings.anomaly_threshold)}. Rarity: the share of the {findings.n_reference:,} rows of "
            "the reference that score as high. Reasons: the most important one first, with the usual value and the "
            "percentile from 0 to 100."
        ),
        findings_table(findings),
        html.note(html.shown_of(n, "findings")),
        html.note("show() shows the report of all findings here, and to_html() writes it to a file."),
    )


def findings_table(findings: FindingsData) -> html.Html:
    """Return the table of the first findings."""
    frame = findings.frame.head(html.MAX_ROWS)
    judged = findings.judged[: html.MAX_ROWS]
    states = [" ".join(filter(None, (one.state, "" if one.status == "open" else one.status))) for one in judged]
    has_states = any(states)
    columns = [text_of(findings.entity), text_of(findings.time), html.Number("anomaly score"), "rarity"]
    columns += ["state"] * has_states
    columns += [f"reason {k + 1}" for k in range(N_REASONS)]
    rows = []
    reasons, rarities = findings._leading_reasons(slice(html.MAX_ROWS)), findings._rarity_texts(slice(html.MAX_ROWS))
    cells = (frame[name].tolist() for name in (findings.entity, findings.time, "anomaly_score", "band"))
    for i, (entity, time, score, band) in enumerate(zip(*cells, strict=True)):
        row: list[str | html.Cell] = [text_of(entity), format_time(time), "-" if math.isnan(score) else f"{score:.4f}"]
        row.append(html.Cell(rarities[i], band if isinstance(band, str) else ""))
        row += [states[i]] * has_states
        row += map(_reason, reasons[i])
        rows.append(row)
    return html.table(columns, rows)


def _reason(reason: TicketReason) -> html.Cell:
    value = "missing" if reason.value is None else format_value(reason.value)
    facts = [] if reason.typical is None else [f"usually {format_value(reason.typical)}"]
    facts += [] if reason.percentile is None else [f"percentile {format_percentile(reason.percentile)}"]
    return html.Cell(f"{html.shortened(text_of(reason.feature))} = {value}", ", ".join(facts))
