"""Whether a table fits in memory."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from isoxide._format import format_bytes

__all__ = ["larger_than_memory"]

#: Bytes of a cell in a frame: a number, or a text with what Python keeps of it.
_NUMBER, _TEXT = 8, 64
#: How many times the table detection holds: the frame, what pandas makes of it on the way, scores and ranks.
_COPIES = 3
_PARQUET = (".parquet", ".pq", ".parq")


def larger_than_memory(table: str, *, in_batches: bool = False) -> bool:
    """Whether a table is to be read in batches: a Parquet file or folder that takes more memory than is free.

    Says so on standard error.

    Parameters
    ----------
    table : str
        Its path.
    in_batches : bool
        Whether that was asked for, however large it is.
    """
    path = Path(table)
    if not (path.is_dir() or (path.suffix.lower() in _PARQUET and path.exists())):
        if in_batches:
            raise ValueError(f"{path} cannot be read in batches: only Parquet files and folders of such can")
        return False
    from isoxide._frames import open_source

    source = open_source(path)
    n_rows, free = source.count() or 0, free_memory()
    needed = n_rows * _COPIES * sum(_width(field.type) for field in source.schema)
    if in_batches or (free is not None and needed > free):
        told = "of unknown size" if free is None else f"{format_bytes(free)} are free"
        why = "as was asked for" if in_batches else "in memory it would not fit"
        print(
            f"isoxide: {path} has {n_rows:,} rows, which would take about {format_bytes(needed)} of memory ({told}); "
            f"it is read in batches, {why}",
            file=sys.stderr,
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
