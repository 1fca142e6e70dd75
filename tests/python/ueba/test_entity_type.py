"""Types of entities, judged by the names of their columns."""

import pytest

from isoxide._cli._options import ENTITY_NAMES
from isoxide.ueba._entity_type import ENTITY_TYPES, entity_type_of, is_address


def test_names_that_the_command_recognises_have_a_type():
    kinds = {name: entity_type_of(name) for name in ENTITY_NAMES}
    assert kinds.pop("host") == "host"
    assert kinds.pop("entity") == "other"
    assert set(kinds.values()) == {"user"}


@pytest.mark.parametrize(
    ("name", "kind"), [("SRC_IP", "ip"), ("Host Name", "host"), ("src.ip", "ip"), ("team", "other"), ("", "other")]
)
def test_case_and_separators_do_not_matter(name, kind):
    assert entity_type_of(name) == kind


def test_a_given_type_wins():
    assert [entity_type_of("actor", kind) for kind in ENTITY_TYPES] == [*ENTITY_TYPES]
    with pytest.raises(ValueError, match="entity_type='User' must be one of"):
        entity_type_of("actor", "User")


def test_addresses():
    assert [is_address(text) for text in ("10.0.0.1", "2001:db8::1", "10.0.0.256", "host", "", None, 7)] == [
        True,
        True,
    ] + [False] * 5
