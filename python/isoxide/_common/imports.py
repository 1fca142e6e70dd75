"""Import optional packages, with the command that installs a missing one."""

from __future__ import annotations

import importlib
from typing import Any


def needed_module(name: str, what: str, install: str | None = None) -> Any:
    """An optional package, or the sentence that says how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.split(".")[0]
        raise ImportError(f"{what} needs {package}: pip install {install or package}") from error
