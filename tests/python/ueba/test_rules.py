"""Test that rules flag values at or above their limits, and that the first rule that a value meets is reported."""

import numpy as np
import pandas as pd
import pytest

from isoxide import ueba
from isoxide.ueba._rules import apply_rules, default_rules, quantiles_of_rules
from ueba_tables import actor_days

pytestmark = pytest.mark.current_versions(reason="quantiles of pandas 2.2 have other last bits")

NAMES = ["n", "zscore_1", "is_weekend"]


def flagged(rules, names, values, limits=None):
    """Return the flags as tuples; `limits` gives the quantiles of any column by their number."""
    flags = apply_rules(rules, names, np.array(values, dtype=float), lambda name, q: (limits or {})[q])
    assert list(flags.columns) == ["row", "feature", "value", "rule", "limit"]
    return list(flags.itertuples(index=False, name=None))


def test_values_at_the_limit_are_flagged():
    below = np.nextafter(3.0, 0)
    values = [[3.0], [below], [np.nan], [-4.0], [9.0]]
    assert flagged([ueba.ZScore()], ["zscore_1"], values) == [
        (0, "zscore_1", 3.0, "zscore>=3", 3.0),
        (4, "zscore_1", 9.0, "zscore>=3", 3.0),
    ]
    assert flagged([ueba.Percentile((99,))], ["n"], values, {0.99: 3.0}) == [
        (0, "n", 3.0, ">=p99", 3.0),
        (4, "n", 9.0, ">=p99", 3.0),
    ]


@pytest.mark.parametrize("limit", [0.0, -2.0])
def test_only_zscores_flag_values_of_zero_and_below(limit):
    # The percentiles of a column of zeros are zero, and no value of it is flagged.
    tiny = np.nextafter(0.0, 1)
    values = [[0.0], [-0.5], [0.5], [tiny], [-1.0], [1.0]]
    assert [row for row, *_ in flagged([ueba.Percentile((99,))], ["n"], values, {0.99: limit})] == [2, 3, 5]
    assert [row for row, *_ in flagged([ueba.Flag(["n"])], ["n"], values)] == [2, 3, 5]
    at_or_above = [row for row, (value,) in enumerate(values) if value >= limit]
    assert [row for row, *_ in flagged([ueba.ZScore(limit, "n")], ["n"], values)] == at_or_above


def test_the_highest_percentile_is_reported():
    limits = {0.5: 1.0, 0.95: 2.0, 0.99: 3.0}
    result = flagged([ueba.Percentile((95, 50, 99))], ["n"], [[0.9], [1.0], [2.0], [2.9], [3.0]], limits)
    assert [(row, rule, limit) for row, _, _, rule, limit in result] == [
        (1, ">=p50", 1.0),
        (2, ">=p95", 2.0),
        (3, ">=p95", 2.0),
        (4, ">=p99", 3.0),
    ]


def test_the_first_rule_is_reported_and_other_rules_skip_zscores():
    rules = [ueba.Percentile((99,)), ueba.Flag(["*"], code="set"), ueba.ZScore(5)]
    result = flagged(rules, NAMES, [[7.0, 4.0, 1.0], [1.0, 5.0, 0.0]], {0.99: 6.0})
    assert [(row, feature, rule) for row, feature, _, rule, _ in result] == [
        (0, "n", ">=p99"),
        (0, "is_weekend", "set"),
        (1, "n", "set"),
        (1, "zscore_1", "zscore>=5"),
    ]


def test_default_rules_are_flags_zscores_and_percentiles():
    limits = {0.99: 6.0, 0.95: 4.0}
    result = flagged(default_rules(), NAMES, [[6.0, 2.9, 1.0], [4.0, 3.0, 0.0], [3.9, 9.0, 0.0]], limits)
    assert [(row, feature, rule) for row, feature, _, rule, _ in result] == [
        (0, "n", ">=p99"),
        (0, "is_weekend", "flag"),
        (1, "n", ">=p95"),
        (1, "zscore_1", "zscore>=3"),
        (2, "zscore_1", "zscore>=3"),
    ]


def test_without_domain_defaults_all_columns_have_percentiles():
    limits = {0.99: 6.0, 0.95: 4.0}
    rows = [[6.0, 2.9, 1.0], [4.0, 7.0, 0.0], [3.9, 3.5, 4.5]]
    by_percentile = flagged(default_rules(None, domain_defaults=False), NAMES, rows, limits)
    assert [(row, feature, rule) for row, feature, _, rule, _ in by_percentile] == [
        (0, "n", ">=p99"),
        (1, "n", ">=p95"),
        (1, "zscore_1", ">=p99"),
        (2, "is_weekend", ">=p95"),
    ]
    with_zscores = flagged(default_rules("n", domain_defaults=False), NAMES, rows, limits)
    assert [(row, feature, rule) for row, feature, _, rule, _ in with_zscores if feature == "n"] == [
        (0, "n", "zscore>=3"),
        (1, "n", "zscore>=3"),
        (2, "n", "zscore>=3"),
    ]


def renamed_back(findings, names):
    """Return the flags of findings with the original names of the features."""
    return findings.flags.assign(feature=findings.flags["feature"].map(names))


@pytest.mark.parametrize("switch", [{"domain_defaults": False}, {"zscores": "none", "rules": [ueba.Percentile()]}])
def test_domain_defaults_can_be_switched_off(seed, switch):
    # Without the defaults, findings equal those of the same table with meaningless names.
    frame = actor_days(seed)
    names = {f"column {j}": name for j, name in enumerate(frame.columns) if name not in ("actor", "day")}
    renamed = frame.rename(columns={name: new for new, name in names.items()})
    tables = [ueba.read_table(source, entity="actor", time="day") for source in (frame, renamed)]
    with_defaults, of_renamed = (ueba.detect(table, contamination=0.05) for table in tables)
    without_defaults = ueba.detect(tables[0], contamination=0.05, **switch)
    pd.testing.assert_frame_equal(without_defaults.flags, renamed_back(of_renamed, names), check_dtype=False)
    np.testing.assert_array_equal(without_defaults.order, of_renamed.order)
    assert set(with_defaults.flags["rule"]) > set(without_defaults.flags["rule"]) == {">=p95", ">=p99"}
    assert (with_defaults.order != without_defaults.order).any()
    if "domain_defaults" not in switch:
        return
    # Later ranks and reports of these findings use no defaults either.
    reranked = without_defaults.rank_features(tables[0], tail="upper")
    np.testing.assert_array_equal(reranked.order, without_defaults.order)
    assert without_defaults.to_markdown(cutoff=100) == without_defaults.to_markdown(cutoff=100, always_show=())
    assert without_defaults.to_html(cutoff=100) == without_defaults.to_html(cutoff=100, always_show=())
    assert with_defaults.to_markdown(cutoff=100) == with_defaults.to_markdown(cutoff=100, always_show=["is_weekend"])
    assert "| is\\_weekend" in with_defaults.to_markdown(cutoff=100)
    assert "| is\\_weekend" not in without_defaults.to_markdown(cutoff=100)
    assert without_defaults.domain_defaults is reranked.domain_defaults is False
    assert with_defaults.domain_defaults is True


def test_domain_defaults_survive_a_file(seed, tmp_path):
    table = ueba.read_table(actor_days(seed), entity="actor", time="day")
    for choice in (True, False):
        findings = ueba.detect(table, contamination=0.05, domain_defaults=choice)
        read = ueba.read_findings(findings.to_json(tmp_path / "findings.json"))
        assert read.domain_defaults is choice
        assert read.to_markdown() == findings.to_markdown()


def test_an_empty_list_of_rules_flags_nothing(seed):
    table = ueba.read_table(actor_days(seed), entity="actor", time="day")
    assert len(ueba.detect(table, contamination=0.05, rules=[]).flags) == 0


def test_the_quantiles_of_rules_are_distinct():
    rules = [ueba.Percentile((97, 0, 100)), ueba.ZScore(), ueba.Percentile((50, 97))]
    assert quantiles_of_rules(rules) == [0.97, 0.0, 1.0, 0.5]
    for percent in (-0.1, 100.1, float("nan")):
        with pytest.raises(ValueError, match=r"percents of the rule Percentile contain .*; each must be from 0 to 100"):
            quantiles_of_rules([ueba.Percentile((percent,))])


@pytest.mark.parametrize("percents", [(97.5,), (0, 100), (12, 88, 99)])
def test_percentiles_are_those_of_the_table(seed, percents):
    frame = actor_days(seed)
    table = ueba.read_table(frame, entity="actor", time="day")
    result = ueba.detect(table, contamination=0.05, rules=[ueba.Percentile(percents)])
    expected = []
    for row, values in enumerate(result.values):
        for name, value in zip(result.features, values, strict=True):
            reached = [p for p in percents if value > 0 and value >= frame[name].quantile(p / 100)]
            if reached:
                expected.append((row, name, value, f">=p{max(reached):g}", frame[name].quantile(max(reached) / 100)))
    assert list(result.flags.itertuples(index=False, name=None)) == expected
    assert expected
