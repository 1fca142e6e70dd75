"""Run a typical notebook with scikit-learn's class and, with one import changed, with isoxide's."""

import pathlib
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.slow,
    pytest.mark.not_parallel(reason="it starts processes"),
    pytest.mark.current_versions(reason="MLflow and shap are not installed with the oldest versions"),
    pytest.mark.thread_unsafe(reason="it starts processes"),
]

NOTEBOOK = pathlib.Path(__file__).parents[1] / "fixtures" / "typical_notebook.py"
IMPORT = "from sklearn.ensemble import IsolationForest\n"


def printed(source, folder, monkeypatch):
    """Run a script in an empty folder, without the warnings of the other packages, and return what it prints."""
    # By default, MLflow needs a database, which needs another package.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MPLBACKEND", "agg")
    arguments = [sys.executable, "-W", "ignore", "-c", source]
    return subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=True).stdout


def test_a_notebook_with_one_import_changed_prints_the_same(tmp_path_factory, monkeypatch):
    source = NOTEBOOK.read_text(encoding="utf-8")
    assert source.count(IMPORT) == 1
    changed = source.replace(IMPORT, "from isoxide import IsolationForest\n")
    expected, actual = (printed(text, tmp_path_factory.mktemp("run"), monkeypatch) for text in (source, changed))
    assert len(expected) > 10_000
    assert actual == expected
