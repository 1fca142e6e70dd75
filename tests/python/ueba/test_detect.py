"""Test the findings, the timeline and the manifest of `detect` against counts of the scores."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from isoxide import ueba
from ueba_tables import actor_days


@pytest.fixture(scope="module")
def frame(seed):
    """Return shuffled rows, every second one twice, so that scores are equal within a day."""
    frame = actor_days(seed)
    repeated = pd.concat([frame, frame.iloc[::2].assign(actor="copy")], ignore_index=True)
    return repeated.sample(frac=1, random_state=seed % 2**32, ignore_index=True)


@pytest.fixture(
    scope="module", params=[{"contamination": 0.06}, {"threshold": -0.02}, {"alerts_per_month": 25}], ids=str
)
def result(request, frame):
    return ueba.detect(ueba.read_table(frame, entity="actor", time="day"), **request.param)


@pytest.fixture(scope="module")
def scores(result, frame):
    return result.forest.decision_function(frame[result.features])


def test_findings_are_the_rows_with_scores_below_zero(result, frame, scores):
    # Findings are ordered by score, and those with equal scores by time, latest first.
    assert 1 < len(result) < len(frame) / 2
    below = frame.assign(score=scores)[scores < 0]
    ordered = below.sort_values(["score", "day"], ascending=[True, False])
    assert result.frame["score"].tolist() == ordered["score"].tolist()
    assert result.frame["day"].tolist() == ordered["day"].tolist()
    assert sorted(result.frame.index) == sorted(below.index)
    for name in ("actor", "day"):
        assert result.frame[name].tolist() == frame.loc[result.frame.index, name].tolist()
    assert result.frame["score"].tolist() == scores[result.frame.index].tolist()
    features = frame.loc[result.frame.index, result.features].to_numpy(dtype=float)
    np.testing.assert_array_equal(result.values, features)


def test_severity_is_the_share_of_rows_with_higher_scores(result, scores):
    expected = [stats.percentileofscore(-scores, -score) for score in result.frame["score"]]
    assert result.frame["severity"].tolist() == expected


def test_day_rank_is_the_rank_among_the_rows_of_the_day(result, frame, scores):
    for row in result.frame.itertuples():
        of_day = scores[(frame["day"] == row.day).to_numpy()]
        assert (row.day_rank, row.day_rows) == (1 + sum(of_day < row.score), len(of_day))
    # Equal scores have the same rank.
    assert result.frame.duplicated(["day", "score", "day_rank"]).any()


def test_first_seen_is_the_first_day_of_all_rows(result, frame):
    expected = frame.groupby("actor")["day"].min()
    assert result.frame["first_seen"].tolist() == expected[result.frame["actor"]].tolist()


def test_timeline_has_every_day(result, frame, scores):
    days = frame.assign(score=scores).groupby("day")["score"]
    assert result.timeline["day"].tolist() == sorted(set(frame["day"]))
    assert result.timeline["rows"].tolist() == days.size().tolist()
    assert result.timeline["lowest"].tolist() == days.min().tolist()
    assert result.timeline["findings"].tolist() == days.agg(lambda day_scores: int((day_scores < 0).sum())).tolist()


def test_the_manifest_describes_table_forest_and_ranking(result, frame, scores):
    manifest = result.manifest
    assert (manifest["rows"], manifest["entities"], manifest["days"]) == (len(frame), frame["actor"].nunique(), 40)
    assert (manifest["first_day"], manifest["last_day"]) == ("2025-01-20", "2025-02-28")
    assert (manifest["anomalies"], manifest["offset"]) == (len(result), result.forest.offset_)
    assert manifest["scores_sha256"] == hashlib.sha256(scores.astype("<f8").tobytes()).hexdigest()
    assert manifest["features"] == result.features
    assert manifest["forest"]["random_state"] == 0
    assert not {"n_jobs", "verbose"} & set(manifest["forest"])
    assert manifest["ranking"]["rows"] == len(frame)
    assert manifest["ranking"]["among"] == f"all {len(frame):,} rows"
    assert [manifest["threshold"], manifest["alerts_per_month"]].count(None) >= 1


@pytest.mark.parametrize("random_state", [None, 3, np.random.RandomState(5)], ids=str)
def test_the_manifest_contains_the_seed(frame, random_state):
    from isoxide import IsolationForest

    table = ueba.read_table(frame, entity="actor", time="day")
    forest = IsolationForest(n_estimators=5, random_state=random_state, contamination=0.1).fit(table.X)
    stored = ueba.detect(table, forest=forest).manifest["forest"]["random_state"]
    assert stored == (random_state if random_state in (None, 3) else str(random_state))


@pytest.mark.current_versions(reason="tqdm is not installed with the oldest versions")
def test_findings_do_not_depend_on_progress(frame, result, capsys):
    table, told = ueba.read_table(frame, entity="actor", time="day"), []
    options = {"contamination": 0.02}
    expected = ueba.detect(table, **options)
    assert capsys.readouterr() == ("", "")
    actual = ueba.detect(table, **options, progress=lambda *step: told.append(step))
    assert capsys.readouterr() == ("", "")
    names = ["fitting the forest", "scoring the rows", "ranking the findings", "explaining the findings"]
    assert told == [*((name, done, 4) for done, name in enumerate(names)), ("done", 4, 4)]
    with_bar = ueba.detect(table, **options, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "detect: explaining the findings:  75%" in err
    for other in (actual, with_bar):
        pd.testing.assert_frame_equal(other.to_frame(), expected.to_frame())
        assert {**other.manifest, "created": None} == {**expected.manifest, "created": None}


def test_a_function_can_end_the_detection(frame):
    def stop(name, done, total):
        if name == "ranking the findings":
            raise KeyboardInterrupt

    table = ueba.read_table(frame, entity="actor", time="day")
    with pytest.raises(KeyboardInterrupt):
        ueba.detect(table, contamination=0.02, progress=stop)
    with pytest.raises(TypeError, match="progress must be True, False or a function, not 'yes'"):
        ueba.detect(table, contamination=0.02, progress="yes")


def test_the_repr_shows_rows_entities_and_features(result):
    entities = result.frame["actor"].nunique()
    assert repr(result) == f"Findings({len(result)} rows of {entities} entities, {len(result.features)} features)"
    assert f"{len(result)} rows of {entities} actors, {len(result.features)} features" in result._repr_html_()
