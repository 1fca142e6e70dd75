"""Print the versions and the hardware that a report of a defect should name."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from isoxide import _core
from isoxide._common.threads import resolve_n_jobs

#: Packages that results are compared with, computed by, or read from.
_PACKAGES = ("isoxide", "numpy", "scikit-learn", "scipy", "joblib", "pandas", "polars", "pyarrow")


def show_versions() -> None:
    """Print versions, processor and threads, on which results and times may depend.

    The output belongs in reports of defects. Packages that are not installed are left out. ``kernel`` is the one in
    use; ``kernels`` are those that this processor can run, the fastest first, which the environment variable
    ``ISOXIDE_KERNEL`` may name.

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
    """Return the processor features that NumPy uses beyond the common ones; the last bits of scores depend on them."""
    try:
        config = np.show_config(mode="dicts")
    except TypeError:  # before NumPy 1.25
        return "not known"
    features = (config or {}).get("SIMD Extensions", {}).get("found", [])
    return " ".join(features) or "the common features only"


# Pickles, skops files and messages contain the name of the public module, so that private modules can move.
show_versions.__module__ = "isoxide"
