"""Any JSON whatever is read whole or refused in words."""

import copy
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isoxide import ueba
from isoxide.ueba import _document
from isoxide.ueba._findings import Findings
from ueba_tables import actor_days

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def document(seed):
    table = ueba.read_table(actor_days(seed, n_actors=6, n_days=15), entity="actor", time="day")
    return json.loads(json.dumps(_document.dump(ueba.detect(table, contamination=0.05))))


def places(value, path=()):
    """Every place in a document."""
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_refused_or_harmless(document, data):
    damaged = copy.deepcopy(document)
    path = data.draw(st.sampled_from([p for p in places(document) if p]))
    *way, last = path
    home = damaged
    for key in way:
        home = home[key]
    if data.draw(st.booleans()):
        home[last] = data.draw(JSON)
    else:
        del home[last]
    try:
        parts = _document.load(damaged, "it")
    except ValueError as error:
        message = str(error)
    else:
        message = "it is " + Findings(**parts).to_markdown()
    assert message.startswith("it ")
