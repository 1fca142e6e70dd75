"""Write the documents of all records, and the lines that a run prints."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from . import charts, grid, page, record
from .record import Record
from .text import duration, machine_in_words, times
from .works import LABELS

ROOT = Path(__file__).parents[2]
_BEGIN, _END = "<!-- benchmark: written by make bench-docs -->", "<!-- end of benchmark -->"


def headline(result: Record) -> str:
    facts = result["machine"]
    used = f"{record.kind(result)}\n{machine_in_words(facts)}"
    return f"{used}\n{result['started'][:10]}, commit {result['commit']}, load before {facts['load_before']}"


def lines_of(work: Record, kind: str) -> str:
    """Return one line per contender, for the terminal; each names the kind of machine."""
    threads = f"{work['threads']} thread{'s' if work['threads'] > 1 else ''}"
    name = f"row {work['row']}" if work["row"] else "growth by"
    lines = [f"\n{name} {work['title']}, {threads}"]
    if not work["row"]:
        lines[0] += f", {work['trees']} trees"
    for c in work["contenders"]:
        text = f"  [{kind}] {c['name']:<24}"
        if c["error"]:
            lines.append(f"{text} FAILED: {c['error']}")
            continue
        if c["memory"] is not None:
            text += f" {c['memory'] / 2**20:10,.1f} MiB"
        elif c["medians"]:
            text += f" {duration(c['medians']['wall']):>8} wall {duration(c['medians']['cpu']):>8} CPU"
        if c["ratio"] and c["library"] != "numpy_sum":
            text += "  " + ", ".join(f"{times(v)} {k}" for k, v in c["ratio"].items())
        lines.append(text + ("  (scaled up)" if c["scale"] != 1 else "") + (f"  {c['note']}" if c["note"] else ""))
    return "\n".join(lines)


#: Works of the README's table: numbers of rows, and what singles one work out. None stands for all cores.
_README_WORKS: tuple[tuple[int, dict[str, Any]], ...] = (
    (1, {"layout": "C"}),
    (2, {"layout": "C"}),
    (5, {"layout": "pandas"}),
    (7, {"take": 1}),
    (8, {}),
    (9, {"n": 1_000_000, "threads": None}),
    (10, {"n": 1_000_000, "threads": None}),
    (13, {"threads": 1}),
    (19, {}),
)


def _readme_line(work: Record, kind: str) -> str | None:
    """Return a line of the README's table; None if the work failed."""
    ours, *others = work["contenders"]
    if not ours["medians"]:
        return None
    cells = [work["title"], kind, work["threads"], duration(ours["medians"]["wall"])]
    theirs = next((c for c in others if c["library"] in ("sklearn", "scipy") and not c["variant"]), None)
    if theirs is None:
        return "| " + " | ".join(map(str, [*cells, ours["note"], "", "", ""])) + " |"
    if not theirs["ratio"]:
        return None
    rest = [c for c in charts.rivals_of(work) if c["library"] not in ("sklearn", "scipy", "pyod")]
    closest = min(rest, key=lambda c: float(c["ratio"]["wall"])) if rest else None
    cells += [duration(theirs["medians"]["wall"]), *(times(theirs["ratio"][k]) for k in ("wall", "cpu"))]
    cells.append(f"{LABELS[closest['library']]} {times(closest['ratio']['wall'])}" if closest else "")
    return "| " + " | ".join(map(str, cells)) + " |"


def readme_table(records: list[Record]) -> str:
    machines = [f"- {record.kind(r)}: {machine_in_words(r['machine'])}, {r['started'][:10]}." for r in records]
    versions = records[0]["versions"]
    against = f"scikit-learn {versions['scikit-learn']} and scipy {versions['scipy']}"
    lines = [
        f"The table compares isoxide with {against}, with the same number of threads. Times are medians of",
        "interleaved rounds. Each line names the processor and the kernel, the instruction set that isoxide uses:",
        "",
        *machines,
        "",
        "`make bench` repeats the measurement. [docs/benchmarks.md](docs/benchmarks.md) has all rows, other libraries,",
        "configurations in which another library is faster, and the limits of the comparison.",
        "",
        "| work | processor, kernel | threads | isoxide | scikit-learn or scipy | faster, wall | CPU | fastest other |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row, features in _README_WORKS:
        for result in records:
            work = record.find(result, row, features)
            line = _readme_line(work, record.kind(result)) if work else None
            lines += [line] if line else []
    return "\n".join(lines)


def put_between_markers(text: str, table: str) -> str:
    pattern = re.compile(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise SystemExit("README.md lacks the two markers of the benchmark")
    return pattern.sub(lambda _: f"{_BEGIN}\n\n{table}\n\n{_END}", text)


def texts() -> dict[Path, str]:
    """Return the texts that show numbers of the records: the page, and the README with its table."""
    records, readme = record.complete(), ROOT / "README.md"
    return {
        ROOT / "docs" / "benchmarks.md": page.page(records, grid.all_results()),
        readme: put_between_markers(readme.read_text(), readme_table(records)),
    }


def write_all(into: Path | None = None) -> None:
    """Write the page, its charts and the README's table; with `into`, write into that folder instead."""
    docs = into or ROOT / "docs"
    docs.mkdir(parents=True, exist_ok=True)
    for path, text in texts().items():
        (docs / path.name if into else path).write_text(text)
    for old in docs.glob("benchmark-*.svg"):
        old.unlink()
    for result in record.complete():
        slug = record.kind_slug(result)
        charts.ratios(result, docs / f"benchmark-ratios-{slug}.svg")
        charts.growth(result, docs / f"benchmark-growth-{slug}.svg")
    print(f"written: benchmarks.md, its charts and README.md in {into or ROOT}")
