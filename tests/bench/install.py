"""Install the package and its rivals (the extra `bench`), and print the rivals that cannot be installed.

The benchmark records a missing rival as the error of that contender.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import tomllib

ROOT = Path(__file__).parents[2]
_PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]


def install(requirement: str) -> bool:
    return subprocess.run([*_PIP, requirement], cwd=ROOT).returncode == 0


def main() -> int:
    if install(".[bench]"):
        return 0
    if not install("."):
        return 1
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    missing = [rival for rival in project["optional-dependencies"]["bench"] if not install(rival)]
    print(f"NOT INSTALLED, and so not measured: {', '.join(missing) or 'nothing'}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
