"""The command, as a user runs it: what it writes and says, and how it fails."""

import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from isoxide import IsolationForest, ueba
from ueba_tables import actor_days, users_of


def isoxide(*arguments, **options):
    command = [sys.executable, "-m", "isoxide", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **options)


@pytest.fixture(scope="module")
def folder(seed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    frame = actor_days(seed)
    frame.to_csv(folder / "features.csv", index=False)
    users_of(frame).to_csv(folder / "users.csv", index=False)
    return folder


NAMES = ("--entity", "actor", "--time", "day")


@pytest.fixture(scope="module")
def detected(folder):
    out = folder / "out"
    done = isoxide(
        "detect",
        folder / "features.csv",
        *NAMES,
        "--contamination",
        0.02,
        "--users",
        folder / "users.csv",
        "--out",
        out,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout, out


def test_detect(folder, detected):
    text, out = detected
    stem = "2025-01-20-to-2025-02-28"
    names = [f"findings-{stem}.{kind}" for kind in ("csv", "json", "parquet")]
    names += [f"forest-{stem}.safetensors", f"report-{stem}.html", f"report-{stem}.md"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert all(str(out / name) in text for name in names)
    table = ueba.read_table(folder / "features.csv", **{"entity": "actor", "time": "day"})
    expected = ueba.detect(table, contamination=0.02)
    found = ueba.read_findings(out / names[1])
    assert_array_equal(found.frame["score"], expected.frame["score"])
    assert_array_equal(found.percentiles, expected.percentiles)
    assert found.joined == ["email", "department"]
    assert len(pd.read_csv(out / names[0])) == len(expected)


def test_score(folder, detected):
    _, out = detected
    [model] = out.glob("*.safetensors")
    done = isoxide("score", model, folder / "features.csv", "--keep", "actor", "day", "--out", folder / "scores.csv")
    assert (done.returncode, done.stderr) == (0, "")
    scores = pd.read_csv(folder / "scores.csv")
    frame = pd.read_csv(folder / "features.csv")
    X = frame.drop(columns=["actor", "day"])
    expected = IsolationForest(random_state=0, contamination=0.02).fit(X).decision_function(X)
    assert_array_equal(scores["score"], expected)
    assert scores.columns.tolist() == ["actor", "day", "score", "anomaly"]
    assert isoxide("score", model, folder / "features.csv").stdout.startswith('"score","anomaly"\n')


def test_report(detected, tmp_path):
    _, out = detected
    [findings] = out.glob("*.json")
    done = isoxide("report", findings, "--cutoff", 99.9, "--out", tmp_path / "again")
    assert (done.returncode, done.stderr) == (0, "")
    [text] = (tmp_path / "again").glob("*.md")
    assert text.read_text() == ueba.read_findings(findings).to_markdown(cutoff=99.9)


def test_calibrate(folder, tmp_path):
    done = isoxide(
        "calibrate", folder / "features.csv", *NAMES, "--budget", 10, "--json", "--plot", tmp_path / "scores.png"
    )
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    study = ueba.calibrate(ueba.read_table(folder / "features.csv", entity="actor", time="day"), budget=10)
    assert (told["threshold"], told["contamination"]) == (study.threshold, study.contamination)
    assert (tmp_path / "scores.png").read_bytes().startswith(b"\x89PNG")
    assert "Rows at or below each threshold" in isoxide("calibrate", folder / "features.csv", *NAMES).stdout


def test_json(folder, tmp_path):
    done = isoxide(
        "detect", folder / "features.csv", *NAMES, "--contamination", 0.02, "--out", tmp_path / "o", "--json"
    )
    told = json.loads(done.stdout)
    assert told["findings"] == told["manifest"]["anomalies"]
    assert all(os.path.exists(path) for path in told["files"])


def test_help_has_examples():
    for command in ([], ["detect"]):
        done = isoxide(*command, "--help")
        assert done.returncode == 0
        assert "examples:" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["detect", "nowhere.csv", *NAMES], "there is no file nowhere.csv"),
        (["detect", "features.csv", "--entity", "who", "--time", "day"], "has no column 'who' (entity); there are"),
        (["detect", "features.csv", "--entity", "actor", "--time", "actor"], "entity and time are both"),
        (["detect", "features.csv", "--entity", "day", "--time", "actor"], "is not a date or time"),
        (["detect", "features.csv", *NAMES, "--threshold", "-9"], "no row scores at or below -9; the lowest is"),
        (["detect", "features.csv", *NAMES, "--contamination", "0.9"], "in the range (0.0, 0.5]"),
        (["detect", "features.csv", *NAMES, "--groups", "team"], "groups='team' is no column"),
        (["detect", "features.csv", *NAMES, "--users", "nobody.csv"], "nobody.csv"),
        (["detect", "features.csv", *NAMES, "--sep", ";"], "separated by ','"),
        (["score", "nowhere.safetensors", "features.csv"], "nowhere.safetensors: No such file"),
        (["score", "features.csv", "features.csv"], "features.csv: not an isoxide forest: no safetensors file"),
    ],
)
def test_one_line_says_what_is_wrong(folder, tmp_path, arguments, words):
    out = tmp_path / "out"
    done = isoxide(*arguments, "--out", out, cwd=folder)
    assert done.returncode == 1
    assert done.stderr.startswith("isoxide: error: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
    assert not out.exists()


def unusual_tables(frame):
    yield "one day", frame[frame["day"] == frame["day"].iloc[0]], "all rows are of one day"
    yield "no values", frame.assign(empty=float("nan")), "1 columns have no values and were left out: empty"
    yield "text", frame.assign(role="staff"), "rows of 25 entities"
    yield "infinite", frame.assign(n_0=[float("inf")] + [1.0] * (len(frame) - 1)), None


@pytest.mark.parametrize("place", range(4))
def test_unusual_tables(folder, tmp_path, place):
    frame = pd.read_csv(folder / "features.csv")
    _, table, told = list(unusual_tables(frame))[place]
    table.to_csv(tmp_path / "t.csv", index=False)
    done = isoxide("detect", tmp_path / "t.csv", *NAMES, "--contamination", 0.1, "--out", tmp_path / "out")
    if told is None:
        assert done.returncode == 1
        assert done.stderr.startswith("isoxide: error: feature 'n_0' has infinite values")
    else:
        assert (done.returncode, done.stderr) == (0, "")
        assert told in done.stdout


def test_misunderstood_commands():
    for arguments in (
        [],
        ["find"],
        ["detect"],
        ["detect", "x.csv", *NAMES, "--budget", "1", "--threshold", "2", "--out", "o"],
    ):
        done = isoxide(*arguments)
        assert done.returncode == 2
        assert "usage: isoxide" in done.stderr


def test_folder_that_cannot_be_written_to(folder):
    done = isoxide("detect", folder / "features.csv", *NAMES, "--out", folder / "users.csv" / "out")
    assert done.returncode == 1
    assert "users.csv" in done.stderr


def test_earlier_results_stay_when_a_run_fails(folder, detected, tmp_path):
    _, out = detected
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert isoxide("detect", folder / "features.csv", *NAMES, "--threshold", 9, "--out", out).returncode == 1
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_interrupt(folder, tmp_path):
    """While a pipe is read that never ends, as a slow disk would be."""
    pipe = tmp_path / "features.csv"
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "isoxide", "detect", str(pipe), *NAMES, "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while True:
        try:
            writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            break
        except OSError:
            # Nobody reads yet.
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
    os.write(writer, b"actor,day,x\n")
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    os.close(writer)
    assert process.returncode == 1
    assert errors == "isoxide: error: interrupted; nothing was written\n"
    assert not (tmp_path / "out").exists()
