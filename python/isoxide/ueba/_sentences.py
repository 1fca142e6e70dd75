"""Reasons of a finding in words, and a sentence that compares the first reason with usual values.

    1,887 n_files; this user's usual day is 11 (1 day in 100: 181), everyone's 5. 12 related features are high for the
    same reason. Also 40 n_hosts (everyone's 1).

A reason is a listed feature together with the other listed features of its family, which move together and so say the
same. Both reports (HTML and Markdown) use these texts; each of them escapes the names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isoxide._common.format import format_value
from isoxide.ueba._findings_data import FindingsData
from isoxide.ueba._quantiles import STATISTICS
from isoxide.ueba._ranks import Ranked
from isoxide.ueba._reasons import Reason, ordered_reasons
from isoxide.ueba._size_remarks import remark_text
from isoxide.ueba._texts import rank_descriptions

__all__ = [
    "Population",
    "Sentences",
    "Style",
    "counted_entities",
    "entities_word",
    "everyone",
    "frequent_features",
    "listed_reasons",
    "populations",
    "rule_words",
]

#: Number of further reasons that a sentence names.
MAX_FURTHER_REASONS = 2
_NO_RANKS = "no ranks: "


class Population(NamedTuple):
    """Rows that the values of findings are compared with."""

    #: ``"all"``, ``"group"``, ``"peers"``, ``"size"`` or ``"history"``.
    kind: str
    #: Description for the head of a column; it can contain names of columns.
    label: str
    #: Whose usual value it is, in the genitive; it can contain names of columns.
    whose: str
    #: Percentiles, medians and 99th percentiles of each finding, of shape (n_findings, n_features).
    percentiles: NDArray[np.float64]
    medians: NDArray[np.float64]
    p99s: NDArray[np.float64]
    #: For each finding, the reason why it has no ranks, or an empty text.
    missing: list[str]


class Style(NamedTuple):
    """Parts of a sentence that are not plain words, as a format writes them."""

    #: Return the escaped name of a feature.
    name: Callable[[int], str]
    #: Return an escaped text.
    text: Callable[[str], str]
    #: Return an emphasised number.
    strong: Callable[[str], str]


def populations(findings: FindingsData) -> list[Population]:
    """Return the rows that the values of findings are compared with, the rows of the main ranks first."""
    overall, by_finding = rank_descriptions(findings)
    groups, entity = findings.ranking.get("groups"), findings.entity
    kind = "all" if groups is None else "history" if groups == entity else "group"
    if kind != "all" and findings.ranking.get("size") is not None:
        kind = "size"
    similar = f"{findings._unit}s of similar size"
    whose = {"all": "everyone's", "history": f"this {entity}'s", "group": f"this {groups}'s", "size": similar}[kind]
    main = Population(
        kind,
        overall,
        whose,
        findings.percentiles,
        findings.typical("median"),
        findings.typical("p99"),
        _missing(by_finding or [""] * len(findings)),
    )
    labels = {
        "peers": (f"same {(findings.manifest.get('model') or {}).get('groups') or 'group'}", "the peers'"),
        "size": (similar, similar),
        "history": (f"this {entity} before", f"this {entity}'s"),
    }
    others = [
        _compared(name, *labels[name], ranked, len(findings.features))
        for name, ranked in findings.comparisons.items()
        if name in labels
    ]
    return [main, *others]


def everyone(findings: FindingsData) -> Population:
    """Return all rows as the population of findings that are ranked within groups; it has no percentiles."""
    shape = len(findings), len(findings.features)
    medians, p99s = (np.broadcast_to(findings.reference[name].to_numpy(), shape) for name in ("median", "p99"))
    return Population("all", "all rows", "everyone's", np.full(shape, np.nan), medians, p99s, [""] * len(findings))


def _compared(kind: str, label: str, whose: str, ranked: Ranked, n_features: int) -> Population:
    shape = len(ranked.rank_among), n_features, len(STATISTICS)
    typical = np.full(shape, np.nan) if ranked.group_of is None else ranked.typical(n_features)
    missing = _missing(ranked.rank_among)
    return Population(kind, label, whose, ranked.percentiles, typical[:, :, 0], typical[:, :, 2], missing)


def _missing(among: list[str]) -> list[str]:
    """Return the reasons why findings have no ranks, such as "2 days of history"; empty texts for those with ranks."""
    return [text.removeprefix(_NO_RANKS) if text.startswith(_NO_RANKS) else "" for text in among]


def entities_word(entity: str) -> str:
    """Return the plural of a column name that is an English word, or "name values" for other names.

    Examples
    --------
    >>> from isoxide.ueba._sentences import entities_word
    >>> [entities_word(name) for name in ("user", "src_ip", "hosts")]
    ['users', 'src_ip values', 'hosts values']
    """
    return f"{entity}s" if re.fullmatch(r"[A-Za-z]+[a-rt-wz]", entity) else f"{entity} values"


def counted_entities(number: int, entity: str) -> str:
    """Return a number of entities with the name of their column.

    Examples
    --------
    >>> from isoxide.ueba._sentences import counted_entities
    >>> counted_entities(1, "user"), counted_entities(1200, "user")
    ('1 user', '1,200 users')
    """
    return f"1 {entity}" if number == 1 else f"{number:,} {entities_word(entity)}"


def rule_words(code: str, unit: str) -> str:
    """Return the code of a rule in words.

    Examples
    --------
    >>> from isoxide.ueba._sentences import rule_words
    >>> [rule_words(code, "day") for code in (">=p99", ">=p95", "zscore>=3", "flag")]
    ['1 in 100 days', '1 in 20 days', 'z-score of 3 or more', 'flag']
    """
    if match := re.fullmatch(r">=p(\d+(?:\.\d+)?)", code):
        beyond = 100 - float(match[1])
        return f"1 in {format_value(round(100 / beyond, 4))} {unit}s" if 0 < beyond < 100 else code
    if match := re.fullmatch(r"zscore>=(\S+)", code):
        return f"z-score of {match[1]} or more"
    return code


def listed_reasons(findings: FindingsData, listed: list[list[int]], cutoff: float) -> list[list[Reason]]:
    """Return the reasons of each finding that a report lists, in the order of `ordered_reasons`.

    Parameters
    ----------
    findings : FindingsData
        Findings of the report.
    listed : list of list of int
        Listed features of each finding, the most unusual one first.
    cutoff : float
        Percentile from which a value is unusual. Flags and features that are listed although they do not reach it come
        last.
    """
    explained, shares = findings.explained, findings.shares
    family_of = {} if explained is None else {j: members for members in explained.families for j in members}
    percentiles, flags = findings.percentiles.tolist(), findings._flag_positions
    own_shares = [None] * len(findings) if shares is None else shares.tolist()
    return [
        ordered_reasons(features, own_percentiles, own, family_of, flags, cutoff)
        for features, own_percentiles, own in zip(listed, percentiles, own_shares, strict=True)
    ]


def frequent_features(findings: FindingsData, reached: NDArray[np.bool_], max_features: int) -> list[tuple[int, int]]:
    """Return the features that are unusual in the most findings, each with the number of these findings.

    Parameters
    ----------
    findings : FindingsData
        Findings of the report.
    reached : ndarray of bool, shape (n_findings, n_features)
        Values that reach the cutoff. Flags are left out, and of each family only the most frequent feature is returned.
    max_features : int
        Maximum number of features.
    """
    counts = reached.sum(axis=0)
    counts[sorted(findings._flag_positions)] = 0
    families = [] if findings.explained is None else findings.explained.families
    for family in families:
        best = max(family, key=lambda j: (counts[j], -j))
        counts[[j for j in family if j != best]] = 0
    order = np.argsort(-counts, kind="stable")[:max_features]
    return [(int(j), int(counts[j])) for j in order if counts[j]]


class Sentences:
    """Writer of the sentence about each finding.

    Parameters
    ----------
    findings : FindingsData
        Findings of the report.
    among : list of Population
        Rows that values are compared with, from `populations`.
    style : Style
        How the format writes names and numbers.
    cutoff : float
        Percentile from which a value is unusual.
    """

    def __init__(self, findings: FindingsData, among: list[Population], style: Style, cutoff: float) -> None:
        self._style, self._unit, self._flags = style, findings._unit, findings._flag_positions
        self._values, self._directions = findings.values.tolist(), findings.directions.tolist()
        # The own history says most, then the peers or rows of similar size, then all rows.
        by_kind = {population.kind: population for population in among}
        if among[0].kind == "size":
            by_kind["all"] = everyone(findings)
        ordered = [by_kind[kind] for kind in ("history", "peers", "group", "size", "all") if kind in by_kind]
        self._among = [(p.kind, style.text(p.whose), p.medians.tolist(), p.p99s.tolist()) for p in ordered]
        self._remarks = findings._size_remarks(cutoff)
        size = findings.size_bands
        self._size = -1 if size is None else findings.features.index(size.feature)

    def write(self, number: int, reasons: list[Reason]) -> str:
        """Return the sentence about a finding."""
        first, further = reasons[0], reasons[1:]
        text = f"{self._subject(number, first.feature)}{self._usual(number, first.feature)}."
        if first.related:
            text += f" {self._related(number, [first.feature, *first.related])}"
        named = [self._short(number, reason.feature) for reason in further[:MAX_FURTHER_REASONS]]
        if n_more := len(further) - len(named):
            named.append(f"{n_more} more")
        if named:
            text += f" Also {', '.join(named[:-1])}{' and ' if len(named) > 1 else ''}{named[-1]}."
        remark = self._remarks[number]
        return text if remark is None else f"{text} {remark_text(remark, self._unit, self._size, self._style.name)}"

    def _subject(self, number: int, j: int) -> str:
        value, name = self._values[number][j], self._style.name(j)
        if math.isnan(value):
            return f"No value of {name}"
        if j in self._flags and value == 1:
            return f"{name} is set"
        return f"{self._style.strong(format_value(value))} {name}"

    def _usual(self, number: int, j: int) -> str:
        """Return the usual values of each population that has some."""
        if j in self._flags:
            return ""
        parts: list[str] = []
        for kind, whose, medians, p99s in self._among:
            median, p99 = medians[number][j], p99s[number][j]
            if math.isnan(median):
                continue
            if parts:
                parts.append(f"{whose} {format_value(median)}")
                continue
            # The 99th percentile says nothing about a value that is low.
            is_low = self._directions[number][j] < 0 or math.isnan(p99)
            rare = "" if is_low else f" (1 {self._unit} in 100: {format_value(p99)})"
            usual = f"the usual {self._unit} of similar size" if kind == "size" else f"{whose} usual {self._unit}"
            parts.append(f"{usual} is {format_value(median)}{rare}")
        return f"; {', '.join(parts)}" if parts else ""

    def _related(self, number: int, members: list[int]) -> str:
        n = len(members) - 1
        signs = {self._directions[number][j] for j in members}
        side = "high" if signs == {1} else "low" if signs == {-1} else "unusual"
        return f"{n} related feature{' is' if n == 1 else 's are'} {side} for the same reason."

    def _short(self, number: int, j: int) -> str:
        """Return a further reason with the usual value of the most telling population."""
        if j in self._flags:
            return self._subject(number, j)
        known = [
            (whose, medians[number][j]) for _, whose, medians, _ in self._among if not math.isnan(medians[number][j])
        ]
        usual = f" ({known[0][0]} {format_value(known[0][1])})" if known else ""
        return f"{self._subject(number, j)}{usual}"
