"""Run the examples in docstrings and documents, and compare their output."""

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

ROOT = pathlib.Path(__file__).parents[2]
#: The examples of the engines run in the tests of the engines, which need Spark or dask.
ENGINES = ("isoxide.dask", "isoxide.spark")
MODULES = ["isoxide", *(module.name for module in pkgutil.walk_packages(isoxide.__path__, "isoxide."))]
MODULES = [name for name in MODULES if not name.startswith(ENGINES)]
#: Results of functions. They need no example, since those of the functions show them.
RESULT_CLASSES = {"Explanation", "FeatureRanks", "Calibration", "Drift", "Findings", "TableProfile", "SamplePlan"}
PUBLIC_MODULES = (isoxide, isoxide.datasets, isoxide.ueba, isoxide.displays, isoxide.mergeable, isoxide.stream)
#: Documents with examples.
DOCUMENTS = sorted(path.name for path in (ROOT / "docs").glob("*.md") if ">>> " in path.read_text(encoding="utf-8"))
# The tests of Spark run the examples of its page.
DOCUMENTS.remove("spark.md")
NEEDS_LAKES = pytest.mark.current_versions(reason="the packages of lakes are not installed with the oldest versions")
PUBLIC = [(module, name) for module in PUBLIC_MODULES for name in module.__all__]

pytestmark = pytest.mark.thread_unsafe(reason="doctest wraps a function of linecache for the whole process")


def run(item, name):
    """Run the examples of an object and of its members, and return their number."""
    runner = doctest.DocTestRunner()
    # `module=False`: the `__module__` of a public class is the package, that of its methods a module in it.
    for test in doctest.DocTestFinder().find(item, name, module=False, globs={name: item, **vars(isoxide)}):
        runner.run(test)
    assert runner.failures == 0
    return runner.tries


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_modules_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize(("module", "name"), PUBLIC, ids=[name for _, name in PUBLIC])
def test_public_names_have_examples_that_run(module, name):
    public = getattr(module, name)
    assert public.__doc__
    n_examples = run(public, name)
    if name not in RESULT_CLASSES:
        assert n_examples > 0
        assert ">>>" in public.__doc__


def test_the_reference_lists_every_public_name():
    """`make docs` builds a page for each name that docs/api.md lists, and fails if there is no such name."""
    listed = re.findall(r"^   (isoxide\.\S+)$", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    expected = [f"{module.__name__}.{name}" for module, name in PUBLIC]
    # These packages cannot be imported without their engines.
    expected += ["isoxide.dask.DaskTable", "isoxide.dask.table", "isoxide.spark.SparkTable", "isoxide.spark.table"]
    expected += ["isoxide.spark.ml.IsolationForest", "isoxide.spark.ml.IsolationForestModel"]
    assert sorted(listed) == sorted(expected)


def test_notebooks_link_to_the_page_of_the_forest():
    forest = isoxide.IsolationForest()
    link = forest._get_doc_link()
    assert link.endswith("/reference/isoxide.IsolationForest.html")
    assert f'href="{link}"' in forest._repr_html_()
    # The site has the page under this name: the folder, and the full name of the class.
    reference = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert ":toctree: reference\n" in reference
    assert "\n   isoxide.IsolationForest\n" in reference

    class Own(isoxide.IsolationForest):
        pass

    assert Own()._get_doc_link() == ""


@pytest.mark.parametrize("path", sorted((ROOT / "python").rglob("*.py")), ids=lambda path: path.stem)
def test_every_description_of_alerts_per_month_says_month(path):
    for text in re.findall(r"^ +alerts_per_month : float.*\n((?: {8,}.*\n)+)", path.read_text(), re.MULTILINE):
        assert "month" in text or text.strip().startswith("See `calibrate`"), text


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=NEEDS_LAKES) if name == "lakes.md" else name for name in DOCUMENTS]
)
def test_examples_of_documents_run(name):
    results = doctest.testfile(str(ROOT / "docs" / name), module_relative=False)
    assert results.attempted > 0
    assert results.failed == 0


def test_the_example_of_the_readme_runs_as_pasted(tmp_path, monkeypatch, capsys):
    """The block after the example is what it prints, and it leaves the report that it names."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [(program, printed)] = re.findall(r"```python\n(.*?)```\n```text\n(.*?)```", readme, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "README.md", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out == printed
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert "emp105" in (tmp_path / "report.html").read_text(encoding="utf-8")
