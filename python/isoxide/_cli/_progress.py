"""A bar on a terminal while a command works; nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["steps"]


@contextmanager
def steps(total: int, what: str) -> Iterator[Callable[[str], None]]:
    """Gives a function that says which step begins."""
    try:
        from tqdm import tqdm
    except ImportError:
        yield lambda name: None
        return
    layout = "{desc:<28} {percentage:3.0f}% |{bar:24}| {elapsed}"
    hidden = sys.stderr is None or not sys.stderr.isatty()
    with tqdm(total=total, desc=what, bar_format=layout, leave=False, disable=hidden) as bar:
        begun = False

        def step(name: str) -> None:
            nonlocal begun
            if begun:
                bar.update()
            begun = True
            bar.set_description(f"{what}: {name}")

        yield step
