"""Run test functions in a new Python process, so that a hang is a failure and the output of a crash is kept."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from seeds import SEED

HELPERS = pathlib.Path(__file__).parent
#: Python 3.12 and newer warn about every fork of a process with threads. The tests show that these forks work.
WARNINGS = ("-W", "error", "-W", "ignore:This process:DeprecationWarning")
#: With these settings, the C library returns freed memory to the system, and has no second heap.
MALLOC_SETTINGS = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "MALLOC_TOP_PAD_": "0",
}


class Ended(NamedTuple):
    """Exit code of a process that has ended (minus the signal that ended it, if any), and its output."""

    code: int
    out: str
    err: str


def run_in_new_process(function: Callable[..., Any], *args: Any, timeout: float = 120, **environment: str) -> Ended:
    """Run a function of a test module in a new process; its arguments must be literals."""
    file = pathlib.Path(function.__code__.co_filename)
    module = file.stem
    arguments = "".join(f"{arg!r}, " for arg in args)
    code = f"import {module}\n{module}.{function.__name__}({arguments})"
    path = os.pathsep.join([str(HELPERS), str(file.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, *WARNINGS, "-X", "faulthandler", "-c", code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "ISOXIDE_TEST_SEED": str(SEED), **environment},
        # The process starts a process group, so that its children are killed with it: one of them may be what hangs.
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        _kill_group(process.pid)
        out, err = process.communicate()
        raise AssertionError(f"{function.__name__}{args} hangs\n{out}\n{err}") from None
    except BaseException:
        _kill_group(process.pid)
        raise
    return Ended(process.returncode, out, err)


def _kill_group(process: int) -> None:
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
    else:
        os.kill(process, signal.SIGTERM)


def assert_silent(ended: Ended) -> None:
    assert ended == (0, "", "")


def run_in_fork(function: Callable[..., Any], *args: Any) -> int:
    """Fork a child that runs a function, and return its id. It exits with 0, or with 1 and a traceback on stderr."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        function(*args)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def exit_code(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def pool_threads() -> int | None:
    """Return the number of threads of isoxide's pool in this process; None if the system does not list threads."""
    tasks = pathlib.Path("/proc/self/task")
    if not tasks.is_dir():
        return None
    names = []
    for task in tasks.iterdir():
        # A thread may end before its name is read.
        with contextlib.suppress(OSError):
            names.append((task / "comm").read_text())
    return sum(name.startswith("isoxide-") for name in names)
