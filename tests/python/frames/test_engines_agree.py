"""Test that random tables have the same features, keys, days and findings in memory, batches, partitions and Dask."""

import datetime
import decimal

import dask
import dask.dataframe as dd
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings

import isoxide.dask
from frame_tables import NAMES, read
from isoxide import stream, ueba
from list_engine import partitioned
from partition_findings import assert_same_findings

pytestmark = [
    pytest.mark.dask,
    pytest.mark.current_versions(reason="Dask is not installed with the oldest versions"),
]

SEEDS = st.integers(0, 2**32 - 1)
#: Minimum number of rows. The forest does not warn that its trees draw all rows.
MIN_ROWS = 400


def choices(r, n, values, missing=0.05):
    """Draw `n` of the values, and None for the share `missing` of them."""
    return [None if r.random() < missing else values[i] for i in r.integers(0, len(values), n)]


KEYS = {
    "text": lambda r, n: pa.array(
        choices(r, n, ["007", "7", "7.0", " 7", "null", "NA", "None", "nan", "", "a\nb", 'q"q', "É", "e"])
    ),
    "large text": lambda r, n: pa.array(choices(r, n, ["x", "X", "x "]), pa.large_string()),
    "many digits": lambda r, n: pa.array(choices(r, n, [2**60, 2**60 + 1, 1, 0]), pa.int64()),
    "unsigned": lambda r, n: pa.array(choices(r, n, [2**64 - 1, 2**63, 0]), pa.uint64()),
    "floats": lambda r, n: pa.array(choices(r, n, [1001.0, 1002.0, 3.5]), pa.float64()),
    "decimals": lambda r, n: pa.array(
        choices(r, n, [decimal.Decimal("1.00"), decimal.Decimal("2.50")]), pa.decimal128(20, 2)
    ),
    "booleans": lambda r, n: pa.array(choices(r, n, [True, False])),
    "dates": lambda r, n: pa.array(choices(r, n, [datetime.date(2025, 1, 1), datetime.date(1999, 12, 31)])),
}
_FIRST = datetime.date(2025, 3, 1)


def random_days(r, n):
    return [_FIRST + datetime.timedelta(int(i)) for i in r.integers(0, 60, n)]


def with_zones(r, n):
    offsets = ["", "Z", "+02:00", "-0500", " UTC", "+01"]
    return [f"{day}T{r.integers(0, 24):02}:30{offsets[r.integers(0, 6)]}" for day in random_days(r, n)]


def with_far_days(r, n):
    days = [day.isoformat() for day in random_days(r, n)]
    for far in ("9999-12-31", "1970-01-01", "0001-01-01"):
        days[int(r.integers(0, n))] = far
    return days


TIMES = {
    "dates": lambda r, n: pa.array(random_days(r, n)),
    "text": lambda r, n: pa.array([day.isoformat() for day in random_days(r, n)]),
    "digits": lambda r, n: pa.array([int(day.strftime("%Y%m%d")) for day in random_days(r, n)]),
    "digits as text": lambda r, n: pa.array([day.strftime("%Y%m%d") for day in random_days(r, n)]),
    "far days": lambda r, n: pa.array(with_far_days(r, n)),
    "zones": lambda r, n: pa.array(with_zones(r, n)),
    "microseconds": lambda r, n: pa.array(random_days(r, n)).cast(pa.timestamp("us")),
    "a zone": lambda r, n: pa.array(random_days(r, n)).cast(pa.timestamp("us")).cast(pa.timestamp("us", "Europe/Oslo")),
}


def numbers(r, n, missing=0.1):
    values = np.where(r.random(n) < 0.5, 0.0, r.geometric(0.1, n) * 1.0)
    return [None if r.random() < missing else value for value in values]


COLUMNS = {
    "floats": lambda r, n: pa.array(numbers(r, n), pa.float64()),
    "NaN": lambda r, n: pa.array(np.array(numbers(r, n), dtype=float), from_pandas=False),
    "float32": lambda r, n: pa.array(numbers(r, n), pa.float32()),
    "integers": lambda r, n: pa.array([None if value is None else int(value) for value in numbers(r, n)], pa.int64()),
    "int16": lambda r, n: pa.array(r.integers(0, 9, n), pa.int16()),
    "unsigned": lambda r, n: pa.array(r.integers(0, 2**62, n).astype("u8") * np.uint64(3)),
    "booleans": lambda r, n: pa.array(choices(r, n, [True, False])),
    "decimals": lambda r, n: pa.array(
        choices(r, n, [decimal.Decimal("1.25"), decimal.Decimal("-3.50")]), pa.decimal128(30, 4)
    ),
    "constant": lambda r, n: pa.array(np.full(n, 7.0)),
    "ids": lambda r, n: pa.array(r.permutation(n)),
    "missing": lambda r, n: pa.array([None] * n, pa.float64()),
    "text": lambda r, n: pa.array(choices(r, n, ["red", "blue"])),
    "numbers as text": lambda r, n: pa.array(choices(r, n, ["1", "2", "-"])),
    "times": lambda r, n: pa.array(random_days(r, n)),
    "durations": lambda r, n: pa.array(r.integers(0, 9, n), pa.duration("us")),
}
UNUSUAL_NAMES = ["x", "x ", " lead", "a*", "[x]", "é", "n.1", "1", "is_it", "zscore_x", "Unnamed: 1", "q'q", "index"]


@st.composite
def tables(draw):
    """Return an Arrow table of declared dtypes with repeated rows and repeated keys."""
    r = np.random.default_rng(draw(SEEDS))
    n = MIN_ROWS + int(r.integers(0, 60))
    dtypes = ["floats", *draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=5))]
    names = draw(st.permutations(UNUSUAL_NAMES))[: len(dtypes)]
    columns = {
        "actor": KEYS[draw(st.sampled_from(sorted(KEYS)))](r, n),
        "day": TIMES[draw(st.sampled_from(sorted(TIMES)))](r, n),
    }
    columns |= {name: COLUMNS[dtype](r, n) for name, dtype in zip(names, dtypes, strict=True)}
    table = pa.table(columns)
    repeated = table.take(r.integers(0, n, int(r.integers(0, 9))))
    table = pa.concat_tables([table, repeated]).combine_chunks()
    return table.take(r.permutation(table.num_rows)), int(r.integers(2**31))


def assert_same_tables(ours, expected, *, left_out=True):
    """Compare rows and profiles of two tables. Without `left_out`, the reasons for left-out columns may differ."""
    assert ours.features == expected.features
    np.testing.assert_array_equal(ours.X.to_numpy(dtype=float), expected.X.to_numpy(dtype=float))
    actors = [table.frame["actor"] for table in (ours, expected)]
    our_actors, expected_actors = (actor.astype(object).where(actor.notna(), None).tolist() for actor in actors)
    assert our_actors == expected_actors
    assert ours.days.astype(str).tolist() == expected.days.astype(str).tolist()
    profiles = ours.profile.to_dict(), expected.profile.to_dict()
    if not left_out:
        for profile in profiles:
            profile["left_out"] = sorted(profile["left_out"])
            profile.pop("notes")
    assert profiles[0] == profiles[1]


@given(tables())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_tables_in_memory_are_the_same_from_every_container(tmp_path_factory, drawn):
    table, _ = drawn
    expected = read(table)
    path = tmp_path_factory.mktemp("t") / "t.parquet"
    pq.write_table(table, path, row_group_size=100)
    assert_same_tables(read(path), expected)
    pa.feather.write_feather(table, path.with_suffix(".feather"))
    assert_same_tables(read(path.with_suffix(".feather")), expected)
    assert_same_tables(read(table.to_pandas(types_mapper=pd.ArrowDtype)), expected, left_out=False)
    assert_same_tables(read(pl.from_arrow(table)), expected, left_out=False)


@given(tables(), st.sampled_from(["", "actor", "group"]))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_findings_are_the_same_on_every_engine(tmp_path_factory, drawn, groups):
    table, seed = drawn
    options = {"contamination": 0.02, "min_group": 5}
    if groups == "group":
        # This column is a feature, and it also labels the groups.
        table = table.append_column("group", pa.array(np.random.default_rng(seed).integers(0, 3, table.num_rows)))
    if groups:
        options["groups"] = groups
    expected_table = read(table)
    if expected_table.profile.infinite:
        return
    expected = ueba.detect(expected_table, **options)
    path = tmp_path_factory.mktemp("t") / "t.parquet"
    pq.write_table(table, path, row_group_size=100)
    assert_same_findings(stream.open(path, batch_rows=50).detect(**NAMES, **options), expected)
    assert_same_findings(partitioned(table, 5, seed).detect(**NAMES, **options), expected)
    frame = dd.from_pandas(table.to_pandas(types_mapper=pd.ArrowDtype), npartitions=3, sort=False)
    with dask.config.set(scheduler="synchronous"):
        actual = isoxide.dask.table(frame).detect(**NAMES, **options)
    assert_same_findings(actual, expected)


CELLS = {
    "numbers": ["1", "2.5", "", " 3", "1e3", "NA"],
    "integers": ["1", "2", "30", "-4"],
    "booleans": ["true", "FALSE", "", "null"],
    "text": ["a", "b,c", 'd"e', "", "f\ng"],
    "codes": ["007", "7", "07", ""],
    "few numbers": ["a", "b", "c", "1"],
}


@given(SEEDS, st.lists(st.sampled_from(sorted(CELLS)), min_size=1, max_size=5), st.sampled_from(["", "group", "actor"]))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_findings_of_text_files_are_the_same_in_memory_and_in_batches(tmp_path_factory, seed, cell_types, groups):
    r = np.random.default_rng(seed)
    n = MIN_ROWS
    columns = {
        "actor": choices(r, n, ["007", "7", "NA", "x,y", "", "z\nz"], 0),
        "day": [day.isoformat() for day in random_days(r, n)],
    }
    columns["first"] = list(map(str, r.integers(0, 50, n)))
    columns |= {f"{name}{i}": choices(r, n, CELLS[name], 0) for i, name in enumerate(cell_types)}
    columns["group"] = choices(r, n, ["01", "1", "2"], 0)
    frame = pd.DataFrame(columns)
    path = tmp_path_factory.mktemp("t") / "t.csv"
    frame.to_csv(path, index=False)
    options = {"contamination": 0.02, "min_group": 5} | ({"groups": groups} if groups else {})
    table = read(path)
    expected = ueba.detect(table, **options)
    assert_same_findings(stream.open(path, batch_rows=70).detect(**NAMES, **options), expected)
    halves = tmp_path_factory.mktemp("f")
    for number, half in enumerate((frame[:150], frame[150:])):
        half.to_csv(halves / f"{number}.csv", index=False)
    assert_same_findings(stream.open(halves).detect(**NAMES, **options), ueba.detect(read(halves), **options))
    lines = path.with_suffix(".jsonl")
    frame.to_json(lines, orient="records", lines=True)
    assert_same_tables(read(lines), table, left_out=False)


@pytest.mark.parametrize("dtype", sorted(KEYS))
def test_keys_are_the_same_in_batches(dtype):
    r = np.random.default_rng(5)
    n = MIN_ROWS
    table = pa.table({"actor": KEYS[dtype](r, n), "day": TIMES["text"](r, n), "x": r.normal(size=n)})
    expected = ueba.detect(read(table), contamination=0.05, groups="actor", min_group=5)
    for batch_rows in (7, 1000):
        opened = stream.open(table, batch_rows=batch_rows)
        actual = opened.detect(**NAMES, contamination=0.05, groups="actor", min_group=5)
        assert_same_findings(actual, expected)
