"""Install the package and its rivals (the dependency group `bench`), and go on without rivals that cannot be installed.

The benchmark records a rival that is missing as a contender that failed.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import tomllib

ROOT = Path(__file__).parents[2]
_PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]


def installs(*arguments: str) -> bool:
    return subprocess.run([*_PIP, *arguments], cwd=ROOT).returncode == 0


def main() -> int:
    if installs(".[ueba]", "--group", "bench"):
        return 0
    if not installs(".[ueba]"):
        return 1
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    missing = [rival for rival in groups["bench"] if not installs(rival)]
    print(f"NOT INSTALLED, and so not measured: {', '.join(missing) or 'nothing, after all'}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
