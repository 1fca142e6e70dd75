"""Test that displays draw the right data, and import matplotlib only to draw."""

import subprocess
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from isoxide import IsolationForest, ueba
from isoxide._common.format import format_value
from isoxide.displays import CutoffDisplay, FeatureRankDisplay, ScoreTimelineDisplay, ThresholdDisplay
from ueba_tables import actor_days

mpl.use("agg")
pytestmark = pytest.mark.thread_unsafe(reason="all threads share the figures of pyplot")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def study(seed):
    renamed = actor_days(seed).rename(columns={"n_0": "$n_0^$", "share_1": "a$b"})
    return ueba.calibrate(ueba.read_table(renamed, entity="actor", time="day"), contamination=0.02)


@pytest.fixture(scope="module")
def findings(study):
    return ueba.detect(study.table, forest=study.forest, contamination=0.02)


def draw(display):
    """Render a display, so that matplotlib raises any error in its texts."""
    display.figure_.canvas.draw()


def test_the_threshold_display_splits_the_scores_at_the_threshold(study):
    forest = IsolationForest(random_state=0, contamination=0.1).fit(study.table.X)
    display = ThresholdDisplay.from_estimator(forest, study.table.X, by=study.table.days, threshold=study.threshold)
    draw(display)
    assert_array_equal(display.scores, study.scores)
    above, below = (collection.get_offsets() for collection in display.ax_.collections[:2])
    assert len(below) == np.sum(study.scores <= study.threshold)
    assert len(above) + len(below) == len(study.scores)
    label = display.ax_.get_legend_handles_labels()[1][0]
    assert label == f"{len(below)} rows ({study.contamination_at(study.threshold):.2%}) at or below"
    assert study.plot().threshold == study.threshold
    draw(ThresholdDisplay(scores=[0.1, 0.2]).plot())
    with pytest.raises(ValueError, match=r"by has shape \(1,\) for scores of shape \(2,\); give one entry per score"):
        ThresholdDisplay(scores=[0.1, 0.2], by=[1])


def test_anomaly_scores_above_the_threshold_are_anomalies(study):
    display = ThresholdDisplay(scores=study.anomaly_scores, by=study.table.days, threshold=0.55, above=True)
    draw(display.plot())
    normal, anomalies = (collection.get_offsets() for collection in display.ax_.collections[:2])
    assert len(anomalies) == np.sum(study.anomaly_scores > 0.55) > 0
    assert len(normal) + len(anomalies) == len(study.scores)
    share = np.mean(study.anomaly_scores > 0.55)
    assert display.ax_.get_legend_handles_labels()[1][0] == f"{len(anomalies)} rows ({share:.2%}) above"
    assert display.ax_.get_xlabel() == "Anomaly score"
    [area] = display.ax_.patches
    assert area.get_x() == pytest.approx(0.55)
    assert area.get_x() + area.get_width() == pytest.approx(study.anomaly_scores.max() + 0.01)


def test_the_timeline_shows_the_lowest_score_of_each_day_and_the_findings(findings):
    display = ScoreTimelineDisplay.from_findings(findings)
    draw(display)
    assert_array_equal(display.ax_.lines[0].get_ydata(), findings.timeline["lowest"])
    assert len(display.ax_.collections[0].get_offsets()) == len(findings)


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


@pytest.mark.parametrize("display_class", [ScoreTimelineDisplay, FeatureRankDisplay, CutoffDisplay])
def test_a_display_draws_on_the_given_axes(findings, display_class):
    _, ax = plt.subplots()
    display = display_class.from_findings(findings, ax=ax)
    assert (display.ax_, display.figure_) == (ax, ax.figure)
    assert plt.get_fignums() == [ax.figure.number]


@pytest.mark.slow
def test_matplotlib_is_imported_only_to_draw():
    code = "import sys, isoxide.displays, isoxide.ueba; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


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


def test_results_without_findings_are_drawn(study):
    no_findings = ueba.detect(study.table, threshold=-0.9)
    display = ScoreTimelineDisplay.from_findings(no_findings)
    draw(display)
    assert len(display.ax_.collections[0].get_offsets()) == 0
    draw(CutoffDisplay.from_findings(no_findings))
    with pytest.raises(IndexError, match="finding=0 is out of range: there are 0 findings"):
        FeatureRankDisplay.from_findings(no_findings)


@pytest.mark.parametrize("finding", [10**6, -(10**6)])
def test_the_number_of_a_finding_that_does_not_exist_is_refused(findings, finding):
    with pytest.raises(IndexError, match=f"finding={finding} is out of range: there are {len(findings)} findings"):
        FeatureRankDisplay.from_findings(findings, finding)
    assert FeatureRankDisplay.from_findings(findings, -1).features
