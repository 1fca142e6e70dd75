"""Run the benchmark or write its documents: `python -m bench run` and `python -m bench render`."""

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
    run = commands.add_parser("run", help="run the works; write the documents if all of them were run")
    run.add_argument("--quick", action="store_true", help="only some works, on one thread and smaller tables")
    run.add_argument("--rows", type=int, nargs="+", choices=ROWS, metavar="ROW", help="1 to 15")
    run.add_argument("--growth", action="store_true", help="with --rows, also measure the growth of costs")
    run.add_argument("--rounds", type=int, help="timings of each contender instead of the work's own number")
    run.add_argument("--scale", type=float, default=1.0, help="share of the rows of each table, for trials")
    run.add_argument("--record", type=Path, help="where to write the record")
    documents = commands.add_parser("render", help="docs/benchmarks.md, its charts and the README's table")
    documents.add_argument("record", type=Path, nargs="?", help="by default the latest in tests/bench/records")
    documents.add_argument("--into", type=Path, help="write into this folder instead, and leave the README alone")
    return parser.parse_args()


def _works_and_points(options: argparse.Namespace) -> tuple[list[Work], list[Work]]:
    """Return the works of the table, and the measurements of the growth chart."""
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
    is_complete = not (options.quick or options.rows or options.rounds or options.scale != 1)
    works, points = _works_and_points(options)
    settings = {k: v for k, v in vars(options).items() if k in ("quick", "rows", "rounds", "scale", "growth")}
    new_record = record.new_record(settings)
    path = options.record or (record.path_of(new_record) if is_complete else None)
    print(render.headline(new_record), flush=True)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="isoxide-bench-") as folder:
        for work in works:
            new_record["works"].append(harness.run(work, Path(folder)))
            print(render.lines_of(new_record["works"][-1]), flush=True)
            if path:
                # Written after each work, in case the run is stopped.
                record.write(new_record, path)
        for work in points:
            if not growth.fits_in_memory(work):
                print(f"growth, {work.title}: left out, too little memory", flush=True)
                new_record["settings"].setdefault("left_out", []).append(work.title)
                continue
            new_record["growth"].append(harness.run(work, Path(folder)))
            print(render.lines_of(new_record["growth"][-1]), flush=True)
            (Path(folder) / work.data.file).unlink()
    new_record["machine"]["load_after"] = machine.load()
    new_record["seconds"] = round(time.perf_counter() - start)
    new_record["complete"] = True
    if path:
        record.write(new_record, path)
        print(f"record: {path}")
    if path and is_complete and not options.record:
        render.write_all(new_record, path.name)
    failures = record.failures(new_record)
    print(f"\n{new_record['seconds']} s" + "".join(f"\nFAILED: {line}" for line in failures))
    return 1 if failures else 0


def main() -> int:
    options = _arguments()
    if options.command == "run":
        return _run(options)
    path = options.record or record.latest()
    render.write_all(record.read(path), path.name, options.into)
    return 0


if __name__ == "__main__":
    sys.exit(main())
