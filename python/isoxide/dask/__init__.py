"""Tables of Dask: forests, scores, ranks and findings of dask frames, the same as in memory.

`table` returns a `DaskTable`, whose methods compute at once, in tasks of dask's active client or scheduler; only its
``score`` is lazy, as dask's own methods are. The order of the rows is that of the partitions.
Needs ``pip install 'isoxide[dask]'``; to write pages of findings, ``pip install 'isoxide[dask,ueba]'``.
"""

try:
    import dask.dataframe  # noqa: F401
    import pandas  # noqa: F401
    import pyarrow  # noqa: F401
except ImportError as error:
    raise ImportError("isoxide.dask needs dask with its frames, and pyarrow: pip install 'isoxide[dask]'") from error

from isoxide.dask._table import DaskTable, table

__all__ = ["DaskTable", "table"]

DaskTable.__module__ = table.__module__ = __name__
