"""Whether a table fits in memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isoxide._cli._messages import tell
from isoxide._format import format_bytes

__all__ = ["larger_than_memory"]

#: Bytes of a cell in a frame: a number, or a text with what Python keeps of it.
_NUMBER, _TEXT = 8, 64
#: How many times the table detection holds: the frame, what pandas makes of it on the way, scores and ranks.
_COPIES = 3
_PARQUET = (".parquet", ".pq", ".parq")


def larger_than_memory(tables: Sequence[str], *, in_batches: bool = False) -> bool:
    """Return whether to read tables in batches: Parquet files or folders that take more memory than is free.

    A line on standard error says so.

    Parameters
    ----------
    tables : list of str
        Their paths.
    in_batches : bool
        Whether the user asked for batches, however large the tables are.

    Raises
    ------
    ValueError
        If the user asked for batches, and a table is no Parquet.
    """
    paths = [Path(table) for table in tables]
    for path in paths:
        if not (path.is_dir() or (path.suffix.lower() in _PARQUET and path.exists())):
            if in_batches:
                raise ValueError(f"{path} cannot be read in batches: only Parquet files and folders of such can")
            return False
    from isoxide._frames import open_source

    sources = [open_source(path) for path in paths]
    free = free_memory()
    n_rows = sum(source.count() or 0 for source in sources)
    needed = sum(
        (source.count() or 0) * _COPIES * sum(_width(field.type) for field in source.schema) for source in sources
    )
    if in_batches or (free is not None and needed > free):
        told = "of unknown size" if free is None else f"{format_bytes(free)} are free"
        why = "as was asked for" if in_batches else "in memory it would not fit"
        name = str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
        tell(
            f"isoxide: {name} has {n_rows:,} rows, which would take about {format_bytes(needed)} of memory ({told}); "
            f"it is read in batches, {why}"
        )
        return True
    return False


def _width(kind: Any) -> int:
    import pyarrow as pa

    is_number = pa.types.is_primitive(kind) or pa.types.is_boolean(kind)
    return _NUMBER if is_number else _TEXT


def free_memory() -> int | None:
    """Bytes that this process may still take, as far as the system says."""
    limits = []
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            limits.append(int(line.split()[1]) * 1024)
    # Of a control group, such as a container is.
    most, used = (_lines(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    if most and used and most[0].isdigit() and used[0].isdigit():
        limits.append(int(most[0]) - int(used[0]))
    if (limit := _address_space()) is not None:
        limits.append(limit)
    if not limits and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    return max(0, min(limits)) if limits else None


def _address_space() -> int | None:
    """What `ulimit -v` leaves."""
    try:
        import resource
    except ImportError:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = _lines("/proc/self/statm")
    if limit == resource.RLIM_INFINITY or not pages:
        return None
    return limit - int(pages[0].split()[0]) * resource.getpagesize()


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
