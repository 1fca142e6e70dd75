"""Write the documents of all records, and the lines that a run prints."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import tomllib

from . import charts, grid, page, record
from .record import Record
from .text import duration, machine_in_words, table, times

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
    (7, {"take": 1}),
    (9, {"n": 1_000_000, "threads": None}),
    (13, {"threads": 1}),
)


def _readme_cell(work: Record | None) -> str:
    """Return how many times faster isoxide is, with both times; nothing if a record lacks the work or it failed."""
    if work is None or not work["contenders"][0]["medians"]:
        return ""
    ours, *others = work["contenders"]
    theirs = next((c for c in others if c["library"] in ("sklearn", "scipy") and not c["variant"]), None)
    if theirs is None or not theirs["ratio"]:
        return ""
    walls = [duration(c["medians"]["wall"]) for c in (ours, theirs)]
    return f"{times(theirs['ratio']['wall'])} ({walls[0]}, not {walls[1]})"


def readme_table(records: list[Record]) -> str:
    """Return the README's table, with a column for each kind of machine."""
    versions = records[0]["versions"]
    rows = []
    for row, features in _README_WORKS:
        works = [record.find(result, row, features) for result in records]
        titles = [f"{w['title']}, {w['threads']} thread{'s' if w['threads'] > 1 else ''}" for w in works if w]
        if titles:
            rows.append([titles[0], *map(_readme_cell, works)])
    dates = ", ".join(dict.fromkeys(r["started"][:10] for r in records))
    rivals = f"scikit-learn {versions['scikit-learn']} and scipy {versions['scipy']}"
    every = f"[All benchmarks]({source_of('docs/benchmarks.md')})"
    lines = [
        f"isoxide against {rivals}, on as many threads. Heads name processor and kernel.",
        "",
        table(["work", *map(record.kind, records)], rows),
        "",
        f"Medians of interleaved rounds, {dates}. {every} include other libraries and the work in which one of them is "
        "faster. `make bench-quick` measures on your machine in a minute.",
    ]
    return "\n".join(lines)


def source_of(path: str) -> str:
    """Return the address of a file in the repository; the registry shows the README without the files."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    return f"{urls['Source']}/blob/main/{path}"


def put_between_markers(text: str, block: str) -> str:
    pattern = re.compile(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise SystemExit("README.md lacks the two markers of the benchmark")
    return pattern.sub(lambda _: f"{_BEGIN}\n{block}\n{_END}", text)


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
