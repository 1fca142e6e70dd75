"""State of a running command: signal handlers, and notes for the user."""

from __future__ import annotations

from typing import Any

from isoxide._cli import _messages
from isoxide._cli._signals import Signals

__all__ = ["Session"]


class Session:
    """State of a running command.

    Attributes
    ----------
    signals : Signals
        Signal handlers of this process.
    notes : list of str
        Warnings for the user, which are printed at the end.
    """

    def __init__(self, signals: Signals) -> None:
        self.signals = signals
        self.notes: list[str] = []

    def fail(self, message: str, code: int = 1) -> int:
        """Print an error in one line, and return the exit code."""
        _messages.tell(f"isoxide: error: {_messages.one_line(_messages.in_options(message))}")
        return code

    def note(self, message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        """Keep a warning until the end; this method replaces `warnings.showwarning`."""
        if issubclass(category, UserWarning) and str(message) not in self.notes:
            self.notes.append(str(message))
