"""Test the files that releases and the repository's host read: README, notices, workflows, versions and targets."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tomllib

pytestmark = [
    pytest.mark.not_parallel(reason="it reads sources only"),
    pytest.mark.current_versions(reason="it reads sources only"),
]

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SOURCE = PROJECT["project"]["urls"]["Source"]


def load(name):
    spec = importlib.util.spec_from_file_location(f"packaging_{name}", ROOT / "packaging" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


# The README


def test_the_readme_is_short():
    assert len(read("README.md").splitlines()) <= 70


def test_links_of_the_readme_are_absolute_and_lead_to_files_that_exist():
    links = re.findall(r"\]\(([^)\s]+)\)", read("README.md"))
    assert len(links) > 15
    raw = SOURCE.replace("https://github.com", "https://raw.githubusercontent.com") + "/main/"
    for link in links:
        assert link.startswith((f"{SOURCE}/blob/main/", raw)), link
        path = link.removeprefix(f"{SOURCE}/blob/main/").removeprefix(raw)
        assert (ROOT / path).is_file(), link


@pytest.mark.parametrize(
    "path", sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]), ids=lambda path: path.stem
)
def test_relative_links_of_documents_lead_to_files_and_headings_that_exist(path):
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://|mailto:", link):
            continue
        name, _, heading = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        if heading:
            titles = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
            assert heading in slugs, link


def test_every_page_can_be_reached_from_the_readme():
    """A page that nothing links to is lost."""
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        path = waiting.pop()
        for link in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8")):
            target = ROOT / link.removeprefix(f"{SOURCE}/blob/main/") if link.startswith(SOURCE) else path.parent / link
            target = target.resolve()
            if target.suffix == ".md" and target.is_file() and target not in seen:
                seen.add(target)
                waiting.append(target)
    # Pages that only the site has: its first one, and those that show a file of the repository.
    only_site = {ROOT / "docs" / name for name in ("index.md", "changelog.md", "contributing.md")}
    pages = {path.resolve() for path in (ROOT / "docs").rglob("*.md")} - only_site
    assert pages - seen == set()


# Notices


def crates(section):
    return set(re.findall(r"^  (\S+ \S+)", section, re.MULTILINE))


def test_the_notices_name_the_crates_of_the_lock_file():
    """The crates are those that the normal dependencies reach; `make lint` compares the whole text with cargo's."""
    notices = read("THIRD-PARTY-NOTICES.txt")
    _, linked, compiling, *_ = re.split(r"^(?:Linked crates|Crates that only .*):$|^=+$", notices, flags=re.MULTILINE)
    lock = tomllib.loads(read("Cargo.lock"))["package"]
    versions = {}
    for package in lock:
        versions.setdefault(package["name"], []).append(package)
    reached, waiting = set(), [*tomllib.loads(read("Cargo.toml"))["dependencies"]]
    while waiting:
        name, *version = waiting.pop().split()
        [package] = [other for other in versions[name] if not version or other["version"] == version[0]]
        crate = f"{package['name']} {package['version']}"
        if crate not in reached:
            reached.add(crate)
            waiting += package.get("dependencies", [])
    assert crates(linked) | crates(compiling) == reached
    assert crates(linked) & crates(compiling) == set()
    assert len(crates(linked)) > 20
    for crate in crates(linked):
        assert re.search(rf"^=+\n.*\b{re.escape(crate)}\b.*\n=+$", notices, re.MULTILINE), (
            f"{crate} has no licence text"
        )


# Versions


def test_the_files_that_name_the_version_agree():
    assert set(load("version").named().values()) == {tomllib.loads(read("Cargo.toml"))["package"]["version"]}


@pytest.mark.parametrize(
    ("tag", "problem"), [("v0.0.0", "Cargo.toml names"), ("0.1.0", "begins with v"), ("v0.1.0", "not released")]
)
def test_a_tag_that_does_not_fit_is_refused(tag, problem):
    if tag == "v0.1.0" and "not released" not in read("CHANGELOG.md"):
        pytest.skip("0.1.0 is released")
    done = subprocess.run([sys.executable, ROOT / "packaging" / "version.py", tag], capture_output=True, text=True)
    assert done.returncode == 1
    assert problem in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_changes_of_a_version_are_its_section_of_the_changelog():
    text = load("version").changes("0.1.0")
    assert text.startswith("### ")
    assert "\n## " not in text


def test_the_citation_and_the_addresses_agree():
    assert f"repository-code: {SOURCE}" in read("CITATION.cff")
    assert tomllib.loads(read("Cargo.toml"))["package"]["repository"] == SOURCE
    for url in PROJECT["project"]["urls"].values():
        assert url.startswith(SOURCE)


# Workflows


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_hash_with_their_tag_beside(path):
    for line in re.findall(r"uses: (.+)", path.read_text(encoding="utf-8")):
        assert re.fullmatch(
            r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+|\./\.github/workflows/\w+\.yml( #.*)?", line
        )


def test_one_action_has_one_version():
    versions = {}
    for path in WORKFLOWS:
        for name, version in re.findall(r"uses: ([\w./-]+)@(\S+)", path.read_text(encoding="utf-8")):
            versions.setdefault(name, set()).add(version)
    assert len(versions) >= 5
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def test_workflows_and_continuous_integration_call_targets_that_exist():
    targets = set(re.findall(r"^([\w-]+):", read("Makefile"), re.MULTILINE))
    called = {name: set(re.findall(r"^(?:.*run: )?make ([\w-]+)", read(name), re.MULTILINE)) for name in
              [str(path.relative_to(ROOT)) for path in WORKFLOWS] + [".ci/run"]}  # fmt: skip
    assert called[".ci/run"] >= {"lint", "test"}
    assert "wheel" in called[".github/workflows/wheels.yml"]
    missing = {name: names - targets for name, names in called.items() if names - targets}
    assert missing == {}


# Dependency groups


def test_extras_are_for_users_and_groups_for_developers():
    assert {*PROJECT["project"]["optional-dependencies"]} == {
        "ueba",
        "stream",
        "stores",
        "lakes",
        "spark",
        "dask",
        "excel",
        "plots",
        "notebook",
    }
    groups = PROJECT["dependency-groups"]
    assert {*groups} == {"test", "test-oldest", "bench", "lint", "dev", "docs", "release"}
    # A group is installed beside the package; its own name would be looked up on the registry.
    assert not [entry for group in groups.values() for entry in group if str(entry).startswith("isoxide")]


def test_install_lines_of_documents_need_no_release():
    for path in [ROOT / "README.md", ROOT / "notebooks" / "README.md", *(ROOT / "docs").glob("*.md")]:
        for line in re.findall(r"^pip install .*|`pip install [^`]*`", path.read_text(encoding="utf-8"), re.MULTILINE):
            if path.name != "releasing.md":
                assert "isoxide" not in line, (path.name, line)
