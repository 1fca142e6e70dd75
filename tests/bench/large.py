"""Measure time and memory of `isoxide.stream` on tables of 1,000,000 to 100,000,000 rows of Parquet.

``python -m bench.large --folder DIR`` writes the tables into the folder once (the largest has 5.4 GB), runs each work
in a new process, and prints a table of seconds, CPU seconds and peak memory. ``--rows 1000000`` selects a table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = (1_000_000, 10_000_000, 100_000_000)
FEATURES = [f"f{j:02}" for j in range(20)]
ROWS_PER_FILE, N_ACTORS = 5_000_000, 100_000


def write_table(rows: int, folder: Path) -> None:
    """Write a row per actor and day, ordered by day: ten counts with many zeros, ten Gaussians, some missing cells."""
    folder.mkdir(parents=True)
    actors = pa.array([f"user{i:06}" for i in range(N_ACTORS)])
    first_day = np.datetime64("2024-01-01")
    for number, start in enumerate(range(0, rows, ROWS_PER_FILE)):
        rng = np.random.default_rng(number)
        row = np.arange(start, min(rows, start + ROWS_PER_FILE))
        columns = {
            "actor": actors.take(pa.array(row % N_ACTORS)),
            "day": pa.array(first_day + row // N_ACTORS),
        }
        for j, name in enumerate(FEATURES):
            if j < 10:
                counts = rng.geometric(0.1 + 0.04 * j, len(row))
                values = np.where(rng.random(len(row), dtype=np.float32) < 0.7, 0, counts).astype(np.float32)
            else:
                values = rng.standard_normal(len(row), dtype=np.float32)
            if j in (3, 13):
                values[rng.random(len(row), dtype=np.float32) < 0.05] = np.nan
            columns[name] = pa.array(values)
        pq.write_table(pa.table(columns), folder / f"part-{number:03}.parquet", row_group_size=1_000_000)


#: The code of each work, which can use `source`, `table`, `out`, `features` and `forest`.
WORKS = {
    "read": "for batch in open_source(source).batches(features): pass",
    "fit": "table.fit(IsolationForest(random_state=0), features=features).save(model)",
    "fit, contamination 0.01": "table.fit(IsolationForest(random_state=0, contamination=0.01), features=features)",
    "offset, contamination 0.0001": "table.offset(forest(), 0.0001)",
    "score to Parquet": "table.write_scores(forest(), out)",
    "ranks of 1,000 rows": "table.rank_features(first(1000), features=features, nan_policy='omit')",
    "detect, 2,000 findings": "table.detect(entity='actor', time='day', contamination=2000 / n_rows)",
    "in memory: score": "forest().decision_function(in_memory())",
}
#: The program that runs and times the code of a work.
PROGRAM = """
import json, pathlib, resource, shutil, sys, time
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
from isoxide import IsolationForest, stream
from isoxide._frames import open_source
source, out, model, code, n_rows = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5])
features = [f"f{j:02}" for j in range(20)]
forest = lambda: IsolationForest.load(model)
first = lambda n: next(open_source(source).batches(features)).slice(0, n).to_pandas()
shutil.rmtree(out, ignore_errors=True)
table, frame = stream.open(source), None
def in_memory():
    return frame
if "in_memory()" in code:
    frame = pq.read_table(source, columns=features).to_pandas()
def peak():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
wall, cpu = time.perf_counter(), time.process_time()
exec(code)
print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu, peak()]))
"""


def main() -> None:
    """Write the tables, run the works, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print("| rows | work | seconds | CPU seconds | peak MiB |\n|--:|---|--:|--:|--:|")
    for rows in options.rows:
        source = options.folder / str(rows)
        if not source.exists():
            write_table(rows, source)
        results: dict[str, list[list[float]]] = {work: [] for work in WORKS}
        for _ in range(options.rounds):
            for work, code in WORKS.items():
                if work.startswith("in memory") and rows > 20_000_000:
                    # This would need 8 GB.
                    continue
                arguments = [source, options.folder / "out", options.folder / "model.safetensors", code, rows]
                done = subprocess.run(
                    [sys.executable, "-c", PROGRAM, *map(str, arguments)], check=True, capture_output=True, text=True
                )
                results[work].append(json.loads(done.stdout))
        for work, rounds in results.items():
            if rounds:
                seconds, cpu, peak = np.median(rounds, axis=0)
                print(f"| {rows:,} | {work} | {seconds:.2f} | {cpu:.1f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
