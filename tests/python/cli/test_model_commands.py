"""Commands with a kept model: what they write, print and refuse, and their exit codes."""

import errno
import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from command import NAMES, Done, contents, isoxide
from isoxide import ueba
from isoxide._common import appending
from ueba_tables import actor_days, users_of

pytestmark = [
    pytest.mark.not_parallel(reason="the command changes the handlers of signals"),
    pytest.mark.current_versions(reason="the command does not depend on scikit-learn"),
]
SPLIT = "2025-02-22"


@pytest.fixture(scope="module")
def folder(seed, tmp_path_factory):
    """Return a folder with a table, its first weeks, its last days, and a model of the first weeks."""
    folder = tmp_path_factory.mktemp("model")
    frame = actor_days(seed)
    frame.to_csv(folder / "all.csv", index=False)
    frame[frame["day"] < SPLIT].to_csv(folder / "old.csv", index=False)
    frame[frame["day"] >= SPLIT].to_csv(folder / "new.csv", index=False)
    users_of(frame).to_csv(folder / "users.csv", index=False)
    done = Done("train", folder / "old.csv", *NAMES, "--contamination", 0.03, "--trees", 40, "--out", folder / "model")
    assert done.ok().splitlines()[-1] == f"  {folder / 'model'}"
    return folder


def test_train(folder):
    model = ueba.Model.load(folder / "model")
    table = ueba.read_table(folder / "old.csv", entity="actor", time="day")
    expected = ueba.Model.fit(table, contamination=0.03, n_estimators=40)
    assert (model.id, model.threshold) == (expected.id, expected.threshold)
    assert model.training["sha256"] == table.checksum


def test_train_prints_how_many_rows_are_above(folder, tmp_path):
    options = ["--alerts-per-month", 20, "--trees", 10, "--groups", "leaver_action", "--min-history", 5, "--exclude",
               "share_*", "--bands", 10, 20, "30.5", "--tail", "both", "--seed", 3]  # fmt: skip
    done = Done("train", folder / "old.csv", *NAMES, *options, "--json", "--out", tmp_path)
    told = json.loads(done.stdout)
    model = ueba.Model.load(tmp_path)
    table = ueba.read_table(folder / "old.csv", entity="actor", time="day", exclude="share_*")
    expected = ueba.Model.fit(
        table, alerts_per_month=20, n_estimators=10, groups="leaver_action", min_history=5, bands=(10, 20, 30.5),
        tail="both", random_state=3,
    )  # fmt: skip
    assert told["id"] == model.id == expected.id
    assert told["threshold"] == model.threshold
    assert told["above"] == (-model.forest.score_samples(table.X) > model.threshold).sum()
    assert told["per_month"] == pytest.approx(20, abs=1)
    assert done.stderr.startswith(str(table.profile).splitlines()[0])


def test_train_in_batches(folder, tmp_path):
    done = Done(
        "train", folder / "old.csv", *NAMES, "--contamination", 0.03, "--trees", 40, "--stream", "--out", tmp_path
    )
    assert done.returncode == 0
    assert "it is read in batches" in done.stderr
    assert ueba.Model.load(tmp_path).id == ueba.Model.load(folder / "model").id


def test_detect(folder, tmp_path):
    done = Done("detect", folder / "new.csv", "--model", folder / "model", "--users", folder / "users.csv",
                "--out", tmp_path)  # fmt: skip
    text = done.ok()
    model = ueba.Model.load(folder / "model")
    expected = model.detect(ueba.read_table(folder / "new.csv", entity="actor", time="day"))
    result = ueba.read_findings(tmp_path / "findings-2025-02-22-to-2025-02-28.json")
    assert len(result) == len(expected) > 0
    assert_array_equal(result.frame["anomaly_score"], expected.frame["anomaly_score"])
    assert_array_equal(result.percentiles, expected.percentiles)
    assert result.joined == ["email", "department"]
    assert result.manifest["model"]["id"] == model.id
    row = expected.frame.iloc[0]
    assert f"anomaly score above {model.threshold:.4f}" in text
    assert f"{row['anomaly_score']:.4f}" in text
    assert expected.rarity_texts()[0] in text
    written = pd.read_csv(tmp_path / "findings-2025-02-22-to-2025-02-28.csv")
    assert written["finding_id"].tolist() == expected.frame["finding_id"].tolist()
    page = (tmp_path / "report-2025-02-22-to-2025-02-28.html").read_text()
    assert expected.rarity_texts()[0] in page


def test_since_gives_the_findings_of_the_day_alone(folder, tmp_path):
    new = Done("detect", folder / "new.csv", "--model", folder / "model", "--out", tmp_path / "new", "--json")
    since = Done("detect", folder / "all.csv", "--model", folder / "model", "--since", SPLIT, "--out", tmp_path / "all",
                 "--json")  # fmt: skip
    own, other = json.loads(new.stdout), json.loads(since.stdout)
    assert own["highest"] == other["highest"]
    assert (own["manifest"]["since"], other["manifest"]["since"]) == (None, SPLIT)
    names = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("new", "all")]
    assert names[0] == names[1]


def test_exit_codes_for_jobs(folder, tmp_path):
    model = folder / "model"
    run = ["detect", folder / "new.csv", "--model", model, "--out", tmp_path / "out"]
    assert Done(*run).returncode == 0
    assert Done(*run, "--fail-on", "new").returncode == 3
    frame = pd.read_csv(folder / "new.csv")
    counts = [name for name in frame if name.startswith("n_")]
    frame.assign(**{name: frame[name] * 3 + 5 for name in counts}).to_csv(tmp_path / "more.csv", index=False)
    more = ["detect", tmp_path / "more.csv", "--model", model, "--out", tmp_path / "out", "--force"]
    assert Done(*more, "--fail-on", "drift").returncode == 4
    assert Done(*more, "--fail-on", "new", "drift").returncode == 3
    assert Done(*more).returncode == 0
    assert "drift: retrain" in Done(*more).stdout
    # A quiet day has files, and no exit code of its own.
    frame[frame["day"] == "2025-02-28"].assign(**dict.fromkeys(counts, 0), share_1=0.0).to_csv(
        tmp_path / "quiet.csv", index=False
    )
    Done("train", folder / "old.csv", *NAMES, "--threshold", 0.95, "--trees", 10, "--out", tmp_path / "calm").ok()
    quiet = Done("detect", tmp_path / "quiet.csv", "--model", tmp_path / "calm", "--out", tmp_path / "quiet",
                 "--fail-on", "new")  # fmt: skip
    assert quiet.returncode == 0
    assert "  quiet: highest score 0." in quiet.stdout
    assert "threshold 0.95" in quiet.stdout
    page = (tmp_path / "quiet" / "report-2025-02-28-to-2025-02-28.html").read_text()
    assert "quiet: highest score 0." in page
    assert len(ueba.read_findings(tmp_path / "quiet" / "findings-2025-02-28-to-2025-02-28.json")) == 0
    # Without a model, too, no finding is no error.
    alone = ["detect", folder / "all.csv", *NAMES, "--out", tmp_path / "alone", "--fail-on", "new"]
    assert Done(*alone, "--threshold", 0.95).returncode == 0
    assert Done(*alone, "--threshold", 0.55, "--force").returncode == 3


def test_drift(folder, tmp_path):
    run = ["drift", folder / "old.csv", "--model", folder / "model", "--fail-on", "drift"]
    assert "drift: ok" in Done(*run).ok()
    frame = pd.read_csv(folder / "old.csv")
    counts = [name for name in frame if name.startswith("n_")]
    frame.assign(**{name: frame[name] * 2 for name in counts}).to_csv(tmp_path / "double.csv", index=False)
    done = Done("drift", tmp_path / "double.csv", "--model", folder / "model", "--fail-on", "drift")
    assert done.returncode == 4
    assert "drift: retrain" in done.stdout
    told = Done("drift", tmp_path / "double.csv", "--model", folder / "model", "--json")
    assert told.returncode == 0
    document = json.loads(told.stdout)
    assert document["verdict"] == "retrain"
    assert set(document["worst"]) <= set(counts)
    assert document["model"] == ueba.Model.load(folder / "model").id


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["detect", "new.csv", "--model", "model", "--tail", "both"], "--tail cannot be given with --model"),
        (["detect", "new.csv", "--model", "model", "--threshold", "0.5"], "--threshold cannot be given with --model"),
        (["detect", "new.csv", "--model", "model", "--no-domain-defaults"], "--no-domain-defaults cannot be given"),
        (["detect", "new.csv", "--model", "model", "--exclude", "a"], "--exclude cannot be given with --model"),
        (["detect", "new.csv", "--since", "2025-01-01"], "--since needs --model"),
        (["detect", "new.csv", "--fail-on", "drift"], "--fail-on drift needs --model"),
        (["detect", "new.csv", "--fail-on", "anything"], "invalid choice: 'anything'"),
        (["detect", "new.csv", "--model", "model", "--since", "soon"], "'soon' is not a day such as 2025-04-26"),
        (["drift", "new.csv"], "the following arguments are required: --model"),
        (["train", "old.csv", "--threshold", "-0.6"], "'-0.6' is not an anomaly score between 0 and 1"),
        (["train", "old.csv", "--threshold", "1"], "'1' is not an anomaly score between 0 and 1"),
        (["train", "old.csv", "--bands", "1", "2"], "--bands needs 3 numbers, not 2"),
        (["train", "old.csv", "--trees", "0"], "'0' is not a number of rows"),
    ],
)
def test_wrong_command_lines(folder, monkeypatch, arguments, message):
    monkeypatch.chdir(folder)
    Done(*arguments).failed(message, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["detect", "new.csv", "--model", "nowhere"], "nowhere does not exist; give the folder of a model"),
        (["detect", "new.csv", "--model", "old.csv"], "old.csv is not a folder"),
        (["detect", "new.csv", "--model", "."], "has no file model.json"),
        (["detect", "new.csv", "--model", "model", "--since", "2026-01-01"], "no row --since 2026-01-01; its last day"),
        (["detect", "other.csv", "--model", "model"], "the table has no column 'n_0', which is a feature of the model"),
        (["drift", "other.csv", "--model", "model"], "the table has no column 'n_0'"),
        (["train", "day.csv", *NAMES], "too small to train on"),
        (["detect", "day.csv", *NAMES], "or give --train-on-this"),
        (
            ["train", "old.csv", *NAMES, "--bands", "3", "2", "9"],
            "--bands must ascend from a number of at least 1, but is (3.0, 2.0, 9.0)",
        ),
        (["train", "old.csv", *NAMES, "--groups", "nowhere"], "--groups 'nowhere' is not a column"),
        (["train", "old.csv", *NAMES, "--threshold", "0.2"], "of the rows score above 0.2; at most half"),
        (["train", "old.csv", *NAMES, "--trees", "5", "--out", "other"], "other/model.json is not a model of isoxide"),
        (["train", "old.csv", *NAMES, "--trees", "5", "--out", "old.csv"], "old.csv"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(folder, tmp_path, monkeypatch, arguments, message):
    home = tmp_path / "home"
    shutil.copytree(folder, home)
    frame = pd.read_csv(home / "new.csv")
    frame.drop(columns="n_0").to_csv(home / "other.csv", index=False)
    frame[frame["day"] == "2025-02-28"].to_csv(home / "day.csv", index=False)
    (home / "other").mkdir()
    (home / "other" / "model.json").write_text("{}")
    monkeypatch.chdir(home)
    before = sorted(str(path) for path in home.rglob("*"))
    Done(*arguments).failed(message, 1)
    assert sorted(str(path) for path in home.rglob("*")) == before


def test_small_tables_on_request(folder, tmp_path):
    frame = pd.read_csv(folder / "new.csv")
    frame[frame["day"] == "2025-02-28"].to_csv(tmp_path / "day.csv", index=False)
    for command in (["train"], ["detect"], ["detect", "--stream"]):
        done = Done(
            command[0], tmp_path / "day.csv", *NAMES, *command[1:], "--train-on-this", "--out", tmp_path / "out"
        )
        assert done.returncode == 0
        assert "note: the forest is fitted on a table of" in done.stderr


def test_a_changed_model_is_refused(folder, tmp_path):
    shutil.copytree(folder / "model", tmp_path / "model")
    data = bytearray((tmp_path / "model" / "reference.parquet").read_bytes())
    data[100] ^= 1
    (tmp_path / "model" / "reference.parquet").write_bytes(data)
    Done("detect", folder / "new.csv", "--model", tmp_path / "model", "--out", tmp_path / "out").failed(
        "reference.parquet is not the file that was saved with this model"
    )
    assert not (tmp_path / "out").exists()


def test_a_model_without_room_for_its_line_is_not_written(folder, tmp_path, monkeypatch):
    def refuse(descriptor, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(appending.os, "write", refuse)
    train = ["train", folder / "old.csv", *NAMES, "--trees", 3, "--out", tmp_path / "model"]
    Done(*train).failed("runs.jsonl: No space left on device; nothing was added")
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_two_runs_at_once_leave_one_complete_model(folder, tmp_path):
    """Whichever run is last, all files are of the same run."""
    import concurrent.futures

    def train(trees):
        return isoxide("train", folder / "old.csv", *NAMES, "--trees", trees, "--out", tmp_path / "model").returncode

    with concurrent.futures.ThreadPoolExecutor() as pool:
        assert list(pool.map(train, [3, 4])) == [0, 0]
    assert ueba.Model.load(tmp_path / "model").forest.n_estimators in (3, 4)
    assert sorted(contents(tmp_path / "model")) == [
        "entities.parquet", "forest.safetensors", "model.json", "reference.parquet",
    ]  # fmt: skip


def test_scores_of_the_stored_forest(folder, tmp_path):
    """The forest in the folder of a model is one that `score` reads."""
    Done("score", folder / "model" / "forest.safetensors", folder / "new.csv", "--out", tmp_path / "s.csv").ok()
    model = ueba.Model.load(folder / "model")
    scores = pd.read_csv(tmp_path / "s.csv")["score"].to_numpy()
    new = ueba.read_table(folder / "new.csv", entity="actor", time="day")
    assert np.allclose(scores, model.forest.decision_function(new.X), rtol=0, atol=1e-12)
