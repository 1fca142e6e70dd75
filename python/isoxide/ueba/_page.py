"""The report as one self-contained HTML page, in which all user-supplied text is escaped."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isoxide._common.format import format_value
from isoxide._common.links import LinkTemplate
from isoxide.ueba import _timeline
from isoxide.ueba._findings_data import FindingsData
from isoxide.ueba._page_cards import Cards
from isoxide.ueba._page_texts import manifest_entries, text_of
from isoxide.ueba._review import STATES
from isoxide.ueba._sentences import entities_word, frequent_features
from isoxide.ueba._texts import (
    LongTexts,
    hidden_findings,
    hidden_summary,
    left_out,
    notes,
    quiet_text,
    rank_descriptions,
)

__all__ = ["render"]

#: Largest number of features that the summary lists.
MAX_FREQUENT_FEATURES = 10
#: Files that the page contains; each is allowed by its hash.
_STYLE, _SCRIPTS = "report.css", ("report.js", "decisions.js")
_DRIFT_TITLES = {
    "watch": "The new rows begin to differ from those that the model was trained on.",
    "retrain": "The model should be trained again: the new rows differ from those that it was trained on.",
}


def render(
    findings: FindingsData,
    selected: NDArray[np.bool_],
    *,
    cutoff: float,
    title: str | None,
    link: str | None = None,
    drift: dict[str, Any] | None = None,
) -> str:
    """Return the page.

    Parameters
    ----------
    findings : FindingsData
        Findings to report.
    selected : ndarray of bool, shape (n_findings, n_features)
        Values that are unusual.
    cutoff : float
        Percentile at or above which values count as unusual; the page states it.
    title : str or None
        Title of the page. None gives the first and the last day.
    link : str, optional
        Template of a link to another system for each finding.
    drift : dict, optional
        Verdict and reasons of a drift report. By default those of the manifest.

    Raises
    ------
    ImportError
        If Jinja2 is not installed.
    TypeError, ValueError
        If `link` is not a template of a web address.
    """
    try:
        import jinja2
    except ImportError as error:
        raise ImportError("to_html needs Jinja2: pip install 'isoxide[ueba]'") from error
    template = None if link is None else LinkTemplate(link)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    timeline = pd.DatetimeIndex(findings.timeline["day"])
    first = findings.manifest.get("first_day") or f"{timeline.min():%Y-%m-%d}"
    last = findings.manifest.get("last_day") or f"{timeline.max():%Y-%m-%d}"
    long, (among, among_by_finding) = LongTexts(), rank_descriptions(findings)
    names = [long.show(text_of(name)) for name in findings.features]
    macros: Any = environment.get_template("shown.html.j2").module
    maker = Cards(findings, selected, cutoff, names, long, macros.shown, template)
    cards = maker.make()
    entity = text_of(findings.entity)
    reached, size = findings.selected(cutoff), findings.size_bands
    page: str = environment.get_template("report.html.j2").render(
        title=text_of(title) if title else text_of(f"Findings, {first} to {last}"),
        policy=_policy(environment),
        cutoff=f"{cutoff:g}",
        unit=maker.unit,
        entity=long.show(entity),
        entities=long.show(entities_word(entity)),
        among=long.show(text_of(among)),
        is_grouped=among_by_finding is not None,
        is_sized=size is not None,
        size=long.show(text_of("" if size is None else size.feature)),
        is_explained=findings.explained is not None,
        is_compared=len(maker.among) > 1,
        n_populations=len(maker.among),
        tiles=_tiles(findings, maker.days),
        span=(text_of(first), text_of(last)),
        drift=_drift(findings.manifest.get("drift") if drift is None else drift, long),
        frequent=[(names[j], f"{n:,}") for j, n in frequent_features(findings, reached, MAX_FREQUENT_FEATURES)],
        notes=[long.show(text_of(note)) for note in notes(findings)],
        left_out=[(long.show(text_of(name)), long.show(text_of(reason))) for name, reason in left_out(findings)],
        manifest=manifest_entries(findings.manifest),
        timeline=_timeline.draw(findings.timeline, findings.anomaly_threshold),
        threshold=format_value(findings.anomaly_threshold),
        quiet=None if len(findings) else long.show(text_of(quiet_text(findings))),
        finding_days=_finding_days(findings, maker.days, maker.anchors),
        months=sorted({day[:7] for day in maker.days}),
        head=maker.head,
        cards=cards,
        states=_states(findings),
        link_host="" if template is None else text_of(template.host),
        scripts=_SCRIPTS,
        hidden_summary=hidden_summary(findings) if findings.n_hidden else "",
        hidden=[
            (long.show(text_of(own.entity)), own.time, own.score, own.rarity, long.show(text_of(own.decision)))
            for own in hidden_findings(findings)
        ],
        data={
            # A number refers to the full text of that number, so that the page holds each long text once.
            "features": [name.number or name.text for name in names],
            "cards": [card.entry for card in cards],
            "entity": (shown := long.show(entity)).number or shown.text,
            "entities": (shown := long.show(entities_word(entity))).number or shown.text,
        },
        # Long texts are complete only after everything else is made.
        texts=long.texts,
    )
    return page


def _policy(environment: Any) -> str:
    """Return a content security policy that allows the style and the scripts of the page, and nothing else."""
    hashes = {}
    for name in (_STYLE, *_SCRIPTS):
        digest = hashlib.sha256(environment.get_template(name).render().encode()).digest()
        hashes[name] = f"'sha256-{base64.b64encode(digest).decode()}'"
    return (
        f"default-src 'none'; style-src {hashes[_STYLE]}; script-src {' '.join(hashes[name] for name in _SCRIPTS)}; "
        f"base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
    )


def _tiles(findings: FindingsData, days: list[str]) -> list[tuple[str, str, str]]:
    """Return the figures of the summary: name, number, and the total that it is a part of."""
    manifest = findings.manifest

    def total(name: str) -> str:
        return f"of {manifest[name]:,}" if isinstance(manifest.get(name), int) else ""

    return [
        ("Findings", f"{len(findings):,}", f"{total('rows')} rows" if total("rows") else ""),
        (
            entities_word(text_of(findings.entity))[:40],
            f"{findings.frame[findings.entity].nunique(dropna=False):,}",
            total("entities"),
        ),
        ("Days", f"{len(set(days)):,}", total("days")),
        (
            "Highest score",
            format_value(findings.timeline["highest"].max()),
            f"threshold {format_value(findings.anomaly_threshold)}",
        ),
    ]


def _states(findings: FindingsData) -> list[tuple[str, str, str]]:
    """Return the choices of states: value, name, and number of findings; empty if nothing is known about them."""
    counts = {state: findings.states.count(state) for state in STATES}
    if not any(counts.values()):
        return []
    known = [(state, state.capitalize(), f"{n:,}") for state, n in counts.items() if n]
    return [("", "All", f"{len(findings):,}"), *known]


def _drift(entry: Any, long: LongTexts) -> dict[str, Any] | None:
    """Return the texts of the banner about drift; None if there is none, or if nothing drifted."""
    if not isinstance(entry, dict) or not isinstance(entry.get("verdict"), str):
        return None
    verdict = entry["verdict"]
    if verdict not in _DRIFT_TITLES:
        return None
    reasons, worst = (list(entry.get(name) or []) for name in ("reasons", "worst"))
    return {
        "verdict": verdict,
        "title": _DRIFT_TITLES[verdict],
        "reasons": [long.show(text_of(reason)) for reason in reasons],
        "worst": [long.show(text_of(name)) for name in worst],
    }


def _finding_days(findings: FindingsData, days: list[str], anchors: list[str]) -> list[tuple[str, str, str, str, str]]:
    """Return the days with findings as texts: day, rows, findings, highest score, and the anchor of its finding."""
    first: dict[str, str] = {}
    for day, anchor in zip(days, anchors, strict=True):
        first.setdefault(day, anchor)
    table = findings.timeline
    labels = pd.DatetimeIndex(table["day"]).strftime("%Y-%m-%d")
    lines = zip(labels, table["rows"], table["findings"], table["highest"], strict=True)
    return [
        (day, f"{rows:,}", f"{n_findings:,}", format_value(high), first[day])
        for day, rows, n_findings, high in lines
        if day in first
    ]
