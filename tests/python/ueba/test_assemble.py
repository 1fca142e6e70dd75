"""The highest row of a table does not depend on the order of the rows, also if several score equally."""

import numpy as np
import pandas as pd
import pytest

from isoxide.ueba._assemble import Highest


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(0.4, "a", 1), (0.7, "b", 2), (0.6, "c", 3)], ("b", 2)),
        ([(0.7, "a", 1), (0.7, "b", 3), (0.7, "c", 2)], ("b", 3)),
        ([(0.7, "b", 1), (0.7, "ab", 1), (0.7, "a", 1), (0.7, None, 1)], ("a", 1)),
        ([(0.7, None, 1), (0.7, None, 2)], (None, 2)),
    ],
)
def test_the_latest_time_and_then_the_first_name_wins(rows, expected):
    days = pd.Timestamp("2025-01-01") + pd.to_timedelta([day for _, _, day in rows], unit="D")
    frame = pd.DataFrame({"score": [row[0] for row in rows], "name": [row[1] for row in rows], "day": days})
    for seed in range(4):
        mixed = frame.sample(frac=1, random_state=seed)
        highest = Highest.of(mixed["score"].to_numpy(dtype=np.float64), mixed["name"], mixed["day"])
        assert highest == (
            frame["score"].max(),
            expected[0],
            pd.Timestamp("2025-01-01") + pd.Timedelta(expected[1], "D"),
        )
