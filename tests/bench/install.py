"""Install the package and its rivals (the extra `bench`).

A rival that cannot be installed is printed. The benchmark then records an error for each of its works.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import tomllib

ROOT = Path(__file__).parents[2]
_PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]


def installs(requirement: str) -> bool:
    return subprocess.run([*_PIP, requirement], cwd=ROOT).returncode == 0


def main() -> int:
    if installs(".[bench]"):
        return 0
    if not installs("."):
        return 1
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    missing = [rival for rival in project["optional-dependencies"]["bench"] if not installs(rival)]
    print(f"NOT INSTALLED, and so not measured: {', '.join(missing) or 'none at the second attempt'}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
