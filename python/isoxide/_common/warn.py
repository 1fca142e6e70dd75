"""Warnings that point at the line of the user, however deep in the package they are given."""

from __future__ import annotations

import sys
import warnings

__all__ = ["warn_caller"]


def warn_caller(message: str) -> None:
    """Give a UserWarning at the innermost line outside of the package, or in the command, which prints it as a note."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and _is_inside(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=level)


def _is_inside(module: str) -> bool:
    """Tell whether a module belongs to the package and not to the command."""
    return module.split(".")[0] == "isoxide" and not module.startswith("isoxide._cli")
