"""One forest, its scores, and what each threshold makes of them."""

import warnings

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
        ({"threshold": float("nan")}, "threshold=nan must be a finite score"),
        ({"threshold": -np.inf}, "threshold=-inf must be a finite score"),
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


@pytest.mark.parametrize(("name", "value"), [("threshold", "low"), ("contamination", "auto"), ("budget", True)])
def test_amounts_are_numbers(table, name, value):
    with pytest.raises(TypeError, match=f"{name} must be a number, not {value!r}"):
        ueba.calibrate(table, **{name: value})
    with pytest.raises(TypeError, match=f"{name} must be a number"):
        ueba.detect(table, **{name: value})


def test_a_threshold_that_no_row_reaches(table):
    study = ueba.calibrate(table, threshold=-9.0)
    assert (study.contamination, study.threshold) == (0.0, -9.0)
    assert study.thresholds()["rows"].iloc[0] == 0
    assert study.drift()["anomalies"].sum() == 0
    quiet = study.at_threshold()
    assert_array_equal(quiet.decision_function(table.X) < 0, study.scores <= -9.0)
    assert study.forest.offset_ != quiet.offset_
    # Just below the lowest score, where rounding could make an anomaly of it.
    for threshold in np.nextafter(study.scores.min(), -1), study.scores.min() - 1e-17, study.scores.min() - 1e-12:
        if threshold < study.scores.min():
            study = ueba.calibrate(table, threshold=threshold)
            assert (study.at_threshold().decision_function(table.X) >= 0).all()
            assert len(ueba.detect(table, threshold=threshold)) == 0
    with pytest.raises(ValueError, match="this calibration has no threshold"):
        ueba.calibrate(table).at_threshold()


@pytest.mark.parametrize(
    ("max_samples", "n_rows", "is_told"),
    [("auto", 255, True), ("auto", 256, False), (64, 100, False), (64, 63, True), (1.0, 100, False)],
)
def test_a_table_smaller_than_a_tree_draws_is_told(table, max_samples, n_rows, is_told):
    frame = table.frame.iloc[:n_rows].reset_index(drop=True)
    small = ueba.read_table(frame, entity="actor", time="day", include=list(table.features))
    forest = IsolationForest(random_state=0, max_samples=max_samples)
    words = f"the table of {n_rows} rows is its own training data"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ueba.calibrate(small, forest=forest, contamination=0.1)
    assert any(words in str(warning.message) for warning in caught) == is_told
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = ueba.detect(small, forest=forest, budget=20)
    told = [str(warning.message) for warning in caught if words in str(warning.message)]
    assert len(told) == is_told
    assert [note for note in found.manifest["notes"] if words in note] == told
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        notes = ueba.detect(small, forest=found.forest).manifest["notes"]
    assert not any(words in note for note in notes)


def test_a_forest_of_another_table_is_not_blamed_for_a_small_one(table):
    forest = IsolationForest(random_state=0, contamination=0.05).fit(table.X)
    day = table.frame[table.frame["day"] == table.frame["day"].iloc[0]].reset_index(drop=True)
    found = ueba.detect(ueba.read_table(day, entity="actor", time="day", include=list(table.features)), forest=forest)
    assert not any("training data" in note for note in found.manifest["notes"])
