"""Tables larger than memory on one machine: files, folders, datasets and Arrow streams, read batch by batch.

`open` returns a `StreamTable`, whose methods fit, score, rank and detect. Results equal those of the same rows in
memory, bit for bit; memory holds a few batches, the rows that trees draw, and the results.
Needs ``pip install 'isoxide[stream]'``; `StreamTable.detect` also ``isoxide[ueba]``.
"""

try:
    import pyarrow  # noqa: F401
except ImportError as error:
    raise ImportError("isoxide.stream needs pyarrow: pip install 'isoxide[stream]'") from error

from isoxide.stream._table import StreamTable, open

__all__ = ["StreamTable", "open"]

StreamTable.__module__ = open.__module__ = __name__
