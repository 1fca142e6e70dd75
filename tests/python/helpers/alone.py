"""Run functions in another Python process: a hang becomes a failure, and all output is kept, even after a crash."""

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

HERE = pathlib.Path(__file__).parent
#: Python 3.12 and newer warn about every fork of a process with threads. The tests show that these forks work.
WARNINGS = ("-W", "error", "-W", "ignore:This process:DeprecationWarning")


class Ended(NamedTuple):
    """The exit code of a process (minus the signal that ended it, if any) and its output."""

    code: int
    out: str
    err: str


def alone(scene: Callable[..., Any], *args: Any, timeout: float = 120, **environment: str) -> Ended:
    """Run a function of a test module in a new process; its arguments must be literals."""
    file = pathlib.Path(scene.__code__.co_filename)
    module = file.stem
    arguments = "".join(f"{arg!r}, " for arg in args)
    code = f"import {module}\n{module}.{scene.__name__}({arguments})"
    path = os.pathsep.join([str(HERE), str(file.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, *WARNINGS, "-X", "faulthandler", "-c", code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "ISOXIDE_TEST_SEED": str(SEED), **environment},
        # The process starts a group, so that its children, one of which may be what hangs, are killed with it.
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        _kill_group(process.pid)
        out, err = process.communicate()
        raise AssertionError(f"{scene.__name__}{args} hangs\n{out}\n{err}") from None
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


def forked(job: Callable[..., Any], *args: Any) -> int:
    """Fork a child that runs a job, and return its id. It exits with 0, or with 1 and its traceback on stderr."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        job(*args)
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
