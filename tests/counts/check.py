"""Count the instructions of fixed workloads and compare them with counts.json; `make counts` runs it.

Other programs on the machine change times but not the number of instructions. Caches, branches and waiting do not show
in it; `make bench` measures times. callgrind counts, and reports the same processor everywhere, so that the C library
selects the same functions.
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
#: The check fails if a count grows by more than this share.
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
    """Compile the program with the workloads as a release, and return its path."""
    messages = output("cargo", "bench", "--quiet", "--locked", "--no-run", "--bench=counts", "--message-format=json")
    programs = [json.loads(line).get("executable") for line in messages.splitlines()]
    return next(program for program in programs if program)


def count(program: str, workload: str, kernel: str) -> int | None:
    """Return the number of instructions of one workload, or None if the processor lacks the kernel."""
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
            # The environment has no other variables, because some change what a program does before its work.
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
    # Workloads run in parallel, which changes no count.
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = list(pool.map(lambda job: count(program, *job), jobs))
    return {f"{workload}, {kernel}": n for (workload, kernel), n in zip(jobs, counts, strict=True)}


def compare(counts: dict[str, int | None], recorded: dict[str, int]) -> list[str]:
    """Print the table, and return the workloads that grew too much or have no recorded count."""
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
    parser.add_argument("--accept", action="store_true", help="record the counts")
    accept = parser.parse_args().accept
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {"counts": {}}
    now, counts = tools(), count_all()
    grown = compare(counts, record["counts"])
    lacking = [name for name, n in counts.items() if n is None]
    if accept:
        if lacking:
            sys.exit(f"nothing was recorded, because this processor cannot run {'; '.join(lacking)}.")
        RECORD.write_text(json.dumps({**now, "counts": counts}, indent=2) + "\n")
        print("Recorded. Say in the commit why counts grew, if any did.")
        return
    if lacking:
        print(f"Not counted, because this processor cannot run it: {'; '.join(lacking)}.")
    differing = [f"{now[tool]} instead of {record.get(tool)}" for tool in now if now[tool] != record.get(tool)]
    if differing:
        print(f"Counted with {', '.join(differing)}.")
    if record.get("compiler") != now["compiler"]:
        print("Counts of different compilers cannot be compared. `make accept-counts` records those of this compiler.")
    elif grown:
        sys.exit(
            f"More than {LIMIT:.0%} above the record, or not in it: {'; '.join(grown)}.\n"
            "If the change is worth it, `make accept-counts` records the counts."
        )


if __name__ == "__main__":
    main()
