"""Start a process for each contender of a work, check that the results agree, and request timings in turn."""

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

#: Seconds after which a process that does not answer has failed.
MAX_SECONDS = 900
_THREAD_VARIABLES = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
    *("NUMBA_NUM_THREADS", "RAYON_NUM_THREADS", "POLARS_MAX_THREADS"),
)
#: Libraries whose results must equal isoxide's bit for bit. Other forests are compared by rank correlation.
_SAME_BITS = {"sklearn", "scipy", "scipy_array", "isoxide"}
#: Maximum number of scores whose rank correlation is computed.
_MAX_CORRELATED = 10_000


class ChildError(Exception):
    """A contender's process failed; the message has one line."""


def _one_line(message: str) -> str:
    """Return the first line without paths, because records are published and must not describe this machine."""
    return re.sub(r"(?<![\w.])/[^\s:)'\"]*", "(path)", message.strip().splitlines()[0])[:300]


class Process:
    """The process of one contender, to which requests are sent one at a time."""

    def __init__(self, work: Work, contender: Contender) -> None:
        threads = str(contender.threads or work.threads)
        package = Path(__file__).parent
        environment = os.environ | dict.fromkeys(_THREAD_VARIABLES, threads) | contender.environment
        environment |= {"PYTHONPATH": str(package.parent), "PYTHONWARNINGS": "ignore"}
        # Errors go to a file, because a pipe that is not read during the work could fill up and block the process.
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

    def send(self, command: str, **arguments: Any) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"do": command, **arguments}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            # The process has ended; `answer` reports its error.
            return

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], MAX_SECONDS)[0]:
            raise ChildError(f"no answer in {MAX_SECONDS} s")
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            lines = self.errors.read().strip().splitlines() or ["no message on standard error"]
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
    """The processes of the contenders that have not failed, and the outcomes of all contenders."""

    def __init__(self, work: Work, folder: Path) -> None:
        self.work, self.folder = work, folder
        self.outcomes = {
            c.name: Outcome(c.name, c.library, c.variant, c.threads or work.threads) for c in work.contenders
        }
        self.processes: dict[str, Process] = {}

    def __enter__(self) -> Team:
        # All processes start at once: nothing is timed yet, and imports and reading take longer than many works.
        for contender in self.work.contenders:
            process = self.processes[contender.name] = Process(self.work, contender)
            process.send("prepare", work=asdict(self.work), contender=asdict(contender), folder=str(self.folder))
        for name, answer in self.each(lambda process, _: process.answer()):
            self.outcomes[name].scale = answer["scale"]
            self.outcomes[name].facts = answer["facts"]
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.stop()

    def each(self, request: Callable[[Process, str], dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
        """Call `request` with one process after another. Stop a process that fails, and keep its error."""
        answers = []
        for name, process in list(self.processes.items()):
            try:
                answers.append((name, request(process, name)))
            except ChildError as error:
                self.outcomes[name].error = str(error)
                self.processes.pop(name).stop()
        return answers

    def request_all(self, command: str) -> list[tuple[str, dict[str, Any]]]:
        def request(process: Process, _: str) -> dict[str, Any]:
            process.send(command)
            return process.answer()

        return self.each(request)

    def check(self) -> None:
        """Let each contender do the work once, which also warms up, and compare the results with isoxide's."""

        def request(process: Process, name: str) -> dict[str, Any]:
            path = self.folder / "result.npz"
            process.send("check", path=str(path))
            answer = process.answer()
            with np.load(path) as result:
                return answer | {"result": dict(result)}

        answers = dict(self.each(request))
        ours = answers.get(self.work.contenders[0].name)
        for name, answer in answers.items():
            outcome = self.outcomes[name]
            outcome.repeats = answer["repeats"]
            if ours is None or answer is ours or outcome.library == "numpy_sum":
                continue
            self._compare(outcome, ours["result"], answer["result"])

    def _compare(self, outcome: Outcome, ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
        if outcome.library not in _SAME_BITS and self.work.kind != "rank":
            outcome.agreement = rank_correlation(ours["scores"], theirs["scores"])
            return
        try:
            for key in ours:
                if outcome.library in _SAME_BITS:
                    np.testing.assert_array_equal(ours[key], theirs[key])
                else:
                    np.testing.assert_allclose(ours[key], theirs[key], rtol=1e-12)
        except AssertionError as error:
            outcome.equal = False
            outcome.error = "the results differ from isoxide's: " + " ".join(str(error).split())[:200]
            self.processes.pop(outcome.name).stop()
        else:
            outcome.equal = True


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Return the absolute value of Spearman's correlation of the first scores, or None for fewer than three."""
    if a.size < 3:
        return None
    x, y = (np.argsort(np.argsort(scores[:_MAX_CORRELATED])).astype(np.float64) for scores in (a, b))
    return round(abs(float(np.corrcoef(x, y)[0, 1])), 3)


def run(work: Work, folder: Path) -> dict[str, Any]:
    """Run all rounds of a work, and return its entry of the record."""
    save(work.data, folder)
    with Team(work, folder) as team:
        if work.kind == "memory":
            for name, answer in team.request_all("memory"):
                team.outcomes[name].memory = answer["bytes"]
                team.outcomes[name].note = answer["how"]
        else:
            team.check()
            for _ in range(work.rounds):
                for name, answer in team.request_all("time"):
                    team.outcomes[name].timings.append(tuple(answer["timing"]))
        outcomes = list(team.outcomes.values())
    return summary(work, outcomes)
