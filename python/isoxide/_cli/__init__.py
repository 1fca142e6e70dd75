"""The command `isoxide`.

Importing this package is quick: NumPy, pandas and scikit-learn are imported only after the signal handlers are
installed, so that Ctrl-C ends the command with one line at any time.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : list of str, optional
        Arguments of the command. By default these are the arguments of this process.

    Returns
    -------
    int
        Exit code: 0 for success, 1 if the input is missing or invalid, 2 if the command line is invalid, 3 or 4 if
        there is what ``--fail-on`` names, and 128 plus the number of the signal that ended the command.
    """
    from isoxide._cli._signals import Signals

    with Signals(own_process=arguments is None) as signals:
        from isoxide._cli._main import run

        return run(arguments, signals)
