"""Break the Python code at one position at a time, and print the breaks that no test detects; `make mutants` runs it.

cosmic-ray makes the breaks. Positions are drawn from the files in turn, with one break for each, until the time is
over; the seed of this sample is printed. For each break, only the tests of its file run, in a copy of the installed
package. A break that no test detects is not always a defect of the tests, since some breaks change no result.
"""

from __future__ import annotations

import argparse
import collections
import difflib
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

import cosmic_ray.plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

FORKS = multiprocessing.get_context("forkserver")
TESTS = pathlib.Path(__file__).parents[1] / "python"
#: Further tests of a file, in addition to those with its name.
FURTHER_TESTS = {
    "_ranks/api.py": ["ranks/test_tails.py"],
    "_ranks/counts.py": ["test_mergeable.py", "partitioned/test_fit.py"],
    "_ranks/dtypes.py": ["ranks/test_tails.py", "ranks/test_api.py"],
    "_ranks/matching.py": ["frames/test_tables.py"],
    "ueba/_detect.py": ["ueba/test_findings.py", "ueba/test_calibrate.py"],
    "ueba/_fields.py": ["ueba/test_document.py"],
    "ueba/_findings.py": ["ueba/test_markdown.py"],
    "ueba/_page_cards.py": ["ueba/test_writers.py", "ueba/test_page.py"],
    "ueba/_page_texts.py": ["ueba/test_page_escaping.py", "ueba/test_page.py"],
    "ueba/_rules.py": ["ueba/test_findings.py"],
    "ueba/_texts.py": ["ueba/test_markdown.py", "ueba/test_page.py", "ueba/test_page_escaping.py"],
    "ueba/_timeline.py": ["ueba/test_page.py"],
}
#: Breaks that replace identity by equality or the reverse, which mostly gives the same result.
IDENTITY = re.compile(r"_Is(Not)?_(Eq|NotEq|Lt|LtE|Gt|GtE)$|_(Eq|NotEq|Lt|LtE|Gt|GtE)_Is(Not)?$")
#: Line, operator, and the index of the position among all positions of the operator.
Break = tuple[int, str, int]
#: Imported once, before the tests of each break are forked off.
PRELOAD = ["cosmic_ray.mutating", "pytest", "jinja2", "pandas", "pyarrow", "scipy.stats", "sklearn.ensemble"]


def tests_of(file: str) -> list[str]:
    """Return the test files for a file of the package, the quick ones first."""
    package, _, module = file.removesuffix(".py").rpartition("/")
    same_name = TESTS / package.removeprefix("_") / f"test_{module.removeprefix('_')}.py"
    further = [TESTS / name for name in FURTHER_TESTS.get(file, [])]
    paths = [same_name, *further] if same_name.exists() else further or [TESTS / "ueba" / "test_findings.py"]
    return [str(path) for path in paths]


def is_annotation(node: object) -> bool:
    """Return whether a node is in an annotation, which is not evaluated."""
    while (parent := getattr(node, "parent", None)) is not None:
        index = {"annassign": 1, "tfpdef": 2}.get(parent.type)
        if (index and parent.children[index] is node) or (parent.type == "funcdef" and parent.annotation is node):
            return True
        node = parent
    return False


def breaks(code: str) -> dict[tuple[object, ...], list[Break]]:
    """Return the breaks of a file by position."""
    nodes = list(ast_nodes(get_ast(code)))
    breaks_at: dict[tuple[object, ...], list[Break]] = {}
    for name in cosmic_ray.plugins.operator_names():
        operator = cosmic_ray.plugins.get_operator(name)
        if operator.arguments() or IDENTITY.search(name):
            continue
        pairs = ((node, position) for node in nodes for position in operator().mutation_positions(node))
        for occurrence, (node, position) in enumerate(pairs):
            if not is_annotation(node):
                breaks_at.setdefault(position, []).append((position[0][0], name, occurrence))
    return breaks_at


def run_tests_and_exit(folder: str, tests: list[str], log: str) -> None:
    """Run the tests on the package in the folder in a new session of the system, and end the process."""
    os.setsid()
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.path.insert(0, folder)
    os.chdir(TESTS.parents[1])
    import pytest

    os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]))


def is_detected(folder: str, tests: list[str], seconds: float) -> bool:
    """Return whether the tests fail, or do not end in time, on the package in the folder."""
    process = FORKS.Process(target=run_tests_and_exit, args=(folder, tests, f"{folder}/log"))
    process.start()
    process.join(seconds)
    if process.is_alive():
        os.killpg(process.pid, signal.SIGKILL)
    process.join()
    return process.exitcode != 0


def sample(draw: random.Random, files: list[str], root: pathlib.Path) -> Iterator[tuple[str, str, str]]:
    """Yield breaks of the files in turn: the file, a description of the break, and the broken code."""
    codes = {file: (root / file).read_text() for file in files}
    positions = {file: list(breaks(code).values()) for file, code in codes.items()}
    for file in files:
        draw.shuffle(positions[file])
        print(f"{file}: {len(positions[file])} positions, {sum(map(len, positions[file]))} breaks")
    for drawn in itertools.zip_longest(*positions.values()):
        for file, choices in zip(files, drawn, strict=True):
            if choices:
                line, name, occurrence = draw.choice(choices)
                operator = cosmic_ray.plugins.get_operator(name)()
                yield file, f"{line} {name}", mutate_code(codes[file], operator, occurrence)


def main() -> None:
    """Try breaks until the time is over, and print those that no test detects."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", help="below python/isoxide; by default `ueba` and the ranks")
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    arguments = parser.parse_args()
    end = time.monotonic() + arguments.seconds
    package = pathlib.Path(importlib.util.find_spec("isoxide").origin).parent
    missing = [name for name in FURTHER_TESTS if not (package / name).exists()]
    missing += [name for names in FURTHER_TESTS.values() for name in names if not (TESTS / name).exists()]
    if missing:
        sys.exit(f"FURTHER_TESTS names files that do not exist: {', '.join(missing)}")
    modules = [*sorted((package / "ueba").glob("_[a-z]*.py")), *sorted((package / "_ranks").glob("[a-z]*.py"))]
    files = arguments.files or [str(path.relative_to(package)) for path in modules]
    print(f"seed {arguments.seed}")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(package, f"{folder}/isoxide", ignore=shutil.ignore_patterns("__pycache__"))
        os.environ |= {"PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1", "ISOXIDE_TEST_SEED": str(arguments.seed)}
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = f"{folder}/hypothesis"
        FORKS.set_forkserver_preload(PRELOAD)
        limits: dict[str, float] = {}
        tried, survived = collections.Counter(), collections.Counter()
        for file, broken, code in sample(random.Random(arguments.seed), files, package):
            if time.monotonic() > end:
                break
            tests = tests_of(file)
            if file not in limits:
                start = time.monotonic()
                if is_detected(folder, tests, 600.0):
                    sys.exit(f"the tests of {file} fail as it is:\n{pathlib.Path(folder, 'log').read_text()[-2000:]}")
                limits[file] = 30 + 3 * (time.monotonic() - start)
            path = pathlib.Path(folder, "isoxide", file)
            original = path.read_text()
            path.write_text(code)
            tried[file] += 1
            if not is_detected(folder, tests, limits[file]):
                survived[file] += 1
                changes = difflib.ndiff(original.splitlines(), code.splitlines())
                lines = [f"  {line}" for line in changes if line[0] in "-+"]
                print(f"SURVIVED {file}:{broken}", *lines, sep="\n", flush=True)
            path.write_text(original)
    for file in files:
        print(f"{file}: {tried[file]} tried, {survived[file]} not detected")
    print(f"{tried.total()} tried, {survived.total()} not detected")


if __name__ == "__main__":
    main()
