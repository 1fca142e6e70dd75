"""Every example in a docstring and in the README runs and shows what it says."""

import doctest
import importlib
import pathlib
import pkgutil

import pytest

import isoxide

ROOT = pathlib.Path(__file__).parents[2]
MODULES = ["isoxide", *(f"isoxide.{module.name}" for module in pkgutil.iter_modules(isoxide.__path__))]


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


@pytest.mark.parametrize("name", isoxide.__all__)
def test_public_names_have_examples_that_run(name):
    public = getattr(isoxide, name)
    assert public.__doc__
    assert run(public, name) > 0
    if name != "FeatureRanks":  # made by rank_features, whose example shows one
        assert ">>>" in public.__doc__


def test_readme():
    results = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert results.attempted > 0
    assert results.failed == 0
