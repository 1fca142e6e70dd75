"""Show a whole page in a notebook, in a frame that keeps the page's style and scripts apart from the notebook's."""

from __future__ import annotations

import html
import importlib
import numbers
import sys

from isoxide._common.format import format_bytes
from isoxide._common.html import block, note

__all__ = ["MAX_PAGE_BYTES", "show_page"]

#: Largest page that is put into a notebook, which keeps it in its file and sends it whole to the browser.
MAX_PAGE_BYTES = 5_000_000
#: What the page may do: run its own scripts, offer downloads, and open links in a new tab. It has an origin of its own,
#: so that it can read nothing of the notebook.
_SANDBOX = "allow-scripts allow-downloads allow-popups allow-popups-to-escape-sandbox"
#: Class of the shell that shows no HTML.
_TERMINAL = "TerminalInteractiveShell"


def show_page(page: str, title: str, *, height: int, remedy: str) -> None:
    """Show a page in the output of a notebook's cell, or print what to do where that is not possible.

    Parameters
    ----------
    page : str
        The whole page, which needs no other file.
    title : str
        Name of the page for screen readers, and for readers of a notebook that leaves out frames.
    height : int
        Height of the frame in pixels, at least 1.
    remedy : str
        Sentence that says how else the page can be seen.

    Raises
    ------
    TypeError
        If `height` is not an integer.
    ValueError
        If `height` is below 1.
    """
    if isinstance(height, bool) or not isinstance(height, numbers.Integral):
        raise TypeError(f"height must be an integer, the number of pixels, not {height!r}")
    if height < 1:
        raise ValueError(f"height={height} must be at least 1 pixel")
    if not _is_notebook():
        print(f"This is no notebook, so no page can be shown. {remedy}")
        return
    n_bytes = len(page.encode())
    if n_bytes > MAX_PAGE_BYTES:
        sizes = format_bytes(n_bytes), format_bytes(MAX_PAGE_BYTES)
        print(f"The page has {sizes[0]}, which is too much for a notebook (more than {sizes[1]}). {remedy}")
        return
    frame = (
        f'<iframe sandbox="{_SANDBOX}" title="{html.escape(title)}" srcdoc="{html.escape(page)}" '
        f'style="width:100%;height:{int(height)}px;border:1px solid rgba(128,128,128,.3)"></iframe>'
    )
    # A notebook that is not trusted leaves out the frame, and shows only the sentence below it.
    data = {"text/html": frame + block(note(f"{title}. {remedy}")), "text/plain": title}
    importlib.import_module("IPython.display").display(data, raw=True)


def _is_notebook() -> bool:
    """Return whether the code runs in a cell of a notebook; IPython is not imported for that."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and all(base.__name__ != _TERMINAL for base in type(shell).__mro__)
