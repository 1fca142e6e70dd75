"""Drift is told for changed rows, and not for the training rows or a sample of them."""

import json

import numpy as np
import pandas as pd
import pytest

from isoxide import ueba
from isoxide.ueba._distributions import ValueCounts
from isoxide.ueba._drift import _edges, stability
from ueba_tables import actor_days

NAMES = {"entity": "actor", "time": "day"}
COUNTS = [f"n_{j}" for j in range(6)]


@pytest.fixture(scope="module")
def frame(seed):
    return actor_days(seed)


@pytest.fixture(scope="module")
def model(frame):
    return ueba.Model.fit(read(frame), contamination=0.02, n_estimators=50)


def read(frame):
    return ueba.read_table(frame, **NAMES)


def test_the_training_table_has_none(model, frame):
    drift = model.drift(read(frame))
    assert (drift.verdict, drift.reasons, drift.worst) == ("ok", [], [])
    assert (drift.features["psi"] == 0).all()
    assert drift.above == round(drift.expected_share * len(frame))
    assert drift.new_entities == drift.vanished_entities == []


def test_a_sample_of_the_training_table_has_none(model, frame, seed):
    sample = frame.sample(300, random_state=seed % 2**32)
    assert model.drift(read(sample)).verdict == "ok"


def test_doubled_counts_say_retrain(model, frame):
    drift = model.drift(read(frame.assign(**{name: frame[name] * 2 for name in COUNTS})))
    assert drift.verdict == "retrain"
    assert len(drift.worst) == 3
    assert set(drift.worst) <= set(COUNTS)
    changed = drift.features["verdict"] != "ok"
    assert set(drift.features.index[changed]) == set(COUNTS)
    others = drift.features.drop(index=COUNTS)
    assert (others["psi"] == 0).all()
    assert "drift: retrain" in str(drift)
    assert drift.worst[0] in str(drift)


def test_one_day_never_says_retrain(model, frame):
    day = frame[frame["day"] == "2025-02-22"]
    changed = model.drift(read(day.assign(**{name: day[name] * 50 + 100 for name in COUNTS})))
    assert changed.verdict == "watch"
    assert changed.reasons[-1] == "1 day is too few to tell drift from the calendar"
    # The day of the week is the same for all rows, so a single day does not drift in it.
    assert changed.features.loc["is_weekend", "verdict"] == "ok"
    assert changed.features.loc["is_weekend", "by_calendar"]


def test_missing_constant_and_zero(model, frame, seed):
    rng = np.random.default_rng(seed)
    changed = frame.assign(
        share_0=frame["share_0"].where(rng.random(len(frame)) < 0.5), share_1=1.0, n_2=0, n_3=frame["n_3"] + 1
    )
    drift = model.drift(read(changed))
    lines = drift.features
    assert lines.loc["share_0", "nan_share"] == changed["share_0"].isna().mean()
    assert lines.loc["n_2", "zero_share"] == 1
    assert lines.loc["n_2", "model_zero_share"] == (frame["n_2"] == 0).mean()
    assert set(lines.index[lines["is_constant_now"]]) == {"share_1", "n_2"}
    assert set(lines.index[lines["verdict"] != "ok"]) == {"share_0", "share_1", "n_2", "n_3"}
    assert any("2 features are constant now" in reason for reason in drift.reasons)


def test_entities(model, frame):
    renamed = frame.assign(actor=frame["actor"].replace({"actor01": "someone", "actor02": "another"}))
    drift = model.drift(read(renamed))
    assert drift.new_entities == ["another", "someone"]
    assert drift.vanished_entities == ["actor01", "actor02"]
    assert drift.new_entity_rows == frame["actor"].isin(["actor01", "actor02"]).sum()
    assert drift.verdict == "ok"
    everyone = model.drift(read(frame.assign(actor="new-" + frame["actor"])))
    assert everyone.verdict == "watch"
    assert "100% of the rows belong to entities that the model does not know" in everyone.reasons


def test_share_above_the_threshold(model, frame):
    """Only the share of findings changes, if the rows that are findings are repeated under other names."""
    scores = -model.forest.score_samples(frame[model.features])
    odd = frame[scores > model.threshold]
    copies = [odd.assign(actor=odd["actor"] + f"-{k}") for k in range(3)]
    drift = model.drift(read(pd.concat([frame, *copies])))
    assert drift.above == 4 * len(odd)
    assert not drift.expected_above[0] <= drift.above <= drift.expected_above[1]
    assert any("are above the threshold, but" in reason for reason in drift.reasons)
    assert drift.verdict == "retrain"


def test_index_of_the_literature():
    """The index equals the sum of (new - old) * ln(new / old) over the bins, with half a row added to each."""
    counts = ValueCounts()
    counts.add(np.arange(1.0, 101.0))
    new = np.append(np.repeat(np.arange(1.0, 101.0), 3)[:200], np.nan)
    # Ten bins with ten rows each, and a bin of missing values; the new rows fill the lower ones.
    old_shares = (np.append(np.full(10, 10.0), 0) + 0.5) / (100 + 5.5)
    filled = np.array([30, 30, 30, 30, 30, 30, 20, 0, 0, 0, 1.0])
    new_shares = (filled + 0.5) / (201 + 5.5)
    expected = ((new_shares - old_shares) * np.log(new_shares / old_shares)).sum()
    psi, chance = stability(counts.distribution(100), new)
    assert psi == pytest.approx(expected, rel=1e-12)
    assert chance == pytest.approx(29.588298445 * (1 / 100 + 1 / 201), rel=1e-9)


def test_a_verdict_can_be_stored(model, frame):
    drift = model.drift(read(frame), since="2025-02-01")
    document = json.loads(json.dumps(drift.to_dict(), allow_nan=False))
    assert document["rows"] == (frame["day"] >= "2025-02-01").sum()
    assert list(document["features"]) == model.features
    assert document["features"]["n_0"]["model_median"] == frame["n_0"].median()
    assert model.detect(read(frame), since="2025-02-01").manifest["drift"] == drift.summary()


def test_few_rows_differ_by_chance_only():
    """Of thirty rows, many features have an index above the usual limits; none is above what chance gives.

    The data do not depend on the seed of the run, since one of a hundred seeds gives a feature beyond 99.9 %.
    """
    frame = actor_days(1)
    model = ueba.Model.fit(read(frame), n_estimators=5)
    days = frame["day"].drop_duplicates().sample(10, random_state=1)
    drift = model.drift(read(frame[frame["day"].isin(days)].sample(30, random_state=1)))
    judged = drift.features[~drift.features["by_calendar"]]
    assert (judged["psi"] > 0.1).sum() > 3
    assert (judged["psi"] < judged["chance"]).all()
    assert drift.verdict == "ok"


def test_bins_of_counts_that_are_mostly_zero():
    """Zero is a bin of its own, and the others hold a tenth of the other values each."""
    counts = ValueCounts()
    counts.add(np.append(np.zeros(400), np.arange(1.0, 101.0)))
    assert _edges(counts.distribution(500)).tolist() == [0, *range(10, 100, 10)]
    few_zeros = ValueCounts()
    few_zeros.add(np.append(np.zeros(5), np.arange(1.0, 96.0)))
    assert _edges(few_zeros.distribution(100)).tolist() == list(range(5, 95, 10))
    # A doubled count moves rows to other bins.
    doubled = np.append(np.zeros(400), 2 * np.arange(1.0, 101.0))
    psi, chance = stability(counts.distribution(500), doubled)
    assert psi > chance
    assert stability(counts.distribution(500), np.append(np.zeros(400), np.arange(1.0, 101.0)))[0] == 0
