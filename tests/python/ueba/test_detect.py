"""What `detect` tells of each finding and each day, counted anew from the scores."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from isoxide import ueba
from ueba_tables import actor_days


@pytest.fixture(scope="module")
def frame(seed):
    """Rows come in any order, and every second one twice, so that scores are equal within a day."""
    frame = actor_days(seed)
    twice = pd.concat([frame, frame.iloc[::2].assign(actor="twin")], ignore_index=True)
    return twice.sample(frac=1, random_state=seed % 2**32, ignore_index=True)


@pytest.fixture(
    scope="module", params=[{"contamination": 0.06}, {"threshold": -0.02}, {"alerts_per_month": 25}], ids=str
)
def found(request, frame):
    return ueba.detect(ueba.read_table(frame, entity="actor", time="day"), **request.param)


@pytest.fixture(scope="module")
def scores(found, frame):
    return found.forest.decision_function(frame[found.features])


def test_anomalies_have_scores_below_zero(found, frame, scores):
    """The lowest first, of equal ones the latest."""
    assert 1 < len(found) < len(frame) / 2
    below = frame.assign(score=scores)[scores < 0]
    ordered = below.sort_values(["score", "day"], ascending=[True, False])
    assert found.frame["score"].tolist() == ordered["score"].tolist()
    assert found.frame["day"].tolist() == ordered["day"].tolist()
    assert sorted(found.frame.index) == sorted(below.index)
    for name in ("actor", "day"):
        assert found.frame[name].tolist() == frame.loc[found.frame.index, name].tolist()
    assert found.frame["score"].tolist() == scores[found.frame.index].tolist()
    features = frame.loc[found.frame.index, found.features].to_numpy(dtype=float)
    np.testing.assert_array_equal(found.values, features)


def test_severity_is_the_share_of_rows_with_higher_scores(found, scores):
    expected = [stats.percentileofscore(-scores, -score) for score in found.frame["score"]]
    assert found.frame["severity"].tolist() == expected


def test_ranks_among_the_rows_of_the_day(found, frame, scores):
    for row in found.frame.itertuples():
        own = scores[(frame["day"] == row.day).to_numpy()]
        assert (row.day_rank, row.day_rows) == (1 + sum(own < row.score), len(own))
    # Equal scores share the first of their ranks.
    assert found.frame.duplicated(["day", "score", "day_rank"]).any()


def test_first_seen_is_the_first_day_of_all_rows(found, frame):
    expected = frame.groupby("actor")["day"].min()
    assert found.frame["first_seen"].tolist() == expected[found.frame["actor"]].tolist()


def test_timeline_has_every_day(found, frame, scores):
    days = frame.assign(score=scores).groupby("day")["score"]
    assert found.timeline["day"].tolist() == sorted(set(frame["day"]))
    assert found.timeline["rows"].tolist() == days.size().tolist()
    assert found.timeline["lowest"].tolist() == days.min().tolist()
    assert found.timeline["findings"].tolist() == days.agg(lambda own: int((own < 0).sum())).tolist()


def test_manifest_tells_how_they_came_about(found, frame, scores):
    told = found.manifest
    assert (told["rows"], told["entities"], told["days"]) == (len(frame), frame["actor"].nunique(), 40)
    assert (told["first_day"], told["last_day"]) == ("2025-01-20", "2025-02-28")
    assert (told["anomalies"], told["offset"]) == (len(found), found.forest.offset_)
    assert told["scores_sha256"] == hashlib.sha256(scores.astype("<f8").tobytes()).hexdigest()
    assert told["features"] == found.features
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


def test_displays(found):
    entities = found.frame["actor"].nunique()
    assert repr(found) == f"Findings({len(found)} rows of {entities} entities, {len(found.features)} features)"
    assert found._repr_html_() == found.frame.iloc[:10].to_html()
