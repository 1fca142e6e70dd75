"""Test that the command has equal results whether it reads a folder of Parquet in memory or in batches."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from command import NAMES, Done, isoxide
from isoxide import IsolationForest, ueba
from isoxide._cli import _size
from isoxide._cli._tables import Tables
from stream_files import write_parts
from ueba_tables import actor_days

pytestmark = [
    pytest.mark.not_parallel(reason="it runs the command in other processes"),
    pytest.mark.current_versions(reason="the command does not depend on scikit-learn"),
]


@pytest.fixture(scope="module")
def folder(seed, tmp_path_factory):
    return write_parts(actor_days(seed), tmp_path_factory.mktemp("lake") / "features", 5, seed)


@pytest.fixture(scope="module")
def results(folder, tmp_path_factory):
    """Return output and folder of a run in memory and of a run in batches."""
    results = {}
    for options in ([], ["--stream"]):
        out = tmp_path_factory.mktemp("out") / "results"
        done = isoxide("detect", folder, *NAMES, "--contamination", 0.02, *options, "--out", out)
        assert done.returncode == 0, done.stderr
        results[bool(options)] = done, out
    return results


@pytest.mark.slow
def test_runs_in_memory_and_in_batches_write_the_same_files(results):
    (in_memory, first), (in_batches, second) = results[False], results[True]
    assert in_memory.stderr == ""
    assert in_batches.stderr.startswith("isoxide: ")
    assert "it is read in batches, as --stream asks" in in_batches.stderr
    assert in_memory.stdout.replace(str(first), "") == in_batches.stdout.replace(str(second), "")
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    assert len(names) == 6
    checksum = json.loads(next(first.glob("*.json")).read_text())["manifest"]["sha256"]
    for name in names:
        ours, theirs = ((folder / name).read_bytes() for folder in (second, first))
        if name.endswith((".json", ".html")):
            # The two runs were made at different times.
            ours, theirs = (re.sub(rb"\d\d:\d\d:\d\d\+00:00", b"", data) for data in (ours, theirs))
            # A table that is read in batches is never read as a whole, so it has no checksum.
            theirs = theirs.replace(f'"{checksum}"'.encode(), b"null").replace(checksum.encode(), b"-")
        if not name.endswith(".parquet"):
            assert ours == theirs, name
    frames = [pd.read_parquet(next(folder.glob("*.parquet"))) for folder in (first, second)]
    pd.testing.assert_frame_equal(*frames)


@pytest.mark.slow
def test_a_table_larger_than_memory_is_read_in_batches_without_an_option(folder, seed, tmp_path):
    """Detection works under a memory limit that a frame of this table exceeds."""
    resource = pytest.importorskip("resource")
    table, r = pd.read_parquet(folder), np.random.default_rng(seed)
    large = tmp_path / "large"
    large.mkdir()
    for number in range(12):
        # Each file has other entities and values, so that no row or score occurs twice.
        rows = pd.concat([table.assign(actor=table["actor"] + f"-{number}-{k}") for k in range(240)])
        rows["share_0"] = r.normal(size=len(rows))
        rows.to_parquet(large / f"{number:02}.parquet", index=False)

    def limit_memory():
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))

    command = [sys.executable, "-m", "isoxide", "detect", str(large), *NAMES, "--contamination", "0.001", "--json"]
    # The address space is limited, and each arena and each thread reserves much of it without using it.
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out")],
        capture_output=True, text=True, check=False, timeout=300, preexec_fn=limit_memory, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "it does not fit in memory" in done.stderr
    assert json.loads(done.stdout)["manifest"]["rows"] == len(table) * 2880


@pytest.mark.slow
def test_scores_of_a_folder_equal_those_in_memory(folder, results, tmp_path):
    model = next(results[True][1].glob("forest-*"))
    out = tmp_path / "scores"
    command = ("score", model, folder, "--keep", "actor", "day", "--out", out)
    text = Done(*command).ok()
    table = ueba.read_table(folder, entity="actor", time="day")
    assert text == f"{out}: {len(table.frame):,} rows scored by {len(table.features)} features\n"
    results = pd.read_parquet(out)
    forest = IsolationForest.load(model)
    assert results["score"].tolist() == forest.decision_function(table.X).tolist()
    assert results["actor"].tolist() == table.frame["actor"].tolist()
    Done(*command).failed("continue it with --resume")
    assert Done(*command, "--resume").ok() == text
    # Scores can be written to one file, and to standard output.
    Done("score", model, folder, "--out", tmp_path / "scores.csv").ok()
    done = Done("score", model, folder)
    assert done.stdout == (tmp_path / "scores.csv").read_text()
    assert pd.read_csv(tmp_path / "scores.csv")["score"].tolist() == results["score"].tolist()


@pytest.mark.slow
def test_a_resumed_run_completes_a_folder_of_scores_and_removes_incomplete_files(folder, results, tmp_path):
    model = next(results[True][1].glob("forest-*"))
    out = tmp_path / "scores"
    expected = Done("score", model, folder, "--out", out).ok()
    for name in ("_SUCCESS", "part-00000.parquet"):
        (out / name).unlink()
    (out / ".isoxide-0123456789abcdef.part").write_text("half")
    assert Done("score", model, folder, "--out", out, "--resume").ok() == expected
    assert sorted(os.listdir(out)) == ["_SUCCESS", "_isoxide.json", "part-00000.parquet"]


def test_folders_that_cannot_be_read_are_refused_by_file(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    broken = write_parts(pd.read_parquet(folder), tmp_path / "broken", 3)
    path = broken / "001.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    for table, options, expected_message in (
        (tmp_path / "empty", [], "empty has no files that can be read"),
        (tmp_path / "nothing.parquet", [], "nothing.parquet"),
        (broken, [], f"{path} cannot be read as Parquet"),
        (broken, ["--stream"], f"{path} cannot be read as Parquet"),
    ):
        done = Done("detect", table, *NAMES, *options, "--out", tmp_path / "out")
        *notes, error = done.stderr.splitlines()
        assert (done.returncode, done.stdout, len(notes)) == (1, "", len(options))
        assert error.startswith("isoxide: error: ")
        assert expected_message in error
        assert not (tmp_path / "out").exists()


def test_tables_larger_than_the_free_memory_are_recognised(folder, tmp_path, monkeypatch, capsys):
    frame = pd.read_parquet(folder)
    frame.to_csv(tmp_path / "table.csv", index=False)
    frame.to_csv(tmp_path / "table.csv.gz", index=False)
    tables = [Tables([str(path)], {}) for path in (folder, tmp_path / "table.csv", tmp_path / "table.csv.gz")]
    tables.append(Tables([str(folder), str(tmp_path / "table.csv")], {}))
    monkeypatch.setattr(_size, "free_memory", lambda: 1 << 40)
    assert [_size.larger_than_memory(table) for table in tables] == [False] * 4
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(_size, "free_memory", lambda: 1000)
    assert [_size.larger_than_memory(table) for table in tables] == [True] * 4
    lines = capsys.readouterr().err.splitlines()
    assert [line.count("it does not fit in memory") for line in lines] == [1] * 4
    assert lines[3].startswith(f"isoxide: {folder} and 1 more needs about")
    monkeypatch.setattr(_size, "free_memory", lambda: None)
    assert [_size.larger_than_memory(table) for table in tables] == [False] * 4


def test_free_memory_is_a_plausible_number_or_unknown():
    free = _size.free_memory()
    assert free is None or 0 <= free < 1 << 50
