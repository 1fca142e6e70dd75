"""Findings and timeline of `detect` are compared with counts of the scores."""

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
    twice = pd.concat([frame, frame.iloc[::2].assign(actor="twin")], ignore_index=True)
    return twice.sample(frac=1, random_state=seed % 2**32, ignore_index=True)


@pytest.fixture(
    scope="module", params=[{"contamination": 0.06}, {"threshold": -0.02}, {"alerts_per_month": 25}], ids=str
)
def result(request, frame):
    return ueba.detect(ueba.read_table(frame, entity="actor", time="day"), **request.param)


@pytest.fixture(scope="module")
def scores(result, frame):
    return result.forest.decision_function(frame[result.features])


def test_anomalies_have_scores_below_zero(result, frame, scores):
    """Findings are ordered by score; of equal scores the latest time comes first."""
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


def test_ranks_among_the_rows_of_the_day(result, frame, scores):
    for row in result.frame.itertuples():
        own = scores[(frame["day"] == row.day).to_numpy()]
        assert (row.day_rank, row.day_rows) == (1 + sum(own < row.score), len(own))
    # Equal scores share the first of their ranks.
    assert result.frame.duplicated(["day", "score", "day_rank"]).any()


def test_first_seen_is_the_first_day_of_all_rows(result, frame):
    expected = frame.groupby("actor")["day"].min()
    assert result.frame["first_seen"].tolist() == expected[result.frame["actor"]].tolist()


def test_timeline_has_every_day(result, frame, scores):
    days = frame.assign(score=scores).groupby("day")["score"]
    assert result.timeline["day"].tolist() == sorted(set(frame["day"]))
    assert result.timeline["rows"].tolist() == days.size().tolist()
    assert result.timeline["lowest"].tolist() == days.min().tolist()
    assert result.timeline["findings"].tolist() == days.agg(lambda own: int((own < 0).sum())).tolist()


def test_manifest_tells_how_they_came_about(result, frame, scores):
    told = result.manifest
    assert (told["rows"], told["entities"], told["days"]) == (len(frame), frame["actor"].nunique(), 40)
    assert (told["first_day"], told["last_day"]) == ("2025-01-20", "2025-02-28")
    assert (told["anomalies"], told["offset"]) == (len(result), result.forest.offset_)
    assert told["scores_sha256"] == hashlib.sha256(scores.astype("<f8").tobytes()).hexdigest()
    assert told["features"] == result.features
    assert told["forest"]["random_state"] == 0
    assert not {"n_jobs", "verbose"} & set(told["forest"])
    assert told["ranking"]["rows"] == len(frame)
    assert told["ranking"]["among"] == f"all {len(frame):,} rows"
    assert [told["threshold"], told["alerts_per_month"]].count(None) >= 1


@pytest.mark.parametrize("random_state", [None, 3, np.random.RandomState(5)], ids=str)
def test_manifest_tells_the_seed(frame, random_state):
    from isoxide import IsolationForest

    table = ueba.read_table(frame, entity="actor", time="day")
    forest = IsolationForest(n_estimators=5, random_state=random_state, contamination=0.1).fit(table.X)
    told = ueba.detect(table, forest=forest).manifest["forest"]["random_state"]
    assert told == (random_state if random_state in (None, 3) else str(random_state))


def test_displays(result):
    entities = result.frame["actor"].nunique()
    assert repr(result) == f"Findings({len(result)} rows of {entities} entities, {len(result.features)} features)"
    assert result._repr_html_() == result.frame.iloc[:10].to_html()
