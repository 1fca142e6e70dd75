"""Test that the tests and make targets that docs/promises.md names exist."""

import ast
import itertools
import pathlib
import re

import pytest

pytestmark = pytest.mark.current_versions(reason="it reads sources only")

ROOT = pathlib.Path(__file__).parents[2]
PROMISES = (ROOT / "docs" / "promises.md").read_text()
NAMED = sorted({*re.findall(r"`((?:tests|fuzz|src)/[^`]+)`", PROMISES)})
TARGETS = sorted({*re.findall(r"`make ([\w-]+)`", PROMISES)})


def test_the_page_names_tests():
    assert len(NAMED) > 30


def test_no_line_stands_outside_its_table():
    # A blank line ends a table in Markdown, and the lines after it would be shown as text.
    lines = ["", *PROMISES.splitlines()]
    for before, line in itertools.pairwise(lines):
        if line.startswith("|") and not before.startswith("|"):
            assert line == "| promise | tests |"
        if before == "| promise | tests |":
            assert line == "|---|---|"
        assert not line.startswith("|") or line.count("|") == 3 + line.count("\\|")


@pytest.mark.parametrize("name", NAMED)
def test_named_tests_exist(name):
    path, _, function = name.partition("::")
    text = (ROOT / path).read_text()
    if function:
        functions = [node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
        assert function in functions
    elif path.endswith(".py"):
        assert re.search(r"^ *(def test_|class Test|\w+ = \w+\.TestCase)", text, re.MULTILINE)


@pytest.mark.parametrize("target", TARGETS)
def test_named_targets_exist(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
