"""Settings of Sphinx; `make docs` builds the pages into docs/_build/html."""

import re
import sys
import types
from pathlib import Path

import tomllib
from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS / "_ext"))

from light_and_dark import add_dark_thumbnails  # noqa: E402 (its folder has to be on the path)

ROOT = DOCS.parent
SOURCE = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Source"]

project = "isoxide"
author = "The isoxide developers"
copyright = f"2026, {author}"
release = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["package"]["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "sphinx_gallery.gen_gallery"]
# Links to headings, such as `tables.md#dates-and-times`, work as in the repository's host.
myst_heading_anchors = 4
exclude_patterns = ["_build", "_ext", "examples"]
templates_path = ["_templates"]

# The docstrings of members are on the page of their class; types are described in the docstrings, in words.
numpydoc_show_class_members = False
autodoc_typehints = "none"
default_role = "py:obj"
toc_object_entries_show_parents = "hide"
autodoc_member_order = "bysource"
# Spark is large and needs Java, and its part of the package is read without it.
autodoc_mock_imports = ["py4j", "pyspark.errors", "pyspark.ml", "pyspark.sql"]
sys.modules["pyspark"] = pyspark = types.ModuleType("pyspark")
pyspark.__version__, pyspark.__path__ = "4", []
pyspark.StorageLevel = pyspark.TaskContext = type("Absent", (), {})
pyspark.keyword_only = lambda method: method

# Each program of docs/examples is run, and its pictures are shown.
sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "within_subsection_order": "FileNameSortKey",
    "capture_repr": ("_repr_html_",),
    "image_scrapers": ("light_and_dark.scrape",),
    "download_all_examples": False,
    "show_signature": False,
    "plot_gallery": "True",
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_title = f"isoxide {release}"
html_static_path = ["_static"]
html_favicon = "_static/favicon.svg"
html_theme_options = {
    "github_url": SOURCE,
    "logo": {"text": "isoxide"},
    "header_links_before_dropdown": 5,
    "navigation_with_keys": False,
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
}
html_show_sourcelink = False
# These pages have no pages below them to list beside the text.
html_sidebars = {name: [] for name in ("index", "install", "quickstart", "analyst", "benchmarks", "changelog")}


def _address(path: str, heading: str, folder: Path, page_folder: Path) -> str | None:
    """Return the address for a link in a document of `folder`, or None if the link can stay as it is."""
    target = (folder / path).resolve()
    if not target.exists():
        return None
    if target.is_relative_to(DOCS):
        return None if folder == page_folder else target.relative_to(page_folder).as_posix() + heading
    return f"{SOURCE}/blob/main/{target.relative_to(ROOT).as_posix()}{heading}"


def _with_addresses(text: str, folder: Path, page_folder: Path) -> str:
    """Return a document of `folder`, to be shown as a page of `page_folder`, with links that lead to the same files."""

    def link(match: re.Match[str]) -> str:
        address = _address(match[1], match[2] or "", folder, page_folder)
        return match[0] if address is None else f"]({address})"

    return re.sub(r"\]\((?![a-z]+:)([^)#\s]+)(#[^)\s]+)?\)", link, text)


def link_to_repository(app: Sphinx, name: str, source: list[str]) -> None:
    """Let links to files outside docs/ lead to the repository, since these files are no pages."""
    folder = Path(app.env.doc2path(name)).parent
    source[0] = _with_addresses(source[0], folder, folder)


def link_included(app: Sphinx, path: Path, name: str, source: list[str]) -> None:
    """Let links of an included file lead to pages of the site, or to the repository."""
    page_folder = Path(app.env.doc2path(name)).parent
    source[0] = _with_addresses(source[0], (Path(app.srcdir) / path).resolve().parent, page_folder)


def setup(app: Sphinx) -> None:
    """Connect what Sphinx calls."""
    app.connect("source-read", link_to_repository)
    app.connect("source-read", add_dark_thumbnails)
    app.connect("include-read", link_included)
