"""Test the Enron table that ships with the package: its content, its path, and that all readers agree on it."""

import csv
import gzip
import hashlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from isoxide import ueba
from isoxide.datasets import load_enron


@pytest.fixture(scope="module")
def frame():
    return load_enron()


def test_the_description_has_the_checksum_size_and_columns_of_the_file():
    path = load_enron(as_path=True)
    description = path.with_name("enron_user_day.md").read_text(encoding="utf-8")
    assert f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" in description
    assert f"{path.stat().st_size:,} bytes" in description
    assert "CC BY-SA 4.0" in description
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        header = next(csv.reader(file))
    for name in header:
        assert f"`{name}`" in description


def test_the_frame_has_the_cells_of_the_file(frame):
    with gzip.open(load_enron(as_path=True), "rt", encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert frame.shape == (len(rows), len(header)) == (10_969, 37)
    assert list(frame.columns) == header
    assert frame["day"].dtype.kind == "M"
    expected = [[float(cell) if cell else np.nan for cell in row[3:]] for row in rows]
    np.testing.assert_array_equal(frame.iloc[:, 3:].to_numpy(dtype=np.float64), expected)
    assert [[row.actor, row.role, f"{row.day:%Y-%m-%d}"] for row in frame.itertuples()] == [row[:3] for row in rows]


def test_a_changed_frame_does_not_change_the_next_one(frame):
    changed = load_enron()
    changed.iloc[:, 3:] = 0
    pd.testing.assert_frame_equal(load_enron(), frame)


def test_the_frame_and_the_file_are_the_same_feature_table(frame):
    from_frame, from_file = (
        ueba.read_table(source, entity="actor", time="day") for source in (frame, load_enron(as_path=True))
    )
    assert from_frame.profile == from_file.profile
    pd.testing.assert_frame_equal(from_frame.X, from_file.X)
    assert from_file.profile.left_out == {"role": "text"}


WITHOUT_PANDAS = """
import sys
sys.modules["pandas"] = None
from isoxide.datasets import load_enron
assert load_enron(as_path=True).is_file()
try:
    load_enron()
except ImportError as error:
    sys.exit(str(error) != "load_enron needs pandas: pip install pandas")
sys.exit(2)
"""


def test_the_path_needs_no_pandas():
    assert subprocess.run([sys.executable, "-c", WITHOUT_PANDAS], check=False).returncode == 0
