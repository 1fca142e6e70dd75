"""Decisions, earlier runs and the log of runs on the command line, on the table that ships with the package."""

import errno
import json
import os
import subprocess
import sys

import pandas as pd
import pytest

from command import Done, contents
from enron_runs import READING, mail
from isoxide import ueba
from isoxide._common import appending
from isoxide.datasets import load_enron

pytestmark = [
    pytest.mark.slow,
    pytest.mark.not_parallel(reason="the command changes the handlers of signals"),
    pytest.mark.current_versions(reason="the command does not depend on scikit-learn"),
]
KEYS = ("--entity", "actor", "--time", "day")
STEM = "2001-11-01-to-2002-06-21"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Return a folder with a model, and a run of all later days."""
    folder = tmp_path_factory.mktemp("enron")
    frame = mail()
    frame[frame["day"] < "2001-11-01"].to_csv(folder / "old.csv", index=False)
    done = Done("train", folder / "old.csv", *KEYS, "--exclude", *READING["exclude"], "--alerts-per-month", 10,
                "--trees", 40, "--out", folder / "model")  # fmt: skip
    assert done.returncode == 0
    assert Done(*run(folder, "first")).returncode == 0
    return folder


def run(folder, out, *options):
    """Return the arguments of `isoxide detect` for the days after the training rows."""
    out = out if os.path.isabs(out) else folder / out
    return ["detect", load_enron(as_path=True), "--model", folder / "model", "--since", "2001-11-01",
            "--out", out, *options]  # fmt: skip


def result(folder):
    return ueba.read_findings(folder / f"findings-{STEM}.json")


def notes(done):
    return [line for line in done.stderr.splitlines() if line.startswith("isoxide: note: ")]


def test_a_decided_finding_is_hidden_at_the_next_run(base, tmp_path):
    found = result(base / "first")
    finding, entity = found.frame[["finding_id", "actor"]].iloc[0]
    file = tmp_path / "decisions.csv"
    done = Done("decide", base / "first", finding[:8], "--status", "known-good", "--note", "=list", "--who", "Ana",
                "--decisions", file)  # fmt: skip
    until = ueba.Decisions.read(file).entries[0].until
    assert done.ok() == f"{finding} ({entity}): known-good until {until} (Ana): =list\n  {file}\n"
    done = Done(*run(base, tmp_path / "out", "--decisions", file, "--previous", base / "first"))
    n_stronger = result(tmp_path / "out").states.count("stronger")
    assert f"  0 new, {len(found) - 1 - n_stronger} again, {n_stronger} stronger, 0 gone\n" in done.ok()
    assert "  1 hidden by 1 decision\n" in done.stdout
    hidden = result(tmp_path / "out").hidden
    assert hidden.frame["finding_id"].tolist() == [finding]
    table = pd.read_csv(tmp_path / "out" / f"findings-{STEM}.csv", keep_default_na=False)
    assert len(table) == len(found)
    assert table.loc[table["finding_id"] == finding, ["status", "state"]].to_numpy().tolist() == [
        ["known-good", "again"]
    ]
    assert "## 1 hidden by 1 decision" in (tmp_path / "out" / f"report-{STEM}.md").read_text()
    # The page can be written again with them.
    assert "1 hidden by 1 decision" in Done("report", tmp_path / "out" / f"findings-{STEM}.json", "--out",
                                            tmp_path / "again").ok()  # fmt: skip
    told = json.loads(Done(*run(base, tmp_path / "out", "--decisions", file, "--json")).stdout)
    assert (told["findings"], told["hidden"]) == (len(found) - 1, 1)


def test_findings_that_are_there_again_are_not_new(base, tmp_path):
    arguments = run(base, tmp_path / "out", "--fail-on", "new")
    assert Done(*arguments).returncode == 3
    assert Done(*arguments, "--previous", base / "first").returncode == 0
    finding = result(base / "first").frame["finding_id"].iloc[0]
    decision = Done("decide", tmp_path / "out", finding, "--json", "--status", "false-positive",
                    "--decisions", tmp_path / "decisions.csv", "--cutoff", 100)  # fmt: skip
    assert json.loads(decision.ok())["status"] == "false-positive"
    done = Done(*arguments, "--previous", base / "first", "--decisions", tmp_path / "decisions.csv")
    assert done.returncode == 3
    assert result(tmp_path / "out").states.count("stronger") > 0


def test_decisions_that_were_not_used_are_told(base, tmp_path):
    file = tmp_path / "decisions.csv"
    lines = [f",emp{n:03},,,,known-good,2001-12-0{n + 1},,2001-11-01," for n in range(5)]
    lines += [",nobody,,,,known-good,,,2999-01-01,", ",emp105,,,,known-good,,,2999-01-01,"]
    file.write_text("\n".join(["id,entity,time,features,score,status,until,who,when,note", *lines, ""]))
    done = Done(*run(base, tmp_path / "out", "--decisions", file))
    assert done.returncode == 0
    assert notes(done) == [
        "isoxide: note: 5 of 7 decisions have expired: emp000, emp001, emp002 and 2 more",
        "isoxide: note: 1 of 7 decisions is about none of the findings: nobody",
    ]
    assert result(tmp_path / "out").n_hidden > 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id\n", "decisions.csv, line 1: the column 'entity' is missing"),
        ("id,entity,time,features,score,status,until,who,when,note\n,a,,,,gut,,,2026-01-01,\n",
         "decisions.csv, line 2: status is 'gut', but must be known-good, false-positive, confirmed or open"),
        ("id,entity,time,features,score,status,until,who,when,note\n,a,,,,open,1.2.26,,2026-01-01,\n",
         "decisions.csv, line 2: until is '1.2.26', but must be an existing day"),
        (None, "decisions.csv does not exist; `isoxide decide` creates it"),
    ],
)  # fmt: skip
def test_invalid_decisions_are_refused_before_anything_is_done(base, tmp_path, content, message):
    file = tmp_path / "decisions.csv"
    if content is not None:
        file.write_text(content)
    Done(*run(base, tmp_path / "out", "--decisions", file)).failed(message)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "runs.jsonl").exists()


def test_decisions_have_the_cutoff_of_the_run(base, tmp_path):
    assert Done(*run(base, tmp_path / "out", "--cutoff", 97)).returncode == 0
    finding = result(tmp_path / "out").frame["finding_id"].iloc[0]
    decide = ["--status", "known-good", "--json", "--decisions", tmp_path / "decisions.csv"]
    told = [json.loads(Done("decide", folder, finding, *decide).ok()) for folder in (base / "first", tmp_path / "out")]
    assert set(told[0]["features"]) < set(told[1]["features"])
    assert ueba.Decisions.read(tmp_path / "decisions.csv").entries[1].features == tuple(told[1]["features"])


def test_wrong_runs_are_refused(base, tmp_path):
    for name in ("decide", "compare"):
        rest = ["abcdef", "--status", "open"] if name == "decide" else [base / "first"]
        Done(name, tmp_path / "none", *rest).failed("none does not exist; give the folder of a run")
        Done(name, tmp_path, *rest).failed("has no findings-*.json; give the folder of a run")
    for number in range(2):
        (tmp_path / f"findings-{number}.json").touch()
    Done("compare", tmp_path, base / "first").failed(
        f"{tmp_path} has the findings of 2 runs; give one of the files, such as {tmp_path}/findings-1.json"
    )
    Done("compare", tmp_path / "findings-0.json", base / "first").failed("is not a JSON file of findings")
    Done("decide", base / "first", "abc", "--status", "open").failed("give at least 6 digits")
    Done("decide", base / "first", "abcdef012345", "--status", "good").failed("invalid choice: 'good'", 2)
    finding = result(base / "first").frame["finding_id"].iloc[0]
    Done("decide", base / "first", finding, "--status", "open", "--until", "2001-01-01").failed(
        "--until 2001-01-01 has passed; give a later day"
    )
    Done("decide", base / "first", finding).failed("the following arguments are required: --status", 2)
    other = mail().rename(columns={"actor": "person"})
    other.to_csv(tmp_path / "other.csv", index=False)
    Done("detect", tmp_path / "other.csv", "--entity", "person", "--contamination", 0.001, "--out", tmp_path / "other")
    Done(*run(base, tmp_path / "out", "--previous", tmp_path / "other")).failed("the previous run is of another table")


def test_compare(base, tmp_path):
    assert Done("compare", base / "first", base / "first").ok().startswith("0 new, ")
    assert Done("detect", load_enron(as_path=True), "--contamination", 0.002,
                "--out", tmp_path / "other").returncode == 0  # fmt: skip
    text = Done("compare", base / "first", tmp_path / "other").ok()
    told = json.loads(Done("compare", base / "first", tmp_path / "other", "--json").ok())
    assert told["counts"]["new"] > 0 < told["counts"]["gone"]
    lines = text.splitlines()
    assert lines[0] == ", ".join(f"{n} {name}" for name, n in told["counts"].items())
    assert [line.removeprefix("changed: ") for line in lines if line.startswith("changed: ")] == told["changes"]
    assert told["changes"][0].startswith("model: ")
    new = [row for row in told["findings"] if row["state"] == "new"]
    assert f"  new       {new[0]['id']}  {new[0]['anomaly_score']:.4f}  {new[0]['time']}  {new[0]['entity']}" in lines


def test_a_run_with_other_options_is_not_replaced_unawares(base, tmp_path):
    out = tmp_path / "out"
    assert Done(*run(base, out)).returncode == 0
    before, log = contents(out), (tmp_path / "runs.jsonl").read_bytes()
    detect = ["detect", tmp_path / "new.csv", "--out", out]
    frame = mail()
    frame = frame[frame["day"] >= "2001-11-01"]
    frame.to_csv(tmp_path / "new.csv", index=False)
    for options, difference in (
        (["--contamination", 0.01], "other options"),
        (["--model", base / "model"], "another input"),
    ):
        done = Done(*detect, *options)
        assert done.returncode == 1
        [line] = [line for line in done.stderr.splitlines() if line.startswith("isoxide: error: ")]
        assert f"findings-{STEM}.json is of a run with {difference}; choose another folder with --out" in line
        assert line.endswith("or replace these results with --force")
        assert contents(out) == before
        assert (tmp_path / "runs.jsonl").read_bytes() == log
    # The same run, and one with other decisions, may be repeated.
    (tmp_path / "decisions.csv").touch()
    assert Done(*run(base, out, "--decisions", tmp_path / "decisions.csv")).returncode == 0
    assert Done(*detect, "--contamination", 0.01, "--force").returncode == 0
    assert len(contents(out)) == len(before)
    assert (out / f"findings-{STEM}.json").read_bytes() != before[f"findings-{STEM}.json"]
    # Results of other days stay.
    frame[frame["day"] >= "2002-01-01"].to_csv(tmp_path / "new.csv", index=False)
    assert Done(*detect, "--contamination", 0.01).returncode == 0
    assert len(contents(out)) == 2 * len(before)
    (out / f"findings-{STEM}.json").write_text("{}")
    assert "does not hold findings" in Done(*run(base, out)).stderr
    assert Done(*run(base, out, "--force")).returncode == 0
    assert Done("log", tmp_path / "runs.jsonl", "--verify").returncode == 0


def test_every_run_has_a_line(base, tmp_path):
    log = tmp_path / "all.jsonl"
    finding = result(base / "first").frame["finding_id"].iloc[0]
    decided = Done(
        "decide", base / "first", finding, "--status", "open", "--log", log, "--decisions", tmp_path / "d.csv"
    )
    assert decided.returncode == 0
    assert Done("train", base / "old.csv", *KEYS, "--trees", 5, "--out", tmp_path / "m", "--log", log).returncode == 0
    assert Done("drift", base / "old.csv", "--model", base / "model", "--log", log).returncode == 0
    done = Done(*run(base, tmp_path / "o", "--log", log, "--decisions", tmp_path / "d.csv", "--previous",
                     base / "first"))  # fmt: skip
    assert done.returncode == 0
    assert not (tmp_path / "runs.jsonl").exists()
    documents = [json.loads(line) for line in log.read_text().splitlines()]
    assert [document["command"] for document in documents] == ["decide", "train", "drift", "detect"]
    assert [len(document["outputs"]) for document in documents] == [1, 4, 0, 6]
    model = ueba.Model.load(base / "model")
    assert documents[2]["model"]["id"] == documents[3]["model"]["id"] == model.id
    assert documents[1]["input"]["sha256"] == documents[2]["input"]["sha256"] == model.training["sha256"]
    assert documents[3]["decisions"]["sha256"] == documents[0]["outputs"][0]["sha256"]
    found = result(tmp_path / "o")
    assert documents[3]["counts"]["findings"] == len(found) == found.states.count("again")
    assert documents[3]["arguments"][0] == "detect"
    assert [line.split()[1] for line in Done("log", log).ok().splitlines()] == ["decide", "train", "drift", "detect"]
    assert [d["command"] for d in json.loads(Done("log", log, "--json").ok())] == ["decide", "train", "drift", "detect"]


def test_the_log_is_verified(base, tmp_path):
    assert Done(*run(base, tmp_path / "out")).returncode == 0
    log = tmp_path / "runs.jsonl"
    text = Done("log", log, "--verify").ok()
    assert text.splitlines()[0] == f"{log}: 1 line and 6 files: nothing was changed"
    last = text.split()[-1]
    assert Done("log", log, "--verify", "--expect", last[:10]).returncode == 0
    done = Done("log", log, "--expect", "0" * 12, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["problems"] == [
        "no line has the hash 000000000000, so lines at the end are missing, or were changed"
    ]
    page = tmp_path / "out" / f"report-{STEM}.html"
    data = page.read_bytes()
    page.write_bytes(data.replace(b"emp105", b"emp106", 1))
    done = Done("log", log, "--verify")
    assert (done.returncode, done.stderr) == (1, "")
    assert f"the file out/report-{STEM}.html was changed after the run of line 1" in done.stdout
    page.unlink()
    assert "1 file does not exist any more: out/report-" in Done("log", log, "--verify").ok()
    Done("log", log, "--expect", "zz").failed("'zz' is not a hash", 2)
    Done("log", tmp_path / "none").failed("none does not exist; give the runs.jsonl beside the folder of a run")
    log.write_bytes(log.read_bytes()[:-30] + b"\n")
    assert "line 1 was changed" in Done("log", log, "--verify").stdout
    assert "is damaged; see isoxide log --verify" in Done("log", log).stderr
    log.write_text('{"time": "", "command": "detect", "counts": [1]}\n{"time": "", "command": []}\n')
    done = Done("log", log)
    assert (done.returncode, done.stdout, done.stderr.count("is damaged")) == (0, "", 2)


def test_a_full_disk_leaves_neither_results_nor_a_line(base, tmp_path, monkeypatch):
    first = ["detect", base / "old.csv", *KEYS, "--contamination", 0.001, "--out", tmp_path / "out"]
    assert Done(*first).returncode == 0
    before, log = contents(tmp_path / "out"), (tmp_path / "runs.jsonl").read_bytes()
    n_writes = []

    def write_half(descriptor, data):
        n_writes.append(len(data))
        if len(n_writes) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os_write(descriptor, data[: len(data) // 2])

    os_write = os.write
    monkeypatch.setattr(appending.os, "write", write_half)
    done = Done(*first, "--force")
    assert done.returncode == 1
    assert "runs.jsonl: No space left on device; nothing was added" in done.stderr
    assert len(n_writes) == 2
    assert contents(tmp_path / "out") == before
    assert (tmp_path / "runs.jsonl").read_bytes() == log


def refuse_after(monkeypatch, n_allowed):
    """Let only the given number of additions to files succeed, as on a full disk."""
    n_writes = []
    os_write = os.write

    def write(descriptor, data):
        n_writes.append(len(data))
        if len(n_writes) > n_allowed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os_write(descriptor, data)

    monkeypatch.setattr(appending.os, "write", write)


def test_a_decision_without_room_for_its_line_is_not_added(base, tmp_path, monkeypatch):
    Done(*run(base, tmp_path / "out")).ok()
    own_id = result(tmp_path / "out").frame["finding_id"].iloc[0]
    file, log = tmp_path / "decisions.csv", tmp_path / "runs.jsonl"
    decide = ["decide", tmp_path / "out", own_id, "--status", "known-good", "--decisions", file]
    with monkeypatch.context() as patch:
        refuse_after(patch, 1)
        Done(*decide).failed("runs.jsonl: No space left on device; nothing was added")
    assert not file.exists()
    Done(*decide).ok()
    before, line = file.read_bytes(), log.read_bytes()
    Done(*decide, "--log", file).failed("--log and --decisions name the same file")
    refuse_after(monkeypatch, 1)
    Done(*decide).failed("runs.jsonl: No space left on device; nothing was added")
    assert (file.read_bytes(), log.read_bytes()) == (before, line)


def test_results_that_cannot_be_moved_leave_no_line(base, tmp_path):
    (tmp_path / "out" / f"report-{STEM}.md").mkdir(parents=True)
    done = Done(*run(base, tmp_path / "out"))
    assert done.returncode == 1
    assert "nothing in" in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["out"]
    assert os.listdir(tmp_path / "out") == [f"report-{STEM}.md"]


def test_a_log_that_cannot_be_written(base, tmp_path):
    (tmp_path / "runs.jsonl").mkdir()
    done = Done(*run(base, tmp_path / "out"))
    assert done.returncode == 0
    assert notes(done) == [f"isoxide: note: this run is in no log: {tmp_path}/runs.jsonl: Is a directory; choose "
                           "another file with --log"]  # fmt: skip
    Done(*run(base, tmp_path / "other", "--log", tmp_path / "none" / "log")).failed("No such file or directory")
    (tmp_path / "text").write_text("text")
    Done(*run(base, tmp_path / "other", "--log", tmp_path / "text")).failed("is not a log of isoxide")
    assert not (tmp_path / "other").exists()


def test_of_two_runs_at_once_with_other_options_one_is_refused(base, tmp_path):
    command = [sys.executable, "-m", "isoxide", "detect", str(base / "old.csv"), *KEYS, "--out", str(tmp_path / "out")]
    runs = [
        subprocess.Popen(
            [*command, "--contamination", share], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        for share in ("0.001", "0.002")
    ]
    errors = [run.communicate(timeout=120)[1] for run in runs]
    assert sorted(run.returncode for run in runs) == [0, 1]
    refused = next(n for n, run in enumerate(runs) if run.returncode)
    assert "is of a run with other options" in errors[refused]
    [found] = (tmp_path / "out").glob("*.json")
    assert ueba.read_findings(found).manifest["settings"]["amount"]["contamination"] == (0.002, 0.001)[refused]
    assert Done("log", tmp_path / "runs.jsonl", "--verify").ok().startswith(f"{tmp_path}/runs.jsonl: 1 line and 6 ")
