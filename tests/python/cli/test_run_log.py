"""The log of runs: its chain, and what verification finds."""

import hashlib
import json
import os

import pytest

from isoxide._cli._run_log import file_facts, locked_log, read_log, verify_log

pytestmark = pytest.mark.current_versions(reason="the command does not depend on scikit-learn")


def add(log, **facts):
    with locked_log(log) as entry:
        entry.add(facts)


@pytest.fixture
def log(tmp_path):
    """Return a log of four runs with two files each; the last run replaces a file of the first."""
    path = tmp_path / "runs.jsonl"
    for number in range(4):
        names = [tmp_path / "out" / f"a{number % 3}", tmp_path / "out" / f"b{number}"]
        (tmp_path / "out").mkdir(exist_ok=True)
        for name in names:
            name.write_text(f"{number} {name.name}\n")
        add(path, command="detect", number=number, outputs=[file_facts(name, name, path) for name in names])
    return path


def test_lines_are_chained(log):
    *lines, end = read_log(log)
    assert (len(lines), end) == (4, b"")
    documents = [json.loads(line) for line in lines]
    assert [document["number"] for document in documents] == [0, 1, 2, 3]
    digests = [hashlib.sha256(line).hexdigest() for line in lines]
    assert [document["previous"] for document in documents] == [None, *digests[:-1]]
    assert [document["outputs"][0]["path"] for document in documents] == ["out/a0", "out/a1", "out/a2", "out/a0"]
    verified = verify_log(log)
    assert verified == (4, digests[-1], [], 7, [])
    assert verify_log(log, expected=digests[1][:8]).problems == []


def test_one_changed_byte_is_found_wherever_it_is(log):
    data = log.read_bytes()
    for position in range(0, len(data), 11):
        changed = bytearray(data)
        changed[position] ^= 1
        log.write_bytes(changed)
        if position == 0:
            with pytest.raises(ValueError, match="is not a log of isoxide"):
                verify_log(log)
            continue
        problems = verify_log(log).problems
        line = data.count(b"\n", 0, position) + 1
        assert problems, position
        assert any(f"line {line} " in problem for problem in problems), (position, problems)


def test_missing_moved_and_repeated_lines_are_found(log):
    *lines, _ = read_log(log)
    last = hashlib.sha256(lines[-1]).hexdigest()
    for order, message in (
        ([1, 2, 3], "a line before line 1 is missing"),
        ([0, 2, 3], "a line before line 2 is missing"),
        ([0, 2, 1, 3], "line 3 follows line 1, so lines were moved or are missing"),
        ([0, 1, 1, 2, 3], "line 3 follows line 1, so lines were moved or are missing"),
    ):
        log.write_bytes(b"".join(lines[n] + b"\n" for n in order))
        assert message in verify_log(log).problems
    # Only a hash that is kept elsewhere shows that the last line is missing.
    log.write_bytes(b"".join(line + b"\n" for line in lines[:3]))
    (log.parent / "out" / "a0").write_text("0 a0\n")
    assert verify_log(log).problems == []
    assert verify_log(log, expected=last).problems == [
        f"no line has the hash {last}, so lines at the end are missing, or were changed"
    ]
    log.write_bytes(b"\n".join(lines))
    assert verify_log(log).problems[0] == "line 4 is not complete"


def test_changed_files_are_found(log):
    (log.parent / "out" / "b1").write_text("1 b2\n")
    assert verify_log(log).problems == ["the file out/b1 was changed after the run of line 2"]
    (log.parent / "out" / "b1").unlink()
    assert verify_log(log)[2:] == ([], 6, ["out/b1"])
    (log.parent / "out" / "a0").write_text("0 a0\n")
    assert verify_log(log).problems == ["the file out/a0 was changed after the run of line 4"]


def test_bytes_may_be_added_to_some_files(tmp_path):
    log, file = tmp_path / "runs.jsonl", tmp_path / "decisions.csv"
    file.write_text("a\n")
    add(log, outputs=[file_facts(file, file, log, appended=True)])
    file.write_text("a\nb\n")
    assert verify_log(log).problems == []
    file.write_text("c\nb\n")
    assert verify_log(log).problems == ["the file decisions.csv was changed after the run of line 1"]


def test_files_outside_the_folder_of_the_log_have_absolute_paths(tmp_path):
    file = tmp_path / "a" / "x"
    file.parent.mkdir()
    file.write_text("x")
    (tmp_path / "logs").mkdir()
    assert file_facts(file, file, tmp_path / "logs" / "runs.jsonl")["path"] == str(file)


def fail(log):
    with locked_log(log) as entry:
        entry.add({"command": "detect"})
        raise KeyError


def test_a_line_is_removed_if_its_run_fails(log):
    data = log.read_bytes()
    with pytest.raises(KeyError):
        fail(log)
    assert log.read_bytes() == data
    with pytest.raises(KeyError):
        fail(log.parent / "new.jsonl")
    assert not (log.parent / "new.jsonl").exists()


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "findings.csv"
    path.write_text("a,b\n")
    with pytest.raises(ValueError, match="is not a log of isoxide; choose another file with --log"):
        add(path)
    with pytest.raises(ValueError, match="is not a log of isoxide; give the runs"):
        verify_log(path)
    assert path.read_text() == "a,b\n"
    with pytest.raises(FileNotFoundError):
        verify_log(tmp_path / "none")
    assert os.listdir(tmp_path) == ["findings.csv"]


def test_a_line_follows_a_damaged_one(log):
    data = log.read_bytes()
    log.write_bytes(data[:-20])
    add(log, command="train")
    verified = verify_log(log)
    # The files of the damaged line are not known.
    assert verified.problems == ["line 4 was changed", "the file out/a0 was changed after the run of line 1"]
    assert verified.n_lines == 5
    assert sorted(os.listdir(log.parent)) == ["out", "runs.jsonl"]


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ({"path": "out/a0", "bytes": -1, "sha256": "0", "appended": True}, "line 5 was changed"),
        ({"path": "a" * 5000, "bytes": 1, "sha256": "0"}, "of line 5 cannot be read: File name too long"),
    ],
)
def test_invented_files_are_problems_of_their_line(log, output, problem):
    add(log, command="detect", outputs=[output])
    problems = verify_log(log).problems
    assert len(problems) == 1
    assert problem in problems[0]
    assert len(problems[0]) < 300
