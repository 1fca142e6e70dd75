"""Files of decisions: what is read and refused, and lines that several processes add."""

import datetime
import os
import subprocess
import sys

import pytest

from isoxide import ueba
from isoxide.ueba._decision import COLUMNS

pytestmark = pytest.mark.not_parallel(reason="it has processes of its own")
HEADER = ",".join(COLUMNS) + "\n"
LINE = '2c5e3193ed71,user07,2025-04-26,"[""n_to""]",0.6,known-good,2026-10-01,Ana,2026-07-03T09:30:00Z,note\n'


def decision(number, **arguments):
    when = datetime.datetime(2026, 7, 3, tzinfo=datetime.timezone.utc)
    return ueba.Decision(**{"id": f"{number:012x}", "entity": "user07", "status": "open", "when": when, **arguments})


def test_a_file_is_read(tmp_path):
    path = tmp_path / "decisions.csv"
    path.write_text(HEADER + LINE)
    decisions = ueba.Decisions.read(path)
    [one] = decisions
    assert (one.id, one.entity, one.time, one.features) == ("2c5e3193ed71", "user07", "2025-04-26", ("n_to",))
    assert (one.score, one.status, one.until, one.who) == (0.6, "known-good", datetime.date(2026, 10, 1), "Ana")
    assert (one.note, one.line, decisions.source) == ("note", 2, str(path))
    assert len(decisions) == 1


def test_a_url_is_read_but_no_line_is_added_to_it(tmp_path, monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.chdir(tmp_path)
    if os.name != "nt":
        # A path that lost a slash would be in this folder.
        (tmp_path / "memory:" / "decided").mkdir(parents=True)
    filesystem = fsspec.filesystem("memory")
    filesystem.pipe("/decided/decisions.csv", (HEADER + LINE).encode())
    try:
        decisions = ueba.Decisions.read("memory://decided/decisions.csv")
        assert (len(decisions), decisions.source) == (1, "memory://decided/decisions.csv")
        with pytest.raises(
            ValueError, match=r"^memory://decided/decisions\.csv is a URL, but lines are added to files"
        ):
            ueba.Decisions.append("memory://decided/decisions.csv", decision(1))
    finally:
        filesystem.rm("/decided", recursive=True)
    with pytest.raises(FileNotFoundError, match=r"there is no file memory://decided/decisions\.csv"):
        ueba.Decisions.read("memory://decided/decisions.csv")
    with pytest.raises(ValueError, match=r"^s3://lake/d\.csv is a URL, but") as error:
        ueba.Decisions.append("s3://name:secret@lake/d.csv", decision(1))
    assert "secret" not in str(error.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_columns_may_have_another_order_and_company(tmp_path):
    path = tmp_path / "decisions.csv"
    lines = [",".join(["ticket", *reversed(COLUMNS)]), "T-1,,2026-07-03,,,open,,,,user07,", ""]
    path.write_bytes(("\ufeff" + "\r\n".join([*lines, ""])).encode())
    ueba.Decisions.append(path, decision(5, note="b"))
    first, second = ueba.Decisions.read(path)
    assert (first.entity, first.status) == ("user07", "open")
    assert (second.id, second.note, second.line) == ("000000000005", "b", 4)


def test_empty_files_have_no_decisions(tmp_path):
    path = tmp_path / "decisions.csv"
    path.touch()
    assert len(ueba.Decisions.read(path)) == 0
    path.write_text(HEADER)
    assert len(ueba.Decisions.read(path)) == 0


def test_files_may_be_added_to_one_another(tmp_path):
    path = tmp_path / "decisions.csv"
    later = LINE.replace("2c5e3193ed71", "4b1a7f43f88e")
    for header in (HEADER, "\ufeff" + HEADER.replace("\n", "\r\n")):
        path.write_bytes((HEADER + LINE + header + later).encode())
        assert [one.id for one in ueba.Decisions.read(path)] == ["2c5e3193ed71", "4b1a7f43f88e"]


def test_later_lines_replace_earlier_ones(tmp_path):
    path = tmp_path / "decisions.csv"
    later = LINE.replace("known-good", "open").replace("09:30", "09:31")
    path.write_text(HEADER + LINE + later)
    decisions = ueba.Decisions.read(path)
    assert [one.status for one in decisions] == ["known-good", "open"]
    assert [one.status for one in decisions.current] == ["open"]
    # Lines without an identifier are about the entity and the features.
    about = [decision(0, id=None, features=names) for names in ((), ("a",), ("b",), ("a",))]
    assert ueba.Decisions(about).current == about[:1] + about[2:]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,entity\n", r"line 1: the column 'time' is missing.*has the columns id,entity,time"),
        (HEADER.replace(",", ";"), "line 1: the column 'id' is missing; its cells seem to be separated by ';'"),
        (HEADER.replace("status", "Status"), "the column 'status' is missing; did you mean 'Status'"),
        (HEADER.replace("note", "who"), "the column 'note' is missing"),
        (HEADER.strip() + ",id\n", "the column 'id' occurs twice"),
        (HEADER + LINE + "a,b\n", "line 3: 2 cells instead of 10"),
        (HEADER + LINE.replace("2026-10-01", "2026-13-01"), "line 2: until is '2026-13-01', but must be"),
        (HEADER + LINE.replace("known-good", "gut"), "line 2: status is 'gut', but must be"),
        (HEADER + LINE + LINE, r"line 3: '2c5e3193ed71 \(user07\)' is decided twice at the same time.*line 2.*remove"),
        (HEADER + LINE + LINE.replace("known-good", "open"), "line 3: .* is decided twice at the same time"),
        (HEADER + LINE + '"open', "line 3: it is not CSV"),
        (HEADER + '"a\nb",c\n', "line 2: 2 cells instead of 10"),
    ],
)
def test_invalid_files_are_refused(tmp_path, content, message):
    path = tmp_path / "decisions.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        ueba.Decisions.read(path)
    assert str(caught.value).startswith(f"{path}, line ")
    assert "\n" not in str(caught.value)
    # Nothing is added to such a file.
    with pytest.raises(ValueError, match=message):
        ueba.Decisions.append(path, decision(1))
    assert path.read_text() == content


def test_other_bytes_are_refused(tmp_path):
    path = tmp_path / "decisions.csv"
    path.write_bytes(HEADER.encode() + b"\xff\n")
    with pytest.raises(ValueError, match="line 2: the text is not UTF-8"):
        ueba.Decisions.read(path)
    with pytest.raises(FileNotFoundError):
        ueba.Decisions.read(tmp_path / "none.csv")


def test_a_line_follows_a_line_without_end(tmp_path):
    path = tmp_path / "decisions.csv"
    path.write_text((HEADER + LINE).rstrip("\n"))
    assert ueba.Decisions.append(str(path), decision(1)) == path
    assert [one.id for one in ueba.Decisions.read(path)] == ["2c5e3193ed71", "000000000001"]
    assert path.read_text().startswith(HEADER + LINE)


def test_the_same_finding_is_decided_twice_within_a_microsecond(tmp_path):
    path = tmp_path / "decisions.csv"
    for status in ("known-good", "open", "confirmed"):
        ueba.Decisions.append(path, decision(1, status=status))
    decisions = ueba.Decisions.read(path)
    assert [one.status for one in decisions.current] == ["confirmed"]
    assert len({one.when for one in decisions}) == 3


def test_texts_that_no_file_holds_are_refused(tmp_path):
    with pytest.raises(ValueError, match="UTF-8 cannot hold"):
        ueba.Decisions.append(tmp_path / "decisions.csv", decision(1, note="\ud800"))
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_processes_lose_no_decision(tmp_path):
    path = tmp_path / "decisions.csv"
    code = """
import datetime, sys
from isoxide import ueba
for number in range(6):
    when = datetime.datetime(2026, 7, 3)
    ueba.Decisions.append(sys.argv[1], ueba.Decision(entity=sys.argv[2], status="open", when=when, note="x" * 3000))
"""
    runs = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in "abc"]
    assert [run.wait(timeout=120) for run in runs] == [0, 0, 0]
    entities = [one.entity for one in ueba.Decisions.read(path)]
    assert {name: entities.count(name) for name in "abc"} == {"a": 6, "b": 6, "c": 6}
