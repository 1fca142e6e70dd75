"""Test the files, output, errors and exit codes of the command as a user runs it."""

import bz2
import glob
import gzip
import io
import json
import lzma
import os
import pathlib
import re
import shlex
import subprocess
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from command import NAMES, STEM, Done, contents, isoxide
from isoxide import IsolationForest, ueba
from isoxide._cli import _commands
from isoxide._cli._output import print_findings
from isoxide._cli._parser import make_parser
from isoxide._frames import ReadOptions
from isoxide._frames.opening import column_names
from ueba_tables import actor_days, users_of

pytestmark = [
    pytest.mark.not_parallel(reason="it runs the command in other processes"),
    pytest.mark.current_versions(reason="the command does not depend on scikit-learn"),
]


@pytest.fixture(scope="module")
def folder(seed, tmp_path_factory):
    """Return a folder with the files that the examples of the help and of docs/quickstart.md name."""
    folder = tmp_path_factory.mktemp("cli")
    frame = actor_days(seed)
    for name in ("features.csv", "features.csv.gz", "new.csv"):
        frame.to_csv(folder / name, index=False)
    frame.to_parquet(folder / "features.parquet", index=False)
    (folder / "lake" / "features").mkdir(parents=True)
    for number, part in enumerate(np.array_split(np.arange(len(frame)), 3)):
        frame.iloc[part].to_parquet(folder / "lake" / "features" / f"{number}.parquet", index=False)
    users_of(frame).to_csv(folder / "users.csv", index=False)
    return folder


ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture(scope="module")
def detected(folder):
    out = folder / "out"
    done = isoxide("detect", folder / "features.csv", *NAMES, "--contamination", 0.02,
                   "--users", folder / "users.csv", "--out", out)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout, out


@pytest.mark.slow
def test_detect_writes_the_findings_and_prints_the_lowest_scores(folder, detected):
    text, out = detected
    names = [f"findings-{STEM}.{ending}" for ending in ("csv", "json", "parquet")]
    names += [f"forest-{STEM}.safetensors", f"report-{STEM}.html", f"report-{STEM}.md"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert all(str(out / name) in text for name in names)
    table = ueba.read_table(folder / "features.csv", **{"entity": "actor", "time": "day"})
    expected = ueba.detect(table, contamination=0.02)
    result = ueba.read_findings(out / names[1])
    assert_array_equal(result.frame["score"], expected.frame["score"])
    assert_array_equal(result.percentiles, expected.percentiles)
    assert result.joined == ["email", "department"]
    assert len(pd.read_csv(out / names[0])) == len(expected)
    # The terminal shows the table's profile, and the highest anomaly scores with their most unusual features.
    lines = text.splitlines()
    assert str(table.profile).splitlines() == lines[: len(str(table.profile).splitlines())]
    for row in range(10):
        [line] = [line for line in lines if line.startswith(f"  {expected.frame['anomaly_score'].iloc[row]:.4f}  ")][:1]
        assert expected.frame["band"].iloc[row] in line
        assert expected.rarity_texts()[row] in line
        assert expected.frame["actor"].iloc[row] in line
        assert f"{expected.frame['day'].iloc[row]:%Y-%m-%d}" in line
        assert [expected.features[j] for j in expected.order[row][:3]] == re.findall(r"(\w+) [-\d.,]+ \(p", line)
    assert f"  and {len(expected) - 10} more" in lines


def test_detect_without_findings_prints_the_highest_score(folder, tmp_path, capsys):
    findings = ueba.detect(ueba.read_table(folder / "features.csv", entity="actor", time="day"), contamination=0.02)
    highest = findings.frame.iloc[0]
    findings.frame = findings.frame[:0]
    print_findings(findings, [tmp_path / "page.html"], as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3] == f"0 findings of 0 entities, anomaly score above {findings.anomaly_threshold:.4f}"
    note = (
        f"  quiet: highest score {highest['anomaly_score']:.2f} ({highest['actor']}), "
        f"threshold {findings.anomaly_threshold:.2f}"
    )
    assert lines[-2:] == [note, f"  {tmp_path}/page.html"]
    print_findings(findings, [], as_json=True)
    assert json.loads(capsys.readouterr().out)["highest"] == []


def test_detect_prints_json(folder, tmp_path):
    done = Done("detect", folder / "features.csv", *NAMES, "--contamination", 0.02, "--out", tmp_path / "o", "--json")
    summary = json.loads(done.stdout)
    assert summary["findings"] == summary["manifest"]["anomalies"]
    assert all(os.path.exists(path) for path in summary["files"])
    assert "14 features" in done.stderr


def test_the_columns_are_recognised_by_their_names(folder, tmp_path):
    frame = pd.read_csv(folder / "features.csv")
    with_options = Done("calibrate", folder / "features.csv", *NAMES)
    without_options = Done("calibrate", folder / "features.csv")
    assert without_options.stdout == with_options.ok()
    assert without_options.stderr == (
        "isoxide: entity is the column 'actor'; choose another one with --entity\n"
        "isoxide: time is the column 'day'; choose another one with --time\n"
    )
    for names, options, note in (
        ({"actor": "User", "day": " Date "}, ["--time", " Date "], "entity is the column 'User'"),
        ({"actor": "host", "day": "timestamp"}, ["--entity", "host"], "time is the column 'timestamp'"),
    ):
        frame.rename(columns=names).to_csv(tmp_path / "named.csv", index=False, sep=";")
        done = Done("calibrate", tmp_path / "named.csv", *options, "--sep", ";")
        assert done.returncode == 0
        assert note in done.stderr
    frame.assign(host="h").to_parquet(tmp_path / "two.parquet")
    Done("calibrate", tmp_path / "two.parquet", "--time", "day").failed(
        "give --entity: 2 columns are called actor, user"
    )
    frame.rename(columns={"day": "d"}).to_csv(tmp_path / "none.csv", index=False)
    done = Done("calibrate", tmp_path / "none.csv", "--entity", "actor")
    done.failed("give --time: no column is called day, date, time, timestamp or datetime; the columns of")
    done.failed("are 'actor', 'd', 'n_0', 'n_1'")


def zstandard(data):
    import pyarrow as pa

    return pa.Codec("zstd").compress(data, asbytes=True)


COMPRESSIONS = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress, ".zst": zstandard}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", list(",;\t|"))
def test_column_names_of_text_files(tmp_path, encoding, separator):
    names = ["actor", "x, y; z\n|", "Łukasz"]
    frame = pd.DataFrame([["a", 1.5, 2]], columns=names)
    for first_line in ("", f"sep={separator}\r\n"):
        data = (first_line + frame.to_csv(index=False, sep=separator)).encode(encoding)
        for ending, compress in COMPRESSIONS.items():
            path = tmp_path / f"t.csv{ending}"
            path.write_bytes(compress(data))
            assert column_names(path) == names
    (tmp_path / "t.csv").write_bytes(frame.rename(columns={"Łukasz": "müller"}).to_csv(index=False).encode("cp1252"))
    options = ReadOptions.of(encoding="cp1252", sep=",")
    assert column_names(tmp_path / "t.csv", options) == ["actor", "x, y; z\n|", "müller"]


def test_column_names_of_other_files(folder, tmp_path):
    import pyarrow as pa
    import pyarrow.feather

    frame = pd.read_parquet(folder / "features.parquet")
    names = list(frame.columns)
    pa.feather.write_feather(pa.Table.from_pandas(frame), tmp_path / "t.arrow")
    for path in (folder / "features.parquet", folder / "lake" / "features", tmp_path / "t.arrow"):
        assert column_names(path) == names
    (tmp_path / "t.jsonl").write_text("{}")
    Done("calibrate", tmp_path / "t.jsonl").failed("is empty")
    (tmp_path / "t.jsonl").write_text('{"who": "a", "x": 1}\n')
    Done("calibrate", tmp_path / "t.jsonl").failed("the columns of")
    (tmp_path / "t.csv").touch()
    with pytest.raises(ValueError, match=r"t\.csv is empty"):
        column_names(tmp_path / "t.csv")
    (tmp_path / "t.csv.gz").write_bytes(b"no gzip")
    Done("calibrate", tmp_path / "t.csv.gz").failed(
        "t.csv.gz is not a gzip file, although its name says so; rename it, or compress it again"
    )


def test_a_wrong_delimiter_is_reported(folder, tmp_path):
    (tmp_path / "t.csv").write_text((folder / "features.csv").read_text().replace(",", ";"))
    for names in ((), NAMES):
        Done("calibrate", tmp_path / "t.csv", "--sep", ",", *names).failed("seem to be separated by ';'; ")
        assert "--sep ';'" in Done("calibrate", tmp_path / "t.csv", "--sep", ",", *names).stderr
        assert Done("calibrate", tmp_path / "t.csv", *names).returncode == 0


@pytest.mark.slow
def test_explain_writes_the_contributions_of_each_row(folder, detected, tmp_path):
    _, out = detected
    [model] = out.glob("*.safetensors")
    forest = IsolationForest.load(model)
    frame = pd.read_csv(folder / "features.csv")
    X = frame[forest.feature_names_in_]
    expected = forest.explain(X, top=2)
    names = np.array(expected.feature_names)[expected.indices]
    table = folder / "features.csv"
    for name in ("explained.csv", "explained.parquet"):
        text = Done("explain", model, table, "--top", "2", "--keep", "actor", "--out", tmp_path / name).ok()
        assert f"{len(frame):,} rows explained by {X.shape[1]} features" in text
        explained = pd.read_csv(tmp_path / name) if name.endswith("csv") else pd.read_parquet(tmp_path / name)
        columns = ["feature", "value", "contribution", "share"]
        added = [f"top_{k}_{column}" for k in (1, 2) for column in columns]
        assert explained.columns.tolist() == ["actor", "score", "anomaly", *added]
        assert_array_equal(explained["score"], forest.decision_function(X))
        for k in (1, 2):
            assert explained[f"top_{k}_feature"].tolist() == names[:, k - 1].tolist()
            assert_array_equal(explained[f"top_{k}_contribution"], np.asarray(expected)[:, k - 1])
            assert_array_equal(explained[f"top_{k}_share"], expected.share()[:, k - 1])
            assert_array_equal(explained[f"top_{k}_value"], expected.data[:, k - 1])
    everything = Done("explain", model, table, "--top", "1000", "--jobs", "1")
    assert everything.returncode == 0
    assert everything.stdout.splitlines()[0].count("_feature") == X.shape[1]
    Done("explain", model, table, "--top", "0").failed("'0' is not a number of features: give an integer of at le", 2)
    Done("explain", model, table, "--keep", "top_3_share").failed("--keep names 'top_3_share', which is a column", 2)
    Done("explain", model, table, "--resume").failed("--resume needs --out", 2)


@pytest.mark.slow
def test_score_writes_scores_in_every_format(folder, detected, tmp_path):
    _, out = detected
    [model] = out.glob("*.safetensors")
    frame = pd.read_csv(folder / "features.csv")
    X = frame.drop(columns=["actor", "day"])
    expected = IsolationForest(random_state=0, contamination=0.02).fit(X).decision_function(X)
    readers = {"csv": pd.read_csv, "csv.gz": pd.read_csv, "parquet": pd.read_parquet, "PQ": pd.read_parquet}
    for ending, read in readers.items():
        path = tmp_path / f"scores.{ending}"
        text = Done("score", model, "--keep", "actor", "day", "--out", path, folder / "features.csv").ok()
        assert text == f"{path}: {len(frame)} rows scored by 14 features\n"
        scores = read(path)
        assert_array_equal(scores["score"], expected)
        assert scores.columns.tolist() == ["actor", "day", "score", "anomaly"]
    assert gzip.decompress((tmp_path / "scores.csv.gz").read_bytes()) == (tmp_path / "scores.csv").read_bytes()
    done = Done("score", model, folder / "features.csv")
    assert done.returncode == 0
    assert done.stdout.startswith('"score","anomaly"\n')
    assert done.stderr == f"isoxide: {len(frame)} rows scored by 14 features; columns not used: actor, day\n"
    for bad in (["--keep", "actor", "actor"], ["--keep", "score"], ["--keep", "day", "--keep", "anomaly"]):
        Done("score", model, folder / "features.csv", *bad).failed("--keep names", 2)
    Done("score", model, folder / "features.csv", "--keep", "who").failed(
        "has no column 'who' (--keep); there are 'actor', 'day'"
    )
    for number, name in enumerate(("features.csv", "lake")):
        out = tmp_path / f"folder-{number}"
        table = folder / name
        text = Done("score", model, table, "--out", out, "--keep", "actor").ok()
        assert text == f"{out}: {len(frame)} rows scored by 14 features; columns not used: day\n"
        assert_array_equal(pd.read_parquet(out)["score"], expected)
        Done("score", model, table, "--out", out, "--keep", "actor").failed("continue it with --resume")
        assert Done("score", model, table, "--out", out, "--keep", "actor", "--resume").ok() == text


@pytest.mark.slow
def test_report_writes_the_pages_of_findings(detected, tmp_path, monkeypatch):
    _, out = detected
    [findings] = out.glob("*.json")
    link = "https://siem.example/?u={entity}&d={day}"
    Done("report", findings, "--cutoff", 99.9, "--link", link, "--out", tmp_path / "report").ok()
    [page] = (tmp_path / "report").glob("*.html")
    assert page.read_text() == ueba.read_findings(findings).to_html(cutoff=99.9, link=link)
    assert "https://siem.example/?u=" in page.read_text()
    [text] = (tmp_path / "report").glob("*.md")
    assert text.read_text() == ueba.read_findings(findings).to_markdown(cutoff=99.9)
    monkeypatch.chdir(tmp_path)
    Done("report", findings, "--always-show").ok()
    assert sorted(os.listdir("isoxide-results")) == [f"report-{STEM}.html", f"report-{STEM}.md"]


def damaged_findings(document):
    """Yield part of the expected message, and a damaged document."""
    yield "first_day", {**document, "manifest": {**document["manifest"], "first_day": "../../x"}}
    yield "last_day", {**document, "manifest": {**document["manifest"], "last_day": "<img src=x>\n"}}
    yield "damaged", {**document, "manifest": {**document["manifest"], "last_day": 7}}
    yield "", {**document, "manifest": 7}
    yield "", {**document, "manifest": {**document["manifest"], "features": None, "forest": 3}, "features": []}
    yield "", {**document, "timeline": [{}]}
    yield "", []
    yield "version", {**document, "version": 0}


@pytest.mark.parametrize("number", range(8))
def test_damaged_findings_are_refused_in_one_line(detected, tmp_path, number):
    _, out = detected
    document = json.loads(next(out.glob("*.json")).read_text())
    message, damaged = list(damaged_findings(document))[number]
    path = tmp_path / "f.json"
    path.write_text(json.dumps(damaged))
    Done("report", path, "--out", tmp_path / "o").failed(message)
    assert [*tmp_path.iterdir()] == [path]


def test_findings_are_read_from_regular_files_only(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    for name in ("pipe.json", "/dev/zero", "."):
        Done("report", tmp_path / name, "--out", tmp_path / "o").failed("is not a regular file")
    Done("report", tmp_path / "nothing.json", "--out", tmp_path / "o").failed("nothing.json")


def test_findings_of_another_version_still_make_pages(detected, tmp_path):
    _, out = detected
    document = json.loads(next(out.glob("*.json")).read_text())
    document["manifest"]["profile"] = {"unknown": 1}
    (tmp_path / "f.json").write_text(json.dumps(document))
    assert "cannot be shown" in Done("report", tmp_path / "f.json", "--out", tmp_path / "o").ok()


def test_calibrate_prints_json_and_draws_a_plot(folder, tmp_path):
    done = Done(
        "calibrate", folder / "features.csv", *NAMES, "--alerts-per-month", 10, "--json", "--plot", tmp_path / "s.png"
    )
    assert done.returncode == 0
    summary = json.loads(done.stdout)
    study = ueba.calibrate(ueba.read_table(folder / "features.csv", entity="actor", time="day"), alerts_per_month=10)
    assert summary["threshold"] == study.anomaly_threshold
    assert summary["anomalies"] == (study.anomaly_scores > study.anomaly_threshold).sum()
    assert summary["contamination"] == summary["anomalies"] / len(study.scores)
    assert summary["contamination"] == pytest.approx(study.contamination, abs=1e-3)
    found = Done("detect", folder / "features.csv", *NAMES, "--alerts-per-month", 10, "--out", tmp_path, "--json")
    assert json.loads(found.stdout)["findings"] == summary["anomalies"]
    months = study.by_period()
    assert [month["period"] for month in summary["months"]] == months["period"].tolist()
    assert [month["rows"] for month in summary["months"]] == months["rows"].tolist()
    given = Done("calibrate", folder / "features.csv", *NAMES, "--threshold", summary["threshold"], "--json")
    assert json.loads(given.stdout)["anomalies"] == summary["anomalies"]
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
    assert done.stderr == f"{study.table.profile}\n"


def test_calibrate_without_an_amount_counts_the_anomalies_of_detect(folder, tmp_path):
    summary = json.loads(Done("calibrate", folder / "features.csv", *NAMES, "--json").stdout)
    detected = json.loads(Done("detect", folder / "features.csv", *NAMES, "--out", tmp_path / "o", "--json").stdout)
    assert summary["anomalies"] == detected["findings"] > 0
    assert sum(month["anomalies"] for month in summary["months"]) == detected["findings"]
    text = Done("calibrate", folder / "features.csv", *NAMES).ok()
    assert f"anomalies are by default the {detected['findings']} rows whose anomaly score is above 0.5" in text
    assert "Rows whose anomaly score is above each threshold" in text
    study = ueba.calibrate(ueba.read_table(folder / "features.csv", entity="actor", time="day"))
    assert summary["amounts"] == study.amounts().to_dict("records")
    table = text.partition("Numbers of alerts per month")[2].splitlines()
    assert [line.split()[0] for line in table[2:6]] == ["5", "10", "25", "50"]
    assert [line.split()[2] for line in table[2:6]] == [str(rows) for rows in study.amounts()["rows"]]


def test_calibrate_says_which_amounts_take_rows_that_are_not_unusual(tmp_path):
    actor_days(3, n_actors=9, n_days=60).to_csv(tmp_path / "t.csv", index=False)
    text = Done("calibrate", tmp_path / "t.csv", *NAMES).ok()
    assert re.search(r"^50 alerts per month: \d+ of the \d+ rows are not unusual \(anomaly score not above", text, re.M)


def test_top_finds_the_highest_rows_and_excludes_other_amounts(folder, tmp_path):
    done = Done("detect", folder / "features.csv", *NAMES, "--top", 7, "--out", tmp_path, "--json")
    assert json.loads(done.stdout)["findings"] == 7
    both = Done("detect", folder / "features.csv", *NAMES, "--top", 7, "--threshold", 0.6)
    assert both.failed("argument --threshold: not allowed with argument --top", code=2)
    Done("detect", folder / "features.csv", *NAMES, "--top", 10**6).failed("--top 1000000 is more than half of the")
    assert Done("detect", folder / "features.csv", "--top", 1, "--model", tmp_path).failed(
        "--top cannot be given", code=2
    )


def test_open_shows_the_report_in_a_browser(folder, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or len(opened) == 1)
    for number in range(2):
        done = Done("detect", folder / "features.csv", *NAMES, "--out", tmp_path / "a b", "--open")
        assert done.returncode == 0
        assert ("no browser could be opened; open" in done.stderr) == (number == 1)
    assert opened == [(tmp_path / "a b" / f"report-{STEM}.html").as_uri()] * 2


def test_warnings_for_users_are_printed_once_as_notes(folder, tmp_path, monkeypatch):
    detect = ueba.detect

    def detect_with_warnings(*args, **options):
        for text in ("12 of 40 people are not in users\x1b[31m", "12 of 40 people are not in users\x1b[31m"):
            warnings.warn(text, UserWarning, stacklevel=2)
        warnings.warn("for programmers", DeprecationWarning, stacklevel=2)
        return detect(*args, **options)

    monkeypatch.setattr(ueba, "detect", detect_with_warnings)
    done = Done("detect", folder / "features.csv", *NAMES, "--out", tmp_path / "o")
    assert done.stderr == "isoxide: note: 12 of 40 people are not in users\\x1b[31m\n"


def test_read_options_are_passed_on_only_if_given(folder, tmp_path, monkeypatch):
    calls = []

    def stop(*args, **options):
        calls.append((args, options))
        raise ValueError("stopped")

    def open_table(source, *, n_jobs=None, **read_options):
        return SimpleNamespace(
            detect=lambda **options: stop(source, **read_options, **options),
            _writer=lambda forest, keep, added: stop(source, keep=keep, **read_options),
        )

    monkeypatch.setattr(ueba, "read_table", stop)
    monkeypatch.setattr("isoxide.stream.open", open_table)
    table = folder / "features.csv"
    arguments = ["--sep", r"\t", "--decimal", ",", "--thousands", ".", "--missing", "-", "n/a", "--encoding", "cp1252"]
    arguments += ["--time-format", "%d.%m.%Y", "--timezone", "Europe/Oslo"]
    read_options = {"sep": "\t", "decimal": ",", "thousands": ".", "missing": ["-", "n/a"], "encoding": "cp1252"}
    read_options |= {"time_format": "%d.%m.%Y", "timezone": "Europe/Oslo"}
    column_options = {"entity": "actor", "time": "day", "include": None, "exclude": None}
    for command in (["detect"], ["calibrate"], ["detect", "--stream"]):
        calls.clear()
        for further in ([], [table, *arguments]):
            done = Done(*command, table, *NAMES, *further)
            assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "isoxide: error: stopped")
        assert [len(args) for args, _ in calls] == [1, 1]
        assert [isinstance(args[0], list) for args, _ in calls] == [False, True]
        for (_, options), expected in zip(calls, (column_options, column_options | read_options), strict=True):
            assert {name: options[name] for name in expected} == expected
            assert not {*read_options} & {*options} - {*expected}
    calls.clear()
    model = tmp_path / "m.safetensors"
    IsolationForest(random_state=0).fit(pd.DataFrame({"n_0": [1.0, 2.0]})).save(model)
    Done("score", model, table, "--sep", "tab", "--missing", "-", "--keep", "day").failed("stopped")
    [(_, options)] = calls
    assert options == {"keep": ["day"], "sep": "\t", "missing": ["-"]}
    Done("score", model, table, "--timezone", "UTC").failed("there is no option --timezone", 2)


def test_groups_that_are_too_small_give_no_ranks(folder, tmp_path):
    command = ["detect", folder / "features.csv", *NAMES, "--contamination", 0.02, "--groups", "actor"]
    n_rows = pd.read_csv(folder / "features.csv").groupby("actor").size()
    for n, out in ((1, tmp_path / "all"), (int(n_rows.max()) + 1, tmp_path / "none")):
        Done(*command, "--min-group", n, "--out", out).ok()
        [path] = out.glob("*.json")
        findings = ueba.read_findings(path)
        assert np.isnan(findings.percentiles).all() == (out.name == "none")
        assert findings.manifest["ranking"]["min_group"] == n


def test_users_are_read_from_every_format_as_text(folder, tmp_path):
    frame = pd.read_csv(folder / "features.csv")
    codes = {actor: f"{number:04d}" for number, actor in enumerate(sorted(set(frame["actor"])))}
    users = pd.DataFrame({"actor": list(codes), "code": list(codes.values()), "name": "NA"})
    users.to_csv(tmp_path / "u.csv", sep=";", index=False, encoding="utf-8-sig")
    users.to_csv(tmp_path / "bars.csv", sep="|", index=False)
    users.to_parquet(tmp_path / "u.parquet")
    for number, (name, *options) in enumerate((["u.csv"], ["bars.csv", "--users-sep", "|"], ["u.parquet"])):
        out = tmp_path / f"o{number}"
        Done("detect", folder / "features.csv", *NAMES, "--users", tmp_path / name, *options, "--out", out).ok()
        result = ueba.read_findings(next(out.glob("*.json"))).frame
        assert result["code"].tolist() == [codes[actor] for actor in result["actor"]]
        assert set(result["name"]) == {"NA"}
    Done("detect", "t.csv", "--users-sep", ";").failed("--users-sep needs --users", 2)


@pytest.mark.parametrize(
    ("arguments", "expected_message"),
    [
        (["detect", "nowhere.csv", *NAMES], "there is no file nowhere.csv"),
        (["calibrate", "nowhere.csv"], "there is no file nowhere.csv"),
        (["detect", "features.csv", "--entity", "who", "--time", "day"], "has no column 'who' (--entity); there are"),
        (["detect", "features.csv", "--entity", "actor", "--time", "actor"], "entity and time are both"),
        (["detect", "features.csv", "--entity", "day", "--time", "actor"], "line 2, which is not a day in ISO 8601"),
        (["detect", "features.csv", *NAMES, "--groups", "team"], "--groups 'team' is not a column"),
        (["detect", "features.csv", *NAMES, "--users", "nobody.csv"], "nobody.csv"),
        (["detect", "features.csv", *NAMES, "--users", "users.csv", "--users-columns", "x"], "users has no column 'x'"),
        (
            ["detect", "features.csv", *NAMES, "--exclude", "*"],
            "no column except 'actor' and 'day' can be a feature; columns left",
        ),
        (["detect", "features.csv", *NAMES, "--exclude", "nn"], "--exclude has 'nn', which matches no column"),
        (["score", "nowhere.safetensors", "features.csv"], "nowhere.safetensors: No such file"),
        (["score", "features.csv", "features.csv"], "not an isoxide forest: it is not a safetensors file"),
    ],
)
def test_an_error_is_one_line(folder, tmp_path, monkeypatch, arguments, expected_message):
    monkeypatch.chdir(folder)
    out = tmp_path / "out.csv" if arguments[0] == "score" else tmp_path / "out"
    done = Done(*arguments, *([] if arguments[0] == "calibrate" else ["--out", out]))
    assert done.failed(expected_message)
    assert "{" not in done.stderr
    assert not out.exists()


#: Functions that change a table, and what `detect` prints about the changed one.
UNUSUAL_TABLES = {
    "one day": (lambda f: f[f["day"] == f["day"].iloc[0]], "all rows belong to one day"),
    "no values": (lambda f: f.assign(empty=float("nan")), "1 column has no values and was left out: empty"),
    "text": (lambda f: f.assign(role="staff"), "rows of 25 entities"),
}


@pytest.mark.parametrize("name", UNUSUAL_TABLES)
def test_unusual_tables_are_described(folder, tmp_path, name):
    change, expected = UNUSUAL_TABLES[name]
    change(pd.read_csv(folder / "features.csv")).to_csv(tmp_path / "t.csv", index=False)
    done = Done("detect", tmp_path / "t.csv", *NAMES, "--contamination", 0.1, "--out", tmp_path / "out")
    if name == "one day":
        # A single day is refused, unless the user wants to train on it. It also has so few rows that a note says so.
        done.failed("too small to train on")
        done = Done("detect", tmp_path / "t.csv", *NAMES, "--contamination", 0.1, "--train-on-this", "--out", tmp_path)
    assert done.returncode == 0
    assert expected in done.stdout
    assert done.stderr.count("isoxide: note: ") == done.stderr.count("\n") == (name == "one day")


def test_infinite_values_are_refused(folder, tmp_path):
    frame = pd.read_csv(folder / "features.csv")
    frame.assign(n_0=[float("inf")] + [1.0] * (len(frame) - 1)).to_csv(tmp_path / "t.csv", index=False)
    done = Done("detect", tmp_path / "t.csv", *NAMES, "--contamination", 0.1, "--out", tmp_path / "out")
    done.failed("isoxide: error: feature 'n_0' has infinite values")
    assert "--exclude" in done.stderr


def test_invalid_commands_print_the_usage(monkeypatch):
    for arguments in (["find"], ["detect"], ["detect", "x.csv", "--alerts-per-month", "1", "--threshold", "0.2"]):
        done = Done(*arguments)
        assert done.failed("usage: isoxide", 2)
    done = Done()
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: isoxide" in done.stderr
    assert "examples:" in done.stderr
    monkeypatch.setattr(sys, "argv", ["isoxide", "--version"])
    assert re.fullmatch(r"isoxide \d+\.\d+\.\d+\S*\n", Done("--version").ok())
    Done("detect", "-", "-", *NAMES).failed("standard input (-) can be read only once", 2)
    for out in ([], ["--out", "s.csv"], ["--out", "s.parquet"]):
        Done("score", "m", "t.csv", "--resume", *out).failed("--resume needs --out with the folder of the scores", 2)


def test_an_unexpected_exception_is_reported_in_one_line(folder, tmp_path, monkeypatch):
    def fail(*_):
        raise KeyError("forgotten")

    monkeypatch.setattr(_commands, "_stem", fail)
    done = Done("detect", folder / "features.csv", *NAMES, "--out", tmp_path / "o")
    done.failed("unexpected KeyError: 'forgotten'; this is a bug in isoxide, please report it")
    monkeypatch.setattr(_commands, "_stem", lambda *_: (_ for _ in ()).throw(ModuleNotFoundError(name="jinja2")))
    done = Done("detect", folder / "features.csv", *NAMES, "--out", tmp_path / "o")
    done.failed("jinja2 is not installed: pip install 'isoxide[ueba]'")
    assert [*tmp_path.iterdir()] == []


def commands_shown():
    """Return every command that help and docs/quickstart.md give as an example."""
    parser = make_parser()
    [commands] = [action for action in parser._actions if action.choices]
    texts = [text.format_help() for text in (parser, *commands.choices.values())]
    shown = [line.strip() for text in texts for line in text.split("examples:")[1].splitlines() if "isoxide " in line]
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8"), re.DOTALL)
    shown += [line for block in blocks for line in block.splitlines() if re.match(r"(\w+ \S+ \| )?isoxide ", line)]
    return list(dict.fromkeys(shown))


@pytest.mark.slow
def test_examples_run_as_they_are_shown(folder, tmp_path, monkeypatch):
    """Run the examples one after the other, with the files that they name."""
    for name in ("features.csv", "features.csv.gz", "features.parquet", "users.csv", "new.csv", "lake"):
        (tmp_path / name).symlink_to(folder / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("webbrowser.open", lambda url: True)
    assert Done("detect", "features.csv", *NAMES, "--contamination", 0.02, "--out", "out/").ok()
    shown = commands_shown()
    assert len(shown) >= 14
    for line in shown:
        *before, command = line.split(" | ")
        name, *arguments = shlex.split(command)
        assert name == "isoxide"
        arguments = [path for text in arguments for path in (sorted(glob.glob(text)) if "*" in text else []) or [text]]
        if before:
            assert before == ["cat features.csv"]
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(pathlib.Path("features.csv").read_bytes())))
        # Several examples write to the same folder with other options.
        extra = ["--force"] if arguments[0] == "detect" else []
        if arguments[0] == "decide":
            # The identifier of a finding depends on the table.
            [file] = pathlib.Path("out").glob("findings-*.json")
            arguments[2] = json.loads(file.read_text())["findings"][0]["id"]
        if "decisions.csv" in arguments and not os.path.exists("decisions.csv"):
            pathlib.Path("decisions.csv").touch()
        done = Done(*arguments, *extra)
        assert done.returncode in ((0, 3, 4) if "--fail-on" in line else (0,)), (line, done.stderr)
        for path in re.findall(r"(?:--out|--plot) (\S+)", line):
            assert os.path.exists(path), line


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="the lines are for a shell")
def test_examples_with_the_data_set_of_the_package_run_in_a_shell(tmp_path):
    """Run the lines of the help and of docs/command.md that use the data set of the package in a shell."""
    [block] = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "command.md").read_text(encoding="utf-8"), re.DOTALL)
    [lines] = re.findall(r"a table to try it with:\n(.*?)\n\n", make_parser().format_help(), re.DOTALL)
    python = shlex.quote(sys.executable)
    for script in (block, lines):
        assert "load_enron" in script
        script = f'python() {{ {python} "$@"; }}\nisoxide() {{ {python} -m isoxide "$@"; }}\n{script}'
        done = subprocess.run(
            ["sh", "-e", "-c", script], capture_output=True, text=True, check=False, timeout=300, cwd=tmp_path,
            env={**os.environ, "BROWSER": "true"},
        )  # fmt: skip
        assert done.returncode == 0, (script, done.stderr)
        assert done.stderr.splitlines()
        assert all(line.startswith("isoxide: ") for line in done.stderr.splitlines())
    assert pd.read_csv(tmp_path / "scores.csv").shape == (10_969, 4)
    for folder in ("out", "isoxide-results"):
        assert len(list((tmp_path / folder).iterdir())) == 6


# Terminals and shells


def test_a_table_is_read_from_standard_input(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    expected = Done("calibrate", folder / "features.csv", *NAMES).ok()
    for name in ("features.csv", "features.csv.gz", "features.parquet"):
        data = (folder / name).read_bytes()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        assert Done("calibrate", "-", *NAMES).ok() == expected
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    summary = json.loads(Done("detect", "-", "--json", "--out", tmp_path / "o", "--contamination", 0.02).stdout)
    assert summary["manifest"]["source"] == "standard input"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    Done("calibrate", "-", *NAMES).failed("standard input is empty")
    monkeypatch.setattr(sys, "stdin", None)
    Done("calibrate", "-", *NAMES).failed("standard input is closed; give a file instead of '-'")
    assert sorted(os.listdir(tmp_path)) == ["o", "runs.jsonl"]


def hostile(folder, tmp_path):
    """Write a table with control characters in names and values, and return its path."""
    frame = pd.read_csv(folder / "features.csv")
    frame["actor"] = "\x1b[31mŁukasz" + frame["actor"] + "\u202e"
    path = tmp_path / "hostile.csv"
    frame.rename(columns={"n_0": "\x1b]0;title\x07"}).to_csv(path, index=False)
    return path


@pytest.mark.slow
def test_control_characters_are_not_printed(folder, tmp_path):
    path, out = hostile(folder, tmp_path), tmp_path / "\x1b[32m"
    printed = ""
    for arguments in (
        ["detect", path, *NAMES, "--contamination", 0.3, "--out", out],
        ["detect", path, *NAMES, "--contamination", 0.3, "--out", out, "--json"],
        ["detect", path, "--entity", "\x1b[31m", "--time", "day", "--out", out],
        ["detect", path, "--out", out, "--\x1b[31m"],
        ["detect", path, "--exclude", "\x1b[31m*", "--out", out],
        ["calibrate", path, "--exclude", "*n_*", "\x1b]*", "*share*", "*z*", "*i*"],
        ["report", "\x1b[31m.json"],
    ):
        done = Done(*arguments)
        printed += done.stdout + done.stderr
    assert not set("\x1b\x07\x9b\u202e") & set(printed)
    assert r"\x1b[31mŁukaszactor" in printed
    done = Done("report", next(out.glob("*.json")), "--json", "--out", out)
    assert json.loads(done.stdout)["files"][0].startswith(str(out))


@pytest.mark.slow
def test_characters_that_the_terminal_lacks_are_escaped(folder, tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    path = hostile(folder, tmp_path)
    command = ["detect", path, *NAMES, "--contamination", 0.5, "--out", tmp_path / "Ł"]
    done = isoxide(*command, "--json", env=environment, encoding="ascii")
    assert (done.returncode, json.loads(done.stdout)["files"][0]) == (0, str(tmp_path / "Ł" / f"findings-{STEM}.csv"))
    done = isoxide(*command, "--groups", "Ł", env=environment, encoding="ascii")
    assert (done.returncode, done.stderr) == (1, "isoxide: error: --groups '\\u0141' is not a column of the table\n")
    # Scores are data, so they are written in UTF-8, as in a file.
    [model] = (tmp_path / "Ł").glob("*.safetensors")
    done = isoxide("score", model, path, "--keep", "actor", env=environment, encoding="utf-8")
    assert '"\x1b[31mŁukaszactor' in done.stdout


@pytest.mark.slow
def test_a_closed_or_full_standard_output_ends_the_command(folder, detected, tmp_path):
    _, out = detected
    [model] = out.glob("*.safetensors")
    command = shlex.join([sys.executable, "-m", "isoxide"])
    table, names = folder / "features.csv", shlex.join(NAMES)
    frame = pd.read_csv(table)
    # The scores of this table do not fit in the buffer of a pipe.
    pd.concat([frame] * 10).to_csv(tmp_path / "long.csv", index=False)
    score = f"{command} score {model} {tmp_path / 'long.csv'} --keep actor day"
    for line, code, expected_message in (
        (f"{score} | head -1", 0, ""),
        (f"{command} detect {table} --out {tmp_path / 'closed'} >&- 2>&-", 0, ""),
        (f"{score} >&-", 1, "standard output is closed; give --out\n"),
        (f"{score} > /dev/full", 1, "No space left on device\n"),
        (
            f"{command} detect {table} {names} --out {tmp_path / 'full'} > /dev/full",
            1,
            f"No space left on device; all results are in {tmp_path / 'full'}\n",
        ),
        (
            f"{command} calibrate - <&-",
            1,
            "standard input is closed; give a file instead of '-'\n",
        ),
        (f"{command} detect --help | true", 0, ""),
    ):
        if "/dev/full" in line and not os.path.exists("/dev/full"):
            continue
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False, timeout=120)
        end = done.stderr[-len(expected_message) :] if expected_message else done.stderr
        assert (done.returncode, end) == (code, expected_message), line
        assert done.stderr.count("\n") == (1 if expected_message else 0), done.stderr
    assert len(list((tmp_path / "closed").iterdir())) == 6


# Results are written completely or not at all


def test_earlier_results_stay_when_a_run_fails(folder, detected):
    _, out = detected
    before = contents(out)
    Done("detect", folder / "features.csv", *NAMES, "--groups", "nothing", "--out", out).failed("--groups")
    assert contents(out) == before


def test_no_result_is_written_if_one_cannot_be(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    for name in ("file", "file/below"):
        Done("detect", folder / "features.csv", *NAMES, "--out", name).failed(f"{name}: Not a directory")
    obstacle = tmp_path / "out" / f"report-{STEM}.md"
    obstacle.mkdir(parents=True)
    (tmp_path / "out" / f"findings-{STEM}.csv").write_text("old")
    done = Done("detect", folder / "features.csv", *NAMES, "--out", "out")
    done.failed(f"out/report-{STEM}.md: Is a directory; nothing in out was changed")
    assert sorted(os.listdir("out")) == [f"findings-{STEM}.csv", f"report-{STEM}.md"]
    assert (tmp_path / "out" / f"findings-{STEM}.csv").read_text() == "old"
    assert (tmp_path / "file").read_text() == "mine"


def test_files_of_other_programs_in_a_new_folder_stay(folder, tmp_path, monkeypatch):
    out = tmp_path / "new" / "out"

    def write_and_fail(*_):
        (out / "notes").write_text("of another program")
        raise ValueError("something went wrong")

    monkeypatch.setattr(_commands, "_stem", write_and_fail)
    Done("detect", folder / "features.csv", *NAMES, "--out", out).failed("something went wrong")
    assert contents(out) == {"notes": b"of another program"}


@pytest.mark.slow
def test_nothing_is_written_if_the_disk_is_full(folder, tmp_path):
    resource = pytest.importorskip("resource")
    done = isoxide("detect", folder / "features.csv", *NAMES, "--out", tmp_path / "out",
                   preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000)))  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("isoxide: error: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_two_runs_into_one_folder_leave_the_files_of_one_run(folder, tmp_path):
    out = tmp_path / "o"
    command = [sys.executable, "-m", "isoxide", "detect", str(folder / "features.csv"), *NAMES, "--out", str(out)]
    runs = [
        subprocess.Popen([*command, "--force", "--contamination", fraction], stdout=subprocess.DEVNULL)
        for fraction in ("0.02", "0.1")
    ]
    assert [run.wait(timeout=120) for run in runs] == [0, 0]
    # Both runs have a line in the log, and the files are those of the last line.
    assert Done("log", tmp_path / "runs.jsonl", "--verify").ok().startswith(f"{tmp_path}/runs.jsonl: 2 lines and 6 ")
    assert len(list(out.iterdir())) == 6
    result = ueba.read_findings(next(out.glob("*.json")))
    assert len(pd.read_csv(next(out.glob("*.csv")))) == len(result)
    forest = IsolationForest.load(next(out.glob("*.safetensors")))
    assert forest.offset_ == result.manifest["offset"]
    text = Done("report", next(out.glob("*.json")), "--out", tmp_path / "r").ok()
    assert f"anomaly score above {-result.manifest['offset']:.4f}" in text
    assert next(out.glob("*.md")).read_text() == next((tmp_path / "r").glob("*.md")).read_text()


@pytest.mark.parametrize("writer", ["isoxide.ueba._findings.write_csv", "pyarrow.parquet.write_table"])
def test_a_full_disk_is_told_with_the_folder(folder, tmp_path, monkeypatch, writer):
    """Files are written to a private folder at first, and the system names no file."""

    def full(*arguments, **options):
        raise OSError(28, "Error writing bytes to file. Detail: [errno 28] No space left on device")

    monkeypatch.setattr(writer, full)
    out = tmp_path / "out"
    done = Done("detect", folder / "features.csv", *NAMES, "--contamination", 0.03, "--out", out)
    assert done.failed(f"isoxide: error: {out}: No space left on device\n")
    assert not out.exists()
