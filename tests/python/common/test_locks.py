"""Test locks on files: a second process waits, gives up with the message, or goes on without locks."""

import errno
import os
import threading
import time

import pytest

from isoxide._common import locks

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no locks on open files")


@pytest.fixture
def open_twice(tmp_path):
    """Return the path of a file, and two descriptors of it, whose locks exclude each other."""
    path = tmp_path / "file"
    path.touch()
    descriptors = [os.open(path, os.O_RDWR) for _ in range(2)]
    yield path, *descriptors
    for descriptor in descriptors:
        os.close(descriptor)


def test_a_kept_lock_is_refused_with_the_message(open_twice, monkeypatch):
    path, first, second = open_twice
    monkeypatch.setattr(locks, "_TIMEOUT", 0.05)
    locks.lock(first, path, "unused")
    with pytest.raises(OSError, match="somebody has it; retry") as error:
        locks.lock(second, path, "somebody has it; retry")
    assert (error.value.errno, error.value.filename) == (errno.EAGAIN, str(path))


def test_a_lock_is_waited_for(open_twice):
    path, first, second = open_twice
    locks.lock(first, path, "unused")
    keeper = os.dup(second)
    done = threading.Event()

    def wait():
        locks.lock(keeper, path, "kept too long")
        done.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.05)
    assert not done.is_set()
    locks.fcntl.flock(first, locks.fcntl.LOCK_UN)
    waiting.join()
    assert done.is_set()
    os.close(keeper)


def test_file_systems_without_locks_are_no_error(open_twice, monkeypatch):
    path, first, _ = open_twice

    def refuse(descriptor, flags):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    locks.lock(first, path, "unused")
    monkeypatch.setattr(locks, "fcntl", None)
    locks.lock(first, path, "unused")
