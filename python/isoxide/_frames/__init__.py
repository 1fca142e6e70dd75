"""Every way in which tables come in: files, frames, datasets and streams as typed columns of Arrow."""

from isoxide._frames.opening import open_source
from isoxide._frames.source import ReadOptions, Roles, Source

__all__ = ["ReadOptions", "Roles", "Source", "open_source"]
