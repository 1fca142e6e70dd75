"""Test that displays of scores draw every row and every day."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from drawing import draw
from isoxide import IsolationForest
from isoxide.displays import ScoreTimelineDisplay, ThresholdDisplay

pytestmark = pytest.mark.thread_unsafe(reason="all threads share the figures of pyplot")


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
