"""Test that patterns select columns, and that a pattern that equals a name selects only this name."""

from fnmatch import fnmatchcase

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from isoxide import rank_features
from isoxide._common.patterns import as_patterns, select

NAMES = st.lists(st.text("ab*?[]!- ", max_size=6), max_size=6)


@given(NAMES, NAMES)
def test_a_pattern_that_equals_a_name_selects_only_this_name(names, patterns):
    selected = select(names, patterns)
    for name in names:
        matches = [pattern == name if pattern in names else fnmatchcase(name, pattern) for pattern in patterns]
        assert (name in selected) == any(matches)
    assert selected == [name for name in dict.fromkeys(names) if name in selected]


def test_patterns_may_be_one_several_or_none():
    assert [as_patterns(patterns) for patterns in (None, "a*", ("a", "b"))] == [[], ["a*"], ["a", "b"]]
    assert select(["bytes [MB]", "bytes M"], "bytes [MB]") == ["bytes [MB]"]
    assert select(["bytes M"], "bytes [MB]") == ["bytes M"]
    assert select([], "*") == select(["a"], None) == []


def test_rank_last_takes_patterns(seed):
    values = np.random.default_rng(seed).normal(size=(50, 4))
    frame = pd.DataFrame(values, columns=["z[1]", "z1", "*", "b"])
    for pattern, expected in (("z[1]", {0}), ("z*", {0, 1}), ("*", {2}), ("?", {2, 3})):
        order = rank_features(frame, frame, rank_last=pattern).order
        assert {frozenset(row[-len(expected) :].tolist()) for row in order} == {frozenset(expected)}
