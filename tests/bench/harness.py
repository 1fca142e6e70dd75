"""Starts the children of a work, checks that they agree, and asks them for timings in turn."""

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

#: Seconds after which a child that does not answer is given up.
PATIENCE = 900
_THREAD_VARIABLES = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
    *("NUMBA_NUM_THREADS", "RAYON_NUM_THREADS", "POLARS_MAX_THREADS"),
)
#: Rivals whose results isoxide reproduces; of the others is only asked whether they find the same rows odd.
_SAME_BITS = {"sklearn", "scipy", "scipy_array", "isoxide"}
#: Scores that are compared by rank, which takes sorting.
_SOME = 10_000


class ChildError(Exception):
    """What went wrong in a child, in one line."""


def _one_line(message: str) -> str:
    """Without paths: a record is published, and where things lie on this machine is nobody's business."""
    return re.sub(r"(?<![\w.])/[^\s:)'\"]*", "(path)", message.strip().splitlines()[0])[:300]


class Process:
    """One contender's process."""

    def __init__(self, work: Work, contender: Contender) -> None:
        threads = str(contender.threads or work.threads)
        package = Path(__file__).parent
        environment = os.environ | dict.fromkeys(_THREAD_VARIABLES, threads) | contender.environment
        environment |= {"PYTHONPATH": str(package.parent), "PYTHONWARNINGS": "ignore"}
        # Kept in a file: a pipe that nobody reads while the child works could fill up.
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

    def ask(self, what: str, **details: Any) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"do": what, **details}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            # What it died of is told when the answer is read.
            return

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
            raise ChildError(f"no answer in {PATIENCE} s")
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            said = self.errors.read().strip().splitlines() or ["nothing on its standard error"]
            raise ChildError(_one_line(f"ended with code {self.process.wait()}: {said[-1]}"))
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ChildError(_one_line(answer["error"]))
        return answer

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.errors.close()


class Team:
    """The contenders of a work that are still in the race, and what became of each."""

    def __init__(self, work: Work, folder: Path) -> None:
        self.work, self.folder = work, folder
        self.outcomes = {
            c.name: Outcome(c.name, c.library, c.variant, c.threads or work.threads) for c in work.contenders
        }
        self.processes: dict[str, Process] = {}

    def __enter__(self) -> Team:
        # All at once: imports and reading take longer than many a work, and nothing is timed yet.
        for contender in self.work.contenders:
            process = self.processes[contender.name] = Process(self.work, contender)
            process.ask("prepare", work=asdict(self.work), contender=asdict(contender), folder=str(self.folder))
        for name, answer in self.each(lambda process, _: process.answer()):
            self.outcomes[name].scale = answer["scale"]
            self.outcomes[name].facts = answer["facts"]
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.stop()

    def each(self, do: Callable[[Process, str], dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
        """One after the other; who fails is out, and the reason kept."""
        answers = []
        for name, process in list(self.processes.items()):
            try:
                answers.append((name, do(process, name)))
            except ChildError as error:
                self.outcomes[name].error = str(error)
                self.processes.pop(name).stop()
        return answers

    def all_asked(self, what: str) -> list[tuple[str, dict[str, Any]]]:
        def do(process: Process, _: str) -> dict[str, Any]:
            process.ask(what)
            return process.answer()

        return self.each(do)

    def check(self) -> None:
        """Lets everyone do the work once, which also warms up, and compares the results with ours."""

        def do(process: Process, name: str) -> dict[str, Any]:
            path = self.folder / "result.npz"
            process.ask("check", path=str(path))
            answer = process.answer()
            with np.load(path) as result:
                return answer | {"result": dict(result)}

        answers = dict(self.each(do))
        ours = answers.get(self.work.contenders[0].name)
        for name, answer in answers.items():
            outcome = self.outcomes[name]
            outcome.repeats = answer["repeats"]
            if ours is None or answer is ours or outcome.library == "numpy_sum":
                continue
            self._compare(outcome, ours["result"], answer["result"])

    def _compare(self, outcome: Outcome, ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
        if outcome.library not in _SAME_BITS and self.work.kind not in ("rank", "explain"):
            outcome.agreement = rank_correlation(ours["scores"], theirs["scores"])
            return
        try:
            for key in ours:
                if outcome.library in _SAME_BITS:
                    np.testing.assert_array_equal(ours[key], theirs[key])
                elif self.work.kind == "explain":
                    np.testing.assert_allclose(ours[key], theirs[key], rtol=0, atol=1e-9 * np.abs(theirs[key]).max())
                else:
                    np.testing.assert_allclose(ours[key], theirs[key], rtol=1e-12)
        except AssertionError as error:
            outcome.equal = False
            outcome.error = "other results than isoxide: " + " ".join(str(error).split())[:200]
            self.processes.pop(outcome.name).stop()
        else:
            outcome.equal = True


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Spearman's, of some scores and whatever their sign; `None` of one row."""
    if a.size < 3:
        return None
    x, y = (np.argsort(np.argsort(scores[:_SOME])).astype(np.float64) for scores in (a, b))
    return round(abs(float(np.corrcoef(x, y)[0, 1])), 3)


def run(work: Work, folder: Path) -> dict[str, Any]:
    """All rounds of a work; what came of it goes into the record."""
    save(work.data, folder)
    with Team(work, folder) as team:
        if work.kind == "memory":
            for name, answer in team.all_asked("memory"):
                team.outcomes[name].memory = answer["bytes"]
                team.outcomes[name].note = answer["how"]
        else:
            team.check()
            for _ in range(work.rounds):
                for name, answer in team.all_asked("time"):
                    team.outcomes[name].timings.append(tuple(answer["timing"]))
        outcomes = list(team.outcomes.values())
    return summary(work, outcomes)
