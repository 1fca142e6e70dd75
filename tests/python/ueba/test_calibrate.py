"""Test that calibration fits one forest and counts the rows at or below each threshold."""

import dataclasses
import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from isoxide import IsolationForest, ueba
from isoxide.ueba._calibrate import fitted, share_of_alerts
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


def test_alerts_per_month_determine_the_contamination(table, study):
    calibrated = ueba.calibrate(table, alerts_per_month=10)
    assert calibrated.contamination == study.contamination_for(10)
    result = np.sum(calibrated.scores <= calibrated.threshold)
    assert abs(result - 10 * 40 / (365.25 / 12)) <= 1
    for alerts_per_month, expected_message in ((0, "must be above 0"), (10**6, "more than half of the")):
        with pytest.raises(ValueError, match=expected_message):
            study.contamination_for(alerts_per_month)


def test_a_fitted_forest_is_neither_grown_again_nor_changed(table):
    forest = IsolationForest(random_state=3, contamination=0.05).fit(table.X)
    offset = forest.offset_
    study = ueba.calibrate(table, forest=forest, contamination=0.02)
    assert study.forest._fitted.native is forest._fitted.native
    assert (forest.offset_, forest.contamination) == (offset, 0.05)
    expected = IsolationForest(random_state=3, contamination=0.1).fit(table.X).decision_function(table.X)
    assert_array_equal(study.scores, expected)


def test_by_day_counts_all_rows(table, study):
    by_day = study.by_day()
    assert by_day["rows"].sum() == len(table)
    assert by_day["lowest"].min() == study.scores.min()


@pytest.mark.parametrize(
    ("arguments", "expected_message"),
    [
        ({"threshold": float("nan")}, "threshold=nan must be a finite score"),
        ({"threshold": -np.inf}, "threshold=-inf must be a finite score"),
        ({"threshold": 9.0}, "at most half"),
        ({"contamination": 0.0}, r"contamination=0\.0 must be in \(0, 0\.5\]"),
        (
            {"contamination": 0.1, "alerts_per_month": 3},
            "give only one of threshold, contamination and alerts_per_month, not contamination and alerts_per_month",
        ),
    ],
)
def test_invalid_arguments_are_refused(table, arguments, expected_message):
    with pytest.raises(ValueError, match=expected_message):
        ueba.calibrate(table, **arguments)


@pytest.mark.parametrize(
    ("name", "value"), [("threshold", "low"), ("contamination", "auto"), ("alerts_per_month", True)]
)
def test_arguments_that_are_no_numbers_are_refused(table, name, value):
    with pytest.raises(TypeError, match=f"{name} must be a number, not {value!r}"):
        ueba.calibrate(table, **{name: value})
    with pytest.raises(TypeError, match=f"{name} must be a number"):
        ueba.detect(table, **{name: value})


def test_a_threshold_below_all_scores_gives_no_anomalies(table):
    study = ueba.calibrate(table, threshold=-9.0)
    assert (study.contamination, study.threshold) == (0.0, -9.0)
    assert study.thresholds()["rows"].iloc[0] == 0
    assert study.by_period()["anomalies"].sum() == 0
    forest = study.at_threshold()
    assert_array_equal(forest.decision_function(table.X) < 0, study.scores <= -9.0)
    assert study.forest.offset_ != forest.offset_
    # The threshold is just below the lowest score, so rounding could make this row an anomaly.
    for threshold in np.nextafter(study.scores.min(), -1), study.scores.min() - 1e-17, study.scores.min() - 1e-12:
        if threshold < study.scores.min():
            study = ueba.calibrate(table, threshold=threshold)
            assert (study.at_threshold().decision_function(table.X) >= 0).all()
            assert len(ueba.detect(table, threshold=threshold)) == 0
    with pytest.raises(ValueError, match="this calibration has no threshold"):
        ueba.calibrate(table).at_threshold()


@pytest.mark.parametrize(
    ("max_samples", "n_rows", "is_warned"),
    [("auto", 255, True), ("auto", 256, False), (64, 100, False), (64, 63, True), (1.0, 100, False)],
)
def test_a_table_with_fewer_rows_than_a_tree_draws_gives_a_warning(table, max_samples, n_rows, is_warned):
    frame = table.frame.iloc[:n_rows].reset_index(drop=True)
    small = ueba.read_table(frame, entity="actor", time="day", include=list(table.features))
    forest = IsolationForest(random_state=0, max_samples=max_samples)
    expected_message = f"the forest is fitted on a table of {n_rows} rows, fewer than"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ueba.calibrate(small, forest=forest, contamination=0.1)
    assert any(expected_message in str(warning.message) for warning in caught) == is_warned
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = ueba.detect(small, forest=forest, alerts_per_month=20, train_on_this=True)
    messages = [str(warning.message) for warning in caught if expected_message in str(warning.message)]
    assert len(messages) == is_warned
    assert [note for note in result.manifest["notes"] if expected_message in note] == messages
    if is_warned:
        with pytest.raises(ValueError, match=f"too small to train on: it has {n_rows} rows, fewer than the"):
            ueba.detect(small, forest=forest, alerts_per_month=20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        notes = ueba.detect(small, forest=result.forest).manifest["notes"]
    assert not any(expected_message in note for note in notes)


def test_a_small_table_gives_no_warning_if_the_forest_was_fitted_on_another(table):
    forest = IsolationForest(random_state=0, contamination=0.05).fit(table.X)
    day = table.frame[table.frame["day"] == table.frame["day"].iloc[0]].reset_index(drop=True)
    result = ueba.detect(ueba.read_table(day, entity="actor", time="day", include=list(table.features)), forest=forest)
    assert not any("the forest is fitted on a table of" in note for note in result.manifest["notes"])


def test_default_thresholds_are_hundredths(table, study):
    """Default thresholds go from the lowest score to the 1 % quantile, and include the calibration's own."""
    first, end = int(np.floor(study.scores.min() * 100)) + 1, np.quantile(study.scores, 0.01) + 0.01
    steps = [k / 100 for k in range(first, 100) if k / 100 < end]
    assert len(steps) > 2
    assert study.thresholds()["threshold"].tolist() == steps
    calibrated = ueba.calibrate(table, threshold=-0.0123)
    assert calibrated.thresholds()["threshold"].tolist() == sorted([*steps, -0.0123])
    with pytest.raises(dataclasses.FrozenInstanceError):
        calibrated.threshold = 0.0


def assert_counts(result, study, keys, threshold):
    """Compare each line of `by_day` or `by_period` with counts of the scores."""
    assert result.iloc[:, 0].tolist() == sorted(set(keys))
    for key, rows, lowest, p01, median, anomalies, share in result.itertuples(index=False):
        scores = study.scores[np.asarray(keys) == key]
        assert (rows, lowest) == (len(scores), scores.min())
        assert (p01, median) == pytest.approx((np.quantile(scores, 0.01), np.median(scores)), rel=1e-12)
        assert anomalies == (0 if threshold is None else sum(scores <= threshold))
        assert share == anomalies / rows


@pytest.mark.parametrize("has_threshold", [False, True])
def test_days_and_periods_are_counted(table, study, has_threshold):
    # The threshold is the score of a row, so that this row is exactly at the threshold.
    threshold = None if not has_threshold else np.sort(study.scores)[30]
    calibrated = ueba.calibrate(table, threshold=threshold)
    assert calibrated.by_day().columns.tolist() == ["day", "rows", "lowest", "p01", "median", "anomalies", "share"]
    assert_counts(calibrated.by_day(), calibrated, table.days.tolist(), threshold)
    assert calibrated.by_period().columns[0] == "period"
    assert_counts(calibrated.by_period(), calibrated, table.days.dt.strftime("%Y-%m").tolist(), threshold)
    weeks = table.days.dt.to_period("W").astype(str).tolist()
    assert_counts(calibrated.by_period("W"), calibrated, weeks, threshold)
    assert calibrated.by_day()["anomalies"].sum() == (0 if threshold is None else 31)


@pytest.mark.parametrize("n_days", [1, 7, 40, 365])
def test_the_share_of_alerts_is_per_month_of_the_table(n_days):
    rows_a_month = 10_001 / n_days * 365.25 / 12
    for alerts_per_month in (0.5, 1, 17, np.float32(2.5), np.nextafter(rows_a_month / 2, 0)):
        assert share_of_alerts(alerts_per_month, 10_001, n_days) == pytest.approx(
            float(alerts_per_month) / rows_a_month, rel=1e-12
        )
    with pytest.raises(ValueError, match=f"is more than half of the {rows_a_month:,.0f} rows per month"):
        share_of_alerts(rows_a_month / 2 * (1 + 1e-9), 10_001, n_days)


def test_a_new_forest_gets_the_contamination_and_a_fitted_one_is_recalibrated(table):
    for contamination in (0.02, 0.3):
        grown = fitted(table, None, contamination=contamination, random_state=5, n_jobs=1)
        expected = IsolationForest(random_state=5, contamination=contamination).fit(table.X)
        assert (grown.offset_, grown.contamination) == (expected.offset_, contamination)
        recalibrated = fitted(table, grown, contamination=0.1, random_state=7, n_jobs=1)
        assert recalibrated._fitted.native is grown._fitted.native
        assert recalibrated.offset_ == IsolationForest(random_state=5, contamination=0.1).fit(table.X).offset_
        assert (grown.offset_, grown.contamination) == (expected.offset_, contamination)
    assert fitted(table, None, contamination=None, random_state=5, n_jobs=1).offset_ == -0.5
    assert fitted(table, grown, contamination=None, random_state=5, n_jobs=1).offset_ == grown.offset_


def test_a_single_day_is_refused(table):
    frame = table.frame.assign(day="2025-01-01")
    one_day = ueba.read_table(frame, entity="actor", time="day", include=list(table.features))
    with pytest.raises(ValueError, match="too small to train on: all of its rows belong to one day"):
        ueba.detect(one_day)
    assert len(ueba.detect(one_day, contamination=0.02, train_on_this=True)) > 0


def test_anomaly_scores(table, study):
    """The anomaly scores do not depend on the contamination, and thresholds count the rows above them."""
    scores = -study.forest.score_samples(table.X)
    assert_array_equal(study.anomaly_scores, scores)
    assert_array_equal(ueba.calibrate(table, contamination=0.3).anomaly_scores, scores)
    lines = study.anomaly_thresholds()
    assert lines["threshold"].is_monotonic_decreasing
    for line in lines.itertuples():
        assert line.rows == (scores > line.threshold).sum()
        assert line.share == line.rows / len(scores)
        assert line.per_month == pytest.approx(line.rows / table.profile.n_period_days * 365.25 / 12)
    assert study.anomaly_thresholds([0.5, 0.6])["threshold"].tolist() == [0.6, 0.5]
    assert ueba.calibrate(table).anomaly_threshold is None
    for contamination in (0.01, 0.2):
        threshold = ueba.calibrate(table, contamination=contamination).anomaly_threshold
        found = ueba.detect(table, contamination=contamination)
        assert threshold == found.anomaly_threshold == -found.forest.offset_
        assert len(found) == (scores > threshold).sum()
        by_score = ueba.detect(table, anomaly_threshold=threshold)
        assert by_score.frame["finding_id"].tolist() == found.frame["finding_id"].tolist()


@pytest.mark.parametrize("threshold", [0, 1, -0.2, 1.5, float("nan")])
def test_anomaly_thresholds_out_of_range_are_refused(table, threshold):
    with pytest.raises(ValueError, match="must be an anomaly score between 0 and 1"):
        ueba.detect(table, anomaly_threshold=threshold)
