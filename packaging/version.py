"""Compare a tag with the versions that the project names, or print what changed in that version.

The workflow `release` runs this:

python packaging/version.py v0.1.0
python packaging/version.py v0.1.0 --changes
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def named() -> dict[str, str]:
    """Return the version that each file names."""
    patterns = {
        "Cargo.toml": r'^version = "(.+)"$',
        "Cargo.lock": r'^name = "isoxide"\nversion = "(.+)"$',
        "CITATION.cff": r"^version: (.+)$",
        "CHANGELOG.md": r"^## (\S+)",
    }
    versions = {}
    for name, pattern in patterns.items():
        match = re.search(pattern, read(name), re.MULTILINE)
        versions[name] = match[1] if match else "none"
    return versions


def changes(version: str) -> str:
    """Return the section of the changelog about a version, without its heading."""
    sections = re.split(r"^## (\S+).*\n", read("CHANGELOG.md"), flags=re.MULTILINE)
    return dict(zip(sections[1::2], sections[2::2], strict=True))[version].strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tag", help="v and the version, such as v0.1.0")
    parser.add_argument("--changes", action="store_true", help="print what changed in the version")
    arguments = parser.parse_args()
    version = arguments.tag.removeprefix("v")
    problems = [f"{name} names {other}" for name, other in named().items() if other != version]
    if arguments.tag == version:
        problems.append("a tag begins with v")
    if re.search(rf"^## {re.escape(version)} .*not released", read("CHANGELOG.md"), re.MULTILINE):
        problems.append("CHANGELOG.md says that it is not released: write the date instead")
    if problems:
        print(f"the tag {arguments.tag} does not fit: {'; '.join(problems)}", file=sys.stderr)
        return 1
    if arguments.changes:
        print(changes(version))
    return 0


if __name__ == "__main__":
    sys.exit(main())
