"""Measure time and memory of `isoxide detect` on half a year of an analyst team: a Parquet file of 1,000,000 rows.

``python -m bench.desk --folder DIR`` writes the table into the folder once, runs the command, and prints the time of
each stage.
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
    """Make mostly zero counts, normal values, a flag, and rows that are anomalous in a fifth of the features."""
    rng = np.random.default_rng(seed)
    n_actors = -(-rows // DAYS)
    row = np.arange(rows)
    columns: dict[str, object] = {
        "actor": np.char.add("actor", (row % n_actors).astype(str)),
        "day": pd.Timestamp("2025-01-01") + pd.to_timedelta(row // n_actors, unit="D"),
    }
    anomalies = rng.choice(rows, FINDINGS * rows // ROWS, replace=False)
    for j in range(FEATURES - 1):
        values = rng.normal(size=rows) if j % 2 else np.where(rng.random(rows) < 0.6, 0.0, rng.geometric(0.1, rows))
        raised = anomalies[rng.random(len(anomalies)) < 0.2]
        values[raised] = values.max() * rng.uniform(1, 3, len(raised))
        columns[f"feature_{j:02}"] = values
    columns["is_weekend"] = ((row // n_actors) % 7 >= 5).astype(np.int64)
    return pd.DataFrame(columns)


#: The code of the stages, which a new process runs and times.
STAGES = """
import sys, time
from isoxide import ueba
start = time.perf_counter()
def end(stage):
    global start
    now = time.perf_counter()
    print(f"  {stage:<28}{now - start:6.2f} s")
    start = now
table = ueba.read_table(sys.argv[1], entity="actor", time="day")
end("read and check")
findings = ueba.detect(table, contamination=float(sys.argv[3]))
end("fit, score, rank, rules")
for write, name in ((findings.to_csv, "f.csv"), (findings.to_parquet, "f.parquet"), (findings.to_json, "f.json"),
                    (findings.to_markdown, "r.md"), (findings.to_html, "r.html")):
    write(sys.argv[2] + "/" + name)
    end("write " + name[2:])
"""


def main() -> None:
    """Make the table, run the command, and print the times."""
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
    command = ["detect", str(path), "--entity", "actor", "--time", "day", "--contamination", share, "--out", str(out)]
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "isoxide", *command], check=True)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"{path.stat().st_size / 2**20:.0f} MiB of Parquet: {seconds:.1f} s, peak memory {peak:.2f} GiB; the stages:")
    subprocess.run([sys.executable, "-c", STAGES, str(path), str(out), share], check=True)


if __name__ == "__main__":
    main()
