"""Counts of keys and populations, compared with pandas, in any order and in partitions."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from isoxide.ueba._counting import CellCounts, DayExtremes, KeyCounts, Populations


@pytest.fixture
def frame(seed):
    """Return entities with 1 to 8 days each, some rows without an entity, and groups of 1 to 40 rows."""
    rng = np.random.default_rng(seed)
    lines = [(f"e{k}", day, rng.choice(list("xyz"), p=[0.7, 0.28, 0.02])) for k in range(1, 9) for day in range(k)]
    lines += [("e3", 0, "x"), (None, 0, "y"), (None, 4, None)]
    frame = pd.DataFrame(lines, columns=["entity", "day", "label"])
    frame["day"] = pd.Timestamp("2025-01-01") + pd.to_timedelta(frame["day"], unit="D")
    frame["value"] = rng.integers(0, 3, len(frame)) / 2
    return frame.sample(frac=1, random_state=int(rng.integers(2**31)), ignore_index=True)


def keys(frame):
    return KeyCounts.of(pa.array(frame["entity"], pa.string()), frame["day"], pa.array(frame["label"], pa.string()))


def test_entities_and_groups(frame):
    parts = [keys(frame[k::3].reset_index(drop=True)) for k in range(3)]
    counts = KeyCounts.merged([parts[1], KeyCounts(), KeyCounts.merged([parts[2], parts[0]])])
    entities = counts.entities().to_pandas()
    groups = frame.groupby("entity", dropna=False)
    expected = groups["day"].agg(["min", "nunique", "size"])
    assert entities["entity"].fillna("").tolist() == [name if isinstance(name, str) else "" for name in expected.index]
    assert pd.to_datetime(entities["first_day"]).tolist() == expected["min"].tolist()
    assert entities["days"].tolist() == expected["nunique"].tolist()
    assert entities["rows"].tolist() == expected["size"].tolist()
    labels = counts.labels().to_pandas()
    assert dict(zip(labels["label"], labels["rows"], strict=True)) == frame["label"].value_counts().to_dict()
    assert counts.n_days() == frame["day"].nunique()


def test_a_population_needs_as_many_days_or_rows_as_the_minimum(frame):
    n_large = int((frame["label"] == "y").sum())
    populations = Populations(keys(frame), min_group=n_large, min_history=5)
    assert populations.histories["entity"].to_pylist() == ["e5", "e6", "e7", "e8"]
    codes = populations.history_codes(pa.array(["e4", "e5", None, "e8", "new"]))
    assert codes.tolist() == [-1, 0, -1, 3, -1]
    assert populations.group_codes(pa.array(["x", "y", "z", None, "new"])).tolist() == [0, 1, -1, -1, -1]
    assert Populations(keys(frame), min_group=n_large + 1, min_history=5).group_codes(pa.array(["y"])).tolist() == [-1]


def test_the_reference_has_the_rows_of_each_population(frame):
    populations = Populations(keys(frame), min_group=10, min_history=6)
    cells = []
    for k in range(2):
        part = frame[k::2].reset_index(drop=True)
        own = CellCounts(1, has_groups=True)
        labels, entities = pa.array(part["label"], pa.string()), pa.array(part["entity"], pa.string())
        own.add([part["value"].to_numpy()], part["value"].to_numpy() / 4, part["day"].to_numpy(),
                populations.group_codes(labels), populations.history_codes(entities))  # fmt: skip
        cells.append(own)
    cells[1].merge(cells[0])
    reference = cells[1].reference(["v"], populations)
    wanted = {("all", None): frame, ("group", "x"): frame[frame["label"] == "x"]}
    wanted |= {("entity", f"e{k}"): frame[frame["entity"] == f"e{k}"] for k in (6, 7, 8)}
    for (scope, label), rows in wanted.items():
        number = reference.number(scope, label)
        assert reference.rows[number] == len(rows)
        assert reference.distribution("v", number).expanded().tolist() == sorted(rows["value"])
    assert reference.number("entity", "e5") is None
    assert reference.scores.expanded().tolist() == sorted(frame["value"] / 4)
    assert reference.history("e3") == (pd.Timestamp("2025-01-01").date(), 3)
    assert reference.history("new") == (None, 0)


def test_constant_within_days():
    days = np.array(["2025-01-01", "2025-01-02", "2025-01-01", "2025-01-02", "2025-01-03"], dtype="M8[us]")
    columns = [
        np.array([1.0, 2, 1, 2, 5]),  # one value per day
        np.array([1.0, 2, 1, 3, 5]),
        np.array([1.0, 2, np.nan, 2, 5]),  # a missing value is another value
        np.array([1.0, np.nan, 1, np.nan, np.nan]),  # missing for a whole day
    ]
    for n_parts in (1, 2, 5):
        merged = DayExtremes()
        for rows in np.array_split(np.arange(5), n_parts):
            part = DayExtremes()
            part.add([column[rows] for column in columns], days[rows])
            merged.merge(part)
        assert merged.is_constant_within_days(4) == [True, False, False, True]
    single = DayExtremes()
    single.add([np.array([1.0, 2.0])], days[:2])
    # No day has several rows, so nothing can be said.
    assert single.is_constant_within_days(1) == [False]
    assert DayExtremes().is_constant_within_days(2) == [False, False]
