"""Start programs, and measure the whole program: the command, an import, and the work of an analyst's desk."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np

from .forests import Job
from .works import Work

_PACKAGES = {"isoxide": "isoxide", "sklearn": "sklearn.ensemble"}


def _run(arguments: list[str]) -> None:
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)


def _nothing() -> dict[str, np.ndarray]:
    """Return nothing to compare: programs either succeed or fail."""
    return {}


def start_job(work: Work, library: str, threads: int, layout: str, folder: Path) -> Job:
    """Return the job of starting Python with the command or an import."""
    arguments = {
        "isoxide --version": ["-m", "isoxide", "--version"],
        "import isoxide": ["-c", "import isoxide"],
        "import IsolationForest": ["-c", f"from {_PACKAGES[library]} import IsolationForest"],
    }[work.task]
    # The first start writes compiled files and fills the cache of the system.
    _run(arguments)
    return Job(lambda: _run(arguments), _nothing)


def desk_job(work: Work, library: str, threads: int, layout: str, folder: Path) -> Job:
    """Make the desk's table, and return the job of `isoxide detect` on it; its memory is noted after each call."""
    from .desk import arguments, desk_table

    table, out = folder / f"desk-{work.data.n}.parquet", folder / "desk-out"
    desk_table(work.data.n).to_parquet(table)
    job = Job(lambda: None, _nothing)

    def call() -> None:
        _run(["-m", "isoxide", *arguments(table, out, threads)])
        # In KiB on Linux, in bytes on macOS.
        unit = 1 if sys.platform == "darwin" else 1024
        job.note = f"{resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / 2**30:.1f} GiB of memory"

    job.call = call
    return job
