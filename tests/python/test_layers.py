"""Check the levels and invariants of ARCHITECTURE.md in the sources."""

import ast
import pathlib
import re
import sys

import pytest

pytestmark = [
    pytest.mark.not_parallel(reason="it reads sources only"),
    pytest.mark.current_versions(reason="it reads sources only"),
]

ROOT = pathlib.Path(__file__).parents[2]
RUST = sorted((ROOT / "src").rglob("*.rs"))
PYTHON = sorted((ROOT / "python" / "isoxide").rglob("*.py"))

#: The modules of the Rust core, lowest level first. A module uses only lower levels, or its own on the lowest level.
RUST_LEVELS = [
    {"error", "bytes", "decimal", "matrix", "memory", "prepared", "threads", "cancellation"},
    {"forest", "simd", "sketch"},
    {"random"},
    {"grow", "score", "explain", "rank"},
    {"python"},
]
#: The packages in `isoxide`, lowest level first. A package imports only from itself and from lower levels. "" is
#: `isoxide` itself, whose public names no module in it imports.
PYTHON_LEVELS = [
    {"_core"},
    {"_common"},
    {"_frames"},
    {"_forest", "_ranks"},
    {"datasets", "displays", "mergeable", ""},
    {"ueba"},
    {"_partitioned"},
    {"dask", "spark", "stream"},
    {"_cli"},
    {"__main__"},
]
#: Packages that import only numpy and scikit-learn.
LIGHT = {"", "_common", "_forest", "_ranks", "datasets", "mergeable"}
#: Modules of other packages that import only numpy and scikit-learn.
LIGHT_MODULES = {
    f"isoxide._frames.{name}" for name in ("adapter", "containers", "dtypes", "row_labels", "tables", "validation")
}
LIGHT_MODULES |= {"isoxide._frames"}
PACKAGE = ROOT / "python" / "isoxide"
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path for path in PYTHON
}


def code(path):
    """Return a Rust file without its comments and without the unit tests at its end."""
    text = re.sub(r"//.*", "", path.read_text())
    return text.split("#[cfg(test)]")[0]


def rust_module(path):
    return path.relative_to(ROOT / "src").parts[0].removesuffix(".rs")


@pytest.mark.parametrize("path", RUST, ids=lambda p: str(p.relative_to(ROOT)))
def test_rust_modules_use_only_lower_levels(path):
    text, module = code(path), rust_module(path)
    if module == "lib":
        return
    if module != "python":
        assert not re.search(r"\b(pyo3|numpy)\b", text), "only src/python names pyo3 and numpy"
    if module != "simd":
        assert not re.search(r"\bunsafe\b", text), "only src/simd is unsafe"
    level = next(i for i, modules in enumerate(RUST_LEVELS) if module in modules)
    allowed = set().union(*RUST_LEVELS[:level]) | {module}
    if level == 0:
        allowed |= RUST_LEVELS[0]
    used = set(re.findall(r"\bcrate::(\w+)", text))
    assert used <= allowed, f"{module} may not use {used - allowed}"


def imported(module):
    """Yield the modules of isoxide that a module imports, also those imported in functions or only for types."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            names = [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [(node.module, alias.name) for alias in node.names]
        else:
            continue
        for source, name in names:
            if source.split(".")[0] == "isoxide":
                inner = f"{source}.{name}"
                yield inner if inner in MODULES or inner == "isoxide._core" else source


def package(module):
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("module", MODULES)
def test_python_modules_import_only_from_lower_levels(module):
    own_package = package(module)
    level = next(i for i, packages in enumerate(PYTHON_LEVELS) if own_package in packages)
    allowed = set().union(*PYTHON_LEVELS[:level]) | {own_package}
    used = {package(name) for name in imported(module)} - {own_package}
    assert used <= allowed, f"{module} may not import from {used - allowed}"
    assert own_package == "__main__" or "" not in used, (
        f"{module} imports a public name; import it from the module that defines it"
    )


def test_imports_have_no_cycle():
    graph = {module: set(imported(module)) - {module} for module in MODULES}
    done, path = set(), []

    def visit(module):
        assert module not in path, f"import cycle: {' -> '.join([*path[path.index(module) :], module])}"
        if module in done or module not in graph:
            return
        path.append(module)
        for name in sorted(graph[module]):
            visit(name)
        done.add(path.pop())

    for module in graph:
        visit(module)


def test_the_package_has_at_most_sixteen_parts():
    parts = {
        path.name.removesuffix(".py").removesuffix(".pyi")
        for path in PACKAGE.iterdir()
        if path.suffix in (".py", ".pyi")
    }
    parts |= {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert len(parts) <= 16, sorted(parts)


def is_light(module):
    return package(module) in LIGHT or module in LIGHT_MODULES


def test_light_modules_import_only_numpy_and_scikit_learn():
    top_level, inside = set(), set()
    for module, path in MODULES.items():
        if not is_light(module):
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import):
                names = [(alias.name, alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [(node.module, f"{node.module}.{alias.name}") for alias in node.names]
            else:
                continue
            top_level |= {source.split(".")[0] for source, _ in names}
            inside |= {name if name in MODULES else source for source, name in names}
    # joblib and scipy come with scikit-learn.
    assert top_level - sys.stdlib_module_names <= {"isoxide", "numpy", "sklearn", "joblib", "scipy"}
    # Python imports a module together with all packages that contain it.
    inside |= {module for module in MODULES if is_light(module)}
    packages = {".".join(module.split(".")[:k]) for module in inside for k in range(1, module.count(".") + 2)}
    assert not {module for module in packages & MODULES.keys() if not is_light(module)}
