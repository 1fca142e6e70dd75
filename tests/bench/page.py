"""Write the page docs/benchmarks.md in Markdown from the record of a run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from .charts import label_of
from .record import Record, failures
from .works import LABELS

#: The limits of the comparison, which do not depend on the numbers.
_UNFAIR = (Path(__file__).parent / "unfair.md").read_text()
_FORESTS = ("sklearn", "isotree", "coniferest", "pyod")
_EXPLAINERS = ("shap",)
_RANKERS = ("scipy", "scipy_array", "numpy", "polars", "pandas")


def duration(seconds: float) -> str:
    """Return a time with three digits and a unit."""
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
    """Return the table that compares isoxide with itself on other threads, kernels or layouts."""
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
    head = ["row, work", "this", "other", "other / this: wall / CPU", "kernels"]
    return _table(head, rows, left=3)


def _memory(works: list[Record]) -> str:
    rows = []
    for work in works:
        for c in work["contenders"]:
            value = "failed" if c["error"] else f"{c['memory'] / 2**20:,.1f} MiB"
            rows.append([LABELS[c["library"]], c["threads"], value, times(c["ratio"]["memory"]) if c["ratio"] else ""])
    return _table(
        [f"{works[0]['title'] if works else 'memory'}", "threads", "additional memory", "times isoxide's"], rows
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
    ranges = [f"{min(values):.2f} to {max(values):.2f} for {name}" for name, values in found.items()]
    correlations = ", ".join(ranges) or "not computed"
    return (
        "Results were compared bit for bit with scikit-learn's and scipy's before they were timed. They were equal "
        f"{same.count(True)} times and different {same.count(False)} times.\nOther forests draw other trees. "
        f"Spearman's correlation of their scores with isoxide's was {correlations}."
    )


def _conditions(record: Record) -> str:
    """Return the list of the machine, the versions and the settings of a run."""
    facts, works = record["machine"], record["works"]
    python = f"{facts['system']}, Python {facts['python']}"
    versions = ", ".join(f"{k} {v or 'NOT INSTALLED'}" for k, v in record["versions"].items())
    kernels = {c["facts"].get("kernel") for w in works for c in w["contenders"] if c["library"] == "isoxide"}
    told = ", ".join(sorted(k for k in kernels if k)) or "unknown; this build may ignore `ISOXIDE_KERNEL`"
    minutes = f"{record.get('seconds', 0) / 60:.0f} minutes."
    loads = facts["load_before"], facts.get("load_after", "unknown")
    lines = [
        f"Run: {record['started'][:10]}, {machine_in_words(facts)}, {python}, commit {record['commit']}.",
        f"Versions: {versions}.",
        f"Kernels of isoxide: {told}.",
        f"Load: {loads[0]} before the run and {loads[1]} after it. The run took {minutes}",
    ]
    settings = record["settings"]
    odd = [f"{k}={v}" for k, v in settings.items() if v and k != "left_out" and (k, v) != ("scale", 1)]
    if odd or not record["complete"]:
        lines.append(f"**This is not the whole benchmark**: {', '.join(odd) or 'it stopped before its end'}.")
    if settings.get("left_out"):
        lines.append(f"Memory was too small for some points of growth: {'; '.join(settings['left_out'])}.")
    return "\n".join(f"- {line}" for line in lines)


def page(record: Record, record_name: str) -> str:
    works = record["works"]
    timed = [work for work in works if work["kind"] != "memory"]
    wrong = [f"- {line}" for line in failures(record)]
    return f"""# Benchmarks

`make bench-docs` writes this page from [the record of a run](../tests/bench/records/{record_name}), which has every
timing.

{_conditions(record)}

Half of the columns are normal and half are counts with 70 % zeros; 1 % of the rows are multiplied by 3. Forests have
100 trees of 256 rows unless the row says otherwise. Every contender runs in a process of its own. They are timed in
turn, A B C A B C, on copies of the same table.

A ratio is taken within one round, and the tables show the median over the rounds. Cells are **wall / CPU**: the rival's
time divided by isoxide's, by the clock and in processor time of all threads. Both sides use the same number of threads,
which is one unless the row says otherwise.

![Wall time of rivals over isoxide's](benchmark-ratios.svg)

## Forests

{_ratios([w for w in timed if w["kind"] not in ("rank", "explain")], _FORESTS)}

## Explanations

The work is `shap_values` of float32 rows. shap's `TreeExplainer` runs on one thread, and what it takes to make the
explainer is not included.

{_ratios([w for w in timed if w["kind"] == "explain"], _EXPLAINERS)}

## Ranks

`rank_features` is given a row-major array, and the rivals are given contiguous columns. scipy is timed on 4 columns and
20 of the rows, and pandas on 4 columns; both are scaled up.

{_ratios([w for w in timed if w["kind"] == "rank"], _RANKERS)}

## Kernels, layouts and threads of isoxide

{_ourselves(timed)}

## Memory

The table shows the peak of the resident memory during the call, minus the memory that the process held before it. The
data itself is not included.

{_memory([w for w in works if w["kind"] == "memory"])}

## Scaling

![Nanoseconds per row against rows, columns, trees and threads](benchmark-growth.svg)

The chart shows the wall time of `score_samples` per row, on one thread except in the panel for threads. The dashed line
is one pass over the same table by `ndarray.sum` in the same run, on one thread. It shows the cost of memory alone, if
the table is larger than the caches.

## Agreement of results

{_agreement(record)}

{_UNFAIR}
## Failures

{chr(10).join(wrong) or "Nothing failed."}

## All medians

{_everything(timed + record["growth"])}
"""
