"""Whether a table fits in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoxide._cli._messages import tell
from isoxide._common.format import format_bytes

if TYPE_CHECKING:
    from isoxide._cli._tables import Tables
    from isoxide._frames.files import InputFile

__all__ = ["larger_than_memory"]

#: Bytes of a cell in a frame: a number, or a text with what Python keeps of it.
_NUMBER, _TEXT = 8, 64
#: How many times the table detection holds: the frame, what pandas makes of it on the way, scores and ranks.
_COPIES = 3
#: How many times its size a compressed text takes when it is unpacked.
_UNPACKED = 6


def larger_than_memory(tables: Tables, *, in_batches: bool = False) -> bool:
    """Return whether to read tables in batches, since they take more memory than is free.

    A line on standard error says so.

    Parameters
    ----------
    tables : Tables
        The tables of the command.
    in_batches : bool
        Whether the user asked for batches, however large the tables are.
    """
    from isoxide._frames.opening import files_of

    needed = sum(_needed(file) for source in tables.inputs for file in files_of(source))
    free = free_memory()
    if not in_batches and (free is None or needed <= free):
        return False
    told = "of unknown size" if free is None else f"{format_bytes(free)} are free"
    why = "as was asked for" if in_batches else "in memory it would not fit"
    tell(
        f"isoxide: {tables.name} would take about {format_bytes(needed)} of memory ({told}); "
        f"it is read in batches, {why}"
    )
    return True


def _needed(file: InputFile) -> int:
    """Return about how many bytes detection takes for the rows of a file."""
    from isoxide._frames.files import kind_of

    kind, compression = kind_of(file)
    if kind != "parquet":
        return _COPIES * file.size * (_UNPACKED if compression else 1)
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with file.open() as opened:
            stored = pq.ParquetFile(opened)
            rows, schema = stored.metadata.num_rows, stored.schema_arrow
    except (pa.ArrowException, OSError):
        # The reader says what is wrong with it.
        return 0
    return int(rows * _COPIES * sum(_width(field.type) for field in schema))


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
