"""Test that features are chosen by name or pattern, and that patterns without a match are refused."""

import numpy as np
import pytest

from frame_tables import csv_of, frame_of, read
from isoxide import stream


@pytest.fixture
def frame():
    return frame_of(np.arange(4.0)).assign(n_a=1.5, n_b=[1, 2, 3, 4], text=["a", "b", "c", "d"], nothing=np.nan)


@pytest.mark.parametrize(
    ("include", "exclude", "features"),
    [
        (None, None, ["y", "x", "n_a", "n_b"]),
        ("n_*", None, ["n_a", "n_b"]),
        (["x", "n_*"], "n_b", ["x", "n_a"]),
        (None, ["x", "n_*"], ["y"]),
        ("*", None, ["y", "x", "n_a", "n_b"]),
    ],
)
def test_features_are_chosen_by_names_and_patterns(frame, include, exclude, features):
    table = read(frame, include=include, exclude=exclude)
    assert list(table.features) == features
    assert set(table.profile.left_out) == {"text", "nothing", "y", "x", "n_a", "n_b"} - set(features)
    text = str(table.profile)
    assert all(name in text for name in table.profile.left_out)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"include": ["z"]}, "include has 'z', which matches no column"),
        ({"include": ["N_a"]}, "did you mean 'n_a'"),
        ({"exclude": "z*"}, r"exclude has 'z\*'"),
        ({"include": ["text"]}, "include has 'text', which is not a column of numbers: text"),
        ({"exclude": "*"}, "no column except 'actor' and 'day' can be a feature; columns left out: .*not chosen"),
        ({"include": ["nothing"]}, "'nothing': no values"),
    ],
)
def test_patterns_that_choose_no_numeric_column_are_refused(frame, options, message):
    with pytest.raises(ValueError, match=message):
        read(frame, **options)


def test_patterns_that_are_no_text_are_refused(frame):
    with pytest.raises(TypeError, match="include must be names or patterns"):
        read(frame, include=[1])


def test_columns_given_by_name_must_hold_numbers(tmp_path):
    path = csv_of(tmp_path / "t.csv", ["1", "a", "b", "c"])
    with pytest.raises(ValueError, match="'a' in line 3"):
        stream.open(path).fit(features=["x", "y"])
    with pytest.raises(ValueError, match=r"no column 'z' \(features\)"):
        stream.open(path).fit(features=["z"])
    assert list(stream.open(path).fit().feature_names_in_) == ["y"]
