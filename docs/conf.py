"""Settings of Sphinx; `make docs` builds the pages into docs/_build/html."""

import re
from pathlib import Path

import tomllib
from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
SOURCE = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Source"]

project = "isoxide"
author = "The isoxide developers"
copyright = f"2026, {author}"
release = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["package"]["version"]

extensions = ["myst_parser"]
# Links to headings, such as `tables.md#dates-and-times`, work as in the repository's host.
myst_heading_anchors = 4
exclude_patterns = ["_build"]
html_title = f"isoxide {release}"


def link_to_repository(app: Sphinx, name: str, source: list[str]) -> None:
    """Let links to files outside docs/ lead to the repository, since these files are no pages."""

    def address(match: re.Match[str]) -> str:
        path, heading = match[1], match[2] or ""
        target = (Path(app.env.doc2path(name)).parent / path).resolve()
        if not target.exists() or target.is_relative_to(DOCS):
            return match[0]
        return f"]({SOURCE}/blob/main/{target.relative_to(ROOT).as_posix()}{heading})"

    source[0] = re.sub(r"\]\((\.\./[^)#\s]+)(#[^)\s]+)?\)", address, source[0])


def setup(app: Sphinx) -> None:
    """Connect what Sphinx calls."""
    app.connect("source-read", link_to_repository)
