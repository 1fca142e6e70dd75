"""Test the sentences of reports: the first reason, its usual values, its family, and words instead of codes."""

import numpy as np
import pandas as pd
import pytest

from isoxide import ueba
from isoxide._common.format import format_value
from isoxide.ueba._sentences import (
    Sentences,
    Style,
    counted_entities,
    entities_word,
    frequent_features,
    listed_reasons,
    populations,
    rule_words,
)
from isoxide.ueba._shares import Explained
from isoxide.ueba._texts import shown_features

DAYS = 120


def table(*, extra=()):
    """Return 119 usual days of each of three people, and a day on which one of them touches many files."""
    rng = np.random.default_rng(0)
    days = pd.date_range("2025-01-01", periods=DAYS)
    frame = pd.DataFrame([(name, day) for name in ("ana", "ben", "cyd") for day in days], columns=["person", "day"])
    frame["team"] = np.where(frame["person"] == "cyd", "b", "a")
    frame["files"] = rng.integers(0, 20, len(frame)).astype(float)
    frame["hosts"] = rng.integers(0, 5, len(frame)).astype(float)
    last = (frame["person"] == "ana") & (frame["day"] == days[-1])
    frame.loc[last, "files"] = 1887.0
    frame["bytes"], frame["reads"] = frame["files"] * 1000, frame["files"] + 1
    for name, values in dict(extra).items():
        frame[name] = values
    return frame, last


def findings_of_model(frame, last, **options):
    reading = {"entity": "person", "time": "day", "include": ["files", "hosts", "bytes", "reads"]}
    old = ueba.read_table(frame[frame["day"] < frame["day"].max()], **reading)
    model = ueba.Model.fit(old, threshold=0.6, random_state=0, **options)
    return model.detect(ueba.read_table(frame[last], **reading))


def sentence(findings, number=0, cutoff=99.0):
    style = Style(lambda j: findings.features[j], str, lambda text: f"*{text}*")
    reasons = listed_reasons(findings, shown_features(findings, findings.selected(cutoff)), cutoff)
    return Sentences(findings, populations(findings), style, cutoff).write(number, reasons[number])


def typical(values, statistic):
    return format_value(values.median() if statistic == "median" else values.quantile(0.99))


def test_a_value_is_compared_with_the_own_days_the_peers_and_everyone():
    frame, last = table()
    findings = findings_of_model(frame, last, groups="team", min_history=20)
    assert len(findings) == 1
    # Contributions decide which member of the family comes first only by the order of ranks, which are equal.
    j = findings.order[0, 0]
    name, old = findings.features[j], frame[frame["day"] < frame["day"].max()]
    own, peers = old[old["person"] == "ana"][name], old[old["team"] == "a"][name]
    assert sentence(findings).startswith(
        f"*{format_value(frame.loc[last, name].iloc[0])}* {name}; this person's usual day is {typical(own, 'median')} "
        f"(1 day in 100: {typical(own, 'p99')}), the peers' {typical(peers, 'median')}, "
        f"everyone's {typical(old[name], 'median')}. 2 related features are high for the same reason."
    )


def test_populations_without_values_are_left_out():
    frame, last = table()
    frame.loc[last, "person"] = "dan"
    findings = findings_of_model(frame, last)
    text = sentence(findings)
    assert "this person's" not in text
    assert "peers" not in text
    assert "; everyone's usual day is" in text
    history = populations(findings)[-1]
    assert (history.kind, history.missing) == ("history", ["0 days of history"])


def test_low_values_have_no_limit_of_high_ones():
    frame, last = table()
    findings = findings_of_model(frame, last)
    findings.directions = -findings.directions
    assert "1 day in 100" not in sentence(findings)
    assert "related features are low for the same reason." in sentence(findings)


def test_a_family_has_one_reason_with_its_whole_share():
    frame, last = table()
    findings = findings_of_model(frame, last)
    (family,) = findings.families
    assert sorted(family) == ["bytes", "files", "reads"]
    listed = [findings.order[0].tolist()]
    (reasons,) = listed_reasons(findings, listed, 0.0)
    members = {findings.features[j] for j in (reasons[0].feature, *reasons[0].related)}
    assert members == set(family)
    positions = [findings.features.index(name) for name in family]
    assert reasons[0].share == pytest.approx(findings.shares[0, positions].sum())
    assert [findings.features[reason.feature] for reason in reasons[1:]] == ["hosts"]
    # Not all members need be listed, but the share is that of the whole family.
    (reasons,) = listed_reasons(findings, [[positions[0]]], 0.0)
    assert reasons[0].related == []
    assert reasons[0].share == pytest.approx(findings.shares[0, positions].sum())


def test_reasons_are_in_the_order_of_shares_and_flags_come_last():
    frame, last = table(extra={"is_weekend": 0.0})
    frame.loc[last, "is_weekend"] = 1.0
    reading = {"entity": "person", "time": "day", "include": ["files", "hosts", "is_weekend"]}
    findings = ueba.detect(ueba.read_table(frame, **reading), contamination=0.006)
    j = {name: k for k, name in enumerate(findings.features)}
    contributions = np.zeros((len(findings), 3))
    contributions[0, [j["is_weekend"], j["hosts"], j["files"]]] = [0.7, 0.2, 0.1]
    findings.explained = Explained(contributions, -1.0, [])
    listed = [[j["files"], j["is_weekend"], j["hosts"]]] * len(findings)

    def ordered():
        return [findings.features[reason.feature] for reason in listed_reasons(findings, listed, 0.0)[0]]

    assert ordered() == ["hosts", "files", "is_weekend"]
    assert sentence(findings, cutoff=0.0).endswith("is_weekend is set.")
    findings.manifest["ranking"]["domain_defaults"] = False
    assert ordered() == ["is_weekend", "hosts", "files"]
    # Without shares, the order is that of the listed features.
    findings.explained = None
    assert ordered() == ["files", "is_weekend", "hosts"]


def test_missing_values_are_named():
    frame, last = table()
    findings = findings_of_model(frame, last)
    findings.values = np.full(findings.order.shape, np.nan)
    assert sentence(findings).startswith("No value of ")


def test_frequent_features_are_one_per_family_without_flags():
    frame, _ = table(extra={"is_weekend": 1.0})
    reading = {"entity": "person", "time": "day", "include": ["files", "bytes", "hosts", "is_weekend"]}
    findings = ueba.detect(ueba.read_table(frame, **reading), contamination=0.02)
    reached = np.ones(findings.order.shape, dtype=bool)
    names = [findings.features[j] for j, _ in frequent_features(findings, reached, 10)]
    assert sorted(names) == ["files", "hosts"]
    assert len(frequent_features(findings, reached, 1)) == 1
    assert frequent_features(findings, np.zeros_like(reached), 10) == []


def test_rows_of_a_table_of_times_are_not_called_days():
    frame, last = table()
    findings = findings_of_model(frame, last)
    assert findings._unit == "day"
    findings.frame["day"] += pd.Timedelta("3h")
    assert findings._unit == "row"
    assert "this person's usual row is" in sentence(findings)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (">=p99", "1 in 100 days"),
        (">=p99.9", "1 in 1,000 days"),
        (">=p95", "1 in 20 days"),
        (">=p100", ">=p100"),
        (">=p0", ">=p0"),
        ("zscore>=3", "z-score of 3 or more"),
        ("flag", "flag"),
        ("<b>", "<b>"),
    ],
)
def test_rules_are_written_in_words(code, words):
    assert rule_words(code, "day") == words


@pytest.mark.parametrize(
    ("name", "plural"),
    [("actor", "actors"), ("User", "Users"), ("src_ip", "src_ip values"), ("boss", "boss values"), ("a", "a values")],
)
def test_entities_have_the_name_of_their_column(name, plural):
    assert entities_word(name) == plural
    assert counted_entities(2, name) == f"2 {plural}"
    assert counted_entities(1, name) == f"1 {name}"


def test_all_members_of_populations_are_of_the_findings():
    frame, last = table()
    findings = findings_of_model(frame, last, groups="team")
    among = populations(findings)
    assert [population.kind for population in among] == ["all", "peers", "history"]
    for population in among:
        assert population.percentiles.shape == population.medians.shape == population.p99s.shape == (1, 4)
        assert population.missing == [""]
    # A document may have other populations, which reports do not know.
    findings.comparisons["others"] = findings.comparisons["peers"]
    assert len(populations(findings)) == 3
