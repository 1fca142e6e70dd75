"""Write the documents of a record, and the lines that a run prints."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from . import charts, page
from .record import Record
from .works import LABELS

ROOT = Path(__file__).parents[2]
_BEGIN, _END = "<!-- benchmark: written by make bench-docs -->", "<!-- end of benchmark -->"


def headline(record: Record) -> str:
    facts = record["machine"]
    return f"{record['started'][:10]}, {page.machine_text(facts)}, load before {facts['load_before']}"


def lines_of(work: Record) -> str:
    """Return a line per contender for the terminal."""
    kernel = next((c["facts"].get("kernel") for c in work["contenders"] if c["facts"]), None)
    threads = f"{work['threads']} thread{'s' if work['threads'] > 1 else ''}"
    name = f"row {work['row']}" if work["row"] else "growth by"
    lines = [f"\n{name} {work['title']}, {threads}" + (f", kernel {kernel}" if kernel else "")]
    if not work["row"]:
        lines[0] += f", {work['trees']} trees"
    for c in work["contenders"]:
        text = f"  {c['name']:<26}"
        if c["error"]:
            lines.append(f"{text} FAILED: {c['error']}")
            continue
        if c["memory"] is not None:
            text += f" {c['memory'] / 2**20:10,.1f} MiB"
        elif c["medians"]:
            text += f" {page.duration(c['medians']['wall'])} wall {page.duration(c['medians']['cpu'])} CPU"
        if c["ratio"] and c["library"] != "numpy_sum":
            text += "  " + ", ".join(f"{page.times(v)} {k}" for k, v in c["ratio"].items())
        lines.append(text + ("  (scaled up)" if c["scale"] != 1 else ""))
    return "\n".join(lines)


def _find(record: Record, row: int, **filters: Any) -> Record | None:
    def fits(work: Record) -> bool:
        return work["row"] == row and all((work | work["data"])[k] == v for k, v in filters.items())

    return next((work for work in record["works"] if fits(work)), None)


def _readme_works(record: Record) -> list[Record]:
    """Return the works that the README's table shows."""
    cores = record["machine"]["cores"]
    million = {"n": 1_000_000}
    selected: list[tuple[int, dict[str, Any]]] = [
        (1, {"layout": "C"}),
        (2, {"layout": "C"}),
        (5, {"layout": "pandas"}),
        (7, {"take": 1}),
        (8, {}),
        (9, million | {"threads": cores}),
        (10, million | {"threads": cores}),
        (13, {"threads": 1}),
    ]
    return [work for row, filters in selected if (work := _find(record, row, **filters))]


def readme_table(record: Record) -> str:
    facts, versions = record["machine"], record["versions"]
    against = f"scikit-learn {versions['scikit-learn']} and scipy {versions['scipy']}"
    lines = [
        f"The table compares isoxide with {against}, with the same number of threads. Times are medians of",
        f"interleaved rounds on {page.machine_text(facts)}, {record['started'][:10]}. `make bench` repeats the",
        "measurement, and [docs/benchmarks.md](docs/benchmarks.md) has all rows, other libraries and the limits of the",
        "comparison.",
        "",
        "| work | threads | isoxide | scikit-learn or scipy | faster, wall | faster, CPU | fastest other |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for work in _readme_works(record):
        isoxide, *rivals = work["contenders"]
        baselines = [c for c in rivals if c["library"] in ("sklearn", "scipy") and not c["variant"]]
        if not baselines or not baselines[0]["ratio"] or not isoxide["medians"]:
            continue
        baseline = baselines[0]
        other_rivals = [c for c in charts.rivals_of(work) if c["library"] not in ("sklearn", "scipy", "pyod")]
        closest = min(other_rivals, key=lambda c: float(c["ratio"]["wall"])) if other_rivals else None
        fastest = f"{LABELS[closest['library']]} {page.times(closest['ratio']['wall'])}" if closest else ""
        cells = [
            *(work["title"], work["threads"]),
            *(page.duration(c["medians"]["wall"]).strip() for c in (isoxide, baseline)),
            *(page.times(baseline["ratio"][k]) for k in ("wall", "cpu")),
            fastest,
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def put_between_markers(text: str, table: str) -> str:
    pattern = re.compile(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise SystemExit("README.md lacks the two markers of the benchmark")
    return pattern.sub(lambda _: f"{_BEGIN}\n\n{table}\n\n{_END}", text)


def write_all(record: Record, record_name: str, into: Path | None = None) -> None:
    """Write the page, its charts and the README's table; with `into`, the table goes into a file in that folder."""
    docs = into or ROOT / "docs"
    docs.mkdir(parents=True, exist_ok=True)
    charts.ratios(record, docs / "benchmark-ratios.svg")
    charts.growth(record, docs / "benchmark-growth.svg")
    (docs / "benchmarks.md").write_text(page.page(record, record_name))
    table = readme_table(record)
    if into:
        (docs / "readme-table.md").write_text(table + "\n")
    else:
        readme = ROOT / "README.md"
        readme.write_text(put_between_markers(readme.read_text(), table))
    print(f"written: benchmarks.md and its charts in {docs}")
