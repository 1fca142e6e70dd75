"""Test that a signal ends the command with one line on stderr and its exit code, and leaves no incomplete file."""

import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from command import NAMES, STEM, contents, isoxide
from isoxide import ueba
from ueba_tables import actor_days

pytestmark = [
    pytest.mark.not_parallel(reason="it runs the command in other processes"),
    pytest.mark.current_versions(reason="the command does not depend on scikit-learn"),
    pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no POSIX signals"),
]

#: A script that runs the command as `python -m isoxide` does, and sends itself a signal at a given moment: when a
#: module is imported, before or after the n-th move of a result file, or in a function.
SCRIPT = """
import importlib.abc, os, runpy, signal, sys

moment, name = sys.argv[1].split(":")
number = getattr(signal, sys.argv[2])
sys.argv[:3] = ["isoxide"]

def send():
    os.kill(os.getpid(), number)

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, module, path, target=None):
        if module == name:
            sys.meta_path.remove(self)
            send()

if moment == "import":
    sys.meta_path.insert(0, Finder())
elif moment in ("before", "after"):
    os_replace, n_left = os.replace, int(name)
    def replace(source, target):
        global n_left
        # Results are moved out of the folder "new". Files that end with .part are temporary.
        is_result = os.path.basename(os.path.dirname(source)) == "new" and not str(source).endswith(".part")
        n_left -= is_result
        if is_result and n_left == 0 and moment == "before":
            send()
        os_replace(source, target)
        if is_result and n_left == 0 and moment == "after":
            send()
    os.replace = replace
elif moment == "writing":
    from isoxide.ueba import _files
    def write_csv(frame, file):
        with open(file, "w") as stream:
            stream.write("half")
        send()
        while True:
            pass
    _files.write_csv = write_csv
elif moment == "swallowed":
    from isoxide import ueba
    detect = ueba.detect
    def detect_despite_the_signal(*args, **options):
        try:
            send()
            while True:
                pass
        except KeyboardInterrupt:
            pass
        return detect(*args, **options)
    ueba.detect = detect_despite_the_signal
elif moment == "converted":
    from isoxide import ueba
    def raise_another_error(*args, **options):
        try:
            send()
            while True:
                pass
        except KeyboardInterrupt:
            raise ValueError("a library raises its own error instead")
    ueba.detect = raise_another_error
runpy.run_module("isoxide", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def table(seed, tmp_path_factory):
    path = tmp_path_factory.mktemp("signals") / "features.csv"
    actor_days(seed, n_days=20).to_csv(path, index=False)
    return path


def run_with_signal(moment, name, *arguments, **options):
    """Run the command, which sends itself the signal `name` at a moment."""
    command = [sys.executable, "-c", SCRIPT, moment, name, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **options)


CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}
MESSAGES = {"SIGINT": "interrupted", "SIGTERM": "ended by SIGTERM", "SIGHUP": "ended by SIGHUP"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "name"),
    [
        ("import:argparse", "SIGINT"),
        ("import:numpy", "SIGINT"),
        ("import:isoxide._core", "SIGINT"),
        ("import:pandas", "SIGTERM"),
        ("import:pyarrow.parquet", "SIGHUP"),
        # These moments are in the middle of the work.
        ("import:isoxide.ueba._page", "SIGTERM"),
        ("swallowed:", "SIGINT"),
        ("converted:", "SIGHUP"),
    ],
)
def test_a_signal_before_the_results_are_moved_leaves_no_file(table, tmp_path, moment, name):
    done = run_with_signal(moment, name, "detect", table, *NAMES, "--out", tmp_path / "out")
    assert (done.returncode, done.stdout) == (CODES[name], "")
    assert done.stderr == f"isoxide: error: {MESSAGES[name]}; nothing was written\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "name"), [("before:1", "SIGINT"), ("before:4", "SIGHUP"), ("after:6", "SIGTERM")])
def test_a_signal_while_the_results_are_moved_takes_effect_afterwards(table, tmp_path, moment, name):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes").write_text("mine")
    done = run_with_signal(moment, name, "detect", table, *NAMES, "--out", out)
    assert (done.returncode, done.stdout) == (CODES[name], "")
    assert done.stderr == f"isoxide: error: {MESSAGES[name]}; all results are in {out}\n"
    assert len(list(out.iterdir())) == 7
    assert len(ueba.read_findings(next(out.glob("*.json")))) == len(pd.read_csv(next(out.glob("*.csv"))))


@pytest.mark.slow
def test_the_next_run_completes_or_removes_the_files_of_a_killed_run(table, tmp_path):
    out = tmp_path / "out"
    for moment, n_left in (("import:isoxide.ueba._page", 0), ("after:3", 3)):
        done = run_with_signal(moment, "SIGKILL", "detect", table, *NAMES, "--out", out)
        assert (done.returncode, done.stderr) == (-signal.SIGKILL, "")
        names = sorted(path.name for path in out.iterdir())
        assert [name.startswith(".isoxide-") for name in names] == [True] + [False] * n_left
    # The next run moves the remaining files of the killed run into the folder, then its own two pages.
    done = isoxide("report", out / f"findings-{STEM[:10]}-to-2025-02-08.json", "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    names = sorted(path.name for path in out.iterdir())
    assert len(names) == 6
    assert not [name for name in names if name.startswith(".")]


@pytest.mark.slow
def test_a_command_under_nohup_ignores_sighup(table, tmp_path):
    done = run_with_signal("import:isoxide.ueba._page", "SIGHUP", "detect", table, *NAMES, "--out", tmp_path / "out",
                  preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list((tmp_path / "out").iterdir())) == 6


def test_the_script_runs_the_command_without_a_signal(tmp_path):
    done = run_with_signal("import:nothing", "SIGINT", "--help")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_a_signal_while_a_pipe_is_read_leaves_only_the_files_of_other_programs(tmp_path):
    """The pipe never ends, as on a very slow disk. Another program writes a file into the output folder meanwhile."""
    pipe, out = tmp_path / "features.csv", tmp_path / "out"
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "isoxide", "detect", str(pipe), *NAMES, "--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while True:
        try:
            writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            break
        except OSError:
            # The command has not opened the pipe yet.
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
    os.write(writer, b"actor,day,x\n")
    (out / "notes").write_text("of another program")
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    os.close(writer)
    assert process.returncode == 130
    assert errors == "isoxide: error: interrupted; nothing was written\n"
    assert contents(out) == {"notes": b"of another program"}


@pytest.mark.slow
def test_a_signal_while_scores_are_written_keeps_the_old_file(table, tmp_path):
    done = isoxide("detect", table, *NAMES, "--out", tmp_path / "out")
    assert done.returncode == 0
    [model] = (tmp_path / "out").glob("*.safetensors")
    scores = tmp_path / "scores.csv"
    scores.write_text("old")
    done = run_with_signal("writing:", "SIGTERM", "score", model, table, "--out", scores)
    assert (done.returncode, done.stderr) == (143, "isoxide: error: ended by SIGTERM; nothing was written\n")
    assert scores.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["out", "scores.csv"]
