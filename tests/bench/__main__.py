"""Run the benchmark or the grid search, or write the documents.

The command is `python -m bench`, with the folder of the tests on the path of Python.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from . import goals, grid, growth, harness, machine, record, render
from .works import ROWS, Work, all_works, quick_works


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure; a run of everything also keeps a record and writes the documents")
    run.add_argument("--quick", action="store_true", help="some rows, one thread, smaller tables")
    run.add_argument("--rows", type=int, nargs="+", choices=ROWS, metavar="ROW", help=f"1 to {max(ROWS)}")
    run.add_argument("--growth", action="store_true", help="with --rows: measure how costs grow, too")
    run.add_argument("--update", action="store_true", help="with --rows: replace these rows of the record")
    run.add_argument("--rounds", type=int, help="timings of each contender, instead of the work's own number")
    run.add_argument("--scale", type=float, default=1.0, help="share of the rows of the tables, to try things out")
    run.add_argument("--record", type=Path, help="file for the record")
    search = commands.add_parser("grid", help="search for configurations in which a rival is faster")
    search.add_argument("--seconds", type=float, default=1800, help="time limit")
    search.add_argument("--seed", type=int, default=0, help="seed of the order of the configurations")
    search.add_argument("--kinds", nargs="+", choices=("fit", "score", "rank", "reference"), help="only these works")
    commands.add_parser("goals", help="compare the records with the goals of development")
    documents = commands.add_parser("render", help="write docs/benchmarks.md, its charts and the README's table")
    documents.add_argument("--into", type=Path, help="write into this folder instead, and leave the README alone")
    options = parser.parse_args()
    if options.command == "run" and options.update and (not options.rows or options.scale != 1 or options.quick):
        parser.error("--update needs --rows, and whole tables: leave out --quick and --scale")
    return options


def _chosen(options: argparse.Namespace) -> tuple[list[Work], list[Work]]:
    """Return the works of the rows, and those of the growth chart."""
    works = quick_works() if options.quick else all_works(machine.cores())
    if options.rows:
        works = [work for work in works if work.row in options.rows]
    works = [work.scaled(options.scale) for work in works]
    grows = options.growth or not (options.quick or options.rows)
    points = growth.points(machine.cores(), options.scale) if grows else []
    if options.rounds:
        works = [replace(work, rounds=options.rounds if work.kind != "memory" else 1) for work in works]
        points = [replace(work, rounds=options.rounds) for work in points]
    return works, points


def _run(options: argparse.Namespace) -> int:
    whole = not (options.quick or options.rows or options.rounds or options.scale != 1)
    works, points = _chosen(options)
    settings = {k: v for k, v in vars(options).items() if k in ("quick", "rows", "rounds", "scale", "growth")}
    result = record.new_record(settings)
    path = options.record or (record.path_of(result) if whole or options.update else None)
    # Read first, so that a record that cannot be updated is refused before the measurement.
    updated = record.to_update(path, result) if path and options.update else None
    # The processes of a quick run do all works: starting new ones would take most of the time.
    pool: dict[str, harness.Process] | None = {} if options.quick else None
    print(render.headline(result), flush=True)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="isoxide-bench-") as folder:
        for work in works:
            result["works"].append(harness.run(work, Path(folder), pool))
            print(render.lines_of(result["works"][-1], record.kind(result)), flush=True)
            if path:
                # A run that is stopped keeps its measurements, and leaves the record of the last whole run alone.
                record.write(result, path.with_suffix(".part"))
        for work in points:
            if not growth.fits_in_memory(work):
                print(f"growth, {work.title}: left out, too little memory", flush=True)
                result["settings"].setdefault("left_out", []).append(work.title)
                continue
            result["growth"].append(harness.run(work, Path(folder)))
            print(render.lines_of(result["growth"][-1], record.kind(result)), flush=True)
            (Path(folder) / work.data.file).unlink()
    harness.stop(pool)
    result["machine"]["load_after"] = machine.load()
    result["seconds"] = round(time.perf_counter() - start)
    result["complete"] = whole
    if updated:
        result = record.updated(updated, result, options.rows)
    if path:
        record.write(result, path)
        path.with_suffix(".part").unlink()
        print(f"record: {path}")
    if path and result["complete"] and not options.record:
        render.write_all()
    failed = record.failures(result)
    print(f"\n{result['seconds']} s" + "".join(f"\nFAILED: {line}" for line in failed))
    outcomes = [outcome for work in result["works"] + result["growth"] for outcome in work["contenders"]]
    return 1 if any(map(record.is_wrong, outcomes)) else 0


def main() -> int:
    options = _arguments()
    if options.command == "render":
        render.write_all(options.into)
        return 0
    if options.command == "goals":
        print(goals.table_of(record.complete()))
        return 0
    os.environ |= machine.without_avx512()
    if options.command == "run":
        return _run(options)
    results = grid.search(options.seconds, options.seed, options.kinds)
    return 1 if any(entry["wrong"] for entry in results.entries) else 0


if __name__ == "__main__":
    sys.exit(main())
