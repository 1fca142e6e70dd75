"""Print what a report of a defect should say about the machine."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from isoxide import _core
from isoxide._common.threads import resolve_n_jobs

#: What results are compared with or made of, and what frames come from.
_PACKAGES = ("isoxide", "numpy", "scikit-learn", "scipy", "joblib", "pandas", "polars", "pyarrow")


def show_versions() -> None:
    """Print what results and times may depend on: versions, processor, threads.

    The output belongs into reports of defects. Packages that are not installed are left out. ``kernel`` is the one in
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
    """The processor's features beyond the common ones that NumPy uses; the last bits of scores follow them."""
    try:
        config = np.show_config(mode="dicts")
    except TypeError:  # before NumPy 1.25
        return "not known"
    features = (config or {}).get("SIMD Extensions", {}).get("found", [])
    return " ".join(features) or "the common features only"


# Pickles, skops and messages hold the public module's name, so that private ones can move.
show_versions.__module__ = "isoxide"
