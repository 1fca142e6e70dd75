"""Installs the package and its rivals (the extra `bench`); a rival that cannot be installed is told, not fatal.

What is missing is recorded by the benchmark as the error of that contender.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import tomllib

ROOT = Path(__file__).parents[2]
_PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]


def installs(what: str) -> bool:
    return subprocess.run([*_PIP, what], cwd=ROOT).returncode == 0


def main() -> int:
    if installs(".[bench]"):
        return 0
    if not installs("."):
        return 1
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    missing = [rival for rival in project["optional-dependencies"]["bench"] if not installs(rival)]
    print(f"NOT INSTALLED, and so not measured: {', '.join(missing) or 'nothing, after all'}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
