"""Bands of similar size of a partitioned table are those of the same rows in memory, whatever the partitions."""

import numpy as np
import pandas as pd
import pytest

from isoxide import stream, ueba
from isoxide.ueba._families import sampled_rows
from list_engine import arrow, partitioned
from partition_findings import NAMES, assert_same_findings
from ueba_tables import sized_days

pytestmark = pytest.mark.current_versions(reason="quantiles of pandas 2.2 have other last bits")


@pytest.fixture(scope="module")
def frame(seed):
    """Return a table with missing sizes, repeated rows, and columns of several dtypes."""
    frame = sized_days(seed, missing=0.05)
    frame["n_writes"] = frame["n_writes"].astype(np.uint64)
    frame["n_tickets"] = frame["n_tickets"].astype("Int32").mask(frame.index % 11 == 0)
    return pd.concat([frame, frame.head(7)], ignore_index=True)


@pytest.fixture(scope="module")
def expected(frame):
    return ueba.detect(ueba.read_table(arrow(frame), **NAMES), contamination=0.03, groups="size")


@pytest.mark.parametrize("n_partitions", [1, 3, 40])
def test_findings_and_bands_are_those_in_memory(frame, expected, seed, n_partitions):
    actual = partitioned(arrow(frame), n_partitions, seed).detect(**NAMES, contamination=0.03, groups="size")
    assert actual.size_bands == expected.size_bands
    assert actual.size_bands.n_counts == 5
    assert_same_findings(actual, expected)


def test_a_stream_of_files_gives_the_same(frame, tmp_path):
    frame.to_csv(tmp_path / "t.csv", index=False)
    in_memory = ueba.detect(ueba.read_table(tmp_path / "t.csv", **NAMES), contamination=0.03, groups="size")
    streamed = stream.open(tmp_path / "t.csv", batch_rows=100).detect(**NAMES, contamination=0.03, groups="size")
    assert_same_findings(streamed, in_memory)


def test_a_value_in_a_single_row_decides_what_is_a_count(frame, seed):
    """The sample that correlations come from has not all rows of a large table, but counts are judged by all."""
    many = pd.concat([frame.assign(actor=f"copy{k}_" + frame["actor"]) for k in range(3)], ignore_index=True)
    many.loc[np.setdiff1d(many.index, sampled_rows(len(many)))[0], "n_files"] = 0.5
    own = ueba.detect(ueba.read_table(arrow(many), **NAMES), contamination=0.02, groups="size")
    assert own.size_bands.feature != "n_files"
    actual = partitioned(arrow(many), 5, seed).detect(**NAMES, contamination=0.02, groups="size")
    assert_same_findings(actual, own)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.assign(size="large"), "groups='size' is ambiguous: it means bands of rows of similar size, but"),
        (lambda f: f[["actor", "day", "share"]], "groups='size' needs a count, and the table has none"),
        (lambda f: f.head(3), "too small to train on: it has 3 rows"),
        (lambda f: f.head(300).assign(**{n: 5 for n in f if n.startswith("n_")}), "at least two bands of 100 rows"),
    ],
)
def test_refusals_are_those_in_memory(frame, seed, change, message):
    table = arrow(change(frame))
    with pytest.raises(ValueError, match=message):
        ueba.detect(ueba.read_table(table, **NAMES), contamination=0.02, groups="size")
    with pytest.raises(ValueError, match=message):
        partitioned(table, 3, seed).detect(**NAMES, contamination=0.02, groups="size")
