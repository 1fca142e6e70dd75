"""Every example in a docstring and in the README runs and shows what it says."""

import doctest
import importlib
import pathlib
import pkgutil
import re

import pytest

import isoxide
import isoxide.datasets
import isoxide.displays
import isoxide.mergeable
import isoxide.stream
import isoxide.ueba
from isoxide._partitioned import table

ROOT = pathlib.Path(__file__).parents[2]
#: Engines have tests that run their examples: `make test-oldest` does without these, and Spark's want a session.
ENGINES = ("isoxide.dask", "isoxide.spark")
MODULES = ["isoxide", *(module.name for module in pkgutil.walk_packages(isoxide.__path__, "isoxide."))]
MODULES = [name for name in MODULES if not name.startswith(ENGINES)]
#: Classes whose instances functions make; the examples of these show one.
MADE = {"Explanation", "FeatureRanks", "Calibration", "Findings", "TableProfile", "SamplePlan"}
HOMES = (isoxide, isoxide.datasets, isoxide.ueba, isoxide.displays, isoxide.mergeable, isoxide.stream)
PUBLIC = [*((home, name) for home in HOMES for name in home.__all__), (table, "PartitionedTable")]

pytestmark = pytest.mark.thread_unsafe(reason="doctest wraps a function of linecache for the whole process")


def run(item, name):
    """Runs the examples of an object and of its members; returns how many there are."""
    runner = doctest.DocTestRunner()
    # `module=False`: public names say that they live in the package, their methods that they live in its modules.
    for test in doctest.DocTestFinder().find(item, name, module=False, globs={name: item, **vars(isoxide)}):
        runner.run(test)
    assert runner.failures == 0
    return runner.tries


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_modules(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize(("home", "name"), PUBLIC, ids=[name for _, name in PUBLIC])
def test_public_names_have_examples_that_run(home, name):
    public = getattr(home, name)
    assert public.__doc__
    tried = run(public, name)
    if name not in MADE:
        assert tried > 0
        assert ">>>" in public.__doc__


@pytest.mark.parametrize("path", sorted((ROOT / "python").rglob("*.py")), ids=lambda path: path.stem)
def test_budgets_are_per_month(path):
    """`alerts_per_month` means the same wherever it is a parameter."""
    for text in re.findall(r"^ +alerts_per_month : float.*\n((?: {8,}.*\n)+)", path.read_text(), re.MULTILINE):
        assert "month" in text or text.strip().startswith("See `calibrate`"), text


@pytest.mark.parametrize("name", ["README.md", "docs/large-tables.md"])
def test_documents(name):
    results = doctest.testfile(str(ROOT / name), module_relative=False)
    assert results.attempted > 0
    assert results.failed == 0
