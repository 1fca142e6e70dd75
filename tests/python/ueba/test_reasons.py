"""Leading reasons: which features they are, and how they are worded."""

import numpy as np
import pytest

from isoxide import ueba
from isoxide.ueba._reasons import N_REASONS, Reason, leading_reasons, reason_text
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
    assert names(reasons([99.9, 99.1, 30], [0.9, 0.05, 0.05], flags={"f0"})) == ["f1", "f2", "f0"]
    assert names(reasons([10, 90, 30], None)) == ["f1"]
    assert names(reasons([np.nan, np.nan], None, order=[1, 0])) == ["f1"]


def test_words():
    reason = Reason("n", 1887.0, 11.0, 99.99999999999999, 1, 0.3, 1)
    assert reason_text(reason) == "n 1,887 (typical 11, percentile 100; 1 related feature)"
    assert reason_text(reason._replace(percentile=99.999, n_related=0)) == "n 1,887 (typical 11, percentile 99.99)"
    assert reason_text(Reason("n", 2.5, None, None, 0, None, 0)) == "n 2.5"


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
