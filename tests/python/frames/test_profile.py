"""Test that the profile of a table does not depend on how its rows are divided into partitions."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from frame_tables import frame_of, read
from isoxide._frames.profile import Profiler, far_days, repeated_rows
from isoxide._frames.times import Times
from isoxide._partitioned.aggregators import decode, encode


def table_to_profile(seed, n=600):
    r = np.random.default_rng(seed)
    return pa.table(
        {
            "actor": pa.array([["a", "A", "", None, "b"][i] for i in r.integers(0, 5, n)]),
            "day": pa.array(
                pd.date_range("2025-01-01", periods=40).strftime("%Y-%m-%d").to_numpy()[r.integers(0, 40, n)]
            ),
            "x": pa.array(np.where(r.random(n) < 0.1, np.nan, r.normal(size=n))),
            "id": pa.array(r.permutation(n)),
            "t": pa.array([["1", "-", None, "z"][i] for i in r.integers(0, 4, n)]),
        }
    )


def test_partitions_can_be_merged_in_any_order(seed):
    table = table_to_profile(seed)
    profiler = Profiler("actor", Times("day"), ["x", "id"], ["t"])

    def contents(profile):
        summary = profiler.summary(
            profile, features=["x", "id"], left_out={"t": "text"}, n_read=600, n_duplicate_keys=0, notes=[]
        )
        return summary.to_dict(), {name: sketch.to_bytes() for name, sketch in profile.sketches.items()}, profile.days

    expected = profiler.update(profiler.start(), table.combine_chunks().to_batches()[0], 0)
    partitions = []
    for start in range(0, 600, 170):
        batch = table.slice(start, 170).combine_chunks().to_batches()[0]
        partitions.append(decode(encode(profiler.update(profiler.start(), batch, None))))
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        merged = profiler.merge([profiler.start(), *(partitions[index] for index in order)])
        assert contents(merged) == contents(expected)


@pytest.mark.parametrize(
    ("days", "far"),
    [
        (["2025-01-01"], []),
        (["2025-01-01", "9999-12-31"], []),
        (["2025-01-01", "2025-01-02", "2025-01-03", "9999-12-31"], [3]),
        (
            [
                "1970-01-01",
                "2025-01-01",
                "2025-01-02",
                "2025-01-03",
                "2025-01-04",
                "2025-01-05",
                "2025-01-06",
                "9999-12-31",
            ],
            [0, 7],
        ),
        (["2020-01-01", "2022-01-01", "2024-01-01"], []),
        (["2025-01-01", "2025-12-31", "2026-12-31"], []),
    ],
)
def test_days_far_from_all_others_are_found(days, far):
    assert far_days(pd.DatetimeIndex(np.array(days, dtype="datetime64[s]"))) == far


def test_the_number_of_listed_gaps_is_limited():
    days = pd.date_range("2025-01-01", periods=200)[::2].append(pd.DatetimeIndex(["2025-12-01"]))
    frame = frame_of(range(len(days))).assign(day=days)
    profile = read(frame).profile
    assert (profile.n_missing_days, len(profile.gaps)) == (99 + 135, 20)
    assert ["2025-07-19", "2025-11-30"] in profile.gaps


def test_repeated_rows_are_found_in_columns_of_any_type():
    frame = pd.DataFrame(
        {
            "a": [1.0, np.nan, np.nan, 1.0, 1.0],
            "b": [[1], [2], [2], [1], [3]],
            "c": [None, "x", "x", None, None],
            "d": [np.array([1, 2])] * 5,
        }
    )
    assert repeated_rows(frame).tolist() == [False, False, True, True, False]
