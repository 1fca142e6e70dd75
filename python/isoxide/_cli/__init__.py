"""The command `isoxide`.

Importing this package is quick: NumPy, pandas and scikit-learn are loaded only after the signal handlers are installed,
so that Ctrl-C ends the command with one line at any time.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : list of str, optional
        The command's arguments; by default those of this process.

    Returns
    -------
    int
        The exit code: 0 done, 1 the input did not allow it, 2 the command was not understood, 128 and the number of the
        signal that ended it.
    """
    from isoxide._cli._signals import Signals

    with Signals(own_process=arguments is None) as signals:
        from isoxide._cli._main import run

        return run(arguments, signals)
