"""The command: `python -m bench run` and `python -m bench render`, with the folder of the tests on the path."""

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
    run = commands.add_parser("run", help="time; everything unless told otherwise, and only then write the documents")
    run.add_argument("--quick", action="store_true", help="some rows, one thread, smaller tables")
    run.add_argument("--rows", type=int, nargs="+", choices=ROWS, metavar="ROW", help="1 to 16")
    run.add_argument("--growth", action="store_true", help="with --rows: how costs grow, too")
    run.add_argument("--rounds", type=int, help="timings of each contender instead of the work's own number")
    run.add_argument("--scale", type=float, default=1.0, help="share of the rows of the tables, to try things out")
    run.add_argument("--record", type=Path, help="where to write the record")
    documents = commands.add_parser("render", help="docs/benchmarks.md, its charts and the README's table")
    documents.add_argument("record", type=Path, nargs="?", help="by default the latest in tests/bench/records")
    documents.add_argument("--into", type=Path, help="write into this folder instead, and leave the README alone")
    return parser.parse_args()


def _chosen(options: argparse.Namespace) -> tuple[list[Work], list[Work]]:
    """Rows, and points of growth."""
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
    found = record.new_record(settings)
    path = options.record or (record.path_of(found) if whole else None)
    print(render.headline(found), flush=True)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="isoxide-bench-") as folder:
        for work in works:
            found["works"].append(harness.run(work, Path(folder)))
            print(render.lines_of(found["works"][-1]), flush=True)
            if path:
                # What was measured is kept if the run is stopped.
                record.write(found, path)
        for work in points:
            if not growth.fits_in_memory(work):
                print(f"growth, {work.title}: left out, too little memory", flush=True)
                found["settings"].setdefault("left_out", []).append(work.title)
                continue
            found["growth"].append(harness.run(work, Path(folder)))
            print(render.lines_of(found["growth"][-1]), flush=True)
            (Path(folder) / work.data.file).unlink()
    found["machine"]["load_after"] = machine.load()
    found["seconds"] = round(time.perf_counter() - start)
    found["complete"] = True
    if path:
        record.write(found, path)
        print(f"record: {path}")
    if path and whole and not options.record:
        render.write_all(found, path.name)
    wrong = record.failures(found)
    print(f"\n{found['seconds']} s" + "".join(f"\nFAILED: {line}" for line in wrong))
    return 1 if wrong else 0


def main() -> int:
    options = _arguments()
    if options.command == "run":
        return _run(options)
    path = options.record or record.latest()
    render.write_all(record.read(path), path.name, options.into)
    return 0


if __name__ == "__main__":
    sys.exit(main())
