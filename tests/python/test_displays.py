"""Displays draw the data they were given, and import matplotlib only to draw."""

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
pytestmark = pytest.mark.thread_unsafe(reason="pyplot's figures are the whole process's")


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
    """Render a display with all of its text, so that errors of matplotlib show."""
    display.figure_.canvas.draw()


def test_threshold(study):
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


def test_timeline(findings):
    display = ScoreTimelineDisplay.from_findings(findings)
    draw(display)
    assert_array_equal(display.ax_.lines[0].get_ydata(), findings.timeline["lowest"])
    assert len(display.ax_.collections[0].get_offsets()) == len(findings)


def test_feature_ranks(findings):
    display = FeatureRankDisplay.from_findings(findings, 1, n_features=5)
    draw(display)
    order = findings.order[1, :5]
    assert_array_equal([bar.get_width() for bar in display.ax_.patches], findings.percentiles[1, order])
    assert display.features == [findings.features[j] for j in order]
    assert findings.frame["actor"].iloc[1] in display.title


def test_cutoffs(findings):
    display = CutoffDisplay.from_findings(findings, [90, 95, 99])
    draw(display)
    assert_array_equal(display.ax_.lines[0].get_ydata(), findings.cutoff_table([90, 95, 99])["mean"])


@pytest.mark.parametrize("kind", [ScoreTimelineDisplay, FeatureRankDisplay, CutoffDisplay])
def test_axes_of_others_are_drawn_on(findings, kind):
    _, ax = plt.subplots()
    display = kind.from_findings(findings, ax=ax)
    assert (display.ax_, display.figure_) == (ax, ax.figure)
    assert plt.get_fignums() == [ax.figure.number]


@pytest.mark.slow
def test_matplotlib_is_imported_only_to_draw():
    code = "import sys, isoxide.displays, isoxide.ueba; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_findings_without_ranks(study):
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
    own = study.table.frame.loc[study.table.frame["actor"] == result.frame["actor"].iloc[0], result.features[j]]
    assert display.labels[0].endswith(f"(typical {format_value(own.median())})")


def test_a_quiet_day(study):
    quiet = ueba.detect(study.table, threshold=-0.9)
    display = ScoreTimelineDisplay.from_findings(quiet)
    draw(display)
    assert len(display.ax_.collections[0].get_offsets()) == 0
    draw(CutoffDisplay.from_findings(quiet))
    with pytest.raises(IndexError, match="finding=0 is out of range: there are 0 findings"):
        FeatureRankDisplay.from_findings(quiet)


@pytest.mark.parametrize("finding", [10**6, -(10**6)])
def test_findings_that_are_not_there(findings, finding):
    with pytest.raises(IndexError, match=f"finding={finding} is out of range: there are {len(findings)} findings"):
        FeatureRankDisplay.from_findings(findings, finding)
    assert FeatureRankDisplay.from_findings(findings, -1).features
