"""The page docs/benchmarks.md, in Markdown."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from .charts import label_of
from .record import Record, failures
from .works import LABELS

#: What is to be said of the comparison whatever the numbers are.
_UNFAIR = (Path(__file__).parent / "unfair.md").read_text()
_FORESTS = ("sklearn", "isotree", "coniferest", "pyod")
_RANKERS = ("scipy", "scipy_array", "numpy", "polars", "pandas")


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, size in (("s ", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{_digits(seconds / size):>7} {unit}".rstrip()
    return f"{_digits(seconds / 1e-6):>7} us"


def _digits(value: float) -> str:
    places = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:,.{min(places, 2)}f}"


def times(ratio: float) -> str:
    return f"{ratio:,.0f} x" if ratio >= 9.95 else f"{ratio:.1f} x" if ratio >= 0.95 else f"{ratio:.2f} x"


def machine_in_words(facts: Record) -> str:
    simd = "AVX-512" if "avx512f" in facts["simd"] else "AVX2" if "avx2" in facts["simd"] else "no AVX2"
    memory = f", {facts['memory_gib']:g} GiB" if facts["memory_gib"] else ""
    kind = f" (family {facts['family']}, model {facts['model']})" if facts.get("model") else ""
    return f"{facts['cores']} cores of an {facts['cpu']}{kind}, {simd}{memory}"


def _table(head: list[str], rows: list[list[Any]], left: int = 1) -> str:
    align = ["---"] * left + ["--:"] * (len(head) - left)
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in [head, align, *rows])


def _cell(contender: Record | None) -> str:
    if contender is None:
        return ""
    if contender["error"]:
        return "failed"
    ratio = contender["ratio"]
    return f"{times(ratio['wall'])[:-2]} / {times(ratio['cpu'])[:-2]}" if ratio else ""


def _ratios(works: list[Record], libraries: tuple[str, ...]) -> str:
    rows = []
    for work in works:
        found = {c["library"]: c for c in work["contenders"] if not c["variant"]}
        ours = work["contenders"][0]
        wall = "failed" if ours["error"] else duration(ours["medians"]["wall"]).strip()
        rows.append([label_of(work), wall, *(_cell(found.get(library)) for library in libraries)])
    return _table(["row, work", "isoxide", *(LABELS[library] for library in libraries)], rows)


def _ourselves(works: list[Record]) -> str:
    """isoxide with other threads, kernels or layouts."""
    rows = []
    for work in works:
        ours = work["contenders"][0]
        for other in work["contenders"][1:]:
            if other["library"] == "isoxide" and other["ratio"] and "wall" in other["ratio"]:
                kernels = [str(c["facts"].get("kernel") or "not told") for c in (ours, other)]
                both = [duration(c["medians"]["wall"]).strip() for c in (ours, other)]
                name = ours["variant"] or "as in the table above"
                rows.append([label_of(work), f"{name}: {both[0]}", f"{other['variant']}: {both[1]}",
                             _cell(other), " / ".join(dict.fromkeys(kernels))])  # fmt: skip
    head = ["row, work", "this", "other", "other / this: wall / CPU", "kernel, as the build says"]
    return _table(head, rows, left=3)


def _memory(works: list[Record]) -> str:
    rows = []
    for work in works:
        for c in work["contenders"]:
            value = "failed" if c["error"] else f"{c['memory'] / 2**20:,.1f} MiB"
            rows.append([LABELS[c["library"]], c["threads"], value, times(c["ratio"]["memory"]) if c["ratio"] else ""])
    return _table(
        [f"{works[0]['title'] if works else 'memory'}", "threads", "above what was there", "times ours"], rows
    )


def _everything(works: list[Record]) -> str:
    rows = []
    for work in works:
        for c in work["contenders"]:
            if not c["medians"]:
                continue
            cells = [duration(c["medians"][k]).strip() for k in ("wall", "cpu")]
            spread = [wall * c["scale"] for wall, _ in c["timings"]]
            between = f"{duration(min(spread)).strip()} - {duration(max(spread)).strip()}"
            scaled = f", x {c['scale']:,g}" if c["scale"] != 1 else ""
            variant = f", {c['variant']}" if c["variant"] else ""
            calls = f"{len(c['timings'])} x {c['repeats']:,}{scaled}"
            rows.append([label_of(work), LABELS[c["library"]] + variant, *cells, between, calls])
    return _table(["row, work", "contender", "wall", "CPU", "wall from - to", "timings x calls"], rows, left=2)


def _agreement(record: Record) -> str:
    outcomes = [c for work in record["works"] for c in work["contenders"]]
    same = [c["equal"] for c in outcomes if c["library"] in ("sklearn", "scipy", "scipy_array")]
    found: dict[str, list[float]] = {}
    for c in outcomes:
        if c["agreement"] is not None:
            found.setdefault(LABELS[c["library"]], []).append(c["agreement"])
    parts = [f"{name} {min(values):.2f} to {max(values):.2f}" for name, values in found.items()]
    return (
        "Before they were timed, results were compared bit for bit with scikit-learn's and scipy's: "
        f"{same.count(True)} times equal, {same.count(False)} times not.\nOther forests draw other trees; Spearman's "
        f"correlation of their scores with isoxide's: {', '.join(parts) or 'not computed'}."
    )


def _conditions(record: Record) -> str:
    """Where, when and with what."""
    facts, works = record["machine"], record["works"]
    python = f"{facts['system']}, Python {facts['python']}"
    versions = ", ".join(f"{k} {v or 'NOT INSTALLED'}" for k, v in record["versions"].items())
    kernels = {c["facts"].get("kernel") for w in works for c in w["contenders"] if c["library"] == "isoxide"}
    told = ", ".join(sorted(k for k in kernels if k)) or "this build does not say, and may not know `ISOXIDE_KERNEL`"
    minutes = f"{record.get('seconds', 0) / 60:.0f} minutes."
    lines = [
        f"{record['started'][:10]}, {machine_in_words(facts)}, {python}, commit {record['commit']}.",
        f"{versions}.",
        f"Kernels of isoxide: {told}.",
        f"Load before the run {facts['load_before']}, after it {facts.get('load_after', 'unknown')}; it took {minutes}",
    ]
    settings = record["settings"]
    odd = [f"{k}={v}" for k, v in settings.items() if v and k != "left_out" and (k, v) != ("scale", 1)]
    if odd or not record["complete"]:
        lines.append(f"**Not the whole benchmark**: {', '.join(odd) or 'stopped before its end'}.")
    if settings.get("left_out"):
        lines.append(f"Left out for want of memory: growth at {'; '.join(settings['left_out'])}.")
    return "\n".join(f"- {line}" for line in lines)


def page(record: Record, record_name: str) -> str:
    works = record["works"]
    timed = [work for work in works if work["kind"] != "memory"]
    wrong = [f"- {line}" for line in failures(record)]
    return f"""# How fast

Written by `make bench-docs` from [the record of a run](../tests/bench/records/{record_name}), which holds every
timing.

{_conditions(record)}

The table: half normal columns, half counts with 70 % zeros, 1 % of the rows times 3. Forests have 100 trees of 256 rows
unless said. Every contender has a process of its own; they are timed in turn, A B C A B C, on copies of the same table.
A ratio is that of one round; shown is the median over the rounds. Cells are **wall / CPU**: how many times as long
the rival takes by the clock, and how many times as much processor time, of all its threads. Threads are equal on both
sides, one unless said.

![Wall time of rivals over isoxide's](benchmark-ratios.svg)

## Forests

{_ratios([w for w in timed if w["kind"] != "rank"], _FORESTS)}

## Ranks

`rank_features` is given a row-major array, the others columns that lie side by side in memory. scipy is timed on 4
columns and 20 of the rows, pandas on 4 columns, and both scaled up.

{_ratios([w for w in timed if w["kind"] == "rank"], _RANKERS)}

## isoxide against itself

{_ourselves(timed)}

## Memory

Peak of the resident memory during the call, above what the process held before it; the table itself is not in it.

{_memory([w for w in works if w["kind"] == "memory"])}

## How costs grow

![Nanoseconds per row against rows, columns, trees and threads](benchmark-growth.svg)

Wall time of `score_samples` per row; one thread but where threads are counted. The dashed line is one pass over the
same table by `ndarray.sum` in the same run, on one thread: what memory alone costs, where the table is larger than the
caches.

## Same results?

{_agreement(record)}

{_UNFAIR}
## What failed

{chr(10).join(wrong) or "Nothing."}

## All medians

{_everything(timed + record["growth"])}
"""
