"""Test that displays of contributions add up to the score, and refuse what does not."""
# ruff: noqa: PD011 (`values` belongs to Explanation here, not to pandas)

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from drawing import draw
from isoxide import IsolationForest, ueba
from isoxide.displays import ContributionDisplay, ImportanceDisplay

pytestmark = pytest.mark.thread_unsafe(reason="all threads share the figures of pyplot")


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
    red, blue = mpl.colors.to_rgb("C3"), mpl.colors.to_rgb("C0")
    bars = display.ax_.patches
    anomalous = [value > 0 if output == "log2" else value < 0 for value in display.contributions]
    assert [bar.get_facecolor()[:3] for bar in bars] == [red if flag else blue for flag in anomalous]
    assert anomalous[0]
    # Whatever else the row has, bars that make it more anomalous are above the others.
    assert anomalous == sorted(anomalous, reverse=True)
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
