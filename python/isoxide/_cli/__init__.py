"""The command `isoxide`."""

from isoxide._cli._main import main

__all__ = ["main"]
