"""Test that the notebook writes the same files with isoxide as with scikit-learn and scipy, and escapes all text."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib
import nbformat
import numpy as np
import pandas as pd
import pytest

import reference_engine
from notebook_cells import IMPORT_LINE, NOTEBOOK, NOTEBOOKS, code_cells, run_cells

pytestmark = [
    pytest.mark.not_parallel(reason="it runs notebooks in processes of their own"),
    pytest.mark.current_versions(reason="notebooks are written for the current versions"),
]

matplotlib.use("Agg")

DATA_IMPORT_LINE = "from isoxide.datasets import load_enron"


def generated_table(folder: Path, seed: int) -> dict[str, Any]:
    """Write a table of integer counts, flags and z-scores, and its users; return parameters for it."""
    random = np.random.default_rng(seed)
    rows = 1_750  # about 1,500 are left once pairs drawn twice are dropped
    days = pd.date_range("2025-01-20", "2025-04-26").delete([10, 11, 40])  # some calendar days have no row at all
    table = pd.DataFrame(
        {
            "actor": random.integers(100, 160, rows).astype(str),
            "day": random.choice(days, rows),
        }
    )
    table = table.drop_duplicates().sort_values(["day", "actor"], ignore_index=True)
    busy = random.gamma(1.0, 1.0, len(table))
    for i in range(24):
        table[f"count_{i:02}"] = random.poisson(busy * random.uniform(0.1, 8.0))
    table["leaver_action"] = (random.random(len(table)) < 0.01).astype(int)
    table["is_weekend"] = (table["day"].dt.day_of_week >= 5).astype(int)
    for i in range(14):
        count = table[f"count_{i:02}"]
        table[f"zscore_count_{i:02}"] = ((count - count.mean()) / count.std()).round(4)
    features = table.drop(columns=["actor", "day"])
    forest = reference_engine.IsolationForest(random_state=7).fit(features)

    # The notebook must drop repeated rows; they are added after the threshold is computed, so that it does not move.
    pd.concat([table, table.head(3)]).to_csv(folder / "features.csv", index=False)
    actors = sorted(table["actor"].unique())
    users = pd.DataFrame(
        {
            "actor": actors,
            "name": "Doe, Jo",
            "email": [f"u{name}@example.org" for name in actors],
        }
    )
    users.head(-5).to_csv(folder / "users.csv", index=False)
    return {
        "input_path": str(folder / "features.csv"),
        "users_path": str(folder / "users.csv"),
        "id_columns": ["actor", "day"],
        "zscore_pattern": "*zscore*",
        "fixed_flags": ["leaver_action", "is_weekend"],
        "nan_policy": "propagate",
        "random_state": 7,
        "period": "M",
        "score_threshold": float(np.quantile(-forest.score_samples(features), 0.98)),
    }


@pytest.fixture
def in_notebook_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths in the notebook are relative to its folder."""
    monkeypatch.chdir(NOTEBOOKS)


@pytest.mark.slow
@pytest.mark.parametrize("data", ["enron", "generated"])
def test_files_equal_those_of_other_engines(data: str, seed: int, tmp_path: Path, in_notebook_folder: None) -> None:
    parameters = {} if data == "enron" else generated_table(tmp_path, seed)
    output, expected = tmp_path / "isoxide", tmp_path / "reference"
    run_cells(output, parameters)
    run_cells(expected, parameters, engine="reference_engine")

    names = sorted(path.name for path in expected.iterdir())
    assert sorted(path.name for path in output.iterdir()) == names
    assert [Path(name).suffix for name in names] == [".csv", ".html", ".md", ".png"]
    for name in names:
        if not name.endswith(".png"):
            assert (output / name).read_bytes() == (expected / name).read_bytes(), name

    csv, page, report = (next(output.glob(f"*{suffix}")) for suffix in (".csv", ".html", ".md"))
    results = pd.read_csv(csv, dtype={"actor": "str", "email": "str"}, keep_default_na=False)
    assert len(results) >= 20
    assert results["anomaly_score"].between(0.5, 1).all()
    text = report.read_text(encoding="utf-8")
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)
    assert len(re.findall(r"^\| \d{4}-\d\d-\d\d \|", text, re.MULTILINE)) == len(results)
    assert page.read_text(encoding="utf-8").count("<tbody>") == len(results) + 2  # the other two are overviews
    if data == "generated":
        assert "2025-01-20_2025-04-26" in csv.name
        has_email = results["actor"] < "155"
        assert (results.loc[has_email, "email"] == "u" + results.loc[has_email, "actor"] + "@example.org").all()
        assert (results.loc[~has_email, "email"] == "").all()
        assert all(f", {email}\n" in text for email in results.loc[has_email, "email"])
    else:
        assert (results["email"] == "").all()


@pytest.mark.slow
def test_markup_in_names_is_escaped(tmp_path: Path, in_notebook_folder: None) -> None:
    hostile = [
        "a|b",
        "<script>alert(1)</script>",
        "new\nline",
        "=1+1",
        "`*_[x](y)_*`",
        "back\\|slash",
        "&lt;b&gt;",
    ]
    feature = "x|<b>y"
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.poisson(3.0, (400, 4)), columns=[feature, "b", "c", "zscore_d"])
    table.insert(
        0,
        "day",
        pd.date_range("2025-03-01", periods=20).repeat(20).strftime("%Y-%m-%d"),
    )
    table.insert(0, "actor", [f"user{i % 50}" for i in range(400)])
    for i, name in enumerate(hostile):
        table.loc[20 * i, "actor"] = name
        table.loc[20 * i, [feature, "b", "c", "zscore_d"]] = 40 + i
    table.to_csv(tmp_path / "features.csv", index=False)
    users = pd.DataFrame({"actor": hostile, "email": [f'{name}<img src="x">' for name in hostile]})
    users.to_csv(tmp_path / "users.csv", index=False)
    namespace = run_cells(
        tmp_path / "out",
        {
            "input_path": str(tmp_path / "features.csv"),
            "users_path": str(tmp_path / "users.csv"),
            "id_columns": ["actor", "day"],
            "zscore_pattern": "zscore*",
            "fixed_flags": [],
        },
    )
    assert set(hostile) <= {finding.actor for finding in namespace["findings"]}

    report = namespace["markdown_path"].read_text(encoding="utf-8")
    assert "<" not in report
    assert "## a\\|b, a\\|b&lt;img" in report
    assert "## back\\\\\\|slash, " in report
    assert "## &amp;lt;b&amp;gt;, " in report
    assert "## new line, " in report
    assert "x\\|&lt;b&gt;y" in report
    for line in report.splitlines():
        if line:
            # Prose and headings have no pipe that ends a cell, the lines of tables have eight.
            pipes = len(re.findall(r"(?<!\\)(?:\\\\)*\|", line))
            assert pipes == (8 if line.startswith("|") else 0), line

    page = Page(namespace["html_path"].read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert page.tags.count("img") == 1  # the chart
    assert {name.strip() for name in page.headings} >= set(hostile)
    assert feature in page.cells

    assert pd.read_csv(namespace["csv_path"])["actor"].str.startswith("'=1").any()


class Page(HTMLParser):
    """Collect the tags of a page, and the texts of its section headings and table cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.headings: list[str] = []
        self.cells: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] in ("h2", "td"):
            (self.headings if self.tags[-1] == "h2" else self.cells).append(data)


def load_run() -> ModuleType:
    spec = importlib.util.spec_from_file_location("notebooks_run", NOTEBOOKS / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_run_executes_the_notebook(tmp_path: Path) -> None:
    out = tmp_path / "out"
    files = load_run().execute(out, {"score_threshold": 0.65})
    assert {path.suffix for path in files} == {".ipynb", ".csv", ".md", ".html", ".png"}
    assert all(path.parent == out and path.stat().st_size > 1_000 for path in files)
    assert len(list(out.iterdir())) == len(files)  # no temporary file is left

    notebook = nbformat.read(out / NOTEBOOK.name, as_version=4)
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert {output.output_type for output in outputs} == {
        "stream",
        "display_data",
        "execute_result",
    }
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    injected = next(cell for cell in notebook.cells if cell.id == "injected-parameters")
    assert "score_threshold = 0.65" in injected.source


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "colour=1"], "no such parameter: colour"),
        (["--set", "period=M"], "must be JSON"),
        (["--set", 'output_dir="x"'], "--out"),
        (["--set", 'input_path="data/none.csv"'], "FileNotFoundError"),
    ],
)
def test_run_reports_an_error_in_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", "--out", str(tmp_path), *arguments])
    assert load_run().main() == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err


def test_the_stored_notebook_is_executed_and_uses_only_the_engine_of_isoxide() -> None:
    cells = code_cells()
    lines = [line for cell in cells for line in cell.source.splitlines()]
    assert lines.count(IMPORT_LINE) == 1
    # Only the engine and the demo table come from isoxide, so another engine can run all other cells.
    imports = [line for line in lines if line.startswith(("from isoxide", "import isoxide"))]
    assert sorted(imports) == ["from isoxide import IsolationForest, rank_features", DATA_IMPORT_LINE]
    nodes = [node for cell in cells for node in ast.walk(ast.parse(cell.source))]
    assert not [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)]
    assert [cell.id for cell in cells if "parameters" in cell.metadata.get("tags", [])] == ["parameters"]

    # It was executed from top to bottom, and has neither the times of that run nor a path of that machine.
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [cell.id for cell in cells if "execution" in cell.metadata]
    text = "".join(
        str(output) for cell in cells for output in cell.outputs if "image/png" not in output.get("data", {})
    )
    assert not re.search(r"/(home|root|tmp|work|Users)/", text)
