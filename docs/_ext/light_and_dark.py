"""Give each picture of the gallery a light and a dark form, of which the theme shows the one that fits.

A picture cannot be recoloured once it is drawn, and the plots follow matplotlib's style. So each part of a program that
draws is run twice: in the default style, and in a dark one.
"""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from sphinx.application import Sphinx
from sphinx_gallery.scrapers import matplotlib_scraper
from sphinx_gallery.utils import scale_image

#: Background of the dark theme.
_BACKGROUND = "#14181e"
_DARK = [
    "dark_background",
    {"figure.facecolor": _BACKGROUND, "axes.facecolor": _BACKGROUND, "savefig.facecolor": "auto"},
]
#: Directive of a small picture, which has the class of no theme.
_THUMBNAIL = re.compile(r"^( *)\.\. image:: (\S+_thumb)\.png\n( *):alt:(.*)$", re.MULTILINE)


def scrape(block: Any, variables: dict[str, Any], settings: dict[str, Any]) -> str:
    """Save the figures of a part of a program in both forms, and return the text that shows them."""
    is_first = not len(variables["image_path_iterator"])
    light = matplotlib_scraper(block, variables, settings)
    if not light:
        return ""
    n_light = len(variables["image_path_iterator"])
    code = compile(block[1], variables["src_file"], "exec")
    with plt.style.context(_DARK):
        with contextlib.redirect_stdout(io.StringIO()):
            exec(code, dict(variables["example_globals"]))  # noqa: S102 (a program of this folder)
        dark = matplotlib_scraper(block, variables, settings)
    if is_first:
        picture = Path(variables["image_path_iterator"].paths[n_light])
        name = f"sphx_glr_{Path(variables['src_file']).stem}_thumb_dark.png"
        (picture.parent / "thumb").mkdir(exist_ok=True)
        scale_image(picture, picture.parent / "thumb" / name, *settings["thumbnail_size"])
    return _with_class(light, "only-light") + _with_class(dark, "only-dark")


def _with_class(text: str, name: str) -> str:
    """Let pictures have one more class, which the directive of the gallery does not take."""
    text = re.sub(r"^ *:srcset:.*\n", "", text.replace(".. image-sg::", ".. image::"), flags=re.MULTILINE)
    return re.sub(r"(:class: sphx-glr-[\w-]+)", rf"\1 {name}", text)


def add_dark_thumbnails(app: Sphinx, name: str, source: list[str]) -> None:
    """Show both forms of the small pictures of the gallery."""
    if not name.startswith("gallery/"):
        return

    def both(match: re.Match[str]) -> str:
        indent, picture, inner, text = match.groups()
        if not (Path(app.srcdir) / f"{picture.lstrip('/')}_dark.png").exists():
            return match[0]
        options = f"\n{inner}:alt:{text}\n{inner}:class: "
        light, dark = (f"{indent}.. image:: {picture}{suffix}.png" for suffix in ("", "_dark"))
        return f"{light}{options}only-light\n\n{dark}{options}only-dark"

    source[0] = _THUMBNAIL.sub(both, source[0])
