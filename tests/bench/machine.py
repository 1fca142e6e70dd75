"""Describe the machine of a run without anything that identifies it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import joblib

LIBRARIES = (
    *("isoxide", "scikit-learn", "numpy", "scipy", "pandas", "polars"),
    *("isotree", "coniferest", "pyod", "joblib", "matplotlib"),
)
_SIMD = ("avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512vbmi", "asimd", "sve")


def _cpuinfo() -> dict[str, str]:
    """Return the entry of the first processor in /proc/cpuinfo, if it exists."""
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
    """Return the load of the last minute; if it is above 0 before a run, other programs are running."""
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


def slug(facts: dict[str, Any]) -> str:
    """Return a short name of the machine for the file name of a record."""
    name = re.sub(r"\((r|tm)\)|\b(cpu|processor)\b|@.*", " ", facts["cpu"].lower())
    return re.sub(r"[^a-z0-9]+", "-", f"{name} {facts['cores']} cores").strip("-")


def versions() -> dict[str, str | None]:
    """Return the version of each library, or None if it is not installed."""
    result: dict[str, str | None] = {}
    for library in LIBRARIES:
        try:
            result[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            result[library] = None
    return result


def commit() -> str | None:
    """Return the commit of this source, marked if there are uncommitted changes."""
    try:
        process = subprocess.run(
            ["git", "describe", "--always-show", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return process.stdout.strip()
