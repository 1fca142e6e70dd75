"""Test that passes over a table are told as steps, and that findings do not depend on it."""

import pandas as pd
import pytest

from isoxide import stream, ueba
from isoxide._partitioned.aggregators import CountRows
from isoxide._partitioned.reported import ReportedPasses
from list_engine import arrow, partitioned
from partition_findings import NAMES, actor_days, assert_same_findings

pytestmark = pytest.mark.current_versions(reason="quantiles of pandas 2.2 have other last bits")


@pytest.fixture(scope="module")
def frame(seed):
    return actor_days(seed)


@pytest.fixture(scope="module")
def csv(frame, tmp_path_factory):
    """Return a file without declared types, with a column that is left out for a reason, and a repeated row."""
    path = tmp_path_factory.mktemp("reported") / "rows.csv"
    pd.concat([frame.assign(code="a-1"), frame.head(1).assign(code="a-1")]).to_csv(path, index=False)
    return path


@pytest.mark.slow
def test_findings_do_not_depend_on_progress(csv, capsys):
    options = {**NAMES, "contamination": 0.02, "groups": "size"}
    told = []
    expected = stream.open(csv, progress=False).detect(**options)
    assert capsys.readouterr() == ("", "")
    actual = stream.open(csv, progress=False).detect(**options, progress=lambda *step: told.append(step))
    assert capsys.readouterr() == ("", "")
    with_bar = stream.open(csv, progress=False).detect(**options, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "detect: reading the table" in err
    for other in (actual, with_bar):
        assert_same_findings(other, expected)
        assert {**other.manifest, "created": None} == {**expected.manifest, "created": None}
    assert [done for _, done, _ in told] == list(range(len(told)))
    assert {total for _, _, total in told[:-1]} == {None}
    assert told[-1] == ("done", len(told) - 1, len(told) - 1)
    # How many passes there are is for the detection to decide.
    assert "reading the table" in {name for name, *_ in told}
    assert len(told) > 5


@pytest.mark.slow
def test_every_engine_tells_its_passes(frame, seed):
    told = []
    actual = partitioned(arrow(frame), 3, seed).detect(**NAMES, top=5, progress=lambda *step: told.append(step))
    assert_same_findings(actual, ueba.detect(ueba.read_table(frame, **NAMES), top=5))
    assert told[-1][0] == "done"
    assert len(told) > 5


def test_a_view_has_everything_of_its_engine(csv):
    with stream.open(csv, progress=False)._open(lambda names, _: _all_columns(names)) as engine:
        names = []
        view = ReportedPasses(engine, names.append)
        for attribute in ("name", "schema", "key", "n_jobs", "is_local", "reasons", "written", "untyped", "notes"):
            assert getattr(view, attribute) == getattr(engine, attribute), attribute
        assert view.reasons
        assert view.aggregate(CountRows()) == view.count() == engine.count()
        assert names == ["reading the table", "counting the rows"]


def _all_columns(names):
    from isoxide._frames.source import Roles

    return Roles(frozenset(), frozenset(), frozenset())


def test_an_error_of_the_function_ends_the_detection(frame):
    def stop(name, done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        partitioned(arrow(frame), 2).detect(**NAMES, top=5, progress=stop)
    with pytest.raises(TypeError, match="progress must be True, False or a function, not 'yes'"):
        partitioned(arrow(frame), 2).detect(**NAMES, top=5, progress="yes")
