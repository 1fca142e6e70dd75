"""The process of one contender: requests come on its standard input, a line of JSON each, and are answered likewise."""

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
from .rankers import rank_job
from .works import Contender, Work

#: Short calls are repeated until a timing takes so many seconds.
LONG_ENOUGH = 0.3
MOST_REPEATS = 20_000
#: Threads that finished a call may still spin for some milliseconds; they are not to disturb the next contender.
REST = 0.02


def timed(call: Callable[[], Any], repeats: int = 1) -> tuple[float, float]:
    """Seconds of wall and of processor time, of all threads, per call."""
    gc.collect()
    gc.disable()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(repeats):
        call()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    gc.enable()
    return wall / repeats, cpu / repeats


def _resident(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


def memory_above(call: Callable[[], Any]) -> tuple[int, str]:
    """Bytes that the process grows by at most during the call, and how that was found out."""
    gc.collect()
    try:
        before = _resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")
        call()
        return _resident("VmHWM") - before, "VmHWM, reset before the call"
    except OSError:
        # Not Linux, or not allowed. The peak so far hides what lies below it.
        unit = 1 if sys.platform == "darwin" else 1024
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        call()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before, "growth of the peak since the start"


def isoxide_facts() -> dict[str, Any]:
    """What the installed build says of itself, if it can."""
    import isoxide
    from isoxide import _core

    facts: dict[str, Any] = {"kernel": None, "show_versions": None}
    if hasattr(_core, "kernel"):
        facts["kernel"] = str(_core.kernel())
    if hasattr(isoxide, "show_versions"):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            returned = isoxide.show_versions()
        # Paths of this machine are nobody's business.
        lines = str(returned or printed.getvalue()).splitlines()
        facts["show_versions"] = [line for line in lines if os.sep not in line]
    return facts


class Child:
    def __init__(self) -> None:
        self.job: Job
        self.repeats = 1

    def prepare(self, work: dict[str, Any], contender: dict[str, Any], folder: str) -> dict[str, Any]:
        who = Contender(**contender)
        what = Work(**work | {"data": Data(**work["data"]), "contenders": (who,)})
        make = rank_job if what.kind == "rank" else forest_job
        self.job = make(what, who.library, who.threads or what.threads, who.layout or what.layout, Path(folder))
        return {"scale": self.job.scale, "facts": isoxide_facts() if who.library == "isoxide" else {}}

    def check(self, path: str) -> dict[str, Any]:
        """Does the work once and saves the result; from how long a call takes follows how often it is repeated."""
        start = time.perf_counter()
        np.savez(path, **self.job.check())  # type: ignore[arg-type]
        if time.perf_counter() - start < 5 * LONG_ENOUGH:
            once, _ = timed(self.job.call)
            self.repeats = min(MOST_REPEATS, math.ceil(LONG_ENOUGH / once))
        return {"repeats": self.repeats}

    def time(self) -> dict[str, Any]:
        time.sleep(REST)
        if self.repeats > 1:
            # Memory that nobody touched while others had their turn may have to be fetched back by the system,
            # which takes as long as a short call.
            self.job.call()
        return {"timing": timed(self.job.call, self.repeats)}

    def memory(self) -> dict[str, Any]:
        above, how = memory_above(self.job.call)
        return {"bytes": above, "how": how}


def main() -> None:
    # The answers have a channel of their own: libraries may print.
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
