"""Tell a caller how far a long call is: by a bar of tqdm, or by a function of the caller."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from isoxide._common.imports import import_optional

__all__ = ["Progress", "Step", "steps"]

#: Argument by which a caller asks for progress: False, True, or a function of the name of a step, the number of
#: finished steps, and the number of all steps or None.
Progress: TypeAlias = bool | Callable[[str, int, int | None], Any]
#: Function that begins the step with a given name, which ends the one before it.
Step: TypeAlias = Callable[[str], None]


@contextmanager
def steps(progress: Progress, total: int | None, name: str) -> Iterator[Step]:
    """Yield a function that begins the step with a given name, and show or tell the progress.

    Parameters
    ----------
    progress : bool or callable
        False does nothing. True shows a bar: of the notebook if the code runs in one, otherwise on standard error. A
        function is called with the name of each step as it begins, the number of finished steps, and `total`; at the
        end it is called with ``"done"`` and the number of all steps twice. An error that it raises ends the work.
    total : int or None
        Number of steps; None if it is not known before the end.
    name : str
        Name of the work, with which the bar begins.

    Raises
    ------
    TypeError
        If `progress` is something else.
    ImportError
        If a bar is wanted, and tqdm is not installed.
    """
    if isinstance(progress, bool):
        if not progress:
            yield _ignore
            return
        with warnings.catch_warnings():
            # Without ipywidgets, tqdm warns that its bar in a notebook is one of text, which is as good.
            warnings.simplefilter("ignore")
            tqdm = import_optional("tqdm.auto", "progress=True", "'isoxide[ueba]'").tqdm
        with tqdm(total=total, desc=name, unit=" steps", leave=False) as bar:
            yield _counted(lambda step, done, _: _show(bar, f"{name}: {step}", done), total)
        return
    if not callable(progress):
        raise TypeError(f"progress must be True, False or a function, not {progress!r}")
    step = _counted(progress, total)
    yield step
    step(_DONE)


#: Name that a function of the caller gets at the end.
_DONE = "done"


def _ignore(step: str) -> None:
    """Begin a step of which nobody is told."""


def _counted(tell: Callable[[str, int, int | None], Any], total: int | None) -> Step:
    """Return a function that begins a step, and tells its name and the number of steps before it."""
    n_begun = 0

    def begin(step: str) -> None:
        nonlocal n_begun
        tell(step, n_begun, n_begun if step == _DONE else total)
        n_begun += 1

    return begin


def _show(bar: Any, text: str, done: int) -> None:
    bar.update(done - bar.n)
    bar.set_description(text)
