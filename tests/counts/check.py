"""Counts the instructions of fixed workloads and compares with counts.json; `make counts` runs it.

Seconds tell little on a machine that others use too; the number of instructions does not depend on them. Nor does it
tell of caches, branches or waiting: `make bench` does. Counted by callgrind, which also fixes what the processor is
said to be, so what the C library chooses for it.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[2]
RECORD = pathlib.Path(__file__).with_name("counts.json")
#: Growth beyond this share fails.
LIMIT = 0.05
#: What workloads.rs returns when the processor lacks the kernel.
NO_SUCH_KERNEL = 3
#: The kernels that each workload may depend on; callgrind does not know AVX-512.
BOTH, ANY = ("avx2", "portable"), ("portable",)
WORKLOADS = {
    "grow-auto": ANY,
    "grow-all": ANY,
    "plan-compile": ANY,
    "plan-score": BOTH,
    "plan-sparse": BOTH,
    "walk": ANY,
    "explain-compile": ANY,
    "explain": BOTH,
    "rank": BOTH,
}


def output(*command: str) -> str:
    # Flags of the user's own for the compiler would make another program.
    env = {**os.environ, "CARGO_ENCODED_RUSTFLAGS": ""}
    return subprocess.run(command, cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout


def tools() -> dict[str, str]:
    """What made the program, and what counts."""
    compiler = dict(re.findall(r"^([\w-]+): (.*)$", output("rustc", "-vV"), re.M))
    return {
        "compiler": f"rustc {compiler['release']} ({compiler['commit-hash'][:9]}) for {compiler['host']}",
        "valgrind": output("valgrind", "--version").strip(),
    }


def build() -> str:
    """The program with the workloads, compiled as a release is."""
    messages = output("cargo", "bench", "--quiet", "--locked", "--no-run", "--bench=counts", "--message-format=json")
    programs = [json.loads(line).get("executable") for line in messages.splitlines()]
    return next(program for program in programs if program)


def count(program: str, workload: str, kernel: str) -> int | None:
    """The instructions of one workload, or None if the processor lacks the kernel."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "callgrind.out"
        run = subprocess.run(
            [
                "valgrind",
                "--tool=callgrind",
                f"--callgrind-out-file={out}",
                "--toggle-collect=*::collected",
                program,
                workload,
            ],
            # Nothing else of the environment: some variables change what a program does before its work.
            env={"PATH": os.environ["PATH"], "ISOXIDE_KERNEL": kernel},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if run.returncode == NO_SUCH_KERNEL:
            return None
        total = re.search(r"^totals: (\d+)$", out.read_text(), re.M) if out.exists() else None
        if run.returncode or not total or not int(total[1]):
            sys.exit(f"{workload} ({kernel}) was not counted:\n{run.stderr}")
        return int(total[1])


def count_all() -> dict[str, int | None]:
    program = build()
    jobs = [(workload, kernel) for workload, kernels in WORKLOADS.items() for kernel in kernels]
    # At once: whatever else runs changes no count.
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = list(pool.map(lambda job: count(program, *job), jobs))
    return {f"{workload}, {kernel}": n for (workload, kernel), n in zip(jobs, counts, strict=True)}


def compare(counts: dict[str, int | None], recorded: dict[str, int]) -> list[str]:
    """Prints the table; what grew too much, or has never been counted."""
    grown = []
    print(f"{'workload, kernel':24}{'recorded':>14}{'now':>14}{'change':>10}")
    for name, now in counts.items():
        before = recorded.get(name)
        change = now / before - 1 if now and before else None
        cells = ["-" if n is None else f"{n:,}" for n in (before, now)]
        print(f"{name:24}{cells[0]:>14}{cells[1]:>14}{'-' if change is None else f'{change:+.2%}':>10}")
        if now and (change is None or change > LIMIT):
            grown.append(name)
    return grown


def main() -> None:
    """Compares, or accepts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accept", action="store_true", help="record what is counted now")
    accept = parser.parse_args().accept
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {"counts": {}}
    now, counts = tools(), count_all()
    grown = compare(counts, record["counts"])
    lacking = [name for name, n in counts.items() if n is None]
    if accept:
        if lacking:
            sys.exit(f"Nothing is recorded: this processor cannot run {'; '.join(lacking)}.")
        RECORD.write_text(json.dumps({**now, "counts": counts}, indent=2) + "\n")
        print("Recorded. Say in the commit why counts grew, if any did.")
        return
    if lacking:
        print(f"Not counted, because this processor cannot run it: {'; '.join(lacking)}.")
    differing = [f"{now[tool]} instead of {record.get(tool)}" for tool in now if now[tool] != record.get(tool)]
    if differing:
        print(f"Counted with {', '.join(differing)}.")
    if record.get("compiler") != now["compiler"]:
        print("Counts of two compilers tell nothing of the source. `make accept-counts` records those of this one.")
    elif grown:
        sys.exit(
            f"More than {LIMIT:.0%} above the record, or not in it: {'; '.join(grown)}.\n"
            "If that is the price of something, `make accept-counts` records it."
        )


if __name__ == "__main__":
    main()
