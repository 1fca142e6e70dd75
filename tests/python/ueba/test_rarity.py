"""Rarity of scores, and its bands."""

import numpy as np
import pytest

from isoxide.ueba._rarity import bands_of, check_bands, rarity_of, rarity_text


def test_rarity_and_bands():
    rarity = rarity_of(np.array([0, 1, 2, 10, 11, 100, 101, 5000]), 10_000)
    assert rarity.tolist() == [10_000, 10_000, 5_000, 1_000, 10_000 / 11, 100, 10_000 / 101, 2]
    expected = ["critical", "critical", "major", "major", "minor", "minor", "", ""]
    assert bands_of(rarity, (100, 1_000, 10_000)) == expected


@pytest.mark.parametrize(
    ("n_as_high", "text"), [(0, "more than 1 in 9,500"), (1, "1 in 9,500"), (7, "1 in 1,357"), (4000, "1 in 2.4")]
)
def test_text(n_as_high, text):
    assert rarity_text(n_as_high, 9_500) == text


@pytest.mark.parametrize("bands", [None, 5, (1, 2), (1, 2, "3"), (1, 2, True), {1, 2, 3}])
def test_bands_of_another_type_are_refused(bands):
    with pytest.raises(TypeError, match="must be three numbers"):
        check_bands(bands)


@pytest.mark.parametrize("bands", [(0.5, 2, 3), (3, 2, 5), (1, 1, 2), (1, 2, float("inf")), (1, float("nan"), 3)])
def test_bands_that_do_not_ascend_are_refused(bands):
    with pytest.raises(ValueError, match="must ascend"):
        check_bands(bands)
