"""Make, write and read the record of a benchmark run: every timing and the statistics of the timings.

There is one record per kind of machine, which is a processor and a kernel of isoxide. A new run on the same kind
replaces it.
"""

from __future__ import annotations

import datetime
import json
import re
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import machine
from .works import Work

RECORDS = Path(__file__).parent / "records"
Record = dict[str, Any]


@dataclass
class Outcome:
    """The result of one contender of a work."""

    name: str
    library: str
    variant: str
    threads: int
    #: The size of the work divided by that of the timed part of it.
    scale: float = 1.0
    #: Number of calls per timing.
    repeats: int = 1
    #: Wall and processor seconds per call, one pair per round, not scaled.
    timings: list[tuple[float, float]] = field(default_factory=list)
    memory: int | None = None
    #: Whether the result equals isoxide's bit for bit (to 12 digits for ranks of libraries other than scipy).
    equal: bool | None = None
    #: Spearman's correlation with isoxide's scores, for forests other than scikit-learn's.
    agreement: float | None = None
    #: The largest difference from isoxide's scores, for libraries that score scikit-learn's trees.
    difference: float | None = None
    error: str | None = None
    note: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def medians(self) -> dict[str, float] | None:
        """Return the median seconds of the whole work: wall time and processor time."""
        if not self.timings:
            return None
        wall, cpu = (statistics.median(times) * self.scale for times in zip(*self.timings, strict=True))
        return {"wall": wall, "cpu": cpu}


def _ratio(theirs: Outcome, ours: Outcome) -> dict[str, float] | None:
    """Return how many times as long a rival takes as isoxide: the median over the rounds."""
    if theirs.memory is not None and ours.memory is not None:
        # Below 1 MiB, memory that is measured in pages of the process is too imprecise.
        return {"memory": theirs.memory / ours.memory} if ours.memory > 2**20 else None
    rounds = list(zip(theirs.timings, ours.timings, strict=False))
    if not rounds or theirs.error or ours.error:
        return None
    factor = theirs.scale / ours.scale
    # The clock of the processor may not have moved during a very short timing.
    tiny = 1e-9
    wall, cpu = (statistics.median(factor * a[k] / max(tiny, b[k]) for a, b in rounds) for k in (0, 1))
    return {"wall": wall, "cpu": cpu}


def summary(work: Work, outcomes: list[Outcome]) -> Record:
    """Return the entry of the record for one work."""
    entry = {k: v for k, v in asdict(work).items() if k != "contenders"}
    entry["title"] = work.title
    entry["contenders"] = []
    for outcome in outcomes:
        ratio = _ratio(outcome, outcomes[0]) if outcome is not outcomes[0] else None
        entry["contenders"].append(asdict(outcome) | {"medians": outcome.medians, "ratio": ratio})
    return entry


def new_record(settings: dict[str, Any]) -> Record:
    return {
        "schema": 2,
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "complete": False,
        "machine": machine.machine(),
        "kernel": machine.kernels()[0],
        "fastest_kernel": machine.kernels()[1],
        "versions": machine.versions(),
        "commit": machine.commit(),
        "settings": settings,
        "works": [],
        "growth": [],
    }


def is_limited(record: Record) -> bool:
    """Return whether ISOXIDE_KERNEL chose another kernel than the fastest one of the processor."""
    return bool(record["kernel"] != record["fastest_kernel"])


def kind(record: Record) -> str:
    """Return the kind of machine in words: the processor and the kernel of isoxide."""
    instead = f" instead of {record['fastest_kernel']}" if is_limited(record) else ""
    return f"{machine.processor(record['machine'])}, {record['kernel']}{instead}"


def kind_slug(record: Record) -> str:
    """Return the kind of machine for the name of a file."""
    return re.sub(r"[^a-z0-9]+", "-", kind(record).lower()).strip("-")


def path_of(record: Record) -> Path:
    return RECORDS / f"{kind_slug(record)}.json"


def write(record: Record, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")


def read(path: Path) -> Record:
    record: Record = json.loads(path.read_text())
    return record


def complete() -> list[Record]:
    """Return the records of complete runs, one per kind of machine: AVX-512 first, and limited ones last."""
    records = [record for path in sorted(RECORDS.glob("*.json")) if (record := read(path))["complete"]]
    if not records:
        raise SystemExit("no record of a complete run in tests/bench/records; `make bench` makes one")
    return sorted(records, key=lambda r: (is_limited(r), r["kernel"] != "avx512", kind(r)))


def to_update(path: Path, new: Record) -> Record:
    """Return the record whose rows a new measurement replaces; it must be complete, and made with the same rivals."""
    old = read(path) if path.exists() else {"complete": False}
    if not old["complete"]:
        raise SystemExit(f"{path.name} is no record of a complete run; `make bench` without --rows makes one")
    others = [{k: v for k, v in record["versions"].items() if k != "isoxide"} for record in (old, new)]
    if others[0] != others[1]:
        raise SystemExit(f"{path.name} was made with other versions of the libraries; run `make bench` without --rows")
    return old


def updated(old: Record, new: Record, rows: list[int]) -> Record:
    """Return a record with the rows of a new measurement, which is described beside that of the others."""
    works = [work for work in old["works"] if work["row"] not in rows] + new["works"]
    update = {"rows": sorted(rows)} | {key: new[key] for key in ("started", "commit", "machine", "seconds")}
    # An earlier update whose rows are all replaced says nothing any more.
    earlier = [entry for entry in old.get("updates", []) if not set(entry["rows"]) <= set(rows)]
    return old | {
        "works": sorted(works, key=lambda work: work["row"]),
        "growth": new["growth"] or old["growth"],
        "updates": [*earlier, update],
    }


def find(record: Record, row: int, features: dict[str, Any]) -> Record | None:
    """Return the first work of a row with these features; a feature None stands for the number of cores."""
    cores = record["machine"]["cores"]

    def fits(work: Record) -> bool:
        values = work | work["data"] | {"kind": work["kind"]}
        return work["row"] == row and all(values[k] == (cores if v is None else v) for k, v in features.items())

    return next((work for work in record["works"] if fits(work)), None)


def is_wrong(outcome: Record) -> bool:
    """Return whether an outcome is a defect of isoxide: it failed, or its results differ from those it reproduces."""
    return bool(outcome["equal"] is False or (outcome["library"] == "isoxide" and outcome["error"]))


def failures(record: Record) -> list[str]:
    """Return a line for each contender that failed, or that is not installed."""
    return [
        f"{kind(record)}: row {work['row']}, {work['title']}, {work['threads']} thread(s), "
        f"{outcome['name']}: {outcome['error']}"
        for work in record["works"] + record["growth"]
        for outcome in work["contenders"]
        if outcome["error"]
    ]
