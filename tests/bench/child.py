"""Run one contender in a process that answers each line of JSON on standard input with a line of JSON."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import math
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .data import Data
from .forests import Job, forest_job
from .programs import desk_job, start_job
from .rankers import rank_job, reference_job
from .works import Contender, Work

MAX_REPEATS = 20_000
_JOBS = {"rank": rank_job, "reference": reference_job, "start": start_job, "desk": desk_job}
#: Seconds between contenders: threads of a finished call may spin for some milliseconds and would disturb the next.
PAUSE_SECONDS = 0.02


def _cpu_seconds() -> float:
    """Return the processor time of all threads, and of programs that were started and have ended."""
    programs = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + programs.ru_utime + programs.ru_stime


def timed(call: Callable[[], Any], repeats: int = 1) -> tuple[float, float]:
    """Return the wall time and the processor time of all threads, in seconds per call."""
    gc.collect()
    gc.disable()
    wall, cpu = time.perf_counter(), _cpu_seconds()
    for _ in range(repeats):
        call()
    wall, cpu = time.perf_counter() - wall, _cpu_seconds() - cpu
    gc.enable()
    return wall / repeats, cpu / repeats


def _resident(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


def memory_above(call: Callable[[], Any]) -> tuple[int, str]:
    """Return the maximum number of bytes by which the process grows during the call, and how it was measured."""
    gc.collect()
    try:
        before = _resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")
        call()
        return _resident("VmHWM") - before, "VmHWM, reset before the call"
    except OSError:
        # This is not Linux, or it is not allowed. A call that needs less than an earlier peak seems to need nothing.
        unit = 1 if sys.platform == "darwin" else 1024
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        call()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before, "growth of the peak since the start"


def isoxide_facts() -> dict[str, Any]:
    """Return the kernel and the versions that the installed isoxide reports."""
    import isoxide
    from isoxide import _core

    with contextlib.redirect_stdout(io.StringIO()) as printed:
        isoxide.show_versions()
    # Records are published, so they must not contain paths of this machine.
    lines = [line for line in printed.getvalue().splitlines() if os.sep not in line]
    return {"kernel": str(_core.kernel()), "show_versions": lines}


class Child:
    def __init__(self) -> None:
        self.job: Job
        self.repeats = 1
        self.seconds = 0.0

    def prepare(self, work: dict[str, Any], contender: dict[str, Any], folder: str) -> dict[str, Any]:
        own = Contender(**contender)
        task = Work(**work | {"data": Data(**work["data"]), "contenders": (own,)})
        # A process may do several works; the table of the last one is freed first.
        self.job, self.repeats, self.seconds = Job(lambda: None, dict), 1, task.seconds
        make = _JOBS.get(task.kind, forest_job)
        self.job = make(task, own.library, own.threads or task.threads, own.layout or task.layout, Path(folder))
        return {"scale": self.job.scale, "facts": isoxide_facts() if own.library == "isoxide" else {}}

    def check(self, path: str) -> dict[str, Any]:
        """Do the work once, save the result, and choose the number of repeats by the time that a call takes."""
        start = time.perf_counter()
        np.savez(path, **self.job.check())  # type: ignore[arg-type]
        if time.perf_counter() - start < 5 * self.seconds:
            once, _ = timed(self.job.call)
            self.repeats = min(MAX_REPEATS, math.ceil(self.seconds / once))
        return {"repeats": self.repeats}

    def time(self) -> dict[str, Any]:
        time.sleep(PAUSE_SECONDS)
        if self.repeats > 1:
            # While other contenders ran, the system may have moved this process's memory out of its caches. Fetching it
            # back takes as long as a short call, so one call is not timed.
            self.job.call()
        return {"timing": timed(self.job.call, self.repeats), "note": self.job.note}

    def memory(self) -> dict[str, Any]:
        n_bytes, method = memory_above(self.job.call)
        return {"bytes": n_bytes, "how": method}


def main() -> None:
    # Libraries may print, so answers are written to a copy of standard output, and prints go to standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    child = Child()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(child, request.pop("do"))(**request)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
