"""Test that tables read in batches (files, folders, datasets, streams) have the same results as in memory."""

import os
import sys
import threading

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_array_equal

from isoxide import IsolationForest, rank_features, stream, ueba
from isoxide._frames import Source, open_source
from new_process import run_in_new_process
from partition_findings import NAMES, actor_days, assert_same_findings
from partition_tables import frame_of, in_memory
from stream_files import write_parts

pytestmark = [
    pytest.mark.not_parallel(reason="readers have threads of their own"),
    pytest.mark.current_versions(reason="quantiles of pandas 2.2 have other last bits"),
]

N = 5000


@pytest.fixture(scope="module")
def frame(seed):
    return frame_of(np.random.default_rng(seed), N)


@pytest.fixture
def folder(frame, tmp_path):
    return write_parts(frame, tmp_path / "table", 4)


PARAMETERS = {"n_estimators": 20, "contamination": 0.03}


@pytest.fixture(scope="module")
def features(frame):
    return [name for name in frame if name != "group"]


@pytest.fixture(scope="module")
def expected(frame, features, seed):
    return IsolationForest(random_state=seed % 2**32, **PARAMETERS).fit(in_memory(frame)[features])


def reader_of(frame):
    table = pa.Table.from_pandas(frame, preserve_index=False)
    return pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=700))


SOURCES = {
    "one file": lambda frame, path: write_parts(frame, path / "a", 1) / "000.parquet",
    "a folder": lambda frame, path: write_parts(frame, path / "b", 7),
    "many files": lambda frame, path: sorted(write_parts(frame, path / "c", 64).iterdir()),
    "a folder as text": lambda frame, path: str(write_parts(frame, path / "d", 2)),
    "a dataset": lambda frame, path: pa.dataset.dataset(write_parts(frame, path / "e", 5)),
    "a table": lambda frame, path: pa.Table.from_pandas(frame),
    "a frame": lambda frame, path: frame,
}


@pytest.fixture(scope="module", params=SOURCES)
def source(request, frame, tmp_path_factory):
    return SOURCES[request.param](frame, tmp_path_factory.mktemp("source"))


@pytest.mark.parametrize("batch_rows", [None, 333])
def test_a_fitted_forest_equals_that_of_memory(source, features, expected, batch_rows):
    params = IsolationForest(random_state=expected.random_state, **PARAMETERS)
    forest = stream.open(source, batch_rows=batch_rows).fit(params, features=features)
    assert forest.to_bytes() == expected.to_bytes()


def test_the_offset_and_ranks_equal_those_of_memory(source, frame, features, expected):
    table = stream.open(source, batch_rows=333)
    offset = table.offset(expected, 0.25)
    assert offset == np.percentile(expected.score_samples(in_memory(frame)[features]), 25)
    rows = frame.iloc[:20]
    options = {"features": features, "nan_policy": "omit", "tail": "both", "groups": "group"}
    ranks = table.rank_features(rows, **options)
    assert_array_equal(ranks.percentiles, rank_features(rows, frame, **options).percentiles)


@pytest.mark.parametrize("one_file", [True, False])
def test_scores_are_written_with_the_requested_columns(source, frame, features, expected, tmp_path, one_file):
    out = tmp_path / ("scores.parquet" if one_file else "scores")
    table = stream.open(source, batch_rows=333)
    assert table.write_scores(expected, out, keep=["group", "normal"], rows_per_file=999) == N
    written = pd.read_parquet(out)
    scores = expected.decision_function(in_memory(frame)[features])
    assert_array_equal(written["score"], scores)
    assert_array_equal(written["anomaly"], scores < 0)
    assert written["group"].tolist() == frame["group"].tolist()
    assert_array_equal(written["normal"], frame["normal"])
    names = {path.name for path in tmp_path.rglob("*")}
    parts = {f"part-{k:05}.parquet" for k in range(6)}
    assert names == ({"scores.parquet"} if one_file else {"scores", "_SUCCESS", "_isoxide.json", *parts})


@pytest.mark.slow
def test_findings_equal_those_of_memory(seed, tmp_path):
    frame = actor_days(seed)
    expected = ueba.detect(ueba.read_table(frame, **NAMES), contamination=0.02, groups="group")
    folder = write_parts(frame, tmp_path / "folder", 5)
    findings = stream.open(folder, batch_rows=100).detect(**NAMES, contamination=0.02, groups="group")
    assert_same_findings(findings, expected)
    assert findings.manifest["scores_sha256"] == expected.manifest["scores_sha256"]
    assert findings.manifest["source"] == str(folder)
    table = ueba.read_table(folder, **NAMES)
    assert (table.source, len(table.checksum)) == (str(folder), 64)
    assert_same_findings(findings, ueba.detect(table, contamination=0.02, groups="group"))


@pytest.mark.slow
def test_names_of_folders_give_values_of_a_column(seed, tmp_path):
    frame = actor_days(seed, duplicates=0).sort_values("day", kind="stable", ignore_index=True)
    for day, rows in frame.groupby("day"):
        write_parts(rows.drop(columns="day"), tmp_path / "lake" / f"day={day}", 2)
    (tmp_path / "lake" / "_temporary").mkdir()
    (tmp_path / "lake" / "_temporary" / "0.parquet").write_text("no Parquet at all")
    assert open_source(tmp_path / "lake").schema.field("day").type == pa.string()
    findings = stream.open(tmp_path / "lake").detect(**NAMES, contamination=0.02)
    columns = [name for name in frame if name != "day"]
    expected = ueba.detect(ueba.read_table(frame[[*columns, "day"]], **NAMES), contamination=0.02)
    assert_same_findings(findings, expected)
    for year in (2024, 2025):
        write_parts(frame.drop(columns="day"), tmp_path / "years" / f"year={year}", 1)
    assert open_source(tmp_path / "years").schema.field("year").type == pa.int64()


def change_third_file(folder, change):
    path = sorted(folder.iterdir())[2]
    table = change(pq.read_table(path))
    pq.write_table(table, path)
    return path


def test_a_missing_column_is_refused_by_file_and_column(folder, features):
    path = change_third_file(folder, lambda table: table.drop_columns(["small"]))
    with pytest.raises(ValueError, match=f"{path} has no column 'small', but .*000.parquet has one"):
        stream.open(folder).fit(features=features)


def test_a_different_type_is_refused_by_file_and_column(folder, features):
    def as_text(table):
        index = table.column_names.index("normal")
        return table.set_column(index, "normal", table["normal"].cast(pa.string()))

    path = change_third_file(folder, as_text)
    with pytest.raises(ValueError, match=f"column 'normal' is double in .*000.parquet and string in {path}"):
        stream.open(folder).fit(features=features)


def test_files_may_have_their_columns_in_any_order(folder, features, expected):
    change_third_file(folder, lambda table: table.select(table.column_names[::-1]))
    forest = IsolationForest(random_state=expected.random_state, **PARAMETERS)
    assert stream.open(folder).fit(forest, features=features).to_bytes() == expected.to_bytes()


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_truncated_file_is_named(folder, features, share):
    path = sorted(folder.iterdir())[1]
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ValueError, match=f"{path} (cannot be read as Parquet; it may be truncated|is empty)"):
        stream.open(folder).fit(features=features)


def test_damaged_pages_are_reported(folder, features):
    path = max(folder.iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(path.read_bytes())
    data[4 : len(data) // 2] = bytes(len(data) // 2 - 4)
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=f"{path} cannot be read as Parquet"):
        stream.open(folder).fit(features=features)


def rewrite(path, change):
    """Change the bytes of a file, but neither its size nor its modification time."""
    state, data = path.stat(), bytearray(path.read_bytes())
    change(data)
    path.write_bytes(bytes(data))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize("kind", ["file", "folder", "dataset", "memory"])
def test_flipped_bits_are_noticed_if_pages_have_checksums(tmp_path, seed, kind):
    x = np.random.default_rng(seed).normal(size=4000)
    path = tmp_path / "checked.parquet"
    pq.write_table(pa.table({"x": x}), path, write_page_checksum=True, use_dictionary=False, compression="none")

    def flip(data):
        data[data.index(x[2000].tobytes())] ^= 1

    rewrite(path, flip)
    make = {
        "file": lambda: stream.open(path).fit(),
        "folder": lambda: stream.open(tmp_path).fit(),
        "dataset": lambda: stream.open(pa.dataset.dataset(path)).fit(),
        "memory": lambda: ueba.read_table(path, entity="x", time="x"),
    }
    if kind == "memory":
        rows = pa.table({"actor": ["a"] * 4000, "day": ["2025-01-01"] * 4000, "x": x})
        pq.write_table(rows, path, write_page_checksum=True, use_dictionary=False, compression="none")
        rewrite(path, flip)
        make["memory"] = lambda: ueba.read_table(path, entity="actor", time="day")
    with pytest.raises(ValueError, match=r"checksum|page integrity"):
        make[kind]()


def test_a_table_says_whether_its_pages_have_checksums(tmp_path, seed, caplog):
    x = pa.table({"x": np.random.default_rng(seed).normal(size=300), "text": ["a"] * 300})
    for name, options in {
        "plain": {},
        "dictionary": {"data_page_version": "2.0"},
        "no dictionary": {"use_dictionary": False, "compression": "zstd"},
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        pq.write_table(x, folder / "1.parquet", write_page_checksum=True, **options)
        assert stream.open(folder / "1.parquet").page_checksums == "all"
        pq.write_table(x.slice(0, 0), folder / "2.parquet", **options)
        table = stream.open(folder)
        with caplog.at_level("INFO", logger="isoxide.stream"):
            table.fit(features=["x"])
        assert table.page_checksums == "all"
        assert not caplog.records
        pq.write_table(x, folder / "3.parquet", **options)
        table = stream.open(folder)
        assert table.page_checksums == "some"
        with caplog.at_level("INFO", logger="isoxide.stream"):
            table.fit(features=["x"])
            table.fit(features=["x"])
        assert [record.getMessage() for record in caplog.records] == [
            f"{folder}: some of the Parquet files have no page checksums, so damaged values would go unnoticed"
        ]
        caplog.clear()
        assert stream.open(folder / "3.parquet").page_checksums == "none"
    assert stream.open(x).page_checksums is None


def test_a_file_that_changes_between_passes_is_reported(folder, features):
    source = open_source(folder)
    path = sorted(folder.iterdir())[1]
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(ValueError, match=f"{path} changed while it was read"):
        stream.open(source).fit(features=features)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"there is no file {path}"):
        stream.open(source).fit(features=features)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("nothing/there.parquet", FileNotFoundError, "there is no file nothing/there.parquet"),
        (3, TypeError, "source must be a path, a list of paths, .* not int"),
        ([], TypeError, "source is an empty list, or holds something other than paths"),
        (["a", 3], TypeError, "source is an empty list, or holds something other than paths"),
        (pa.chunked_array([[1.0]]), TypeError, "not ChunkedArray"),
        (pa.table([[1.0], [2.0]], names=["a", "a"]), ValueError, "several columns named 'a'"),
        (pa.table({"text": ["x"]}), ValueError, "none of its columns holds numbers"),
    ],
)
def test_objects_that_are_no_tables_are_refused(source, error, message):
    with pytest.raises(error, match=message):
        stream.open(source).fit()


def test_wrong_arguments_are_refused(tmp_path, folder, expected):
    with pytest.raises(FileNotFoundError, match="has no files that can be read"):
        stream.open(_empty(tmp_path))
    with pytest.raises(ValueError, match="batch_rows must be at least 1, got 0"):
        stream.open(folder, batch_rows=0)
    with pytest.raises(ValueError, match="rows_per_file must be at least 1"):
        stream.open(folder).write_scores(expected, tmp_path / "out", rows_per_file=0)
    with pytest.raises(ValueError, match=r"has no column 'nobody' \(keep\)"):
        stream.open(folder).write_scores(expected, tmp_path / "out", keep=["nobody"])
    with pytest.raises(ValueError, match="give a folder with resume=True"):
        stream.open(folder).write_scores(expected, tmp_path / "out.parquet", resume=True)
    with pytest.raises(ValueError, match="is not fitted"):
        stream.open(folder).write_scores(IsolationForest(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.parquet").exists()


def _empty(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "note.txt").write_text("nothing")
    return tmp_path / "empty"


def test_scores_are_read_as_arrow_batches(frame, features, expected, tmp_path):
    table = stream.open(frame, batch_rows=333)
    reader = table.score(expected, score="s", anomaly="a")
    assert reader.schema.names == [*frame, "s", "a"]
    first = reader.read_next_batch()
    assert first.num_rows == 333
    scored = pa.Table.from_batches([first, *reader])
    scores = expected.decision_function(in_memory(frame)[features])
    assert_array_equal(scored["s"], scores)
    assert_array_equal(scored["a"], scores < 0)
    assert scored["group"].to_pylist() == frame["group"].tolist()
    with pytest.raises(ValueError, match="the frame already has a column 'group'"):
        table.score(expected, score="group")
    with pytest.raises(ValueError, match="score and anomaly are both 'x'"):
        table.score(expected, score="x", anomaly="x")
    with pytest.raises(ValueError, match="is not fitted"):
        table.score(IsolationForest())
    with pytest.raises(BrokenError):
        stream.open(broken_source(frame, 2000)).score(expected).read_all()
    # A reader that is not read to its end leaves no thread.
    before = threading.active_count()
    reader = table.score(expected)
    reader.read_next_batch()
    assert threading.active_count() == before + 1
    del reader
    assert threading.active_count() == before


def test_a_reader_is_not_read_by_two_methods(frame, expected, tmp_path):
    table = stream.open(reader_of(frame))
    assert table.write_scores(expected, tmp_path / "out.parquet") == N
    with pytest.raises(ValueError, match="can be read only once"):
        table.rank_features(frame.iloc[:3], features=["normal"])


def test_standard_input_and_open_files_are_read_by_several_methods(frame, features, tmp_path, monkeypatch):
    path = write_parts(frame, tmp_path / "table", 1) / "000.parquet"
    expected = IsolationForest(random_state=0).fit(in_memory(frame)[features])
    with path.open("rb") as file, path.open("rb") as standard_input:
        monkeypatch.setattr(sys, "stdin", standard_input)
        tables = [stream.open("-"), stream.open(file)]
    for table in tables:
        for _ in range(2):
            assert table.fit(features=features).to_bytes() == expected.to_bytes()
        assert table.offset(expected, 0.3) == np.percentile(expected.score_samples(in_memory(frame)[features]), 30)


def test_a_reader_is_scored_but_not_fitted(frame, features, expected, tmp_path):
    with pytest.raises(ValueError, match="can be read only once"):
        stream.open(reader_of(frame)).fit(features=features)
    assert stream.open(reader_of(frame)).write_scores(expected, tmp_path / "out.parquet") == N
    scores = pd.read_parquet(tmp_path / "out.parquet")["score"]
    assert_array_equal(scores, expected.decision_function(in_memory(frame)[features]))


class BrokenError(Exception):
    """Raised by a source after some of its rows."""


def broken_source(frame, after):
    """Return a source that raises `BrokenError` after so many rows."""
    source = open_source(frame)
    read = source.read

    def read_and_break(columns, first_row):
        n = first_row
        for batch in read(columns, first_row):
            for start in range(0, batch.num_rows, 100):
                if n >= after:
                    raise BrokenError
                yield batch.slice(start, 100)
                n += 100

    source.read = read_and_break
    return source


@pytest.mark.parametrize("after", [0, 150, 2500, 4900])
def test_resume_continues_after_the_last_complete_file(frame, features, expected, tmp_path, after):
    out = tmp_path / "out"
    options = {"keep": ["group"], "rows_per_file": 700}
    with pytest.raises(BrokenError):
        stream.open(broken_source(frame, after)).write_scores(expected, out, **options)
    written = sorted(path.name for path in out.glob("part-*"))
    assert written == [f"part-{k:05}.parquet" for k in range(after // 700)]
    assert not (out / "_SUCCESS").exists()
    assert not [path for path in out.iterdir() if path.name.startswith(".isoxide-")]
    times = {name: (out / name).stat().st_mtime_ns for name in written}
    with pytest.raises(FileExistsError, match="continue it with resume=True"):
        stream.open(frame).write_scores(expected, out, **options)
    assert stream.open(frame).write_scores(expected, out, resume=True, **options) == N
    assert {name: (out / name).stat().st_mtime_ns for name in written} == times
    scores = pd.read_parquet(out)["score"]
    assert_array_equal(scores, expected.decision_function(in_memory(frame)[features]))
    # A complete folder does not change; a damaged file is written anew.
    assert stream.open(frame).write_scores(expected, out, resume=True, **options) == N
    (out / "part-00003.parquet").write_bytes(b"damaged")
    (out / "_SUCCESS").unlink()
    assert stream.open(frame).write_scores(expected, out, resume=True, **options) == N
    assert_array_equal(pd.read_parquet(out)["score"], scores)


def test_resume_refuses_another_forest_source_or_option(frame, folder, expected, tmp_path):
    out = tmp_path / "out"
    stream.open(folder).write_scores(expected, out, rows_per_file=999)
    other = IsolationForest(random_state=1, n_estimators=2).fit(in_memory(frame)[expected.feature_names_in_])
    for message, forest, source, options in (
        ("forest", other, folder, {}),
        ("rows_per_file", expected, folder, {"rows_per_file": 500}),
        ("columns", expected, folder, {"keep": ["group"]}),
        ("source", expected, frame, {}),
    ):
        with pytest.raises(ValueError, match=f"have a different {message}"):
            stream.open(source).write_scores(forest, out, resume=True, **{"rows_per_file": 999, **options})
    (out / "_isoxide.json").write_text("{}")
    with pytest.raises(ValueError, match="have a different format"):
        stream.open(folder).write_scores(expected, out, resume=True, rows_per_file=999)
    (out / "_isoxide.json").unlink()
    with pytest.raises(ValueError, match=r"has no _isoxide\.json"):
        stream.open(folder).write_scores(expected, out, resume=True, rows_per_file=999)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError, match="is a file"):
        stream.open(folder).write_scores(expected, tmp_path / "file")


@pytest.mark.parametrize("kind", ["parquet", "csv", "feather", "jsonl", "dataset", "folder", "pandas", "arrow"])
def test_resume_refuses_a_table_with_other_values_of_the_same_size(tmp_path, seed, kind):
    r = np.random.default_rng(seed)
    frames = [pd.DataFrame({"x": r.integers(1000, 9999, 500), "y": r.integers(1000, 9999, 500)}) for _ in range(2)]
    forest = IsolationForest(n_estimators=5, random_state=0).fit(frames[0])
    path = tmp_path / ("table" if kind == "folder" else f"table.{kind}")

    def source(frame):
        if kind == "pandas":
            return frame
        if kind == "arrow":
            return pa.Table.from_pandas(frame)
        if kind == "folder":
            path.mkdir(exist_ok=True)
            frame.to_parquet(path / "1.parquet", compression=None, use_dictionary=False)
        elif kind == "csv":
            frame.to_csv(path, index=False)
        elif kind == "feather":
            frame.to_feather(path, compression="uncompressed")
        elif kind == "jsonl":
            frame.to_json(path, orient="records", lines=True)
        else:
            frame.to_parquet(path, compression=None, use_dictionary=False)
        return pa.dataset.dataset(path) if kind == "dataset" else path

    out = tmp_path / "scores"
    before = source(frames[0])
    size = os.path.getsize(before) if kind in ("parquet", "csv", "feather", "jsonl") else None
    options = {"rows_per_file": 200, "resume": True}
    assert stream.open(before).write_scores(forest, out, **options) == 500
    (out / "_SUCCESS").unlink()
    (out / "part-00002.parquet").unlink()
    # The same table is scored to its end, also when it is opened again.
    assert stream.open(before).write_scores(forest, out, **options) == 500
    after = source(frames[1])
    assert size is None or os.path.getsize(after) == size
    with pytest.raises(ValueError, match="have a different source"):
        stream.open(after).write_scores(forest, out, **options)


def test_an_existing_file_stays_if_scoring_fails(frame, expected, tmp_path):
    out = tmp_path / "out.parquet"
    out.write_text("old")
    with pytest.raises(BrokenError):
        stream.open(broken_source(frame, 2000)).write_scores(expected, out)
    assert out.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]


def test_no_thread_is_left(frame, features):
    before = threading.active_count()
    for after in (0, 1000, 4000):
        with pytest.raises(BrokenError):
            stream.open(broken_source(frame, after)).fit(features=features)
    stream.open(frame).fit(features=features)
    assert threading.active_count() == before


def test_a_table_without_rows_gives_scores_without_rows(frame, expected, tmp_path):
    out = tmp_path / "out"
    assert stream.open(frame.iloc[:0]).write_scores(expected, out, keep=["group"]) == 0
    assert pd.read_parquet(out).columns.tolist() == ["group", "score", "anomaly"]


def test_progress_is_shown_only_on_request(frame, features, capsys):
    stream.open(frame, progress=True).fit(features=features)
    assert "rows" in capsys.readouterr().err
    stream.open(frame).fit(features=features)
    assert capsys.readouterr().err == ""


def test_progress_needs_tqdm(frame, features, monkeypatch):
    for name in [*sys.modules]:
        if name.startswith("tqdm"):
            monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match="needs tqdm"):
        stream.open(frame, progress=True).fit(features=features)
    assert stream.open(frame).fit(features=features).n_features_in_ == len(features)


def interrupt_while_scoring(folder, out, seed):
    """Interrupt scoring, check that only complete files were written, and resume."""
    import pathlib
    import signal

    class StopError(Exception):
        pass

    def stop(*_):
        raise StopError

    forest = stream.open(folder).fit(IsolationForest(n_estimators=400, random_state=seed))
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.25)
    try:
        stream.open(folder, batch_rows=1000).write_scores(forest, out, rows_per_file=50_000)
    except StopError:
        print("stopped")
    names = sorted(path.name for path in pathlib.Path(out).iterdir())
    assert "_SUCCESS" not in names, "it was too fast for the signal"
    assert all(pq.read_metadata(f"{out}/{name}").num_rows == 50_000 for name in names if name.startswith("part")), names
    assert not [name for name in names if name.endswith("tmp")], names
    assert stream.open(folder).write_scores(forest, out, rows_per_file=50_000, resume=True) == 1_000_000
    scores = pq.read_table(out, columns=["score"])["score"].to_numpy()
    assert_array_equal(scores, forest.decision_function(pd.read_parquet(folder)))


@pytest.mark.slow
def test_an_interrupt_leaves_only_complete_files(seed, tmp_path):
    r = np.random.default_rng(seed)
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(4):
        columns = {f"f{j}": r.normal(size=250_000) for j in range(8)}
        pq.write_table(pa.table(columns), folder / f"{number}.parquet")
    ended = run_in_new_process(interrupt_while_scoring, str(folder), str(tmp_path / "out"), seed % 2**32)
    assert (ended.code, ended.out) == (0, "stopped\n"), ended.err


def print_peak_of_memory(folder, out):
    """Print the memory that fitting and scoring take in addition to that of the imported packages, in MiB."""
    import pathlib

    def peak():
        status = pathlib.Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1024

    forest = stream.open(pa.table({f"f{j}": np.zeros(300) for j in range(10)})).fit()
    stream.open(pa.table({f"f{j}": np.zeros(300) for j in range(10)})).write_scores(forest, f"{out}.parquet")
    before = peak()
    table = stream.open(folder, progress=False)
    forest = table.fit(IsolationForest(random_state=0, contamination=0.2, n_jobs=2))
    table.write_scores(forest, out)
    print(round(peak() - before))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="this system has no /proc/self/status")
def test_memory_does_not_grow_with_the_table(tmp_path):
    r = np.random.default_rng(0)
    peaks = []
    for n_files in (2, 12):
        folder = tmp_path / str(n_files)
        folder.mkdir()
        for number in range(n_files):
            columns = {f"f{j}": r.normal(size=500_000) for j in range(10)}
            pq.write_table(pa.table(columns), folder / f"{number:02}.parquet", use_dictionary=False)
        ended = run_in_new_process(print_peak_of_memory, str(folder), str(tmp_path / f"out{n_files}"))
        assert ended.code == 0, ended.err
        peaks.append(int(ended.out))
    # The second table is 400 MB larger.
    assert peaks[1] < 300
    assert peaks[1] - peaks[0] < 80


def thirty_days(seed):
    """Return a row for each of 30 actors on 30 days, which are text."""
    r = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "actor": [f"u{i % 30}" for i in range(900)],
            "day": np.repeat(pd.date_range("2025-01-01", periods=30).strftime("%Y-%m-%d"), 30),
            "x": r.poisson(3, 900),
            "y": r.normal(size=900),
        }
    )


def record_reads(monkeypatch):
    """Return a list to which each pass over a source adds the columns that it reads."""
    read, batches = [], Source.batches

    def count_and_read(source, columns, first_row=0):
        read.append(list(columns))
        return batches(source, read[-1], first_row)

    monkeypatch.setattr(Source, "batches", count_and_read)
    return read


READS = [
    ("contamination", lambda f: f, {"contamination": 0.02}, 3),
    ("nothing", lambda f: f, {}, 3),
    ("threshold", lambda f: f, {"threshold": -0.05}, 3),
    ("anomaly threshold", lambda f: f, {"anomaly_threshold": 0.6}, 3),
    ("top", lambda f: f, {"top": 9}, 3),
    ("alerts", lambda f: f, {"alerts_per_month": 9}, 3),
    ("no explanation", lambda f: f, {"explain": False}, 3),
    ("groups", lambda f: f, {"contamination": 0.02, "groups": "actor"}, 3),
    ("small groups", lambda f: f, {"contamination": 0.02, "groups": "actor", "min_group": 500}, 4),
    ("size", lambda f: f.assign(x=f["x"] * 5 + 1), {"contamination": 0.02, "groups": "size", "min_group": 100}, 4),
    ("fitted forest", lambda f: f, {"forest": True}, 3),
    ("times", lambda f: f.assign(day=pd.to_datetime(f["day"])), {"contamination": 0.02}, 3),
    ("zones", lambda f: f.assign(day=f["day"].where(f.index % 2 == 0, f["day"] + "T01:00:00Z")), {"top": 9}, 4),
    ("shared keys", lambda f: pd.concat([f, f.iloc[:3].assign(x=50)]), {"contamination": 0.02}, 4),
    ("duplicates", lambda f: pd.concat([f, f.iloc[:3]]), {"contamination": 0.02}, 5),
    ("empty column", lambda f: f.assign(empty=np.nan), {"contamination": 0.02}, 3),
]


@pytest.mark.parametrize(
    ("change", "options", "n_reads"), [case[1:] for case in READS], ids=[case[0] for case in READS]
)
def test_detect_reads_the_table_as_often_as_documented(tmp_path, seed, monkeypatch, change, options, n_reads):
    frame = thirty_days(seed)
    change(frame).to_parquet(tmp_path / "t.parquet", index=False)
    forest = IsolationForest(contamination=0.02, random_state=0, max_features=0.5)
    if "forest" in options:
        options = {"forest": forest.fit(frame[["x", "y"]]) if options["forest"] else forest}
    read = record_reads(monkeypatch)
    scored = []
    score = IsolationForest._score
    monkeypatch.setattr(IsolationForest, "_score", lambda *given: scored.append(given[2].n_samples) or score(*given))
    stream.open(tmp_path / "t.parquet", batch_rows=400).detect(entity="actor", time="day", **options)
    assert len(read) == n_reads
    # Each row is scored once.
    assert sum(scored) == len(change(frame))
    documented = " ".join(stream.StreamTable.detect.__doc__.split())
    assert (
        "The table is read three times: for its profile and the rows that trees draw, for the scores, and" in documented
    )


def test_anomalies_that_are_too_many_to_keep_take_one_more_read(tmp_path, seed, monkeypatch):
    thirty_days(seed).to_parquet(tmp_path / "t.parquet", index=False)
    table = stream.open(tmp_path / "t.parquet", batch_rows=100)
    for options in ({"contamination": 0.05}, {"threshold": -0.02}, {}):
        expected = table.detect(entity="actor", time="day", **options)
        assert len(expected) > 5
        with monkeypatch.context() as patched:
            patched.setattr("isoxide._partitioned.detect.MAX_KEPT_CELLS", 20)
            read = record_reads(patched)
            assert_same_findings(table.detect(entity="actor", time="day", **options), expected)
            assert len(read) == 4


def test_columns_that_may_not_have_nulls_are_read_like_others(seed):
    table = pa.Table.from_pandas(thirty_days(seed), preserve_index=False)
    table = pa.concat_tables([table, table.slice(7, 2)])
    schema = pa.schema(
        [pa.field(field.name, field.type, nullable=False, metadata={"a": "b"}) for field in table.schema]
    )
    expected = stream.open(table).detect(**NAMES, contamination=0.02)
    assert_same_findings(stream.open(table.cast(schema)).detect(**NAMES, contamination=0.02), expected)


@pytest.mark.parametrize("max_coded", [2**18, 20, 0])
def test_first_days_and_keys_are_the_same_with_and_without_codes_of_entities(tmp_path, seed, monkeypatch, max_coded):
    frame = thirty_days(seed)
    frame.loc[frame.index % 50 == 7, "actor"] = None
    frame = pd.concat([frame, frame.iloc[:5]]).sample(frac=1, random_state=seed % 2**31)
    frame.to_parquet(tmp_path / "t.parquet", index=False)
    expected = ueba.detect(ueba.read_table(tmp_path / "t.parquet", **NAMES), contamination=0.05)
    monkeypatch.setattr("isoxide._frames.entities.MAX_CODED", max_coded)
    actual = stream.open(tmp_path / "t.parquet", batch_rows=70).detect(**NAMES, contamination=0.05)
    assert_same_findings(actual, expected)


@pytest.mark.parametrize(
    ("change", "options"),
    [
        (lambda f: f, {"threshold": 0.7}),
        (lambda f: f, {"contamination": 0.02}),
        (lambda f: f, {"alerts_per_month": 5}),
        (lambda f: f, {"threshold": 0.7, "groups": "actor"}),
        (lambda f: f.assign(day=pd.to_datetime(f["day"])), {"threshold": 0.7}),
    ],
    ids=["threshold", "contamination", "alerts", "groups", "times"],
)
def test_fit_model_reads_the_table_as_often_as_documented(tmp_path, seed, monkeypatch, change, options):
    change(thirty_days(seed)).to_parquet(tmp_path / "t.parquet", index=False)
    read = record_reads(monkeypatch)
    stream.open(tmp_path / "t.parquet").fit_model(entity="actor", time="day", **options)
    assert len(read) == 3
    documented = " ".join(stream.StreamTable.fit_model.__doc__.split())
    assert (
        "The table is read three times: for its profile and the rows that trees draw, for the keys (and" in documented
    )
