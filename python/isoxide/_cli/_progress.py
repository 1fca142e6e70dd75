"""Progress bar of a command, which is shown only on terminals."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["steps"]


@contextmanager
def steps(total: int, command: str) -> Iterator[Callable[[str], None]]:
    """Show a progress bar, and yield a function that starts the step with a given name.

    Parameters
    ----------
    total : int
        Number of steps.
    command : str
        Name of the command, with which the bar begins.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        yield lambda name: None
        return
    layout = "{desc:<28} {percentage:3.0f}% |{bar:24}| {elapsed}"
    hidden = sys.stderr is None or not sys.stderr.isatty()
    with tqdm(total=total, desc=command, bar_format=layout, leave=False, disable=hidden) as progress_bar:
        begun = False

        def step(name: str) -> None:
            nonlocal begun
            if begun:
                progress_bar.update()
            begun = True
            progress_bar.set_description(f"{command}: {name}")

        yield step
