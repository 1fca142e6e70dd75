"""Run the benchmark or write its documents: `python -m bench run` or `python -m bench render` in the folder `tests`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from . import growth, harness, machine, record, render
from .works import ROWS, Work, all_works, quick_works


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure; a run of all works also writes the documents")
    run.add_argument("--quick", action="store_true", help="measure some rows, on one thread and smaller tables")
    run.add_argument(
        "--rows", type=int, nargs="+", choices=ROWS, metavar="ROW", help="measure these rows of the table, 1 to 15"
    )
    run.add_argument("--growth", action="store_true", help="with --rows or --quick: measure the growth chart too")
    run.add_argument("--rounds", type=int, help="number of timings per contender instead of the default of each work")
    run.add_argument("--scale", type=float, default=1.0, help="share of the rows of each table, for trial runs")
    run.add_argument("--record", type=Path, help="file for the record")
    documents = commands.add_parser("render", help="write docs/benchmarks.md, its charts and the README's table")
    documents.add_argument("record", type=Path, nargs="?", help="default: the latest in tests/bench/records")
    documents.add_argument("--into", type=Path, help="write into this folder instead, and not the README")
    return parser.parse_args()


def _selected(options: argparse.Namespace) -> tuple[list[Work], list[Work]]:
    """Return the works of the table, and those of the growth chart."""
    works = quick_works() if options.quick else all_works(machine.cores())
    if options.rows:
        works = [work for work in works if work.row in options.rows]
    works = [work.scaled(options.scale) for work in works]
    grows = options.growth or not (options.quick or options.rows)
    growth_works = growth.points(machine.cores(), options.scale) if grows else []
    if options.rounds:
        works = [replace(work, rounds=options.rounds if work.kind != "memory" else 1) for work in works]
        growth_works = [replace(work, rounds=options.rounds) for work in growth_works]
    return works, growth_works


def _run(options: argparse.Namespace) -> int:
    whole = not (options.quick or options.rows or options.rounds or options.scale != 1)
    works, growth_works = _selected(options)
    settings = {k: v for k, v in vars(options).items() if k in ("quick", "rows", "rounds", "scale", "growth")}
    results = record.new_record(settings)
    path = options.record or (record.path_of(results) if whole else None)
    print(render.headline(results), flush=True)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="isoxide-bench-") as folder:
        for work in works:
            results["works"].append(harness.run(work, Path(folder)))
            print(render.lines_of(results["works"][-1]), flush=True)
            if path:
                # The record is written after each work, so that a stopped run keeps its measurements.
                record.write(results, path)
        for work in growth_works:
            if not growth.fits_in_memory(work):
                print(f"growth, {work.title}: skipped, because memory is too small", flush=True)
                results["settings"].setdefault("left_out", []).append(work.title)
                continue
            results["growth"].append(harness.run(work, Path(folder)))
            print(render.lines_of(results["growth"][-1]), flush=True)
            (Path(folder) / work.data.file).unlink()
    results["machine"]["load_after"] = machine.load()
    results["seconds"] = round(time.perf_counter() - start)
    results["complete"] = True
    if path:
        record.write(results, path)
        print(f"record: {path}")
    if path and whole and not options.record:
        render.write_all(results, path.name)
    failed = record.failures(results)
    print(f"\n{results['seconds']} s" + "".join(f"\nFAILED: {line}" for line in failed))
    return 1 if failed else 0


def main() -> int:
    options = _arguments()
    if options.command == "run":
        return _run(options)
    path = options.record or record.latest()
    render.write_all(record.read(path), path.name, options.into)
    return 0


if __name__ == "__main__":
    sys.exit(main())
