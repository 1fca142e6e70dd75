"""Estimate whether a table fits in memory."""

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

#: Bytes per cell of a frame: of a number, and of a text including the overhead of a Python object.
BYTES_PER_NUMBER, BYTES_PER_TEXT = 8, 64
#: Peak memory of detection, in copies of the table: the frame, intermediate frames, scores and ranks.
N_COPIES = 3
#: Typical ratio of the size of a text to its compressed size.
COMPRESSION_RATIO = 6


def larger_than_memory(tables: Tables, *, in_batches: bool = False) -> bool:
    """Return whether to read tables in batches because they need more memory than is free.

    If so, a line on standard error informs the user.

    Parameters
    ----------
    tables : Tables
        Tables of the command.
    in_batches : bool, default=False
        Whether the user gave --stream; then tables of any size are read in batches.
    """
    from isoxide._frames import Source
    from isoxide._frames.opening import files_of

    needed = 0
    for source in tables.inputs:
        if isinstance(source, Source):
            needed += _frame_bytes(source.count() or 0, source.schema)
        else:
            needed += sum(_needed(file) for file in files_of(source))
    free = free_memory()
    if not in_batches and (free is None or needed <= free):
        return False
    available = "free memory is unknown" if free is None else f"{format_bytes(free)} are free"
    reason = "as --stream asks" if in_batches else "since it does not fit in memory"
    tell(
        f"isoxide: {tables.name} needs about {format_bytes(needed)} of memory ({available}); "
        f"it is read in batches, {reason}"
    )
    return True


def _needed(file: InputFile) -> int:
    """Return an estimate of the bytes that detection needs for a file."""
    from isoxide._frames.files import file_format

    format_, compression = file_format(file)
    if format_ != "parquet":
        return N_COPIES * file.size * (COMPRESSION_RATIO if compression else 1)
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with file.open() as opened:
            stored = pq.ParquetFile(opened)
            rows, schema = stored.metadata.num_rows, stored.schema_arrow
    except (pa.ArrowException, OSError):
        # The error is reported when the table is read.
        return 0
    return _frame_bytes(rows, schema)


def _frame_bytes(rows: int, schema: Any) -> int:
    """Return an estimate of the bytes that detection needs for a table."""
    return int(rows * N_COPIES * sum(_width(field.type) for field in schema))


def _width(dtype: Any) -> int:
    """Return the bytes per cell of a column of an Arrow type."""
    import pyarrow as pa

    is_number = pa.types.is_primitive(dtype) or pa.types.is_boolean(dtype)
    return BYTES_PER_NUMBER if is_number else BYTES_PER_TEXT


def free_memory() -> int | None:
    """Return the bytes that this process can still allocate, or None if they are not known."""
    limits = []
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            limits.append(int(line.split()[1]) * 1024)
    # In a container, the control group limits the memory.
    limit_lines, used_lines = (_lines(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    if limit_lines and used_lines and limit_lines[0].isdigit() and used_lines[0].isdigit():
        limits.append(int(limit_lines[0]) - int(used_lines[0]))
    if (address_space := _address_space()) is not None:
        limits.append(address_space)
    if not limits and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    return max(0, min(limits)) if limits else None


def _address_space() -> int | None:
    """Return the bytes of address space left under `ulimit -v`, or None if there is no limit."""
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
    """Return the lines of a file, or an empty list if it cannot be read."""
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
