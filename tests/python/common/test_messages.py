"""Messages suggest the name that a user probably meant."""

import pytest

from isoxide._common.messages import closest_name, did_you_mean


@pytest.mark.parametrize(
    ("name", "close"),
    [("login", "logins"), ("Actor", "actor"), ("  DAY  ", "day"), ("nothing like these", None), ("", None)],
)
def test_the_closest_name(name, close):
    names = ["actor", "day", "logins"]
    assert closest_name(name, iter(names)) == close
    assert did_you_mean(name, names) == ("" if close is None else f"; did you mean {close!r}?")


def test_no_names():
    assert closest_name("a", []) is None
    assert did_you_mean("a", []) == ""
