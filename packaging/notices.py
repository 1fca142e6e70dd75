"""Write THIRD-PARTY-NOTICES.txt: the licences of all crates that are linked into the core; `make notices` runs it.

The wheel carries that file, because licences such as MIT ask that their notice goes wherever the code goes. `cargo
metadata` says which crates are linked on any platform: the normal dependencies of the package, from package to package,
without procedural macros and what only these need. Each crate has its licence files in its source. Where a crate may be
had under MIT, MIT is chosen.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
NOTICES = ROOT / "THIRD-PARTY-NOTICES.txt"
HEAD = """\
The compiled core of isoxide contains code of the crates below and of the Rust standard library. These are their
licences. `make notices` writes this file from Cargo.lock and the sources of the crates.
"""
#: Cargo does not list the standard library; the text is that of its LICENSE-MIT.
STANDARD_LIBRARY = ("the Rust standard library", "MIT OR Apache-2.0", "Copyright (c) The Rust Project Contributors")
_FILES = re.compile(r"(LICEN[CS]E|COPYING|COPYRIGHT|NOTICE|UNLICENSE)", re.IGNORECASE)


def metadata() -> dict[str, Any]:
    command = ["cargo", "metadata", "--format-version", "1", "--features", "python", "--locked"]
    result: dict[str, Any] = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    return result


def linked(graph: dict[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the linked crates, and name and version of those that only take part in the compilation."""
    packages = {package["id"]: package for package in graph["packages"]}
    nodes = {node["id"]: node["deps"] for node in graph["resolve"]["nodes"]}
    root = graph["resolve"]["root"]

    def reached(kinds: set[str | None], through_macros: bool) -> set[str]:
        seen, waiting = set(), [root]
        while waiting:
            crate = waiting.pop()
            for dependency in nodes[crate]:
                # Development dependencies count for the package itself only, and are left out.
                name, used_as = dependency["pkg"], {kind["kind"] for kind in dependency["dep_kinds"]}
                macro = any("proc-macro" in target["kind"] for target in packages[name]["targets"])
                if used_as & kinds and name not in seen and (through_macros or not macro):
                    seen.add(name)
                    waiting.append(name)
        return seen

    in_core = reached({None}, through_macros=False)
    compiling = reached({None, "build"}, through_macros=True) - in_core

    def key(package: dict[str, Any]) -> tuple[str, str]:
        return package["name"], package["version"]

    return (
        sorted((packages[name] for name in in_core), key=key),
        [f"{name} {version}" for name, version in sorted(key(packages[name]) for name in compiling)],
    )


def licence_files(package: dict[str, Any]) -> list[Path]:
    """Return the files whose text goes with a crate; raise if there is none."""
    folder = Path(package["manifest_path"]).parent
    files = sorted(path for path in folder.iterdir() if path.is_file() and _FILES.match(path.name))
    choices = re.split(r" OR |/", package["license"] or "")
    mit = [path for path in files if path.name.upper().startswith("LICENSE-MIT")]
    if "MIT" in choices and mit:
        # A notice that is not a licence goes along in any case.
        return mit + [path for path in files if re.match("NOTICE|COPYRIGHT", path.name, re.IGNORECASE)]
    if not files:
        raise SystemExit(f"{package['name']} {package['version']} has no file with its licence: add its text by hand")
    return files


def standard_library(mit_text: str) -> str:
    """Return the MIT licence with the copyright line of the standard library."""
    terms = mit_text[mit_text.index("Permission is hereby granted") :].strip()
    return f"{STANDARD_LIBRARY[2]}\n\n{terms}"


def text() -> str:
    crates, compiling = linked(metadata())
    by_text: dict[str, list[str]] = {}
    for package in crates:
        for path in licence_files(package):
            content = "\n".join(line.rstrip() for line in path.read_text(encoding="utf-8").strip().splitlines())
            by_text.setdefault(content, []).append(f"{package['name']} {package['version']}")
    mit = next(content for content in by_text if "Permission is hereby granted" in content)
    by_text[standard_library(mit)] = [STANDARD_LIBRARY[0]]
    lines = [HEAD, "Linked crates:", ""]
    lines += [f"  {package['name']} {package['version']} ({package['license']})" for package in crates]
    lines += ["", "Crates that only take part in the compilation, and are not in the core:", ""]
    lines += [f"  {name}" for name in compiling]
    for content, names in by_text.items():
        lines += ["", "=" * 100, ", ".join(dict.fromkeys(names)), "=" * 100, "", content]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if the file is not what would be written")
    written = text()
    if not parser.parse_args().check:
        NOTICES.write_text(written, encoding="utf-8")
    elif NOTICES.read_text(encoding="utf-8") != written:
        print(f"{NOTICES.name} does not fit Cargo.lock: run `make notices`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
