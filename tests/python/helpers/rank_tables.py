"""Make tables for the tests of ranks in every container, and compute their percentiles with scipy."""

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import scipy.stats

KINDS = ["rank", "weak", "strict", "mean"]
TAILS = ["upper", "lower", "both"]
DTYPES = [
    np.float64, np.float32, np.float16, np.longdouble, ">f8", np.int64, np.int32, np.int8, ">i4", np.uint8, np.uint32,
    np.uint64, np.bool_,
]  # fmt: skip


def reference_frame(rng, n=400):
    """Return columns like those of an analyst, and one column of text."""
    return pd.DataFrame(
        {
            "actor": rng.choice(["ann", "bob"], n),
            "logins": rng.poisson(0.5, n),
            "bytes": rng.lognormal(size=n),
            "share": rng.random(n).astype(np.float32),
            "flag": rng.random(n) < 0.1,
            "small": rng.integers(-5, 5, n).astype(np.int8),
            "seen": rng.integers(0, 2**63, n, dtype=np.uint64) + np.uint64(2**62),
            "logins_zscore": rng.standard_normal(n).round(1),
        },
        index=[f"day {i}" for i in range(n)],
    )


def tied_values(rng, dtype, n):
    """Return few values with many ties, and the extreme ones of the dtype, without NaN."""
    dtype = np.dtype(dtype)
    values = rng.integers(0, 2 if dtype.kind == "b" else 9, n).astype(dtype)
    is_extreme = rng.random(n) < 0.3
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        edges = [info.min, info.min + 1, info.max - 1, info.max, *([2**53, 2**53 + 1] if dtype.itemsize == 8 else [])]
        values[is_extreme] = rng.choice(np.array(edges, dtype=dtype), is_extreme.sum())
    elif dtype.kind == "f":
        values[is_extreme] = rng.choice(
            np.array([np.inf, -np.inf, -0.0, 0.1, 1 / 3, -2.5], dtype=dtype), is_extreme.sum()
        )
    return values


def by_scipy(rows, reference, **kwargs):
    columns = [scipy.stats.percentileofscore(reference[name], rows[name], **kwargs) for name in rows.columns]
    return np.column_stack(columns)


class Stream:
    """Table that has the Arrow C stream and nothing else."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


class Interchange:
    """Table that has the dataframe interchange protocol and nothing else."""

    def __init__(self, table):
        self.table = table

    def __dataframe__(self, nan_as_null=False, allow_copy=True):
        return self.table.__dataframe__(nan_as_null, allow_copy)


NULLABLE = {
    pa.bool_(): pd.BooleanDtype(), pa.float32(): pd.Float32Dtype(), pa.float64(): pd.Float64Dtype(),
    pa.int8(): pd.Int8Dtype(), pa.int16(): pd.Int16Dtype(), pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(), pa.uint16(): pd.UInt16Dtype(), pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
}  # fmt: skip


def in_chunks(table):
    """Return a pyarrow table in three chunks, one of them empty."""
    cut = len(table) // 3
    return pa.concat_tables([table[:cut], table[:0], table[cut:]])


def to_pandas(table):
    """Return a pyarrow table as a pandas frame of NumPy dtypes, which scipy can read, with NaN for null."""
    columns = {name: table[name].to_pandas() for name in table.column_names}
    # pandas converts Booleans with nulls to objects, and before version 3 also text.
    nullable = {name for name, v in columns.items() if v.dtype == object and not pa.types.is_string(table[name].type)}
    return pd.DataFrame({name: v.astype(float) if name in nullable else v for name, v in columns.items()})


#: Functions that convert a pyarrow table to another container.
CONTAINERS = {
    "pandas": to_pandas,
    "pandas nullable": lambda table: table.to_pandas(types_mapper=NULLABLE.get),
    "pandas Arrow": lambda table: in_chunks(table).to_pandas(types_mapper=pd.ArrowDtype),
    "polars": pl.from_arrow,
    "polars chunks": lambda table: pl.concat([pl.from_arrow(table[:7]), pl.from_arrow(table[7:])], rechunk=False),
    "pyarrow": lambda table: table,
    "pyarrow chunks": in_chunks,
    "record batch": lambda table: table.combine_chunks().to_batches()[0],
    "stream": Stream,
    "reader": pa.RecordBatchReader.from_stream,
    "interchange": Interchange,
    "narwhals": lambda table: nw.from_native(pl.from_arrow(table)),
}


def mixed_table(rng, n, columns=6):
    """Return a pyarrow table of columns of random dtypes with many ties, partly with nulls and extreme values."""
    table = {}
    for j in range(columns):
        dtype = np.dtype(rng.choice(["f8", "f4", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"]))
        values = rng.integers(0, 2 if dtype.kind == "b" else 5, n).astype(dtype)
        missing = rng.random(n) < 0.2 if rng.random() < 0.4 else np.zeros(n, dtype=bool)
        if dtype.kind == "f":
            values += rng.choice([0.1, 1 / 3, np.inf, -0.0], n).astype(dtype)
            values[rng.random(n) < rng.choice([0, 0.1])] = np.nan
        elif dtype.itemsize == 8:
            # A column with nulls is compared as floats, so its values must not exceed 2**53.
            values += dtype.type(2**53 - 4 if missing.any() else 2**53 - 2)
        table[f"c{j}"] = pa.array(values, mask=missing)
    return pa.table(table)
