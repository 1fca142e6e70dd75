"""Every way in which tables come in: the one reader of files and frames, and the one adapter of columns.

Reading, in the order in which a table passes through it:

    opening          `open_source`: a path, frame, dataset, stream or open file becomes a `Source`
    source           interface `Source` of everything that has rows, options of reading, sizes of batches
    files            open files: format by suffix and first bytes, compression, standard input, checksums
    header           encoding, delimiter and names of a text file
    delimited        CSV in two passes: what each column holds, then its rows
    parquet          Parquet files and folders of them
    documents        JSON lines and spreadsheets
    frames           frames of pandas and polars, Arrow tables, datasets and streams
    pandas_columns   columns of pandas as Arrow arrays, objects by what they hold
    cells            numbers written as text, and what a column without a declared dtype holds
    names            names of columns
    keys             entities and groups as exact text
    times            the day that was written
    features         which columns are features, and why the others are not
    profile          facts about a table that partitions can collect and merge
    table_profile    `TableProfile`: these facts and warnings, for the user

Columns of numbers, from a container to the core:

    dtypes           which dtypes are numbers, and which ones the core reads
    adapter          a column of NumPy, pandas, polars or Arrow as an array, for a forest or for ranks
    containers       whole frames, with the values of scikit-learn's conversion to float32
    columns          Arrow batches, with the same values
    tables           the two tables of `rank_features`
    validation       input of the estimator: borrowed if the core can read it in place, else checked by scikit-learn
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isoxide._frames.opening import open_source
    from isoxide._frames.source import ReadOptions, Roles, Source

__all__ = ["ReadOptions", "Roles", "Source", "open_source"]

#: Module of each name. It is imported when the name is first used, since reading needs pyarrow, and a forest or ranks,
#: which import modules of this package, need neither pyarrow nor the time that importing it takes.
_HOMES = {"ReadOptions": "source", "Roles": "source", "Source": "source", "open_source": "opening"}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
