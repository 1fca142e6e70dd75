"""Import optional packages, with the command that installs a missing one."""

from __future__ import annotations

import importlib
from typing import Any


def import_optional(name: str, purpose: str, install: str | None = None) -> Any:
    """Import an optional package, or say how to install it.

    Parameters
    ----------
    name : str
        Name of the module, such as ``"matplotlib.pyplot"``.
    purpose : str
        Subject of the message: what needs the package.
    install : str, optional
        Argument of ``pip install``; by default the package of the module.

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    ImportError
        If the package is not installed; the message has the command that installs it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.split(".")[0]
        raise ImportError(f"{purpose} needs {package}: pip install {install or package}") from error
