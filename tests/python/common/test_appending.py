"""Bytes are added to files whole or not at all, also by several processes at once."""

import os
import subprocess
import sys

import pytest

from isoxide._common.appending import append_bytes, locked_file

pytestmark = pytest.mark.not_parallel(reason="it has processes of its own")


def add(path, data):
    with locked_file(path) as file:
        append_bytes(file, data, str(path))


def test_bytes_are_added_at_the_end(tmp_path):
    path = tmp_path / "log"
    add(path, b"a\n")
    with locked_file(path) as file:
        assert file.read() == b"a\n"
        append_bytes(file, b"b\n", str(path))
    assert path.read_bytes() == b"a\nb\n"


def test_an_empty_file_that_was_created_is_removed(tmp_path):
    with locked_file(tmp_path / "log"):
        pass
    assert os.listdir(tmp_path) == []
    (tmp_path / "log").touch()
    with locked_file(tmp_path / "log"):
        pass
    assert os.listdir(tmp_path) == ["log"]


def test_folders_and_pipes_are_refused(tmp_path):
    with pytest.raises(IsADirectoryError), locked_file(tmp_path):
        pass
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="not a regular file"), locked_file(tmp_path / "pipe"):
        pass


@pytest.mark.skipif(os.name != "posix", reason="limits of file sizes are those of POSIX")
def test_a_full_disk_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "log"
    add(path, b"whole line\n")
    # The limit lets the first bytes of the second line through.
    code = """
import resource, signal, sys
from isoxide._common.appending import append_bytes, locked_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (15, 15))
with locked_file(sys.argv[1]) as file:
    append_bytes(file, b"second line" * 3, sys.argv[1])
"""
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "nothing was added: " in done.stderr
    assert path.read_bytes() == b"whole line\n"


def test_processes_take_turns(tmp_path):
    path = tmp_path / "log"
    code = """
import sys
from isoxide._common.appending import append_bytes, locked_file
for number in range(40):
    with locked_file(sys.argv[1]) as file:
        n_lines = file.read().count(b"\\n")
        append_bytes(file, f"{n_lines} {sys.argv[2]} {number}\\n".encode(), sys.argv[1])
"""
    runs = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in "abc"]
    assert [run.wait(timeout=60) for run in runs] == [0, 0, 0]
    lines = [line.split() for line in path.read_text().splitlines()]
    # Each process saw all lines before its own.
    assert [int(line[0]) for line in lines] == list(range(120))
    for name in "abc":
        assert [int(line[2]) for line in lines if line[1] == name] == list(range(40))
