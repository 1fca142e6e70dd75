"""Tables larger than memory on one machine: files, folders, datasets and Arrow streams, read batch by batch.

`open` returns a `StreamTable`, whose methods fit, score, rank and detect. `PartitionedTable` is the base class of this
and of the tables of `isoxide.spark` and `isoxide.dask`. Results are bit-identical to the results for the same rows in
memory. Memory holds only a few batches, the rows that trees draw, and the results. This module needs
``pip install 'isoxide[stream]'``; `StreamTable.detect` also needs ``isoxide[ueba]``.
"""

try:
    import pyarrow  # noqa: F401
except ImportError as error:
    raise ImportError("isoxide.stream needs pyarrow: pip install 'isoxide[stream]'") from error

from isoxide._partitioned.table import PartitionedTable
from isoxide.stream._table import StreamTable, open

__all__ = ["PartitionedTable", "StreamTable", "open"]

StreamTable.__module__ = open.__module__ = __name__
