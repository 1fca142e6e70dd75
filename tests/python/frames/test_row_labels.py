"""Test the labels of rows that results carry, and frames of the library of a table."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from narwhals import from_native

from isoxide._frames.row_labels import RowLabels, make_frame

INDEXES = {
    "text": pd.Index(["a", "b", "c"]),
    "times": pd.date_range("2025-01-01", periods=3, tz="Europe/Oslo"),
    "pairs": pd.MultiIndex.from_tuples([("a", 1), ("b", 2), ("c", 3)]),
    "categories": pd.CategoricalIndex(["x", "y", "x"]),
    "range": pd.RangeIndex(5, 8),
}


@pytest.mark.parametrize("index", INDEXES.values(), ids=INDEXES)
def test_labels_of_pandas(index):
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0]}, index=index)
    labels = RowLabels.of_table(frame, 3)
    expected = [*index]
    assert [*labels.labels] == expected
    assert [*labels[1].labels] == [*labels[-2].labels] == expected[1:2]
    assert [*labels[1:].labels] == expected[1:]
    assert [*labels[np.array([2, 0])].labels] == [expected[2], expected[0]]
    assert [*labels[np.array([True, False, True])].labels] == [expected[0], expected[2]]
    assert len(labels) == 3
    assert len(labels[0]) == 1
    made = labels[0].frame({"row": labels[0].labels.repeat(2), "n": np.arange(2)})
    assert made["row"].tolist() == expected[:1] * 2


def test_the_dtype_of_times_is_kept():
    labels = RowLabels.of_table(pd.DataFrame({"x": [1.0, 2, 3]}, index=INDEXES["times"]), 3)[1]
    assert labels.frame({"row": labels.labels})["row"].dtype == INDEXES["times"].dtype


@pytest.mark.parametrize(
    ("table", "backend", "cls"),
    [
        (np.zeros((2, 1)), "pandas", pd.DataFrame),
        ([[1.0], [2.0]], "pandas", pd.DataFrame),
        (pl.DataFrame({"x": [1.0, 2.0]}), "polars", pl.DataFrame),
        (pa.table({"x": [1.0, 2.0]}), "pyarrow", pa.Table),
        (from_native(pl.DataFrame({"x": [1.0, 2.0]})), "polars", pl.DataFrame),
        (from_native(pd.DataFrame({"x": [1.0, 2.0]})), "pandas", pd.DataFrame),
    ],
    ids=["array", "list", "polars", "pyarrow", "narwhals polars", "narwhals pandas"],
)
def test_other_tables_have_row_numbers(table, backend, cls):
    labels = RowLabels.of_table(table, 2)
    assert labels.backend == labels[0].backend == backend
    assert [*labels.labels] == [0, 1]
    assert [*labels[1].labels] == [1]
    assert isinstance(labels.frame({"row": labels.labels}), cls)


def test_frames_keep_dtypes():
    columns = {"a": np.array([1, 2]), "b": np.array([1.5, np.nan]), "c": np.array(["x", "y"], dtype=object)}
    for backend in ("pandas", "polars", "pyarrow"):
        frame = make_frame(columns, backend)
        assert [*frame["a"].to_numpy()] == [1, 2]
        assert frame.shape == (2, 3)
    stamped = make_frame({"t": np.array([datetime.date(2025, 1, 1)], dtype="datetime64[us]")}, "polars")
    assert stamped["t"].to_list() == [datetime.datetime(2025, 1, 1)]
