"""Input of tables: reading files and frames, and converting columns for the core.

Modules for reading, in the order in which a table passes through them:

    opening          `open_source`: make a `Source` of a path, frame, dataset, stream or open file
    source           `Source`, the interface that rows are read through; reading options; batch sizes
    files            open files: format by suffix and first bytes, compression, standard input, checksums
    header           encoding, delimiter and names of a text file
    delimited        CSV in two passes: first the dtype of each column, then the rows
    parquet          Parquet files and folders of them
    documents        JSON lines and spreadsheets
    lakes            Delta and Iceberg tables: recognise their folders, and pin a table to one version
    delta, iceberg   sources for such tables
    lazyframes       polars LazyFrames, whose query runs for each pass
    passes           notice that a source without a version changed between passes
    upcast           the narrowest dtype that holds the values of several dtypes exactly
    frames           pandas and polars frames, Arrow tables, datasets and streams
    pandas_columns   pandas columns as Arrow arrays; the dtype of an object column follows from its cells
    cells            numbers written as text, and the dtype of a column that does not declare one
    names            names of columns
    keys             entities and groups as exact text
    times            times, each of which keeps the day in the source
    features         choice of the feature columns, with the reason why each other column is not one
    entities         numbers of the entities of a table, and the first day of each
    profile          facts about a table, collected by partition and merged
    table_profile    `TableProfile`: these facts and warnings for the user

Modules that convert columns of numbers for the core:

    dtypes           which dtypes are numbers, and which ones the core reads
    adapter          a column of NumPy, pandas, polars or Arrow as an array, for a forest or for ranks
    containers       whole frames, with the values of scikit-learn's conversion to float32
    columns          Arrow batches, with the same values
    tables           the two tables of `rank_features`
    validation       input of the estimator: read in place if the core can, otherwise checked by scikit-learn
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
