"""Measure the work of an analyst's desk on half a year of data: `isoxide detect` from 1,000,000 rows to the reports.

``python -m bench.desk --folder DIR`` makes the table there (once), runs the command, and prints where time went.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

ROWS, FEATURES, DAYS, FINDINGS = 1_000_000, 50, 180, 2_000


def desk_table(rows: int, seed: int = 0) -> pd.DataFrame:
    """Counts that are mostly zero, shares, a flag, and some actor-days that are odd in a few features."""
    rng = np.random.default_rng(seed)
    n_actors = -(-rows // DAYS)
    number = np.arange(rows)
    columns: dict[str, object] = {
        "actor": np.char.add("actor", (number % n_actors).astype(str)),
        "day": pd.Timestamp("2025-01-01") + pd.to_timedelta(number // n_actors, unit="D"),
    }
    odd = rng.choice(rows, FINDINGS * rows // ROWS, replace=False)
    for j in range(FEATURES - 1):
        values = rng.normal(size=rows) if j % 2 else np.where(rng.random(rows) < 0.6, 0.0, rng.geometric(0.1, rows))
        some = odd[rng.random(len(odd)) < 0.2]
        values[some] = values.max() * rng.uniform(1, 3, len(some))
        columns[f"feature_{j:02}"] = values
    columns["is_weekend"] = ((number // n_actors) % 7 >= 5).astype(np.int64)
    return pd.DataFrame(columns)


def arguments(table: Path, out: Path, threads: int | None = None) -> list[str]:
    """Return the arguments of the command `isoxide` that finds and reports the odd actor-days of a desk's table."""
    share = str(FINDINGS / ROWS)
    jobs = ["--jobs", str(threads)] if threads else []
    command = ["detect", str(table), "--entity", "actor", "--time", "day", "--contamination", share]
    return [*command, "--out", str(out), *jobs]


STAGES = """
import sys, time
from isoxide import ueba
started = time.perf_counter()
def lap(what):
    global started
    now = time.perf_counter()
    print(f"  {what:<28}{now - started:6.2f} s")
    started = now
table = ueba.read_table(sys.argv[1], entity="actor", time="day")
lap("read and check")
findings = ueba.detect(table, contamination=float(sys.argv[3]))
lap("fit, score, rank, rules")
for write, name in ((findings.to_csv, "f.csv"), (findings.to_parquet, "f.parquet"), (findings.to_json, "f.json"),
                    (findings.to_markdown, "r.md"), (findings.to_html, "r.html")):
    write(sys.argv[2] + "/" + name)
    lap("write " + name[2:])
"""


def main() -> None:
    """Make, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=ROWS)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / f"desk-{options.rows}.parquet"
    if not path.exists():
        desk_table(options.rows).to_parquet(path)
    share = str(FINDINGS / ROWS)
    out = options.folder / "out"
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "isoxide", *arguments(path, out)], check=True)
    took = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(
        f"{path.stat().st_size / 2**20:.0f} MiB of Parquet to pages: {took:.1f} s, {peak:.2f} GiB at most; by stages:"
    )
    subprocess.run([sys.executable, "-c", STAGES, str(path), str(out), share], check=True)


if __name__ == "__main__":
    main()
