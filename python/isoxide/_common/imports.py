"""Import optional packages; the error for a missing one names the command that installs it."""

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
        Function or feature that needs the package; it is the subject of the message.
    install : str, optional
        Argument of ``pip install``. By default the first part of `name`.

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    ImportError
        If the package is not installed; the message contains the command that installs it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.split(".")[0]
        raise ImportError(f"{purpose} needs {package}: pip install {install or package}") from error
