"""Test tables, scores, models and reports in an object store that speaks S3, also when it denies or drops requests."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_array_equal

from isoxide import IsolationForest, stream, ueba
from object_store import BUCKET, object_store, url_of
from partition_findings import assert_same_findings

pytest.importorskip("moto", reason="the object store is moto's server, which is not installed here")

pytestmark = [
    pytest.mark.not_parallel(reason="one object store for all"),
    pytest.mark.current_versions(reason="moto is not installed with the oldest versions"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

N = 1200
X = ["x", "y"]
KEYS = {"entity": "actor", "time": "day"}


@pytest.fixture(scope="module")
def store():
    with object_store() as running:
        yield running


@pytest.fixture
def s3(store):
    """Return a file system of an empty bucket, whose requests are all passed on."""
    proxy, filesystem = store
    proxy.heal()
    filesystem.delete_dir_contents(BUCKET, missing_dir_ok=True)
    yield filesystem
    proxy.heal()


@pytest.fixture
def proxy(store):
    return store[0]


@pytest.fixture(scope="module")
def frame(seed):
    r = np.random.default_rng(seed)
    days = np.repeat(pd.date_range("2025-01-01", periods=N // 30).strftime("%Y-%m-%d"), 30)
    actors = [f"u{i % 30}" for i in range(N)]
    return pd.DataFrame({"actor": actors, "day": days, "x": r.poisson(3, N), "y": r.normal(size=N)})


@pytest.fixture(scope="module")
def forest(frame):
    return IsolationForest(n_estimators=10, random_state=0).fit(frame[X])


def write_table(s3, frame, n_files=3):
    for number, rows in enumerate(np.array_split(np.arange(len(frame)), n_files)):
        with s3.open_output_stream(f"{BUCKET}/days/{number}.parquet") as file:
            frame.iloc[rows].to_parquet(file, index=False)


def names(s3, folder=BUCKET):
    selector = pyarrow.fs.FileSelector(folder, recursive=True, allow_not_found=True)
    return sorted(info.path for info in s3.get_file_info(selector) if info.is_file)


@pytest.mark.slow
def test_tables_and_scores_in_a_bucket_equal_those_in_memory(s3, proxy, frame, forest):
    write_table(s3, frame)
    for source, options in ((f"{BUCKET}/days", {"filesystem": s3}), (url_of(proxy, "days"), {})):
        table = stream.open(source, **options)
        params = IsolationForest(n_estimators=10, random_state=0)
        assert table.fit(params, features=X).to_bytes() == forest.to_bytes()
        # No message or file holds the credentials.
        assert "testing" not in repr(table)
        options = {"keep": ["actor"], "rows_per_file": 500}
        assert table.write_scores(forest, f"{BUCKET}/scores", filesystem=s3, **options) == N
        parts = [f"{BUCKET}/scores/part-{k:05}.parquet" for k in range(3)]
        assert names(s3, f"{BUCKET}/scores") == [f"{BUCKET}/scores/{n}" for n in ("_SUCCESS", "_isoxide.json")] + parts
        scores = pq.read_table(f"{BUCKET}/scores", filesystem=s3)
        assert_array_equal(scores["score"], forest.decision_function(frame[X]))
        s3.delete_dir_contents(f"{BUCKET}/scores")
        assert table.write_scores(forest, url_of(proxy, "scores.parquet")) == N
        assert pq.read_table(f"{BUCKET}/scores.parquet", filesystem=s3).num_rows == N


@pytest.mark.slow
def test_findings_and_models_in_a_bucket_equal_those_in_memory(s3, proxy, frame):
    write_table(s3, frame)
    expected = ueba.detect(ueba.read_table(frame, **KEYS), contamination=0.01)
    findings = stream.open(url_of(proxy, "days")).detect(**KEYS, contamination=0.01)
    assert_same_findings(findings, expected)
    assert findings.manifest["source"] == f"s3://{BUCKET}/days"
    assert findings.to_json(url_of(proxy, "run/findings.json")) == f"s3://{BUCKET}/run/findings.json"
    read = ueba.read_findings(f"{BUCKET}/run/findings.json", filesystem=s3)
    pd.testing.assert_frame_equal(read.frame, findings.frame)
    model = ueba.Model.fit(ueba.read_table(frame, **KEYS), threshold=0.7)
    model.save(f"{BUCKET}/model", filesystem=s3)
    assert ueba.Model.load(url_of(proxy, "model")).id == model.id


def test_a_denied_write_leaves_nothing_behind_and_is_told_in_one_line(s3, proxy, frame, forest):
    proxy.denied = {"PUT", "POST"}
    for write in (
        lambda: forest.save(f"{BUCKET}/forest.safetensors", filesystem=s3),
        lambda: stream.open(frame).write_scores(forest, f"{BUCKET}/scores.parquet", filesystem=s3),
        lambda: stream.open(frame).write_scores(forest, f"{BUCKET}/scores", filesystem=s3),
    ):
        with pytest.raises(PermissionError, match=r"cannot be written: the store denies access .*; check") as e:
            write()
        assert "\n" not in str(e.value)
    assert names(s3) == []


@pytest.mark.parametrize("fault", ["denied", "dropped"])
def test_an_interrupted_run_keeps_complete_files_and_can_be_resumed(s3, proxy, frame, forest, fault):
    options = {"filesystem": s3, "rows_per_file": 300, "resume": True}
    # The description of the folder and the first file take some requests each.
    setattr(proxy, fault, {"PUT"})
    proxy.n_passed = 2
    with pytest.raises(OSError, match=f"{BUCKET}/scores/part-0000[12]") as caught:
        stream.open(frame).write_scores(forest, f"{BUCKET}/scores", **options)
    assert isinstance(caught.value, PermissionError if fault == "denied" else ConnectionError)
    proxy.heal()
    parts = [name for name in names(s3) if name.endswith(".parquet")]
    assert 1 <= len(parts) < 4
    assert [pq.read_metadata(name, filesystem=s3).num_rows for name in parts] == [300] * len(parts)
    assert f"{BUCKET}/scores/_SUCCESS" not in names(s3)
    assert stream.open(frame).write_scores(forest, f"{BUCKET}/scores", **options) == N
    scores = pq.read_table(f"{BUCKET}/scores", filesystem=s3)["score"]
    assert_array_equal(scores, forest.decision_function(frame[X]))
    assert f"{BUCKET}/scores/_SUCCESS" in names(s3)


def test_an_existing_object_stays_if_the_connection_drops(s3, proxy, frame, forest):
    path = f"{BUCKET}/forest.safetensors"
    forest.save(path, filesystem=s3)
    proxy.dropped = {"PUT"}
    other = IsolationForest(n_estimators=3, random_state=1).fit(frame[X])
    with pytest.raises(ConnectionError, match=f"{path} cannot be written: .*; check the address and the connection"):
        other.save(path, filesystem=s3)
    proxy.heal()
    assert IsolationForest.load(path, filesystem=s3).to_bytes() == forest.to_bytes()


@pytest.mark.parametrize("fault", ["denied", "dropped"])
def test_a_store_that_stops_in_the_middle_is_told_in_one_line(s3, proxy, frame, forest, fault):
    write_table(s3, frame)
    table = stream.open(f"{BUCKET}/days", filesystem=s3)
    setattr(proxy, fault, {"GET"})
    proxy.n_passed = 4
    with pytest.raises(OSError, match=rf"{BUCKET}/days.* cannot be (read|listed|written)") as caught:
        table.write_scores(forest, f"{BUCKET}/scores.parquet", filesystem=s3)
    assert "\n" not in str(caught.value)
    assert "truncated" not in str(caught.value)
    proxy.heal()
    assert not [name for name in names(s3) if "scores" in name]
    assert table.write_scores(forest, f"{BUCKET}/scores.parquet", filesystem=s3) == N


def test_buckets_and_objects_that_do_not_exist_are_named(s3, forest):
    with pytest.raises(FileNotFoundError, match="there is no file none/days"):
        stream.open("none/days", filesystem=s3)
    with pytest.raises(FileNotFoundError, match="none/forest cannot be written: the store has no such bucket"):
        forest.save("none/forest", filesystem=s3)
    with pytest.raises(FileNotFoundError, match=f"there is no file {BUCKET}/forest"):
        IsolationForest.load(f"{BUCKET}/forest", filesystem=s3)
    with pytest.raises(FileNotFoundError, match=f"{BUCKET}/model does not exist"):
        ueba.Model.load(f"{BUCKET}/model", filesystem=s3)


def test_an_object_that_changes_between_passes_is_reported(s3, frame):
    write_table(s3, frame, n_files=1)
    table = stream.open(f"{BUCKET}/days/0.parquet", filesystem=s3)
    write_table(s3, frame.iloc[:-1], n_files=1)
    with pytest.raises(ValueError, match=r"days/0\.parquet changed while it was read"):
        table.fit(features=X)


@pytest.mark.slow
def test_the_command_scores_a_table_in_a_bucket(s3, proxy, frame, forest):
    write_table(s3, frame)
    forest.save(f"{BUCKET}/forest.safetensors", filesystem=s3)
    command = [sys.executable, "-m", "isoxide", "score", url_of(proxy, "forest.safetensors"), url_of(proxy, "days")]
    result = subprocess.run([*command, "--out", url_of(proxy, "out.parquet")], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    scores = pq.read_table(f"{BUCKET}/out.parquet", filesystem=s3)["score"]
    assert_array_equal(scores, forest.decision_function(frame[X]))
    assert "testing" not in result.stdout + result.stderr


#: Program that scores a Delta table. deltalake holds the interpreter while it waits for a store, so that no
#: server in the same process could answer.
SCORE_DELTA = """
import json, sys, deltalake
from isoxide import IsolationForest, stream
url, options, forest, out = sys.argv[1:]
options = json.loads(options)
table = stream.open(deltalake.DeltaTable(url, storage_options=options))
print(table)
print(table.write_scores(IsolationForest.load(forest), out, keep=["team", "row", "x", "y"]))
# By its URL, with the environment.
assert stream.open(url)._source.count() == table._source.count()
"""


@pytest.mark.slow
def test_a_delta_table_in_a_bucket_equals_the_one_in_memory(s3, proxy, frame, forest, tmp_path):
    deltalake = pytest.importorskip("deltalake", reason="the packages of lakes are not installed here")
    options = {
        "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.server_port}", "AWS_ALLOW_HTTP": "true", "max_retries": "0",
        "AWS_CONDITIONAL_PUT": "etag",
    }  # fmt: skip
    url, out = f"s3://{BUCKET}/delta", tmp_path / "scores.parquet"
    rows = frame.assign(team=[["a b", "c/%", None][k % 3] for k in range(N)], row=np.arange(N))
    deltalake.write_deltalake(url, rows, storage_options=options, partition_by=["team"])
    forest.save(tmp_path / "forest")
    command = [sys.executable, "-c", SCORE_DELTA, url, json.dumps(options), tmp_path / "forest", out]
    environment = {**os.environ, **{name: value for name, value in options.items() if name.startswith("AWS_")}}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"<StreamTable of the Delta table {url} (version 0)>\n{N}\n", result.stderr
    scores = pd.read_parquet(out).sort_values("row", ignore_index=True)
    assert_array_equal(scores["score"], forest.decision_function(frame[X]))
    columns = ["team", "row", "x", "y"]
    pd.testing.assert_frame_equal(scores[columns], rows[columns])
    # The URL has options that only pyarrow knows, and its files are those of a Delta table.
    with pytest.raises(
        ValueError, match=r"open it with deltalake\.DeltaTable\(url, storage_options=\.\.\.\), and give"
    ):
        stream.open(url_of(proxy, "delta"))
    folder = next(name.rsplit("/", 1)[0] for name in names(s3) if "team=c" in name)
    with pytest.raises(ValueError, match=rf"belongs to the Delta table s3://{BUCKET}/delta, and may hold rows"):
        stream.open(url_of(proxy, folder.removeprefix(f"{BUCKET}/").replace("%", "%25")))
    out.unlink()
    proxy.denied, proxy.n_passed = {"GET"}, 4
    result = subprocess.run(command, capture_output=True, text=True)
    message = result.stderr.splitlines()[-1]
    assert "DeniedError: " in message
    assert f"{url}" in message
    assert "check the credentials" in message
    assert not list(tmp_path.glob("scores*"))


@pytest.mark.slow
def test_an_iceberg_table_in_a_bucket_equals_the_one_in_memory(s3, proxy, frame, forest, tmp_path):
    pytest.importorskip("pyiceberg", reason="the packages of lakes are not installed here")
    from pyiceberg.catalog.sql import SqlCatalog

    store = {"access-key-id": "testing", "secret-access-key": "testing", "region": "us-east-1"}
    properties = {f"s3.{name}": value for name, value in store.items()}
    catalog = SqlCatalog(
        "lake",
        uri=f"sqlite:///{tmp_path}/catalog.db",
        warehouse=f"s3://{BUCKET}/warehouse",
        **properties,
        **{"s3.endpoint": f"http://127.0.0.1:{proxy.server_port}"},
    )
    catalog.create_namespace("lake")
    rows = pa.Table.from_pandas(frame, preserve_index=False)
    table = catalog.create_table("lake.days", schema=rows.schema)
    table.append(rows)
    opened = stream.open(table)
    assert opened.fit(IsolationForest(n_estimators=10, random_state=0), features=X).to_bytes() == forest.to_bytes()
    with pytest.raises(ValueError, match=r"warehouse/lake/days is an Iceberg table whose newest version only its"):
        stream.open(url_of(proxy, "warehouse/lake/days"))
    with pytest.raises(ValueError, match=r"warehouse/lake/days/data belongs to the Iceberg table"):
        stream.open(url_of(proxy, "warehouse/lake/days/data"))
    proxy.dropped = {"GET"}
    with pytest.raises(
        ConnectionError, match=r"lake\.days \(snapshot \d+\) cannot be read: .*; check the add"
    ) as caught:
        opened.write_scores(forest, tmp_path / "scores.parquet")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "scores.parquet").exists()
    proxy.heal()
    assert opened.write_scores(forest, tmp_path / "scores.parquet") == N
