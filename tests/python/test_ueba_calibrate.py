"""One forest, its scores, and what each threshold makes of them."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from isoxide import IsolationForest, ueba
from ueba_tables import actor_days


@pytest.fixture(scope="module")
def table(seed):
    return ueba.read_table(actor_days(seed), entity="actor", time="day")


@pytest.fixture(scope="module")
def study(table):
    return ueba.calibrate(table)


def test_thresholds_count_rows(study):
    table = study.thresholds([-0.1, 0.0, -9.0])
    assert table["threshold"].tolist() == [-9.0, -0.1, 0.0]
    for row in table.itertuples():
        assert row.rows == np.sum(study.scores <= row.threshold)
        assert row.share == study.contamination_at(row.threshold)
        assert row.per_month == pytest.approx(row.rows / 40 * 365.25 / 12)
    assert study.thresholds()["rows"].iloc[0] > 0


def test_budget_is_a_number_a_month(table, study):
    budgeted = ueba.calibrate(table, budget=10)
    assert budgeted.contamination == study.contamination_for(10)
    found = np.sum(budgeted.scores <= budgeted.threshold)
    assert abs(found - 10 * 40 / (365.25 / 12)) <= 1
    for budget, words in ((0, "must be above 0"), (10**6, "more than half of the")):
        with pytest.raises(ValueError, match=words):
            study.contamination_for(budget)


def test_fitted_forest_is_not_grown_again_nor_changed(table):
    forest = IsolationForest(random_state=3, contamination=0.05).fit(table.X)
    offset = forest.offset_
    study = ueba.calibrate(table, forest=forest, contamination=0.02)
    assert study.forest._forest is forest._forest
    assert (forest.offset_, forest.contamination) == (offset, 0.05)
    expected = IsolationForest(random_state=3, contamination=0.1).fit(table.X).decision_function(table.X)
    assert_array_equal(study.scores, expected)


def test_by_day(table, study):
    by_day = study.by_day()
    assert by_day["rows"].sum() == len(table)
    assert by_day["lowest"].min() == study.scores.min()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"threshold": -9.0}, r"no row scores at or below -9; the lowest is -0\.\d{4} \(actor\d\d, 2025-"),
        ({"threshold": 9.0}, "at most half"),
        ({"contamination": 0.0}, r"contamination=0\.0 must be in \(0, 0\.5\]"),
        (
            {"contamination": 0.1, "budget": 3},
            "give one of threshold, contamination and budget, not contamination and budget",
        ),
    ],
)
def test_refusals(table, arguments, words):
    with pytest.raises(ValueError, match=words):
        ueba.calibrate(table, **arguments)
