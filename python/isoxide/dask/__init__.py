"""Fit, score, rank and detect on Dask frames, with the same results as in memory.

`table` returns a `DaskTable`, whose methods compute immediately, in tasks of Dask's active client or scheduler; only
``score`` and ``explain`` are lazy, like Dask's own methods. Rows keep the order of the partitions.
This module needs ``pip install 'isoxide[dask]'``; reports need ``pip install 'isoxide[dask,ueba]'``.
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
