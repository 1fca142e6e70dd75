"""Start the children of a work, check that they agree, and ask them for timings in turn."""

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
from .works import Work

#: Seconds after which a child that does not answer is stopped.
ANSWER_SECONDS = 900
_THREAD_VARIABLES = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
    *("NUMBA_NUM_THREADS", "RAYON_NUM_THREADS", "POLARS_MAX_THREADS"),
)
#: Rivals whose results isoxide reproduces. Other forests are compared with it by the order of their scores.
_SAME_BITS = {"sklearn", "scipy", "scipy_array", "isoxide"}
#: Rivals that score scikit-learn's trees with other arithmetic.
_SAME_TREES = {"treelite", "tl2cgen", "onnxruntime"}
#: Error of explanations, as a fraction of the largest value. woodelf computes in float32.
_EXPLANATION_ERRORS = {"shap": 1e-9, "woodelf": 1e-5}
#: Scores that are compared by rank, which takes sorting.
_SOME = 10_000


class ChildError(Exception):
    """Failure of a child, described in one line."""


def _one_line(message: str) -> str:
    """Return the first line without paths, because records are published."""
    return re.sub(r"(?<![\w.])/[^\s:)'\"]*", "(path)", message.strip().splitlines()[0])[:300]


class Process:
    """The process of one contender; it can do several works, one after the other."""

    def __init__(self, threads: int, environment: dict[str, str], answer_seconds: float = ANSWER_SECONDS) -> None:
        package = Path(__file__).parent
        variables = os.environ | dict.fromkeys(_THREAD_VARIABLES, str(threads)) | environment
        variables |= {"PYTHONPATH": str(package.parent), "PYTHONWARNINGS": "ignore"}
        self.answer_seconds = answer_seconds
        # Errors are kept in a file: a pipe that nobody reads while the child works could fill up.
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"{package.name}.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=variables,
            cwd=package.parent,
            text=True,
        )

    def ask(self, task: str, **details: Any) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"do": task, **details}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            # The reason of its end is read instead of its answer.
            return

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], self.answer_seconds)[0]:
            raise ChildError(f"no answer in {self.answer_seconds:g} s")
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
    """The contenders of a work that are still in the race, and the outcome of each.

    Each work has new processes, which end with it. With `pool`, processes are taken from there and put back: starting
    one takes longer than many a work.
    """

    def __init__(self, work: Work, folder: Path, pool: dict[str, Process] | None = None) -> None:
        self.work, self.folder, self.pool = work, folder, pool
        self.outcomes = {
            c.name: Outcome(c.name, c.library, c.variant, c.threads or work.threads) for c in work.contenders
        }
        self.processes: dict[str, Process] = {}

    def __enter__(self) -> Team:
        # All start at once: imports and reading take longer than many a work, and nothing is timed yet.
        for contender in self.work.contenders:
            process = self.pool.pop(contender.name, None) if self.pool is not None else None
            process = process or Process(contender.threads or self.work.threads, contender.environment)
            self.processes[contender.name] = process
            process.ask("prepare", work=asdict(self.work), contender=asdict(contender), folder=str(self.folder))
        for name, answer in self.each(lambda process, _: process.answer()):
            self.outcomes[name].scale = answer["scale"]
            self.outcomes[name].facts = answer["facts"]
        return self

    def __exit__(self, exception: object, *_: object) -> None:
        if self.pool is not None and exception is None:
            self.pool |= self.processes
            return
        for process in self.processes.values():
            process.stop()

    def each(self, do: Callable[[Process, str], dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
        """Call `do` for one contender after the other; a contender that fails is out, and its outcome says why."""
        answers = []
        for name, process in list(self.processes.items()):
            try:
                answers.append((name, do(process, name)))
            except ChildError as error:
                self.outcomes[name].error = str(error)
                self.processes.pop(name).stop()
        return answers

    def all_asked(self, task: str) -> list[tuple[str, dict[str, Any]]]:
        def do(process: Process, _: str) -> dict[str, Any]:
            process.ask(task)
            return process.answer()

        return self.each(do)

    def check(self) -> None:
        """Let every contender do the work once, which also warms up, and compare the results with isoxide's."""

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
            if not ours or answer is ours or not ours["result"] or outcome.library == "numpy_sum":
                continue
            self._compare(outcome, ours["result"], answer["result"])

    def _compare(self, outcome: Outcome, ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
        if outcome.library in _SAME_TREES:
            scores = theirs["scores"]
            outcome.difference = float(np.abs(ours["scores"][: len(scores)] - scores).max())
            return
        if self.work.kind == "explain" and outcome.library == "coniferest":
            # Its signatures are no Shapley values.
            return
        if outcome.library not in _SAME_BITS and self.work.kind not in ("rank", "reference", "explain"):
            outcome.agreement = rank_correlation(ours["scores"], theirs["scores"])
            return
        try:
            for key in ours:
                if outcome.library in _SAME_BITS:
                    np.testing.assert_array_equal(ours[key], theirs[key])
                elif self.work.kind == "explain":
                    error = _EXPLANATION_ERRORS[outcome.library] * np.abs(theirs[key]).max()
                    np.testing.assert_allclose(ours[key], theirs[key], rtol=0, atol=error)
                else:
                    np.testing.assert_allclose(ours[key], theirs[key], rtol=1e-12)
        except AssertionError as error:
            outcome.equal = False
            outcome.error = "other results than isoxide: " + " ".join(str(error).split())[:200]
            self.processes.pop(outcome.name).stop()
        else:
            outcome.equal = True


def stop(pool: dict[str, Process] | None) -> None:
    """Stop the processes of a pool."""
    for process in (pool or {}).values():
        process.stop()


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Return Spearman's correlation of the first scores without its sign; None for fewer than three rows."""
    if a.size < 3:
        return None
    x, y = (np.argsort(np.argsort(scores[:_SOME])).astype(np.float64) for scores in (a, b))
    return round(abs(float(np.corrcoef(x, y)[0, 1])), 3)


def run(work: Work, folder: Path, pool: dict[str, Process] | None = None) -> dict[str, Any]:
    """Do all rounds of a work, and return its entry of the record."""
    save(work.data, folder)
    with Team(work, folder, pool) as team:
        if work.kind == "memory":
            for name, answer in team.all_asked("memory"):
                team.outcomes[name].memory = answer["bytes"]
                team.outcomes[name].note = answer["how"]
        else:
            team.check()
            for _ in range(work.rounds):
                for name, answer in team.all_asked("time"):
                    team.outcomes[name].timings.append(tuple(answer["timing"]))
                    team.outcomes[name].note = answer["note"]
        outcomes = list(team.outcomes.values())
    return summary(work, outcomes)
