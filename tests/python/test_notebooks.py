"""Test that the other notebooks run without warnings, and that their stored outputs equal those of a new run."""

import re
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient
from numpy.testing import assert_array_equal

from isoxide import ueba
from isoxide.datasets import load_enron
from notebook_cells import run_cells

pytestmark = [
    pytest.mark.slow,
    pytest.mark.not_parallel(reason="it runs notebooks in processes of their own"),
    pytest.mark.current_versions(reason="notebooks are written for the current versions"),
]

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


def outputs(notebook):
    """Return for each code cell its outputs as text and its number of pictures."""
    results = []
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        texts, pictures = [], 0
        for output in cell.outputs:
            assert output.output_type in ("execute_result", "display_data") or output.get("name") == "stdout", output
            data = output.get("data", {"text/plain": output.get("text")})
            pictures += "image/png" in data
            # The text of a figure contains its size in pixels, that of an object its address.
            texts.append(re.sub(r"<Figure[^>]*>|0x[0-9a-f]+", "", data["text/plain"]))
        results.append((texts, pictures))
    return results


@pytest.mark.parametrize("name", ["quickstart", "ueba_workflow"])
def test_stored_outputs_equal_those_of_a_new_run(name):
    stored = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    new = nbformat.from_dict(stored)
    for cell in new.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    NotebookClient(
        new,
        resources={"metadata": {"path": str(NOTEBOOKS)}},
        extra_arguments=["--IPKernelApp.log_level=40"],
    ).execute()
    assert outputs(new) == outputs(stored)
    assert sum(pictures for _, pictures in outputs(stored)) >= 1
    assert len([cell for cell in stored.cells if cell.cell_type == "code"]) <= 15


def test_the_notebook_and_detect_have_the_same_findings(tmp_path, monkeypatch):
    monkeypatch.chdir(NOTEBOOKS)
    run_cells(tmp_path, {})
    [results] = tmp_path.glob("*.csv")
    expected = pd.read_csv(results, parse_dates=["day"])
    table = ueba.read_table(load_enron(), entity="actor", time="day")
    findings = ueba.detect(table, anomaly_threshold=0.63, zscores="z_*")
    assert findings.frame["actor"].tolist() == expected["actor"].tolist()
    assert findings.frame["day"].tolist() == expected["day"].tolist()
    assert_array_equal(findings.frame["anomaly_score"], expected["anomaly_score"])
    assert_array_equal(findings.values, expected[findings.features])
