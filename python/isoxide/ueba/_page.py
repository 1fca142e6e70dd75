"""The report as one HTML page that needs nothing but itself, in which every name stays text."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isoxide._common.format import format_time, format_value
from isoxide.ueba import _timeline
from isoxide.ueba._findings_data import FindingsData
from isoxide.ueba._texts import LongTexts, Shown, amongs, left_out, notes, shown_features

__all__ = ["render"]

#: Features listed in the summary.
_FREQUENT = 10
#: Steps of the bar that shows a percentile; report.css has a class for each.
_STEPS = 20
#: Characters of an entry of the manifest, and entries, that are shown; the JSON file has all.
_LONG_ENTRY, _MANY_ENTRIES = 2_000, 500
#: Controls, and halves of characters, which no file can hold in UTF-8.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def render(findings: FindingsData, selected: NDArray[np.bool_], *, cutoff: float, title: str | None) -> str:
    """Return the page; see `Findings.to_html`."""
    try:
        import jinja2
    except ImportError as error:
        raise ImportError("to_html needs Jinja2: pip install 'isoxide[ueba]'") from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    days = findings.frame[findings.time].dt.strftime("%Y-%m-%d").tolist()
    timeline = pd.DatetimeIndex(findings.timeline["day"])
    first = findings.manifest.get("first_day") or f"{timeline.min():%Y-%m-%d}"
    last = findings.manifest.get("last_day") or f"{timeline.max():%Y-%m-%d}"
    long, (among, own_among) = LongTexts(), amongs(findings)
    names = [long.show(text_of(name)) for name in findings.features]
    cards = _cards(findings, selected, days, names, own_among, long)
    page: str = environment.get_template("report.html.j2").render(
        title=text_of(title) if title else text_of(f"Findings, {first} to {last}"),
        policy=_policy(environment),
        cutoff=f"{cutoff:g}",
        among=long.show(text_of(among)),
        is_grouped=own_among is not None,
        tiles=_tiles(findings, days, text_of(f"{first} to {last}")),
        frequent=_frequent(selected, names),
        notes=[long.show(text_of(note)) for note in notes(findings)],
        left_out=[(long.show(text_of(name)), long.show(text_of(why))) for name, why in left_out(findings)],
        manifest=_entries(findings.manifest),
        timeline=_timeline.draw(findings.timeline),
        days_found=_days_found(findings, days),
        months=sorted({day[:7] for day in days}),
        cards=cards,
        n_findings=len(findings),
        data={
            # A number stands for the full text of this number, which the page has once.
            "features": [name.number or name.text for name in names],
            "cards": [[card["key"], card["known"], [row["index"] for row in card["rows"]]] for card in cards],
        },
        # Last, when all are known.
        texts=long.texts,
    )
    return page


def text_of(value: Any) -> str:
    """What stands in the page for a cell: a dash for a missing one, and nothing that no file can hold.

    Examples
    --------
    >>> from isoxide.ueba._page import text_of
    >>> [text_of(value) for value in ("<b>", None, " ", 7)]
    ['<b>', '-', '(blank)', '7']
    """
    if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
        return "-"
    text = _UNPRINTABLE.sub("\ufffd", str(value))
    return text if text.strip() else "(blank)"


def _policy(environment: Any) -> str:
    """What the page may do: its own style and its own script, nothing else."""
    hashes = {}
    for name in ("report.css", "report.js"):
        digest = hashlib.sha256(environment.get_template(name).render().encode()).digest()
        hashes[name] = f"'sha256-{base64.b64encode(digest).decode()}'"
    return (
        f"default-src 'none'; style-src {hashes['report.css']}; script-src {hashes['report.js']}; "
        f"base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
    )


def _tiles(findings: FindingsData, days: list[str], span: str) -> list[tuple[str, str, str]]:
    """Figures of the summary: what, how many, and of how many."""
    manifest = findings.manifest

    def of(name: str) -> str:
        return f"of {manifest[name]:,}" if isinstance(manifest.get(name), int) else ""

    return [
        ("Findings", f"{len(findings):,}", f"{of('rows')} rows" if of("rows") else ""),
        ("Entities", f"{findings.frame[findings.entity].nunique(dropna=False):,}", of("entities")),
        ("Days", f"{len(set(days)):,}", f"{of('days')}, {span}" if of("days") else span),
        ("Lowest score", format_value(findings.timeline["lowest"].min()), "findings are below 0"),
    ]


def _frequent(selected: NDArray[np.bool_], names: list[Shown]) -> list[tuple[Shown, str]]:
    """Features that are out of the ordinary in most findings, with their number."""
    counts = selected.sum(axis=0)
    order = np.argsort(-counts, kind="stable")[:_FREQUENT]
    return [(names[j], f"{counts[j]:,}") for j in order if counts[j]]


def _entries(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the manifest as lines; what is too long is cut, since the JSON file has it."""
    entries = list(islice(_flat(manifest), _MANY_ENTRIES + 1))
    cut = [(_start(name), _start(value)) for name, value in entries[:_MANY_ENTRIES]]
    return [*cut, ("and more", "in the JSON file")] if len(entries) > _MANY_ENTRIES else cut


def _start(text: str) -> str:
    return text if len(text) <= _LONG_ENTRY else f"{text[:_LONG_ENTRY]}…"


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every entry of the manifest as a line, those of objects under dotted names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        yield text_of(name), ", ".join(map(text_of, value[:_LONG_ENTRY])) or "-"
    else:
        yield text_of(name), text_of(value)


def _days_found(findings: FindingsData, days: list[str]) -> list[tuple[str, str, str, str, int]]:
    """What the timeline shows, as text: day, rows, findings, lowest score, number of the lowest finding."""
    lowest: dict[str, int] = {}
    for number, day in enumerate(days):
        lowest.setdefault(day, number + 1)
    table = findings.timeline
    labels = pd.DatetimeIndex(table["day"]).strftime("%Y-%m-%d")
    lines = zip(labels, table["rows"], table["findings"], table["lowest"], strict=True)
    return [
        (day, f"{rows:,}", f"{found:,}", format_value(low), lowest[day])
        for day, rows, found, low in lines
        if day in lowest
    ]


def _cards(
    findings: FindingsData,
    selected: NDArray[np.bool_],
    days: list[str],
    names: list[Shown],
    own_among: list[str] | None,
    long: LongTexts,
) -> list[dict[str, Any]]:
    """A card per entity, that of the lowest score first."""
    frame = findings.frame.reset_index(drop=True)
    medians, p99s = findings.typical("median"), findings.typical("p99")
    flags = findings.flags
    rules = dict(zip(zip(flags["row"], flags["feature"], strict=True), flags["rule"], strict=True))
    columns = zip(
        frame["score"], frame["severity"], frame["day_rank"], frame["day_rows"], frame["first_seen"],
        frame[findings.time], shown_features(findings, selected), strict=True,
    )  # fmt: skip
    rows = []
    for number, (score, severity, day_rank, day_rows, first_seen, time, shown) in enumerate(columns):
        features = []
        signs: list[int] = []
        neutral: list[int] = []
        for j in shown:
            direction = int(findings.directions[number, j])
            percentile = float(findings.percentiles[number, j])
            features.append(
                {
                    "name": names[j],
                    "value": format_value(findings.values[number, j]),  # noqa: PD011
                    "median": format_value(medians[number, j]),
                    "p99": format_value(p99s[number, j]),
                    "bar": _bar(percentile),
                    "percentile": "-" if math.isnan(percentile) else f"{percentile:.2f}",
                    "direction": {1: "↑ high", -1: "↓ low"}.get(direction, "-"),
                    "rule": long.show(text_of(rules.get((number, findings.features[j])))),
                }
            )
            (signs if direction else neutral).append(j + 1 if direction >= 0 else -j - 1)
        rows.append(
            {
                "number": number + 1,
                "time": format_time(time),
                "score": format_value(score),
                "severity": f"{severity:.2f}",
                "day_rank": f"{day_rank:,}",
                "day_rows": f"{day_rows:,}",
                "first_seen": format_time(first_seen),
                "is_first": days[number] == f"{first_seen:%Y-%m-%d}",
                "among": None if own_among is None else long.show(text_of(own_among[number])),
                "features": features,
                # Number, day, and the features shown, counted from 1: negative where they are low; then those that
                # have no rank.
                "index": [number + 1, days[number], signs, neutral],
            }
        )
    cards = []
    for entity, group in frame.groupby(findings.entity, sort=False, dropna=False):
        name = long.show(text_of(entity))
        known = [(text_of(column), text_of(group[column].iloc[0])) for column in findings.joined]
        joined = [(long.show(column), long.show(value)) for column, value in known]
        of_entity = sorted(days[number] for number in group.index)
        cards.append(
            {
                "name": name,
                "key": name.number or name.text,
                "known": [value.number or value.text for _, value in joined],
                "joined": joined,
                "rows": [rows[number] for number in group.index],
                "span": of_entity[0] if of_entity[0] == of_entity[-1] else f"{of_entity[0]} to {of_entity[-1]}",
            }
        )
    return cards


def _bar(percentile: float) -> int:
    """Length of the bar in steps: a quarter for 90, a half for 99, three quarters for 99.9, all for 99.99.

    What is shown is mostly above 99, where bars in proportion would all look full.
    """
    if math.isnan(percentile):
        return 0
    beyond = max(1 - percentile / 100, 1e-4)
    return round(-math.log10(min(beyond, 1.0)) / 4 * _STEPS)
