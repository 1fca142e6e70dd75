"""Warnings that point to the user's line of code, no matter which module of the package gives them."""

from __future__ import annotations

import sys
import warnings

__all__ = ["warn_caller"]


def warn_caller(message: str) -> None:
    """Give a UserWarning that points to the innermost line outside the package, or to the command's own code."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and _is_inside(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=level)


def _is_inside(module: str) -> bool:
    """Tell whether a module belongs to the package and not to the command."""
    return module.split(".")[0] == "isoxide" and not module.startswith("isoxide._cli")
