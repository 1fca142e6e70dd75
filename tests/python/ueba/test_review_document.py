"""Decisions and states in JSON documents of findings, which may come from anybody."""

import copy
import datetime
import itertools
import json
import re

import pytest

from enron_runs import findings, mail
from isoxide import ueba

WHEN = datetime.datetime(2026, 7, 3, tzinfo=datetime.timezone.utc)


@pytest.fixture(scope="module")
def reviewed():
    """Return findings with hidden, stronger, confirmed and new ones, and with decisions that were not used."""
    frame = mail()
    earlier = findings(frame[frame["day"] < "2001-12-01"], "2001-11-01")
    found = findings(frame[frame["day"] < "2002-01-05"], "2001-12-01").compare(earlier).findings
    ids = found.frame["finding_id"]
    first, second, third = (
        found.decide(ids.iloc[n], status=status, when=WHEN, who="'=Ana", note="=1")
        for n, status in ((0, "known-good"), (3, "confirmed"), (5, "false-positive"))
    )
    weak = ueba.Decision(**{**vars(third), "score": 0.1})
    about = ueba.Decision(entity="nobody", status="open", when=WHEN)
    over = ueba.Decision(entity="x", status="known-good", when=WHEN, until=WHEN.date())
    return found.apply(ueba.Decisions([first, second, weak, about, over]), today="2026-07-04")


@pytest.fixture(scope="module")
def document(reviewed, tmp_path_factory):
    return json.loads(reviewed.to_json(tmp_path_factory.mktemp("json") / "findings.json").read_text())


def test_everything_is_kept(reviewed, document, tmp_path):
    assert {"stronger", "confirmed"} <= {*reviewed.states, *reviewed.statuses}
    assert (len(reviewed.expired), len(reviewed.unmatched)) == (1, 1)
    assert reviewed.n_hidden > 0
    loaded = ueba.read_findings(reviewed.to_json(tmp_path / "a.json"))
    assert loaded.review == reviewed.review
    assert (loaded.judged, loaded.hidden.judged) == (reviewed.judged, reviewed.hidden.judged)
    assert loaded.to_json(tmp_path / "b.json").read_bytes() == (tmp_path / "a.json").read_bytes()
    assert document["review"]["decisions"][0]["who"] == "'=Ana"
    assert [row["status"] for row in document["hidden"]] == ["known-good"] * reviewed.n_hidden


def refusal(document, tmp_path):
    """Return the message with which a document is refused, or None if reports can be written from it."""
    path = tmp_path / "findings.json"
    path.write_text(json.dumps(document))
    try:
        loaded = ueba.read_findings(path)
    except ValueError as error:
        return str(error)
    loaded.to_markdown()
    loaded.to_frame(hidden=True)
    loaded.apply(ueba.Decisions())
    return None


def paths(document):
    """Yield the path to each node about decisions and states."""
    pending = [("review",), ("hidden",)]
    pending += [("findings", n, name) for n, name in itertools.product(
        (0, 4), ("status", "state", "seen", "decision", "outgrown"))]  # fmt: skip
    while pending:
        path = pending.pop()
        yield path
        node = document
        for key in path:
            node = node[key]
        if path[0] == "review" and isinstance(node, dict):
            pending += [(*path, key) for key in node]
        elif path[0] == "review" and isinstance(node, list) and node:
            pending.append((*path, 0))


@pytest.mark.slow
def test_no_value_of_another_type_breaks_the_reader(document, tmp_path):
    n_refused = 0
    for path in paths(document):
        for value in (None, -1, "x", "\ud800", [[]], {}):
            changed = copy.deepcopy(document)
            node = changed
            for key in path[:-1]:
                node = node[key]
            node[path[-1]] = value
            message = refusal(changed, tmp_path)
            n_refused += message is not None
            assert message is None or "is damaged: " in message, (path, value)
        if isinstance(path[-1], str):
            del node[path[-1]]
            assert refusal(changed, tmp_path) is not None, path
    assert n_refused > 120


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("review", "decisions", 0, "status"), "good", "status is 'good', but must be"),
        (("review", "decisions", 0, "until"), "soon", "until is 'soon', but must be"),
        (("review", "previous", "gone"), [1], "'gone' contains 1, but must contain objects"),
        (("review", "previous", "first_day"), "x", "'first_day' is 'x', but must be a day"),
        (("hidden",), [], "'status' is|must have the findings that decisions hide|not longer"),
    ],
)
def test_invalid_values_are_named(document, tmp_path, path, value, message):
    changed = copy.deepcopy(document)
    if path == ("hidden",):
        # A hidden finding among the others is a contradiction.
        changed["findings"] += changed["hidden"]
    node = changed
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    assert re.search(message, refusal(changed, tmp_path))
