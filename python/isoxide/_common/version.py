"""Version of the package, also if it is used without being installed."""

from __future__ import annotations

from importlib import metadata

__all__ = ["package_version"]


def package_version() -> str:
    """Return the version of the installed package."""
    try:
        return metadata.version("isoxide")
    except metadata.PackageNotFoundError:
        # The package is used from its sources without being installed.
        return "0+unknown"
