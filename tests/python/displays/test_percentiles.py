"""Test that displays of percentiles draw the features of findings in their order."""

import pytest
from numpy.testing import assert_array_equal

from drawing import draw
from isoxide import ueba
from isoxide._common.format import format_value
from isoxide.displays import CutoffDisplay, FeatureRankDisplay

pytestmark = pytest.mark.thread_unsafe(reason="all threads share the figures of pyplot")


def test_the_feature_ranks_of_a_finding_are_drawn_in_their_order(findings):
    display = FeatureRankDisplay.from_findings(findings, 1, n_features=5)
    draw(display)
    order = findings.order[1, :5]
    assert_array_equal([bar.get_width() for bar in display.ax_.patches], findings.percentiles[1, order])
    assert display.features == [findings.features[j] for j in order]
    assert findings.frame["actor"].iloc[1] in display.title


def test_the_cutoff_display_shows_the_mean_of_the_cutoff_table(findings):
    display = CutoffDisplay.from_findings(findings, [90, 95, 99])
    draw(display)
    assert_array_equal(display.ax_.lines[0].get_ydata(), findings.cutoff_table([90, 95, 99])["mean"])


def test_findings_without_ranks_are_drawn_without_bars(study):
    result = ueba.detect(study.table, contamination=0.02, groups="actor", min_group=10**6)
    display = FeatureRankDisplay.from_findings(result)
    draw(display)
    assert display.features == []
    assert "no ranks" in display.title
    draw(CutoffDisplay.from_findings(result))


def test_typical_values_are_those_of_the_group(study):
    result = ueba.detect(study.table, contamination=0.02, groups="actor")
    display = FeatureRankDisplay.from_findings(result, n_features=3)
    j = result.order[0, 0]
    of_actor = study.table.frame.loc[study.table.frame["actor"] == result.frame["actor"].iloc[0], result.features[j]]
    assert display.labels[0].endswith(f"(typical {format_value(of_actor.median())})")


@pytest.mark.parametrize("finding", [10**6, -(10**6)])
def test_the_number_of_a_finding_that_does_not_exist_is_refused(findings, finding):
    with pytest.raises(IndexError, match=f"finding={finding} is out of range: there are {len(findings)} findings"):
        FeatureRankDisplay.from_findings(findings, finding)
    assert FeatureRankDisplay.from_findings(findings, -1).features
