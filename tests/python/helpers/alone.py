"""Scenes in a Python process of their own: a hang is a failure, a crash ends nothing else, and every word is seen."""

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
#: From Python 3.12 on every fork of a process with threads is warned of; that it works is what is tested here.
WARNINGS = ("-W", "error", "-W", "ignore:This process:DeprecationWarning")


class Ended(NamedTuple):
    """How a process ended: its exit code, or minus the signal that ended it, and what it said."""

    code: int
    out: str
    err: str


def alone(scene: Callable[..., Any], *args: Any, timeout: float = 120, **environment: str) -> Ended:
    """Runs a function of a test module in a process of its own; its arguments must be literals."""
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
        # A group of its own: where it hangs, its children are ended with it, which may be what hangs.
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
    """A child made by fork: it does the job and ends with 0, or with 1 and its traceback on stderr."""
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
    """How many threads of isoxide's pool this process has; None where the system does not tell."""
    tasks = pathlib.Path("/proc/self/task")
    if not tasks.is_dir():
        return None
    names = []
    for task in tasks.iterdir():
        # A thread may end while it is looked at.
        with contextlib.suppress(OSError):
            names.append((task / "comm").read_text())
    return sum(name.startswith("isoxide-") for name in names)
