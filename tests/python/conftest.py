"""Set up all tests: one seed for everything random, and the tests that belong to each run.

The markers are listed in `pyproject.toml`. This file adds two rules:

- A test whose data depend on the seed (by Hypothesis or the fixture `seed`) is marked `search`.
- A module whose `pytestmark` excludes it from the run (`-m "not spark"`) is not imported, so it may import packages
  that are not installed, and takes no time.
"""

import ast
import os
import pathlib
import re

import hypothesis
import pytest

from seeds import SEED

# Examples depend on the seed alone: not on earlier runs, the speed of the machine, or whether it is a build server.
hypothesis.settings.register_profile(
    "isoxide", hypothesis.settings.get_profile("default"), database=None, deadline=None, derandomize=False
)
hypothesis.settings.load_profile("isoxide")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Seed Hypothesis before its own plugin looks for a seed, and the workers of pytest-xdist with the same seed."""
    os.environ["ISOXIDE_TEST_SEED"] = str(SEED)
    if config.getoption("--hypothesis-seed") is None:
        config.option.hypothesis_seed = str(SEED)


def pytest_report_header() -> str:
    return f"isoxide: everything random is drawn with ISOXIDE_TEST_SEED={SEED}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    """Print the seed after a run that failed, since `-q` prints no header."""
    if exitstatus == pytest.ExitCode.TESTS_FAILED:
        terminalreporter.write_line(f"ISOXIDE_TEST_SEED={SEED} repeats what was drawn")


@pytest.fixture(scope="session")
def seed() -> int:
    return SEED


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "seed" in getattr(item, "fixturenames", ()) or hypothesis.is_hypothesis_test(getattr(item, "obj", None)):
            item.add_marker("search")


def excluded_markers(expression: str) -> set[str]:
    """Return the markers that exclude a test from the run, whatever other markers it has."""
    terms = [] if re.search(r"[()]|\bor\b", expression) else expression.split(" and ")
    return {term.split()[1] for term in terms if re.fullmatch(r"\s*not \w+\s*", term)}


def module_markers(path: pathlib.Path) -> set[str]:
    """Return the markers of a whole module, read from its `pytestmark` without importing it."""
    statements = ast.parse(path.read_bytes()).body
    values = [s.value for s in statements if isinstance(s, ast.Assign) and ast.unparse(s.targets[0]) == "pytestmark"]
    nodes = [node for value in values for node in ast.walk(value) if isinstance(node, ast.Attribute)]
    return {node.attr for node in nodes if ast.unparse(node.value) == "pytest.mark"}


def pytest_ignore_collect(collection_path: pathlib.Path, config: pytest.Config) -> bool | None:
    excluded = excluded_markers(config.getoption("markexpr"))
    if excluded and collection_path.suffix == ".py" and excluded & module_markers(collection_path):
        return True
    return None
