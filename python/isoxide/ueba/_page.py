"""The report as one HTML page that needs nothing but itself, in which every name stays text."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isoxide._format import format_time, format_value
from isoxide.ueba import _timeline
from isoxide.ueba._markdown import shown

if TYPE_CHECKING:
    from isoxide.ueba._findings import Findings

__all__ = ["render"]

#: Features listed in the summary.
_FREQUENT = 10
#: Steps of the bar that shows a percentile; report.css has a class for each.
_STEPS = 20
#: Controls, and halves of characters, which no file can hold in UTF-8.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def render(findings: Findings, selected: NDArray[np.bool_], *, cutoff: float, title: str | None) -> str:
    """See `Findings.to_html`."""
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
    first = findings.manifest.get("first_day") or min(days)
    last = findings.manifest.get("last_day") or max(days)
    cards = _cards(findings, selected, days)
    page: str = environment.get_template("report.html.j2").render(
        title=text_of(title) if title else f"Findings, {first} to {last}",
        policy=_policy(environment),
        cutoff=f"{cutoff:g}",
        tiles=_tiles(findings, days, f"{first} to {last}"),
        frequent=_frequent(findings, selected),
        manifest=list(_flat(findings.manifest)),
        timeline=_timeline.draw(findings.timeline),
        days_found=_days_found(findings, days),
        months=sorted({day[:7] for day in days}),
        cards=cards,
        n_findings=len(findings),
        data={
            "features": [text_of(name) for name in findings.features],
            "cards": [[card["name"], card["known"], [row["index"] for row in card["rows"]]] for card in cards],
        },
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


def _tiles(findings: Findings, days: list[str], span: str) -> list[tuple[str, str, str]]:
    """Figures of the summary: what, how many, and of how many."""
    manifest = findings.manifest

    def of(name: str) -> str:
        return f"of {manifest[name]:,}" if isinstance(manifest.get(name), int) else ""

    return [
        ("Findings", f"{len(findings):,}", f"{of('rows')} rows" if of("rows") else ""),
        ("Entities", f"{findings.frame[findings.entity].nunique(dropna=False):,}", of("entities")),
        ("Days", f"{len(set(days)):,}", f"{of('days')}, {span}" if of("days") else span),
        ("Lowest score", format_value(findings.frame["score"].min()), "findings are below 0"),
    ]


def _frequent(findings: Findings, selected: NDArray[np.bool_]) -> list[tuple[str, str]]:
    """Features that are out of the ordinary in most findings, with their number."""
    counts = selected.sum(axis=0)
    order = np.argsort(-counts, kind="stable")[:_FREQUENT]
    return [(text_of(findings.features[j]), f"{counts[j]:,}") for j in order if counts[j]]


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every entry of the manifest as a line, those of objects under dotted names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        yield text_of(name), ", ".join(map(text_of, value)) or "-"
    else:
        yield text_of(name), text_of(value)


def _days_found(findings: Findings, days: list[str]) -> list[tuple[str, str, str, str, int]]:
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


def _cards(findings: Findings, selected: NDArray[np.bool_], days: list[str]) -> list[dict[str, Any]]:
    """A card per entity, that of the lowest score first."""
    frame = findings.frame.reset_index(drop=True)
    names = [text_of(name) for name in findings.features]
    typical = findings.reference.loc[findings.features]
    median = [format_value(value) for value in typical["median"]]
    p99 = [format_value(value) for value in typical["p99"]]
    flags = findings.flags
    rules = dict(zip(zip(flags["row"], flags["feature"], strict=True), flags["rule"], strict=True))
    columns = zip(
        frame["score"], frame["severity"], frame["day_rank"], frame["day_rows"], frame["first_seen"],
        frame[findings.time], strict=True,
    )  # fmt: skip
    rows = []
    for number, (score, severity, day_rank, day_rows, first_seen, time) in enumerate(columns):
        features, signs = [], []
        for j in shown(findings, number, selected[number]):
            high = bool(findings.directions[number, j] > 0)
            percentile = float(findings.percentiles[number, j])
            features.append(
                {
                    "name": names[j],
                    "value": format_value(findings.values[number, j]),  # noqa: PD011
                    "median": median[j],
                    "p99": p99[j],
                    "bar": _bar(percentile),
                    "percentile": "-" if math.isnan(percentile) else f"{percentile:.2f}",
                    "high": high,
                    "rule": text_of(rules.get((number, findings.features[j]))),
                }
            )
            signs.append(j + 1 if high else -j - 1)
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
                "features": features,
                # Number, day, and the features shown, counted from 1 and negative where they are low.
                "index": [number + 1, days[number], signs],
            }
        )
    cards = []
    for entity, group in frame.groupby(findings.entity, sort=False, dropna=False):
        known = [(text_of(name), text_of(group[name].iloc[0])) for name in findings.joined]
        of_entity = sorted(days[number] for number in group.index)
        cards.append(
            {
                "name": text_of(entity),
                "known": " ".join(value for _, value in known),
                "joined": known,
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
