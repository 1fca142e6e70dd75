"""Identifiers of findings are hashes of bytes that the documentation defines."""

import hashlib

import numpy as np
import pandas as pd
import pytest

from isoxide.ueba._identifiers import finding_ids


def digits(text):
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@pytest.mark.parametrize(
    ("time", "text"),
    [
        ("2025-04-26", "2025-04-26"),
        ("2025-04-26T13:45:00", "2025-04-26T13:45:00"),
        ("2025-04-26T13:45:00.250", "2025-04-26T13:45:00.25"),
        ("2025-04-26T13:45:00.000000001", "2025-04-26T13:45:00.000000001"),
        ("2025-04-26T00:00:00+02:00", "2025-04-25T22:00:00Z"),
        ("2025-04-26T00:00:00+00:00", "2025-04-26T00:00:00Z"),
    ],
)
def test_hashed_bytes(time, text):
    assert finding_ids(["Åse"], pd.Series([pd.Timestamp(time)])) == [digits(f"Åse\n{text}")]


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_a_missing_entity_is_left_out(missing):
    assert finding_ids([missing], pd.Series([pd.Timestamp("2025-04-26")])) == [digits("2025-04-26")]


def test_the_unit_of_times_does_not_matter():
    days = pd.Series(pd.to_datetime(["2025-04-26", "2025-04-27"]))
    ids = {tuple(finding_ids(["a", "b"], days.astype(f"datetime64[{unit}]"))) for unit in ("s", "us", "ns")}
    assert ids == {(digits("a\n2025-04-26"), digits("b\n2025-04-27"))}
