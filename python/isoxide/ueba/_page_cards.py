"""Cards of the page: one per entity, with its findings, their sentences and the tables of their features."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isoxide._common.format import format_share, format_time, format_value
from isoxide._common.links import LinkTemplate
from isoxide.ueba._findings_data import FindingsData
from isoxide.ueba._identifiers import time_text
from isoxide.ueba._page_texts import text_of
from isoxide.ueba._reasons import Reason
from isoxide.ueba._review import Judged
from isoxide.ueba._sentences import (
    Sentences,
    Style,
    everyone,
    listed_reasons,
    populations,
    rule_words,
)
from isoxide.ueba._shares import parts_of
from isoxide.ueba._sparkline import Sparkline, draw_sparkline
from isoxide.ueba._suppression import covered_features
from isoxide.ueba._texts import LongTexts, Shown, ValueTexts, entity_groups, rank_descriptions, shown_features

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["Cards"]

#: Number of lengths of the bar that shows a percentile; report.css has a class for each.
N_BAR_LENGTHS = 20
#: Largest numbers of features and of days of the table that compares the days of one entity.
MAX_COMPARED_FEATURES, MAX_COMPARED_DAYS = 10, 8


@dataclass(slots=True)
class _Row:
    """Texts of a finding, which Jinja reads as attributes, in a third of the time that entries of a dict take."""

    anchor: str
    time: str
    score: str
    rarity: str
    band: str
    day_rank: str
    day_rows: str
    first_seen: str
    is_first: bool
    sentence: Markup
    features: Markup
    shares: Markup | None
    among: Shown | None
    link: str | None
    #: State in comparison with an earlier run, status, and the decision about the finding; empty without them.
    state: str
    status: str
    decision: Shown | None
    entry: list[Any]


@dataclass(slots=True)
class _Card:
    """Texts of an entity with its findings."""

    name: Shown
    joined: list[tuple[Shown, Shown]]
    rows: list[_Row]
    span: str
    sparkline: Sparkline | None
    compared: Markup | None
    #: Entry of the data of the script.
    entry: list[Any]


class Cards:
    """Make the cards of the page.

    Parameters
    ----------
    findings : FindingsData
        Findings to report.
    selected : ndarray of bool, shape (n_findings, n_features)
        Values that are listed.
    cutoff : float
        Percentile from which values are unusual.
    names : list of Shown
        Names of the features.
    long : LongTexts
        Texts that are cut.
    shown : callable
        Macro of the template that escapes a text.
    link : LinkTemplate or None
        Template of a link for each finding.
    """

    def __init__(
        self,
        findings: FindingsData,
        selected: NDArray[np.bool_],
        cutoff: float,
        names: list[Shown],
        long: LongTexts,
        shown: Callable[[Shown], Markup],
        link: LinkTemplate | None,
    ) -> None:
        self._findings, self._long, self._shown, self._link = findings, long, shown, link
        self._cells = [str(shown(name)) for name in names]
        self.among, self.unit = populations(findings), findings._unit
        self.listed = shown_features(findings, selected)
        self.reasons = listed_reasons(findings, self.listed, cutoff)
        self.days = findings.frame[findings.time].dt.strftime("%Y-%m-%d").tolist()
        self._ids = findings.frame["finding_id"].tolist()
        self.anchors = _anchors(self._ids)
        self._cutoff = cutoff
        self._covered = covered_features(findings, cutoff)

    @property
    def head(self) -> Markup:
        """Return the rows of the head of the table of a finding."""
        from markupsafe import Markup

        share = "" if self._findings.explained is None else "<th{}>Share"
        usual = f"<th>Percentile<th>Usual {self.unit}<th>1 {self.unit} in 100"
        if len(self.among) == 1:
            return Markup(f"<tr><th>Feature<th>Value{usual}{share.format('')}")  # noqa: S704 (no text of users)
        both = ' rowspan="2"'
        labels = "".join(
            f'<th colspan="3" scope="colgroup">{self._shown(self._long.show(text_of(population.label)))}'
            for population in self.among
        )
        usual = "<th>Percentile<th>Usual<th>1 in 100" * len(self.among)
        # The labels come from the macro, which escapes them.
        return Markup(f"<tr><th{both}>Feature<th{both}>Value{labels}{share.format(both)}<tr>{usual}")  # noqa: S704

    def make(self) -> list[_Card]:
        """Return the cards; the entity with the highest score comes first."""
        findings, long = self._findings, self._long
        frame, rows = findings.frame, self._rows()
        joined_cells = {text_of(name): frame[name].tolist() for name in findings.joined}
        sparklines = self._sparklines()
        compared = self._comparison()
        cards = []
        for entity, numbers in entity_groups(findings, sort=False):
            name = long.show(text_of(entity))
            known = [(column, text_of(cells[numbers[0]])) for column, cells in joined_cells.items()]
            joined = [(long.show(column), long.show(value)) for column, value in known]
            entity_days = sorted(self.days[number] for number in numbers)
            exact = "" if pd.isna(entity) else str(entity)
            entry = [
                name.number or name.text,
                [value.number or value.text for _, value in joined],
                [rows[number].entry for number in numbers],
                # Decisions need the exact name if the page shows another text, such as a dash for a missing one.
                *([exact] if exact != text_of(entity) and not name.number else []),
            ]
            cards.append(
                _Card(
                    name=name,
                    joined=joined,
                    rows=[rows[number] for number in numbers],
                    span=" to ".join(dict.fromkeys([entity_days[0], entity_days[-1]])),
                    sparkline=sparklines(exact, set(entity_days)),
                    compared=compared(numbers),
                    entry=entry,
                )
            )
        return cards

    def _rows(self) -> list[_Row]:
        findings, long = self._findings, self._long
        frame, directions = findings.frame, findings.directions.tolist()
        _, among_by_finding = rank_descriptions(findings)
        rows_of, summary_of = self._feature_rows(), self._share_summaries()
        sentences = Sentences(findings, self.among, self._style(), self._cutoff)
        columns = zip(
            *(frame[name].tolist() for name in ("anomaly_score", "band", "day_rank", "day_rows", "first_seen")),
            findings.rarity_texts(), frame[findings.time].tolist(), frame[findings.entity].tolist(),
            strict=True,
        )  # fmt: skip
        rows = []
        for number, (score, band, day_rank, day_rows, first_seen, rarity, time, entity) in enumerate(columns):
            own, listed, day, exact = directions[number], self.listed[number], self.days[number], time_text(time)
            judged = findings.judged[number]
            is_first = day == f"{first_seen:%Y-%m-%d}"
            reached = [j + 1 for j in self._covered[number]]
            rows.append(
                _Row(
                    anchor=self.anchors[number],
                    time=format_time(time),
                    score=format_value(score),
                    rarity=rarity,
                    band=band,
                    day_rank=f"{day_rank:,}",
                    day_rows=f"{day_rows:,}",
                    first_seen=format_time(first_seen),
                    is_first=is_first,
                    sentence=self._sentence(sentences, number),
                    features=rows_of(number, self.reasons[number]),
                    shares=summary_of(number, listed),
                    among=None if among_by_finding is None else long.show(text_of(among_by_finding[number])),
                    link=self._address(number, entity, day, exact),
                    state=judged.state or "",
                    status="" if judged.status == "open" else judged.status,
                    decision=self._decision(judged),
                    # The script filters by day and listed features. These are counted from 1, and negative if the
                    # value is low; features without a direction come in a list of their own.
                    entry=[
                        self.anchors[number],
                        day,
                        [j + 1 if own[j] > 0 else -j - 1 for j in listed if own[j]],
                        [j + 1 for j in listed if not own[j]],
                        # For decisions: the exact time, the score, and the features that reach the cutoff.
                        0 if exact == day else exact,
                        score,
                        0 if sorted(reached) == sorted(j + 1 for j in listed) else reached,
                        *([judged.state] if judged.state else []),
                    ],
                )
            )
        return rows

    def _address(self, number: int, entity: Any, day: str, time: str) -> str | None:
        """Return the address of a finding in another system, or None without a template."""
        if self._link is None:
            return None
        name = "" if pd.isna(entity) else str(entity)
        return self._link.fill(entity=name, day=day, time=time, id=self._ids[number])

    def _decision(self, judged: Judged) -> Shown | None:
        """Return the decision about a finding, with the reason why it does not hold any more."""
        if judged.decision is None:
            return None
        reason = f"{judged.outgrown}; decided: " if judged.outgrown else ""
        return self._long.show(text_of(f"{reason}{judged.decision}"))

    def _style(self) -> Style:
        return Style(
            lambda j: f"<bdi>{self._cells[j]}</bdi>",
            lambda text: f"<bdi>{self._shown(self._long.show(text_of(text)))}</bdi>",
            lambda number: f"<b>{number}</b>",
        )

    def _sentence(self, sentences: Sentences, number: int) -> Markup:
        from markupsafe import Markup

        # The sentence consists of plain words, of numbers, and of names that the macro has escaped.
        return Markup(sentences.write(number, self.reasons[number]))  # noqa: S704

    def _feature_rows(self) -> Callable[[int, list[Reason]], Markup]:
        """Return a function that returns the rows of the reasons of a finding.

        The page has thousands of such rows, so they are not left to Jinja, which escapes each cell anew. Names, rules
        and reasons for missing ranks, the only texts that come from users, are escaped by the macro, each once.
        """
        from markupsafe import Markup

        findings, cells, long, shown = self._findings, self._cells, self._long, self._shown
        values, directions = findings.values.tolist(), findings.directions.tolist()  # noqa: PD011
        flags = (findings.flags[name].tolist() for name in ("row", "feature", "rule"))
        rules = {(row, feature): rule for row, feature, rule in zip(*flags, strict=True)}
        texts, features = ValueTexts(), findings.features
        signs = {1: " <i>↑</i>", -1: " <i>↓</i>"}
        shares = None if findings.shares is None else findings.shares.tolist()
        among = [(p.percentiles.tolist(), p.medians.tolist(), p.p99s.tolist(), p.missing) for p in self.among]
        # Ranks among all rows say the same as rules of percentiles.
        is_ranked_among_all = self.among[0].kind == "all"

        @functools.cache
        def note(rule: str | None) -> str:
            if rule is None or (is_ranked_among_all and rule.startswith(">=p")):
                return ""
            return f" <small>{shown(long.show(text_of(rule_words(rule, self.unit))))}</small>"

        @functools.cache
        def reason_cells(missing: str) -> str:
            return f'<td class="no">{shown(long.show(text_of(missing)))}<td><td>'

        @functools.cache
        def percentile_cell(percentile: float) -> str:
            return "<td>-" if math.isnan(percentile) else f'<td class="b{_bar_length(percentile)}">{percentile:.2f}'

        def line(number: int, j: int, share: float | None, related: str) -> str:
            parts = [
                f"<tr><th>{cells[j]}{note(rules.get((number, features[j])))}{related}<td>{texts[values[number][j]]}"
                f"{signs.get(directions[number][j], '')}"
            ]
            for percentiles, medians, p99s, missing in among:
                if missing[number]:
                    parts.append(reason_cells(missing[number]))
                else:
                    own = percentile_cell(percentiles[number][j])
                    parts.append(f"{own}<td>{texts[medians[number][j]]}<td>{texts[p99s[number][j]]}")
            if share is not None:
                parts.append(f"<td>{format_share(share)}")
            return "".join(parts)

        def rows(number: int, reasons: list[Reason]) -> Markup:
            own = None if shares is None else shares[number]
            lines = []
            for reason in reasons:
                n = len(reason.related)
                related = f"<details><summary>{n} related</summary></details>" if n else ""
                lines.append(f"<tbody>{line(number, reason.feature, reason.share, related)}")
                if n:
                    lines.append('<tbody class="kin">')
                    lines += [line(number, j, None if own is None else own[j], "") for j in reason.related]
            # Cells are numbers that this package formats, or come from the macro.
            return Markup("\n".join(lines))  # noqa: S704

        return rows

    def _share_summaries(self) -> Callable[[int, list[int]], Markup | None]:
        """Return a function that returns the summary of the shares of a finding, given the features in its table."""
        from markupsafe import Markup

        explained, shares, cells = self._findings.explained, self._findings.shares, self._cells
        if explained is None or shares is None:
            return lambda number, listed: None

        def summary(number: int, listed: list[int]) -> Markup:
            own = shares[number]
            parts = []
            for part in parts_of(explained, own):
                named = " + ".join(f"<bdi>{cells[j]}</bdi>" for j in part.named)
                more = f"{part.n_more} {'more' if part.named else 'others'}" if part.n_more else ""
                parts.append(f"{' + '.join(filter(None, [named, more]))} <b>{part.share}</b>")
            nothing = ["No feature makes the score more abnormal"]
            parts[:1] = [f"{part} of the abnormality" for part in parts[:1]] or nothing
            text = f"{'; '.join(parts)}. The features above add up to <b>{format_share(float(own[listed].sum()))}</b>."
            # The text consists of numbers and of names that the macro has escaped.
            return Markup(text)  # noqa: S704

        return summary

    def _sparklines(self) -> Callable[[str, set[str]], Sparkline | None]:
        """Return a function that returns the chart of the scores of an entity, given the days of its findings."""
        scores = self._findings.entity_scores
        if scores is None or not len(scores):
            return lambda entity, days: None
        threshold = self._findings.anomaly_threshold
        texts, numbers = scores["day"].dt.strftime("%Y-%m-%d").tolist(), scores["anomaly_score"].tolist()
        by_entity: dict[str, tuple[list[str], list[float]]] = {}
        for entity, day, score in zip(scores["entity"].tolist(), texts, numbers, strict=True):
            own_days, own_scores = by_entity.setdefault(entity, ([], []))
            own_days.append(day)
            own_scores.append(score)

        def chart(entity: str, days: set[str]) -> Sparkline | None:
            own_days, own_scores = by_entity.get(entity, ([], []))
            return draw_sparkline(own_days, own_scores, threshold, days)

        return chart

    def _comparison(self) -> Callable[[list[int]], Markup | None]:
        """Return a function that returns the table that compares the days of an entity, given its findings."""
        from markupsafe import Markup

        findings, texts = self._findings, ValueTexts()
        values = findings.values.tolist()  # noqa: PD011
        # The days of an entity differ in size, so there is no usual value of similar size for all of them.
        among = [population for population in self.among if population.kind != "size"] or [everyone(findings)]
        names = [str(self._shown(self._long.show(text_of(population.whose)))) for population in among]

        def table(numbers: list[int]) -> Markup | None:
            if len(numbers) < 2:
                return None
            counts: dict[int, int] = {}
            for number in numbers:
                for reason in self.reasons[number]:
                    counts[reason.feature] = counts.get(reason.feature, 0) + 1
            features = sorted(counts, key=lambda j: -counts[j])[:MAX_COMPARED_FEATURES]
            compared = sorted(numbers[:MAX_COMPARED_DAYS], key=lambda number: self.days[number])
            first = numbers[0]
            order = sorted(range(len(among)), key=lambda k: among[k].kind != "history")
            known = [k for k in order if not among[k].missing[first]]
            whose = "".join(f"<th>{names[k]} usual {self.unit}, 1 in 100" for k in known)
            days = "".join(f'<th><a href="#{self.anchors[number]}">{self.days[number]}</a>' for number in compared)
            # A value beyond what one row in 100 of the most telling population reaches is emphasised.
            caption = f"<caption>Bold: more than {names[known[0]]} 1 {self.unit} in 100.</caption>" if known else ""
            lines = [f"{caption}<thead><tr><th>Feature{whose}{days}<tbody>"]
            for j in features:
                usual = "".join(
                    f"<td>{texts[among[k].medians[first, j]]}, {texts[among[k].p99s[first, j]]}" for k in known
                )
                limit = among[known[0]].p99s[first, j] if known else math.nan
                own = "".join(
                    f"<td><b>{texts[values[number][j]]}</b>" if values[number][j] > limit
                    else f"<td>{texts[values[number][j]]}"
                    for number in compared
                )  # fmt: skip
                lines.append(f"<tr><th>{self._cells[j]}{usual}{own}")
            # The table consists of numbers, days, and names that the macro has escaped.
            return Markup("\n".join(lines))  # noqa: S704

        return table


def _anchors(ids: list[str]) -> list[str]:
    """Return the identifiers of findings as anchors of the page; repeated ones get a number."""
    seen: dict[str, int] = {}
    anchors = []
    for own in ids:
        seen[own] = seen.get(own, 0) + 1
        anchors.append(own if seen[own] == 1 else f"{own}-{seen[own]}")
    return anchors


def _bar_length(percentile: float) -> int:
    """Return the length of a percentile's bar: a quarter for 90, a half for 99, three quarters for 99.9, all for 99.99.

    Most percentiles that are shown are above 99, where proportional bars would all look full.
    """
    if math.isnan(percentile):
        return 0
    beyond = max(1 - percentile / 100, 1e-4)
    return round(-math.log10(min(beyond, 1.0)) / 4 * N_BAR_LENGTHS)
