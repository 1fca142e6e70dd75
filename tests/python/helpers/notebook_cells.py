"""Run the cells of a notebook within this process."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import nbformat

NOTEBOOKS = Path(__file__).resolve().parents[3] / "notebooks"
NOTEBOOK = NOTEBOOKS / "ueba_anomalies.ipynb"
#: Line of the notebook that `run_cells` changes, to run it with another package.
IMPORT_LINE = "from isoxide import IsolationForest, rank_features"


def code_cells() -> list[Any]:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def run_cells(out: Path, parameters: dict[str, Any], engine: str = "isoxide") -> dict[str, Any]:
    """Execute the code cells with other parameters and the forest and ranks of `engine`; warnings are errors."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with warnings.catch_warnings(), matplotlib.rc_context():
        warnings.simplefilter("error")
        for cell in code_cells():
            source = cell.source.replace(IMPORT_LINE, IMPORT_LINE.replace("isoxide", engine))
            exec(compile(source, f"<cell {cell.id}>", "exec"), namespace)
            if "parameters" in cell.metadata.get("tags", []):
                namespace.update(parameters, output_dir=str(out))
        plt.close("all")
    return namespace
