"""Test the scores of entities over time: they are those of the forest, and files keep them."""

import json

import numpy as np
import pandas as pd
import pytest

from isoxide import ueba
from isoxide.ueba import _document
from isoxide.ueba._entity_scores import MAX_ENTITY_DAYS, entity_scores_of
from ueba_tables import actor_days

NAMES = {"entity": "actor", "time": "day"}


@pytest.fixture(scope="module")
def frame(seed):
    return actor_days(seed)


@pytest.fixture(scope="module")
def findings(frame):
    return ueba.detect(ueba.read_table(frame, **NAMES), contamination=0.03)


def expected_scores(frame, forest, features, entities):
    own = frame[frame["actor"].isin(entities)]
    scores = -forest.score_samples(own[features])
    return own.assign(score=scores).groupby(["actor", "day"])["score"].max()


def test_scores_are_those_of_the_forest(frame, findings):
    actors = set(findings.frame["actor"])
    expected = expected_scores(frame, findings.forest, findings.features, actors)
    scores = findings.entity_scores
    assert scores["anomaly_score"].tolist() == expected.tolist()
    assert list(zip(scores["entity"], scores["day"], strict=True)) == expected.index.tolist()


def test_a_model_also_has_the_scores_of_earlier_days_of_the_table(frame):
    days = sorted(frame["day"].unique())
    model = ueba.Model.fit(ueba.read_table(frame[frame["day"] < days[30]], **NAMES), contamination=0.05)
    result = model.detect(ueba.read_table(frame, **NAMES), since=f"{days[30]:%Y-%m-%d}")
    expected = expected_scores(frame, model.forest, result.features, set(result.frame["actor"]))
    assert result.entity_scores["anomaly_score"].tolist() == expected.tolist()
    assert result.entity_scores["day"].min() < days[30]
    day = result.frame["day"].value_counts().index[-1]
    alone = model.detect(ueba.read_table(frame[frame["day"] == day], **NAMES))
    assert alone.entity_scores["entity"].tolist() == sorted(alone.frame["actor"])


def test_only_the_latest_days_of_an_entity_are_kept():
    n = MAX_ENTITY_DAYS + 50
    days = pd.Series(pd.date_range("2025-01-01", periods=n))
    scores = np.linspace(0.3, 0.6, n)
    result = entity_scores_of(pd.Series(["a"] * n), days, scores, ["a", None])
    assert result["day"].tolist() == days.tail(MAX_ENTITY_DAYS).tolist()
    assert result["anomaly_score"].tolist() == scores[-MAX_ENTITY_DAYS:].tolist()


def test_files_keep_them(findings, tmp_path):
    read = ueba.read_findings(findings.to_json(tmp_path / "f.json"))
    pd.testing.assert_frame_equal(read.entity_scores, findings.entity_scores, check_dtype=False)
    assert read.to_html() == findings.to_html()
    document = json.loads((tmp_path / "f.json").read_text())
    del document["entity_scores"]
    (tmp_path / "f.json").write_text(json.dumps(document))
    without = ueba.read_findings(tmp_path / "f.json")
    assert without.entity_scores is None
    assert '<svg class="spark"' not in without.to_html()


DAMAGES = {
    "list": (lambda d: d.update(entity_scores={}), "'entity_scores' is a dict, but must be a list"),
    "object": (lambda d: d.update(entity_scores=[1]), "'entity_scores' contains 1, but must contain objects"),
    "entity": (lambda d: d["entity_scores"][0].update(entity=1), "'entity' is 1, but must be text"),
    "length": (lambda d: d["entity_scores"][0]["days"].pop(), "must have a score for each of its days"),
    "day": (lambda d: d["entity_scores"][0]["days"].__setitem__(0, "2025-02-30"), "day of entity_scores"),
    "score": (lambda d: d["entity_scores"][0]["anomaly_scores"].__setitem__(0, "1"), "'anomaly_scores' is '1'"),
    "huge": (lambda d: d["entity_scores"][0]["anomaly_scores"].__setitem__(0, 1e300), "'anomaly_scores' is 1e"),
    "missing": (lambda d: d["entity_scores"][0].pop("days"), "it lacks 'days'"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_damaged_files_are_refused(findings, damage, message):
    document = json.loads(_document.dump(findings))
    damage(document)
    with pytest.raises(ValueError, match=f"^findings is damaged: .*{message}"):
        _document.load(document, "findings")
