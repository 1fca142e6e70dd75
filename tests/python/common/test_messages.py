"""Test that messages suggest the name that a user probably meant."""

import pytest

from isoxide._common.messages import closest_name, did_you_mean


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [("login", "logins"), ("Actor", "actor"), ("  DAY  ", "day"), ("nothing like these", None), ("", None)],
)
def test_the_closest_name_is_suggested(name, suggestion):
    names = ["actor", "day", "logins"]
    assert closest_name(name, iter(names)) == suggestion
    assert did_you_mean(name, names) == ("" if suggestion is None else f"; did you mean {suggestion!r}?")


def test_nothing_is_suggested_without_names():
    assert closest_name("a", []) is None
    assert did_you_mean("a", []) == ""
