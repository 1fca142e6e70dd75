"""The report as one self-contained HTML page, in which all user-supplied text is escaped."""

from __future__ import annotations

import base64
import functools
import hashlib
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isoxide._common.format import format_share, format_time, format_value
from isoxide.ueba import _timeline
from isoxide.ueba._findings_data import FindingsData
from isoxide.ueba._shares import parts_of
from isoxide.ueba._texts import (
    LongTexts,
    Shown,
    ValueTexts,
    entity_groups,
    left_out,
    notes,
    quiet_text,
    rank_descriptions,
    shown_features,
)

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["render"]

#: Largest number of features that the summary lists.
MAX_FREQUENT_FEATURES = 10
#: Number of lengths of the bar that shows a percentile; report.css has a class for each.
N_BAR_LENGTHS = 20
#: Largest number of entries of the manifest that are shown, and of characters and items of each; the JSON file has all.
MAX_SHOWN_ENTRIES, MAX_ENTRY_LENGTH = 500, 2_000
#: Control characters, and surrogates, which UTF-8 cannot hold.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def render(findings: FindingsData, selected: NDArray[np.bool_], *, cutoff: float, title: str | None) -> str:
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

    Raises
    ------
    ImportError
        If Jinja2 is not installed.
    """
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
    long, (among, among_by_finding) = LongTexts(), rank_descriptions(findings)
    names = [long.show(text_of(name)) for name in findings.features]
    macros: Any = environment.get_template("shown.html.j2").module
    cards = _cards(findings, selected, days, names, among_by_finding, long, macros.shown)
    page: str = environment.get_template("report.html.j2").render(
        title=text_of(title) if title else text_of(f"Findings, {first} to {last}"),
        policy=_policy(environment),
        cutoff=f"{cutoff:g}",
        among=long.show(text_of(among)),
        is_grouped=among_by_finding is not None,
        is_explained=findings.explained is not None,
        tiles=_tiles(findings, days, text_of(f"{first} to {last}")),
        frequent=_frequent_features(selected, names),
        notes=[long.show(text_of(note)) for note in notes(findings)],
        left_out=[(long.show(text_of(name)), long.show(text_of(reason))) for name, reason in left_out(findings)],
        manifest=_entries(findings.manifest),
        timeline=_timeline.draw(findings.timeline, findings.anomaly_threshold),
        threshold=format_value(findings.anomaly_threshold),
        quiet=None if len(findings) else long.show(text_of(quiet_text(findings))),
        finding_days=_finding_days(findings, days),
        months=sorted({day[:7] for day in days}),
        cards=cards,
        n_findings=len(findings),
        data={
            # A number refers to the full text of that number, so that the page holds each long text once.
            "features": [name.number or name.text for name in names],
            "cards": [[card["key"], card["joined_texts"], [row.entry for row in card["rows"]]] for card in cards],
        },
        # Long texts are complete only after everything else is made.
        texts=long.texts,
    )
    return page


def text_of(value: Any) -> str:
    """Return a cell as text: a dash if it is missing, and without characters that UTF-8 cannot hold.

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
    """Return a content security policy that allows the style and the script of the page, and nothing else."""
    hashes = {}
    for name in ("report.css", "report.js"):
        digest = hashlib.sha256(environment.get_template(name).render().encode()).digest()
        hashes[name] = f"'sha256-{base64.b64encode(digest).decode()}'"
    return (
        f"default-src 'none'; style-src {hashes['report.css']}; script-src {hashes['report.js']}; "
        f"base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
    )


def _tiles(findings: FindingsData, days: list[str], span: str) -> list[tuple[str, str, str]]:
    """Return the figures of the summary: name, number, and the total that it is a part of."""
    manifest = findings.manifest

    def total(name: str) -> str:
        return f"of {manifest[name]:,}" if isinstance(manifest.get(name), int) else ""

    return [
        ("Findings", f"{len(findings):,}", f"{total('rows')} rows" if total("rows") else ""),
        ("Entities", f"{findings.frame[findings.entity].nunique(dropna=False):,}", total("entities")),
        ("Days", f"{len(set(days)):,}", f"{total('days')}, {span}" if total("days") else span),
        (
            "Highest score",
            format_value(findings.timeline["highest"].max()),
            f"threshold {format_value(findings.anomaly_threshold)}",
        ),
    ]


def _frequent_features(selected: NDArray[np.bool_], names: list[Shown]) -> list[tuple[Shown, str]]:
    """Return the features that are unusual in the most findings, with the number of these findings."""
    counts = selected.sum(axis=0)
    order = np.argsort(-counts, kind="stable")[:MAX_FREQUENT_FEATURES]
    return [(names[j], f"{counts[j]:,}") for j in order if counts[j]]


def _entries(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the entries of the manifest as names and texts; long texts and long lists of entries are cut."""
    entries = list(islice(_flat(manifest), MAX_SHOWN_ENTRIES + 1))
    cut = [(_start(name), _start(value)) for name, value in entries[:MAX_SHOWN_ENTRIES]]
    return [*cut, ("more entries", "are in the JSON file")] if len(entries) > MAX_SHOWN_ENTRIES else cut


def _start(text: str) -> str:
    """Return a text, cut if it is long."""
    return text if len(text) <= MAX_ENTRY_LENGTH else f"{text[:MAX_ENTRY_LENGTH]}…"


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield every entry of the manifest as name and text; entries of objects have dotted names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        yield text_of(name), ", ".join(map(text_of, value[:MAX_ENTRY_LENGTH])) or "-"
    else:
        yield text_of(name), text_of(value)


def _finding_days(findings: FindingsData, days: list[str]) -> list[tuple[str, str, str, str, int]]:
    """Return the days with findings as texts: day, rows, findings, highest score, and the number of its finding."""
    first: dict[str, int] = {}
    for number, day in enumerate(days):
        first.setdefault(day, number + 1)
    table = findings.timeline
    labels = pd.DatetimeIndex(table["day"]).strftime("%Y-%m-%d")
    lines = zip(labels, table["rows"], table["findings"], table["highest"], strict=True)
    return [
        (day, f"{rows:,}", f"{n_findings:,}", format_value(high), first[day])
        for day, rows, n_findings, high in lines
        if day in first
    ]


@dataclass(slots=True)
class _Row:
    """Texts of a finding, which Jinja reads as attributes, in a third of the time that entries of a dict take."""

    number: int
    time: str
    score: str
    rarity: str
    band: str
    day_rank: str
    day_rows: str
    first_seen: str
    is_first: bool
    features: Markup
    shares: Markup | None
    among: Shown | None
    entry: list[Any]


def _cards(
    findings: FindingsData,
    selected: NDArray[np.bool_],
    days: list[str],
    names: list[Shown],
    among_by_finding: list[str] | None,
    long: LongTexts,
    shown: Callable[[Shown], Markup],
) -> list[dict[str, Any]]:
    """Return a card per entity with its findings; the card with the highest score comes first."""
    frame = findings.frame
    rows_of = _feature_rows(findings, names, long, shown)
    summary_of = _share_summaries(findings, names, shown)
    directions = findings.directions.tolist()
    columns = zip(
        *(frame[name].tolist() for name in ("anomaly_score", "band", "day_rank", "day_rows", "first_seen")),
        findings.rarity_texts(), frame[findings.time].tolist(), shown_features(findings, selected), strict=True,
    )  # fmt: skip
    rows = []
    for number, (score, band, day_rank, day_rows, first_seen, rarity, time, listed) in enumerate(columns):
        own = directions[number]
        rows.append(
            _Row(
                number=number + 1,
                time=format_time(time),
                score=format_value(score),
                rarity=rarity,
                band=band,
                day_rank=f"{day_rank:,}",
                day_rows=f"{day_rows:,}",
                first_seen=format_time(first_seen),
                is_first=days[number] == f"{first_seen:%Y-%m-%d}",
                features=rows_of(number, listed),
                shares=summary_of(number, listed),
                among=None if among_by_finding is None else long.show(text_of(among_by_finding[number])),
                # The script filters by number, day and listed features. These are counted from 1, and negative if the
                # value is low; features without a direction come in a list of their own.
                entry=[
                    number + 1,
                    days[number],
                    [j + 1 if own[j] > 0 else -j - 1 for j in listed if own[j]],
                    [j + 1 for j in listed if not own[j]],
                ],
            )
        )
    joined_cells = {text_of(name): frame[name].tolist() for name in findings.joined}
    cards = []
    for entity, numbers in entity_groups(findings, sort=False):
        name = long.show(text_of(entity))
        known = [(column, text_of(cells[numbers[0]])) for column, cells in joined_cells.items()]
        joined = [(long.show(column), long.show(value)) for column, value in known]
        entity_days = sorted(days[number] for number in numbers)
        cards.append(
            {
                "name": name,
                "key": name.number or name.text,
                "joined_texts": [value.number or value.text for _, value in joined],
                "joined": joined,
                "rows": [rows[number] for number in numbers],
                "span": " to ".join(dict.fromkeys([entity_days[0], entity_days[-1]])),
            }
        )
    return cards


def _feature_rows(
    findings: FindingsData, names: list[Shown], long: LongTexts, shown: Callable[[Shown], Markup]
) -> Callable[[int, list[int]], Markup]:
    """Return a function that returns the rows of some features in the table of a finding.

    The page has thousands of such rows, so they are not left to Jinja, which escapes each cell anew. Names and rules,
    the only texts that come from users, are escaped by the template's macro `shown`, each once.
    """
    from markupsafe import Markup

    values, percentiles = findings.values.tolist(), findings.percentiles.tolist()  # noqa: PD011
    directions = findings.directions.tolist()
    medians, p99s = (findings.typical(statistic).tolist() for statistic in ("median", "p99"))
    flags = (findings.flags[name].tolist() for name in ("row", "feature", "rule"))
    rules = {(row, feature): rule for row, feature, rule in zip(*flags, strict=True)}
    texts, cells = ValueTexts(), [str(shown(name)) for name in names]
    features, signs = findings.features, {1: "↑ high", -1: "↓ low"}
    shares = None if findings.shares is None else findings.shares.tolist()

    @functools.cache
    def rule_cell(rule: str | None) -> str:
        return str(shown(long.show(text_of(rule))))

    @functools.cache
    def percentile_cell(percentile: float) -> str:
        if math.isnan(percentile):
            return "<td>-"
        return f'<td class="b{_bar_length(percentile)}">{percentile:.2f}'

    def rows(number: int, listed: list[int]) -> Markup:
        own = values[number], medians[number], p99s[number], percentiles[number], directions[number]
        own_values, own_medians, own_p99s, own_percentiles, own_directions = own
        lines = [
            f"<tr><th>{cells[j]}<td>{format_value(own_values[j])}<td>{texts[own_medians[j]]}<td>{texts[own_p99s[j]]}"
            f"{percentile_cell(own_percentiles[j])}<td>{signs.get(own_directions[j], '-')}"
            f"<td>{rule_cell(rules.get((number, features[j])))}"
            for j in listed
        ]
        if shares is not None:
            lines = [f"{line}<td>{format_share(shares[number][j])}" for line, j in zip(lines, listed, strict=True)]
        # Cells are numbers that this package formats, or come from the macro.
        return Markup("\n".join(lines))  # noqa: S704

    return rows


def _share_summaries(
    findings: FindingsData, names: list[Shown], shown: Callable[[Shown], Markup]
) -> Callable[[int, list[int]], Markup | None]:
    """Return a function that returns the summary of the shares of a finding, given the features in its table."""
    from markupsafe import Markup

    explained, shares = findings.explained, findings.shares
    if explained is None or shares is None:
        return lambda number, listed: None
    cells = [str(shown(name)) for name in names]

    def summary(number: int, listed: list[int]) -> Markup:
        own = shares[number]
        parts = []
        for part in parts_of(explained, own):
            named = " + ".join(f"<bdi>{cells[j]}</bdi>" for j in part.named)
            more = f"{part.n_more} {'more' if part.named else 'others'}" if part.n_more else ""
            parts.append(f"{' + '.join(filter(None, [named, more]))} <b>{part.share}</b>")
        parts[:1] = [f"{part} of the abnormality" for part in parts[:1]] or ["No feature makes the score more abnormal"]
        text = f"{'; '.join(parts)}. The features above add up to <b>{format_share(float(own[listed].sum()))}</b>."
        # The text consists of numbers and of names that the macro has escaped.
        return Markup(text)  # noqa: S704

    return summary


def _bar_length(percentile: float) -> int:
    """Return the length of a percentile's bar: a quarter for 90, a half for 99, three quarters for 99.9, all for 99.99.

    Most percentiles that are shown are above 99, where proportional bars would all look full.
    """
    if math.isnan(percentile):
        return 0
    beyond = max(1 - percentile / 100, 1e-4)
    return round(-math.log10(min(beyond, 1.0)) / 4 * N_BAR_LENGTHS)
