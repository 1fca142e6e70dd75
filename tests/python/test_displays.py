"""Test that displays draw the right data, and import matplotlib only to draw."""
# ruff: noqa: PD011 (`values` belongs to Explanation here, not to pandas)

import subprocess
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from isoxide import IsolationForest, ueba
from isoxide._common.format import format_value
from isoxide.displays import (
    ContributionDisplay,
    CutoffDisplay,
    FeatureRankDisplay,
    ImportanceDisplay,
    ScoreTimelineDisplay,
    ThresholdDisplay,
)
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


@pytest.mark.parametrize(
    "display_class", [ScoreTimelineDisplay, FeatureRankDisplay, CutoffDisplay, ContributionDisplay]
)
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
    for display_class in (FeatureRankDisplay, ContributionDisplay):
        with pytest.raises(IndexError, match="finding=0 is out of range: there are 0 findings"):
            display_class.from_findings(no_findings)


@pytest.mark.parametrize("finding", [10**6, -(10**6)])
def test_the_number_of_a_finding_that_does_not_exist_is_refused(findings, finding):
    with pytest.raises(IndexError, match=f"finding={finding} is out of range: there are {len(findings)} findings"):
        FeatureRankDisplay.from_findings(findings, finding)
    assert FeatureRankDisplay.from_findings(findings, -1).features


@pytest.fixture(scope="module")
def explained(seed):
    """A forest and a table with a planted high value in row 0 and a planted low value in row 1."""
    X = pd.DataFrame(np.random.default_rng(seed).normal(size=(300, 5)), columns=["$a^$", *"bcde"])
    X.iloc[0, 2], X.iloc[1, 3], X.iloc[2, 4] = 15, -15, np.nan
    return IsolationForest(n_estimators=40, random_state=0).fit(X), X


@pytest.mark.parametrize("output", ["log2", "path_length"])
@pytest.mark.parametrize(("row", "feature"), [(0, "c = 15"), (1, "d = -15")])
def test_high_and_low_values_are_drawn_as_more_anomalous(explained, output, row, feature):
    forest, X = explained
    explanation = forest.explain(X, output=output)
    display = ContributionDisplay.from_explanation(explanation, row)
    draw(display)
    assert display.features[0] == feature
    red, blue = mpl.colors.to_rgb("#c0392b"), mpl.colors.to_rgb("#3b6ea5")
    bars = display.ax_.patches
    anomalous = [value > 0 if output == "log2" else value < 0 for value in display.contributions]
    assert [bar.get_facecolor()[:3] for bar in bars] == [red if flag else blue for flag in anomalous]
    assert anomalous[0]
    assert not anomalous[-1]
    # The bars lead from the expected output to that of the row.
    starts = np.array([bar.get_x() for bar in bars])
    ends = starts + [bar.get_width() for bar in bars]
    assert_allclose(ends - starts, display.contributions)
    assert_allclose(starts, [*ends[1:], explanation.base_values[0]])
    assert display.title.startswith(f"Row {row}: {'anomaly score' if output == 'log2' else 'mean path length'} ")
    if output == "log2":
        assert f"anomaly score {-forest.score_samples(X)[row]:.3f}, expected " in display.title


def test_waterfalls_add_up_all_other_features(explained):
    forest, X = explained
    explanation = forest.explain(X)
    display = ContributionDisplay.from_explanation(explanation[2], n_features=2)
    draw(display)
    assert display.features[-1] == "3 other features"
    assert_allclose(display.contributions.sum(), explanation.values[2].sum())
    assert sorted(np.abs(display.contributions[:2])) == sorted(np.abs(explanation.values[2]))[-2:]
    # The line of the row is where the uppermost bar ends.
    assert_allclose(display.ax_.lines[-1].get_xdata()[0], explanation.values[2].sum() + explanation.base_values[2])
    assert "e = missing" in ContributionDisplay.from_explanation(explanation, 2).features
    assert len(ContributionDisplay.from_explanation(explanation, n_features=4).features) == 5
    assert ContributionDisplay.from_explanation(explanation, -1).title.startswith("Row 299: ")


def test_waterfalls_of_one_feature_long_names_and_no_contributions(seed):
    X = np.random.default_rng(seed).normal(size=(50, 1))
    forest = IsolationForest(n_estimators=5, random_state=0).fit(X)
    draw(ContributionDisplay.from_explanation(forest.explain(X)))
    draw(ContributionDisplay(features=[], contributions=[], base_value=-1.0).plot())
    draw(ContributionDisplay(features=["a"], contributions=[0.0], base_value=-1.0).plot())
    names = [f"{'very ' * 60}long\n$name^{j}" for j in range(60)]
    wide = pd.DataFrame(np.random.default_rng(seed).normal(size=(50, 60)), columns=names, index=["x" * 500] * 50)
    forest = IsolationForest(n_estimators=5, random_state=0).fit(wide)
    for display in (
        ContributionDisplay.from_explanation(forest.explain(wide), n_features=60),
        ImportanceDisplay.from_estimator(forest, wide, n_features=60),
    ):
        draw(display)
        assert max(map(len, display.features)) < 60
        assert "…" in display.features[0]


def test_what_no_waterfall_can_be_drawn_of(explained):
    forest, X = explained
    with pytest.raises(IndexError, match="row=300 is out of range: there are 300 rows"):
        ContributionDisplay.from_explanation(forest.explain(X), 300)
    with pytest.raises(IndexError, match="row=1 is out of range: there are 1 rows"):
        ContributionDisplay.from_explanation(forest.explain(X)[3], 1)
    with pytest.raises(
        ValueError, match="add up to the score, but top=2 kept only the largest; call explain without top"
    ):
        ContributionDisplay.from_explanation(forest.explain(X, top=2))
    with pytest.raises(ValueError, match="n_features must be at least 1, got 0"):
        ContributionDisplay.from_explanation(forest.explain(X), n_features=0)
    with pytest.raises(ValueError, match="output must be one of"):
        ContributionDisplay(features=["a"], contributions=[1.0], base_value=0.0, output="score")


@pytest.mark.parametrize("output", ["log2", "path_length"])
def test_importances(explained, output):
    forest, X = explained
    display = ImportanceDisplay.from_estimator(forest, X, output=output, n_features=2)
    draw(display)
    importances = forest.importance(X, output=output)
    order = np.argsort(-importances)
    assert display.features == [X.columns[j] for j in order[:2]]
    assert_array_equal([bar.get_width() for bar in display.ax_.patches], importances[order[:2]])
    assert display.others == (3, importances[order[2:]].sum())
    assert display.ax_.get_yticklabels()[-1].get_text() == "3 other features"
    again = ImportanceDisplay.from_explanation(forest.explain(X, output=output))
    draw(again)
    assert again.features == [X.columns[j] for j in order]
    assert again.others is None
    with pytest.raises(ValueError, match="the explanation has no rows"):
        ImportanceDisplay.from_explanation(forest.explain(X)[:0])


def test_waterfalls_of_findings(study, findings):
    display = ContributionDisplay.from_findings(findings, 1)
    draw(display)
    row = findings.frame.iloc[1]
    assert display.title.startswith(f"{row['actor']}, ")
    assert f"anomaly score {row['anomaly_score']:.3f}, expected {findings.expected_score:.3f}" in display.title
    assert_allclose(display.contributions.sum(), findings.contributions[1].sum())
    assert_allclose(2 ** (display.base_value + display.contributions.sum()), row["anomaly_score"])
    j = findings.contributions[1].argmax()
    assert display.features[0].startswith(f"{findings.features[j]} = ")
    unexplained = ueba.detect(study.table, forest=study.forest, contamination=0.02, explain=False)
    with pytest.raises(ValueError, match="the findings have no contributions; call detect with explain=True"):
        ContributionDisplay.from_findings(unexplained)
