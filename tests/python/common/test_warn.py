"""Test that warnings point at the line of the user."""

import numpy as np
import pandas as pd
import pytest

from isoxide import stream, ueba

NAMES = {"entity": "actor", "time": "day"}


@pytest.fixture(scope="module")
def frame():
    days = pd.date_range("2025-01-01", periods=100)
    return pd.DataFrame({"actor": "a", "day": days, "x": np.random.default_rng(0).normal(size=100)})


@pytest.mark.parametrize(
    "call",
    [
        lambda frame: ueba.detect(ueba.read_table(frame, **NAMES), contamination=0.1, train_on_this=True),
        lambda frame: ueba.detect(ueba.read_table(frame, **NAMES), alerts_per_month=3, train_on_this=True),
        lambda frame: ueba.calibrate(ueba.read_table(frame, **NAMES), contamination=0.1),
        lambda frame: stream.open(frame).detect(**NAMES, contamination=0.1, train_on_this=True),
    ],
)
def test_warnings_point_at_the_line_of_the_user(frame, call):
    with pytest.warns(UserWarning, match="the forest is fitted on a table of") as caught:
        call(frame)
    assert [(warning.filename, warning.lineno) for warning in caught] == [(__file__, call.__code__.co_firstlineno)]
