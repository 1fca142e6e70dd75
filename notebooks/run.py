"""Run a notebook, by default `ueba_anomalies.ipynb`, and list the files that it wrote; `make demo` runs this."""

from __future__ import annotations

import argparse
import ast
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbformat import NotebookNode

FOLDER = Path(__file__).resolve().parent
NOTEBOOK = FOLDER / "ueba_anomalies.ipynb"
LABELS = {
    ".ipynb": "notebook",
    ".csv": "anomalies",
    ".md": "report",
    ".html": "report",
    ".png": "calibration chart",
}


class RunError(Exception):
    """A notebook could not be run; the message fits on one line."""


def execute(
    out: Path, parameters: dict[str, Any] | None = None, save: Path | None = None, path: Path = NOTEBOOK
) -> list[Path]:
    """Run a notebook with its results in `out`, save it with its outputs, and return all files written.

    Parameters
    ----------
    out : Path
        Folder for the results.
    parameters : dict, optional
        Values that replace those of the notebook's cell of parameters.
    save : Path, optional
        File that the executed notebook is saved to. By default it is saved into `out`.
    path : Path, optional
        Notebook to run.

    Returns
    -------
    list of Path
        The executed notebook and the files in `out` that the run wrote, in the order of `LABELS`.

    Raises
    ------
    RunError
        If a package is missing, a parameter is unknown, or a cell raises an exception.
    """
    try:
        import nbformat
        from nbclient import NotebookClient
        from nbclient.exceptions import CellExecutionError, DeadKernelError
    except ImportError as error:
        raise RunError(f"{error.name} is missing: install nbclient, nbformat and ipykernel") from error

    if "output_dir" in (parameters or {}):
        raise RunError("output_dir cannot be set: choose the output folder with --out")
    notebook = nbformat.read(path, as_version=4)
    if path == NOTEBOOK:
        # The path is relative to the notebook, so that no path of this machine is printed in it.
        inject(notebook, {"output_dir": Path(os.path.relpath(out, FOLDER)).as_posix(), **(parameters or {})})
    started = time.time()
    client = NotebookClient(
        notebook,
        record_timing=False,  # the saved notebook changes only if results change
        resources={"metadata": {"path": str(FOLDER)}},
        extra_arguments=["--IPKernelApp.log_level=40"],  # errors only: the kernel is local and warns of open sockets
    )
    try:
        client.execute()
    except CellExecutionError as error:
        raise RunError(f"{error.ename}: {' '.join(error.evalue.split())}") from error
    except DeadKernelError as error:
        raise RunError("the kernel died; it may have run out of memory") from error
    notebook.metadata.language_info = {"name": "python"}

    save = (save or out / path.name).resolve()
    save.parent.mkdir(parents=True, exist_ok=True)
    temporary = save.with_name(f".{save.name}.{os.getpid()}")
    nbformat.write(notebook, temporary)
    os.replace(temporary, save)
    # One second of tolerance for file systems with coarse times.
    results = out.iterdir() if out.is_dir() else ()
    written = {path for path in results if path.suffix in LABELS and path.stat().st_mtime >= started - 1}
    return sorted(written | {save}, key=lambda path: list(LABELS).index(path.suffix) if path.suffix in LABELS else 0)


def inject(notebook: NotebookNode, parameters: dict[str, Any]) -> None:
    """Add a cell with the changed `parameters` behind the cell tagged `parameters`, as papermill does."""
    from nbformat.v4 import new_code_cell

    position, cell = next(
        (i, cell) for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])
    )
    defaults = {
        target.id: ast.literal_eval(node.value)
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    unknown = sorted(set(parameters) - set(defaults))
    if unknown:
        raise RunError(f"no such parameter: {', '.join(unknown)}; choose from {', '.join(defaults)}")
    changed = {name: value for name, value in parameters.items() if value != defaults[name]}
    if changed:
        source = "\n".join(f"{name} = {value!r}" for name, value in changed.items())
        injected = new_code_cell(source, id="injected-parameters", metadata={"tags": ["injected-parameters"]})
        notebook.cells.insert(position + 1, injected)


def setting(text: str) -> tuple[str, Any]:
    """Parse `name=value`, with the value as JSON."""
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError as error:
        raise RunError(f"--set {text}: the value must be JSON (a text needs double quotes)") from error


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", metavar="NAME=JSON", action="append", default=[], dest="settings")
    parser.add_argument("--out", metavar="DIR", type=Path, default=FOLDER.parent / "demo-output")
    parser.add_argument(
        "--notebook", metavar="NAME", default=NOTEBOOK.name, help="file name of a notebook in this folder"
    )
    parser.add_argument(
        "--save", metavar="PATH", type=Path, help="where to save the executed notebook (default: into DIR)"
    )
    arguments = parser.parse_args()
    started = time.perf_counter()
    try:
        files = execute(
            arguments.out.resolve(), dict(map(setting, arguments.settings)), arguments.save, FOLDER / arguments.notebook
        )
    except (RunError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path in files:
        print(f"{LABELS.get(path.suffix, 'notebook'):<18} {os.path.relpath(path)}")
    print(f"{time.perf_counter() - started:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
