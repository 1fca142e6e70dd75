"""Start a process per contender of a work, check that their results agree, and request timings in turn."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from .data import save
from .record import Outcome, summary
from .works import Contender, Work

#: Seconds after which a child that does not answer has failed.
TIMEOUT = 900
_THREAD_VARIABLES = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
    *("NUMBA_NUM_THREADS", "RAYON_NUM_THREADS", "POLARS_MAX_THREADS"),
)
#: Libraries whose results must equal those of isoxide. The scores of the others are only correlated with them.
_SAME_BITS = {"sklearn", "scipy", "scipy_array", "isoxide"}
#: Number of scores that are correlated; sorting more would take long.
_N_CORRELATED = 10_000


class ChildError(Exception):
    """Error of a child, described in one line."""


def _one_line(message: str) -> str:
    """Return the first line of a message, without the paths of this machine, since records are published."""
    return re.sub(r"(?<![\w.])/[^\s:)'\"]*", "(path)", message.strip().splitlines()[0])[:300]


class Process:
    """Process of one contender."""

    def __init__(self, work: Work, contender: Contender) -> None:
        threads = str(contender.threads or work.threads)
        package = Path(__file__).parent
        environment = os.environ | dict.fromkeys(_THREAD_VARIABLES, threads) | contender.environment
        environment |= {"PYTHONPATH": str(package.parent), "PYTHONWARNINGS": "ignore"}
        # A file, since a pipe could fill up while the child works.
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"{package.name}.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=environment,
            cwd=package.parent,
            text=True,
        )

    def request(self, action: str, **details: Any) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"do": action, **details}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            # `answer` raises the error.
            return

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], TIMEOUT)[0]:
            raise ChildError(f"no answer in {TIMEOUT} s")
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            lines = self.errors.read().strip().splitlines() or ["nothing on its standard error"]
            raise ChildError(_one_line(f"ended with code {self.process.wait()}: {lines[-1]}"))
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ChildError(_one_line(answer["error"]))
        return answer

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.errors.close()


class Team:
    """The processes of the contenders that have not failed, and the outcome of each contender."""

    def __init__(self, work: Work, folder: Path) -> None:
        self.work, self.folder = work, folder
        self.outcomes = {
            c.name: Outcome(c.name, c.library, c.variant, c.threads or work.threads) for c in work.contenders
        }
        self.processes: dict[str, Process] = {}

    def __enter__(self) -> Team:
        # All processes import and read at the same time, since nothing is timed yet.
        for contender in self.work.contenders:
            process = self.processes[contender.name] = Process(self.work, contender)
            process.request("prepare", work=asdict(self.work), contender=asdict(contender), folder=str(self.folder))
        for name, answer in self.each(lambda process, _: process.answer()):
            self.outcomes[name].scale = answer["scale"]
            self.outcomes[name].facts = answer["facts"]
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.stop()

    def each(self, function: Callable[[Process, str], dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
        """Call a function for each process in turn, and return the answers; a process that fails is stopped."""
        answers = []
        for name, process in list(self.processes.items()):
            try:
                answers.append((name, function(process, name)))
            except ChildError as error:
                self.outcomes[name].error = str(error)
                self.processes.pop(name).stop()
        return answers

    def request_each(self, action: str) -> list[tuple[str, dict[str, Any]]]:
        def do(process: Process, _: str) -> dict[str, Any]:
            process.request(action)
            return process.answer()

        return self.each(do)

    def check(self) -> None:
        """Let each process do the work once, which also warms it up, and compare the results with isoxide's."""

        def do(process: Process, name: str) -> dict[str, Any]:
            path = self.folder / "result.npz"
            process.request("check", path=str(path))
            answer = process.answer()
            with np.load(path) as result:
                return answer | {"result": dict(result)}

        answers = dict(self.each(do))
        expected = answers.get(self.work.contenders[0].name)
        for name, answer in answers.items():
            outcome = self.outcomes[name]
            outcome.repeats = answer["repeats"]
            if expected is None or answer is expected or outcome.library == "numpy_sum":
                continue
            self._compare(outcome, expected["result"], answer["result"])

    def _compare(self, outcome: Outcome, expected: dict[str, np.ndarray], actual: dict[str, np.ndarray]) -> None:
        if outcome.library not in _SAME_BITS and self.work.kind != "rank":
            outcome.agreement = rank_correlation(expected["scores"], actual["scores"])
            return
        try:
            for key in expected:
                if outcome.library in _SAME_BITS:
                    np.testing.assert_array_equal(expected[key], actual[key])
                else:
                    np.testing.assert_allclose(expected[key], actual[key], rtol=1e-12)
        except AssertionError as error:
            outcome.equal = False
            outcome.error = "other results than isoxide: " + " ".join(str(error).split())[:200]
            self.processes.pop(outcome.name).stop()
        else:
            outcome.equal = True


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Return the absolute value of Spearman's correlation of the first scores, or None for fewer than three."""
    if a.size < 3:
        return None
    x, y = (np.argsort(np.argsort(scores[:_N_CORRELATED])).astype(np.float64) for scores in (a, b))
    return round(abs(float(np.corrcoef(x, y)[0, 1])), 3)


def run(work: Work, folder: Path) -> dict[str, Any]:
    """Run all rounds of a work, and return its entry in the record."""
    save(work.data, folder)
    with Team(work, folder) as team:
        if work.kind == "memory":
            for name, answer in team.request_each("memory"):
                team.outcomes[name].memory = answer["bytes"]
                team.outcomes[name].note = answer["how"]
        else:
            team.check()
            for _ in range(work.rounds):
                for name, answer in team.request_each("time"):
                    team.outcomes[name].timings.append(tuple(answer["timing"]))
        outcomes = list(team.outcomes.values())
    return summary(work, outcomes)
