"""Every example in a docstring and in the README runs and shows what it says."""

import doctest
import importlib
import pathlib
import pkgutil

import pytest

import isoxide

ROOT = pathlib.Path(__file__).parents[2]
MODULES = ["isoxide", *(f"isoxide.{module.name}" for module in pkgutil.iter_modules(isoxide.__path__))]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("name", isoxide.__all__)
def test_public_names_have_docstrings_and_functions_examples(name):
    public = getattr(isoxide, name)
    assert public.__doc__
    if name != "FeatureRanks":  # made by rank_features, whose example shows one
        assert ">>>" in public.__doc__


def test_readme():
    results = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert results.attempted > 0
    assert results.failed == 0
