"""Breaks the Python code in one place at a time and tells which breaks no test notices; `make mutants` runs it.

The breaks are those of cosmic-ray. Places are drawn file by file in turn, and at each place one break, until the time is over: what is
told is a sample, of which the seed is printed. A break is looked for by the tests of its file only, in a copy of the installed
package. A survivor is no defect yet: some breaks change nothing that can be seen.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import multiprocessing
import os
import pathlib
import random
import re
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import NamedTuple

import cosmic_ray.plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

TESTS = pathlib.Path(__file__).parents[1] / "python"
#: The tests of each file, the quick ones first; without them as `tests/python/test_<file>.py` is called.
NOTICED_BY = {
    "ueba/_again.py": ["ueba_findings", "feature_ranks"],
    "ueba/_columns.py": ["ueba_findings", "ueba_table"],
    "ueba/_detect.py": ["ueba_findings", "ueba_calibrate"],
    "ueba/_fields.py": ["ueba_fields", "ueba_document"],
    "ueba/_files.py": ["ueba_findings", "files"],
    "ueba/_findings.py": ["markdown", "ueba_findings"],
    "ueba/_markdown.py": ["markdown"],
    "ueba/_page.py": ["page"],
    "ueba/_ranks.py": ["ueba_findings"],
    "ueba/_rules.py": ["ueba_rules", "ueba_findings"],
    "ueba/_texts.py": ["markdown", "page"],
    "ueba/_timeline.py": ["page"],
    "ueba/_users.py": ["ueba_findings", "ueba_table"],
    "_percentiles.py": ["percentiles", "rank_tails", "rank"],
    "_rank.py": ["rank_tails", "rank"],
    "_rank_counts.py": ["partials", "parts"],
}
#: Names compare by identity and None by equality as well, mostly: such breaks tell nothing.
IDENTITY = re.compile(r"_Is(Not)?_(Eq|NotEq|Lt|LtE|Gt|GtE)$|_(Eq|NotEq|Lt|LtE|Gt|GtE)_Is(Not)?$")
#: Imported once, before the tests of each break are forked off.
PRELOAD = ["pytest", "jinja2", "numpy", "pandas", "pyarrow", "scipy.stats", "sklearn.ensemble"]
NOTICED, UNNOTICED, ENDLESS = 1, 0, -1


class Break(NamedTuple):
    line: int
    operator: str
    occurrence: int


def is_annotation(node: object) -> bool:
    """Whether the code stands in an annotation, which is not evaluated."""
    while (parent := getattr(node, "parent", None)) is not None:
        place = {"annassign": 1, "tfpdef": 2}.get(parent.type)
        if (place and parent.children[place] is node) or (parent.type == "funcdef" and parent.annotation is node):
            return True
        node = parent
    return False


def breaks(code: str) -> dict[tuple[object, ...], list[Break]]:
    """The breaks of a file by place."""
    nodes = list(ast_nodes(get_ast(code)))
    found: dict[tuple[object, ...], list[Break]] = {}
    for name in cosmic_ray.plugins.operator_names():
        operator = cosmic_ray.plugins.get_operator(name)
        if operator.arguments() or IDENTITY.search(name):
            continue
        pairs = ((node, place) for node in nodes for place in operator().mutation_positions(node))
        for occurrence, (node, place) in enumerate(pairs):
            if not is_annotation(node):
                found.setdefault(place, []).append(Break(place[0][0], name, occurrence))
    return found


def in_session(folder: str, tests: list[str], log: str) -> None:
    """Run the tests on the package in the folder, in this process, of a session of its own; ends it."""
    os.setsid()
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1), os.dup2(out, 2)
    sys.path.insert(0, folder)
    os.chdir(TESTS.parents[1])
    import pytest

    os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]))


def outcome(folder: str, tests: list[str], seconds: float) -> int:
    """Whether the tests notice what is in the folder; other ways to fail than by a test are told by the log."""
    log = f"{folder}/log"
    process = multiprocessing.get_context("forkserver").Process(target=in_session, args=(folder, tests, log))
    process.start()
    process.join(seconds)
    alive = process.is_alive()
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    process.join()
    return ENDLESS if alive else NOTICED if process.exitcode else UNNOTICED


def sample(draw: random.Random, files: list[str], root: pathlib.Path) -> Iterator[tuple[str, Break, str]]:
    """Breaks of the files in turn, with the broken code."""
    codes = {file: (root / file).read_text() for file in files}
    places = {file: list(breaks(code).values()) for file, code in codes.items()}
    for file in files:
        draw.shuffle(places[file])
        print(f"{file}: {len(places[file])} places, {sum(map(len, places[file]))} breaks")
    for drawn in itertools.zip_longest(*places.values()):
        for file, choices in zip(files, drawn, strict=True):
            if choices:
                chosen = draw.choice(choices)
                operator = cosmic_ray.plugins.get_operator(chosen.operator)()
                yield file, chosen, mutate_code(codes[file], operator, chosen.occurrence)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", help="below python/isoxide; by default `ueba` and the ranks")
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    asked = parser.parse_args()
    end = time.monotonic() + asked.seconds
    package = pathlib.Path(importlib.util.find_spec("isoxide").origin).parent
    ranks = ["_rank.py", "_rank_reference.py", "_rank_counts.py", "_feature_ranks.py", "_percentiles.py", "_groups.py"]
    files = asked.files or [*(f"ueba/{path.name}" for path in sorted((package / "ueba").glob("_[a-z]*.py"))), *ranks]
    tests = {f: NOTICED_BY.get(f, [f.replace("/_", "_").removeprefix("_").removesuffix(".py")]) for f in files}
    paths = {file: [str(TESTS / f"test_{name}.py") for name in names] for file, names in tests.items()}
    print(f"seed {asked.seed}")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(package, f"{folder}/isoxide", ignore=shutil.ignore_patterns("__pycache__"))
        os.environ |= {"PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1", "ISOXIDE_TEST_SEED": str(asked.seed)}
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = f"{folder}/hypothesis"
        multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOAD)
        limits: dict[str, float] = {}
        tally = {file: [0, 0] for file in files}
        for file, broken, code in sample(random.Random(asked.seed), files, package):
            if time.monotonic() > end:
                break
            if file not in limits:
                start = time.monotonic()
                if outcome(folder, paths[file], 600.0) != UNNOTICED:
                    sys.exit(f"the tests of {file} fail as it is:\n{pathlib.Path(folder, 'log').read_text()[-2000:]}")
                limits[file] = 30 + 3 * (time.monotonic() - start)
            path = pathlib.Path(folder, "isoxide", file)
            whole = path.read_text()
            path.write_text(code)
            result = outcome(folder, paths[file], limits[file])
            path.write_text(whole)
            tally[file][0] += 1
            if result == UNNOTICED:
                tally[file][1] += 1
                changed = zip(whole.splitlines(), code.splitlines(), strict=False)
                old, new = next(((a, b) for a, b in changed if a != b), ("", ""))
                print(
                    f"SURVIVED {file}:{broken.line} {broken.operator}\n  - {old.strip()}\n  + {new.strip()}", flush=True
                )
    for file, (tried, survived) in tally.items():
        print(f"{file}: {tried} tried, {survived} not noticed")
    print(f"{sum(t for t, _ in tally.values())} tried, {sum(s for _, s in tally.values())} not noticed")


if __name__ == "__main__":
    main()
