"""Leading reasons: which features they are, and how they are worded."""

import numpy as np
import pytest

from isoxide import ueba
from isoxide.ueba._reasons import N_REASONS, TicketReason, leading_reasons, ordered_reasons, reason_text
from isoxide.ueba._sentences import listed_reasons
from isoxide.ueba._texts import shown_features
from ueba_tables import actor_days


def reasons(percentiles, shares, *, families=(), flags=(), order=None):
    percentiles = np.array([percentiles], dtype=float)
    n = percentiles.shape[1]
    return leading_reasons(
        [f"f{j}" for j in range(n)], values=np.arange(n)[None, :].astype(float), typical=np.zeros((1, n)),
        percentiles=percentiles, directions=np.ones((1, n), dtype=np.int8),
        order=np.array([order or np.argsort(-percentiles[0], kind="stable")]),
        shares=None if shares is None else np.array([shares], dtype=float), families=[*families], flags=flags,
    )[0]  # fmt: skip


def names(own):
    return [reason.feature for reason in own]


def test_unusual_features_come_first_and_the_largest_share_leads():
    own = reasons([99.5, 99.9, 50, 60], [0.3, 0.1, 0.6, 0.0])
    assert names(own) == ["f0", "f1", "f2"]
    # A feature that neither is unusual nor adds to the score is no reason.
    assert names(reasons([99.5, 50, 60, 70], [0.4, 0.0, 0.6, 0.0])) == ["f0", "f2"]
    assert names(reasons([99.5, 99.9, 50], None)) == ["f1", "f0"]


def test_a_family_is_one_reason_with_its_number_of_unusual_features():
    own = reasons([99.2, 99.9, 99.5, 10, 99.1], [0.1, 0.1, 0.1, 0.1, 0.35], families=[[0, 1, 3]])
    assert names(own) == ["f4", "f1", "f2"]
    assert [reason.n_related for reason in own] == [0, 1, 0]
    assert own[1].share == pytest.approx(0.3)


def test_flags_come_last_and_a_finding_without_reasons_names_its_most_unusual_feature():
    assert names(reasons([99.9, 99.1, 30], [0.9, 0.05, 0.05], flags={0})) == ["f1", "f2", "f0"]
    assert names(reasons([10, 90, 30], None)) == ["f1"]
    assert names(reasons([np.nan, np.nan], None, order=[1, 0])) == ["f1"]


def test_reports_and_tickets_have_the_reasons_in_the_same_order(seed):
    """The leading reasons that a report lists come in its order; the others only add to the score."""
    frame = actor_days(seed).assign(twice=lambda f: 2 * f["n_0"])
    findings = ueba.detect(ueba.read_table(frame, entity="actor", time="day"), contamination=0.05)
    listed = shown_features(findings, findings.selected(99.0))
    flags = {"is_weekend", "leaver_action"}
    pairs = zip(findings._leading_reasons(), listed_reasons(findings, listed, 99.0), strict=True)
    for (told, own), reached in zip(pairs, findings.selected(99.0), strict=True):
        by_name = {findings.features[reason.feature]: reason for reason in own}
        both = [reason for reason in told if reason.feature in by_name]
        assert [reason.feature for reason in both] == [name for name in by_name if name in {r.feature for r in both}]
        assert [reason.share for reason in both] == [by_name[reason.feature].share for reason in both]
        first = own[0].feature
        if reached[first] and findings.features[first] not in flags:
            assert told[0].feature == findings.features[first]


def test_the_order_of_reasons_by_its_definition(seed):
    """Unusual features before others, flags last, then by share and position; every candidate belongs to one reason."""
    rng = np.random.default_rng(seed)
    for _ in range(200):
        n = int(rng.integers(1, 9))
        percentiles = rng.choice([np.nan, 50.0, 98.9, 99.0, 100.0], n).tolist()
        shares = None if rng.random() < 0.3 else rng.choice([0.0, 0.1, 0.2, 0.5], n).tolist()
        families = [family.tolist() for family in np.array_split(rng.permutation(n), 3) if len(family) > 1]
        family_of = {j: sorted(family) for family in families for j in family}
        candidates = rng.permutation(n)[: rng.integers(1, n + 1)].tolist()
        flags = set(rng.choice(n, rng.integers(0, 2), replace=False).tolist())
        own = ordered_reasons(candidates, percentiles, shares, family_of, flags, 99.0)
        assert sorted(j for reason in own for j in (reason.feature, *reason.related)) == sorted(candidates)
        groups = [family_of.get(reason.feature, [reason.feature]) for reason in own]
        assert all({reason.feature, *reason.related} <= set(group) for reason, group in zip(own, groups, strict=True))
        keys = []
        for reason, group in zip(own, groups, strict=True):
            members = [j for j in candidates if j in group]
            unusual = [j for j in members if percentiles[j] >= 99.0]
            if unusual:
                assert reason.feature == unusual[0]
            elif shares is not None:
                assert shares[reason.feature] == max(shares[j] for j in members)
            if shares is None:
                assert reason.share is None
            else:
                assert reason.share == pytest.approx(sum(shares[j] for j in group))
            keys.append((reason.feature in flags, not unusual, -(reason.share or 0.0), candidates.index(members[0])))
        assert keys == sorted(keys)


def test_words():
    reason = TicketReason("n", 1887.0, 11.0, 99.99999999999999, 1, 0.3, 1)
    assert reason_text(reason) == "n 1,887 (typical 11, percentile 100; 1 related feature)"
    assert reason_text(reason._replace(percentile=99.999, n_related=0)) == "n 1,887 (typical 11, percentile 99.99)"
    assert reason_text(TicketReason("n", 2.5, None, None, 0, None, 0)) == "n 2.5"


def test_columns_of_the_wide_table_hold_the_numbers_of_each_reason(seed):
    findings = ueba.detect(ueba.read_table(actor_days(seed), entity="actor", time="day"), contamination=0.03)
    wide, median = findings.to_frame(), findings.typical("median")
    assert [f"reason_{k + 1}" for k in range(N_REASONS)] == [name for name in wide if name.startswith("reason_")]
    for row, own in enumerate(findings._leading_reasons()):
        assert 1 <= len(own) <= N_REASONS
        texts = wide[["reason_1", "reason_2", "reason_3"]].iloc[row].tolist()
        assert texts == [*map(reason_text, own), *[""] * (N_REASONS - len(own))]
        for reason in own:
            j = findings.features.index(reason.feature)
            assert (reason.value, reason.typical) == (findings.values[row, j], median[row, j])
            assert reason.percentile == findings.percentiles[row, j]
        assert len({reason.feature for reason in own}) == len(own)
