"""Test locations in stores: URLs, file systems, and files that are complete or absent."""

import os
import pathlib
import pickle

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from numpy.testing import assert_array_equal

from isoxide import IsolationForest, stream, ueba
from isoxide._common.files import FileSet, replace_file
from isoxide._common.stores import Location, error_line, located, store_error, without_secrets

pytestmark = [
    pytest.mark.not_parallel(reason="one memory for all"),
    pytest.mark.current_versions(reason="fsspec is not installed with the oldest versions"),
]

X = ["x", "y"]


@pytest.fixture
def memory():
    """Return fsspec's file system in memory, empty before and after."""
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    yield filesystem
    filesystem.store.clear()


@pytest.fixture(scope="module")
def frame(seed):
    r = np.random.default_rng(seed)
    return pd.DataFrame({"actor": [f"u{i % 9}" for i in range(600)], "x": r.poisson(3, 600), "y": r.normal(size=600)})


@pytest.fixture(scope="module")
def forest(frame):
    return IsolationForest(n_estimators=10, random_state=0).fit(frame[X])


def fill(memory, frame, form):
    """Write a table as three files in folders with names such as region=1."""
    for number, rows in enumerate(np.array_split(np.arange(len(frame)), 3)):
        with memory.open(f"/lake/{form}/region={number}/{number}.{form}", "wb") as file:
            if form == "parquet":
                frame.iloc[rows].to_parquet(file, index=False)
            else:
                compression = "gzip" if form == "csv.gz" else None
                frame.iloc[rows].to_csv(file, index=False, compression=compression)


@pytest.mark.parametrize("form", ["parquet", "csv", "csv.gz"])
def test_tables_of_a_store_equal_those_in_memory(memory, frame, forest, form):
    fill(memory, frame, form)
    arrow = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(memory))
    urls = [f"memory://lake/{form}/region={k}/{k}.{form}" for k in range(3)]
    for source, options in (
        (f"memory://lake/{form}", {}),
        (f"/lake/{form}", {"filesystem": memory}),
        (f"memory://lake/{form}", {"filesystem": memory}),
        (f"/lake/{form}", {"filesystem": arrow}),
        (urls, {}),
    ):
        table = stream.open(source, **options)
        fitted = table.fit(IsolationForest(n_estimators=10, random_state=0), features=X)
        assert fitted.to_bytes() == forest.to_bytes()
    scores = stream.open(f"memory://lake/{form}").score(forest).read_all()
    assert_array_equal(scores["score"], forest.decision_function(frame[X]))
    if form == "parquet":
        assert scores["region"].to_pylist() == np.repeat([0, 1, 2], 200).tolist()


@pytest.mark.parametrize("out", ["memory://lake/scores", "/lake/scores"])
def test_scores_are_written_and_resumed_in_a_store(memory, frame, forest, out, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = {"filesystem": None if "://" in out else memory, "rows_per_file": 250}
    table = stream.open(frame)
    assert table.write_scores(forest, out, keep=["actor"], **options) == 600
    names = [path.rpartition("/")[2] for path in memory.ls("/lake/scores", detail=False)]
    assert sorted(names) == ["_SUCCESS", "_isoxide.json", *(f"part-{k:05}.parquet" for k in range(3))]
    with pytest.raises(FileExistsError, match="continue it with resume=True"):
        table.write_scores(forest, out, keep=["actor"], **options)
    with pytest.raises(ValueError, match="have a different source"):
        stream.open(frame[::-1]).write_scores(forest, out, keep=["actor"], resume=True, **options)
    memory.rm("/lake/scores/_SUCCESS")
    memory.rm("/lake/scores/part-00001.parquet")
    assert table.write_scores(forest, out, keep=["actor"], resume=True, **options) == 600
    with memory.open("/lake/scores/part-00001.parquet", "rb") as file:
        assert_array_equal(pq.read_table(file)["score"], forest.decision_function(frame[X])[250:500])
    assert list(tmp_path.iterdir()) == []


class FailingMemory(MemoryFileSystem):
    """File system in memory that lets some files be written, and then denies it or loses the connection."""

    protocol = "failing"
    n_written, error = 0, PermissionError("403 Forbidden")

    def put_file(self, lpath, rpath, **options):
        if self.n_written <= 0:
            raise self.error
        self.n_written -= 1
        super().put_file(lpath, rpath, **options)


@pytest.mark.parametrize(
    ("error", "expected"),
    [(PermissionError("403 Forbidden"), PermissionError), (ConnectionResetError("reset by peer"), ConnectionError)],
    ids=["denied", "dropped"],
)
def test_a_failed_write_leaves_complete_files_only_and_can_be_resumed(memory, frame, forest, error, expected):
    store = FailingMemory()
    store.error, store.n_written = error, 0
    with pytest.raises(expected, match="lake/forest cannot be written: ") as caught:
        forest.save("/lake/forest", filesystem=store)
    assert "\n" not in str(caught.value)
    store.n_written = 2
    options = {"filesystem": store, "rows_per_file": 250, "resume": True}
    with pytest.raises(expected, match=r"/lake/scores/part-00001\.parquet cannot be written"):
        stream.open(frame).write_scores(forest, "/lake/scores", **options)
    names = [path.rpartition("/")[2] for path in store.find("/lake")]
    assert names == ["_isoxide.json", "part-00000.parquet"]
    store.n_written = 99
    assert stream.open(frame).write_scores(forest, "/lake/scores", **options) == 600
    assert store.exists("/lake/scores/_SUCCESS")


def test_forests_models_and_findings_are_kept_in_a_store(memory, seed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    r = np.random.default_rng(seed)
    days = pd.date_range("2025-01-01", periods=300)
    frame = pd.DataFrame({"actor": "a", "day": days, "x": r.normal(size=300)})
    table = ueba.read_table(frame, entity="actor", time="day")
    findings = ueba.detect(table, contamination=0.02)
    findings.forest.save("memory://lake/forest.safetensors")
    loaded = IsolationForest.load("lake/forest.safetensors", filesystem=memory)
    assert loaded.to_bytes() == findings.forest.to_bytes()
    assert findings.to_json("memory://lake/run/findings.json") == "memory://lake/run/findings.json"
    pd.testing.assert_frame_equal(ueba.read_findings("memory://lake/run/findings.json").frame, findings.frame)
    for write, name in (
        (findings.to_csv, "f.csv"),
        (findings.to_parquet, "f.parquet"),
        (findings.to_html, "f.html"),
        (findings.to_markdown, "f.md"),
        (findings.to_ocsf, "f.ndjson"),
        (findings.to_ecs, "e.ndjson"),
    ):
        assert write(f"/lake/run/{name}", filesystem=memory) == f"/lake/run/{name}"
        local = write(tmp_path / name)
        if name != "f.parquet":
            assert memory.cat(f"/lake/run/{name}") == local.read_bytes()
        local.unlink()
    model = ueba.Model.fit(table, threshold=0.6)
    model.save("memory://lake/model")
    assert ueba.Model.load("/lake/model", filesystem=memory).id == model.id
    # The document comes last, and it does not fit other files.
    memory.pipe("/lake/model/forest.safetensors", b"another")
    with pytest.raises(ValueError, match="is not the file that was saved with this model"):
        ueba.Model.load("memory://lake/model")
    memory.pipe("/lake/model/model.json", b"{}")
    with pytest.raises(FileExistsError, match="is not a model of isoxide"):
        model.save("memory://lake/model")
    assert list(tmp_path.iterdir()) == []


def test_a_url_never_becomes_a_local_folder(tmp_path, monkeypatch, frame, forest):
    monkeypatch.chdir(tmp_path)
    for write in (
        lambda path: forest.save(path),
        lambda path: stream.open(frame).write_scores(forest, path),
        lambda path: replace_file(path, lambda file: file.write_text("")),
        lambda path: FileSet(path).open(),
    ):
        with pytest.raises(ValueError, match=r"s4://bucket/x is a URL with the scheme 's4', which is not opened"):
            write("s4://bucket/x")
        with pytest.raises(ValueError, match="was a URL before it became a path, which merges slashes"):
            write(pathlib.Path("s3://bucket/x"))
    with pytest.raises(ValueError, match="memory://x/y is a URL, but these files are written to a folder of this mach"):
        FileSet("memory://x/y")
    assert list(tmp_path.iterdir()) == []


def test_local_urls_and_file_systems_are_local_paths(tmp_path, forest):
    path = tmp_path / "a b.safetensors"
    assert located(path.as_uri()) == path
    for filesystem in (pyarrow.fs.LocalFileSystem(), LocalFileSystem()):
        assert located(str(path), filesystem) == path
        forest.save(str(path), filesystem=filesystem)
        assert IsolationForest.load(path.as_uri()).to_bytes() == forest.to_bytes()
    with pytest.raises(ValueError, match="names another computer, server"):
        located("file://server/share/x")


def test_files_are_renamed_where_incomplete_ones_could_be_seen(tmp_path, forest):
    below = pyarrow.fs.SubTreeFileSystem(str(tmp_path), pyarrow.fs.LocalFileSystem())

    class Local(LocalFileSystem):
        protocol = ("sftp",)
        written = []  # noqa: RUF012

        def put_file(self, lpath, rpath, **options):
            self.written.append(os.path.basename(rpath))
            super().put_file(lpath, rpath, **options)

    store = Local(auto_mkdir=True)
    path = tmp_path / "new" / "forest"
    forest.save(str(path), filesystem=store)
    assert path.read_bytes() == forest.to_bytes()
    assert [name.startswith(".isoxide-") for name in store.written] == [True]
    assert [file.name for file in path.parent.iterdir()] == ["forest"]
    forest.save("other", filesystem=below)
    assert (tmp_path / "other").read_bytes() == forest.to_bytes()


def test_wrong_file_systems_and_sources_are_refused(frame, forest, memory):
    with pytest.raises(TypeError, match=r"filesystem must be a pyarrow\.fs\.FileSystem or a file system of fsspec"):
        forest.save("x", filesystem="s3")
    with pytest.raises(TypeError, match="filesystem is for paths, but source is a DataFrame"):
        stream.open(frame, filesystem=memory)
    for source in ("memory://lake/none", "memory://lake/none.parquet"):
        with pytest.raises(FileNotFoundError, match=f"there is no file {source}"):
            stream.open(source)
    memory.pipe("/lake/empty/note.txt", b"")
    with pytest.raises(FileNotFoundError, match="the folder memory://lake/empty has no files that can be read"):
        stream.open("memory://lake/empty")


def test_tables_in_the_root_of_a_store_are_read(memory, frame, forest, tmp_path):
    frame.to_parquet(tmp_path / "a.parquet", index=False)
    memory.put_file(str(tmp_path / "a.parquet"), "/region=eu/a.parquet")
    below = pyarrow.fs.SubTreeFileSystem(str(tmp_path), pyarrow.fs.LocalFileSystem())
    for source, filesystem in (("memory://", None), ("/", memory), ("", below)):
        scores = stream.open(source, filesystem=filesystem).score(forest).read_all()
        assert_array_equal(scores["score"], forest.decision_function(frame[X]))
        assert ("region" in scores.column_names) == (filesystem is not below)


def test_names_hold_no_secrets():
    with pytest.raises(ValueError, match="s3://bucket/x is not a URL that pyarrow understands") as caught:
        located("s3://KEY:SECRET@bucket/x?nonsense=1")
    assert "SECRET" not in str(caught.value)
    assert caught.value.__suppress_context__
    assert without_secrets("s3://KEY:SECRET@bucket/a b?endpoint_override=x&secret=y#z") == "s3://bucket/a b"
    assert without_secrets("abfs://container@account.dfs.core/x") == "abfs://container@account.dfs.core/x"
    assert without_secrets("hdfs://user@host:8020/x") == "hdfs://host:8020/x"
    assert without_secrets("a@b/c?d.csv") == "a@b/c?d.csv"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError("AWS Error ACCESS_DENIED during PutObject operation"), PermissionError),
        (OSError("Unable to locate credentials"), PermissionError),
        (OSError("AWS Error NO_SUCH_BUCKET during HeadBucket operation"), FileNotFoundError),
        (FileNotFoundError("x"), FileNotFoundError),
        (OSError("AWS Error NETWORK_CONNECTION during GetObject operation: curlCode: 18"), ConnectionError),
        (TimeoutError(), ConnectionError),
        (pa.ArrowInvalid("Parquet magic bytes not found in footer"), None),
    ],
    ids=str,
)
def test_errors_of_stores_are_told_apart(error, expected):
    told = store_error("s3://b/x", error, "read")
    assert (told is None) if expected is None else isinstance(told, expected)
    if told is not None:
        assert "s3://b/x" in str(told)
        # An error that was told is not told again.
        assert str(store_error("s3://b/x", told, "read")) == str(told)


def test_a_location_can_be_pickled(memory):
    memory.pipe("/lake/a", b"data")
    location = pickle.loads(pickle.dumps(located("memory://lake/a")))
    assert isinstance(location, Location)
    assert location.read() == b"data"


def test_the_case_of_a_scheme_does_not_matter(memory, forest):
    forest.save("MEMORY://Lake/forest.safetensors")
    assert list(memory.store) == ["/Lake/forest.safetensors"]
    assert IsolationForest.load("Memory://Lake/forest.safetensors").to_bytes() == forest.to_bytes()


@pytest.mark.skipif(os.name == "nt", reason="Windows allows no colon in the name of a folder")
@pytest.mark.parametrize("text", ["s3:/lake/x", "S3:/lake/x", "memory:/lake", "gs:/lake/x", "file:/lake/x"])
def test_a_url_that_lacks_a_slash_is_no_local_folder(text, tmp_path, monkeypatch, forest):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / text.partition("/")[0]
    folder.mkdir()
    with pytest.raises(ValueError, match=rf"^{text} is neither a URL .* write {folder.name}//lake"):
        forest.save(text)
    assert list(folder.iterdir()) == []
    # Such a name can still be meant.
    forest.save(f"./{folder.name}/forest")
    assert [path.name for path in folder.iterdir()] == ["forest"]


@pytest.mark.parametrize(
    ("url", "is_named"),
    [("memory://bucket/x", True), ("s3://key:word@bucket/x?region=a", False), ("s3://bucket/x?region=a", False)],
)
def test_a_location_knows_whether_its_name_opens_it(url, is_named):
    location = located(url)
    assert location.is_named_by_url is is_named
    assert (location / "y").is_named_by_url is is_named
    assert not located("bucket/x", location.filesystem).is_named_by_url


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("one\ntwo", "one"),
        ("", "OSError"),
        ("Generic S3\n  \x1b[31m↳\x1b[0m performing HEAD:\n ↳ 403\nmore", "Generic S3: performing HEAD: 403"),
        ("x" * 600, "x" * 500 + "..."),
    ],
)
def test_an_error_is_one_line_with_its_causes(message, expected):
    assert error_line(OSError(message)) == expected
