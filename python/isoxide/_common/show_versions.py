"""Print versions, processor and threads for bug reports."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from isoxide import _core
from isoxide._common.threads import resolve_n_jobs

#: Packages that compute results, hold frames, or serve as the reference in tests.
_PACKAGES = (
    *("isoxide", "numpy", "scikit-learn", "scipy", "joblib", "pandas", "polars", "pyarrow"),
    *("duckdb", "deltalake", "pyiceberg"),
)


def show_versions() -> None:
    """Print versions, processor and threads, which may affect results and running times.

    Add the output to bug reports. Packages that are not installed are left out. ``kernel`` is the name of the
    instruction set in use, and ``kernels`` lists those that this processor can run, the fastest first. Set the
    environment variable ``ISOXIDE_KERNEL`` to one of them to use it.

    Examples
    --------
    >>> from isoxide import show_versions
    >>> show_versions()  # doctest: +ELLIPSIS
          python: 3...
        platform: ...
         isoxide: ...
    """
    facts = {"python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            continue
    facts["kernel"] = _core.kernel()
    facts["kernels"] = " ".join(_core.kernels())
    facts["threads"] = str(resolve_n_jobs(None))
    facts["numpy uses"] = _numpy_features()
    for name, fact in facts.items():
        print(f"{name:>12}: {fact}")


def _numpy_features() -> str:
    """Return the processor features that NumPy uses beyond its baseline; the last bits of scores depend on them."""
    try:
        config = np.show_config(mode="dicts")
    except TypeError:  # before NumPy 1.25
        return "unknown"
    features = (config or {}).get("SIMD Extensions", {}).get("found", [])
    return " ".join(features) or "baseline only"


# Pickles, skops files and messages contain the public module's name, so that private modules can move.
show_versions.__module__ = "isoxide"
