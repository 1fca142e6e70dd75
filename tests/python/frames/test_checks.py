"""Checks of features: labels, equal columns and counters, in memory and merged from partitions in any order."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from isoxide import ueba
from isoxide._frames import checks
from isoxide._frames.checks import EqualColumns, Growth, looks_like_label
from isoxide.datasets import load_enron
from ueba_tables import actor_days


@pytest.mark.parametrize(
    "name",
    ["label", "Target", "LABEL ", "is_anomaly", "isFraud", "is-malicious", "was_attacked"[:10], "ground truth", "y"],
)
def test_labels_are_recognised_by_name_and_values(name):
    assert looks_like_label(name, 0.0, 1.0, 2)
    for low, high, n_distinct in ((0.0, 1.0, 3), (0.0, 2.0, 2), (0.0, 1.0, None), (1.0, 1.0, 1), (-1.0, 1.0, 2)):
        assert not looks_like_label(name, low, high, n_distinct)


@pytest.mark.parametrize(
    "name", ["is_weekend", "is_admin", "leaver_action", "n_labels", "label_rate", "day", "class_size", "is_new"]
)
def test_other_flags_are_no_labels(name):
    assert not looks_like_label(name, 0.0, 1.0, 2)


def equal_by_definition(columns, names):
    groups = []
    for name in names:
        for group in groups:
            if np.array_equal(columns[group[0]], columns[name], equal_nan=True):
                group.append(name)
                break
        else:
            groups.append([name])
    return [group for group in groups if len(group) > 1]


def test_equal_columns_are_found_in_any_order_of_partitions(seed):
    r = np.random.default_rng(seed)
    for _ in range(50):
        n, n_columns = int(r.integers(1, 30)), int(r.integers(1, 8))
        base = np.where(r.random((n, 3)) < 0.2, np.nan, r.integers(0, 2, (n, 3)))
        columns = {f"c{j}": base[:, r.integers(0, 3)].copy() for j in range(n_columns)}
        if r.random() < 0.5:
            columns["c0"][r.integers(0, n)] += 1
        expected = equal_by_definition(columns, columns)
        cuts = np.unique(r.integers(0, n + 1, 3))
        pieces = [piece for piece in np.split(np.arange(n), cuts) if len(piece)]
        whole, states = EqualColumns(columns), []
        for piece in pieces:
            part = {name: values[piece] for name, values in columns.items()}
            whole.update(part)
            states.append(EqualColumns(columns))
            states[-1].update(part)
        merged = EqualColumns(columns)
        for k in r.permutation(len(states)):
            merged.merge(states[k])
        assert sorted(map(sorted, whole.groups(columns))) == sorted(map(sorted, expected))
        assert sorted(map(sorted, merged.groups(columns))) == sorted(map(sorted, expected))


def growing_by_definition(frame, names):
    """Return the features that never decrease from one time of an entity to the next, and often grow."""
    result = []
    for name in names:
        steps, grown, is_counter = 0, 0, True
        for _, own in frame.dropna(subset="entity").groupby("entity"):
            spans = own.groupby("time")[name].agg(["min", "max"])
            is_counter &= not (spans["min"] < spans["max"]).any()
            low, high = spans["min"].to_numpy(), spans["max"].to_numpy()
            for before, after in zip(high[:-1], low[1:], strict=True):
                if not (np.isnan(before) or np.isnan(after)):
                    steps, grown, is_counter = steps + 1, grown + (after > before), is_counter and after >= before
        if is_counter and steps >= 20 and grown >= 0.5 * steps:
            result.append(name)
    return result


def drawn_table(r):
    n, n_entities = int(r.integers(20, 200)), int(r.integers(1, 9))
    frame = pd.DataFrame(
        {"entity": r.choice([f"e{i}" for i in range(n_entities)], n), "time": pd.Timestamp("2025-01-01")}
    )
    frame["time"] = pd.to_datetime("2025-01-01") + pd.to_timedelta(r.integers(0, 40, n), unit="D")
    if r.random() < 0.3:
        frame.loc[r.random(n) < 0.1, "entity"] = None
    day = (frame["time"] - pd.Timestamp("2025-01-01")).dt.days.to_numpy(dtype=float)
    own = frame["entity"].fillna("").map({f"e{i}": i * 10.0 for i in range(9)}).fillna(0).to_numpy()
    frame["counter"], frame["steps"] = day + own, np.floor(day / r.integers(1, 6)) + own
    frame["gaps"] = np.where(r.random(n) < 0.3, np.nan, day)
    frame["noise"], frame["flag"], frame["fixed"] = r.normal(size=n), r.integers(0, 2, n), own
    frame["almost"] = day
    frame.loc[int(r.integers(0, n)), "almost"] -= 50
    frame["falling"] = -day
    return frame


def grown(frame, names):
    growth = Growth(names)
    entities = pa.array(frame["entity"], type=pa.string(), from_pandas=True)
    growth.update(entities, frame["time"], {name: frame[name].to_numpy() for name in names})
    return growth


def test_counters_are_found_in_any_order_of_rows_and_partitions(seed):
    r = np.random.default_rng(seed)
    names = ["counter", "steps", "gaps", "noise", "flag", "fixed", "almost", "falling"]
    n_found = 0
    for _ in range(15):
        frame = drawn_table(r).sample(frac=1, random_state=int(r.integers(2**31)), ignore_index=True)
        expected = growing_by_definition(frame, names)
        n_found += len(expected)
        assert grown(frame, names).growing() == expected
        merged = Growth(names)
        for piece in np.array_split(np.arange(len(frame)), int(r.integers(1, 6))):
            merged.merge(grown(frame.iloc[piece].reset_index(drop=True), names))
        assert merged.growing() == expected
    assert n_found > 5


def test_the_sample_is_the_same_whatever_the_partitions(seed, monkeypatch):
    monkeypatch.setattr(checks, "MAX_ENTITIES", 3)
    monkeypatch.setattr(checks, "MAX_TIMES", 7)
    r = np.random.default_rng(seed)

    def contents(growth):
        return growth.entities, growth.codes.tolist(), growth.times.tolist(), growth.low.tolist(), growth.high.tolist()

    for _ in range(10):
        frame = drawn_table(r)[["entity", "time", "noise", "counter"]]
        whole = grown(frame, ["noise", "counter"])
        assert len(whole.entities) <= 3
        assert np.bincount(whole.codes).max(initial=0) <= 7
        shuffled = frame.sample(frac=1, random_state=int(r.integers(2**31)))
        pieces = np.array_split(np.arange(len(frame)), int(r.integers(1, 6)))
        states = [grown(shuffled.iloc[piece].reset_index(drop=True), ["noise", "counter"]) for piece in pieces]
        merged = Growth(["noise", "counter"])
        for state in states:
            merged.merge(state)
        assert contents(merged) == contents(whole)


def test_the_profile_tells_and_leaves_nothing_out(seed):
    frame = actor_days(seed)
    frame["is_malicious"] = (np.arange(len(frame)) % 97 == 0).astype(int)
    frame["n_prior_days"] = frame.groupby("actor").cumcount()
    frame["copy"] = frame["n_1"]
    table = ueba.read_table(frame, entity="actor", time="day")
    assert table.profile.label_like == ["is_malicious"]
    assert table.profile.growing == ["n_prior_days"]
    assert table.profile.equal == [["n_1", "copy"]]
    assert {"is_malicious", "n_prior_days", "copy"} <= {*table.features}
    text = str(table.profile)
    assert "1 feature looks like a label, which tells the forest what it should find: is_malicious" in text
    assert (
        "1 feature only grows from day to day of an entity, so the last days always look unusual: n_prior_days" in text
    )
    assert "some features are equal in all rows, and so count several times: n_1 = copy" in text


def test_constant_columns_are_told_once():
    frame = actor_days(0).assign(one=1.0, two=1.0)
    profile = ueba.read_table(frame, entity="actor", time="day").profile
    assert profile.constant == ["one", "two"]
    assert (profile.equal, profile.growing, profile.label_like) == ([], [], [])


def test_the_table_that_ships_has_one_counter_and_no_other_suspicious_feature():
    profile = ueba.read_table(load_enron(), entity="actor", time="day").profile
    assert (profile.growing, profile.label_like, profile.equal, profile.id_like) == (["n_prior_days"], [], [], [])


def test_a_flag_that_is_not_reset_is_no_counter():
    """In a table of few days a weekend may come last, and a flag may be set once."""
    days = pd.date_range("2025-01-02", periods=3)
    rows = [(f"a{i:02}", day, k, 2 * k) for i in range(40) for k, day in enumerate(days)]
    frame = pd.DataFrame(rows, columns=["actor", "day", "n_prior", "n_total"])
    frame["is_weekend"] = (frame["day"].dt.day_of_week >= 5).astype(int)
    frame["is_late"] = (frame["day"] > days[0]).astype(int) * 7
    assert ueba.read_table(frame, entity="actor", time="day").profile.growing == ["n_prior", "n_total"]
