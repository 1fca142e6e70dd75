"""Some of the findings, and findings put together again."""

import numpy as np
import pandas as pd
import pytest

from enron_runs import findings, mail
from isoxide import ueba
from isoxide.ueba._review import Judged
from isoxide.ueba._selection import split, take, whole


@pytest.fixture(scope="module")
def found():
    return findings()


def assert_equal(one, other):
    pd.testing.assert_frame_equal(one.to_frame(), other.to_frame())
    pd.testing.assert_frame_equal(one.timeline, other.timeline)
    pd.testing.assert_frame_equal(one.flags, other.flags)
    for name in ("percentiles", "order", "directions", "contributions"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for number in range(len(one)):
        pd.testing.assert_frame_equal(one.comparison_table(number), other.comparison_table(number))


def test_findings_are_taken_with_everything_about_them(found):
    positions = [7, 3, 20]
    taken = take(found, positions)
    assert taken.frame["finding_id"].tolist() == found.frame["finding_id"].iloc[positions].tolist()
    for new, old in enumerate(positions):
        pd.testing.assert_frame_equal(taken.comparison_table(new), found.comparison_table(old))
        pd.testing.assert_frame_equal(taken.share_table(new), found.share_table(old))
        own, their = (set(f.flags.loc[f.flags["row"] == n, "feature"]) for f, n in ((taken, new), (found, old)))
        assert own == their
    assert taken.timeline["findings"].sum() == 3
    assert found.timeline["findings"].sum() == len(found)
    assert len(take(found, [])) == 0
    assert take(found, []).to_markdown()


def test_split_findings_are_put_together_as_they_were(found):
    decision = ueba.Decisions(
        [found.decide(own, status="open") for own in found.frame["finding_id"].iloc[[0]]]
    ).entries[0]
    hides = ueba.Decision(**{**vars(decision), "status": "known-good"})
    for hidden in ([], [0], [2, 5, 40], list(range(len(found)))):
        marked = take(found, range(len(found)))
        marked.judged = [Judged(None, hides if n in hidden else None) for n in range(len(found))]
        parts = split(marked)
        assert (len(parts), parts.n_hidden) == (len(found) - len(hidden), len(hidden))
        assert parts.hidden.frame["finding_id"].tolist() == found.frame["finding_id"].iloc[hidden].tolist()
        assert_equal(whole(parts), marked)


def test_groups_are_put_together():
    table = mail()
    found = ueba.detect(ueba.read_table(table, entity="actor", time="day"), contamination=0.003, groups="role",
                        explain=False)  # fmt: skip
    hides = found.decide(found.frame["finding_id"].iloc[1], status="known-good")
    applied = found.apply(ueba.Decisions([hides]))
    assert applied.n_hidden == 1
    np.testing.assert_array_equal(applied.hidden.typical(), found.typical()[[1]])
    np.testing.assert_array_equal(whole(applied).typical(), found.typical())
    pd.testing.assert_frame_equal(applied.apply(ueba.Decisions()).to_frame(), found.to_frame())


def test_pickles_of_early_versions_are_restored(found):
    state = {k: v for k, v in vars(found).items() if k not in ("judged", "hidden_findings", "review")}
    restored = ueba.Findings.__new__(ueba.Findings)
    restored.__setstate__(state)
    assert (restored.states, restored.n_hidden) == ([None] * len(found), 0)
    assert_equal(restored, found)
