"""Look into the distributions in `dist/`, and try the wheel with several Pythons.

`make wheel` and `make wheel-test` run this:

python packaging/wheels.py check
python packaging/wheels.py try --python python3.10 --python python3.13
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
SMOKE = ROOT / "packaging" / "smoke.py"
#: What a wheel must have besides the modules.
LICENCES = ("LICENSE", "THIRD-PARTY-NOTICES.txt", "python/isoxide/datasets/enron_user_day.md")
MODULES = ("__init__.py", "py.typed", "_core.pyi", "datasets/enron_user_day.csv.gz", "ueba/__init__.py")
#: What a source distribution must have, so that it builds and its tests compile.
SOURCES = ("Cargo.lock", "src/lib.rs", "tests/rust/main.rs", "tests/golden", "fuzz/src/lib.rs", "fuzz/corpus/csr.tar",
           "THIRD-PARTY-NOTICES.txt", "python/isoxide/__init__.py")  # fmt: skip
MAX_WHEEL_MIB = 5.0
#: The oldest versions that the package and its extra `ueba` take and that have wheels for each Python.
OLDEST = {
    (3, 10): ("numpy==1.24.*", "scikit-learn==1.6.0", "pandas==2.2.0", "pyarrow==18.0.0", "jinja2==3.1.*"),
    (3, 11): ("numpy==1.24.*", "scikit-learn==1.6.0", "pandas==2.2.0", "pyarrow==18.0.0", "jinja2==3.1.*"),
    (3, 12): ("numpy==1.26.*", "scikit-learn==1.6.0", "pandas==2.2.0", "pyarrow==18.0.0", "jinja2==3.1.*"),
    (3, 13): ("numpy==2.1.0", "scikit-learn==1.6.0", "pandas==2.2.3", "pyarrow==18.0.0", "jinja2==3.1.*"),
}


class CheckError(Exception):
    """A distribution is not as it must be; the message fits on one line."""


def require(is_true: bool, message: str) -> None:
    if not is_true:
        raise CheckError(message)


def check_wheel(path: Path) -> str:
    """Check the contents of a wheel and return a line about it."""
    size = path.stat().st_size / 2**20
    require("-cp310-abi3-" in path.name, f"{path.name} is not an abi3 wheel for Python 3.10 and newer")
    require(size < MAX_WHEEL_MIB, f"{path.name} has {size:.1f} MiB, more than {MAX_WHEEL_MIB:g}")
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        [info] = {name.split("/")[0] for name in names if ".dist-info/" in name}
        for name in MODULES:
            require(f"isoxide/{name}" in names, f"{path.name} lacks isoxide/{name}")
        for name in LICENCES:
            require(f"{info}/licenses/{name}" in names, f"{path.name} lacks the licence {name}")
        notices = wheel.read(f"{info}/licenses/THIRD-PARTY-NOTICES.txt").decode()
        require(
            notices == (ROOT / "THIRD-PARTY-NOTICES.txt").read_text(encoding="utf-8"), f"{path.name} has old notices"
        )
        boms = [name for name in names if name.startswith(f"{info}/sboms/")]
        require(len(boms) == 1, f"{path.name} must have one bill of materials, not {boms}")
        bom = json.loads(wheel.read(boms[0]))
        require(bom["bomFormat"] == "CycloneDX", f"{boms[0]} is not of CycloneDX")
        components = {f"{component['name']} {component['version']}" for component in bom["components"]}
        # Behind the first line of signs, the texts of the licences begin.
        listed = set(re.findall(r"^  (\S+ \S+)", notices.split("=====")[0], re.MULTILINE))
        require(components == listed, f"{boms[0]} and the notices differ in {sorted(components ^ listed)}")
        metadata = Parser().parsestr(wheel.read(f"{info}/METADATA").decode())
        readme = str(metadata.get_payload())
        require(metadata["Requires-Python"] == ">=3.10", "Requires-Python is not >=3.10")
        # The registry shows the README outside the repository, where relative links lead nowhere.
        relative = [link for link in re.findall(r"\]\(([^)]+)\)", readme) if not re.match(r"https://|#", link)]
        require(not relative, f"the README has relative links: {relative}")
    return f"{path.name}: {size:.2f} MiB, {len(names)} files, {len(components)} crates in its bill of materials"


def check_sdist(path: Path) -> str:
    """Check the contents of a source distribution and return a line about it."""
    with tarfile.open(path) as sdist:
        names = [name.split("/", 1)[1] for name in sdist.getnames() if "/" in name]
    for name in SOURCES:
        require(any(other == name or other.startswith(f"{name}/") for other in names), f"{path.name} lacks {name}")
    return f"{path.name}: {path.stat().st_size / 2**20:.2f} MiB, {len(names)} files"


def the_one(pattern: str) -> Path:
    paths = sorted(DIST.glob(pattern))
    require(
        len(paths) == 1, f"dist/ must have one {pattern}, and has {[path.name for path in paths]}; remove the others"
    )
    return paths[0]


def try_wheel(pythons: list[str], only: str | None) -> None:
    """Install the wheel with the newest and the oldest versions of what it needs, and compare it with scikit-learn."""
    wheel = the_one("*.whl")
    for python in pythons:
        version = subprocess.run([python, "-c", "import sys; print(*sys.version_info[:2])"], check=True,
                                 capture_output=True, text=True).stdout  # fmt: skip
        major, minor = map(int, version.split())
        for age in [only] if only else ["newest", "oldest"]:
            pinned = OLDEST.get((major, minor), ()) if age == "oldest" else ()
            if age == "oldest" and not pinned:
                print(f"no oldest versions are known for {python}: left out")
                continue
            with tempfile.TemporaryDirectory() as folder:
                subprocess.run([python, "-m", "venv", folder], check=True)
                inside = str(Path(folder) / ("Scripts" if sys.platform == "win32" else "bin") / "python")
                pip = [inside, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
                subprocess.run([*pip, "--only-binary", ":all:", f"{wheel}[ueba]", *pinned], check=True)
                subprocess.run([inside, "-W", "error", SMOKE], check=True, cwd=folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="look into the wheel and the source distribution in dist/")
    check.add_argument("--wheel-only", action="store_true", help="do not ask for a source distribution")
    trial = commands.add_parser("try", help="compare the installed wheel with scikit-learn, by packaging/smoke.py")
    trial.add_argument("--python", action="append", default=[], help=f"interpreter to use (default: {sys.executable})")
    trial.add_argument("--only", choices=["newest", "oldest"], help="the versions to install beside the wheel")
    arguments = parser.parse_args()
    try:
        if arguments.command == "check":
            print(check_wheel(the_one("*.whl")))
            if not arguments.wheel_only:
                print(check_sdist(the_one("*.tar.gz")))
        else:
            try_wheel(arguments.python or [sys.executable], arguments.only)
    except (CheckError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
