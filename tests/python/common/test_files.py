"""Files are written completely or not at all, and files of others are left alone."""

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
from isoxide._common.files import FileSet, clear_leftovers, replace_file

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
@pytest.mark.thread_unsafe(reason="the umask is the process's")
def test_the_mode_is_that_of_the_file_that_is_replaced(every_writer, tmp_path, name):
    call, path = every_writer[name], tmp_path / "out.parquet"
    before = os.umask(0o027)
    try:
        call(path)
        assert mode(path) == 0o640
        for kept in (0o600, 0o664, 0o755):
            path.chmod(kept)
            path.write_text("old")
            call(path)
            assert mode(path) == kept
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
def test_what_cannot_be_replaced_is_refused_and_stays(every_writer, tmp_path, name):
    call = every_writer[name]
    folder, pipe, loop = (tmp_path / part for part in ("folder.csv", "pipe.parquet", "loop.parquet"))
    folder.mkdir()
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    # A folder is where `score` puts parts.
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
    """Run as a user without all rights, who owns the paths."""
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


def refuse_as_nobody(folder):
    """Run in another process, since the user is that of the whole process."""
    import pathlib

    folder = pathlib.Path(folder)
    file = folder / "kept.txt"
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
@pytest.mark.thread_unsafe(reason="another process")
def test_read_only_files_and_folders_are_refused(tmp_path):
    from new_process import run_in_new_process

    ended = run_in_new_process(refuse_as_nobody, str(tmp_path))
    assert ended.code == 0, ended.err
    closed = tmp_path / "closed"
    assert ended.out == f"{tmp_path / 'kept.txt'}\n{closed}\n{closed}\nold ['closed', 'kept.txt']\n"


@pytest.mark.skipif(not ROOT_USER, reason="only root may give files away")
def test_the_owner_is_kept_where_the_system_allows_it(tmp_path):
    path = tmp_path / "theirs"
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
        # Nobody but the owner reads what replaces a file that may be private.
        assert mode(temporary) == 0o600
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space"):
        replace_file(path, fail)
    assert (path.read_text(), names(tmp_path)) == ("old", ["file"])


# Several files.


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


def test_a_set_is_put_in_place(old):
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
def test_a_set_that_cannot_be_moved_leaves_the_old_one(old, monkeypatch, number, error, links):
    """Fail before and after each move: of the plan first, then of each file."""
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
def test_a_folder_or_a_pipe_in_the_way_of_a_set(old, name):
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


def test_links_in_a_folder_stay(old, tmp_path):
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


def test_only_empty_folders_are_removed(tmp_path):
    folder = tmp_path / "some" / "where" / "new"
    files = file_set(folder, NEW)
    files.close()
    assert names(tmp_path) == []
    files = file_set(folder, NEW)
    (folder.parent / "notes").write_text("somebody's")
    (folder / "results of another").write_text("theirs")
    files.close()
    assert contents(folder) == {"results of another": "theirs"}
    assert (folder.parent / "notes").read_text() == "somebody's"
    (folder / "results of another").unlink()
    files = file_set(folder, NEW)
    files.close()
    # It was there before.
    assert folder.is_dir()


def test_a_folder_that_is_a_file_or_a_link(tmp_path):
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


# Runs that were killed.

KILLED = """
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


def killed(folder, number):
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(number)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return [path for path in folder.iterdir() if path.name.startswith(".isoxide-")]


@pytest.mark.parametrize("number", [-1, 0, 1, 2, 4, 5])
def test_the_next_run_removes_the_files_of_a_killed_run(old, number):
    """Kill a run while it writes, before and after it has its plan, in the middle of the moves, and after the last."""
    assert len(killed(old, number)) == 1
    (old / "b").touch() if number <= 1 else None
    clear_leftovers(old)
    # With a plan everything was ready, and is moved; `b` is somebody else's by now where it was touched.
    expected = OLD if number < 1 else {**NEW, "b": "old"} if number == 1 else NEW
    assert contents(old) == {**expected, "notes": "mine"}


def test_a_killed_run_is_finished_before_the_next_set_is_put_in_place(old):
    files = file_set(old, dict.fromkeys("abc", "newer"))
    assert len(killed(old, 3)) == 2
    files.put_in_place()
    files.close()
    assert contents(old) == {**dict.fromkeys("abc", "newer"), "d": "new", "notes": "mine"}


def test_files_of_running_ones_and_of_others_stay(old):
    running = file_set(old, NEW)
    # What only looks like ours.
    (old / ".isoxide-notes").write_text("mine")
    (old / ".isoxide-0123456789abcdef").mkdir()
    (old / ".isoxide-0123456789abcdef" / "notes").write_text("mine")
    (old / ".isoxide-0123456789abcdee").symlink_to("notes")
    (old / ".isoxide-0123456789abcded.part").mkdir()
    (old / ".isoxide-0123456789abcded.part" / "notes").write_text("mine")
    before = names(old)

    def write_and_look(path):
        path.write_text("new")
        clear_leftovers(old)
        assert names(old) == sorted([*before, path.name])

    replace_file(old / "a", write_and_look)
    assert names(old) == before
    running.put_in_place()
    running.close()
    assert len(names(old)) == len(before)
    if ROOT_USER:
        theirs = old / ".isoxide-0123456789abcdec.part"
        theirs.write_text("of another user")
        os.chown(theirs, 1234, 1234)
        clear_leftovers(old)
        assert theirs.exists()


@pytest.mark.parametrize("plan", ["[" * 100_000, "{}", "7", '[["../outside", null]]', '[["a", [1, 2, 3]]]', "nul"])
def test_a_plan_that_was_tampered_with(old, plan):
    [left] = killed(old, 1)
    (left / "plan.json").write_text(plan)
    clear_leftovers(old)
    assert contents(old) == {**OLD, "notes": "mine"}
    assert names(old.parent) == ["out"]


def put_often(folder, text, n):
    for _ in range(n):
        files = file_set(folder, dict.fromkeys("abc", text))
        try:
            files.put_in_place()
        finally:
            files.close()


@pytest.mark.slow
@pytest.mark.thread_unsafe(reason="processes")
def test_sets_of_runs_at_the_same_time_do_not_mix(tmp_path):
    folder = tmp_path / "new" / "out"
    context = multiprocessing.get_context("spawn")
    runs = [context.Process(target=put_often, args=(folder, text, 60)) for text in ("one", "two", "three")]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
        assert run.exitcode == 0
    assert contents(folder) in [dict.fromkeys("abc", text) for text in ("one", "two", "three")]


@pytest.mark.thread_unsafe(reason="_files is patched")
def test_a_run_that_keeps_the_folder_locked_is_not_waited_for_forever(old, monkeypatch):
    monkeypatch.setattr(files_module, "_LOCK_TIMEOUT", 0.1)
    files = file_set(old, NEW)
    began = time.monotonic()
    with files_module._locked_folder(old), pytest.raises(OSError, match="another run is moving its files there"):
        files.put_in_place()
    assert time.monotonic() - began < 5
    files.close()
    assert contents(old) == {**OLD, "notes": "mine"}
