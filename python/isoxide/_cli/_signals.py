"""Signal handlers: Ctrl-C, SIGTERM and SIGHUP end the command with one line, but never while results are moved.

Before the command has written anything, a signal ends the process immediately, since an exception could be swallowed by
a module that is being imported. Later a signal raises KeyboardInterrupt, so that temporary files are removed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

__all__ = ["Signals"]

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Signals:
    """Handle the signals that end a command.

    Parameters
    ----------
    own_process : bool
        Whether the process runs only the command. If not, the previous handlers are restored at the end.

    Attributes
    ----------
    number : int or None
        Number of the first signal that arrived, or None.
    outcome : str
        State of the results, which is part of the message if a signal ends the command now.
    """

    def __init__(self, *, own_process: bool) -> None:
        self.own_process = own_process
        self.number: int | None = None
        self.outcome = "nothing was written"
        self._at_once = own_process
        self._deferred = 0
        self._before: dict[int, Any] = {}
        self._hook = sys.unraisablehook

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for name in _NAMES:
                number = getattr(signal, name, None)
                # A command under nohup keeps ignoring SIGHUP.
                if number is None or (name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN):
                    continue
                self._before[number] = signal.signal(number, self._handle)
        if self.own_process:
            sys.unraisablehook = self._unraisable
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            # Nothing is left to clean up or to report.
            signal.signal(number, signal.SIG_DFL if self.own_process else before)
        if not self.own_process:
            sys.unraisablehook = self._hook

    @property
    def code(self) -> int:
        """Return the exit code that shells report for a process ended by a signal."""
        return 128 + (self.number or 0)

    @property
    def message(self) -> str:
        """Return the message about the signal that arrived."""
        name = "interrupted" if self.number == signal.SIGINT else f"ended by {signal.Signals(self.number or 0).name}"
        return f"{name}; {self.outcome}"

    def begin_work(self) -> None:
        """Let signals raise KeyboardInterrupt from now on, since there may be files to clean up."""
        self._at_once = False

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Defer signals until the body of the context, which must not be interrupted, is done."""
        self._deferred += 1
        try:
            yield
        finally:
            self._deferred -= 1
            self.check()

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal arrived, even if it was swallowed or deferred."""
        if self.number is not None and not self._deferred:
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: Any) -> None:
        if self.number is None:
            self.number = number
        if self._at_once:
            with suppress(OSError):
                os.write(2, f"isoxide: error: {self.message}\n".encode())
            os._exit(self.code)
        self.check()

    def _unraisable(self, error: Any) -> None:
        # Python only prints exceptions in some callbacks, such as those of weak references; the next check raises it.
        if self.number is None:
            self._hook(error)
