"""The laws of ARCHITECTURE.md, read from the source."""

import ast
import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
RUST = sorted((ROOT / "src").rglob("*.rs"))
PYTHON = sorted((ROOT / "python" / "isoxide").rglob("*.py"))

#: What each room of the Rust core may use of the others.
RUST_LEVELS = [
    {"error", "bytes", "decimal", "matrix", "memory", "threads", "watch"},
    {"random", "forest", "simd", "sketch"},
    {"grow", "score", "rank"},
    {"python"},
]
#: What each Python module may import of the others, lowest first.
PYTHON_LEVELS = [
    {"_core", "_path_length", "_threads", "_containers", "_validation", "_seeds", "_tables", "_format", "_percentiles"}
    | {"_files", "_file_header", "_json", "_order", "_array_bytes", "_names", "_groups", "_sklearn_tree"},
    {"_model_file"},
    {"_sklearn", "_feature_ranks"},
    {"_iforest", "_rank", "_rank_reference", "_show_versions"},
    {"_sample_plan", "_sample_rows", "_score_sketch", "_rank_counts"},
    {"", "displays", "partials"},
]
#: What the packages on top may import besides their own modules; "" is the public package.
ON_TOP = {
    "_frames": {"_core", "_names", "_percentiles"},
    "ueba": {"", "displays", "_format", "_files", "_groups", "_names", "_order", "_percentiles", "_frames"},
    "_parts": {"", "partials", "ueba", "_order", "_groups", "_feature_ranks", "_percentiles", "_tables", "_validation"}
    | {"_core", "_frames", "_names", "_rank_counts", "_sample_plan", "_score_sketch"},
    "dask": {"", "_frames", "_parts", "partials", "ueba"},
    "spark": {"", "_frames", "_parts", "partials", "ueba"},
    "stream": {"", "_parts", "_frames", "_tables", "_threads", "ueba", "_files"},
    "_cli": {"", "ueba", "stream", "_files", "_format", "_frames"},
}


def code(path):
    """A Rust file without comments, and without its unit tests, which stand at its end."""
    text = re.sub(r"//.*", "", path.read_text())
    return text.split("#[cfg(test)]")[0]


def room(path):
    return path.relative_to(ROOT / "src").parts[0].removesuffix(".rs")


@pytest.mark.parametrize("path", RUST, ids=lambda p: str(p.relative_to(ROOT)))
def test_rust_rooms(path):
    text, here = code(path), room(path)
    if here == "lib":
        return
    if here != "python":
        assert not re.search(r"\b(pyo3|numpy)\b", text), "only src/python names pyo3 and numpy"
    if here != "simd":
        assert not re.search(r"\bunsafe\b", text), "only src/simd is unsafe"
    level = next(i for i, rooms in enumerate(RUST_LEVELS) if here in rooms)
    below = set().union(*RUST_LEVELS[:level]) | {here}
    if level == 0:
        below |= RUST_LEVELS[0]
    used = set(re.findall(r"\bcrate::(\w+)", text))
    assert used <= below, f"{here} may not use {used - below}"


def imported(path):
    """What a Python file imports of the package, as the parts of each dotted name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (parts for name in names if (parts := name.split("."))[0] == "isoxide")


@pytest.mark.parametrize("path", PYTHON, ids=lambda p: str(p.relative_to(ROOT)))
def test_python_modules(path):
    package, *inner = path.relative_to(ROOT / "python" / "isoxide").with_suffix("").parts
    if inner:
        for parts in imported(path):
            # A name of the public package has no module of ours before it.
            room = parts[1] if len(parts) > 2 or (ROOT / "python" / "isoxide" / parts[1]).is_dir() else ""
            assert room in ON_TOP[package] | {package}, f"{path.name} may not import {'.'.join(parts)}"
        return
    if package == "__main__":
        assert [parts[1] for parts in imported(path)] == ["_cli"]
        return
    here = "" if package == "__init__" else package
    level = next(i for i, modules in enumerate(PYTHON_LEVELS) if here in modules)
    below = set().union(*PYTHON_LEVELS[:level]) | (PYTHON_LEVELS[0] if level == 0 else set())
    if here == "displays":
        # For annotations only: findings are drawn by what they are made of.
        below |= {"ueba"}
    for parts in imported(path):
        assert set(parts[1:]) & below, f"{path.stem} may not import {'.'.join(parts)}"


@pytest.mark.parametrize("path", RUST + PYTHON, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_are_short(path):
    assert len(path.read_text().splitlines()) <= 500


def test_importing_the_package_needs_numpy_and_scikit_learn_only():
    needed = set()
    for path in PYTHON:
        if path.parent.name in ON_TOP:
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import):
                needed |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                needed.add(node.module.split(".")[0])
    # joblib and scipy come with scikit-learn.
    assert needed - sys.stdlib_module_names <= {"isoxide", "numpy", "sklearn", "joblib", "scipy"}
