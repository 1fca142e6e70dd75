"""Write the section of docs/benchmarks.md that lists the configurations in which a rival is faster."""

from __future__ import annotations

from .grid import LIMITS, slower
from .record import Record, kind
from .text import duration, table
from .works import LABELS


def section(grids: list[list[Record]]) -> str:
    """Return the text and one table per kind of machine."""
    if not grids:
        return "No kind of machine has been searched yet; `make bench-grid` does it."
    rivals = {limit: [LABELS[name] for name, value in LIMITS.items() if value == limit] for limit in (1.0, 0.8)}
    intro = f"""`make bench-grid` draws configurations evenly from a space of 1 to 1,000,000 rows, 1 to 2,000 columns,
1 to 2,000 trees, 2 to all rows per tree, float32, float64 and int64, row-major and column-major arrays, NaN and sparse
tables, on one thread. It compares `fit`, `score_samples`, `rank_features` and `RankReference` with the libraries that
do the same; for ranks, all get the same array. It then measures the worst configurations again, in longer rounds. The
tables list the configurations that were slower both times: slower than {" or ".join(rivals[1.0])}, or more than 1.25
times as slow as {" or ".join(rivals[0.8])}. Ratios are the rival's time divided by isoxide's, so the rival is faster
below 1. Times are processor times, which other programs disturb less, and which equal wall times on one thread."""
    return "\n\n".join([intro, *(_machine(head, entries) for head, *entries in grids)])


def _machine(head: Record, entries: list[Record]) -> str:
    searched = [entry for entry in entries if entry["stage"] == "search"]
    again = {entry["point"]: entry for entry in entries if entry["stage"] == "again"}
    suspects = [entry for entry in searched if slower(entry)]
    confirmed = sorted((e for e in again.values() if slower(e)), key=lambda e: (e["kind"], min(slower(e).values())))
    waiting = sum(entry["point"] not in again for entry in suspects)
    lines = [
        f"On {kind(head)}, {head['started'][:10]}, isoxide was too slow in {len(confirmed)} of {len(searched):,} "
        f"configurations."
    ]
    if waiting:
        lines.append(f"There was no time to measure {waiting} more again that were slower at first.")
    failed = [f"{e['title']}: {LABELS[name]}: {error}" for e in searched for name, error in e["errors"].items()]
    rows = []
    for entry in confirmed:
        slow = ", ".join(f"{LABELS[name]} {ratio:.2f}" for name, ratio in slower(entry).items())
        others = ", ".join(f"{LABELS[k]} {v:.1f}" for k, v in entry["ratios"].items() if k not in slower(entry))
        rows.append([entry["title"], kind(head), duration(entry["seconds"]), slow, others])
    parts = [" ".join(lines)]
    if rows:
        parts.append(table(["work", "processor, kernel", "isoxide", "faster", "slower"], rows, left=2))
    if failed:
        parts.append("These libraries failed:\n\n" + "\n".join(f"- {line}" for line in failed))
    return "\n\n".join(parts)
