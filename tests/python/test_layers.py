"""The invariants of ARCHITECTURE.md, read from the sources."""

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

#: What each room of the Rust core may use of the others.
RUST_LEVELS = [
    {"error", "bytes", "decimal", "matrix", "memory", "prepared", "threads", "cancellation"},
    {"random", "forest", "simd", "sketch"},
    {"grow", "score", "explain", "rank"},
    {"python"},
]
#: The rooms of the package, lowest first: a room imports from itself and from the floors below only. "" is the public
#: package, which nothing inside imports.
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
#: Rooms that need no more than numpy and scikit-learn when they are imported.
LIGHT = {"", "_common", "_forest", "_ranks", "datasets", "mergeable"}
#: The same for single modules of rooms that otherwise need more.
LIGHT_MODULES = {
    f"isoxide._frames.{name}" for name in ("adapter", "containers", "dtypes", "row_labels", "tables", "validation")
}
LIGHT_MODULES |= {"isoxide._frames"}
PACKAGE = ROOT / "python" / "isoxide"
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path for path in PYTHON
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


def imported(module):
    """The modules of the package that a module imports, wherever the import stands: in functions and for types too."""
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


def python_room(module):
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("module", MODULES)
def test_python_rooms(module):
    here = python_room(module)
    level = next(i for i, rooms in enumerate(PYTHON_LEVELS) if here in rooms)
    allowed = set().union(*PYTHON_LEVELS[:level]) | {here}
    used = {python_room(name) for name in imported(module)} - {here}
    assert used <= allowed, f"{module} may not import from {used - allowed}"
    assert here == "__main__" or "" not in used, (
        f"{module} imports a public name; import it from the room where it lives"
    )


def test_no_import_circles():
    graph = {module: set(imported(module)) - {module} for module in MODULES}
    done, path = set(), []

    def visit(module):
        assert module not in path, f"import circle: {' -> '.join([*path[path.index(module) :], module])}"
        if module in done or module not in graph:
            return
        path.append(module)
        for name in sorted(graph[module]):
            visit(name)
        done.add(path.pop())

    for module in graph:
        visit(module)


def test_few_rooms():
    rooms = {
        path.name.removesuffix(".py").removesuffix(".pyi")
        for path in PACKAGE.iterdir()
        if path.suffix in (".py", ".pyi")
    }
    rooms |= {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert len(rooms) <= 16, sorted(rooms)


def is_light(module):
    return python_room(module) in LIGHT or module in LIGHT_MODULES


def test_importing_the_package_needs_numpy_and_scikit_learn_only():
    needed, inside = set(), set()
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
            needed |= {source.split(".")[0] for source, _ in names}
            inside |= {name if name in MODULES else source for source, name in names}
    # joblib and scipy come with scikit-learn.
    assert needed - sys.stdlib_module_names <= {"isoxide", "numpy", "sklearn", "joblib", "scipy"}
    # A module is imported with all packages that it is in, and with what it imports itself.
    inside |= {module for module in MODULES if is_light(module)}
    packages = {".".join(module.split(".")[:k]) for module in inside for k in range(1, module.count(".") + 2)}
    assert not {module for module in packages & MODULES.keys() if not is_light(module)}
