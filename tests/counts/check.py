"""Count the instructions of fixed workloads, and compare them with counts.json; `make counts` runs it.

The number of instructions does not depend on other programs on the machine, unlike time, but it does not show the costs
of caches, branches and waiting, which `make bench` measures. callgrind counts, and simulates a fixed processor, so that
the C library always chooses the same functions.
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
#: Maximum growth of a count that is accepted, as a share.
LIMIT = 0.05
#: Exit code of workloads.rs if the processor lacks the kernel.
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
    # Compiler flags of the user would change the program.
    env = {**os.environ, "CARGO_ENCODED_RUSTFLAGS": ""}
    return subprocess.run(command, cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout


def tools() -> dict[str, str]:
    """Return the versions of the compiler and of valgrind."""
    compiler = dict(re.findall(r"^([\w-]+): (.*)$", output("rustc", "-vV"), re.M))
    return {
        "compiler": f"rustc {compiler['release']} ({compiler['commit-hash'][:9]}) for {compiler['host']}",
        "valgrind": output("valgrind", "--version").strip(),
    }


def build() -> str:
    """Compile the workloads like a release, and return the path of the program."""
    messages = output("cargo", "bench", "--quiet", "--locked", "--no-run", "--bench=counts", "--message-format=json")
    programs = [json.loads(line).get("executable") for line in messages.splitlines()]
    return next(program for program in programs if program)


def count(program: str, workload: str, kernel: str) -> int | None:
    """Return the number of instructions of a workload, or None if the processor lacks the kernel."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "callgrind.out"
        process = subprocess.run(
            [
                "valgrind",
                "--tool=callgrind",
                f"--callgrind-out-file={out}",
                "--toggle-collect=*::collected",
                program,
                workload,
            ],
            # No other variables, since some change what a program does when it starts.
            env={"PATH": os.environ["PATH"], "ISOXIDE_KERNEL": kernel},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if process.returncode == NO_SUCH_KERNEL:
            return None
        total = re.search(r"^totals: (\d+)$", out.read_text(), re.M) if out.exists() else None
        if process.returncode or not total or not int(total[1]):
            sys.exit(f"{workload} ({kernel}) was not counted:\n{process.stderr}")
        return int(total[1])


def count_all() -> dict[str, int | None]:
    program = build()
    jobs = [(workload, kernel) for workload, kernels in WORKLOADS.items() for kernel in kernels]
    # In parallel, since other programs do not change the counts.
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = list(pool.map(lambda job: count(program, *job), jobs))
    return {f"{workload}, {kernel}": n for (workload, kernel), n in zip(jobs, counts, strict=True)}


def compare(counts: dict[str, int | None], recorded: dict[str, int]) -> list[str]:
    """Print a table, and return the workloads that grew too much or have no recorded count."""
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
    """Compare the counts with the record, or record them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accept", action="store_true", help="record the new counts")
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
        print("Counts of two compilers cannot be compared. `make accept-counts` records those of this one.")
    elif grown:
        sys.exit(
            f"More than {LIMIT:.0%} above the record, or not in it: {'; '.join(grown)}.\n"
            "If the growth is justified, `make accept-counts` records it."
        )


if __name__ == "__main__":
    main()
