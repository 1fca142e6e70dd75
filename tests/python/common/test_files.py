"""Test that files are written completely or not at all, and that files of others do not change."""

import contextlib
import errno
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from isoxide import IsolationForest, stream, ueba
from isoxide._common import files as files_module
from isoxide._common import locks
from isoxide._common.files import FileSet, clear_leftovers, named_if_full, replace_file

pytestmark = [
    pytest.mark.not_parallel(reason="it starts processes"),
    pytest.mark.current_versions(reason="files do not depend on scikit-learn"),
    pytest.mark.skipif(os.name == "nt", reason="modes, links and signals are those of POSIX"),
]
ROOT_USER = os.geteuid() == 0


def write(text):
    return lambda path: path.write_text(text)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def writers():
    """Return all functions that write one file, by name."""
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(300, 2)), columns=["x", "y"])
    frame = X.assign(actor="a", day=pd.date_range("2025-01-01", periods=300))
    findings = ueba.detect(ueba.read_table(frame, entity="actor", time="day"), contamination=0.02)
    forest = IsolationForest(random_state=0).fit(X)
    return {
        "replace_file": lambda path: replace_file(path, write("new")),
        "save": forest.save,
        "score": lambda path: stream.open(X).write_scores(forest, path),
        "csv": findings.to_csv,
        "parquet": findings.to_parquet,
        "json": findings.to_json,
        "markdown": findings.to_markdown,
        "html": findings.to_html,
    }


@pytest.fixture(scope="module")
def every_writer():
    return writers()


WRITERS = ("replace_file", "save", "score", "csv", "parquet", "json", "markdown", "html")


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.thread_unsafe(reason="it changes the umask of the process")
def test_a_new_file_has_the_mode_of_the_one_that_it_replaces(every_writer, tmp_path, name):
    call, path = every_writer[name], tmp_path / "out.parquet"
    before = os.umask(0o027)
    try:
        call(path)
        assert mode(path) == 0o640
        for expected in (0o600, 0o664, 0o755):
            path.chmod(expected)
            path.write_text("old")
            call(path)
            assert mode(path) == expected
            assert path.read_bytes() != b"old"
    finally:
        os.umask(before)
    assert names(tmp_path) == ["out.parquet"]


@pytest.mark.parametrize("name", WRITERS)
def test_a_symbolic_link_stays_and_its_file_is_replaced(every_writer, tmp_path, name):
    (tmp_path / "real").mkdir()
    (tmp_path / "links").mkdir()
    target, link = tmp_path / "real" / "file.parquet", tmp_path / "links" / "latest.parquet"
    target.write_text("old")
    target.chmod(0o604)
    (tmp_path / "links" / "second").symlink_to("../real/file.parquet")
    link.symlink_to("second")
    every_writer[name](link)
    assert link.is_symlink()
    assert not target.is_symlink()
    assert target.read_bytes() != b"old"
    assert mode(target) == 0o604
    assert names(tmp_path / "real") == ["file.parquet"]
    assert names(tmp_path / "links") == ["latest.parquet", "second"]
    target.unlink()
    every_writer[name](link)
    assert target.is_file()


@pytest.mark.parametrize("name", WRITERS)
def test_folders_pipes_and_circular_links_are_refused_and_stay(every_writer, tmp_path, name):
    call = every_writer[name]
    folder, pipe, loop = (tmp_path / part for part in ("folder.csv", "pipe.parquet", "loop.parquet"))
    folder.mkdir()
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    # `score` writes files into a folder.
    if name != "score":
        with pytest.raises(IsADirectoryError, match=r"folder\.csv"):
            call(folder)
    with pytest.raises(ValueError, match="is not a regular file"):
        call(pipe)
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        call(loop)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        call(tmp_path / "nowhere" / "x.parquet")
    assert names(tmp_path) == ["folder.csv", "loop.parquet", "pipe.parquet"]
    assert stat.S_ISFIFO(pipe.lstat().st_mode)


@contextlib.contextmanager
def as_nobody(*paths):
    """Run as a user without administrator rights who owns the paths."""
    if not ROOT_USER:
        yield
        return
    for path in paths:
        os.chown(path, 65534, 65534, follow_symlinks=False)
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def write_as_nobody(folder):
    """Print the name of each file or folder that cannot be written; `as_nobody` changes the user of the process."""
    import pathlib

    folder = pathlib.Path(folder)
    file = folder / "read_only.txt"
    file.write_text("old")
    file.chmod(0o444)
    closed = folder / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    for parent in [folder, *folder.parents]:
        with contextlib.suppress(PermissionError):
            parent.chmod(parent.stat().st_mode | 0o011)
    with as_nobody(folder, file, closed):
        for call in (lambda: replace_file(file, write("new")), lambda: replace_file(closed / "x", write("new"))):
            try:
                call()
            except PermissionError as error:
                print(error.filename)
        try:
            FileSet(closed).open()
        except PermissionError as error:
            print(error.filename)
    print(file.read_text(), names(folder))


@pytest.mark.slow
@pytest.mark.thread_unsafe(reason="it starts a process")
def test_read_only_files_and_folders_are_refused(tmp_path):
    from new_process import run_in_new_process

    ended = run_in_new_process(write_as_nobody, str(tmp_path))
    assert ended.code == 0, ended.err
    closed = tmp_path / "closed"
    file = tmp_path / "read_only.txt"
    assert ended.out == f"{file}\n{closed}\n{closed}\nold ['closed', 'read_only.txt']\n"


@pytest.mark.skipif(not ROOT_USER, reason="only root may give files away")
def test_a_new_file_has_the_owner_of_the_one_that_it_replaces(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    os.chown(path, 1234, 4321)
    path.chmod(0o640)
    replace_file(path, write("new"))
    status = path.stat()
    assert (status.st_uid, status.st_gid, mode(path)) == (1234, 4321, 0o640)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def fail(temporary):
        temporary.write_text("half")
        # Only the owner may read the temporary file, since the old file may be private.
        assert mode(temporary) == 0o600
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space") as told:
        replace_file(path, fail)
    assert told.value.filename == str(path)
    assert (path.read_text(), names(tmp_path)) == ("old", ["file"])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_errors_about_space_name_what_was_written(tmp_path, number):
    """The outer name holds: a file in a private folder says nothing."""
    with pytest.raises(OSError, match=f"{os.strerror(number)}: '{tmp_path}'$") as told:  # noqa: SIM117
        with named_if_full(tmp_path), named_if_full(tmp_path / "file"):
            raise OSError(number, "Error writing bytes to file", str(tmp_path / "temporary"))
    assert (told.value.errno, told.value.filename) == (number, str(tmp_path))
    # Other errors stay as they are.
    with pytest.raises(PermissionError, match=r"not allowed$"), named_if_full(tmp_path):
        raise PermissionError(errno.EACCES, "not allowed")


# Sets of files


def file_set(folder, contents):
    files = FileSet(folder)
    files.open()
    for name, text in contents.items():
        (files / name).write_text(text)
    return files


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


OLD = dict.fromkeys("abc", "old")
NEW = dict.fromkeys("abcd", "new")


@pytest.fixture
def old(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    for name, text in {**OLD, "notes": "mine"}.items():
        (folder / name).write_text(text)
    return folder


def test_a_set_replaces_files_of_the_same_names(old):
    (old / "a").chmod(0o606)
    files = file_set(old, NEW)
    assert contents_besides_temporary(old) == {**OLD, "notes": "mine"}
    files.put_in_place()
    files.close()
    assert contents(old) == {**NEW, "notes": "mine"}
    assert mode(old / "a") == 0o606
    assert files.in_place
    assert files.paths == [old / name for name in "abcd"]


def contents_besides_temporary(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if not path.name.startswith(".isoxide-")}


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("links", [True, False])
@pytest.mark.thread_unsafe(reason="os is patched")
def test_a_set_that_cannot_be_moved_leaves_the_old_files(old, monkeypatch, number, error, links):
    # The error occurs before or after each move: of the plan first, then of each file.
    real = os.replace
    for after in (False, True):
        files, calls = file_set(old, NEW), []

        def replace(source, target, after=after, calls=calls):
            calls.append(target)
            if len(calls) == number + 1:
                if after:
                    real(source, target)
                raise error
            real(source, target)

        monkeypatch.setattr(os, "replace", replace)
        if not links:
            monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError(errno.EPERM, "no links")))
        with pytest.raises(type(error)):
            files.put_in_place()
        monkeypatch.undo()
        files.close()
        assert contents(old) == {**OLD, "notes": "mine"}
        assert not files.in_place


@pytest.mark.parametrize("name", "ac")
def test_a_set_does_not_replace_a_folder_or_a_pipe(old, name):
    for make in (lambda path: path.mkdir(), os.mkfifo):
        path = old / name
        path.unlink()
        make(path)
        files = file_set(old, NEW)
        with pytest.raises((IsADirectoryError, ValueError), match=rf"{path}"):
            files.put_in_place()
        files.close()
        assert names(old) == ["a", "b", "c", "notes"]
        assert {(old / other).read_text() for other in "abc" if other != name} == {"old"}
        path.rmdir() if path.is_dir() else path.unlink()
        path.write_text("old")


def test_a_set_replaces_the_file_of_a_link_and_leaves_the_link(old, tmp_path):
    target = tmp_path / "elsewhere"
    target.write_text("old")
    (old / "a").unlink()
    (old / "a").symlink_to(target)
    files = file_set(old, NEW)
    files.put_in_place()
    files.close()
    assert (old / "a").is_symlink()
    assert target.read_text() == "new"


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs a second file system")
def test_a_link_to_another_file_system_is_refused(old):
    import tempfile

    if os.stat("/dev/shm").st_dev == old.stat().st_dev:
        pytest.skip("it is the same file system")
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        (old / "c").unlink()
        (old / "c").symlink_to(file.name)
        files = file_set(old, NEW)
        with pytest.raises(OSError, match="symbolic link to another file system"):
            files.put_in_place()
        files.close()
        assert contents(old) == {**OLD, "c": "", "notes": "mine"}


def test_a_set_that_is_given_up_removes_only_empty_folders_that_it_made(tmp_path):
    folder = tmp_path / "parent" / "folder" / "new"
    files = file_set(folder, NEW)
    files.close()
    assert names(tmp_path) == []
    files = file_set(folder, NEW)
    (folder.parent / "notes").write_text("mine")
    (folder / "results").write_text("mine")
    files.close()
    assert contents(folder) == {"results": "mine"}
    assert (folder.parent / "notes").read_text() == "mine"
    (folder / "results").unlink()
    files = file_set(folder, NEW)
    files.close()
    # The folder existed before this set.
    assert folder.is_dir()


def test_the_folder_of_a_set_may_be_a_link_but_no_file(tmp_path):
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        files = FileSet(folder)
        with pytest.raises(NotADirectoryError, match="file"):
            files.open()
        files.close()
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    files = file_set(tmp_path / "link", NEW)
    files.put_in_place()
    files.close()
    assert contents(tmp_path / "real") == NEW
    assert (tmp_path / "link").is_symlink()
    (tmp_path / "dangling").symlink_to("nothing")
    files = FileSet(tmp_path / "dangling")
    with pytest.raises(FileNotFoundError, match="dangling"):
        files.open()
    files.close()
    assert names(tmp_path) == ["dangling", "file", "link", "real"]


# Processes that are killed

SCRIPT_THAT_IS_KILLED = """
import os, pathlib, signal, sys
from isoxide._common import files as files_module
folder, number = pathlib.Path(sys.argv[1]), int(sys.argv[2])
if number < 0:
    write = lambda path: (path.write_text("half"), os.kill(os.getpid(), signal.SIGKILL))
    files_module.replace_file(folder / "a", write)
files = files_module.FileSet(folder)
files.open()
for name in "abcd":
    (files / name).write_text("new")
real = os.replace
def replace(source, target):
    global number
    if number == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    number -= 1
    real(source, target)
os.replace = replace
files.put_in_place()
os.kill(os.getpid(), signal.SIGKILL)
"""


def run_and_kill(folder, number):
    """Run a process that kills itself at the given step, and return the temporary files and folders that it leaves."""
    command = [sys.executable, "-c", SCRIPT_THAT_IS_KILLED, str(folder), str(number)]
    process = subprocess.run(command, capture_output=True, check=False)
    assert process.returncode == -signal.SIGKILL, process.stderr
    return [path for path in folder.iterdir() if path.name.startswith(".isoxide-")]


@pytest.mark.parametrize("number", [-1, 0, 1, 2, 4, 5])
def test_the_next_process_cleans_up_after_a_killed_one(old, number):
    # Killed while it writes (-1), before or after the plan is written (0, 1), between moves (2, 4), or at the end (5).
    assert len(run_and_kill(old, number)) == 1
    (old / "b").touch() if number <= 1 else None
    clear_leftovers(old)
    # Once the plan is written, all files are complete, and are moved now, but not over `b`, which changed since.
    expected = OLD if number < 1 else {**NEW, "b": "old"} if number == 1 else NEW
    assert contents(old) == {**expected, "notes": "mine"}


def test_the_set_of_a_killed_process_is_moved_before_the_next_set(old):
    files = file_set(old, dict.fromkeys("abc", "newer"))
    assert len(run_and_kill(old, 3)) == 2
    files.put_in_place()
    files.close()
    assert contents(old) == {**dict.fromkeys("abc", "newer"), "d": "new", "notes": "mine"}


def test_files_of_running_processes_and_of_others_stay(old):
    running = file_set(old, NEW)
    # These names begin like those of temporary files of isoxide, or equal them, but isoxide did not make them.
    (old / ".isoxide-notes").write_text("mine")
    (old / ".isoxide-0123456789abcdef").mkdir()
    (old / ".isoxide-0123456789abcdef" / "notes").write_text("mine")
    (old / ".isoxide-0123456789abcdee").symlink_to("notes")
    (old / ".isoxide-0123456789abcded.part").mkdir()
    (old / ".isoxide-0123456789abcded.part" / "notes").write_text("mine")
    before = names(old)

    def write_and_check(path):
        path.write_text("new")
        clear_leftovers(old)
        assert names(old) == sorted([*before, path.name])

    replace_file(old / "a", write_and_check)
    assert names(old) == before
    running.put_in_place()
    running.close()
    assert len(names(old)) == len(before)
    if ROOT_USER:
        of_another_user = old / ".isoxide-0123456789abcdec.part"
        of_another_user.write_text("mine")
        os.chown(of_another_user, 1234, 1234)
        clear_leftovers(old)
        assert of_another_user.exists()


@pytest.mark.parametrize("plan", ["[" * 100_000, "{}", "7", '[["../outside", null]]', '[["a", [1, 2, 3]]]', "nul"])
def test_a_manipulated_plan_moves_nothing(old, plan):
    [leftover] = run_and_kill(old, 1)
    (leftover / "plan.json").write_text(plan)
    clear_leftovers(old)
    assert contents(old) == {**OLD, "notes": "mine"}
    assert names(old.parent) == ["out"]


def write_repeatedly(folder, text, n):
    for _ in range(n):
        files = file_set(folder, dict.fromkeys("abc", text))
        try:
            files.put_in_place()
        finally:
            files.close()


@pytest.mark.slow
@pytest.mark.thread_unsafe(reason="it starts processes")
def test_sets_of_simultaneous_processes_do_not_mix(tmp_path):
    folder = tmp_path / "new" / "out"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=write_repeatedly, args=(folder, text, 60)) for text in ("one", "two", "three")]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert contents(folder) in [dict.fromkeys("abc", text) for text in ("one", "two", "three")]


@pytest.mark.thread_unsafe(reason="a constant is patched")
def test_waiting_for_a_locked_folder_has_a_limit(old, monkeypatch):
    monkeypatch.setattr(locks, "_TIMEOUT", 0.1)
    files = file_set(old, NEW)
    began = time.monotonic()
    with files_module._locked_folder(old), pytest.raises(OSError, match="another run is moving its files there"):
        files.put_in_place()
    assert time.monotonic() - began < 5
    files.close()
    assert contents(old) == {**OLD, "notes": "mine"}
