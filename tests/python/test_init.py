"""Test which modules `import isoxide` and the command import, and which ones only when they are needed."""

import importlib.metadata
import subprocess
import sys

import numpy as np
import pytest

import isoxide
from isoxide import IsolationForest, _frames

pytestmark = pytest.mark.not_parallel(reason="it starts processes")

#: Packages that take longer to import than the command takes to print its help.
SLOW = {"numpy", "scipy", "sklearn", "joblib", "narwhals", "pandas", "polars", "pyarrow", "jinja2", "matplotlib"}
#: Modules that `code` imports, without those that the interpreter imports before it, such as those of .pth files.
PRINT_NEW = """
import sys
before = {*sys.modules}
try:
    exec(sys.argv[1])
finally:
    print(*sorted(sys.modules.keys() - before), file=sys.stderr)
"""


def test_the_package_has_a_version():
    try:
        expected = importlib.metadata.version("isoxide")
    except importlib.metadata.PackageNotFoundError:
        expected = "0+unknown"
    assert isoxide.__version__ == expected
    assert "__version__" in dir(isoxide)


def imported_by(code):
    """Return the modules that the code imports in a new process, and what it prints."""
    process = subprocess.run([sys.executable, "-c", PRINT_NEW, code], capture_output=True, text=True, check=True)
    return set(process.stderr.split()), process.stdout


def packages(modules):
    return {module.split(".")[0] for module in modules}


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["detect", "--help"], ["detect", "--cutoff", "x"]])
def test_the_command_parses_before_it_imports(arguments):
    code = f"""
import contextlib
from isoxide._cli import main
with contextlib.suppress(SystemExit), contextlib.redirect_stderr(sys.stdout):
    main({arguments})
"""
    modules, printed = imported_by(code)
    assert "isoxide" in printed
    assert not packages(modules) & SLOW
    # The functions of the command are imported only after its arguments are parsed.
    assert "isoxide._cli._commands" not in modules


def test_names_are_imported_when_they_are_first_used():
    modules, _ = imported_by("import isoxide; isoxide.__all__")
    assert {module for module in modules if module.startswith("isoxide")} == {"isoxide"}
    assert not packages(modules) & SLOW


@pytest.mark.slow
def test_a_forest_imports_no_more_than_scikit_learn():
    modules, _ = imported_by("import sklearn.ensemble; before |= {*sys.modules}; from isoxide import IsolationForest")
    assert "isoxide._forest.estimator" in modules
    assert packages(modules) - sys.stdlib_module_names <= {"isoxide", "sklearn"}
    assert not {"isoxide._frames.opening", "isoxide._frames.source"} & modules


@pytest.mark.slow
def test_commands_import_neither_the_trees_nor_the_forests_of_scikit_learn():
    # Importing them takes a tenth of a second. Their needs, such as scipy.stats, come with scikit-learn's base class.
    modules, _ = imported_by("import isoxide.ueba, isoxide.stream, isoxide._cli._model_commands, isoxide.ueba._page")
    assert not {"sklearn.ensemble", "sklearn.tree", "sklearn.linear_model", "scipy.cluster", "matplotlib"} & modules


@pytest.mark.parametrize("name", ["rank_features", "percentileofscore", "RankReference"])
def test_ranks_import_numpy_only(name):
    modules, _ = imported_by(f"from isoxide import {name}")
    assert packages(modules) & SLOW == {"numpy"}


@pytest.mark.slow
def test_a_forest_and_ranks_work_without_the_packages_of_the_extras():
    code = """
import importlib.abc
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("pandas", "polars", "pyarrow", "jinja2", "tqdm", "matplotlib"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
import numpy as np
from isoxide import IsolationForest, rank_features
X = np.random.default_rng(0).normal(size=(300, 3))
print(IsolationForest(random_state=0).fit(X).predict(X).sum(), rank_features(X[:2], X).percentiles.shape)
"""
    _, printed = imported_by(code)
    X = np.random.default_rng(0).normal(size=(300, 3))
    expected = IsolationForest(random_state=0).fit(X).predict(X).sum()
    assert printed.split() == [str(expected), "(2,", "3)"]


def test_the_version_is_that_of_the_installed_distribution(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: f"version of {name}")
    assert isoxide.__version__ == "version of isoxide"
    assert "__version__" in dir(isoxide)


def test_a_package_that_is_not_installed_has_no_known_version(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert isoxide.__version__ == "0+unknown"


def test_unknown_names_are_refused():
    for module in (isoxide, _frames):
        with pytest.raises(AttributeError, match=f"module '{module.__name__}' has no attribute 'nothing'"):
            module.nothing  # noqa: B018
