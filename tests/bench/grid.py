"""Search the space of tables and forests for configurations in which a rival is faster (`make bench-grid`).

For most of the time the search measures points of `grid_space.py`, each in short interleaved rounds. Then it measures
the worst of them again, in longer rounds, and only what is slower there too is reported. Every measured configuration
is a line of a file, so a run that was stopped goes on, and another run adds points.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import harness, machine, record
from .grid_space import configurations
from .record import Record
from .works import LABELS, Work

#: Ratios (time of the rival divided by that of isoxide) below which isoxide is too slow.
LIMITS = {"sklearn": 1.0, "scipy_array": 1.0, "isotree": 0.8, "coniferest": 0.8, "numpy": 0.8}
#: The search is imprecise: what is this close to a limit is measured again too.
_MARGIN = 1.1
#: Share of the time in which configurations are measured again.
_AGAIN_SHARE = 0.25
#: Rounds, and the least seconds of a timing, of the search and of the second measurement.
_SEARCH: dict[str, Any] = {"rounds": 2, "seconds": 0.03}
_AGAIN: dict[str, Any] = {"rounds": 7, "seconds": 0.15}


def path_of(facts: Record) -> Path:
    """Return the file of the results of a kind of machine."""
    return record.RECORDS / f"grid-{record.kind_slug(facts)}.jsonl"


def describe(work: Work) -> str:
    """Return a configuration in words."""
    data, scored = work.data, work.take
    content = {"missing": ", NaN", "sparse": ", CSR with 1 % filled"}.get(data.kind, "")
    shape = f"{data.n:,} x {data.d:,}"
    layout = "" if work.layout == "csr" else f", {work.layout.replace(' ', ' order, ')}"
    if work.kind == "rank":
        return f"rank {scored:,} rows in {shape}{layout}"
    if work.kind == "reference":
        return f"RankReference of {shape}{layout}"
    trees = f"{work.trees:,} trees of {work.max_samples:,} rows"
    rows = f"{scored:,} x {data.d:,}" if scored else shape
    extra = f", contamination={work.contamination}" if work.contamination != "auto" else ""
    return f"{work.kind} {rows}{layout}{content}, {trees}{extra}"


def slower(entry: Record, margin: float = 1.0) -> dict[str, float]:
    """Return the ratios of the rivals in comparison with which isoxide is too slow."""
    return {name: ratio for name, ratio in entry["ratios"].items() if ratio < LIMITS[name] * margin}


def _worst(entry: Record) -> float:
    return min((ratio / LIMITS[name] for name, ratio in entry["ratios"].items()), default=float("inf"))


def _line(entry: Record) -> str:
    rivals = ", ".join(f"{LABELS[name]} {ratio:.2f}" for name, ratio in entry["ratios"].items())
    errors = "".join(f"; {name} FAILED: {error}" for name, error in entry["errors"].items())
    return f"{entry['title']}: {entry['seconds']} s, {rivals}{errors}"


class Results:
    """The file of results: a head that says what was measured, then one line per configuration."""

    def __init__(self, head: Record) -> None:
        self.path, self.head = path_of(head), head
        self.entries: list[Record] = []
        old_head, *entries = read(self.path) or [{}]
        same = ("isoxide", "seed", "kernel", "versions")
        if self.path.exists() and all(old_head.get(key) == head[key] for key in same):
            self.head, self.entries = old_head, entries
            # A line that was cut off when a run was stopped must not become part of the next one.
            self.path.write_text("".join(json.dumps(line) + "\n" for line in (old_head, *entries)))
            print(f"{self.path.name} has {len(entries)} results of this build, and the search goes on", flush=True)
            return
        if self.path.exists():
            print(f"{self.path.name} is of another build or another seed, and is written anew", flush=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(head) + "\n")

    def add(self, entry: Record) -> None:
        self.entries.append(entry)
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def points(self, stage: str) -> set[int]:
        return {entry["point"] for entry in self.entries if entry["stage"] == stage}


def read(path: Path) -> list[Record]:
    """Return the head and the entries of a file of results; a last line that was cut off is left out."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def all_results() -> list[list[Record]]:
    """Return the head and the entries of every kind of machine that has been searched."""
    return [read(path) for path in sorted(record.RECORDS.glob("grid-*.jsonl"))]


def _measure(point: int, stage: str, work: Work, folder: Path, pool: dict[str, harness.Process] | None) -> Record:
    """Measure a work; on one thread, processor time is what wall time would be if no other program ran."""
    summary = harness.run(work, folder, pool)
    (folder / work.data.file).unlink(missing_ok=True)
    ours = summary["contenders"][0]
    return {
        "point": point,
        "stage": stage,
        "title": describe(work),
        "kind": work.kind,
        "seconds": float(f"{ours['medians']['cpu']:.4g}") if ours["medians"] else None,
        "ratios": {c["library"]: round(c["ratio"]["cpu"], 3) for c in summary["contenders"] if c["ratio"]},
        "errors": {c["library"]: c["error"] for c in summary["contenders"] if c["error"]},
        "wrong": any(map(record.is_wrong, summary["contenders"])),
    }


def pending(results: Results) -> Iterator[tuple[int, Work]]:
    """Yield the configurations to measure again, the worst first."""
    done = results.points("again")
    suspects = [e for e in results.entries if e["stage"] == "search" and slower(e, _MARGIN) and e["point"] not in done]
    suspects.sort(key=_worst)
    wanted = {entry["point"] for entry in suspects}
    works: dict[int, Work] = {}
    for point, work in configurations(results.head["seed"]):
        if point > max(wanted, default=-1):
            break
        if point in wanted:
            works[point] = work
    yield from ((entry["point"], works[entry["point"]]) for entry in suspects)


def search(seconds: float, seed: int, kinds: list[str] | None = None) -> Results:
    """Search for some time, and return all results of this machine and build."""
    head: dict[str, Any] = record.new_record({"seed": seed}) | {"seed": seed, "isoxide": machine.build()}
    results = Results({key: value for key, value in head.items() if key not in ("works", "growth", "settings")})
    start = time.perf_counter()
    pool: dict[str, harness.Process] = {}
    with tempfile.TemporaryDirectory(prefix="isoxide-bench-") as folder:
        try:
            done = results.points("search")
            for point, work in configurations(seed):
                if time.perf_counter() - start > seconds * (1 - _AGAIN_SHARE):
                    break
                if point in done or (kinds and work.kind not in kinds):
                    continue
                entry = _measure(point, "search", replace(work, **_SEARCH), Path(folder), pool)
                results.add(entry)
                if slower(entry) or entry["errors"]:
                    print(_line(entry), flush=True)
            print("\nmeasured again, the worst first:", flush=True)
            for point, work in pending(results):
                if time.perf_counter() - start > seconds:
                    break
                results.add(_measure(point, "again", replace(work, **_AGAIN), Path(folder), pool))
                print(_line(results.entries[-1]), flush=True)
        finally:
            harness.stop(pool)
    return results
