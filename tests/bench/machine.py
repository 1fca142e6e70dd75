"""Describe the machine and the versions of a run, without anything that names the machine."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import joblib
import numpy as np

LIBRARIES = (
    *("isoxide", "scikit-learn", "numpy", "scipy", "pandas", "polars"),
    *("isotree", "coniferest", "pyod", "treelite", "tl2cgen", "skl2onnx", "onnxruntime", "joblib", "matplotlib"),
)
_SIMD = ("avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512vbmi", "asimd", "sve")
#: AMD's microarchitectures by family, and within family 25 by ranges of models.
_ZEN_3_MODELS = (*range(0x00, 0x10), *range(0x20, 0x60))
_ZEN = {"23": "Zen 1 or 2", "26": "Zen 5"}


def _cpuinfo() -> dict[str, str]:
    """Return the first processor of Linux's list."""
    try:
        text = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def cores() -> int:
    """Return the number of cores that this process may use."""
    return int(joblib.cpu_count())


def load() -> float:
    """Return how many processes wanted to run during the last minute; before a run, they are somebody else's."""
    try:
        return round(os.getloadavg()[0], 2)
    except (OSError, AttributeError):
        return float("nan")


def machine() -> dict[str, Any]:
    info = _cpuinfo()
    cpu = info.get("model name") or platform.processor() or platform.machine()
    flags = (info.get("flags") or info.get("Features") or "").split()
    try:
        memory: float | None = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    except (ValueError, AttributeError):
        memory = None
    return {
        "cpu": cpu,
        "family": info.get("cpu family"),
        "model": info.get("model"),
        "cores": cores(),
        "simd": [flag for flag in _SIMD if flag in flags],
        "memory_gib": memory,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_before": load(),
    }


def processor(facts: dict[str, Any]) -> str:
    """Return the name of a processor, with AMD's microarchitecture: virtual machines often hide the model's name."""
    name = " ".join(re.sub(r"\((R|TM)\)|\b(CPU|Processor)\b|@.*", " ", facts["cpu"], flags=re.IGNORECASE).split())
    family, model = facts.get("family"), facts.get("model")
    zen = _ZEN.get(family or "")
    if family == "25":
        zen = "Zen 3" if int(model or 0) in _ZEN_3_MODELS else "Zen 4"
    return f"{name} {zen}" if zen and name.startswith("AMD") else name


def kernels() -> tuple[str, str]:
    """Return the kernel that isoxide uses, which ISOXIDE_KERNEL may choose, and the fastest of this processor."""
    from isoxide import _core

    return str(_core.kernel()), str(_core.kernels()[0])


def without_avx512() -> dict[str, str]:
    """Return the environment in which NumPy does without AVX-512, if isoxide has been told to do without it.

    A record of ``ISOXIDE_KERNEL=avx2`` then compares both with the instructions of a processor without AVX-512.
    """
    used, fastest = kernels()
    if used == fastest or fastest != "avx512":
        return {}
    config = np.show_config(mode="dicts") or {}
    wide = [name for name in config["SIMD Extensions"].get("found", []) if "AVX512" in name or name == "X86_V4"]
    return {"NPY_DISABLE_CPU_FEATURES": " ".join(wide)} if wide else {}


def build() -> str:
    """Return a digest of the installed isoxide: results of another build are not results of this one."""
    import isoxide

    digest = hashlib.sha256()
    for path in sorted(Path(isoxide.__file__).parent.rglob("*")):
        if path.suffix in (".py", ".so", ".pyd"):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def versions() -> dict[str, str | None]:
    """Return the version of every library that takes part; None if it is not installed."""
    found: dict[str, str | None] = {}
    for library in LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            found[library] = None
    return found


def commit() -> str | None:
    """Return the commit of this source, marked if what is measured has changes to it."""
    measured = (":/src", ":/python", ":/Cargo.toml", ":/Cargo.lock", ":/tests/bench/*.py")
    commands = (["describe", "--always"], ["diff", "--name-only", "HEAD", "--", *measured])
    try:
        name, changes = (
            subprocess.run(
                ["git", *command], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
            ).stdout.strip()
            for command in commands
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{name}-dirty" if changes else name
