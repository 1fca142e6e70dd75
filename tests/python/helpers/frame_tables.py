"""Make small tables with a given column, as frames and as files of every format."""

import datetime
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from isoxide import ueba

NAMES = {"entity": "actor", "time": "day"}


def days(n):
    """Return `n` days as text."""
    return pd.date_range("2025-01-01", periods=n).strftime("%Y-%m-%d").tolist()


def frame_of(values, column="x"):
    """Return a frame with a column of the given values, an entity, a day and another feature."""
    n = len(values)
    columns = {"actor": [f"a{i}" for i in range(n)], "day": days(n), "y": np.arange(n) * 1.5}
    return pd.DataFrame(columns | {column: values})


def arrow_of(values, column="x"):
    """Return the table of `frame_of` as an Arrow table."""
    n = len(values)
    columns = {"actor": [f"a{i}" for i in range(n)], "day": days(n), "y": [i * 1.5 for i in range(n)]}
    return pa.table(columns | {column: values})


def quoted(cell):
    """Return a cell as a quoted field of CSV."""
    return '"' + cell.replace('"', '""') + '"'


def csv_of(path, cells, column="x"):
    """Write a CSV file with a column of these cells, and return its path."""
    columns = frame_of([quoted(cell) for cell in cells], column)
    lines = [",".join(map(str, row)) for row in columns.itertuples(index=False)]
    Path(path).write_text("\n".join([",".join(columns.columns), *lines]) + "\n", encoding="utf-8", newline="")
    return path


def jsonl_of(path, values, column="x"):
    """Write a file with an object per line, and return its path."""
    rows = frame_of(list(range(len(values))), "_").drop(columns="_").to_dict("records")
    lines = [json.dumps(row | {column: value}) for row, value in zip(rows, values, strict=True)]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def xlsx_of(path, values, column="x"):
    """Write an Excel file, and return its path."""
    import openpyxl

    book = openpyxl.Workbook()
    names = list(dict.fromkeys(["actor", "day", "y", column]))
    book.active.append(names)
    for i, value in enumerate(values):
        row = {
            "actor": f"a{i}",
            "day": datetime.datetime(2025, 1, 1) + datetime.timedelta(i),
            "y": i * 1.5,
            column: value,
        }
        book.active.append([row[name] for name in names])
    book.save(path)
    return path


def read(source, **options):
    """Read the feature table of a source."""
    return ueba.read_table(source, **NAMES, **options)


def actors(source, **options):
    """Return the entities of a source as text, None for missing ones."""
    column = read(source, **options).frame["actor"]
    return [None if pd.isna(value) else value for value in column]


def day_list(source, **options):
    """Return the days of a source as text."""
    return [str(day)[:10] for day in read(source, **options).days]
