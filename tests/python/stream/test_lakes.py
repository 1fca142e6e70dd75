"""Test that LazyFrames, DuckDB relations, Delta and Iceberg tables have the results of the same rows in memory."""

import datetime
import decimal
import pickle
import shutil
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_array_equal

import isoxide
from isoxide import IsolationForest, stream, ueba
from isoxide._cli import main
from lake_tables import (
    add_to_log,
    delete_by_vector,
    delta_of_files,
    iceberg_catalog,
    iceberg_of_files,
    mapped_delta,
)
from partition_findings import actor_days, assert_same_findings
from stream_files import write_parts

deltalake = pytest.importorskip("deltalake", reason="the packages of lakes are not installed here")
pytest.importorskip("pyiceberg", reason="the packages of lakes are not installed here")

pytestmark = [
    pytest.mark.not_parallel(reason="each table has files and engines of its own"),
    pytest.mark.current_versions(reason="the packages of lakes are not installed with the oldest versions"),
]

PARAMS = {"n_estimators": 10, "random_state": 1}
X = ["normal", "count", "missing"]
NAMES = {"entity": "actor", "time": "day"}


def lazy_of_files(frame, folder, n_files):
    return pl.scan_parquet(sorted(write_parts(frame, folder, n_files).glob("*.parquet")))


def relation_of_files(frame, folder, n_files):
    return duckdb.connect().read_parquet(f"{write_parts(frame, folder, n_files)}/*.parquet")


def delta_table(frame, folder, n_files):
    return deltalake.DeltaTable(str(delta_of_files(frame, folder, n_files)))


SOURCES = [lazy_of_files, relation_of_files, delta_of_files, delta_table, iceberg_of_files]


def rows_of(source):
    """Return all rows of a source in the order in which it is read."""
    table = stream.open(source)
    table._engine(lambda *_: None)
    return table._source.table()


@pytest.fixture(scope="module")
def small(seed):
    """Return numbers, some of them missing, with a row number."""
    r = np.random.default_rng(seed)
    x = np.where(r.random(300) < 0.1, np.nan, r.normal(size=300))
    return pd.DataFrame({"row": np.arange(300), "x": x, "y": r.integers(0, 9, 300)})


@pytest.fixture(scope="module")
def forest(small):
    return IsolationForest(**PARAMS).fit(small[["x", "y"]])


@pytest.mark.slow
@pytest.mark.parametrize("n_files", [1, 2, 7, 64])
@pytest.mark.parametrize("make", SOURCES, ids=lambda make: make.__name__)
def test_results_equal_those_in_memory(make, n_files, seed, tmp_path):
    frame = actor_days(seed, n=700, duplicates=10)
    table = stream.open(make(frame, tmp_path / "table", n_files))
    params = IsolationForest(**PARAMS, contamination=0.02)
    expected = IsolationForest(**PARAMS, contamination=0.02).fit(frame[X])
    forest = table.fit(params, features=X)
    assert forest.to_bytes() == expected.to_bytes()
    other = IsolationForest(**PARAMS, contamination=0.3).fit(frame[X])
    assert table.offset(forest, 0.3) == other.offset_
    assert table.write_scores(forest, tmp_path / "scores.parquet", keep=["actor", "id"]) == len(frame)
    scores = pd.read_parquet(tmp_path / "scores.parquet")
    assert_array_equal(scores["id"], frame["id"])
    assert_array_equal(scores["actor"], frame["actor"])
    assert_array_equal(scores["score"], expected.decision_function(frame[X]))
    rows = frame.iloc[:20]
    ranks = table.rank_features(rows, features=X, nan_policy="omit")
    expected_ranks = isoxide.rank_features(rows, frame, features=X, nan_policy="omit")
    assert_array_equal(ranks.percentiles, expected_ranks.percentiles)
    explained = table.explain(forest, top=2).read_all()
    in_memory = stream.open(frame).explain(forest, top=2).read_all()
    names = [name for name in in_memory.column_names if name.startswith("top_")]
    assert len(names) == 8
    ours, theirs = (rows.select(names).to_pandas() for rows in (explained, in_memory))
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)


@pytest.mark.slow
@pytest.mark.parametrize("make", SOURCES, ids=lambda make: make.__name__)
def test_findings_equal_those_in_memory(make, seed, tmp_path):
    frame = actor_days(seed, n=700, duplicates=10)
    source = make(frame, tmp_path / "table", 7)
    options = {"contamination": 0.02, "groups": "group"}
    expected = ueba.detect(ueba.read_table(frame, **NAMES), **options)
    in_memory = ueba.detect(ueba.read_table(source, **NAMES), **options)
    in_batches = stream.open(source).detect(**NAMES, **options)
    for findings in (in_memory, in_batches):
        # The notes say which version was read.
        for notes in (findings.manifest["notes"], findings.manifest["profile"]["notes"]):
            notes[:] = [note for note in notes if not note.startswith("the rows are those of")]
        assert_same_findings(findings, expected)


def test_the_version_is_told(small, tmp_path):
    frame = small.assign(actor="a", day="2025-01-01")
    folder = delta_of_files(frame, tmp_path / "delta", 2)
    findings = stream.open(folder).detect(entity="actor", time="day", top=3, train_on_this=True)
    assert findings.manifest["source"] == f"the Delta table {folder} (version 0)"
    assert any(note.startswith("the rows are those of version 0 of the") for note in findings.manifest["notes"])
    table = ueba.read_table(iceberg_of_files(frame, tmp_path / "iceberg", 2), entity="actor", time="day")
    assert table.source.startswith("the Iceberg table lake.days (snapshot ")
    assert len(table.checksum) == 64
    assert any("committed at 20" in note for note in table.profile.notes)


# Delta


def append(folder, table, **options):
    deltalake.write_deltalake(str(folder), table, mode="append", **options)


def test_rows_that_a_delta_table_removed_are_not_read(small, forest, tmp_path):
    folder = delta_of_files(small, tmp_path / "t", 3)
    deltalake.DeltaTable(str(folder)).delete("y = 3")
    rest = small[small["y"] != 3]
    # The file of the deleted rows is still there.
    assert sum(pq.read_metadata(path).num_rows for path in folder.glob("*.parquet")) > len(rest)
    for source in (folder, str(folder), deltalake.DeltaTable(str(folder))):
        rows = rows_of(source).to_pandas()
        pd.testing.assert_frame_equal(rows.sort_values("row", ignore_index=True), rest.reset_index(drop=True))
        assert stream.open(source).fit(IsolationForest(**PARAMS), features=["x", "y"]).to_bytes() == (
            IsolationForest(**PARAMS).fit(rows[["x", "y"]]).to_bytes()
        )
    frame = ueba.read_table(folder, entity="y", time="row", time_format="s").frame
    assert len(frame) == len(rest)


def test_partition_columns_have_their_own_types(tmp_path):
    names, days = ["a b/%=é", None, "x", "0001"], [datetime.date(2025, 1, 1), None, datetime.date(2025, 1, 2)]
    expected = pa.table(
        {
            "name": [names[k % 4] for k in range(24)],
            "day": pa.array([days[k % 3] for k in range(24)], pa.date32()),
            "n": pa.array([k % 2 for k in range(24)], pa.int16()),
            "x": [float(k) for k in range(24)],
        }
    )
    for start in (0, 12):
        append(tmp_path / "t", expected.slice(start, 12), partition_by=["name", "day", "n"])
    table = rows_of(tmp_path / "t")
    assert table.schema == expected.schema
    assert table.sort_by("x").equals(expected)
    # The order is that of the paths, whatever the log says first.
    paths = [file.path for file in stream.open(tmp_path / "t")._source._files]
    assert paths == sorted(paths)


def test_a_table_of_a_lake_is_read_alone(small, forest, tmp_path, monkeypatch):
    folder = delta_of_files(small, tmp_path / "t", 2)
    small.to_parquet(tmp_path / "plain.parquet", index=False)
    for sources in ([folder, tmp_path / "plain.parquet"], [str(tmp_path / "plain.parquet"), str(folder)]):
        with pytest.raises(
            ValueError, match=r"the Delta table .* \(version 0\) is read alone, but other files are given"
        ):
            stream.open(sources)
        with pytest.raises(ValueError, match="is read alone"):
            ueba.read_table(sources, entity="y", time="row")
    assert stream.open([folder]).write_scores(forest, tmp_path / "scores.parquet") == 300
    # Messages have the path that was given.
    monkeypatch.chdir(tmp_path)
    assert repr(stream.open("t")) == "<StreamTable of the Delta table t (version 0)>"


def test_columns_that_were_added_later_are_missing_in_old_files(tmp_path):
    append(tmp_path / "t", pa.table({"row": [0, 1], "x": [1.5, 2.5]}))
    append(tmp_path / "t", pa.table({"row": [2], "x": [3.5], "late": [7]}), schema_mode="merge")
    assert rows_of(tmp_path / "t").sort_by("row").to_pylist() == [
        {"row": 0, "x": 1.5, "late": None}, {"row": 1, "x": 2.5, "late": None}, {"row": 2, "x": 3.5, "late": 7},
    ]  # fmt: skip


@pytest.mark.parametrize("mode", ["name", "id"])
def test_renamed_columns_of_a_delta_table(mode, tmp_path):
    expected = pa.table({"g": ["a", "b", None, "a"], "x": [1.0, 2.0, 3.0, None], "n": [0, 1, 2, 3]})
    folder = mapped_delta(tmp_path / "t", expected, mode=mode, partition_by=["g"])
    if mode == "id":
        with pytest.raises(ValueError, match=r"version 0\) maps columns by 'id', which is not supported here"):
            stream.open(folder)
        return
    assert rows_of(folder).sort_by("n").equals(expected)
    # Nested fields have other names in the files too.
    nested = expected.append_column("nested", pa.array([{"a": 1}] * 4, pa.struct([("a", pa.int64())])))
    table = stream.open(mapped_delta(tmp_path / "nested", nested))
    assert table._source.table().equals(expected)
    assert "column 'nested' was left out: nested values of a table with renamed columns" in table._source.notes


@pytest.mark.parametrize("rows", [[0], [299], [0, 150, 151, 299], range(0, 300, 7), range(300)], ids=len)
def test_deletion_vectors_are_applied(rows, small, tmp_path):
    folder = delta_of_files(small, tmp_path / "t", 1)
    delete_by_vector(folder, 1, list(rows))
    expected = small.drop(index=list(rows)).reset_index(drop=True)
    table = stream.open(folder, batch_rows=64)
    pd.testing.assert_frame_equal(rows_of(folder).to_pandas(), expected)
    query = deltalake.QueryBuilder().register("t", deltalake.DeltaTable(str(folder))).execute("SELECT row FROM t")
    scanned = pa.table(query)["row"].to_pylist()
    assert sorted(scanned) == expected["row"].tolist()
    engine = table._engine(lambda *_: None)
    assert engine.count() == len(expected)
    for first_row in (0, 1, 100):
        batches = list(engine.source.batches(["row"], first_row))
        assert [row for batch in batches for row in batch["row"].to_pylist()] == expected["row"].tolist()[first_row:]


def test_features_of_delta_that_are_unknown_are_refused(small, tmp_path):
    folder = delta_of_files(small, tmp_path / "t", 1)
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7}
    features = {"readerFeatures": ["timeTravelToTheFuture"], "writerFeatures": ["timeTravelToTheFuture"]}
    add_to_log(folder, 1, {"protocol": protocol | features})
    with pytest.raises(ValueError, match="timeTravelToTheFuture") as caught:
        stream.open(folder)
    assert "\n" not in str(caught.value)


def test_a_damaged_log_is_one_line(small, tmp_path):
    folder = delta_of_files(small, tmp_path / "t", 1)
    (folder / "_delta_log" / f"{0:020}.json").write_text("no log\n")
    with pytest.raises(ValueError, match=rf"the Delta table {folder} cannot be opened: ") as caught:
        ueba.read_table(folder, entity="row", time="y")
    assert "\n" not in str(caught.value)


def test_a_table_stays_at_its_version_while_others_write(small, forest, tmp_path):
    folder = delta_of_files(small, tmp_path / "t", 2)
    mutable = deltalake.DeltaTable(str(folder))
    tables = [stream.open(folder), stream.open(mutable)]
    expected = forest.decision_function(small[["x", "y"]])
    append(folder, pa.Table.from_pandas(small, preserve_index=False))
    mutable.update_incremental()
    assert mutable.version() == 1
    mutable.optimize.compact()
    for table in tables:
        assert_array_equal(table.score(forest).read_all()["score"], expected)
        assert table.fit(IsolationForest(**PARAMS), features=["x", "y"]).to_bytes() == forest.to_bytes()
    assert stream.open(folder).write_scores(forest, tmp_path / "new.parquet") == 600


def test_only_the_same_version_is_resumed(small, forest, tmp_path):
    folder, out = delta_of_files(small, tmp_path / "t", 2), tmp_path / "scores"
    options = {"rows_per_file": 100, "resume": True}
    stream.open(folder).write_scores(forest, out, **options)
    complete = pq.read_table(out)["score"]
    for name in ("part-00001.parquet", "part-00002.parquet", "_SUCCESS"):
        (out / name).unlink()
    append(folder, pa.Table.from_pandas(small, preserve_index=False))
    message = r"the scores in .* are those of version 0, but the table is .* \(version 1\); open version 0, or"
    with pytest.raises(ValueError, match=message):
        stream.open(folder).write_scores(forest, out, **options)
    assert stream.open(deltalake.DeltaTable(str(folder), version=0)).write_scores(forest, out, **options) == 300
    assert pq.read_table(out)["score"].equals(complete)
    other = stream.open(delta_of_files(small, tmp_path / "other", 2))
    with pytest.raises(ValueError, match="have a different source"):
        other.write_scores(forest, out, **options)


def test_a_version_that_vanishes_between_passes_is_named(small, forest, tmp_path):
    folder = delta_of_files(small, tmp_path / "t", 3)
    table = stream.open(folder)
    table.fit(features=["x"])
    deltalake.DeltaTable(str(folder)).optimize.compact()
    deltalake.DeltaTable(str(folder)).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    message = rf"the Delta table {folder} \(version 0\) has lost a file, .* open the newest version"
    with pytest.raises(FileNotFoundError, match=message) as caught:
        table.write_scores(forest, tmp_path / "scores.parquet")
    assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match=message):
        table.fit(features=["x"])
    assert not list(tmp_path.glob("scores*"))
    assert stream.open(folder).write_scores(forest, tmp_path / "scores.parquet") == 300


def test_dtypes_of_lakes(tmp_path):
    moment = datetime.datetime(2025, 1, 1, 12, 30, 0, 5, tzinfo=datetime.timezone.utc)
    expected = pa.table(
        {
            "row": [0, 1],
            "category": pa.array(["a", "b"]).dictionary_encode(),
            "large": pa.array(["x", None], pa.large_string()),
            "decimal": pa.array([decimal.Decimal("1.25"), None], pa.decimal128(9, 2)),
            "zoned": pa.array([moment, None], pa.timestamp("us", "UTC")),
            "plain": pa.array([moment.replace(tzinfo=None), None], pa.timestamp("us")),
            "small": pa.array([-1.5, None], pa.float32()),
            "flag": [True, None],
        }
    )
    append(tmp_path / "t", expected)
    texts = {"category": pa.string(), "large": pa.string()}
    plain = expected
    for name, dtype in texts.items():
        plain = plain.set_column(plain.column_names.index(name), name, expected[name].cast(dtype))
    assert rows_of(tmp_path / "t").equals(plain)
    iceberg = iceberg_catalog(tmp_path / "ice").create_table("lake.t", schema=plain.schema)
    iceberg.append(plain)
    assert rows_of(iceberg).cast(plain.schema).equals(plain)
    lazy = pl.from_arrow(expected).lazy()
    nanoseconds = lazy.with_columns(pl.col("zoned").dt.cast_time_unit("ns").dt.convert_time_zone("Europe/Oslo"))
    assert rows_of(nanoseconds).schema.field("zoned").type == pa.timestamp("ns", "Europe/Oslo")
    assert rows_of(lazy).to_pylist() == expected.to_pylist()


# Iceberg


def test_rows_that_an_iceberg_table_removed_are_not_read(small, forest, tmp_path):
    table = iceberg_of_files(small, tmp_path, 3)
    first = table.current_snapshot().snapshot_id
    opened = stream.open(table)
    table.delete("y == 3")
    rest = small[small["y"] != 3].reset_index(drop=True)
    rows = rows_of(table).to_pandas().sort_values("row", ignore_index=True)
    pd.testing.assert_frame_equal(rows, rest)
    # The object has another snapshot now, but what was opened stays at its own.
    expected = forest.decision_function(small[["x", "y"]])
    assert_array_equal(opened.score(forest).read_all()["score"], expected)
    old = stream.open(table.scan(snapshot_id=first))
    assert_array_equal(old.score(forest).read_all()["score"], expected)
    assert f"snapshot {first}" in repr(old)


def test_scans_keep_filter_columns_and_limit(small, tmp_path):
    table = iceberg_of_files(small, tmp_path, 7)
    scan = table.scan(row_filter="y > 4", selected_fields=("row", "x"))
    expected = small.loc[small["y"] > 4, ["row", "x"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows_of(scan).to_pandas(), expected)
    forest = stream.open(scan).fit(IsolationForest(**PARAMS), features=["x"])
    assert forest.to_bytes() == IsolationForest(**PARAMS).fit(expected[["x"]]).to_bytes()
    assert len(rows_of(table.scan(limit=101))) == 101
    assert rows_of(table.scan(limit=101))["row"].to_pylist() == list(range(101))
    with pytest.raises(TypeError, match=r"source must be .*, not IncrementalAppendScan"):
        stream.open(table.incremental_append_scan())


def test_iceberg_columns_that_were_added_renamed_and_widened(tmp_path):
    from pyiceberg.types import LongType, StringType

    schema = pa.schema([("row", pa.int32()), ("x", pa.float64())])
    table = iceberg_catalog(tmp_path).create_table("lake.t", schema=schema)
    table.append(pa.table({"row": [0, 1], "x": [0.5, None]}, schema=schema))
    with table.update_schema() as update:
        update.add_column("late", StringType())
        update.rename_column("x", "renamed")
        update.update_column("row", LongType())
    table.append(pa.table({"row": [2], "renamed": [2.5], "late": ["new"]}))
    rows = rows_of(table)
    assert rows.schema.field("row").type == pa.int64()
    assert rows.sort_by("row").to_pylist() == [
        {"row": 0, "renamed": 0.5, "late": None}, {"row": 1, "renamed": None, "late": None},
        {"row": 2, "renamed": 2.5, "late": "new"},
    ]  # fmt: skip


def test_only_the_same_snapshot_is_resumed_and_a_lost_one_is_named(small, forest, tmp_path):
    table, out = iceberg_of_files(small, tmp_path / "lake", 3), tmp_path / "scores"
    first, options = table.current_snapshot().snapshot_id, {"rows_per_file": 100, "resume": True}
    stream.open(table).write_scores(forest, out, **options)
    for name in ("part-00002.parquet", "_SUCCESS"):
        (out / name).unlink()
    table.append(pa.Table.from_pandas(small, preserve_index=False))
    with pytest.raises(ValueError, match=rf"are those of snapshot {first}, but the table is the Iceberg table lake\."):
        stream.open(table).write_scores(forest, out, **options)
    opened = stream.open(table.scan(snapshot_id=first))
    assert opened.write_scores(forest, tmp_path / "whole.parquet") == 300
    next((tmp_path / "lake" / "files").glob("*1.parquet")).unlink()
    with pytest.raises(FileNotFoundError, match=rf"lake\.days \(snapshot {first}\) has lost a file") as caught:
        opened.write_scores(forest, tmp_path / "half.parquet")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("half*"))


def test_deletes_by_position_are_applied(small, forest, tmp_path, monkeypatch):
    from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
    from pyiceberg.table import DataScan, FileScanTask

    table = iceberg_of_files(small, tmp_path, 3)
    plan, rows = DataScan.plan_files, {}

    def plan_with_deletes(scan):
        """Return the files of the scan, and for each the positions of deleted rows, as other writers store them."""
        tasks = []
        for number, task in enumerate(sorted(plan(scan), key=lambda task: task.file.file_path)):
            path, n = tmp_path / f"deletes-{number}.parquet", task.file.record_count
            rows[number] = sorted({0, n // 2, n - 1})
            pq.write_table(
                pa.table({"file_path": [task.file.file_path] * len(rows[number]), "pos": rows[number]}), path
            )
            deletes = DataFile.from_args(
                content=DataFileContent.POSITION_DELETES, file_path=str(path), file_format=FileFormat.PARQUET
            )
            tasks.append(FileScanTask(task.file, {deletes}, task.residual))
        return tasks

    monkeypatch.setattr(DataScan, "plan_files", plan_with_deletes)
    opened = stream.open(table)
    source = opened._source
    starts = np.cumsum([0, *(task.file.record_count for task in source._tasks)])
    deleted = [start + row for start, number in zip(starts, rows, strict=False) for row in rows[number]]
    expected = small.drop(index=deleted).reset_index(drop=True)
    assert source.count() == len(expected) < len(small)
    pd.testing.assert_frame_equal(source.table().to_pandas(), expected)
    assert_array_equal(opened.score(forest).read_all()["score"], forest.decision_function(expected[["x", "y"]]))


def test_a_folder_of_iceberg_is_opened_by_its_metadata_only(small, forest, tmp_path):
    table = iceberg_of_files(small, tmp_path, 2)
    folder = Path(table.metadata.location.removeprefix("file://"))
    for location in (folder, str(folder)):
        with pytest.raises(ValueError, match=r"is an Iceberg table whose newest version only its catalog knows; give"):
            stream.open(location)
    metadata = table.metadata_location.removeprefix("file://")
    table.delete("y > 4")
    assert stream.open(metadata).write_scores(forest, tmp_path / "scores.parquet") == 300
    # A table without a catalog has a hint.
    (folder / "metadata" / "version-hint.text").write_text(Path(table.metadata_location).name)
    assert stream.open(folder).write_scores(forest, tmp_path / "scores.parquet") == (small["y"] <= 4).sum()


# LazyFrames and relations


def test_a_lazy_frame_is_never_whole_in_memory(tmp_path):
    n_batches, seen = 60, []

    def mark(column):
        seen.append(len(column))
        return column

    parts = [pl.LazyFrame({"x": np.arange(5000.0)}) for _ in range(n_batches)]
    lazy = pl.concat(parts).with_columns(pl.col("x").map_batches(mark, is_elementwise=True, return_dtype=pl.Float64))
    table = stream.open(lazy, batch_rows=1000)
    assert seen == []
    batches = table._engine(lambda *_: None).source.batches(["x"])
    assert next(batches).num_rows == 1000
    batches.close()
    assert sum(seen) < n_batches * 5000 / 2
    assert table.fit(IsolationForest(n_estimators=2, random_state=0)).n_features_in_ == 1


def test_a_lazy_frame_that_fails_is_one_line(small, forest, tmp_path):
    n_calls = [0]

    def fail_later(column):
        n_calls[0] += 1
        if n_calls[0] > 3:
            raise RuntimeError("no more\nsecond line")
        return column

    parts = [pl.from_pandas(small).lazy() for _ in range(9)]
    column = pl.col("x").map_batches(fail_later, is_elementwise=True, return_dtype=pl.Float64)
    table = stream.open(pl.concat(parts).with_columns(column), batch_rows=100)
    with pytest.raises(ValueError, match=r"^the polars LazyFrame cannot be read: no more$"):
        table.write_scores(forest, tmp_path / "scores.parquet")
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError, match=r"the polars LazyFrame cannot be read: .*none\.parquet"):
        stream.open(pl.scan_parquet(tmp_path / "none.parquet"))
    with pytest.raises(ValueError, match=r"the polars LazyFrame cannot be read: .*nothing"):
        stream.open(pl.from_pandas(small).lazy().select("nothing"))
    wide = pl.LazyFrame({"x": [1.0], "n": pl.Series([1], dtype=pl.Int128)})
    with pytest.raises(TypeError, match=r"column 'n' of the polars LazyFrame is Int128, .* cast it"):
        stream.open(wide)


def test_names_of_a_lazy_frame_are_no_patterns():
    columns = {"^x$": [1.0, 2.0], "x": [3.0, 4.0], "*": [5.0, 6.0], "": [7.0, 8.0], "^y.*$": [9.0, 9.5]}
    table = stream.open(pl.LazyFrame(columns))
    expected = {name or "column_4": values for name, values in columns.items()}
    assert rows_of(pl.LazyFrame(columns)).to_pydict() == expected
    for name, values in expected.items():
        fitted = table.fit(IsolationForest(**PARAMS), features=[name])
        rows = pd.DataFrame({name: values})
        assert_array_equal(table.score(fitted).read_all()["score"], fitted.decision_function(rows))
        assert fitted.to_bytes() == IsolationForest(**PARAMS).fit(rows).to_bytes()


def test_names_of_wide_integers_are_no_patterns():
    wide = pl.Series("^x$", [2**70, 1], dtype=pl.Int128)
    forest = stream.open(pl.DataFrame([wide, pl.Series("x", [3.0, 4.0])])).fit(IsolationForest(**PARAMS))
    rows = pd.DataFrame({"^x$": [2.0**70, 1.0], "x": [3.0, 4.0]})
    assert forest.to_bytes() == IsolationForest(**PARAMS).fit(rows).to_bytes()


def test_rows_that_change_their_order_between_passes_are_noticed(small, forest):
    flips = [0]

    def flip(frame):
        flips[0] += 1
        return frame.reverse() if flips[0] > 2 else frame

    lazy = pl.from_pandas(small).lazy().map_batches(flip, schema=pl.from_pandas(small).schema)
    table = stream.open(lazy)
    message = r"the polars LazyFrame changed while it was read: the column '.*' has other values, or its rows are in"
    with pytest.raises(ValueError, match=message) as caught:
        [table.score(forest).read_all() for _ in range(3)]
    assert "maintain_order=True" in str(caught.value)
    grouped = pl.from_pandas(small).lazy().group_by("y", maintain_order=True).agg(pl.col("x").sum())
    assert stream.open(grouped).fit(IsolationForest(**PARAMS)).n_features_in_ == 2


@pytest.mark.parametrize("dtype", ["date", "time", "duration"])
def test_times_that_change_between_passes_are_noticed(dtype):
    numbers = pl.Series("t", range(5), dtype=pl.Int64)
    times = numbers.cast({"date": pl.Date, "time": pl.Time, "duration": pl.Duration("us")}[dtype])
    n_passes = [0]

    def flip(series):
        n_passes[0] += 1
        return series.reverse() if n_passes[0] > 1 else series

    flipped = pl.col("t").map_batches(flip, return_dtype=times.dtype)
    table = stream.open(pl.DataFrame([times, pl.Series("x", [1.0] * 5)]).lazy().with_columns(flipped))
    table._engine(lambda *_: None)
    first = pa.Table.from_batches(table._source.batches(["t"]))
    assert first["t"].to_pylist() == times.to_list()
    with pytest.raises(ValueError, match="the column 't' has other values, or its rows are in another order"):
        list(table._source.batches(["t"]))


def test_a_relation_over_a_table_that_changes_is_noticed(small, forest):
    connection = duckdb.connect()
    connection.execute("CREATE TABLE days AS SELECT * FROM small")
    table = stream.open(connection.table("days"))
    assert_array_equal(table.score(forest).read_all()["score"], forest.decision_function(small[["x", "y"]]))
    connection.execute("UPDATE days SET x = 0 WHERE row = 7")
    with pytest.raises(ValueError, match="changed while it was read: the column 'x' has other values"):
        table.score(forest).read_all()
    connection.execute("DELETE FROM days WHERE row = 7")
    with pytest.raises(ValueError, match="changed while it was read: it has 299 rows now, but had 300 before"):
        table.score(forest).read_all()
    connection.close()
    with pytest.raises(ValueError, match=r"gave no further stream of its rows: .*[Cc]onnection.* closed") as caught:
        table.score(forest).read_all()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", SOURCES, ids=lambda make: make.__name__)
def test_a_table_without_rows(make, small, forest, tmp_path):
    table = stream.open(make(small[:0], tmp_path / "t", 2))
    assert table.write_scores(forest, tmp_path / "scores.parquet") == 0
    with pytest.raises(ValueError, match=r"0 sample|no rows"):
        table.fit(features=["x"])


def test_a_table_that_was_only_created(forest, tmp_path):
    schema = pa.schema([("x", pa.float64()), ("y", pa.int64()), ("day", pa.date32())])
    deltalake.DeltaTable.create(str(tmp_path / "t"), schema=schema, partition_by=["day"])
    iceberg = iceberg_catalog(tmp_path).create_table("lake.t", schema=schema)
    for number, source in enumerate((tmp_path / "t", iceberg)):
        assert rows_of(source).equals(schema.empty_table())
        assert stream.open(source).write_scores(forest, tmp_path / f"{number}.parquet") == 0


@pytest.mark.parametrize("make", [delta_table, iceberg_of_files, lazy_of_files], ids=lambda make: make.__name__)
def test_a_pinned_table_can_be_sent_to_another_process(make, small, tmp_path):
    table = stream.open(make(small, tmp_path / "t", 3))
    table._engine(lambda *_: None)
    copy = pickle.loads(pickle.dumps(table._source))
    assert copy.table().equals(table._source.table())
    assert copy.fingerprint() == table._source.fingerprint()


# The command, and packages that are not installed


def test_the_command_reads_a_table_of_a_lake(small, forest, tmp_path, capsys):
    folder = delta_of_files(small, tmp_path / "t", 2)
    deltalake.DeltaTable(str(folder)).delete("y = 3")
    forest.save(tmp_path / "forest")
    options = ["score", str(tmp_path / "forest"), str(folder), "--keep", "row", "--out", str(tmp_path / "s.parquet")]
    assert main(options) == 0
    assert "the rows are those of version 1 of the Delta table" in capsys.readouterr().err
    scores = pd.read_parquet(tmp_path / "s.parquet").sort_values("row")
    assert_array_equal(scores["score"], forest.decision_function(small.loc[small["y"] != 3, ["x", "y"]]))
    options[2] = str(next(folder.glob("*.parquet")))
    assert main(options) == 1
    message = capsys.readouterr().err
    assert "belongs to the Delta table" in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(("package", "version"), [("deltalake", "Delta"), ("pyiceberg", "Iceberg")])
def test_a_missing_package_is_named_with_its_extra(package, version, small, tmp_path, monkeypatch):
    if package == "deltalake":
        location = delta_of_files(small, tmp_path / "t", 1)
    else:
        location = iceberg_of_files(small, tmp_path, 1).metadata_location.removeprefix("file://")
    for name in [name for name in sys.modules if name.split(".")[0] == package] + [package, "pyiceberg.table"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        ImportError, match=rf"{location} is .* {version} table, which needs {package}: pip install 'iso"
    ):
        stream.open(location)


def test_a_moved_delta_table_is_the_same_table(small, forest, tmp_path):
    folder = delta_of_files(small, tmp_path / "t", 3)
    shutil.move(folder, tmp_path / "with space é%")
    assert stream.open(tmp_path / "with space é%").write_scores(forest, tmp_path / "scores.parquet") == 300
