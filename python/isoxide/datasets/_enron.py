"""Load the Enron e-mail table: one row per employee and day, computed from real e-mails, without labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from isoxide._common.imports import import_optional

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["load_enron"]

PATH = Path(__file__).parent / "enron_user_day.csv.gz"


@overload
def load_enron(*, as_path: Literal[False] = ...) -> pd.DataFrame: ...
@overload
def load_enron(*, as_path: Literal[True]) -> Path: ...
def load_enron(*, as_path: bool = False) -> pd.DataFrame | Path:
    """Load the Enron actor-day table: e-mail activity of 181 Enron employees, one row per active day.

    The table has 10,969 rows from 1999-11-01 to 2002-06-21 and 37 columns: ``actor``, ``role``, ``day``, 27 counts,
    hours, shares and flags, 6 z-scores against the actor's own previous days (``z_*``), and ``known_rcpt_share``. About
    5 % of the cells are missing. There are no labels. The file ``enron_user_day.md`` in the same folder describes
    every column, the source and the licence.

    Parameters
    ----------
    as_path : bool, default=False
        Whether to return the path of the compressed CSV file instead of its rows, for `isoxide.ueba.read_table`,
        `isoxide.stream.open` or the command ``isoxide detect``. Returning the path does not need pandas.

    Returns
    -------
    pandas.DataFrame or pathlib.Path
        Rows with ``actor`` and ``role`` as text, ``day`` as a timestamp and all other columns as numbers, or the path.

    Raises
    ------
    ImportError
        If pandas is not installed and `as_path` is False.

    Notes
    -----
    The data are derived from the data set ``enron`` of the R package igraphdata and are passed on under CC BY-SA 4.0.
    If you use them, please cite [1]_.

    References
    ----------
    .. [1] C. E. Priebe, J. M. Conroy, D. J. Marchette, Y. Park, "Scan Statistics on Enron Graphs", Computational and
       Mathematical Organization Theory 11(3), 229-247, 2005. https://doi.org/10.1007/s10588-005-5378-z

    Examples
    --------
    >>> from isoxide import ueba
    >>> from isoxide.datasets import load_enron
    >>> frame = load_enron()
    >>> frame.shape
    (10969, 37)
    >>> table = ueba.read_table(load_enron(as_path=True), entity="actor", time="day")
    >>> table
    FeatureTable(10969 rows, 34 features, 827 days)
    """
    if as_path:
        return PATH
    pandas = import_optional("pandas", "load_enron")
    frame: pd.DataFrame = pandas.read_csv(PATH, dtype={"actor": "str", "role": "str"}, parse_dates=["day"])
    return frame
